//! Large objects: dumped as if they were one table, by statements, because COPY cannot load them.

use sqlx::Error;

use super::catalog::{number, text};
use super::connect::Session;
use super::names::{LARGE_OBJECTS, identifier, literal};
use super::rows::{Failure, copy};
use crate::source::database::{DataSink, Table};

/// Bytes of one statement; a multiple of the server's page of 2,048 bytes.
pub(super) const CHUNK: u64 = 256 << 10;
const PAGES: u64 = CHUNK / 2048;

/// What there is of them.
pub(super) struct Found {
    /// Those that may be read.
    pub table: Option<Table>,
    /// How many may not.
    pub forbidden: u64,
}

/// Which objects may be read by somebody who may not read the server's own table of them.
const READABLE: &str = "(pg_catalog.pg_has_role(m.lomowner, 'USAGE') OR EXISTS (SELECT 1 \
     FROM pg_catalog.aclexplode(m.lomacl) r WHERE r.privilege_type = 'SELECT' \
     AND (r.grantee = 0 OR pg_catalog.pg_has_role(r.grantee, 'USAGE'))))";

/// Whether the server's own table of them may be read.
async fn reads_all(session: &mut Session) -> Result<bool, Error> {
    let query =
        "SELECT pg_catalog.has_table_privilege('pg_catalog.pg_largeobject', 'SELECT')::text";
    Ok(session.value(query).await?.as_deref() == Some("true"))
}

/// A condition on `m`: those that are carried.
async fn carried(session: &mut Session) -> Result<&'static str, Error> {
    Ok(if reads_all(session).await? { "true" } else { READABLE })
}

pub(super) async fn find(session: &mut Session) -> Result<Found, Error> {
    let query = format!(
        "SELECT count(*)::text, count(*) FILTER (WHERE {})::text, \
         pg_catalog.pg_table_size('pg_catalog.pg_largeobject')::text FROM pg_catalog.pg_largeobject_metadata m",
        carried(session).await?
    );
    let row = session.rows(&query).await?.pop().unwrap_or_default();
    let (all, readable) = (number(&row, 0), number(&row, 1));
    let table = (readable > 0).then(|| Table {
        name: LARGE_OBJECTS.to_owned(),
        with_data: true,
        estimated_bytes: 2 * number(&row, 2),
    });
    Ok(Found { table, forbidden: all - readable })
}

/// Makes them, empty, with their owners, grants and comments. Each in the role of its owner: to give them away one by
/// one takes a lock for each, and a server has some thousands.
pub(super) async fn scheme(session: &mut Session) -> Result<String, Error> {
    let mut sql = String::from("SET client_encoding = 'UTF8';\n");
    let carried = carried(session).await?;
    let query = format!(
        "SELECT pg_catalog.pg_get_userbyid(owner)::text, pg_catalog.string_agg(oid::text, ',' ORDER BY oid) FROM \
         (SELECT m.lomowner AS owner, m.oid, (pg_catalog.row_number() OVER (PARTITION BY m.lomowner ORDER BY m.oid) - 1) \
         / 1000 AS part FROM pg_catalog.pg_largeobject_metadata m WHERE {carried}) n GROUP BY owner, part ORDER BY 1, part"
    );
    for row in session.rows(&query).await? {
        let (owner, create) = (identifier(&text(&row, 0)), create(&text(&row, 1)));
        sql += &format!("SET ROLE {owner};\n{create}\nRESET ROLE;\n");
    }
    let query = format!(
        "SELECT m.oid::text, pg_catalog.obj_description(m.oid, 'pg_largeobject') FROM pg_catalog.pg_largeobject_metadata m \
         WHERE {carried} AND pg_catalog.obj_description(m.oid, 'pg_largeobject') IS NOT NULL ORDER BY m.oid"
    );
    for row in session.rows(&query).await? {
        let comment = literal(&text(&row, 1));
        sql +=
            &format!("COMMENT ON LARGE OBJECT {} IS {};\n", number(&row, 0), comment.trim_start());
    }
    for statement in grants(session, carried).await? {
        sql += &statement;
        sql.push('\n');
    }
    Ok(sql)
}

const CREATE: &str = "SELECT pg_catalog.lo_create(o) FROM pg_catalog.unnest('{";
const CREATE_END: &str = "}'::pg_catalog.oid[]) AS o;";

/// Makes objects, of numbers with commas between.
pub(super) fn create(numbers: &str) -> String {
    format!("{CREATE}{numbers}{CREATE_END}")
}

/// The numbers of one statement of [`create`]'s.
pub(super) fn created(line: &str) -> Option<Vec<u64>> {
    let numbers = line.strip_prefix(CREATE)?.strip_suffix(CREATE_END)?;
    numbers.split(',').map(|number| number.parse().ok()).collect()
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

/// Their pieces that hold something: rows of `loid` and `chunk`. `among`: a query of numbers; None: all.
pub(super) async fn pieces(session: &mut Session, among: Option<&str>) -> Result<String, Error> {
    let among = |column: &str| match among {
        Some(query) => format!("{column} IN ({query})"),
        None => "true".to_owned(),
    };
    if reads_all(session).await? {
        // One that was emptied has a page with nothing in it.
        return Ok(format!(
            "SELECT DISTINCT loid, (pageno / {PAGES})::bigint AS chunk FROM pg_catalog.pg_largeobject \
             WHERE pg_catalog.octet_length(data) > 0 AND {}",
            among("loid")
        ));
    }
    // Each is closed when its size is known: only so many can be open.
    Ok(format!(
        "SELECT oid AS loid, pg_catalog.generate_series(0, (size - 1) / {CHUNK}) AS chunk FROM \
         (SELECT oid, size, pg_catalog.lo_close(fd) FROM \
         (SELECT oid, fd, pg_catalog.lo_lseek64(fd, 0, 2) AS size FROM \
         (SELECT m.oid, pg_catalog.lo_open(m.oid, 262144) AS fd FROM pg_catalog.pg_largeobject_metadata m \
         WHERE {READABLE} AND {} OFFSET 0) a OFFSET 0) b OFFSET 0) c WHERE size > 0",
        among("m.oid")
    ))
}

/// Their content, a statement for each piece of one. `among`: as [`pieces`] has it.
pub(super) async fn dump(
    session: &mut Session,
    among: Option<&str>,
    sink: &mut dyn DataSink,
) -> Result<u64, Failure> {
    let pieces = pieces(session, among).await?;
    // Without a backslash in it, so that COPY escapes nothing.
    let statement = format!(
        "COPY (SELECT 'SELECT pg_catalog.lo_put(' || loid || ', ' || chunk * {CHUNK} || ', pg_catalog.decode(''' || \
         pg_catalog.encode(pg_catalog.lo_get(loid, chunk * {CHUNK}, {CHUNK}), 'hex') || ''', ''hex''));' \
         FROM ({pieces}) p ORDER BY loid, chunk) TO STDOUT"
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
