//! The swap in a bucket, its undoing and its end. Nothing can be renamed there: first a copy of everything that will
//! change is kept, then it is changed. What is kept is never written again once anything has changed, so each step can
//! be killed anywhere and asked again.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::{Error, ObjectStore};

use super::bucket::{Record, get, journal, journal_parts, put};
use super::keys::Keys;
use super::upload::{self, MAX_COPY, failed};
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

    fn store(&self) -> &dyn ObjectStore {
        self.bucket.store()
    }

    async fn swap_in(&self) -> Result<(), FilesError> {
        let Some(parts) = journal_parts(self.store(), &self.keys).await? else { return Ok(()) };
        if get(self.store(), &self.keys.swapped()).await?.is_some() {
            return Ok(());
        }
        if get(self.store(), &self.keys.kept()).await?.is_none() {
            self.each(parts, |record| self.keep(record)).await?;
            put(self.store(), &self.keys.kept(), Bytes::new()).await?;
        }
        self.each(parts, |record| self.change(record)).await?;
        put(self.store(), &self.keys.swapped(), Bytes::new()).await
    }

    /// What [`Staged::roll_back`] does.
    pub async fn undo(&self) -> Result<(), FilesError> {
        if let Some(parts) = journal_parts(self.store(), &self.keys).await?
            && get(self.store(), &self.keys.kept()).await?.is_some()
        {
            upload::delete(self.store(), &self.keys.swapped()).await?;
            self.each(parts, |record| self.put_back(record)).await?;
        }
        self.drop_all().await
    }

    async fn each<F: Future<Output = Result<(), FilesError>>>(
        &self,
        parts: u64,
        work: impl FnMut(Record) -> F,
    ) -> Result<(), FilesError> {
        journal(self.store(), &self.keys, parts).try_for_each_concurrent(CONCURRENT, work).await
    }

    async fn keep(&self, record: Record) -> Result<(), FilesError> {
        let (live, old) = (self.keys.live(&record.path)?, self.keys.old(&record.path)?);
        upload::copy(self.store(), &live, &old, self.max_copy).await.map(drop)
    }

    async fn change(&self, record: Record) -> Result<(), FilesError> {
        let live = self.keys.live(&record.path)?;
        if !record.staged {
            return self.remove(&record.path).await;
        }
        let new = self.keys.staged(&record.path)?;
        match upload::copy(self.store(), &new, &live, self.max_copy).await? {
            true => Ok(()),
            false => Err(FilesError::NotFound { path: new.to_string() }),
        }
    }

    async fn put_back(&self, record: Record) -> Result<(), FilesError> {
        let (live, old) = (self.keys.live(&record.path)?, self.keys.old(&record.path)?);
        let was_there = upload::copy(self.store(), &old, &live, self.max_copy).await?;
        // What was not there before and is not ours came later.
        if !was_there && record.staged {
            self.remove(&record.path).await?;
        }
        Ok(())
    }

    async fn remove(&self, path: &str) -> Result<(), FilesError> {
        self.bucket.delete(path).await.map_err(|error| failed(path, error))
    }

    /// Without its journal, what is staged or kept means nothing more: that goes first.
    async fn drop_all(&self) -> Result<(), FilesError> {
        for marker in [self.keys.ready(), self.keys.kept(), self.keys.swapped()] {
            upload::delete(self.store(), &marker).await?;
        }
        let all = self.store().list(Some(self.keys.attempt())).map_ok(|object| object.location);
        let mut deleted = self.store().delete_stream(all.boxed());
        while let Some(result) = deleted.next().await {
            match result {
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(failed(self.keys.attempt().as_ref(), error)),
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
