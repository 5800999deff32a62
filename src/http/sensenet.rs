//! sensenet's API for copies of its index: `BackupIndex`, `QueryIndexBackup` and `CancelIndexBackup` of the content
//! `/Root`, under `/odata.svc/` (`seed-systems.md` part B).

mod answer;
mod error;
mod operation;
mod parameter;

use actix_web::http::Method;
use actix_web::http::header::{ALLOW, CONTENT_TYPE};
use actix_web::web::{self, Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

pub use answer::{BackupInfo, BackupResponse, BackupState};
pub use error::ODataError;
use error::SnError;
use operation::{Address, Operation};

use super::{HttpState, auth, body};
use crate::catalog::Scope;
use crate::ops::{OpError, index_copies};

/// What all answers with content are.
pub(super) const JSON: &str = "application/json;odata=verbose;charset=utf-8";

/// One route: what its address means is OData's own matter. The case of `odata.svc` is `paths::normalise`'s.
pub fn configure(config: &mut ServiceConfig) {
    config.service(web::resource("/odata.svc/{address:.*}").route(web::route().to(handle)));
}

async fn handle(state: Data<HttpState>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let result = match operation::read(request.uri().path()) {
        Address::Nothing => return HttpResponse::NotFound().finish(),
        Address::Malformed => Err(SnError::Malformed("The address is no OData address".to_owned())),
        Address::Unknown(name) => match known(&state, &request, Scope::Read, &name).await {
            Ok(()) => Err(SnError::UnknownAction(name)),
            Err(error) => Err(error),
        },
        Address::Operation(operation) => match request.method() {
            &Method::OPTIONS => return allowed(HttpResponse::NoContent(), operation),
            &Method::GET | &Method::HEAD if operation == Operation::Query => {
                query(&state, &request).await
            }
            &Method::POST => post(&state, &request, payload, operation).await,
            method @ (&Method::GET
            | &Method::HEAD
            | &Method::PUT
            | &Method::PATCH
            | &Method::DELETE) => {
                let method = if method == Method::HEAD { &Method::GET } else { method };
                known(&state, &request, Scope::Read, operation.name())
                    .await
                    .and(Err(SnError::IllegalInvoke(method.clone())))
            }
            _ => return allowed(HttpResponse::MethodNotAllowed(), operation),
        },
    };
    match result.and_then(|response| answer::json(&response)) {
        Ok(json) => HttpResponse::Ok().insert_header((CONTENT_TYPE, JSON)).body(json),
        Err(error) => error.response(),
    }
}

fn allowed(mut response: actix_web::HttpResponseBuilder, operation: Operation) -> HttpResponse {
    let methods = match operation {
        Operation::Query => "GET, HEAD, POST, OPTIONS",
        Operation::Backup | Operation::Cancel => "POST, OPTIONS",
    };
    response.insert_header((ALLOW, methods)).finish()
}

/// Whether the sender may do this at all.
async fn known(
    state: &HttpState,
    request: &HttpRequest,
    need: Scope,
    operation: &str,
) -> Result<(), SnError> {
    may(state, request, need, operation).await.map(drop)
}

/// The sender's tenant, if they administer the installation: the index is everybody's.
async fn may(
    state: &HttpState,
    request: &HttpRequest,
    need: Scope,
    operation: &str,
) -> Result<i64, SnError> {
    let refused = |refusal| SnError::Refused(refusal, operation.to_owned());
    let caller = auth::authenticate_sensenet(state, request, need).await.map_err(refused)?;
    let allowed = async {
        caller.demand_administrator(&state.app).await?;
        caller.demand_dump(&state.app).await
    };
    match allowed.await {
        Ok(()) => Ok(caller.tenant_id),
        Err(OpError::Forbidden) => Err(refused(auth::Refusal::Forbidden)),
        Err(error) => Err(error.into()),
    }
}

async fn post(
    state: &HttpState,
    request: &HttpRequest,
    payload: Payload,
    operation: Operation,
) -> Result<BackupResponse, SnError> {
    match operation {
        Operation::Query => query(state, request).await,
        Operation::Backup => backup(state, request, payload).await,
        Operation::Cancel => {
            may(state, request, Scope::Write, operation.name()).await?;
            configured(state)?;
            Ok(BackupResponse::cancelling(index_copies::cancel(&state.app).await?))
        }
    }
}

fn configured(state: &HttpState) -> Result<(), SnError> {
    match index_copies::is_configured(&state.app) {
        true => Ok(()),
        false => Err(SnError::NotSupported),
    }
}

async fn query(state: &HttpState, request: &HttpRequest) -> Result<BackupResponse, SnError> {
    may(state, request, Scope::Read, Operation::Query.name()).await?;
    configured(state)?;
    Ok(BackupResponse::of(index_copies::query(&state.app).await?))
}

async fn backup(
    state: &HttpState,
    request: &HttpRequest,
    payload: Payload,
) -> Result<BackupResponse, SnError> {
    let tenant = may(state, request, Scope::Write, Operation::Backup.name()).await?;
    let body = body::read(payload).await?;
    configured(state)?;
    let target = parameter::target(request.query_string(), request.headers(), body).await?;
    let target = target.ok_or(SnError::NullTarget)?;
    Ok(BackupResponse::started(index_copies::start(&state.app, tenant, &target).await?))
}

/// Starts a copy of the index into a folder, or tells how far the one is that runs: then nothing is started and the
/// target is ignored. The copy's files lie flat in the target; an earlier copy's are replaced when it is complete.
#[utoipa::path(
    post, path = "/odata.svc/(%27Root%27)/BackupIndex", operation_id = "backupIndex", tag = "sensenet",
    summary = "Copy the index",
    params(("target" = Option<String>, Query, nullable = false, description = "A folder below the local storage's root, or an allowed URL; it may be in the body instead")),
    request_body(content = BackupIndexParameters, content_type = "application/json"),
    responses(
        (status = 200, description = "`Started`, or `Executing` when one runs already", body = BackupResponse, content_type = "application/json;odata=verbose;charset=utf-8"),
        (status = 400, description = "The request cannot be read, or the target may not be named", body = ODataError, content_type = "application/json;odata=verbose;charset=utf-8"),
        (status = 408, description = "The body did not arrive in time", body = ODataError, content_type = "application/json;odata=verbose;charset=utf-8"),
        (status = 409, description = "A restore is running", body = ODataError, content_type = "application/json;odata=verbose;charset=utf-8"),
        (status = 413, description = "The body is too large", body = ODataError, content_type = "application/json;odata=verbose;charset=utf-8"),
        (status = 500, description = "`NotSpecified`: no target, no index configured, or unexpected", body = ODataError, content_type = "application/json;odata=verbose;charset=utf-8"),
    ),
)]
#[allow(dead_code, reason = "a description")]
pub async fn describe_backup() {}

/// Tells how far the copy is that runs, and how all before it ended.
#[utoipa::path(
    get, path = "/odata.svc/(%27Root%27)/QueryIndexBackup", operation_id = "queryIndexBackup", tag = "sensenet",
    summary = "Ask about copies of the index",
    responses(
        (status = 200, description = "`Executing`; or by the latest of the history `Initial`, `Finished`, `Canceled` or `Faulted`", body = BackupResponse, content_type = "application/json;odata=verbose;charset=utf-8"),
    ),
)]
#[allow(dead_code, reason = "a description")]
pub async fn describe_query() {}

/// The same as with GET.
#[utoipa::path(
    post, path = "/odata.svc/(%27Root%27)/QueryIndexBackup", operation_id = "queryIndexBackupByPost", tag = "sensenet",
    summary = "Ask about copies of the index",
    responses(
        (status = 200, description = "`Executing`; or by the latest of the history `Initial`, `Finished`, `Canceled` or `Faulted`", body = BackupResponse, content_type = "application/json;odata=verbose;charset=utf-8"),
    ),
)]
#[allow(dead_code, reason = "a description")]
pub async fn describe_query_by_post() {}

/// Asks the copy that runs to stop; it does so also in the middle of a file, and the target stays as it was.
#[utoipa::path(
    post, path = "/odata.svc/(%27Root%27)/CancelIndexBackup", operation_id = "cancelIndexBackup", tag = "sensenet",
    summary = "Cancel the copy of the index",
    responses(
        (status = 200, description = "`CancelRequested`, also when none runs", body = BackupResponse, content_type = "application/json;odata=verbose;charset=utf-8"),
    ),
)]
#[allow(dead_code, reason = "a description")]
pub async fn describe_cancel() {}

/// Where a copy goes.
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "a schema")]
pub struct BackupIndexParameters {
    /// A folder below the local storage's root, or an allowed URL.
    target: Option<String>,
}
