//! A bucket with a prefix, through `object_store`.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use content::{pieces, resumed};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt};
use url::Url;

use super::{Content, FileMeta, FilesError, GROWTH, Opened, STAGING_FOLDER};
use crate::cloud::odd::{self, Names};
use crate::cloud::{ClientConfig, Context, Deletes, Place, Provider, Unnamable, is_no_bucket};
use crate::config::Options;

mod content;
mod listing;

/// How many small requests are made at once.
const CONCURRENT: usize = 16;
/// What S3 and Google document; Azure takes more.
const MAX_PARTS: u64 = 10_000;
/// How often an object is asked for whose answers contradict the listing, and how long it is waited between, times how
/// often it was asked.
const ASKED: u32 = 4;
const AGAIN: Duration = Duration::from_millis(500);

pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    /// The same, for questions that somebody waits for.
    quick: Arc<dyn ObjectStore>,
    /// The same, by the parts of uploads; None where an upload ends with this process.
    parts: Option<Arc<dyn MultipartStore>>,
    /// How many parts an upload may have.
    max_parts: u64,
    prefix: Path,
    url: Url,
    place: Place,
    /// Keys that listings came across and that no path can hold.
    unnamable: Unnamable,
    /// For messages.
    words: Arc<Words>,
}

/// What messages need to know of a bucket.
#[derive(Debug, Default)]
pub struct Words {
    bucket: String,
    secrets: Vec<String>,
}

impl Bucket {
    pub fn open(url: &Url, options: &Options) -> Result<Self, FilesError> {
        let config = client(url, options)?;
        let prefix = Path::from_url_path(url.path()).map_err(|error| invalid(url, error))?;
        let names = Names::new(&prefix, STAGING_FOLDER);
        let source = config.source(names).map_err(|error| invalid(url, error))?;
        let words = Words { secrets: config.secrets(), bucket: config.bucket };
        let bucket = Self::new(source.store, url, options)?;
        let (quick, parts, unnamable) = (source.quick, Some(source.parts), source.unnamable);
        Ok(Self { quick, parts, unnamable, words: Arc::new(words), ..bucket })
    }

    pub fn new(
        store: Arc<dyn ObjectStore>,
        url: &Url,
        options: &Options,
    ) -> Result<Self, FilesError> {
        let place = Place::of(url, options)
            .ok_or_else(|| invalid(url, "it must begin with file://, s3://, gs:// or az://"))?;
        let prefix = Path::from_url_path(url.path()).map_err(|error| invalid(url, error))?;
        let words = Arc::new(Words { bucket: place.bucket.clone(), secrets: Vec::new() });
        let unnamable = Unnamable::default();
        let (quick, parts, max_parts, url) = (store.clone(), None, MAX_PARTS, url.clone());
        Ok(Self { store, quick, parts, max_parts, prefix, url, place, unnamable, words })
    }

    /// The same, whose server takes no more parts of one upload.
    pub fn with_max_parts(self, max_parts: u32) -> Self {
        Self { max_parts: self.max_parts.min(max_parts.into()).max(1), ..self }
    }

    pub fn store(&self) -> &dyn ObjectStore {
        &*self.store
    }

    /// None: an upload is known to this process alone.
    pub fn parts(&self) -> Option<&Arc<dyn MultipartStore>> {
        self.parts.as_ref()
    }

    pub fn max_parts(&self) -> u64 {
        self.max_parts
    }

    pub fn provider(&self) -> Provider {
        self.place.provider
    }

    /// The key of the root.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    pub async fn check(&self) -> Result<(), FilesError> {
        match self.quick.list(Some(&self.prefix)).next().await {
            None | Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(invalid(&self.url, self.words.explain("cannot list", &error))),
        }
    }

    pub fn covers(&self, url: &Url, options: &Options) -> Option<String> {
        self.below(url, Place::of(url, options)?.is(&self.place))
    }

    /// The same, but for whoever cannot tell servers apart: their buckets' names are enough.
    pub fn may_cover(&self, url: &Url) -> Option<String> {
        self.below(url, Place::of(url, &Options::default())?.may_be(&self.place))
    }

    fn below(&self, url: &Url, is_here: bool) -> Option<String> {
        // As storages read it: superfluous slashes do not count.
        let parts = url.path().split('/').filter(|part| !part.is_empty());
        let path = Path::from_url_path(parts.collect::<Vec<_>>().join("/")).ok()?;
        relative(&self.prefix, &path).filter(|_| is_here)
    }

    /// Whether an archive of ours lies at a path, by its name and its mark.
    pub async fn is_archive(&self, path: &str) -> Result<bool, FilesError> {
        if !crate::storage::is_archive(path.rsplit('/').next().unwrap_or(path)) {
            return Ok(false);
        }
        let head = GetOptions { head: true, ..GetOptions::default() };
        match self.store.get_opts(&self.full(path)?, head).await {
            Ok(found) => Ok(found.attributes.get(&self.provider().mark()).is_some()),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.unreadable(path, &error)),
        }
    }

    pub fn unreadable(&self, path: &str, error: &object_store::Error) -> FilesError {
        self.words.unreadable(path, error)
    }

    pub fn unwritable(&self, path: &str, error: &object_store::Error) -> FilesError {
        FilesError::Write { path: path.to_owned(), message: self.words.explain("", error) }
    }

    pub fn words(&self) -> Arc<Words> {
        Arc::clone(&self.words)
    }

    pub async fn stat(&self, path: &str) -> Result<FileMeta, FilesError> {
        let full = self.full(path)?;
        let object =
            self.store.head(&full).await.map_err(|error| self.words.failed(path, &error))?;
        Ok(meta(path.to_owned(), object))
    }

    pub async fn read(&self, file: &FileMeta) -> Result<Opened<Content>, FilesError> {
        let path = file.path.clone();
        let full = self.full(&path)?;
        let mut asked = 1;
        let (now, found) = loop {
            let found = self.store.get(&full).await;
            let found = found.map_err(|error| self.words.failed(&path, &error))?;
            let now = meta(path.clone(), found.meta.clone());
            match contradiction(file, &now) {
                None => break (now, found),
                Some(message) if asked == ASKED => return Err(FilesError::Read { path, message }),
                Some(why) => tracing::warn!(path, why, "an object is asked for again"),
            }
            tokio::time::sleep(AGAIN * asked).await;
            asked += 1;
        };
        let words = self.words.clone();
        let raw = resumed(self.store.clone(), full, found);
        Ok((now, pieces(raw.map_err(move |error| words.failed(&path, &error)).boxed())))
    }

    pub async fn read_small(
        &self,
        files: &[FileMeta],
    ) -> Vec<Result<Opened<Option<Bytes>>, FilesError>> {
        // Made beforehand: a closure over borrowed files would tie the future to their lifetime.
        let reads: Vec<_> = files.iter().map(|file| self.read_whole(file)).collect();
        stream::iter(reads).buffered(CONCURRENT).collect().await
    }

    async fn read_whole(&self, file: &FileMeta) -> Result<Opened<Option<Bytes>>, FilesError> {
        let (mut now, mut content) = self.read(file).await?;
        if now.size >= file.size + GROWTH {
            return Ok((now, None));
        }
        let mut whole = BytesMut::new();
        while let Some(piece) = content.try_next().await? {
            if whole.is_empty() && piece.len() as u64 == now.size {
                // The usual case needs no copy; a second piece makes one below.
                match content.try_next().await? {
                    None => return Ok((now, Some(piece))),
                    Some(more) => {
                        whole.extend_from_slice(&piece);
                        whole.extend_from_slice(&more);
                    }
                }
            } else {
                whole.extend_from_slice(&piece);
            }
        }
        now.size = whole.len() as u64;
        Ok((now, Some(whole.freeze())))
    }

    /// Deletes the object of a path, also when there is none.
    pub async fn delete(&self, path: &str) -> Result<(), FilesError> {
        let full = self.full(path)?;
        let deleted = match odd::key_of(path) {
            None => self.store.delete(&full).await,
            Some(_) => {
                let mut options = GetOptions { head: true, ..GetOptions::default() };
                options.extensions.insert(Deletes);
                self.store.get_opts(&full, options).await.map(drop)
            }
        };
        match deleted {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.unwritable(path, &error)),
        }
    }

    /// The key of a path.
    pub fn full(&self, path: &str) -> Result<Path, FilesError> {
        let invalid = |error: object_store::path::Error| FilesError::Read {
            path: path.to_owned(),
            message: error.to_string(),
        };
        let below = Path::parse(path).map_err(invalid)?;
        Ok(self.prefix.parts().chain(below.parts()).collect())
    }
}

/// The key below the root that a path stands for, for comparisons with other paths.
pub fn real(path: &str) -> Cow<'_, str> {
    match odd::key_of(path) {
        Some(Ok(key)) => Cow::Owned(key),
        _ => Cow::Borrowed(path),
    }
}

/// What the client is made of.
fn client(url: &Url, options: &Options) -> Result<ClientConfig, FilesError> {
    let provider = Provider::of_scheme(url.scheme())
        .ok_or_else(|| invalid(url, "it must begin with file://, s3://, gs:// or az://"))?;
    let place = Place::of(url, options).ok_or_else(|| invalid(url, "it names no bucket"))?;
    let mut root = url.clone();
    root.set_path("");
    root.set_query(None);
    let options = options.clone();
    Ok(ClientConfig { provider, bucket: place.bucket, root, options, environment: false })
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("place", &self.place).field("prefix", &self.prefix).finish()
    }
}

impl Words {
    fn explain(&self, what: &str, error: &object_store::Error) -> String {
        Context { bucket: &self.bucket, what, secrets: &self.secrets }.explain(error).text
    }

    fn failed(&self, path: &str, error: &object_store::Error) -> FilesError {
        let path = path.to_owned();
        // A bucket that vanished must not look like as many files that did.
        if matches!(error, object_store::Error::NotFound { .. }) && !is_no_bucket(error) {
            return FilesError::NotFound { path };
        }
        self.unreadable(&path, error)
    }

    pub fn unreadable(&self, path: &str, error: &object_store::Error) -> FilesError {
        FilesError::Read { path: path.to_owned(), message: self.explain("", error) }
    }
}

fn meta(path: String, object: ObjectMeta) -> FileMeta {
    FileMeta {
        path,
        size: object.size,
        modified: object.last_modified.timestamp(),
        is_directory: false,
        version: object.e_tag.or(object.version),
    }
}

/// Why an answer cannot be the object that was listed, nor a later one: something else answers in the store's place, or
/// breaks its answers off.
fn contradiction(listed: &FileMeta, now: &FileMeta) -> Option<String> {
    let listed_as = listed.version.as_ref()?;
    match &now.version {
        None if now.size != listed.size => Some(format!(
            "the answer has {} bytes and no ETag, and the listing {} bytes and one",
            now.size, listed.size
        )),
        Some(version) if version == listed_as && now.size != listed.size => Some(format!(
            "the answer has {} bytes, and the listing {} of the same ETag",
            now.size, listed.size
        )),
        _ => None,
    }
}

/// `path` below `root`; None when it is not.
fn relative(root: &Path, path: &Path) -> Option<String> {
    let rest = path.as_ref().strip_prefix(root.as_ref())?;
    if root.as_ref().is_empty() || rest.is_empty() {
        return Some(rest.to_owned());
    }
    rest.strip_prefix('/').map(str::to_owned)
}

fn invalid(url: &Url, message: impl ToString) -> FilesError {
    let mut shown = url.clone();
    // Neither can fail on a URL with a host; a URL without one has no password.
    let _ = shown.set_password(None);
    shown.set_query(None);
    FilesError::Configuration { url: shown.to_string(), message: message.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_held_against_the_listing() {
        let file = |size, version: Option<&str>| FileMeta {
            path: "a".to_owned(),
            size,
            modified: 0,
            is_directory: false,
            version: version.map(str::to_owned),
        };
        let listed = file(10, Some("x"));
        for (now, is_contradiction) in [
            (file(10, Some("x")), false),
            (file(5, Some("x")), true),
            (file(5, Some("y")), false),
            (file(5, None), true),
            (file(10, None), false),
        ] {
            assert_eq!(contradiction(&listed, &now).is_some(), is_contradiction, "{now:?}");
        }
        // Of what was not listed, or by a store without ETags, nothing is known.
        assert_eq!(contradiction(&file(10, None), &file(5, None)), None);
    }
}
