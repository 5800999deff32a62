//! Whether archives are still where they were put, asked at most once a minute each.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::app::App;
use crate::catalog::ArchiveRecord;
use crate::ops::archives;

const MEMORY: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct Presence {
    seen: Mutex<HashMap<Uuid, Instant>>,
}

impl Presence {
    /// True only when the storage answered that the object does not exist; a storage that cannot be
    /// asked proves nothing.
    pub(super) async fn is_gone(&self, app: &App, record: &ArchiveRecord) -> bool {
        if self.seen_lately(record.id) {
            return false;
        }
        let Ok(storage) = archives::storage(app, record) else { return false };
        match storage.size(&record.name).await {
            Ok(None) => true,
            Ok(Some(_)) => {
                self.remember(record.id);
                false
            }
            Err(error) => {
                tracing::warn!(archive = %record.id, %error, "cannot tell whether an archive still exists");
                self.remember(record.id);
                false
            }
        }
    }

    fn seen_lately(&self, id: Uuid) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(&id).is_some_and(|at| at.elapsed() < MEMORY)
    }

    fn remember(&self, id: Uuid) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, at| at.elapsed() < MEMORY);
        seen.insert(id, Instant::now());
    }
}
