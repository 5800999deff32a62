//! What the connection's user may do, as `SHOW GRANTS` tells it.

use std::collections::BTreeSet;

/// Rights on everything, and on schemas.
#[derive(Debug, Default)]
pub(super) struct Grants {
    /// Of each: the pattern of the schema (`%`: all), and the rights, in upper case.
    on: Vec<(String, BTreeSet<String>)>,
    /// Schemas for which rights on everything do not hold (MySQL's partial revokes).
    revoked: Vec<(String, BTreeSet<String>)>,
}

impl Grants {
    /// Reads the lines that the server gives. Those that it does not understand give no right.
    pub fn parse(lines: &[String]) -> Self {
        let mut grants = Self::default();
        for line in lines {
            if let Some(rest) = line.strip_prefix("GRANT ") {
                grants.on.extend(line_of(rest));
            } else if let Some(rest) = line.strip_prefix("REVOKE ") {
                grants.revoked.extend(line_of(rest));
            }
        }
        grants
    }

    /// Which of `wanted` are missing on a schema.
    pub fn missing<'a>(&self, schema: &str, wanted: &[&'a str]) -> Vec<&'a str> {
        wanted.iter().copied().filter(|right| !self.has(schema, right)).collect()
    }

    fn has(&self, schema: &str, right: &str) -> bool {
        let named = |(pattern, rights): &&(String, BTreeSet<String>)| {
            matches(pattern, schema)
                && (rights.contains(right) || rights.contains("ALL PRIVILEGES"))
        };
        let revoked = self.revoked.iter().any(|entry| named(&entry));
        let mut found = self.on.iter().filter(named);
        found.any(|(pattern, _)| pattern != "%" || !revoked)
    }
}

/// `SELECT, INSERT ON `a\_b`.* TO …`. `None`: about a table, a routine, a role.
fn line_of(line: &str) -> Option<(String, BTreeSet<String>)> {
    let (rights, rest) = line.split_once(" ON ")?;
    let object = rest.split(" TO ").next()?.split(" FROM ").next()?.trim();
    let schema = object.strip_suffix(".*")?;
    let pattern = match schema {
        "*" => "%".to_owned(),
        quoted => quoted.strip_prefix(['`', '"'])?.strip_suffix(['`', '"'])?.replace("``", "`"),
    };
    // (Rights on columns have parentheses, and are none on a schema.)
    let rights = rights.split(',').map(|right| right.trim().to_ascii_uppercase()).collect();
    Some((pattern, rights))
}

/// Whether a name is of the server's pattern: `%`, `_`, and `\` before either.
fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    // Which of the name's beginnings the pattern so far is for.
    let mut ends: BTreeSet<usize> = BTreeSet::from([0]);
    let mut index = 0;
    while let Some(sign) = pattern.get(index).copied() {
        index += 1;
        let mut literal = sign;
        ends = match sign {
            '%' => {
                let first = ends.first().copied().unwrap_or(name.len() + 1);
                (first..=name.len()).collect()
            }
            '_' => ends.into_iter().map(|end| end + 1).filter(|end| *end <= name.len()).collect(),
            _ => {
                if sign == '\\'
                    && let Some(next) = pattern.get(index)
                {
                    literal = *next;
                    index += 1;
                }
                let same = |end: &usize| {
                    name.get(*end)
                        .is_some_and(|found| found.to_lowercase().eq(literal.to_lowercase()))
                };
                ends.into_iter().filter(same).map(|end| end + 1).collect()
            }
        };
    }
    ends.contains(&name.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(lines: &[&str]) -> Grants {
        Grants::parse(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn rights_are_those_of_the_schema() {
        let some = grants(&[
            "GRANT USAGE ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD '*1'",
            "GRANT SELECT, CREATE ON `docspace`.* TO `u`@`%`",
            "GRANT ALL PRIVILEGES ON `docspace\\_pb\\_%`.* TO `u`@`%` WITH GRANT OPTION",
            "GRANT DROP ON `docspace`.`one_table` TO `u`@`%`",
        ]);
        assert_eq!(some.missing("docspace", &["SELECT", "CREATE", "DROP"]), ["DROP"]);
        assert!(some.missing("docspace_pb_1", &["DROP", "TRIGGER"]).is_empty());
        assert_eq!(some.missing("docspacexpb_1", &["DROP"]), ["DROP"]);
    }

    #[test]
    fn rights_on_everything_may_be_revoked_in_part() {
        let all = grants(&["GRANT SELECT, DROP ON *.* TO `u`@`%`"]);
        assert!(all.missing("any", &["SELECT", "DROP"]).is_empty());
        let partly = grants(&["GRANT DROP ON *.* TO `u`@`%`", "REVOKE DROP ON `x`.* FROM `u`@`%`"]);
        assert_eq!(partly.missing("x", &["DROP"]), ["DROP"]);
        assert!(partly.missing("y", &["DROP"]).is_empty());
    }
}
