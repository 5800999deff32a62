//! DocSpace's API keys: how it hashes them and what they permit (`facts.md` §1).

use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::pbkdf2;
use tokio::sync::Semaphore;

use super::cache::TtlCache;
use crate::config::Secret;

const ROUNDS: NonZeroU32 = NonZeroU32::new(100_000).unwrap();
/// From whose hash DocSpace makes its password salt, when none is configured.
const SALT_OF_SALT: &str = "{9450BEF7-7D9F-4E4F-A18A-971D8681722D}";
const FINGERPRINT_SALT: &[u8] = b"portal-backup: fingerprint of a machine key";
const FINGERPRINT_BYTES: usize = 8;
/// A hash never changes: it is forgotten only so that keys out of use are.
const REMEMBERED: Duration = Duration::from_secs(600);
const REMEMBERED_KEYS: usize = 1024;
/// Hashing takes some 50 ms of a core; more than this would starve everything else.
fn hashed_at_once() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (cores / 2).clamp(1, 2)
}

/// The salt of key hashes: 64 hex digits. Takes some 50 ms.
pub fn salt(machine_key: &str) -> String {
    let salt = digest(&SHA256, SALT_OF_SALT.as_bytes());
    derive(machine_key, salt.as_ref())
}

/// `core_user_api_key.hashed_key` of a key (with its `sk-`). Takes some 50 ms.
pub fn hash_key(key: &str, salt: &str) -> String {
    derive(key, salt.as_bytes())
}

fn derive(secret: &str, salt: &[u8]) -> String {
    let mut out = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, salt, secret.as_bytes(), &mut out);
    hex::encode(out)
}

/// 16 hex digits that are the same for the same machine key and do not give it away: machine keys may
/// be short, so guessing one costs a key derivation a try.
pub fn fingerprint(machine_key: &str) -> String {
    let mut out = [0; FINGERPRINT_BYTES];
    let key = machine_key.as_bytes();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, FINGERPRINT_SALT, key, &mut out);
    hex::encode(out)
}

/// Whether a text is a key by its form: `sk-` and 64 hex digits in lower case.
pub fn is_key(text: &str) -> bool {
    text.strip_prefix("sk-").is_some_and(|digits| {
        digits.len() == 64 && digits.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Hashes keys off the async threads and remembers those that proved valid, by their SHA-256.
pub struct KeyHasher {
    machine_key: Secret,
    /// None yet: it is to be made of the machine key.
    salt: Arc<OnceLock<String>>,
    known: TtlCache<[u8; 32], String>,
    slots: Semaphore,
}

impl KeyHasher {
    /// `configured`: DocSpace's own salt; empty where it makes one of its machine key.
    pub fn new(machine_key: Secret, configured: &Secret) -> Self {
        let configured = Some(configured.expose().trim()).filter(|salt| !salt.is_empty());
        let salt = configured.map_or_else(OnceLock::new, |salt| OnceLock::from(salt.to_owned()));
        Self {
            machine_key,
            salt: Arc::new(salt),
            known: TtlCache::new(REMEMBERED_KEYS),
            slots: Semaphore::new(hashed_at_once()),
        }
    }

    pub fn machine_key(&self) -> &Secret {
        &self.machine_key
    }

    /// None when the hash could not be made at all (the program is stopping).
    pub async fn hash(&self, key: &str) -> Option<String> {
        let name = name(key);
        if let Some(known) = self.known.get(&name) {
            return Some(known);
        }
        let _slot = self.slots.acquire().await.ok()?;
        // Another request may have proved it while this one waited.
        if let Some(known) = self.known.get(&name) {
            return Some(known);
        }
        let (machine_key, key) = (self.machine_key.clone(), Secret::new(key));
        let cell = self.salt.clone();
        let work = move || {
            let salt = cell.get_or_init(|| salt(machine_key.expose()));
            hash_key(key.expose(), salt)
        };
        tokio::task::spawn_blocking(work).await.ok()
    }

    /// Keeps the hash of a key that proved valid. Others are not kept, so guesses cannot push keys out.
    pub fn remember(&self, key: &str, hash: String) {
        self.known.insert(name(key), hash, REMEMBERED);
    }
}

fn name(key: &str) -> [u8; 32] {
    let mut name = [0; 32];
    name.copy_from_slice(digest(&SHA256, key.as_bytes()).as_ref());
    name
}

/// What a key permits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes(Vec<String>);

impl Scopes {
    /// `permissions`: the column, a JSON list of texts. None or an empty list means everything;
    /// what cannot be read means nothing.
    pub fn of(permissions: Option<&str>) -> Self {
        let everything = || Self(vec!["*:write".to_owned()]);
        let Some(text) = permissions else { return everything() };
        match serde_json::from_str::<Option<Vec<String>>>(text) {
            Ok(None) => everything(),
            Ok(Some(list)) if list.is_empty() || list.iter().any(|p| p == "*") => everything(),
            Ok(Some(list)) => Self(list),
            Err(_) => Self(Vec::new()),
        }
    }

    /// May ask for status and history (DocSpace: every GET).
    pub fn can_read(&self) -> bool {
        self.has("*:read") || self.can_write()
    }

    /// May do everything else.
    pub fn can_write(&self) -> bool {
        self.has("*:write")
    }

    fn has(&self, scope: &str) -> bool {
        self.0.iter().any(|own| own == scope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE_KEY: &str = "1123askdasjklasbnd";

    /// The vector of `facts.md` §1.
    #[test]
    fn keys_are_hashed_as_docspace_hashes_them() {
        let salt = salt(MACHINE_KEY);
        assert_eq!(salt, "0a783fef249b0cfa2b1ddc3825bf9a5c9c869bf65a4a45cbd5a0c93b16b5a47e");
        assert_eq!(
            hash_key(&format!("sk-{}", "0".repeat(64)), &salt),
            "bbf828982740fdbb5fe16f87f68444e7b23f39d8cf6b401a686d7637d0530d7f"
        );
    }

    #[test]
    fn fingerprints_tell_keys_apart() {
        let own = fingerprint(MACHINE_KEY);
        assert_eq!(own.len(), 16);
        assert_eq!(own, fingerprint(MACHINE_KEY));
        assert_ne!(own, fingerprint("another"));
    }

    #[test]
    fn keys_have_one_form() {
        assert!(is_key(&format!("sk-{}", "0a".repeat(32))));
        assert!(!is_key(&format!("sk-{}", "0A".repeat(32))));
        assert!(!is_key(&format!("sk-{}", "0a".repeat(31))));
        assert!(!is_key(&"0a".repeat(32)));
    }

    #[test]
    fn permissions_become_scopes() {
        let rights = |text| {
            let scopes = Scopes::of(text);
            (scopes.can_read(), scopes.can_write())
        };
        assert_eq!(rights(None), (true, true));
        assert_eq!(rights(Some("[]")), (true, true));
        assert_eq!(rights(Some("null")), (true, true));
        assert_eq!(rights(Some(r#"["*"]"#)), (true, true));
        assert_eq!(rights(Some(r#"["files:read","*:write"]"#)), (true, true));
        assert_eq!(rights(Some(r#"["*:read"]"#)), (true, false));
        assert_eq!(rights(Some(r#"["files:read","files:write"]"#)), (false, false));
        assert_eq!(rights(Some("garbage")), (false, false));
    }

    #[tokio::test]
    async fn a_hasher_hashes_as_the_function_does() {
        let hasher = KeyHasher::new(Secret::new(MACHINE_KEY), &Secret::default());
        let key = format!("sk-{}", "0".repeat(64));
        let hash = hasher.hash(&key).await.unwrap();
        assert_eq!(hash, hash_key(&key, &salt(MACHINE_KEY)));
        assert!(hasher.known.get(&name(&key)).is_none());
        hasher.remember(&key, "marked".to_owned());
        assert_eq!(hasher.hash(&key).await.as_deref(), Some("marked"));
    }
}
