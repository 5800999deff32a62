//! Between object_store and the network: what object_store has no words for. Listings and addresses are changed where
//! keys are odd ([`odd`](super::odd)), objects of such keys are deleted, and tags are asked for.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpService, ReqwestConnector,
};
use object_store::signer::Method;
use object_store::{ClientOptions, TagSet};

use super::listed::{Unnamable, sift};
use super::odd::Names;
use super::signing::Signing;

/// Headers that name another object.
const COPIED: [&str; 3] = ["x-amz-copy-source", "x-ms-copy-source", "x-goog-copy-source"];
/// Headers that say how many tags an object has.
const COUNTS: [&str; 2] = ["x-amz-tagging-count", "x-ms-tag-count"];

/// Says of an object on S3 until when it is locked, to those who may know.
const LOCKED_UNTIL: &str = "x-amz-object-lock-retain-until-date";
/// How far a copy of Azure's is, and which one it is.
const COPY_STATUS: &str = "x-ms-copy-status";
const COPY_ID: &str = "x-ms-copy-id";
/// How soon, and how often later, it is asked for; and how long it may stand still.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LAST_LOOK: Duration = Duration::from_secs(5);
const STANDSTILL: Duration = Duration::from_secs(600);

/// A header of every signed request to S3.
const S3: &str = "x-amz-content-sha256";

/// Extension of a question for an object: it is to be deleted instead. The answer is that there is none.
/// (object_store deletes by lists of keys, which cannot hold odd ones.)
#[derive(Debug, Clone, Copy)]
pub struct Deletes;

/// Extension of a question for an object: its tags are wanted too.
#[derive(Debug, Clone, Copy)]
pub struct WithTags;

/// Extension of an answer: the object's tags; None: they could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagged(pub Option<Vec<(String, String)>>);

/// Extension of an answer: until when nobody may delete the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockedUntil(pub Timestamp);

/// Makes such clients.
#[derive(Debug, Clone, Default)]
pub(super) struct Middle {
    unnamable: Unnamable,
    /// None: odd keys are left out of listings.
    names: Option<Names>,
    pub signing: Signing,
    /// Whether the store has refused to tell tags.
    tagless: Arc<AtomicBool>,
}

impl Middle {
    pub fn new(names: Names) -> Self {
        Self { names: Some(names), ..Self::default() }
    }

    pub fn unnamable(&self) -> Unnamable {
        self.unnamable.clone()
    }
}

impl HttpConnector for Middle {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Service { inner, middle: self.clone() }))
    }
}

#[derive(Debug)]
struct Service {
    inner: HttpClient,
    middle: Middle,
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let query = request.uri().query().unwrap_or_default();
        let is_listing = query.split('&').any(|pair| matches!(pair, "list-type=2" | "comp=list"));
        if is_listing {
            let response = self.inner.execute(request).await?;
            if !response.status().is_success() {
                return Ok(response);
            }
            let (parts, body) = response.into_parts();
            let Middle { unnamable, names, .. } = &self.middle;
            let body = sift(body.bytes().await?, unnamable, names.as_ref());
            return Ok(HttpResponse::from_parts(parts, body.into()));
        }
        self.rename(&mut request).await?;
        self.copy_tags(&mut request).await?;
        if request.extensions().get::<Deletes>().is_some() {
            return self.delete(request).await;
        }
        if request.extensions().get::<WithTags>().is_some() {
            return self.with_tags(request).await;
        }
        if request.headers().contains_key(COPIED[1]) {
            return self.copied(request).await;
        }
        let mut response = self.inner.execute(request).await?;
        let until = response.headers().get(LOCKED_UNTIL).and_then(|until| until.to_str().ok());
        if let Some(until) = until.and_then(|until| until.parse().ok()) {
            response.extensions_mut().insert(LockedUntil(until));
        }
        Ok(response)
    }
}

impl Service {
    /// Azure may answer before it has copied; the copy counts once it is whole.
    async fn copied(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut question = request.clone();
        let response = self.inner.execute(request).await?;
        let id = response.headers().get(COPY_ID).cloned();
        if !response.status().is_success() || said(&response, COPY_STATUS) != Some("pending") {
            return Ok(response);
        }
        *question.method_mut() = Method::HEAD;
        for header in [COPIED[1], "x-ms-tags"] {
            question.headers_mut().remove(header);
        }
        let (mut wait, mut last, mut since) = (FIRST_LOOK, None::<String>, Instant::now());
        loop {
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LAST_LOOK);
            self.middle.signing.renew(&mut question).await.map_err(unasked)?;
            let found = match self.inner.execute(question.clone()).await {
                Ok(found) if found.status().is_success() => Some(found),
                Ok(found) if !found.status().is_server_error() => {
                    let status = found.status();
                    return Err(unasked(format!(
                        "the state of a copy: the store answered {status}"
                    )));
                }
                Ok(_) | Err(_) => None,
            };
            let found = found.as_ref();
            let is_other = found.is_some_and(|found| found.headers().get(COPY_ID) != id.as_ref());
            let why = match found.and_then(|found| said(found, COPY_STATUS)) {
                _ if is_other => Some("another one took its place"),
                Some("success") => return Ok(response),
                Some("pending") | None => None,
                Some(status) => Some(status),
            };
            let progress = found.and_then(|found| said(found, "x-ms-copy-progress"));
            if progress.is_some() && progress != last.as_deref() {
                (last, since) = (progress.map(str::to_owned), Instant::now());
            }
            let why = why.or((since.elapsed() > STANDSTILL).then_some("it makes no progress"));
            if let Some(why) = why {
                return Err(unasked(format!("the store did not copy an object: {why}")));
            }
        }
    }

    /// Lets a request ask for the key that its path stands for.
    async fn rename(&self, request: &mut HttpRequest) -> Result<(), HttpError> {
        let Some(names) = &self.middle.names else { return Ok(()) };
        let address = names.renamed(&request.uri().to_string()).transpose().map_err(unasked)?;
        let mut is_renamed = address.is_some();
        if let Some(address) = address {
            *request.uri_mut() = address.parse().map_err(unasked)?;
        }
        for header in COPIED {
            let Some(value) = request.headers().get(header) else { continue };
            let value = value.to_str().map_err(unasked)?;
            if let Some(address) = names.renamed(value).transpose().map_err(unasked)? {
                let address = address.parse().map_err(unasked)?;
                request.headers_mut().insert(header, address);
                is_renamed = true;
            }
        }
        if is_renamed {
            self.middle.signing.renew(request).await.map_err(unasked)?;
        }
        Ok(())
    }

    /// Azure's copies have no tags unless they are said.
    async fn copy_tags(&self, request: &mut HttpRequest) -> Result<(), HttpError> {
        let source = request.headers().get(COPIED[1]).filter(|_| self.middle.names.is_some());
        let Some(source) = source.and_then(|source| source.to_str().ok()) else { return Ok(()) };
        let mut question = request.clone();
        *question.uri_mut() = source.parse().map_err(unasked)?;
        question.headers_mut().remove(COPIED[1]);
        match self.tags(&mut question, "comp=tags").await {
            Ok(tags) if tags.is_empty() => Ok(()),
            Ok(tags) => {
                let mut said = TagSet::default();
                tags.iter().for_each(|(name, value)| said.push(name, value));
                let said = said.encoded().parse().map_err(unasked)?;
                request.headers_mut().insert("x-ms-tags", said);
                self.middle.signing.renew(request).await.map_err(unasked)
            }
            // Accounts may have no tags at all, and credentials no right to them.
            Err(error) => {
                tracing::debug!(%error, "the tags of an object that is copied could not be read");
                Ok(())
            }
        }
    }

    async fn delete(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        *request.method_mut() = Method::DELETE;
        self.middle.signing.renew(&mut request).await.map_err(unasked)?;
        let mut response = self.inner.execute(request).await?;
        if response.status().is_success() {
            *response.status_mut() = 404.try_into().map_err(unasked)?;
        }
        Ok(response)
    }

    async fn with_tags(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut question = request.clone();
        let mut response = self.inner.execute(request).await?;
        let count = COUNTS.iter().find_map(|name| response.headers().get(*name));
        // Not every S3 counts them in answers to HEAD.
        let may_have = match count {
            Some(count) => count != "0",
            None => question.headers().contains_key(S3) && !self.middle.tagless.load(Relaxed),
        };
        if !response.status().is_success() || !may_have {
            return Ok(response);
        }
        let (is_azure, is_certain) = (response.headers().contains_key(COUNTS[1]), count.is_some());
        let tags = self.tags(&mut question, if is_azure { "comp=tags" } else { "tagging" }).await;
        match tags {
            Ok(tags) => drop(response.extensions_mut().insert(Tagged(Some(tags)))),
            Err(error) if is_certain => {
                tracing::warn!(%error, "an object's tags could not be read");
                response.extensions_mut().insert(Tagged(None));
            }
            Err(error) => {
                tracing::info!(%error, "tags are not asked for any more: there are none, or no right to them");
                self.middle.tagless.store(true, Relaxed);
            }
        }
        Ok(response)
    }

    /// What an object's tags are; `question`: what was asked for the object itself.
    async fn tags(
        &self,
        question: &mut HttpRequest,
        query: &str,
    ) -> Result<Vec<(String, String)>, HttpError> {
        let uri = question.uri().to_string();
        let joint = if uri.contains('?') { '&' } else { '?' };
        *question.uri_mut() = format!("{uri}{joint}{query}").parse().map_err(unasked)?;
        *question.method_mut() = Method::GET;
        *question.body_mut() = HttpRequestBody::empty();
        self.middle.signing.renew(question).await.map_err(unasked)?;
        let response = self.inner.execute(question.clone()).await?;
        if !response.status().is_success() {
            return Err(unasked(format!("the store answered {}", response.status())));
        }
        let body = response.into_body().bytes().await?;
        let body = String::from_utf8_lossy(&body);
        let text = |pair: &str, name: &str| {
            let (_, rest) = pair.split_once(&format!("<{name}>"))?;
            let (raw, _) = rest.split_once("</")?;
            Some(quick_xml::escape::unescape(raw).ok()?.into_owned())
        };
        let pairs = body.split("<Tag>").skip(1);
        Ok(pairs
            .filter_map(|pair| Some((text(pair, "Key")?, text(pair, "Value").unwrap_or_default())))
            .collect())
    }
}

fn said<'a>(response: &'a HttpResponse, header: &str) -> Option<&'a str> {
    response.headers().get(header)?.to_str().ok()
}

fn unasked(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, Unasked(error.into()))
}

/// Why a request could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unasked(Box<dyn std::error::Error + Send + Sync>);

#[cfg(test)]
mod tests {
    use object_store::HeaderValue;
    use object_store::client::HttpResponseBody;

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
            let service = Service { inner, middle: Middle::default() };
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
            let service = Service { inner, middle: Middle::new(names) };
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
        let service = Service { inner: HttpClient::new(Locked), middle: Middle::default() };
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = Method::HEAD;
        *request.uri_mut() = "http://host/bucket/a".parse().unwrap();
        let response = service.call(request).await.unwrap();
        let until = response.extensions().get::<LockedUntil>();
        assert_eq!(until, Some(&LockedUntil("2031-03-31T01:02:03Z".parse().unwrap())));
    }
}
