//! DocSpace's audit trail, `audit_events` (`facts.md` §8).

use std::net::IpAddr;

use jiff::Timestamp;
use mysql_async::params;

use super::identity::Identity;
use super::moment;
use crate::portal::PortalError;

/// What is written there; the numbers are DocSpace's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    BackupStarted = 5041,
    BackupCompleted = 5125,
    BackupFailed = 5126,
    ScheduledBackupStarted = 5127,
    ScheduledBackupCompleted = 5128,
    ScheduledBackupFailed = 5129,
    ScheduleDeleted = 5130,
    BackupCancelled = 5131,
    RestoreStarted = 5132,
    RestoreCancelled = 5133,
}

/// Who did it, where no user of the portal did.
const INITIATOR: &str = "Portal Backup";

/// Who did it, as far as that is known.
#[derive(Debug, Clone, Copy, Default)]
pub struct Who<'a> {
    pub user_id: Option<&'a str>,
    pub address: Option<IpAddr>,
}

impl Identity {
    /// Writes that something happened to `target`, unless that stands there already.
    pub async fn audit(
        &self,
        tenant: i64,
        action: Action,
        at: Timestamp,
        by: Who<'_>,
        target: &str,
    ) -> Result<(), PortalError> {
        let sql = "INSERT INTO audit_events (action, date, initiator, ip, tenant_id, user_id, target) \
            SELECT :action, :date, :initiator, :ip, :tenant, :user, :target FROM DUAL \
            WHERE NOT EXISTS (SELECT 1 FROM audit_events WHERE tenant_id = :tenant AND date = :date \
                AND action = :action AND target = :target)";
        let params = params! {
            "action" => action as i64,
            "date" => moment::to_column(Some(at)),
            "initiator" => by.user_id.is_none().then_some(INITIATOR),
            "ip" => by.address.map(|address| address.to_string()),
            "tenant" => tenant,
            "user" => by.user_id,
            "target" => target,
        };
        self.database().execute(sql, params).await
    }
}
