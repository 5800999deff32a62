//! Whether archives are still where they were put, asked at most once a minute each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use jiff::Timestamp;
use uuid::Uuid;

use crate::app::App;
use crate::catalog::ArchiveRecord;
use crate::ops::archives;

const MEMORY: Duration = Duration::from_secs(60);
/// What is gone may be brought back by hand, and then it is waited for.
const MEMORY_OF_LOSS: Duration = Duration::from_secs(2);
/// How many storages are asked at once.
const LOOKUPS: usize = 8;
/// How long a request waits for slow storages; it is answered with what the catalog knows then.
const PATIENCE: Duration = Duration::from_millis(500);

#[derive(Default)]
pub struct Presence {
    seen: Mutex<HashMap<Uuid, Seen>>,
    /// Held by who asks the storages.
    asking: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone, Copy)]
struct Seen {
    at: Instant,
    is_gone: bool,
}

impl Presence {
    /// Those whose objects are there, and those whose are gone. Notes in the catalog what has changed.
    pub(super) async fn partition(
        &self,
        app: &Arc<App>,
        records: Vec<ArchiveRecord>,
    ) -> (Vec<ArchiveRecord>, Vec<ArchiveRecord>) {
        let unknown: Vec<_> =
            records.iter().filter(|record| self.seen(record.id).is_none()).cloned().collect();
        if let (false, Ok(asking)) = (unknown.is_empty(), self.asking.clone().try_lock_owned()) {
            let app = app.clone();
            // Goes on when nobody waits any more.
            let all = tokio::spawn(async move {
                let looks = unknown.into_iter().map(|record| look(&app, record));
                futures::stream::iter(looks).buffer_unordered(LOOKUPS).for_each(|_| async {}).await;
                drop(asking);
            });
            let _ = tokio::time::timeout(PATIENCE, all).await;
        }
        let is_there = |record: &ArchiveRecord| {
            !self.seen(record.id).unwrap_or_else(|| record.missing_since.is_some())
        };
        records.into_iter().partition(is_there)
    }

    /// Whether the object was gone when it was last looked for; None: that was too long ago.
    fn seen(&self, id: Uuid) -> Option<bool> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(&id).filter(|seen| seen.is_fresh()).map(|seen| seen.is_gone)
    }

    fn remember(&self, id: Uuid, is_gone: bool) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, seen| seen.is_fresh());
        seen.insert(id, Seen { at: Instant::now(), is_gone });
    }
}

impl Seen {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() < if self.is_gone { MEMORY_OF_LOSS } else { MEMORY }
    }
}

/// Looks for one archive, and notes a change. False: it is gone. An archive is gone only when its storage answered so; a
/// storage that cannot be asked proves nothing.
pub(super) async fn look(app: &App, record: ArchiveRecord) -> bool {
    let found = match archives::storage(app, &record) {
        Ok(storage) => storage.size(&record.name).await.map(Some),
        Err(_) => Ok(None),
    };
    let found = found.unwrap_or_else(|error| {
        tracing::warn!(archive = %record.id, %error, "cannot tell whether an archive still exists");
        None
    });
    let is_there = found.map_or(record.missing_since.is_none(), |size| size.is_some());
    // Taken over from DocSpace while its storage did not answer.
    if let (0, Some(Some(size))) = (record.size, found)
        && let Err(error) = app.catalog.archives().set_size(record.id, size).await
    {
        tracing::warn!(archive = %record.id, %error, "cannot note the size of an archive");
    }
    let noted = match (is_there, record.missing_since) {
        (false, None) => {
            tracing::warn!(archive = %record.id, name = record.name, "an archive is gone from its storage");
            app.catalog.archives().mark_missing(record.id, Timestamp::now()).await.map(drop)
        }
        (true, Some(_)) => app.catalog.archives().mark_found(record.id).await,
        _ => Ok(()),
    };
    if let Err(error) = noted {
        tracing::warn!(archive = %record.id, %error, "cannot note whether an archive still exists");
    }
    app.presence.remember(record.id, !is_there);
    is_there
}
