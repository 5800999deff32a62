//! The index of a source: backed up and restored with it. Issue: "`IndexesLocation` places its index".

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::raven::{Raven, rows};
use crate::support::lucene::{self, Writer};
use crate::support::portal::{PlainPortal, members, tree};

/// A portal with an index of that name, in a folder of its own.
async fn with_index(name: &str) -> (Raven, PathBuf) {
    let portal = PlainPortal::new(300);
    let index = portal.dir.path().join("index");
    let raven = Raven::of(portal, &section(name, &index)).await;
    Writer::new(&index);
    (raven, index)
}

fn section(name: &str, index: &Path) -> String {
    format!("[[portal.index]]\nname = \"{name}\"\nurl = \"file://{}\"\n", index.display())
}

/// What of an index belongs to its commit.
fn committed(index: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = tree(index);
    files.retain(|name, _| name.starts_with("segments_") || name.starts_with('_'));
    lucene::check(&files);
    files
}

#[tokio::test]
async fn an_index_comes_back_where_it_is_wanted() {
    let (raven, index) = with_index("Northwind").await;
    raven.good_backup("/databases/Northwind", "", "bk").await;
    // Message texts: `Hard linked FILE`, between those of the indexes and of the data.
    let status = raven.ended("/databases/Northwind").await;
    let said: Vec<_> = status["Messages"].as_array().unwrap().iter().collect();
    let said: Vec<_> = said.iter().map(|said| said["Message"].as_str().unwrap()).collect();
    let place = |text: &str| said.iter().position(|said| said.starts_with(text));
    let linked = place("Hard linked Northwind/segments_").unwrap_or_else(|| panic!("{said:?}"));
    assert!(place("Backing up indexes..").unwrap() < linked, "{said:?}");
    assert!(linked < place("Finished indexes backup.").unwrap(), "{said:?}");
    let before = tree(&index);
    for (name, location, place) in [
        ("Copy", json!("indexes/x"), raven.at("indexes/x")),
        ("Third", json!(null), raven.portal.dir.path().join("Third.Indexes")),
    ] {
        let body =
            json!({"DatabaseName": name, "BackupLocation": "bk", "IndexesLocation": location});
        let done = raven.restore("/admin/restore", body).await;
        assert_eq!(done["Faulted"], false, "{done} {}", raven.service.log());
        assert_eq!(committed(&place), committed(&index), "{name}");
        let said = raven.get("/docs/Raven/Restore/Status").await.text;
        assert!(!said.contains("ignored") && !said.contains("is replaced"), "{said}");
    }
    let document = raven.get("/docs/Raven/Databases/Copy").await.json();
    assert_eq!(document["Settings"]["Raven/IndexStoragePath"], "indexes/x");
    let document = raven.get("/docs/Raven/Databases/Third").await.json();
    assert!(document["Settings"].get("Raven/IndexStoragePath").is_none(), "{document}");
    // It is backed up with its database from now on, and goes with it.
    raven.good_backup("/databases/Copy", "", "bk2").await;
    let archive = members(&raven.at("bk2/RavenDB.Voron.Backup"));
    assert!(archive.keys().any(|name| name.starts_with("extra/index/")), "{:?}", archive.keys());
    let path = "/admin/databases/Third?hard-delete=true";
    let deleted = raven.send(reqwest::Method::DELETE, path, "", &raven.service.key).await;
    assert_eq!(deleted.status, 200);
    assert!(!raven.portal.dir.path().join("Third.Indexes").exists());

    // A place that is used is left alone, and nothing of the restore stays.
    let body =
        json!({"DatabaseName": "Fourth", "BackupLocation": "bk", "IndexesLocation": "indexes/x"});
    let done = raven.restore("/admin/restore", body).await;
    let said = done["State"]["Error"].as_str().unwrap();
    assert!(said.starts_with("IndexesLocation is not empty"), "{done}");
    assert!(!raven.portal.dir.path().join("Fourth.db").exists());
    assert_eq!(tree(&index), before);
}

/// An index of the configuration belongs to what is configured, whatever a restore is called.
#[tokio::test]
async fn a_restore_under_the_name_of_an_index_leaves_that_alone() {
    let (raven, index) = with_index("Copy").await;
    raven.good_backup("/databases/Northwind", "", "bk").await;
    let before = tree(&index);
    let body =
        json!({"DatabaseName": "Copy", "BackupLocation": "bk", "IndexesLocation": "indexes"});
    let done = raven.restore("/admin/restore", body).await;
    assert_eq!(done["Faulted"], false, "{done}");
    assert_eq!(tree(&index), before);
    assert_eq!(rows(&raven.portal.dir.path().join("Copy.db")), rows(&raven.portal.database()));
    let said = raven.get("/docs/Raven/Restore/Status").await.text;
    assert!(
        said.contains("IndexesLocation indexes was ignored: the backup has no index"),
        "{said}"
    );
    raven.good_backup("/databases/Copy", "", "bk2").await;
    let archive = members(&raven.at("bk2/RavenDB.Voron.Backup"));
    assert!(!archive.keys().any(|name| name.starts_with("extra/index/")), "{:?}", archive.keys());
}

/// Its files change all the time, so it is captured with the portal and never read file by file.
#[tokio::test]
async fn an_index_within_a_file_system_is_no_file_of_it() {
    let portal = PlainPortal::new(10);
    let index = portal.files().join("index");
    Writer::new(&index);
    let raven = Raven::of(portal, &section("search", &index)).await;
    raven.good_backup("/fs/NorthwindFS", "", "bk").await;
    let archive = members(&raven.at("bk/RavenDB.Voron.Backup"));
    assert!(archive.contains_key("storage/plain.txt"));
    assert!(!archive.keys().any(|name| name.contains("index/")), "{:?}", archive.keys());
}
