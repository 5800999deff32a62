//! Deleting databases and file systems that restores made.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};

use super::answer::{Asked, RavenError};
use super::{ErrorBody, administrator, flag};
use crate::catalog::{Scope, SourceKind};
use crate::http::HttpState;
use crate::ops::named::remove;

/// What is answered where it is not done, to whatever of the two.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "it describes answers")]
enum NotDeleted {
    #[response(status = 400, description = "Its data cannot be deleted here")]
    Elsewhere(ErrorBody),
    #[response(status = 409, description = "It is configured, or a job is at work on it")]
    InUse(ErrorBody),
    #[response(status = 503, description = "Something the service depends on does not answer")]
    Away(ErrorBody),
}

/// Deletes a database that a restore made: it is no longer served, and its name is free.
#[utoipa::path(
    delete, path = "/admin/databases/{db}", operation_id = "deleteDatabase", tag = "RavenDB",
    params(
        ("db" = String, Path, description = "A restored database"),
        ("hard-delete" = Option<String>, Query, description = "`true`: its data is deleted, too"),
    ),
    responses(
        (status = 200, description = "Deleted"),
        (status = 404, description = "No such database, or no such portal", body = ErrorBody),
        NotDeleted,
    ),
)]
pub async fn database(
    state: Data<HttpState>,
    request: HttpRequest,
    name: Path<String>,
) -> HttpResponse {
    handle(&state, &request, SourceKind::Database, &name).await
}

/// Deletes a file system that a restore made: it is no longer served, and its name is free.
#[utoipa::path(
    delete, path = "/admin/fs/{fs}", operation_id = "deleteFilesystem", tag = "RavenDB",
    params(
        ("fs" = String, Path, description = "A restored filesystem"),
        ("hard-delete" = Option<String>, Query, description = "`true`: its data is deleted, too"),
    ),
    responses(
        (status = 200, description = "Deleted"),
        (status = 404, description = "No such file system, or no such portal", body = ErrorBody),
        NotDeleted,
    ),
)]
pub async fn filesystem(
    state: Data<HttpState>,
    request: HttpRequest,
    name: Path<String>,
) -> HttpResponse {
    handle(&state, &request, SourceKind::Filesystem, &name).await
}

async fn handle(
    state: &HttpState,
    request: &HttpRequest,
    kind: SourceKind,
    name: &str,
) -> HttpResponse {
    let asked = Asked::of(state, request);
    let removed = async {
        administrator(state, request, Scope::Write).await?;
        let with_data = flag(request, "hard-delete") == Some(true);
        remove::remove(&state.app, kind, name, with_data).await?;
        Ok::<_, RavenError>(asked.empty(StatusCode::OK))
    };
    asked.answer(removed.await)
}
