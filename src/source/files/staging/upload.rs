//! Writing and copying objects of any size in little memory.

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error, GetOptions, MultipartUpload, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, TagSet, UploadPart,
};

use crate::cloud::{Tagged, WithTags};
use crate::source::files::store::redacted;
use crate::source::files::{Content, FilesError};

/// The least that a part of an upload may have; smaller objects are put in one request. A file has at most two in
/// memory.
const PART: u64 = 5 << 20;
const MAX_PARTS: u64 = 10_000;
/// S3 copies no more than this at once.
pub const MAX_COPY: u64 = 5 << 30;

/// What is known of an object beside its content.
#[derive(Debug, Default)]
pub struct Known {
    /// The type of its content, metadata and the like. Not its storage class, which may be one that gives nothing back
    /// at once.
    attributes: Attributes,
    tags: TagSet,
    /// Whether it has tags that could not be read.
    pub has_hidden_tags: bool,
}

/// What an object says of itself; nothing when it is not there.
pub async fn known(store: &dyn ObjectStore, key: &Path) -> Result<Known, FilesError> {
    let mut head = GetOptions { head: true, ..GetOptions::default() };
    head.extensions.insert(WithTags);
    let found = match store.get_opts(key, head).await {
        Ok(found) => found,
        Err(Error::NotFound { .. }) => return Ok(Known::default()),
        Err(error) => return Err(failed(key.as_ref(), error)),
    };
    let mut known = Known { attributes: kept(&found.attributes), ..Known::default() };
    match found.extensions.get::<Tagged>() {
        None => {}
        Some(Tagged(None)) => known.has_hidden_tags = true,
        Some(Tagged(Some(tags))) => {
            tags.iter().for_each(|(name, value)| known.tags.push(name, value))
        }
    }
    Ok(known)
}

fn kept(attributes: &Attributes) -> Attributes {
    let kept = attributes.iter().filter(|(name, _)| **name != Attribute::StorageClass);
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Writes an object of `size` bytes. `path` names it in messages. If the content fails, nothing is left.
pub async fn write(
    store: &dyn ObjectStore,
    key: &Path,
    path: &str,
    size: u64,
    mut content: Content,
    known: Known,
) -> Result<(), FilesError> {
    let Known { attributes, tags, .. } = known;
    let part_size = size.div_ceil(MAX_PARTS).max(PART) as usize;
    let mut rest = Bytes::new();
    let first = part(&mut content, &mut rest, part_size).await?;
    let failed = |error| failed(path, error);
    if size <= PART {
        // It may not be longer than it says; the end of the content is where that is found out.
        while content.try_next().await?.is_some() {}
        let options = PutOptions { attributes, tags, ..PutOptions::default() };
        return store.put_opts(key, payload(first), options).await.map(drop).map_err(failed);
    }
    let options = PutMultipartOptions { attributes, tags, ..PutMultipartOptions::default() };
    let upload = store.put_multipart_opts(key, options).await.map_err(failed)?;
    let mut upload = Unfinished(Some(upload));
    let mut sending = upload.part(first)?;
    loop {
        // The next part is fetched while this one is sent.
        let (sent, next) = futures::join!(sending, part(&mut content, &mut rest, part_size));
        sent.map_err(failed)?;
        let next = next?;
        if next.is_empty() {
            return upload.complete().await.map_err(failed);
        }
        sending = upload.part(next)?;
    }
}

/// Copies an object within the store; false when there is none.
pub async fn copy(
    store: &dyn ObjectStore,
    from: &Path,
    to: &Path,
    max_copy: u64,
) -> Result<bool, FilesError> {
    let error = match store.copy(from, to).await {
        Ok(()) => return Ok(true),
        Err(Error::NotFound { .. }) => return Ok(false),
        Err(error) => error,
    };
    let found = match store.get(from).await {
        Ok(found) if found.meta.size > max_copy => found,
        Err(Error::NotFound { .. }) => return Ok(false),
        _ => return Err(failed(to.as_ref(), error)),
    };
    let (size, known) = (found.meta.size, known(store, from).await?);
    let path = from.as_ref().to_owned();
    let content = found.into_stream().map_err(move |error| failed(&path, error));
    write(store, to, to.as_ref(), size, Box::pin(content), known).await?;
    Ok(true)
}

/// Also when it is not there.
pub async fn delete(store: &dyn ObjectStore, key: &Path) -> Result<(), FilesError> {
    match store.delete(key).await {
        Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(failed(key.as_ref(), error)),
    }
}

pub fn failed(path: &str, error: Error) -> FilesError {
    FilesError::Write { path: path.to_owned(), message: redacted(&error) }
}

/// Exactly `size` bytes, or what is left.
async fn part(
    content: &mut Content,
    rest: &mut Bytes,
    size: usize,
) -> Result<Vec<Bytes>, FilesError> {
    let (mut pieces, mut missing) = (Vec::new(), size);
    while missing > 0 {
        if rest.is_empty() {
            match content.try_next().await? {
                Some(piece) => *rest = piece,
                None => break,
            }
        }
        let piece = rest.split_to(rest.len().min(missing));
        missing -= piece.len();
        if !piece.is_empty() {
            pieces.push(piece);
        }
    }
    Ok(pieces)
}

fn payload(pieces: Vec<Bytes>) -> PutPayload {
    PutPayload::from_iter(pieces)
}

/// An upload whose parts are dropped from the store unless it is completed.
struct Unfinished(Option<Box<dyn MultipartUpload>>);

impl Unfinished {
    fn part(&mut self, pieces: Vec<Bytes>) -> Result<UploadPart, FilesError> {
        match &mut self.0 {
            Some(upload) => Ok(upload.put_part(payload(pieces))),
            None => Err(FilesError::Write {
                path: String::new(),
                message: "the upload is over".to_owned(),
            }),
        }
    }

    async fn complete(mut self) -> Result<(), Error> {
        let Some(upload) = &mut self.0 else { return Ok(()) };
        upload.complete().await?;
        self.0 = None;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let (Some(mut upload), Ok(runtime)) =
            (self.0.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        runtime.spawn(async move {
            if let Err(error) = upload.abort().await {
                tracing::warn!(error = redacted(&error), "an upload's parts are left in the store");
            }
        });
    }
}
