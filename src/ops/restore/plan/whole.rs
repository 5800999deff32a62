//! Whether the archive as a whole fits the portal.

use super::{RestorePlan, wrong_dump};
use crate::app::App;
use crate::config::LayoutKind;
use crate::ops::restore::RestoreRequest;
use crate::ops::restore::contents::Contents;
use crate::ops::restore::targets::Targets;

pub async fn judge(
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
