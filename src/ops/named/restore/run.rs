//! The job of such a restore.

use std::sync::Arc;

use archive::Archive;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::super::folder::{FAILURE, Folder, document_name};
use super::super::sources::{self, RestoredIndex, SourcePlace};
use super::super::target::{self, Archived};
use super::super::{document, operations};
use super::{Request, RestoreRefused, failed, request};
use crate::app::App;
use crate::catalog::{Message, SourceKind, SourceRecord, Task};
use crate::config::{Options, RavenVersion};
use crate::encryption::Opened;
use crate::jobs::{Cleaned, Finished, Job, JobContext, JobFailure};
use crate::ops::restore::{self as portal, ArchiveChoice, RestoreRequest};
use crate::ops::unopened;

/// Runs the restore that a job asks for. When it fails, [`clean`] removes what it made.
pub(in crate::ops) async fn run(app: &Arc<App>, ctx: &JobContext) -> Result<Finished, JobFailure> {
    let request = request(&ctx.job).map_err(JobFailure::Failed)?;
    let what = (Task::Restore, request.source_kind);
    let shown = &request.backup.shown;
    operations::begin(app, &ctx.job, what, &request.name, shown).await.map_err(failed)?;
    let noun = match request.source_kind {
        SourceKind::Database => "database",
        SourceKind::Filesystem => "filesystem",
    };
    let text = format!("Restoring {noun} {} from {shown}", request.name);
    app.catalog
        .operations()
        .say(ctx.job.id, vec![Message::now(text)], true)
        .await
        .map_err(failed)?;
    let run = Run { app, ctx, request: &request };
    let finished = run.run().await?;
    app.catalog.sources().set_ready(ctx.job.id, true).await.map_err(failed)?;
    for warning in ctx.warnings() {
        operations::say(app, ctx.job.id, Message::now(warning)).await;
    }
    let record = app.catalog.sources().of_job(ctx.job.id).await.map_err(failed)?;
    run.afterwards(record.is_some_and(|record| record.restored_index.is_some())).await;
    Ok(finished)
}

/// Finishes or undoes what a dead or failed attempt left.
pub(in crate::ops) async fn clean(
    app: &Arc<App>,
    job: &Job,
    remains: &Value,
) -> Result<Cleaned, String> {
    let record = app.catalog.sources().of_job(job.id).await.map_err(|error| error.to_string())?;
    let Some(record) = record else { return Ok(Cleaned::Gone) };
    let source = sources::restored(app, &record).map_err(|error| error.to_string())?;
    let mut cleaned = Cleaned::Gone;
    if remains.get("making").is_none() {
        let single = source.single(app, &[]).map_err(|error| error.to_string())?;
        cleaned = portal::clean_into(&single, job, None, remains).await?;
    }
    match cleaned {
        Cleaned::Succeeded(_) => {
            app.catalog
                .sources()
                .set_ready(job.id, true)
                .await
                .map_err(|error| error.to_string())?;
        }
        Cleaned::Gone | Cleaned::Undone(_) => {
            let index = sources::restored_index(app, &record);
            let index = index.map_err(|error| error.to_string())?;
            if let Some(index) = index.filter(|index| index.made) {
                target::discard_folder(&index.url);
            }
            // A kill may have come between its making and the record of that.
            if record.made || remains["new"] == true {
                target::discard(app, &record.name, &source.place).await?;
            }
            app.catalog.sources().forget(job.id).await.map_err(|error| error.to_string())?;
        }
    }
    Ok(match cleaned {
        Cleaned::Undone(_) => Cleaned::Undone(
            "the service was stopped while it restored: start the restore again".to_owned(),
        ),
        other => other,
    })
}

struct Run<'a> {
    app: &'a Arc<App>,
    ctx: &'a JobContext,
    request: &'a Request,
}

impl Run<'_> {
    async fn run(&self) -> Result<Finished, JobFailure> {
        let (folder, document) = self.backup().await?;
        let (archived, index) = self.archived(&folder).await?;
        let Request { name, target, indexes, .. } = self.request;
        let place = target::choose(self.app, name, target.as_ref(), &archived).map_err(failed)?;
        let index = match index {
            Some(index) => {
                let url = target::choose_index(self.app, name, indexes.as_ref(), &place);
                let url = url.map_err(failed)?;
                let made = url.to_file_path().is_ok_and(|path| !path.exists());
                Some(RestoredIndex { name: index, url, made })
            }
            None => None,
        };
        self.record(&place, index.as_ref(), document).await?;
        // From here on `clean` removes what is made.
        let making = json!({"making": true, "new": target::is_new(&place)});
        let journalled = self.ctx.save_remains(making).await;
        if let Err(error) = journalled {
            self.app.catalog.sources().forget(self.ctx.job.id).await.map_err(failed)?;
            return Err(error);
        }
        if target::make(self.app, name, &place).await.map_err(failed)? {
            self.app.catalog.sources().set_made(self.ctx.job.id).await.map_err(failed)?;
        }
        if let Some(index) = &index {
            target::make_index(&index.url).map_err(failed)?;
        }
        let record = self.app.catalog.sources().of_job(self.ctx.job.id).await.map_err(failed)?;
        let record = record.ok_or_else(|| failed("its record is gone"))?;
        let source = sources::restored(self.app, &record).map_err(failed)?;
        let single = source.single(self.app, &[]).map_err(failed)?;
        let archive = self.archive_name(&folder).await?;
        let from = RestoreRequest::of(ArchiveChoice::Stored {
            storage_type: folder.location.storage_type,
            storage_params: folder.location.storage_params.clone(),
            path: match folder.location.storage_params.get("filePath") {
                Some(path) if !path.is_empty() => format!("{path}/{archive}"),
                _ => archive,
            },
        });
        portal::run_request(&single, self.ctx, &from).await
    }

    /// The newest backup that is whole, and its document.
    async fn backup(&self) -> Result<(Folder, Map<String, Value>), JobFailure> {
        let kind = self.request.source_kind;
        let shown = &self.request.backup.shown;
        let root = Folder::open(self.app, &self.request.backup).map_err(failed)?;
        let is_database = kind == SourceKind::Database;
        if self.app.config.ravendb.version == RavenVersion::V35
            && is_database
            && root.has(FAILURE).await.map_err(failed)?
        {
            return Err(failed(
                "Backup failure marker was detected. Unable to restore from given directory.",
            ));
        }
        if !root.has_document(self.app, kind).await.map_err(failed)? {
            let missing = RestoreRefused::NoDocument(document_name(kind), shown.clone());
            return Err(failed(missing));
        }
        let newest = root.newest(self.app, kind).await.map_err(failed)?;
        let folder = newest.ok_or_else(|| self.no_backup())?;
        let document = folder.read(document_name(kind)).await.map_err(failed)?;
        Ok((folder, document.unwrap_or_default()))
    }

    async fn archive_name(&self, folder: &Folder) -> Result<String, JobFailure> {
        let name = folder.archive().await.map_err(failed)?;
        name.ok_or_else(|| self.no_backup())
    }

    fn no_backup(&self) -> JobFailure {
        failed(format!("{} doesn't look like a valid backup", self.request.backup.shown))
    }

    /// What the archive holds: one source of the kind that is asked for; and what it calls its index, if it has one.
    async fn archived(&self, folder: &Folder) -> Result<(Archived, Option<String>), JobFailure> {
        let storage = folder.location.storage(self.app).map_err(failed)?;
        let name = self.archive_name(folder).await?;
        let object = storage.open(&name).await.map_err(failed)?;
        let opened = Opened::new(Arc::new(object), &self.app.keys).await;
        let opened = opened.map_err(|error| failed(unopened(&name, &error)))?;
        let archive = Archive::open(opened.clear()).await.map_err(|_| self.no_backup())?;
        let info = archive.info().filter(|info| info.layout == "source");
        let info = info.ok_or_else(|| self.no_backup())?;
        let archived = match self.request.source_kind {
            SourceKind::Database => info
                .databases
                .first()
                .map(|database| Archived::Database { engine: database.engine.clone() }),
            SourceKind::Filesystem => {
                info.filesystems.first().map(|name| Archived::Filesystem { name: name.clone() })
            }
        };
        let archived = archived.ok_or_else(|| self.no_backup())?;
        Ok((archived, info.indexes.first().cloned()))
    }

    /// The name is taken from here on, also for other processes.
    async fn record(
        &self,
        place: &SourcePlace,
        index: Option<&RestoredIndex>,
        mut document: Map<String, Value>,
    ) -> Result<(), JobFailure> {
        let (kind, name) = (self.request.source_kind, &self.request.name);
        // An earlier attempt may have been killed right after it had come so far.
        self.app.catalog.sources().forget(self.ctx.job.id).await.map_err(failed)?;
        let taken = match kind {
            SourceKind::Database => RestoreRefused::Exists(name.clone()).to_string(),
            SourceKind::Filesystem => target::not_empty(kind).to_owned(),
        };
        if sources::find(self.app, kind, name).await.map_err(failed)?.is_some() {
            return Err(JobFailure::Failed(taken));
        }
        let id = match kind {
            SourceKind::Database => format!("Raven/Databases/{name}"),
            SourceKind::Filesystem => format!("Raven/FileSystems/{name}"),
        };
        document.retain(|key, _| !key.eq_ignore_ascii_case("Id"));
        document.insert("Id".to_owned(), id.into());
        let shown = match &self.request.target {
            Some(target) => target.shown.clone(),
            None => document::without_secrets(place.url()),
        };
        document::set(&mut document, document::data_dir(kind), &shown);
        for (setting, location) in [
            ("Raven/IndexStoragePath", &self.request.indexes),
            ("Raven/TransactionJournalsPath", &self.request.journals),
        ] {
            match location {
                Some(location) => document::set(&mut document, setting, &location.shown),
                None => document::unset(&mut document, setting),
            }
        }
        let options = match place {
            SourcePlace::Filesystem { options, .. } => options.clone(),
            SourcePlace::Database { .. } => Options::default(),
        };
        let seal = |text: &str| self.app.seal_text(text).map_err(failed);
        let record = SourceRecord {
            kind,
            name: name.clone(),
            url: seal(place.url())?,
            options: seal(&serde_json::to_string(&options.0).map_err(failed)?)?,
            document: seal(&Value::Object(document).to_string())?,
            restored_index: match index {
                Some(index) => Some(seal(&serde_json::to_string(index).map_err(failed)?)?),
                None => None,
            },
            job_id: self.ctx.job.id,
            ready: false,
            made: false,
            created_on: Timestamp::now(),
        };
        match self.app.catalog.sources().insert(&record).await.map_err(failed)? {
            true => Ok(()),
            false => Err(JobFailure::Failed(taken)),
        }
    }

    /// What is done to a source that is there already, so that its failing is only told.
    async fn afterwards(&self, has_index: bool) {
        let say = async |text: String| {
            operations::say(self.app, self.ctx.job.id, Message::now(text)).await;
        };
        if let Some(journals) = &self.request.journals {
            say(format!(
                "JournalsLocation {} was ignored: journals lie where the database keeps them",
                journals.shown
            ))
            .await;
        }
        if let Some(indexes) = self.request.indexes.as_ref().filter(|_| !has_index) {
            say(format!("IndexesLocation {} was ignored: the backup has no index", indexes.shown))
                .await;
        }
        if !self.request.defrag {
            return;
        }
        match self.compact().await {
            Ok(true) => say("Defragmentation has finished".to_owned()).await,
            Ok(false) => {}
            Err(error) => say(format!("Defragmentation failed: {error}")).await,
        }
    }

    async fn compact(&self) -> Result<bool, String> {
        let Request { source_kind: kind, name, .. } = self.request;
        let source = sources::find(self.app, *kind, name).await.map_err(|e| e.to_string())?;
        let Some(SourcePlace::Database { url }) = source.map(|source| source.place) else {
            return Ok(false);
        };
        let database = target::database(self.app, name, &url).map_err(|e| e.to_string())?;
        database.compact().await.map(|()| true).map_err(|error| error.to_string())
    }
}
