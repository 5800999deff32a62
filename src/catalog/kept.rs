//! The table of what is kept of encrypted archives.

use uuid::Uuid;

use super::db::{Columns, to_number};
use super::{Catalog, CatalogError};

/// Sealed texts by archive, in numbered parts.
#[derive(Debug, Clone, Copy)]
pub struct Kept<'c> {
    pub(super) catalog: &'c Catalog,
}

impl Kept<'_> {
    /// Writes a part, over an earlier one of that number.
    pub async fn put(&self, archive: Uuid, part: u64, content: String) -> Result<(), CatalogError> {
        self.catalog
            .run(move |db| {
                let content = content.clone();
                async move {
                    let mut transaction = db.pool.begin().await?;
                    let sql = db.sql(
                        "delete from portal_backup_kept_parts where archive_id = ? and part = ?",
                    );
                    let delete = sqlx::query(sql).bind(archive.to_string()).bind(to_number(part));
                    delete.execute(&mut *transaction).await?;
                    let sql = db.sql(
                        "insert into portal_backup_kept_parts (archive_id, part, content) values (?, ?, ?)",
                    );
                    let insert = sqlx::query(sql).bind(archive.to_string()).bind(to_number(part));
                    insert.bind(content).execute(&mut *transaction).await?;
                    transaction.commit().await?;
                    Ok(())
                }
            })
            .await
    }

    pub async fn get(&self, archive: Uuid, part: u64) -> Result<Option<String>, CatalogError> {
        self.catalog
            .run(move |db| async move {
                let sql = db.sql(
                    "select content from portal_backup_kept_parts where archive_id = ? and part = ?",
                );
                let query = sqlx::query(sql).bind(archive.to_string()).bind(to_number(part));
                let row = query.fetch_optional(&db.pool).await?;
                row.as_ref().map(|row| Columns(row).text("content")).transpose()
            })
            .await
    }

    /// Removes the parts from this number on.
    pub async fn forget(&self, archive: Uuid, from: u64) -> Result<(), CatalogError> {
        self.catalog
            .run(move |db| async move {
                let sql = db
                    .sql("delete from portal_backup_kept_parts where archive_id = ? and part >= ?");
                let query = sqlx::query(sql).bind(archive.to_string()).bind(to_number(from));
                query.execute(&db.pool).await?;
                Ok(())
            })
            .await
    }
}
