//! `/backupFileUpload.ashx`: an archive for a restore, in chunks. Errors too are 200, with `Success` false.

use std::time::Duration;

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::http::header::CONTENT_RANGE;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use serde::Serialize;
use utoipa::ToSchema;

use super::wrapper::Asked;
use super::{DocError, query};
use crate::catalog::Scope;
use crate::http::auth::Caller;
use crate::http::openapi::Binary;
use crate::http::{HttpState, auth, incident};
use crate::ops::OpError;
use crate::ops::uploads::{self, CHUNK, Extension, Extent, Received};

/// How far the upload is, in bytes: where the next chunk belongs.
const OFFSET: &str = "upload-offset";
const LENGTH: &str = "upload-length";
/// What is still read of a refused chunk, so that its sender gets to read why.
const LEFTOVERS: usize = 64 << 20;
const PATIENCE: Duration = Duration::from_secs(30);

/// How a part of an upload went.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct BackupFileUpload {
    pub success: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The most bytes that a chunk may have.
    pub chunk_size: u64,
    /// Whether the archive is whole: it can be restored now.
    pub end_upload: bool,
}

/// One chunk of the file.
#[derive(ToSchema)]
#[allow(dead_code, reason = "a schema")]
pub struct BackupFileChunk {
    #[schema(value_type = Option<Binary>, nullable = false)]
    file: Option<String>,
}

/// Begins an upload (`init=true`), or appends the next chunk of it. Chunks come one after the other; one that
/// did not arrive whole is sent again. With a `Content-Range` header it is safe to send any chunk twice.
#[utoipa::path(
    post, path = "/backupFileUpload.ashx", operation_id = "uploadBackupFile", tag = "Backup",
    summary = "Upload an archive for a restore",
    params(
        ("init" = Option<bool>, Query, nullable = false, description = "True: begin, and forget what was uploaded before"),
        ("totalSize" = Option<u64>, Query, nullable = false, description = "With `init`: the file's bytes"),
        ("extension" = Option<String>, Query, nullable = false, description = "With `init`: `tar` or `tar.gz`"),
        ("Content-Range" = Option<String>, Header, nullable = false, description = "`bytes FIRST-LAST/TOTAL`: where the chunk belongs"),
    ),
    request_body(content = BackupFileChunk, content_type = "multipart/form-data"),
    responses(
        (status = 200, description = "Whether it went well; a wrong chunk too is answered so, and does no harm", body = BackupFileUpload,
            headers(("Upload-Offset" = u64, description = "How many bytes have arrived"))),
        (status = 401, description = "No credential, or a wrong one"),
        (status = 403, description = "The credential does not reach so far"),
        (status = 404, description = "No such portal"),
        (status = 429, description = "Too many wrong credentials from this address"),
        (status = 503, description = "Credentials cannot be checked now"),
    ),
)]
pub async fn handle(
    state: Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> HttpResponse {
    let caller = match auth::authenticate(&state, &request, Scope::Write).await {
        Ok(caller) => caller,
        Err(refusal) => return DocError::from(refusal).response(&Asked::of(&state, &request)),
    };
    let mut answer = HttpResponse::Ok();
    let body = match take(&state, &caller, &request, payload).await {
        Ok(received) => {
            answer.insert_header((OFFSET, received.bytes.to_string()));
            BackupFileUpload {
                success: true,
                message: None,
                chunk_size: CHUNK,
                end_upload: received.is_complete(),
            }
        }
        Err(error) => {
            let message = match &error {
                OpError::Internal(source) => incident(source.as_ref()),
                _ => error.to_string(),
            };
            BackupFileUpload {
                success: false,
                message: Some(message),
                chunk_size: CHUNK,
                end_upload: false,
            }
        }
    };
    answer.json(body)
}

/// Tells how far the upload is, for a client whose connection broke.
#[utoipa::path(
    head, path = "/backupFileUpload.ashx", operation_id = "getBackupFileUpload", tag = "Backup",
    summary = "Ask how far an upload is",
    responses(
        (status = 200, description = "There is an upload",
            headers(
                ("Upload-Offset" = u64, description = "How many bytes have arrived"),
                ("Upload-Length" = u64, description = "How many there will be"),
            )),
        (status = 401, description = "No credential, or a wrong one"),
        (status = 403, description = "The credential does not reach so far"),
        (status = 404, description = "Nothing was uploaded, or no such portal"),
        (status = 429, description = "Too many wrong credentials from this address"),
        (status = 503, description = "Credentials cannot be checked now"),
    ),
)]
pub async fn status(state: Data<HttpState>, request: HttpRequest) -> HttpResponse {
    let asked = Asked::of(&state, &request);
    match ask(&state, &request).await {
        Ok(Some(received)) => HttpResponse::Ok()
            .insert_header((OFFSET, received.bytes.to_string()))
            .insert_header((LENGTH, received.total.to_string()))
            .finish(),
        Ok(None) => HttpResponse::NotFound().finish(),
        Err(error) => error.response(&asked),
    }
}

async fn ask(state: &HttpState, request: &HttpRequest) -> Result<Option<Received>, DocError> {
    let caller = super::administrator(state, request, Scope::Write).await?;
    Ok(uploads::status(&state.app, caller.tenant_id).await?)
}

async fn take(
    state: &HttpState,
    caller: &Caller,
    request: &HttpRequest,
    payload: Payload,
) -> Result<Received, OpError> {
    caller.demand_administrator(&state.app).await?;
    let query = request.query_string();
    if query::first(query, "init").is_some_and(|init| init.trim().eq_ignore_ascii_case("true")) {
        let (total, extension) = wanted(query)?;
        return uploads::begin(&state.app, caller.tenant_id, total, extension).await;
    }
    let range = request.headers().get(CONTENT_RANGE);
    let extent = match range {
        Some(range) => Some(range.to_str().ok().and_then(extent).ok_or_else(|| {
            OpError::Invalid("Content-Range must be bytes FIRST-LAST/TOTAL".to_owned())
        })?),
        None => None,
    };
    let mut form = Multipart::new(request.headers(), payload);
    let mut file = pieces(file_of(&mut form).await?);
    let result = uploads::append(&state.app, caller.tenant_id, extent, &mut file).await;
    drain(&mut file).await;
    drop(file);
    // The form's end, so that the connection can be used again.
    let _ = tokio::time::timeout(PATIENCE, form.next()).await;
    result
}

/// `totalSize` and `extension`.
fn wanted(query: &str) -> Result<(u64, Extension), OpError> {
    let invalid = |text: &str| OpError::Invalid(text.to_owned());
    let total = query::first(query, "totalSize")
        .and_then(|total| total.trim().parse().ok())
        .filter(|total| *total > 0 && i64::try_from(*total).is_ok())
        .ok_or_else(|| invalid("totalSize must be the file's number of bytes"))?;
    let extension = query::first(query, "extension")
        .and_then(|extension| Extension::parse(&extension))
        .ok_or_else(|| invalid("extension must be tar, tar.gz or tar.gz.age"))?;
    Ok((total, extension))
}

/// `bytes 0-9/20`: ten bytes from the beginning. The total may be `*`.
fn extent(text: &str) -> Option<Extent> {
    let (range, total) = text.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let start = first.trim().parse::<u64>().ok()?;
    let end = last.trim().parse::<u64>().ok()?.checked_add(1)?;
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    (start < end && total.is_none_or(|total| end <= total)).then_some(Extent { start, end, total })
}

/// The first file of a form.
async fn file_of(form: &mut Multipart) -> Result<Field, OpError> {
    let broken = |why: &dyn std::fmt::Display| {
        OpError::Invalid(format!("send the chunk as a file in multipart/form-data: {why}"))
    };
    loop {
        let next = tokio::time::timeout(PATIENCE, form.next()).await;
        let field = next.map_err(|_| broken(&"it did not arrive in time"))?;
        let field =
            field.ok_or_else(|| broken(&"there is no file"))?.map_err(|error| broken(&error))?;
        let disposition = field.content_disposition();
        if disposition.is_some_and(|disposition| {
            disposition.get_filename().is_some() || disposition.get_filename_ext().is_some()
        }) {
            return Ok(field);
        }
        drain(&mut pieces(field)).await;
    }
}

/// A field's content. It ends for good with its first error: a field that has ended must not be asked again.
fn pieces(field: Field) -> impl Stream<Item = Result<Bytes, MultipartError>> + Unpin {
    let pieces = futures::stream::unfold(Some(field), |field| async {
        let mut field = field?;
        match field.next().await? {
            Ok(piece) => Some((Ok(piece), Some(field))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Box::pin(pieces.fuse())
}

/// Reads what is left of a field, within reason.
async fn drain(pieces: &mut (impl Stream<Item = Result<Bytes, MultipartError>> + Unpin)) {
    let mut left = LEFTOVERS;
    while let Ok(Some(Ok(piece))) = tokio::time::timeout(PATIENCE, pieces.next()).await {
        left = left.saturating_sub(piece.len());
        if left == 0 {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_an_upload() {
        let of = |query: &str| wanted(query).ok();
        assert_eq!(of("init=true&totalSize=7&extension=tar"), Some((7, Extension::Tar)));
        assert_eq!(of("TOTALSIZE=%207&Extension=.TAR.gz"), Some((7, Extension::TarGz)));
        for bad in [
            "extension=tar",
            "totalSize=0&extension=tar",
            "totalSize=-1&extension=tar",
            "totalSize=9223372036854775808&extension=tar",
            "totalSize=1.5&extension=tar",
            "totalSize=7",
            "totalSize=7&extension=zip",
            "totalSize=7&extension=../tar",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn where_a_chunk_belongs() {
        let some = |start, end, total| Some(Extent { start, end, total });
        assert_eq!(extent("bytes 0-9/20"), some(0, 10, Some(20)));
        assert_eq!(extent("bytes=10-19/20"), None);
        assert_eq!(extent("bytes 10-19/*"), some(10, 20, None));
        let largest = format!("bytes 0-{}/*", u64::MAX);
        for bad in ["", "bytes", "0-9/20", "bytes 9-0/20", "bytes 0-20/20", "bytes */20", &largest]
        {
            assert_eq!(extent(bad), None, "{bad}");
        }
    }
}
