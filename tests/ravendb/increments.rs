//! Where increments lie, and what is made of them. Facts A7.

use serde_json::{Value, json};

use super::raven::{Raven, rows};
use crate::support::portal::{PlainPortal, members, tree};
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
    // The newest was interrupted, so that its document is missing: the one before counts, also for what is added.
    let newest = increments(&raven, "bk").pop().unwrap();
    std::fs::remove_file(raven.at("bk").join(newest).join("Database.Document")).unwrap();
    assert_eq!(restored("Before").await, before);
    raven.good_backup(DATABASE, "?incremental=true", "bk").await;
    let archives = archives(&raven).await;
    assert_eq!(archives[0]["parentId"], archives[2]["id"]);
    assert_eq!(restored("After").await, after);
}

/// The archives that the catalog knows, the newest first.
async fn archives(raven: &Raven) -> Vec<Value> {
    raven.service.json("/v1/archives").await["items"].as_array().unwrap().clone()
}

/// A database that is large enough for ranges of its rows, with a full backup and three increments; and its rows at
/// the moment of each of these.
async fn chain() -> (Raven, Vec<Vec<String>>) {
    let raven = Raven::of(PlainPortal::new(20_000), "").await;
    raven.good_backup(DATABASE, "", "bk").await;
    let db = rusqlite::Connection::open(raven.portal.database()).unwrap();
    let mut moments = Vec::new();
    for step in 1..=3 {
        db.execute("update note set body = 'changed' || ?1 where id = ?1 * 4000000", [step])
            .unwrap();
        db.execute("delete from note where id = ?1 * 1000", [step]).unwrap();
        db.execute("insert into pair values (?1, x'00')", [step]).unwrap();
        moments.push(rows(&raven.portal.database()));
        raven.good_backup(DATABASE, "?incremental=true", "bk").await;
    }
    (raven, moments)
}

/// Restores a backup as a new database; its rows.
async fn restored(raven: &Raven, name: &str, location: &str) -> Vec<String> {
    let body = json!({"DatabaseName": name, "BackupLocation": location, "DatabaseLocation": name});
    let done = raven.restore("/admin/restore", body).await;
    assert_eq!(done["Faulted"], false, "{done} {}", raven.service.log());
    rows(&raven.at(name).join(format!("{name}.db")))
}

/// Issue: "only what changed since the parent is stored", "Any incremental restores by itself (its chain is read …)"
#[tokio::test]
async fn an_increment_holds_what_changed_and_comes_back_as_a_whole() {
    let (raven, moments) = chain().await;
    let size = |path: &std::path::Path| path.join("RavenDB.Voron.Backup").metadata().unwrap().len();
    let full = size(&raven.at("bk"));
    let made = increments(&raven, "bk");
    for (number, name) in made.iter().enumerate() {
        let stored = size(&raven.at("bk").join(name));
        assert!(stored < full / 3, "{stored} of {full} bytes");
        let rows = restored(&raven, &format!("Copy{number}"), &format!("bk/{name}")).await;
        assert!(rows == moments[number], "{name}");
    }
    assert!(restored(&raven, "Newest", "bk").await == moments[2]);
    let said = raven.status(DATABASE).await.text;
    assert!(said.contains("Voron Incr Backup total "), "{said}");
    // What others need stays.
    let archives = archives(&raven).await;
    for pair in archives.windows(2) {
        assert_eq!(pair[0]["parentId"], pair[1]["id"]);
    }
    let path = format!("/v1/archives/{}", archives[3]["id"].as_str().unwrap());
    let refused = raven.send(reqwest::Method::DELETE, &path, "", &raven.service.key).await;
    assert!(refused.status == 409 && refused.text.contains("builds on it"), "{}", refused.text);
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    for (name, content) in tree(from) {
        let path = to.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

/// Folders are moved to other machines, whose catalogs know nothing of them. Issue: "a missing or damaged link is …
/// named before a restore starts"
#[tokio::test]
async fn a_chain_may_be_moved_and_what_it_lacks_is_named() {
    let (raven, moments) = chain().await;
    let made = increments(&raven, "bk");
    let other = Raven::start("").await;
    for place in ["moved", "lacking", "damaged"] {
        copy(&raven.at("bk"), &other.at(place));
    }
    drop(raven);
    assert!(restored(&other, "Newest", "moved").await == moments[2]);
    assert!(restored(&other, "Second", &format!("moved/{}", made[1])).await == moments[1]);

    let archive = "RavenDB.Voron.Backup";
    std::fs::remove_file(other.at("lacking").join(&made[0]).join(archive)).unwrap();
    let root = other.at("damaged").join(archive);
    let mut bytes = std::fs::read(&root).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&root, bytes).unwrap();
    for (place, link) in
        [("lacking", format!("../{}/{archive}", made[0])), ("damaged", format!("../{archive}"))]
    {
        let body =
            json!({"DatabaseName": place, "BackupLocation": place, "DatabaseLocation": "new"});
        let done = other.restore("/admin/restore", body).await;
        let error = done["State"]["Error"].as_str().unwrap();
        assert!(error.contains(&link), "{link} is not named: {error}");
        assert!(!other.at("new").exists());
    }
}

/// "Inc …" of a source is built on nothing but what is of the same source.
#[tokio::test]
async fn another_source_of_the_name_is_not_added_to() {
    let mut raven = Raven::start("").await;
    raven.good_backup(DATABASE, "", "bk").await;
    raven.service.terminate();
    let other = PlainPortal::new(50);
    let path = |portal: &PlainPortal| portal.database().display().to_string();
    let (old, new) = (path(&raven.portal), path(&other));
    raven.service.reconfigure(|text| text.replace(&old, &new));
    raven.service.restart().await;
    let messages =
        raven.backup(DATABASE, "?incremental=true", json!({"BackupLocation": "bk"})).await;
    let told = messages.iter().any(|m| m["Message"].as_str().unwrap().contains("another source"));
    assert!(told, "{messages:?}");
    assert!(archives(&raven).await.iter().all(|archive| archive["parentId"].is_null()));
    assert!(restored(&raven, "New", "bk").await == rows(&other.database()));
}

/// Files by size, time and digest.
#[tokio::test]
async fn files_that_did_not_change_are_not_stored_again() {
    let raven = Raven::start("").await;
    raven.good_backup("/fs/NorthwindFS", "?incremental=true", "bk").await;
    std::fs::write(raven.portal.files().join("new.txt"), "new").unwrap();
    raven.good_backup("/fs/NorthwindFS", "?incremental=true", "bk").await;
    let newest = raven.at("bk").join(increments(&raven, "bk").pop().unwrap());
    let stored = members(&newest.join("RavenDB.Voron.Backup"));
    assert!(stored.contains_key("storage/new.txt") && !stored.contains_key("storage/noise.bin"));
    let body = json!({"FilesystemName": "Copy", "BackupLocation": "bk"});
    let done = raven.restore("/admin/fs/restore", body).await;
    assert_eq!(done["Faulted"], false, "{done}");
    assert_eq!(tree(&raven.portal.dir.path().join("Copy")), tree(&raven.portal.files()));
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
