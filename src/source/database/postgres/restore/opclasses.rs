//! Default operator classes: a type has one for each access method, in whatever schema it is. There is no statement
//! that has one be no default; what PostgreSQL's own extensions do when they are updated is done here.

use super::super::catalog::text;
use super::super::connect::Session;
use super::super::items::Item;
use super::super::names::literal;
use super::Fault;
use super::journal::{Place, Swapped};
use super::lost::among;

/// Whether an item makes one.
pub(super) fn is_default(item: &Item) -> bool {
    item.kind == "OPERATOR CLASS" && item.sql.contains("DEFAULT FOR TYPE ")
}

/// A query of the defaults in some schemas for types that are elsewhere: their numbers and names.
fn of_others(schemas: &[String]) -> String {
    format!(
        "SELECT x.oid::text, x.opcname::text FROM pg_catalog.pg_opclass x \
         JOIN pg_catalog.pg_namespace n ON n.oid = x.opcnamespace JOIN pg_catalog.pg_type t ON t.oid = x.opcintype \
         JOIN pg_catalog.pg_namespace m ON m.oid = t.typnamespace WHERE x.opcdefault AND {} AND NOT {}",
        among("n.nspname", schemas),
        among("m.nspname", schemas)
    )
}

async fn step_back(session: &mut Session, schemas: &[String]) -> Result<Vec<String>, Fault> {
    let mut numbers = Vec::new();
    for row in session.rows(&of_others(schemas)).await? {
        let (number, name) = (text(&row, 0), text(&row, 1));
        let set = format!(
            "UPDATE pg_catalog.pg_opclass SET opcdefault = false WHERE oid = {number}::oid"
        );
        session.run(&set).await.map_err(|error| {
            let what = format!(
                "operator class {name} is the default of its type, and would have to make room for the archive's, \
                 which a superuser can have it do; or drop it first"
            );
            Fault::Server(error).at(&what)
        })?;
        numbers.push(number);
    }
    Ok(numbers)
}

/// Has those of the schemas that were put aside make room for the archive's.
pub(super) async fn make_room(
    session: &mut Session,
    place: &Place,
    schemas: &[Swapped],
) -> Result<(), Fault> {
    let away: Vec<String> = place.replaced(schemas).into_iter().map(|(kept, _)| kept).collect();
    for number in step_back(session, &away).await? {
        let back = format!(
            "UPDATE pg_catalog.pg_opclass x SET opcdefault = true WHERE oid = {number}::oid AND NOT EXISTS (SELECT 1 \
             FROM pg_catalog.pg_opclass y WHERE y.opcdefault AND (y.opcmethod, y.opcintype) = (x.opcmethod, x.opcintype))"
        );
        let bound = place.table("bound");
        let note =
            format!("INSERT INTO {bound} (kind, make) VALUES ('default', {})", literal(&back));
        session.run(&note).await?;
    }
    Ok(())
}

/// Has them be defaults again, instead of those in the schemas `away`, which are about to be dropped.
pub(super) async fn put_back(
    session: &mut Session,
    place: &Place,
    away: &[String],
) -> Result<(), Fault> {
    let noted = format!("SELECT make FROM {} WHERE kind = 'default'", place.table("bound"));
    let noted = session.column(&noted).await?;
    if !noted.is_empty() {
        step_back(session, away).await?;
    }
    for statement in noted {
        session.run(&statement).await?;
    }
    Ok(())
}
