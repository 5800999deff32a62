//! Answers that are none, or not the store's own: none may pass for what was asked for.

use std::time::{Duration, Instant};

use futures::TryStreamExt;
use portal_backup::config::Options;
use portal_backup::source::files::{FileMeta, Filesystem, Listed};

use crate::gcs::GcsServer;
use crate::s3::S3Server;
use crate::tools::*;

fn open(url: &str, options: Vec<(String, String)>, more: &[(&str, &str)]) -> Filesystem {
    let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let options = Options(options.into_iter().chain(more).collect());
    Filesystem::open(&url.parse().unwrap(), &options).unwrap()
}

async fn listed(filesystem: &Filesystem) -> Result<Vec<FileMeta>, String> {
    let all: Vec<_> = filesystem.list("").try_collect().await.map_err(|error| error.to_string())?;
    let files = all.into_iter().map(|found| match found {
        Listed::File(file) => file,
        other => panic!("{other:?}"),
    });
    Ok(files.collect())
}

async fn read(filesystem: &Filesystem, file: &FileMeta) -> Result<Vec<u8>, String> {
    let (_, content) = filesystem.read(file).await.map_err(|error| error.to_string())?;
    Ok(content.try_collect::<Vec<_>>().await.map_err(|error| error.to_string())?.concat())
}

async fn read_small(filesystem: &Filesystem, file: &FileMeta) -> Result<Vec<u8>, String> {
    let read = filesystem.read_small(std::slice::from_ref(file)).await.remove(0);
    read.map(|(_, content)| content.unwrap().to_vec()).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_an_object_is_not_the_object() {
    let server = GcsServer::start().await;
    server.put("portal/a", content(100_000));
    let filesystem = open("gs://archives/portal", server.options(), &[]);
    let file = listed(&filesystem).await.unwrap().remove(0);
    for answers in [1, 2] {
        server.halve(answers);
        assert!(read(&filesystem, &file).await.unwrap() == content(100_000));
        server.halve(answers);
        assert!(read_small(&filesystem, &file).await.unwrap() == content(100_000));
    }
    server.halve(u32::MAX);
    for error in [
        read(&filesystem, &file).await.unwrap_err(),
        read_small(&filesystem, &file).await.unwrap_err(),
    ] {
        assert!(error.contains("50000 bytes, and the listing 100000"), "{error}");
    }
    server.halve(0);
    // Whoever replaces it does no harm.
    server.put("portal/a", content(70_000));
    assert!(read(&filesystem, &file).await.unwrap() == content(70_000));
    assert!(read_small(&filesystem, &file).await.unwrap() == content(70_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_answers_in_the_stores_place_is_not_stored_as_a_file() {
    let server = GcsServer::start().await;
    server.put("portal/a", content(10));
    let filesystem = open("gs://archives/portal", server.options(), &[]);
    let file = listed(&filesystem).await.unwrap().remove(0);
    server.intrude("<html>Bad gateway</html>");
    let error = read(&filesystem, &file).await.unwrap_err();
    assert!(error.contains("ETag"), "{error}");
}

/// A lenient reader takes it for the listing's last and empty page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_no_listing_does_not_end_it() {
    let server = S3Server::start().await;
    put(&cloud(&server, "s3://archives", &[]), "a.tar.gz", &content(10)).await.unwrap();
    let filesystem = open("s3://archives", server.options(), &[("max_retries", "2")]);
    let mut answers = 0;
    server.refuse(move |_| {
        answers += 1;
        (answers <= 2).then_some((200, "InternalError", "try again"))
    });
    assert_eq!(listed(&filesystem).await.unwrap().len(), 1);
    server.refuse(|_| Some((200, "AccessDenied", "no")));
    let error = listed(&filesystem).await.unwrap_err();
    assert!(error.contains("cannot list"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_throttles_for_a_while_fails_no_upload() {
    let server = S3Server::start().await;
    let storage = cloud(&server, "s3://archives", &[]);
    let begun = Instant::now();
    let throttled = Duration::from_secs(12);
    server.refuse(move |request| {
        let refused = request.method == "PUT" && begun.elapsed() < throttled;
        refused.then_some((503, "SlowDown", "Please reduce your request rate."))
    });
    let large = content(20 << 20);
    put(&storage, "a.tar.gz", &large).await.unwrap();
    assert!(begun.elapsed() > throttled);
    assert!(std::fs::read(server.bucket_dir().join("a.tar.gz")).unwrap() == large);
}

/// The answer to HEAD has no body that could say it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_access_is_denied_is_told() {
    let server = S3Server::start().await;
    let storage = cloud(&server, "s3://archives", &[]);
    for reason in ["RequestTimeTooSkewed", "SignatureDoesNotMatch", "InvalidAccessKeyId"] {
        server.refuse(move |_| Some((403, reason, "No.")));
        let error = storage.size("a.tar.gz").await.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}
