//! Which files belong to a backup, and under which names, in both layouts.

#[path = "support/docspace.rs"]
mod docspace;
#[path = "support/s3.rs"]
mod s3;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use docspace::{DocSpace, STORED, expected_members};
use futures::TryStreamExt;
use portal_backup::config::{Config, DatabaseConfig, FilesystemConfig, Options, Secret};
use portal_backup::portal::docspace::layout::stored_of_other_member;
use portal_backup::portal::{Portal, PortalEntry, PortalFile, StoredFile, restore_info};
use url::Url;

async fn all(portal: &Portal) -> (Vec<PortalFile>, Vec<String>) {
    let tenants = portal.tenants().await.unwrap();
    let entries: Vec<_> = portal.files(&tenants).try_collect().await.unwrap();
    let (mut files, mut sentences) = (Vec::new(), Vec::new());
    for entry in entries {
        match entry {
            PortalEntry::File(file) => files.push(file),
            PortalEntry::Skipped(sentence) => sentences.push(sentence),
            PortalEntry::Denied(file, _) => panic!("{file:?}"),
        }
    }
    (files, sentences)
}

/// Members and contents, in the order of the members.
async fn contents(portal: &Portal, files: &[PortalFile]) -> Vec<(String, Vec<u8>)> {
    let mut members = Vec::new();
    for (file, content) in files.iter().zip(portal.read_small(files).await) {
        members.push((file.member.clone(), content.unwrap().1.unwrap().to_vec()));
    }
    members.sort();
    members
}

fn file_url(path: &Path) -> Url {
    Url::from_directory_path(path).unwrap()
}

fn filesystem(name: &str, path: &Path) -> FilesystemConfig {
    FilesystemConfig { name: name.to_owned(), url: file_url(path), options: Options::default() }
}

#[tokio::test]
async fn a_disc_gives_what_docspace_backs_up() {
    let docspace = DocSpace::create().await;
    let portal = Portal::open(&docspace.config(), &[]).unwrap();
    let (files, sentences) = all(&portal).await;
    assert_eq!(contents(&portal, &files).await, expected_members());
    assert_eq!(
        sentences,
        [
            "2 files of tenant 2 have another tenant's name, for which DocSpace's format has one place: kept under \
          extra/tenants/2/, where DocSpace's own restore does not look"
        ]
    );
    check_stored(&files, |stored| stored.0.to_owned());
    // The plan and the backup list the same.
    assert_eq!(all(&portal).await.0, files);
}

#[tokio::test]
async fn a_bucket_gives_the_same() {
    let docspace = DocSpace::create().await;
    let server = s3::S3Server::start().await;
    for stored in STORED {
        let path = server.bucket_dir().join("root").join(stored.1);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, stored.0).unwrap();
    }
    let mut config = docspace.config();
    config.portal.filesystem[0].url = format!("s3://{}/root", server.bucket).parse().unwrap();
    config.portal.filesystem[0].options = Options(server.options().into_iter().collect());
    let portal = Portal::open(&config, &[]).unwrap();
    let (files, sentences) = all(&portal).await;
    assert_eq!(contents(&portal, &files).await, expected_members());
    assert_eq!(sentences.len(), 1, "{sentences:?}");
    check_stored(&files, |stored| stored.1.to_owned());
}

/// Every file says how DocSpace calls it: either in the list for DocSpace, or in its member.
fn check_stored(files: &[PortalFile], path: impl Fn(&docspace::Stored) -> String) {
    for file in files {
        let seed = STORED.iter().find(|seed| path(seed) == file.file.path).unwrap();
        let beside = stored_of_other_member(&file.member);
        assert_eq!(file.stored.is_none(), beside.is_some(), "{}", file.member);
        let stored = file.stored.clone().or(beside).unwrap();
        assert_eq!(file.described(), stored);
        assert_eq!(stored.domain, "");
        assert!(seed.0.ends_with(&stored.path), "{stored:?}");
        let tenant = stored.tenant.to_string();
        assert!(seed.1.contains(&format!(
            "00/00/0{}/{}/",
            tenant.trim_start_matches('-'),
            stored.module
        )));
        assert_eq!(seed.1.starts_with('-'), stored.tenant == -1, "{stored:?}");
    }
    let stored: Vec<&StoredFile> = files.iter().filter_map(|file| file.stored.as_ref()).collect();
    let names: BTreeSet<_> = stored.iter().map(|s| (&s.module, &s.path)).collect();
    assert_eq!(names.len(), stored.len(), "DocSpace finds each file of the list once");
}

/// As Python's reader, which stands for any other, sees the list.
#[tokio::test]
async fn the_list_of_files_is_xml() {
    let docspace = DocSpace::create().await;
    let portal = Portal::open(&docspace.config(), &[]).unwrap();
    let (files, _) = all(&portal).await;
    let mut xml = restore_info::open(false).to_owned();
    for stored in files.iter().filter_map(|file| file.stored.as_ref()) {
        xml += &restore_info::file(stored, None);
    }
    xml += restore_info::close(false);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("restore_info"), xml).unwrap();
    let script = "import sys, xml.etree.ElementTree as e\n\
        r = e.parse(sys.argv[1]).getroot()\n\
        assert r.tag == 'storage_restore'\n\
        for f in r.findall('file'):\n    \
            print(f.findtext('module'), f.findtext('domain'), f.findtext('tenant'), f.findtext('path'), sep='|')";
    let output = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(dir.path().join("restore_info"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected: Vec<_> = files
        .iter()
        .filter_map(|file| file.stored.as_ref())
        .map(|s| format!("{}|{}|{}|{}", s.module, s.domain, s.tenant, s.path))
        .collect();
    let read = String::from_utf8(output.stdout).unwrap();
    assert_eq!(read.lines().collect::<Vec<_>>(), expected);
    assert!(expected.iter().any(|line| line.contains("a & b.png")));
}

#[tokio::test]
async fn awkward_names_stay_out_of_docspace_s_list() {
    let docspace = DocSpace::create().await;
    let logo = docspace.root().join("Studio/00/00/01/logo");
    fs::write(logo.join("bell\u{7}.png"), "x").unwrap();
    fs::write(logo.join("line\nbreak.png"), "x").unwrap();
    let portal = Portal::open(&docspace.config(), &[]).unwrap();
    let (files, sentences) = all(&portal).await;
    let member = |member: &str| files.iter().find(|file| file.member == member);
    assert!(member("extra/tenants/1/storage/logo/bell\u{7}.png").unwrap().stored.is_none());
    assert!(member("storage/logo/line\nbreak.png").unwrap().stored.is_some());
    assert!(sentences.iter().any(|s| s.starts_with("1 file of tenant 1 with control characters")));
}

#[tokio::test]
async fn files_that_docspace_keeps_otherwise_are_warned_of() {
    let docspace = DocSpace::create().await;
    let portal = Portal::open(&docspace.config(), &[]).unwrap();
    let about = |sentences: Vec<String>| -> Vec<bool> {
        let any = |text: &str| sentences.iter().any(|sentence| sentence.contains(text));
        vec![any("encryption at rest"), any("moved to \"s3\", but filesystem data is a folder")]
    };
    assert_eq!(about(all(&portal).await.1), [false, false]);
    docspace
        .execute(&[
            "insert into core_settings (tenant, id, value, last_modified) \
             values (-1, 'EncryptionSettings', 0x0102, '2026-01-01 00:00:00')",
            "insert into webstudio_settings (TenantID, ID, UserID, Data, last_modified) values (1, \
             'f13eaf2d-fa53-44f1-a6d6-a5aeda46fa2b', '00000000-0000-0000-0000-000000000000', \
             '{\"Module\":\"s3\",\"Props\":[]}', '2026-01-01 00:00:00')",
        ])
        .await;
    assert_eq!(about(all(&portal).await.1), [true, true]);
}

#[tokio::test]
async fn a_storage_root_that_holds_nothing_is_named() {
    let docspace = DocSpace::create().await;
    let wrong = tempfile::tempdir().unwrap();
    let mut config = docspace.config();
    config.portal.filesystem[0] = filesystem("data", wrong.path());
    let portal = Portal::open(&config, &[]).unwrap();
    let (files, sentences) = all(&portal).await;
    assert_eq!(files, []);
    assert_eq!(sentences, ["filesystem data holds no file of DocSpace's modules"]);
    fs::create_dir(wrong.path().join("Studio")).unwrap();
    std::os::unix::fs::symlink("/nonexistent", wrong.path().join("Products")).unwrap();
    let tenants = portal.tenants().await.unwrap();
    let error = portal.files(&tenants).try_collect::<Vec<_>>().await.unwrap_err();
    assert!(error.to_string().contains("Products: it is a link"), "{error}");
    // A root that is not there (a volume that is not mounted) is no empty portal.
    config.portal.filesystem[0] = filesystem("data", &wrong.path().join("missing"));
    let portal = Portal::open(&config, &[]).unwrap();
    assert!(portal.files(&tenants).try_collect::<Vec<_>>().await.is_err());
}

#[tokio::test]
async fn a_plain_portal_is_taken_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (data, media) = (dir.path().join("data"), dir.path().join("media"));
    for path in ["backups/old.tar.gz", "a/b.txt", "cloud/x", "empty", "extra/skip"] {
        fs::create_dir_all(data.join(path).parent().unwrap()).unwrap();
        fs::write(data.join(path), path).unwrap();
    }
    for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm", "catalog.db2"] {
        fs::write(data.join(name), name).unwrap();
    }
    fs::create_dir_all(data.join("folder/inner")).unwrap();
    fs::create_dir_all(&media).unwrap();
    fs::write(media.join("film.mp4"), "film").unwrap();
    let mut config = Config::default();
    config.portal.name = "acme".to_owned();
    config.portal.timezone = "Europe/Paris".to_owned();
    config.portal.filesystem = vec![filesystem("data", &data), filesystem("media", &media)];
    config.storage.local.root = data.join("backups");
    config.storage.custom_cloud = Some(portal_backup::config::UrlConfig {
        url: file_url(&data.join("cloud")),
        options: Options::default(),
    });
    config.catalog.url = Secret::new(format!("sqlite://{}/catalog.db", data.display()));
    let portal = Portal::open(&config, &[file_url(&data.join("extra/skip"))]).unwrap();
    let tenants = portal.tenants().await.unwrap();
    assert_eq!(tenants.len(), 1);
    assert_eq!((tenants[0].id, tenants[0].alias.as_str()), (1, "acme"));
    assert_eq!(tenants[0].timezone.as_deref(), Some("Europe/Paris"));
    assert_eq!(portal.last_migration().await.unwrap(), None);
    assert_eq!(portal.machine_key_fingerprint(), None);

    let (files, sentences) = all(&portal).await;
    assert_eq!(sentences, Vec::<String>::new());
    let members: Vec<_> =
        files.iter().map(|file| (file.member.as_str(), file.file.is_directory)).collect();
    assert_eq!(
        members,
        [
            ("storage/a/b.txt", false),
            ("storage/catalog.db2", false),
            ("storage/empty", false),
            ("storage/extra", true),
            ("storage/folder/inner", true),
            ("extra/files/media/film.mp4", false),
        ]
    );
    assert!(files.iter().all(|file| file.stored.is_none()));
    assert_eq!(files[0].described().path, "a/b.txt");
    let content: Vec<_> = portal.read(&files[5]).await.unwrap().1.try_collect().await.unwrap();
    assert_eq!(content, ["film"]);
    portal.check_filesystem(1).await.unwrap();
    assert!(portal.check_filesystem(2).await.is_err());

    config.storage.local.root = data.clone();
    let error = Portal::open(&config, &[]).err().unwrap();
    assert!(error.to_string().contains("is itself the local storage"), "{error}");
}

/// Each is captured and restored by itself.
#[tokio::test]
async fn a_source_in_a_filesystem_is_none_of_its_files() {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["all", "all/deep/more", "other"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
        fs::write(dir.path().join(folder).join("file"), folder).unwrap();
    }
    fs::write(dir.path().join("all/portal.db"), "").unwrap();
    let mut config = Config::default();
    config.portal.filesystem = vec![
        filesystem("all", &dir.path().join("all")),
        filesystem("more", &dir.path().join("all/deep/../deep/more")),
        filesystem("other", &dir.path().join("other")),
    ];
    config.portal.database = vec![DatabaseConfig {
        name: "main".to_owned(),
        url: Secret::new(format!("sqlite://{}/all/portal.db", dir.path().display())),
    }];
    let (files, _) = all(&Portal::open(&config, &[]).unwrap()).await;
    let members: Vec<_> = files.iter().map(|file| file.member.as_str()).collect();
    let own = ["storage/deep", "storage/file", "extra/files/more/file", "extra/files/other/file"];
    assert_eq!(members, own);
    std::os::unix::fs::symlink(dir.path().join("other"), dir.path().join("same")).unwrap();
    config.portal.filesystem[1] = filesystem("more", &dir.path().join("same"));
    let error = Portal::open(&config, &[]).err().unwrap().to_string();
    assert!(error.contains("is itself another filesystem"), "{error}");
}
