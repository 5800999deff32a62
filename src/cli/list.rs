//! `list`: the archives in the catalog, newest first.

use clap::Args;

use super::{CliError, Global, output};
use crate::ops::{PageRequest, archives};

#[derive(Debug, Args)]
pub struct List {}

impl List {
    pub async fn run(self, global: &Global) -> Result<(), CliError> {
        let app = global.app().await?;
        let page = PageRequest { offset: 0, limit: u32::MAX };
        let records = archives::list(&app, None, None, page).await?.items;
        if global.json {
            let views: Vec<_> = records.iter().map(output::archive_json).collect();
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
        }
        if records.is_empty() {
            output::line("no archives yet")?;
        }
        Ok(())
    }
}
