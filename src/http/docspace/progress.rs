//! `GET getbackupprogress`.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use url::Url;

use super::model::BackupProgress;
use super::wrapper::{Asked, BackupProgressWrapper};
use super::{DocError, administrator, answer, query};
use crate::catalog::Scope;
use crate::http::HttpState;
use crate::http::auth::Caller;
use crate::jobs::{Job, JobState};
use crate::ops::{OpError, backup};

/// Tells how far the running or else the latest backup is. Without any there is no `response`.
#[utoipa::path(
    get, path = "/api/2.0/backup/getbackupprogress", operation_id = "getBackupProgress",
    tag = "Backup", summary = "Get the backup progress",
    params(("Dump" = Option<bool>, Query, nullable = false,
        description = "True: the backup of the whole installation; false: the portal's own; absent: whichever is running or latest")),
    responses(
        (status = 200, description = "The backup", body = BackupProgressWrapper),
        (status = 400, description = "A parameter cannot be read", body = super::ValidationErrorWrapper),
    ),
)]
pub async fn handle(state: Data<HttpState>, request: HttpRequest) -> HttpResponse {
    let asked = Asked::of(&state, &request);
    let result = progress(&state, &request).await;
    answer(&asked, result.map(|progress| BackupProgressWrapper::of(&asked, progress)))
}

async fn progress(
    state: &HttpState,
    request: &HttpRequest,
) -> Result<Option<BackupProgress>, DocError> {
    let caller = administrator(state, request, Scope::Read).await?;
    let dump = caller.visible(&state.app, query::dump(request.query_string())?).await?;
    match backup::latest(&state.app, caller.tenant_id, dump).await? {
        Some(job) => Ok(Some(of_job(state, request, &caller, &job).await?)),
        None => Ok(None),
    }
}

/// A job's progress, with the archive's download address once there is one: for those who may read
/// archives, because an archive holds every secret.
pub async fn of_job(
    state: &HttpState,
    request: &HttpRequest,
    caller: &Caller,
    job: &Job,
) -> Result<BackupProgress, OpError> {
    let mut link = String::new();
    if let (JobState::Succeeded, Some(id), Scope::Write) = (job.state, job.archive_id, caller.reach)
    {
        // Deleted since? The backup was made nevertheless.
        let found = state.app.recent.link(id).await?;
        link = found.map_or(link, |link| as_reached(state, request, link));
    }
    Ok(BackupProgress::new(job, link))
}

/// An address of ours where none is configured: by the host that the client has reached.
fn as_reached(state: &HttpState, request: &HttpRequest, link: Url) -> String {
    match state.app.links.path_of(&link) {
        Some(path) if state.app.config.server.public_url.is_none() => {
            state.client(request).url(None, path)
        }
        _ => link.into(),
    }
}
