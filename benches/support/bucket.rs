//! A bucket that costs its machine little: the protocol and its signatures are checked by `s3s`, parts lie as files
//! of their own, as object stores keep them, and nothing is hashed or copied once more.

use std::collections::HashMap;
use std::fs::File;
use std::io::{IoSlice, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::TryStreamExt;
use hyper_util::rt::TokioIo;
use rustix::fs::Advice;
use s3s::auth::SimpleAuth;
use s3s::dto::*;
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use tokio::net::TcpListener;

const ACCESS_KEY: &str = "bench-access-key";
const SECRET_KEY: &str = "bench-secret-key";
/// How much of an object is read or written at once.
const PIECE: usize = 256 << 10;
/// After how many written bytes of a part the disk is told to begin.
const WRITE_BACK: u64 = 8 << 20;

/// Listens on a port of its own until the process ends.
pub struct Bucket {
    endpoint: String,
}

impl Bucket {
    /// `dir`: where its objects lie.
    pub async fn start(dir: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let store = Store { dir: dir.to_owned(), ..Store::default() };
        let mut service = S3ServiceBuilder::new(store);
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .max_buf_size(1 << 20)
                        .serve_connection(TokioIo::new(socket), service),
                );
            }
        });
        Ok(Self { endpoint })
    }

    /// The options of a storage there, as in the configuration.
    pub fn options(&self) -> String {
        format!(
            "endpoint = \"{}\", access_key_id = \"{ACCESS_KEY}\", secret_access_key = \"{SECRET_KEY}\", \
             allow_http = \"true\", region = \"us-east-1\"",
            self.endpoint
        )
    }
}

#[derive(Default)]
struct Store {
    dir: PathBuf,
    number: AtomicU64,
    objects: Mutex<HashMap<String, Object>>,
    uploads: Mutex<HashMap<String, Upload>>,
}

/// Its parts, in their order.
#[derive(Clone)]
struct Object {
    metadata: Option<Metadata>,
    parts: Arc<Vec<Part>>,
}

#[derive(Clone)]
struct Part {
    file: Arc<File>,
    size: u64,
}

/// A part on its way to its file.
struct NewPart {
    file: File,
    size: u64,
    gathered: Vec<Bytes>,
    waiting: usize,
    /// How much of it the disk was told of.
    told: u64,
}

impl NewPart {
    fn create(path: &Path) -> std::io::Result<Self> {
        let file = File::options().create_new(true).read(true).write(true).open(path)?;
        std::fs::remove_file(path)?;
        Ok(Self { file, size: 0, gathered: Vec::new(), waiting: 0, told: 0 })
    }

    fn add(&mut self, piece: Bytes) -> std::io::Result<()> {
        self.waiting += piece.len();
        self.gathered.push(piece);
        if self.waiting >= PIECE { self.write() } else { Ok(()) }
    }

    /// Soon, so that little memory is held and all of it is in the processor's cache.
    fn write(&mut self) -> std::io::Result<()> {
        tokio::task::block_in_place(|| {
            let gathered = std::mem::take(&mut self.gathered);
            let mut slices: Vec<_> = gathered.iter().map(|piece| IoSlice::new(piece)).collect();
            let mut slices = slices.as_mut_slice();
            while !slices.is_empty() {
                let written = self.file.write_vectored(slices)?;
                IoSlice::advance_slices(&mut slices, written);
            }
            self.size += std::mem::take(&mut self.waiting) as u64;
            if self.size - self.told >= WRITE_BACK {
                // As our own storages in folders do.
                let length = NonZeroU64::new(self.size - self.told);
                rustix::fs::fadvise(&self.file, self.told, length, Advice::DontNeed)?;
                self.told = self.size;
            }
            Ok(())
        })
    }

    fn end(mut self) -> std::io::Result<Part> {
        self.write()?;
        Ok(Part { file: Arc::new(self.file), size: self.size })
    }
}

struct Upload {
    metadata: Option<Metadata>,
    parts: HashMap<i32, Part>,
}

impl Object {
    fn size(&self) -> u64 {
        self.parts.iter().map(|part| part.size).sum()
    }

    /// Of one part and no more than that.
    fn read(&self, mut from: u64, until: u64) -> std::io::Result<Bytes> {
        for part in self.parts.iter() {
            if from >= part.size {
                from -= part.size;
                continue;
            }
            let length = (PIECE as u64).min(part.size - from).min(until);
            let mut piece = vec![0; length as usize];
            part.file.read_exact_at(&mut piece, from)?;
            return Ok(piece.into());
        }
        Ok(Bytes::new())
    }
}

impl Store {
    async fn keep(&self, body: Option<StreamingBlob>) -> S3Result<Part> {
        let mut body = body.ok_or_else(|| s3_error!(IncompleteBody))?;
        let path = self.dir.join(self.number.fetch_add(1, Ordering::Relaxed).to_string());
        let mut part = NewPart::create(&path).map_err(|_| s3_error!(InternalError))?;
        while let Some(piece) = body.try_next().await.map_err(|_| s3_error!(IncompleteBody))? {
            part.add(piece).map_err(|_| s3_error!(InternalError))?;
        }
        part.end().map_err(|_| s3_error!(InternalError))
    }

    fn find(&self, key: &str) -> S3Result<Object> {
        let objects = self.objects.lock().map_err(|_| s3_error!(InternalError))?;
        objects.get(key).cloned().ok_or_else(|| s3_error!(NoSuchKey))
    }

    fn tag() -> Option<ETag> {
        Some(ETag::Strong("0".repeat(32)))
    }
}

#[async_trait::async_trait]
impl S3 for Store {
    async fn put_object(
        &self,
        req: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let part = self.keep(req.input.body).await?;
        let object = Object { metadata: req.input.metadata, parts: Arc::new(vec![part]) };
        let mut objects = self.objects.lock().map_err(|_| s3_error!(InternalError))?;
        objects.insert(req.input.key, object);
        Ok(S3Response::new(PutObjectOutput { e_tag: Self::tag(), ..Default::default() }))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let id = self.number.fetch_add(1, Ordering::Relaxed).to_string();
        let upload = Upload { metadata: req.input.metadata, parts: HashMap::new() };
        let mut uploads = self.uploads.lock().map_err(|_| s3_error!(InternalError))?;
        uploads.insert(id.clone(), upload);
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(req.input.bucket),
            key: Some(req.input.key),
            upload_id: Some(id),
            ..Default::default()
        }))
    }

    async fn upload_part(
        &self,
        req: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let part = self.keep(req.input.body).await?;
        let mut uploads = self.uploads.lock().map_err(|_| s3_error!(InternalError))?;
        let upload = uploads.get_mut(&req.input.upload_id);
        let upload = upload.ok_or_else(|| s3_error!(NoSuchUpload))?;
        upload.parts.insert(req.input.part_number, part);
        Ok(S3Response::new(UploadPartOutput { e_tag: Self::tag(), ..Default::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let mut uploads = self.uploads.lock().map_err(|_| s3_error!(InternalError))?;
        let upload = uploads.remove(&req.input.upload_id);
        let mut upload = upload.ok_or_else(|| s3_error!(NoSuchUpload))?;
        let wanted = req.input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let parts = wanted.iter().map(|part| upload.parts.remove(&part.part_number?));
        let parts: Option<Vec<Part>> = parts.collect();
        let parts = Arc::new(parts.ok_or_else(|| s3_error!(InvalidPart))?);
        let mut objects = self.objects.lock().map_err(|_| s3_error!(InternalError))?;
        objects.insert(req.input.key.clone(), Object { metadata: upload.metadata, parts });
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(req.input.bucket),
            key: Some(req.input.key),
            e_tag: Self::tag(),
            ..Default::default()
        }))
    }

    async fn head_object(
        &self,
        req: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let object = self.find(&req.input.key)?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: Some(object.size() as i64),
            e_tag: Self::tag(),
            last_modified: Some(std::time::UNIX_EPOCH.into()),
            metadata: object.metadata,
            ..Default::default()
        }))
    }

    async fn get_object(
        &self,
        req: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let object = self.find(&req.input.key)?;
        let size = object.size();
        let range = match req.input.range {
            Some(range) => range.check(size)?,
            None => 0..size,
        };
        let metadata = object.metadata.clone();
        let pieces =
            futures::stream::unfold((object, range.clone()), |(object, left)| async move {
                if left.is_empty() {
                    return None;
                }
                let (from, until) = (left.start, left.end - left.start);
                let reading = object.clone();
                let read = tokio::task::spawn_blocking(move || reading.read(from, until)).await;
                let piece = read.map_err(std::io::Error::other).flatten();
                let next = left.start + piece.as_ref().map_or(until, |piece| piece.len() as u64);
                Some((piece, (object, next..left.end)))
            });
        Ok(S3Response::new(GetObjectOutput {
            body: Some(StreamingBlob::wrap(pieces)),
            content_length: Some((range.end - range.start) as i64),
            content_range: req
                .input
                .range
                .map(|_| format!("bytes {}-{}/{size}", range.start, range.end - 1)),
            e_tag: Self::tag(),
            last_modified: Some(std::time::UNIX_EPOCH.into()),
            metadata,
            ..Default::default()
        }))
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let mut objects = self.objects.lock().map_err(|_| s3_error!(InternalError))?;
        objects.remove(&req.input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let mut objects = self.objects.lock().map_err(|_| s3_error!(InternalError))?;
        let keys = req.input.delete.objects.into_iter().map(|object| object.key);
        let deleted = keys
            .map(|key| {
                objects.remove(&key);
                DeletedObject { key: Some(key), ..Default::default() }
            })
            .collect();
        let deleted = Some(deleted);
        Ok(S3Response::new(DeleteObjectsOutput { deleted, ..Default::default() }))
    }

    async fn list_objects_v2(
        &self,
        _: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        Ok(S3Response::new(ListObjectsV2Output::default()))
    }
}
