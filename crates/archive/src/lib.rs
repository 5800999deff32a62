//! The archive format.

/// How frames are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    None,
    #[default]
    Fast,
    Small,
}

pub struct Archive;

/// Something that can be read at any position: an archive in a storage, a file, bytes in memory.
#[async_trait::async_trait]
pub trait ReadAt: Send + Sync {
    /// The length in bytes.
    fn len(&self) -> u64;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Exactly the bytes of `range`; an error when it reaches past the end.
    async fn read_at(&self, range: std::ops::Range<u64>) -> std::io::Result<bytes::Bytes>;
}
