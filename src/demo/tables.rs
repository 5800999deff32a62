//! The tables of an office portal, and rows for them. Public because the bench fills a MySQL
//! database from the same description.

use rusqlite::types::Value;

use super::random::Random;
use super::words::{self, Prose};

/// The SQL that a table is declared in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    MySql,
}

#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// An auto-increment primary key; the numbers have gaps, as if rows had been deleted.
    Id,
    /// A text primary key: this prefix and a number.
    Key(&'static str),
    /// The id of any row of another table, or of an earlier row of the same one.
    Ref(&'static str),
    Person,
    Email,
    Title,
    /// Prose of so many bytes, at least and at most.
    Text(usize, usize),
    Choice(&'static [&'static str]),
    Flag,
    /// A whole number below this.
    Number(u64),
    Amount,
    Moment,
    Day,
    Guid,
    Address,
    Json,
    /// Random bytes, at least and at most so many.
    Blob(usize, usize),
}

pub struct Column {
    pub name: &'static str,
    pub kind: Kind,
    /// How many of a hundred values are NULL; 0 makes the column NOT NULL.
    pub nulls: u8,
}

pub struct Table {
    pub name: &'static str,
    /// How many of a thousand rows of the portal are in this table.
    share: u64,
    pub columns: &'static [Column],
}

const fn col(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, nulls: 0 }
}

const fn maybe(name: &'static str, kind: Kind, nulls: u8) -> Column {
    Column { name, kind, nulls }
}

const fn table(name: &'static str, share: u64, columns: &'static [Column]) -> Table {
    Table { name, share, columns }
}

use Kind::*;

const BROWSERS: &[&str] = &[
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:142.0) Gecko/20100101 Firefox/142.0",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Safari/604.1",
];

/// A table refers only to those before it, and to itself. The last takes the rows that are left over.
#[rustfmt::skip]
pub const TABLES: &[Table] = &[
    table("settings", 1, &[col("name", Key("portal.setting.")), maybe("value", Json, 5)]),
    table("users", 10, &[
        col("id", Id), col("guid", Guid), col("name", Person), maybe("email", Email, 2),
        maybe("birthday", Day, 40), col("language", Choice(&["en", "de", "fr", "ru", "ja", "pt-BR"])),
        maybe("notes", Text(20, 300), 70), col("active", Flag), col("created_on", Moment),
    ]),
    table("user_photos", 2, &[col("user_id", Ref("users")), col("photo", Blob(2_000, 9_000))]),
    table("user_groups", 1, &[col("id", Id), col("name", Title), maybe("manager_id", Ref("users"), 20)]),
    table("group_members", 20, &[
        col("group_id", Ref("user_groups")), col("user_id", Ref("users")), col("added_on", Moment),
    ]),
    table("rooms", 3, &[
        col("id", Id), col("title", Title), col("kind", Choice(&["public", "custom", "form", "editing"])),
        col("owner_id", Ref("users")), maybe("quota_bytes", Number(1 << 40), 60), col("created_on", Moment),
    ]),
    table("room_members", 26, &[
        col("room_id", Ref("rooms")), col("user_id", Ref("users")),
        col("access", Choice(&["read", "comment", "review", "edit", "manage"])),
    ]),
    table("folders", 15, &[
        col("id", Id), maybe("parent_id", Ref("folders"), 15), col("room_id", Ref("rooms")),
        col("title", Title), col("created_by", Ref("users")), col("created_on", Moment),
    ]),
    table("files", 90, &[
        col("id", Id), col("folder_id", Ref("folders")), col("title", Title),
        col("content_length", Number(80_000_000)), col("created_by", Ref("users")),
        col("created_on", Moment), maybe("comment", Text(10, 120), 80), col("encrypted", Flag),
    ]),
    table("file_versions", 130, &[
        col("id", Id), col("file_id", Ref("files")), col("version", Number(40)), col("digest", Guid),
        maybe("changes", Json, 50), col("modified_by", Ref("users")), col("modified_on", Moment),
    ]),
    table("thumbnails", 14, &[
        col("file_id", Ref("files")), col("width", Number(1280)), maybe("image", Blob(400, 3_000), 10),
    ]),
    table("tags", 3, &[
        col("id", Id), col("name", Title), maybe("colour", Choice(&["red", "teal", "蓝", "gelb"]), 30),
    ]),
    table("file_tags", 60, &[col("file_id", Ref("files")), col("tag_id", Ref("tags"))]),
    table("share_links", 25, &[
        col("id", Id), col("file_id", Ref("files")), col("token", Guid), maybe("expires_on", Moment, 50),
        maybe("password_hash", Blob(32, 32), 70),
    ]),
    table("comments", 60, &[
        col("id", Id), col("file_id", Ref("files")), maybe("answers_id", Ref("comments"), 60),
        col("author_id", Ref("users")), col("body", Text(60, 1_200)), col("written_on", Moment),
    ]),
    table("messages", 130, &[
        col("id", Id), col("room_id", Ref("rooms")), col("sender_id", Ref("users")),
        maybe("subject", Title, 30), col("body", Text(40, 950)), col("sent_on", Moment), col("seen", Flag),
    ]),
    table("message_attachments", 25, &[
        col("message_id", Ref("messages")), col("file_id", Ref("files")),
    ]),
    table("calendar_events", 25, &[
        col("id", Id), col("title", Title), col("organiser_id", Ref("users")), col("begins_on", Moment),
        maybe("place", Text(5, 60), 40), maybe("agenda", Text(50, 1_500), 50),
    ]),
    table("invoices", 25, &[
        col("id", Id), col("number", Guid), col("customer", Person), col("amount", Amount),
        col("due_on", Day), maybe("paid_on", Moment, 30),
    ]),
    table("login_events", 110, &[
        col("id", Id), maybe("user_id", Ref("users"), 5), col("address", Address),
        col("browser", Choice(BROWSERS)),
        col("happened_on", Moment), col("active", Flag),
    ]),
    table("notifications", 45, &[
        col("id", Id), col("user_id", Ref("users")), col("body", Text(30, 200)),
        maybe("read_on", Moment, 45),
    ]),
    table("audit_events", 180, &[
        col("id", Id), maybe("user_id", Ref("users"), 3), col("address", Address),
        col("action", Choice(&["file.created", "file.opened", "file.deleted", "user.updated", "room.shared"])),
        maybe("target", Title, 10), maybe("details", Json, 25), col("happened_on", Moment),
    ]),
];

/// How many rows each table gets, in the order of `TABLES`; together exactly `rows`
/// (but every table has one).
pub fn row_counts(rows: u64) -> Vec<u64> {
    let mut counts: Vec<u64> = TABLES.iter().map(|t| (rows * t.share / 1000).max(1)).collect();
    let all_but_last: u64 = counts[..counts.len() - 1].iter().sum();
    if let Some(last) = counts.last_mut() {
        *last = rows.saturating_sub(all_but_last).max(1);
    }
    counts
}

/// `CREATE TABLE` with its foreign keys.
pub fn create_statement(table: &Table, dialect: Dialect) -> String {
    let mut lines = Vec::new();
    let mut keys = Vec::new();
    for column in table.columns {
        let kind = sql_type(column.kind, dialect);
        let null =
            if column.nulls == 0 && !matches!(column.kind, Id | Key(_)) { " NOT NULL" } else { "" };
        lines.push(format!("  {} {kind}{null}", column.name));
        if let Ref(other) = column.kind {
            keys.push(format!("  FOREIGN KEY ({}) REFERENCES {other} (id)", column.name));
        }
    }
    lines.append(&mut keys);
    let end = if dialect == Dialect::MySql { " DEFAULT CHARSET=utf8mb4" } else { "" };
    format!("CREATE TABLE {} (\n{}\n){end};\n", table.name, lines.join(",\n"))
}

fn sql_type(kind: Kind, dialect: Dialect) -> &'static str {
    let sqlite = dialect == Dialect::Sqlite;
    match kind {
        Id if sqlite => "INTEGER PRIMARY KEY AUTOINCREMENT",
        Id => "INT PRIMARY KEY AUTO_INCREMENT",
        Key(_) if sqlite => "TEXT PRIMARY KEY",
        Key(_) => "VARCHAR(100) PRIMARY KEY",
        Ref(_) if sqlite => "INTEGER",
        Ref(_) => "INT",
        Number(_) => "BIGINT",
        Flag => "TINYINT(1)",
        Amount => "DECIMAL(12,2)",
        Moment => "DATETIME",
        Day => "DATE",
        Guid => "CHAR(36)",
        Person | Email | Title | Choice(_) | Address => "VARCHAR(255)",
        Text(..) if sqlite => "TEXT",
        Text(..) | Json => "MEDIUMTEXT",
        Blob(..) if sqlite => "BLOB",
        Blob(..) => "MEDIUMBLOB",
    }
}

/// Makes rows, the same ones at every run.
pub struct Rows {
    counts: Vec<u64>,
    random: Random,
}

impl Rows {
    /// `rows`: of all tables together.
    pub fn new(rows: u64) -> Self {
        Self { counts: row_counts(rows), random: Random::new(rows) }
    }

    /// The values of row `number` of a table, counted from 0, in the order of its columns.
    pub fn row(&mut self, table: &Table, number: u64) -> Vec<Value> {
        table.columns.iter().map(|column| self.value(table, column, number)).collect()
    }

    fn value(&mut self, table: &Table, column: &Column, number: u64) -> Value {
        let random = &mut self.random;
        if column.nulls > 0 && random.chance(column.nulls) {
            return Value::Null;
        }
        match column.kind {
            Id => Value::Integer(id(number)),
            Key(prefix) => Value::Text(format!("{prefix}{number:06}")),
            Ref(other) if other == table.name => match number {
                0 => Value::Null,
                _ => Value::Integer(id(random.below(number))),
            },
            Ref(other) => {
                let position = TABLES.iter().position(|t| t.name == other).unwrap_or(0);
                Value::Integer(id(random.below(self.counts[position])))
            }
            Person => Value::Text(words::person(random)),
            Email => {
                Value::Text(format!("user{number}@example.{}", random.pick(&["org", "com", "de"])))
            }
            Title => Value::Text(format!("{} {}", random.pick(words::TITLES), random.below(5_000))),
            Text(least, most) => {
                let length = random.between(least, most);
                Value::Text(Prose::text(random, length))
            }
            Choice(options) => Value::Text((*random.pick(options)).to_owned()),
            Flag => Value::Integer(i64::from(random.chance(70))),
            Number(bound) => Value::Integer(random.below(bound) as i64),
            Amount => Value::Real(random.below(10_000_000) as f64 / 100.0),
            Moment => Value::Text(format!("{} {}", day(random), time(random))),
            Day => Value::Text(day(random)),
            Guid => {
                let (high, low) = (random.next(), random.next());
                Value::Text(uuid::Uuid::from_u64_pair(high, low).to_string())
            }
            Address => Value::Text(format!(
                "10.{}.{}.{}",
                random.below(4),
                random.below(256),
                random.below(256)
            )),
            Json => Value::Text(format!(
                r#"{{"id":{},"title":"{}","size":{},"by":"{}","shared":{}}}"#,
                random.below(1_000_000),
                random.pick(words::TITLES),
                random.below(9_000_000),
                words::person(random),
                random.chance(50),
            )),
            Blob(least, most) => {
                let length = random.between(least, most);
                Value::Blob(random.noise(length))
            }
        }
    }
}

/// Every fiftieth row is followed by a gap of seven ids.
fn id(number: u64) -> i64 {
    (number + 1 + number / 50 * 7) as i64
}

fn day(random: &mut Random) -> String {
    format!(
        "{}-{:02}-{:02}",
        random.between(2019, 2026),
        random.between(1, 12),
        random.between(1, 28)
    )
}

fn time(random: &mut Random) -> String {
    format!("{:02}:{:02}:{:02}", random.below(24), random.below(60), random.below(60))
}
