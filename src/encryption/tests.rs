use std::io::{Read as _, Write as _};
use std::ops::Range;

use age::x25519;
use archive::ReadAt;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::payload::{CHUNK, SEALED};
use super::*;
use crate::config::{EncryptionConfig, Secret};

fn for_keys(recipients: &[&x25519::Identity], identities: &[&x25519::Identity]) -> Arc<Keys> {
    use age::secrecy::ExposeSecret as _;
    let dir = tempfile::tempdir().unwrap();
    let mut config = EncryptionConfig {
        recipients: recipients.iter().map(|one| one.to_public().to_string()).collect(),
        ..EncryptionConfig::default()
    };
    if !identities.is_empty() {
        config.identity_file = dir.path().join("identity");
        let lines: Vec<_> = identities.iter().map(|one| one.to_string()).collect();
        let lines: Vec<_> = lines.iter().map(|line| line.expose_secret()).collect();
        std::fs::write(&config.identity_file, format!("# made\n{}\n", lines.join("\n"))).unwrap();
    }
    Arc::new(Keys::new(&config).unwrap())
}

fn with_passphrase(passphrase: &str) -> Arc<Keys> {
    let passphrase = Secret::new(passphrase);
    Arc::new(Keys::new(&EncryptionConfig { passphrase, ..Default::default() }).unwrap())
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n ^ n >> 8 ^ n >> 16) as u8).collect()
}

/// Encrypts in pieces of `piece` bytes.
async fn seal(keys: &Arc<Keys>, clear: &[u8], piece: usize) -> (Vec<u8>, Stored) {
    let (sink, chunks) = mpsc::channel(1);
    let (mut sealed, sealing) = Sealing::start(keys, chunks);
    let pieces: Vec<_> = clear.chunks(piece.max(1)).map(Bytes::copy_from_slice).collect();
    let sending = tokio::spawn(async move {
        for piece in pieces {
            sink.send(piece).await.unwrap();
        }
    });
    let mut out = Vec::new();
    while let Some(piece) = sealed.recv().await {
        assert!(piece.len() <= 17 * SEALED);
        out.extend_from_slice(&piece);
    }
    sending.await.unwrap();
    (out, sealing.finish().await.unwrap().unwrap().stored)
}

async fn open(file: &[u8], keys: &Arc<Keys>) -> Result<Opened, EncryptionError> {
    Opened::new(Arc::new(Bytes::copy_from_slice(file)), keys).await
}

async fn all(source: &dyn ReadAt) -> std::io::Result<Vec<u8>> {
    Ok(source.read_at(0..source.len()).await?.to_vec())
}

const LENGTHS: [usize; 9] =
    [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 16 * CHUNK, 16 * CHUNK + 1, 40 * CHUNK + 77];

#[tokio::test]
async fn the_age_crate_reads_what_we_write() {
    let (one, two) = (x25519::Identity::generate(), x25519::Identity::generate());
    let keys = for_keys(&[&one, &two], &[]);
    for length in LENGTHS {
        let clear = content(length);
        let (file, stored) = seal(&keys, &clear, 100_000).await;
        assert_eq!(stored.bytes, file.len() as u64);
        assert_eq!(stored.sha256[..], Sha256::digest(&file)[..]);
        for identity in [&one, &two] {
            let decryptor = age::Decryptor::new(&file[..]).unwrap();
            let identity: &dyn age::Identity = identity;
            let mut read = Vec::new();
            decryptor.decrypt([identity].into_iter()).unwrap().read_to_end(&mut read).unwrap();
            assert!(read == clear, "{length}");
        }
    }
}

#[tokio::test]
async fn we_read_what_the_age_crate_writes() {
    let (one, two) = (x25519::Identity::generate(), x25519::Identity::generate());
    for length in LENGTHS {
        let clear = content(length);
        let file = age::encrypt(&two.to_public(), &clear).unwrap();
        let opened = open(&file, &for_keys(&[], &[&one, &two])).await.unwrap();
        assert!(all(&*opened.clear()).await.unwrap() == clear, "{length}");
    }
}

#[tokio::test]
async fn a_passphrase_opens_and_its_work_is_bounded() {
    let keys = with_passphrase("correct horse");
    let clear = content(CHUNK + 5);
    let (file, _) = seal(&keys, &clear, 1000).await;
    for _ in 0..3 {
        assert!(all(&*open(&file, &keys).await.unwrap().clear()).await.unwrap() == clear);
    }
    let wrong = open(&file, &with_passphrase("battery staple")).await.err().unwrap();
    assert!(matches!(wrong, EncryptionError::WrongIdentity), "{wrong}");
    let text = String::from_utf8_lossy(&file[..100]).into_owned();
    assert!(text.contains("-> scrypt") && text.contains(" 16\n"), "{text}");

    // A header that asks for a thousand times the work is refused before any of it is done.
    let mut huge = age::scrypt::Recipient::new("correct horse".to_owned().into());
    huge.set_work_factor(2);
    let mut file = Vec::new();
    let encryptor = age::Encryptor::with_recipients([&huge as _].into_iter()).unwrap();
    encryptor.wrap_output(&mut file).unwrap().finish().unwrap();
    let at = file.windows(3).position(|window| window == b" 2\n").unwrap();
    file.splice(at..at + 2, *b" 28");
    let refused = open(&file, &keys).await.err().unwrap();
    assert!(matches!(refused, EncryptionError::TooMuchWork(28)), "{refused}");
}

#[tokio::test]
async fn who_has_no_key_is_told_which() {
    let (one, two) = (x25519::Identity::generate(), x25519::Identity::generate());
    let (file, _) = seal(&for_keys(&[&one], &[]), b"x", 1).await;
    let error = async |keys: Arc<Keys>| open(&file, &keys).await.err().unwrap();
    assert!(matches!(error(for_keys(&[&one], &[])).await, EncryptionError::NoIdentity));
    assert!(matches!(error(for_keys(&[], &[&two])).await, EncryptionError::WrongIdentity));
    assert!(matches!(error(with_passphrase("x")).await, EncryptionError::WrongIdentity));
    assert!(!for_keys(&[&one], &[&two]).opens_own().unwrap());
    assert!(for_keys(&[&one], &[&two, &one]).opens_own().unwrap());
    // What is stored in clear needs nothing.
    assert!(
        all(&*open(b"clear", &Arc::default()).await.unwrap().clear()).await.unwrap() == b"clear"
    );
}

#[test]
fn wrong_keys_are_named_and_never_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("identity");
    let with = |recipient: &str, text: Option<&str>| {
        let mut config = EncryptionConfig::default();
        config.recipients.extend((!recipient.is_empty()).then(|| recipient.to_owned()));
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
            config.identity_file = file.clone();
        }
        Keys::new(&config).map(drop).unwrap_err()
    };
    assert!(with("age1xyz", None).contains("age1xyz"));
    let secret = "AGE-SECRET-KEY-1QQQQQQQQ";
    let told = with(secret, None);
    assert!(told.contains("secret") && !told.contains("QQQQ"), "{told}");
    let told = with("", Some(&format!("# ok\n{secret}\n")));
    assert!(told.contains("line 2") && !told.contains("QQQQ"), "{told}");
    assert!(with("", Some("# nothing\n")).contains("AGE-SECRET-KEY-1"));
}

#[tokio::test]
async fn whatever_is_cut_or_changed_is_found() {
    let one = x25519::Identity::generate();
    let keys = for_keys(&[&one], &[&one]);
    let clear = content(3 * CHUNK + 100);
    let (file, _) = seal(&keys, &clear, CHUNK).await;
    let damaged = async |file: &[u8]| match open(file, &keys).await {
        Ok(opened) => all(&*opened.clear()).await.is_err_and(|error| damage(&error).is_some()),
        // A changed stanza may be another's.
        Err(EncryptionError::Damaged(_) | EncryptionError::WrongIdentity) => true,
        Err(error) => panic!("{error}"),
    };
    assert!(!damaged(&file).await);
    let head = file.len() - 3 * SEALED - 116;
    for cut in [1, 16, 100, 116, 117, SEALED, SEALED + 116, 3 * SEALED + 116, 3 * SEALED + 117] {
        assert!(damaged(&file[..file.len() - cut]).await, "{cut}");
    }
    let mut more = file.clone();
    more.push(0);
    assert!(damaged(&more).await);
    // The first line decides whether it is encrypted at all.
    for at in (23..head).chain([head, head + SEALED - 1, head + SEALED, file.len() - 1]) {
        let mut changed = file.clone();
        changed[at] ^= 0x10;
        assert!(damaged(&changed).await, "{at}");
    }
    // Whole chunks in another order.
    let mut swapped = file.clone();
    let (first, second) = swapped[head..].split_at_mut(SEALED);
    first.swap_with_slice(&mut second[..SEALED]);
    assert!(damaged(&swapped).await);
}

/// Gives later ranges earlier.
struct Unordered(Bytes);

#[async_trait]
impl ReadAt for Unordered {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    async fn read_at(&self, range: Range<u64>) -> std::io::Result<Bytes> {
        for _ in 0..range.start % 5 {
            tokio::task::yield_now().await;
        }
        self.0.read_at(range).await
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_part_is_what_plain_reading_gives(
        length in prop_oneof![0..3 * CHUNK, Just(CHUNK), Just(2 * CHUNK), 5 * CHUNK..9 * CHUNK],
        piece in 1..200_000usize,
        parts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..30),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let one = x25519::Identity::generate();
            let keys = for_keys(&[&one], &[&one]);
            let clear = Bytes::from(content(length));
            let (file, stored) = seal(&keys, &clear, piece).await;
            let opened = Opened::new(Arc::new(Unordered(file.into())), &keys).await.unwrap();
            let (source, tap) = opened.tapped();
            assert_eq!(source.len(), length as u64);
            let ranges = parts.iter().map(|(a, b)| {
                let (a, b) = (a.index(length + 1) as u64, b.index(length + 1) as u64);
                a.min(b)..a.max(b)
            });
            // Side by side, as a restore reads.
            let mut reads = futures::stream::iter(ranges)
                .map(|range| {
                    let source = Arc::clone(&source);
                    async move { (range.clone(), source.read_at(range).await.unwrap()) }
                })
                .buffer_unordered(4);
            while let Some((range, bytes)) = reads.next().await {
                assert_eq!(bytes, clear.read_at(range).await.unwrap());
            }
            assert!(source.read_at(0..length as u64 + 1).await.is_err());
            assert_eq!(tap.finish().await.unwrap(), stored.sha256);
        });
    }
}

#[test]
fn a_file_of_the_age_crate_is_told_by_its_beginning() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let one = x25519::Identity::generate();
        let mut file = Vec::new();
        let recipient = one.to_public();
        let encryptor =
            age::Encryptor::with_recipients([&recipient as &dyn age::Recipient].into_iter());
        let mut writer = encryptor.unwrap().wrap_output(&mut file).unwrap();
        writer.write_all(b"x").unwrap();
        writer.finish().unwrap();
        assert!(is_encrypted(&Bytes::from(file)).await.unwrap());
        for other in ["", "age", "\x1f\u{8b}", "age-encryption.org/v2\nxxxxxxxxxxxxx"] {
            assert!(!is_encrypted(&Bytes::from(other)).await.unwrap());
        }
    });
}
