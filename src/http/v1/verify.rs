//! `POST /v1/archives/{id}/verify`.

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::ToSchema;

use super::backups::accepted;
use super::model::JobView;
use super::{BodyErrors, ErrorBody, V1Error, administrator, id, json, visible_archive};
use crate::catalog::Scope;
use crate::http::HttpState;
use crate::ops;

/// How thoroughly an archive is verified.
#[derive(Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewVerification)]
pub struct NewVerification {
    /// True: also restore it into a scratch place and compare that; `provedOn` says when it was.
    #[serde(default)]
    restore: bool,
}

/// Reads an archive from its storage and compares it with its manifest.
#[utoipa::path(
    post, path = "/v1/archives/{id}/verify", operation_id = "verifyArchive", tag = "Archives",
    params(("id" = Uuid, Path, description = "The archive's id")),
    request_body = NewVerification,
    responses(
        (status = 202, description = "The job that does it", body = JobView,
            headers(("Location" = String, description = "Where the job can be watched"))),
        (status = 400, description = "The request is wrong", body = ErrorBody),
        (status = 404, description = "No such archive", body = ErrorBody),
        (status = 409, description = "Something else is under way", body = ErrorBody),
        BodyErrors,
    ),
)]
pub async fn start(
    state: Data<HttpState>,
    request: HttpRequest,
    path: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, V1Error> {
    let caller = administrator(&state, &request, Scope::Write).await?;
    let wanted: NewVerification = json::read_or_default(&request, payload).await?;
    let archive = visible_archive(&state, &caller, id(&path)?).await?;
    let filter = caller.tenant_filter();
    let job = ops::verify::start(&state.app, filter, archive.id, wanted.restore, None).await?;
    Ok(accepted(&job))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies() {
        let of = |body: &str| json::parse::<NewVerification>(body.as_bytes());
        assert_eq!(of("{}").unwrap(), NewVerification { restore: false });
        assert_eq!(of(r#"{"restore":true}"#).unwrap(), NewVerification { restore: true });
        assert!(of(r#"{"restor":true}"#).is_err());
    }
}
