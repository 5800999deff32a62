//! `POST cancelbackup`.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::wrapper::{Asked, BooleanWrapper};
use super::{DocError, administrator, answer};
use crate::catalog::Scope;
use crate::http::HttpState;
use crate::ops::backup;

/// Asks the running backup to stop. False: there was none.
#[utoipa::path(
    post, path = "/api/2.0/backup/cancelbackup", operation_id = "cancelBackup", tag = "Backup",
    summary = "Cancel the running backup",
    responses(
        (status = 200, description = "Whether there was one to stop", body = BooleanWrapper),
    ),
)]
pub async fn handle(state: Data<HttpState>, request: HttpRequest) -> HttpResponse {
    let asked = Asked::of(&state, &request);
    let result = cancel(&state, &request).await;
    answer(&asked, result.map(|cancelled| BooleanWrapper::of(&asked, cancelled)))
}

async fn cancel(state: &HttpState, request: &HttpRequest) -> Result<bool, DocError> {
    let caller = administrator(state, request, Scope::Write).await?;
    let mut any_runs = false;
    let dumps_too = caller.may_dump(&state.app).await?;
    let by = caller.actor();
    for dump in [false, true].into_iter().filter(|dump| !dump || dumps_too) {
        any_runs |= backup::cancel(&state.app, caller.tenant_id, dump, &by).await?;
    }
    Ok(any_runs)
}
