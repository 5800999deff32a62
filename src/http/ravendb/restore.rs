//! Starting restores.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::answer::{Asked, RavenError};
use super::backup::{locate, no_value};
use super::charset;
use super::fields::Fields;
use super::model::{DatabaseRestoreRequest, FilesystemRestoreRequest, OperationStarted};
use super::{BodyErrors, ErrorBody, UnhandledBody, administrator, flag, named_in_path, version};
use crate::catalog::{Scope, SourceKind};
use crate::config::RavenVersion;
use crate::http::{HttpState, body};
use crate::ops::named::restore::{self, StartRestore};

/// Starts a restore of a backup as a new database, which is served under its name from then on.
#[utoipa::path(
    post, path = "/admin/restore", operation_id = "startDatabaseRestore", tag = "RavenDB",
    params(("defrag" = Option<String>, Query, description = "Overrides `Defrag`")),
    request_body(content = DatabaseRestoreRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "Started (3.0)", body = OperationStarted),
        (status = 202, description = "Started (3.5)", body = OperationStarted),
        (status = 400, description = "No name, or one that exists (plain text); the body cannot be read, or a location may not be named"),
        (status = 404, description = "No such portal, or a bucket does not exist", body = ErrorBody),
        (status = 500, description = "BackupLocation is missing or is not there, or something else that RavenDB has no answer for", body = UnhandledBody),
        (status = 503, description = "Another restore runs (plain text), or something the service depends on does not answer"),
        BodyErrors,
    ),
)]
pub async fn database(
    state: Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> HttpResponse {
    handle(&state, &request, SourceKind::Database, payload).await
}

/// Starts a restore of a backup as a new file system, which is served under its name from then on.
#[utoipa::path(
    post, path = "/admin/fs/restore", operation_id = "startFilesystemRestore", tag = "RavenDB",
    params(("defrag" = Option<String>, Query, description = "Overrides `Defrag`")),
    request_body(content = FilesystemRestoreRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "Started (3.0)", body = OperationStarted),
        (status = 202, description = "Started (3.5)", body = OperationStarted),
        (status = 400, description = "No name (plain text); the body cannot be read; a location may not be named, is missing, or cannot be written"),
        (status = 404, description = "No such portal, or a bucket does not exist", body = ErrorBody),
        (status = 500, description = "BackupLocation is missing, is not there or holds no document, or something else that RavenDB has no answer for", body = UnhandledBody),
        (status = 503, description = "Another restore runs (plain text), or something the service depends on does not answer"),
        BodyErrors,
    ),
)]
pub async fn filesystem(
    state: Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> HttpResponse {
    handle(&state, &request, SourceKind::Filesystem, payload).await
}

/// RavenDB restores through its own database only.
pub async fn elsewhere(state: Data<HttpState>, request: HttpRequest) -> HttpResponse {
    let asked = Asked::of(&state, &request);
    let refused = async {
        administrator(&state, &request, Scope::Write).await?;
        named_in_path(&state, &request).await?;
        let text = "Restore is only possible from the system database";
        Err(RavenError::Text(StatusCode::BAD_REQUEST, text.to_owned()))
    };
    asked.answer(refused.await)
}

async fn handle(
    state: &HttpState,
    request: &HttpRequest,
    kind: SourceKind,
    payload: Payload,
) -> HttpResponse {
    let asked = Asked::of(state, request);
    asked.answer(start(&asked, state, request, kind, payload).await)
}

async fn start(
    asked: &Asked,
    state: &HttpState,
    request: &HttpRequest,
    kind: SourceKind,
    payload: Payload,
) -> Result<HttpResponse, RavenError> {
    administrator(state, request, Scope::Write).await?;
    let body = body::read(payload).await?;
    let fields = Fields::read(&charset::decode(request, &body)?)?
        .ok_or_else(|| no_value("restoreRequest"))?;
    // RestoreLocation is what it was called before.
    let backup = match fields.text("BackupLocation")? {
        Some(location) => Some(location),
        None => fields.text("RestoreLocation")?,
    };
    let backup = backup.ok_or_else(|| no_value("backupLocation"))?;
    let (name, target) = match kind {
        SourceKind::Database => ("DatabaseName", "DatabaseLocation"),
        SourceKind::Filesystem => ("FilesystemName", "FilesystemLocation"),
    };
    let place = |member: &str| {
        let text = fields.text(member)?.filter(|text| !text.trim().is_empty());
        text.map(|text| locate(state, kind, &text)).transpose()
    };
    let wanted = StartRestore {
        kind,
        name: fields.text(name)?,
        backup: locate(state, kind, &backup)?,
        target: place(target)?,
        indexes: place("IndexesLocation")?,
        journals: place("JournalsLocation")?,
        defrag: flag(request, "defrag").or(fields.flag("Defrag")?).unwrap_or(false),
        timeout: fields.seconds("RestoreStartTimeout")?,
    };
    let operation = restore::start(&state.app, wanted).await?;
    let status = match version(state) {
        RavenVersion::V30 => StatusCode::OK,
        RavenVersion::V35 => StatusCode::ACCEPTED,
    };
    Ok(asked.json(status, &OperationStarted { operation_id: operation.number.unwrap_or_default() }))
}
