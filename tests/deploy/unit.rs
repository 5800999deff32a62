//! The systemd unit: understood by systemd, hard to misuse, and with an environment that the program knows.

use std::process::Command;

use portal_backup::config;

use super::rendered::root;

fn unit() -> String {
    std::fs::read_to_string(root().join("deploy/portal-backup.service")).unwrap()
}

/// The values of a key, in order.
fn values(key: &str) -> Vec<String> {
    unit()
        .lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .map(str::to_owned)
        .collect()
}

#[test]
fn systemd_understands_it_and_finds_little_exposed() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("SKIPPED: systemd-analyze is not on this machine (Debian: systemd)");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("portal-backup.service");
    // It asks whether the program is there.
    let text = unit().replace("/usr/local/bin/portal-backup", env!("CARGO_BIN_EXE_portal-backup"));
    std::fs::write(&file, &text).unwrap();
    let verify = Command::new("systemd-analyze").arg("verify").arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&verify.stderr);
    assert!(verify.status.success() && !said.contains("portal-backup.service:"), "{said}");

    let exposure = |file: &std::path::Path| {
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--offline=true", "--threshold=20"]).arg(file);
        command.output().unwrap()
    };
    let security = exposure(&file);
    assert!(security.status.success(), "{}", String::from_utf8_lossy(&security.stdout));
    // And it would say so otherwise.
    std::fs::write(
        &file,
        text.replace("ProtectSystem=", "#").replace("CapabilityBoundingSet=", "#"),
    )
    .unwrap();
    assert!(!exposure(&file).status.success());
}

#[test]
fn its_environment_is_the_programs_and_its_folders_are_writable() {
    let environment = values("Environment");
    let pairs = environment.iter().map(|one| one.split_once('=').unwrap());
    let sample = root().join("deploy/portal-backup.toml");
    let config =
        config::load(Some(&sample), pairs.map(|(name, value)| (name.to_owned(), value.to_owned())))
            .unwrap();
    assert_eq!(config.catalog.url.expose(), "sqlite:///var/lib/portal-backup/catalog.db");
    // On disk; /tmp may be in memory, which MemoryMax counts.
    assert_eq!(config.backup.temp_dir, std::path::Path::new("/var/tmp"));
    assert_eq!(values("PrivateTmp"), ["true"]);
    // `jobs::owner` reads the boot's id from /proc/sys, which this would hide.
    assert_eq!(values("ProcSubset"), Vec::<String>::new());
    assert_eq!(values("StateDirectory"), ["portal-backup"]);
    let writable = values("ReadWritePaths");
    assert!(
        writable.contains(&format!("-{}", config.storage.local.root.display())),
        "{writable:?}"
    );
    let files = config.portal.filesystem[0].url.to_file_path().unwrap();
    let within = |path: &String| files.starts_with(path.trim_start_matches('-'));
    assert!(writable.iter().any(within), "{} cannot be restored: {writable:?}", files.display());
    assert!(values("User") != ["root"] && !values("User").is_empty());
}
