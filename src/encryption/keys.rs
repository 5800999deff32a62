//! Who archives are encrypted for, and what opens them.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use age::secrecy::{ExposeSecret, SecretString};
use age::{DecryptError, EncryptError, scrypt, x25519};
use age_core::format::{FileKey as AgeKey, Stanza};
use sha2::{Digest as _, Sha256};

use super::payload::{FileKey, NONCE, PayloadKey};
use super::{Damaged, ENDING, EncryptionError};
use crate::config::{EncryptionConfig, Secret};

/// scrypt's N for new archives as a power of two: 64 MiB of memory, a fraction of a second.
const WORK: u8 = 16;
/// What the `age` tool takes: 256 MiB. A larger one is refused.
pub const MOST_WORK: u8 = 18;
/// How many archives' file keys are remembered, so that a passphrase is worked on once for each.
const REMEMBERED: usize = 64;

type Identity = Box<dyn age::Identity + Send + Sync>;

/// Recipients, identities and the passphrase, as they are configured.
#[derive(Default)]
pub struct Keys {
    recipients: Vec<x25519::Recipient>,
    identities: Vec<Identity>,
    passphrase: Secret,
    /// File keys that the passphrase opened, by the digests of the headers. Locked while one is worked out, so that
    /// many requests do not take many times the memory.
    worked_out: Mutex<HashMap<[u8; 32], FileKey>>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("recipients", &self.recipients)
            .field("identities", &self.identities.len())
            .finish_non_exhaustive()
    }
}

impl Keys {
    /// Reads the identity file. Errors say which setting is wrong and never what a secret holds.
    pub fn new(config: &EncryptionConfig) -> Result<Self, String> {
        let recipients = config.recipients.iter().map(|text| {
            text.trim().parse().map_err(|_| {
                let hint = match text.trim().to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") {
                    true => {
                        "this is an identity, which must stay secret: write its recipient, age1…"
                            .to_owned()
                    }
                    false => {
                        format!("{text:?} is no recipient: write age1…, as age-keygen prints it")
                    }
                };
                format!("encryption.recipients: {hint}")
            })
        });
        let identities = match config.identity_file.as_os_str().is_empty() {
            true => Vec::new(),
            false => read_identities(&config.identity_file)?,
        };
        Ok(Self {
            recipients: recipients.collect::<Result<_, _>>()?,
            identities,
            passphrase: config.passphrase.clone(),
            worked_out: Mutex::default(),
        })
    }

    /// Whether new archives are encrypted.
    pub fn encrypts(&self) -> bool {
        !self.recipients.is_empty() || !self.passphrase.is_empty()
    }

    /// Whether there is anything to open archives with.
    pub fn opens(&self) -> bool {
        !self.identities.is_empty() || !self.passphrase.is_empty()
    }

    /// The name of a new archive, which is `name` if it is not encrypted.
    pub fn named(&self, name: &str) -> String {
        name.strip_suffix(ENDING).unwrap_or(name).to_owned() + self.ending()
    }

    /// What is added to the names of new archives.
    pub fn ending(&self) -> &'static str {
        if self.encrypts() { ENDING } else { "" }
    }

    /// Whether what is encrypted for the recipients can be opened again here.
    pub fn opens_own(&self) -> Result<bool, EncryptionError> {
        let (head, _) = self.lock()?;
        match self.unlock(&head) {
            Ok(_) => Ok(true),
            Err(EncryptionError::NoIdentity | EncryptionError::WrongIdentity) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Begins an archive: its first bytes, and the key of what follows them. Takes a while with a passphrase.
    pub(super) fn lock(&self) -> Result<(Vec<u8>, PayloadKey), EncryptionError> {
        let caught = Cell::new(None);
        let encryptor = if self.recipients.is_empty() {
            let mut one = scrypt::Recipient::new(SecretString::from(self.passphrase.expose()));
            one.set_work_factor(WORK);
            let one = Catching { inner: &one as &dyn age::Recipient, caught: &caught };
            age::Encryptor::with_recipients([&one as &dyn age::Recipient].into_iter())
        } else {
            let all: Vec<_> = self
                .recipients
                .iter()
                .map(|one| Catching { inner: one as &dyn age::Recipient, caught: &caught })
                .collect();
            age::Encryptor::with_recipients(all.iter().map(|one| one as &dyn age::Recipient))
        };
        let mut head = Vec::new();
        encryptor
            .map_err(|_| EncryptionError::Failed)?
            .wrap_output(&mut head)
            .map_err(|_| EncryptionError::Failed)?;
        let file_key = caught.take().ok_or(EncryptionError::Failed)?;
        let key = PayloadKey::derive(&file_key, nonce(&head)?)?;
        Ok((head, key))
    }

    /// Reads an archive's first bytes, of which `head` may hold more than the header: where its payload begins, and
    /// the key of that. Takes a while with a passphrase.
    pub(super) fn unlock(&self, head: &[u8]) -> Result<(usize, PayloadKey), EncryptionError> {
        let unreadable = || Damaged("its header cannot be read".to_owned());
        let length = header_length(head).ok_or_else(unreadable)?;
        let header = age::Decryptor::new_buffered(&head[..length]).map_err(|_| unreadable())?;
        if !self.opens() {
            return Err(EncryptionError::NoIdentity);
        }
        let file_key = if header.is_scrypt() {
            let digest: [u8; 32] = Sha256::digest(&head[..length]).into();
            let mut known = self.worked_out.lock().unwrap_or_else(PoisonError::into_inner);
            match known.get(&digest) {
                Some(file_key) => *file_key,
                None => {
                    let file_key = self.by_passphrase(header)?;
                    if known.len() >= REMEMBERED {
                        known.clear();
                    }
                    known.insert(digest, file_key);
                    file_key
                }
            }
        } else {
            let all = self.identities.iter().map(|one| &**one as &dyn age::Identity);
            file_key(header, all)?
        };
        let key = PayloadKey::derive(&file_key, nonce(&head[..length])?)?;
        Ok((length, key))
    }

    fn by_passphrase(&self, header: age::Decryptor<&[u8]>) -> Result<FileKey, EncryptionError> {
        if self.passphrase.is_empty() {
            return Err(EncryptionError::WrongIdentity);
        }
        let mut one = scrypt::Identity::new(SecretString::from(self.passphrase.expose()));
        one.set_max_work_factor(MOST_WORK);
        file_key(header, [&one as &dyn age::Identity].into_iter())
    }
}

/// What the header wraps, if one of the identities opens it and the header is as it was made.
fn file_key<'i>(
    header: age::Decryptor<&[u8]>,
    identities: impl Iterator<Item = &'i (dyn age::Identity + 'i)>,
) -> Result<FileKey, EncryptionError> {
    let caught = Cell::new(None);
    let all: Vec<_> = identities.map(|inner| Catching { inner, caught: &caught }).collect();
    match header.decrypt(all.iter().map(|one| one as &dyn age::Identity)) {
        Ok(_) => caught.take().ok_or(EncryptionError::Failed),
        Err(DecryptError::ExcessiveWork { required, .. }) => {
            Err(EncryptionError::TooMuchWork(required))
        }
        Err(DecryptError::InvalidMac | DecryptError::InvalidHeader) => {
            Err(Damaged("its header was changed".to_owned()).into())
        }
        Err(_) => Err(EncryptionError::WrongIdentity),
    }
}

/// Bytes of the header and the nonce after it: the header's last line begins with `---`, and no other does.
fn header_length(head: &[u8]) -> Option<usize> {
    let last = head.windows(5).position(|window| window == b"\n--- ")? + 1;
    let end = last + head[last..].iter().position(|&byte| byte == b'\n')? + 1 + NONCE;
    (end <= head.len()).then_some(end)
}

fn nonce(head: &[u8]) -> Result<&[u8; NONCE], EncryptionError> {
    head.last_chunk().ok_or(EncryptionError::Failed)
}

/// Hands on to another recipient or identity, and remembers the file key: the `age` crate itself only gives streams.
struct Catching<'a, T: ?Sized> {
    inner: &'a T,
    caught: &'a Cell<Option<FileKey>>,
}

impl age::Recipient for Catching<'_, dyn age::Recipient + '_> {
    fn wrap_file_key(&self, key: &AgeKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        self.caught.set(Some(*key.expose_secret()));
        self.inner.wrap_file_key(key)
    }
}

impl age::Identity for Catching<'_, dyn age::Identity + '_> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<AgeKey, DecryptError>> {
        self.inner.unwrap_stanza(stanza)
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<AgeKey, DecryptError>> {
        let unwrapped = self.inner.unwrap_stanzas(stanzas)?;
        if let Ok(key) = &unwrapped {
            self.caught.set(Some(*key.expose_secret()));
        }
        Some(unwrapped)
    }
}

fn read_identities(path: &Path) -> Result<Vec<Identity>, String> {
    let unusable = |why: String| format!("identity file {}: {why}", path.display());
    let text = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    // The error names a line and not what it holds.
    let identities = age::IdentityFile::from_buffer(text.as_slice())
        .map_err(|error| unusable(error.to_string()))?
        .into_identities()
        .map_err(|_| unusable("it cannot be read".to_owned()))?;
    if identities.is_empty() {
        return Err(unusable("it holds no AGE-SECRET-KEY-1…".to_owned()));
    }
    let mode = std::fs::metadata(path).map(|status| status.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o007 != 0) {
        tracing::warn!(file = %path.display(), "everybody on this machine may read the identity file: chmod 600 it");
    }
    Ok(identities)
}
