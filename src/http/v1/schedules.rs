//! `/v1/schedules`.

use actix_web::http::header::LOCATION;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::backups::BackupMode;
use super::model::{StorageTypeName, time};
use super::{BodyErrors, ErrorBody, V1Error, administrator, id, json, paging};
use crate::app::App;
use crate::catalog::{ScheduleRecord, Scope};
use crate::http::HttpState;
use crate::http::auth::Caller;
use crate::http::docspace::bind::storage_type_name;
use crate::http::docspace::stored_for::no_foreign_credential;
use crate::ops::OpError;
use crate::ops::backup::{self, Mode};
use crate::ops::schedules::{self, SetSchedule, is_due, is_slot};
use crate::schedule::retention::Rules;
use crate::storage::{StorageParams, StorageType, is_secret_param};

/// What a schedule is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewSchedule)]
pub struct NewSchedule {
    /// For people.
    #[serde(default = "unnamed")]
    #[schema(max_length = 200)]
    name: String,
    /// As Quartz writes it: seconds, minutes, hours, day of month, month, day of week (1 is Sunday), and a
    /// year if you like; one of the two days is `?`.
    #[schema(example = "0 0 3 ? * *")]
    cron: String,
    /// Such as `Europe/Paris`; absent: the portal's own.
    timezone: Option<String>,
    #[serde(default = "yes")]
    #[schema(default = true)]
    enabled: bool,
    /// Where the archives go; names are taken in any case, and numbers as in DocSpace's API.
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
    /// Of incremental backups: a full one is made instead when the last is older, such as `7d`; absent: at any age.
    #[schema(nullable = false)]
    full_every: Option<String>,
    /// Which of its archives stay; absent: all.
    #[serde(default)]
    #[schema(value_type = RetentionRules)]
    retention: Rules,
}

fn unnamed() -> String {
    "Backup".to_owned()
}

fn yes() -> bool {
    true
}

/// Which of a schedule's archives stay. Each rule keeps for itself, and what none keeps is removed; without
/// any rule all stay.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the schema of `schedule::retention::Rules`")]
#[schema(rename_all = "camelCase")]
pub struct RetentionRules {
    /// The newest so many, as DocSpace has it.
    #[schema(minimum = 1, maximum = 30, nullable = false)]
    backups_stored: Option<u32>,
    /// The newest so many.
    #[schema(minimum = 1, maximum = 10000, nullable = false)]
    keep_last: Option<u32>,
    /// The last of each of so many hours.
    #[schema(minimum = 1, maximum = 10000, nullable = false)]
    keep_hourly: Option<u32>,
    /// The last of each of so many days.
    #[schema(minimum = 1, maximum = 10000, nullable = false)]
    keep_daily: Option<u32>,
    /// The last of each of so many weeks.
    #[schema(minimum = 1, maximum = 10000, nullable = false)]
    keep_weekly: Option<u32>,
    /// The last of each of so many months.
    #[schema(minimum = 1, maximum = 10000, nullable = false)]
    keep_monthly: Option<u32>,
    /// The last of each of so many years.
    #[schema(minimum = 1, maximum = 10000, nullable = false)]
    keep_yearly: Option<u32>,
    /// Everything that is younger, such as `30d` or `1y 6mo`.
    #[schema(nullable = false)]
    keep_within: Option<String>,
}

/// A schedule, and how its runs went. Times are UTC (RFC 3339).
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Schedule)]
pub struct ScheduleView {
    pub id: Uuid,
    pub name: String,
    pub tenant_id: i64,
    /// Whether it is of the whole installation.
    pub dump: bool,
    pub cron: String,
    /// What was set; null: the portal's own.
    #[schema(required)]
    pub timezone: Option<String>,
    /// The zone that it follows now.
    pub effective_timezone: String,
    pub enabled: bool,
    #[schema(value_type = StorageTypeName)]
    pub storage_type: &'static str,
    /// Without secrets.
    #[schema(value_type = BTreeMap<String, String>)]
    pub storage_params: StorageParams,
    #[schema(value_type = BackupMode)]
    pub mode: String,
    /// How old the last full backup may become; null: any age.
    #[schema(required)]
    pub full_every: Option<String>,
    #[schema(value_type = RetentionRules)]
    pub retention: Rules,
    /// Whether it is the one that DocSpace's own API shows.
    pub docspace: bool,
    #[schema(format = DateTime)]
    pub created_on: String,
    /// When it runs next, a repetition after a failure included; null: not any more.
    #[schema(required, format = DateTime)]
    pub next_run: Option<String>,
    /// When it was last begun.
    #[schema(required, format = DateTime)]
    pub last_run: Option<String>,
    /// When a backup of it was last finished.
    #[schema(required, format = DateTime)]
    pub last_success: Option<String>,
    /// Why the last one was not.
    #[schema(required)]
    pub last_error: Option<String>,
    /// How many failed in a row.
    pub failures: u32,
    #[schema(required)]
    pub last_job_id: Option<Uuid>,
    /// Its time has come, but this job is under way, and both cannot be at once; null: it waits for nothing.
    #[schema(required)]
    pub waiting_for: Option<Uuid>,
}

/// Schedules, the oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScheduleList {
    pub items: Vec<ScheduleView>,
    /// How many there are in all.
    pub total: u64,
}

impl ScheduleView {
    /// Asks the portal for its time zones.
    pub async fn of(app: &App, records: &[ScheduleRecord]) -> Result<Vec<Self>, OpError> {
        let tenants = schedules::tenants_seen(app).await;
        let mut views = Vec::with_capacity(records.len());
        for record in records {
            let mut view = Self::new(app, &tenants, record)?;
            if is_due(record, app.clock.now()) {
                view.waiting_for = backup::in_the_way(app, record.tenant_id, record.dump).await?;
            }
            views.push(view);
        }
        Ok(views)
    }

    fn new(
        app: &App,
        tenants: &[crate::portal::Tenant],
        record: &ScheduleRecord,
    ) -> Result<Self, OpError> {
        let mut params = app.unseal_params(&record.storage_params)?;
        params.retain(|name, _| !is_secret_param(name));
        let zone = schedules::zone_of(app, tenants, record);
        let next = match (record.next_run, record.retry_on) {
            _ if !record.enabled => None,
            (Some(next), Some(retry)) => Some(next.min(retry)),
            (next, retry) => next.or(retry),
        };
        Ok(Self {
            id: record.id,
            name: record.name.clone(),
            tenant_id: record.tenant_id,
            dump: record.dump,
            cron: record.cron.clone(),
            timezone: record.timezone.clone(),
            effective_timezone: zone.iana_name().unwrap_or("UTC").to_owned(),
            enabled: record.enabled,
            storage_type: storage_type_name(record.storage_type),
            storage_params: params,
            mode: record.mode.clone(),
            full_every: record.full_every.clone(),
            retention: record.retention.clone(),
            docspace: is_slot(record),
            created_on: time(record.created_on),
            next_run: next.map(time),
            last_run: record.last_run.map(time),
            last_success: record.last_success.map(time),
            last_error: record.last_error.clone(),
            failures: record.failures,
            last_job_id: record.last_job,
            waiting_for: None,
        })
    }
}

/// Lists schedules, the oldest first.
#[utoipa::path(
    get, path = "/v1/schedules", operation_id = "listSchedules", tag = "Schedules",
    params(("dump" = Option<bool>, Query, nullable = false,
        description = "Only those of the whole installation, or only the others")),
    responses(
        (status = 200, description = "The schedules", body = ScheduleList),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
        (status = 404, description = "No such portal", body = ErrorBody),
    ),
)]
pub async fn list(state: Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, V1Error> {
    let caller = administrator(&state, &request, Scope::Read).await?;
    let dump = paging::word(request.query_string(), "dump")?;
    let dump = caller.visible(&state.app, dump).await?;
    let records = schedules::list(&state.app, caller.tenant_filter(), dump).await?;
    let items = ScheduleView::of(&state.app, &records).await?;
    Ok(HttpResponse::Ok().json(ScheduleList { total: items.len() as u64, items }))
}

/// Makes a schedule. Its first run is the next time that comes.
#[utoipa::path(
    post, path = "/v1/schedules", operation_id = "createSchedule", tag = "Schedules",
    request_body = NewSchedule,
    responses(
        (status = 201, description = "The schedule", body = ScheduleView,
            headers(("Location" = String, description = "Where it is"))),
        (status = 400, description = "The request is wrong", body = ErrorBody),
        BodyErrors,
    ),
)]
pub async fn create(
    state: Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, V1Error> {
    let caller = administrator(&state, &request, Scope::Write).await?;
    let wanted: NewSchedule = json::read(&request, payload).await?;
    no_foreign_credential(&state.app, &wanted.storage_params)?;
    caller.demand_start(&state.app, wanted.dump).await?;
    let wanted = wanted.into_set(Uuid::new_v4(), caller.tenant_id);
    let record = schedules::set(&state.app, wanted).await?;
    let location = format!("/v1/schedules/{}", record.id);
    let view = view(&state, &record).await?;
    Ok(HttpResponse::Created().insert_header((LOCATION, location)).json(view))
}

/// Shows a schedule.
#[utoipa::path(
    get, path = "/v1/schedules/{id}", operation_id = "getSchedule", tag = "Schedules",
    params(("id" = Uuid, Path, description = "The schedule's id")),
    responses(
        (status = 200, description = "The schedule", body = ScheduleView),
        (status = 404, description = "No such schedule", body = ErrorBody),
    ),
)]
pub async fn get(
    state: Data<HttpState>,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, V1Error> {
    let caller = administrator(&state, &request, Scope::Read).await?;
    let record = visible(&state, &caller, id(&path)?).await?;
    Ok(HttpResponse::Ok().json(view(&state, &record).await?))
}

/// Writes a schedule anew; what its runs were stays. Whether it is of the whole installation cannot be changed.
#[utoipa::path(
    put, path = "/v1/schedules/{id}", operation_id = "replaceSchedule", tag = "Schedules",
    params(("id" = Uuid, Path, description = "The schedule's id")),
    request_body = NewSchedule,
    responses(
        (status = 200, description = "The schedule", body = ScheduleView),
        (status = 400, description = "The request is wrong", body = ErrorBody),
        (status = 404, description = "No such schedule", body = ErrorBody),
        (status = 409, description = "Somebody else is changing it", body = ErrorBody),
        BodyErrors,
    ),
)]
pub async fn replace(
    state: Data<HttpState>,
    request: HttpRequest,
    path: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, V1Error> {
    let caller = administrator(&state, &request, Scope::Write).await?;
    let wanted: NewSchedule = json::read(&request, payload).await?;
    no_foreign_credential(&state.app, &wanted.storage_params)?;
    let record = visible(&state, &caller, id(&path)?).await?;
    if wanted.dump != record.dump {
        let text = "dump: it cannot be changed; make another schedule";
        return Err(V1Error::invalid(text));
    }
    let wanted = wanted.into_set(record.id, record.tenant_id);
    let record = schedules::set(&state.app, wanted).await?;
    Ok(HttpResponse::Ok().json(view(&state, &record).await?))
}

/// Deletes a schedule. Its archives stay.
#[utoipa::path(
    delete, path = "/v1/schedules/{id}", operation_id = "deleteSchedule", tag = "Schedules",
    params(("id" = Uuid, Path, description = "The schedule's id")),
    responses(
        (status = 204, description = "It is deleted"),
        (status = 404, description = "No such schedule", body = ErrorBody),
        (status = 409, description = "Somebody else is changing it", body = ErrorBody),
    ),
)]
pub async fn delete(
    state: Data<HttpState>,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, V1Error> {
    let caller = administrator(&state, &request, Scope::Write).await?;
    let record = visible(&state, &caller, id(&path)?).await?;
    schedules::delete(&state.app, record.id, Some(caller.actor())).await?;
    Ok(HttpResponse::NoContent().finish())
}

impl NewSchedule {
    fn into_set(self, id: Uuid, tenant_id: i64) -> SetSchedule {
        SetSchedule {
            id: Some(id),
            tenant_id,
            dump: self.dump,
            name: self.name,
            cron: self.cron,
            timezone: self.timezone.filter(|zone| !zone.trim().is_empty()),
            enabled: self.enabled,
            storage_type: self.storage_type,
            storage_params: self.storage_params,
            mode: self.mode,
            full_every: self.full_every,
            retention: self.retention,
        }
    }
}

/// A schedule that the caller may know of.
pub(super) async fn visible(
    state: &HttpState,
    caller: &Caller,
    id: Uuid,
) -> Result<ScheduleRecord, V1Error> {
    let record = schedules::get(&state.app, caller.tenant_filter(), id).await?;
    if record.dump {
        caller.demand_dump(&state.app).await?;
    }
    Ok(record)
}

async fn view(state: &HttpState, record: &ScheduleRecord) -> Result<ScheduleView, OpError> {
    let mut views = ScheduleView::of(&state.app, std::slice::from_ref(record)).await?;
    views.pop().ok_or_else(|| OpError::NotFound(format!("there is no schedule {}", record.id)))
}
