//! `POST /v1/restores`.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use url::Url;
use utoipa::ToSchema;
use uuid::Uuid;

use super::backups::accepted;
use super::model::JobView;
use super::{BodyErrors, ErrorBody, V1Error, administrator, json, visible_archive};
use crate::app::App;
use crate::catalog::Scope;
use crate::http::HttpState;
use crate::http::auth::{Caller, Role};
use crate::http::docspace::stored_for::{choice, lent};
use crate::jobs::Progress;
use crate::ops::OpError;
use crate::ops::restore::{self, ArchiveChoice, RestorePlan, RestoreRequest};

/// What is to be restored: either `archiveId` or `url` names the archive.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewRestore)]
pub struct NewRestore {
    #[serde(default)]
    archive_id: Option<Uuid>,
    /// Of an archive in a configured storage, or where `storage.allow` lets it lie.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    url: Option<Url>,
    /// Whether it is one of the whole installation; if it is not what is said here, it is refused. Absent:
    /// whatever it is.
    #[serde(default)]
    dump: Option<bool>,
    /// True: change nothing, and answer what would be done. Not described: clients made from the description know one
    /// answer of an operation, so they ask for the plan.
    #[serde(default)]
    #[schema(ignore)]
    dry_run: bool,
    /// Members of the archive, or folders of them; empty: everything.
    #[serde(default)]
    only: Vec<String>,
    /// A configured source by its name, to restore into instead of the portal's own. Needs a key of the
    /// installation.
    #[serde(default)]
    into: Option<String>,
    /// True: run the SQL of an archive that was not made here as if it had been. Needs a key of the
    /// installation.
    #[serde(default)]
    trust: bool,
}

/// What is answered to a wish that cannot be obeyed, whatever is done with it.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "it describes answers")]
enum Refusals {
    #[response(status = 400, description = "The request is wrong")]
    Wrong(ErrorBody),
    #[response(status = 404, description = "No such archive")]
    Unknown(ErrorBody),
}

/// Starts a restore. While a restore runs, that one is returned.
#[utoipa::path(
    post, path = "/v1/restores", operation_id = "createRestore", tag = "Jobs",
    request_body = NewRestore,
    responses(
        (status = 202, description = "The job that does it", body = JobView,
            headers(("Location" = String, description = "Where the job can be watched"))),
        (status = 409, description = "Something else is under way, or nothing here opens the archive (`encrypted`)", body = ErrorBody),
        Refusals,
        BodyErrors,
    ),
)]
pub async fn create(
    state: Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, V1Error> {
    let caller = administrator(&state, &request, Scope::Write).await?;
    let wanted: NewRestore = json::read(&request, payload).await?;
    let dry_run = wanted.dry_run;
    // Whatever is asked for, even what is not there.
    if !dry_run
        && let Some(job) = restore::running(&state.app).await?
        && caller.tenant_filter().is_none_or(|tenant| tenant == job.tenant_id)
    {
        return Ok(accepted(&job));
    }
    let restore = check(&state, &caller, lent(&caller, request.headers()), wanted).await?;
    if dry_run {
        return planned(&state, &caller, &restore).await;
    }
    let started = restore::start(&state.app, caller.tenant_id, restore).await?;
    Ok(accepted(&started.job))
}

/// Says what a restore would do; changes nothing.
#[utoipa::path(
    post, path = "/v1/restores/plan", operation_id = "planRestore", tag = "Jobs",
    request_body = NewRestore,
    responses(
        (status = 200, description = "What would be done", body = RestorePlan),
        (status = 409, description = "Nothing here opens the archive (`encrypted`)", body = ErrorBody),
        Refusals,
        BodyErrors,
    ),
)]
pub async fn plan(
    state: Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, V1Error> {
    let caller = administrator(&state, &request, Scope::Write).await?;
    let wanted: NewRestore = json::read(&request, payload).await?;
    let restore = check(&state, &caller, lent(&caller, request.headers()), wanted).await?;
    planned(&state, &caller, &restore).await
}

async fn planned(
    state: &HttpState,
    caller: &Caller,
    restore: &RestoreRequest,
) -> Result<HttpResponse, V1Error> {
    let plan =
        restore::plan(&state.app, caller.tenant_filter(), restore, Some(&Progress::default()))
            .await?;
    Ok(HttpResponse::Ok().json(plan))
}

/// Everything that depends on who asks.
async fn check(
    state: &HttpState,
    caller: &Caller,
    credential: Option<String>,
    wanted: NewRestore,
) -> Result<RestoreRequest, V1Error> {
    let app = &state.app;
    if caller.role != Role::Installation && (wanted.into.is_some() || wanted.trust) {
        return Err(V1Error::InstallationOnly("into and trust"));
    }
    if let Some(into) = &wanted.into {
        check_target(app, into)?;
    }
    let mut dump = wanted.dump;
    caller.demand_start(app, dump == Some(true)).await?;
    if dump.is_none() && !caller.may_dump(app).await? {
        dump = Some(false);
    }
    let archive = match (wanted.archive_id, wanted.url) {
        (Some(id), None) => {
            let archive = visible_archive(state, caller, id).await?;
            choice(app, archive, credential).await
        }
        (None, Some(url)) => {
            app.storages.by_allowed_url(&url).map_err(OpError::from)?;
            ArchiveChoice::Url { url }
        }
        _ => return Err(V1Error::invalid("Name the archive by archiveId or by url")),
    };
    Ok(RestoreRequest {
        archive,
        dump,
        only: wanted.only,
        into: wanted.into,
        trust: wanted.trust,
        by_operator: false,
        identity_file: None,
        actor: Some(caller.actor()),
    })
}

/// A request may restore only into what the configuration names.
fn check_target(app: &App, into: &str) -> Result<(), V1Error> {
    let portal = &app.config.portal;
    let databases = portal.database.iter().map(|source| source.name.as_str());
    let filesystems = portal.filesystem.iter().map(|source| source.name.as_str());
    let indexes = portal.index.iter().map(|source| source.name.as_str());
    if databases.chain(filesystems).chain(indexes).any(|name| name == into) {
        return Ok(());
    }
    Err(V1Error::invalid(if into.contains("://") {
        "into must be the name of a configured source: a URL can be named on the command line only"
            .to_owned()
    } else {
        format!("into: the configuration has no source {into:?}")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Result<NewRestore, String> {
        json::parse(body.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn bodies() {
        let bound = of(r#"{"archiveId":"0f3c8b0a-7a52-4f0e-9d0c-3a1b5e6f7a8b","dryRun":true,
            "only":["databases/data/a"],"into":"copy","trust":true,"dump":false}"#)
        .unwrap();
        assert!(bound.archive_id.is_some() && bound.dry_run && bound.trust);
        assert_eq!((bound.only.len(), bound.dump), (1, Some(false)));
        assert_eq!(bound.into.as_deref(), Some("copy"));
        let bound = of(r#"{"url":"s3://bucket/a.tar.gz"}"#).unwrap();
        assert_eq!(bound.url.unwrap().as_str(), "s3://bucket/a.tar.gz");
        assert!(!bound.dry_run && !bound.trust && bound.dump.is_none() && bound.only.is_empty());
    }

    #[test]
    fn mistakes_are_named() {
        for (body, word) in [
            (r#"{"archive":"x"}"#, "archive"),
            (r#"{"archiveId":"x"}"#, "UUID"),
            (r#"{"url":"a.tar.gz"}"#, "URL"),
            (r#"{"dryrun":true}"#, "dryrun"),
            (r#"{"only":"a"}"#, "sequence"),
            (r#"{"trust":"yes"}"#, "boolean"),
        ] {
            let error = of(body).unwrap_err();
            assert!(error.contains(word), "{body}: {error}");
        }
    }
}
