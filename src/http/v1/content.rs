//! `GET /v1/archives/{id}/content`: the archive file, or a part of it.

use actix_web::body::SizedStream;
use actix_web::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_TYPE, ETAG,
};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use futures::stream;

use super::{ErrorBody, V1Error, administrator, id, logged, paging, readable_archive};
use crate::catalog::{ArchiveRecord, Scope};
use crate::http::HttpState;
use crate::http::docspace::stored_for;
use crate::http::openapi::Binary;
use crate::http::range::{self, Wanted};
use crate::ops::{self, OpError};

/// Downloads an archive. One range of bytes can be asked for; `If-Range` takes the entity tag.
#[utoipa::path(
    get, path = "/v1/archives/{id}/content", operation_id = "downloadArchive", tag = "Archives",
    params(
        ("id" = Uuid, Path, description = "The archive's id"),
        ("token" = Option<String>, Query, nullable = false,
            description = "Of a signed link; no other credential is needed with it"),
        ("Range" = Option<String>, Header, nullable = false, description = "`bytes=FIRST-LAST`"),
    ),
    responses(
        (status = 200, description = "The archive, encrypted if it is stored so", content(
            (inline(Binary) = "application/gzip"), (inline(Binary) = "application/octet-stream"))),
        (status = 206, description = "The part asked for", content(
            (inline(Binary) = "application/gzip"), (inline(Binary) = "application/octet-stream"))),
        (status = 304, description = "The client has it already"),
        (status = 404, description = "No such archive", body = ErrorBody),
        (status = 416, description = "The archive has no such part", body = ErrorBody),
    ),
)]
pub async fn download(
    state: Data<HttpState>,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, V1Error> {
    let archive = match paging::text(request.query_string(), "token") {
        Some(token) => {
            let archive = ops::archives::open_link(&state.app, id(&path)?, &token).await?;
            // Whoever follows a link in DocSpace's pages is logged in there.
            ops::archives::lent(&state.app, archive, stored_for::login(request.headers())).await
        }
        None => {
            let caller = administrator(&state, &request, Scope::Write).await?;
            readable_archive(&state, &caller, &request, id(&path)?).await?
        }
    };
    let archive = ops::archives::measured(&state.app, archive).await?;
    let etag = format!("\"{}\"", archive.sha256);
    let (status, bytes) = match range::wanted(request.headers(), archive.size, &etag) {
        Wanted::Whole => (StatusCode::OK, 0..archive.size),
        Wanted::Part(bytes) => (StatusCode::PARTIAL_CONTENT, bytes),
        Wanted::Unsatisfiable => return Err(V1Error::Range(archive.size)),
        Wanted::NotModified => {
            return Ok(HttpResponse::NotModified().insert_header((ETAG, etag)).finish());
        }
    };
    let mut response = HttpResponseBuilder::new(status);
    response
        .insert_header((CONTENT_TYPE, media_type(&archive)))
        .insert_header((CONTENT_DISPOSITION, range::attachment(&archive.name)))
        .insert_header((ACCEPT_RANGES, "bytes"))
        .insert_header((ETAG, etag));
    if status == StatusCode::PARTIAL_CONTENT {
        let part = format!("bytes {}-{}/{}", bytes.start, bytes.end - 1, archive.size);
        response.insert_header((CONTENT_RANGE, part));
    }
    let length = bytes.end - bytes.start;
    if request.method() == Method::HEAD || length == 0 {
        let nothing = stream::empty::<Result<_, OpError>>();
        return Ok(response.body(SizedStream::new(length, nothing)));
    }
    let content = ops::archives::content(&state.app, &archive, bytes).await?;
    Ok(response.body(SizedStream::new(length, logged(content))))
}

/// DocSpace's archives may also be plain tar; encrypted ones are given as they are stored.
fn media_type(archive: &ArchiveRecord) -> &'static str {
    match archive.name.rsplit_once('.') {
        Some((_, "age")) => "application/octet-stream",
        Some((_, "tar")) => "application/x-tar",
        _ => "application/gzip",
    }
}
