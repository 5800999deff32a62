//! The configuration files that we hand out are ones that the program accepts.

use std::path::{Path, PathBuf};

use portal_backup::config::load;

fn sample() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/portal-backup.toml");
    std::fs::read_to_string(path).unwrap()
}

/// Loads `text` with every `/run/secrets/…` replaced by a file that exists.
fn accepts(text: &str) {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "0123456789abcdef\n").unwrap();
    let mut text = text.to_owned();
    while let Some(start) = text.find("/run/secrets/") {
        let end = start + text[start..].find('"').unwrap();
        text.replace_range(start..end, secret.to_str().unwrap());
    }
    let path: PathBuf = dir.path().join("portal-backup.toml");
    std::fs::write(&path, &text).unwrap();
    if let Err(error) = load(Some(&path), []) {
        panic!("{error}\n{text}");
    }
}

#[test]
fn the_sample_is_accepted() {
    accepts(&sample());
}

/// Takes the comment sign from every line that is a setting or a section.
#[test]
fn the_sample_is_accepted_with_every_key_set() {
    let text: String = sample()
        .lines()
        .map(|line| line.strip_prefix("# ").unwrap_or(line))
        .filter(|line| {
            line.starts_with('[')
                || line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))
        })
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(text.contains("[auth.jwt]\n") && text.contains("store_secrets"), "{text}");
    accepts(&text);
}
