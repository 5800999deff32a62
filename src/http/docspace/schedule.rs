//! `getbackupschedule`, `createbackupschedule`, `deletebackupschedule`.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::bind_schedule::create_schedule;
use super::schedule_model::{BackupScheduleDto, ScheduleDto};
use super::stored_for::no_foreign_credential;
use super::wrapper::{Asked, BooleanWrapper, ScheduleWrapper};
use super::{BodyErrors, DocError, ErrorWrapper, administrator, answer, query};
use crate::catalog::Scope;
use crate::http::{HttpState, auth, body};
use crate::ops::backup::Mode;
use crate::ops::schedules::{self, SetSchedule, base_path, params_of, slot_id};
use crate::schedule::retention::Rules;
use crate::storage::{StorageParams, StorageType};

/// Shows the portal's schedule, or that of the whole installation.
#[utoipa::path(
    get, path = "/api/2.0/backup/getbackupschedule", operation_id = "getBackupSchedule",
    tag = "Backup", summary = "Get the backup schedule",
    params(("Dump" = Option<bool>, Query, nullable = false,
        description = "True: that of the whole installation")),
    responses(
        (status = 200, description = "The schedule; without `response` when there is none", body = ScheduleWrapper),
        (status = 400, description = "A parameter cannot be read", body = super::ValidationErrorWrapper),
    ),
)]
pub async fn get(state: Data<HttpState>, request: HttpRequest) -> HttpResponse {
    let asked = Asked::of(&state, &request);
    let result = show(&state, &request).await;
    answer(&asked, result.map(|schedule| ScheduleWrapper::of(&asked, schedule)))
}

async fn show(state: &HttpState, request: &HttpRequest) -> Result<Option<ScheduleDto>, DocError> {
    let caller = administrator(state, request, Scope::Read).await?;
    let dump = query::dump(request.query_string())?.unwrap_or(false);
    if dump {
        caller.demand_dump(&state.app).await?;
    }
    let found = schedules::find(&state.app, slot_id(caller.tenant_id, dump)).await?;
    let Some(record) = found else { return Ok(None) };
    let params = state.app.unseal_params(&record.storage_params)?;
    Ok(Some(ScheduleDto::new(&record, &params)))
}

/// Makes the portal's schedule, or that of the whole installation; the one it had is overwritten. An hour
/// that has passed today is waited for.
#[utoipa::path(
    post, path = "/api/2.0/backup/createbackupschedule", operation_id = "createBackupSchedule",
    tag = "Backup", summary = "Create the backup schedule",
    request_body(content = BackupScheduleDto, content_type = "application/json"),
    responses(
        (status = 200, description = "It is made", body = BooleanWrapper),
        (status = 400, description = "The request cannot be read (`ValidationErrorWrapper`), or asks for what is not possible (`ErrorWrapper`)"),
        (status = 404, description = "No such portal, or a place in the storage does not exist"),
        (status = 409, description = "Somebody else is changing it", body = ErrorWrapper),
        BodyErrors,
    ),
)]
pub async fn create(
    state: Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> HttpResponse {
    let asked = Asked::of(&state, &request);
    let result = set(&state, &request, payload).await;
    answer(&asked, result.map(|()| BooleanWrapper::of(&asked, true)))
}

async fn set(state: &HttpState, request: &HttpRequest, payload: Payload) -> Result<(), DocError> {
    let caller = auth::authenticate(state, request, Scope::Write).await?;
    let body = body::read(payload).await?;
    let content_type =
        request.headers().get(CONTENT_TYPE).and_then(|content_type| content_type.to_str().ok());
    let bound = create_schedule(content_type, &body)?;
    caller.demand_administrator(&state.app).await?;
    caller.demand_start(&state.app, bound.dump).await?;
    let storage_type = bound.storage_type.unwrap_or(StorageType::Documents);
    let mut params = bound.storage_params;
    no_foreign_credential(&state.app, &params)?;
    if storage_type == StorageType::Local
        && let Some(path) = base_path(storage_type, &params)
    {
        params.retain(|name, _| !name.eq_ignore_ascii_case("folderId"));
        params.extend(params_of(storage_type, Some(&path), &StorageParams::new()));
    }
    let wanted = SetSchedule {
        id: None,
        tenant_id: caller.tenant_id,
        dump: bound.dump,
        name: "DocSpace".to_owned(),
        cron: bound.when.to_cron(),
        timezone: None,
        enabled: true,
        storage_type,
        storage_params: params,
        mode: Mode::Full,
        full_every: None,
        retention: Rules::stored(bound.backups_stored),
    };
    schedules::set(&state.app, wanted).await?;
    Ok(())
}

/// Deletes the portal's schedule, or that of the whole installation. Its backups stay.
#[utoipa::path(
    delete, path = "/api/2.0/backup/deletebackupschedule", operation_id = "deleteBackupSchedule",
    tag = "Backup", summary = "Delete the backup schedule",
    params(("Dump" = Option<bool>, Query, nullable = false,
        description = "True: that of the whole installation")),
    responses(
        (status = 200, description = "There is none any more", body = BooleanWrapper),
        (status = 400, description = "A parameter cannot be read", body = super::ValidationErrorWrapper),
        (status = 409, description = "Somebody else is changing it", body = ErrorWrapper),
    ),
)]
pub async fn delete(state: Data<HttpState>, request: HttpRequest) -> HttpResponse {
    let asked = Asked::of(&state, &request);
    let result = remove(&state, &request).await;
    answer(&asked, result.map(|()| BooleanWrapper::of(&asked, true)))
}

async fn remove(state: &HttpState, request: &HttpRequest) -> Result<(), DocError> {
    let caller = administrator(state, request, Scope::Write).await?;
    let dump = query::dump(request.query_string())?.unwrap_or(false);
    if dump {
        caller.demand_dump(&state.app).await?;
    }
    let id = slot_id(caller.tenant_id, dump);
    schedules::delete(&state.app, id, Some(caller.actor())).await?;
    Ok(())
}
