//! What is polled: a tenant's history and the links of finished backups. However many ask, the catalog is
//! asked a few times a second; a change by this process, and the end of any job, is seen at once.

use std::sync::{Arc, Weak};
use std::time::Duration;

use url::Url;
use uuid::Uuid;

use super::{OpError, archives};
use crate::app::App;
use crate::catalog::{ArchiveRecord, Cache};

const KEEP: Duration = Duration::from_millis(250);
const STALE: Duration = Duration::from_secs(1);
const REMEMBERED: usize = 1024;

/// A tenant's archives, newest first.
pub type History = Arc<[ArchiveRecord]>;
type Answers<K, V> = Cache<K, Result<V, SharedError>>;

pub struct Recent {
    app: Weak<App>,
    histories: Answers<(i64, Option<bool>), History>,
    links: Answers<Uuid, Option<Url>>,
}

impl Recent {
    pub fn new(app: Weak<App>) -> Self {
        Self {
            app,
            histories: Cache::new(KEEP, STALE, REMEMBERED).lasting(Result::is_ok),
            links: Cache::new(KEEP, STALE, REMEMBERED).lasting(Result::is_ok),
        }
    }

    /// See [`archives::history`].
    pub async fn history(&self, tenant_id: i64, dump: Option<bool>) -> Result<History, OpError> {
        let app = self.app()?;
        let load = {
            let app = app.clone();
            || async move { archives::history(&app, tenant_id, dump).await.map_err(SharedError::from) }
        };
        Ok(self.histories.get((tenant_id, dump), || epoch(&app), load).await?)
    }

    /// The download address of an archive; None when it was deleted.
    pub async fn link(&self, archive: Uuid) -> Result<Option<Url>, OpError> {
        let app = self.app()?;
        let load = {
            let app = app.clone();
            || async move { link(&app, archive).await.map_err(SharedError::from) }
        };
        Ok(self.links.get(archive, || epoch(&app), load).await?)
    }

    fn app(&self) -> Result<Arc<App>, OpError> {
        let gone = || OpError::Unavailable("The service is stopping".to_owned());
        self.app.upgrade().ok_or_else(gone)
    }
}

/// Both parts only ever rise, so their sum changes whenever one does.
fn epoch(app: &App) -> u64 {
    app.catalog.archives_epoch().wrapping_add(app.queue.last_finish())
}

async fn link(app: &App, archive: Uuid) -> Result<Option<Url>, OpError> {
    match archives::get(app, None, archive).await {
        Ok(archive) => archives::link(app, &archive).await.map(Some),
        Err(OpError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// An error that several callers are told.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
struct SharedError(Arc<OpError>);

impl From<OpError> for SharedError {
    fn from(error: OpError) -> Self {
        Self(Arc::new(error))
    }
}

impl From<SharedError> for OpError {
    fn from(error: SharedError) -> Self {
        match &*error.0 {
            Self::Invalid(text) => Self::Invalid(text.clone()),
            Self::NotFound(text) => Self::NotFound(text.clone()),
            Self::Forbidden => Self::Forbidden,
            Self::Locked(text) => Self::Locked(text.clone()),
            Self::Conflict(text) => Self::Conflict(text.clone()),
            Self::Unavailable(text) => Self::Unavailable(text.clone()),
            Self::Internal(_) => Self::internal(error),
        }
    }
}
