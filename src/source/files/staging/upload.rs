//! Writing and copying objects of any size in little memory.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error, GetOptions, MultipartUpload, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, TagSet,
};

use super::keys::Keys;
use crate::cloud::{Provider, Tagged, WithTags, has_code};
use crate::source::files::store::Bucket;
use crate::source::files::{Content, FilesError};

/// The least that a part of an upload may have; smaller objects are put in one request. A file has at most two in
/// memory.
const PART: u64 = 5 << 20;
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
pub async fn known(bucket: &Bucket, key: &Path) -> Result<Known, FilesError> {
    let mut head = GetOptions { head: true, ..GetOptions::default() };
    head.extensions.insert(WithTags);
    let found = match bucket.store().get_opts(key, head).await {
        Ok(found) => found,
        Err(Error::NotFound { .. }) => return Ok(Known::default()),
        Err(error) => return Err(bucket.unreadable(key.as_ref(), &error)),
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

/// Where an object goes.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub bucket: &'a Bucket,
    pub keys: &'a Keys,
    pub key: &'a Path,
    /// Names it in messages.
    pub path: &'a str,
}

/// Writes an object of `size` bytes. If the content fails, nothing is left.
pub async fn write(
    target: Target<'_>,
    size: u64,
    mut content: Content,
    known: Known,
) -> Result<(), FilesError> {
    let Target { bucket, key, path, .. } = target;
    let part_size = size.div_ceil(bucket.max_parts()).max(PART) as usize;
    let mut rest = Bytes::new();
    let first = part(&mut content, &mut rest, part_size).await?;
    let failed = |error| bucket.unwritable(path, &error);
    if size <= PART {
        // It may not be longer than it says; the end of the content is where that is found out.
        while content.try_next().await?.is_some() {}
        let Known { attributes, tags, .. } = known;
        let options = PutOptions { attributes, tags, ..PutOptions::default() };
        let put = bucket.store().put_opts(key, payload(first), options).await;
        return put.map(drop).map_err(failed);
    }
    let mut upload = Upload::begin(target, known).await?;
    let mut sending = upload.send(first);
    loop {
        // The next part is fetched while this one is sent.
        let (sent, next) = futures::join!(sending, part(&mut content, &mut rest, part_size));
        upload.sent.extend(sent.map_err(failed)?);
        let next = next?;
        if next.is_empty() {
            return upload.complete(target).await;
        }
        sending = upload.send(next);
    }
}

/// Copies an object within the store; false when there is none.
pub async fn copy(to: Target<'_>, from: &Path, max_copy: u64) -> Result<bool, FilesError> {
    let Target { bucket, .. } = to;
    let error = match bucket.store().copy(from, to.key).await {
        Ok(()) => return Ok(true),
        Err(Error::NotFound { .. }) => return Ok(false),
        Err(error) => error,
    };
    let found = match bucket.store().get(from).await {
        Ok(found) if found.meta.size > max_copy => found,
        Err(Error::NotFound { .. }) => return Ok(false),
        _ => return Err(bucket.unwritable(to.path, &error)),
    };
    let (size, known) = (found.meta.size, known(bucket, from).await?);
    let words = bucket.words();
    let path = from.as_ref().to_owned();
    let content = found.into_stream().map_err(move |error| words.unreadable(&path, &error));
    write(to, size, Box::pin(content), known).await?;
    Ok(true)
}

/// Also when it is not there.
pub async fn delete(bucket: &Bucket, key: &Path) -> Result<(), FilesError> {
    match bucket.store().delete(key).await {
        Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(bucket.unwritable(key.as_ref(), &error)),
    }
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

/// An upload in parts, which are dropped from the store unless it is completed.
struct Upload {
    begun: Option<Begun>,
    key: Path,
    /// Where it is noted until it is over.
    note: Option<Path>,
    /// How many parts were sent, and the receipts of those that arrived.
    parts: usize,
    sent: Vec<PartId>,
}

enum Begun {
    /// The store's id for it.
    Id(Arc<dyn MultipartStore>, String),
    /// One that this process alone knows, or one of Azure, where what is said of the object comes with the last
    /// request.
    Whole(Box<dyn MultipartUpload>),
}

impl Upload {
    /// Notes the upload before its first part is sent: the parts of one that nobody knows would stay for ever.
    async fn begin(target: Target<'_>, known: Known) -> Result<Self, FilesError> {
        let Target { bucket, keys, key, path } = target;
        let failed = |error| bucket.unwritable(path, &error);
        let Known { attributes, tags, .. } = known;
        let options = PutMultipartOptions { attributes, tags, ..PutMultipartOptions::default() };
        let begun = match bucket.parts().filter(|_| bucket.provider() != Provider::Azure) {
            Some(parts) => {
                let id = parts.create_multipart_opts(key, options).await.map_err(failed)?;
                Begun::Id(Arc::clone(parts), id)
            }
            None => {
                let upload = bucket.store().put_multipart_opts(key, options).await;
                Begun::Whole(upload.map_err(failed)?)
            }
        };
        let noted = bucket.parts().map(|_| {
            let id = if let Begun::Id(_, id) = &begun { id.as_str() } else { "" };
            format!("{id}\n{key}")
        });
        let note = noted.is_some().then(|| keys.upload());
        let key = key.clone();
        let upload = Self { begun: Some(begun), key, note, parts: 0, sent: Vec::new() };
        if let (Some(note), Some(noted)) = (&upload.note, noted) {
            bucket.store().put(note, noted.into()).await.map_err(failed)?;
        }
        Ok(upload)
    }

    fn send(&mut self, pieces: Vec<Bytes>) -> BoxFuture<'static, Result<Option<PartId>, Error>> {
        let (index, payload) = (self.parts, payload(pieces));
        self.parts += 1;
        match &mut self.begun {
            Some(Begun::Id(parts, id)) => {
                let (parts, id, key) = (Arc::clone(parts), id.clone(), self.key.clone());
                async move { parts.put_part(&key, &id, index, payload).await.map(Some) }.boxed()
            }
            Some(Begun::Whole(upload)) => {
                let sent = upload.put_part(payload);
                async move { sent.await.map(|()| None) }.boxed()
            }
            None => futures::future::ready(Ok(None)).boxed(),
        }
    }

    async fn complete(mut self, target: Target<'_>) -> Result<(), FilesError> {
        let Target { bucket, path, .. } = target;
        let sent = std::mem::take(&mut self.sent);
        let completed = match &mut self.begun {
            Some(Begun::Id(parts, id)) => parts.complete_multipart(&self.key, id, sent).await,
            Some(Begun::Whole(upload)) => upload.complete().await,
            None => return Ok(()),
        };
        completed.map_err(|error| bucket.unwritable(path, &error))?;
        self.begun = None;
        match &self.note {
            Some(note) => delete(bucket, note).await,
            None => Ok(()),
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let (Some(begun), Ok(runtime)) = (self.begun.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let key = self.key.clone();
        runtime.spawn(async move {
            let aborted = match begun {
                Begun::Id(parts, id) => parts.abort_multipart(&key, &id).await,
                Begun::Whole(mut upload) => upload.abort().await,
            };
            if aborted.is_err() {
                tracing::warn!(%key, "an upload's parts are left in the store for now");
            }
        });
    }
}

/// Ends what a process that is no more had begun to upload.
pub async fn abort_all(bucket: &Bucket, keys: &Keys) -> Result<(), FilesError> {
    let Some(parts) = bucket.parts() else { return Ok(()) };
    let all = keys.all_uploads();
    let failed = |error| bucket.unwritable(all.as_ref(), &error);
    let notes: Vec<_> = bucket.store().list(Some(&all)).try_collect().await.map_err(failed)?;
    for note in notes {
        let text = match bucket.store().get(&note.location).await {
            Ok(found) => found.bytes().await.map_err(failed)?,
            Err(Error::NotFound { .. }) => continue,
            Err(error) => return Err(failed(error)),
        };
        let text = String::from_utf8_lossy(&text).into_owned();
        let Some((id, key)) = text.split_once('\n') else { continue };
        let Ok(key) = Path::parse(key) else { continue };
        let aborted = match id {
            "" => drop_blocks(bucket, &key).await,
            id => parts.abort_multipart(&key, &id.to_owned()).await,
        };
        match aborted {
            Ok(()) | Err(Error::NotFound { .. }) => {}
            Err(error) if has_code(&error, "NoSuchUpload") => {}
            // Some servers answer so when it is gone, and to ask again would not bring the right to do it.
            Err(error) if has_code(&error, "AccessDenied") => tracing::warn!(
                %key,
                "the store refused to end an upload: it is gone, or the right to \
                 AbortMultipartUpload is missing"
            ),
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(())
}

/// Azure has no end of an upload; blocks of no object go when one of their name is written.
async fn drop_blocks(bucket: &Bucket, key: &Path) -> Result<(), Error> {
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    match bucket.store().put_opts(key, PutPayload::new(), options).await {
        Ok(_) => bucket.store().delete(key).await,
        // Whoever wrote that one dropped them, or does so next time.
        Err(Error::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
