//! Between object_store and the network: what object_store has no words for. Listings and addresses are changed where
//! keys are odd ([`odd`](super::odd)), objects of such keys are deleted, and tags are asked for.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};
use object_store::signer::Method;
use patient::{patient, stalled};
use tokio::time::timeout;

use super::listed::{self, Unnamable, sift};
use super::odd::Names;
use super::signing::Signing;

mod patient;
mod tags;
#[cfg(test)]
mod tests;

/// Headers that name another object.
const COPIED: [&str; 3] = ["x-amz-copy-source", "x-ms-copy-source", "x-goog-copy-source"];

/// Says of an object on S3 until when it is locked, to those who may know.
const LOCKED_UNTIL: &str = "x-amz-object-lock-retain-until-date";
/// How far a copy of Azure's is, and which one it is.
const COPY_STATUS: &str = "x-ms-copy-status";
const COPY_ID: &str = "x-ms-copy-id";
/// How soon, and how often later, it is asked for; and how long it may stand still.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LAST_LOOK: Duration = Duration::from_secs(5);
const STANDSTILL: Duration = Duration::from_secs(600);
/// How long nothing may come of an answer.
const STALLED: Duration = Duration::from_secs(60);
/// Bytes a second: a part that is sent more slowly has stalled, unless it is so again.
const SLOWEST: u64 = 64 << 10;
/// No part has more time before it is sent again.
const LONGEST: Duration = Duration::from_secs(400);

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
        Ok(HttpClient::new(Service { inner, stalled: STALLED, middle: self.clone() }))
    }
}

#[derive(Debug)]
struct Service {
    inner: HttpClient,
    /// How long nothing may come of an answer, and a part may take beside the time for its length.
    stalled: Duration,
    middle: Middle,
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let query = request.uri().query().unwrap_or_default();
        let is_listing = query.split('&').any(|pair| matches!(pair, "list-type=2" | "comp=list"));
        if is_listing {
            // A page may take a store long; but one that never comes must leave time to ask again.
            let response = self.read(request, self.stalled.saturating_mul(5) / 2).await?;
            if !response.status().is_success() {
                return Ok(response);
            }
            let (parts, body) = response.into_parts();
            let body = body.bytes().await?;
            let root = listed::root(&body);
            if !matches!(root.as_deref(), Some("ListBucketResult" | "EnumerationResults")) {
                // Parsed leniently it would be the end of the listing. (Interrupted: it is asked for again.)
                let error = Unasked("the answer to a listing is none".into());
                return Err(HttpError::new(HttpErrorKind::Interrupted, error));
            }
            let Middle { unnamable, names, .. } = &self.middle;
            let body = sift(body, unnamable, names.as_ref());
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
        if request.headers().contains_key(COPIED[0]) {
            return whole_copy(self.send(request).await?).await;
        }
        let mut response = self.send(request).await?;
        let until = response.headers().get(LOCKED_UNTIL).and_then(|until| until.to_str().ok());
        if let Some(until) = until.and_then(|until| until.parse().ok()) {
            response.extensions_mut().insert(LockedUntil(until));
        }
        Ok(response)
    }
}

impl Service {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            return self.read(request, self.stalled).await;
        }
        let query = request.uri().query().unwrap_or_default();
        let is_part = query.split('&').any(|q| q.starts_with("partNumber=") || q == "comp=block");
        if is_part && !request.body().is_empty() {
            let seconds = request.body().content_length() as u64 / SLOWEST;
            let limit = (self.stalled + Duration::from_secs(seconds)).min(LONGEST);
            let again = request.clone();
            match timeout(limit, self.inner.execute(request)).await {
                Ok(answered) => return answered,
                Err(_) => tracing::warn!("a part of an upload stalled and is sent again"),
            }
            return self.inner.execute(again).await;
        }
        self.inner.execute(request).await
    }

    /// Asks; `limit`: how long until the answer begins.
    async fn read(&self, request: HttpRequest, limit: Duration) -> Result<HttpResponse, HttpError> {
        let answered = timeout(limit, self.inner.execute(request)).await;
        Ok(patient(answered.map_err(|_| stalled())??, self.stalled))
    }

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

    async fn delete(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        *request.method_mut() = Method::DELETE;
        self.middle.signing.renew(&mut request).await.map_err(unasked)?;
        let mut response = self.inner.execute(request).await?;
        if response.status().is_success() {
            *response.status_mut() = 404.try_into().map_err(unasked)?;
        }
        Ok(response)
    }
}

/// S3 may find out that it cannot copy after it has answered 200.
async fn whole_copy(response: HttpResponse) -> Result<HttpResponse, HttpError> {
    if !response.status().is_success() {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = body.bytes().await?;
    let text = String::from_utf8_lossy(&body);
    let is_whole =
        matches!(listed::root(&body).as_deref(), Some("CopyObjectResult" | "CopyPartResult"));
    // What may pass object_store asks again by these words.
    if is_whole || ["InternalError", "SlowDown"].iter().any(|word| text.contains(word)) {
        return Ok(HttpResponse::from_parts(parts, body.into()));
    }
    let text: String = text.chars().take(500).collect();
    Err(unasked(format!("the store did not copy an object: {text}")))
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
