//! Where increments lie, and what is made of them. Facts A7.

use serde_json::{Value, json};

use super::raven::{Raven, rows};
use crate::support::service::names;

const DATABASE: &str = "/databases/Northwind";

fn increments(raven: &Raven, location: &str) -> Vec<String> {
    names(&raven.at(location)).into_iter().filter(|name| name.starts_with("Inc ")).collect()
}

fn is_increment(name: &str) -> bool {
    let pattern = "Inc 0000-00-00 00-00-00";
    name.len() == pattern.len()
        && name
            .chars()
            .zip(pattern.chars())
            .all(|(c, p)| if p == '0' { c.is_ascii_digit() } else { c == p })
}

/// "Incremental asked first: Voron creates an `Inc…` folder at once (no root full backup)"; "root gets
/// `IncrementalBackupState.Document` = `{"ResourceId":guid,"ResourceName":name}`"
#[tokio::test]
async fn each_increment_has_a_folder_and_the_newest_whole_one_is_restored() {
    let raven = Raven::start("").await;
    for _ in 0..2 {
        raven.good_backup(DATABASE, "?incremental=True", "bk").await;
    }
    let made = increments(&raven, "bk");
    assert!(made.len() == 2 && made.iter().all(|name| is_increment(name)), "{made:?}");
    assert_eq!(
        names(&raven.at("bk")),
        [made[0].as_str(), made[1].as_str(), "IncrementalBackupState.Document"]
    );
    let state = std::fs::read(raven.at("bk/IncrementalBackupState.Document")).unwrap();
    let state: Value = serde_json::from_slice(&state).unwrap();
    assert_eq!(state["ResourceName"], "Northwind");
    assert_eq!(state["ResourceId"].as_str().unwrap().len(), 36);
    for name in &made {
        let inside = names(&raven.at("bk").join(name));
        assert_eq!(inside, ["Database.Document", "RavenDB.Voron.Backup"]);
    }

    let db = rusqlite::Connection::open(raven.portal.database()).unwrap();
    let before = rows(&raven.portal.database());
    db.execute("delete from note where id > 5000", []).unwrap();
    raven.good_backup(DATABASE, "?incremental=true", "bk").await;
    let after = rows(&raven.portal.database());
    assert_ne!(before, after);
    let restored = async |name: &str| {
        let body = json!({"DatabaseName": name, "BackupLocation": "bk"});
        let done = raven.restore("/admin/restore", body).await;
        assert_eq!(done["Faulted"], false, "{done}");
        rows(&raven.portal.dir.path().join(format!("{name}.db")))
    };
    assert_eq!(restored("Newest").await, after);
    // The newest was interrupted, so that its document is missing: the one before counts.
    let newest = increments(&raven, "bk").pop().unwrap();
    std::fs::remove_file(raven.at("bk").join(newest).join("Database.Document")).unwrap();
    assert_eq!(restored("Before").await, before);
}

/// "Folder of another source (async error)", for databases and file systems
#[tokio::test]
async fn another_sources_increments_are_left_alone() {
    let raven = Raven::start("").await;
    raven.good_backup(DATABASE, "?incremental=true", "bk").await;
    let messages =
        raven.backup("/fs/NorthwindFS", "?incremental=true", json!({"BackupLocation": "bk"})).await;
    let last = messages.last().unwrap();
    assert_eq!(last["Severity"], "Error");
    assert_eq!(
        last["Message"],
        "Failed to complete backup because: Can't perform an incremental backup to a given folder because it \
         already contains incremental backup data of different file system. Existing incremental data origins \
         from 'Northwind' file system."
    );
    assert_eq!(increments(&raven, "bk").len(), 1);
}

/// "Full onto existing full (async error)", "Query: `incremental` via .NET bool parse … unparsable = false"
#[tokio::test]
async fn a_full_backup_is_not_made_onto_a_full_one() {
    let raven = Raven::start("").await;
    raven.good_backup(DATABASE, "?incremental=maybe", "bk").await;
    let before = std::fs::read(raven.at("bk/RavenDB.Voron.Backup")).unwrap();
    let messages = raven.backup(DATABASE, "?incremental=1", json!({"BackupLocation": "bk"})).await;
    let last = messages.last().unwrap();
    assert_eq!(
        last["Message"],
        "Failed to complete backup because: Denying request to perform a full backup to an existing backup folder. \
         Try doing an incremental backup instead."
    );
    assert!(last["Details"].is_string());
    assert_eq!(std::fs::read(raven.at("bk/RavenDB.Voron.Backup")).unwrap(), before);
    raven.good_backup(DATABASE, "?incremental=TRUE", "bk").await;
    assert_eq!(increments(&raven, "bk").len(), 1);
}
