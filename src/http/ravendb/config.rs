//! `GET /fs/{fs}/config`: where a file system keeps the status of its backup.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, HeaderValue};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};

use super::answer::{Asked, RavenError};
use super::documents::backup_of;
use super::model::BackupStatus;
use super::{ErrorBody, administrator, source};
use crate::catalog::{Scope, SourceKind};
use crate::http::HttpState;
use crate::http::docspace::query::first;

const STATUS: &str = "Raven/Backup/Status";
/// RavenDB's own page.
const PAGE: usize = 25;

/// A configuration item of a file system, which is the status of its backup; without `name` the names of all items.
#[utoipa::path(
    get, path = "/fs/{fs}/config", operation_id = "getFilesystemConfig", tag = "RavenDB",
    params(
        ("fs" = String, Path, description = "A configured or restored filesystem"),
        ("name" = Option<String>, Query, description = "`Raven/Backup/Status`"),
        ("start" = Option<String>, Query, description = "How many names to leave out"),
        ("pageSize" = Option<String>, Query, description = "How many names to list"),
    ),
    responses(
        (status = 200, description = "The status (`BackupStatus`), or an array of names"),
        (status = 404, description = "No such item (`RavenUnhandled`), or no such portal"),
        (status = 503, description = "No such file system, or something the service depends on does not answer", body = ErrorBody),
    ),
)]
pub async fn handle(
    state: Data<HttpState>,
    request: HttpRequest,
    name: Path<String>,
) -> HttpResponse {
    let asked = Asked::of(&state, &request);
    let mut answer = asked.answer(item(&asked, &state, &request, &name).await);
    let fresh = HeaderValue::from_static("no-cache, no-store");
    answer.headers_mut().insert(CACHE_CONTROL, fresh);
    answer
}

async fn item(
    asked: &Asked,
    state: &HttpState,
    request: &HttpRequest,
    fs: &str,
) -> Result<HttpResponse, RavenError> {
    administrator(state, request, Scope::Read).await?;
    let source = source(state, SourceKind::Filesystem, fs, false).await?;
    let status: Option<BackupStatus> =
        match backup_of(state, SourceKind::Filesystem, &source.name).await {
            Ok(status) => Some(status),
            Err(RavenError::Nothing) => None,
            Err(error) => return Err(error),
        };
    let query = request.query_string();
    let Some(name) = first(query, "name").filter(|name| !name.is_empty()) else {
        let number = |name: &str| first(query, name).and_then(|text| text.trim().parse().ok());
        let names: Vec<&str> = status
            .iter()
            .map(|_| STATUS)
            .skip(number("start").unwrap_or(0))
            .take(number("pageSize").unwrap_or(PAGE))
            .collect();
        return Ok(asked.json(StatusCode::OK, &names));
    };
    match status.filter(|_| name.eq_ignore_ascii_case(STATUS)) {
        Some(status) => Ok(asked.json(StatusCode::OK, &status)),
        None => {
            let text = format!("Could not find config: {name}");
            Err(RavenError::Unhandled(StatusCode::NOT_FOUND, text))
        }
    }
}
