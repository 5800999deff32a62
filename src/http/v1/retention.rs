//! `/v1/retention`: what stays and what goes, and letting it go.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::backups::accepted;
use super::model::{ArchiveView, JobView};
use super::schedules::{RetentionRules, visible};
use super::{BodyErrors, ErrorBody, V1Error, administrator, json};
use crate::catalog::Scope;
use crate::http::HttpState;
use crate::ops::retention::{self, Planned};
use crate::schedule::retention::{Action, Rules};

/// What to try.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schema(as = RetentionTrial)]
pub struct Trial {
    /// Only this schedule's archives.
    #[schema(nullable = false)]
    schedule_id: Option<Uuid>,
    /// These rules instead of the schedule's own.
    #[schema(value_type = Option<RetentionRules>, nullable = false)]
    rules: Option<Rules>,
}

/// What becomes of every archive, newest first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RetentionPlan)]
pub struct PlanView {
    pub items: Vec<PlannedView>,
    pub kept: u64,
    pub removed: u64,
    /// Bytes of those that would be removed.
    pub removed_bytes: u64,
}

/// What becomes of an archive.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PlannedArchive)]
pub struct PlannedView {
    pub archive: ArchiveView,
    /// The schedule that made it; null: somebody asked for it.
    #[schema(required)]
    pub schedule_id: Option<Uuid>,
    #[schema(value_type = RetentionAction)]
    pub action: Action,
    pub reasons: Vec<String>,
}

/// Whether an archive stays.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the schema of `schedule::retention::Action`")]
#[schema(rename_all = "lowercase")]
pub enum RetentionAction {
    Keep,
    Remove,
}

impl From<&Planned> for PlannedView {
    fn from(planned: &Planned) -> Self {
        Self {
            archive: ArchiveView::new(&planned.archive, Some(&planned.copies)),
            schedule_id: planned.archive.schedule_id,
            action: planned.action,
            reasons: planned.reasons.clone(),
        }
    }
}

impl From<Vec<Planned>> for PlanView {
    fn from(planned: Vec<Planned>) -> Self {
        let removed = || planned.iter().filter(|planned| planned.action == Action::Remove);
        let count = removed().count() as u64;
        Self {
            items: planned.iter().map(PlannedView::from).collect(),
            kept: planned.len() as u64 - count,
            removed: count,
            removed_bytes: removed().map(|planned| planned.archive.size).sum(),
        }
    }
}

/// Tells what would be kept and removed now, and why; removes nothing.
#[utoipa::path(
    post, path = "/v1/retention/plan", operation_id = "planRetention", tag = "Schedules",
    request_body = Trial,
    responses(
        (status = 200, description = "The plan", body = PlanView),
        (status = 400, description = "The request is wrong", body = ErrorBody),
        (status = 404, description = "No such schedule", body = ErrorBody),
        BodyErrors,
    ),
)]
pub async fn plan(
    state: Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, V1Error> {
    let caller = administrator(&state, &request, Scope::Read).await?;
    let trial: Trial = json::read_or_default(&request, payload).await?;
    let dump = caller.visible(&state.app, None).await?;
    let rules = match (trial.schedule_id, trial.rules) {
        (Some(id), rules) => {
            visible(&state, &caller, id).await?;
            rules.map(|rules| (id, rules))
        }
        (None, Some(_)) => return Err(V1Error::invalid("rules: scheduleId is missing")),
        (None, None) => None,
    };
    let mut planned = retention::plan(&state.app, caller.tenant_filter(), dump, rules).await?;
    if trial.schedule_id.is_some() {
        planned.retain(|planned| planned.archive.schedule_id == trial.schedule_id);
    }
    Ok(HttpResponse::Ok().json(PlanView::from(planned)))
}

/// Removes what is to be removed now, of the whole installation.
#[utoipa::path(
    post, path = "/v1/retention/apply", operation_id = "applyRetention", tag = "Schedules",
    responses(
        (status = 202, description = "The job that does it", body = JobView,
            headers(("Location" = String, description = "Where the job can be watched"))),
    ),
)]
pub async fn apply(state: Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, V1Error> {
    let caller = administrator(&state, &request, Scope::Write).await?;
    caller.demand_dump(&state.app).await?;
    Ok(accepted(&retention::start(&state.app).await?))
}
