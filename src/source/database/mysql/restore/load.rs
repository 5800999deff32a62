//! Loads the rows of a table: what cannot be stored exactly as the archive has it fails.

use std::sync::Arc;

use futures::StreamExt;
use mysql_async::prelude::Queryable;
use mysql_async::{Error, Params};

use super::super::connect::Session;
use super::super::render::identifier;
use super::super::scheme;
use super::bulk::{Bulk, Form};
use super::exempt::{self, Exempt};
use super::long::{self, Parted};
use super::place::Place;
use super::verdict::{self, CHANGED, Warnings};
use super::{Fault, admin, literal};
use crate::source::database::sql::{Chunk, Dialect, Guard, Limits, Rows, Splitter};
use crate::source::database::{Statements, Trust};

/// Rows go to the server in statements of about this size.
const STATEMENT: usize = 1 << 20;
/// What is committed at once, in bytes of statements: some, so that the server need not wait for its disk each time,
/// but not so many that giving up takes long.
const TRANSACTION: u64 = 32 << 20;
/// What the packet has beside the rows: the table's name in its schema and the packet's own bytes.
const SPARE: usize = 1 << 10;

/// What a statement ends with that has waited for others too long: said in words of its own.
const LOCKED: [u16; 2] = [1205, 1213];

/// What loading needs to know of a staged table.
pub(super) struct Columns {
    all: Vec<Column>,
    /// Rows can be taken back, and each type can be carried in bulk.
    bulk: bool,
}

pub(super) struct Column {
    pub name: String,
    pub generated: bool,
    invisible: bool,
    pub nullable: bool,
    /// How its values go in bulk.
    pub form: Option<Form>,
    /// Whether it is an ENUM, and then if one of its members is ''.
    pub choice: Option<bool>,
    /// The largest value of a FLOAT(M,D).
    pub limit: Option<f64>,
}

impl Columns {
    pub async fn read(session: &mut Session, place: &Place, table: &str) -> Result<Self, Error> {
        let of = format!(
            "TABLE_SCHEMA = {} AND TABLE_NAME = {}",
            literal(&place.staging),
            literal(table)
        );
        let query = format!(
            "SELECT COLUMN_NAME, COALESCE(DATA_TYPE, ''), COLUMN_TYPE, COALESCE(EXTRA, ''), \
             COALESCE(GENERATION_EXPRESSION, ''), IS_NULLABLE, CHARACTER_SET_NAME FROM information_schema.COLUMNS \
             WHERE {of} ORDER BY ORDINAL_POSITION"
        );
        type Found = (String, String, String, String, String, String, Option<String>);
        let all = session.rows::<Found>(&query).await?.into_iter();
        let all =
            all.map(|(name, data_type, column_type, extra, generation, nullable, charset)| {
                Column {
                    nullable: nullable == "YES",
                    form: Form::of(&data_type, charset.as_deref()),
                    generated: scheme::is_generated(&extra, &generation)
                        && !scheme::is_period(&generation),
                    invisible: extra.to_ascii_uppercase().contains("INVISIBLE"),
                    choice: data_type
                        .eq_ignore_ascii_case("enum")
                        .then(|| scheme::has_empty_member(&column_type)),
                    limit: exempt::limit(&column_type),
                    name,
                }
            });
        let all: Vec<Column> = all.collect();
        let query =
            format!("SELECT COALESCE(ENGINE, '') FROM information_schema.TABLES WHERE {of}");
        let engine: Option<String> = session.rows(&query).await?.pop();
        let bulk = engine.is_some_and(|engine| engine.eq_ignore_ascii_case("InnoDB"))
            && all.iter().all(|column| column.generated || column.form.is_some());
        Ok(Self { all, bulk })
    }

    /// Whether the server says it of a column that it computes: then nothing that was given is meant.
    fn is_computed(&self, code: u16, message: &str) -> bool {
        let names = self.all.iter().map(|column| column.name.as_str());
        let of = verdict::of_column(names, code, message);
        of.is_some_and(|(name, _)| {
            self.all.iter().any(|column| column.generated && column.name == name)
        })
    }

    /// The table's columns that a statement names, in its order; unknown ones are the server's to refuse.
    fn named(&self, rows: &Rows<'_>) -> Vec<Option<&Column>> {
        match rows.columns() {
            None => self.all.iter().filter(|column| !column.invisible).map(Some).collect(),
            Some(names) => names
                .iter()
                .map(|name| {
                    let name = String::from_utf8_lossy(name).to_lowercase();
                    self.all.iter().find(|column| column.name.to_lowercase() == name)
                })
                .collect(),
        }
    }
}

/// One table being loaded.
pub(super) struct Load<'a> {
    pub session: &'a mut Session,
    pub place: &'a Place,
    pub table: &'a str,
    pub trust: Trust,
    /// The longest statement that the server takes.
    pub packet: usize,
    pub columns: Arc<Columns>,
    /// Its rows are those of all times.
    pub history: bool,
    /// No rows were refused in bulk yet.
    pub bulk: bool,
    pub loaded: &'a (dyn for<'b> Fn(u64) + Send + Sync),
}

impl Load<'_> {
    /// Runs everything; returns how many rows the table has then.
    pub async fn run(mut self, mut statements: Statements) -> Result<u64, Fault> {
        // A blob's digits are twice its bytes. (A row may have several: they go beside its statement.)
        let statement = self.packet.saturating_mul(2).saturating_add(STATEMENT);
        let limits = Limits {
            statement,
            row: statement.max(Limits::default().row),
            chunk: STATEMENT.min(self.packet.saturating_sub(SPARE)),
        };
        let mut splitter = Splitter::new(Dialect::MySql, limits);
        let guard = Guard { dialect: Dialect::MySql, table: self.table, trust: self.trust };
        // The archive says so where times are UTC; DocSpace's are the server's own.
        self.session.run("SET SESSION autocommit=0, time_zone=DEFAULT").await?;
        // MySQL lets only some do this; for the others more warnings than it keeps are an error.
        self.session.try_run("SET SESSION max_error_count=65535").await?;
        let mut count = Count::default();
        loop {
            let piece = statements.next().await.transpose();
            let piece =
                piece.map_err(|error| Fault::Text(format!("reading the archive: {error}")))?;
            match &piece {
                Some(piece) => splitter.push(piece),
                None => splitter.finish(),
            }
            while let Some(chunk) =
                splitter.next().map_err(|error| Fault::Text(error.to_string()))?
            {
                match chunk {
                    Chunk::Rows(rows) => {
                        guard.rows(&rows).map_err(|error| Fault::Text(error.to_string()))?;
                        self.rows(&rows, &mut count).await?;
                    }
                    Chunk::Statement(statement) => {
                        guard
                            .statement(statement)
                            .map_err(|error| Fault::Text(error.to_string()))?;
                        self.setting(statement).await?;
                    }
                }
            }
            let consumed = splitter.consumed();
            (self.loaded)(consumed - count.reported);
            count.reported = consumed;
            if consumed - count.committed >= TRANSACTION {
                self.session.run("COMMIT").await?;
                count.committed = consumed;
            }
            if piece.is_none() {
                break;
            }
        }
        self.session.run("COMMIT").await?;
        self.session.run("SET SESSION autocommit=1").await?;
        let history = match self.history {
            true => " FOR SYSTEM_TIME ALL",
            false => "",
        };
        let query = format!("SELECT COUNT(*) FROM {}{history}", self.place.in_staging(self.table));
        let rows: Option<u64> = self.session.rows(&query).await?.pop();
        rows.ok_or_else(|| Fault::Text("the server did not count its rows".to_owned()))
    }

    /// Runs one of the settings that our own dumps have; but our modes are stricter, and have what theirs have.
    async fn setting(&mut self, statement: &[u8]) -> Result<(), Error> {
        if statement.starts_with(b"SET sql_mode=") {
            return Ok(());
        }
        self.history |= statement.starts_with(b"SET system_versioning_insert_history");
        let result = self.session.begin()?.query_drop(statement).await;
        self.session.done(result)
    }

    async fn rows(&mut self, rows: &Rows<'_>, count: &mut Count) -> Result<(), Fault> {
        let first = count.rows + 1;
        count.rows += rows.count() as u64;
        let all = Arc::clone(&self.columns);
        let columns = all.named(rows);
        let generated = |column: &Option<&Column>| column.is_some_and(|column| column.generated);
        let keep: Option<Vec<bool>> = columns
            .iter()
            .any(generated)
            .then(|| columns.iter().map(|column| !generated(column)).collect());
        let mut table = self.place.in_staging(self.table);
        if rows.columns().is_none() && keep.is_some() {
            // All columns were meant; now those that are left must be named.
            let left = columns.iter().flatten().filter(|column| !column.generated);
            let left: Vec<_> = left.map(|column| identifier(&column.name)).collect();
            table = format!("{table} ({})", left.join(","));
        }
        if self.bulk && self.in_bulk(rows, &columns).await? {
            return Ok(());
        }
        let mut statement = Vec::new();
        rows.write(Some(&table), keep.as_deref(), &mut statement);
        let result = match statement.len() > self.packet {
            true => self.long_row(rows, &table, keep.as_deref(), statement.len()).await,
            false => self.execute(&statement).await,
        };
        let result = match result {
            Err(fault) if statement.len() <= self.packet => {
                let exempt = Exempt::of(rows, &columns);
                self.execute_lenient(&statement, &exempt, fault).await
            }
            result => result,
        };
        result.map_err(|fault| match fault {
            Fault::Server(Error::Server(error)) if !LOCKED.contains(&error.code) => Fault::Text(
                format!("rows {first} to {}: {} (error {})", count.rows, error.message, error.code),
            ),
            Fault::Text(text) => Fault::Text(format!("rows {first} to {}: {text}", count.rows)),
            other => other,
        })
    }

    /// Whether the rows could be stored without a statement of their own, exactly as they are.
    async fn in_bulk(
        &mut self,
        rows: &Rows<'_>,
        columns: &[Option<&Column>],
    ) -> Result<bool, Fault> {
        if self.history || !self.columns.bulk {
            return Ok(false);
        }
        let table = self.place.in_staging(self.table);
        let Some(bulk) = Bulk::of(rows, columns, &table, self.packet) else { return Ok(false) };
        self.session.run("SAVEPOINT portal_backup_rows").await?;
        match bulk.run(self.session).await {
            Ok(true) => return Ok(true),
            Err(Error::Server(error)) if LOCKED.contains(&error.code) => {
                return Err(Error::Server(error).into());
            }
            // Many servers do not allow it; then statements say what is wrong, if anything is.
            Ok(false) | Err(Error::Server(_)) => {}
            Err(error) => return Err(error.into()),
        }
        self.bulk = false;
        self.session.run("ROLLBACK TO SAVEPOINT portal_backup_rows").await?;
        Ok(false)
    }

    /// A row that alone is too long for a statement.
    async fn long_row(
        &mut self,
        rows: &Rows<'_>,
        table: &str,
        keep: Option<&[bool]>,
        length: usize,
    ) -> Result<(), Fault> {
        let kept = |index: &usize| keep.and_then(|keep| keep.get(*index)).copied().unwrap_or(true);
        let columns = rows.columns().map(|names| {
            let names = names.iter().enumerate().filter(|(index, _)| kept(index));
            let names: Vec<_> =
                names.map(|(_, name)| identifier(&String::from_utf8_lossy(name))).collect();
            format!(" ({})", names.join(","))
        });
        let verb = if rows.replaces() { "REPLACE" } else { "INSERT" };
        let head = format!("{verb} INTO {table}{} VALUES", columns.unwrap_or_default());
        let row = rows.rows().next().into_iter().flatten().enumerate();
        let row = row.filter(|(index, _)| kept(index)).map(|(_, value)| value);
        let Some(Parted { statement, values }) = long::part(&head, row, self.packet) else {
            return Err(Fault::Text(format!(
                "a row needs a statement of {length} bytes; the server takes {} at most (max_allowed_packet)",
                self.packet
            )));
        };
        let conn = self.session.begin()?;
        let result = conn.exec_drop(statement, Params::Positional(values)).await;
        let warnings = conn.get_warnings();
        self.session.done(result)?;
        self.judge(warnings).await
    }

    async fn execute(&mut self, statement: &[u8]) -> Result<(), Fault> {
        let warnings = self.send(statement).await?;
        self.judge(warnings).await
    }

    /// Fails if the server warned that it stored something else.
    async fn judge(&mut self, warnings: u16) -> Result<(), Fault> {
        if warnings == 0 {
            return Ok(());
        }
        let said = Warnings::read(self.session).await?;
        let mut is_computed = false;
        for (code, message) in &said.all {
            if self.columns.is_computed(*code, message) {
                is_computed = true;
            } else if CHANGED.contains(code) {
                return Err(Fault::Text(message.clone()));
            }
            tracing::debug!(table = self.table, code, message, "the server warns");
        }
        // One that was not kept may be of a column that is loaded.
        match is_computed && said.is_cut() {
            true => Err(Fault::Text(format!(
                "the server warned {} times, which is more than it shows",
                said.total
            ))),
            false => Ok(()),
        }
    }

    async fn send(&mut self, statement: &[u8]) -> Result<u16, Error> {
        let conn = self.session.begin()?;
        let result = conn.query_drop(statement).await;
        let warnings = conn.get_warnings();
        self.session.done(result)?;
        Ok(warnings)
    }

    /// Runs a statement leniently where a strict one is refused for what is exempt, or for what the server computes,
    /// and fails unless that was all that it changed.
    async fn execute_lenient(
        &mut self,
        statement: &[u8],
        exempt: &Exempt,
        strict: Fault,
    ) -> Result<(), Fault> {
        let is_known = match &strict {
            Fault::Server(Error::Server(error)) => {
                exempt.may_refuse(error.code, &error.message)
                    || self.columns.is_computed(error.code, &error.message)
            }
            _ => false,
        };
        if !is_known {
            return Err(strict);
        }
        self.session
            .run("SET SESSION sql_mode='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION'")
            .await?;
        self.send(statement).await?;
        let mut said = Warnings::read(self.session).await?;
        self.session.run(admin::SETTINGS).await?;
        let is_cut = said.is_cut();
        said.all.retain(|(code, message)| !self.columns.is_computed(*code, message));
        match !is_cut && exempt.are_all(&said.all) {
            true => Ok(()),
            false => Err(strict),
        }
    }
}

#[derive(Default)]
struct Count {
    rows: u64,
    /// Bytes that the caller was told of, and those that were committed.
    reported: u64,
    committed: u64,
}
