//! Every crate that goes into the program has a licence that lets anyone use the program as its own
//! licence says: nothing that asks for source, nothing unknown.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

/// Permissive licences, by their SPDX names.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];
const EXCEPTIONS: &[&str] = &["LLVM-exception"];

#[test]
fn every_dependency_may_be_used() {
    let packages = shipped_packages();
    assert!(packages.len() > 50, "only {} dependencies were found", packages.len());
    let refused: Vec<String> = packages
        .iter()
        .filter(|package| !package["license"].as_str().is_some_and(allows))
        .map(|package| {
            format!("{} {}: {}", package["name"], package["version"], package["license"])
        })
        .collect();
    assert!(refused.is_empty(), "not allowed:\n{}", refused.join("\n"));
}

#[test]
fn expressions_are_understood() {
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "Apache-2.0 / MIT",
        "GPL-3.0 OR MIT",
        "(MIT OR GPL-2.0-only) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        "ISC AND (Apache-2.0 OR ISC)",
    ] {
        assert!(allows(good), "{good}");
    }
    for bad in [
        "",
        "GPL-3.0-or-later",
        "LGPL-2.1",
        "AGPL-3.0",
        "MIT AND GPL-3.0",
        "MIT AND (GPL-3.0 OR LGPL-3.0)",
        "MIT OR", // broken: says nothing of what the other choice is
        "(MIT",
        "MIT)",
        "MIT Apache-2.0",
        "Apache-2.0 WITH Something-else",
        "SSPL-1.0 OR BUSL-1.1",
    ] {
        assert!(!allows(bad), "{bad}");
    }
}

/// Packages of others that the program is linked with or built by; what only tests use is left out.
fn shipped_packages() -> Vec<Value> {
    let host = Command::new("rustc").arg("-vV").output().unwrap();
    let host = String::from_utf8(host.stdout).unwrap();
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned();
    // Without the filter, crates for other systems would have to be downloaded.
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform"])
        .arg(host)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();

    let ours: BTreeSet<&str> = texts(&metadata["workspace_members"]).collect();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let mut reached = ours.clone();
    let mut open: Vec<&str> = ours.iter().copied().collect();
    while let Some(id) = open.pop() {
        let node = nodes.iter().find(|node| node["id"] == id).unwrap();
        for dependency in node["deps"].as_array().unwrap() {
            let kinds = dependency["dep_kinds"].as_array().unwrap();
            let id = dependency["pkg"].as_str().unwrap();
            if kinds.iter().any(|kind| kind["kind"] != "dev") && reached.insert(id) {
                open.push(id);
            }
        }
    }
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .filter(|package| {
            let id = package["id"].as_str().unwrap();
            reached.contains(id) && !ours.contains(id)
        })
        .cloned()
        .collect()
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().unwrap().iter().map(|item| item.as_str().unwrap())
}

/// Whether a licence expression (SPDX 2.3 annex D; `/` is an old way to write OR) gives a choice
/// in which everything is allowed. What cannot be read is refused.
fn allows(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { words: &words, valid: true };
    let allowed = reader.choice();
    allowed && reader.valid && reader.words.is_empty()
}

struct Reader<'a> {
    words: &'a [&'a str],
    valid: bool,
}

impl<'a> Reader<'a> {
    fn take(&mut self) -> Option<&'a str> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }

    fn take_if(&mut self, word: &str) -> bool {
        let found = self.words.first() == Some(&word);
        if found {
            self.words = &self.words[1..];
        }
        found
    }

    fn choice(&mut self) -> bool {
        let mut allowed = self.all();
        while self.take_if("OR") {
            allowed |= self.all();
        }
        allowed
    }

    fn all(&mut self) -> bool {
        let mut allowed = self.licence();
        while self.take_if("AND") {
            allowed &= self.licence();
        }
        allowed
    }

    fn licence(&mut self) -> bool {
        match self.take() {
            Some("(") => {
                let allowed = self.choice();
                self.valid &= self.take_if(")");
                allowed
            }
            None | Some(")" | "AND" | "OR" | "WITH") => {
                self.valid = false;
                false
            }
            Some(name) => {
                let excepted = !self.take_if("WITH")
                    || self.take().is_some_and(|exception| EXCEPTIONS.contains(&exception));
                ALLOWED.contains(&name) && excepted
            }
        }
    }
}
