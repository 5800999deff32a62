//! Secrets at rest, and keys for signing: everything derived from `server.secret_key`.

mod key_file;

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::config::Secret;
use crate::storage::StorageParams;

pub use key_file::{FILE as KEY_FILE, load_or_create_secret_key};

/// What every sealed text begins with.
const MARK: &str = "sealed:v1:";
const NONCE: usize = 12;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SealError {
    #[error("a secret in the catalog cannot be read: was server.secret_key changed?")]
    Unreadable,
    #[error("the cryptographic library failed")]
    Failed,
}

/// Seals short secrets as text (AES-256-GCM), and derives keys for other purposes.
pub struct Sealer {
    root: Prk,
    key: RandomizedNonceKey,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

struct Length32;

impl KeyType for Length32 {
    fn len(&self) -> usize {
        32
    }
}

impl Sealer {
    /// `secret_key`: `server.secret_key`, any text; it should hold 128 random bits or more.
    pub fn new(secret_key: &Secret) -> Result<Self, SealError> {
        let root = Salt::new(HKDF_SHA256, b"portal-backup").extract(secret_key.expose().as_bytes());
        let key = RandomizedNonceKey::new(&AES_256_GCM, &derive(&root, b"seal v1")?)
            .map_err(|_| SealError::Failed)?;
        Ok(Self { root, key })
    }

    /// Seals a text as `sealed:v1:…`; the same text is sealed differently every time.
    pub fn seal(&self, text: &str) -> Result<String, SealError> {
        self.seal_at("", text.as_bytes().to_vec())
    }

    /// Seals bytes in the same form. `place`: where they are kept; at another they do not open.
    pub fn seal_at(&self, place: &str, mut sealed: Vec<u8>) -> Result<String, SealError> {
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(format!("{MARK}{place}")), &mut sealed)
            .map_err(|_| SealError::Failed)?;
        let mut bytes = nonce.as_ref().to_vec();
        bytes.append(&mut sealed);
        Ok(format!("{MARK}{}", STANDARD_NO_PAD.encode(bytes)))
    }

    /// Opens what `seal` made.
    pub fn unseal(&self, sealed: &str) -> Result<Secret, SealError> {
        let opened = self.unseal_at("", sealed)?;
        String::from_utf8(opened).map(Secret::new).map_err(|_| SealError::Unreadable)
    }

    /// Opens what `seal_at` made for this place.
    pub fn unseal_at(&self, place: &str, sealed: &str) -> Result<Vec<u8>, SealError> {
        let text = sealed.strip_prefix(MARK).ok_or(SealError::Unreadable)?;
        let mut bytes = STANDARD_NO_PAD.decode(text).map_err(|_| SealError::Unreadable)?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE).ok_or(SealError::Unreadable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Unreadable)?;
        let opened = self
            .key
            .open_in_place(nonce, Aad::from(format!("{MARK}{place}")), sealed)
            .map_err(|_| SealError::Unreadable)?;
        Ok(opened.to_vec())
    }

    /// Seals the values whose names `is_secret` picks; those sealed already stay as they are.
    pub fn seal_params(
        &self,
        params: &StorageParams,
        is_secret: impl Fn(&str) -> bool,
    ) -> Result<StorageParams, SealError> {
        let seal = |(name, value): (&String, &String)| {
            // What merely looks sealed would be believed later: only what opens is left alone.
            let value = if is_secret(name) && self.unseal(value).is_err() {
                self.seal(value)?
            } else {
                value.clone()
            };
            Ok((name.clone(), value))
        };
        params.iter().map(seal).collect()
    }

    /// Opens every sealed value.
    pub fn unseal_params(&self, params: &StorageParams) -> Result<StorageParams, SealError> {
        let open = |(name, value): (&String, &String)| {
            let value = if value.starts_with(MARK) {
                self.unseal(value)?.expose().to_owned()
            } else {
                value.clone()
            };
            Ok((name.clone(), value))
        };
        params.iter().map(open).collect()
    }

    /// A key of its own for HMAC-SHA-256 signatures of one purpose, for example `link`.
    pub fn signing_key(&self, purpose: &str) -> Result<[u8; 32], SealError> {
        derive(&self.root, format!("sign {purpose}").as_bytes())
    }
}

fn derive(root: &Prk, info: &[u8]) -> Result<[u8; 32], SealError> {
    let mut key = [0; 32];
    root.expand(&[info], Length32)
        .and_then(|material| material.fill(&mut key))
        .map_err(|_| SealError::Failed)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_texts_open_with_the_same_key_only() {
        let sealer = Sealer::new(&Secret::new("one")).unwrap();
        for text in ["", "hunter2", &"ж".repeat(5000)] {
            let sealed = sealer.seal(text).unwrap();
            assert!(sealed.starts_with(MARK) && (text.is_empty() || !sealed.contains(text)));
            assert_ne!(sealed, sealer.seal(text).unwrap());
            assert_eq!(sealer.unseal(&sealed).unwrap().expose(), text);
            let other = Sealer::new(&Secret::new("two")).unwrap();
            assert_eq!(other.unseal(&sealed).unwrap_err(), SealError::Unreadable);
        }
    }

    #[test]
    fn any_change_is_noticed() {
        let sealer = Sealer::new(&Secret::new("one")).unwrap();
        let sealed = sealer.seal("hunter2").unwrap();
        let bytes = STANDARD_NO_PAD.decode(&sealed[MARK.len()..]).unwrap();
        for position in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[position] ^= 1;
            let text = format!("{MARK}{}", STANDARD_NO_PAD.encode(changed));
            assert!(sealer.unseal(&text).is_err());
        }
        for text in ["", "hunter2", MARK, "sealed:v1:AAAA", "sealed:v1:*"] {
            assert!(sealer.unseal(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_sealed_for_a_place_opens_there_alone() {
        let sealer = Sealer::new(&Secret::new("one")).unwrap();
        let sealed = sealer.seal_at("a 1", vec![0, 255, 7]).unwrap();
        assert_eq!(sealer.unseal_at("a 1", &sealed).unwrap(), [0, 255, 7]);
        for place in ["", "a 2", "b 1"] {
            assert_eq!(sealer.unseal_at(place, &sealed).unwrap_err(), SealError::Unreadable);
        }
        assert_eq!(sealer.unseal(&sealed).unwrap_err(), SealError::Unreadable);
    }

    #[test]
    fn params_are_sealed_by_name() {
        let sealer = Sealer::new(&Secret::new("one")).unwrap();
        let params: StorageParams = [
            ("bucket".to_owned(), "b".to_owned()),
            ("secret".to_owned(), "hunter2".to_owned()),
            ("fake".to_owned(), "sealed:v1:AAAA".to_owned()),
        ]
        .into();
        let sealed = sealer.seal_params(&params, |name| name != "bucket").unwrap();
        assert_eq!(sealed["bucket"], "b");
        assert!(!format!("{sealed:?}").contains("hunter2"));
        let again = sealer.seal_params(&sealed, |name| name != "bucket").unwrap();
        assert_eq!(again, sealed);
        assert_eq!(sealer.unseal_params(&sealed).unwrap(), params);
    }

    #[test]
    fn each_purpose_has_its_key() {
        let sealer = Sealer::new(&Secret::new("one")).unwrap();
        assert_eq!(sealer.signing_key("link"), sealer.signing_key("link"));
        assert_ne!(sealer.signing_key("link"), sealer.signing_key("seal v1"));
    }
}
