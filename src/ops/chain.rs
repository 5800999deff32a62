//! The archives that an increment needs: found, and verified with it.

use std::path::PathBuf;
use std::sync::Arc;

use archive::{Archive, Link, LinkSource, LocalFile, ReadAt, Report};
use futures::StreamExt;

use crate::app::App;
use crate::encryption::{ENDING, Keys, Opened};
use crate::jobs::Progress;
use crate::ops::archives;
use crate::storage::Storage;

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
        .map(|link| async move {
            let stored = find(app, near, &link).await?;
            let opened = Opened::new(stored, keys).await;
            opened
                .map(|opened| opened.clear())
                .map_err(|error| format!("cannot be opened: {error}"))
        })
        .buffered(LOOKUPS)
        .collect()
        .await;
    Ok(archive.linked(sources))
}

/// An archive by its record in the catalog, or else by its name beside the one that needs it. Errors end a sentence
/// that begins with its name.
async fn find(app: Option<&App>, near: &Near, link: &Link) -> LinkSource {
    let mut why = "is not there".to_owned();
    if let (Some(app), Ok(id)) = (app, link.id.parse()) {
        match archives::get(app, None, id).await {
            Ok(record) => match archives::stored(app, &record).await {
                Ok(stored) => return Ok(stored),
                Err(error) => why = format!("cannot be opened: {error}"),
            },
            Err(error) => {
                tracing::debug!(archive = link.id, %error, "a link is not in the catalog")
            }
        }
    }
    match beside(near, &link.name).await {
        Ok(stored) => return Ok(stored),
        Err(Some(error)) => why = format!("cannot be opened: {error}"),
        Err(None) => {}
    }
    // It may have been encrypted since.
    if let Ok(stored) = beside(near, &format!("{}{ENDING}", link.name)).await {
        return Ok(stored);
    }
    match near {
        Near::Storage(_) => at_its_url(app, link).await.ok_or(why),
        Near::Folder(_) | Near::Nowhere => Err(why),
    }
}

/// A file beside the archive that needs it. Errors say why it cannot be read, where that is worth saying.
async fn beside(near: &Near, name: &str) -> Result<Arc<dyn ReadAt>, Option<String>> {
    match near {
        Near::Storage(storage) => match storage.open(name).await {
            Ok(object) => Ok(Arc::new(object)),
            Err(error) => {
                tracing::debug!(archive = name, %error, "a link is not beside its archive");
                Err(None)
            }
        },
        // A name is no way into other folders.
        Near::Folder(folder) if !name.contains('/') && name != ".." => {
            match LocalFile::open(folder.join(name)).await {
                Ok(file) => Ok(Arc::new(file)),
                Err(error) => Err(Some(error.to_string())),
            }
        }
        Near::Folder(_) | Near::Nowhere => Err(None),
    }
}

/// An archive where it was when the other was made, if that is a place that archives may be read from.
async fn at_its_url(app: Option<&App>, link: &Link) -> Option<Arc<dyn ReadAt>> {
    let url = link.url.as_ref()?.parse().ok()?;
    let (storage, name) = app?.storages.by_allowed_url(&url).ok()?;
    Some(Arc::new(storage.open(&name).await.ok()?))
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
    if let (Ok(archive), true) = (archive, report.ok()) {
        archive::verify_links(&archive, workers, told, &mut report).await?;
    }
    Ok(report)
}
