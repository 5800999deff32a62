//! What a dump does not carry, named.

use mysql_async::Error;

use super::connect::Session;
use super::scheme::Catalog;
use crate::source::database::warning;

/// A sentence for each kind of object that is there and not carried.
pub(super) async fn warnings(
    session: &mut Session,
    catalog: &Catalog,
) -> Result<Vec<String>, Error> {
    let mut kinds = vec![
        ("views", catalog.views.clone()),
        ("sequences", catalog.sequences.clone()),
        ("the history of system-versioned tables", catalog.versioned.clone()),
    ];
    for (kind, query) in [
        (
            "triggers",
            "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() ORDER BY 1",
        ),
        (
            "stored procedures, functions and packages",
            "SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE() \
             AND ROUTINE_TYPE <> 'PACKAGE BODY' ORDER BY 1",
        ),
        (
            "events",
            "SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE() ORDER BY 1",
        ),
    ] {
        kinds.push((kind, session.rows(query).await?));
    }
    let mut warnings: Vec<String> = kinds
        .into_iter()
        .filter_map(|(kind, mut names)| {
            names.sort();
            warning(&format!("not backed up yet: {kind}"), &names)
        })
        .collect();
    warnings.extend(warning(
        "tables whose engine knows no transactions, so that their rows may be of a later moment",
        &catalog.unprotected,
    ));
    Ok(warnings)
}
