//! The digest of a staged table, as its dump would have it.

use async_trait::async_trait;
use mysql_async::Opts;
use sha2::{Digest, Sha256};

use super::super::connect::Session;
use super::super::rows::{self, Failure};
use super::super::scheme;
use super::Fault;
use crate::source::database::{DataSink, SinkClosed};

struct Hash(Sha256);

#[async_trait]
impl DataSink for Hash {
    async fn write(&mut self, piece: &[u8], _ends: &[usize]) -> Result<(), SinkClosed> {
        self.0.update(piece);
        Ok(())
    }
}

/// Renders a table again. `opts` name the staging schema.
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
    let mut hash = Hash(Sha256::new());
    let rows = rows::dump(&mut session, table, &columns, &mut hash).await;
    session.close().await;
    match rows {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(hash.0.finalize().into())),
        Err(Failure::Server(error)) => Err(error.into()),
        Err(Failure::Sink(closed)) => Err(Fault::Text(closed.to_string())),
    }
}
