//! How far a copy is: counted while it is made, told live in this process, and written down for others and for later.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use crate::app::App;
use crate::catalog::IndexCopy;
use crate::ops::OpError;

/// How often it is written down.
const EVERY: Duration = Duration::from_millis(500);

/// The figures of one run.
#[derive(Debug)]
pub struct Record(Mutex<IndexCopy>);

/// The copy that this process makes of a job, if it does.
pub fn live(app: &App, job: Uuid) -> Option<IndexCopy> {
    let live = app.index_copy.lock().unwrap_or_else(PoisonError::into_inner);
    live.as_ref().filter(|(id, _)| *id == job).map(|(_, record)| record.now())
}

impl Record {
    /// Begins: what an earlier run of the same job noted is forgotten.
    pub async fn begin(app: &App, job_id: Uuid, target: &str) -> Result<Arc<Self>, OpError> {
        let started_on = Some(Timestamp::now());
        let copy =
            IndexCopy { job_id, target: target.to_owned(), started_on, ..Default::default() };
        let copies = app.catalog.index_copies();
        copies.insert(job_id, target).await?;
        copies.save(&copy).await?;
        let record = Arc::new(Self(Mutex::new(copy)));
        let mut live = app.index_copy.lock().unwrap_or_else(PoisonError::into_inner);
        *live = Some((job_id, Arc::clone(&record)));
        Ok(record)
    }

    fn lock(&self) -> MutexGuard<'_, IndexCopy> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now(&self) -> IndexCopy {
        self.lock().clone()
    }

    pub fn expect(&self, files: u64, bytes: u64) {
        let mut copy = self.lock();
        (copy.files, copy.total_bytes) = (files, bytes);
    }

    pub fn file(&self, name: &str) {
        self.lock().current_file = Some(name.to_owned());
    }

    pub fn add(&self, bytes: u64) {
        self.lock().copied_bytes += bytes;
    }

    pub fn file_done(&self) {
        self.lock().copied_files += 1;
    }

    /// Writes it down from time to time, for ever.
    pub async fn keep(&self, app: &App) {
        loop {
            tokio::time::sleep(EVERY).await;
            if let Err(error) = app.catalog.index_copies().save(&self.now()).await {
                tracing::warn!(%error, "how far the copy of the index is could not be written down");
            }
        }
    }

    /// Notes how it ended; None: well.
    pub async fn end(&self, app: &App, message: Option<String>) -> Result<(), OpError> {
        let copy = {
            let mut copy = self.lock();
            copy.current_file = None;
            if message.is_none() {
                copy.finished_on = Some(Timestamp::now());
            }
            copy.message = message;
            copy.clone()
        };
        Ok(app.catalog.index_copies().save(&copy).await?)
    }
}
