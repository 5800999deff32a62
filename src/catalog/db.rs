//! One pool for three kinds of database, and the little in which their SQL differs.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::any::AnyRow;
use sqlx::{AnyPool, AssertSqlSafe, Row as _};
use uuid::Uuid;

use super::CatalogError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
    MySql,
}

impl Dialect {
    /// The database's own clock, in Unix milliseconds: machines that share a catalog may disagree on the time.
    pub(crate) fn now(self) -> &'static str {
        match self {
            Self::Sqlite => "cast(round((julianday('now') - 2440587.5) * 86400000.0) as integer)",
            Self::Postgres => "cast(extract(epoch from clock_timestamp()) * 1000 as bigint)",
            Self::MySql => "cast(unix_timestamp(now(3)) * 1000 as signed)",
        }
    }

    /// Turns the shared text into this database's: `{now}` becomes its clock, `?` its parameters.
    /// The text must have no `?` of another meaning, and never holds values from outside.
    pub(crate) fn sql(self, text: &str) -> AssertSqlSafe<String> {
        let text = text.replace("{now}", self.now());
        if self != Self::Postgres {
            return AssertSqlSafe(text);
        }
        let mut numbered = String::with_capacity(text.len() + 16);
        for (position, piece) in text.split('?').enumerate() {
            if position > 0 {
                numbered.push_str(&format!("${position}"));
            }
            numbered.push_str(piece);
        }
        AssertSqlSafe(numbered)
    }
}

/// A pool of connections and the dialect they speak.
#[derive(Clone)]
pub(crate) struct Db {
    pub(crate) pool: AnyPool,
    pub(crate) dialect: Dialect,
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db").field("dialect", &self.dialect).finish_non_exhaustive()
    }
}

impl Db {
    pub(crate) fn sql(&self, text: &str) -> AssertSqlSafe<String> {
        self.dialect.sql(text)
    }
}

/// Whether the same statement may succeed when simply tried again: the database broke a deadlock,
/// or another process writes to the SQLite file at the moment. Nothing was done then.
pub(crate) fn is_transient(error: &CatalogError) -> bool {
    let CatalogError::Database(error) = error else { return false };
    let Some(code) = error.as_database_error().and_then(|error| error.code()) else {
        return false;
    };
    // PostgreSQL and MySQL: serialization failure and deadlock; SQLite: busy in its kinds (<https://sqlite.org/rescode.html>).
    matches!(code.as_ref(), "40001" | "40P01" | "5" | "261" | "517" | "773")
}

pub(crate) fn is_unique_violation(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.is_unique_violation())
}

/// Reads columns by name into our own types.
pub(crate) struct Columns<'r>(pub(crate) &'r AnyRow);

impl Columns<'_> {
    pub(crate) fn text(&self, name: &str) -> Result<String, CatalogError> {
        Ok(self.0.try_get::<String, _>(name)?)
    }

    pub(crate) fn optional_text(&self, name: &str) -> Result<Option<String>, CatalogError> {
        Ok(self.0.try_get::<Option<String>, _>(name)?)
    }

    pub(crate) fn number(&self, name: &str) -> Result<i64, CatalogError> {
        Ok(self.0.try_get::<i64, _>(name)?)
    }

    pub(crate) fn count(&self, name: &str) -> Result<u64, CatalogError> {
        u64::try_from(self.number(name)?).map_err(|_| unreadable(name))
    }

    pub(crate) fn optional_number(&self, name: &str) -> Result<Option<i64>, CatalogError> {
        Ok(self.0.try_get(name)?)
    }

    pub(crate) fn flag(&self, name: &str) -> Result<bool, CatalogError> {
        Ok(self.number(name)? != 0)
    }

    pub(crate) fn id(&self, name: &str) -> Result<Uuid, CatalogError> {
        self.text(name)?.parse().map_err(|_| unreadable(name))
    }

    pub(crate) fn optional_id(&self, name: &str) -> Result<Option<Uuid>, CatalogError> {
        self.optional_text(name)?.map(|id| id.parse().map_err(|_| unreadable(name))).transpose()
    }

    pub(crate) fn time(&self, name: &str) -> Result<Timestamp, CatalogError> {
        Timestamp::from_millisecond(self.number(name)?).map_err(|_| unreadable(name))
    }

    pub(crate) fn optional_time(&self, name: &str) -> Result<Option<Timestamp>, CatalogError> {
        self.0
            .try_get::<Option<i64>, _>(name)?
            .map(|time| Timestamp::from_millisecond(time).map_err(|_| unreadable(name)))
            .transpose()
    }

    pub(crate) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, CatalogError> {
        serde_json::from_str(&self.text(name)?).map_err(|_| unreadable(name))
    }

    /// An enum stored by its serde name.
    pub(crate) fn word<T: DeserializeOwned>(&self, name: &str) -> Result<T, CatalogError> {
        serde_json::from_value(self.text(name)?.into()).map_err(|_| unreadable(name))
    }
}

fn unreadable(column: &str) -> CatalogError {
    CatalogError::Unreadable(column.to_owned())
}

pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<String, CatalogError> {
    serde_json::to_string(value).map_err(|error| CatalogError::Unreadable(error.to_string()))
}

/// The serde name of an enum.
pub(crate) fn to_word<T: Serialize>(value: &T) -> Result<String, CatalogError> {
    Ok(to_json(value)?.trim_matches('"').to_owned())
}

/// Sizes and counts; the databases have no unsigned 64-bit type in common.
pub(crate) fn to_number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl From<sqlx::Error> for CatalogError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgres_numbers_its_parameters() {
        let text = "update t set a = ?, b = {now} where c = ?";
        assert_eq!(
            Dialect::Postgres.sql(text).0,
            "update t set a = $1, b = cast(extract(epoch from clock_timestamp()) * 1000 as bigint) \
             where c = $2"
        );
        assert!(Dialect::MySql.sql(text).0.ends_with("where c = ?"));
    }
}
