//! Files that are replaced, shortened, lengthened or gone by the time they are read.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::roundtrip::docspace::config;
use crate::support::docspace::DocSpace;
use crate::support::portal::{PlainPortal, members, noise};
use crate::support::service::Service;

const MIB: usize = 1 << 20;
/// Slow enough that whatever is listed last is opened seconds after the first is read.
const SLOWLY: &str = "[limits]\nread = \"4MiB\"\n";

/// Waits until the service is in the midst of this file: further than it reads ahead of its turn.
async fn reads(service: &Service, file: &Path) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let process = format!("/proc/{}", service.pid());
    let in_midst = || {
        let open = fs::read_dir(format!("{process}/fd")).unwrap().flatten();
        let open = open.filter(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == file));
        open.map(|fd| format!("{process}/fdinfo/{}", fd.file_name().display())).any(|info| {
            let info = fs::read_to_string(info).unwrap_or_default();
            let place = info.lines().find_map(|line| line.strip_prefix("pos:"));
            place.is_some_and(|place| place.trim().parse::<usize>().unwrap() >= 3 * MIB)
        })
    };
    while !in_midst() {
        assert!(Instant::now() < deadline, "{} is not read", file.display());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// As editors save: the new file comes in the old one's place.
fn replace(path: &Path, content: &[u8]) {
    let beside = path.with_extension("new");
    fs::write(&beside, content).unwrap();
    fs::rename(beside, path).unwrap();
}

/// The members of the newest archive.
async fn stored(service: &Service) -> BTreeMap<String, Vec<u8>> {
    let archives = service.json("/v1/archives?limit=1").await;
    let url = url::Url::parse(archives["items"][0]["url"].as_str().unwrap()).unwrap();
    members(&url.to_file_path().unwrap())
}

#[tokio::test]
async fn a_file_that_was_replaced_since_it_was_listed_is_kept_as_it_is_now() {
    let portal = PlainPortal::new(10);
    for number in 0..7 {
        fs::write(portal.files().join(format!("a{number}")), noise(6 * MIB)).unwrap();
    }
    let sizes = [
        ("z-shorter", 3 * MIB, 2 * MIB),
        ("z-longer", 3 * MIB, 5 * MIB),
        ("z-much-longer", 10_000, 5 * MIB),
        ("z-a-little-longer", 10_000, 20_000),
        ("z-tiny-now", 3 * MIB, 1),
    ];
    for (name, before, _) in sizes {
        fs::write(portal.files().join(name), vec![b'o'; before]).unwrap();
    }
    let service = Service::start(&format!("{}{SLOWLY}", portal.config())).await;
    service.start_backup("Local", json!([])).await;
    reads(&service, &portal.files().join("a0")).await;
    for (name, _, now) in sizes {
        replace(&portal.files().join(name), &noise(now));
    }
    let done = service.finish().await;
    assert_eq!((&done["error"], done["status"].as_i64()), (&json!(""), Some(2)), "{done}");
    assert!(done["warning"].as_str().is_none_or(str::is_empty), "{done}");
    let members = stored(&service).await;
    for (name, _, now) in sizes {
        assert!(members[&format!("storage/{name}")] == noise(now), "{name}");
    }
    let manifest: Value = serde_json::from_slice(&members["manifest.json"]).unwrap();
    let entries = manifest["entries"].as_array().unwrap();
    assert!(entries.iter().all(|entry| entry["note"].is_null()), "{manifest}");
    let shorter = entries.iter().find(|entry| entry["path"] == "storage/z-shorter").unwrap();
    let version = shorter["version"].as_str().unwrap();
    use std::os::unix::fs::MetadataExt;
    let now = fs::metadata(portal.files().join("z-shorter")).unwrap();
    assert_eq!(version, format!("{}.{}.{}", now.mtime_nsec(), now.ctime(), now.ctime_nsec()));
}

/// In DocSpace's layout: what `storage/missing_info` and the progress say.
#[tokio::test]
async fn files_that_vanish_or_change_while_they_are_read_are_named() {
    let docspace = DocSpace::create().await;
    let folder = docspace.root().join("Products/Files/00/00/01/folder_1000");
    let place = |name: &str| folder.join(format!("file_{name}/v1/content.docx"));
    let member = |name: &str| format!("storage/files/folder_1000/file_{name}/v1/content.docx");
    let sizes = [("10", 6), ("11", 6), ("12", 6), ("13", 6), ("15", 6), ("20", 16), ("30", 6)];
    for (name, size) in sizes {
        fs::create_dir_all(place(name).parent().unwrap()).unwrap();
        fs::write(place(name), noise(size * MIB)).unwrap();
    }
    for name in ["80", "81 & <b>"] {
        fs::create_dir_all(place(name).parent().unwrap()).unwrap();
        fs::write(place(name), "small").unwrap();
    }
    let service = Service::start(&format!("{}{SLOWLY}", config(&docspace))).await;
    service.start_backup("Local", json!([])).await;
    reads(&service, &place("10")).await;
    for name in ["15", "80", "81 & <b>"] {
        fs::remove_file(place(name)).unwrap();
    }
    reads(&service, &place("20")).await;
    fs::File::options().write(true).open(place("20")).unwrap().set_len(1).unwrap();
    // The next one is open already.
    use std::io::Write;
    fs::File::options().append(true).open(place("30")).unwrap().write_all(&noise(MIB)).unwrap();
    let done = service.finish().await;
    assert_eq!(done["error"], "", "{done}");
    let shown = done["warning"].as_str().unwrap();
    let job = service.json("/v1/jobs?limit=1").await["items"][0].clone();
    let warnings: Vec<_> =
        job["warnings"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    for (name, what) in [
        ("15", "no longer exists"),
        ("80", "no longer exists"),
        ("81 & <b>", "no longer exists"),
        ("20", "while it was read; padded with zeros"),
        ("30", "grew while it was read; its first 6291456 bytes are kept"),
    ] {
        let of_file = warnings.iter().find(|text| text.starts_with(&member(name)));
        let of_file = of_file.unwrap_or_else(|| panic!("{name}: {warnings:?}"));
        assert!(of_file.ends_with(what) && shown.contains(of_file), "{of_file}: {shown}");
    }
    let members = stored(&service).await;
    for name in ["15", "80", "81 & <b>"] {
        assert!(!members.contains_key(&member(name)), "{name}");
    }
    assert_eq!(members[&member("20")].len(), 16 * MIB);
    assert!(members[&member("30")] == noise(6 * MIB));
    let info = |name: &str| String::from_utf8(members[name].clone()).unwrap();
    let (missing, stored) = (info("storage/missing_info"), info("storage/restore_info"));
    assert!(missing.starts_with("<storage_missing>") && missing.ends_with("</storage_missing>"));
    assert_eq!(missing.matches("<file>").count(), 3, "{missing}");
    for (name, path) in [("15", "15"), ("80", "80"), ("81 & <b>", "81 &amp; &lt;b&gt;")] {
        let expected = format!(
            "<file>\n  <domain></domain>\n  <module>files</module>\n  \
             <path>folder_1000/file_{path}/v1/content.docx</path>\n  <tenant>1</tenant>\n  \
             <error>Products/Files/00/00/01/folder_1000/file_{path}/v1/content.docx no longer exists</error>\n</file>"
        );
        assert!(missing.contains(&expected), "{name}: {missing}");
        assert!(!stored.contains(&format!("file_{path}/")), "{stored}");
    }
    assert!(stored.contains("file_20/") && stored.contains("file_30/"));
}

/// As `lost+found` on a volume: for root alone, as far as the service can see.
#[tokio::test]
async fn a_folder_that_is_closed_to_the_service_is_named_and_the_rest_is_kept() {
    let portal = PlainPortal::new(10);
    let closed = portal.files().join("lost+found");
    fs::create_dir(&closed).unwrap();
    fs::write(closed.join("#1"), "x").unwrap();
    fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    let mut service = Service::prepare(&portal.config());
    service.restart_without_roots_rights().await;
    service.start_backup("Local", json!([])).await;
    let done = service.finish().await;
    assert_eq!(done["error"], "", "{done}");
    let warning = done["warning"].as_str().unwrap();
    assert!(warning.contains("cannot read lost+found: Permission denied"), "{warning}");
    let members = stored(&service).await;
    assert!(members.contains_key("storage/plain.txt") && members.contains_key("storage/noise.bin"));
    let missing = String::from_utf8(members["storage/missing_info"].clone()).unwrap();
    assert!(missing.contains("<path>lost+found</path>"), "{missing}");
}

/// A SQLite database outside WAL mode is copied before it is read.
#[tokio::test]
async fn a_kill_while_a_database_is_copied_leaves_no_copy() {
    let portal = PlainPortal::new(10);
    let db = rusqlite::Connection::open(portal.database()).unwrap();
    db.pragma_update(None, "journal_mode", "delete").unwrap();
    db.execute_batch(
        "create table large as with recursive n(i) as (select 1 union all select i + 1 from n where i < 200)
         select i, randomblob(500000) as b from n",
    )
    .unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let config =
        format!("{}[backup]\ntemp_dir = \"{}\"\n", portal.config(), temporary.path().display());
    let mut service = Service::start(&config).await;
    service.start_backup("Local", json!([])).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    let open = format!("/proc/{}/fd", service.pid());
    let copied = || {
        let files = fs::read_dir(&open).unwrap().flatten();
        files.filter_map(|file| fs::metadata(file.path()).ok()).any(|file| {
            use std::os::unix::fs::MetadataExt;
            let own = fs::metadata(portal.database()).unwrap();
            file.is_file() && file.len() > 1 << 20 && file.ino() != own.ino()
        })
    };
    while !copied() {
        assert!(Instant::now() < deadline, "{}", service.log());
        std::thread::sleep(Duration::from_millis(1));
    }
    service.kill();
    let left: Vec<_> =
        fs::read_dir(temporary.path()).unwrap().flatten().map(|file| file.path()).collect();
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
}
