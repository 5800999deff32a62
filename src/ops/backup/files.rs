//! Files into the archive, beside the tables: small ones are read ahead whole, large ones stream.

use archive::{EntryKind, NewEntry, Writer};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};

use super::databases::Dumps;
use super::run::RunError;
use crate::config::LayoutKind;
use crate::jobs::JobContext;
use crate::portal::{Portal, PortalEntry, PortalFile, Tenant, restore_info};
use crate::source::files::FilesError;

/// Files up to this size are read before their header is written, so their size is exact.
const SMALL: u64 = 1 << 20;
const MISSING_INFO: &str = "storage/missing_info";
/// How many files are read ahead.
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

/// A file ready to be written.
enum Ready {
    Skipped(String),
    Directory(PortalFile),
    /// The content, and what is wrong with it.
    Whole(PortalFile, Bytes, Option<String>),
    Stream(PortalFile, BoxStream<'static, Result<Bytes, FilesError>>),
    /// Gone, or refused to us.
    Missing(PortalFile, FilesError),
}

/// Appends tables as they finish and every file of the portal, then the lists that DocSpace's restore reads.
pub async fn store(
    portal: &Portal,
    tenants: &[Tenant],
    mut dumps: Dumps,
    writer: &mut Writer,
    ctx: &JobContext,
    now: i64,
) -> Result<(), RunError> {
    let mut lists = Lists::open(writer, portal.layout()).await?;
    let mut entries = portal
        .files(tenants)
        .map(|entry| async move {
            match entry? {
                PortalEntry::Skipped(reason) => Ok(Ready::Skipped(reason)),
                PortalEntry::File(file) => ready(portal, file).await,
            }
        })
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
            entry = entries.next(), if more_files => match entry {
                Some(entry) => lists.take(entry?, writer, ctx).await?,
                None => more_files = false,
            },
        }
    }
    lists.close(writer, now).await
}

async fn ready(portal: &Portal, file: PortalFile) -> Result<Ready, RunError> {
    if file.file.is_directory {
        return Ok(Ready::Directory(file));
    }
    // Names that no archive can hold; one of them must not stop the backup of all others.
    if let Err(error) = archive::clean_path(&file.member) {
        let error = FilesError::Denied { path: file.file.path.clone(), message: error.to_string() };
        return Ok(Ready::Missing(file, error));
    }
    let mut content = match portal.read(&file).await {
        Ok(content) => content,
        Err(error @ (FilesError::NotFound { .. } | FilesError::Denied { .. })) => {
            return Ok(Ready::Missing(file, error));
        }
        Err(error) => return Err(RunError::Failed(error.to_string())),
    };
    if file.file.size > SMALL {
        return Ok(Ready::Stream(file, content));
    }
    let mut pieces: Vec<Bytes> = Vec::new();
    let mut len = 0;
    while let Some(piece) = content.next().await {
        match piece {
            Ok(piece) => {
                len += piece.len() as u64;
                pieces.push(piece);
            }
            Err(error @ FilesError::NotFound { .. }) => return Ok(Ready::Missing(file, error)),
            Err(error) => return Err(RunError::Failed(error.to_string())),
        }
        if len > 2 * SMALL {
            let mut whole = pieces.concat();
            whole.truncate(file.file.size as usize);
            let note = format!("grew while it was read; its first {} bytes are kept", whole.len());
            return Ok(Ready::Whole(file, Bytes::from(whole), Some(note)));
        }
    }
    let whole = match pieces.as_slice() {
        [only] => only.clone(),
        several => Bytes::from(several.concat()),
    };
    Ok(Ready::Whole(file, whole, None))
}

/// Streams a file whose header promises the size that the listing saw. Returns why it is missing, if it
/// vanished before its end.
async fn stream(
    file: &PortalFile,
    mut content: BoxStream<'static, Result<Bytes, FilesError>>,
    writer: &mut Writer,
    ctx: &JobContext,
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

fn new_entry(file: &PortalFile, kind: EntryKind) -> NewEntry {
    NewEntry { path: file.member.clone(), kind, mtime: file.file.modified, rows: None, note: None }
}

/// `storage/restore_info` and `storage/missing_info`, written as spools because they grow with the portal.
struct Lists {
    restore: archive::Spool,
    missing: archive::Spool,
    any_missing: bool,
    /// Where the list of the missing goes: beside a file of the portal's own that has its name.
    missing_info: &'static str,
    layout: LayoutKind,
}

impl Lists {
    async fn open(writer: &Writer, layout: LayoutKind) -> Result<Self, RunError> {
        let mut lists = Self {
            restore: writer.spool(),
            missing: writer.spool(),
            any_missing: false,
            missing_info: MISSING_INFO,
            layout,
        };
        lists.restore.write(restore_info::open(false).as_bytes()).await?;
        lists.missing.write(restore_info::open(true).as_bytes()).await?;
        Ok(lists)
    }

    /// Writes what became of one file.
    async fn take(
        &mut self,
        ready: Ready,
        writer: &mut Writer,
        ctx: &JobContext,
    ) -> Result<(), RunError> {
        match ready {
            Ready::Skipped(reason) => ctx.warn(reason),
            Ready::Directory(file) => {
                let entry = new_entry(&file, EntryKind::Directory);
                writer.append(entry, &[]).await?;
            }
            Ready::Whole(file, content, note) => {
                if let Some(note) = &note {
                    ctx.warn(format!("{}: it {note}", file.member));
                }
                ctx.progress.current(&file.member);
                ctx.progress.correct_total(content.len() as i64 - file.file.size as i64);
                let entry = NewEntry { note, ..new_entry(&file, EntryKind::File) };
                let size = content.len() as u64;
                writer.begin(entry, size).await?;
                writer.write(content).await?;
                writer.end().await?;
                ctx.progress.add(size);
                self.stored(&file).await?;
            }
            Ready::Stream(file, content) => {
                ctx.progress.current(&file.member);
                match stream(&file, content, writer, ctx).await? {
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
            self.restore.write(restore_info::file(stored, None).as_bytes()).await?;
        }
        Ok(())
    }

    async fn missing(&mut self, file: &PortalFile, error: &FilesError) -> Result<(), RunError> {
        self.any_missing = true;
        let text = restore_info::file(&file.described(), Some(&error.to_string()));
        self.missing.write(text.as_bytes()).await?;
        Ok(())
    }

    async fn close(mut self, writer: &mut Writer, now: i64) -> Result<(), RunError> {
        self.restore.write(restore_info::close(false).as_bytes()).await?;
        self.missing.write(restore_info::close(true).as_bytes()).await?;
        let info = |path: &str| NewEntry {
            path: path.to_owned(),
            kind: EntryKind::Info,
            mtime: now,
            rows: None,
            note: None,
        };
        if self.layout == LayoutKind::Docspace {
            writer.append_spool(info("storage/restore_info"), self.restore).await?;
        }
        if self.any_missing {
            writer.append_spool(info(self.missing_info), self.missing).await?;
        }
        Ok(())
    }
}
