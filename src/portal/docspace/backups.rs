//! DocSpace's list of backups, `backup_backup` (`facts.md` §4 and §7).

use jiff::Timestamp;
use mysql_async::params;

use super::identity::Identity;
use super::moment;
use crate::portal::PortalError;
use crate::storage::StorageParams;

/// The tenant under which DocSpace keeps what concerns the whole installation.
pub const INSTALLATION: i64 = -1;

/// One backup as DocSpace's table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupRow {
    pub id: String,
    pub tenant_id: i64,
    pub is_scheduled: bool,
    pub name: String,
    /// The number of the storage type.
    pub storage_type: i64,
    /// The folder: an id in Documents, a path for Local.
    pub base_path: Option<String>,
    /// The file: an id in Documents, a full path for Local, else a key or a name.
    pub path: String,
    pub created_on: Timestamp,
    pub expires_on: Option<Timestamp>,
    pub params: StorageParams,
    /// Upper-case hex of SHA-256; empty where DocSpace kept none.
    pub hash: String,
    pub removed: bool,
}

impl Identity {
    /// All of them, removed ones included. None in a database that is still empty.
    pub async fn backups(&self) -> Result<Option<Vec<BackupRow>>, PortalError> {
        let sql = format!(
            "SELECT id, tenant_id, is_scheduled, name, storage_type, storage_base_path, storage_path, {}, {}, \
             storage_params, hash, removed FROM backup_backup ORDER BY created_on, id",
            moment::as_text("created_on"),
            moment::as_text("expires_on"),
        );
        let rows = self.database().rows_if_table::<mysql_async::Row>(&sql).await?;
        rows.map(|rows| rows.into_iter().map(read).collect()).transpose()
    }

    /// The backups that lie in DocSpace's documents now: the tenant (-1: any may have it) and the document's id. None
    /// in a database that is still empty.
    pub async fn backups_in_documents(&self) -> Result<Vec<(i64, i64)>, PortalError> {
        let sql = "SELECT DISTINCT tenant_id, CAST(storage_path AS SIGNED) FROM backup_backup \
                   WHERE storage_type = 0 AND removed = 0 AND storage_path REGEXP '^[0-9]{1,18}$'";
        Ok(self.database().rows_if_table(sql).await?.unwrap_or_default())
    }

    /// The folders that documents lie in, and those above them.
    pub async fn folders_of(&self, documents: &[String]) -> Result<Vec<i64>, PortalError> {
        // As numbers they came from the database.
        let list = documents.join(",");
        let sql = format!(
            "SELECT folder_id FROM files_file WHERE id IN ({list}) UNION SELECT t.parent_id \
             FROM files_file f JOIN files_folder_tree t ON t.folder_id = f.folder_id WHERE f.id IN ({list})"
        );
        Ok(self.database().rows_if_table(&sql).await?.unwrap_or_default())
    }

    /// Writes a backup into the table, over what it says of it. `ours`: the table may call one removed that is
    /// there after all; what DocSpace itself has removed stays so.
    pub async fn put_backup(&self, row: &BackupRow, ours: bool) -> Result<(), PortalError> {
        let sql = "INSERT INTO backup_backup (id, tenant_id, is_scheduled, name, storage_type, \
            storage_base_path, storage_path, created_on, expires_on, storage_params, hash, removed, paid) \
            VALUES (:id, :tenant, :scheduled, :name, :type, :base, :path, :created, :expires, :params, \
            :hash, :removed, 0) ON DUPLICATE KEY UPDATE name = VALUES(name), \
            storage_path = VALUES(storage_path), storage_params = VALUES(storage_params), \
            hash = VALUES(hash), expires_on = VALUES(expires_on), \
            removed = IF(:ours, VALUES(removed), GREATEST(removed, VALUES(removed)))";
        let params = params! {
            "id" => &row.id,
            "tenant" => row.tenant_id,
            "scheduled" => row.is_scheduled,
            "name" => moment::cut(&row.name),
            "type" => row.storage_type,
            "base" => row.base_path.as_deref().map(moment::cut),
            "path" => moment::cut(&row.path),
            "created" => moment::to_column(Some(row.created_on)),
            "expires" => moment::to_column(row.expires_on),
            "params" => serde_json::to_string(&row.params).unwrap_or_default(),
            "hash" => &row.hash,
            "removed" => row.removed,
            "ours" => ours,
        };
        self.database().execute(sql, params).await
    }

    /// How many backups of a tenant were paid for between two moments. We make none such.
    pub async fn paid_backups(
        &self,
        tenant: i64,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<u64, PortalError> {
        let sql = "SELECT COUNT(*) FROM backup_backup WHERE paid = 1 AND tenant_id = :tenant \
            AND created_on >= :from AND created_on <= :to";
        let params = params! {
            "tenant" => tenant,
            "from" => moment::to_column(Some(from)),
            "to" => moment::to_column(Some(to)),
        };
        let rows: Vec<u64> = self.database().rows(sql, params).await?;
        Ok(rows.first().copied().unwrap_or_default())
    }
}

fn read(mut row: mysql_async::Row) -> Result<BackupRow, PortalError> {
    let unlike =
        || PortalError::Database("backup_backup does not look as DocSpace's does".to_owned());
    let mut text = |column: &str| row.take_opt::<Option<String>, _>(column);
    let created = text("created_on").ok_or_else(unlike)?.map_err(|_| unlike())?;
    let expires = text("expires_on").ok_or_else(unlike)?.map_err(|_| unlike())?;
    let params = text("storage_params").ok_or_else(unlike)?.map_err(|_| unlike())?;
    let base_path = text("storage_base_path").ok_or_else(unlike)?.map_err(|_| unlike())?;
    let id: String = row.take("id").ok_or_else(unlike)?;
    Ok(BackupRow {
        id: id.trim().to_ascii_lowercase(),
        tenant_id: row.take("tenant_id").ok_or_else(unlike)?,
        is_scheduled: row.take("is_scheduled").ok_or_else(unlike)?,
        name: row.take("name").ok_or_else(unlike)?,
        storage_type: row.take("storage_type").ok_or_else(unlike)?,
        base_path: base_path.filter(|path| !path.is_empty()),
        path: row.take("storage_path").ok_or_else(unlike)?,
        created_on: created.as_deref().and_then(moment::of_column).unwrap_or(Timestamp::UNIX_EPOCH),
        expires_on: expires.as_deref().and_then(moment::of_column),
        params: moment::params(params.as_deref()),
        hash: row.take("hash").ok_or_else(unlike)?,
        removed: row.take("removed").ok_or_else(unlike)?,
    })
}
