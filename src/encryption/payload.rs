//! age's payload: STREAM over ChaCha20-Poly1305, as <https://age-encryption.org/v1> has it. The work is done by the
//! library that TLS uses, which is the fastest here; the tests compare with the `age` crate, both ways.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};

use super::{Damaged, EncryptionError};

/// Bytes of a chunk in clear; only the last one may have fewer.
pub const CHUNK: usize = 64 << 10;
/// What sealing adds to each chunk.
pub const TAG: usize = 16;
pub const SEALED: usize = CHUNK + TAG;
/// Bytes between the header and the first chunk.
pub const NONCE: usize = 16;

pub type FileKey = [u8; 16];

/// Seals and opens the chunks of one archive.
pub struct PayloadKey(LessSafeKey);

struct Length32;

impl KeyType for Length32 {
    fn len(&self) -> usize {
        32
    }
}

impl PayloadKey {
    pub fn derive(file_key: &FileKey, nonce: &[u8; NONCE]) -> Result<Self, EncryptionError> {
        let failed = |_| EncryptionError::Failed;
        let mut key = [0; 32];
        Salt::new(HKDF_SHA256, nonce)
            .extract(file_key)
            .expand(&[b"payload"], Length32)
            .and_then(|material| material.fill(&mut key))
            .map_err(failed)?;
        let key = UnboundKey::new(&CHACHA20_POLY1305, &key).map_err(failed)?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Seals what lies in `out` from `start` on as the chunk of this number.
    pub fn seal(
        &self,
        number: u64,
        last: bool,
        out: &mut Vec<u8>,
        start: usize,
    ) -> Result<(), EncryptionError> {
        let chunk = out.get_mut(start..).ok_or(EncryptionError::Failed)?;
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce(number, last), Aad::empty(), chunk)
            .map_err(|_| EncryptionError::Failed)?;
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// Opens a chunk in its place; returns what was sealed.
    pub fn open<'c>(
        &self,
        number: u64,
        last: bool,
        chunk: &'c mut [u8],
    ) -> Result<&'c mut [u8], Damaged> {
        self.0.open_in_place(nonce(number, last), Aad::empty(), chunk).map_err(|_| {
            Damaged(match last {
                true => "its end is missing or was changed".to_owned(),
                false => format!("its chunk {number} was changed"),
            })
        })
    }
}

/// The chunk's number in eleven bytes, and whether it is the last one.
fn nonce(number: u64, last: bool) -> Nonce {
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&number.to_be_bytes());
    nonce[11] = u8::from(last);
    Nonce::assume_unique_for_key(nonce)
}
