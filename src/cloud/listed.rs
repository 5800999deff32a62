//! Listings of buckets that hold keys which object_store's paths cannot: control characters, empty parts,
//! `.` and `..`. One of them would end the whole listing with an error, so they are taken out of the
//! provider's answer and named instead.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use object_store::path::Path;
use percent_encoding::percent_decode_str;

/// More are only counted: nobody reads them.
const KEPT: usize = 1000;

/// The keys that were left out of listings.
#[derive(Debug, Clone, Default)]
pub struct Unnamable(Arc<Mutex<Vec<String>>>);

impl Unnamable {
    /// Those that begin with `prefix`, once.
    pub fn take(&self, prefix: &str) -> Vec<String> {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (taken, left) = keys.drain(..).partition(|key| key.starts_with(prefix));
        *keys = left;
        taken
    }

    fn add(&self, key: String) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() < KEPT && !keys.contains(&key) {
            keys.push(key);
        }
    }
}

/// Makes clients whose listings are sifted.
#[derive(Debug, Default)]
pub(super) struct Sifting(Unnamable);

impl Sifting {
    pub(super) fn unnamable(&self) -> Unnamable {
        self.0.clone()
    }
}

impl HttpConnector for Sifting {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Service { inner, unnamable: self.0.clone() }))
    }
}

#[derive(Debug)]
struct Service {
    inner: HttpClient,
    unnamable: Unnamable,
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let query = request.uri().query().unwrap_or_default();
        let is_listing = query.split('&').any(|pair| matches!(pair, "list-type=2" | "comp=list"));
        let response = self.inner.execute(request).await?;
        if !is_listing || !response.status().is_success() {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let body = sift(body.bytes().await?, &self.unnamable);
        Ok(HttpResponse::from_parts(parts, body.into()))
    }
}

/// The answer without the objects whose keys no path can hold.
fn sift(body: Bytes, unnamable: &Unnamable) -> Bytes {
    let Ok(text) = std::str::from_utf8(&body) else { return body };
    let mut sifted = String::new();
    let mut rest = text;
    let mut copied = 0;
    while let Some((start, end)) = next_object(rest) {
        let offset = text.len() - rest.len();
        if let Some(key) = key(&rest[start..end]).filter(|key| !is_path(key)) {
            unnamable.add(key);
            sifted.push_str(&text[copied..offset + start]);
            copied = offset + end;
        }
        rest = &rest[end..];
    }
    if copied == 0 {
        return body;
    }
    sifted.push_str(&text[copied..]);
    sifted.into()
}

/// Where the next `<Contents>` (S3, Google) or `<Blob>` (Azure) begins and ends.
fn next_object(text: &str) -> Option<(usize, usize)> {
    ["Contents", "Blob"]
        .iter()
        .filter_map(|name| {
            let start = text.find(&format!("<{name}>"))?;
            let closing = format!("</{name}>");
            let end = start + text[start..].find(&closing)? + closing.len();
            Some((start, end))
        })
        .min()
}

fn key(object: &str) -> Option<String> {
    let (_, rest) = object.split_once("<Key").or_else(|| object.split_once("<Name"))?;
    let (attributes, rest) = rest.split_once('>')?;
    let (raw, _) = rest.split_once("</")?;
    let key = quick_xml::escape::unescape(raw).ok()?.into_owned();
    if attributes.contains("Encoded=\"true\"") {
        return Some(percent_decode_str(&key).decode_utf8_lossy().into_owned());
    }
    Some(key)
}

/// Whether a path stands for exactly this key. A `/` at the end marks a folder, as consoles make them.
fn is_path(key: &str) -> bool {
    let plain = key.strip_suffix('/').unwrap_or(key);
    Path::parse(plain).is_ok_and(|path| path.as_ref() == plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(keys: &[&str], object: &str, name: &str) -> String {
        let objects = keys.iter().map(|key| {
            let key = quick_xml::escape::escape(*key).replace('\n', "&#xA;");
            format!("<{object}><{name}>{key}</{name}><Size>1</Size></{object}>")
        });
        format!("<?xml?><R><A>Contents</A>{}</R>", objects.collect::<String>())
    }

    #[test]
    fn only_what_no_path_can_hold_is_taken_out() {
        let good = ["a/b", "a&b<c>", "ü %20\\ x", "folder/", "a..b", "1 2"];
        let bad = ["a\nb", "a//b", "../x", "/a", "x/./y", "tab\tx"];
        let mixed: Vec<_> = bad.iter().zip(&good).flat_map(|(bad, good)| [*bad, *good]).collect();
        for (object, name) in [("Contents", "Key"), ("Blob", "Name")] {
            let unnamable = Unnamable::default();
            let clean = page(&good, object, name);
            assert_eq!(sift(clean.clone().into(), &unnamable), clean);
            assert_eq!(sift(page(&mixed, object, name).into(), &unnamable), clean);
            assert_eq!(unnamable.take("a"), ["a\nb", "a//b"]);
            assert_eq!(unnamable.take("").len(), 4);
            assert!(unnamable.take("").is_empty());
        }
        let encoded = "<Blob><Name Encoded=\"true\">a%0Ab</Name></Blob>";
        let unnamable = Unnamable::default();
        assert_eq!(sift(encoded.into(), &unnamable), "");
        assert_eq!(unnamable.take(""), ["a\nb"]);
    }
}
