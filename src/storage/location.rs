//! URLs of storages: understood, checked and brought into one form.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use url::Url;

use super::StorageError;
use crate::cloud::{ClientConfig, Provider};
use crate::config::Options;

/// What a URL points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Location {
    Folder(PathBuf),
    Bucket(Bucket),
}

/// A prefix of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bucket {
    pub provider: Provider,
    /// The URL up to the bucket, in one form: lower case, no path.
    pub root: Url,
    /// The bucket's or container's name.
    pub name: String,
    /// Parts of the prefix, decoded.
    pub prefix: Vec<String>,
}

impl Bucket {
    /// What its clients are built from.
    pub(super) fn client(&self, options: &Options, environment: bool) -> ClientConfig {
        ClientConfig {
            provider: self.provider,
            bucket: self.name.clone(),
            root: self.root.clone(),
            options: options.clone(),
            environment,
        }
    }

    /// The address of the prefix, ending in `/`.
    pub(super) fn url(&self) -> Url {
        let mut url = self.root.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(&self.prefix).push("");
        }
        url
    }
}

/// Understands a storage's URL. Credentials in it are refused: they have options of their own.
pub(super) fn parse(url: &Url) -> Result<Location, StorageError> {
    let invalid = |why: &str| StorageError::Invalid(format!("{}: {why}", redacted(url)));
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("a storage's URL has no ? and no #"));
    }
    if url.scheme() == "file" {
        components(url)?;
        let path =
            url.to_file_path().map_err(|()| invalid("it must be file:/// and an absolute path"))?;
        return Ok(Location::Folder(path));
    }
    let provider = Provider::of_scheme(url.scheme())
        .ok_or_else(|| invalid("a storage's URL begins with file://, s3://, gs:// or az://"))?;
    // Azure's container@account.host is no password; anything else before an @ is.
    if url.password().is_some() || (!url.username().is_empty() && provider != Provider::Azure) {
        return Err(invalid("credentials belong into the options, not into the URL"));
    }
    if url.port().is_some() {
        return Err(invalid(
            "the endpoint belongs into the options; the URL names only the bucket",
        ));
    }
    let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
    let container = url.username().to_ascii_lowercase();
    let name = if container.is_empty() { host.clone() } else { container.clone() };
    if !is_bucket(&name) || !host.split('.').all(|part| !part.is_empty()) {
        return Err(invalid("this is not the name of a bucket"));
    }
    let at = if container.is_empty() { String::new() } else { format!("{container}@") };
    let scheme = if url.scheme() == "s3a" { "s3" } else { url.scheme() };
    let root = Url::parse(&format!("{scheme}://{at}{host}"))
        .map_err(|_| invalid("this is not the name of a bucket"))?;
    Ok(Location::Bucket(Bucket { provider, root, name, prefix: components(url)? }))
}

/// Bucket names as all providers have them; a name that could be mistaken for part of a URL is none.
pub(super) fn is_bucket(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (3..=255).contains(&name.len())
        && name.starts_with(plain)
        && name.ends_with(plain)
        && !name.contains("..")
        && name.chars().all(|c| plain(c) || matches!(c, '.' | '-' | '_'))
}

/// The parts of a URL's path, decoded; refuses what could climb or be read in two ways.
pub(super) fn components(url: &Url) -> Result<Vec<String>, StorageError> {
    let invalid = |why: &str| StorageError::Invalid(format!("{}: {why}", redacted(url)));
    let mut parts = Vec::new();
    for part in url.path().split('/').filter(|part| !part.is_empty()) {
        let part = percent_decode_str(part)
            .decode_utf8()
            .map_err(|_| invalid("its path is not UTF-8"))?
            .into_owned();
        if let Some(fault) = fault(&part) {
            return Err(invalid(fault));
        }
        parts.push(part);
    }
    Ok(parts)
}

/// What is wrong with one part of a path; None when it is a plain name.
pub(super) fn fault(part: &str) -> Option<&'static str> {
    match part {
        "" | "." => Some("a part of its path is empty"),
        ".." => Some("its path climbs with \"..\""),
        _ if part.contains('\\') => Some("its path holds a backslash; write /"),
        _ if part.contains('/') => Some("a part of its path holds a /"),
        _ if part.chars().any(char::is_control) => Some("its path holds a control character"),
        _ if part.len() > 255 => Some("a part of its path is longer than 255 bytes"),
        _ => None,
    }
}

/// The URL for messages: without what may be a secret.
pub(super) fn redacted(url: &Url) -> String {
    let mut url = url.clone();
    if url.password().is_some() || url.scheme() != "az" && !url.username().is_empty() {
        // These fail only for URLs that cannot have them.
        let _ = url.set_username("");
        let _ = url.set_password(None);
    }
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Location, StorageError> {
        parse(&text.parse().unwrap())
    }

    fn bucket(text: &str) -> Bucket {
        match of(text).unwrap() {
            Location::Bucket(bucket) => bucket,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn urls_come_into_one_form() {
        let b = bucket("S3://My-Bucket/a%20b//c/");
        assert_eq!((b.name.as_str(), b.prefix.join("|")), ("my-bucket", "a b|c".to_owned()));
        assert_eq!(b.url().as_str(), "s3://my-bucket/a%20b/c/");
        assert_eq!(bucket("s3a://bucket").url().as_str(), "s3://bucket/");
        assert_eq!(bucket("gs://bucket/x").provider, Provider::Google);
        let b = bucket("abfss://box@account.dfs.core.windows.net/x");
        assert_eq!((b.name.as_str(), b.provider), ("box", Provider::Azure));
        assert_eq!(of("file:///a/b").unwrap(), Location::Folder("/a/b".into()));
    }

    #[test]
    fn tricks_are_refused() {
        for bad in [
            "s3://key:secret@bucket/x",
            "s3://key@bucket/x",
            "s3://bucket:9000/x",
            "s3://bucket/x?endpoint=y",
            "s3://bucket/x#y",
            "s3://bucket/a%2F..%2Fb",
            "s3://bucket/a%5C..%5Cb",
            "s3://bucket/%00",
            "s3:///x",
            "s3://a..b/x",
            "s3://.bucket/x",
            "ftp://host/x",
            "http://host/x",
            "file://host/x",
            "file:///a%2F..%2Fb",
        ] {
            let error = of(bad).unwrap_err();
            assert!(error.is_bad_request(), "{bad}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
