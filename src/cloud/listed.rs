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
pub struct Unnamable(Arc<Mutex<LeftOut>>);

#[derive(Debug, Default)]
struct LeftOut {
    keys: Vec<String>,
    more: u64,
}

impl Unnamable {
    /// Those that begin with `prefix`, once; and how many more there were, of whatever prefix.
    pub fn take(&self, prefix: &str) -> (Vec<String>, u64) {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (taken, others) = left.keys.drain(..).partition(|key| key.starts_with(prefix));
        left.keys = others;
        (taken, std::mem::take(&mut left.more))
    }

    fn add(&self, key: String) {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match left.keys.contains(&key) {
            true => {}
            false if left.keys.len() < KEPT => left.keys.push(key),
            false => left.more += 1,
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
        let object = &rest[start..end];
        let is_odd = |key: &String| !is_path(key) || (key.ends_with('/') && !is_empty(object));
        if let Some(key) = key(object).filter(is_odd) {
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

/// Where the next object or folder begins and ends: `<Contents>` and `<CommonPrefixes>` (S3, Google), `<Blob>` and
/// `<BlobPrefix>` (Azure).
fn next_object(text: &str) -> Option<(usize, usize)> {
    ["Contents", "Blob", "CommonPrefixes", "BlobPrefix"]
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
    let tags = ["<Key", "<Name", "<Prefix"];
    let (_, rest) = tags.iter().find_map(|tag| object.split_once(tag))?;
    let (attributes, rest) = rest.split_once('>')?;
    let (raw, _) = rest.split_once("</")?;
    let key = quick_xml::escape::unescape(raw).ok()?.into_owned();
    if attributes.contains("Encoded=\"true\"") {
        return Some(percent_decode_str(&key).decode_utf8_lossy().into_owned());
    }
    Some(key)
}

/// Whether an object has no content; a folder has none.
fn is_empty(object: &str) -> bool {
    let sizes = ["<Size>", "<Content-Length>"];
    sizes
        .iter()
        .find_map(|tag| object.split_once(tag))
        .is_none_or(|(_, rest)| rest.starts_with("0<"))
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
            let size = if key.ends_with('/') { 0 } else { 1 };
            let key = quick_xml::escape::escape(*key).replace('\n', "&#xA;");
            format!("<{object}><{name}>{key}</{name}><Size>{size}</Size></{object}>")
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
            assert_eq!(unnamable.take("a").0, ["a\nb", "a//b"]);
            assert_eq!(unnamable.take("").0.len(), 4);
            assert!(unnamable.take("").0.is_empty());
        }
        for (folder, name) in [("CommonPrefixes", "Prefix"), ("BlobPrefix", "Name")] {
            let page = |key: &str| format!("<{folder}><{name}>{key}</{name}></{folder}>");
            let mixed = page("a/") + &page("a//") + &page("b/");
            assert_eq!(sift(mixed.into(), &Unnamable::default()), page("a/") + &page("b/"));
        }
        let encoded = "<Blob><Name Encoded=\"true\">a%0Ab</Name></Blob>";
        let unnamable = Unnamable::default();
        assert_eq!(sift(encoded.into(), &unnamable), "");
        assert_eq!(unnamable.take("").0, ["a\nb"]);
        // Content that no path leads to.
        let full = "<Contents><Key>a/</Key><Size>10</Size></Contents>";
        assert_eq!(sift(full.into(), &unnamable), "");
        for number in 0..1500 {
            unnamable.add(format!("a//{number}"));
        }
        let (keys, more) = unnamable.take("");
        assert_eq!((keys.len(), more), (1000, 501));
    }
}
