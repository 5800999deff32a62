//! What a backup reads, opened, and what it is compared with.

use std::sync::Arc;

use archive::DatabaseInfo;
use jiff::{Timestamp, Zoned, tz::TimeZone};

use super::{Attempt, RunError};
use crate::config::LayoutKind;
use crate::ops::backup::chunked::Base;
use crate::ops::backup::index::{self, CapturedIndex};
use crate::ops::backup::parent::{Choice, Wanted, choose, first_of};
use crate::ops::backup::{Mode, files};
use crate::portal::Tenant;
use crate::schedule::full_every;
use crate::source::database::{self, Snapshot};

/// What is to be read, and what it is compared with.
pub(super) struct Sources {
    pub indexes: Vec<CapturedIndex>,
    pub snapshots: Vec<Opened>,
    pub base: Arc<Base>,
    pub tenants: Vec<Tenant>,
    /// About how much is to be read.
    pub bytes: u64,
}

impl Attempt<'_> {
    /// Captures the indexes, then opens the snapshots, and counts all of it; the archive's name beside.
    pub(super) async fn prepare(&self, started: Timestamp) -> Result<(Sources, String), RunError> {
        let portal = &self.app.portal;
        let indexes = index::capture(self.app, self.ctx, self.one.map(|one| one.told)).await?;
        let base = Arc::new(self.base().await?);
        let plan = files::plan(portal, &portal.tenants().await?).await?;
        let snapshots = self.open_snapshots().await?;
        // Asked after the snapshots are open: a tenant that they hold has its files in the archive.
        let tenants = portal.tenants().await?;
        let table_bytes: u64 = snapshots
            .iter()
            .flat_map(|opened| opened.snapshot.tables())
            .filter(|table| table.with_data)
            .map(|table| table.estimated_bytes)
            .sum();
        let bytes = plan.bytes + table_bytes + index::bytes(&indexes);
        let name = match &self.request.file_name {
            // What reads it finds it by this name, and sees by its first bytes whether it is encrypted.
            Some(name) => name.clone(),
            None => {
                let name = self.app.keys.named(&self.archive_name(started));
                self.storage.unused_name(&name).await?
            }
        };
        Ok((Sources { indexes, snapshots, base, tenants, bytes }, name))
    }

    /// What the backup adds to.
    async fn base(&self) -> Result<Base, RunError> {
        let request = self.request;
        if request.mode == Mode::Full {
            return Base::new(None);
        }
        if let Some(one) = self.one {
            return match first_of(self.app, one.upon).await {
                Ok(parent) => Base::new(Some(parent)),
                Err(why) => self.no_base(why),
            };
        }
        let full_every = request.full_every.as_deref().map(full_every).transpose();
        let wanted = Wanted {
            tenant_id: self.ctx.job.tenant_id,
            dump: self.ctx.job.dump,
            storage_type: request.storage_type,
            storage: self.storage,
            parent: request.parent,
            full_every: full_every.map_err(RunError::Failed)?,
        };
        match choose(self.app, &wanted, self.app.clock.now()).await? {
            Choice::Parent(parent) => Base::new(Some(*parent)),
            Choice::Due => Base::new(None),
            Choice::None(why) => self.no_base(Some(why)),
        }
    }

    fn no_base(&self, why: Option<String>) -> Result<Base, RunError> {
        if let Some(why) = why {
            let text = format!("a full backup was made, for there is nothing to add to: {why}");
            self.ctx.warn(text);
        }
        Base::new(None)
    }

    /// Opens the snapshots of all databases at once, so that they show one moment as nearly as servers allow.
    async fn open_snapshots(&self) -> Result<Vec<Opened>, RunError> {
        let config = &self.app.config;
        let mut sources = Vec::new();
        for database in &config.portal.database {
            sources.push((&database.name, database::open(database, &config.backup.temp_dir)?));
        }
        let readers = config.limits.database_connections as usize;
        let snapshots =
            futures::future::try_join_all(sources.iter().map(|(_, db)| db.snapshot(readers)))
                .await?;
        let opened: Vec<_> = sources
            .into_iter()
            .zip(snapshots)
            .map(|((name, _), snapshot)| Opened { name: name.clone(), snapshot: snapshot.into() })
            .collect();
        for warning in opened.iter().flat_map(|opened| opened.snapshot.warnings()) {
            self.ctx.warn(warning.clone());
        }
        Ok(opened)
    }

    /// DocSpace's name of a dump: the moment in the installation's own time zone.
    fn archive_name(&self, at: Timestamp) -> String {
        let portal = &self.app.config.portal;
        let zone = match portal.layout {
            LayoutKind::Docspace => TimeZone::system(),
            LayoutKind::Plain => TimeZone::get(&portal.timezone).unwrap_or(TimeZone::UTC),
        };
        crate::portal::archive_name(&portal.name, &Zoned::new(at, zone))
    }
}

pub(super) struct Opened {
    pub name: String,
    pub snapshot: Arc<dyn Snapshot>,
}

impl Opened {
    pub fn info(&self) -> DatabaseInfo {
        let server = self.snapshot.server();
        DatabaseInfo {
            name: self.name.clone(),
            engine: server.engine.as_str().to_owned(),
            server_version: server.version.clone(),
            position: server.position.clone(),
        }
    }
}
