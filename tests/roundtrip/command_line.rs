//! `import` and `extract`, with what people write and what lies in storages.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::portal::{PlainPortal, tree};
use crate::support::service::Service;

/// A service that lost its catalog, beside `service`.
fn newcomer(service: &Service, portal: &PlainPortal) -> Service {
    let root = service.backups().display().to_string();
    Service::prepare(&format!("[storage.local]\nroot = \"{root}\"\n{}", portal.config()))
}

/// The exit status, and the document that was printed.
fn run(service: &Service, args: &[&str]) -> (i32, Value) {
    let output = service.cli(&[args, &["--json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    let document = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{args:?}: {error}: {said}"));
    (output.status.code().unwrap(), document)
}

/// A `tar.gz` of these files, as others make them.
fn packed(path: &Path, files: &[(&str, &str)]) {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let file = dir.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
    }
    let mut tar = Command::new("tar");
    tar.arg("-czf").arg(path).arg("-C").arg(dir.path());
    let names: Vec<_> = files.iter().map(|(name, _)| *name).collect();
    let tar =
        if names.is_empty() { tar.args(["--files-from", "/dev/null"]) } else { tar.args(names) };
    assert!(tar.status().unwrap().success());
}

#[tokio::test]
async fn every_archive_of_a_storage_is_imported_as_what_it_was() {
    let portal = PlainPortal::new(10);
    let service = Service::start(&portal.config()).await;
    let deep = json!([{"key": "filePath", "value": "weekly/deep"}]);
    let deep = service.backup("Local", deep).await;
    let stored = service.backup("DataStore", json!([])).await;
    assert!(stored["expiresOn"].is_string());

    let other = newcomer(&service, &portal);
    let (status, imported) = run(&other, &["import", "Local"]);
    assert_eq!(status, 0, "{imported}");
    let added = imported["added"].as_array().unwrap();
    for archive in [&deep, &stored] {
        let found = added.iter().find(|found| found["id"] == archive["id"]).unwrap();
        for member in ["storageType", "url", "sha256"] {
            assert_eq!(found[member], archive[member], "{member}");
        }
        // To the second.
        for member in ["createdOn", "expiresOn"] {
            let time = |of: &Value| of[member].as_str().map(|time| time[..19].to_owned());
            assert_eq!(time(found), time(archive), "{member}");
        }
        // It can be read where its record says that it lies.
        let (_, verified) = run(&other, &["verify", archive["id"].as_str().unwrap()]);
        assert_eq!(verified["ok"], true, "{verified}");
    }
    assert_eq!(added.len(), 2);
    let folder = deep["url"].as_str().unwrap().rsplit_once('/').unwrap().0;
    for place in
        [&["3"][..], &["local", "--param", "filePath=weekly"], &[folder], &[&format!("{folder}/")]]
    {
        let (status, again) = run(&other, &[&["import"], place].concat());
        assert_eq!(status, 0, "{place:?}");
        assert!(!again["known"].as_array().unwrap().is_empty(), "{place:?}");
        assert_eq!(again["added"], json!([]), "{place:?}");
    }
    let (status, refused) = run(&other, &["import", "file:///etc"]);
    assert_eq!(status, 1);
    assert!(refused["error"].as_str().unwrap().contains("storage.allow"), "{refused}");
}

#[tokio::test]
async fn archives_in_a_cloud_that_a_request_names_are_imported() {
    let portal = PlainPortal::new(10);
    let elsewhere = tempfile::tempdir().unwrap();
    let url = format!("file://{}/", elsewhere.path().display());
    let config = format!("[storage]\nallow = [\"{url}\"]\n{}", portal.config());
    let service = Service::start(&config).await;
    let archive = service.backup("CustomCloud", json!([{"key": "url", "value": url}])).await;
    let other = Service::prepare(&config);
    let (status, imported) =
        run(&other, &["import", "CustomCloud", "--param", &format!("url={url}")]);
    assert_eq!((status, &imported["added"][0]["id"]), (0, &archive["id"]), "{imported}");
    let (_, verified) = run(&other, &["verify", archive["id"].as_str().unwrap()]);
    assert_eq!(verified["ok"], true, "{verified}");
    let another = Service::prepare(&config);
    let (status, imported) = run(&another, &["import", &url]);
    assert_eq!((status, &imported["added"][0]["url"]), (0, &archive["url"]), "{imported}");
}

#[test]
fn what_is_no_backup_is_not_imported() {
    let portal = PlainPortal::new(1);
    let service = Service::prepare(&portal.config());
    std::fs::create_dir_all(service.backups()).unwrap();
    let at = |name: &str| service.backups().join(name);
    packed(&at("site.tar.gz"), &[("index.html", "<html>"), ("storage/restore_info", "<x/>")]);
    packed(&at("nothing.tar.gz"), &[]);
    packed(&at("docspace.tar.gz"), &[("dump", "True"), ("databases/scheme/t", "")]);
    let tenant = [("databases/scheme/t", "create"), ("storage/restore_info", "<x/>")];
    packed(&at("tenant.tar.gz"), &tenant);
    let (status, imported) = run(&service, &["import", "local"]);
    assert_eq!(status, 1);
    let names = |of: &str, key: &str| -> Vec<String> {
        let list = imported[of].as_array().unwrap();
        list.iter().map(|one| one[key].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("added", "name"), ["docspace.tar.gz", "tenant.tar.gz"]);
    assert_eq!(names("refused", "name"), ["nothing.tar.gz", "site.tar.gz"]);
    assert!(names("refused", "reason")[0].contains("no backup of a portal"), "{imported}");
    let dumps: Vec<_> = imported["added"].as_array().unwrap().iter().map(|a| &a["dump"]).collect();
    assert_eq!(dumps, [&json!(true), &json!(false)]);
}

#[tokio::test]
async fn entries_are_named_in_any_spelling() {
    let portal = PlainPortal::new(100);
    let service = Service::start(&portal.config()).await;
    let own = super::local_path(&service.backup("Local", json!([])).await);
    // As DocSpace makes them: no manifest, one stream of gzip.
    let foreign = service.dir.path().join("foreign.tar.gz");
    let files = [
        ("dump", "True"),
        ("databases/scheme/note", "create table"),
        ("storage/deep/a.txt", "a"),
        ("storage/deep/b.txt", "b"),
    ];
    packed(&foreign, &files);
    let extract = |archive: &Path, paths: &[&str]| {
        let out = tempfile::tempdir().unwrap();
        let (archive, into) = (archive.to_str().unwrap(), out.path().to_str().unwrap().to_owned());
        let result = run(&service, &[&["extract", archive, "--into", &into], paths].concat());
        (result, tree(out.path()))
    };
    for archive in [&own, &foreign] {
        for path in ["databases/scheme/note", "/databases/scheme/note", "./databases//scheme/note"]
        {
            let ((status, written), found) = extract(archive, &[path]);
            assert_eq!((status, written[0]["path"].as_str()), (0, Some("databases/scheme/note")));
            assert_eq!(found.keys().collect::<Vec<_>>(), ["databases/scheme/note"], "{path}");
        }
        let ((status, said), found) = extract(archive, &["nowhere", "dump"]);
        assert_eq!(status, 1);
        assert_eq!(said["error"], "the archive has no entry nowhere", "{found:?}");
        let ((status, said), _) = extract(archive, &["../dump"]);
        assert_eq!(status, 2, "{said}");
    }
    for everything in [".", "./", "/"] {
        let (_, found) = extract(&foreign, &[everything]);
        let expected: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
        let mut found: Vec<_> = found.iter().map(|(n, b)| (n.as_str(), b.as_slice())).collect();
        found.sort_by_key(|(name, _)| expected.iter().position(|(other, _)| other == name));
        assert_eq!(found, expected, "{everything}");
        let (_, found) = extract(&own, &[everything]);
        assert!(found.contains_key("storage/plain.txt") && found.contains_key("dump"));
    }
    let (_, found) = extract(&own, &["manifest.json", "dump"]);
    let manifest = String::from_utf8(found["manifest.json"].clone()).unwrap();
    assert!(manifest.contains("\"path\":\"databases/scheme/note\""), "{manifest}");
    assert_eq!(found["dump"], b"True");
    let ((status, _), _) = extract(&foreign, &["manifest.json"]);
    assert_eq!(status, 1);
}

#[test]
fn a_verb_that_fails_early_prints_a_document_too() {
    let portal = PlainPortal::new(1);
    let service = Service::prepare(&portal.config());
    let nowhere = PathBuf::from("/nowhere/a.tar.gz");
    let nowhere = nowhere.to_str().unwrap();
    for args in [
        &["verify", nowhere][..],
        &["extract", nowhere, "dump"],
        &["ls", nowhere],
        &["import", "custom-cloud"],
        &["restore", "0f3c8b0a-7a52-4f0e-9d0c-3a1b5e6f7a8b", "--yes"],
    ] {
        let (status, said) = run(&service, args);
        assert_eq!(status, 1, "{args:?}: {said}");
        assert!(said["error"].as_str().is_some_and(|text| !text.is_empty()), "{args:?}: {said}");
    }
}
