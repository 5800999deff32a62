//! The Dockerfile, as far as it can be checked without Docker: what it copies is there and is enough to
//! build, it runs as nobody in particular, and its health check tells the living from the dead.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::rendered::{list, rendered, root, text};
use crate::support::portal::PlainPortal;
use crate::support::service::Service;

/// The instructions of one name, in the last stage.
fn of_last_stage(name: &str) -> Vec<&'static str> {
    let all = list(&rendered()["dockerfile"]);
    let start = all.iter().rposition(|one| one["name"] == "FROM").unwrap();
    all[start..].iter().filter(|one| one["name"] == name).map(|one| text(&one["value"])).collect()
}

/// What is copied from the folder that the image is built in.
fn copied() -> Vec<(&'static str, &'static str)> {
    let mut pairs = Vec::new();
    for one in list(&rendered()["dockerfile"]).iter().filter(|one| one["name"] == "COPY") {
        let words: Vec<_> = text(&one["value"]).split_whitespace().collect();
        if !words[0].starts_with("--from") {
            let (to, from) = words.split_last().unwrap();
            pairs.extend(from.iter().map(|from| (*from, *to)));
        }
    }
    pairs
}

#[test]
fn what_is_copied_is_there_and_is_a_package_that_cargo_reads() {
    let dir = tempfile::tempdir().unwrap();
    let ignored = std::fs::read_to_string(root().join(".dockerignore")).unwrap();
    assert!(copied().len() >= 5);
    for (from, to) in copied() {
        assert!(root().join(from).exists(), "{from} does not exist");
        assert!(!ignored.lines().any(|line| line == from), "{from} is ignored");
        let to = dir.path().join(if to == "./" { from } else { to });
        let copy = Command::new("cp").arg("-r").arg(root().join(from)).arg(to).status().unwrap();
        assert!(copy.success());
    }
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--locked", "--no-deps", "--format-version=1"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    for package in list(&metadata["packages"]) {
        for target in list(&package["targets"]) {
            assert!(Path::new(text(&target["src_path"])).exists(), "{target}");
        }
    }
    // Files that the source includes by name.
    let mut folders = vec![dir.path().join("src")];
    let mut included = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            let texts = source.split("include_str!(\"").skip(1);
            for part in texts.chain(source.split("include_bytes!(\"").skip(1)) {
                if let Some((name, _)) = part.split_once("\")")
                    && !name.contains('\n')
                {
                    let file = path.parent().unwrap().join(name);
                    assert!(file.exists(), "{} includes {name}", path.display());
                    included += 1;
                }
            }
        }
    }
    assert!(included > 0, "no include was found");
}

/// What was linked with a newer C library does not start with an older one.
#[test]
fn it_is_built_on_the_debian_that_it_runs_on() {
    let all = list(&rendered()["dockerfile"]);
    let stages: Vec<_> =
        all.iter().filter(|one| one["name"] == "FROM").map(|one| text(&one["value"])).collect();
    // The oldest with pg_dump 17.
    assert!(stages[0].starts_with("rust:") && stages[0].contains("-slim-trixie "), "{stages:?}");
    assert_eq!(stages[1..], ["debian:trixie-slim"]);
}

#[test]
fn it_is_nobody_and_writes_only_to_its_volumes() {
    let users = of_last_stage("USER");
    let (user, group) = users.last().unwrap().split_once(':').unwrap();
    // By number: Kubernetes cannot tell that a name is not root.
    assert!(user.parse::<u32>().unwrap() > 0 && group.parse::<u32>().unwrap() > 0);
    assert_eq!(of_last_stage("VOLUME"), [r#"["/backups", "/var/lib/portal-backup"]"#]);
    assert_eq!(of_last_stage("ENTRYPOINT"), [r#"["portal-backup"]"#]);
    assert_eq!(of_last_stage("CMD"), [r#"["serve"]"#]);
    let env = of_last_stage("ENV").join(" ");
    // Facts: "Docker: API `onlyoffice-backup:5050`".
    assert!(env.contains("PORTAL_BACKUP__SERVER__LISTEN=0.0.0.0:5050"), "{env}");
    assert_eq!(of_last_stage("EXPOSE"), ["5050"]);
}

#[tokio::test]
async fn its_health_check_tells_the_living_from_the_dead() {
    let portal = PlainPortal::new(1);
    let mut service = Service::start(&portal.config()).await;
    let check = of_last_stage("HEALTHCHECK")[0].split_once("CMD ").unwrap().1;
    let check: Vec<String> = serde_json::from_str(check).unwrap();
    let listen = service.base.replace("http://127.0.0.1", "0.0.0.0");
    let healthy = || {
        let mut command = Command::new(&check[0]);
        command.args(&check[1..]).env("PORTAL_BACKUP__SERVER__LISTEN", &listen);
        command.output().unwrap().status.success()
    };
    assert!(healthy());
    service.kill();
    assert!(!healthy());
}
