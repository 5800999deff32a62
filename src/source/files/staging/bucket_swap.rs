//! The swap in a bucket, its undoing and its end. Nothing can be renamed there: first a copy of everything that will
//! change is kept, then it is changed. What is kept is never written again once anything has changed, so each step can
//! be killed anywhere and asked again.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::Error;
use object_store::path::Path;

use super::bucket::{Record, get, journal, journal_parts, put};
use super::keys::Keys;
use super::upload::{self, MAX_COPY, Target};
use crate::source::files::FilesError;
use crate::source::files::store::Bucket;
use crate::source::restore::{AttemptId, RestoreError, Staged};

/// How many objects are copied at once.
const CONCURRENT: usize = 16;

pub struct BucketStaged {
    bucket: Arc<Bucket>,
    pub keys: Keys,
    /// What is larger is read and written anew.
    pub max_copy: u64,
}

impl BucketStaged {
    pub fn new(bucket: Arc<Bucket>, attempt: &AttemptId) -> Self {
        let keys = Keys::new(bucket.prefix(), attempt);
        Self { bucket, keys, max_copy: MAX_COPY }
    }

    /// Copies what is at one key to another; false when there is nothing.
    async fn copy(&self, from: &Path, to: &Path, path: &str) -> Result<bool, FilesError> {
        let target = Target { bucket: &self.bucket, keys: &self.keys, key: to, path };
        upload::copy(target, from, self.max_copy).await
    }

    async fn swap_in(&self) -> Result<(), FilesError> {
        let Some(parts) = journal_parts(&self.bucket, &self.keys).await? else { return Ok(()) };
        if get(&self.bucket, &self.keys.swapped()).await?.is_some() {
            return Ok(());
        }
        if get(&self.bucket, &self.keys.kept()).await?.is_none() {
            self.each(parts, |record| self.keep(record)).await?;
            put(&self.bucket, &self.keys.kept(), Bytes::new()).await?;
        }
        self.each(parts, |record| self.change(record)).await?;
        put(&self.bucket, &self.keys.swapped(), Bytes::new()).await
    }

    /// What [`Staged::roll_back`] does.
    pub async fn undo(&self) -> Result<(), FilesError> {
        if let Some(parts) = journal_parts(&self.bucket, &self.keys).await?
            && get(&self.bucket, &self.keys.kept()).await?.is_some()
        {
            upload::delete(&self.bucket, &self.keys.swapped()).await?;
            self.each(parts, |record| self.put_back(record)).await?;
        }
        self.drop_all().await
    }

    async fn each<F: Future<Output = Result<(), FilesError>>>(
        &self,
        parts: u64,
        work: impl FnMut(Record) -> F,
    ) -> Result<(), FilesError> {
        journal(&self.bucket, &self.keys, parts).try_for_each_concurrent(CONCURRENT, work).await
    }

    async fn keep(&self, record: Record) -> Result<(), FilesError> {
        let (live, old) = (self.keys.live(&record.path)?, self.keys.old(&record.path)?);
        self.copy(&live, &old, &record.path).await.map(drop)
    }

    async fn change(&self, record: Record) -> Result<(), FilesError> {
        let live = self.keys.live(&record.path)?;
        if !record.staged {
            return self.bucket.delete(&record.path).await;
        }
        let new = self.keys.staged(&record.path)?;
        match self.copy(&new, &live, &record.path).await? {
            true => Ok(()),
            false => Err(FilesError::NotFound { path: new.to_string() }),
        }
    }

    async fn put_back(&self, record: Record) -> Result<(), FilesError> {
        let (live, old) = (self.keys.live(&record.path)?, self.keys.old(&record.path)?);
        let was_there = self.copy(&old, &live, &record.path).await?;
        // What was not there before and is not ours came later.
        if !was_there && record.staged {
            self.bucket.delete(&record.path).await?;
        }
        Ok(())
    }

    /// Without its journal, what is staged or kept means nothing more: that goes first.
    async fn drop_all(&self) -> Result<(), FilesError> {
        for marker in [self.keys.ready(), self.keys.kept(), self.keys.swapped()] {
            upload::delete(&self.bucket, &marker).await?;
        }
        upload::abort_all(&self.bucket, &self.keys).await?;
        let store = self.bucket.store();
        let all = store.list(Some(self.keys.attempt())).map_ok(|object| object.location);
        let mut deleted = store.delete_stream(all.boxed());
        while let Some(result) = deleted.next().await {
            match result {
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => {
                    return Err(self.bucket.unwritable(self.keys.attempt().as_ref(), &error));
                }
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Staged for BucketStaged {
    async fn swap(&self) -> Result<(), RestoreError> {
        Ok(self.swap_in().await?)
    }

    async fn roll_back(&self) -> Result<(), RestoreError> {
        Ok(self.undo().await?)
    }

    async fn finish(&self) -> Result<(), RestoreError> {
        self.swap_in().await?;
        Ok(self.drop_all().await?)
    }
}
