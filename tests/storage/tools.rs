//! What the tests of storages share.

use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use portal_backup::config::{Config, Options, UrlConfig};
use portal_backup::storage::{
    JournalError, Remains, Storage, StorageError, StorageParams, StorageType, Storages, UploadHint,
    UploadJournal,
};

use crate::s3::S3Server;

/// A journal that remembers the last record.
#[derive(Default)]
pub struct Journal(Mutex<Vec<Remains>>);

#[async_trait]
impl UploadJournal for Journal {
    async fn record(&self, remains: &Remains) -> Result<(), JournalError> {
        self.0.lock().unwrap().push(remains.clone());
        Ok(())
    }
}

impl Journal {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn last(&self) -> Remains {
        self.0.lock().unwrap().last().cloned().expect("nothing was journalled")
    }
}

pub fn config(root: &Path) -> Config {
    let mut config = Config::default();
    config.storage.local.root = root.to_owned();
    config
}

pub fn options(pairs: &[(&str, &str)]) -> Options {
    Options(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
}

pub fn params(pairs: &[(&str, &str)]) -> StorageParams {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// The server's bucket as `CustomCloud`, with more options.
pub fn cloud_config(server: &S3Server, url: &str, more: &[(&str, &str)]) -> Config {
    let mut config = config(Path::new("/nonexistent"));
    let mut options = Options(server.options().into_iter().collect());
    options.0.extend(more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
    config.storage.custom_cloud = Some(UrlConfig { url: url.parse().unwrap(), options });
    config
}

/// A bucket by its server's options as `CustomCloud`, with more of them.
pub fn custom(
    server: Vec<(String, String)>,
    url: &str,
    more: &[(&str, &str)],
    max_parts: u32,
) -> Storage {
    let mut config = config(Path::new("/nonexistent"));
    let mut options = Options(server.into_iter().collect());
    options.0.extend(more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
    config.storage.max_parts = max_parts;
    config.storage.custom_cloud = Some(UrlConfig { url: url.parse().unwrap(), options });
    let storages = Storages::new(&config).unwrap();
    storages.resolve(StorageType::CustomCloud, &params(&[])).unwrap()
}

pub fn cloud(server: &S3Server, url: &str, more: &[(&str, &str)]) -> Storage {
    let storages = Storages::new(&cloud_config(server, url, more)).unwrap();
    storages.resolve(StorageType::CustomCloud, &params(&[])).unwrap()
}

pub fn local(root: &Path, path: &str) -> Storage {
    let storages = Storages::new(&config(root)).unwrap();
    storages.resolve(StorageType::Local, &params(&[("filePath", path)])).unwrap()
}

/// Bytes that no two positions have in common, without being slow to make.
pub fn content(length: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state >> 7).to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

pub fn hint(expected: usize) -> UploadHint {
    UploadHint { expected_bytes: expected as u64, memory: 32 << 20 }
}

/// Uploads in pieces of an awkward size.
pub async fn put(storage: &Storage, name: &str, content: &Bytes) -> Result<(), StorageError> {
    put_as(storage, name, content, hint(content.len())).await
}

pub async fn put_as(
    storage: &Storage,
    name: &str,
    content: &Bytes,
    hint: UploadHint,
) -> Result<(), StorageError> {
    let mut upload = storage.upload(name, hint, Journal::new()).await?;
    let mut rest = content.clone();
    while !rest.is_empty() {
        let piece = rest.split_to(rest.len().min(1_234_567));
        if let Err(error) = upload.write(piece).await {
            upload.abort().await?;
            return Err(error);
        }
    }
    upload.complete().await.map(drop)
}

pub async fn get(storage: &Storage, name: &str, range: std::ops::Range<u64>) -> Bytes {
    let mut stream = storage.read(name, range).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece.unwrap());
    }
    bytes.into()
}

pub async fn names(storage: &Storage) -> Vec<String> {
    let mut names: Vec<_> =
        storage.list().await.unwrap().map(|entry| entry.unwrap().0).collect().await;
    names.sort();
    names
}
