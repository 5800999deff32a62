//! From the archive into the staging places: tables and files side by side where the archive can be read at random,
//! in one pass where it cannot.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use archive::{Archive, EntryKind, EntryRecord, Format, Piece};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::contents::{ArchivedTable, DatabaseMember, Only, database_member};
use super::count::{Counted, Counter, Repeated};
use super::health::Sample;
use super::run::RunError;
use crate::jobs::Progress;
use crate::portal::FilePlace;
use crate::source::database::{Staging, Statements, Trust};
use crate::source::files::{Content, FileMeta, FilesError, FilesStaging};

/// Files being written at once: enough to hide the waiting for a distant archive or bucket.
const FILES_AT_ONCE: usize = 2;
/// Tables being loaded at once: each holds a few frames, and a server's disk is no faster for more.
const TABLES_AT_ONCE: usize = 2;
/// Members of a streamed archive that are still being written while the next is read.
const BEHIND: usize = 4;
/// Pieces of a member that wait to be written.
const AHEAD: usize = 4;

/// A database being loaded.
#[derive(Clone)]
pub struct LoadingDatabase {
    pub archived: Option<String>,
    pub staging: Arc<Box<dyn Staging>>,
    pub tables: Arc<BTreeMap<String, ArchivedTable>>,
    pub trust: Trust,
    /// How many rows each table has that is loaded.
    pub rows: Arc<Mutex<BTreeMap<String, u64>>>,
}

/// Says where a member that is a file or a folder goes.
pub type Place = Box<dyn FnMut(&str) -> Vec<FilePlace> + Send>;

pub struct Loader {
    pub archive: Archive,
    pub databases: Vec<LoadingDatabase>,
    /// The filesystems being staged, by position.
    pub files: BTreeMap<usize, Arc<FilesStaging>>,
    pub place: Place,
    pub repeated: Repeated,
    pub only: Only,
    pub progress: Arc<Progress>,
}

/// What was loaded.
#[derive(Debug, Default)]
pub struct Loaded {
    pub rows: u64,
    pub tables: u64,
    pub files: BTreeMap<usize, Counted>,
    /// Some of the files.
    pub sample: Sample,
}

impl Loader {
    /// Puts everything into the staging places. Any error of any part ends all of it; may be dropped.
    pub async fn run(self) -> Result<Loaded, RunError> {
        self.progress.phase("staging");
        self.progress.now();
        match self.archive.format() {
            Format::Framed => self.at_random().await,
            Format::GzipTar | Format::PlainTar => self.in_order().await,
        }
    }

    async fn at_random(self) -> Result<Loaded, RunError> {
        let Self { archive, databases, files, place, only, progress, .. } = self;
        let tables = AbortOnDropHandle::new(tokio::spawn(load_databases(
            archive.clone(),
            databases,
            Arc::clone(&progress),
        )));
        let files =
            AbortOnDropHandle::new(tokio::spawn(load_files(archive, files, place, only, progress)));
        let (tables, files) = futures::future::try_join(joined(tables), joined(files)).await?;
        let (files, sample) = files;
        Ok(Loaded { files, sample, ..tables })
    }

    /// In the archive's order, because it can only be read from its start.
    async fn in_order(mut self) -> Result<Loaded, RunError> {
        let mut loaded = Loaded::default();
        for database in &self.databases {
            for (name, table) in database.tables.iter() {
                loaded.tables += 1;
                database.scheme(name, table).await?;
            }
        }
        let mut writing = JoinSet::new();
        let mut counter = Counter::default();
        let mut takers: Vec<mpsc::Sender<Bytes>> = Vec::new();
        let mut pieces = Box::pin(self.archive.contents());
        while let Some(piece) = pieces.try_next().await? {
            match piece {
                Piece::Entry(entry) => {
                    // Two members of one name go to one place, the later over the earlier.
                    let again = self.repeated.contains(&entry.path);
                    let behind = if again { 0 } else { BEHIND - 1 };
                    while writing.len() > behind {
                        loaded.rows += ended(&mut writing).await?.unwrap_or(0);
                    }
                    self.progress.current(&entry.path);
                    takers = self.begin(&entry, &mut writing, |place| {
                        if entry.kind != EntryKind::File {
                            return counter.meet(place.filesystem);
                        }
                        counter.file(place, entry.size, again);
                        if !again {
                            loaded.sample.take(place, &entry);
                        }
                    });
                }
                Piece::Data(data) => {
                    if !takers.is_empty() {
                        self.progress.add(data.len() as u64);
                    }
                    for taker in &takers {
                        // Who takes no more has failed, and says why when it is joined.
                        drop(taker.send(data.clone()).await);
                    }
                }
                Piece::End => takers.clear(),
                Piece::Warning(_) => {}
            }
        }
        takers.clear();
        while let Some(rows) = ended(&mut writing).await? {
            loaded.rows += rows;
        }
        loaded.files = counter.counted();
        Ok(loaded)
    }

    /// Starts what takes the content of an entry.
    fn begin(
        &mut self,
        entry: &EntryRecord,
        writing: &mut JoinSet<Result<u64, RunError>>,
        mut count: impl FnMut(&FilePlace),
    ) -> Vec<mpsc::Sender<Bytes>> {
        match database_member(&entry.path) {
            Some(DatabaseMember::Data { database, table }) => {
                let loading = self.databases.iter().find(|known| known.archived == database);
                let Some(loading) = loading.cloned() else { return Vec::new() };
                let wanted = loading.tables.get(&table).and_then(|table| table.data.as_ref());
                // Of two entries of one name the last one counts.
                if wanted.is_none_or(|wanted| wanted.tar_offset != entry.tar_offset) {
                    return Vec::new();
                }
                let (sender, receiver) = mpsc::channel::<Bytes>(AHEAD);
                let statements = received(receiver).map(Ok).boxed();
                writing.spawn(async move {
                    let nothing = |_| ();
                    loading.load(&table, statements, &nothing).await
                });
                vec![sender]
            }
            Some(DatabaseMember::Scheme { .. }) => Vec::new(),
            None if matches!(entry.kind, EntryKind::File | EntryKind::Directory)
                && self.only.wants(&entry.path) =>
            {
                let mut takers = Vec::new();
                for place in (self.place)(&entry.path) {
                    let Some(staging) = self.files.get(&place.filesystem).cloned() else {
                        continue;
                    };
                    count(&place);
                    let (sender, receiver) = mpsc::channel::<Bytes>(AHEAD);
                    let file = meta(entry, place);
                    let content = received(receiver).map(Ok).boxed();
                    writing.spawn(async move {
                        staging.put(&file, content).await?;
                        Ok(0)
                    });
                    takers.push(sender);
                }
                takers
            }
            None => Vec::new(),
        }
    }
}

fn received(receiver: mpsc::Receiver<Bytes>) -> impl futures::Stream<Item = Bytes> + Send {
    futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (piece, receiver))
    })
}

async fn ended(writing: &mut JoinSet<Result<u64, RunError>>) -> Result<Option<u64>, RunError> {
    match writing.join_next().await {
        None => Ok(None),
        Some(Ok(result)) => result.map(Some),
        Some(Err(error)) => Err(RunError::Internal(error.to_string())),
    }
}

async fn joined<T>(task: AbortOnDropHandle<Result<T, RunError>>) -> Result<T, RunError> {
    task.await.map_err(|error| RunError::Internal(error.to_string()))?
}

fn meta(entry: &EntryRecord, place: FilePlace) -> FileMeta {
    FileMeta {
        path: place.path,
        size: entry.size,
        modified: entry.mtime,
        is_directory: entry.kind == EntryKind::Directory,
        version: None,
    }
}

impl LoadingDatabase {
    async fn scheme(&self, name: &str, table: &ArchivedTable) -> Result<(), RunError> {
        let sql = table.scheme.as_deref().unwrap_or_default();
        Ok(self.staging.scheme(name, sql, self.trust).await?)
    }

    async fn load(
        &self,
        name: &str,
        statements: Statements,
        told: &(dyn for<'a> Fn(u64) + Send + Sync),
    ) -> Result<u64, RunError> {
        let rows = self.staging.data(name, statements, self.trust, told).await?;
        let mut counted = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        counted.insert(name.to_owned(), rows);
        Ok(rows)
    }
}

/// Each table by itself, the largest first, so that the loaders end together.
async fn load_databases(
    archive: Archive,
    databases: Vec<LoadingDatabase>,
    progress: Arc<Progress>,
) -> Result<Loaded, RunError> {
    let mut loaded = Loaded::default();
    for database in databases {
        for (name, table) in database.tables.iter() {
            database.scheme(name, table).await?;
            loaded.tables += 1;
        }
        let mut tables: Vec<(String, EntryRecord)> = database
            .tables
            .iter()
            .filter_map(|(name, table)| Some((name.clone(), table.data.clone()?)))
            .collect();
        tables.sort_by_key(|(_, data)| std::cmp::Reverse(data.size));
        let room = Arc::new(Semaphore::new(database.staging.loaders().clamp(1, TABLES_AT_ONCE)));
        let mut loading = JoinSet::new();
        for (name, entry) in tables {
            let (database, archive) = (database.clone(), archive.clone());
            let (room, progress) = (Arc::clone(&room), Arc::clone(&progress));
            loading.spawn(async move {
                let _permit = room.acquire_owned().await;
                progress.current(&entry.path);
                let statements =
                    archive.read(&entry, None).map_err(std::io::Error::other).boxed();
                let told = |bytes| progress.add(bytes);
                let rows = database.load(&name, statements, &told).await?;
                match entry.rows {
                    Some(expected) if expected != rows => Err(RunError::Failed(format!(
                        "table {name} has {rows} rows after it was loaded, the archive says {expected}"
                    ))),
                    _ => Ok(rows),
                }
            });
        }
        while let Some(rows) = ended(&mut loading).await? {
            loaded.rows += rows;
        }
    }
    Ok(loaded)
}

async fn load_files(
    archive: Archive,
    stagings: BTreeMap<usize, Arc<FilesStaging>>,
    mut place: Place,
    only: Only,
    progress: Arc<Progress>,
) -> Result<(BTreeMap<usize, Counted>, Sample), RunError> {
    let (mut counter, mut sample) = (Counter::default(), Sample::default());
    let mut writing = JoinSet::new();
    let mut entries = Box::pin(archive.entries());
    while let Some(entry) = entries.try_next().await? {
        let is_file = matches!(entry.kind, EntryKind::File | EntryKind::Directory);
        if !is_file || database_member(&entry.path).is_some() || !only.wants(&entry.path) {
            continue;
        }
        for place in place(&entry.path) {
            let Some(staging) = stagings.get(&place.filesystem).cloned() else { continue };
            if entry.kind == EntryKind::File {
                counter.file(&place, entry.size, false);
                sample.take(&place, &entry);
            }
            while writing.len() >= FILES_AT_ONCE {
                ended(&mut writing).await?;
            }
            let (archive, entry, progress) =
                (archive.clone(), entry.clone(), Arc::clone(&progress));
            writing.spawn(async move {
                progress.current(&entry.path);
                let file = meta(&entry, place);
                staging.put(&file, content(&archive, &entry)).await?;
                progress.add(entry.size);
                Ok(0)
            });
        }
    }
    while ended(&mut writing).await?.is_some() {}
    Ok((counter.counted(), sample))
}

/// The content of a file; the archive checks its digest at the end.
fn content(archive: &Archive, entry: &EntryRecord) -> Content {
    let path = entry.path.clone();
    let failed = move |error: archive::Error| FilesError::Read {
        path: path.clone(),
        message: error.to_string(),
    };
    archive.read(entry, None).map_err(failed).boxed()
}
