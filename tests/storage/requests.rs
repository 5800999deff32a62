//! What a request may name, and what not.

use std::os::unix::fs::symlink;

use portal_backup::config::{Config, CopyConfig, UrlConfig};
use portal_backup::storage::{Storage, StorageError, StorageType, Storages};

use crate::s3::S3Server;
use crate::tools::*;

fn resolve(config: &Config, pairs: &[(&str, &str)]) -> Result<Storage, StorageError> {
    Storages::new(config).unwrap().resolve(StorageType::CustomCloud, &params(pairs))
}

#[test]
fn local_paths_lie_under_the_root() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    std::fs::create_dir(&root).unwrap();
    symlink(&root, dir.path().join("other-name")).unwrap();
    let storages = Storages::new(&config(&dir.path().join("other-name"))).unwrap();
    let local = |pairs: &[(&str, &str)]| storages.resolve(StorageType::Local, &params(pairs));
    let path = |pairs: &[(&str, &str)]| local(pairs).unwrap().local_path().unwrap();
    let root = dir.path().join("other-name");
    assert_eq!(path(&[]), root);
    assert_eq!(path(&[("filePath", "")]), root);
    assert_eq!(path(&[("FILEPATH", "a/b"), ("unknown", "x")]), root.join("a/b"));
    assert_eq!(path(&[("filepath", "./a//b/")]), root.join("a/b"));
    assert_eq!(path(&[("filePath", root.to_str().unwrap())]), root);
    let absolute = root.join("x/y");
    assert_eq!(path(&[("filePath", absolute.to_str().unwrap())]), absolute);
    // The same place by the name it has behind the link.
    let real = dir.path().join("root/x");
    assert_eq!(path(&[("filePath", real.to_str().unwrap())]), root.join("x"));
}

#[test]
fn hostile_local_paths_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    std::fs::create_dir_all(root.join("sub")).unwrap();
    std::fs::create_dir(dir.path().join("root2")).unwrap();
    symlink("/etc", root.join("etc")).unwrap();
    symlink("..", root.join("up")).unwrap();
    symlink("../../root2", root.join("sub/aside")).unwrap();
    std::fs::write(root.join("file"), "").unwrap();
    let storages = Storages::new(&config(&root)).unwrap();
    let sibling = format!("{}2", root.display());
    let climbing = format!("{}/../root2", root.display());
    for path in [
        "..",
        "../root2",
        "a/../../root2",
        "a/..",
        "/",
        "/etc",
        "//etc",
        &sibling,
        &climbing,
        "etc",
        "etc/cron.d",
        "up",
        "up/root2",
        "sub/aside",
        "file",
        "file/x",
        "..\\x",
        "a\\..\\..\\b",
        "\\\\server\\share",
        "C:\\backups",
        "c:/backups",
        "a\0b",
        "a\nb",
        &"x".repeat(300),
    ] {
        let error = storages
            .resolve(StorageType::Local, &params(&[("filePath", path)]))
            .expect_err(&format!("{path:?} was accepted"));
        assert!(error.is_bad_request(), "{path:?}: {error:?}");
    }
    assert!(root.join("sub").read_dir().unwrap().count() == 1, "resolving made something");
}

#[test]
fn what_is_not_configured_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let storages = Storages::new(&config(dir.path())).unwrap();
    let error = storages.resolve(StorageType::CustomCloud, &params(&[])).unwrap_err();
    assert!(matches!(error, StorageError::NotConfigured(_)), "{error:?}");
    let local = storages.resolve(StorageType::DataStore, &params(&[("x", "y")])).unwrap();
    assert_eq!(local.local_path().unwrap(), dir.path().join("datastore"));
}

#[tokio::test]
async fn a_request_stays_in_the_configured_cloud() {
    let server = S3Server::start().await;
    let config = cloud_config(&server, "s3://archives/own", &[]);
    let url =
        |pairs: &[(&str, &str)]| resolve(&config, pairs).map(|storage| storage.url().to_string());
    assert_eq!(url(&[]).unwrap(), "s3://archives/own/");
    assert_eq!(url(&[("filePath", "x"), ("module", "S3")]).unwrap(), "s3://archives/own/");
    assert_eq!(url(&[("bucket", "archives")]).unwrap(), "s3://archives/own/");
    assert_eq!(url(&[("url", "s3://ARCHIVES/own/deeper")]).unwrap(), "s3://archives/own/deeper/");
    assert_eq!(url(&[("endpoint", &server.endpoint)]).unwrap(), "s3://archives/own/");
    assert_eq!(url(&[("region", "eu-west-1")]).unwrap(), "s3://archives/own/");
    let evil = format!("{}@evil.example.org", server.endpoint);
    let longer = format!("{}0", server.endpoint);
    for bad in [
        ("url", "s3://archives"),
        ("url", "s3://archives/own2"),
        ("url", "s3://archives/own/../x"),
        ("url", "s3://archives/own/%2e%2e/x"),
        ("url", "s3://archives/own/a%2F..%2F..%2Fx"),
        ("url", "s3://archives2/own"),
        ("url", "gs://archives/own"),
        ("url", "file:///etc"),
        ("url", "s3://u:p@archives/own"),
        ("url", "not a url"),
        ("bucket", "other"),
        ("bucket", "archives/../other"),
        ("bucket", "archives@evil.example.org"),
        ("endpoint", "http://evil.example.org"),
        ("endpoint", "http://169.254.169.254"),
        ("endpoint", &evil),
        ("endpoint", &longer),
        ("endpoint", "evil.example.org"),
        ("serviceurl", "https://evil.example.org"),
        ("region", "x.evil.example.org/"),
        ("region", "a@b"),
        ("access_key_id", "a"),
        ("acesskey", "a"),
        ("secretaccesskey", "hidden"),
        ("session_token", "hidden"),
    ] {
        let error = url(&[bad]).expect_err(&format!("{bad:?} was accepted"));
        assert!(error.is_bad_request(), "{bad:?}: {error:?}");
        assert!(!error.to_string().contains("hidden"), "{error}");
    }
    let both = [("url", "s3://archives/own/x"), ("bucket", "other")];
    assert!(url(&both).unwrap_err().is_bad_request());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_configuration_allows_works() {
    let (server, other) = (S3Server::start().await, S3Server::start().await);
    std::fs::create_dir(server.bucket_dir().with_file_name("second")).unwrap();
    let mut config = cloud_config(&server, "s3://archives/own", &[]);
    let narrow = format!("{}/archives/team", other.endpoint);
    config.storage.allow = vec!["s3://second".to_owned(), narrow];
    let allowed = resolve(&config, &[("bucket", "second")]).unwrap();
    put(&allowed, "a.tar.gz", &content(10)).await.unwrap();
    assert!(server.bucket_dir().with_file_name("second").join("a.tar.gz").exists());

    let at_other = [("endpoint", other.endpoint.as_str()), ("url", "s3://archives/team/x")];
    let storage = resolve(&config, &at_other).unwrap();
    put(&storage, "b.tar.gz", &content(10)).await.unwrap();
    assert!(other.bucket_dir().join("team/x/b.tar.gz").exists());
    // Neither another prefix there, nor a bucket that is allowed at the configured endpoint only.
    for url in ["s3://archives/teams", "s3://archives", "s3://second"] {
        let pairs = [("endpoint", other.endpoint.as_str()), ("url", url)];
        assert!(resolve(&config, &pairs).unwrap_err().is_bad_request(), "{url}");
    }

    let keys = [("bucket", "second"), ("acesskey", "x"), ("secretaccesskey", "y")];
    assert!(resolve(&config, &keys).unwrap_err().is_bad_request());
    config.storage.allow_request_credentials = true;
    let error = resolve(&config, &keys).unwrap().size("a.tar.gz").await.unwrap_err();
    assert!(matches!(error, StorageError::Denied(_)), "the configured keys were used: {error:?}");
    let keys = [
        ("bucket", "second"),
        ("acesskey", server.access_key),
        ("secretaccesskey", server.secret_key),
    ];
    assert_eq!(resolve(&config, &keys).unwrap().size("a.tar.gz").await.unwrap(), Some(10));
    assert!(resolve(&config, &keys[..2]).unwrap_err().is_bad_request());
}

#[test]
fn a_copy_lies_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let at = |server: &str| options(&[("endpoint", server), ("allow_http", "true")]);
    let folder = url::Url::from_file_path(dir.path()).unwrap().to_string();
    let copy = |name: &str, url: &str, server: Option<&str>| CopyConfig {
        name: name.to_owned(),
        url: url.parse().unwrap(),
        options: server.map(at).unwrap_or_default(),
    };
    let (one, two) = (Some("http://one:9000"), Some("http://two:9000/"));
    for (copies, other) in [
        (vec![copy("a", &folder, None)], Some("storage.local.root")),
        (vec![copy("a", &format!("{folder}/copies"), None)], None),
        (vec![copy("a", "s3://archives/x", one)], Some("[storage.custom_cloud]")),
        (vec![copy("a", "s3://archives/x", two)], None),
        (vec![copy("a", "s3://archives/y", one)], None),
        (vec![copy("a", "s3://b", one), copy("b", "s3://b/", one)], Some("[[storage.copy]] \"a\"")),
    ] {
        let mut config = config(dir.path());
        let (url, options) = ("s3://archives/x/".parse().unwrap(), at("http://one:9000"));
        config.storage.custom_cloud = Some(UrlConfig { url, options });
        config.storage.copy = copies;
        let refused = Storages::new(&config).err().map(|error| error.to_string());
        assert_eq!(refused.is_some(), other.is_some(), "{refused:?}");
        assert!(refused.unwrap_or_default().contains(other.unwrap_or_default()), "{other:?}");
    }
}

#[test]
fn allowed_folders_hold_their_links_in() {
    let dir = tempfile::tempdir().unwrap();
    let team = dir.path().join("team");
    std::fs::create_dir_all(team.join("real")).unwrap();
    symlink("/etc", team.join("out")).unwrap();
    let mut config = config(dir.path());
    config.storage.allow = vec![url::Url::from_file_path(&team).unwrap().to_string()];
    let at = |path: &str| {
        let url = format!("file://{}", dir.path().join(path).display());
        resolve(&config, &[("url", &url)])
    };
    assert_eq!(at("team/real/x").unwrap().local_path().unwrap(), team.join("real/x"));
    for bad in ["team2", "", "team/out", "team/../x", "team/a%2F..%2F..%2Fx"] {
        assert!(at(bad).unwrap_err().is_bad_request(), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_names_archives_by_url() {
    let server = S3Server::start().await;
    let config = cloud_config(&server, "s3://archives/own", &[]);
    let storages = Storages::new(&config).unwrap();
    put(&cloud(&server, "s3://archives/else where", &[]), "a.tar.gz", &content(10)).await.unwrap();
    let url = "s3://archives/else%20where/a.tar.gz".parse().unwrap();
    let (storage, name) = storages.by_url(&url).unwrap();
    assert_eq!((storage.size(&name).await.unwrap(), name.as_str()), (Some(10), "a.tar.gz"));
    assert_eq!(storage.object_url(&name), url);
    let folder = storages.folder_by_url(&"s3://archives/else%20where".parse().unwrap()).unwrap();
    assert_eq!(names(&folder).await, ["a.tar.gz"]);
    for bad in ["s3://archives", "s3://archives/x/", "http://host/a.tar.gz"] {
        assert!(storages.by_url(&bad.parse().unwrap()).is_err(), "{bad}");
    }
    let dir = tempfile::tempdir().unwrap();
    let missing = url::Url::from_file_path(dir.path().join("none.tar.gz")).unwrap();
    let (storage, name) = storages.by_url(&missing).unwrap();
    assert!(matches!(storage.open(&name).await, Err(StorageError::NotFound(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn custom_cloud_may_be_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    let url = url::Url::from_file_path(dir.path().join("cloud")).unwrap();
    config.storage.custom_cloud = Some(UrlConfig { url, options: options(&[]) });
    put(&resolve(&config, &[]).unwrap(), "a.tar.gz", &content(10)).await.unwrap();
    assert!(dir.path().join("cloud/a.tar.gz").exists());
}

#[test]
fn archives_are_named_as_docspace_names_them() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    std::fs::create_dir_all(root.join("sub")).unwrap();
    let storages = Storages::new(&config(&root)).unwrap();
    let at = |kind, path: &str| {
        let (storage, name) = storages.archive_at(kind, &params(&[]), path)?;
        Ok::<_, StorageError>(storage.local_path().unwrap().join(name))
    };
    let absolute = root.join("sub/a.tar.gz");
    for (path, expected) in [
        ("a.tar.gz", root.join("a.tar.gz")),
        ("sub/a.tar.gz", absolute.clone()),
        (absolute.to_str().unwrap(), absolute.clone()),
    ] {
        assert_eq!(at(StorageType::Local, path).unwrap(), expected);
    }
    for bad in ["", "sub/", "../a.tar", "/a.tar", "/etc/passwd", "..", ".a.tar", ".uploads/1.tar"] {
        assert!(at(StorageType::Local, bad).unwrap_err().is_bad_request(), "{bad}");
    }
    assert_eq!(at(StorageType::DataStore, "a.tar").unwrap(), root.join("datastore/a.tar"));
    for (kind, bad) in [
        (StorageType::DataStore, "x/a.tar"),
        (StorageType::DataStore, "../a.tar"),
        (StorageType::Documents, "12"),
        (StorageType::CustomCloud, "a.tar"),
    ] {
        assert!(at(kind, bad).unwrap_err().is_bad_request(), "{kind:?} {bad}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_name_archives_by_url_where_that_is_allowed() {
    let server = S3Server::start().await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = cloud_config(&server, "s3://archives/own", &[]);
    config.storage.local.root = dir.path().join("root");
    config.storage.data_store =
        Some(UrlConfig { url: "file:///srv/datastore".parse().unwrap(), options: options(&[]) });
    config.storage.allow = vec!["s3://allowed/x".to_owned()];
    std::fs::create_dir_all(dir.path().join("root/sub")).unwrap();
    let storages = Storages::new(&config).unwrap();
    let root = dir.path().join("root").display().to_string();
    for good in [
        "s3://archives/own/a.tar.gz".to_owned(),
        "s3://archives/own/deeper/a.tar.gz".to_owned(),
        "s3://allowed/x/y/a.tar.gz".to_owned(),
        "file:///srv/datastore/a.tar".to_owned(),
        format!("file://{root}/a.tar"),
        format!("file://{root}/sub/a.tar"),
    ] {
        let url = good.parse().unwrap();
        let (storage, name) = storages.by_allowed_url(&url).unwrap();
        assert_eq!(storage.object_url(&name), url);
    }
    for bad in [
        "s3://archives/a.tar.gz".to_owned(),
        "s3://archives/owner/a.tar.gz".to_owned(),
        "s3://allowed/a.tar.gz".to_owned(),
        "s3://archives/own/".to_owned(),
        "s3://key:secret@archives/own/a.tar".to_owned(),
        "file:///etc/passwd".to_owned(),
        "file:///srv/datastore/sub/a.tar".to_owned(),
        format!("file://{root}2/a.tar"),
        format!("file://{root}/.uploads/1-backup.tar"),
        "https://host/a.tar".to_owned(),
    ] {
        let Err(error) = storages.by_allowed_url(&bad.parse().unwrap()) else { panic!("{bad}") };
        assert!(error.is_bad_request() && !error.to_string().contains("secret"), "{bad}: {error}");
    }
}
