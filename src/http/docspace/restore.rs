//! `POST startrestore`.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::bind::{self, BindError, StartRestore};
use super::model::{BackupProgress, BackupRestoreDto};
use super::stored_for::{choice, lent, no_foreign_credential};
use super::wrapper::{Asked, BackupProgressWrapper};
use super::{BodyErrors, DocError, ErrorWrapper, answer, query};
use crate::catalog::Scope;
use crate::http::auth::Caller;
use crate::http::{HttpState, auth, body};
use crate::ops::restore::{self, ArchiveChoice, RestoreRequest};
use crate::ops::{OpError, archives, uploads};
use crate::storage::{StorageType, lend};

/// Starts a restore. The work goes on by itself: ask for its progress. While a restore runs, that one is
/// returned.
#[utoipa::path(
    post, path = "/api/2.0/backup/startrestore", operation_id = "startBackupRestore", tag = "Backup",
    summary = "Start the restoring process",
    request_body(content = BackupRestoreDto, content_type = "application/json"),
    responses(
        (status = 200, description = "The restore", body = BackupProgressWrapper),
        (status = 400, description = "The request cannot be read (`ValidationErrorWrapper`), or asks for what is not possible (`ErrorWrapper`)"),
        (status = 404, description = "No such portal, or no such archive"),
        (status = 409, description = "Something else is under way", body = ErrorWrapper),
        BodyErrors,
    ),
)]
pub async fn handle(
    state: Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> HttpResponse {
    let asked = Asked::of(&state, &request);
    let result = start(&state, &request, payload).await;
    answer(&asked, result.map(|progress| BackupProgressWrapper::of(&asked, Some(progress))))
}

async fn start(
    state: &HttpState,
    request: &HttpRequest,
    payload: Payload,
) -> Result<BackupProgress, DocError> {
    let caller = auth::authenticate(state, request, Scope::Write).await?;
    let body = body::read(payload).await?;
    let content_type =
        request.headers().get(CONTENT_TYPE).and_then(|content_type| content_type.to_str().ok());
    let bound = bind::start_restore(content_type, &body)?;
    caller.demand_administrator(&state.app).await?;
    caller.demand_start(&state.app, bound.dump).await?;
    if let Some(job) = restore::running(&state.app).await? {
        return Ok(BackupProgress::new(&job, String::new()));
    }
    let dump = bound.dump;
    let archive = choose(state, &caller, request, bound).await?;
    let request = RestoreRequest {
        archive,
        dump: Some(dump),
        only: Vec::new(),
        into: None,
        trust: false,
        by_operator: false,
        identity_file: None,
        actor: Some(caller.actor()),
    };
    let job = restore::start(&state.app, caller.tenant_id, request).await?.job;
    Ok(BackupProgress::new(&job, String::new()))
}

/// The archive that is meant; it was there a moment ago.
async fn choose(
    state: &HttpState,
    caller: &Caller,
    request: &HttpRequest,
    mut bound: StartRestore,
) -> Result<ArchiveChoice, DocError> {
    let app = &state.app;
    let credential = lent(caller, request.headers());
    if let Some(id) = query::guid(&bound.backup_id) {
        let archive = archives::get(app, caller.tenant_filter(), id).await?;
        if archive.dump {
            caller.demand_dump(app).await?;
        }
        return Ok(choice(app, archive, credential).await);
    }
    let path = bound.file_path.ok_or_else(|| {
        BindError::Argument(
            "storageParams must have the key filePath where backupId is no id of a backup"
                .to_owned(),
        )
    })?;
    let storage_type = bound.storage_type.unwrap_or(StorageType::Documents);
    let local = storage_type == StorageType::Local;
    if local && uploads::uploaded(app, caller.tenant_id).await.is_some() {
        return Ok(ArchiveChoice::Uploaded { tenant: caller.tenant_id });
    }
    no_foreign_credential(app, &bound.storage_params)?;
    if let Some(credential) = credential.filter(|_| storage_type.is_documents()) {
        let mut own = bound.storage_params.clone();
        lend(&mut own, credential, app.portal.origin_of(caller.tenant_id).await);
        // The configured key may see what the user does not.
        if let Ok((storage, name)) = app.storages.archive_at(storage_type, &own, &path)
            && matches!(storage.size(&name).await, Ok(Some(_)))
        {
            bound.storage_params = own;
        }
    }
    // Asked first, because it says better what is wrong with a storage than an empty path does.
    app.storages.resolve(storage_type, &bound.storage_params).map_err(OpError::from)?;
    if path.trim().is_empty() {
        return Err(BindError::Argument(if local {
            "no archive was uploaded, and filePath names none under storage.local.root".to_owned()
        } else {
            "storageParams: filePath is empty: write the archive's name in the storage".to_owned()
        })
        .into());
    }
    let (storage, name) = app
        .storages
        .archive_at(storage_type, &bound.storage_params, &path)
        .map_err(OpError::from)?;
    if storage.size(&name).await.map_err(OpError::from)?.is_none() {
        let uploaded = if local { "no archive was uploaded, and " } else { "" };
        let text = format!("{uploaded}there is no archive {path:?} in the storage");
        return Err(OpError::NotFound(text).into());
    }
    Ok(ArchiveChoice::Stored { storage_type, storage_params: bound.storage_params, path })
}
