//! What a stopped job may leave: noted while it runs, and removed.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{request, storage_beside};
use crate::app::App;
use crate::catalog::ArchiveRecord;
use crate::jobs::{Cleaned, Finished, Job, JobContext};
use crate::ops::{OpError, copies};
use crate::storage::{JournalError, Remains, StorageParams, StorageType, UploadJournal};

/// What may be left when it is stopped.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Left {
    /// Of the new object.
    pub upload: Remains,
    /// The old object, from before the record may point elsewhere.
    pub old: Option<Object>,
}

/// Where an object lies.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Object {
    kind: StorageType,
    /// Secrets are sealed.
    params: StorageParams,
    name: String,
    url: String,
}

impl Object {
    pub fn of(record: &ArchiveRecord) -> Self {
        Self {
            kind: record.storage_type,
            params: record.storage_params.clone(),
            name: record.name.clone(),
            url: record.url.clone(),
        }
    }
}

/// Notes what the upload may leave.
pub(super) struct Journal {
    ctx: JobContext,
    upload: Mutex<Option<Remains>>,
}

impl Journal {
    pub fn of(ctx: &JobContext) -> Self {
        Self { ctx: ctx.clone(), upload: Mutex::default() }
    }

    pub fn upload(&self) -> Option<Remains> {
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

/// Removes whatever the catalog does not point to, of what a dead or failed attempt left.
pub(in crate::ops) async fn clean(
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

/// Deletes an object that no record points to, unless something still reads it.
pub(super) async fn delete(app: &App, old: &Object, job: Uuid) -> Result<(), OpError> {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::super::RekeyRequest;
    use super::*;
    use crate::config::{Config, Secret};
    use crate::jobs::{JobKind, JobState, ProgressView};
    use crate::storage::{Storage, UploadHint};

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
