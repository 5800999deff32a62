//! `/v1/archives/{id}/entries`: what is inside an archive.

use actix_web::body::SizedStream;
use actix_web::http::Method;
use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, ETAG};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::stream;
use percent_encoding::percent_decode_str;

use super::model::EntryList;
use super::{ErrorBody, V1Error, administrator, id, logged, paging, readable_archive};
use crate::catalog::Scope;
use crate::http::openapi::Binary;
use crate::http::{HttpState, range};
use crate::ops::{self, OpError};

const DEFAULT_LIMIT: u32 = 100;
const MOST: u32 = 1000;

/// Lists the members of an archive, in its order.
#[utoipa::path(
    get, path = "/v1/archives/{id}/entries", operation_id = "listEntries", tag = "Archives",
    params(
        ("id" = Uuid, Path, description = "The archive's id"),
        ("prefix" = Option<String>, Query, nullable = false, description = "Only members whose path begins so"),
        ("cursor" = Option<String>, Query, nullable = false, description = "`nextCursor` of the part before"),
        ("limit" = Option<u32>, Query, nullable = false, minimum = 1, maximum = 1000,
            description = "How many at most; 100 if absent"),
    ),
    responses(
        (status = 200, description = "The members", body = EntryList),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
        (status = 404, description = "No such archive", body = ErrorBody),
        (status = 409, description = "It is encrypted, and nothing here opens it: `encrypted`", body = ErrorBody),
    ),
)]
pub async fn list(
    state: Data<HttpState>,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, V1Error> {
    let caller = administrator(&state, &request, Scope::Write).await?;
    let query = request.query_string();
    let limit = paging::limit(query, DEFAULT_LIMIT, MOST)?;
    let archive = readable_archive(&state, &caller, &request, id(&path)?).await?;
    let prefix = paging::text(query, "prefix").unwrap_or_default();
    let cursor = paging::text(query, "cursor");
    let page = ops::entries::list(&state.app, &archive, &prefix, cursor.as_deref(), limit).await?;
    Ok(HttpResponse::Ok().json(EntryList::from(page)))
}

/// Reads one member of an archive.
#[utoipa::path(
    get, path = "/v1/archives/{id}/entries/{path}", operation_id = "readEntry", tag = "Archives",
    params(
        ("id" = Uuid, Path, description = "The archive's id"),
        ("path" = String, Path, description = "The member's path; its slashes may stay as they are"),
    ),
    responses(
        (status = 200, description = "The content", body = inline(Binary), content_type = "application/octet-stream",
            headers(("Repr-Digest" = String, description = "Its SHA-256 (RFC 9530)"))),
        (status = 404, description = "No such archive or member", body = ErrorBody),
        (status = 409, description = "It is encrypted, and nothing here opens it: `encrypted`", body = ErrorBody),
    ),
)]
pub async fn read(
    state: Data<HttpState>,
    request: HttpRequest,
    path: Path<(String, String)>,
) -> Result<HttpResponse, V1Error> {
    let caller = administrator(&state, &request, Scope::Write).await?;
    let archive = readable_archive(&state, &caller, &request, id(&path.0)?).await?;
    let member = member(request.uri().path())
        .ok_or_else(|| OpError::NotFound("The path is not UTF-8".to_owned()))?;
    let (entry, content) = ops::entries::read(&state.app, &archive, &member).await?;

    let name = entry.path.rsplit('/').next().unwrap_or_default();
    let mut response = HttpResponse::Ok();
    response
        .insert_header((CONTENT_TYPE, "application/octet-stream"))
        .insert_header((CONTENT_DISPOSITION, range::attachment(name)));
    if let Some(sha256) = &entry.sha256 {
        response.insert_header((ETAG, format!("\"{sha256}\"")));
        if let Ok(bytes) = hex::decode(sha256) {
            let digest = format!("sha-256=:{}:", BASE64_STANDARD.encode(bytes));
            response.insert_header(("Repr-Digest", digest));
        }
    }
    if request.method() == Method::HEAD || entry.size == 0 {
        let nothing = stream::empty::<Result<_, OpError>>();
        return Ok(response.body(SizedStream::new(entry.size, nothing)));
    }
    Ok(response.body(SizedStream::new(entry.size, logged(content))))
}

/// The member's path out of the request's: decoded here, once, because the router leaves `%2F` and `%25`.
fn member(path: &str) -> Option<String> {
    let (_, encoded) = path.split_once("/entries/")?;
    percent_decode_str(encoded).decode_utf8().ok().map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_once() {
        let of = |path: &str| member(&format!("/v1/archives/x/entries/{path}"));
        assert_eq!(of("a/b%20c").as_deref(), Some("a/b c"));
        assert_eq!(of("a%2Fb").as_deref(), Some("a/b"));
        assert_eq!(of("100%25%2541").as_deref(), Some("100%%41"));
        assert_eq!(of("x/entries/y").as_deref(), Some("x/entries/y"));
        assert_eq!(of("a+b//c").as_deref(), Some("a+b//c"));
        assert_eq!(of("%FF"), None);
    }
}
