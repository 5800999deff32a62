//! What the catalog of a snapshot says about tables, and what of it a dump does not carry.

use std::collections::BTreeMap;

use sqlx::Error;

use super::connect::{Session, Texts};
use super::names::{self, identifier, literal, qualified};
use crate::source::database::{Table, warning};

/// Tables of users: not the server's, not an extension's, not ours.
const USERS: &str = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname !~ '^portal_backup_' \
     AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass \
     AND d.objid = c.oid AND d.deptype = 'e')";

/// A condition on `c`: a replica has none of its rows, and refuses to be asked for them.
pub(super) const UNLOGGED: &str = "(c.relpersistence = 'u' AND pg_catalog.pg_is_in_recovery())";

/// One table, as the snapshot has it.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    pub oid: u64,
    pub schema: String,
    pub name: String,
    /// `r`: a table, `p`: one whose rows are in its partitions.
    pub kind: char,
    /// The file that holds its rows: another one means that it was rewritten or emptied.
    pub file: u64,
    pub bytes: u64,
    /// Guessed.
    pub rows: u64,
    /// An unlogged one on a replica, which has no rows of it.
    pub is_elsewhere: bool,
    /// Those that hold data of their own, in the order in which a restore makes them.
    pub columns: Vec<String>,
    /// In SQL, the partitioned table that spreads its rows when they are loaded: the hash of an enum's value is another
    /// where the enum was made anew, so a row may belong to another partition there.
    pub spread_by: Option<String>,
}

impl Relation {
    pub fn member(&self) -> String {
        names::member(&self.schema, &self.name)
    }

    pub fn sql(&self) -> String {
        qualified(&self.schema, &self.name)
    }

    /// Where its rows are loaded.
    pub fn loaded_by(&self) -> String {
        self.spread_by.clone().unwrap_or_else(|| self.sql())
    }

    /// The columns in parentheses, or nothing when there are none.
    pub fn column_list(&self) -> String {
        match self.columns.is_empty() {
            true => String::new(),
            false => {
                let names: Vec<_> = self.columns.iter().map(|name| identifier(name)).collect();
                format!(" ({})", names.join(", "))
            }
        }
    }

    pub fn table(&self) -> Table {
        Table {
            name: self.member(),
            with_data: self.kind == 'r' && !self.is_elsewhere,
            estimated_bytes: if self.kind == 'r' { self.bytes } else { 0 },
        }
    }
}

/// The partitions below one by the hash of enums, or of what may hold some, each with the topmost table.
const SPREAD: &str = "WITH RECURSIVE below AS (SELECT i.inhrelid AS oid FROM pg_catalog.pg_partitioned_table p \
       JOIN pg_catalog.pg_inherits i ON i.inhparent = p.partrelid WHERE p.partstrat = 'h' AND EXISTS (SELECT 1 \
         FROM pg_catalog.pg_opclass o WHERE o.oid = ANY (p.partclass) \
         AND o.opcname IN ('enum_ops', 'array_ops', 'record_ops', 'range_ops', 'multirange_ops')) \
     UNION SELECT i.inhrelid FROM below b JOIN pg_catalog.pg_inherits i ON i.inhparent = b.oid), \
     up AS (SELECT oid, oid AS at FROM below UNION ALL SELECT u.oid, i.inhparent FROM up u \
       JOIN pg_catalog.pg_inherits i ON i.inhrelid = u.at) \
     SELECT u.oid::text, n.nspname::text, c.relname::text FROM up u JOIN pg_catalog.pg_class c ON c.oid = u.at \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_inherits i WHERE i.inhrelid = u.at)";

/// Heirs, each with what it inherits from. (Partitions are made with columns of their own.)
const PARENTS: &str = "SELECT i.inhrelid::text, i.inhparent::text FROM pg_catalog.pg_inherits i \
     JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relkind = 'r' AND NOT c.relispartition \
     ORDER BY i.inhrelid, i.inhseqno";

/// A table's columns as its definition makes them: what it inherits comes first, also where a parent was given a column
/// later, which then is an heir's last.
fn as_made(
    table: u64,
    columns: &BTreeMap<u64, Vec<String>>,
    parents: &BTreeMap<u64, Vec<u64>>,
) -> Vec<String> {
    let own = columns.get(&table).cloned().unwrap_or_default();
    let inherited = parents.get(&table).into_iter().flatten();
    let mut made: Vec<String> = Vec::with_capacity(own.len());
    for column in inherited.flat_map(|parent| as_made(*parent, columns, parents)).chain(own.clone())
    {
        if own.contains(&column) && !made.contains(&column) {
            made.push(column);
        }
    }
    made
}

pub(super) fn text(row: &Texts, index: usize) -> String {
    row.get(index).cloned().flatten().unwrap_or_default()
}

pub(super) fn number(row: &Texts, index: usize) -> u64 {
    text(row, index).parse().unwrap_or(0)
}

/// All tables, by the names of their members.
pub(super) async fn relations(session: &mut Session) -> Result<BTreeMap<String, Relation>, Error> {
    let read = read(session, &format!("c.relkind IN ('r', 'p') AND {USERS}")).await?;
    Ok(read.into_iter().map(|relation| (relation.member(), relation)).collect())
}

/// One table, by its name.
pub(super) async fn relation(
    session: &mut Session,
    schema: &str,
    name: &str,
) -> Result<Option<Relation>, Error> {
    let which = format!(
        "c.relkind IN ('r', 'p') AND n.nspname = {} AND c.relname = {}",
        literal(schema),
        literal(name)
    );
    Ok(read(session, &which).await?.pop())
}

async fn read(session: &mut Session, which: &str) -> Result<Vec<Relation>, Error> {
    let query = format!(
        "SELECT c.oid::text, n.nspname::text, c.relname::text, c.relkind::text, c.relfilenode::text, \
           COALESCE(pg_catalog.pg_table_size(c.oid), 0)::text, GREATEST(c.reltuples, 0)::bigint::text, {UNLOGGED}::text \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relpersistence <> 't' AND {which} ORDER BY 2, 3"
    );
    let mut relations: Vec<Relation> = session
        .rows(&query)
        .await?
        .iter()
        .map(|row| Relation {
            oid: number(row, 0),
            schema: text(row, 1),
            name: text(row, 2),
            kind: text(row, 3).chars().next().unwrap_or('r'),
            file: number(row, 4),
            bytes: number(row, 5),
            rows: number(row, 6),
            is_elsewhere: text(row, 7) == "true",
            columns: Vec::new(),
            spread_by: None,
        })
        .collect();
    let query = format!(
        "SELECT a.attrelid::text, a.attname::text FROM pg_catalog.pg_attribute a \
         JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND (c.relhassubclass OR {which}) \
         ORDER BY a.attrelid, a.attnum"
    );
    let mut columns: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for row in session.rows(&query).await? {
        columns.entry(number(&row, 0)).or_default().push(text(&row, 1));
    }
    let mut parents: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for row in session.rows(PARENTS).await? {
        parents.entry(number(&row, 0)).or_default().push(number(&row, 1));
    }
    let mut spread: BTreeMap<u64, String> = BTreeMap::new();
    for row in session.rows(SPREAD).await? {
        spread.insert(number(&row, 0), qualified(&text(&row, 1), &text(&row, 2)));
    }
    for relation in &mut relations {
        relation.columns = as_made(relation.oid, &columns, &parents);
        relation.spread_by = spread.remove(&relation.oid);
    }
    Ok(relations)
}

/// Whether a table still has its file, and its name and those of its columns still mean it and them: the functions
/// here tell what is now, the rows of the catalog what is in the transaction's snapshot.
pub(super) async fn is_unchanged(
    session: &mut Session,
    relation: &Relation,
) -> Result<bool, Error> {
    let Relation { oid, file, .. } = relation;
    let query = format!(
        "SELECT (CASE WHEN pg_catalog.to_regclass({})::oid IS DISTINCT FROM '{oid}' \
           OR pg_catalog.pg_relation_filenode('{oid}') IS DISTINCT FROM '{file}' THEN false \
         ELSE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a \
           WHERE a.attrelid = '{oid}' AND a.attnum > 0 AND NOT a.attisdropped AND a.attname IS DISTINCT FROM \
           (pg_catalog.pg_identify_object_as_address('pg_catalog.pg_class'::regclass, '{oid}', a.attnum)).object_names[3]) \
         END)::text",
        literal(&relation.sql())
    );
    Ok(session.value(&query).await?.as_deref() == Some("true"))
}

/// A sentence for each kind of thing that is there and not carried.
pub(super) async fn warnings(session: &mut Session) -> Result<Vec<String>, Error> {
    let mut warnings = Vec::new();
    for (about, query) in [
        (
            "rows of foreign tables are not carried, for they are elsewhere",
            format!(
                "SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'f' AND {USERS} ORDER BY 1"
            ),
        ),
        (
            "the server is a replica, which has neither rows of unlogged tables nor values of unlogged sequences",
            format!(
                "SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE c.relkind IN ('r', 'S') AND {UNLOGGED} AND {USERS} ORDER BY 1"
            ),
        ),
        (
            "settings of the database (ALTER DATABASE … SET) are not carried",
            "SELECT COALESCE(r.rolname || ': ', '') || array_to_string(s.setconfig, ', ') \
             FROM pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole \
             WHERE s.setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) \
             ORDER BY 1"
                .to_owned(),
        ),
        (
            "grants on the database itself are not carried",
            "SELECT datname::text FROM pg_catalog.pg_database WHERE datname = current_database() \
             AND datacl IS NOT NULL"
                .to_owned(),
        ),
        (
            "the comment on the database itself is not carried",
            "SELECT pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database \
             WHERE datname = current_database()"
                .to_owned(),
        ),
        (
            "rows that extensions keep in tables of their own are not carried",
            "SELECT e.extname || ': ' || c.oid::regclass::text FROM pg_catalog.pg_extension e, \
             LATERAL unnest(e.extconfig) AS config(oid) JOIN pg_catalog.pg_class c ON c.oid = config.oid \
             WHERE c.relkind = 'r' AND pg_catalog.pg_relation_size(c.oid) > 0 ORDER BY 1"
                .to_owned(),
        ),
        (
            "subscriptions are carried without their state on the publisher, and made disabled",
            "SELECT subname::text FROM pg_catalog.pg_subscription WHERE subdbid = (SELECT oid FROM pg_catalog.pg_database \
             WHERE datname = current_database()) ORDER BY 1"
                .to_owned(),
        ),
    ] {
        warnings.extend(warning(about, &session.column(&query).await?));
    }
    Ok(warnings)
}
