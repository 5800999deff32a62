//! `GET getbackuphistory`.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::model::BackupHistoryRecord;
use super::wrapper::{Asked, BackupHistoryRecordArrayWrapper};
use super::{DocError, administrator, answer, query};
use crate::catalog::Scope;
use crate::http::HttpState;

/// Lists the portal's stored backups, newest first.
#[utoipa::path(
    get, path = "/api/2.0/backup/getbackuphistory", operation_id = "getBackupHistory",
    tag = "Backup", summary = "Get the backup history",
    params(("Dump" = Option<bool>, Query, nullable = false,
        description = "True: backups of the whole installation; false: the portal's own; absent: both")),
    responses(
        (status = 200, description = "The backups", body = BackupHistoryRecordArrayWrapper),
        (status = 400, description = "A parameter cannot be read", body = super::ValidationErrorWrapper),
    ),
)]
pub async fn handle(state: Data<HttpState>, request: HttpRequest) -> HttpResponse {
    let asked = Asked::of(&state, &request);
    let result = history(&state, &request).await;
    answer(&asked, result.map(|records| BackupHistoryRecordArrayWrapper::of(&asked, records)))
}

async fn history(
    state: &HttpState,
    request: &HttpRequest,
) -> Result<Vec<BackupHistoryRecord>, DocError> {
    let caller = administrator(state, request, Scope::Read).await?;
    let dump = caller.visible(&state.app, query::dump(request.query_string())?).await?;
    let archives = state.app.recent.history(caller.tenant_id, dump).await?;
    Ok(archives.iter().map(BackupHistoryRecord::from).collect())
}
