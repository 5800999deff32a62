//! Writing an archive into the portal's documents.

use std::sync::Arc;

use bytes::Bytes;

use super::super::upload::{UploadJournal, record};
use super::super::{Remains, StorageError};
use super::Documents;
use super::send::Session;
use super::spool::Spool;
use crate::limits::Rate;

pub(in super::super) struct DocumentsUpload {
    documents: Arc<Documents>,
    name: String,
    journal: Arc<dyn UploadJournal>,
    spool: Spool,
    chunk: u64,
    /// What DocSpace holds of this attempt.
    session: Option<Session>,
}

impl DocumentsUpload {
    pub(super) async fn start(
        documents: Arc<Documents>,
        name: String,
        journal: Arc<dyn UploadJournal>,
    ) -> Result<Self, StorageError> {
        documents.folder()?;
        // Also shows what is wrong with address and credential before any work is done.
        let chunk = documents.api.chunk_size().await?;
        let spool = Spool::new(&documents.temp_dir).await?;
        record(journal.as_ref(), &name, String::new()).await?;
        Ok(Self { documents, name, journal, spool, chunk, session: None })
    }

    pub(in super::super) async fn write(&mut self, bytes: Bytes) -> Result<(), StorageError> {
        self.spool.append(bytes).await
    }

    pub(in super::super) fn tell(
        &mut self,
        rate: &Rate,
        told: impl Fn(u64) + Send + Sync + 'static,
    ) {
        self.spool.tell(rate, told);
    }

    pub(in super::super) async fn complete(mut self) -> Result<String, StorageError> {
        let result = self.finish().await;
        match &result {
            Ok(_) => self.session = None,
            Err(_) => {
                if let Err(error) = self.remove().await {
                    warn(&self.name, &error);
                }
            }
        }
        result
    }

    async fn finish(&mut self) -> Result<String, StorageError> {
        let documents = Arc::clone(&self.documents);
        let (api, size) = (&documents.api, self.spool.len());
        let session = Session::create(api, documents.folder()?, &self.name, size).await?;
        self.session = Some(session.clone());
        record(self.journal.as_ref(), &self.name, format!("session:{size}:{}", session.id)).await?;
        let id = match session.send(api, &self.name, &self.spool, self.chunk).await {
            Ok(id) => id,
            // Perhaps only the answer was lost.
            Err(error @ StorageError::Unavailable(_)) => {
                made(&documents, &self.name, size).await.ok().flatten().ok_or(error)?
            }
            Err(error) => return Err(error),
        };
        record(self.journal.as_ref(), &self.name, format!("file:{id}")).await?;
        Ok(id)
    }

    pub(in super::super) async fn abort(mut self) -> Result<(), StorageError> {
        self.remove().await
    }

    async fn remove(&mut self) -> Result<(), StorageError> {
        match self.session.take() {
            Some(session) => undo(&self.documents, &session, &self.name, self.spool.len()).await,
            None => Ok(()),
        }
    }
}

impl Drop for DocumentsUpload {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else { return };
        // Without a runtime, as at the end of the process, the next start cleans.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (documents, name) = (Arc::clone(&self.documents), std::mem::take(&mut self.name));
        let size = self.spool.len();
        runtime.spawn(async move {
            if let Err(error) = undo(&documents, &session, &name, size).await {
                warn(&name, &error);
            }
        });
    }
}

fn warn(name: &str, error: &StorageError) {
    tracing::warn!(%error, name, "an upload to DocSpace was given up, and chunks of it may remain");
}

/// Removes the session, and the file if it was made all the same.
async fn undo(
    documents: &Documents,
    session: &Session,
    name: &str,
    size: u64,
) -> Result<(), StorageError> {
    session.abort(&documents.api).await?;
    match made(documents, name, size).await? {
        Some(id) => documents.remove(&id).await,
        None => Ok(()),
    }
}

/// The file of an attempt whose end is not known: the name was free when it began, and nobody else makes
/// a file of this very size under it.
async fn made(
    documents: &Documents,
    name: &str,
    size: u64,
) -> Result<Option<String>, StorageError> {
    let ours = |file: &super::FileInfo| file.title == name && file.size == size;
    let found = documents.api.find(documents.folder()?, ours).await?;
    Ok(found.map(|file| file.id))
}

/// Removes what a dead attempt left.
pub(super) async fn clean(documents: &Documents, remains: &Remains) -> Result<(), StorageError> {
    let id = remains.upload_id.as_deref().unwrap_or_default();
    if let Some(file) = id.strip_prefix("file:") {
        return match documents.api.file(file).await? {
            Some(_) => documents.remove(file).await,
            None => Ok(()),
        };
    }
    let session = id.strip_prefix("session:").and_then(|rest| rest.split_once(':'));
    let Some((Ok(size), session)) = session.map(|(size, id)| (size.parse::<u64>(), id)) else {
        return Ok(());
    };
    let session = Session::known(documents.folder()?, session);
    match undo(documents, &session, &remains.name, size).await {
        // The folder itself is gone.
        Err(StorageError::NotFound(_)) => Ok(()),
        other => other,
    }
}
