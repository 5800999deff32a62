//! The digest of a table, as its dump would have it.

use super::super::catalog::Relation;
use super::super::connect::Session;
use super::super::rows::{self, Failure};
use super::Fault;
use crate::source::database::digest::DigestSink;

/// The digest of what was written; `rows`: how many they were.
pub(super) fn end(
    digest: DigestSink,
    rows: Result<u64, Failure>,
) -> Result<Option<[u8; 32]>, Fault> {
    match rows {
        Ok(rows) => Ok(digest.end(rows)),
        Err(Failure::Server(error)) => Err(error.into()),
        Err(Failure::Sink(closed)) => Err(Fault::Text(closed.to_string())),
    }
}

/// None of a table whose rows are in its partitions, or of a partition that has others now.
pub(super) async fn digest(
    session: &mut Session,
    relation: &Relation,
    encoding: &str,
) -> Result<Option<[u8; 32]>, Fault> {
    if relation.kind != 'r' || relation.spread_by.is_some() {
        return Ok(None);
    }
    let mut digest = DigestSink::default();
    let rows = rows::dump(session, relation, encoding, &mut digest).await;
    end(digest, rows)
}
