//! `apikey create|list|revoke`.

use clap::{Subcommand, ValueEnum};
use serde_json::json;
use uuid::Uuid;

use super::{CliError, Global, output};
use crate::catalog::Scope;

#[derive(Debug, Subcommand)]
pub enum Apikey {
    /// Make a key; it is shown this once
    Create {
        /// What the key is for
        #[arg(long)]
        name: String,
        /// read: status and history; write: everything
        #[arg(long, value_enum)]
        scope: ScopeArg,
    },
    /// List the keys, without their secrets
    List,
    /// Make a key useless
    Revoke {
        /// The key's id
        id: Uuid,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ScopeArg {
    Read,
    Write,
}

impl From<ScopeArg> for Scope {
    fn from(scope: ScopeArg) -> Self {
        match scope {
            ScopeArg::Read => Self::Read,
            ScopeArg::Write => Self::Write,
        }
    }
}

impl Apikey {
    pub async fn run(self, global: &Global) -> Result<(), CliError> {
        let app = global.app().await?;
        let keys = app.catalog.api_keys();
        match self {
            Self::Create { name, scope } => {
                let (key, secret) =
                    keys.create(&name, scope.into()).await.map_err(CliError::failed)?;
                if global.json {
                    return output::json(&json!({
                        "id": key.id,
                        "name": key.name,
                        "scope": key.scope.as_str(),
                        "key": secret.expose(),
                    }));
                }
                output::line(secret.expose())?;
                eprintln!("This is the only time the key is shown.");
                Ok(())
            }
            Self::List => {
                let keys = keys.list().await.map_err(CliError::failed)?;
                if global.json {
                    let views: Vec<_> = keys
                        .iter()
                        .map(|key| {
                            json!({
                                "id": key.key.id,
                                "name": key.key.name,
                                "scope": key.key.scope.as_str(),
                                "createdOn": key.created_on,
                                "lastUsedOn": key.last_used_on,
                                "revokedOn": key.revoked_on,
                            })
                        })
                        .collect();
                    return output::json(&views);
                }
                for info in keys {
                    let state = if info.revoked_on.is_some() { "  (revoked)" } else { "" };
                    let key = info.key;
                    let scope = key.scope.as_str();
                    output::line(&format!("{}  {scope:<5}  {}{state}", key.id, key.name))?;
                }
                Ok(())
            }
            Self::Revoke { id } => match keys.revoke(id).await.map_err(CliError::failed)? {
                true if global.json => output::json(&json!({"id": id, "revoked": true})),
                true => output::line("revoked"),
                false => Err(CliError::Failed(format!("there is no key {id}"))),
            },
        }
    }
}
