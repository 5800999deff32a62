use object_store::HeaderValue;
use object_store::client::{HttpRequestBody, HttpResponseBody};

use super::tags::{COUNTS, S3};
use super::*;

/// Has one object, with these tags; whether it counts them.
#[derive(Debug)]
struct Store(&'static str, bool);

#[async_trait]
impl HttpService for Store {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        assert_eq!(request.uri().path(), "/bucket/a//b");
        let is_for_tags = request.uri().query() == Some("tagging");
        assert_eq!(*request.method() == Method::GET, is_for_tags);
        let body = if is_for_tags { self.0 } else { "" };
        let mut response = HttpResponse::new(HttpResponseBody::from(body.to_owned()));
        if self.1 {
            response.headers_mut().insert(COUNTS[0], HeaderValue::from_static("2"));
        }
        if is_for_tags && body.is_empty() {
            *response.status_mut() = 403.try_into().unwrap();
        }
        Ok(response)
    }
}

/// Says of a copy first that it is pending, and then one after another of these.
#[derive(Debug)]
struct Copying(std::sync::Mutex<Vec<&'static str>>);

#[async_trait]
impl HttpService for Copying {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut response = HttpResponse::new(HttpResponseBody::from(String::new()));
        let status = match *request.method() == Method::PUT {
            true => "pending",
            false => {
                assert!(!request.headers().contains_key(COPIED[1]));
                self.0.lock().unwrap().remove(0)
            }
        };
        let (id, status) = status.split_once('/').unwrap_or(("1", status));
        response.headers_mut().insert(COPY_ID, HeaderValue::from_static(id));
        response.headers_mut().insert(COPY_STATUS, HeaderValue::from_static(status));
        if status == "503" {
            *response.status_mut() = 503.try_into().unwrap();
        }
        Ok(response)
    }
}

#[tokio::test]
async fn a_copy_counts_once_it_is_whole() {
    for (answers, expected) in [
        (vec!["pending", "503", "success"], None),
        (vec!["failed"], Some("failed")),
        (vec!["pending", "aborted"], Some("aborted")),
        (vec!["2/pending"], Some("another one")),
    ] {
        let inner = HttpClient::new(Copying(answers.clone().into()));
        let service = Service { inner, stalled: STALLED, middle: Middle::default() };
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = Method::PUT;
        *request.uri_mut() = "http://host/box/to".parse().unwrap();
        let source = HeaderValue::from_static("http://host/box/from");
        request.headers_mut().insert(COPIED[1], source);
        match (service.call(request).await, expected) {
            (Ok(_), None) => {}
            (Err(error), Some(word)) => {
                let text = format!("{error:?}");
                assert!(text.contains(word), "{answers:?}: {text}");
            }
            (Ok(_), Some(_)) => panic!("{answers:?} counted as copied"),
            (Err(error), None) => panic!("{answers:?}: {error}"),
        }
    }
}

#[tokio::test]
async fn tags_come_with_what_is_known_of_an_object() {
    let tags = "<Tagging><TagSet><Tag><Key>a&amp;b</Key><Value>c d</Value></Tag>\
                <Tag><Key>empty</Key><Value></Value></Tag></TagSet></Tagging>";
    let read = vec![("a&b".to_owned(), "c d".to_owned()), ("empty".to_owned(), String::new())];
    for (answer, counts, expected) in [
        (tags, true, Some(Tagged(Some(read.clone())))),
        ("", true, Some(Tagged(None))),
        (tags, false, Some(Tagged(Some(read)))),
        ("", false, None),
    ] {
        let names = Names::new(&"".into(), ".own");
        let inner = HttpClient::new(Store(answer, counts));
        let service = Service { inner, stalled: STALLED, middle: Middle::new(names) };
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = Method::HEAD;
        *request.uri_mut() = "http://host/bucket/.portal-backup-keys/a/%25/b".parse().unwrap();
        request.headers_mut().insert(S3, HeaderValue::from_static("UNSIGNED-PAYLOAD"));
        request.extensions_mut().insert(WithTags);
        let response = service.call(request).await.unwrap();
        assert_eq!(response.extensions().get::<Tagged>(), expected.as_ref());
    }
}
/// Has one object, and tells until when it is locked.
#[derive(Debug)]
struct Locked;

#[async_trait]
impl HttpService for Locked {
    async fn call(&self, _: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut response = HttpResponse::new(HttpResponseBody::from(String::new()));
        let until = HeaderValue::from_static("2031-03-31T01:02:03.000Z");
        response.headers_mut().insert(LOCKED_UNTIL, until);
        Ok(response)
    }
}

#[tokio::test]
async fn the_end_of_a_lock_comes_with_what_is_known_of_an_object() {
    let inner = HttpClient::new(Locked);
    let service = Service { inner, stalled: STALLED, middle: Middle::default() };
    let mut request = HttpRequest::new(HttpRequestBody::empty());
    *request.method_mut() = Method::HEAD;
    *request.uri_mut() = "http://host/bucket/a".parse().unwrap();
    let response = service.call(request).await.unwrap();
    let until = response.extensions().get::<LockedUntil>();
    assert_eq!(until, Some(&LockedUntil("2031-03-31T01:02:03Z".parse().unwrap())));
}

/// Its first answer never comes.
#[derive(Debug)]
struct Stalling(std::sync::atomic::AtomicU32);

#[async_trait]
impl HttpService for Stalling {
    async fn call(&self, _: HttpRequest) -> Result<HttpResponse, HttpError> {
        if self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
            std::future::pending::<()>().await;
        }
        Ok(HttpResponse::new(HttpResponseBody::from(String::new())))
    }
}

#[tokio::test]
async fn a_part_that_stalls_is_sent_again() {
    for (query, is_part) in
        [("partNumber=1&uploadId=x", true), ("comp=block&blockid=x", true), ("x=y", false)]
    {
        let inner = HttpClient::new(Stalling(0.into()));
        let stalled = Duration::from_millis(50);
        let service = Service { inner, stalled, middle: Middle::default() };
        let mut request = HttpRequest::new(vec![0; 100].into());
        *request.method_mut() = Method::PUT;
        *request.uri_mut() = format!("http://host/bucket/a?{query}").parse().unwrap();
        let answered = timeout(Duration::from_secs(3), service.call(request)).await;
        assert_eq!(answered.is_ok(), is_part, "{query}");
    }
}
