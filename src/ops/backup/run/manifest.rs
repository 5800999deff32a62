//! What an archive says of itself.

use archive::{DatabaseInfo, ManifestInfo, TenantInfo};
use jiff::Timestamp;

use super::{Attempt, RunError};
use crate::ops::backup::Mode;
use crate::ops::backup::chunked::Base;
use crate::ops::schedules::mode_word;
use crate::portal::Tenant;

impl Attempt<'_> {
    pub(super) async fn manifest(
        &self,
        tenants: &[Tenant],
        databases: Vec<DatabaseInfo>,
        base: &Base,
        started: Timestamp,
    ) -> Result<ManifestInfo, RunError> {
        let (portal, config) = (&self.app.portal, &self.app.config.portal);
        let parent = base.parent.as_ref();
        Ok(ManifestInfo {
            program: format!("portal-backup {}", env!("CARGO_PKG_VERSION")),
            id: self.ctx.job.id.to_string(),
            portal: config.name.clone(),
            layout: self.app.layout_name().to_owned(),
            dump: self.ctx.job.dump,
            mode: mode_word(parent.map_or(Mode::Full, |_| Mode::Incremental)).to_owned(),
            schedule: self.request.schedule_id.map(|id| id.to_string()),
            parent: parent.map(|parent| parent.id.to_string()),
            links: parent.map(|parent| parent.links.clone()).unwrap_or_default(),
            resource: self.app.single.map(|id| id.to_string()),
            chunk_key: Some(base.key.clone()),
            tenants: tenants
                .iter()
                .map(|tenant| TenantInfo { id: tenant.id, alias: tenant.alias.clone() })
                .collect(),
            databases,
            filesystems: config.filesystem.iter().map(|source| source.name.clone()).collect(),
            started_on: started.to_string(),
            finished_on: Timestamp::now().to_string(),
            machine_key_fingerprint: portal.machine_key_fingerprint(),
            last_migration: portal.last_migration().await?,
            warnings: self.ctx.warnings(),
            ..ManifestInfo::default()
        })
    }
}
