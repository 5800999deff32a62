//! What a restore would do, before it does anything.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use archive::Archive;
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;

use super::RestoreRequest;
use super::chosen::Chosen;
use super::contents::{ArchivedDatabase, Contents, Only};
use super::count::Counted;
use super::indexes::{self, IndexAction, IndexPlan};
use super::space::Needs;
use super::targets::{DatabaseTarget, FilesystemTarget, Targets};
use crate::app::App;
use crate::catalog::is_own_table;
use crate::config::LayoutKind;
use crate::ops::OpError;
use crate::portal::{INDEXES, Placed};
use crate::source::database::{DatabaseError, LiveObject, ObjectText, Trust, warning};
use crate::source::files::Listed;

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
    judge_archive(app, request, contents, targets, &mut plan).await;
    let mut needs = Needs::default();
    for database in &mut contents.databases {
        let Some(target) = targets.database(database.name.as_deref()) else {
            if targets.live {
                let name = database.name.as_deref().unwrap_or("of the portal");
                plan.warnings.push(format!("the database {name} is not configured: left out"));
            }
            continue;
        };
        judge_database(database, target, only, trust, &mut needs, &mut plan).await;
    }
    for (&position, counted) in &contents.files {
        let target = targets.filesystem(position).filter(|_| position < INDEXES);
        let Some(target) = target else { continue };
        judge_filesystem(app, only, contents, *counted, target, &mut needs, &mut plan).await;
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

async fn judge_archive(
    app: &App,
    request: &RestoreRequest,
    contents: &Contents,
    targets: &Targets,
    plan: &mut RestorePlan,
) {
    if let Some(dump) = request.dump
        && dump != contents.dump
    {
        plan.problems.push(wrong_dump(contents.dump));
    }
    let portal = &app.portal;
    let layout = portal.layout();
    let ours = app.layout_name();
    let made_for = match &contents.info {
        Some(info) => info.layout.as_str(),
        None => LayoutKind::Docspace.as_str(),
    };
    if request.into.is_none() && made_for != ours {
        plan.problems.push(match made_for {
            "source" => {
                "the archive is of one database or filesystem: name the source to restore it into"
                    .to_owned()
            }
            _ => format!(
                "the archive is of a portal of the {made_for} layout, and this one is {ours}"
            ),
        });
    }
    if layout == LayoutKind::Docspace && !contents.dump && request.into.is_none() {
        plan.problems.push(
            "the archive holds a single tenant, and only dumps of the whole installation can be restored yet"
                .to_owned(),
        );
    }
    if layout == LayoutKind::Docspace
        && targets.filesystem(0).is_some()
        && contents.unplaced > 0
        && !contents.files.contains_key(&0)
    {
        plan.problems.push(
            "the archive has files, but storage/restore_info does not say whose they are"
                .to_owned(),
        );
    }
    let fingerprint = contents.info.as_ref().and_then(|info| info.machine_key_fingerprint.as_ref());
    if let (Some(theirs), Some(ours)) = (fingerprint, portal.machine_key_fingerprint())
        && *theirs != ours
    {
        plan.warnings.push(
            "the archive comes from an installation with another machine key: API keys, sessions and stored \
             passwords of other services in it will not work here"
                .to_owned(),
        );
    }
    if let (Some(theirs), Ok(Some(ours))) =
        (&contents.last_migration, portal.last_migration().await)
        && *theirs > ours
    {
        plan.warnings.push(format!(
            "the archive comes from a newer DocSpace: its database is at {theirs}, this one at {ours}"
        ));
    }
}

async fn judge_database(
    database: &mut ArchivedDatabase,
    target: &DatabaseTarget,
    only: &Only,
    trust: Option<Trust>,
    needs: &mut Needs,
    plan: &mut RestorePlan,
) {
    let mut live = match target.database.live().await {
        Ok(live) => live,
        Err(error) => {
            plan.problems.push(error.to_string());
            return;
        }
    };
    let ours = live.server.engine.as_str();
    if let Some(theirs) = database.engine.as_deref()
        && family(theirs) != family(ours)
    {
        plan.problems
            .push(format!("the archive holds a {theirs} database, and {} is {ours}", target.name));
        return;
    }
    plan.problems.append(&mut live.problems);
    let known: HashSet<_> = live.tables.iter().map(|table| live.folded(&table.name)).collect();
    let exists = |name: &str| known.contains(&live.folded(name));
    // Of some tables DocSpace's archives carry no rows, and say that they are made only where they are missing.
    database.tables.retain(|name, table| !(table.is_for_want_of_one() && exists(name)));
    for (name, table) in &database.tables {
        if is_own_table(name) {
            continue;
        }
        plan.tables.push(TablePlan {
            database: target.name.clone(),
            name: name.clone(),
            rows: match &table.data {
                None => Some(0),
                Some(data) => data.rows,
            },
            bytes: table.data.as_ref().map_or(0, |data| data.size),
            action: match exists(name) {
                true => TableAction::Replace,
                false => TableAction::Create,
            },
        });
    }
    if only.is_everything() {
        let unknown = live.tables.iter().map(|table| &table.name);
        let ours: HashSet<_> = database.tables.keys().map(|name| live.folded(name)).collect();
        let unknown = unknown.filter(|name| !ours.contains(&live.folded(name)));
        plan.tables_kept.extend(unknown.filter(|name| !is_own_table(name)).cloned());
    }
    if trust == Some(Trust::Foreign)
        && let Err(error) = judge_text(database, target)
    {
        plan.problems.push(error.to_string());
    }
    judge_objects(database, target, &live.objects, trust, plan);
    let needed: u64 =
        database.tables.values().filter_map(|t| t.data.as_ref()).map(|d| d.size * 2).sum();
    needs.add(format!("database {}", target.name), needed + live.copied, live.space);
}

/// Whether what an archive that is not ours defines would be run; its rows are judged as they are loaded.
fn judge_text(database: &ArchivedDatabase, target: &DatabaseTarget) -> Result<(), DatabaseError> {
    let tables = database.tables.iter().filter(|(name, _)| !is_own_table(name));
    let schemes: Vec<_> = tables
        .filter_map(|(name, table)| Some((name.as_str(), table.scheme.as_deref()?)))
        .collect();
    target.database.judge(&schemes, &database.objects)
}

/// What becomes of views, triggers and the like.
fn judge_objects(
    database: &ArchivedDatabase,
    target: &DatabaseTarget,
    live: &[LiveObject],
    trust: Option<Trust>,
    plan: &mut RestorePlan,
) {
    let texts = database.objects.iter().filter(|object| object.kind != ObjectText::WHOLE);
    let (comes, left): (Vec<_>, Vec<_>) = texts.partition(|_| trust == Some(Trust::Own));
    if !left.is_empty() {
        plan.warnings.push(format!(
            "{}: {} views, triggers, routines or events of the archive are left out, unless its digest is known here \
             or it is trusted (--trust)",
            target.name,
            left.len()
        ));
    }
    let same = |a: &LiveObject, b: &ObjectText| a.kind == b.kind && a.name == b.name;
    let stays = live.iter().filter(|known| !comes.iter().any(|object| same(known, object)));
    let stays: Vec<String> =
        stays.map(|object| format!("{} {}", object.kind.replace('_', " "), object.name)).collect();
    plan.warnings.extend(warning(&format!("{}: stays as it is", target.name), &stays));
    for object in comes {
        let replaces = live.iter().any(|known| same(known, object));
        plan.objects.push(ObjectPlan {
            database: target.name.clone(),
            kind: object.kind.clone(),
            name: object.name.clone(),
            action: if replaces { TableAction::Replace } else { TableAction::Create },
        });
    }
}

/// Engines that read each other's dumps.
pub fn family(engine: &str) -> &str {
    match engine {
        "mariadb" => "mysql",
        other => other,
    }
}

async fn judge_filesystem(
    app: &App,
    only: &Only,
    contents: &Contents,
    counted: Counted,
    target: &FilesystemTarget,
    needs: &mut Needs,
    plan: &mut RestorePlan,
) {
    let space = target.filesystem.space().await;
    needs.add(format!("filesystem {}", target.name), counted.bytes, space);
    if let Err(error) = target.filesystem.check_writable().await {
        plan.problems.push(error.to_string());
    }
    let replaced = match only.is_everything() {
        true => replaced(app, contents, target).await,
        false => Vec::new(),
    };
    plan.filesystems.push(FilesystemPlan {
        name: target.name.clone(),
        files: counted.files,
        bytes: counted.bytes,
        replaced,
        removed: None,
    });
}

/// The folders of a target that a restore of everything replaces.
pub async fn replaced(app: &App, contents: &Contents, target: &FilesystemTarget) -> Vec<String> {
    // Tenants of a database that cannot be read now are those of the archive: it is refused elsewhere anyway.
    let tenants = app.portal.tenants().await.unwrap_or_default();
    let ids: Vec<i64> = tenants.iter().map(|tenant| tenant.id).collect();
    contents.placing.replaced(target.position, &ids)
}

/// How many live files a restore would remove: those in its folders that the archive does not have.
pub async fn count_removed(
    archive: &Archive,
    contents: &mut Contents,
    targets: &Targets,
    plan: &mut RestorePlan,
) -> Result<(), OpError> {
    let failed = |error: archive::Error| OpError::Unavailable(error.to_string());
    let hasher = RandomState::new();
    let mut known: HashSet<u64> = HashSet::new();
    contents.placing.restart();
    let mut entries = Box::pin(archive.entries());
    while let Some(entry) = entries.try_next().await.map_err(failed)? {
        if let Placed::Files(places) = contents.placing.place(&entry.path) {
            known.extend(
                places.iter().map(|place| hasher.hash_one((place.filesystem, &place.path))),
            );
        }
    }
    for described in &mut plan.filesystems {
        let target = targets.filesystems.iter().find(|target| target.name == described.name);
        let Some(target) = target else { continue };
        let mut removed = 0;
        for folder in &described.replaced {
            let mut listing = target.filesystem.list_except(folder, target.kept_now());
            while let Some(listed) = listing.next().await {
                if let Ok(Listed::File(file)) = listed
                    && !file.is_directory
                    && !known.contains(&hasher.hash_one((target.position, &file.path)))
                {
                    removed += 1;
                }
            }
        }
        described.removed = (!described.replaced.is_empty()).then_some(removed);
    }
    Ok(())
}

/// Why a request's `dump` does not fit an archive.
pub fn wrong_dump(archived: bool) -> String {
    match archived {
        true => "the archive is a dump of the whole installation: send \"dump\": true",
        false => "the archive is not a dump of the whole installation: send \"dump\": false",
    }
    .to_owned()
}
