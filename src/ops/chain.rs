//! The archives that an increment needs: found, and verified with it.

use std::path::PathBuf;
use std::sync::Arc;

use archive::{Archive, Link, LinkSource, LocalFile, ReadAt, Report};
use futures::StreamExt;

use crate::app::App;
use crate::encryption::{ENDING, Keys, Opened};
use crate::jobs::Progress;
use crate::ops::archives;
use crate::ops::named::folder::INCREMENT;
use crate::storage::{Storage, StoredObject};

/// How many links are looked for at once.
const LOOKUPS: usize = 4;

/// Where an archive lies: what it needs may lie beside it.
#[derive(Clone)]
pub enum Near {
    Storage(Storage),
    Folder(PathBuf),
    Nowhere,
}

/// Opens an archive with all that it needs, which is only looked for: see [`Archive::check_links`].
/// `app`: None where no catalog is at hand. `keys`: what opens those that are encrypted.
pub async fn open(
    app: Option<&App>,
    keys: &Arc<Keys>,
    near: &Near,
    opened: &Opened,
) -> Result<Archive, archive::Error> {
    let archive = Archive::open(opened.clear()).await?;
    let links = archive.links().to_vec();
    let sources = futures::stream::iter(links)
        .map(|link| async move { find(app, keys, near, &link).await })
        .buffered(LOOKUPS)
        .collect()
        .await;
    Ok(archive.linked(sources))
}

/// An archive in clear: by its record in the catalog, at its place beside the one that needs it, or where it was when
/// that was made. One that has another length is another archive, so it is only taken when there is no better. Errors
/// end a sentence that begins with the archive's name.
async fn find(app: Option<&App>, keys: &Arc<Keys>, near: &Near, link: &Link) -> LinkSource {
    let (mut other, mut why) = (None, None);
    for way in [Way::Catalog, Way::Beside, Way::EncryptedBeside, Way::Url] {
        let opened = match way.look(app, near, link).await {
            Ok(None) => continue,
            Ok(Some(stored)) => Opened::new(stored, keys).await.map_err(|error| error.to_string()),
            Err(error) => Err(error),
        };
        match opened.map(|opened| opened.clear()) {
            Ok(clear) if clear.len() == link.size => return Ok(clear),
            Ok(clear) => drop(other.get_or_insert(clear)),
            Err(error) => drop(why.get_or_insert(format!("cannot be opened: {error}"))),
        }
    }
    other.ok_or_else(|| why.unwrap_or_else(|| "is not there".to_owned()))
}

/// Where a link is looked for.
#[derive(Clone, Copy)]
enum Way {
    Catalog,
    Beside,
    /// It may have been encrypted since.
    EncryptedBeside,
    Url,
}

impl Way {
    /// None: it is not there. Errors say why it cannot be read, where that is worth saying.
    async fn look(
        self,
        app: Option<&App>,
        near: &Near,
        link: &Link,
    ) -> Result<Option<Arc<dyn ReadAt>>, String> {
        match self {
            Self::Catalog => catalogued(app, link).await,
            Self::Beside => beside(app, near, link, "").await,
            Self::EncryptedBeside => Ok(beside(app, near, link, ENDING).await.unwrap_or_default()),
            Self::Url => Ok(match near {
                Near::Storage(_) => at_its_url(app, link).await,
                Near::Folder(_) | Near::Nowhere => None,
            }),
        }
    }
}

async fn catalogued(app: Option<&App>, link: &Link) -> Result<Option<Arc<dyn ReadAt>>, String> {
    let (Some(app), Ok(id)) = (app, link.id.parse()) else { return Ok(None) };
    match archives::get(app, None, id).await {
        Ok(record) => {
            archives::stored(app, &record).await.map(Some).map_err(|error| error.to_string())
        }
        Err(error) => {
            tracing::debug!(archive = link.id, %error, "a link is not in the catalog");
            Ok(None)
        }
    }
}

/// A file beside the archive that needs it, or where a folder of increments has it.
async fn beside(
    app: Option<&App>,
    near: &Near,
    link: &Link,
    ending: &str,
) -> Result<Option<Arc<dyn ReadAt>>, String> {
    let place = match &link.place {
        Some(place) => place_of(place),
        // A name is no way into other folders.
        None => (!link.name.contains('/') && link.name != "..").then(|| vec![link.name.as_str()]),
    };
    let Some(mut place) = place else { return Ok(None) };
    let last = format!("{}{ending}", place.pop().unwrap_or_default());
    place.push(&last);
    match near {
        Near::Storage(storage) => {
            let opened = match &link.place {
                None => storage.open(&last).await.ok(),
                Some(_) => in_root_of(app, storage, &place).await,
            };
            if opened.is_none() {
                tracing::debug!(archive = last, "a link is not beside its archive");
            }
            let limited = |object: StoredObject| match app {
                Some(app) => object.limited(&app.limits.read),
                None => object,
            };
            Ok(opened.map(|object| Arc::new(limited(object)) as _))
        }
        Near::Folder(folder) => {
            let folder = match (&link.place, folder.file_name().and_then(|name| name.to_str())) {
                (None, _) => folder.as_path(),
                (Some(_), Some(own)) if own.starts_with(INCREMENT) => {
                    folder.parent().unwrap_or(folder)
                }
                (Some(_), _) => return Ok(None),
            };
            let path = folder.join(place.iter().collect::<PathBuf>());
            let opened = LocalFile::open(path).await.map_err(|error| error.to_string())?;
            Ok(Some(Arc::new(opened)))
        }
        Near::Nowhere => Ok(None),
    }
}

/// The parts of `../NAME` or `../FOLDER/NAME`; None when it is something else, which would lead elsewhere.
fn place_of(place: &str) -> Option<Vec<&str>> {
    let parts: Vec<&str> = place.strip_prefix("../")?.split('/').collect();
    let plain =
        |part: &&str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', '\0']);
    (parts.len() <= 2 && parts.iter().all(plain)).then_some(parts)
}

/// An archive of the folder that an increment's own folder lies in, if archives may be read from there.
async fn in_root_of(app: Option<&App>, storage: &Storage, place: &[&str]) -> Option<StoredObject> {
    let mut url = storage.url().clone();
    let own = url.path_segments()?.rfind(|part| !part.is_empty())?.to_owned();
    let own = percent_encoding::percent_decode_str(&own).decode_utf8_lossy();
    if !own.starts_with(INCREMENT) {
        return None;
    }
    url.path_segments_mut().ok()?.pop_if_empty().pop().extend(place);
    let (storage, name) = app?.storages.by_allowed_url(&url).ok()?;
    storage.open(&name).await.ok()
}

/// An archive where it was when the other was made, if that is a place that archives may be read from.
async fn at_its_url(app: Option<&App>, link: &Link) -> Option<Arc<dyn ReadAt>> {
    let url = link.url.as_ref()?.parse().ok()?;
    let app = app?;
    let (storage, name) = app.storages.by_allowed_url(&url).ok()?;
    Some(Arc::new(storage.open(&name).await.ok()?.limited(&app.limits.read)))
}

/// Reads every byte of an archive and of all that it needs. `progress` already counts the archive's own bytes. The
/// report's size and SHA-256 are those of the archive as it is stored.
pub async fn verify(
    app: Option<&App>,
    keys: &Arc<Keys>,
    near: &Near,
    opened: &Opened,
    progress: &Progress,
) -> Result<Report, archive::Error> {
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let told = |bytes| progress.add(bytes);
    let archive = open(app, keys, near, opened).await;
    if let Ok(archive) = &archive {
        progress.add_total(archive.links().iter().map(|link| link.size).sum());
    }
    let mut report = opened.verify(workers, told).await?;
    // What is damaged may well not open: then the report says more.
    if report.ok() {
        archive::verify_links(&archive?, workers, told, &mut report).await?;
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use archive::{EntryKind, ManifestInfo, NewEntry, Writer, WriterOptions};
    use bytes::Bytes;

    use super::*;
    use crate::config::EncryptionConfig;

    /// A storage that does not answer once.
    struct Flaky {
        bytes: Bytes,
        reads: AtomicU32,
        fails: u32,
    }

    #[async_trait::async_trait]
    impl ReadAt for Flaky {
        fn len(&self) -> u64 {
            self.bytes.len() as u64
        }

        async fn read_at(&self, range: std::ops::Range<u64>) -> std::io::Result<Bytes> {
            if self.reads.fetch_add(1, Ordering::Relaxed) == self.fails {
                return Err(std::io::ErrorKind::TimedOut.into());
            }
            Ok(self.bytes.slice(range.start as usize..range.end as usize))
        }
    }

    /// Whether it needs others is not known of an archive that did not open.
    #[tokio::test]
    async fn what_did_not_open_is_not_reported_as_good() {
        let (sink, mut chunks) = tokio::sync::mpsc::channel::<Bytes>(100);
        let dir = tempfile::tempdir().unwrap();
        let options = WriterOptions {
            compression: archive::Compression::Fast,
            workers: 1,
            memory: 1 << 20,
            temp_dir: dir.path().to_owned(),
        };
        let mut writer = Writer::new(options, sink);
        let entry = NewEntry {
            path: "storage/a".to_owned(),
            kind: EntryKind::File,
            mtime: 0,
            rows: None,
            note: None,
            version: None,
        };
        writer.append(entry, b"content").await.unwrap();
        writer.finish(ManifestInfo::default()).await.unwrap();
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.recv().await {
            bytes.extend_from_slice(&chunk);
        }
        let keys = Arc::new(Keys::new(&EncryptionConfig::default()).unwrap());
        // The first read sees whether it is encrypted.
        for (fails, good) in [(u32::MAX, true), (1, false)] {
            let bytes = Bytes::from(bytes.clone());
            let flaky = Arc::new(Flaky { bytes, reads: AtomicU32::new(0), fails });
            let opened = Opened::new(flaky, &keys).await.unwrap();
            let progress = Progress::default();
            let verified = verify(None, &keys, &Near::Nowhere, &opened, &progress).await;
            assert_eq!(verified.is_ok_and(|report| report.ok()), good);
        }
    }

    #[test]
    fn a_place_leads_to_the_folder_above_and_no_further() {
        assert_eq!(place_of("../a"), Some(vec!["a"]));
        assert_eq!(place_of("../Inc 1/a"), Some(vec!["Inc 1", "a"]));
        for bad in ["a", "/a", "../", "../..", "../../a", "../a/..", "../a/b/c", "..//a", "../a\\b"]
        {
            assert_eq!(place_of(bad), None, "{bad}");
        }
    }
}
