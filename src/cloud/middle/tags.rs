//! The tags of objects, which object_store only writes.

use std::sync::atomic::Ordering::Relaxed;

use object_store::TagSet;
use object_store::client::{HttpError, HttpRequest, HttpRequestBody, HttpResponse};
use object_store::signer::Method;

use super::{COPIED, Service, Tagged, unasked};

/// Headers that say how many tags an object has.
pub(super) const COUNTS: [&str; 2] = ["x-amz-tagging-count", "x-ms-tag-count"];
/// A header of every signed request to S3.
pub(super) const S3: &str = "x-amz-content-sha256";

impl Service {
    /// Azure's copies have no tags unless they are said.
    pub(super) async fn copy_tags(&self, request: &mut HttpRequest) -> Result<(), HttpError> {
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

    pub(super) async fn with_tags(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
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
