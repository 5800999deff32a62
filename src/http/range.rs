//! Parts of a file over HTTP: `Range`, `If-Range`, validators and names (RFC 9110 §13–14, RFC 6266).

use std::ops::Range;

use actix_web::http::header::{HeaderMap, IF_NONE_MATCH, IF_RANGE, RANGE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What a request for a file asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    Whole,
    Part(Range<u64>),
    /// The client has it already.
    NotModified,
    /// The file has no such part.
    Unsatisfiable,
}

/// `etag`: with its quotes. Several ranges at once, other units and malformed headers are answered with the
/// whole file, as the RFC allows.
pub fn wanted(headers: &HeaderMap, size: u64, etag: &str) -> Wanted {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(known) = text(IF_NONE_MATCH) {
        let matches = |tag: &str| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag;
        if known.split(',').map(str::trim).any(matches) {
            return Wanted::NotModified;
        }
    }
    let Some(range) = text(RANGE) else { return Wanted::Whole };
    // A date, or another version's tag, means that the parts the client has are of something else.
    if text(IF_RANGE).is_some_and(|known| known.trim() != etag) {
        return Wanted::Whole;
    }
    parse(range, size)
}

fn parse(header: &str, size: u64) -> Wanted {
    let Some((unit, spec)) = header.split_once('=') else { return Wanted::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || spec.contains(',') {
        return Wanted::Whole;
    }
    let Some((first, last)) = spec.trim().split_once('-') else { return Wanted::Whole };
    let (first, last) = (first.trim(), last.trim());
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    match (number(first), number(last)) {
        (None, Some(tail)) if first.is_empty() => {
            if tail == 0 || size == 0 {
                return Wanted::Unsatisfiable;
            }
            Wanted::Part(size.saturating_sub(tail)..size)
        }
        (Some(first), None) if last.is_empty() => part(first, u64::MAX, size),
        (Some(first), Some(last)) if first <= last => part(first, last, size),
        _ => Wanted::Whole,
    }
}

fn part(first: u64, last: u64, size: u64) -> Wanted {
    if first >= size {
        return Wanted::Unsatisfiable;
    }
    Wanted::Part(first..last.saturating_add(1).min(size))
}

const NOT_IN_A_NAME: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `Content-Disposition` of a download: a plain name for old clients, and the exact one where they differ.
pub fn attachment(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| match c {
            '"' | '\\' | '%' | '/' => '_',
            c if c.is_ascii_graphic() || c == ' ' => c,
            _ => '_',
        })
        .collect();
    if plain == name {
        return format!("attachment; filename=\"{plain}\"");
    }
    let exact = utf8_percent_encode(name, NOT_IN_A_NAME);
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}")
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    const TAG: &str = "\"abc\"";

    fn asked(list: &[(&HeaderName, &'static str)], size: u64) -> Wanted {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.insert((*name).clone(), HeaderValue::from_static(value));
        }
        wanted(&headers, size, TAG)
    }

    #[test]
    fn single_ranges() {
        let of = |value, size| asked(&[(&RANGE, value)], size);
        assert_eq!(of("bytes=0-0", 10), Wanted::Part(0..1));
        assert_eq!(of("bytes=2-5", 10), Wanted::Part(2..6));
        assert_eq!(of("bytes=2-", 10), Wanted::Part(2..10));
        assert_eq!(of("bytes=2-99", 10), Wanted::Part(2..10));
        assert_eq!(of("Bytes = 2 - 5", 10), Wanted::Part(2..6));
        assert_eq!(of("bytes=-3", 10), Wanted::Part(7..10));
        assert_eq!(of("bytes=-99", 10), Wanted::Part(0..10));
        assert_eq!(of("bytes=0-99999999999999999999999", 10), Wanted::Part(0..10));
    }

    #[test]
    fn parts_that_are_not_there() {
        let of = |value, size| asked(&[(&RANGE, value)], size);
        for value in ["bytes=10-", "bytes=10-12", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(of(value, 10), Wanted::Unsatisfiable, "{value}");
        }
        assert_eq!(of("bytes=0-", 0), Wanted::Unsatisfiable);
        assert_eq!(of("bytes=-1", 0), Wanted::Unsatisfiable);
    }

    #[test]
    fn what_is_no_single_range_is_ignored() {
        for value in [
            "bytes=5-2",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=0-1,3-4",
            "items=0-1",
            "bytes",
            "bytes=+1-2",
            "bytes=1--2",
        ] {
            assert_eq!(asked(&[(&RANGE, value)], 10), Wanted::Whole, "{value}");
        }
        assert_eq!(asked(&[], 10), Wanted::Whole);
    }

    #[test]
    fn validators() {
        let part = (&RANGE, "bytes=0-1");
        assert_eq!(asked(&[part, (&IF_RANGE, "\"abc\"")], 10), Wanted::Part(0..2));
        assert_eq!(asked(&[part, (&IF_RANGE, "\"other\"")], 10), Wanted::Whole);
        assert_eq!(asked(&[part, (&IF_RANGE, "W/\"abc\"")], 10), Wanted::Whole, "weak");
        let date = "Sat, 21 Nov 2026 10:00:00 GMT";
        assert_eq!(asked(&[part, (&IF_RANGE, date)], 10), Wanted::Whole);
        assert_eq!(asked(&[part, (&IF_NONE_MATCH, "\"x\", W/\"abc\"")], 10), Wanted::NotModified);
        assert_eq!(asked(&[(&IF_NONE_MATCH, "*")], 10), Wanted::NotModified);
        assert_eq!(asked(&[(&IF_NONE_MATCH, "\"x\"")], 10), Wanted::Whole);
    }

    #[test]
    fn names() {
        assert_eq!(attachment("a_1.tar.gz"), "attachment; filename=\"a_1.tar.gz\"");
        assert_eq!(
            attachment("büro \"1\".tar.gz"),
            "attachment; filename=\"b_ro _1_.tar.gz\"; \
             filename*=UTF-8''b%C3%BCro%20%221%22.tar.gz"
        );
        assert!(!attachment("a\r\nX: y").contains('\r'));
    }
}
