//! What `render.py` makes of `deploy/`: rendered once, read by all tests.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

static RENDERED: OnceLock<Value> = OnceLock::new();

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Values that the chart must refuse, and a word that its refusal has.
pub fn bad_values() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"replicas": 3}), "replicas"),
        (json!({"image": {"repository": ""}}), "repository"),
        (json!({"image": {"digest": "latest"}}), "digest"),
        // Never root, not even by an oversight.
        (json!({"podSecurityContext": {"runAsUser": 0}}), "runAsUser"),
        (json!({"podSecurityContext": {"runAsUser": 1, "privileged": true}}), "privileged"),
        // A secret by its value instead of by reference.
        (json!({"secrets": [{"key": "server.secret_key", "value": "x"}]}), "secrets"),
        (json!({"secrets": [{"key": "SECRET", "secretName": "a", "secretKey": "b"}]}), "key"),
        (json!({"service": {"port": 70000}}), "port"),
        (json!({"containerPort": 80}), "containerPort"),
        (json!({"terminationGracePeriodSeconds": 5}), "terminationGracePeriodSeconds"),
        (json!({"portalVolumes": [{"name": "x", "mountPath": "/x"}]}), "claimName"),
        (json!({"catalog": {"sqlite": false}}), "catalog.url"),
        (json!({"ingress": {"enabled": true, "tlsSecretName": "x"}}), "ingress.host"),
    ]
}

pub fn rendered() -> &'static Value {
    RENDERED.get_or_init(|| {
        let bad: Vec<_> = bad_values().into_iter().map(|(values, _)| values).collect();
        let mut child = Command::new(python())
            .arg(root().join("tests/deploy/render.py"))
            .arg(root())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(json!(bad).to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "render.py failed");
        serde_json::from_slice(&output.stdout).unwrap()
    })
}

fn python() -> PathBuf {
    let output = Command::new(root().join("scripts/python.sh")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// The chart rendered with the values of this name.
pub fn chart(name: &str) -> &'static Value {
    charts().iter().find(|chart| chart["name"] == name).unwrap()
}

pub fn charts() -> &'static [Value] {
    rendered()["charts"].as_array().unwrap()
}

/// The objects of this kind.
pub fn of_kind<'a>(chart: &'a Value, kind: &str) -> Vec<&'a Value> {
    list(&chart["objects"]).iter().filter(|object| object["kind"] == kind).collect()
}

/// The items of a list; none where there is no list.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}
