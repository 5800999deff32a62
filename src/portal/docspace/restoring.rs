//! What a restore does to DocSpace beside putting tables and files back (`facts.md` §4 and §6).

use super::identity::Identity;
use crate::portal::{KeptBackups, PortalError};
use crate::source::database::Adjustment;

/// Settings of two-factor authentication, by application and by SMS: who restores an old portal may no longer have
/// the device that it asks for.
const TWO_FACTOR: [&str; 2] =
    ["822ca059-aa8f-4588-bee3-6cd2aa920cdb", "2802df61-af0d-40d4-abc5-a8506a5352ff"];
const ACTIVE: &str = "0";
const RESTORING: &str = "4";

/// What an administrator has to do, because nothing tells DocSpace's services: what their caches have in them, and
/// under which names, is not documented.
pub const AFTERWARDS: &str = "DocSpace's services keep parts of the old state in their caches: restart them (in Docker: \
    docker compose restart, for Redis too)";

/// Changes to the loaded tables before they go live. Tenants stay closed until the restore has been checked.
/// `backups`: what is kept of backups in documents.
pub fn adjustments(backups: &KeptBackups) -> Vec<Adjustment> {
    let keep = |table: &str, key: &str, of: &[String]| Adjustment::KeepNewer {
        table: table.to_owned(),
        key: key.to_owned(),
        of: Some(of.to_vec()),
    };
    vec![
        Adjustment::Delete {
            table: "webstudio_settings".to_owned(),
            column: "ID".to_owned(),
            values: TWO_FACTOR.map(str::to_owned).into(),
        },
        // DocSpace builds its search index again for what is not listed here.
        Adjustment::Empty { table: "webstudio_index".to_owned() },
        Adjustment::KeepNewer { table: "backup_backup".to_owned(), key: "id".to_owned(), of: None },
        // Without its row a document would lose its content and its number to the next one that is uploaded.
        keep("files_file", "id", &backups.ids),
        // Nor would it be shown without its folder, which may have been made since.
        keep("files_folder", "id", &backups.shown_in),
        keep("files_folder_tree", "folder_id", &backups.shown_in),
        keep("files_room_settings", "room_id", &backups.shown_in),
        Adjustment::Replace {
            table: "tenants_tenants".to_owned(),
            column: "status".to_owned(),
            from: ACTIVE.to_owned(),
            to: RESTORING.to_owned(),
        },
    ]
}

impl Identity {
    /// The tenants that a restore must close: those that are open. None in a database that is still empty.
    pub async fn open_tenants(&self) -> Result<Vec<i64>, PortalError> {
        let sql = "SELECT id FROM tenants_tenants WHERE status = 0 ORDER BY id";
        Ok(self.database().rows_if_table::<i64>(sql).await?.unwrap_or_default())
    }

    /// Closes open tenants, all or none: DocSpace answers nobody meanwhile.
    pub async fn close_tenants(&self, tenants: &[i64]) -> Result<(), PortalError> {
        self.set_status(tenants, ACTIVE, RESTORING).await
    }

    /// Opens tenants again that were closed; None: all that are.
    pub async fn open_again(&self, tenants: Option<&[i64]>) -> Result<(), PortalError> {
        match tenants {
            Some(tenants) => self.set_status(tenants, RESTORING, ACTIVE).await,
            None => {
                let sql = "UPDATE tenants_tenants SET status = 0 WHERE status = 4";
                self.database().execute(sql, ()).await?;
                self.forget().await;
                Ok(())
            }
        }
    }

    async fn set_status(&self, tenants: &[i64], from: &str, to: &str) -> Result<(), PortalError> {
        if !tenants.is_empty() {
            let ids: Vec<_> = tenants.iter().map(i64::to_string).collect();
            let ids = ids.join(",");
            let sql =
                format!("UPDATE tenants_tenants SET status = ? WHERE id IN ({ids}) AND status = ?");
            self.database().execute(&sql, (to, from)).await?;
        }
        self.forget().await;
        Ok(())
    }

    /// Whether the restored tenants can be used: each that is not suspended has an owner who exists.
    /// Returns what is wrong, as sentences.
    pub async fn faults(&self) -> Result<Vec<String>, PortalError> {
        self.forget().await;
        let tenants = self.tenants_now().await?;
        let mut faults = Vec::new();
        if !tenants.iter().any(|tenant| tenant.id > 0) {
            faults.push("there is no tenant".to_owned());
        }
        let sql = "SELECT t.id FROM tenants_tenants t WHERE t.id > 0 AND t.status IN (0, 4) \
                   AND NOT EXISTS (SELECT 1 FROM core_user u WHERE u.tenant = t.id AND u.id = t.owner_id)";
        let orphans: Vec<i64> = self.database().rows(sql, ()).await?;
        faults.extend(orphans.iter().map(|id| format!("the owner of tenant {id} does not exist")));
        Ok(faults)
    }
}
