//! An archive that is not ours, judged by its text before anything is begun.

use super::super::items;
use super::super::names::LARGE_OBJECTS;
use super::super::url::Target;
use super::build::{self, Definitions};
use super::{Fault, aside};
use crate::source::database::{DatabaseError, ObjectText, Trust};

/// Whether its definitions would be run: `schemes` of its tables, `objects` of everything else.
pub(in super::super) fn judge(
    target: &Target,
    schemes: &[(&str, &str)],
    objects: &[ObjectText],
) -> Result<(), DatabaseError> {
    let mut all = Definitions::default();
    for object in objects {
        let text = String::from_utf8_lossy(&object.sql);
        all.before.extend(items::parse(&text).into_iter().map(|item| (item, Trust::Foreign)));
    }
    for (_, sql) in schemes.iter().filter(|(table, _)| *table != LARGE_OBJECTS) {
        all.tables.push((0, items::parse(sql), Trust::Foreign));
    }
    let mut schemas = all.schemas();
    schemas.retain(|schema| !aside::is_reserved(schema));
    let judged = all.items().try_for_each(|item| build::judge(item, &schemas));
    judged.map_err(|fault: Fault| fault.of(&target.name, "what the archive defines"))
}
