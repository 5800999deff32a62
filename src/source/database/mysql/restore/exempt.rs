//! What only a lenient server stores, though it stores it as it is.

use std::collections::HashSet;

use super::load::Column;
use super::verdict::{self, OUT_OF_RANGE, TRUNCATED};
use crate::source::database::sql::Rows;

/// Of the rows of a statement.
pub(super) struct Exempt {
    /// Of ENUM columns, how many values are the number 0, which is no member, or the text that it shows as.
    choices: u64,
    /// Columns, and the statement's rows by their numbers, where a FLOAT(M,D) holds the largest that it can: that is
    /// rounded, and may thus be more than the server takes.
    limits: HashSet<(String, u64)>,
}

impl Exempt {
    pub fn of(rows: &Rows<'_>, columns: &[Option<&Column>]) -> Self {
        let mut exempt = Self { choices: 0, limits: HashSet::new() };
        for (row, number) in rows.rows().zip(1..) {
            for (value, column) in row.zip(columns) {
                let Some(column) = column.filter(|column| !column.generated) else { continue };
                exempt.choices += u64::from(match column.choice {
                    Some(_) if value == b"0" => true,
                    Some(has_empty) => value == b"''" && !has_empty,
                    None => false,
                });
                if column.limit.is_some_and(|limit| is_limit(value, limit)) {
                    exempt.limits.insert((column.name.clone(), number));
                }
            }
        }
        exempt
    }

    fn is_limit(&self, code: u16, message: &str) -> bool {
        let names = self.limits.iter().map(|(name, _)| name.as_str());
        let of = verdict::of_column(names, code, message).filter(|_| code == OUT_OF_RANGE);
        of.is_some_and(|(name, row)| self.limits.contains(&(name.to_owned(), row)))
    }

    /// Whether a strict server may have refused the rows for it.
    pub fn may_refuse(&self, code: u16, message: &str) -> bool {
        code == TRUNCATED && self.choices > 0 || self.is_limit(code, message)
    }

    /// Whether these are what a lenient server says of it, and nothing else.
    pub fn are_all(&self, warnings: &[(u16, String)]) -> bool {
        let rest = warnings.iter().filter(|(code, message)| !self.is_limit(*code, message));
        let (mut choices, mut others) = (0, false);
        for (code, _) in rest {
            choices += 1;
            others |= *code != TRUNCATED;
        }
        !others && choices == self.choices
    }
}

/// The largest value of a `float(M,D)`; None: the type is none.
pub(super) fn limit(column_type: &str) -> Option<f64> {
    let (digits, _) = column_type.strip_prefix("float(")?.split_once(')')?;
    let (all, after) = digits.split_once(',')?;
    let (all, after): (i32, i32) = (all.trim().parse().ok()?, after.trim().parse().ok()?);
    Some(10f64.powi(all - after) - 10f64.powi(-after))
}

/// Whether a literal is what becomes of the largest value as it is stored: then nothing is lost by its becoming that.
#[allow(clippy::cast_possible_truncation)] // That is what the server does.
fn is_limit(literal: &[u8], limit: f64) -> bool {
    let value = std::str::from_utf8(literal).ok().and_then(|text| text.parse::<f64>().ok());
    value.is_some_and(|value| value.abs() == f64::from(limit as f32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::float_cmp)]
    fn only_the_stored_form_of_the_largest_value_is_it() {
        assert_eq!(limit("float(8,2)"), Some(999_999.99));
        assert_eq!(limit("float(8,2) unsigned"), Some(999_999.99));
        assert!(limit("float").is_none() && limit("double(8,2)").is_none());
        let largest = limit("float(30,0)").unwrap();
        assert!(is_limit(b"1.0000000150474662e30", largest));
        assert!(is_limit(b"-1.0000000150474662e30", largest));
        assert!(!is_limit(b"1.1e30", largest) && !is_limit(b"null", largest));
    }
}
