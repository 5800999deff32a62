//! `config check`: the configuration read, and everything it names tried.

use std::sync::Arc;

use clap::Subcommand;
use futures::TryStreamExt;
use serde_json::json;

use super::{CliError, Global, output};
use crate::app::App;
use crate::encryption::Keys;
use crate::source::database;
use crate::storage::{Storage, StorageError};

#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Read the configuration and try every source and storage
    Check,
}

/// One thing that was tried.
struct Tried {
    what: String,
    result: Result<String, String>,
}

impl ConfigVerb {
    pub async fn run(self, global: &Global) -> Result<(), CliError> {
        let Self::Check = self;
        let app = global.app().await?;
        let tried = try_everything(&app).await;
        if global.json {
            let checks: Vec<_> = tried
                .iter()
                .map(|tried| match &tried.result {
                    Ok(detail) => json!({"what": tried.what, "ok": true, "detail": detail}),
                    Err(error) => json!({"what": tried.what, "ok": false, "detail": error}),
                })
                .collect();
            output::json(&checks)?;
        } else {
            for tried in &tried {
                let (mark, detail) = match &tried.result {
                    Ok(detail) => ("ok    ", detail),
                    Err(error) => ("failed", error),
                };
                output::line(&format!("{mark}  {}: {detail}", tried.what))?;
            }
        }
        match tried.iter().filter(|tried| tried.result.is_err()).count() {
            0 => Ok(()),
            count => Err(CliError::Failed(format!("{count} checks failed"))),
        }
    }
}

async fn try_everything(app: &App) -> Vec<Tried> {
    let config = &app.config;
    let mut tried = vec![Tried { what: "catalog".to_owned(), result: Ok("opened".to_owned()) }];
    if app.keys.encrypts() {
        tried.push(Tried { what: "encryption".to_owned(), result: try_keys(&app.keys).await });
    }
    for source in &config.portal.database {
        let result = match database::open(source, &config.backup.temp_dir) {
            Ok(database) => database.check().await,
            Err(error) => Err(error),
        };
        tried.push(Tried {
            what: format!("database {}", source.name),
            result: result
                .map(|server| format!("{} {}", server.engine.as_str(), server.version))
                .map_err(|error| error.to_string()),
        });
    }
    for (position, source) in config.portal.filesystem.iter().enumerate() {
        let result = app.portal.check_filesystem(position).await;
        tried.push(Tried {
            what: format!("filesystem {}", source.name),
            result: result.map(|()| source.url.to_string()).map_err(|error| error.to_string()),
        });
    }
    for (position, source) in config.portal.index.iter().enumerate() {
        let result = app.portal.check_index(position).await;
        tried.push(Tried {
            what: format!("index {}", source.name),
            result: result.map(|()| source.url.to_string()),
        });
    }
    for (kind, storage) in app.storages.all_configured() {
        let result = try_storage(&storage).await;
        tried.push(Tried {
            what: format!("storage {kind:?}"),
            result: result.map(|()| storage.url().to_string()).map_err(|error| error.to_string()),
        });
    }
    tried
}

/// Encrypts something and opens it again. A service may do without an identity, but not with a wrong one.
async fn try_keys(keys: &Arc<Keys>) -> Result<String, String> {
    let tried = Arc::clone(keys);
    let opens_own = tokio::task::spawn_blocking(move || tried.opens_own())
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    match (opens_own, keys.opens()) {
        (true, _) => Ok("archives are encrypted, and can be opened here".to_owned()),
        (false, false) => {
            Ok("archives are encrypted; opening them here needs --identity".to_owned())
        }
        (false, true) => Err("no identity opens what is encrypted for the recipients".to_owned()),
    }
}

/// Asks for the first archive: a bucket that does not exist, or credentials that are refused, show.
async fn try_storage(storage: &Storage) -> Result<(), StorageError> {
    storage.list().await?.try_next().await.map(|_| ())
}
