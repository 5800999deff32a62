//! `import STORAGE`: enters the archives of a storage into the catalog.

use clap::Args;
use serde_json::json;

use super::archive_ref::Identity;
use super::storage_arg::{PlaceArg, parameter};
use super::{CliError, Global, output};
use crate::ops::import::{Imported, import};
use crate::ops::mirror;
use crate::storage::{StorageParams, started_by_hand};

#[derive(Debug, Args)]
pub struct Import {
    /// The storage to look through, as for backup, or the URL of a folder or prefix. Of Local all folders are looked through
    storage: PlaceArg,
    /// A parameter of the storage, as DocSpace names it, for example filePath=weekly
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    params: Vec<(String, String)>,
    #[command(flatten)]
    identity: Identity,
}

impl Import {
    pub async fn run(self, global: &Global) -> Result<(), CliError> {
        let app = self.identity.app(global).await?;
        let mut params = self.params.into_iter().collect::<StorageParams>();
        let kind = match self.storage {
            PlaceArg::Storage(kind) => kind,
            PlaceArg::Url(_) if !params.is_empty() => {
                return Err(CliError::Usage("a URL takes no --param".to_owned()));
            }
            PlaceArg::Url(url) => {
                let (kind, place) = app.storages.named(&url).map_err(CliError::failed)?;
                params = place;
                kind
            }
        };
        started_by_hand(kind, &mut params);
        // What DocSpace itself knows of its backups and schedules. Before the archives, which do not say who they
        // are: else those would be entered as others beside its own.
        mirror::pull(&app).await?;
        let (mut added, mut known, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        import(&app, kind, params, |imported| match imported {
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
        if global.json {
            output::json(&json!({"added": added, "known": known, "refused": refused}))?;
        }
        match refused.len() {
            0 => Ok(()),
            count => Err(CliError::Failed(format!("{count} archives were refused"))),
        }
    }
}
