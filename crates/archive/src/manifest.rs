//! `manifest.json`: one JSON document, laid out in lines so that it can be written and read as a stream.
//!
//! Line 1 is the object's beginning with everything of [`ManifestInfo`] and ends with `"frames":[`; then one frame a
//! line; the line `],"entries":[`; one entry a line; the line `]}`.

use serde::{Deserialize, Serialize};

use crate::{Digest, Error, Result};

/// The version of an archive that stands alone.
pub(crate) const FORMAT: u32 = 1;
/// The version of an increment: a reader that knows only the first would take it for all there is.
pub(crate) const INCREMENT: u32 = 2;
/// No line of an honest manifest is longer, except the first.
pub(crate) const MAX_LINE: usize = 512 << 10;
/// The most bytes of the first line.
pub(crate) const MAX_INFO: usize = 16 << 20;
/// Notes are cut here, so that a line stays under [`MAX_LINE`] however they are escaped.
pub(crate) const MAX_NOTE: usize = 16 << 10;
/// The most archives that one may need.
pub const MAX_LINKS: usize = 1000;
/// Longer versions of a file are left out.
pub(crate) const MAX_VERSION: usize = 1 << 10;

const FRAMES: &str = "\"frames\":[";
pub(crate) const ENTRIES: &str = "],\"entries\":[";
pub(crate) const END: &str = "]}";

/// Everything of `manifest.json` except the lists of frames and entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestInfo {
    /// The format's version; [`crate::Writer::finish`] sets it.
    #[serde(default)]
    pub format: u32,
    /// What wrote the archive: `portal-backup x.y.z`.
    #[serde(default)]
    pub program: String,
    /// The archive's id, a UUID.
    #[serde(default)]
    pub id: String,
    #[serde(default)]
    pub portal: String,
    /// `docspace` or `plain`.
    #[serde(default)]
    pub layout: String,
    /// Whether it holds the whole installation.
    #[serde(default)]
    pub dump: bool,
    /// `full` or `incremental`.
    #[serde(default)]
    pub mode: String,
    /// The id of the schedule that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// The id of the archive that this one adds to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Of an increment: the archives that it needs, its parent first, then that one's own links.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// Of a backup of one source alone: which one, in words of the service that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// What the digests of chunks are keyed with, 64 hex digits; the same in all of a chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk_key: Option<String>,
    #[serde(default)]
    pub tenants: Vec<TenantInfo>,
    #[serde(default)]
    pub databases: Vec<DatabaseInfo>,
    #[serde(default)]
    pub filesystems: Vec<String>,
    #[serde(default)]
    pub indexes: Vec<String>,
    /// RFC 3339.
    #[serde(default)]
    pub started_on: String,
    /// RFC 3339.
    #[serde(default)]
    pub finished_on: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_key_fingerprint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_migration: Option<String>,
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// An archive that an increment needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    pub id: String,
    /// Its file's name.
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Where it lies as seen from the increment's folder, if that is another: `../NAME` or `../FOLDER/NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Bytes of the archive.
    pub size: u64,
    /// Of the whole archive, in hex, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Of its manifest, as its tail says: by the digests in it this is one of all its content.
    pub manifest: Digest,
    /// When it was begun, RFC 3339.
    #[serde(default)]
    pub started_on: String,
}

impl Link {
    /// What it is called where somebody is to look for it.
    pub fn shown(&self) -> &str {
        self.place.as_deref().unwrap_or(&self.name)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantInfo {
    pub id: i64,
    #[serde(default)]
    pub alias: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseInfo {
    pub name: String,
    #[serde(default)]
    pub engine: String,
    #[serde(default)]
    pub server_version: String,
    /// Where in the server's log the snapshot lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
}

impl ManifestInfo {
    /// The manifest's first line, without its end of line. Errors when it would be over 16 MiB.
    pub(crate) fn first_line(&self) -> Result<String> {
        let mut line = serde_json::to_string(self).map_err(|_| Error::TooLarge("the manifest"))?;
        // serde_json writes no end of line inside a document, and an object ends with a brace.
        line.pop();
        line.push(',');
        line.push_str(FRAMES);
        if line.len() > MAX_INFO { Err(Error::TooLarge("the manifest")) } else { Ok(line) }
    }

    pub(crate) fn parse_first_line(line: &[u8]) -> Result<Self> {
        let wrong = || Error::damaged("the manifest does not begin as one");
        let text = std::str::from_utf8(line).map_err(|_| wrong())?;
        let object =
            text.strip_suffix(FRAMES).and_then(|text| text.strip_suffix(',')).ok_or_else(wrong)?;
        let info: Self = serde_json::from_str(&format!("{object}}}"))
            .map_err(|error| Error::damaged(format!("the manifest's first line: {error}")))?;
        match info.format {
            FORMAT if info.links.is_empty() => Ok(info),
            INCREMENT if (1..=MAX_LINKS).contains(&info.links.len()) => Ok(info),
            FORMAT | INCREMENT => Err(Error::hostile("its number of links is not one it can have")),
            0 => Err(wrong()),
            newer => Err(Error::NewerFormat(newer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_can_be_read_back() {
        let info = ManifestInfo {
            format: 1,
            portal: "a \"portal\"\n,\"frames\":[".to_owned(),
            parent: Some("x".to_owned()),
            tenants: vec![TenantInfo { id: 1, alias: "t".to_owned() }],
            ..ManifestInfo::default()
        };
        let line = info.first_line().unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(ManifestInfo::parse_first_line(line.as_bytes()).unwrap(), info);
    }

    #[test]
    fn unknown_members_are_ignored_and_newer_formats_refused() {
        let line = br#"{"format":1,"colour":{"a":[1]},"frames":["#;
        assert_eq!(ManifestInfo::parse_first_line(line).unwrap().format, 1);
        let line = br#"{"format":3,"frames":["#;
        assert!(matches!(ManifestInfo::parse_first_line(line), Err(Error::NewerFormat(3))));
        let line = br#"{"format":2,"frames":["#;
        assert!(matches!(ManifestInfo::parse_first_line(line), Err(Error::Hostile(_))));
        for line in [&b"{\"frames\":["[..], b"", b"{}", b"\xff", br#"{"format":1"frames":["#] {
            assert!(matches!(ManifestInfo::parse_first_line(line), Err(Error::Damaged(_))));
        }
    }
}
