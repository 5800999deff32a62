//! An archive that is not ours, judged by its text before anything is begun.

use std::collections::BTreeSet;

use super::super::items::{self, Item};
use super::super::names::LARGE_OBJECTS;
use super::super::url::Target;
use super::definitions::{Definitions, is_of_extension, text};
use super::{Fault, aside, extensions, guard};
use crate::source::database::{DatabaseError, ObjectText, Trust};

/// Whether its definitions would be run: `schemes` of its tables, `objects` of everything else.
pub(in super::super) fn judge(
    target: &Target,
    schemes: &[(&str, &str)],
    objects: &[ObjectText],
) -> Result<(), DatabaseError> {
    let mut all = Definitions::default();
    for object in objects {
        all.take(&object.name, &String::from_utf8_lossy(&object.sql), Trust::Foreign);
    }
    for (_, sql) in schemes.iter().filter(|(table, _)| *table != LARGE_OBJECTS) {
        all.tables.push((0, items::parse(sql), Trust::Foreign));
    }
    all.choose();
    let mut schemas = all.schemas();
    schemas.retain(|schema| !aside::is_reserved(schema));
    let judged = all.items().try_for_each(|item| judge_one(item, &schemas));
    judged.map_err(|fault: Fault| fault.of(&target.name, "what the archive defines"))
}

/// Whether a definition of an archive that is not ours may be run. `schemas`: those that are replaced or added.
pub(super) fn judge_one(item: &Item, schemas: &BTreeSet<String>) -> Result<(), Fault> {
    if is_of_extension(item) {
        // It is left out.
        return Ok(());
    }
    let judged = match item.kind.as_str() {
        "EXTENSION" => extensions::judge(item, schemas),
        _ => guard::check(&text(item), schemas),
    };
    judged.map_err(|why| {
        let what = format!("{} {}", item.kind.to_lowercase(), item.name);
        Fault::Text(format!(
            "the archive is not one of this service's own, and its {what} is refused: {why}; trust the archive to \
             restore it nevertheless"
        ))
    })
}
