//! The catalog's schema: applied at every start, by one process at a time.

use sqlx::AnyConnection;
use sqlx::{Executor as _, Row as _};

use super::CatalogError;
use super::db::Dialect;

/// In order; the position counted from 1 is the schema's version. Never change one that was released.
const MIGRATIONS: [&str; 10] = [
    include_str!("../../migrations/0001_first.sql"),
    include_str!("../../migrations/0002_schedules.sql"),
    include_str!("../../migrations/0003_ravendb.sql"),
    include_str!("../../migrations/0004_copies.sql"),
    include_str!("../../migrations/0005_sensenet.sql"),
    include_str!("../../migrations/0006_full_every.sql"),
    include_str!("../../migrations/0007_encryption.sql"),
    include_str!("../../migrations/0008_who.sql"),
    include_str!("../../migrations/0009_ravendb.sql"),
    include_str!("../../migrations/0010_memos.sql"),
];

/// Any number that nothing else in the database uses as an advisory lock.
const LOCK: i64 = 0x706f_7274_616c_6261;

/// MySQL's lock is the server's, so its name is made the database's (64 characters at most; newer servers have no MD5).
const TAKE: &str =
    "select get_lock(concat('portal-backup:', left(sha2(database(), 256), 40)), 60) as got";
const RELEASE: &str =
    "select release_lock(concat('portal-backup:', left(sha2(database(), 256), 40)))";

const VERSIONS: &str = "create table if not exists portal_backup_schema_versions (
    version bigint not null primary key, applied_on bigint not null)";

/// Brings the schema up to this program's version.
///
/// Errors: `NewerSchema` when a newer program has been here.
pub(super) async fn migrate(
    connection: &mut AnyConnection,
    dialect: Dialect,
) -> Result<(), CatalogError> {
    // An error means that there is no such table yet.
    if let Ok(version) = version(connection).await
        && up_to_date(version)?
    {
        return Ok(());
    }
    lock(connection, dialect).await?;
    let applied = apply(connection, dialect).await;
    unlock(connection, dialect, applied.is_ok()).await?;
    applied
}

async fn apply(connection: &mut AnyConnection, dialect: Dialect) -> Result<(), CatalogError> {
    execute(connection, dialect, VERSIONS).await?;
    let version = version(connection).await?;
    if up_to_date(version)? {
        return Ok(());
    }
    for (position, text) in MIGRATIONS.iter().enumerate().skip(version as usize) {
        for statement in statements(text, dialect) {
            execute(connection, dialect, &statement).await?;
        }
        sqlx::query(dialect.sql(
            "insert into portal_backup_schema_versions (version, applied_on) values (?, {now})",
        ))
        .bind(position as i64 + 1)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn execute(
    connection: &mut AnyConnection,
    dialect: Dialect,
    statement: &str,
) -> Result<(), CatalogError> {
    match connection.execute(dialect.sql(statement)).await {
        Ok(_) => Ok(()),
        // MySQL commits each definition by itself, so a start that was killed may have got this far.
        Err(error) if dialect == Dialect::MySql && exists_already(&error) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// MySQL's errors 1050 table exists, 1060 duplicate column, 1061 duplicate key name
/// (<https://mariadb.com/kb/en/mariadb-error-codes/>), told by their texts because the code that
/// sqlx's common error has is the SQLSTATE.
fn exists_already(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        matches!(error.code().as_deref(), Some("42S01" | "42S21"))
            || error.message().starts_with("Duplicate key name")
    })
}

async fn version(connection: &mut AnyConnection) -> Result<i64, sqlx::Error> {
    let row = connection
        .fetch_one("select coalesce(max(version), 0) as version from portal_backup_schema_versions")
        .await?;
    row.try_get("version")
}

fn up_to_date(found: i64) -> Result<bool, CatalogError> {
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(CatalogError::NewerSchema { found, known });
    }
    Ok(found == known)
}

async fn lock(connection: &mut AnyConnection, dialect: Dialect) -> Result<(), CatalogError> {
    match dialect {
        // Waits as long as busy_timeout says.
        Dialect::Sqlite => {
            connection.execute("begin immediate").await?;
        }
        Dialect::Postgres => {
            connection.execute("begin").await?;
            sqlx::query("select pg_advisory_xact_lock($1)")
                .bind(LOCK)
                .execute(&mut *connection)
                .await?;
        }
        Dialect::MySql => {
            let row = connection.fetch_one(TAKE).await?;
            if row.try_get::<Option<i64>, _>("got")? != Some(1) {
                return Err(CatalogError::Locked);
            }
        }
    }
    Ok(())
}

async fn unlock(
    connection: &mut AnyConnection,
    dialect: Dialect,
    applied: bool,
) -> Result<(), CatalogError> {
    let statement = match dialect {
        Dialect::MySql => RELEASE,
        _ if applied => "commit",
        _ => "rollback",
    };
    connection.execute(statement).await?;
    Ok(())
}

/// The statements of a migration: comments left out, the dialect's words filled in.
fn statements(text: &str, dialect: Dialect) -> Vec<String> {
    let mysql = dialect == Dialect::MySql;
    let text: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"))
        .map(|line| format!("{line}\n"))
        .collect();
    // MySQL's `text` ends at 64 KiB. The binary collation compares as the others do: byte by byte.
    let options = " engine = InnoDB default character set utf8mb4 collate utf8mb4_bin";
    text.replace("{longtext}", if mysql { "longtext" } else { "text" })
        .replace("{options}", if mysql { options } else { "" })
        .split(';')
        .map(|statement| statement.trim().to_owned())
        .filter(|statement| !statement.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_cut_into_statements() {
        for text in MIGRATIONS {
            for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::MySql] {
                let statements = statements(text, dialect);
                assert!(!statements.is_empty());
                for statement in statements {
                    let known = ["create ", "alter table ", "update ", "drop table if exists "];
                    assert!(known.iter().any(|word| statement.starts_with(word)), "{statement}");
                    assert!(!statement.contains(['{', ';']) && !statement.contains("--"));
                }
            }
        }
    }

    #[test]
    fn a_newer_schema_is_refused() {
        assert!(!up_to_date(0).unwrap());
        assert!(up_to_date(MIGRATIONS.len() as i64).unwrap());
        let error = up_to_date(99).unwrap_err().to_string();
        assert!(error.contains("99") && error.contains("newer"), "{error}");
    }
}
