//! Places that a request names: a path as Windows or Unix write it, under the local storage's root, or the URL of an
//! object store.

use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::app::App;
use crate::ops::OpError;
use crate::storage::{Storage, StorageParams, StorageType};

/// A folder or prefix that a request may name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Location {
    /// As it was named.
    pub shown: String,
    pub storage_type: StorageType,
    pub storage_params: StorageParams,
}

impl Location {
    /// `OpError::Invalid` when the place lies outside what requests may name. Nothing is asked or made.
    pub fn parse(app: &App, text: &str) -> Result<Self, OpError> {
        let text = &unescaped(text.trim());
        let (storage_type, name, value) = if text.contains("://") {
            (StorageType::CustomCloud, "url", text.to_owned())
        } else {
            let parts = parts(text, &app.config.storage.local.root)
                .map_err(|why| OpError::Invalid(format!("{text}: {why}")))?;
            (StorageType::Local, "filePath", parts.join("/"))
        };
        let storage_params = StorageParams::from([(name.to_owned(), value)]);
        let location = Self { shown: text.to_owned(), storage_type, storage_params };
        location.storage(app)?;
        Ok(location)
    }

    /// A folder in it; `name` must be a plain name.
    pub fn child(&self, name: &str) -> Result<Self, OpError> {
        let mut child = self.clone();
        for (kind, value) in &mut child.storage_params {
            *value = match kind.as_str() {
                "url" => below(value, name)?,
                _ if value.is_empty() => name.to_owned(),
                _ => format!("{value}/{name}"),
            };
        }
        child.shown = format!("{}/{name}", self.shown.trim_end_matches(['/', '\\']));
        Ok(child)
    }

    pub fn storage(&self, app: &App) -> Result<Storage, OpError> {
        Ok(app.storages.resolve(self.storage_type, &self.storage_params)?)
    }

    /// The last part of the path; None: it is the root itself.
    pub fn last(&self, app: &App) -> Result<Option<String>, OpError> {
        let url = self.storage(app)?.url().clone();
        let root = self.storage_params.values().all(|value| value.is_empty());
        let last = url
            .path_segments()
            .and_then(|mut parts| parts.rfind(|part| !part.is_empty()).map(str::to_owned));
        let last = last.filter(|_| !root);
        Ok(last.map(|part| {
            percent_encoding::percent_decode_str(&part).decode_utf8_lossy().into_owned()
        }))
    }
}

fn below(url: &str, name: &str) -> Result<String, OpError> {
    let mut url = Url::parse(url).map_err(|error| OpError::Invalid(error.to_string()))?;
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().push(name);
    }
    Ok(url.into())
}

/// What was meant: a shell, or a careless client, makes `c:\temp` a tab, and no path has control characters.
fn unescaped(text: &str) -> String {
    let mut path = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{8}' => path.push_str("\\b"),
            '\t' => path.push_str("\\t"),
            '\n' => path.push_str("\\n"),
            '\u{c}' => path.push_str("\\f"),
            '\r' => path.push_str("\\r"),
            c => path.push(c),
        }
    }
    path
}

/// The parts of a path below the root: a drive letter, `~` and leading slashes stand for the root, and so does the
/// root's own path.
fn parts(text: &str, root: &Path) -> Result<Vec<String>, &'static str> {
    let mut path = unescaped(text.trim()).replace('\\', "/");
    if path.contains(char::is_control) {
        return Err("it holds a control character");
    }
    if let Some(below) = below_root(&path, root) {
        path = below;
    }
    let bytes = path.as_bytes();
    if bytes.len() >= 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' {
        path.drain(..2);
    }
    if path == "~" || path.starts_with("~/") {
        path.drain(..1);
    }
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err("it climbs with \"..\""),
            part if part.len() > 255 => return Err("a part of it is longer than 255 bytes"),
            part => parts.push(part.to_owned()),
        }
    }
    Ok(parts)
}

/// A path that already names what lies under the root.
fn below_root(path: &str, root: &Path) -> Option<String> {
    let root = std::path::absolute(root).ok()?;
    let below = Path::new(path).strip_prefix(root).ok()?;
    let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
    plain.then(|| below.to_str().map(str::to_owned))?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Result<String, &'static str> {
        parts(text, Path::new("/srv/backups")).map(|parts| parts.join("/"))
    }

    /// "a drive letter or leading slash is taken as relative to it"
    #[test]
    fn windows_and_unix_paths_lie_below_the_root() {
        for (text, below) in [
            (r"c:\temp\backup\Northwind\", "temp/backup/Northwind"),
            (r"D:/temp/x", "temp/x"),
            (r"~\Databases\New\", "Databases/New"),
            (r"~\FileSystem\New", "FileSystem/New"),
            ("/var/x", "var/x"),
            ("x/./y//", "x/y"),
            (r"\\server\share\x", "server/share/x"),
            ("/srv/backups/x", "x"),
            ("/srv/backups2/x", "srv/backups2/x"),
            // What a shell makes of c:\temp\backup within a JSON text.
            ("c:\temp\u{8}ackup", "temp/backup"),
            ("c:", ""),
            ("a..b", "a..b"),
        ] {
            assert_eq!(of(text).as_deref(), Ok(below), "{text:?}");
        }
        for bad in [r"c:\..\x", "../x", "x/../../y", "/srv/backups/../x", "~/..", "x\0y", "\u{1b}"]
        {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_climbs(text in "[a-c.~:/\\\\\t ]{0,30}") {
            if let Ok(parts) = parts(&text, Path::new("/srv")) {
                for part in parts {
                    prop_assert!(!part.is_empty() && part != ".." && part != "." && !part.contains(['/', '\\']));
                }
            }
        }
    }
}
