//! The content of an object.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, ObjectStore};

use crate::source::files::{Content, FilesError, PIECE};

/// An object's content, asked for again from where an answer broke off: one answer may take no longer than a request
/// may, and a large object takes longer. Gives up when a whole request brought nothing.
pub fn resumed(
    store: Arc<dyn ObjectStore>,
    key: Path,
    found: GetResult,
) -> impl Stream<Item = object_store::Result<Bytes>> {
    let (size, e_tag) = (found.meta.size, found.meta.e_tag.clone());
    // Where the last answer began that was asked for here; the first may have waited long for its reader.
    let state = (found.into_stream(), 0, None);
    stream::try_unfold(state, move |(mut answer, mut at, mut began)| {
        let (store, key, e_tag) = (store.clone(), key.clone(), e_tag.clone());
        async move {
            loop {
                match answer.next().await {
                    Some(Ok(piece)) => {
                        at += piece.len() as u64;
                        return Ok(Some((piece, (answer, at, began))));
                    }
                    None => return Ok(None),
                    Some(Err(_)) if at == size => return Ok(None),
                    // Without its mark nobody could tell that it is still the same object.
                    Some(Err(error)) if began == Some(at) || e_tag.is_none() => return Err(error),
                    Some(Err(error)) => {
                        tracing::info!(%key, at, %error, "an answer broke off; the rest is asked for");
                        began = Some(at);
                        let range = Some(GetRange::Bounded(at..size));
                        let if_match = e_tag.clone();
                        let options = GetOptions { range, if_match, ..GetOptions::default() };
                        let found = store.get_opts(&key, options).await?;
                        if found.meta.e_tag != e_tag {
                            return Err(error);
                        }
                        answer = found.into_stream();
                    }
                }
            }
        }
    })
}

/// Cuts and joins what the network brings into pieces of 1 MiB.
pub fn pieces(raw: BoxStream<'static, Result<Bytes, FilesError>>) -> Content {
    let state = (raw, BytesMut::new(), Bytes::new());
    stream::try_unfold(state, |(mut raw, mut gathered, mut rest)| async move {
        loop {
            if rest.is_empty() {
                match raw.try_next().await? {
                    Some(more) => rest = more,
                    None if gathered.is_empty() => return Ok(None),
                    None => {
                        return Ok(Some((gathered.split().freeze(), (raw, gathered, rest))));
                    }
                }
            }
            if gathered.is_empty() && rest.len() >= PIECE {
                return Ok(Some((rest.split_to(PIECE), (raw, gathered, rest))));
            }
            let room = PIECE - gathered.len();
            gathered.extend_from_slice(&rest.split_to(rest.len().min(room)));
            if gathered.len() == PIECE {
                return Ok(Some((gathered.split().freeze(), (raw, gathered, rest))));
            }
        }
    })
    .boxed()
}
