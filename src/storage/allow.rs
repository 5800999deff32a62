//! `storage.allow`: the places and endpoints that a request may name.

use url::Url;

use super::{StorageError, location};

/// URL prefixes. One matches only at a boundary: `s3://a` allows `s3://a/b` and not `s3://ab`.
#[derive(Debug, Default)]
pub(super) struct AllowList(Vec<Prefix>);

#[derive(Debug)]
pub(super) struct Prefix {
    scheme: String,
    /// Lower case; the container too, for Azure's `container@host`.
    authority: String,
    port: Option<u16>,
    parts: Vec<String>,
}

impl Prefix {
    pub(super) fn new(url: &Url) -> Result<Self, StorageError> {
        let invalid = |why| StorageError::Invalid(format!("{}: {why}", location::redacted(url)));
        let scheme = match url.scheme() {
            "s3a" => "s3",
            known @ ("file" | "s3" | "gs" | "az" | "azure" | "adl" | "abfs" | "abfss" | "http"
            | "https") => known,
            _ => return Err(invalid("write a URL, for example s3://bucket or https://host:9000")),
        };
        let container = scheme.starts_with('a') && url.password().is_none();
        if url.password().is_some() || (!url.username().is_empty() && !container) {
            return Err(invalid("credentials do not belong into a URL"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("there must be no ? and no #"));
        }
        let host = url.host_str().unwrap_or_default();
        if host.is_empty() != (scheme == "file") {
            return Err(invalid("the host or bucket is missing or misplaced"));
        }
        let authority = format!("{}@{host}", url.username()).to_ascii_lowercase();
        Ok(Self {
            scheme: scheme.to_owned(),
            authority,
            port: url.port_or_known_default(),
            parts: location::components(url)?,
        })
    }

    /// Whether `other` is this place or one within it.
    pub(super) fn contains(&self, other: &Self) -> bool {
        self.scheme == other.scheme
            && self.authority == other.authority
            && self.port == other.port
            && other.parts.starts_with(&self.parts)
    }

    /// The parts of `other` beyond this place, when it lies within.
    pub(super) fn rest<'a>(&self, other: &'a Self) -> Option<&'a [String]> {
        self.contains(other).then(|| &other.parts[self.parts.len()..])
    }
}

impl AllowList {
    pub(super) fn new(entries: &[String]) -> Result<Self, StorageError> {
        let read = |entry: &String| {
            Url::parse(entry)
                .map_err(|error| StorageError::Invalid(format!("it is not a URL ({error})")))
                .and_then(|url| Prefix::new(&url))
                .map_err(|error| StorageError::Configuration(format!("storage.allow: {error}")))
        };
        entries.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The first entry that allows this place.
    pub(super) fn find(&self, url: &Url) -> Result<Option<&Prefix>, StorageError> {
        let place = Prefix::new(url)?;
        Ok(self.0.iter().find(|entry| entry.contains(&place)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(entry: &str, url: &str) -> bool {
        let list = AllowList::new(&[entry.to_owned()]).unwrap();
        list.find(&url.parse().unwrap()).is_ok_and(|found| found.is_some())
    }

    #[test]
    fn prefixes_end_at_boundaries() {
        for (entry, url) in [
            ("s3://aaa", "s3://aaa"),
            ("s3://aaa", "s3://AAA/b"),
            ("s3://aaa/", "s3a://aaa/b"),
            ("s3://aaa/b", "s3://aaa/b/c"),
            ("s3://aaa/b/", "s3://aaa/b"),
            ("http://h:9000", "http://H:9000/bucket"),
            ("https://h", "https://h:443/x"),
            ("http://h/a%62c", "http://h/abc/d"),
            ("file:///srv/backups", "file:///srv/backups/x"),
            ("az://box@account", "az://box@account/x"),
        ] {
            assert!(allows(entry, url), "{entry} {url}");
        }
        for (entry, url) in [
            ("s3://aaa", "s3://aaab"),
            ("s3://aaa/b", "s3://aaa/bc"),
            ("s3://aaa/b", "s3://aaa"),
            ("s3://aaa/b", "s3://aaa/b/../c"),
            ("s3://aaa/b", "s3://aaa/b/%2e%2e/c"),
            ("s3://aaa/b", "s3://aaa/b%2F..%2Fc"),
            ("s3://aaa", "gs://aaa"),
            ("http://h:90", "http://h:9000"),
            ("http://h", "http://h:9000"),
            ("http://h", "https://h"),
            ("http://h", "http://h.evil.org"),
            ("http://h", "http://h@evil.org"),
            ("http://h", "http://u:p@h"),
            ("http://h", "http://evil.org\\@h"),
            ("http://h", "http://evil.org/?http://h"),
            ("http://h", "http://evil.org/#http://h"),
            ("http://127.0.0.1", "http://127.0.0.1.nip.io"),
            ("file:///srv/backups", "file:///srv/backups2"),
            ("file:///srv/backups", "file:///srv/backups/../x"),
            ("az://box@account", "az://box2@account"),
        ] {
            assert!(!allows(entry, url), "{entry} {url}");
        }
    }

    #[test]
    fn entries_are_urls() {
        for bad in ["localhost:9000", "bucket", "ftp://x", "http://u:p@h", "s3:///x", "https://"] {
            let error = AllowList::new(&[bad.to_owned()]).unwrap_err();
            assert!(matches!(error, StorageError::Configuration(_)), "{bad}: {error}");
        }
    }
}
