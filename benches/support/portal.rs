//! The portal that is backed up: made once, then kept.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use portal_backup::demo::tables::{Dialect, Kind, Rows, TABLES, create_statement, row_counts};
use portal_backup::demo::write_files;
use rusqlite::types::Value;

use super::{Result, empty_folder, folder_size, mysql, variable};

const ROWS: f64 = 600_000.0;
const FILES: f64 = 2_000.0;
const BYTES: f64 = 600e6;
/// Rows of one INSERT.
const BATCH: u64 = 500;

pub struct Portal {
    /// Holds the files, and everything that the bench writes.
    pub dir: PathBuf,
    pub files: PathBuf,
    pub database: String,
    pub rows: u64,
}

impl Portal {
    /// `scale`: 1 for the portal of the targets.
    pub fn open_or_make(scale: f64) -> Result<Self> {
        let top = variable("BENCH_PORTAL").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-portal"),
            PathBuf::from,
        );
        let (name, database) = if scale == 1.0 {
            ("full".to_owned(), "portal_backup_bench".to_owned())
        } else {
            (format!("scale-{scale}"), format!("portal_backup_bench_{}", (scale * 1e4) as u64))
        };
        let dir = top.join(name);
        let rows = (ROWS * scale) as u64;
        let portal = Self { files: dir.join("files"), dir, database, rows };
        // Written last, so that it vouches for everything.
        let marker = portal.dir.join("made");
        let version = format!("version {}\n", portal_backup::demo::VERSION);
        let whole = fs::read_to_string(&marker).is_ok_and(|found| found == version);
        if !whole {
            eprintln!("making the files in {}", portal.files.display());
            empty_folder(&portal.dir)?;
            write_files(&portal.files, (FILES * scale) as usize, (BYTES * scale) as u64)?;
        }
        if !whole || portal.count_rows().ok() != Some(rows) {
            eprintln!("making the database {}", portal.database);
            portal.make_database()?;
        }
        fs::write(&marker, version)?;
        Ok(portal)
    }

    /// How many rows all tables have; an error when one does not exist.
    fn count_rows(&self) -> Result<u64> {
        let counts: Vec<String> = TABLES
            .iter()
            .map(|table| format!("select count(*) n from `{}`.`{}`", self.database, table.name))
            .collect();
        let sql = format!("select sum(n) from ({}) t", counts.join(" union all "));
        Ok(mysql::query(&sql)?.trim().parse()?)
    }

    fn make_database(&self) -> Result<()> {
        mysql::query(&format!(
            "drop database if exists `{0}`; create database `{0}` charset utf8mb4",
            self.database
        ))?;
        let mut load = mysql::Load::into(&self.database)?;
        load.send(b"SET foreign_key_checks=0, unique_checks=0, autocommit=0;\n")?;
        let mut source = Rows::new(self.rows);
        for (table, count) in TABLES.iter().zip(row_counts(self.rows)) {
            load.send(create_statement(table, Dialect::MySql).as_bytes())?;
            let mut sql = String::new();
            for number in 0..count {
                let begin = if number % BATCH == 0 {
                    format!("INSERT INTO {} VALUES ", table.name)
                } else {
                    ",".to_owned()
                };
                sql.push_str(&begin);
                write_row(&mut sql, &source.row(table, number))?;
                if number % BATCH == BATCH - 1 || number == count - 1 {
                    sql.push_str(";\n");
                    load.send(sql.as_bytes())?;
                    sql.clear();
                }
            }
        }
        load.send(b"COMMIT;\n")?;
        load.finish()
    }

    /// A portal with ten copies of every file (hard links) and of every row.
    pub fn ten_times(&self) -> Result<Self> {
        let dir = self.dir.join("ten-times");
        let large = Self {
            files: dir.join("files"),
            dir,
            database: format!("{}_large", self.database),
            rows: self.rows * 10,
        };
        empty_folder(&large.files)?;
        for copy in 0..10 {
            let target = large.files.join(format!("copy-{copy}"));
            super::shell(&self.dir, &format!("cp -al files '{}'", target.display()))?;
        }
        if large.count_rows().ok() != Some(large.rows) {
            large.copy_rows_of(self)?;
        }
        Ok(large)
    }

    fn copy_rows_of(&self, small: &Self) -> Result<()> {
        mysql::query(&format!(
            "drop database if exists `{0}`; create database `{0}` charset utf8mb4",
            self.database
        ))?;
        let mut load = mysql::Load::into(&self.database)?;
        load.send(b"SET foreign_key_checks=0, unique_checks=0;\n")?;
        for table in TABLES {
            load.send(create_statement(table, Dialect::MySql).as_bytes())?;
            // The ids are given anew, and a text key gets the copy's number.
            let columns: Vec<&str> =
                table.columns.iter().map(|c| c.name).filter(|name| *name != "id").collect();
            let names = columns.join(",");
            for copy in 0..10 {
                let values = match table.name {
                    "settings" => names.replace("name", &format!("concat(name, '-{copy}')")),
                    _ => names.clone(),
                };
                let sql = format!(
                    "INSERT INTO {0} ({names}) SELECT {values} FROM `{1}`.{0};\n",
                    table.name, small.database
                );
                load.send(sql.as_bytes())?;
            }
        }
        load.finish()
    }

    /// A copy that may be changed. Files are hard links: whoever changes one must replace it.
    pub fn copy(&self) -> Result<Self> {
        let dir = self.dir.join("copy");
        let copy = Self {
            files: dir.join("files"),
            dir,
            database: format!("{}_copy", self.database),
            rows: self.rows,
        };
        empty_folder(&copy.dir)?;
        super::shell(&self.dir, &format!("cp -al files '{}'", copy.files.display()))?;
        mysql::query(&format!(
            "drop database if exists `{0}`; create database `{0}` charset utf8mb4",
            copy.database
        ))?;
        for table in TABLES {
            mysql::query(&format!(
                "create table `{0}`.{2} like `{1}`.{2}; insert into `{0}`.{2} select * from `{1}`.{2} order by 1",
                copy.database, self.database, table.name
            ))?;
        }
        Ok(copy)
    }

    /// Changes one of a hundred rows, in 20 runs, and one of a hundred files.
    pub fn change_a_hundredth(&self) -> Result<()> {
        const RUNS: u64 = 20;
        let counts = row_counts(self.rows);
        let length = (self.rows / 100 / RUNS).max(1);
        for run in 0..RUNS {
            // Half a run further than its share, so that none lies across two tables more than it must.
            let mut place = self.rows / RUNS * run + length;
            for (table, count) in TABLES.iter().zip(&counts) {
                if place >= *count {
                    place -= count;
                    continue;
                }
                let change = table.columns.iter().skip(1).find_map(|column| {
                    let name = column.name;
                    match column.kind {
                        Kind::Title | Kind::Text(..) | Kind::Person | Kind::Address => {
                            Some(format!("{name} = concat({name}, '!')"))
                        }
                        Kind::Number(_) => Some(format!("{name} = {name} + 1")),
                        Kind::Flag => Some(format!("{name} = 1 - {name}")),
                        Kind::Json => Some(format!("{name} = json_quote(uuid())")),
                        Kind::Blob(..) => Some(format!("{name} = concat({name}, '!')")),
                        Kind::Moment => Some(format!("{name} = {name} + interval 1 second")),
                        Kind::Ref(_) => Some(format!("{name} = {name} + 1")),
                        _ => None,
                    }
                });
                let change = change.ok_or(format!("nothing in {} can be changed", table.name))?;
                let key = table.columns[0].name;
                mysql::query(&format!(
                    "use `{0}`; update {1} join (select {key} from {1} order by {key} limit {length} offset {place}) x \
                     using ({key}) set {1}.{change}",
                    self.database, table.name
                ))?;
                break;
            }
        }
        let list = "find files -type f | sort | awk 'NR % 100 == 0'";
        super::shell(
            &self.dir,
            &format!(
                "{list} | while read -r f; do \
                 {{ head -c 1000 /dev/urandom; tail -c +1001 \"$f\"; }} > \"$f.new\"; mv \"$f.new\" \"$f\"; done"
            ),
        )
    }

    pub fn file_bytes(&self) -> Result<u64> {
        folder_size(&self.files)
    }
}

fn write_row(sql: &mut String, row: &[Value]) -> Result<()> {
    for (position, value) in row.iter().enumerate() {
        sql.push(if position == 0 { '(' } else { ',' });
        match value {
            Value::Null => sql.push_str("NULL"),
            Value::Integer(number) => write!(sql, "{number}")?,
            Value::Real(number) => write!(sql, "{number}")?,
            Value::Text(text) => {
                let text = text.replace('\\', "\\\\").replace('\'', "''");
                write!(sql, "'{text}'")?;
            }
            Value::Blob(bytes) => write!(sql, "0x{}", hex::encode(bytes))?,
        }
    }
    sql.push(')');
    Ok(())
}
