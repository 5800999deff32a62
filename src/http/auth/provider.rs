//! What is known of an identity provider: its keys, and where it may be asked about a token.
//!
//! A key set is fetched when it is needed, kept for a while, and fetched again when a token names a key
//! that it lacks (keys rotate), but never more often than every few seconds, whatever tokens come. While a
//! provider cannot be reached or talks nonsense, its last good keys are used, for a bounded time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;
use url::Url;

use super::fetch::{FetchError, Fetcher};
use super::keys::{KeySet, KeySetError};
use crate::config::JwtConfig;

/// Cheap to clone.
#[derive(Clone)]
pub struct Provider(Arc<Inner>);

struct Inner {
    fetcher: Fetcher,
    issuer: String,
    place: Place,
    ttl: Duration,
    retry: Duration,
    stale: Duration,
    state: Mutex<State>,
    /// Held while something is fetched.
    fetching: tokio::sync::Mutex<()>,
}

enum Place {
    /// Where the provider describes itself.
    Discovery(Url),
    Keys(Url),
}

#[derive(Default)]
struct State {
    known: Option<Known>,
    tried: Option<Instant>,
}

#[derive(Clone)]
struct Known {
    keys: Arc<KeySet>,
    introspection: Option<Url>,
    loaded: Instant,
}

#[derive(Debug, thiserror::Error)]
enum ProviderError {
    #[error("{0}: {1}")]
    Fetch(Url, FetchError),
    #[error("{0}: {1}")]
    Keys(Url, KeySetError),
    #[error("{0} describes the issuer {1:?}, not {2:?}")]
    Issuer(Url, String, String),
    #[error("{0} names no jwks_uri that can be used")]
    NoKeys(Url),
}

/// There are no keys to check anything with.
#[derive(Debug, PartialEq, Eq)]
pub struct NoKeys;

impl Provider {
    pub fn new(config: &JwtConfig, fetcher: Fetcher) -> Result<Self, String> {
        let place = match &config.jwks_url {
            Some(url) => Place::Keys(url.clone()),
            None => Place::Discovery(config.discovery_url()?),
        };
        Ok(Self(Arc::new(Inner {
            fetcher,
            issuer: config.issuer.clone(),
            place,
            ttl: config.keys_ttl(),
            retry: config.keys_retry(),
            stale: config.keys_stale().max(config.keys_ttl()),
            state: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        })))
    }

    /// The key that a token names. None: the provider has no such key.
    pub async fn key(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Option<DecodingKey>, NoKeys> {
        let find = |known: &Known| known.keys.find(id, algorithm).cloned();
        if let Some(known) = self.known()
            && let Some(key) = find(&known)
        {
            if known.loaded.elapsed() >= self.0.ttl {
                // Nobody waits for that: the key was good a moment ago.
                let provider = self.clone();
                tokio::spawn(async move { provider.refresh(known.loaded).await });
            }
            return Ok(Some(key));
        }
        self.refresh(self.known().map_or_else(Instant::now, |known| known.loaded)).await;
        self.known().as_ref().map(find).ok_or(NoKeys)
    }

    /// Where the provider may be asked about a token, as far as it has said.
    pub async fn introspection(&self) -> Result<Option<Url>, NoKeys> {
        if self.known().is_none() {
            self.refresh(Instant::now()).await;
        }
        self.known().map(|known| known.introspection).ok_or(NoKeys)
    }

    /// What was learnt, unless that was too long ago.
    fn known(&self) -> Option<Known> {
        let known = self.state().known.clone()?;
        (known.loaded.elapsed() < self.0.stale).then_some(known)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches the keys, unless somebody did since `known`, or tried a moment ago.
    async fn refresh(&self, known: Instant) {
        let _fetching = self.0.fetching.lock().await;
        {
            let mut state = self.state();
            if state.known.as_ref().is_some_and(|new| new.loaded > known)
                || state.tried.is_some_and(|tried| tried.elapsed() < self.0.retry)
            {
                return;
            }
            state.tried = Some(Instant::now());
        }
        match self.fetch().await {
            Ok(known) => self.state().known = Some(known),
            Err(error) => {
                tracing::warn!(%error, issuer = self.0.issuer, "cannot get the keys of tokens");
            }
        }
    }

    async fn fetch(&self) -> Result<Known, ProviderError> {
        let loaded = Instant::now();
        let (jwks_url, introspection) = match &self.0.place {
            Place::Keys(url) => (url.clone(), None),
            Place::Discovery(url) => self.discover(url).await?,
        };
        let set = self.get(&jwks_url).await?;
        let keys = KeySet::read(&set).map_err(|error| ProviderError::Keys(jwks_url, error))?;
        Ok(Known { keys: Arc::new(keys), introspection, loaded })
    }

    async fn discover(&self, url: &Url) -> Result<(Url, Option<Url>), ProviderError> {
        let description = self.get(url).await?;
        let text = |name: &str| description.get(name).and_then(Value::as_str).unwrap_or_default();
        // Or a provider could speak for another.
        let issuer = text("issuer");
        if issuer.trim_end_matches('/') != self.0.issuer.trim_end_matches('/') {
            let (theirs, ours) = (issuer.to_owned(), self.0.issuer.clone());
            return Err(ProviderError::Issuer(url.clone(), theirs, ours));
        }
        let address = |name: &str| {
            let address = Url::parse(text(name)).ok()?;
            // What was got safely must not lead to what is not safe.
            let schemes: &[&str] =
                if url.scheme() == "https" { &["https"] } else { &["https", "http"] };
            schemes.contains(&address.scheme()).then_some(address)
        };
        let keys = address("jwks_uri").ok_or_else(|| ProviderError::NoKeys(url.clone()))?;
        Ok((keys, address("introspection_endpoint")))
    }

    async fn get(&self, url: &Url) -> Result<Value, ProviderError> {
        self.0.fetcher.get(url).await.map_err(|error| ProviderError::Fetch(url.clone(), error))
    }
}
