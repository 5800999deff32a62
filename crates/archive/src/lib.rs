//! The archive format: a `tar.gz` that every tool reads, cut into independent gzip members ("frames") so that any
//! part of it can be fetched, checked and unpacked alone. `docs/ARCHIVE-FORMAT.md` describes it byte by byte.
//!
//! - [`Writer`] writes one archive as a stream, within a fixed memory budget; [`Spool`]s take content whose size is not
//!   known in advance.
//! - [`Archive`] opens an archive for listing and random access, also archives that others wrote.
//! - [`verify`] reads a whole archive and reports everything that is wrong with it.
//!
//! The crate knows nothing of HTTP, SQL or object stores.

#![deny(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)
)]

mod budget;
mod emit;
mod error;
mod extract;
mod foreign;
mod frame;
mod header;
mod igzip;
mod inflate;
mod list;
mod manifest;
mod manifest_reader;
mod path;
mod pool;
mod pull;
mod ratio;
mod reader;
mod records;
mod sample;
mod segments;
mod source;
mod spool;
mod spool_store;
mod tail;
mod turns;
mod verify;
mod writer;

pub use error::{Error, Result};
pub use extract::{Extraction, extract};
pub use foreign::Piece;
pub use manifest::{DatabaseInfo, Link, MAX_LINKS, ManifestInfo, TenantInfo};
pub use path::{clean_path, is_at_or_in};
pub use ratio::Ratio;
pub use reader::{Archive, Format, LinkSource};
pub use records::{Digest, EntryKind, EntryRecord, FrameRecord, NewEntry};
pub use segments::{Segment, append_segments, cut_segments, starts};
pub use source::{LocalFile, ReadAt};
pub use spool::{Spool, Spools};
pub use verify::{Report, sha256, verify, verify_links};
pub use writer::{Summary, Writer, WriterOptions};

/// How frames are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Everything is stored.
    None,
    /// libdeflate's level 1.
    #[default]
    Fast,
    /// libdeflate's level 6.
    Small,
}

/// Of an increment: the list of its whole content.
pub(crate) const LIST: &str = "extra/increment/entries";
/// Of an increment: what is new of entries that lie in several archives, each below its own name.
pub(crate) const PARTS: &str = "extra/increment/parts/";
/// The name of the last tar entry.
pub(crate) const MANIFEST: &str = "manifest.json";
/// The most tar bytes in one frame.
pub(crate) const MAX_FRAME: usize = 4 << 20;
/// Tar's unit.
pub(crate) const BLOCK: u64 = 512;

/// The zero bytes that fill up the last block of `size` bytes of content.
pub(crate) fn padding(size: u64) -> u64 {
    (BLOCK - size % BLOCK) % BLOCK
}
