//! What the next increment needs of its parent, kept in the catalog: compressed and sealed with `server.secret_key`.
//! A service that holds only recipients cannot open the parent again.

use bytes::Bytes;
use futures::{Stream, TryStreamExt, stream};
use uuid::Uuid;

use crate::app::App;
use crate::ops::OpError;

/// Bytes of a part before it is compressed.
const PART: usize = 512 << 10;

/// Keeps a content of any length for an archive, within the memory of one part. Until it is whole, [`get`] finds none.
pub struct Keeper<'a> {
    app: &'a App,
    archive: Uuid,
    part: Vec<u8>,
    /// Parts written.
    count: u64,
}

impl<'a> Keeper<'a> {
    /// What was kept of the archive before is forgotten.
    pub async fn start(app: &'a App, archive: Uuid) -> Result<Self, OpError> {
        app.catalog.kept().forget(archive, 0).await?;
        Ok(Self { app, archive, part: Vec::with_capacity(PART), count: 0 })
    }

    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), OpError> {
        while !bytes.is_empty() {
            if self.part.len() == PART {
                self.put(false).await?;
            }
            let (now, rest) = bytes.split_at(bytes.len().min(PART - self.part.len()));
            self.part.extend_from_slice(now);
            bytes = rest;
        }
        Ok(())
    }

    pub async fn finish(mut self) -> Result<(), OpError> {
        self.put(true).await
    }

    async fn put(&mut self, last: bool) -> Result<(), OpError> {
        let part = std::mem::replace(&mut self.part, Vec::with_capacity(PART));
        let packed = pack(&part).map_err(OpError::internal)?;
        let sealed = self.app.seal_bytes(&place(self.archive, self.count, last), &packed)?;
        self.app.catalog.kept().put(self.archive, self.count, sealed).await?;
        self.count += 1;
        Ok(())
    }
}

/// What was kept of an archive; None: nothing, or not all of it. Another archive's parts, parts in another order and
/// parts that were changed are errors.
pub async fn get(
    app: &App,
    archive: Uuid,
) -> Result<Option<impl Stream<Item = Result<Bytes, OpError>>>, OpError> {
    let Some(first) = part(app, archive, 0).await? else { return Ok(None) };
    // The last part says that it is the last: without it the writer was stopped.
    let mut count = 1;
    let mut last = first.last;
    while !last {
        let Some(next) = part(app, archive, count).await? else { return Ok(None) };
        (last, count) = (next.last, count + 1);
    }
    let parts = stream::iter((0..count).map(Ok::<_, OpError>));
    Ok(Some(parts.and_then(move |number| async move {
        let part = part(app, archive, number).await?;
        part.map(|part| part.content)
            .ok_or_else(|| OpError::Conflict("what was kept of the archive is gone".to_owned()))
    })))
}

/// Forgets all that was kept of an archive.
pub async fn forget(app: &App, archive: Uuid) -> Result<(), OpError> {
    Ok(app.catalog.kept().forget(archive, 0).await?)
}

struct Part {
    content: Bytes,
    last: bool,
}

async fn part(app: &App, archive: Uuid, number: u64) -> Result<Option<Part>, OpError> {
    let Some(sealed) = app.catalog.kept().get(archive, number).await? else { return Ok(None) };
    let (packed, last) = match app.unseal_bytes(&place(archive, number, false), &sealed) {
        Ok(packed) => (packed, false),
        Err(_) => (app.unseal_bytes(&place(archive, number, true), &sealed)?, true),
    };
    Ok(Some(Part { content: unpack(&packed).map_err(OpError::internal)?.into(), last }))
}

/// Where a part belongs; it can be unsealed for nothing else.
fn place(archive: Uuid, number: u64, last: bool) -> String {
    format!("kept {archive} {number} {last}")
}

fn pack(part: &[u8]) -> Result<Vec<u8>, String> {
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
    let mut packed = vec![0; compressor.zlib_compress_bound(part.len())];
    let length = compressor.zlib_compress(part, &mut packed).map_err(|error| error.to_string())?;
    packed.truncate(length);
    Ok(packed)
}

fn unpack(packed: &[u8]) -> Result<Vec<u8>, String> {
    let mut part = vec![0; PART];
    let length = libdeflater::Decompressor::new()
        .zlib_decompress(packed, &mut part)
        .map_err(|error| error.to_string())?;
    part.truncate(length);
    Ok(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Secret};

    #[tokio::test]
    async fn what_is_kept_comes_back_whole_and_sealed() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        let url = format!("sqlite://{}/c.db", dir.path().display());
        config.catalog.url = Secret::new(url);
        config.storage.local.root = dir.path().join("backups");
        let app = App::build(config).await.unwrap();
        let all = async |id| -> Option<Vec<u8>> {
            let parts = get(&app, id).await.unwrap()?;
            Some(parts.try_collect::<Vec<Bytes>>().await.unwrap().concat())
        };
        for length in [0, 1, PART - 1, PART, PART + 1, 3 * PART + 7] {
            let id = Uuid::new_v4();
            let content: Vec<u8> = (0..length).map(|n| ((n * n) >> 7) as u8).collect();
            let mut keeper = Keeper::start(&app, id).await.unwrap();
            for piece in content.chunks(100_000) {
                keeper.write(piece).await.unwrap();
                assert!(all(id).await.is_none(), "not whole yet");
            }
            keeper.finish().await.unwrap();
            assert!(all(id).await.as_ref() == Some(&content), "{length}");
        }

        let (id, other) = (Uuid::new_v4(), Uuid::new_v4());
        let mut keeper = Keeper::start(&app, id).await.unwrap();
        keeper.write(&b"storage/secret-name ".repeat(100_000)).await.unwrap();
        keeper.finish().await.unwrap();
        let kept = app.catalog.kept();
        let first = kept.get(id, 0).await.unwrap().unwrap();
        assert!(!first.contains("secret"));
        // Neither another archive's nor another part's.
        kept.put(other, 0, first.clone()).await.unwrap();
        assert!(get(&app, other).await.is_err());
        kept.put(id, 1, first).await.unwrap();
        assert!(get(&app, id).await.is_err());
        forget(&app, id).await.unwrap();
        assert!(all(id).await.is_none());
    }
}
