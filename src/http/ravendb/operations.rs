//! Operations by their ids. RavenDB keeps all of them in one list, whatever prefix the request has.

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use jiff::SignedDuration;

use super::answer::{Asked, RavenError};
use super::model::{ListedOperation, OperationStatus};
use super::{ErrorBody, administrator, named_in_path, version};
use crate::catalog::{Operation, Scope, Task};
use crate::config::RavenVersion;
use crate::http::HttpState;
use crate::http::docspace::query::first;
use crate::ops::named::operations;

/// How long RavenDB lists an operation that has ended, counted from its start.
const LISTED: SignedDuration = SignedDuration::from_mins(1);

/// How an operation goes, or how it went. The same under `/databases/{db}` and `/fs/{fs}`.
#[utoipa::path(
    get, path = "/operation/status", operation_id = "getOperationStatus", tag = "RavenDB",
    params(("id" = String, Query, description = "As told when it was started")),
    responses(
        (status = 200, description = "The operation", body = OperationStatus),
        (status = 400, description = "No number", body = ErrorBody),
        (status = 404, description = "No such operation (no body), or no such portal"),
        (status = 503, description = "No such database or file system, or something the service depends on does not answer", body = ErrorBody),
    ),
)]
pub async fn status(state: Data<HttpState>, request: HttpRequest) -> HttpResponse {
    let asked = Asked::of(&state, &request);
    let found = async {
        administrator(&state, &request, Scope::Read).await?;
        named_in_path(&state, &request).await?;
        let operation = find(&state, &request).await?;
        Ok(asked.json(StatusCode::OK, &OperationStatus::of(&operation, version(&state))))
    };
    asked.answer(found.await)
}

/// Asks an operation to stop; backups do, restores do not. The same under `/databases/{db}` and `/fs/{fs}`.
#[utoipa::path(
    get, path = "/operation/kill", operation_id = "killOperation", tag = "RavenDB",
    params(("id" = String, Query, description = "As told when it was started")),
    responses(
        (status = 200, description = "The operation", body = OperationStatus),
        (status = 400, description = "No number", body = ErrorBody),
        (status = 404, description = "No such operation (no body), or no such portal"),
        (status = 503, description = "No such database or file system, or something the service depends on does not answer", body = ErrorBody),
    ),
)]
pub async fn kill(state: Data<HttpState>, request: HttpRequest) -> HttpResponse {
    let asked = Asked::of(&state, &request);
    let found = async {
        administrator(&state, &request, Scope::Write).await?;
        named_in_path(&state, &request).await?;
        let mut operation = find(&state, &request).await?;
        if operation.task == Task::Backup && operation.ending.is_none() {
            operations::cancel(&state.app, &operation).await?;
            operation = find(&state, &request).await?;
        }
        Ok(asked.json(StatusCode::OK, &OperationStatus::of(&operation, version(&state))))
    };
    asked.answer(found.await)
}

/// Operations that run, and those begun in the last minute. The same under `/databases/{db}` and `/fs/{fs}`.
#[utoipa::path(
    get, path = "/operations", operation_id = "listOperations", tag = "RavenDB",
    responses(
        (status = 200, description = "The operations", body = Vec<ListedOperation>),
        (status = 503, description = "No such database or file system, or something the service depends on does not answer", body = ErrorBody),
    ),
)]
pub async fn list(state: Data<HttpState>, request: HttpRequest) -> HttpResponse {
    let asked = Asked::of(&state, &request);
    let found = async {
        administrator(&state, &request, Scope::Read).await?;
        named_in_path(&state, &request).await?;
        let since = jiff::Timestamp::now() - LISTED;
        let listed = operations::since(&state.app, since).await?;
        let version = version(&state);
        let listed: Vec<_> = listed
            .iter()
            .filter(|operation| is_shown(operation, version))
            .map(|operation| ListedOperation::of(operation, version))
            .collect();
        Ok(asked.json(StatusCode::OK, &listed))
    };
    asked.answer(found.await)
}

/// In 3.0 backups are no operations, and a refused restore never is one.
fn is_shown(operation: &Operation, version: RavenVersion) -> bool {
    operation.job_id.is_some() && (version == RavenVersion::V35 || operation.task == Task::Restore)
}

async fn find(state: &HttpState, request: &HttpRequest) -> Result<Operation, RavenError> {
    let id = first(request.query_string(), "id").and_then(|id| id.trim().parse::<i64>().ok());
    let id = id.ok_or_else(|| {
        let text = "Query string variable id must be a valid int64";
        RavenError::Error(StatusCode::BAD_REQUEST, text.to_owned())
    })?;
    let found = operations::numbered(&state.app, id).await?;
    found.filter(|found| is_shown(found, version(state))).ok_or(RavenError::Nothing)
}
