//! The documents in which RavenDB tells how backups and restores go, and what there is.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};

use super::answer::{Asked, RavenError};
use super::model::{
    BackupStatus, ConfigurationDocument, NestedStatus, RestoreInProgress, RestoreStatus,
    RestoreStatusDocument,
};
use super::{ErrorBody, administrator, source, version};
use crate::catalog::{Operation, Scope, SourceKind, Task};
use crate::http::HttpState;
use crate::ops::named::{document, operations, sources};

/// How a database's backup goes, or how the last one went.
#[utoipa::path(
    get, path = "/databases/{db}/docs/Raven/Backup/Status", operation_id = "getDatabaseBackupStatus", tag = "RavenDB",
    params(("db" = String, Path, description = "A configured or restored database")),
    responses(
        (status = 200, description = "The status", body = BackupStatus),
        (status = 404, description = "There was no backup (no body), or no such portal"),
        (status = 503, description = "No such database, or something the service depends on does not answer", body = ErrorBody),
    ),
)]
pub async fn backup_status(
    state: Data<HttpState>,
    request: HttpRequest,
    name: Path<String>,
) -> HttpResponse {
    let asked = Asked::of(&state, &request);
    let found = async {
        administrator(&state, &request, Scope::Read).await?;
        let source = source(&state, SourceKind::Database, &name, false).await?;
        let status = backup_of(&state, SourceKind::Database, &source.name).await?;
        Ok(asked.json(StatusCode::OK, &status))
    };
    asked.answer(found.await)
}

pub(super) async fn backup_of(
    state: &HttpState,
    kind: SourceKind,
    name: &str,
) -> Result<BackupStatus, RavenError> {
    let newest = operations::newest(&state.app, Task::Backup, kind, Some(name)).await?;
    let newest = newest.ok_or(RavenError::Nothing)?;
    Ok(BackupStatus::of(&newest, version(state)))
}

/// How a restore of a database goes, or how the last one went.
#[utoipa::path(
    get, path = "/docs/Raven/Restore/Status", operation_id = "getDatabaseRestoreStatus", tag = "RavenDB",
    responses(
        (status = 200, description = "The status; within `restoreStatus` when nobody said what was to be restored", body = RestoreStatusDocument),
        (status = 404, description = "There was no restore, or it has said nothing yet (no body); or no such portal"),
    ),
)]
pub async fn restore_status(state: Data<HttpState>, request: HttpRequest) -> HttpResponse {
    restore(&state, &request, SourceKind::Database, None).await
}

/// How the restore of a file system goes, or how the last one went.
#[utoipa::path(
    get, path = "/docs/Raven/FileSystem/Restore/Status/{fs}", operation_id = "getFilesystemRestoreStatus", tag = "RavenDB",
    params(("fs" = String, Path, description = "The file system that is restored")),
    responses(
        (status = 200, description = "The status", body = RestoreStatus),
        (status = 404, description = "There was no restore, or it has said nothing yet (no body); or no such portal"),
    ),
)]
pub async fn filesystem_restore_status(
    state: Data<HttpState>,
    request: HttpRequest,
    name: Path<String>,
) -> HttpResponse {
    restore(&state, &request, SourceKind::Filesystem, Some(&name)).await
}

async fn restore(
    state: &HttpState,
    request: &HttpRequest,
    kind: SourceKind,
    name: Option<&str>,
) -> HttpResponse {
    let asked = Asked::of(state, request);
    let found = async {
        administrator(state, request, Scope::Read).await?;
        let newest = operations::newest(&state.app, Task::Restore, kind, name).await?;
        // RavenDB deletes the old document at first, and writes the new one with its first message.
        let told = newest.filter(|newest: &Operation| !newest.messages.is_empty());
        let told = told.ok_or(RavenError::Nothing)?;
        let restore_status = RestoreStatus::from(&told);
        Ok(match told.job_id {
            Some(_) => asked.json(StatusCode::OK, &restore_status),
            None => asked.json(StatusCode::OK, &NestedStatus { restore_status }),
        })
    };
    asked.answer(found.await)
}

/// What is being restored now.
#[utoipa::path(
    get, path = "/docs/Raven/Restore/InProgress", operation_id = "getRestoreInProgress", tag = "RavenDB",
    responses(
        (status = 200, description = "It", body = RestoreInProgress),
        (status = 404, description = "Nothing is restored now (no body), or no such portal"),
    ),
)]
pub async fn in_progress(state: Data<HttpState>, request: HttpRequest) -> HttpResponse {
    let asked = Asked::of(&state, &request);
    let found = async {
        administrator(&state, &request, Scope::Read).await?;
        let resource = operations::restoring(&state.app).await?.ok_or(RavenError::Nothing)?;
        Ok(asked.json(StatusCode::OK, &RestoreInProgress { resource }))
    };
    asked.answer(found.await)
}

/// A database's configuration document, as a backup would store it.
#[utoipa::path(
    get, path = "/docs/Raven/Databases/{db}", operation_id = "getDatabaseDocument", tag = "RavenDB",
    params(("db" = String, Path, description = "A configured or restored database")),
    responses(
        (status = 200, description = "The document, without secrets", body = ConfigurationDocument),
        (status = 404, description = "There is none (no body), or no such portal"),
    ),
)]
pub async fn database(
    state: Data<HttpState>,
    request: HttpRequest,
    name: Path<String>,
) -> HttpResponse {
    configuration(&state, &request, SourceKind::Database, &name).await
}

/// A file system's configuration document, as a backup would store it.
#[utoipa::path(
    get, path = "/docs/Raven/FileSystems/{fs}", operation_id = "getFilesystemDocument", tag = "RavenDB",
    params(("fs" = String, Path, description = "A configured or restored filesystem")),
    responses(
        (status = 200, description = "The document, without secrets", body = ConfigurationDocument),
        (status = 404, description = "There is none (no body), or no such portal"),
    ),
)]
pub async fn filesystem(
    state: Data<HttpState>,
    request: HttpRequest,
    name: Path<String>,
) -> HttpResponse {
    configuration(&state, &request, SourceKind::Filesystem, &name).await
}

async fn configuration(
    state: &HttpState,
    request: &HttpRequest,
    kind: SourceKind,
    name: &str,
) -> HttpResponse {
    let asked = Asked::of(state, request);
    let found = async {
        // It says where data lies, which is no status.
        administrator(state, request, Scope::Write).await?;
        let source = sources::find(&state.app, kind, name).await?.ok_or(RavenError::Nothing)?;
        let (shown, _) = document::stored(kind, document::current(&source), false);
        Ok(asked.json(StatusCode::OK, &shown))
    };
    asked.answer(found.await)
}

/// The names of all databases, configured and restored.
#[utoipa::path(
    get, path = "/databases", operation_id = "listDatabases", tag = "RavenDB",
    responses(
        (status = 200, description = "The names", body = Vec<String>),
    ),
)]
pub async fn databases(state: Data<HttpState>, request: HttpRequest) -> HttpResponse {
    names(&state, &request, SourceKind::Database).await
}

/// The names of all file systems, configured and restored.
#[utoipa::path(
    get, path = "/fs", operation_id = "listFilesystems", tag = "RavenDB",
    responses(
        (status = 200, description = "The names", body = Vec<String>),
    ),
)]
pub async fn filesystems(state: Data<HttpState>, request: HttpRequest) -> HttpResponse {
    names(&state, &request, SourceKind::Filesystem).await
}

async fn names(state: &HttpState, request: &HttpRequest, kind: SourceKind) -> HttpResponse {
    let asked = Asked::of(state, request);
    let found = async {
        administrator(state, request, Scope::Read).await?;
        Ok(asked.json(StatusCode::OK, &sources::names(&state.app, kind).await?))
    };
    asked.answer(found.await)
}
