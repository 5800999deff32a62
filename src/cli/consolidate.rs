//! `consolidate ARCHIVE`: one full archive of an increment and all that it builds on.

use clap::Args;

use super::archive_ref::{ArchiveRef, Identity};
use super::backup::report;
use super::{CliError, Global, follow};
use crate::ops::backup::consolidate;

#[derive(Debug, Args)]
pub struct Consolidate {
    /// The id of an archive in the catalog
    archive: ArchiveRef,
    #[command(flatten)]
    identity: Identity,
}

impl Consolidate {
    pub async fn run(self, global: &Global) -> Result<(), CliError> {
        let ArchiveRef::Id(id) = self.archive else {
            return Err(CliError::Usage(
                "write the id of an archive in the catalog: enter it with import".to_owned(),
            ));
        };
        let app = global.app().await?;
        let job = consolidate::start(&app, None, id, self.identity.absolute()?).await?;
        let job = follow::run(&app, job, global.json).await?;
        report(&app, &job, global.json).await
    }
}
