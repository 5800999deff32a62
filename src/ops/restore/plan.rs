//! What a restore would do, before it does anything.

pub use database::family;
pub use files::{count_removed, replaced};
use serde::Serialize;

use super::RestoreRequest;
use super::chosen::Chosen;
use super::contents::{ArchivedDatabase, Contents, Only};
use super::indexes::{self, IndexAction, IndexPlan};
use super::space::Needs;
use super::targets::Targets;
use crate::app::App;
use crate::ops::OpError;
use crate::portal::INDEXES;
use crate::source::database::{ObjectText, Trust};

mod database;
mod files;
mod whole;

/// Shown by `--dry-run` and `{"dryRun":true}`.
#[derive(Debug, Clone, Default, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestorePlan {
    /// The archive's name.
    pub archive: String,
    /// `framed`, `gzipTar` or `plainTar`.
    pub format: String,
    pub size: u64,
    pub dump: bool,
    pub created_on: Option<String>,
    /// The tables it would load.
    pub tables: Vec<TablePlan>,
    pub rows: u64,
    /// The views, triggers, routines, events and sequences that it would make.
    pub objects: Vec<ObjectPlan>,
    /// Tables of the live databases that the archive does not know: they stay.
    pub tables_kept: Vec<String>,
    pub filesystems: Vec<FilesystemPlan>,
    pub indexes: Vec<IndexPlan>,
    /// Bytes needed beside the live portal while it is staged, and how many there are, where it can be told.
    pub space_needed: u64,
    pub space_available: Option<u64>,
    /// A guess.
    pub seconds: u64,
    /// Whether the archive's bytes were read and found whole.
    pub verified: bool,
    pub warnings: Vec<String>,
    /// Why the restore would be refused; empty: it can be run.
    pub problems: Vec<String>,
}

#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TablePlan {
    pub database: String,
    pub name: String,
    /// As the archive says; None in those that DocSpace wrote.
    pub rows: Option<u64>,
    /// Bytes of statements.
    pub bytes: u64,
    pub action: TableAction,
}

#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectPlan {
    pub database: String,
    /// `view`, `trigger`, `procedure`, `function`, `package`, `package_body`, `event`, `sequence`, `library`, `virtual_table`.
    pub kind: String,
    pub name: String,
    pub action: TableAction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TableAction {
    Create,
    Replace,
}

#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FilesystemPlan {
    pub name: String,
    pub files: u64,
    pub bytes: u64,
    /// The folders whose content is replaced, relative to the root (`""`: all of it).
    pub replaced: Vec<String>,
    /// Live files in them that the archive does not have: they would be removed. None: not counted.
    pub removed: Option<u64>,
}

/// Judges what an archive would do to the live portal. Reads, and changes nothing. `trust`: None while it is not known.
pub async fn make(
    app: &App,
    request: &RestoreRequest,
    only: &Only,
    chosen: &Chosen,
    contents: &mut Contents,
    targets: &Targets,
    trust: Option<Trust>,
) -> Result<RestorePlan, OpError> {
    let mut plan = RestorePlan {
        archive: chosen.name.clone(),
        format: match contents.format {
            archive::Format::Framed => "framed",
            archive::Format::GzipTar => "gzipTar",
            archive::Format::PlainTar => "plainTar",
        }
        .to_owned(),
        size: chosen.size(),
        dump: contents.dump,
        created_on: contents.info.as_ref().map(|info| info.started_on.clone()),
        warnings: contents.warnings.clone(),
        ..RestorePlan::default()
    };
    whole::judge(app, request, contents, targets, &mut plan).await;
    let mut needs = Needs::default();
    for database in &mut contents.databases {
        let Some(target) = targets.database(database.name.as_deref()) else {
            if targets.live {
                let name = database.name.as_deref().unwrap_or("of the portal");
                plan.warnings.push(format!("the database {name} is not configured: left out"));
            }
            continue;
        };
        database::judge(database, target, only, trust, &mut needs, &mut plan).await;
    }
    for (&position, counted) in &contents.files {
        let target = targets.filesystem(position).filter(|_| position < INDEXES);
        let Some(target) = target else { continue };
        files::judge(app, only, contents, *counted, target, &mut needs, &mut plan).await;
    }
    indexes::judge(app, contents, only, targets, &mut needs, &mut plan).await;
    needs.tell(&mut plan);
    plan.rows = plan.tables.iter().filter_map(|table| table.rows).sum();
    // Reading the archive, loading rows and writing files, as slow as slow discs are.
    let bytes = plan.size / 200_000_000 + contents.data_bytes() / 10_000_000;
    let files: u64 = plan.filesystems.iter().map(|f| f.bytes / 80_000_000 + f.files / 2000).sum();
    plan.seconds = 1 + bytes + files;
    let has_index = plan.indexes.iter().any(|index| index.action == IndexAction::Replace);
    // A database may have no tables, and views or routines all the same; a source of its own may well be empty.
    let whole = |database: &ArchivedDatabase| {
        only.is_everything()
            && targets.database(database.name.as_deref()).is_some()
            && database.objects.iter().any(|object| object.kind == ObjectText::WHOLE)
    };
    let has_objects = !plan.objects.is_empty() || contents.databases.iter().any(whole);
    let empty = plan.tables.is_empty() && plan.filesystems.is_empty() && !has_index && !has_objects;
    if empty && app.single.is_none() {
        plan.problems.push("the archive has nothing that could be restored here".to_owned());
    }
    Ok(plan)
}

/// Why a request's `dump` does not fit an archive.
pub fn wrong_dump(archived: bool) -> String {
    match archived {
        true => "the archive is a dump of the whole installation: send \"dump\": true",
        false => "the archive is not a dump of the whole installation: send \"dump\": false",
    }
    .to_owned()
}
