//! A table's rows as `psql` loads them: one COPY in text format.

use futures::StreamExt;
use sqlx::Error;

use super::catalog::Relation;
use super::connect::Session;
use crate::source::cutter::{Cutter, hash};
use crate::source::database::{DataSink, SinkClosed};

/// Rows are handed over in pieces of about this size.
const PIECE: usize = 256 << 10;

/// Why a dump of rows ended.
pub(super) enum Failure {
    Server(Error),
    Sink(SinkClosed),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Server(error)
    }
}

impl From<SinkClosed> for Failure {
    fn from(closed: SinkClosed) -> Self {
        Self::Sink(closed)
    }
}

/// What stands before a table's rows.
pub(super) fn head(relation: &Relation, encoding: &str) -> String {
    format!(
        "SET client_encoding = '{encoding}';\nCOPY {}{} FROM stdin;\n",
        relation.loaded_by(),
        relation.column_list()
    )
}

/// What stands behind them.
pub(super) const END: &[u8] = b"\\.\n";

/// Renders all rows of a table; returns how many there are. Nothing is written for none.
pub(super) async fn dump(
    session: &mut Session,
    relation: &Relation,
    encoding: &str,
    sink: &mut dyn DataSink,
) -> Result<u64, Failure> {
    let statement = format!("COPY {}{} TO STDOUT", relation.sql(), relation.column_list());
    let head = head(relation, encoding);
    copy(session, &statement, head.as_bytes(), END, sink).await
}

/// Hands over what a `COPY … TO STDOUT` gives, between a beginning and an end; counts the lines.
pub(super) async fn copy(
    session: &mut Session,
    statement: &str,
    head: &[u8],
    end: &[u8],
    sink: &mut dyn DataSink,
) -> Result<u64, Failure> {
    let mut rows = 0;
    let mut buffer = Vec::with_capacity(PIECE + (16 << 10));
    let (mut chunk, mut ends) = (Cutter::chunks(), Vec::new());
    let mut stream = session.copy_out(statement).await?;
    while let Some(data) = stream.next().await {
        let data = data?;
        if rows == 0 && buffer.is_empty() {
            buffer.extend_from_slice(head);
        }
        // A line break in a value is escaped.
        rows += data.iter().filter(|byte| **byte == b'\n').count() as u64;
        // A server sends each row by itself.
        let cuts = chunk.cuts(hash(&data) as u32, data.len());
        let mut rest = &data[..];
        // What is longer than a piece goes on without being copied whole.
        while buffer.len() + rest.len() > PIECE {
            if buffer.is_empty() {
                let (piece, more) = rest.split_at(PIECE);
                rest = more;
                sink.write(piece, &[]).await?;
                continue;
            }
            sink.write(&buffer, &ends).await?;
            buffer.clear();
            ends.clear();
        }
        buffer.extend_from_slice(rest);
        if cuts {
            ends.push(buffer.len());
        }
    }
    drop(stream);
    session.copied();
    if rows > 0 {
        buffer.extend_from_slice(end);
        sink.write(&buffer, &ends).await?;
    }
    Ok(rows)
}
