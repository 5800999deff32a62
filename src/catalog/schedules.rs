//! The table of schedules. Every change is a compare-and-set on the revision.

use jiff::Timestamp;
use sqlx::any::{Any, AnyArguments, AnyRow};
use sqlx::query::Query;
use uuid::Uuid;

use super::db::{Columns, Db, is_unique_violation, to_json, to_number, to_word};
use super::{Catalog, CatalogError, jobs};
use crate::jobs::NewJob;
use crate::schedule::retention::Rules;
use crate::storage::{StorageParams, StorageType};

/// Without `id` and `revision`, which have places of their own in the statements.
const COLUMNS: [&str; 25] = [
    "tenant_id",
    "dump",
    "name",
    "cron",
    "timezone",
    "enabled",
    "storage_type",
    "storage_params",
    "backup_mode",
    "full_every",
    "retention",
    "created_on",
    "next_run",
    "retry_on",
    "last_run",
    "last_success",
    "last_job",
    "awaited",
    "last_error",
    "failures",
    "stale",
    "mirrored",
    "synced_on",
    "deleted_on",
    "deleted_by",
];

/// When backups are made of themselves, where they go, and how the last ones went.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleRecord {
    pub id: Uuid,
    /// Of a dump: the tenant that it was set up from.
    pub tenant_id: i64,
    pub dump: bool,
    pub name: String,
    /// As Quartz writes it.
    pub cron: String,
    /// None: the portal's own.
    pub timezone: Option<String>,
    pub enabled: bool,
    pub storage_type: StorageType,
    /// Secrets among them are sealed by the caller.
    pub storage_params: StorageParams,
    pub mode: String,
    /// How old the last full backup may become, such as `7d`.
    pub full_every: Option<String>,
    pub retention: Rules,
    pub created_on: Timestamp,
    /// None: never again.
    pub next_run: Option<Timestamp>,
    /// When the last one, which failed, is tried again.
    pub retry_on: Option<Timestamp>,
    pub last_run: Option<Timestamp>,
    pub last_success: Option<Timestamp>,
    pub last_job: Option<Uuid>,
    /// Whether the end of `last_job` was not taken note of yet.
    pub awaited: bool,
    pub last_error: Option<String>,
    /// How many runs failed in a row.
    pub failures: u32,
    /// Changes that the portal's own table does not show yet.
    pub stale: i64,
    /// What the portal's row said when it was last equal.
    pub mirrored: Option<String>,
    pub synced_on: Option<Timestamp>,
    /// Deleted, and kept until the portal's row is too.
    pub deleted_on: Option<Timestamp>,
    /// As the caller writes it.
    pub deleted_by: Option<serde_json::Value>,
    /// 0: not in the table yet.
    pub revision: i64,
}

/// What became of a run that was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fired {
    /// Queued as this job.
    Started(Uuid),
    /// Another process was quicker, or somebody changed the schedule.
    Taken,
    /// A job runs that excludes it: nothing was written.
    Busy,
}

/// The schedules of a catalog.
#[derive(Debug, Clone, Copy)]
pub struct Schedules<'c> {
    pub(super) catalog: &'c Catalog,
}

impl Schedules<'_> {
    /// All, the oldest first, also those that were deleted but for the portal's row.
    pub async fn all(&self) -> Result<Vec<ScheduleRecord>, CatalogError> {
        self.chosen("1 = 1", Vec::new()).await
    }

    /// Those whose time has come, and those whose last job is awaited.
    pub async fn pending(&self, now: Timestamp) -> Result<Vec<ScheduleRecord>, CatalogError> {
        let now = now.as_millisecond();
        let chosen = "deleted_on is null and (awaited = 1 or (enabled = 1 and (next_run <= ? or retry_on <= ?)))";
        self.chosen(chosen, vec![now, now]).await
    }

    async fn chosen(
        &self,
        condition: &'static str,
        values: Vec<i64>,
    ) -> Result<Vec<ScheduleRecord>, CatalogError> {
        self.catalog
            .run(move |db| {
                let values = values.clone();
                async move {
                    let columns = COLUMNS.join(", ");
                    let sql = db.sql(&format!(
                        "select id, revision, {columns} from portal_backup_schedules where {condition} \
                         order by created_on, id"
                    ));
                    let query = values.into_iter().fold(sqlx::query(sql), Query::bind);
                    query.fetch_all(&db.pool).await?.iter().map(read).collect()
                }
            })
            .await
    }

    /// One by its id, also when it is deleted but for the portal's row.
    pub async fn get(&self, id: Uuid) -> Result<Option<ScheduleRecord>, CatalogError> {
        self.catalog
            .run(move |db| async move {
                let columns = COLUMNS.join(", ");
                let sql = db.sql(&format!(
                    "select id, revision, {columns} from portal_backup_schedules where id = ?"
                ));
                let row = sqlx::query(sql).bind(id.to_string()).fetch_optional(&db.pool).await?;
                row.as_ref().map(read).transpose()
            })
            .await
    }

    /// Writes a schedule: a new one when its revision is 0, else over the revision that was read. False:
    /// somebody else wrote it meanwhile.
    pub async fn save(&self, record: &ScheduleRecord) -> Result<bool, CatalogError> {
        let record = record.clone();
        self.catalog
            .run(move |db| {
                let record = record.clone();
                async move {
                    let query = match record.revision {
                        0 => insert(&db, &record)?,
                        _ => update(&db, &record)?,
                    };
                    match query.execute(&db.pool).await {
                        Ok(done) => Ok(done.rows_affected() == 1),
                        Err(error) if is_unique_violation(&error) => Ok(false),
                        Err(error) => Err(error.into()),
                    }
                }
            })
            .await
    }

    /// Writes a schedule whose time has come and queues its job, both or neither. `last_job` becomes the
    /// job's id.
    pub async fn fire(&self, record: &ScheduleRecord, job: NewJob) -> Result<Fired, CatalogError> {
        let mut record = record.clone();
        let id = Uuid::new_v4();
        record.last_job = Some(id);
        self.catalog
            .run(move |db| {
                let (record, job) = (record.clone(), job.clone());
                async move {
                    let mut transaction = db.pool.begin().await?;
                    let done = update(&db, &record)?.execute(&mut *transaction).await?;
                    if done.rows_affected() == 0 {
                        transaction.rollback().await?;
                        return Ok(Fired::Taken);
                    }
                    match jobs::insert(&mut transaction, &db, id, &job).await {
                        Ok(()) => {}
                        Err(CatalogError::Database(error)) if is_unique_violation(&error) => {
                            transaction.rollback().await?;
                            return Ok(Fired::Busy);
                        }
                        Err(error) => return Err(error),
                    }
                    transaction.commit().await?;
                    Ok(Fired::Started(id))
                }
            })
            .await
    }

    /// Forgets a schedule for good. False: there was none of this revision.
    pub async fn forget(&self, id: Uuid, revision: i64) -> Result<bool, CatalogError> {
        self.catalog
            .run(move |db| async move {
                let sql =
                    db.sql("delete from portal_backup_schedules where id = ? and revision = ?");
                let query = sqlx::query(sql).bind(id.to_string()).bind(revision);
                Ok(query.execute(&db.pool).await?.rows_affected() == 1)
            })
            .await
    }
}

type Statement = Query<'static, Any, AnyArguments>;

fn insert(db: &Db, record: &ScheduleRecord) -> Result<Statement, CatalogError> {
    let marks = vec!["?"; COLUMNS.len()].join(", ");
    let columns = COLUMNS.join(", ");
    let sql = db.sql(&format!(
        "insert into portal_backup_schedules ({columns}, id, revision) values ({marks}, ?, 1)"
    ));
    Ok(bind(sqlx::query(sql), record)?.bind(record.id.to_string()))
}

fn update(db: &Db, record: &ScheduleRecord) -> Result<Statement, CatalogError> {
    let assignments = COLUMNS.map(|column| format!("{column} = ?")).join(", ");
    let sql = db.sql(&format!(
        "update portal_backup_schedules set {assignments}, revision = revision + 1 \
         where id = ? and revision = ?"
    ));
    Ok(bind(sqlx::query(sql), record)?.bind(record.id.to_string()).bind(record.revision))
}

/// In the order of `COLUMNS`.
fn bind(query: Statement, record: &ScheduleRecord) -> Result<Statement, CatalogError> {
    let time = |time: Option<Timestamp>| time.map(Timestamp::as_millisecond);
    Ok(query
        .bind(record.tenant_id)
        .bind(i64::from(record.dump))
        .bind(record.name.clone())
        .bind(record.cron.clone())
        .bind(record.timezone.clone())
        .bind(i64::from(record.enabled))
        .bind(to_word(&record.storage_type)?)
        .bind(to_json(&record.storage_params)?)
        .bind(record.mode.clone())
        .bind(record.full_every.clone())
        .bind(to_json(&record.retention)?)
        .bind(record.created_on.as_millisecond())
        .bind(time(record.next_run))
        .bind(time(record.retry_on))
        .bind(time(record.last_run))
        .bind(time(record.last_success))
        .bind(record.last_job.map(|id| id.to_string()))
        .bind(i64::from(record.awaited))
        .bind(record.last_error.clone())
        .bind(to_number(u64::from(record.failures)))
        .bind(record.stale)
        .bind(record.mirrored.clone())
        .bind(time(record.synced_on))
        .bind(time(record.deleted_on))
        .bind(record.deleted_by.as_ref().map(to_json).transpose()?))
}

fn read(row: &AnyRow) -> Result<ScheduleRecord, CatalogError> {
    let row = Columns(row);
    Ok(ScheduleRecord {
        id: row.id("id")?,
        tenant_id: row.number("tenant_id")?,
        dump: row.flag("dump")?,
        name: row.text("name")?,
        cron: row.text("cron")?,
        timezone: row.optional_text("timezone")?,
        enabled: row.flag("enabled")?,
        storage_type: row.word("storage_type")?,
        storage_params: row.json("storage_params")?,
        mode: row.text("backup_mode")?,
        full_every: row.optional_text("full_every")?,
        retention: row.json("retention")?,
        created_on: row.time("created_on")?,
        next_run: row.optional_time("next_run")?,
        retry_on: row.optional_time("retry_on")?,
        last_run: row.optional_time("last_run")?,
        last_success: row.optional_time("last_success")?,
        last_job: row.optional_id("last_job")?,
        awaited: row.flag("awaited")?,
        last_error: row.optional_text("last_error")?,
        failures: u32::try_from(row.number("failures")?).unwrap_or(u32::MAX),
        stale: row.number("stale")?,
        mirrored: row.optional_text("mirrored")?,
        synced_on: row.optional_time("synced_on")?,
        deleted_on: row.optional_time("deleted_on")?,
        deleted_by: match row.optional_text("deleted_by")? {
            Some(_) => row.json("deleted_by")?,
            None => None,
        },
        revision: row.number("revision")?,
    })
}
