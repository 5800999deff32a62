//! Starting backups.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::answer::{Asked, RavenError};
use super::charset;
use super::fields::Fields;
use super::model::{DatabaseBackupRequest, FilesystemBackupRequest, OperationStarted};
use super::{BodyErrors, ErrorBody, UnhandledBody, administrator, flag, missing, source, version};
use crate::catalog::{Scope, SourceKind};
use crate::config::RavenVersion;
use crate::http::{HttpState, body};
use crate::ops::OpError;
use crate::ops::named::backup::{self, StartBackup};
use crate::ops::named::location::Location;

/// Starts a backup of one database into a folder of its own. The work goes on by itself: its status says how.
#[utoipa::path(
    post, path = "/databases/{db}/admin/backup", operation_id = "startDatabaseBackup", tag = "RavenDB",
    params(
        ("db" = String, Path, description = "A configured or restored database"),
        ("incremental" = Option<String>, Query, description = "`true`: into a folder for increments; anything else is false"),
    ),
    request_body(content = DatabaseBackupRequest, content_type = "application/json"),
    responses(
        (status = 201, description = "Started (3.0)"),
        (status = 202, description = "Started (3.5)", body = OperationStarted),
        (status = 400, description = "The body cannot be read (`RavenUnhandled`), or the location may not be named (`RavenError`)"),
        (status = 404, description = "No such portal, or a bucket does not exist", body = ErrorBody),
        (status = 500, description = "A backup is running, BackupLocation is missing, or something else that RavenDB has no answer for", body = UnhandledBody),
        (status = 503, description = "No such database, or something the service depends on does not answer", body = ErrorBody),
        BodyErrors,
    ),
)]
pub async fn database(
    state: Data<HttpState>,
    request: HttpRequest,
    name: Path<String>,
    payload: Payload,
) -> HttpResponse {
    handle(&state, &request, SourceKind::Database, &name, payload).await
}

/// Starts a backup of one file system into a folder of its own. The work goes on by itself: its status says how.
#[utoipa::path(
    post, path = "/fs/{fs}/admin/backup", operation_id = "startFilesystemBackup", tag = "RavenDB",
    params(
        ("fs" = String, Path, description = "A configured or restored filesystem"),
        ("incremental" = Option<String>, Query, description = "`true`: into a folder for increments; anything else is false"),
    ),
    request_body(content = FilesystemBackupRequest, content_type = "application/json"),
    responses(
        (status = 201, description = "Started (3.0)"),
        (status = 202, description = "Started (3.5)", body = OperationStarted),
        (status = 400, description = "The body cannot be read (`RavenUnhandled`), or the location may not be named or written (`RavenMessage`)"),
        (status = 404, description = "No such portal, or a bucket does not exist", body = ErrorBody),
        (status = 500, description = "No such file system (3.0), a backup is running, BackupLocation is missing, or something else that RavenDB has no answer for", body = UnhandledBody),
        (status = 503, description = "No such file system (3.5), or something the service depends on does not answer", body = ErrorBody),
        BodyErrors,
    ),
)]
pub async fn filesystem(
    state: Data<HttpState>,
    request: HttpRequest,
    name: Path<String>,
    payload: Payload,
) -> HttpResponse {
    handle(&state, &request, SourceKind::Filesystem, &name, payload).await
}

/// RavenDB's own database, which there is none of here.
pub async fn system(state: Data<HttpState>, request: HttpRequest) -> HttpResponse {
    none(&state, &request, SourceKind::Database, "<system>").await
}

/// RavenDB routes this too.
pub async fn nameless(state: Data<HttpState>, request: HttpRequest) -> HttpResponse {
    none(&state, &request, SourceKind::Filesystem, "").await
}

async fn none(
    state: &HttpState,
    request: &HttpRequest,
    kind: SourceKind,
    name: &str,
) -> HttpResponse {
    let asked = Asked::of(state, request);
    let refused = administrator(state, request, Scope::Write).await;
    asked.answer(refused.and_then(|()| Err(missing(state, kind, name, true))))
}

async fn handle(
    state: &HttpState,
    request: &HttpRequest,
    kind: SourceKind,
    name: &str,
    payload: Payload,
) -> HttpResponse {
    let asked = Asked::of(state, request);
    asked.answer(start(&asked, state, request, kind, name, payload).await)
}

async fn start(
    asked: &Asked,
    state: &HttpState,
    request: &HttpRequest,
    kind: SourceKind,
    name: &str,
    payload: Payload,
) -> Result<HttpResponse, RavenError> {
    administrator(state, request, Scope::Write).await?;
    let body = body::read(payload).await?;
    let source = source(state, kind, name, true).await?;
    let fields = Fields::read(&charset::decode(request, &body)?)?
        .ok_or_else(|| no_value("backupRequest"))?;
    let location = fields.text("BackupLocation")?.ok_or_else(|| no_value("backupLocation"))?;
    let document = fields.object(match kind {
        SourceKind::Database => "DatabaseDocument",
        SourceKind::Filesystem => "FileSystemDocument",
    })?;
    let location = locate(state, kind, &location)?;
    let incremental = flag(request, "incremental") == Some(true);
    let wanted = StartBackup { source, location, document, incremental };
    let operation = backup::start(&state.app, wanted).await?;
    Ok(match version(state) {
        RavenVersion::V30 => asked.empty(StatusCode::CREATED),
        RavenVersion::V35 => {
            let operation_id = operation.number.unwrap_or_default();
            asked.json(StatusCode::ACCEPTED, &OperationStarted { operation_id })
        }
    })
}

pub fn no_value(name: &str) -> RavenError {
    let text = format!("Value cannot be null. Parameter name: {name}");
    RavenError::unhandled("System.ArgumentNullException", text)
}

/// A place that the request names; file systems have another form for what is wrong with it.
pub fn locate(state: &HttpState, kind: SourceKind, text: &str) -> Result<Location, RavenError> {
    Location::parse(&state.app, text).map_err(|error| match (error, kind) {
        (OpError::Invalid(text), SourceKind::Filesystem) => RavenError::Message(text),
        (error, _) => error.into(),
    })
}
