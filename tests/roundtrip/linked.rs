//! DocSpace's storage on other volumes, by links.

use std::fs;
use std::os::unix::fs::{lchown, symlink};

use serde_json::json;

use super::docspace::config;
use crate::support::docspace::{DocSpace, expected_members};
use crate::support::portal::members;
use crate::support::service::Service;

#[tokio::test]
async fn linked_folders_of_docspace_are_backed_up_unless_a_stranger_made_the_link() {
    let docspace = DocSpace::create().await;
    let (root, volume) = (docspace.root(), tempfile::tempdir().unwrap());
    let (files, studio) = (root.join("Products/Files"), root.join("Studio"));
    fs::rename(&files, volume.path().join("documents")).unwrap();
    symlink(volume.path().join("documents"), &files).unwrap();
    fs::rename(&studio, root.join("studio-moved")).unwrap();
    symlink("studio-moved", &studio).unwrap();
    let service = Service::start(&config(&docspace)).await;
    let archive = service.backup("Local", json!([])).await;
    let stored = members(&super::local_path(&archive));
    for (name, content) in expected_members() {
        assert_eq!(stored.get(&name), Some(&content), "{name}");
    }

    // Nothing can be swapped across volumes, and so nothing is touched.
    let request = json!({"backupId": archive["id"], "dump": true});
    assert_eq!(service.post("/api/2.0/backup/startrestore", &request).await.status(), 200);
    let done = service.finish_restore().await;
    assert!(done["error"].as_str().unwrap().contains("it is a link to a folder"), "{done}");
    assert!(files.is_symlink() && studio.is_symlink());

    let refused = async |word: &str| {
        service.start_backup("Local", json!([])).await;
        let done = service.finish().await;
        let error = done["error"].as_str().unwrap();
        assert!(error.contains("Products/Files") && error.contains(word), "{done}");
    };
    // A volume that is not mounted is no empty one.
    fs::rename(volume.path().join("documents"), volume.path().join("away")).unwrap();
    refused("leads to no folder").await;
    fs::rename(volume.path().join("away"), volume.path().join("documents")).unwrap();
    // Others of this machine must not choose what is read with our rights; only root can give a link to them.
    if rustix::process::geteuid().is_root() {
        lchown(&files, Some(65534), Some(65534)).unwrap();
        refused("belongs to neither root").await;
    }
}
