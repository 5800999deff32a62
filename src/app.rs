//! The application, built from its configuration; tests start the same object as `main`.

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use url::Url;
use uuid::Uuid;

use crate::catalog::{Catalog, CatalogError};
use crate::config::{Config, ConfigError, PortalConfig};
use crate::encryption::Keys;
use crate::jobs::{Queue, Worker, WorkerHandle, WorkerOptions};
use crate::limits::Limits;
use crate::notify::socket::Socket;
use crate::notify::webhook::Webhook;
use crate::notify::{LogNotifier, Notifier};
use crate::ops::OpError;
use crate::ops::handler::OpsHandler;
use crate::ops::index_copies::Live;
use crate::ops::links::Links;
use crate::ops::presence::Presence;
use crate::ops::recent::Recent;
use crate::ops::scheduler::Scheduling;
use crate::portal::{Portal, PortalError};
use crate::schedule::{Clock, SystemClock};
use crate::seal::{SealError, Sealer};
use crate::storage::{StorageError, StorageParams, Storages, is_secret_param};

/// Everything that requests and jobs share.
pub struct App {
    pub config: Config,
    pub catalog: Catalog,
    pub queue: Queue,
    pub portal: Portal,
    pub storages: Arc<Storages>,
    /// Who archives are encrypted for, and what opens them.
    pub keys: Arc<Keys>,
    pub links: Arc<Links>,
    pub limits: Limits,
    pub presence: Presence,
    /// DocSpace's socket service, when its address is configured.
    pub socket: Option<Arc<Socket>>,
    /// What schedules and retention take for the present.
    pub clock: Arc<dyn Clock>,
    /// Who is told when something went wrong of itself.
    pub notifier: Arc<dyn Notifier>,
    pub(crate) scheduling: Scheduling,
    pub recent: Recent,
    /// Which database or filesystem this is alone, taken for a portal of its own.
    pub single: Option<Uuid>,
    /// The copy of the index that this process makes.
    pub(crate) index_copy: Arc<Live>,
    sealer: Arc<Sealer>,
}

/// Why the application cannot start. All of them are mistakes in the configuration or its surroundings.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Portal(#[from] PortalError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Configuration(#[from] ConfigError),
}

impl App {
    /// Opens the catalog (making or migrating it) and checks every configured URL; connects to no source yet.
    pub async fn build(config: Config) -> Result<Arc<Self>, StartError> {
        let notifier: Arc<dyn Notifier> =
            match Webhook::of(&config.notify).map_err(ConfigError::Invalid)? {
                Some(webhook) => Arc::new(webhook),
                None => Arc::new(LogNotifier),
            };
        Self::build_with(config, Arc::new(SystemClock), notifier).await
    }

    /// The same by another clock, and with others to be told.
    pub async fn build_with(
        config: Config,
        clock: Arc<dyn Clock>,
        notifier: Arc<dyn Notifier>,
    ) -> Result<Arc<Self>, StartError> {
        let sealer = Sealer::new(&crate::seal::load_or_create_secret_key(&config)?)?;
        let keys = Arc::new(Keys::new(&config.encryption).map_err(ConfigError::Invalid)?);
        let storages = Storages::new(&config)?;
        let portal = Portal::open(&config, &[])?;
        let storages = match portal.identity() {
            Some(identity) => storages.with_secrets(Arc::new(identity.clone())),
            None => storages,
        };
        let links = Links::new(public_url(&config)?, &sealer.signing_key("download links")?);
        let links = Arc::new(links);
        let socket = Socket::of(&config.portal.docspace, &links).map_err(ConfigError::Invalid)?;
        let catalog = Catalog::open(&config.catalog.url).await?;
        let limits = Limits::new(&config.limits);
        Ok(Arc::new_cyclic(|app| Self {
            recent: Recent::new(app.clone()),
            queue: Queue::new(catalog.clone()),
            presence: Presence::default(),
            config,
            catalog,
            portal,
            storages: Arc::new(storages),
            keys,
            links,
            limits,
            socket,
            clock,
            notifier,
            scheduling: Scheduling::default(),
            single: None,
            index_copy: Arc::default(),
            sealer: Arc::new(sealer),
        }))
    }

    /// The same application with another portal: what backs up and restores portals does so with one source of it.
    /// `exclude`: storages that may lie in that portal's filesystems.
    pub(crate) fn with_portal(
        &self,
        source: Uuid,
        portal: PortalConfig,
        exclude: &[Url],
    ) -> Result<Arc<Self>, PortalError> {
        let config = Config { portal, ..self.config.clone() };
        let portal = Portal::open(&config, exclude)?;
        Ok(Arc::new_cyclic(|app| Self {
            recent: Recent::new(app.clone()),
            queue: self.queue.clone(),
            presence: Presence::default(),
            config,
            catalog: self.catalog.clone(),
            portal,
            storages: Arc::clone(&self.storages),
            keys: Arc::clone(&self.keys),
            links: Arc::clone(&self.links),
            limits: self.limits.clone(),
            socket: None,
            clock: Arc::clone(&self.clock),
            notifier: Arc::clone(&self.notifier),
            scheduling: Scheduling::default(),
            single: Some(source),
            index_copy: Arc::clone(&self.index_copy),
            sealer: Arc::clone(&self.sealer),
        }))
    }

    /// What an archive's manifest calls the layout: an archive of one source must not be taken for a portal's.
    pub fn layout_name(&self) -> &'static str {
        if self.single.is_some() { "source" } else { self.portal.layout().as_str() }
    }

    /// Starts running queued jobs, until the handle is shut down.
    pub fn start_worker(self: &Arc<Self>, options: WorkerOptions) -> std::io::Result<WorkerHandle> {
        self.portal.sweep_indexes();
        let handler = Arc::new(OpsHandler(Arc::downgrade(self)));
        Worker::start(self.queue.clone(), handler, options)
    }

    /// What opens archives: the configured identities, or those of another file.
    pub fn keys_with(&self, identity_file: Option<&Path>) -> Result<Arc<Keys>, OpError> {
        let Some(path) = identity_file else { return Ok(Arc::clone(&self.keys)) };
        let keys = Keys::new(&self.config.encryption.with_identity_file(path));
        Ok(Arc::new(keys.map_err(OpError::Invalid)?))
    }

    /// The parameters as the catalog may hold them: secrets sealed.
    pub fn seal_params(&self, params: &StorageParams) -> Result<StorageParams, OpError> {
        self.sealer.seal_params(params, is_secret_param).map_err(OpError::internal)
    }

    /// A text as the catalog may hold it.
    pub fn seal_text(&self, text: &str) -> Result<String, OpError> {
        self.sealer.seal(text).map_err(OpError::internal)
    }

    pub fn unseal_text(&self, sealed: &str) -> Result<String, OpError> {
        Ok(self.sealer.unseal(sealed).map_err(OpError::internal)?.expose().to_owned())
    }

    /// Bytes as the catalog may hold them in one place of it.
    pub(crate) fn seal_at(&self, place: &str, bytes: Vec<u8>) -> Result<String, SealError> {
        self.sealer.seal_at(place, bytes)
    }

    pub(crate) fn unseal_at(&self, place: &str, sealed: &str) -> Result<Vec<u8>, SealError> {
        self.sealer.unseal_at(place, sealed)
    }

    /// A name for something that only this installation gives, the same each time.
    pub fn own_id(&self, of: &str) -> Result<Uuid, OpError> {
        let key = self.sealer.signing_key("ids").map_err(OpError::internal)?;
        let digest = Sha256::new_with_prefix(key).chain_update(of.as_bytes()).finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    pub fn unseal_params(&self, params: &StorageParams) -> Result<StorageParams, OpError> {
        self.sealer.unseal_params(params).map_err(OpError::internal)
    }
}

fn public_url(config: &Config) -> Result<Url, StartError> {
    match &config.server.public_url {
        Some(url) => Ok(url.clone()),
        None => Url::parse(&format!("http://{}", config.server.listen))
            .map_err(|error| ConfigError::Invalid(format!("server.listen: {error}")).into()),
    }
}
