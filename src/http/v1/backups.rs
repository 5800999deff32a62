//! `POST /v1/backups`.

use actix_web::http::header::LOCATION;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::model::{JobView, StorageTypeName};
use super::{BodyErrors, ErrorBody, V1Error, administrator, json, visible_archive};
use crate::catalog::Scope;
use crate::http::HttpState;
use crate::http::docspace::stored_for::{asked_by, no_foreign_credential};
use crate::ops::backup::{self, Mode, StartBackup};
use crate::storage::{StorageParams, StorageType};

/// What a backup is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewBackup)]
pub struct NewBackup {
    /// Where the archive goes; names are taken in any case, and numbers as in DocSpace's API.
    #[serde(deserialize_with = "json::storage_type")]
    #[schema(value_type = StorageTypeName)]
    storage_type: StorageType,
    /// Settings of the storage, such as `filePath` of a local one.
    #[serde(default, deserialize_with = "json::storage_params")]
    #[schema(value_type = BTreeMap<String, String>)]
    storage_params: StorageParams,
    /// True: back up the whole installation.
    #[serde(default)]
    dump: bool,
    #[serde(default)]
    #[schema(value_type = BackupMode)]
    mode: Mode,
    /// The archive that an incremental backup adds to; absent: the newest in its storage that will do.
    #[serde(default)]
    parent: Option<Uuid>,
}

/// Whether an archive stands alone.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the schema of `ops::backup::Mode`")]
#[schema(rename_all = "lowercase")]
pub enum BackupMode {
    Full,
    Incremental,
}

/// Starts a backup. While one runs that excludes it, that one is returned.
#[utoipa::path(
    post, path = "/v1/backups", operation_id = "createBackup", tag = "Jobs",
    request_body = NewBackup,
    responses(
        (status = 202, description = "The job that makes it", body = JobView,
            headers(("Location" = String, description = "Where the job can be watched"))),
        (status = 400, description = "The request is wrong", body = ErrorBody),
        (status = 404, description = "There is no archive `parent`", body = ErrorBody),
        (status = 409, description = "Something else is under way", body = ErrorBody),
        BodyErrors,
    ),
)]
pub async fn create(
    state: Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, V1Error> {
    let caller = administrator(&state, &request, Scope::Write).await?;
    let mut wanted: NewBackup = json::read(&request, payload).await?;
    caller.demand_start(&state.app, wanted.dump).await?;
    if let Some(parent) = wanted.parent {
        visible_archive(&state, &caller, parent).await?;
    }
    no_foreign_credential(&state.app, &wanted.storage_params)?;
    let (kind, params) = (wanted.storage_type, &mut wanted.storage_params);
    asked_by(&state.app, &caller, request.headers(), kind, params).await;
    let wanted = StartBackup {
        tenant_id: caller.tenant_id,
        storage_type: wanted.storage_type,
        storage_params: wanted.storage_params,
        dump: wanted.dump,
        mode: wanted.mode,
        parent: wanted.parent,
        full_every: None,
        actor: Some(caller.actor()),
    };
    let job = backup::start(&state.app, wanted).await?;
    Ok(accepted(&job))
}

/// 202 with a job, and where to watch it.
pub fn accepted(job: &crate::jobs::Job) -> HttpResponse {
    HttpResponse::Accepted()
        .insert_header((LOCATION, format!("/v1/jobs/{}", job.id)))
        .json(JobView::from(job))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Result<NewBackup, String> {
        json::parse(body.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn bodies() {
        let bound =
            of(r#"{"storageType":"local","storageParams":{"filePath":"a","n":1.50,"b":true},
            "dump":true,"mode":"incremental"}"#)
            .unwrap();
        assert_eq!((bound.storage_type, bound.dump), (StorageType::Local, true));
        assert_eq!(bound.mode, Mode::Incremental);
        let params = [("filePath", "a"), ("n", "1.50"), ("b", "true")];
        assert_eq!(bound.storage_params, params.map(|(k, v)| (k.into(), v.into())).into());
        for form in ["4", "\"4\"", "\"DATASTORE\""] {
            let bound = of(&format!("{{\"storageType\":{form}}}")).unwrap();
            assert_eq!(bound.storage_type, StorageType::DataStore, "{form}");
            assert!(!bound.dump && bound.mode == Mode::Full && bound.storage_params.is_empty());
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (body, word) in [
            (r#"{"storageType":"Local","dmup":true}"#, "dmup"),
            (r#"{"dump":true}"#, "storageType"),
            (r#"{"storageType":"Nowhere"}"#, "ThridpartyDocuments"),
            (r#"{"storageType":6}"#, "storageType"),
            (r#"{"storageType":"Local","storageParams":[]}"#, "map"),
            (r#"{"storageType":"Local","storageParams":{"a":null}}"#, "storageParams.a"),
            (r#"{"storageType":"Local","mode":"half"}"#, "half"),
            (r#"{"storageType":"Local","dump":"yes"}"#, "boolean"),
            ("{", "EOF"),
        ] {
            let error = of(body).unwrap_err();
            assert!(error.contains(word), "{body}: {error}");
        }
    }
}
