//! `/v1/jobs`.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};

use super::model::{JobList, JobView, Kind, State};
use super::{ErrorBody, V1Error, administrator, id, paging, visible_job};
use crate::catalog::Scope;
use crate::http::HttpState;
use crate::jobs::JobFilter;
use crate::ops;

/// Lists jobs, newest first.
#[utoipa::path(
    get, path = "/v1/jobs", operation_id = "listJobs", tag = "Jobs",
    params(
        ("kind" = Option<Kind>, Query, nullable = false, description = "Only of this kind"),
        ("state" = Option<State>, Query, nullable = false, description = "Only in this state"),
        ("limit" = Option<u32>, Query, nullable = false, minimum = 1, maximum = 200,
            description = "How many at most; 50 if absent"),
        ("offset" = Option<u64>, Query, nullable = false, description = "How many to leave out"),
    ),
    responses(
        (status = 200, description = "The jobs", body = JobList),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
        (status = 404, description = "No such portal", body = ErrorBody),
    ),
)]
pub async fn list(state: Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, V1Error> {
    let caller = administrator(&state, &request, Scope::Read).await?;
    let query = request.query_string();
    let filter = JobFilter {
        tenant_id: caller.tenant_filter(),
        kind: paging::word(query, "kind")?,
        state: paging::word(query, "state")?,
        dump: caller.visible(&state.app, None).await?,
        unfinished: false,
    };
    let jobs = ops::jobs::list(&state.app, filter, paging::page(query)?).await?;
    Ok(HttpResponse::Ok().json(JobList::from(jobs)))
}

/// Shows a job.
#[utoipa::path(
    get, path = "/v1/jobs/{id}", operation_id = "getJob", tag = "Jobs",
    params(("id" = Uuid, Path, description = "The job's id")),
    responses(
        (status = 200, description = "The job", body = JobView),
        (status = 404, description = "No such job", body = ErrorBody),
    ),
)]
pub async fn get(
    state: Data<HttpState>,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, V1Error> {
    let caller = administrator(&state, &request, Scope::Read).await?;
    let job = visible_job(&state, &caller, id(&path)?).await?;
    Ok(HttpResponse::Ok().json(JobView::from(&job)))
}

/// Asks a job to stop. It does so within seconds: watch its state.
#[utoipa::path(
    delete, path = "/v1/jobs/{id}", operation_id = "cancelJob", tag = "Jobs",
    params(("id" = Uuid, Path, description = "The job's id")),
    responses(
        (status = 202, description = "The job as it is now", body = JobView),
        (status = 404, description = "No such job", body = ErrorBody),
        (status = 409, description = "The job has ended already", body = ErrorBody),
    ),
)]
pub async fn cancel(
    state: Data<HttpState>,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, V1Error> {
    let caller = administrator(&state, &request, Scope::Write).await?;
    let job = visible_job(&state, &caller, id(&path)?).await?;
    let job =
        ops::jobs::cancel(&state.app, caller.tenant_filter(), job.id, &caller.actor()).await?;
    Ok(HttpResponse::Accepted().json(JobView::from(&job)))
}
