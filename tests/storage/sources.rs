//! Buckets as sources: listed and read by the same options as storages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use portal_backup::config::Options;
use portal_backup::source::files::{FileMeta, FilesError, Filesystem, Listed};

use crate::gcs::GcsServer;
use crate::proxy::{Faults, Proxy};
use crate::s3::S3Server;
use crate::tools::*;

fn open(url: &str, options: Vec<(String, String)>) -> Filesystem {
    Filesystem::open(&url.parse().unwrap(), &Options(options.into_iter().collect())).unwrap()
}

/// Files and what was left out.
async fn listed(filesystem: &Filesystem) -> (Vec<FileMeta>, Vec<String>) {
    let (mut files, mut skipped) = (Vec::new(), Vec::new());
    let all: Vec<_> = filesystem.list("").try_collect().await.unwrap();
    for found in all {
        match found {
            Listed::File(file) => files.push(file),
            Listed::Skipped(why) => skipped.push(why),
            Listed::Denied(file, _) => panic!("{file:?}"),
        }
    }
    (files, skipped)
}

async fn read(filesystem: &Filesystem, file: &FileMeta) -> Vec<u8> {
    let (_, content) = filesystem.read(file).await.unwrap();
    content.try_collect::<Vec<_>>().await.unwrap().concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_names_are_carried_or_named() {
    let server = GcsServer::start().await;
    let long = format!("{}/{}", "x".repeat(500), "ü".repeat(250));
    let good = ["a/b", "100 % & <more>\\x", "ö/備份 ?#.txt", " a ", "a..b", "~{[|]}^`'\"*", &long];
    let bad = ["../up", "dot/./x"];
    // As they are said, and as they are.
    let odd = [
        ("line%0Abreak", "line\nbreak"),
        ("a/%/b", "a//b"),
        ("%/lead", "/lead"),
        ("tab%09here/%25", "tab\there/%"),
        ("x%5C..%5Cy", "x\\..\\y"),
        (".portal-backup-keys/x", ".portal-backup-keys/x"),
    ];
    for name in good.iter().chain(&bad).chain(odd.iter().map(|(_, key)| key)) {
        server.put(&format!("portal/{name}"), format!("content of {name}"));
    }
    server.put("portal2/other", "x");
    // One path each, and a folder's mark with content.
    server.put("portal/a/b/", "");
    for name in ["portal/empty", "portal/empty/"] {
        server.put(name, "");
    }
    server.put("portal/mark/", "content of mark/");
    let odd: Vec<_> = odd.into_iter().chain([("mark/%", "mark/")]).collect();
    let odd: BTreeMap<_, _> =
        odd.into_iter().map(|(said, key)| (format!(".portal-backup-keys/{said}"), key)).collect();
    let good: Vec<&str> =
        good.into_iter().chain(["empty"]).chain(odd.keys().map(String::as_str)).collect();
    let filesystem = open("gs://archives/portal", server.options());
    for _ in 0..2 {
        let (files, skipped) = listed(&filesystem).await;
        let names: BTreeSet<_> = files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(names, good.iter().copied().collect::<BTreeSet<_>>());
        assert_eq!(files.len(), good.len(), "{files:?}");
        for file in files.iter().filter(|file| file.size > 0) {
            assert_eq!(
                read(&filesystem, file).await,
                format!("content of {}", odd.get(&file.path).unwrap_or(&&*file.path)).as_bytes()
            );
        }
        assert_eq!(skipped.len(), bad.len(), "{skipped:?}");
        assert!(skipped.iter().any(|why| why.contains(r#""portal/../up""#)), "{skipped:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_that_changes_while_it_is_read() {
    let server = Arc::new(GcsServer::start().await);
    for number in 0..3500 {
        server.put(&format!("portal/{number:05}"), "stays");
        server.put(&format!("portal/{number:05} goes"), "goes");
    }
    let filesystem = open("gs://archives/portal", server.options());
    let over = Arc::new(AtomicBool::new(false));
    let (changing, ended) = (server.clone(), over.clone());
    let changes = tokio::task::spawn_blocking(move || {
        for number in (0..3500).rev().take_while(|_| !ended.load(Ordering::SeqCst)) {
            changing.remove(&format!("portal/{number:05} goes"));
            changing.put(&format!("portal/{number:05} comes"), "comes");
        }
    });
    let mut seen = Vec::new();
    let mut gone = 0;
    let mut found = filesystem.list("");
    while let Some(file) = found.next().await {
        let Listed::File(file) = file.unwrap() else { panic!("something was left out") };
        match filesystem.read(&file).await {
            Ok((_, content)) => assert!(content.try_collect::<Vec<_>>().await.is_ok()),
            Err(FilesError::NotFound { .. }) => gone += 1,
            Err(error) => panic!("{error}"),
        }
        seen.push(file.path);
    }
    over.store(true, Ordering::SeqCst);
    changes.await.unwrap();
    let stayed: Vec<_> = seen.iter().filter(|path| path.len() == 5).collect();
    assert_eq!(stayed.len(), 3500);
    let distinct: BTreeSet<_> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len(), "something was listed twice");
    assert!(gone < seen.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_breaks_off_is_taken_up_again() {
    let server = S3Server::start().await;
    let large = content(20 << 20);
    put(&cloud(&server, "s3://archives", &[]), "a.tar.gz", &large).await.unwrap();
    let faults = Faults { cut_answers_after: Some(3 << 20), ..Faults::default() };
    let proxy = Proxy::start(&server.address(), faults).await;
    let with = |endpoint: &str, more: &[(&str, &str)]| {
        let mut options = server.options();
        options.retain(|(name, _)| name != "endpoint");
        let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        options.extend(more.chain([("endpoint".to_owned(), endpoint.to_owned())]));
        open("s3://archives", options)
    };
    // object_store repeats requests itself, but not for as long as a large object takes.
    let cut = with(&proxy.endpoint, &[("max_retries", "0")]);
    let (files, _) = listed(&cut).await;
    assert!(read(&cut, &files[0]).await == large, "other bytes");

    let slow = with(&server.endpoint, &[("max_retries", "0"), ("timeout", "1s")]);
    let (_, mut pieces) = slow.read(&files[0]).await.unwrap();
    let mut whole = Vec::new();
    while let Some(piece) = pieces.try_next().await.unwrap() {
        whole.extend_from_slice(&piece);
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    assert!(whole == large, "other bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_is_replaced_while_it_is_read_is_never_mixed() {
    let server = GcsServer::start().await;
    server.put("portal/a", content(20 << 20));
    let mut options = server.options();
    options.extend(
        [("max_retries", "0"), ("timeout", "1s")]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let filesystem = open("gs://archives/portal", options);
    let (files, _) = listed(&filesystem).await;
    let (_, mut pieces) = filesystem.read(&files[0]).await.unwrap();
    pieces.try_next().await.unwrap();
    server.put("portal/a", vec![0; 20 << 20]);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert!(pieces.try_collect::<Vec<_>>().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_keys_of_others_do_not_hide_archives() {
    let server = GcsServer::start().await;
    let storage = custom(server.options(), "gs://archives/some/prefix", &[], 10_000);
    put(&storage, "a.tar.gz", &content(10)).await.unwrap();
    for name in ["/odd", "line\nbreak.tar.gz", "../up", "x/./y"] {
        server.put(&format!("some/prefix/{name}"), "x");
    }
    assert_eq!(names(&storage).await, ["a.tar.gz"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_credentials_are_not_missing_files() {
    let server = S3Server::start().await;
    let storage = cloud(&server, "s3://archives", &[]);
    put(&storage, "a.tar.gz", &content(10)).await.unwrap();
    let filesystem = open("s3://archives", server.options());
    let (files, _) = listed(&filesystem).await;
    server.refuse(|_| Some((400, "ExpiredToken", "The provided token has expired.")));
    let error = filesystem.read(&files[0]).await.map(drop).unwrap_err();
    assert!(matches!(error, FilesError::Read { .. }), "{error:?}");
    assert!(error.to_string().contains("has expired"), "{error}");
    server.refuse(|_| Some((404, "NoSuchBucket", "The bucket does not exist.")));
    let error = filesystem.read(&files[0]).await.map(drop).unwrap_err();
    assert!(matches!(error, FilesError::Read { .. }), "{error:?}");
    assert!(error.to_string().contains("\"archives\" does not exist"), "{error}");
}
