//! Proof without a restore: the archive is loaded into a scratch database and folder, compared, and dropped.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use archive::{Archive, EntryKind};
use futures::TryStreamExt;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::RestoreRequest;
use super::chosen;
use super::contents::{self, Contents, Only};
use super::load::{Loader, LoadingDatabase};
use super::run::{LOADING, RunError, verified};
use super::space::Needs;
use super::targets::Targets;
use crate::app::App;
use crate::config::Options;
use crate::jobs::Progress;
use crate::portal::FilePlace;
use crate::source::files::{FileMeta, Filesystem, Replaced, STAGING_FOLDER};
use crate::source::restore::{AttemptId, Space};

/// What a proof compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    pub tables: u64,
    pub rows: u64,
    pub files: u64,
    pub bytes: u64,
    /// What could not be compared, and why.
    pub warnings: Vec<String>,
}

/// Where the files of a proof may go while it runs: beside the portal's own, where backups do not look and a portal's
/// worth of room is most probable, or else where spill files go.
fn scratches(app: &App, attempt: &AttemptId) -> Vec<PathBuf> {
    let own = app.config.portal.filesystem.first();
    let own = own.and_then(|own| own.url.to_file_path().ok()).filter(|root| root.is_dir());
    let beside = own.map(|root| root.join(STAGING_FOLDER).join(format!("proof-{attempt}")));
    let temporary = app.config.backup.temp_dir.join(format!("portal-backup-proof-{attempt}"));
    beside.into_iter().chain([temporary]).collect()
}

/// Where a member lies there: a bucket may have both `a` and `a/b`, and longer names than a folder takes.
fn scratch_name(member: &str) -> String {
    let hash = hex::encode(Sha256::digest(member.as_bytes()));
    format!("{}/{hash}", &hash[..2])
}

/// Loads an archive beside the portal and compares every table and file with what the archive says. Whatever happens,
/// [`clean`] must follow. Errors say what differs.
pub async fn prove(
    app: &App,
    request: &RestoreRequest,
    attempt: &AttemptId,
    progress: &Arc<Progress>,
) -> Result<Proof, RunError> {
    let chosen = chosen::find(app, None, request).await?;
    let expected = chosen.contents_bytes(app).await;
    progress.add_total(chosen.size() + 2 * expected);
    progress.later(2 * expected, LOADING);
    let verified = verified(app, &chosen, request.trust, progress).await?;
    let only = Only::default();
    let temp_dir = &app.config.backup.temp_dir;
    let mut contents = contents::read(&verified.archive, app.portal.placing(), &only, temp_dir)
        .await
        .map_err(RunError::Failed)?;
    progress.correct_total(2 * (contents.bytes() as i64 - expected as i64));
    let mut proof = Proof::default();
    proof.warnings.extend(chosen.notice.clone());
    let mut needs = Needs::default();
    let (folder, files) = scratch_folder(app, attempt).await?;
    let bytes = contents.files.values().map(|counted| counted.bytes).sum();
    needs.add("the files of a proof".to_owned(), bytes, Space::of(&folder));

    let targets = Targets::resolve(app, None)?;
    let mut loading = Vec::new();
    for database in std::mem::take(&mut contents.databases) {
        let Some(target) = targets.database(database.name.as_deref()) else {
            let name = database.name.as_deref().unwrap_or("of the portal");
            proof
                .warnings
                .push(format!("the database {name} is not configured: it was not loaded"));
            continue;
        };
        let live = target.database.live().await?;
        if let Some(engine) = &database.engine
            && super::plan::family(engine) != super::plan::family(live.server.engine.as_str())
        {
            return Err(RunError::Failed(format!(
                "the archive holds a {engine} database, and {} is {}: there is nowhere to load it",
                target.name,
                live.server.engine.as_str()
            )));
        }
        let mut tables = database.tables;
        let data = tables.values().filter_map(|table| table.data.as_ref());
        let bytes = data.map(|data| 2 * data.size).sum();
        needs.add(format!("a copy of database {}", target.name), bytes, live.space);
        tables.retain(|name, _| !crate::catalog::is_own_table(name));
        let staging = target.database.stage(attempt).await?;
        staging.objects(database.objects, verified.trust).await?;
        loading.push(LoadingDatabase {
            archived: database.name,
            staging: Arc::new(staging),
            tables: Arc::new(tables),
            trust: verified.trust,
            rows: Arc::default(),
        });
    }
    if let Some(problem) = needs.problems().into_iter().next() {
        return Err(RunError::Failed(problem));
    }
    let staging = Arc::new(files.stage(attempt).await?);
    let loader = Loader {
        archive: verified.archive.clone(),
        databases: loading.clone(),
        files: BTreeMap::from([(0, Arc::clone(&staging))]),
        // Nothing is placed: every member lies under a name made of its own.
        place: Box::new(|member| vec![FilePlace { filesystem: 0, path: scratch_name(member) }]),
        repeated: contents.repeated.clone(),
        only,
        progress: Arc::clone(progress),
    };
    let loaded = loader.run().await?;
    proof.rows = loaded.rows;

    progress.phase("comparing");
    compare_tables(&loading, &mut proof, progress).await?;
    for LoadingDatabase { staging, .. } in loading {
        // Keys, views, routines and the like: whether they can be made with what was loaded.
        let staging = Arc::into_inner(staging)
            .ok_or_else(|| RunError::Internal("a staging place is still in use".to_owned()))?;
        match staging.ready().await {
            Ok((_, warnings)) => proof.warnings.extend(warnings),
            // The archive is whole all the same; a later one fits again what was changed since.
            Err(error) => proof.warnings.push(format!(
                "it could not be put in the place of what the live database has now: {error}"
            )),
        }
    }
    let staging = Arc::into_inner(staging)
        .ok_or_else(|| RunError::Internal("a staging place is still in use".to_owned()))?;
    let replaced = Replaced::Folders { folders: vec![String::new()], kept: Vec::new() };
    staging.ready(replaced).await?.swap().await?;
    compare_files(&verified.archive, &files, &contents, &mut proof, progress).await?;
    tracing::debug!(folder = %folder.display(), "an archive is proved");
    Ok(proof)
}

/// Drops what a proof loaded, wherever it stopped.
pub async fn clean(app: &App, attempt: &AttemptId) -> Result<(), RunError> {
    for target in Targets::resolve(app, None)?.databases {
        target.database.staged(attempt).await?.roll_back().await?;
    }
    for folder in scratches(app, attempt) {
        match tokio::fs::remove_dir_all(&folder).await {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(RunError::Failed(format!("{}: {error}", folder.display())));
            }
            _ => {}
        }
        if let Some(staging) = folder.parent().filter(|above| above.ends_with(STAGING_FOLDER)) {
            // Others may have something in it.
            tokio::fs::remove_dir(staging).await.ok();
        }
    }
    Ok(())
}

/// Makes the folder, for our eyes only.
async fn scratch_folder(app: &App, attempt: &AttemptId) -> Result<(PathBuf, Filesystem), RunError> {
    let (mut folder, mut made) = (PathBuf::new(), Ok(()));
    for candidate in scratches(app, attempt) {
        made = tokio::fs::DirBuilder::new().recursive(true).mode(0o700).create(&candidate).await;
        folder = candidate;
        if made.is_ok() {
            break;
        }
    }
    let unusable = |why: String| RunError::Failed(format!("{}: {why}", folder.display()));
    made.map_err(|error| unusable(error.to_string()))?;
    let absolute = std::path::absolute(&folder).map_err(|error| unusable(error.to_string()))?;
    let url = Url::from_file_path(absolute).map_err(|()| unusable("no path".to_owned()))?;
    Ok((folder.clone(), Filesystem::open(&url, &Options::default())?))
}

async fn compare_tables(
    loading: &[LoadingDatabase],
    proof: &mut Proof,
    progress: &Progress,
) -> Result<(), RunError> {
    for database in loading {
        for (name, table) in database.tables.iter() {
            proof.tables += 1;
            let Some(data) = &table.data else { continue };
            progress.current(&data.path);
            let found = database.staging.digest(name).await?;
            progress.add(data.size);
            let Some(expected) = &data.sha256 else { continue };
            if database.staging.is_spread(name).await {
                proof.warnings.push(format!(
                    "the rows of table {name} were counted and not compared: those of its partitioned table are spread \
                     anew when they are loaded"
                ));
                continue;
            }
            if found.as_ref() != Some(&expected.0) {
                return Err(RunError::Failed(format!(
                    "table {name} differs from the archive after it was loaded"
                )));
            }
        }
    }
    Ok(())
}

/// Reads every file back from the folder.
async fn compare_files(
    archive: &Archive,
    files: &Filesystem,
    contents: &Contents,
    proof: &mut Proof,
    progress: &Progress,
) -> Result<(), RunError> {
    let has_digests = contents.info.is_some();
    let mut entries = Box::pin(archive.entries());
    while let Some(entry) = entries.try_next().await? {
        if entry.kind != EntryKind::File || contents::database_member(&entry.path).is_some() {
            continue;
        }
        progress.current(&entry.path);
        let file = FileMeta {
            path: scratch_name(&entry.path),
            size: entry.size,
            modified: entry.mtime,
            is_directory: false,
            version: None,
        };
        let (mut digest, mut size) = (Sha256::new(), 0);
        let (_, mut content) = files.read(&file).await?;
        while let Some(piece) = content.try_next().await? {
            size += piece.len() as u64;
            progress.add(piece.len() as u64);
            digest.update(&piece);
        }
        let same = entry.sha256.is_none_or(|expected| expected.0[..] == digest.finalize()[..]);
        // In archives that others wrote the last of two entries of one name is the one that lies there.
        if has_digests && (size != entry.size || !same) {
            return Err(RunError::Failed(format!(
                "{} differs from the archive after it was written",
                entry.path
            )));
        }
        proof.files += 1;
        proof.bytes += size;
    }
    Ok(())
}
