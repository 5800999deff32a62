//! `ls ARCHIVE`: what is in it.

use clap::Args;
use futures::TryStreamExt;

use super::archive_ref::{ArchiveRef, Identity};
use super::{CliError, Global, output};

#[derive(Debug, Args)]
pub struct Ls {
    /// An archive's id, URL or path
    archive: ArchiveRef,
    #[command(flatten)]
    identity: Identity,
}

impl Ls {
    pub async fn run(self, global: &Global) -> Result<(), CliError> {
        let archive = self.archive.open(global, &self.identity).await?;
        let mut entries = std::pin::pin!(archive.entries());
        let mut first = true;
        if global.json {
            output::line("[")?;
        }
        while let Some(entry) = entries.try_next().await.map_err(CliError::failed)? {
            if global.json {
                let text = serde_json::to_string(&entry).map_err(CliError::failed)?;
                output::line(&format!("{} {text}", if first { " " } else { "," }))?;
                first = false;
            } else {
                output::line(&format!("{:>12}  {}", entry.size, entry.path))?;
            }
        }
        if global.json {
            output::line("]")?;
        }
        Ok(())
    }
}
