//! The digest of a table, as its dump would have it.

use mysql_async::Opts;

use super::super::connect::Session;
use super::super::rows::{self, Failure};
use super::super::scheme;
use super::Fault;
use crate::source::database::digest::DigestSink;

/// Renders a table again. `opts` name its schema.
///
/// Equal digests prove equal rows. They are equal when the rows come in the same order, and they do where that
/// depends on the definition alone: by the primary key, or as they were inserted. Tables that the server reads by
/// some other index may differ, and so do those that an archive of DocSpace's has in its own rendering.
pub(super) async fn digest(opts: &Opts, table: &str) -> Result<Option<[u8; 32]>, Fault> {
    let mut session = Session::open(opts).await?;
    let mut tables = scheme::columns(&mut session).await?;
    let columns = tables
        .remove(table)
        // On a server that has all names in lower case.
        .or_else(|| tables.remove(&table.to_lowercase()))
        .ok_or_else(|| Fault::Text("it is not there".to_owned()))?;
    let mut digest = DigestSink::default();
    let rows = rows::dump(&mut session, table, &columns, &mut digest).await;
    session.close().await;
    match rows {
        Ok(rows) => Ok(digest.end(rows)),
        Err(Failure::Server(error)) => Err(error.into()),
        Err(Failure::Sink(closed)) => Err(Fault::Text(closed.to_string())),
    }
}
