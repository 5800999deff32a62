//! `POST startbackup`.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::model::{BackupDto, BackupProgress};
use super::stored_for::{asked_by, no_foreign_credential};
use super::wrapper::{Asked, BackupProgressWrapper};
use super::{BodyErrors, DocError, ErrorWrapper, answer, bind};
use crate::catalog::Scope;
use crate::http::{HttpState, auth, body};
use crate::ops::backup::{self, Mode, StartBackup};
use crate::storage::StorageType;

/// Starts a backup. The work goes on by itself: ask for its progress. While a backup runs, that one is
/// returned.
#[utoipa::path(
    post, path = "/api/2.0/backup/startbackup", operation_id = "startBackup", tag = "Backup",
    summary = "Start the backup",
    request_body(content = BackupDto, content_type = "application/json"),
    responses(
        (status = 200, description = "The backup", body = BackupProgressWrapper),
        (status = 400, description = "The request cannot be read (`ValidationErrorWrapper`), or asks for what is not possible (`ErrorWrapper`)"),
        (status = 404, description = "No such portal, or a place in the storage does not exist"),
        (status = 409, description = "Something else is under way", body = ErrorWrapper),
        BodyErrors,
    ),
)]
pub async fn handle(
    state: Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> HttpResponse {
    let asked = Asked::of(&state, &request);
    let result = start(&state, &request, payload).await;
    answer(&asked, result.map(|progress| BackupProgressWrapper::of(&asked, Some(progress))))
}

async fn start(
    state: &HttpState,
    request: &HttpRequest,
    payload: Payload,
) -> Result<BackupProgress, DocError> {
    let caller = auth::authenticate(state, request, Scope::Write).await?;
    let body = body::read(payload).await?;
    let content_type =
        request.headers().get(CONTENT_TYPE).and_then(|content_type| content_type.to_str().ok());
    let bound = bind::start_backup(content_type, &body)?;
    caller.demand_administrator(&state.app).await?;
    caller.demand_start(&state.app, bound.dump).await?;
    let storage_type = bound.storage_type.unwrap_or(StorageType::Documents);
    let mut storage_params = bound.storage_params;
    no_foreign_credential(&state.app, &storage_params)?;
    asked_by(&state.app, &caller, request.headers(), storage_type, &mut storage_params).await;
    let job = backup::start(
        &state.app,
        StartBackup {
            tenant_id: caller.tenant_id,
            storage_type,
            storage_params,
            dump: bound.dump,
            mode: Mode::Full,
            parent: None,
            full_every: None,
            actor: Some(caller.actor()),
        },
    )
    .await?;
    Ok(super::progress::of_job(state, request, &caller, &job).await?)
}
