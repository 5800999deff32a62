//! Staging files in a bucket, and the journal of its swap. A journal of many files is many objects, written and read
//! as a stream.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutPayload};
use twox_hash::XxHash3_128;

use super::bucket_swap::BucketStaged;
use super::keys::Keys;
use super::paths::Paths;
use super::upload::{self, Target};
use super::{Replaced, sized};
use crate::cloud::odd;
use crate::source::files::store::{Bucket, real};
use crate::source::files::{Content, Excluded, FileMeta, FilesError, Listed, STAGING_FOLDER};
use crate::source::restore::AttemptId;

/// How large an object of the journal gets.
const JOURNAL_PART: usize = 1 << 20;

/// How often, and how long after one another, a listing is asked whether it shows by now what was staged.
const LOOKS: u32 = 30;
const LOOK_AGAIN: Duration = Duration::from_secs(1);

pub struct BucketStaging {
    bucket: Arc<Bucket>,
    staged: BucketStaged,
    /// By hash, so that millions of names fit into memory.
    put: Mutex<HashSet<u128>>,
    warnings: Arc<Warnings>,
}

/// What is to be told.
#[derive(Debug, Default)]
pub struct Warnings {
    /// Objects that lose their tags because these could not be read.
    untagged: Noted,
    /// Archives of ours that stay.
    archives: Noted,
}

/// The first of some, and how many they are.
#[derive(Debug, Default)]
struct Noted(Mutex<(Option<String>, u64)>);

impl Noted {
    fn add(&self, path: &str) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.0.get_or_insert_with(|| path.to_owned());
        noted.1 += 1;
    }

    fn told(&self, sentence: impl Fn(&str, u64) -> String) -> Option<String> {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(first), count) = &*noted else { return None };
        Some(sentence(first, *count))
    }
}

impl Warnings {
    pub fn sentences(&self) -> Vec<String> {
        let untagged = self.untagged.told(|first, count| {
            format!(
                "{count} objects come back without their tags, which could not be read \
                 ({first:?} and the like): is the right to read tags missing?"
            )
        });
        let archives = self.archives.told(|first, count| {
            format!(
                "{count} archives of this program lie in what is restored and stay ({first:?} \
                 and the like): is a storage's endpoint spelled as the filesystem's is?"
            )
        });
        untagged.into_iter().chain(archives).collect()
    }
}

impl BucketStaging {
    pub async fn create(bucket: Arc<Bucket>, attempt: &AttemptId) -> Result<Self, FilesError> {
        let staged = BucketStaged::new(Arc::clone(&bucket), attempt);
        staged.undo().await?;
        Ok(Self { bucket, staged, put: Mutex::default(), warnings: Arc::default() })
    }

    pub fn warnings(&self) -> Arc<Warnings> {
        Arc::clone(&self.warnings)
    }

    pub async fn put(&self, file: &FileMeta, content: Content) -> Result<(), FilesError> {
        let mut content = sized(file, content);
        if file.is_directory {
            // Buckets have no folders.
            while content.try_next().await?.is_some() {}
            return Ok(());
        }
        check_odd(&file.path)?;
        let (bucket, keys) = (&*self.bucket, &self.staged.keys);
        let key = keys.staged(&file.path)?;
        // Archives hold contents alone: what else is known of an object is taken from the one that is replaced.
        let known = upload::known(bucket, &keys.live(&file.path)?).await?;
        if known.has_hidden_tags {
            self.warnings.untagged.add(&file.path);
        }
        let target = Target { bucket, keys, key: &key, path: &file.path };
        upload::write(target, file.size, content, known).await?;
        if let Some(name) = keys.name(&file.path)? {
            put(bucket, &name, file.path.clone().into()).await?;
        }
        self.put.lock().unwrap_or_else(PoisonError::into_inner).insert(hash(&file.path));
        Ok(())
    }

    pub async fn ready(self, replaced: Replaced) -> Result<BucketStaged, FilesError> {
        let (folders, mut kept) = match replaced {
            Replaced::Folders { folders, kept } => (Paths::new(folders), kept),
            Replaced::Staged => (Paths::default(), Vec::new()),
        };
        kept.push(STAGING_FOLDER.to_owned());
        let kept = Paths::new(kept);
        let (bucket, keys) = (&*self.bucket, &self.staged.keys);
        let put = self.put.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut journal = journal_of_staged(bucket, keys, &put, &kept).await?;
        for folder in folders.outermost() {
            let folder = String::from_utf8_lossy(folder);
            let mut live = self.bucket.list(&folder, Excluded(Vec::new()));
            while let Some(found) = live.next().await {
                // An object that stands for a folder is no file.
                if let Listed::File(file) = found?
                    && !file.is_directory
                    && !kept.hold(real(&file.path).as_bytes())
                    && !put.contains(&hash(&file.path))
                {
                    // Nobody can be sure that no storage lies here under another name of the server.
                    if bucket.is_archive(&file.path).await? {
                        self.warnings.archives.add(&file.path);
                        continue;
                    }
                    journal.add(&Record { path: file.path, staged: false }).await?;
                }
            }
        }
        journal.finish().await?;
        Ok(self.staged)
    }
}

/// What a listing shows of the staged objects, by their paths.
fn staged_paths<'a>(
    bucket: &'a Bucket,
    keys: &Keys,
) -> impl Stream<Item = Result<String, FilesError>> + 'a {
    let (new, names) = (keys.all_staged(), keys.all_names());
    let unreadable = |error| bucket.unreadable(STAGING_FOLDER, &error);
    let long = bucket.store().list(Some(&names)).map_err(unreadable);
    let short = bucket.store().list(Some(&new)).map_ok(move |object| {
        let path = object.location.as_ref().strip_prefix(new.as_ref()).unwrap_or_default();
        path.trim_start_matches('/').to_owned()
    });
    let long = long.and_then(async |object| {
        let path = get(bucket, &object.location).await?.ok_or_else(damaged)?;
        String::from_utf8(path.into()).map_err(|_| damaged())
    });
    short.map_err(unreadable).chain(long)
}

/// A journal of all that was put, but for what is kept. Waits until a listing shows it: not every store's does at once.
async fn journal_of_staged<'a>(
    bucket: &'a Bucket,
    keys: &'a Keys,
    put: &HashSet<u128>,
    kept: &Paths,
) -> Result<JournalWriter<'a>, FilesError> {
    for _ in 0..LOOKS {
        let mut journal = JournalWriter::new(bucket, keys);
        let mut seen = 0;
        let mut all = pin!(staged_paths(bucket, keys));
        while let Some(path) = all.try_next().await? {
            if put.contains(&hash(&path)) {
                seen += 1;
                if !kept.hold(real(&path).as_bytes()) {
                    journal.add(&Record { path, staged: true }).await?;
                }
            }
        }
        if seen >= put.len() {
            return Ok(journal);
        }
        // What was written of this one is written over by the next.
        tracing::info!("the store does not list yet what was written to it");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Err(FilesError::Read {
        path: STAGING_FOLDER.to_owned(),
        message: "the store does not list what was written to it".to_owned(),
    })
}

fn hash(path: &str) -> u128 {
    XxHash3_128::oneshot(path.as_bytes())
}

/// Refuses what would be an object's odd key and is none, or one that is ours.
fn check_odd(path: &str) -> Result<(), FilesError> {
    let why = match odd::key_of(path) {
        Some(Err(why)) => why,
        Some(Ok(key)) if key.split('/').next() == Some(STAGING_FOLDER) => {
            "the name is taken for staging"
        }
        _ => return Ok(()),
    };
    Err(FilesError::Refused { path: path.to_owned(), message: why.to_owned() })
}

/// Tries whether a restore may write here, and leaves nothing.
pub async fn check_writable(bucket: &Bucket) -> Result<(), FilesError> {
    let path = format!("{STAGING_FOLDER}/check-{}", uuid::Uuid::new_v4().simple());
    let key = bucket.full(&path)?;
    let put = bucket.store().put(&key, PutPayload::default()).await;
    put.map_err(|error| bucket.unwritable(&path, &error))?;
    upload::delete(bucket, &key).await
}

/// What happens to one object.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    pub path: String,
    /// Whether what is staged replaces it; else it is removed.
    pub staged: bool,
}

struct JournalWriter<'a> {
    bucket: &'a Bucket,
    keys: &'a Keys,
    lines: String,
    parts: u64,
}

impl<'a> JournalWriter<'a> {
    fn new(bucket: &'a Bucket, keys: &'a Keys) -> Self {
        Self { bucket, keys, lines: String::new(), parts: 0 }
    }

    /// Paths of objects hold no line breaks: the client refuses them.
    async fn add(&mut self, record: &Record) -> Result<(), FilesError> {
        self.lines.push_str(if record.staged { "replace " } else { "remove " });
        self.lines.push_str(&record.path);
        self.lines.push('\n');
        if self.lines.len() < JOURNAL_PART { Ok(()) } else { self.flush().await }
    }

    async fn flush(&mut self) -> Result<(), FilesError> {
        let lines = Bytes::from(std::mem::take(&mut self.lines));
        put(self.bucket, &self.keys.journal(self.parts), lines).await?;
        self.parts += 1;
        Ok(())
    }

    async fn finish(mut self) -> Result<(), FilesError> {
        self.flush().await?;
        put(self.bucket, &self.keys.ready(), self.parts.to_string().into()).await
    }
}

/// How many objects the journal has; None when there is none.
pub async fn journal_parts(bucket: &Bucket, keys: &Keys) -> Result<Option<u64>, FilesError> {
    let Some(text) = get(bucket, &keys.ready()).await? else { return Ok(None) };
    let parts = str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
    parts.map(Some).ok_or_else(damaged)
}

pub fn journal<'a>(
    bucket: &'a Bucket,
    keys: &'a Keys,
    parts: u64,
) -> impl Stream<Item = Result<Record, FilesError>> + Send + 'a {
    let lines = stream::iter(0..parts).then(move |number| async move {
        let part = get(bucket, &keys.journal(number)).await?.ok_or_else(damaged)?;
        let text = String::from_utf8(part.into()).map_err(|_| damaged())?;
        let records: Vec<_> = text.lines().map(|line| parse(line).ok_or_else(damaged)).collect();
        Ok::<_, FilesError>(stream::iter(records))
    });
    lines.try_flatten()
}

fn parse(line: &str) -> Option<Record> {
    let (kind, path) = line.split_once(' ')?;
    let staged = match kind {
        "replace" => true,
        "remove" => false,
        _ => return None,
    };
    Some(Record { path: path.to_owned(), staged })
}

fn damaged() -> FilesError {
    FilesError::Read {
        path: STAGING_FOLDER.to_owned(),
        message: "the journal of the restore is damaged".to_owned(),
    }
}

pub async fn put(bucket: &Bucket, key: &Path, content: Bytes) -> Result<(), FilesError> {
    let put = bucket.store().put(key, content.into()).await;
    put.map(drop).map_err(|error| bucket.unwritable(key.as_ref(), &error))
}

/// A small object; None when it is not there.
pub async fn get(bucket: &Bucket, key: &Path) -> Result<Option<Bytes>, FilesError> {
    let read = async { bucket.store().get(key).await?.bytes().await };
    match read.await {
        Ok(content) => Ok(Some(content)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(bucket.unreadable(key.as_ref(), &error)),
    }
}
