//! What only clouds have: wrong credentials, missing buckets, networks that break.

use std::time::{Duration, Instant};

use portal_backup::config::UrlConfig;
use portal_backup::storage::{Remains, Storage, StorageError, StorageType, Storages};

use crate::proxy::{Faults, Proxy};
use crate::s3::S3Server;
use crate::tools::*;

const MIB: usize = 1 << 20;

/// No secret in a message, and a length that people read.
fn assert_readable(error: &StorageError, server: &S3Server) {
    let text = error.to_string();
    assert!(!text.contains(server.secret_key) && !text.contains("Signature="), "{text}");
    assert!(text.len() < 400 && !text.contains('<'), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_bucket_is_named() {
    let server = S3Server::start().await;
    let storage = cloud(&server, "s3://missing-bucket/x", &[]);
    let mut errors = vec![
        storage.unused_name("a.tar.gz").await.err(),
        storage.size("a.tar.gz").await.err(),
        storage.open("a.tar.gz").await.err(),
        storage.delete("a.tar.gz").await.err(),
        storage.list().await.err(),
    ];
    errors.push(put(&storage, "a.tar.gz", &content(10)).await.err());
    errors.push(put(&storage, "a.tar.gz", &content(30 * MIB)).await.err());
    for (asked, error) in errors.into_iter().enumerate() {
        let error = error.unwrap_or_else(|| panic!("question {asked}: went unnoticed"));
        assert_eq!(error.to_string(), "bucket \"missing-bucket\" does not exist");
        assert!(matches!(error, StorageError::NotFound(_)));
    }
    assert_eq!(server.open_uploads(), Vec::<String>::new());
    let remains = Remains { name: "a.tar.gz".to_owned(), upload_id: Some("attempt".to_owned()) };
    storage.clean(&remains).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_are_denied() {
    let server = S3Server::start().await;
    for wrong in [("access_key_id", "nobody-knows-me"), ("secret_access_key", "wrong-secret")] {
        let storage = cloud(&server, "s3://archives/x", &[wrong]);
        for error in [
            storage.size("a.tar.gz").await.err(),
            put(&storage, "a.tar.gz", &content(10)).await.err(),
            storage.list().await.err(),
        ] {
            let error = error.expect("wrong credentials went unnoticed");
            assert!(matches!(error, StorageError::Denied(_)), "{error:?}");
            assert!(error.to_string().contains("denied"), "{error}");
            assert!(!error.to_string().contains(wrong.1), "{error}");
            assert_readable(&error, &server);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_downloads_without_credentials() {
    let server = S3Server::start().await;
    let storage = cloud(&server, "s3://archives/some prefix", &[]);
    for name in ["a.tar.gz", "ö b+c%20&d.tar.gz"] {
        let content = content(3 * MIB);
        put(&storage, name, &content).await.unwrap();
        let link = storage.presigned_link(name, Duration::from_secs(60)).await.unwrap().unwrap();
        assert!(!link.as_str().contains(server.secret_key));
        let answer = reqwest::get(link.clone()).await.unwrap();
        assert_eq!(answer.status(), 200, "{link}");
        assert_eq!(answer.bytes().await.unwrap(), content);
        let mut bare = link;
        bare.set_query(None);
        assert_eq!(reqwest::get(bare).await.unwrap().status(), 403);
    }
}

fn through(server: &S3Server, proxy: &Proxy) -> Storage {
    let more = [("endpoint", proxy.endpoint.as_str()), ("max_retries", "1"), ("timeout", "20s")];
    cloud(server, "s3://archives", &more)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_cut_half_way_fails_and_leaves_nothing() {
    let server = S3Server::start().await;
    let faults = Faults { cut_after: Some(20 << 20), ..Faults::default() };
    let proxy = Proxy::start(&server.address(), faults).await;
    let storage = through(&server, &proxy);
    let journal = Journal::new();
    let mut upload = storage.upload("a.tar.gz", hint(60 * MIB), journal.clone()).await.unwrap();
    let mut failed = None;
    for _ in 0..60 {
        if let Err(error) = upload.write(content(MIB)).await {
            failed = Some(error);
            break;
        }
    }
    let error = match failed {
        Some(error) => {
            // The network is down, so this cannot clean either, but it must not hang.
            let begun = Instant::now();
            upload.abort().await.unwrap_err();
            assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
            error
        }
        None => upload.complete().await.unwrap_err(),
    };
    assert!(matches!(error, StorageError::Unavailable(_)), "{error:?}");
    assert_readable(&error, &server);
    assert!(proxy.passed() > 20 << 20);

    proxy.heal();
    storage.clean(&journal.last()).await.unwrap();
    assert_eq!(server.open_uploads(), Vec::<String>::new());
    assert_eq!(storage.size("a.tar.gz").await.unwrap(), None);
    put(&storage, "a.tar.gz", &content(30 * MIB)).await.unwrap();
    assert_eq!(get(&storage, "a.tar.gz", 0..30 << 20).await, content(30 * MIB));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_interruption_is_survived() {
    let server = S3Server::start().await;
    let faults = Faults { cut_after: Some(12 << 20), ..Faults::default() };
    let proxy = std::sync::Arc::new(Proxy::start(&server.address(), faults).await);
    let more = [("endpoint", proxy.endpoint.as_str())];
    let storage = cloud(&server, "s3://archives", &more);
    let healer = proxy.clone();
    tokio::spawn(async move {
        while healer.passed() <= 12 << 20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        healer.heal();
    });
    put(&storage, "a.tar.gz", &content(40 * MIB)).await.unwrap();
    assert_eq!(get(&storage, "a.tar.gz", 0..40 << 20).await, content(40 * MIB));
    assert_eq!(server.open_uploads(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_whose_last_answer_is_lost_is_recognised() {
    // Of the last request: all bytes of the archive have passed, and it is not asked again.
    for (size, last) in [(MIB, MIB), (20 * MIB, 20 * MIB)] {
        let server = S3Server::start().await;
        let limit = Faults { lose_answer_after: Some(last as u64), ..Faults::default() };
        let proxy = Proxy::start(&server.address(), limit).await;
        let storage = through(&server, &proxy);
        put(&storage, "a.tar.gz", &content(size)).await.unwrap();
        assert_eq!(get(&storage, "a.tar.gz", 0..size as u64).await, content(size));
        assert_eq!(server.open_uploads(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_endpoint_is_reported_soon() {
    let server = S3Server::start().await;
    // Nobody listens on a port that was just given back.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let endpoint = format!("http://{free}");
    let storage = cloud(&server, "s3://archives", &[("endpoint", &endpoint)]);
    let begun = Instant::now();
    let error = storage.size("a.tar.gz").await.unwrap_err();
    assert!(matches!(error, StorageError::Unavailable(_)), "{error:?}");
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_bounds_what_is_on_its_way() {
    let server = S3Server::start().await;
    let faults = Faults { delay: Duration::from_millis(20), ..Faults::default() };
    let proxy = Proxy::start(&server.address(), faults).await;
    let storage = through(&server, &proxy);
    let mut upload = storage.upload("a.tar.gz", hint(200 * MIB), Journal::new()).await.unwrap();
    let mut taken = 0;
    for _ in 0..64 {
        let write = upload.write(content(MIB));
        match tokio::time::timeout(Duration::from_millis(300), write).await {
            Ok(result) => result.unwrap(),
            Err(_) => break,
        }
        taken += MIB as u64;
        let held = taken.saturating_sub(proxy.passed());
        assert!(held <= 33 << 20, "{held} bytes in memory");
    }
    assert!(taken >= 16 << 20, "only {taken} bytes were taken: nothing is sent in parallel");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_without_conditional_writes_are_asked_first() {
    let server = S3Server::start().await;
    let storage = cloud(&server, "s3://archives", &[("conditional_put", "disabled")]);
    let mut late = storage.upload("a.tar.gz", hint(10), Journal::new()).await.unwrap();
    late.write(content(10)).await.unwrap();
    put(&storage, "a.tar.gz", &content(20)).await.unwrap();
    let error = late.complete().await.unwrap_err();
    assert!(matches!(error, StorageError::Exists(_)), "{error:?}");
    assert_eq!(storage.size("a.tar.gz").await.unwrap(), Some(20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_grow_rather_than_run_out() {
    let server = S3Server::start().await;
    let mut config = cloud_config(&server, "s3://archives", &[]);
    config.storage.max_parts = 12;
    let storages = Storages::new(&config).unwrap();
    let storage = storages.resolve(StorageType::CustomCloud, &params(&[])).unwrap();
    // Twelve parts of 8 MiB would be 96 MiB.
    let large = content(130 * MIB);
    put_as(&storage, "a.tar.gz", &large, hint(MIB)).await.unwrap();
    assert_eq!(get(&storage, "a.tar.gz", 0..130 << 20).await, large);
}

/// Runs only as a child of the next test, with its environment.
#[tokio::test]
#[ignore = "needs the environment that from_the_environment gives it"]
async fn child_of_from_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let storages = Storages::new(&config(dir.path())).unwrap();
    let (storage, name) = storages.by_url(&"s3://archives/x/a.tar.gz".parse().unwrap()).unwrap();
    assert_eq!(storage.size(&name).await.unwrap(), Some(77));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_the_environment() {
    let server = S3Server::start().await;
    put(&cloud(&server, "s3://archives/x", &[]), "a.tar.gz", &content(77)).await.unwrap();
    let run = |secret: &str| {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child
            .args(["--ignored", "--exact", "clouds::child_of_from_the_environment"])
            .env("AWS_ENDPOINT", &server.endpoint)
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_UNKNOWN_THING", "ignored")
            .env("AWS_ACCESS_KEY_ID", server.access_key)
            .env("AWS_SECRET_ACCESS_KEY", secret);
        async move { tokio::task::spawn_blocking(move || child.output().unwrap()).await.unwrap() }
    };
    let output = run(server.secret_key).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    assert!(!run("wrong").await.status.success());
}

#[tokio::test]
async fn options_are_checked_at_the_start() {
    let server = S3Server::start().await;
    let with = |url: &str, more: &[(&str, &str)]| {
        Storages::new(&cloud_config(&server, url, more)).map(|_| ()).map_err(|e| e.to_string())
    };
    with("s3://archives", &[("aws_virtual_hosted_style_request", "false")]).unwrap();
    with("s3://archives", &[("timeout", "5s"), ("unsigned_payload", "true")]).unwrap();
    let error = with("s3://archives", &[("secret_acces_key", "hidden")]).unwrap_err();
    assert!(
        error.contains("storage.custom_cloud") && error.contains("secret_acces_key"),
        "{error}"
    );
    assert!(!error.contains("hidden"), "{error}");
    for bad in [
        ("allow_http", "maybe"),
        ("max_retries", "many"),
        ("timeout", "soon"),
        ("endpoint", "127.0.0.1:9000"),
        ("endpoint", "http://"),
        ("endpoint", "http://127.0.0.1:99999"),
        ("endpoint", "http://127.0.0.1:9000/a b"),
    ] {
        with("s3://archives", &[bad]).unwrap_err();
    }
    for url in ["s3://key:hidden@archives/x", "s3://archives?x=hidden", "ftp://archives/x"] {
        let error = with(url, &[]).unwrap_err();
        assert!(!error.contains("hidden"), "{error}");
    }
    let error = with("file:///tmp/x", &[]).unwrap_err();
    assert!(error.contains("has no option"), "{error}");
}

#[tokio::test]
async fn google_and_azure_are_built_too() {
    let dir = tempfile::tempdir().unwrap();
    for (url, pairs) in [
        ("gs://my-bucket/x", vec![("bearer_token", "t0ken"), ("skip_signature", "true")]),
        ("az://container/x", vec![("account_name", "me"), ("access_key", "c2VjcmV0")]),
        (
            "abfss://container@me.dfs.core.windows.net/x",
            vec![("access_key", "c2VjcmV0"), ("max_retries", "2")],
        ),
    ] {
        let mut config = config(dir.path());
        let parsed: url::Url = url.parse().unwrap();
        config.storage.data_store = Some(UrlConfig { url: parsed, options: options(&pairs) });
        let storages = Storages::new(&config).unwrap();
        let storage = storages.resolve(StorageType::DataStore, &params(&[])).unwrap();
        assert_eq!(storage.url().as_str(), format!("{url}/"));
        config.storage.data_store = Some(UrlConfig {
            url: url.parse().unwrap(),
            options: options(&[("no_such_option", "x")]),
        });
        assert!(Storages::new(&config).is_err());
    }
}
