//! Verifying what an increment needs.

use std::collections::HashMap;
use std::sync::Arc;

use futures::TryStreamExt;

use super::names::Seen;
use super::{Report, verify};
use crate::{Archive, Error, Link, Result};

/// Reads every byte of each archive that an increment needs, and sees whether all of its content lies within them.
/// What is wrong is added to `report`, which [`verify`] made of the increment itself, with the name of the archive;
/// its counts become those of the whole. Nothing is done when it is no increment. Arguments as of [`verify`].
pub async fn verify_links(
    archive: &Archive,
    workers: usize,
    progress: impl Fn(u64) + Send + Sync,
    report: &mut Report,
) -> Result<()> {
    let Some(chain) = archive.chain() else { return Ok(()) };
    let mut whole = true;
    for (link, source) in chain.sources() {
        let problem = match source {
            Err(why) => Some(why.clone()),
            Ok(source) => one(link, Arc::clone(source), workers, &progress).await,
        };
        if let Some(why) = problem {
            whole = false;
            report.note(Error::Link { id: link.id.clone(), name: link.shown().to_owned(), why })?;
        }
    }
    if let (true, Err(error)) = (whole, chain.check().await) {
        whole = false;
        report.note(error)?;
    }
    if whole {
        let counted = Report { problems: Vec::new(), problem_count: 0, ..report.clone() };
        match contents(archive, counted).await {
            Ok(counted) => {
                (report.entries, report.files) = (counted.entries, counted.files);
                (report.tables, report.rows) = (counted.tables, counted.rows);
            }
            Err(error) => report.note(error)?,
        }
    }
    Ok(())
}

/// What is wrong with an archive.
async fn one(
    link: &Link,
    source: Arc<dyn crate::ReadAt>,
    workers: usize,
    progress: &(impl Fn(u64) + Send + Sync),
) -> Option<String> {
    if source.len() != link.size {
        return Some(format!("has {} bytes where it had {}", source.len(), link.size));
    }
    match Box::pin(verify(source, workers, progress)).await {
        Ok(report) => {
            let problem = report.problems.first()?;
            Some(format!("is damaged: {problem}"))
        }
        Err(error) => Some(format!("cannot be read: {error}")),
    }
}

/// Counts the whole, each part of which must lie in its archive.
async fn contents(archive: &Archive, mut counted: Report) -> Result<Report> {
    let Some(chain) = archive.chain() else { return Ok(counted) };
    (counted.entries, counted.files, counted.tables, counted.rows) = (0, 0, 0, 0);
    let mut lengths: HashMap<u32, u64> = HashMap::new();
    let mut names = Seen::default();
    let mut entries = std::pin::pin!(chain.entries());
    while let Some(entry) = entries.try_next().await? {
        if names.again(&entry.path) {
            return Err(Error::hostile(format!("the entry {:?} is there twice", entry.path)));
        }
        for segment in &entry.segments {
            let length = match lengths.get(&segment.archive) {
                Some(length) => *length,
                None => {
                    let length = chain.length(segment.archive).await?;
                    *lengths.entry(segment.archive).or_insert(length)
                }
            };
            if segment.offset.saturating_add(segment.length) > length {
                return Err(Error::hostile(format!(
                    "the entry {:?} lies behind the end of the archive that has it",
                    entry.path
                )));
            }
        }
        counted.count(&entry);
    }
    Ok(counted)
}
