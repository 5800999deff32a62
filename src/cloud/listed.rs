//! Listings of buckets that hold keys which object_store's paths cannot. One of them would end the whole listing with
//! an error, so the provider's answer says them as paths can ([`odd`]), or leaves them out, which is told.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use quick_xml::events::Event;

use super::odd::{self, Names, Said};

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

/// The name of an answer's outermost element; None: it is no XML.
pub(super) fn root(body: &[u8]) -> Option<String> {
    let mut reader = quick_xml::Reader::from_reader(body);
    loop {
        match reader.read_event() {
            Ok(Event::Start(root) | Event::Empty(root)) => {
                return String::from_utf8(root.local_name().as_ref().to_vec()).ok();
            }
            Ok(Event::Eof) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

/// The answer with keys as paths say them, and without those that no path can. `names`: how; None: odd ones are
/// somebody else's, and left out.
pub(super) fn sift(body: Bytes, unnamable: &Unnamable, names: Option<&Names>) -> Bytes {
    let Ok(text) = std::str::from_utf8(&body) else { return body };
    let mut sifted = String::new();
    let mut rest = text;
    let mut copied = 0;
    while let Some((start, end)) = next_object(rest) {
        let offset = text.len() - rest.len();
        let object = &rest[start..end];
        if let Some((key, tag)) = key(object) {
            let said = names.map_or_else(|| odd::said(&key), |names| names.said(&key));
            let is_content = key.ends_with('/') && !is_empty(object);
            let said = match said {
                Said::Plainly if is_content => names.map_or(Said::Never, |names| names.odd(&key)),
                Said::As(_) if names.is_none() => Said::Never,
                said => said,
            };
            match said {
                Said::Plainly => {}
                Said::As(path) => {
                    let path = quick_xml::escape::escape(&path);
                    sifted.push_str(&text[copied..offset + start + tag.start]);
                    sifted.push_str(&format!("<{0}>{path}</{0}>", tag.name));
                    copied = offset + start + tag.end;
                }
                Said::Never => {
                    unnamable.add(key);
                    sifted.push_str(&text[copied..offset + start]);
                    copied = offset + end;
                }
            }
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

/// Where a key stands within its object.
struct Tag {
    name: &'static str,
    start: usize,
    end: usize,
}

fn key(object: &str) -> Option<(String, Tag)> {
    let (name, start) = ["Key", "Name", "Prefix"]
        .into_iter()
        .find_map(|name| Some((name, object.find(&format!("<{name}"))?)))?;
    let (attributes, rest) = object[start..].split_once('>')?;
    let (raw, after) = rest.split_once("</")?;
    let closing = after.find('>')? + 1;
    let end = object.len() - after.len() + closing;
    let key = quick_xml::escape::unescape(raw).ok()?.into_owned();
    let key = match attributes.contains("Encoded=\"true\"") {
        true => percent_decode_str(&key).decode_utf8_lossy().into_owned(),
        false => key,
    };
    Some((key, Tag { name, start, end }))
}

/// Whether an object has no content; a folder has none.
fn is_empty(object: &str) -> bool {
    let sizes = ["<Size>", "<Content-Length>"];
    sizes
        .iter()
        .find_map(|tag| object.split_once(tag))
        .is_none_or(|(_, rest)| rest.starts_with("0<"))
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
    fn odd_keys_are_said_as_paths_can() {
        let names = Names::new(&"p".into(), ".own");
        let keys = ["p/a\nb", "p/a", "p//b<&", "p/../x", "p/./y", "p/mark/", "p/z//"];
        let expected = ["a%0Ab", "", "%/b<&", "", "", "", "z/%/%"];
        for (object, name) in [("Contents", "Key"), ("Blob", "Name")] {
            let unnamable = Unnamable::default();
            let sifted = sift(page(&keys, object, name).into(), &unnamable, Some(&names));
            let paths: Vec<_> = keys
                .iter()
                .zip(expected)
                .filter(|(key, _)| !key.contains("/."))
                .map(|(key, odd)| match odd {
                    "" => (*key).to_owned(),
                    odd => format!("p/{}/{odd}", odd::FOLDER),
                })
                .collect();
            let paths: Vec<_> = paths.iter().map(String::as_str).collect();
            let page = page(&paths, object, name);
            assert_eq!(sizeless(&sifted), sizeless(page.as_bytes()));
            assert_eq!(unnamable.take("p").0, ["p/../x", "p/./y"]);
        }
        let full = "<Contents><Key>p/a/</Key><Size>10</Size></Contents>";
        let said = format!("<Contents><Key>p/{}/a/%</Key><Size>10</Size></Contents>", odd::FOLDER);
        assert_eq!(sift(full.into(), &Unnamable::default(), Some(&names)), said);
        let encoded = "<Blob><Name Encoded=\"true\">p/a%0Ab</Name></Blob>";
        let said = format!("<Blob><Name>p/{}/a%0Ab</Name></Blob>", odd::FOLDER);
        assert_eq!(sift(encoded.into(), &Unnamable::default(), Some(&names)), said);
    }

    fn sizeless(page: &[u8]) -> String {
        let page = String::from_utf8(page.to_vec()).unwrap();
        page.replace("<Size>0</Size>", "").replace("<Size>1</Size>", "")
    }

    #[test]
    fn only_what_no_path_can_hold_is_taken_out() {
        let good = ["a/b", "a&b<c>", "ü %20\\ x", "folder/", "a..b", "1 2"];
        let bad = ["a\nb", "a//b", "../x", "/a", "x/./y", "tab\tx"];
        let mixed: Vec<_> = bad.iter().zip(&good).flat_map(|(bad, good)| [*bad, *good]).collect();
        for (object, name) in [("Contents", "Key"), ("Blob", "Name")] {
            let unnamable = Unnamable::default();
            let clean = page(&good, object, name);
            assert_eq!(sift(clean.clone().into(), &unnamable, None), clean);
            assert_eq!(sift(page(&mixed, object, name).into(), &unnamable, None), clean);
            assert_eq!(unnamable.take("a").0, ["a\nb", "a//b"]);
            assert_eq!(unnamable.take("").0.len(), 4);
            assert!(unnamable.take("").0.is_empty());
        }
        for (folder, name) in [("CommonPrefixes", "Prefix"), ("BlobPrefix", "Name")] {
            let page = |key: &str| format!("<{folder}><{name}>{key}</{name}></{folder}>");
            let mixed = page("a/") + &page("a//") + &page("b/");
            assert_eq!(sift(mixed.into(), &Unnamable::default(), None), page("a/") + &page("b/"));
        }
        let encoded = "<Blob><Name Encoded=\"true\">a%0Ab</Name></Blob>";
        let unnamable = Unnamable::default();
        assert_eq!(sift(encoded.into(), &unnamable, None), "");
        assert_eq!(unnamable.take("").0, ["a\nb"]);
        // Content that no path leads to.
        let full = "<Contents><Key>a/</Key><Size>10</Size></Contents>";
        assert_eq!(sift(full.into(), &unnamable, None), "");
        for number in 0..1500 {
            unnamable.add(format!("a//{number}"));
        }
        let (keys, more) = unnamable.take("");
        assert_eq!((keys.len(), more), (1000, 501));
    }
}
