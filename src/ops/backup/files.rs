//! Files into the archive, beside the tables: small ones are read ahead whole, large ones stream.

use std::sync::Arc;

use archive::{EntryKind, NewEntry, Writer};
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use ahead::{Ready, batches, large, read};

use super::chunked::{Base, Chunked, refer};
use super::databases::Dumps;
use super::run::RunError;
use crate::app::App;
use crate::config::LayoutKind;
use crate::jobs::JobContext;
use crate::limits::Rate;
use crate::portal::{Portal, PortalEntry, PortalFile, Tenant, restore_info};
use crate::source::cutter::{Cutter, hash};
use crate::source::files::{FilesError, SMALL_BATCH};

mod ahead;

const RESTORE_INFO: &str = "storage/restore_info";
const MISSING_INFO: &str = "storage/missing_info";
/// How many batches are read ahead: small files, together about as large as one of them may be, or one
/// large file.
const READ_AHEAD: usize = 4;

pub struct Plan {
    pub bytes: u64,
}

/// Counts what is to come.
pub async fn plan(portal: &Portal, tenants: &[Tenant]) -> Result<Plan, RunError> {
    let mut plan = Plan { bytes: 0 };
    let mut files = portal.files(tenants);
    while let Some(entry) = files.try_next().await? {
        if let PortalEntry::File(file) = entry {
            plan.bytes += file.file.size;
        }
    }
    Ok(plan)
}

/// Appends tables as they finish and every file of the portal, then the lists that DocSpace's restore reads.
pub async fn store(
    app: &App,
    tenants: &[Tenant],
    mut dumps: Dumps,
    writer: &mut Writer,
    ctx: &JobContext,
    base: &Arc<Base>,
    now: i64,
) -> Result<(), RunError> {
    let (portal, limit) = (&app.portal, &app.limits.read);
    let mut lists = Lists::open(writer, base, portal.layout(), limit.clone()).await?;
    let mut batches = portal
        .files(tenants)
        .ready_chunks(SMALL_BATCH)
        .flat_map(|found| stream::iter(batches(found, base)))
        .map(|batch| read(portal, limit, &ctx.progress, batch))
        .buffered(READ_AHEAD);
    let (mut more_tables, mut more_files) = (true, true);
    while more_tables || more_files {
        tokio::select! {
            biased;
            dumped = dumps.next(), if more_tables => match dumped? {
                Some(dumped) => dumps.append(dumped, writer).await?,
                None => {
                    more_tables = false;
                    ctx.progress.phase("files");
                }
            },
            batch = batches.next(), if more_files => match batch {
                Some(batch) => for file in batch? {
                    lists.take(file, portal, writer, ctx).await?;
                },
                None => more_files = false,
            },
        }
    }
    lists.close(writer, now).await
}

/// Streams a file whose header promises the size that it was opened with. Returns why it is missing, if it
/// vanished before its end.
async fn append(
    file: &PortalFile,
    mut content: BoxStream<'static, Result<Bytes, FilesError>>,
    writer: &mut Writer,
    ctx: &JobContext,
    limit: &Rate,
) -> Result<Option<FilesError>, RunError> {
    let size = file.file.size;
    writer.begin(new_entry(file, EntryKind::File), size).await?;
    let mut written = 0;
    while let Some(piece) = content.next().await {
        let mut piece = match piece {
            Ok(piece) => piece,
            Err(error @ FilesError::NotFound { .. }) => {
                ctx.warn(format!("{}: it vanished while it was read", file.member));
                ctx.progress.add(size - written);
                writer.pad("vanished while it was read; padded with zeros").await?;
                return Ok(Some(error));
            }
            Err(error) => return Err(RunError::Failed(error.to_string())),
        };
        let left = size - written;
        let grew = piece.len() as u64 > left;
        if grew {
            piece.truncate(left as usize);
            ctx.warn(format!(
                "{}: it grew while it was read; its first {size} bytes are kept",
                file.member
            ));
        }
        written += piece.len() as u64;
        limit.take(piece.len()).await;
        ctx.progress.add(piece.len() as u64);
        writer.write(piece).await?;
        if grew {
            break;
        }
    }
    if written < size {
        let note = format!("shrank to {written} bytes while it was read; padded with zeros");
        ctx.warn(format!("{}: it {note}", file.member));
        ctx.progress.add(size - written);
        writer.pad(&note).await?;
    } else {
        writer.end().await?;
    }
    Ok(None)
}

fn file_kind(file: &PortalFile) -> EntryKind {
    if file.file.is_directory { EntryKind::Directory } else { EntryKind::File }
}

fn new_entry(file: &PortalFile, kind: EntryKind) -> NewEntry {
    NewEntry {
        path: file.member.clone(),
        kind,
        mtime: file.file.modified,
        rows: None,
        note: None,
        version: file.file.version.clone(),
    }
}

/// `storage/restore_info` and `storage/missing_info`, written as spools because they grow with the portal.
struct Lists {
    restore: Chunked,
    missing: Chunked,
    cutter: Cutter,
    any_missing: bool,
    /// Where the list of the missing goes: beside a file of the portal's own that has its name.
    missing_info: &'static str,
    layout: LayoutKind,
    limit: Rate,
}

impl Lists {
    async fn open(
        writer: &Writer,
        base: &Arc<Base>,
        layout: LayoutKind,
        limit: Rate,
    ) -> Result<Self, RunError> {
        let spools = writer.spools();
        let mut lists = Self {
            restore: Chunked::new(base, &spools, RESTORE_INFO).await?,
            missing: Chunked::new(base, &spools, MISSING_INFO).await?,
            cutter: Cutter::chunks(),
            any_missing: false,
            missing_info: MISSING_INFO,
            layout,
            limit,
        };
        lists.restore.write(restore_info::open(false).as_bytes(), &[]).await?;
        lists.missing.write(restore_info::open(true).as_bytes(), &[]).await?;
        Ok(lists)
    }

    /// Writes what became of one file.
    async fn take(
        &mut self,
        ready: Ready,
        portal: &Portal,
        writer: &mut Writer,
        ctx: &JobContext,
    ) -> Result<(), RunError> {
        match ready {
            Ready::Skipped(reason) => ctx.warn(reason),
            Ready::Directory(file) => {
                let entry = new_entry(&file, EntryKind::Directory);
                writer.append(entry, &[]).await?;
            }
            Ready::Same(file, old) => {
                ctx.progress.correct_total(-(file.file.size as i64));
                refer(writer, old, new_entry(&file, file_kind(&file))).await?;
                if !file.file.is_directory {
                    self.stored(&file).await?;
                }
            }
            Ready::Whole(file, content) => {
                ctx.progress.current(&file.member);
                let size = content.len() as u64;
                writer.begin(new_entry(&file, EntryKind::File), size).await?;
                writer.write(content).await?;
                writer.end().await?;
                ctx.progress.add(size);
                self.stored(&file).await?;
            }
            Ready::Grown(candidate) => {
                let file = large(portal, &self.limit, &ctx.progress, candidate).await?;
                Box::pin(self.take(file, portal, writer, ctx)).await?;
            }
            Ready::Stream(file, content) => {
                ctx.progress.current(&file.member);
                match append(&file, content, writer, ctx, &self.limit).await? {
                    None => self.stored(&file).await?,
                    Some(gone) => self.missing(&file, &gone).await?,
                }
            }
            Ready::Missing(file, error) => {
                ctx.warn(format!("{}: {error}", file.member));
                ctx.progress.correct_total(-(file.file.size as i64));
                self.missing(&file, &error).await?;
            }
        }
        Ok(())
    }

    async fn stored(&mut self, file: &PortalFile) -> Result<(), RunError> {
        if file.member == MISSING_INFO {
            self.missing_info = "extra/missing_info";
        }
        if let Some(stored) = &file.stored {
            let text = restore_info::file(stored, None);
            let ends = self.cutter.cuts(hash(text.as_bytes()) as u32, text.len());
            let end: &[usize] = if ends { &[text.len()] } else { &[] };
            self.restore.write(text.as_bytes(), end).await?;
        }
        Ok(())
    }

    async fn missing(&mut self, file: &PortalFile, error: &FilesError) -> Result<(), RunError> {
        self.any_missing = true;
        let text = restore_info::file(&file.described(), Some(&error.to_string()));
        self.missing.write(text.as_bytes(), &[]).await?;
        Ok(())
    }

    async fn close(mut self, writer: &mut Writer, now: i64) -> Result<(), RunError> {
        self.restore.write(restore_info::close(false).as_bytes(), &[]).await?;
        self.missing.write(restore_info::close(true).as_bytes(), &[]).await?;
        let info = |path: &str| NewEntry {
            path: path.to_owned(),
            kind: EntryKind::Info,
            mtime: now,
            rows: None,
            note: None,
            version: None,
        };
        if self.layout == LayoutKind::Docspace {
            self.restore.append(writer, info(RESTORE_INFO)).await?;
        }
        if self.any_missing {
            self.missing.append(writer, info(self.missing_info)).await?;
        }
        Ok(())
    }
}
