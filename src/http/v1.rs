//! Our own API, under `/v1/`: camelCase JSON, errors as `{"error":{"code","message"}}`.

pub mod archives;
pub mod backups;
pub mod consolidate;
pub mod content;
pub mod entries;
mod error;
pub mod events;
pub mod jobs;
mod json;
pub mod model;
mod paging;
pub mod restores;
pub mod retention;
pub mod schedules;
pub mod verify;

use actix_web::HttpRequest;
use actix_web::web::{self, ServiceConfig};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, TryStreamExt};
use uuid::Uuid;

pub use error::{BodyErrors, ErrorBody, V1Error};

use super::HttpState;
use super::auth::{self, Caller};
use super::docspace::stored_for::lent;
use super::methods::allowing;
use crate::catalog::{ArchiveRecord, Scope};
use crate::jobs::Job;
use crate::ops::{self, OpError};

pub fn configure(config: &mut ServiceConfig) {
    let read = "GET, HEAD";
    config
        .service(allowing("/v1/backups", "POST").route(web::post().to(backups::create)))
        .service(allowing("/v1/restores", "POST").route(web::post().to(restores::create)))
        .service(allowing("/v1/restores/plan", "POST").route(web::post().to(restores::plan)))
        .service(
            allowing("/v1/jobs", read)
                .route(web::get().to(jobs::list))
                .route(web::head().to(jobs::list)),
        )
        .service(
            allowing("/v1/jobs/{id}", "GET, HEAD, DELETE")
                .route(web::get().to(jobs::get))
                .route(web::head().to(jobs::get))
                .route(web::delete().to(jobs::cancel)),
        )
        .service(allowing("/v1/jobs/{id}/events", "GET").route(web::get().to(events::stream)))
        .service(
            allowing("/v1/archives", read)
                .route(web::get().to(archives::list))
                .route(web::head().to(archives::list)),
        )
        .service(
            allowing("/v1/archives/{id}", "GET, HEAD, DELETE")
                .route(web::get().to(archives::get))
                .route(web::head().to(archives::get))
                .route(web::delete().to(archives::delete)),
        )
        .service(
            allowing("/v1/archives/{id}/content", read)
                .route(web::get().to(content::download))
                .route(web::head().to(content::download)),
        )
        .service(
            allowing("/v1/archives/{id}/entries", read)
                .route(web::get().to(entries::list))
                .route(web::head().to(entries::list)),
        )
        .service(
            allowing("/v1/archives/{id}/entries/{path:.*}", read)
                .route(web::get().to(entries::read))
                .route(web::head().to(entries::read)),
        )
        .service(allowing("/v1/archives/{id}/verify", "POST").route(web::post().to(verify::start)))
        .service(
            allowing("/v1/archives/{id}/consolidate", "POST")
                .route(web::post().to(consolidate::start)),
        )
        .service(
            allowing("/v1/schedules", "GET, HEAD, POST")
                .route(web::get().to(schedules::list))
                .route(web::head().to(schedules::list))
                .route(web::post().to(schedules::create)),
        )
        .service(
            allowing("/v1/schedules/{id}", "GET, HEAD, PUT, DELETE")
                .route(web::get().to(schedules::get))
                .route(web::head().to(schedules::get))
                .route(web::put().to(schedules::replace))
                .route(web::delete().to(schedules::delete)),
        )
        .service(allowing("/v1/retention/plan", "POST").route(web::post().to(retention::plan)))
        .service(allowing("/v1/retention/apply", "POST").route(web::post().to(retention::apply)));
}

/// Authenticates, and demands an administrator.
async fn administrator(
    state: &HttpState,
    request: &HttpRequest,
    need: Scope,
) -> Result<Caller, V1Error> {
    let caller = auth::authenticate(state, request, need).await?;
    caller.demand_administrator(&state.app).await?;
    Ok(caller)
}

/// A download whose end is missing is seen by its reader; why it is missing stands in the log.
fn logged(
    content: BoxStream<'static, Result<Bytes, OpError>>,
) -> impl Stream<Item = Result<Bytes, OpError>> {
    content.inspect_err(|error| tracing::error!(%error, "a download was cut off"))
}

/// What is no id names nothing.
fn id(text: &str) -> Result<Uuid, V1Error> {
    Uuid::try_parse(text).map_err(|_| OpError::NotFound(format!("{text:?} is no id")).into())
}

/// A job that the caller may know of.
async fn visible_job(state: &HttpState, caller: &Caller, id: Uuid) -> Result<Job, V1Error> {
    let job = ops::jobs::get(&state.app, caller.tenant_filter(), id).await?;
    if job.dump {
        caller.demand_dump(&state.app).await?;
    }
    Ok(job)
}

/// An archive that the caller may know of. One of the whole installation holds other tenants' data.
async fn visible_archive(
    state: &HttpState,
    caller: &Caller,
    id: Uuid,
) -> Result<ArchiveRecord, V1Error> {
    let archive = ops::archives::get(&state.app, caller.tenant_filter(), id).await?;
    if archive.dump {
        caller.demand_dump(&state.app).await?;
    }
    Ok(archive)
}

/// An archive whose content the caller may read, as they reach it.
async fn readable_archive(
    state: &HttpState,
    caller: &Caller,
    request: &HttpRequest,
    id: Uuid,
) -> Result<ArchiveRecord, V1Error> {
    let archive = visible_archive(state, caller, id).await?;
    Ok(ops::archives::lent(&state.app, archive, lent(caller, request.headers())).await)
}
