//! What tables there are, what their columns are, and the statements that make them.

use std::collections::HashMap;

use mysql_async::{Error, Row};

use super::connect::Session;
use super::objects::unqualified;
use super::render::{Kind, identifier};
use crate::source::database::Table;

/// A column that a dump carries.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub name: String,
    pub kind: Kind,
    /// What is selected to get its value.
    pub expression: String,
    /// Since when, or until when, the row is true, in a table whose history is carried.
    pub is_period: bool,
}

/// Everything of a database that is called a table.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    pub tables: Vec<Table>,
    pub columns: HashMap<String, Vec<Column>>,
    /// Tables with a history that is not carried.
    pub without_history: Vec<String>,
    /// Tables of engines that know no snapshot.
    pub unprotected: Vec<String>,
    /// MERGE tables that are left out: see [`is_hollow`].
    pub hollow: Vec<String>,
}

/// Reads the catalog of the session's database.
pub(super) async fn read(session: &mut Session) -> Result<Catalog, Error> {
    let engines: Vec<String> = session
        .rows("SELECT ENGINE FROM information_schema.ENGINES WHERE TRANSACTIONS = 'YES'")
        .await?;
    let mut catalog = Catalog { columns: columns(session).await?, ..Catalog::default() };
    let rows: Vec<(String, String, Option<String>, Option<u64>)> = session
        .rows(
            "SELECT TABLE_NAME, TABLE_TYPE, ENGINE, DATA_LENGTH FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = DATABASE()",
        )
        .await?;
    let docspace = ["tenants_tenants", "core_user"]
        .iter()
        .all(|name| rows.iter().any(|(table, ..)| table == name));
    for (name, kind, engine, bytes) in rows {
        match kind.as_str() {
            "VIEW" | "SYSTEM VIEW" | "SEQUENCE" => continue,
            "SYSTEM VERSIONED" if !has_history(&catalog, &name) => {
                catalog.without_history.push(name.clone());
            }
            _ => {}
        }
        if is_hollow(session, &name, engine.as_deref()).await? {
            catalog.hollow.push(name);
            continue;
        }
        let engine = engine.unwrap_or_default();
        // A MERGE table only shows the rows of others, which the dump has already.
        let merge = engine.eq_ignore_ascii_case(MERGE);
        let with_data = !(merge || docspace && is_ignored(&name));
        if with_data && !engines.iter().any(|known| known.eq_ignore_ascii_case(&engine)) {
            catalog.unprotected.push(name.clone());
        }
        let digits = catalog
            .columns
            .get(&name)
            .is_some_and(|columns| columns.iter().any(|column| column.kind == Kind::Binary));
        let estimated_bytes = match with_data {
            true => bytes.unwrap_or(0).saturating_mul(if digits { 2 } else { 1 }),
            false => 0,
        };
        catalog.tables.push(Table { name, with_data, estimated_bytes });
    }
    catalog.tables.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(catalog)
}

const MERGE: &str = "MRG_MyISAM";
/// What the server says of a MERGE table that lacks tables which it shows.
pub(super) const WRONG_MERGE: u16 = 1168;

/// Whether it is a MERGE table that nobody can open, because a table that it shows is missing or of another form. The
/// server tells nothing of it then, not even its definition or its engine.
pub(super) async fn is_hollow(
    session: &mut Session,
    table: &str,
    engine: Option<&str>,
) -> Result<bool, Error> {
    if engine.is_some_and(|engine| !engine.eq_ignore_ascii_case(MERGE)) {
        return Ok(false);
    }
    match session.rows::<Row>(&format!("SHOW CREATE TABLE {}", identifier(table))).await {
        Err(Error::Server(error)) => Ok(error.code == WRONG_MERGE),
        other => other.map(|_| false),
    }
}

fn has_history(catalog: &Catalog, table: &str) -> bool {
    let columns = catalog.columns.get(table);
    columns.is_some_and(|columns| columns.iter().any(|column| column.is_period))
}

/// Tables that DocSpace fills itself: their definition is carried, not their rows.
fn is_ignored(table: &str) -> bool {
    table.starts_with("hosting_instance_registration") || table.starts_with("res_")
}

pub(super) async fn columns(session: &mut Session) -> Result<HashMap<String, Vec<Column>>, Error> {
    let query = "SELECT TABLE_NAME, COLUMN_NAME, COALESCE(DATA_TYPE, ''), COLUMN_TYPE, CHARACTER_SET_NAME, \
        COALESCE(EXTRA, ''), \
        COALESCE(GENERATION_EXPRESSION, '') FROM information_schema.COLUMNS \
        WHERE TABLE_SCHEMA = DATABASE() ORDER BY TABLE_NAME, ORDINAL_POSITION";
    type Found = (String, String, String, String, Option<String>, String, String);
    let mut tables: HashMap<String, Vec<Column>> = HashMap::new();
    for (table, name, data_type, column_type, charset, extra, generation) in
        session.rows::<Found>(query).await?
    {
        let columns = tables.entry(table).or_default();
        if is_period(&generation) {
            columns.push(Column {
                is_period: true,
                ..column(name, &data_type, &column_type, charset)
            });
        } else if !is_generated(&extra, &generation) {
            columns.push(column(name, &data_type, &column_type, charset));
        }
    }
    history(session, &mut tables).await?;
    Ok(tables)
}

/// Completes the columns that say since and until when a row is true, which may be hidden: they are carried where rows
/// of the past can be written (<https://mariadb.com/kb/en/system-versioned-tables/#system_versioning_insert_history>).
async fn history(
    session: &mut Session,
    tables: &mut HashMap<String, Vec<Column>>,
) -> Result<(), Error> {
    let variable = "SHOW VARIABLES LIKE 'system_versioning_insert_history'";
    let can_write = !session.rows::<(String, String)>(variable).await?.is_empty();
    let query = "SELECT TABLE_NAME FROM information_schema.TABLES \
        WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'SYSTEM VERSIONED'";
    for name in session.rows::<String>(query).await? {
        let Some(columns) = tables.get_mut(&name) else { continue };
        let period: Vec<_> = columns.iter().filter(|column| column.is_period).collect();
        // Numbers of transactions mean nothing elsewhere.
        let by_time = period.iter().all(|column| column.kind == Kind::Text);
        if !can_write || !by_time {
            columns.retain(|column| !column.is_period);
        } else if period.is_empty() {
            for name in ["row_start", "row_end"] {
                let timestamp = column(name.to_owned(), "timestamp", "timestamp(6)", None);
                columns.push(Column { is_period: true, ..timestamp });
            }
        }
    }
    Ok(())
}

/// Whether a column says since when, or until when, a row of a system-versioned table is true.
pub(super) fn is_period(generation: &str) -> bool {
    matches!(generation, "ROW START" | "ROW END")
}

/// MySQL and MariaDB, old and new. (`DEFAULT_GENERATED` is a default that is an expression: not generated.)
pub(super) fn is_generated(extra: &str, generation: &str) -> bool {
    let extra = extra.to_ascii_uppercase();
    let markers = ["VIRTUAL GENERATED", "STORED GENERATED", "PERSISTENT"];
    !generation.is_empty() || extra == "VIRTUAL" || markers.iter().any(|m| extra.contains(m))
}

fn column(name: String, data_type: &str, column_type: &str, charset: Option<String>) -> Column {
    let quoted = identifier(&name);
    let data_type = data_type.to_ascii_lowercase();
    let (kind, expression) = match data_type.as_str() {
        // The server rounds a FLOAT to six digits when it prints it, but not a product with it.
        "float" | "double" => (Kind::Number, format!("{quoted}*1e0")),
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" | "decimal"
        | "numeric" | "year" => (Kind::Number, quoted),
        "bit" | "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob"
        | "vector" | "geometry" | "point" | "linestring" | "polygon" | "multipoint"
        | "multilinestring" | "multipolygon" | "geomcollection" | "geometrycollection" => {
            (Kind::Binary, quoted)
        }
        // An invalid value prints as '' but is not the member ''; their numbers differ.
        "enum" if has_empty_member(column_type) => (Kind::Number, format!("{quoted}+0")),
        _ => (text_kind(charset), quoted),
    };
    Column { name, kind, expression, is_period: false }
}

pub(super) fn has_empty_member(column_type: &str) -> bool {
    // Members are joined by `,` and their quotes doubled, so only an empty one stands like this.
    let members = column_type.trim_start_matches(|c: char| c != '(');
    members.starts_with("(''") && !members.starts_with("('''")
        || members.contains(",'',")
        || members.contains(",'')")
}

fn text_kind(charset: Option<String>) -> Kind {
    const ASCII_BELOW_0X80: &[&str] = &[
        "ascii", "latin1", "latin2", "latin5", "latin7", "cp1250", "cp1251", "cp1256", "cp1257",
        "koi8r", "koi8u", "greek", "hebrew", "tis620", "gbk", "gb2312", "gb18030", "big5", "euckr",
        "ujis", "eucjpms", "cp932",
    ];
    match charset {
        None => Kind::Text,
        Some(charset) if matches!(charset.as_str(), "utf8mb4" | "utf8mb3" | "utf8") => Kind::Text,
        Some(charset) => {
            let ascii = ASCII_BELOW_0X80.contains(&charset.as_str());
            Kind::ForeignText { charset, ascii }
        }
    }
}

/// Stands before text that is not ASCII: a client takes it for what it is told, in many places for latin1.
pub(super) const NAMES: &str = "SET NAMES utf8mb4;\n";

/// What stands before and after a definition that is read by it: times of defaults and partitions are told in UTC.
const UTC: [&str; 2] = ["SET time_zone='+00:00';\n", "SET time_zone=DEFAULT;\n"];

/// The same for dates that are none, which servers refuse by default.
const ANY_DATE: [&str; 2] = ["SET sql_mode='NO_AUTO_VALUE_ON_ZERO';\n", "SET sql_mode=DEFAULT;\n"];

/// The statements that make an empty table, as DocSpace writes them.
pub(super) async fn definition(
    session: &mut Session,
    schema: &str,
    table: &Table,
) -> Result<String, Error> {
    let quoted = identifier(&table.name);
    session.run("SET character_set_results=utf8mb4").await?;
    let row: Option<Row> = session.rows(&format!("SHOW CREATE TABLE {quoted}")).await?.pop();
    let create: String = row
        .and_then(|row| row.get_opt(1)?.ok())
        .ok_or_else(|| Error::Other("its definition is not UTF-8 text".into()))?;
    // The server names the schema of a sequence that a column takes its default from.
    let create = match create.to_ascii_lowercase().contains("val(`") {
        true => String::from_utf8_lossy(&unqualified(create.as_bytes(), schema)).into_owned(),
        false => create,
    };
    let only_definition = !table.with_data;
    let names = if create.is_ascii() { "" } else { NAMES };
    let mut text = match create.strip_prefix("CREATE TABLE ") {
        Some(rest) if only_definition => format!("{names}CREATE TABLE IF NOT EXISTS {rest};\n"),
        _ => format!("{names}DROP TABLE IF EXISTS {quoted};\n{create};\n"),
    };
    let has_times = create.to_ascii_lowercase().contains("timestamp") && create.contains('\'');
    for (depends, [before, after]) in [(has_times, UTC), (create.contains("-00"), ANY_DATE)] {
        if depends {
            text = format!("{before}{text}{after}");
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_columns_are_known_on_every_server() {
        assert!(is_generated("VIRTUAL GENERATED INVISIBLE", ""));
        assert!(is_generated("STORED GENERATED", "`a` + 1"));
        assert!(is_generated("PERSISTENT", "") && is_generated("VIRTUAL", ""));
        assert!(!is_generated("DEFAULT_GENERATED on update CURRENT_TIMESTAMP", ""));
        assert!(!is_generated("auto_increment", "") && !is_generated("INVISIBLE", ""));
    }

    #[test]
    fn an_empty_member_of_an_enum_is_found() {
        assert!(has_empty_member("enum('','a')") && has_empty_member("enum('a','')"));
        assert!(has_empty_member("enum('a','','b')") && has_empty_member("enum('')"));
        assert!(!has_empty_member("enum('a','b')") && !has_empty_member("enum('''a','b''')"));
    }

    #[test]
    fn only_utf8_is_written_as_it_is() {
        assert_eq!(text_kind(Some("utf8mb3".to_owned())), Kind::Text);
        let sjis = text_kind(Some("sjis".to_owned()));
        assert_eq!(sjis, Kind::ForeignText { charset: "sjis".to_owned(), ascii: false });
    }
}
