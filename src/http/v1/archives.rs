//! `/v1/archives`.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};

use super::model::{ArchiveList, ArchiveView};
use super::{ErrorBody, V1Error, administrator, id, paging, visible_archive};
use crate::catalog::Scope;
use crate::http::HttpState;
use crate::http::docspace::stored_for::lent;
use crate::ops;

/// Lists archives, newest first.
#[utoipa::path(
    get, path = "/v1/archives", operation_id = "listArchives", tag = "Archives",
    params(
        ("dump" = Option<bool>, Query, nullable = false,
            description = "Only those of the whole installation, or only the others"),
        ("limit" = Option<u32>, Query, nullable = false, minimum = 1, maximum = 200,
            description = "How many at most; 50 if absent"),
        ("offset" = Option<u64>, Query, nullable = false, description = "How many to leave out"),
    ),
    responses(
        (status = 200, description = "The archives", body = ArchiveList),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
        (status = 404, description = "No such portal", body = ErrorBody),
    ),
)]
pub async fn list(state: Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, V1Error> {
    let caller = administrator(&state, &request, Scope::Read).await?;
    let query = request.query_string();
    let page = paging::page(query)?;
    let dump = caller.visible(&state.app, paging::word(query, "dump")?).await?;
    let archives = ops::archives::list(&state.app, caller.tenant_filter(), dump, page).await?;
    let copies = ops::copies::of(&state.app, &archives.items).await?;
    Ok(HttpResponse::Ok().json(ArchiveList::new(&archives, &copies)))
}

/// Shows an archive.
#[utoipa::path(
    get, path = "/v1/archives/{id}", operation_id = "getArchive", tag = "Archives",
    params(("id" = Uuid, Path, description = "The archive's id")),
    responses(
        (status = 200, description = "The archive", body = ArchiveView),
        (status = 404, description = "No such archive", body = ErrorBody),
    ),
)]
pub async fn get(
    state: Data<HttpState>,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, V1Error> {
    let caller = administrator(&state, &request, Scope::Read).await?;
    let archive = visible_archive(&state, &caller, id(&path)?).await?;
    let copies = ops::copies::of(&state.app, [&archive]).await?;
    Ok(HttpResponse::Ok().json(ArchiveView::new(&archive, copies.get(&archive.id))))
}

/// Deletes an archive, in its storage and here.
#[utoipa::path(
    delete, path = "/v1/archives/{id}", operation_id = "deleteArchive", tag = "Archives",
    params(("id" = Uuid, Path, description = "The archive's id")),
    responses(
        (status = 204, description = "It is deleted"),
        (status = 404, description = "No such archive", body = ErrorBody),
        (status = 409, description = "Something else needs the archive now", body = ErrorBody),
    ),
)]
pub async fn delete(
    state: Data<HttpState>,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, V1Error> {
    let caller = administrator(&state, &request, Scope::Write).await?;
    let archive = visible_archive(&state, &caller, id(&path)?).await?;
    let credential = lent(&caller, request.headers());
    ops::archives::delete(&state.app, caller.tenant_filter(), archive.id, credential).await?;
    Ok(HttpResponse::NoContent().finish())
}
