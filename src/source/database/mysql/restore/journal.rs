//! What an attempt has done so far: a table in its staging schema.

use mysql_async::{Error, Row};

use super::super::connect::Session;
use super::super::objects::Object;
use super::foreign::ForeignKey;
use super::place::Place;
use super::plan::Plan;
use super::{Fault, admin};

/// Lies among the staged tables; an archive has no table of such a name.
pub(super) const TABLE: &str = "portal_backup_journal";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Tables are being loaded; nothing else was touched.
    Staging,
    /// All is loaded; nothing else was touched.
    Ready,
    /// The plan is being carried out, or is.
    Swapping,
    /// The tables are in place; views, routines and events are being put in theirs.
    Making,
    Swapped,
    /// Everything is back: only what was staged is left.
    RolledBack,
    /// There is no way back: what was kept is being dropped.
    Finishing,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Staging => "staging",
            Self::Ready => "ready",
            Self::Swapping => "swapping",
            Self::Making => "making objects",
            Self::Swapped => "swapped",
            Self::RolledBack => "rolled back",
            Self::Finishing => "finishing",
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        [
            Self::Staging,
            Self::Ready,
            Self::Swapping,
            Self::Making,
            Self::Swapped,
            Self::RolledBack,
            Self::Finishing,
        ]
        .into_iter()
        .find(|state| state.as_str().as_bytes() == text)
    }
}

/// What there is of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// Schemas in which nothing has been written down, and so nothing done.
    Bare,
    At(State),
}

/// The journal of one attempt.
pub(super) struct Journal<'a>(pub &'a Place);

impl Journal<'_> {
    pub async fn create(&self, session: &mut Session) -> Result<(), Error> {
        let table = self.0.in_staging(TABLE);
        session
            .run(&format!(
                "CREATE TABLE {table} (kind VARCHAR(16) NOT NULL, name VARCHAR(160) NOT NULL, \
                 value LONGBLOB NOT NULL, PRIMARY KEY (kind, name)) \
                 ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
            ))
            .await?;
        self.write(session, "live", "", self.0.live.as_bytes()).await?;
        self.set(session, State::Staging).await
    }

    /// Looks for the attempt. Schemas of its name that are not its own are an error.
    pub async fn find(&self, session: &mut Session) -> Result<Found, Fault> {
        let staging = admin::schema_exists(session, &self.0.staging).await?;
        let kept = admin::schema_exists(session, &self.0.kept).await?;
        if !staging && !kept {
            return Ok(Found::Nothing);
        }
        let foreign = |schema: &str| {
            Fault::Text(format!(
                "the schema {schema} holds tables that this service did not put there"
            ))
        };
        let inside = match staging {
            true => admin::tables(session, &self.0.staging).await?,
            false => Vec::new(),
        };
        let state = match inside.iter().any(|(name, _)| name == TABLE) {
            true => self.read(session, "state", "").await?.as_deref().and_then(State::parse),
            false => None,
        };
        let Some(state) = state else {
            if inside.iter().any(|(name, _)| name != TABLE) {
                return Err(foreign(&self.0.staging));
            }
            if kept && !admin::tables(session, &self.0.kept).await?.is_empty() {
                return Err(foreign(&self.0.kept));
            }
            return Ok(Found::Bare);
        };
        if self.read(session, "live", "").await?.as_deref() != Some(self.0.live.as_bytes()) {
            return Err(foreign(&self.0.staging));
        }
        Ok(Found::At(state))
    }

    pub async fn set(&self, session: &mut Session, state: State) -> Result<(), Error> {
        self.write(session, "state", "", state.as_str().as_bytes()).await
    }

    pub async fn set_plan(&self, session: &mut Session, plan: &Plan) -> Result<(), Fault> {
        let text = serde_json::to_vec(plan).map_err(|error| Fault::Text(error.to_string()))?;
        // Whole or not at all: what is dropped live may stand nowhere else.
        session.run("START TRANSACTION").await?;
        for (kind, objects) in plan.lists() {
            self.set_objects(session, kind, objects).await?;
        }
        self.write(session, "plan", "", &text).await?;
        Ok(session.run("COMMIT").await?)
    }

    pub async fn plan(&self, session: &mut Session) -> Result<Plan, Fault> {
        let text = self.read(session, "plan", "").await?;
        let text = text.ok_or_else(|| Fault::Text("the plan of the swap is lost".to_owned()))?;
        let mut plan: Plan = serde_json::from_slice(&text).map_err(|error| {
            Fault::Text(format!("the plan of the swap cannot be read: {error}"))
        })?;
        for (kind, objects) in plan.lists_mut() {
            *objects = self.objects(session, kind).await?;
        }
        Ok(plan)
    }

    /// Replaces what is written down of one kind, in its order.
    pub async fn set_objects(
        &self,
        session: &mut Session,
        kind: &str,
        objects: &[Object],
    ) -> Result<(), Fault> {
        let table = self.0.in_staging(TABLE);
        session.run(&format!("DELETE FROM {table} WHERE kind = '{kind}'")).await?;
        for (number, object) in objects.iter().enumerate() {
            let text =
                serde_json::to_vec(object).map_err(|error| Fault::Text(error.to_string()))?;
            self.write(session, kind, &format!("{number:08}"), &text).await?;
        }
        Ok(())
    }

    pub async fn objects(&self, session: &mut Session, kind: &str) -> Result<Vec<Object>, Fault> {
        let query = format!(
            "SELECT value FROM {} WHERE kind = '{kind}' ORDER BY name",
            self.0.in_staging(TABLE)
        );
        let rows: Vec<Vec<u8>> = session.rows(&query).await?;
        rows.iter()
            .map(|text| serde_json::from_slice(text))
            .collect::<Result<_, _>>()
            .map_err(|error| Fault::Text(format!("an object's note cannot be read: {error}")))
    }

    /// Remembers a foreign key of a staged table that waits until the swap.
    pub async fn hold(&self, session: &mut Session, key: &ForeignKey) -> Result<(), Fault> {
        let text = serde_json::to_vec(key).map_err(|error| Fault::Text(error.to_string()))?;
        Ok(self.write(session, "held", &format!("{}.{}", key.table, key.name), &text).await?)
    }

    pub async fn held(&self, session: &mut Session) -> Result<Vec<ForeignKey>, Fault> {
        let query = format!(
            "SELECT value FROM {} WHERE kind = 'held' ORDER BY name",
            self.0.in_staging(TABLE)
        );
        let rows: Vec<Vec<u8>> = session.rows(&query).await?;
        rows.iter()
            .map(|text| serde_json::from_slice(text))
            .collect::<Result<_, _>>()
            .map_err(|error| Fault::Text(format!("a foreign key's note cannot be read: {error}")))
    }

    pub async fn forget_held(&self, session: &mut Session, key: &ForeignKey) -> Result<(), Error> {
        let table = self.0.in_staging(TABLE);
        let name = super::literal(&format!("{}.{}", key.table, key.name));
        session.run(&format!("DELETE FROM {table} WHERE kind = 'held' AND name = {name}")).await
    }

    /// Forgets the foreign keys of a table that is made again.
    pub async fn forget_table(&self, session: &mut Session, table: &str) -> Result<(), Fault> {
        for key in self.held(session).await? {
            if key.table == table {
                self.forget_held(session, &key).await?;
            }
        }
        Ok(())
    }

    async fn write(
        &self,
        session: &mut Session,
        kind: &str,
        name: &str,
        value: &[u8],
    ) -> Result<(), Error> {
        let table = self.0.in_staging(TABLE);
        let name = super::literal(name);
        let value = hex::encode_upper(value);
        session.run(&format!("REPLACE INTO {table} VALUES ('{kind}', {name}, 0x{value})")).await
    }

    async fn read(
        &self,
        session: &mut Session,
        kind: &str,
        name: &str,
    ) -> Result<Option<Vec<u8>>, Error> {
        let table = self.0.in_staging(TABLE);
        let name = super::literal(name);
        let query = format!("SELECT value FROM {table} WHERE kind = '{kind}' AND name = {name}");
        let row: Option<Row> = session.rows(&query).await?.pop();
        Ok(row.and_then(|mut row| row.take(0)))
    }
}
