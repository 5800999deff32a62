//! What a dump does not carry, or not as it was, named.

use mysql_async::{Error, Row};

use super::connect::Session;
use super::grants::Grants;
use super::objects::Found;
use super::scheme::Catalog;
use crate::source::database::warning;

/// Who lacks one of these does not see what is there.
const TO_SEE: [(&str, &str); 2] = [("TRIGGER", "triggers"), ("EVENT", "events")];

/// Any of these shows routines; in MariaDB also being allowed to read `mysql.proc`.
const TO_SEE_ROUTINES: [&str; 2] = ["EXECUTE", "SHOW_ROUTINE"];

/// A sentence for each kind of thing that a restore may miss.
pub(super) async fn of(
    session: &mut Session,
    catalog: &Catalog,
    objects: &Found,
) -> Result<Vec<String>, Error> {
    let mut warnings: Vec<String> = [
        ("not backed up, because the database's user may not read them", &objects.unreadable),
        (
            "not backed up, because tables whose rows they show are missing or differ, and the server tells nothing of \
             them (they have no rows of their own): MERGE tables",
            &catalog.hollow,
        ),
        ("views that do not work, because they name what is not there", &objects.broken),
        (
            "not backed up: the history of system-versioned tables that is kept by transactions, or by a server before \
             MariaDB 10.11",
            &catalog.without_history,
        ),
        (
            "tables whose engine knows no transactions, so that their rows may be of a later moment",
            &catalog.unprotected,
        ),
    ]
    .into_iter()
    .filter_map(|(about, names)| warning(about, names))
    .collect();

    warnings.extend(warning(
        "not backed up, but made again by ANALYZE TABLE: histograms",
        &histograms(session).await?,
    ));

    let schema: Option<String> = session.rows("SELECT DATABASE()").await?.pop();
    let mut lines: Vec<String> = Vec::new();
    for row in session.rows::<Row>("SHOW GRANTS").await? {
        lines.extend(row.get_opt::<String, _>(0).and_then(Result::ok));
    }
    let (grants, schema) = (Grants::parse(&lines), schema.unwrap_or_default());
    let mut unseen: Vec<String> = TO_SEE
        .iter()
        .filter(|(right, _)| !grants.missing(&schema, &[right]).is_empty())
        .map(|(right, what)| format!("{what} ({right})"))
        .collect();
    if grants.missing(&schema, &TO_SEE_ROUTINES).len() == TO_SEE_ROUTINES.len()
        && !session.try_run("SELECT 1 FROM mysql.proc LIMIT 0").await?
    {
        unseen.push("procedures and functions (SELECT on mysql.proc, or SHOW_ROUTINE)".to_owned());
    }
    warnings.extend(warning(
        "if there are any, they are not backed up, for want of a right to see them",
        &unseen,
    ));
    Ok(warnings)
}

/// MySQL's histograms, as far as they may be seen; MariaDB has no such list.
async fn histograms(session: &mut Session) -> Result<Vec<String>, Error> {
    let query = "SELECT CONCAT(TABLE_NAME, '.', COLUMN_NAME) FROM information_schema.COLUMN_STATISTICS \
        WHERE SCHEMA_NAME = DATABASE() ORDER BY 1";
    match session.rows(query).await {
        Err(Error::Server(_)) => Ok(Vec::new()),
        found => found,
    }
}
