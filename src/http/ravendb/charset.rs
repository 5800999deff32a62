//! The character set of a request's body: as its header says, else UTF-8.

use actix_web::HttpRequest;
use actix_web::http::header::CONTENT_TYPE;

use super::answer::RavenError;

/// The text of a body.
pub fn decode(request: &HttpRequest, body: &[u8]) -> Result<String, RavenError> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    text(kind.unwrap_or_default(), body).map_err(|error| {
        let status = actix_web::http::StatusCode::BAD_REQUEST;
        RavenError::Unhandled(status, format!("System.ArgumentException: {error}"))
    })
}

fn text(kind: &str, body: &[u8]) -> Result<String, String> {
    let charset = kind.split(';').find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    });
    let wide = |unit: fn([u8; 2]) -> u16| {
        let (pairs, rest) = body.as_chunks::<2>();
        let units = pairs.iter().map(|pair| unit(*pair));
        let text: Result<String, _> = char::decode_utf16(units).collect();
        text.ok().filter(|_| rest.is_empty()).ok_or_else(|| "the body is no UTF-16".to_owned())
    };
    match charset.unwrap_or("utf-8").to_ascii_lowercase().as_str() {
        "utf-8" | "utf8" | "us-ascii" => {
            std::str::from_utf8(body).map(str::to_owned).map_err(|error| error.to_string())
        }
        "iso-8859-1" | "latin1" => Ok(body.iter().map(|byte| char::from(*byte)).collect()),
        "utf-16" | "utf-16le" | "unicode" => wide(u16::from_le_bytes),
        "utf-16be" | "unicodefffe" => wide(u16::from_be_bytes),
        other => Err(format!("'{other}' is not a supported encoding name.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A1: "charset from header, else UTF-8"
    #[test]
    fn bodies_are_read_in_their_character_set() {
        let utf16 =
            |unit: fn(u16) -> [u8; 2]| "é{}".encode_utf16().flat_map(unit).collect::<Vec<_>>();
        for (kind, body) in [
            ("", "é{}".as_bytes().to_vec()),
            ("application/x-www-form-urlencoded", "é{}".as_bytes().to_vec()),
            ("application/json; charset=UTF-8", "é{}".as_bytes().to_vec()),
            ("application/json;charset=\"iso-8859-1\"", b"\xe9{}".to_vec()),
            ("text/plain; Charset=utf-16", utf16(u16::to_le_bytes)),
            ("text/plain; charset=utf-16BE", utf16(u16::to_be_bytes)),
        ] {
            assert_eq!(text(kind, &body).as_deref(), Ok("é{}"), "{kind}");
        }
        assert!(text("", b"\xe9").is_err());
        assert!(text("x; charset=utf-16", b"a").is_err());
        assert!(text("x; charset=klingon", b"a").unwrap_err().contains("klingon"));
    }
}
