//! The attempt's transaction: what was staged is in it alone, until it is committed.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::super::catalog::{Relation, text};
use super::super::connect::Session;
use super::super::items;
use super::super::large as objects;
use super::super::members::POSITION;
use super::super::names::{LARGE_OBJECTS, identifier, literal, qualified};
use super::super::url::Target;
use super::belonging::{self, Late};
use super::build::{Builder, Built};
use super::definitions::Definitions;
use super::digest;
use super::journal::{self, Place};
use super::swap::{self, StagedSchemas};
use super::warnings::Warnings;
use super::{Fault, bind, clash, defaults, large, load, lost};
use crate::catalog::is_own_table;
use crate::source::database::digest::DigestSink;
use crate::source::database::{
    Adjustment, DatabaseError, ObjectText, Staging, Statements, Trust, warning,
};
use crate::source::restore::{AttemptId, Staged};

/// How long tables and extensions that others use are waited for.
const LOCK_WAIT: &str = "SET LOCAL lock_timeout = '30s'";

struct StagingSchemas {
    target: Target,
    place: Place,
    encoding: &'static str,
    work: Mutex<Work>,
}

struct Work {
    session: Session,
    definitions: Definitions,
    /// The definitions of large objects.
    large: Option<(String, Trust)>,
    large_objects: BTreeSet<u64>,
    built: Option<Built>,
    /// Puts the suspended default privileges back.
    defaults: Vec<String>,
    warnings: Warnings,
}

/// Begins the attempt's transaction. What an attempt of that name left is rolled back first.
pub(in super::super) async fn stage(
    target: &Target,
    attempt: &AttemptId,
) -> Result<Box<dyn Staging>, DatabaseError> {
    let place = Place::new(attempt);
    let make = async {
        swap::roll_back(target, &place).await?;
        let (mut session, encoding) = journal::open(target, &place).await?;
        session.run("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
        session.run(LOCK_WAIT).await?;
        place.make(&mut session).await?;
        Ok::<_, Fault>((session, encoding))
    };
    let (session, encoding) =
        make.await.map_err(|fault| fault.of(&target.name, "making room for a restore"))?;
    let work = Work {
        session,
        definitions: Definitions::default(),
        large: None,
        large_objects: BTreeSet::new(),
        built: None,
        defaults: Vec::new(),
        warnings: Warnings::default(),
    };
    Ok(Box::new(StagingSchemas { target: target.clone(), place, encoding, work: Mutex::new(work) }))
}

impl Work {
    /// Makes what the definitions say, when all of them came.
    async fn build(&mut self, place: &Place) -> Result<(), Fault> {
        if self.built.is_some() {
            return Ok(());
        }
        self.defaults = defaults::suspend(&mut self.session).await?;
        if let Some((scheme, trust)) = self.large.take() {
            let (made, warnings) = large::replace(&mut self.session, place, &scheme, trust).await?;
            self.large_objects = made;
            self.warnings.list(warning("of large objects", &warnings));
        }
        self.definitions.choose();
        let (session, warnings) = (&mut self.session, &mut self.warnings);
        let mut builder =
            Builder::new(session, place, warnings, BTreeSet::new(), BTreeSet::new()).await?;
        self.built = Some(builder.build(&mut self.definitions).await?);
        Ok(())
    }

    fn built(&self) -> Result<&Built, Fault> {
        self.built.as_ref().ok_or_else(|| Fault::Text("nothing was made yet".to_owned()))
    }

    async fn data(
        &mut self,
        place: &Place,
        table: &str,
        statements: Statements,
        told: load::Told<'_>,
    ) -> Result<u64, Fault> {
        self.build(place).await?;
        if table == LARGE_OBJECTS {
            return load::large_objects(&mut self.session, &self.large_objects, statements, told)
                .await;
        }
        let relation = self.built()?.relations.get(table).cloned();
        let relation = relation.ok_or_else(|| Fault::Text("it is not there".to_owned()))?;
        load::rows(&mut self.session, &relation, statements, told).await
    }

    async fn digest(
        &mut self,
        place: &Place,
        encoding: &str,
        table: &str,
    ) -> Result<Option<[u8; 32]>, Fault> {
        self.build(place).await?;
        if table == LARGE_OBJECTS {
            let mut digest = DigestSink::default();
            let of = large::numbers(place);
            let rows = objects::dump(&mut self.session, Some(&of), &mut digest).await;
            return digest::end(digest, rows);
        }
        let relation = self.built()?.relations.get(table).cloned();
        let relation = relation.ok_or_else(|| Fault::Text("it is not there".to_owned()))?;
        digest::digest(&mut self.session, &relation, encoding).await
    }

    async fn adjust(&mut self, place: &Place, adjustment: &Adjustment) -> Result<(), Fault> {
        self.build(place).await?;
        let table = adjustment.table();
        let built = self.built()?;
        let Some(relation) = built.relations.get(table).cloned() else { return Ok(()) };
        let aside = built.schemas.iter().find(|swapped| swapped.name == relation.schema).cloned();
        let staged = relation.sql();
        let statement = match adjustment {
            Adjustment::Empty { .. } => format!("DELETE FROM {staged}"),
            Adjustment::Delete { values, .. } if values.is_empty() => return Ok(()),
            Adjustment::Delete { column, values, .. } => {
                let values: Vec<_> = values.iter().map(|value| literal(value)).collect();
                format!(
                    "DELETE FROM {staged} WHERE {}::text IN ({})",
                    identifier(column),
                    values.join(",")
                )
            }
            Adjustment::Replace { column, from, to, .. } => {
                let column = identifier(column);
                // The literal takes the type of the column.
                format!(
                    "UPDATE {staged} SET {column} = {} WHERE {column}::text = {}",
                    literal(to),
                    literal(from)
                )
            }
            Adjustment::KeepNewer { key, of, .. } => {
                let Some(aside) = aside.filter(|swapped| swapped.replaces) else { return Ok(()) };
                let kept = place.kept(aside.number);
                let live =
                    super::super::catalog::relation(&mut self.session, &kept, &relation.name)
                        .await?;
                let Some(live) = live else { return Ok(()) };
                let both: Vec<_> = relation
                    .columns
                    .iter()
                    .filter(|column| live.columns.contains(column))
                    .map(|column| identifier(column))
                    .collect();
                let columns = both.join(",");
                let types = own_types(&mut self.session, &relation).await?;
                let selected: Vec<_> = both
                    .iter()
                    .map(|column| match types.get(column) {
                        Some(kind) => format!("l.{column}::text::{kind}"),
                        None => format!("l.{column}"),
                    })
                    .collect();
                let selected = selected.join(",");
                let key = identifier(key);
                let among = of.as_ref().map_or_else(String::new, |of| {
                    let of: Vec<_> = of.iter().map(|value| literal(value)).collect();
                    format!(" AND l.{key}::text = ANY (ARRAY[{}]::text[])", of.join(","))
                });
                format!(
                    "INSERT INTO {staged} ({columns}) OVERRIDING SYSTEM VALUE SELECT {selected} FROM {} l \
                     WHERE NOT EXISTS (SELECT 1 FROM {staged} s WHERE s.{key} = l.{key}){among}",
                    qualified(&kept, &relation.name)
                )
            }
        };
        Ok(self.session.run(&statement).await?)
    }

    async fn ready(&mut self, place: &Place) -> Result<Late, Fault> {
        self.build(place).await?;
        let Some(built) = self.built.take() else { return Ok(Late::default()) };
        let schemas: BTreeSet<String> =
            built.schemas.iter().map(|swapped| swapped.name.clone()).collect();
        let mut after = std::mem::take(&mut self.definitions.after);
        let mut late = Late::default();
        if !self.definitions.has_objects {
            let (keys, items) = after.drain(..).partition(|(item, _)| item.kind == "FK CONSTRAINT");
            late = Late { items, schemas: schemas.clone() };
            after = keys;
            self.defaults
                .extend(defaults::of_schemas(&mut self.session, place, &built.schemas).await?);
        }
        let (session, warnings) = (&mut self.session, &mut self.warnings);
        let mut builder = Builder::new(session, place, warnings, schemas, built.fixed).await?;
        for (item, trust) in &built.deferred {
            builder.run(item, *trust).await?;
        }
        if !self.definitions.has_objects {
            // They need the primary keys of other tables.
            builder.early_keys(std::mem::take(&mut after), &mut late.items).await?;
        }
        let (fill, after): (Vec<_>, Vec<_>) =
            after.into_iter().partition(|(item, _)| item.kind == "MATERIALIZED VIEW DATA");
        for (item, trust) in &after {
            builder.run(item, *trust).await?;
        }
        builder.fill(fill).await?;
        for statement in std::mem::take(&mut self.defaults) {
            self.session.run(&statement).await?;
        }
        let mut lost = lost::lost(&mut self.session, place, &built.schemas).await?;
        if !self.definitions.has_after {
            lost.extend(belonging::missing(&mut self.session, place, &built.schemas).await?);
        }
        if !lost.is_empty() && !self.definitions.has_objects {
            return Err(Fault::Text(format!(
                "only tables are restored, and other things in their schemas would be lost: {}",
                lost.iter().take(20).cloned().collect::<Vec<_>>().join(", ")
            )));
        }
        self.warnings.list(warning("not in the archive, so gone after the restore", &lost));
        clash::refuse(&mut self.session, place, &built.schemas).await?;
        // Tried now, so that the swap does not fail late; undone at once, because it locks what others use.
        self.session.run("SAVEPOINT trial").await?;
        bind::move_over(&mut self.session, place).await?;
        late.make(&mut self.session, place, &mut self.warnings).await?;
        self.session.run("ROLLBACK TO SAVEPOINT trial; RELEASE SAVEPOINT trial").await?;
        Ok(late)
    }
}

/// The columns, in SQL, whose types are users' own, with those types: the live table's are others of the same names.
async fn own_types(
    session: &mut Session,
    relation: &Relation,
) -> Result<HashMap<String, String>, Fault> {
    let query = format!(
        "SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute a \
         JOIN pg_catalog.pg_type t ON t.oid = a.atttypid JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
         WHERE a.attrelid = {} AND a.attnum > 0 AND NOT a.attisdropped AND n.nspname <> 'pg_catalog'",
        relation.oid
    );
    let rows = session.rows(&query).await?;
    Ok(rows.iter().map(|row| (identifier(&text(row, 0)), text(row, 1))).collect())
}

impl StagingSchemas {
    fn fault(&self, table: &str) -> impl Fn(Fault) -> DatabaseError + '_ {
        let what = format!("loading table {table}");
        move |fault| fault.of(&self.target.name, &what)
    }
}

/// The place in the order of making that a scheme begins with.
fn position(sql: &str) -> Option<u64> {
    sql.strip_prefix(POSITION)?.split_whitespace().next()?.parse().ok()
}

#[async_trait]
impl Staging for StagingSchemas {
    /// One transaction has one connection.
    fn loaders(&self) -> usize {
        1
    }

    async fn objects(&self, objects: Vec<ObjectText>, trust: Trust) -> Result<(), DatabaseError> {
        let mut work = self.work.lock().await;
        for object in objects {
            let text = String::from_utf8(object.sql)
                .map_err(|_| self.fault(&object.name)(Fault::Text("it is not UTF-8".to_owned())))?;
            work.definitions.take(&object.name, &text, trust);
        }
        Ok(())
    }

    async fn scheme(&self, table: &str, sql: &str, trust: Trust) -> Result<(), DatabaseError> {
        let mut work = self.work.lock().await;
        let fault = |text: &str| self.fault(table)(Fault::Text(text.to_owned()));
        if is_own_table(table) {
            return Err(fault("it is one of this service's own"));
        }
        if work.built.is_some() {
            return Err(fault("its definition came too late"));
        }
        if table == LARGE_OBJECTS {
            work.large = Some((sql.to_owned(), trust));
            return Ok(());
        }
        let items = items::parse(sql);
        // A heading has no line breaks.
        let line = table.replace(['\n', '\r'], " ");
        let named = items.iter().any(|item| {
            item.kind == "TABLE" && super::super::names::member(&item.schema, &item.name) == line
        });
        if !named {
            return Err(fault("its definition is not that of the table"));
        }
        let position = position(sql).unwrap_or(u64::MAX);
        work.definitions.tables.push((position, items, trust));
        Ok(())
    }

    async fn data(
        &self,
        table: &str,
        statements: Statements,
        _trust: Trust,
        loaded: &(dyn for<'a> Fn(u64) + Send + Sync),
    ) -> Result<u64, DatabaseError> {
        let mut work = self.work.lock().await;
        work.data(&self.place, table, statements, loaded).await.map_err(self.fault(table))
    }

    async fn adjust(&self, adjustment: &Adjustment) -> Result<(), DatabaseError> {
        let mut work = self.work.lock().await;
        let adjusted = work.adjust(&self.place, adjustment).await;
        adjusted.map_err(|fault| fault.of(&self.target.name, "adjusting restored tables"))
    }

    async fn digest(&self, table: &str) -> Result<Option<[u8; 32]>, DatabaseError> {
        let mut work = self.work.lock().await;
        work.digest(&self.place, self.encoding, table).await.map_err(self.fault(table))
    }

    async fn is_spread(&self, table: &str) -> bool {
        let work = self.work.lock().await;
        let relation = work.built.as_ref().and_then(|built| built.relations.get(table));
        relation.is_some_and(|relation| relation.spread_by.is_some())
    }

    async fn ready(self: Box<Self>) -> Result<(Box<dyn Staged>, Vec<String>), DatabaseError> {
        let Self { target, place, work, .. } = *self;
        let mut work = work.into_inner();
        let late = work.ready(&place).await;
        let late = late.map_err(|fault| fault.of(&target.name, "preparing the swap"))?;
        let Work { session, warnings, .. } = work;
        Ok((Box::new(StagedSchemas::held(target, place, session, late)), warnings.told()))
    }
}
