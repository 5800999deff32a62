//! DocSpace's audit trail, `audit_events` (`facts.md` §8).

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

/// Who did it, where DocSpace would name a person.
const INITIATOR: &str = "Portal Backup";

impl Identity {
    /// Writes that something happened.
    pub async fn audit(
        &self,
        tenant: i64,
        action: Action,
        at: Timestamp,
    ) -> Result<(), PortalError> {
        let sql = "INSERT INTO audit_events (action, date, initiator, tenant_id) \
            VALUES (:action, :date, :initiator, :tenant)";
        let params = params! {
            "action" => action as i64,
            "date" => moment::to_column(Some(at)),
            "initiator" => INITIATOR,
            "tenant" => tenant,
        };
        self.database().execute(sql, params).await
    }
}
