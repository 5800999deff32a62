//! Databases into the archive: tables are read side by side, each into a spool, and appended as they finish.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use archive::{EntryKind, NewEntry, Spools, Writer};
use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::chunked::{Base, Chunked};
use super::run::RunError;
use crate::catalog::is_own_table;
use crate::jobs::Progress;
use crate::limits::Rate;
use crate::source::database::{
    DataSink, DatabaseError, ObjectText, SinkClosed, Snapshot, Table, member_of_table,
};

/// Where a database's members lie in the archive.
pub struct Members {
    prefix: String,
    database: String,
}

impl Members {
    /// `first`: it is the portal's own database.
    pub fn new(database: &str, first: bool) -> Self {
        Self {
            prefix: match first {
                true => "databases".to_owned(),
                false => format!("extra/databases/{database}"),
            },
            database: database.to_owned(),
        }
    }

    fn object(&self, object: &ObjectText, now: i64) -> NewEntry {
        NewEntry {
            path: format!("extra/objects/{}/{}", self.database, object.path()),
            kind: EntryKind::Object,
            mtime: now,
            rows: None,
            note: None,
            version: None,
        }
    }

    fn entry(&self, kind: EntryKind, table: &str, now: i64, rows: Option<u64>) -> NewEntry {
        let part = if kind == EntryKind::Scheme { "scheme" } else { "data" };
        NewEntry {
            path: format!("{}/{part}/{}", self.prefix, member_of_table(table)),
            kind,
            mtime: now,
            rows,
            note: None,
            version: None,
        }
    }
}

/// One table, or what belongs to none, read whole.
pub enum Dumped {
    Table(Box<DumpedTable>),
    Objects { members: Arc<Members>, objects: Vec<ObjectText> },
}

pub struct DumpedTable {
    members: Arc<Members>,
    table: Table,
    scheme: String,
    content: Chunked,
    rows: u64,
}

/// Dumps under way: every database's tables, largest first, by as many readers as its snapshot has.
pub struct Dumps {
    finished: mpsc::Receiver<Dumped>,
    /// Nothing more comes by `finished`.
    closed: bool,
    readers: JoinSet<Result<(), RunError>>,
    /// Unix seconds: the time of the members.
    now: i64,
    base: Arc<Base>,
}

impl Dumps {
    pub fn start(
        snapshots: Vec<(Arc<dyn Snapshot>, Members)>,
        spools: &Spools,
        progress: &Arc<Progress>,
        base: &Arc<Base>,
        limit: &Rate,
        now: i64,
    ) -> Self {
        let (sender, finished) = mpsc::channel(1);
        let mut readers = JoinSet::new();
        for (snapshot, members) in snapshots {
            let members = Arc::new(members);
            // Largest first, so that the readers end together.
            let mut tables = snapshot.tables().to_vec();
            tables.retain(|table| !is_own_table(&table.name));
            tables.sort_by(|a, b| {
                b.estimated_bytes.cmp(&a.estimated_bytes).then(a.name.cmp(&b.name))
            });
            let pending = Arc::new(Mutex::new(VecDeque::from(tables)));
            readers.spawn(objects(Arc::clone(&snapshot), Arc::clone(&members), sender.clone()));
            for _ in 0..snapshot.readers().max(1) {
                let reader = Reader {
                    snapshot: Arc::clone(&snapshot),
                    members: Arc::clone(&members),
                    pending: Arc::clone(&pending),
                    spools: spools.clone(),
                    progress: Arc::clone(progress),
                    limit: limit.clone(),
                    base: Arc::clone(base),
                };
                readers.spawn(reader.run(sender.clone()));
            }
        }
        Self { finished, closed: false, readers, now, base: Arc::clone(base) }
    }

    /// The next table that was read whole; None when all were. Fails as soon as any reader fails.
    /// May be dropped where it waits and called again.
    pub async fn next(&mut self) -> Result<Option<Dumped>, RunError> {
        loop {
            tokio::select! {
                biased;
                joined = self.readers.join_next(), if !self.readers.is_empty() => {
                    if let Some(joined) = joined {
                        joined.map_err(|error| RunError::Internal(error.to_string()))??;
                    }
                }
                dumped = self.finished.recv(), if !self.closed => match dumped {
                    Some(dumped) => return Ok(Some(dumped)),
                    // A reader lets go of its end before it says how it ended, which may be with an error.
                    None => self.closed = true,
                },
                else => return Ok(None),
            }
        }
    }

    /// Appends a table's definition and, if it has rows, its data.
    pub async fn append(&self, dumped: Dumped, writer: &mut Writer) -> Result<(), RunError> {
        let DumpedTable { members, table, scheme, content, rows } = match dumped {
            Dumped::Table(dumped) => *dumped,
            Dumped::Objects { members, objects } => {
                for object in objects {
                    let entry = members.object(&object, self.now);
                    self.base.append(writer, entry, &object.sql).await?;
                }
                return Ok(());
            }
        };
        let entry = members.entry(EntryKind::Scheme, &table.name, self.now, None);
        self.base.append(writer, entry, scheme.as_bytes()).await?;
        if rows > 0 {
            let entry = members.entry(EntryKind::Data, &table.name, self.now, Some(rows));
            content.append(writer, entry).await?;
        }
        Ok(())
    }
}

async fn objects(
    snapshot: Arc<dyn Snapshot>,
    members: Arc<Members>,
    finished: mpsc::Sender<Dumped>,
) -> Result<(), RunError> {
    let objects = snapshot.objects().await?;
    if objects.is_empty() {
        return Ok(());
    }
    finished.send(Dumped::Objects { members, objects }).await.map_err(|_| RunError::Stopped)
}

struct Reader {
    snapshot: Arc<dyn Snapshot>,
    members: Arc<Members>,
    pending: Arc<Mutex<VecDeque<Table>>>,
    spools: Spools,
    progress: Arc<Progress>,
    limit: Rate,
    base: Arc<Base>,
}

impl Reader {
    async fn run(self, finished: mpsc::Sender<Dumped>) -> Result<(), RunError> {
        while let Some(table) = self.next() {
            self.progress.current(&table.name);
            let early = match self.snapshot.definitions_come_late() {
                true => None,
                false => Some(self.snapshot.scheme(&table).await?),
            };
            let path = self.members.entry(EntryKind::Data, &table.name, 0, None).path;
            let mut sink = TableSink {
                content: Chunked::new(&self.base, &self.spools, &path).await?,
                progress: &self.progress,
                limit: &self.limit,
                expected: table.estimated_bytes,
                error: None,
            };
            let mut rows = 0;
            if table.with_data {
                match self.snapshot.data(&table, &mut sink).await {
                    Ok(count) => rows = count,
                    Err(DatabaseError::SinkClosed(_)) => {
                        return Err(sink.error.unwrap_or(RunError::Stopped));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            let scheme = match early {
                Some(scheme) => scheme,
                None => self.snapshot.scheme(&table).await?,
            };
            let content = sink.content;
            self.progress.correct_total(content.len() as i64 - sink.expected as i64);
            let members = Arc::clone(&self.members);
            let dumped = DumpedTable { members, table, scheme, content, rows };
            if finished.send(Dumped::Table(Box::new(dumped))).await.is_err() {
                return Err(RunError::Stopped);
            }
        }
        Ok(())
    }

    fn next(&self) -> Option<Table> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

struct TableSink<'a> {
    content: Chunked,
    progress: &'a Progress,
    limit: &'a Rate,
    /// What the total holds for this table.
    expected: u64,
    error: Option<RunError>,
}

#[async_trait]
impl DataSink for TableSink<'_> {
    async fn write(&mut self, piece: &[u8], ends: &[usize]) -> Result<(), SinkClosed> {
        self.limit.take(piece.len()).await;
        if let Err(error) = self.content.write(piece, ends).await {
            self.error = Some(error);
            return Err(SinkClosed);
        }
        // Servers guess too little right after a bulk load. Half of a table is then still to come, for all
        // we know: progress slows down, instead of standing at its end.
        if self.content.len() > self.expected {
            let expected = 2 * self.content.len();
            self.progress.correct_total((expected - self.expected) as i64);
            self.expected = expected;
        }
        self.progress.add(piece.len() as u64);
        Ok(())
    }
}
