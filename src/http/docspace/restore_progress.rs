//! `GET getrestoreprogress`: for anybody, because a portal's users and keys are what is being restored.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::model::BackupProgress;
use super::wrapper::{Asked, BackupProgressWrapper};
use super::{DocError, answer, query};
use crate::config::LayoutKind;
use crate::http::auth::{PORTAL_AWAY, Refusal};
use crate::http::{HttpState, auth};
use crate::ops::restore;

/// Tells how far the running or else the latest restore is, also while the portal is closed for it. No
/// credential is needed. Without any restore there is no `response`.
#[utoipa::path(
    get, path = "/api/2.0/backup/getrestoreprogress", operation_id = "getRestoreProgress",
    tag = "Backup", summary = "Get the restoring progress",
    params(("Dump" = Option<bool>, Query, nullable = false,
        description = "True: the restore of the whole installation; false: the portal's own; absent: whichever is running or latest")),
    responses(
        (status = 200, description = "The restore", body = BackupProgressWrapper),
        (status = 400, description = "A parameter cannot be read", body = super::ValidationErrorWrapper),
        (status = 403, description = "A key was sent that is wrong or may not read"),
    ),
    security(()),
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
    let visitor = auth::visit(state, request).await?;
    let mut dump = query::dump(request.query_string())?;
    let hosted =
        state.app.config.portal.layout == LayoutKind::Docspace && !auth::is_standalone(&state.app);
    if hosted {
        dump = Some(false);
    }
    // Whose restore it is matters only where it is a tenant's own.
    let tenant = match (visitor.tenant_id, dump) {
        (None, Some(false)) => return Err(Refusal::Unavailable(PORTAL_AWAY).into()),
        (tenant, _) => tenant.unwrap_or_default(),
    };
    let Some(job) = restore::latest(&state.app, tenant, dump).await? else { return Ok(None) };
    let mut progress = BackupProgress::new(&job, String::new());
    if !visitor.has_key {
        // They name tables and files.
        progress.warning = None;
    }
    Ok(Some(progress))
}
