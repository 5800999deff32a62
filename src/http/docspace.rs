//! DocSpace's backup API, under `/api/2.0/backup/` and, for its web client, `/api/2.0/portal/`.

pub mod bind;
pub mod bind_schedule;
pub mod cancel;
pub mod delete;
mod error;
pub mod history;
pub mod model;
pub mod progress;
pub mod query;
pub mod restore;
pub mod restore_progress;
pub mod schedule;
pub mod schedule_model;
pub mod start;
pub mod state;
pub mod stored_for;
pub mod upload;
pub mod wrapper;

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

pub use error::{BodyErrors, DocError, ErrorWrapper, ValidationErrorWrapper};
use wrapper::Asked;

use super::auth::Caller;
use super::methods::allowing;
use super::{HttpState, auth};
use crate::catalog::Scope;

/// Registers the routes. Their paths are in lower case: `paths::normalise` has made all requests so.
pub fn configure(config: &mut ServiceConfig) {
    for base in ["/api/2.0/backup", "/api/2.0/portal"] {
        let at = |name: &str| format!("{base}/{name}");
        config
            .service(allowing(&at("startbackup"), "POST").route(web::post().to(start::handle)))
            .service(
                allowing(&at("getbackupprogress"), "GET").route(web::get().to(progress::handle)),
            )
            .service(allowing(&at("cancelbackup"), "POST").route(web::post().to(cancel::handle)))
            .service(allowing(&at("getbackuphistory"), "GET").route(web::get().to(history::handle)))
            .service(allowing(&at("getbackupschedule"), "GET").route(web::get().to(schedule::get)))
            .service(
                allowing(&at("createbackupschedule"), "POST")
                    .route(web::post().to(schedule::create)),
            )
            .service(
                allowing(&at("deletebackupschedule"), "DELETE")
                    .route(web::delete().to(schedule::delete)),
            )
            .service(
                allowing(&at("deletebackuphistory"), "DELETE")
                    .route(web::delete().to(state::delete_history)),
            )
            .service(allowing(&at("getbackupscount"), "GET").route(web::get().to(state::count)))
            .service(allowing(&at("getservicestate"), "GET").route(web::get().to(state::service)))
            .service(allowing(&at("backuptmp"), "GET").route(web::get().to(state::temp_path)))
            .service(
                allowing(&at("deletebackup/{id}"), "DELETE")
                    .route(web::delete().to(delete::handle)),
            )
            .service(allowing(&at("startrestore"), "POST").route(web::post().to(restore::handle)))
            .service(
                allowing(&at("getrestoreprogress"), "GET")
                    .route(web::get().to(restore_progress::handle)),
            );
    }
    config.service(
        allowing("/backupfileupload.ashx", "POST, HEAD")
            .route(web::post().to(upload::handle))
            .route(web::head().to(upload::status)),
    );
}

/// Authenticates, and demands an administrator: every route of the backup needs one.
async fn administrator(
    state: &HttpState,
    request: &HttpRequest,
    need: Scope,
) -> Result<Caller, DocError> {
    let caller = auth::authenticate(state, request, need).await?;
    caller.demand_administrator(&state.app).await?;
    Ok(caller)
}

/// The answer as DocSpace writes it.
fn answer<T: Serialize>(asked: &Asked, result: Result<T, DocError>) -> HttpResponse {
    let envelope = match result {
        Ok(envelope) => envelope,
        Err(error) => return error.response(asked),
    };
    match wrapper::to_json(asked, &envelope) {
        Ok(json) => HttpResponse::Ok().content_type("application/json; charset=utf-8").body(json),
        Err(error) => DocError::Op(crate::ops::OpError::Internal(Box::new(error))).response(asked),
    }
}
