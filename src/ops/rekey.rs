//! Encrypting a stored archive anew, for the recipients that are configured now.
//!
//! The new object is written beside the old one and read back; one transaction lets the catalog's record point to it;
//! only then is the old one deleted. Names are never used again, so whatever stops this, at any point, what the
//! catalog points to is whole, and what it does not point to is known and removed.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use archive::ReadAt;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::app::App;
use crate::catalog::ArchiveRecord;
use crate::encryption::{Opened, OwnKey, Tap};
use crate::jobs::{
    Cleaned, Finished, Job, JobContext, JobFailure, JobKind, JobState, NewJob, Progress,
};
use crate::ops::backup::{Kept, Memo, RunError, Sending, Sent};
use crate::ops::chain::{self, Near};
use crate::ops::named::folder::{Folder, other_name};
use crate::ops::{OpError, archives, copies, named, retention, unopened};
use crate::storage::{
    self, FILE_ID, JournalError, Remains, Storage, StorageParams, StorageType, UploadJournal,
};

/// What is read at once, and how many such pieces ahead.
const PIECE: u64 = 1 << 20;
const AHEAD: usize = 4;
/// How often it is looked whether the old object is still read.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RekeyRequest {
    archive_id: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity_file: Option<PathBuf>,
}

/// What may be left when it is stopped.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Left {
    /// Of the new object.
    upload: Remains,
    /// The old object, from before the record may point elsewhere.
    old: Option<Object>,
}

/// Where an object lies.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Object {
    kind: StorageType,
    /// Secrets are sealed.
    params: StorageParams,
    name: String,
    url: String,
}

impl Object {
    fn of(record: &ArchiveRecord) -> Self {
        Self {
            kind: record.storage_type,
            params: record.storage_params.clone(),
            name: record.name.clone(),
            url: record.url.clone(),
        }
    }
}

/// Queues the job. `identity_file`: opens the archive instead of the configured identities.
pub async fn start(
    app: &App,
    archive: Uuid,
    identity_file: Option<PathBuf>,
) -> Result<Job, OpError> {
    if !app.keys.encrypts() {
        return Err(OpError::Invalid(
            "there is nothing to encrypt for: set encryption.recipients".to_owned(),
        ));
    }
    let record = archives::get(app, None, archive).await?;
    let copies = copies::of(app, [&record]).await?.remove(&archive).unwrap_or_default();
    // The old bytes could not be removed.
    if let Some(why) = archives::locked(&record, &copies, app.clock.now()) {
        return Err(OpError::Conflict(format!("{}: {why}", record.name)));
    }
    let keys = app.keys_with(identity_file.as_deref())?;
    // Who cannot open it is told at once.
    Opened::new(archives::stored(app, &record).await?, &keys)
        .await
        .map_err(|error| unopened(&record.name, &error))?;
    let request = RekeyRequest { archive_id: archive, identity_file };
    let job = NewJob {
        kind: JobKind::Rekey,
        tenant_id: record.tenant_id,
        dump: record.dump,
        request: serde_json::to_value(request).map_err(OpError::internal)?,
        exclusive: Some(format!("rekey:{archive}")),
        archive_id: Some(archive),
    };
    Ok(app.queue.enqueue(job).await?.job)
}

/// Runs the job.
pub(super) async fn run(app: &Arc<App>, ctx: &JobContext) -> Result<Finished, JobFailure> {
    let request = request(&ctx.job).map_err(JobFailure::Failed)?;
    let rekey = Rekey { app, ctx, request: &request };
    let record = archives::get(app, None, request.archive_id).await.map_err(failed)?;
    ctx.progress.restart();
    let storage = storage_beside(app, &record).map_err(failed)?;
    let journal = Arc::new(Journal { ctx: ctx.clone(), upload: Mutex::default() });
    let sent = rekey.send(&record, &storage, &journal).await?;
    let new = rekey.store(&record, &storage, sent, &journal).await?;
    ctx.progress.phase("removing the old one");
    rekey.remove_old(&record).await?;
    tracing::info!(archive = %record.id, name = new.name, "an archive is encrypted anew");
    Ok(Finished::verified(record.id, Timestamp::now()))
}

/// Removes whatever the catalog does not point to, of what a dead or failed attempt left.
pub(super) async fn clean(
    app: &App,
    job: &Job,
    remains: &serde_json::Value,
) -> Result<Cleaned, String> {
    let text = |error: OpError| error.to_string();
    let left: Left = serde_json::from_value(remains.clone()).map_err(|error| error.to_string())?;
    let id = request(job)?.archive_id;
    // A change of the record whose answer was lost may still be under way: this waits for its end.
    app.catalog.upkeep().archive_untold(id).await.map_err(|error| error.to_string())?;
    let record = app.catalog.archives().get(id).await.map_err(|error| error.to_string())?;
    let record = record.ok_or("the archive's record is gone")?;
    match left.old {
        Some(old) if record.url != old.url => {
            delete(app, &old, job.id).await.map_err(text)?;
            copies::renew(app, id).await.map_err(text)?;
            Ok(Cleaned::Succeeded(Box::new(Finished::verified(id, Timestamp::now()))))
        }
        _ => {
            let storage = storage_beside(app, &record).map_err(text)?;
            storage.clean(&left.upload).await.map_err(|error| error.to_string())?;
            Ok(Cleaned::Gone)
        }
    }
}

fn failed(error: impl std::fmt::Display) -> JobFailure {
    JobFailure::Failed(error.to_string())
}

fn request(job: &Job) -> Result<RekeyRequest, String> {
    serde_json::from_value(job.request.clone())
        .map_err(|error| format!("the job's request cannot be read: {error}"))
}

/// The storage of an archive, as one writes a new one there.
fn storage_beside(app: &App, record: &ArchiveRecord) -> Result<Storage, OpError> {
    let mut params = app.unseal_params(&record.storage_params)?;
    params.remove(FILE_ID);
    Ok(app.storages.resolve(record.storage_type, &params)?)
}

/// Deletes an object that no record points to, unless something still reads it.
async fn delete(app: &App, old: &Object, job: Uuid) -> Result<(), OpError> {
    if let Some(record) = app.catalog.archives().by_url(old.url.clone()).await? {
        return Err(OpError::Conflict(format!("{} is archive {} again", old.url, record.id)));
    }
    let params = app.unseal_params(&old.params)?;
    let storage = app.storages.resolve(old.kind, &params)?;
    if storage.object_url(&old.name).as_str() != old.url {
        return Err(OpError::Unavailable(format!("nothing configured leads to {}", old.url)));
    }
    tracing::debug!(%job, url = old.url, "an old object is removed");
    storage.delete(&old.name).await?;
    Ok(())
}

struct Rekey<'a> {
    app: &'a Arc<App>,
    ctx: &'a JobContext,
    request: &'a RekeyRequest,
}

impl Rekey<'_> {
    /// Decrypts and encrypts.
    async fn send(
        &self,
        record: &ArchiveRecord,
        storage: &Storage,
        journal: &Arc<Journal>,
    ) -> Result<Sent, JobFailure> {
        let Self { app, ctx, request } = self;
        ctx.progress.phase("encrypting");
        let keys = app.keys_with(request.identity_file.as_deref()).map_err(failed)?;
        // May be dropped at any moment: nothing is written yet.
        let open = async {
            let stored = archives::stored(app, record).await.map_err(failed)?;
            let opened = Opened::new(stored, &keys).await;
            let opened = opened.map_err(|error| failed(unopened(&record.name, &error)))?;
            Ok::<_, JobFailure>((opened, self.new_name(record, storage).await?))
        };
        let (opened, name) = tokio::select! {
            opened = open => opened?,
            () = ctx.cancel.cancelled() => return Err(JobFailure::Cancelled),
        };
        let (sending, sink) =
            Sending::start(app, ctx, storage, name, record.size, Arc::clone(journal) as _).await?;
        ctx.progress.add_total((1 + sending.later()) * record.size);
        let (clear, tap) = opened.tapped();
        let read = async {
            pump(clear, sink, &ctx.progress).await?;
            same(record, &tap).await
        };
        let read = tokio::select! {
            read = read => read.map_err(|why| RunError::Failed(format!("{}: {why}", record.name))),
            () = ctx.cancel.cancelled() => Err(RunError::Cancelled),
        };
        Ok(sending.end(read.map(|()| None)).await?)
    }

    /// A name that nothing has. What reads an archive of one source finds it by its name, of which there are two.
    async fn new_name(
        &self,
        record: &ArchiveRecord,
        storage: &Storage,
    ) -> Result<String, JobFailure> {
        if record.tenant_id != named::NO_TENANT {
            let name = next_name(&record.name, self.app.keys.ending());
            return storage.unused_name(&name).await.map_err(failed);
        }
        let name = other_name(&record.name);
        match storage.size(&name).await.map_err(failed)? {
            None => Ok(name),
            Some(_) => Err(failed(format!("{} is there already", storage.object_url(&name)))),
        }
    }

    /// Makes the new object appear, reads it back, and lets the record point to it.
    async fn store(
        &self,
        record: &ArchiveRecord,
        storage: &Storage,
        sent: Sent,
        journal: &Journal,
    ) -> Result<ArchiveRecord, JobFailure> {
        let kept = sent.store(self.app, self.ctx, storage, async { Ok(()) }).await?;
        let Kept { name, url, id, locked_until, stored, own } = kept;
        let mut params = record.storage_params.clone();
        params.remove(FILE_ID);
        let new = ArchiveRecord {
            url,
            name,
            storage_params: storage::in_record(&params, id.as_deref(), locked_until),
            size: stored.bytes,
            sha256: hex::encode(stored.sha256),
            verified_on: Some(Timestamp::now()),
            ..record.clone()
        };
        let upload = journal.upload().ok_or_else(|| failed("the upload was not noted"))?;
        let left = Left { upload, old: Some(Object::of(record)) };
        self.ctx.save_remains(serde_json::to_value(left).map_err(failed)?).await?;
        if record.tenant_id == named::NO_TENANT {
            let keys = self.app.keys_with(self.request.identity_file.as_deref()).map_err(failed)?;
            let folder = Folder::of(self.app, record).map_err(failed)?;
            folder.rekey_documents(&keys).await.map_err(failed)?;
        }
        self.ctx.replace_archive(&record.url, new.clone()).await?;
        if let Some(own) = own {
            self.remember(&new, storage, &own).await;
        }
        Ok(new)
    }

    /// Keeps what the next increment needs, unless that was kept when the archive was made.
    async fn remember(&self, record: &ArchiveRecord, storage: &Storage, own: &OwnKey) {
        let Self { app, ctx, request } = self;
        let keep = async {
            if app.catalog.memos().part(record.id, 0).await?.is_some() {
                return Ok(());
            }
            let opened = Opened::own(archives::stored(app, record).await?, own)
                .await
                .map_err(|error| unopened(&record.name, &error))?;
            let keys = app.keys_with(request.identity_file.as_deref())?;
            let near = Near::Storage(storage.clone());
            let archive = chain::open(Some(app), &keys, &near, &opened).await;
            let archive = archive.map_err(OpError::internal)?;
            // Nothing is added to what something else wrote.
            match archive.info() {
                Some(_) => {
                    Memo::keep(app, record.id, &archive, None).await.map_err(OpError::internal)
                }
                None => Ok(()),
            }
        };
        if let Err(error) = keep.await {
            ctx.warn(format!("what the next incremental backup needs could not be kept: {error}"));
        }
    }

    /// Waits until no job reads the old object, and deletes it.
    async fn remove_old(&self, record: &ArchiveRecord) -> Result<(), JobFailure> {
        let Self { app, ctx, .. } = self;
        loop {
            // One that waits in the queue will read the new object; waiting for it could be for ever.
            let reads = |job: &Job| job.id != ctx.job.id && job.state == JobState::Running;
            let held = retention::held_by(app, reads).await.map_err(failed)?;
            if !held.contains_key(&record.id) {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = ctx.cancel.cancelled() => return Err(JobFailure::Cancelled),
            }
        }
        delete(app, &Object::of(record), ctx.job.id).await.map_err(|error| {
            failed(format!(
                "the archive is encrypted anew, and {} must be removed: {error}",
                record.url
            ))
        })?;
        copies::renew(app, record.id).await.map_err(|error| {
            failed(format!(
                "the archive is encrypted anew, and its copies must be made anew: {error}"
            ))
        })
    }
}

/// Reads an archive from its start to its end.
async fn pump(
    clear: Arc<dyn ReadAt>,
    sink: mpsc::Sender<Bytes>,
    progress: &Progress,
) -> Result<(), String> {
    let end = clear.len();
    let mut pieces = stream::iter((0..end).step_by(PIECE as usize))
        .map(|at| {
            let clear = Arc::clone(&clear);
            async move { clear.read_at(at..end.min(at + PIECE)).await }
        })
        .buffered(AHEAD);
    while let Some(piece) = pieces.try_next().await.map_err(|error| error.to_string())? {
        progress.add(piece.len() as u64);
        // Who no longer takes them has failed, and says why.
        if sink.send(piece).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Whether what was read is what the catalog has recorded.
async fn same(record: &ArchiveRecord, tap: &Tap) -> Result<(), String> {
    let sha256 = hex::encode(tap.finish().await.map_err(|error| error.to_string())?);
    // DocSpace kept none of some of its archives.
    let same = record.sha256.is_empty() || record.sha256.eq_ignore_ascii_case(&sha256);
    match same && tap.len() == record.size {
        true => Ok(()),
        false => Err("the archive is damaged: it is not the one that was recorded".to_owned()),
    }
}

/// Notes what the upload may leave.
struct Journal {
    ctx: JobContext,
    upload: Mutex<Option<Remains>>,
}

impl Journal {
    fn upload(&self) -> Option<Remains> {
        self.upload.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait::async_trait]
impl UploadJournal for Journal {
    async fn record(&self, remains: &Remains) -> Result<(), JournalError> {
        *self.upload.lock().unwrap_or_else(PoisonError::into_inner) = Some(remains.clone());
        let left = Left { upload: remains.clone(), old: None };
        Ok(self.ctx.save_remains(serde_json::to_value(left)?).await?)
    }
}

/// The name of the next object: `x.tar.gz` → `x.tar.gz.age` → `x_2.tar.gz.age` → `x_3.tar.gz.age` …
fn next_name(name: &str, ending: &str) -> String {
    let Some(clear) = name.strip_suffix(ending) else { return format!("{name}{ending}") };
    let stem = [".tar.gz", ".tar"].iter().find_map(|end| clear.strip_suffix(end)).unwrap_or(clear);
    let (base, number) = match stem.rsplit_once('_') {
        Some((base, number)) => (base, number.parse::<u32>().ok()),
        None => (stem, None),
    };
    let (base, number) = number.map_or((stem, 2), |number| (base, number.saturating_add(1)));
    format!("{base}_{number}{}{ending}", &clear[stem.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Secret};
    use crate::jobs::{JobState, ProgressView};
    use crate::storage::UploadHint;

    #[test]
    fn no_name_comes_again() {
        let next = |name| next_name(name, ".age");
        assert_eq!(next("a_2026-01-01_10-00-00.tar.gz"), "a_2026-01-01_10-00-00.tar.gz.age");
        assert_eq!(next("a_2026-01-01_10-00-00.tar.gz.age"), "a_2026-01-01_10-00-00_2.tar.gz.age");
        assert_eq!(next("a_2.tar.gz.age"), "a_3.tar.gz.age");
        assert_eq!(next("a_99.tar.age"), "a_100.tar.age");
        assert_eq!(next("plain.age"), "plain_2.age");
    }

    struct Nothing;

    #[async_trait::async_trait]
    impl UploadJournal for Nothing {
        async fn record(&self, _: &Remains) -> Result<(), JournalError> {
            Ok(())
        }
    }

    struct Place {
        dir: tempfile::TempDir,
        app: Arc<App>,
        storage: Storage,
    }

    impl Place {
        async fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let mut config = Config::default();
            config.catalog.url = Secret::new(format!("sqlite://{}/c.db", dir.path().display()));
            config.storage.local.root = dir.path().join("backups");
            let app = App::build(config).await.unwrap();
            let storage = app.storages.resolve(StorageType::Local, &StorageParams::new()).unwrap();
            Self { dir, app, storage }
        }

        async fn write(&self, name: &str) {
            let hint = UploadHint { expected_bytes: 0, memory: 1 << 20 };
            let mut upload = self.storage.upload(name, hint, Arc::new(Nothing)).await.unwrap();
            upload.write(Bytes::from_static(b"x")).await.unwrap();
            upload.complete().await.unwrap();
        }

        fn object(&self, name: &str) -> Object {
            Object {
                kind: StorageType::Local,
                params: StorageParams::new(),
                name: name.to_owned(),
                url: self.storage.object_url(name).to_string(),
            }
        }

        async fn record(&self, name: &str) -> Uuid {
            let record = ArchiveRecord {
                url: self.storage.object_url(name).to_string(),
                name: name.to_owned(),
                created_on: Timestamp::now(),
                ..ArchiveRecord::sample()
            };
            self.app.catalog.archives().insert(&record).await.unwrap();
            record.id
        }

        fn files(&self) -> Vec<String> {
            let files = std::fs::read_dir(self.dir.path().join("backups")).unwrap();
            let mut files: Vec<_> =
                files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
            files.sort();
            files
        }

        async fn clean(&self, archive: Uuid, left: &Left) -> Result<Cleaned, String> {
            let request = RekeyRequest { archive_id: archive, identity_file: None };
            let job = Job {
                id: Uuid::new_v4(),
                kind: JobKind::Rekey,
                state: JobState::Running,
                tenant_id: 1,
                dump: true,
                request: serde_json::to_value(request).unwrap(),
                attempt: 2,
                progress: ProgressView::default(),
                archive_id: Some(archive),
                error: None,
                warnings: Vec::new(),
                warnings_omitted: 0,
                created_on: Timestamp::now(),
                started_on: None,
                finished_on: None,
                cancel_requested: false,
            };
            clean(&self.app, &job, &serde_json::to_value(left).unwrap()).await
        }
    }

    /// What a process that died just before, or just after, the catalog was changed leaves.
    #[tokio::test]
    async fn what_the_catalog_does_not_point_to_goes() {
        let (old, new) = ("a.tar.gz.age", "a_2.tar.gz.age");
        for switched in [false, true] {
            let place = Place::new().await;
            place.write(old).await;
            place.write(new).await;
            use std::os::unix::fs::MetadataExt as _;
            let path = place.dir.path().join("backups").join(new);
            let number = std::fs::metadata(path).unwrap().ino();
            let left = Left {
                upload: Remains {
                    name: new.to_owned(),
                    upload_id: Some(format!("attempt:{number}")),
                },
                old: Some(place.object(old)),
            };
            let kept = if switched { new } else { old };
            let id = place.record(kept).await;
            for _ in 0..2 {
                let cleaned = place.clean(id, &left).await.unwrap();
                assert_eq!(matches!(cleaned, Cleaned::Succeeded(_)), switched);
                assert_eq!(place.files(), [kept]);
            }
        }
    }

    /// However it came about: an object that a record points to is not deleted.
    #[tokio::test]
    async fn an_archive_of_the_catalog_stays() {
        let place = Place::new().await;
        place.write("a.tar.gz.age").await;
        let other = place.record("a.tar.gz.age").await;
        let id = place.record("a_2.tar.gz.age").await;
        let upload = Remains { name: "a_2.tar.gz.age".to_owned(), upload_id: None };
        let left = Left { upload, old: Some(place.object("a.tar.gz.age")) };
        let error = place.clean(id, &left).await.unwrap_err();
        assert!(error.contains(&other.to_string()), "{error}");
        assert_eq!(place.files(), ["a.tar.gz.age"]);
    }
}
