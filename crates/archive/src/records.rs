//! What is known of each entry and each frame; the lines of the manifest's two lists.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Segment;

/// What an entry is to a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EntryKind {
    /// Says something by being there (DocSpace's `dump`).
    Marker,
    /// How a table is made.
    Scheme,
    /// The rows of a table.
    Data,
    /// A file of a filesystem.
    File,
    Directory,
    /// A view, trigger, routine or event.
    Object,
    /// A file of a search index.
    Index,
    /// Lists and notes about the rest.
    Info,
}

/// An entry to be written.
#[derive(Debug, Clone)]
pub struct NewEntry {
    /// Cleaned by [`crate::clean_path`]. The caller guarantees that no two entries have one name: the writer holds no
    /// list of them, and readers refuse an archive with two.
    pub path: String,
    pub kind: EntryKind,
    /// Unix seconds; negative ones are written as 0.
    pub mtime: i64,
    /// How many rows a table's data has.
    pub rows: Option<u64>,
    /// What a person should know about this entry.
    pub note: Option<String>,
    /// What tells the source's state from others of the same size and time, if anything does.
    pub version: Option<String>,
}

/// An entry of an archive; of an increment also one whose content lies in others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryRecord {
    pub path: String,
    pub kind: EntryKind,
    /// Bytes of content.
    pub size: u64,
    /// Unix seconds.
    #[serde(default)]
    pub mtime: i64,
    /// Where the entry's first header block starts in the tar stream.
    pub header_offset: u64,
    /// Where its content starts in the tar stream.
    pub tar_offset: u64,
    /// Of the content; None in archives that others wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// As [`NewEntry::version`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Of an increment's entry: where its content lies, in order. Its two offsets are then 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<Segment>,
}

/// A frame: one gzip member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FrameRecord {
    /// Where it starts in the file.
    pub offset: u64,
    /// Its compressed bytes.
    pub length: u32,
    /// Where its content starts in the tar stream.
    pub tar_offset: u64,
    /// The tar bytes in it, at most 4 MiB.
    pub tar_length: u32,
    /// Of the compressed bytes.
    pub sha256: Digest,
}

/// A SHA-256, written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    pub(crate) fn of(data: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(data).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = digits[usize::from(byte >> 4)];
            pair[1] = digits[usize::from(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[derive(Debug, thiserror::Error)]
#[error("not a SHA-256 in hex")]
pub struct NotADigest;

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let text = text.as_bytes();
        if text.len() != 64 {
            return Err(NotADigest);
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(NotADigest);
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
            *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
        }
        Ok(Self(digest))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Hex;
        impl serde::de::Visitor<'_> for Hex {
            type Value = Digest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("64 hex digits")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Digest, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Hex)
    }
}
