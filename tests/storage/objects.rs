//! What requests say of objects: encryption, class, tags, locks; and what providers say when they refuse.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use portal_backup::config::UrlConfig;
use portal_backup::source::files::Filesystem;
use portal_backup::storage::{Storage, StorageError, StorageType, Storages};

use crate::gcs::GcsServer;
use crate::s3::{Request, S3Server};
use crate::tools::*;

const MIB: usize = 1 << 20;
const KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// A small archive in one request, and a large one in parts, both read back. Returns what was asked for.
async fn both_ways(server: &S3Server, storage: &Storage) -> Vec<Request> {
    for (name, size) in [("small.tar.gz", 100), ("large.tar.gz", 20 * MIB)] {
        put(storage, name, &content(size)).await.unwrap();
        assert_eq!(get(storage, name, 0..size as u64).await, content(size));
    }
    server.requests()
}

/// The requests that begin an object, and all others.
fn beginnings(requests: &[Request]) -> (Vec<&Request>, Vec<&Request>) {
    requests.iter().partition(|request| {
        (request.method == "POST" && request.uri.ends_with("?uploads="))
            || (request.method == "PUT" && !request.uri.contains("partNumber"))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_have_a_class_tags_and_a_lock() {
    let server = S3Server::start().await;
    let more = [
        ("server_side_encryption", "AES256"),
        // The only one that the test's server takes.
        ("storage_class", "STANDARD"),
        ("tags", "portal=demo, kept for=ever"),
        ("object_lock_days", "3"),
        ("object_lock_mode", "compliance"),
    ];
    let storage = cloud(&server, "s3://archives/x", &more);
    let in_three_days = Timestamp::now() + SignedDuration::from_hours(72);
    let requests = both_ways(&server, &storage).await;
    let (begun, others) = beginnings(&requests);
    assert_eq!(begun.len(), 2, "{begun:?}");
    for request in begun {
        let header = |name| request.header(name).unwrap_or_default();
        assert_eq!(header("x-amz-server-side-encryption"), "AES256");
        assert_eq!(header("x-amz-storage-class"), "STANDARD");
        assert_eq!(header("x-amz-tagging"), "portal=demo&kept+for=ever");
        assert_eq!(header("x-amz-object-lock-mode"), "COMPLIANCE");
        let until: Timestamp = header("x-amz-object-lock-retain-until-date").parse().unwrap();
        assert!(until.duration_since(in_three_days).abs() < SignedDuration::from_mins(2));
        // Amazon refuses its own headers where they are not signed.
        for name in ["x-amz-object-lock-mode", "x-amz-storage-class", "x-amz-tagging"] {
            assert!(header("authorization").contains(name), "{request:?}");
        }
    }
    for request in others {
        assert_eq!(request.header("x-amz-object-lock-mode"), None, "{request:?}");
        assert_eq!(request.header("x-amz-storage-class"), None, "{request:?}");
    }
    let parts = requests.iter().filter(|request| request.uri.contains("partNumber"));
    for part in parts {
        assert!(part.header("x-amz-checksum-sha256").is_some(), "locked objects need a checksum");
    }
    let upload = storage.upload("b.tar.gz", hint(5), Journal::new()).await.unwrap();
    assert!(upload.locked_until().unwrap() > Timestamp::now());
    upload.abort().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customers_key_goes_with_every_request() {
    let server = S3Server::start().await;
    let more = [("server_side_encryption", "sse-c"), ("sse_customer_key_base64", KEY)];
    let storage = cloud(&server, "s3://archives/x", &more);
    let requests = both_ways(&server, &storage).await;
    let name = "x-amz-server-side-encryption-customer-key";
    for request in requests {
        let carries = request.header(name) == Some(KEY);
        let is_question = request.uri.contains("list-type")
            || request.uri.contains("uploadId=") && request.method == "POST";
        assert!(carries || is_question, "{request:?}");
    }
    assert_eq!(storage.presigned_link("small.tar.gz", Duration::from_secs(9)).await.unwrap(), None);
    // The key is never told.
    let dead = [("endpoint", "http://127.0.0.1:9"), more[0], more[1]];
    let error = cloud(&server, "s3://archives/x", &dead).size("a.tar.gz").await.unwrap_err();
    assert!(!error.to_string().contains(KEY), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amazons_keys_are_named() {
    let server = S3Server::start().await;
    let more = [("server_side_encryption", "aws:kms"), ("sse_kms_key_id", "arn:aws:kms:x")];
    let requests = both_ways(&server, &cloud(&server, "s3://archives/x", &more)).await;
    for request in beginnings(&requests).0 {
        assert_eq!(request.header("x-amz-server-side-encryption"), Some("aws:kms"));
        let key = request.header("x-amz-server-side-encryption-aws-kms-key-id");
        assert_eq!(key, Some("arn:aws:kms:x"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn google_has_classes() {
    let server = GcsServer::start().await;
    let more = [("storage_class", "NEARLINE")];
    let storage = custom(server.options(), "gs://archives/x", &more, 10_000);
    for (name, size) in [("small.tar.gz", 100), ("large.tar.gz", 20 * MIB)] {
        put(&storage, name, &content(size)).await.unwrap();
    }
    let classed = server.asked().into_iter().filter(|(_, headers)| {
        headers.contains(&("x-goog-storage-class".to_owned(), "NEARLINE".to_owned()))
    });
    assert_eq!(classed.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn azure_has_tiers_and_tags() {
    let container = crate::azure::Container::start().await;
    let url = format!("az://{}/x", container.name);
    let more = [("storage_class", "Cool"), ("tags", "portal=demo")];
    let storage = custom(container.options(), &url, &more, 10_000);
    for (name, size) in [("small.tar.gz", 100), ("large.tar.gz", 20 * MIB)] {
        put(&storage, name, &content(size)).await.unwrap();
        let link = storage.presigned_link(name, Duration::from_secs(60)).await.unwrap().unwrap();
        let head = reqwest::Client::new().head(link).send().await.unwrap();
        assert_eq!(head.headers()["x-ms-access-tier"], "Cool", "{name}");
        assert_eq!(head.headers()["x-ms-tag-count"], "1", "{name}");
    }
}

#[tokio::test]
async fn what_a_provider_lacks_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let key = [("bearer_token", "t")];
    for (url, more, word) in [
        ("gs://archives", ("tags", "a=b"), "Google"),
        ("gs://archives", ("object_lock_days", "3"), "retention policy"),
        ("s3://archives", ("storage_class", "DEEP_ARCHIVE"), "at once"),
        ("s3://archives", ("server_side_encryption", "ROT13"), "ROT13"),
        ("s3://archives", ("checksum_algorithm", "crc7"), "crc7"),
        ("s3://archives", ("storageclass", "STANDARD"), "no option"),
    ] {
        let mut config = config(dir.path());
        let mut options = options(&key[..usize::from(url.starts_with("gs"))]);
        options.0.insert(more.0.to_owned(), more.1.to_owned());
        let place = UrlConfig { url: url.parse().unwrap(), options: options.clone() };
        config.storage.custom_cloud = Some(place);
        let error = Storages::new(&config).map(drop).unwrap_err().to_string();
        assert!(error.contains(word) && error.contains("custom_cloud"), "{more:?}: {error}");
        let source = Filesystem::open(&url.parse().unwrap(), &options).unwrap_err().to_string();
        assert!(source.contains(more.0) || source.contains(more.1), "{more:?}: {source}");
    }
    // Checksums off, in a word.
    let server = S3Server::start().await;
    let storage = cloud(&server, "s3://archives/x", &[("checksum_algorithm", "none")]);
    put(&storage, "a.tar.gz", &content(10)).await.unwrap();
    assert!(server.requests().iter().all(|r| r.header("x-amz-checksum-sha256").is_none()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_wants_less_at_once_is_waited_for() {
    let server = S3Server::start().await;
    let storage = cloud(&server, "s3://archives", &[]);
    let mut number = 0;
    server.refuse(move |_| {
        number += 1;
        match number % 4 {
            1 => Some((503, "SlowDown", "Please reduce your request rate.")),
            3 => Some((429, "TooManyRequests", "Too many.")),
            _ => None,
        }
    });
    put(&storage, "a.tar.gz", &content(30 * MIB)).await.unwrap();
    assert_eq!(get(&storage, "a.tar.gz", 0..30 << 20).await, content(30 * MIB));
    assert_eq!(server.open_uploads(), Vec::<String>::new());

    // One that goes on wanting less is told of.
    server.refuse(|_| Some((503, "SlowDown", "Please reduce your request rate.")));
    let storage = cloud(&server, "s3://archives", &[("max_retries", "1")]);
    let error = put(&storage, "b.tar.gz", &content(10)).await.unwrap_err();
    assert!(matches!(error, StorageError::Unavailable(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_expire_half_way_leave_nothing() {
    let server = S3Server::start().await;
    let storage = cloud(&server, "s3://archives", &[]);
    let mut parts = 0;
    server.refuse(move |request| {
        parts += u32::from(request.uri.contains("partNumber"));
        (parts > 2).then_some((400, "ExpiredToken", "The provided token has expired."))
    });
    let journal = Journal::new();
    let mut upload = storage.upload("a.tar.gz", hint(60 * MIB), journal.clone()).await.unwrap();
    let mut result = Ok(());
    for _ in 0..60 {
        if result.is_ok() {
            result = upload.write(content(MIB)).await;
        }
    }
    let error = match result {
        Ok(()) => upload.complete().await.unwrap_err(),
        Err(error) => {
            // With the same credentials it cannot clean either; what is left is in the journal.
            upload.abort().await.unwrap_err();
            error
        }
    };
    assert!(matches!(error, StorageError::Denied(_)), "{error:?}");
    assert!(error.to_string().contains("has expired"), "{error}");
    assert!(!server.open_uploads().is_empty());
    server.refuse(|_| None);
    storage.clean(&journal.last()).await.unwrap();
    assert_eq!(server.open_uploads(), Vec::<String>::new());
    assert_eq!(storage.size("a.tar.gz").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_in_another_region_is_called_that() {
    let malformed = "The authorization header is malformed; the region 'us-east-1' is wrong; \
                     expecting 'eu-west-1'";
    for (status, code, message) in [
        (301, "PermanentRedirect", "The bucket must be addressed at eu-west-1."),
        (400, "AuthorizationHeaderMalformed", malformed),
    ] {
        let server = S3Server::start().await;
        server.refuse(move |_| Some((status, code, message)));
        let storage = cloud(&server, "s3://archives", &[("max_retries", "0")]);
        let options = portal_backup::config::Options(server.options().into_iter().collect());
        let source = Filesystem::open(&"s3://archives/x".parse().unwrap(), &options).unwrap();
        for error in [
            storage.unused_name("a.tar.gz").await.unwrap_err().to_string(),
            storage.list().await.err().unwrap().to_string(),
            put(&storage, "a.tar.gz", &content(30 * MIB)).await.unwrap_err().to_string(),
            source.check().await.unwrap_err().to_string(),
        ] {
            assert!(error.contains("another region") && error.contains("option region"), "{error}");
            assert!(error.contains("eu-west-1") || status == 301, "{error}");
        }
    }
}

#[test]
fn copies_are_storages_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.storage.copy = vec![portal_backup::config::CopyConfig {
        name: "off-site".to_owned(),
        url: "s3://archives".parse().unwrap(),
        options: options(&[("no_such_option", "x")]),
    }];
    let error = Storages::new(&config).map(drop).unwrap_err().to_string();
    assert!(error.contains("off-site") && error.contains("no_such_option"), "{error}");
    config.storage.copy[0].options = options(&[]);
    let storages = Storages::new(&config).unwrap();
    assert_eq!(storages.copy_names(), ["off-site"]);
    assert!(storages.copy("off-site").is_some() && storages.copy("other").is_none());
    assert!(storages.resolve(StorageType::CustomCloud, &params(&[])).is_err());
}
