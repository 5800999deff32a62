//! Large objects: dumped as if they were one table, by statements, because COPY cannot load them.

use sqlx::Error;

use super::catalog::{number, text};
use super::connect::Session;
use super::names::{LARGE_OBJECTS, identifier, literal};
use super::rows::{Failure, copy};
use crate::source::database::{DataSink, Table};

/// Bytes of one statement; a multiple of the server's page of 2,048 bytes.
const CHUNK: u64 = 256 << 10;
const PAGES: u64 = CHUNK / 2048;

/// What there is of them.
pub(super) enum Found {
    None,
    Table(Table),
    /// They are there, and may not be read.
    Forbidden(u64),
}

pub(super) async fn find(session: &mut Session) -> Result<Found, Error> {
    let query = "SELECT (SELECT count(*) FROM pg_catalog.pg_largeobject_metadata)::text, \
         pg_catalog.has_table_privilege('pg_catalog.pg_largeobject', 'SELECT')::text, \
         pg_catalog.pg_table_size('pg_catalog.pg_largeobject')::text";
    let row = session.rows(query).await?.pop().unwrap_or_default();
    Ok(match (number(&row, 0), text(&row, 1).as_str()) {
        (0, _) => Found::None,
        (_, "true") => Found::Table(Table {
            name: LARGE_OBJECTS.to_owned(),
            with_data: true,
            estimated_bytes: 2 * number(&row, 2),
        }),
        (count, _) => Found::Forbidden(count),
    })
}

/// Makes them, empty, with their owners, grants and comments.
pub(super) async fn scheme(session: &mut Session) -> Result<String, Error> {
    let mut sql = String::from("SET client_encoding = 'UTF8';\n");
    let query = "SELECT m.oid::text, r.rolname::text, pg_catalog.obj_description(m.oid, 'pg_largeobject') \
         FROM pg_catalog.pg_largeobject_metadata m JOIN pg_catalog.pg_roles r ON r.oid = m.lomowner ORDER BY m.oid";
    for row in session.rows(query).await? {
        let oid = number(&row, 0);
        sql += &format!("SELECT pg_catalog.lo_create({oid});\n");
        sql += &format!("ALTER LARGE OBJECT {oid} OWNER TO {};\n", identifier(&text(&row, 1)));
        if let Some(Some(comment)) = row.get(2) {
            sql +=
                &format!("COMMENT ON LARGE OBJECT {oid} IS {};\n", literal(comment).trim_start());
        }
    }
    for statement in grants(session, "true").await? {
        sql += &statement;
        sql.push('\n');
    }
    Ok(sql)
}

/// The grants on those that a condition on `m` chooses, as statements.
pub(super) async fn grants(session: &mut Session, which: &str) -> Result<Vec<String>, Error> {
    let query = format!(
        "SELECT m.oid::text, COALESCE(r.rolname, '')::text, a.privilege_type::text, a.is_grantable::text \
         FROM pg_catalog.pg_largeobject_metadata m, LATERAL pg_catalog.aclexplode(m.lomacl) a \
         LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee \
         WHERE a.grantee <> m.lomowner AND {which} ORDER BY m.oid, 2, 3"
    );
    let rows = session.rows(&query).await?;
    Ok(rows
        .iter()
        .map(|row| {
            let role = text(row, 1);
            let role = if role.is_empty() { "PUBLIC".to_owned() } else { identifier(&role) };
            let option = if text(row, 3) == "true" { " WITH GRANT OPTION" } else { "" };
            format!("GRANT {} ON LARGE OBJECT {} TO {role}{option};", text(row, 2), number(row, 0))
        })
        .collect())
}

/// Their content, a statement for each piece of one.
pub(super) async fn dump(
    session: &mut Session,
    which: &str,
    sink: &mut dyn DataSink,
) -> Result<u64, Failure> {
    // Without a backslash in it, so that COPY escapes nothing.
    let statement = format!(
        "COPY (SELECT 'SELECT pg_catalog.lo_put(' || loid || ', ' || chunk * {CHUNK} || ', pg_catalog.decode(''' || \
         pg_catalog.encode(pg_catalog.lo_get(loid, chunk * {CHUNK}, {CHUNK}), 'hex') || ''', ''hex''));' \
         FROM (SELECT DISTINCT loid, (pageno / {PAGES})::bigint AS chunk FROM pg_catalog.pg_largeobject WHERE {which}) p \
         ORDER BY loid, chunk) TO STDOUT"
    );
    copy(session, &statement, b"", b"", sink).await
}

/// One statement of [`dump`]'s: the object, and whether it is exactly such a statement.
pub(super) fn statement(line: &str) -> Option<u64> {
    let rest = line.strip_prefix("SELECT pg_catalog.lo_put(")?.strip_suffix("', 'hex'));")?;
    let (place, hex) = rest.split_once(", pg_catalog.decode('")?;
    let (oid, offset) = place.split_once(", ")?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let good = digits(offset) && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    if good && digits(oid) { oid.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::statement;

    #[test]
    fn only_our_own_statements_are_taken() {
        assert_eq!(
            statement("SELECT pg_catalog.lo_put(7, 0, pg_catalog.decode('00ff', 'hex'));"),
            Some(7)
        );
        for bad in [
            "SELECT pg_catalog.lo_put(7, 0, pg_catalog.decode('00', 'hex')); DROP TABLE x; SELECT ('', 'hex'));",
            "SELECT pg_catalog.lo_put(f(), 0, pg_catalog.decode('00', 'hex'));",
            "SELECT pg_catalog.lo_put(7, 0, pg_catalog.decode('0''0', 'hex'));",
            "SELECT pg_catalog.lo_unlink(7);",
        ] {
            assert_eq!(statement(bad), None, "{bad}");
        }
    }
}
