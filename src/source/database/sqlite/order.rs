//! The order in which a schema lists what it has, which is that in which it was made: programs that show a database show
//! it so. A restore makes tables, indexes and the rest in another order, and then puts it right.

use rusqlite::{Connection, Result};

const START: &str = "-- Position: ";

/// A line that says where something stands in the schema, and what belongs to it; empty when that is unknown.
pub(super) fn line(positions: impl IntoIterator<Item = i64>) -> String {
    let positions: Vec<_> = positions.into_iter().map(|position| position.to_string()).collect();
    if positions.is_empty() { String::new() } else { format!("{START}{}\n", positions.join(", ")) }
}

/// What such a line says, and the text after it. Texts of older archives have none.
pub(super) fn read(text: &[u8]) -> (Vec<i64>, &[u8]) {
    let found = text.strip_prefix(START.as_bytes()).and_then(|rest| {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let (numbers, after) = rest.split_at(end);
        let numbers = str::from_utf8(numbers).ok()?.split(", ");
        let positions = numbers.map(|number| number.parse().ok().filter(|at| *at > 0));
        Some((positions.collect::<Option<Vec<i64>>>()?, &after[1..]))
    });
    found.unwrap_or((Vec::new(), text))
}

/// Something of a schema: its type and its name there.
pub(super) type Item = (&'static str, String);

/// Lets these come first, in the order of their positions. The schema must be writable; it must be read anew after this.
pub(super) fn arrange(db: &Connection, mut items: Vec<(i64, Item)>) -> Result<()> {
    items.sort();
    let transaction = db.unchecked_transaction()?;
    let last: i64 =
        db.query_row("SELECT ifnull(max(rowid), 0) FROM main.sqlite_schema", [], |row| row.get(0))?;
    let beyond = last + i64::try_from(items.len()).unwrap_or(i64::MAX / 2) + 1;
    // Below zero first: a number that is moved to must be free.
    db.execute("UPDATE main.sqlite_schema SET rowid = -rowid", [])?;
    let mut place = db.prepare(
        "UPDATE main.sqlite_schema SET rowid = ?1 WHERE type = ?2 AND name = ?3 COLLATE NOCASE",
    )?;
    for (number, (_, (kind, name))) in items.iter().enumerate() {
        place.execute(rusqlite::params![number as i64 + 1, kind, name])?;
    }
    drop(place);
    db.execute("UPDATE main.sqlite_schema SET rowid = ?1 - rowid WHERE rowid < 0", [beyond])?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_as_they_were_written() {
        assert_eq!(read(format!("{}DROP", line([3, 7])).as_bytes()), (vec![3, 7], &b"DROP"[..]));
        assert_eq!(line([]), "");
        for text in ["DROP", "-- Position: x\nDROP", "-- Position: 3", "-- Position: -3\n"] {
            assert_eq!(read(text.as_bytes()), (vec![], text.as_bytes()));
        }
    }
}
