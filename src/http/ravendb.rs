//! The backup API of RavenDB 3.0 and 3.5, for databases and file systems: what its clients send is taken as RavenDB
//! takes it, and answered in its words. The work is `ops::named`.

mod answer;
pub mod backup;
mod charset;
pub mod config;
pub mod documents;
mod fields;
mod json;
pub mod model;
pub mod operations;
pub mod remove;
pub mod restore;

use actix_web::HttpRequest;
use actix_web::web::{self, ServiceConfig};

use answer::RavenError;
pub use answer::{BodyErrors, ErrorBody, MessageBody, UnhandledBody};

use super::methods::allowing;
use super::{HttpState, auth};
use crate::catalog::{Scope, SourceKind};
use crate::config::RavenVersion;
use crate::ops::OpError;
use crate::ops::named::sources::{self, NamedSource};

/// Registers the routes. Their paths are in lower case: `paths::normalise` has made all requests so, but for names.
pub fn configure(config: &mut ServiceConfig) {
    let post = |path: &str| allowing(path, "POST");
    let get = |path: &str| allowing(path, "GET");
    config
        .service(post("/admin/backup").route(web::post().to(backup::system)))
        .service(post("/fs/admin/backup").route(web::post().to(backup::nameless)))
        .service(post("/databases/{db}/admin/backup").route(web::post().to(backup::database)))
        .service(post("/fs/{fs}/admin/backup").route(web::post().to(backup::filesystem)))
        .service(post("/admin/restore").route(web::post().to(restore::database)))
        .service(post("/databases/{db}/admin/restore").route(web::post().to(restore::elsewhere)))
        .service(get("/databases").route(web::get().to(documents::databases)))
        .service(get("/fs").route(web::get().to(documents::filesystems)))
        .service(
            get("/databases/{db}/docs/raven/backup/status")
                .route(web::get().to(documents::backup_status)),
        )
        .service(get("/docs/raven/restore/status").route(web::get().to(documents::restore_status)))
        .service(
            get("/docs/raven/filesystem/restore/status/{fs}")
                .route(web::get().to(documents::filesystem_restore_status)),
        )
        .service(get("/docs/raven/restore/inprogress").route(web::get().to(documents::in_progress)))
        .service(get("/docs/raven/databases/{db}").route(web::get().to(documents::database)))
        .service(get("/docs/raven/filesystems/{fs}").route(web::get().to(documents::filesystem)))
        .service(get("/fs/{fs}/config").route(web::get().to(config::handle)));
    // 3.0 has the first two, late 3.5 the others.
    for path in [
        "/admin/fs/restore",
        "/fs/{fs}/admin/restore",
        "/admin/fs-restore",
        "/fs/{fs}/admin-restore",
    ] {
        config.service(post(path).route(web::post().to(restore::filesystem)));
    }
    let delete = |path: &str| allowing(path, "DELETE");
    config
        .service(delete("/admin/databases/{db}").route(web::delete().to(remove::database)))
        .service(delete("/admin/fs/{fs}").route(web::delete().to(remove::filesystem)));
    for prefix in ["", "/databases/{db}", "/fs/{fs}"] {
        let at = |rest: &str| format!("{prefix}{rest}");
        config
            .service(get(&at("/operation/status")).route(web::get().to(operations::status)))
            .service(get(&at("/operation/kill")).route(web::get().to(operations::kill)))
            .service(get(&at("/operations")).route(web::get().to(operations::list)));
    }
}

/// Who sent the request must administer the installation: a backup holds everything of a database.
async fn administrator(
    state: &HttpState,
    request: &HttpRequest,
    need: Scope,
) -> Result<(), RavenError> {
    let caller = auth::authenticate(state, request, need).await?;
    refuse_newer_client(state, request)?;
    let allowed = async {
        caller.demand_administrator(&state.app).await?;
        caller.demand_dump(&state.app).await
    };
    allowed.await.map_err(|error| match error {
        OpError::Forbidden => RavenError::Refused(auth::Refusal::Forbidden),
        other => other.into(),
    })
}

/// 3.5 refuses the clients of 4.0 and later, whose requests are others.
fn refuse_newer_client(state: &HttpState, request: &HttpRequest) -> Result<(), RavenError> {
    let header = request.headers().get("Raven-Client-Version").and_then(|text| text.to_str().ok());
    let major = header.and_then(|text| text.trim().split('.').next()?.parse::<u32>().ok());
    match (version(state), header, major) {
        (RavenVersion::V35, Some(text), Some(4..)) => Err(RavenError::unavailable(format!(
            "A client of version {text} cannot work with this server, which is of version 3.5"
        ))),
        _ => Ok(()),
    }
}

fn version(state: &HttpState) -> RavenVersion {
    state.app.config.ravendb.version
}

/// The source that a path names.
async fn source(
    state: &HttpState,
    kind: SourceKind,
    name: &str,
    admin: bool,
) -> Result<NamedSource, RavenError> {
    match sources::find(&state.app, kind, name).await? {
        Some(found) => Ok(found),
        None => Err(missing(state, kind, name, admin)),
    }
}

/// Sees whether there is the database or file system that a path begins with, if it does.
async fn named_in_path(state: &HttpState, request: &HttpRequest) -> Result<(), RavenError> {
    for (part, kind) in [("db", SourceKind::Database), ("fs", SourceKind::Filesystem)] {
        if let Some(name) = request.match_info().get(part) {
            let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
            source(state, kind, &name, false).await?;
        }
    }
    Ok(())
}

/// How RavenDB says that there is none; `admin`: on a route of administrators.
fn missing(state: &HttpState, kind: SourceKind, name: &str, admin: bool) -> RavenError {
    match (version(state), kind) {
        (RavenVersion::V35, _) => {
            RavenError::unavailable(format!("Could not find a resource named: {name}"))
        }
        (RavenVersion::V30, SourceKind::Database) => {
            RavenError::unavailable(format!("Could not find a database named: {name}"))
        }
        (RavenVersion::V30, SourceKind::Filesystem) => {
            let text = format!("Could not find a filesystem named: {name}");
            match admin {
                true => RavenError::unhandled("System.InvalidOperationException", text),
                false => RavenError::unavailable(text),
            }
        }
    }
}

/// .NET's `bool.Parse`; what it cannot parse is false.
fn flag(request: &HttpRequest, name: &str) -> Option<bool> {
    let value = super::docspace::query::first(request.query_string(), name)?;
    Some(value.trim().eq_ignore_ascii_case("true"))
}
