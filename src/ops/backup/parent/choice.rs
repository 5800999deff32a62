//! Choosing the archive that an increment is made upon.

use archive::{Archive, Link, MAX_LINKS, ManifestInfo};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{Index, Lists, Memo, Parent};
use crate::app::App;
use crate::catalog::{ArchiveFilter, ArchiveRecord};
use crate::ops::backup::run::RunError;
use crate::ops::restore::family;
use crate::ops::{OpError, archives};
use crate::storage::{Storage, StorageType};

/// How many archives are looked at, the newest first.
const TRIED: usize = 5;

/// Increments need the list of what their parent holds.
const LOCKED: &str = "it is encrypted, this service has no identity that opens it (encryption.identity_file, or the \
                      passphrase), and the catalog has kept nothing of it";

/// What an increment must fit to.
pub struct Wanted<'a> {
    pub tenant_id: i64,
    pub dump: bool,
    pub storage_type: StorageType,
    pub storage: &'a Storage,
    /// Only this one will do.
    pub parent: Option<Uuid>,
    /// A full backup is made when the last one is older.
    pub full_every: Option<SignedDuration>,
}

/// An archive that may be added to.
#[derive(Clone)]
pub struct Candidate {
    pub record: ArchiveRecord,
    /// Where it lies as seen from the increment's folder, if that is another.
    pub place: Option<String>,
}

pub enum Choice {
    Parent(Box<Parent>),
    /// A full backup is due.
    Due,
    /// There is nothing to add to; why.
    None(String),
}

/// The archive to add to. Errors when one was named and cannot be used.
pub async fn choose(app: &App, wanted: &Wanted<'_>, now: Timestamp) -> Result<Choice, RunError> {
    if let Some(id) = wanted.parent {
        let record = archives::get(app, None, id).await.map_err(refused)?;
        let candidate = Candidate { record: record.clone(), place: None };
        return match open(app, &candidate).await {
            Ok(parent) => Ok(Choice::Parent(Box::new(parent))),
            Err(why) => Err(refused(format!("nothing can be added to {}: {why}", record.name))),
        };
    }
    let records = candidates(app, wanted).await?.into_iter();
    let candidates: Vec<_> = records.map(|record| Candidate { record, place: None }).collect();
    match first_of(app, &candidates).await {
        Ok(parent) if parent.is_due(wanted.full_every, now) => Ok(Choice::Due),
        Ok(parent) => Ok(Choice::Parent(Box::new(parent))),
        Err(why) => Ok(Choice::None(
            why.unwrap_or_else(|| "this storage has none of this portal yet".to_owned()),
        )),
    }
}

/// The first that can be added to; or why the first cannot, if there is one.
pub async fn first_of(app: &App, candidates: &[Candidate]) -> Result<Parent, Option<String>> {
    let mut first = None;
    for candidate in candidates.iter().take(TRIED) {
        match open(app, candidate).await {
            Ok(parent) => return Ok(parent),
            Err(why) => {
                let name = candidate.place.as_ref().unwrap_or(&candidate.record.name);
                first.get_or_insert(format!("{name}: {why}"));
            }
        }
    }
    Err(first)
}

fn refused(error: impl std::fmt::Display) -> RunError {
    RunError::Failed(error.to_string())
}

/// The newest archives that may do as far as the catalog tells, the newest first.
pub async fn candidates(app: &App, wanted: &Wanted<'_>) -> Result<Vec<ArchiveRecord>, RunError> {
    let filter = ArchiveFilter { dump: Some(wanted.dump), ..ArchiveFilter::default() };
    let listed = app.catalog.archives().list(filter, u32::MAX, 0).await;
    let mut records = listed.map_err(|error| RunError::Internal(error.to_string()))?.items;
    records.retain(|record| {
        record.storage_type == wanted.storage_type
            && (wanted.dump || record.tenant_id == wanted.tenant_id)
            && record.verified_on.is_some()
            && wanted.storage.object_url(&record.name).as_str() == record.url
    });
    records.truncate(TRIED);
    Ok(records)
}

/// Opens an archive to add to it, or takes what was kept of it. Errors say what it is unfit for.
async fn open(app: &App, candidate: &Candidate) -> Result<Parent, String> {
    let why = match read(app, candidate).await {
        Ok(parent) => return Ok(parent),
        Err(why) => why,
    };
    match Memo::read(app, &candidate.record).await {
        Ok(None) => Err(why),
        Ok(Some(memo)) => remembered(app, candidate, memo).await,
        Err(error) => Err(format!("{why}; what the catalog kept of it cannot be used: {error}")),
    }
}

async fn read(app: &App, candidate: &Candidate) -> Result<Parent, String> {
    let record = &candidate.record;
    let archive = archives::open(app, record).await.map_err(|error| match error {
        OpError::Locked(_) => LOCKED.to_owned(),
        error => error.to_string(),
    })?;
    let archive = Archive::clone(&archive);
    let (Some(info), Some(manifest)) = (archive.info().cloned(), archive.manifest_digest()) else {
        return Err("something else wrote it".to_owned());
    };
    fits(app, record, &info)?;
    archive.check_links().await.map_err(|error| error.to_string())?;
    let index = Index::read(&archive, &app.config.backup.temp_dir)
        .await
        .map_err(|error| error.to_string())?;
    let size = archive.size();
    let memo = Memo { info, size, manifest, index, lists: Lists::Archive(archive) };
    parent(candidate, memo)
}

/// A parent that nothing here opens. It and all that it needs must be there, as long as they were.
async fn remembered(app: &App, candidate: &Candidate, memo: Memo) -> Result<Parent, String> {
    fits(app, &candidate.record, &memo.info)?;
    is_there(app, &candidate.record).await?;
    for link in &memo.info.links {
        let id = link.id.parse().map_err(|_| format!("it needs {}, which has no id", link.name))?;
        let record = archives::get(app, None, id).await.map_err(|error| error.to_string())?;
        is_there(app, &record).await?;
    }
    parent(candidate, memo)
}

async fn is_there(app: &App, record: &ArchiveRecord) -> Result<(), String> {
    let unreadable = |error| format!("{}: {error}", record.name);
    let length = archives::stored(app, record).await.map_err(unreadable)?.len();
    match length == record.size {
        true => Ok(()),
        false => Err(format!("{} has {length} bytes where it had {}", record.name, record.size)),
    }
}

fn parent(candidate: &Candidate, memo: Memo) -> Result<Parent, String> {
    let Candidate { record, place } = candidate;
    let Memo { info, size, manifest, index, lists } = memo;
    if info.links.len() + 1 > MAX_LINKS {
        return Err(format!("it builds on {} others already", info.links.len()));
    }
    let started: Timestamp =
        info.started_on.parse().map_err(|_| "it does not say when it was made".to_owned())?;
    let link = Link {
        id: record.id.to_string(),
        name: record.name.clone(),
        url: Some(record.url.clone()),
        place: place.clone(),
        size,
        // Another encryption changes the catalog's, which is that of the stored bytes.
        sha256: (record.size == size).then(|| record.sha256.clone()),
        manifest,
        started_on: info.started_on,
    };
    Ok(Parent {
        id: record.id,
        links: std::iter::once(link).chain(info.links).collect(),
        key: info.chunk_key,
        started: started.as_second(),
        index,
        lists,
    })
}

/// Whether it is an archive of this very portal, or of this very source of it.
fn fits(app: &App, record: &ArchiveRecord, info: &ManifestInfo) -> Result<(), String> {
    let portal = &app.config.portal;
    if info.layout != app.layout_name() || info.portal != portal.name {
        return Err(format!(
            "it is of the portal {:?} in the {} layout, and this one is {:?}, {}",
            info.portal,
            info.layout,
            portal.name,
            app.layout_name()
        ));
    }
    if info.resource != app.single.map(|id| id.to_string()) {
        return Err("it is of another source of this name".to_owned());
    }
    if info.dump != record.dump {
        return Err("its manifest says another thing than the catalog".to_owned());
    }
    let engine = |url: &str| match url.split_once("://").map_or("", |(scheme, _)| scheme) {
        "postgresql" => "postgres".to_owned(),
        scheme => family(scheme).to_owned(),
    };
    let theirs: Vec<_> =
        info.databases.iter().map(|d| (d.name.clone(), family(&d.engine).to_owned())).collect();
    let ours: Vec<_> =
        portal.database.iter().map(|d| (d.name.clone(), engine(d.url.expose()))).collect();
    if theirs != ours {
        return Err("it has other databases".to_owned());
    }
    if !info.filesystems.iter().eq(portal.filesystem.iter().map(|source| &source.name)) {
        return Err("it has other filesystems".to_owned());
    }
    Ok(())
}

impl Parent {
    /// Whether the full backup that all of it builds on is older than that.
    fn is_due(&self, every: Option<SignedDuration>, now: Timestamp) -> bool {
        let full = self.links.last().and_then(|link| link.started_on.parse::<Timestamp>().ok());
        every.is_some_and(|every| full.is_none_or(|full| now.duration_since(full) >= every))
    }
}
