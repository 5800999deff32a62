//! `list`: the archives in the catalog, newest first.

use clap::Args;

use super::{CliError, Global, output};
use crate::catalog::CopyState;
use crate::ops::{PageRequest, archives, copies};

#[derive(Debug, Args)]
pub struct List {}

impl List {
    pub async fn run(self, global: &Global) -> Result<(), CliError> {
        let app = global.app().await?;
        let page = PageRequest { offset: 0, limit: u32::MAX };
        let records = archives::list(&app, None, None, page).await?.items;
        let copies = copies::of(&app, &records).await?;
        if global.json {
            let view = |record| output::archive_json(record, copies.get(&record.id));
            let views: Vec<_> = records.iter().map(view).collect();
            return output::json(&views);
        }
        for record in &records {
            output::line(&format!(
                "{}  {}  {:>12}  {:<11}  {}",
                record.id,
                record.created_on.strftime("%Y-%m-%d %H:%M:%S"),
                output::bytes(record.size),
                match (record.proved_on, record.verified_on) {
                    (Some(_), _) => "proved",
                    (None, Some(_)) => "verified",
                    (None, None) => "unverified",
                },
                record.url
            ))?;
            for copy in copies.get(&record.id).into_iter().flatten() {
                let (name, place) = (&copy.name, copy.url.as_deref().unwrap_or_default());
                let why = copy.error.as_deref().unwrap_or("for no reason that is known");
                output::line(&match copy.state {
                    CopyState::Waiting => format!("    copy {name}: not made yet"),
                    CopyState::Stored => format!("    copy {name}: verified  {place}"),
                    CopyState::Failed => format!("    copy {name}: failed, {why}; tried again"),
                    CopyState::Cancelled => format!("    copy {name}: cancelled"),
                    CopyState::Missing => format!("    copy {name}: gone from {place}"),
                    CopyState::Unreachable => {
                        format!("    copy {name}: the configuration no longer points to {place}")
                    }
                })?;
            }
        }
        if records.is_empty() {
            output::line("no archives yet")?;
        }
        Ok(())
    }
}
