//! What becomes of a filesystem.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use archive::Archive;
use futures::{StreamExt, TryStreamExt};

use super::{FilesystemPlan, RestorePlan};
use crate::app::App;
use crate::ops::OpError;
use crate::ops::restore::contents::{Contents, Only};
use crate::ops::restore::count::Counted;
use crate::ops::restore::space::Needs;
use crate::ops::restore::targets::{FilesystemTarget, Targets};
use crate::portal::Placed;
use crate::source::files::Listed;

pub async fn judge(
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
