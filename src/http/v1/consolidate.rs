//! `POST /v1/archives/{id}/consolidate`.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};

use super::backups::accepted;
use super::model::JobView;
use super::{ErrorBody, V1Error, administrator, id, visible_archive};
use crate::catalog::Scope;
use crate::http::HttpState;
use crate::ops::backup::consolidate;

/// Makes one full archive of an increment and all that it builds on, beside it, without reading the portal. They all
/// stay.
#[utoipa::path(
    post, path = "/v1/archives/{id}/consolidate", operation_id = "consolidateArchive", tag = "Archives",
    params(("id" = Uuid, Path, description = "The archive's id")),
    responses(
        (status = 202, description = "The job that does it", body = JobView,
            headers(("Location" = String, description = "Where the job can be watched"))),
        (status = 400, description = "It is no increment", body = ErrorBody),
        (status = 404, description = "No such archive", body = ErrorBody),
    ),
)]
pub async fn start(
    state: Data<HttpState>,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, V1Error> {
    let caller = administrator(&state, &request, Scope::Write).await?;
    let archive = visible_archive(&state, &caller, id(&path)?).await?;
    let job = consolidate::start(&state.app, caller.tenant_filter(), archive.id, None).await?;
    Ok(accepted(&job))
}
