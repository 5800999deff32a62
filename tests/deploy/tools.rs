//! What `make demo` asks of a machine.

use std::os::unix::fs::symlink;
use std::process::Command;

use super::rendered::root;

/// Runs `tools.sh build` where only these programs are, and nobody can install any.
fn tools(programs: &[&str]) -> (bool, String) {
    let dir = tempfile::tempdir().unwrap();
    for name in programs {
        let found = Command::new("which").arg(name).output().unwrap().stdout;
        let found = String::from_utf8(found).unwrap();
        symlink(found.trim(), dir.path().join(name)).unwrap();
    }
    // The script adds /usr/sbin and /sbin, which have none of what it looks for.
    let output = Command::new("/bin/bash")
        .args(["scripts/tools.sh", "build"])
        .current_dir(root())
        .env_clear()
        .env("PATH", dir.path())
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_c_compiler_is_all_that_the_demo_needs() {
    assert_eq!(tools(&["cc", "id"]), (true, String::new()));
    let (fine, said) = tools(&["id"]);
    assert!(!fine && said.contains("g++"), "{said}");
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let demo = makefile.lines().skip_while(|line| !line.starts_with("demo:"));
    let demo: Vec<_> = demo.take_while(|line| !line.is_empty()).collect();
    assert!(demo[0].starts_with("demo: ##") && demo[1].ends_with("tools.sh build"), "{demo:?}");
}
