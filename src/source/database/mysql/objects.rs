//! Views, triggers, routines, events and sequences: read as the server has them, and made again.

mod event;
mod head;
mod member;
mod order;
mod read;

use std::borrow::Cow;

use mysql_async::Error;
use mysql_async::prelude::Queryable;
use serde::{Deserialize, Serialize};

use super::connect::Session;
use super::render::identifier;

pub(super) use event::events_run;
pub(super) use head::{is_unqualified, unqualified};
pub(super) use read::{Found, read};

/// In the order in which they are made: what comes later may need what comes before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum Kind {
    Sequence,
    /// Code that MySQL's routines in other languages use.
    Library,
    Procedure,
    Function,
    Package,
    PackageBody,
    View,
    Trigger,
    Event,
}

impl Kind {
    pub const ALL: [Self; 9] = [
        Self::Sequence,
        Self::Library,
        Self::Procedure,
        Self::Function,
        Self::Package,
        Self::PackageBody,
        Self::View,
        Self::Trigger,
        Self::Event,
    ];

    /// The kind in a member's path.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sequence => "sequence",
            Self::Library => "library",
            Self::Procedure => "procedure",
            Self::Function => "function",
            Self::Package => "package",
            Self::PackageBody => "package_body",
            Self::View => "view",
            Self::Trigger => "trigger",
            Self::Event => "event",
        }
    }

    /// The kind in statements.
    pub fn sql(self) -> &'static str {
        match self {
            Self::Sequence => "SEQUENCE",
            Self::Library => "LIBRARY",
            Self::Procedure => "PROCEDURE",
            Self::Function => "FUNCTION",
            Self::Package => "PACKAGE",
            Self::PackageBody => "PACKAGE BODY",
            Self::View => "VIEW",
            Self::Trigger => "TRIGGER",
            Self::Event => "EVENT",
        }
    }

    pub fn is_routine(self) -> bool {
        matches!(
            self,
            Self::Library | Self::Procedure | Self::Function | Self::Package | Self::PackageBody
        )
    }

    pub fn is_package(self) -> bool {
        matches!(self, Self::Package | Self::PackageBody)
    }
}

/// How the server must be set to understand a DROP PACKAGE.
pub(super) const PACKAGES: &str = "SET sql_mode='ORACLE'";

/// One definition, with the settings that it was made under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Object {
    pub kind: Kind,
    pub name: String,
    /// Of a trigger.
    pub table: Option<String>,
    /// The CREATE statement: its bytes are of the character set below. (Of a sequence there follows, after a `;`, what
    /// sets its value.)
    #[serde(with = "digits")]
    pub statement: Vec<u8>,
    pub sql_mode: String,
    pub charset: String,
    pub collation: String,
    /// Of an event.
    pub time_zone: Option<String>,
    /// The default that its schema had when it was made, where the schema has another now.
    pub schema_collation: Option<String>,
}

mod digits {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        hex::decode(String::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl Object {
    /// Whether both have one name where only one of them can be.
    pub fn is_of_place(&self, other: &Self) -> bool {
        self.kind == other.kind && self.place() == other.place()
    }

    /// The name, of routines and events as servers compare it.
    pub fn place(&self) -> Cow<'_, str> {
        match self.kind.is_routine() || self.kind == Kind::Event {
            true => Cow::Owned(self.name.to_lowercase()),
            false => Cow::Borrowed(&self.name),
        }
    }

    /// Whether it names what lies in another schema than its own. (Of its own one it was freed when it was read.)
    pub fn leads_out(&self) -> bool {
        !head::schemas(&self.statement).is_empty()
    }

    /// For messages.
    pub fn shown(&self) -> String {
        format!("{} {}", self.kind.sql().to_lowercase(), self.name)
    }

    /// Whether the statement can be run in another schema: it does not say where the trigger and its table are.
    pub fn is_movable(&self) -> bool {
        self.kind != Kind::Trigger || is_unqualified(&self.statement)
    }

    /// The definer's clause, `DEFINER=…`.
    pub fn definer(&self) -> Option<&[u8]> {
        head::definer(&self.statement).map(|range| &self.statement[range])
    }

    pub fn set_definer(&mut self, clause: &str) {
        if let Some(range) = head::definer(&self.statement) {
            self.statement.splice(range, clause.bytes());
        }
    }

    /// Makes it in the schema that is the session's default one, where there must be none of its name. Leaves the
    /// session's modes changed.
    pub async fn create(&self, session: &mut Session) -> Result<(), Error> {
        if self.kind == Kind::Sequence {
            let text = String::from_utf8_lossy(&self.statement);
            for statement in text.split(";\n") {
                session.run(statement).await?;
            }
            return Ok(());
        }
        self.run(session, self.statement.clone()).await
    }

    /// The same in the place of the one of its name, whose grants stay where the server allows it.
    pub async fn replace(&self, session: &mut Session) -> Result<(), Error> {
        let may_replace = match self.kind {
            Kind::View => true,
            kind => kind.is_routine() && is_mariadb(session).await?,
        };
        match self.statement.strip_prefix(b"CREATE ").filter(|_| may_replace) {
            Some(rest) => self.run(session, [b"CREATE OR REPLACE ", rest].concat()).await,
            None => {
                self.drop(session).await?;
                self.create(session).await
            }
        }
    }

    /// Drops it from the session's default schema, if it is there. May leave the session's modes changed.
    pub async fn drop(&self, session: &mut Session) -> Result<(), Error> {
        if self.kind.is_package() {
            session.run(PACKAGES).await?;
        }
        session.run(&self.drop_statement()).await
    }

    fn drop_statement(&self) -> String {
        format!("DROP {} IF EXISTS {}", self.kind.sql(), identifier(&self.name))
    }

    /// The settings that the statement is run under.
    pub fn settings(&self) -> String {
        let mut settings = format!(
            "SET sql_mode='{}', character_set_client={}, collation_connection={}",
            self.sql_mode, self.charset, self.collation
        );
        if let Some(zone) = &self.time_zone {
            settings += &format!(", time_zone='{zone}'");
        }
        settings
    }

    async fn run(&self, session: &mut Session, statement: Vec<u8>) -> Result<(), Error> {
        let mut before = None;
        if let Some(wanted) = &self.schema_collation {
            let default: Option<String> = session.rows("SELECT @@collation_database").await?.pop();
            before = default.filter(|default| default != wanted);
            if before.is_some() {
                session.run(&alter_schema(wanted)).await?;
            }
        }
        session.run(&self.settings()).await?;
        let result = session.begin()?.query_drop(statement.as_slice()).await;
        let mut result = session.done(result);
        if self.kind == Kind::Event && result.is_ok() {
            result = self.make_past(session, statement).await;
        }
        session.run("SET NAMES utf8mb4").await?;
        session.run("SET SESSION time_zone='+00:00'").await?;
        if let Some(default) = before {
            session.run(&alter_schema(&default)).await?;
        }
        result
    }
}

/// Sets the default of the session's schema.
pub(super) fn alter_schema(collation: &str) -> String {
    format!("ALTER DATABASE COLLATE {collation}")
}

pub(super) async fn is_mariadb(session: &mut Session) -> Result<bool, Error> {
    let version: Option<String> = session.rows("SELECT VERSION()").await?.pop();
    Ok(version.is_some_and(|version| version.contains("MariaDB")))
}
