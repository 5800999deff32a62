//! The table of archives.

use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::db::{Columns, Db, Dialect, is_unique_violation, to_json, to_number, to_word};
use super::{ArchiveRecord, Catalog, CatalogError};

pub(super) const COLUMNS: &str = "id, tenant_id, name, storage_type, storage_params, url, size_bytes, sha256, \
    created_on, expires_on, dump, backup_mode, parent_id, verified_on, proved_on, removed_on, \
    missing_since, warnings, job_id, schedule_id";

/// MySQL assigns from left to right, so what depends on the old value comes first.
const VERIFIED: &str = "stale = case when missing_since is null then stale else stale + 1 end, \
    verified_on = ?, missing_since = null where id = ?";
const PROVED: &str = "stale = case when missing_since is null then stale else stale + 1 end, \
    proved_on = ?, missing_since = null where id = ?";

/// Which archives to list. Removed ones never are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ArchiveFilter {
    /// None: every tenant's.
    pub tenant_id: Option<i64>,
    /// None: both.
    pub dump: Option<bool>,
    /// Also those whose object is known to be gone.
    pub with_missing: bool,
}

/// A part of a list, and how long the whole list is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub total: u64,
}

/// The archives of a catalog.
#[derive(Debug, Clone, Copy)]
pub struct Archives<'c> {
    pub(super) catalog: &'c Catalog,
}

impl Archives<'_> {
    /// Records an archive. False if its id was recorded before, which is then left as it is.
    pub async fn insert(&self, record: &ArchiveRecord) -> Result<bool, CatalogError> {
        let record = record.clone();
        let inserted = self
            .catalog
            .run(move |db| {
                let record = record.clone();
                async move {
                    let mut connection = db.pool.acquire().await?;
                    match insert(&mut connection, db.dialect, &record).await {
                        Err(CatalogError::Database(error)) if is_unique_violation(&error) => {
                            Ok(false)
                        }
                        result => result.map(|()| true),
                    }
                }
            })
            .await;
        self.catalog.archives_changed();
        inserted
    }

    /// An archive by its id, removed or not.
    pub async fn get(&self, id: Uuid) -> Result<Option<ArchiveRecord>, CatalogError> {
        self.catalog
            .run(move |db| async move {
                let sql =
                    db.sql(&format!("select {COLUMNS} from portal_backup_archives where id = ?"));
                let row = sqlx::query(sql).bind(id.to_string()).fetch_optional(&db.pool).await?;
                row.as_ref().map(read).transpose()
            })
            .await
    }

    /// Archives, newest first; `limit` of them at most, after leaving out `offset`.
    pub async fn list(
        &self,
        filter: ArchiveFilter,
        limit: u32,
        offset: u64,
    ) -> Result<Page<ArchiveRecord>, CatalogError> {
        self.catalog
            .run(move |db| async move {
                let mut chosen = "removed_on is null".to_owned();
                let mut values = Vec::new();
                if let Some(tenant_id) = filter.tenant_id {
                    // A dump is of all tenants.
                    chosen.push_str(" and (tenant_id = ? or dump = 1)");
                    values.push(tenant_id);
                }
                if let Some(dump) = filter.dump {
                    chosen.push_str(" and dump = ?");
                    values.push(dump.into());
                }
                if !filter.with_missing {
                    chosen.push_str(" and missing_since is null");
                }
                let sql = db.sql(&format!(
                    "select count(*) as total from portal_backup_archives where {chosen}"
                ));
                let query = values.iter().fold(sqlx::query(sql), |query, value| query.bind(*value));
                let total = Columns(&query.fetch_one(&db.pool).await?).count("total")?;
                let sql = db.sql(&format!(
                    "select {COLUMNS} from portal_backup_archives where {chosen} \
                     order by created_on desc, id desc limit ? offset ?"
                ));
                let query = values.iter().fold(sqlx::query(sql), |query, value| query.bind(*value));
                let rows = query
                    .bind(i64::from(limit))
                    .bind(to_number(offset))
                    .fetch_all(&db.pool)
                    .await?;
                let items = rows.iter().map(read).collect::<Result<_, _>>()?;
                Ok(Page { items, total })
            })
            .await
    }

    /// The newest archive of each tenant, of dumps and of others.
    pub async fn newest(&self) -> Result<Vec<ArchiveRecord>, CatalogError> {
        self.catalog
            .run(|db| async move {
                let sql = db.sql(&format!(
                    "select {COLUMNS} from portal_backup_archives where removed_on is null and created_on = \
                     (select max(other.created_on) from portal_backup_archives other \
                      where other.tenant_id = portal_backup_archives.tenant_id \
                      and other.dump = portal_backup_archives.dump \
                      and other.removed_on is null) order by tenant_id, dump"
                ));
                let rows = sqlx::query(sql).fetch_all(&db.pool).await?;
                rows.iter().map(read).collect()
            })
            .await
    }

    /// The archive that lies at a URL, unless it was removed.
    pub async fn by_url(&self, url: String) -> Result<Option<ArchiveRecord>, CatalogError> {
        self.newest_with("url", url).await
    }

    /// An archive of this digest, removed or not: what we once wrote.
    pub async fn by_sha256(&self, sha256: String) -> Result<Option<ArchiveRecord>, CatalogError> {
        self.newest_with("sha256", sha256).await
    }

    async fn newest_with(
        &self,
        column: &'static str,
        value: String,
    ) -> Result<Option<ArchiveRecord>, CatalogError> {
        let removed = if column == "url" { " and removed_on is null" } else { "" };
        self.catalog
            .run(move |db| {
                let value = value.clone();
                async move {
                    let sql = db.sql(&format!(
                        "select {COLUMNS} from portal_backup_archives where {column} = ?{removed} \
                         order by created_on desc limit 1"
                    ));
                    let row = sqlx::query(sql).bind(value).fetch_optional(&db.pool).await?;
                    row.as_ref().map(read).transpose()
                }
            })
            .await
    }

    /// Notes that an archive was deleted. False if there is none that was not.
    pub async fn mark_removed(&self, id: Uuid, at: Timestamp) -> Result<bool, CatalogError> {
        let change = "stale = stale + 1, removed_on = ? where id = ? and removed_on is null";
        let marked = self.mark(change, id, at).await?;
        self.catalog.memos().forget(id).await?;
        Ok(marked)
    }

    /// Notes that an archive's object is gone, at the first time that this is seen.
    pub async fn mark_missing(&self, id: Uuid, since: Timestamp) -> Result<bool, CatalogError> {
        let change = "stale = case when missing_since is null then stale + 1 else stale end, \
            missing_since = coalesce(missing_since, ?) where id = ?";
        self.mark(change, id, since).await
    }

    /// Notes that an archive's object is there after all.
    pub async fn mark_found(&self, id: Uuid) -> Result<(), CatalogError> {
        self.catalog
            .run(move |db| async move {
                let sql = db.sql(
                    "update portal_backup_archives set stale = stale + 1, missing_since = null \
                     where id = ? and missing_since is not null",
                );
                sqlx::query(sql).bind(id.to_string()).execute(&db.pool).await?;
                Ok(())
            })
            .await?;
        self.catalog.archives_changed();
        Ok(())
    }

    /// Notes the size of an archive of which none was known.
    pub async fn set_size(&self, id: Uuid, size: u64) -> Result<(), CatalogError> {
        self.catalog
            .run(move |db| async move {
                let sql = db.sql(
                    "update portal_backup_archives set size_bytes = ? where id = ? and size_bytes = 0",
                );
                let query = sqlx::query(sql).bind(to_number(size)).bind(id.to_string());
                query.execute(&db.pool).await?;
                Ok(())
            })
            .await?;
        self.catalog.archives_changed();
        Ok(())
    }

    /// Notes that an archive was read and found whole; if it was missing, it is back.
    pub async fn mark_verified(&self, id: Uuid, at: Timestamp) -> Result<bool, CatalogError> {
        self.mark(VERIFIED, id, at).await
    }

    /// Notes that an archive was restored into a scratch place and found good.
    pub async fn mark_proved(&self, id: Uuid, at: Timestamp) -> Result<bool, CatalogError> {
        self.mark(PROVED, id, at).await
    }

    async fn mark(
        &self,
        change: &'static str,
        id: Uuid,
        at: Timestamp,
    ) -> Result<bool, CatalogError> {
        let marked = self
            .catalog
            .run(move |db| async move {
                let mut connection = db.pool.acquire().await?;
                mark(&mut connection, &db, change, id, at).await
            })
            .await;
        // Also after an error: the change may have been made.
        self.catalog.archives_changed();
        marked
    }
}

/// The change that `Archives::mark_verified` makes, within a caller's transaction.
pub(super) async fn mark_verified(
    connection: &mut AnyConnection,
    db: &Db,
    id: Uuid,
    at: Timestamp,
) -> Result<bool, CatalogError> {
    mark(connection, db, VERIFIED, id, at).await
}

/// As [`Archives::mark_proved`], within a transaction.
pub(super) async fn mark_proved(
    connection: &mut AnyConnection,
    db: &Db,
    id: Uuid,
    at: Timestamp,
) -> Result<bool, CatalogError> {
    mark(connection, db, PROVED, id, at).await
}

async fn mark(
    connection: &mut AnyConnection,
    db: &Db,
    change: &str,
    id: Uuid,
    at: Timestamp,
) -> Result<bool, CatalogError> {
    let sql = db.sql(&format!("update portal_backup_archives set {change}"));
    let query = sqlx::query(sql).bind(at.as_millisecond()).bind(id.to_string());
    Ok(query.execute(connection).await?.rows_affected() == 1)
}

/// Inserts within a caller's connection or transaction.
pub(super) async fn insert(
    connection: &mut AnyConnection,
    dialect: Dialect,
    record: &ArchiveRecord,
) -> Result<(), CatalogError> {
    let marks = vec!["?"; COLUMNS.split(',').count()].join(", ");
    let sql =
        dialect.sql(&format!("insert into portal_backup_archives ({COLUMNS}) values ({marks})"));
    let time = |time: Option<Timestamp>| time.map(Timestamp::as_millisecond);
    let id = |id: Option<Uuid>| id.map(|id| id.to_string());
    sqlx::query(sql)
        .bind(record.id.to_string())
        .bind(record.tenant_id)
        .bind(record.name.clone())
        .bind(to_word(&record.storage_type)?)
        .bind(to_json(&record.storage_params)?)
        .bind(record.url.clone())
        .bind(to_number(record.size))
        .bind(record.sha256.clone())
        .bind(record.created_on.as_millisecond())
        .bind(time(record.expires_on))
        .bind(i64::from(record.dump))
        .bind(record.mode.clone())
        .bind(id(record.parent_id))
        .bind(time(record.verified_on))
        .bind(time(record.proved_on))
        .bind(time(record.removed_on))
        .bind(time(record.missing_since))
        .bind(to_number(record.warnings))
        .bind(id(record.job_id))
        .bind(id(record.schedule_id))
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) fn read(row: &AnyRow) -> Result<ArchiveRecord, CatalogError> {
    let row = Columns(row);
    Ok(ArchiveRecord {
        id: row.id("id")?,
        tenant_id: row.number("tenant_id")?,
        name: row.text("name")?,
        storage_type: row.word("storage_type")?,
        storage_params: row.json("storage_params")?,
        url: row.text("url")?,
        size: row.count("size_bytes")?,
        sha256: row.text("sha256")?,
        created_on: row.time("created_on")?,
        expires_on: row.optional_time("expires_on")?,
        dump: row.flag("dump")?,
        mode: row.text("backup_mode")?,
        parent_id: row.optional_id("parent_id")?,
        verified_on: row.optional_time("verified_on")?,
        proved_on: row.optional_time("proved_on")?,
        removed_on: row.optional_time("removed_on")?,
        missing_since: row.optional_time("missing_since")?,
        warnings: row.count("warnings")?,
        job_id: row.optional_id("job_id")?,
        schedule_id: row.optional_id("schedule_id")?,
    })
}
