//! Indexes in a restore: put back whole, or emptied so that they are built again. Half an index, or one beside the
//! files of another, would be worse than none.

use serde::Serialize;

use super::contents::{Contents, Only};
use super::plan::RestorePlan;
use super::space::Needs;
use super::targets::{FilesystemTarget, Targets};
use crate::app::App;
use crate::portal::{EXTRA_INDEX, INDEXES};

#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IndexPlan {
    pub name: String,
    pub action: IndexAction,
    /// In the archive.
    pub files: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum IndexAction {
    /// The archive's takes the place of the live one.
    Replace,
    /// The archive has none: the folder is emptied, and the search builds a new one.
    Rebuild,
}

/// What is done with the index that a target is of; None: nothing, or it is no index.
pub fn action(
    contents: &Contents,
    only: &Only,
    targets: &Targets,
    target: &FilesystemTarget,
) -> Option<IndexAction> {
    if target.position < INDEXES {
        return None;
    }
    let listed = contents.info.as_ref().is_some_and(|info| info.indexes.contains(&target.name))
        && only.wants(&format!("{EXTRA_INDEX}{}/", target.name));
    if listed || contents.files.contains_key(&target.position) {
        return Some(IndexAction::Replace);
    }
    (targets.live && only.is_everything()).then_some(IndexAction::Rebuild)
}

/// Adds to a plan what becomes of the indexes.
pub async fn judge(
    app: &App,
    contents: &Contents,
    only: &Only,
    targets: &Targets,
    needs: &mut Needs,
    plan: &mut RestorePlan,
) {
    for target in &targets.filesystems {
        let Some(action) = action(contents, only, targets, target) else { continue };
        let counted = contents.files.get(&target.position).copied().unwrap_or_default();
        let name = &target.name;
        match action {
            // A source by itself is restored into a new place, which nothing writes yet.
            _ if app.single.is_some() => {}
            IndexAction::Replace => plan.warnings.push(format!(
                "index {name} is replaced: whatever writes it must be stopped until the restore has ended"
            )),
            IndexAction::Rebuild => plan.warnings.push(format!(
                "the archive has no index {name}: its folder is emptied, so that the search builds it again when it \
                 is started; stop it until the restore has ended"
            )),
        }
        needs.add(format!("index {name}"), counted.bytes, target.filesystem.space().await);
        if let Err(error) = target.filesystem.check_writable().await {
            plan.problems.push(format!("index {name}: {error}"));
        }
        plan.indexes.push(IndexPlan {
            name: name.clone(),
            action,
            files: counted.files,
            bytes: counted.bytes,
        });
    }
}
