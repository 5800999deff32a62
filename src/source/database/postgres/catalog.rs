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
    /// Those that hold data of their own, in their order.
    pub columns: Vec<String>,
}

impl Relation {
    pub fn member(&self) -> String {
        names::member(&self.schema, &self.name)
    }

    pub fn sql(&self) -> String {
        qualified(&self.schema, &self.name)
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
            with_data: self.kind == 'r',
            estimated_bytes: if self.kind == 'r' { self.bytes } else { 0 },
        }
    }
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
           COALESCE(pg_catalog.pg_table_size(c.oid), 0)::text, GREATEST(c.reltuples, 0)::bigint::text \
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
            columns: Vec::new(),
        })
        .collect();
    let query = format!(
        "SELECT a.attrelid::text, a.attname::text FROM pg_catalog.pg_attribute a \
         JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND {which} ORDER BY a.attrelid, a.attnum"
    );
    let mut columns: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for row in session.rows(&query).await? {
        columns.entry(number(&row, 0)).or_default().push(text(&row, 1));
    }
    for relation in &mut relations {
        relation.columns = columns.remove(&relation.oid).unwrap_or_default();
    }
    Ok(relations)
}

/// The number of a table's file now, whatever the transaction's snapshot says; None: it is gone.
pub(super) async fn file_now(session: &mut Session, oid: u64) -> Result<Option<u64>, Error> {
    let query = format!("SELECT COALESCE(pg_catalog.pg_relation_filenode({oid}), 0)::text");
    let file: Option<u64> = session.value(&query).await?.and_then(|file| file.parse().ok());
    Ok(file.filter(|file| *file > 0))
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
            "subscriptions are carried, but their state on the publisher is not",
            "SELECT subname::text FROM pg_catalog.pg_stat_subscription ORDER BY 1".to_owned(),
        ),
    ] {
        warnings.extend(warning(about, &session.column(&query).await?));
    }
    Ok(warnings)
}
