//! `DELETE deletebackup/{id}`.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use uuid::Uuid;

use super::stored_for::lent;
use super::wrapper::{Asked, BooleanWrapper};
use super::{DocError, ErrorWrapper, administrator, answer, query};
use crate::catalog::Scope;
use crate::http::HttpState;
use crate::ops::archives;

/// Deletes a stored backup.
#[utoipa::path(
    delete, path = "/api/2.0/backup/deletebackup/{id}", operation_id = "deleteBackup",
    tag = "Backup", summary = "Delete the backup",
    params(("id" = Uuid, Path, description = "The backup's id")),
    responses(
        (status = 200, description = "It is deleted", body = BooleanWrapper),
        (status = 404, description = "No such backup, or no such portal"),
        (status = 409, description = "Something else needs the backup now", body = ErrorWrapper),
    ),
)]
pub async fn handle(
    state: Data<HttpState>,
    request: HttpRequest,
    id: Path<String>,
) -> HttpResponse {
    // DocSpace's route takes GUIDs only, so anything else is no route of its.
    let Some(id) = query::guid(&id) else { return HttpResponse::NotFound().finish() };
    let asked = Asked::of(&state, &request);
    let result = delete(&state, &request, id).await;
    answer(&asked, result.map(|()| BooleanWrapper::of(&asked, true)))
}

async fn delete(state: &HttpState, request: &HttpRequest, id: Uuid) -> Result<(), DocError> {
    let caller = administrator(state, request, Scope::Write).await?;
    let archive = archives::get(&state.app, caller.tenant_filter(), id).await?;
    if archive.dump {
        caller.demand_dump(&state.app).await?;
    }
    let credential = lent(&caller, request.headers());
    Ok(archives::delete(&state.app, caller.tenant_filter(), id, credential).await?)
}
