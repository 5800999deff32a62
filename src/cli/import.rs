//! `import STORAGE`: enters the archives of a configured storage into the catalog.

use clap::Args;
use serde_json::json;

use super::archive_ref::Identity;
use super::backup::StorageArg;
use super::{CliError, Global, output};
use crate::ops::import::{Imported, import};
use crate::ops::mirror;

#[derive(Debug, Args)]
pub struct Import {
    /// The configured storage to look through
    #[arg(value_enum)]
    storage: StorageArg,
    #[command(flatten)]
    identity: Identity,
}

impl Import {
    pub async fn run(self, global: &Global) -> Result<(), CliError> {
        let app = self.identity.app(global).await?;
        let (mut added, mut known, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        import(&app, self.storage.into(), |imported| match imported {
            Imported::Added(record) => {
                if !global.json {
                    let _ = output::line(&format!("added    {}  {}", record.id, record.name));
                }
                added.push(output::archive_json(record, None));
            }
            Imported::Known(name) => {
                if !global.json {
                    let _ = output::line(&format!("known    {name}"));
                }
                known.push(name.clone());
            }
            Imported::Refused { name, reason } => {
                if !global.json {
                    let _ = output::line(&format!("refused  {name}: {reason}"));
                }
                refused.push(json!({"name": name, "reason": reason}));
            }
        })
        .await?;
        // What DocSpace itself knows of its backups and schedules.
        mirror::pull(&app).await?;
        if global.json {
            output::json(&json!({"added": added, "known": known, "refused": refused}))?;
        }
        match refused.len() {
            0 => Ok(()),
            count => Err(CliError::Failed(format!("{count} archives were refused"))),
        }
    }
}
