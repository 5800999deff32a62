//! DocSpace's schedules, `backup_schedule` (`facts.md` §4 and §9): one a tenant, and one of tenant -1 for the
//! whole installation.

use jiff::Timestamp;
use mysql_async::params;

use super::identity::Identity;
use super::moment;
use crate::portal::PortalError;
use crate::storage::StorageParams;

/// A schedule as DocSpace's table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleRow {
    pub tenant_id: i64,
    pub cron: String,
    pub backups_stored: i64,
    /// The number of the storage type.
    pub storage_type: i64,
    pub base_path: Option<String>,
    pub params: StorageParams,
    pub last_backup: Option<Timestamp>,
    pub dump: bool,
}

impl ScheduleRow {
    /// All that an administrator sets; equal texts are equal settings.
    pub fn settings(&self) -> String {
        let Self { cron, backups_stored, storage_type, base_path, params, dump, .. } = self;
        serde_json::json!([cron, backups_stored, storage_type, base_path, params, dump]).to_string()
    }
}

type Columns = (i64, String, i64, i64, Option<String>, Option<String>, Option<String>, bool);

impl Identity {
    /// All of them, in the order of their tenants. None in a database that is still empty.
    pub async fn schedules(&self) -> Result<Option<Vec<ScheduleRow>>, PortalError> {
        let sql = format!("{} ORDER BY tenant_id", select());
        let rows = self.database().rows_if_table::<Columns>(&sql).await?;
        Ok(rows.map(|rows| rows.into_iter().map(read).collect()))
    }

    /// One tenant's; None: it has none.
    pub async fn schedule(&self, tenant: i64) -> Result<Option<ScheduleRow>, PortalError> {
        let sql = format!("{} WHERE tenant_id = ?", select());
        let rows: Vec<Columns> = self.database().rows(&sql, (tenant,)).await?;
        Ok(rows.into_iter().next().map(read))
    }

    /// Writes a tenant's schedule over the one it has.
    pub async fn put_schedule(&self, row: &ScheduleRow) -> Result<(), PortalError> {
        let sql = "REPLACE INTO backup_schedule (tenant_id, cron, backups_stored, storage_type, \
            storage_base_path, storage_params, last_backup_time, dump) \
            VALUES (:tenant, :cron, :stored, :type, :base, :params, :last, :dump)";
        let params = params! {
            "tenant" => row.tenant_id,
            "cron" => &row.cron,
            "stored" => row.backups_stored,
            "type" => row.storage_type,
            "base" => row.base_path.as_deref().map(moment::cut),
            "params" => serde_json::to_string(&row.params).unwrap_or_default(),
            "last" => moment::to_column(row.last_backup),
            "dump" => row.dump,
        };
        self.database().execute(sql, params).await
    }

    pub async fn delete_schedule(&self, tenant: i64) -> Result<(), PortalError> {
        let sql = "DELETE FROM backup_schedule WHERE tenant_id = ?";
        self.database().execute(sql, (tenant,)).await
    }
}

fn select() -> String {
    format!(
        "SELECT tenant_id, cron, backups_stored, storage_type, storage_base_path, storage_params, {}, dump \
         FROM backup_schedule",
        moment::as_text("last_backup_time"),
    )
}

fn read(row: Columns) -> ScheduleRow {
    let (tenant_id, cron, backups_stored, storage_type, base_path, params, last, dump) = row;
    ScheduleRow {
        tenant_id,
        cron,
        backups_stored,
        storage_type,
        base_path: base_path.filter(|path| !path.is_empty()),
        params: moment::params(params.as_deref()),
        last_backup: last.as_deref().and_then(moment::of_column),
        dump,
    }
}
