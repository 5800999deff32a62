//! DocSpace's own clients: its Python SDK, and the two programs of its documentation.

use std::path::PathBuf;
use std::process::Command;

use super::tool::{Target, have, here, kept, python, root, run};

#[tokio::test]
async fn the_sdk_drives_every_method_that_is_there() {
    if !have(&["python3"]) {
        return;
    }
    let target = Target::start().await;
    let said = run(target.point(Command::new(python()).arg(here("drivers/sdk.py"))));
    assert!(said.contains("start_backup") && said.contains("get_backup_progress"), "{said}");
    println!("{said}");
}

/// The page that has DocSpace's sample programs is none of ours, so it is not kept here: whoever has it says
/// where, in SAMPLES, or has it where the project's shared papers are.
fn page() -> Option<String> {
    let named = std::env::var_os("SAMPLES").map(PathBuf::from);
    let near = ["../shared", "../../shared"]
        .map(|up| root().join(up).join("seeds/003_6461936e29afba6f.txt"));
    named.into_iter().chain(near).find_map(|path| std::fs::read_to_string(path).ok())
}

/// The program in the page's block of this language, with our host and key and nothing else changed.
fn sample(page: &str, language: &str, target: &Target) -> String {
    let block =
        page.split(&format!("``` {language}\n")).nth(1).unwrap().split("```").next().unwrap();
    let program: Vec<_> =
        block.lines().map(|line| line.strip_prefix("  ").unwrap_or(line)).collect();
    let program = program.join("\n");
    assert!(
        program.contains("https://yourportal.onlyoffice.com") && program.contains("your_api_key")
    );
    program
        .replace("https://yourportal.onlyoffice.com", &target.service.base)
        .replace("your_api_key", &target.service.key)
}

#[tokio::test]
async fn the_samples_run_as_they_are() {
    let Some(page) = page() else {
        eprintln!("SKIPPED: SAMPLES does not name the page with DocSpace's sample programs");
        return;
    };
    if !have(&["python3", "node"]) {
        return;
    }
    for (language, name, program) in
        [("py", "sample.py", python()), ("ts", "sample.js", "node".into())]
    {
        let target = Target::start().await;
        let file = kept("samples").join(name);
        std::fs::write(&file, sample(&page, language, &target)).unwrap();
        let said = run(Command::new(program).arg(&file));
        assert!(said.contains("Backup task started. Progress: "), "{said}");
        let progress = target.service.finish().await;
        assert_eq!(progress["error"], "", "{progress}");
    }
}

/// What those samples send, word for word in the request: a bare key, `Local` without a path, `dump`.
#[tokio::test]
async fn what_the_samples_send_starts_a_backup() {
    if !have(&["curl"]) {
        return;
    }
    let target = Target::start().await;
    let said = run(Command::new("curl")
        .args(["-sS", "--fail-with-body", "-H", "Content-Type: application/json", "-H"])
        .arg(format!("Authorization: {}", target.service.key))
        .args(["-d", r#"{"storageType":"Local","dump":true}"#])
        .arg(format!("{}/api/2.0/backup/startbackup", target.service.base)));
    assert!(said.contains("\"progress\":"), "{said}");
    assert_eq!(target.service.finish().await["error"], "");
}
