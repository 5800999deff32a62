//! The table of what increments need of encrypted archives.

use uuid::Uuid;

use super::db::Columns;
use super::{Catalog, CatalogError};

#[derive(Debug, Clone, Copy)]
pub struct Memos<'c> {
    pub(super) catalog: &'c Catalog,
}

impl Memos<'_> {
    /// Adds a part, sealed by the caller. Parts are counted from 0.
    pub async fn add(&self, archive: Uuid, part: u32, content: String) -> Result<(), CatalogError> {
        self.catalog
            .run(move |db| {
                let content = content.clone();
                async move {
                    let sql = db.sql(
                        "insert into portal_backup_memos (archive_id, part, content) values (?, ?, ?)",
                    );
                    sqlx::query(sql)
                        .bind(archive.to_string())
                        .bind(i64::from(part))
                        .bind(content)
                        .execute(&db.pool)
                        .await?;
                    Ok(())
                }
            })
            .await
    }

    /// A part as it was added; None: there is none of this number.
    pub async fn part(&self, archive: Uuid, part: u32) -> Result<Option<String>, CatalogError> {
        self.catalog
            .run(move |db| async move {
                let sql = db.sql(
                    "select content from portal_backup_memos where archive_id = ? and part = ?",
                );
                let row = sqlx::query(sql)
                    .bind(archive.to_string())
                    .bind(i64::from(part))
                    .fetch_optional(&db.pool)
                    .await?;
                row.map(|row| Columns(&row).text("content")).transpose()
            })
            .await
    }

    /// Removes all parts of an archive's.
    pub async fn forget(&self, archive: Uuid) -> Result<(), CatalogError> {
        self.catalog
            .run(move |db| async move {
                let sql = db.sql("delete from portal_backup_memos where archive_id = ?");
                sqlx::query(sql).bind(archive.to_string()).execute(&db.pool).await?;
                Ok(())
            })
            .await
    }

    /// Removes those of archives that are not there, and that no unfinished job is making.
    pub async fn forget_orphans(&self) -> Result<(), CatalogError> {
        self.catalog
            .run(|db| async move {
                sqlx::query(
                    "delete from portal_backup_memos where archive_id not in \
                     (select id from portal_backup_archives where removed_on is null) \
                     and archive_id not in (select id from portal_backup_jobs \
                     where state in ('queued', 'running'))",
                )
                .execute(&db.pool)
                .await?;
                Ok(())
            })
            .await
    }
}
