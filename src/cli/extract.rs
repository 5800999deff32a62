//! `extract ARCHIVE PATH…`: some entries of it, written below a folder.

use std::path::PathBuf;

use archive::{Archive, EntryRecord};
use clap::Args;
use futures::TryStreamExt;
use serde_json::json;

use super::archive_ref::{ArchiveRef, Identity};
use super::{CliError, Global, output};

#[derive(Debug, Args)]
pub struct Extract {
    /// An archive's id, URL or path
    archive: ArchiveRef,
    /// Entries to take out; one that ends in / or names a folder stands for everything below it
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
        let archive = self.archive.open(global, &self.identity).await?;
        let mut wanted: Vec<Wanted> = self.paths.into_iter().map(Wanted::new).collect();
        let entries = matching(&archive, &mut wanted).await?;
        if let Some(missing) = wanted.iter().find(|wanted| !wanted.found) {
            return Err(CliError::Failed(format!("the archive has no entry {}", missing.path)));
        }
        std::fs::create_dir_all(&self.into)
            .map_err(|error| CliError::Failed(format!("{}: {error}", self.into.display())))?;
        let mut written = Vec::new();
        for entry in &entries {
            let path =
                archive::extract(&archive, entry, &self.into).await.map_err(CliError::failed)?;
            if !global.json {
                output::line(&path.display().to_string())?;
            }
            written.push(json!({"path": entry.path, "file": path, "size": entry.size}));
        }
        if global.json {
            output::json(&written)?;
        }
        Ok(())
    }
}

struct Wanted {
    path: String,
    found: bool,
}

impl Wanted {
    fn new(path: String) -> Self {
        Self { path: path.trim_end_matches('/').to_owned(), found: false }
    }

    fn matches(&self, entry: &str) -> bool {
        archive::is_at_or_in(entry, &self.path)
    }
}

async fn matching(archive: &Archive, wanted: &mut [Wanted]) -> Result<Vec<EntryRecord>, CliError> {
    let mut matches = Vec::new();
    let mut entries = std::pin::pin!(archive.entries());
    while let Some(entry) = entries.try_next().await.map_err(CliError::failed)? {
        let mut any = false;
        for wanted in wanted.iter_mut().filter(|wanted| wanted.matches(&entry.path)) {
            wanted.found = true;
            any = true;
        }
        if any {
            matches.push(entry);
        }
    }
    Ok(matches)
}
