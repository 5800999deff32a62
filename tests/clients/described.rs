//! Schemathesis over the whole of `/openapi.yaml`: no 5xx, no status that is not described, no answer that is
//! not as described.

use std::process::Command;

use serde_json::json;

use super::tool::{Target, have, here, kept, python};

#[tokio::test]
async fn every_answer_is_as_described() {
    if !have(&["python3"]) {
        return;
    }
    let target = Target::start().await;
    // So that there is something to find.
    target.service.backup("Local", json!([])).await;
    let mut command = Command::new(python().with_file_name("schemathesis"));
    command
        .arg("--config-file")
        .arg(here("schemathesis.toml"))
        .args(["run", &format!("{}/openapi.yaml", target.service.base)])
        // That check tries so many wrong keys that the limit on wrong keys answers; tests/api/who.rs asks the same.
        .args(["--exclude-checks", "ignored_auth", "--max-examples", "10"])
        // One worker: several threads that parse at once confuse Python 3.11 (SystemError in `ast`).
        .args(["--workers", "1", "--max-time", "90", "--suppress-health-check", "all"])
        // The same requests each time: a failure can be had again.
        .args(["--seed", "20260301", "--generation-deterministic"])
        .current_dir(kept("schemathesis"));
    let output = target.point(&mut command).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        target.service.log()
    );
    let tested = said.lines().find(|line| line.contains("Tested:")).unwrap_or_default();
    let count: u32 = tested.split_whitespace().last().and_then(|n| n.parse().ok()).unwrap_or(0);
    assert!(count >= 60, "only {count} operations were asked: {said}");
    // A header that is none is logged as an error by the HTTP server itself, and a job may fail for what it was asked.
    let log = target.service.log();
    let errors = log.lines().filter(|line| {
        let expected = ["actix_http", "\"message\":\"job failed\""];
        line.contains("\"level\":\"ERROR\"") && !expected.iter().any(|text| line.contains(text))
    });
    assert_eq!(errors.collect::<Vec<_>>(), Vec::<&str>::new());
}
