//! The digest of a table, as its dump would have it.

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use super::{DataSink, SinkClosed};

/// Takes a table's data and keeps its digest only.
#[derive(Default)]
pub(super) struct DigestSink(Sha256);

#[async_trait]
impl DataSink for DigestSink {
    async fn write(&mut self, piece: &[u8], _ends: &[usize]) -> Result<(), SinkClosed> {
        self.0.update(piece);
        Ok(())
    }
}

impl DigestSink {
    /// None of a table without rows: archives have no data of it.
    pub fn end(self, rows: u64) -> Option<[u8; 32]> {
        (rows > 0).then(|| self.0.finalize().into())
    }
}
