//! Between object_store and the network: what object_store has no words for. Listings and addresses are changed where
//! keys are odd ([`odd`](super::odd)), objects of such keys are deleted, and tags are asked for.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use async_trait::async_trait;
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
        self.inner.execute(request).await
    }
}

impl Service {
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
}
