//! The `curl` lines of the documents, run as they stand but for host, key, id and file.

use std::process::Command;

use serde_json::json;

use super::tool::{Target, have, root, run};

/// The blocks of shell in a document that have `curl` in them, each from the first line that concerns it.
fn blocks(document: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(document)).unwrap();
    text.split("```sh\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .filter_map(|block| {
            let lines: Vec<_> = block.lines().collect();
            let first = lines.iter().position(|l| l.contains("curl ") || l.contains("http://"))?;
            lines.iter().any(|l| l.contains("curl ")).then(|| lines[first..].join("\n"))
        })
        .collect()
}

fn placed(target: &Target, block: &str, archive: &str) -> String {
    let script = block
        .replace("http://127.0.0.1:5012", &target.service.base)
        .replace("sk-…", &target.service.key)
        .replace("035c37dd-…", archive);
    assert!(!script.contains('…'), "something is left to fill in: {script}");
    format!(
        "set -euo pipefail\ncurl() {{ command curl -sS --fail-with-body \"$@\"; echo; }}\n{script}\n"
    )
}

fn bash(target: &Target, script: &str) -> String {
    run(Command::new("bash").args(["-c", script]).current_dir(target.service.dir.path()))
}

#[tokio::test]
async fn the_lines_of_the_readme_start_a_backup() {
    if !have(&["curl"]) {
        return;
    }
    let target = Target::start().await;
    let blocks = blocks("README.md");
    assert!(!blocks.is_empty(), "README.md has no curl line");
    for block in blocks {
        let said = bash(&target, &placed(&target, &block, ""));
        assert!(said.contains("\"taskId\""), "{said}");
        assert_eq!(target.service.finish().await["error"], "");
    }
}

#[tokio::test]
async fn the_lines_of_the_api_document_restore_and_upload() {
    if !have(&["curl", "split"]) {
        return;
    }
    let target = Target::start().await;
    let archive = target.service.backup("Local", json!([])).await;
    let stored = target.service.backups().join(archive["name"].as_str().unwrap());
    std::fs::copy(stored, target.service.dir.path().join("a.tar.gz")).unwrap();
    let blocks = blocks("docs/API.md");
    let (mut restored, mut uploaded) = (0, 0);
    for block in blocks {
        let said = bash(&target, &placed(&target, &block, archive["id"].as_str().unwrap()));
        assert!(!said.contains("\"Success\":false") && !said.contains("\"error\":{"), "{said}");
        if block.contains("startrestore") {
            restored += 1;
            let done = target.finish_restore().await;
            assert_eq!(done["error"], "", "{done} {}", target.service.log());
        }
        if block.contains("backupFileUpload") {
            uploaded += 1;
            assert!(said.contains("\"EndUpload\":true"), "{said}");
        }
    }
    assert!(restored > 0 && uploaded > 0, "{restored} restored, {uploaded} uploaded");
}

impl Target {
    async fn finish_restore(&self) -> serde_json::Value {
        loop {
            let path = "/api/2.0/backup/getrestoreprogress?dump=true";
            let progress = self.service.json(path).await["response"].clone();
            if progress["isCompleted"] == true {
                return progress;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}
