use std::os::unix::fs::PermissionsExt;

use futures::stream;

use super::*;
use crate::config::Config;
use std::sync::Arc;

struct Place {
    dir: tempfile::TempDir,
    app: Arc<App>,
}

async fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.storage.local.root = dir.path().join("backups");
    config.catalog.url =
        crate::config::Secret::new(format!("sqlite://{}/catalog.db", dir.path().display()));
    let app = App::build(config).await.unwrap();
    Place { dir, app }
}

impl Place {
    async fn send(
        &self,
        tenant: i64,
        extent: Option<Extent>,
        chunk: &[u8],
    ) -> Result<Received, String> {
        let pieces: Vec<_> =
            chunk.chunks(1000).map(|piece| Ok::<_, ()>(Bytes::copy_from_slice(piece))).collect();
        append(&self.app, tenant, extent, &mut stream::iter(pieces))
            .await
            .map_err(|e| e.to_string())
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.dir.path().join("backups/.uploads"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "lock")
            .collect();
        names.sort();
        names
    }
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 % 251) as u8).collect()
}

#[tokio::test]
async fn chunks_become_the_file() {
    let place = place().await;
    let whole = bytes(25_000);
    begin(&place.app, 7, 25_000, Extension::TarGz).await.unwrap();
    for (n, chunk) in whole.chunks(10_000).enumerate() {
        assert_eq!(uploaded(&place.app, 7).await, None);
        let received = place.send(7, None, chunk).await.unwrap();
        assert_eq!(received.is_complete(), n == 2);
    }
    let path = uploaded(&place.app, 7).await.unwrap();
    assert_eq!(path.file_name().unwrap(), "7-backup.tar.gz");
    assert!(std::fs::read(&path).unwrap() == whole);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(place.files(), ["7-backup.tar.gz"]);
    assert_eq!(uploaded(&place.app, 8).await, None);
    assert!(place.send(7, None, b"more").await.unwrap_err().contains("complete already"));
    remove(&place.app, 7).await;
    assert_eq!(uploaded(&place.app, 7).await, None);
}

#[tokio::test]
async fn what_is_wrong_does_no_harm() {
    let place = place().await;
    assert!(place.send(1, None, b"x").await.unwrap_err().contains("init=true"));
    let vast = u64::MAX >> 1;
    let error = begin(&place.app, 1, vast, Extension::Tar).await.unwrap_err().to_string();
    assert!(error.contains("enough space"), "{error}");
    begin(&place.app, 1, 12, Extension::Tar).await.unwrap();
    place.send(1, None, b"first ").await.unwrap();
    assert!(begin(&place.app, 1, vast, Extension::Tar).await.is_err(), "and the first goes on");
    let extent = |start, end| Some(Extent { start, end, total: Some(12) });
    for (extent, chunk, word) in [
        (None, &b""[..], "empty"),
        (None, b"second and more", "larger"),
        (extent(0, 12), b"first second", "out of order"),
        (extent(8, 12), b"cond", "out of order"),
        (extent(6, 12), b"two", "Content-Range"),
        (Some(Extent { start: 6, end: 12, total: Some(13) }), b"second", "announced"),
    ] {
        let error = place.send(1, extent, chunk).await.unwrap_err();
        assert!(error.contains(word), "{error}");
    }
    let broken = vec![Ok(Bytes::from_static(b"seco")), Err(())];
    let error = append(&place.app, 1, None, &mut stream::iter(broken)).await.unwrap_err();
    assert!(error.to_string().contains("send it again"), "{error}");
    // A chunk that is there already is not taken twice.
    assert_eq!(place.send(1, extent(0, 6), b"first ").await.unwrap().bytes, 6);
    assert!(place.send(1, extent(6, 12), b"second").await.unwrap().is_complete());
    assert!(place.send(1, extent(6, 12), b"second").await.unwrap().is_complete());
    let path = uploaded(&place.app, 1).await.unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"first second");
}

#[tokio::test]
async fn a_chunk_too_long_is_refused() {
    let place = place().await;
    begin(&place.app, 1, 3 * CHUNK, Extension::Tar).await.unwrap();
    let chunk = bytes(CHUNK as usize + 1);
    assert!(place.send(1, None, &chunk).await.unwrap_err().contains("10485760"));
    assert_eq!(place.send(1, None, &chunk[1..]).await.unwrap().bytes, CHUNK);
}

#[tokio::test]
async fn only_one_of_two_chunks_at_once_counts() {
    let place = place().await;
    begin(&place.app, 1, 4, Extension::Tar).await.unwrap();
    let (first, second) = tokio::join!(place.send(1, None, b"ab"), place.send(1, None, b"ab"));
    // They may also have come one after the other; never does one overwrite the other.
    let taken = [&first, &second].into_iter().filter(|result| result.is_ok()).count();
    let status = status(&place.app, 1).await.unwrap().unwrap();
    assert!(taken >= 1);
    assert_eq!(status.bytes, 2 * taken as u64, "{first:?} {second:?}");

    // A chunk of an upload that was begun anew meanwhile belongs nowhere.
    begin(&place.app, 1, 4, Extension::Tar).await.unwrap();
    let app = Arc::clone(&place.app);
    let mut anew = Box::pin(stream::once(async move {
        begin(&app, 1, 6, Extension::Tar).await.unwrap();
        Ok::<_, ()>(Bytes::from_static(b"old"))
    }));
    let error = append(&place.app, 1, None, &mut anew).await.unwrap_err();
    assert!(error.to_string().contains("begun anew"), "{error}");
    let status = super::status(&place.app, 1).await.unwrap().unwrap();
    assert_eq!((status.bytes, status.total), (0, 6));
}

#[tokio::test]
async fn a_crash_in_the_middle_costs_one_chunk_at_most() {
    let place = place().await;
    let folder = place.dir.path().join("backups/.uploads");
    begin(&place.app, 1, 9, Extension::TarGz).await.unwrap();
    place.send(1, None, b"one").await.unwrap();
    // Killed while a chunk was being appended.
    let part = folder.join("1-backup.part");
    std::fs::write(&part, b"oneTW").unwrap();
    place.send(1, None, b"two").await.unwrap();
    assert_eq!(std::fs::read(&part).unwrap(), b"onetwo");
    // Killed after the last chunk was recorded, and before the file had its name.
    let state = std::fs::read_to_string(folder.join("1-backup.json")).unwrap();
    std::fs::write(folder.join("1-backup.json"), state.replace("\"received\":6", "\"received\":9"))
        .unwrap();
    std::fs::write(&part, b"onetwosix").unwrap();
    let path = uploaded(&place.app, 1).await.unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"onetwosix");
    assert_eq!(place.files(), ["1-backup.tar.gz"]);
}

#[tokio::test]
async fn a_new_upload_takes_the_place_of_the_old_one() {
    let place = place().await;
    begin(&place.app, 1, 3, Extension::Tar).await.unwrap();
    place.send(1, None, b"one").await.unwrap();
    assert!(uploaded(&place.app, 1).await.is_some());
    begin(&place.app, 1, 3, Extension::TarGz).await.unwrap();
    assert_eq!(uploaded(&place.app, 1).await, None, "nobody restores the one that was replaced");
    place.send(1, None, b"two").await.unwrap();
    assert_eq!(place.files(), ["1-backup.tar.gz"]);
}

#[tokio::test]
async fn abandoned_uploads_are_removed() {
    let place = place().await;
    assert_eq!(sweep(&place.app, SystemTime::now()).await.unwrap(), 0, "there is no folder yet");
    begin(&place.app, 1, 3, Extension::Tar).await.unwrap();
    place.send(1, None, b"one").await.unwrap();
    begin(&place.app, 2, 3, Extension::Tar).await.unwrap();
    let later = |time: Duration| SystemTime::now() + time + Duration::from_secs(60);
    assert_eq!(sweep(&place.app, SystemTime::now()).await.unwrap(), 0);
    assert_eq!(sweep(&place.app, later(UNFINISHED_FOR)).await.unwrap(), 2);
    assert_eq!(place.files(), ["1-backup.tar"]);
    assert!(status(&place.app, 2).await.unwrap().is_none());
    assert_eq!(sweep(&place.app, later(FINISHED_FOR)).await.unwrap(), 1);
    assert_eq!(place.files(), Vec::<String>::new());
}
