//! `extract ARCHIVE PATH…`: some entries of it, written below a folder.

use std::path::PathBuf;

use archive::{Archive, EntryRecord, Extraction, Format, Piece};
use clap::Args;
use futures::{Stream, StreamExt, TryStreamExt};
use serde_json::{Value, json};

use super::archive_ref::{ArchiveRef, Identity};
use super::{CliError, Global, output};

/// No entry of our own archives, but it can be taken out of them.
const MANIFEST: &str = "manifest.json";

#[derive(Debug, Args)]
pub struct Extract {
    /// An archive's id, URL or path
    archive: ArchiveRef,
    /// Entries to take out; one that ends in / or names a folder stands for everything below it, . for everything
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
    /// The folder to write to
    #[arg(long, default_value = ".", value_name = "DIR")]
    into: PathBuf,
    #[command(flatten)]
    identity: Identity,
}

impl Extract {
    pub async fn run(self, global: &Global) -> Result<(), CliError> {
        let wanted: Result<Vec<Wanted>, CliError> =
            self.paths.iter().map(|path| Wanted::new(path)).collect();
        let mut taken =
            Taken { wanted: wanted?, into: self.into, quiet: global.json, written: vec![] };
        let archive = self.archive.open(global, &self.identity).await?;
        if archive.format() == Format::GzipTar {
            // Everything before an entry must be unpacked to reach it, so that is done once for all of them.
            taken.make_folder()?;
            taken.pass(archive.contents().boxed()).await?;
            taken.all_found()?;
        } else {
            taken.each(&archive).await?;
        }
        if global.json {
            output::json(&taken.written)?;
        }
        Ok(())
    }
}

/// What somebody wants taken out, as [`archive::clean_path`] spells it; empty: everything.
struct Wanted {
    path: String,
    found: bool,
}

impl Wanted {
    fn new(path: &str) -> Result<Self, CliError> {
        let everything = path.split('/').all(|part| matches!(part, "" | "."));
        let path = match everything {
            true => String::new(),
            false => {
                archive::clean_path(path).map_err(|error| CliError::Usage(error.to_string()))?
            }
        };
        Ok(Self { path, found: false })
    }
}

struct Taken {
    wanted: Vec<Wanted>,
    into: PathBuf,
    quiet: bool,
    written: Vec<Value>,
}

impl Taken {
    /// Whether an entry is wanted.
    fn is_wanted(&mut self, entry: &str) -> bool {
        let mut any = false;
        for wanted in &mut self.wanted {
            if wanted.path.is_empty() || archive::is_at_or_in(entry, &wanted.path) {
                wanted.found = true;
                any = true;
            }
        }
        any
    }

    fn all_found(&self) -> Result<(), CliError> {
        match self.wanted.iter().find(|wanted| !wanted.found && !wanted.path.is_empty()) {
            Some(missing) => {
                Err(CliError::Failed(format!("the archive has no entry {}", missing.path)))
            }
            None => Ok(()),
        }
    }

    fn make_folder(&self) -> Result<(), CliError> {
        std::fs::create_dir_all(&self.into)
            .map_err(|error| CliError::Failed(format!("{}: {error}", self.into.display())))
    }

    /// Takes the wanted entries of an archive any part of which can be read alone; nothing is written if one of them
    /// is not there.
    async fn each(&mut self, archive: &Archive) -> Result<(), CliError> {
        let mut matches = Vec::new();
        let mut entries = std::pin::pin!(archive.entries());
        while let Some(entry) = entries.try_next().await.map_err(CliError::failed)? {
            if self.is_wanted(&entry.path) {
                matches.push(entry);
            }
        }
        let mut manifest = None;
        for wanted in self.wanted.iter_mut().filter(|wanted| wanted.path == MANIFEST) {
            manifest = archive.manifest();
            wanted.found |= manifest.is_some();
        }
        self.all_found()?;
        self.make_folder()?;
        for entry in &matches {
            let path = archive::extract(archive, entry, &self.into).await;
            self.tell(entry, path.map_err(CliError::failed)?)?;
        }
        match manifest {
            Some(manifest) => self.pass(manifest.boxed()).await,
            None => Ok(()),
        }
    }

    /// Takes the wanted entries out of what passes by.
    async fn pass(
        &mut self,
        mut pieces: impl Stream<Item = archive::Result<Piece>> + Unpin,
    ) -> Result<(), CliError> {
        let mut open: Option<(EntryRecord, Extraction)> = None;
        while let Some(piece) = pieces.try_next().await.map_err(CliError::failed)? {
            match piece {
                Piece::Entry(entry) if self.is_wanted(&entry.path) => {
                    let extraction = Extraction::begin(&entry, &self.into).await;
                    open = Some((entry, extraction.map_err(CliError::failed)?));
                }
                Piece::Data(bytes) => {
                    if let Some((_, extraction)) = &mut open {
                        extraction.write(bytes).await.map_err(CliError::failed)?;
                    }
                }
                Piece::End => {
                    if let Some((entry, extraction)) = open.take() {
                        let path = extraction.end().await.map_err(CliError::failed)?;
                        self.tell(&entry, path)?;
                    }
                }
                Piece::Entry(_) | Piece::Warning(_) => {}
            }
        }
        Ok(())
    }

    fn tell(&mut self, entry: &EntryRecord, path: PathBuf) -> Result<(), CliError> {
        if !self.quiet {
            output::line(&path.display().to_string())?;
        }
        self.written.push(json!({"path": entry.path, "file": path, "size": entry.size}));
        Ok(())
    }
}
