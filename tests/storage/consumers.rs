//! `ThirdPartyConsumer`: DocSpace's consumers (`facts.md` §7).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use portal_backup::config::Config;
use portal_backup::storage::{
    ConsumerSecrets, Storage, StorageError, StorageParams, StorageType, Storages, of_tenant,
    started_by_hand,
};

use crate::s3::S3Server;
use crate::tools::*;
use crate::web::{Reply, Web};

const KIND: StorageType = StorageType::ThirdPartyConsumer;

/// Two buckets, of which `[consumers.s3]` names none.
async fn server() -> S3Server {
    let server = S3Server::start().await;
    std::fs::create_dir(server.bucket_dir().parent().unwrap().join("second")).unwrap();
    server
}

fn config_of(consumer: &str, pairs: &[(&str, &str)]) -> Config {
    let mut config = config(Path::new("/nonexistent"));
    config.consumers.insert(consumer.to_owned(), options(pairs));
    config
}

/// DocSpace's own names, as an operator copies them from `autofac.consumers.json`.
fn s3_config(server: &S3Server) -> Config {
    config_of(
        "s3",
        &[
            ("acesskey", server.access_key),
            ("secretaccesskey", server.secret_key),
            ("serviceurl", &server.endpoint),
            ("region", "us-east-1"),
        ],
    )
}

fn resolve(config: &Config, pairs: &[(&str, &str)]) -> Result<Storage, StorageError> {
    Storages::new(config).unwrap().resolve(KIND, &params(pairs))
}

fn keys(server: &S3Server, bucket: &str) -> Vec<String> {
    let root = server.bucket_dir().parent().unwrap().join(bucket);
    let mut keys = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => keys.push(path.strip_prefix(&root).unwrap().display().to_string()),
            }
        }
    }
    keys.retain(|key| key.ends_with(".tar.gz"));
    keys.sort();
    keys
}

/// "startbackup/startrestore add `subdir=backup` if absent, schedules do not, giving
/// `{tenantId}/backup/{name}`"; "with `subdir` set: `{subdir}/{path}` only"; "lower-cased by default".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn archives_lie_where_docspace_puts_them() {
    let server = server().await;
    let config = s3_config(&server);
    let storages = Storages::new(&config).unwrap();
    let by_hand = |bucket: &str, more: &[(&str, &str)]| {
        let mut params = params(&[("module", "s3"), ("bucket", bucket), ("region", "us-east-1")]);
        params.extend(more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        started_by_hand(KIND, &mut params);
        params
    };
    let scheduled = |tenant| {
        let mut params = params(&[("module", "S3"), ("bucket", "second"), ("tenantId", "99")]);
        of_tenant(KIND, &mut params, tenant, false);
        params
    };
    let content = content(9 << 20);
    for (params, name, bucket, key) in [
        (by_hand("archives", &[]), "Acme_1.tar.gz", "archives", "backup/acme_1.tar.gz"),
        (by_hand("second", &[("subdir", "My/Own")]), "a.tar.gz", "second", "my/own/a.tar.gz"),
        (
            by_hand("second", &[("subdir", "Own"), ("lower", "False")]),
            "B.tar.gz",
            "second",
            "Own/B.tar.gz",
        ),
        (scheduled(1), "s.tar.gz", "second", "1/backup/s.tar.gz"),
        (scheduled(-1), "d.tar.gz", "second", "-1/backup/d.tar.gz"),
    ] {
        let storage = storages.resolve(KIND, &params).unwrap();
        storage.ready().await.unwrap();
        put(&storage, name, &content).await.unwrap();
        assert!(keys(&server, bucket).contains(&key.to_owned()), "{:?}", keys(&server, bucket));
        assert_eq!(storage.object_url(name).as_str(), format!("s3://{bucket}/{key}"));
        assert_eq!(storage.unused_name(name).await.unwrap().to_lowercase(), {
            let (stem, _) = name.split_once('.').unwrap();
            format!("{}_2.tar.gz", stem.to_lowercase())
        });
        assert!(get(&storage, name, 0..content.len() as u64).await == content);
    }
    // A dump's schedule may name the one who made it.
    let mut dump = params(&[("module", "s3"), ("tenantId", "7")]);
    of_tenant(KIND, &mut dump, -1, true);
    assert_eq!(dump["tenantId"], "7");

    // Restore sends `filePath`, and its `subdir` is added as well.
    let bare = |bucket| params(&[("module", "s3"), ("bucket", bucket)]);
    for (params, path, url) in [
        (bare("archives"), "Acme_1.tar.gz", "s3://archives/backup/acme_1.tar.gz"),
        (by_hand("second", &[("subdir", "My")]), "own/a.tar.gz", "s3://second/my/own/a.tar.gz"),
        (by_hand("second", &[("subdir", "my/own")]), "/a.tar.gz", "s3://second/my/own/a.tar.gz"),
    ] {
        let (storage, name) = storages.archive_at(KIND, &params, path).unwrap();
        assert_eq!(storage.object_url(&name).as_str(), url);
        assert_eq!(storage.size(&name).await.unwrap(), Some(content.len() as u64), "{path}");
    }
    for bad in ["../x.tar.gz", "a/../x.tar.gz", "", "a/", "..\\x"] {
        let Err(error) = storages.archive_at(KIND, &bare("archives"), bad) else {
            panic!("{bad:?}");
        };
        assert!(error.is_bad_request(), "{bad:?}: {error}");
    }

    // "link presigned 1 day"
    let storage = storages.resolve(KIND, &by_hand("archives", &[])).unwrap();
    let day = Duration::from_secs(24 * 3600);
    let link = storage.presigned_link("Acme_1.tar.gz", day).await.unwrap().unwrap();
    assert!(link.as_str().contains("X-Amz-Expires=86400"), "{link}");
    assert!(reqwest::get(link).await.unwrap().bytes().await.unwrap() == content);
    assert!(storage.delete("Acme_1.tar.gz").await.unwrap());
    assert_eq!(keys(&server, "archives"), Vec::<String>::new());
    assert_eq!(server.open_uploads(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_of_other_providers_go_through_their_s3_interface() {
    let server = server().await;
    for consumer in ["rackspace", "selectel"] {
        let keys = [
            ("access_key_id", server.access_key),
            ("secret_access_key", server.secret_key),
            ("endpoint", server.endpoint.as_str()),
        ];
        let asked = [("module", consumer), ("private_container", "second"), ("region", "eu")];
        let storage = resolve(&config_of(consumer, &keys), &asked).unwrap();
        put(&storage, "a.tar.gz", &content(100)).await.unwrap();
        assert!(get(&storage, "a.tar.gz", 0..100).await == content(100));
        assert!(storage.delete("a.tar.gz").await.unwrap());
        let error = resolve(&config_of(consumer, &keys[..2]), &asked).unwrap_err();
        assert!(matches!(error, StorageError::NotConfigured(_)), "{error:?}");
        assert!(error.to_string().contains("endpoint"), "{error}");
    }
}

#[tokio::test]
async fn a_request_leads_credentials_nowhere_else() {
    let server = server().await;
    let mut config = s3_config(&server);
    let evil = "http://127.0.0.1:1";
    let base = [("module", "s3"), ("bucket", "second")];
    let with = |more: &[(&'static str, &'static str)]| [&base[..], more].concat();
    let own = Box::leak(format!("{}/", server.endpoint).into_boxed_str());
    resolve(&config, &with(&[("serviceurl", own), ("forcepathstyle", "true")])).unwrap();
    resolve(&config, &with(&[("usehttp", "true")])).unwrap();
    for bad in [
        vec![("serviceurl", evil)],
        vec![("endpoint", "http://169.254.169.254/latest")],
        vec![("serviceurl", "https://s3.amazonaws.com.evil.org")],
        vec![("serviceurl", "not a url")],
        vec![("region", "x.evil.org/")],
        vec![("region", "us-east-1@evil.org")],
        vec![("subdir", "../other")],
        vec![("subdir", "a\\b")],
        vec![("bucket", "Second")],
        vec![("bucket", "second/..")],
        vec![("forcepathstyle", "perhaps")],
        vec![("sse", "rot13")],
        vec![("sse", "clientawskms")],
        vec![("acesskey", "mine"), ("secretaccesskey", "mine too")],
        vec![("tenantId", "1/../2")],
    ] {
        let error = resolve(&config, &with(&bad)).unwrap_err();
        assert!(error.is_bad_request(), "{bad:?}: {error:?}");
        assert!(!error.to_string().contains(server.secret_key), "{error}");
    }
    for bad in [vec![], vec![("module", "s3")], vec![("module", "dropbox"), ("bucket", "second")]] {
        assert!(resolve(&config, &bad).unwrap_err().is_bad_request(), "{bad:?}");
    }
    // What the operator allows may be named; without TLS only there.
    config.storage.allow = vec![evil.to_owned()];
    resolve(&config, &with(&[("serviceurl", evil)])).unwrap();
    let default = config_of("s3", &[("acesskey", "id"), ("secretaccesskey", "secret")]);
    resolve(&default, &with(&[("serviceurl", "https://s3.eu-west-1.amazonaws.com")])).unwrap();
    let error = resolve(&default, &with(&[("usehttp", "true")])).unwrap_err();
    assert!(error.to_string().contains("usehttp"), "{error}");
    // A request's own credentials vouch for no place.
    config.storage.allow_request_credentials = true;
    let own = [("acesskey", "mine"), ("secretaccesskey", "mine too")];
    let error = resolve(&config, &with(&own)).unwrap_err();
    assert!(error.to_string().contains("storage.allow"), "{error}");
    config.storage.allow = vec![server.endpoint.clone()];
    let storage = resolve(&config, &with(&own)).unwrap();
    let error = storage.size("a.tar.gz").await.unwrap_err();
    assert!(matches!(error, StorageError::Denied(_)), "{error:?}");
    // Without configured credentials nobody may name anything.
    let none = portal_backup::config::Config::default();
    let error = resolve(&none, &base).unwrap_err();
    assert!(matches!(error, StorageError::NotConfigured(_)), "{error:?}");
    assert!(error.to_string().contains("[consumers.s3]"), "{error}");
}

#[test]
fn mistakes_in_the_configuration_are_named_at_the_start() {
    for (consumer, pairs, word) in [
        ("dropbox", vec![("acesskey", "x")], "dropbox"),
        ("s3", vec![("acesskey", "x")], "secretaccesskey"),
        (
            "s3",
            vec![("acesskey", "x"), ("secretaccesskey", "y"), ("secret_acces_key", "z")],
            "secret_acces_key",
        ),
        (
            "s3",
            vec![("acesskey", "x"), ("secretaccesskey", "y"), ("serviceurl", "h:1")],
            "endpoint",
        ),
        ("googlecloud", vec![("json", "no json"), ("bucket", "second")], "googlecloud"),
    ] {
        let Err(error) = Storages::new(&config_of(consumer, &pairs)) else {
            panic!("{consumer} {pairs:?}");
        };
        assert!(matches!(error, StorageError::Configuration(_)), "{error:?}");
        assert!(error.to_string().contains(word), "{error}");
    }
}

/// DocSpace's settings, without a database.
struct Settings(BTreeMap<String, String>, Mutex<u32>);

#[async_trait]
impl ConsumerSecrets for Settings {
    async fn secrets(&self, consumer: &str) -> Result<BTreeMap<String, String>, String> {
        *self.1.lock().unwrap() += 1;
        match consumer {
            "s3" => Ok(self.0.clone()),
            "googlecloud" => Err("no answer within 10 seconds".to_owned()),
            _ => Ok(BTreeMap::new()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_come_from_docspaces_settings() {
    let server = server().await;
    let stored = [("acesskey", server.access_key), ("secretaccesskey", server.secret_key)];
    let stored = stored.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let settings = Arc::new(Settings(stored, Mutex::default()));
    let config = config_of("s3", &[("serviceurl", &server.endpoint)]);
    let storages = Storages::new(&config).unwrap().with_secrets(settings.clone());
    let asked = params(&[("module", "s3"), ("bucket", "second")]);
    let storage = storages.resolve(KIND, &asked).unwrap();
    assert_eq!(*settings.1.lock().unwrap(), 0, "resolving asks nobody");
    storage.ready().await.unwrap();
    put(&storage, "a.tar.gz", &content(100)).await.unwrap();
    let again = storages.resolve(KIND, &asked).unwrap();
    assert!(get(&again, "a.tar.gz", 0..100).await == content(100));
    assert_eq!(*settings.1.lock().unwrap(), 1, "a list of archives must not be a query each");
    // Settings that are missing are the request's fault, those that cannot be read are not.
    let other = config_of("selectel", &[("endpoint", &server.endpoint)]);
    let storages = Storages::new(&other).unwrap().with_secrets(settings);
    let of = |module, bucket| {
        let asked: StorageParams = params(&[("module", module), (bucket, "second")]);
        storages.resolve(KIND, &asked).unwrap()
    };
    let error = of("selectel", "private_container").ready().await.unwrap_err();
    assert!(matches!(error, StorageError::NotConfigured(_)), "{error:?}");
    let error = of("googlecloud", "bucket").size("a.tar.gz").await.unwrap_err();
    assert!(matches!(error, StorageError::Unavailable(_)), "{error:?}");
    assert!(error.to_string().contains("no answer"), "{error}");
}

/// "sse none|aes256|awskms|clientawskms, ssekey"
#[tokio::test]
async fn encryption_by_the_storage_is_asked_for() {
    let header = "x-amz-server-side-encryption";
    let key_header = "x-amz-server-side-encryption-aws-kms-key-id";
    for (own, asked, expected) in [
        (None, vec![], ("", "")),
        (None, vec![("sse", "none")], ("", "")),
        (None, vec![("sse", "aes256")], ("AES256", "")),
        (None, vec![("sse", "awskms"), ("ssekey", "k1")], ("aws:kms", "k1")),
        (None, vec![("sse", "AwsKms")], ("aws:kms", "")),
        // A request does not switch off what the operator wants.
        (Some("aes256"), vec![("sse", "none")], ("AES256", "")),
        (Some("aes256"), vec![("sse", "awskms"), ("ssekey", "k1")], ("aws:kms", "k1")),
    ] {
        let seen: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let kept = seen.clone();
        let web = Web::start(move |request| match request.method.as_str() {
            "PUT" => {
                let read = |name| request.header(name).to_owned();
                kept.lock().unwrap().push((read(header), read(key_header)));
                Reply::new(200, "").with("etag", "\"e\"".to_owned())
            }
            "GET" => Reply::new(
                200,
                "<ListBucketResult><Name>second</Name><Prefix/><KeyCount>0</KeyCount>\
                 <MaxKeys>1</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>",
            ),
            _ => Reply::new(404, ""),
        })
        .await;
        let mut pairs = vec![
            ("acesskey", "id"),
            ("secretaccesskey", "secret"),
            ("serviceurl", web.url.as_str()),
        ];
        pairs.extend(own.map(|own| ("sse", own)));
        let asked = [&[("module", "s3"), ("bucket", "second")], &asked[..]].concat();
        let storage = resolve(&config_of("s3", &pairs), &asked).unwrap();
        put(&storage, "a.tar.gz", &content(10)).await.unwrap();
        let expected = (expected.0.to_owned(), expected.1.to_owned());
        assert_eq!(*seen.lock().unwrap(), [expected], "{own:?} {asked:?}");
    }
}
