//! What is configured, and what a request may name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use url::Url;

use super::allow::{AllowList, Prefix};
use super::cloud::Cloud;
use super::consumer::{ConsumerSecrets, Remembered};
use super::documents::Portal;
use super::folder::Folder;
use super::location::{self, Location};
use super::params;
use super::{Storage, StorageError, StorageParams, StorageType};
use crate::cloud::Place;
use crate::config::{Config, Options, UrlConfig};

mod consumer;
mod custom;
mod documents;
mod modules;

/// A folder of the local root for archives being uploaded; no request may name it as a storage.
pub const UPLOADS: &str = ".uploads";

/// All storages of a configuration.
pub struct Storages {
    root: PathBuf,
    /// `root` without symbolic links, when it exists.
    real_root: Option<PathBuf>,
    allow: AllowList,
    allow_credentials: bool,
    max_parts: u32,
    custom_cloud: Option<Configured>,
    data_store: Configured,
    /// Where each finished archive is sent beside, by name.
    copies: Vec<(String, Configured)>,
    /// By their names in lower case.
    consumers: BTreeMap<String, Options>,
    secrets: Option<Arc<Remembered>>,
    /// DocSpace itself, when its address is configured.
    portal: Option<Portal>,
}

/// A storage of the configuration, with what variants of it are made from.
struct Configured {
    url: Url,
    options: Options,
    storage: Storage,
}

impl Storages {
    /// Checks URLs and options. Asks no storage anything.
    pub fn new(config: &Config) -> Result<Self, StorageError> {
        let storage = &config.storage;
        let root = std::path::absolute(&storage.local.root).map_err(|error| {
            StorageError::Configuration(format!("storage.local.root is not a path: {error}"))
        })?;
        let max_parts = storage.max_parts;
        let configured = |section: &str, config: &UrlConfig| {
            Configured::new(config, max_parts).map_err(|error| {
                StorageError::Configuration(format!("[storage.{section}]: {error}"))
            })
        };
        let custom_cloud = storage.custom_cloud.as_ref();
        let data_store = match &storage.data_store {
            Some(config) => configured("data_store", config)?,
            // So that DataStore works where nothing is configured; below the root, which must be
            // writable anyway.
            None => {
                let folder = Folder::new(root.clone(), vec!["datastore".to_owned()], false)?;
                let url = folder.url().clone();
                Configured { url, options: Options::default(), storage: Storage::folder(folder) }
            }
        };
        let copies = storage.copy.iter().map(|copy| {
            let copied = Configured::new(&copy.place(), max_parts);
            let copied = copied.map_err(|error| {
                let name = &copy.name;
                StorageError::Configuration(format!("[[storage.copy]] {name:?}: {error}"))
            });
            Ok((copy.name.clone(), copied?))
        });
        let consumers = config.consumers.iter();
        let storages = Self {
            real_root: root.canonicalize().ok(),
            root,
            allow: AllowList::new(&storage.allow)?,
            allow_credentials: storage.allow_request_credentials,
            max_parts,
            custom_cloud: custom_cloud.map(|c| configured("custom_cloud", c)).transpose()?,
            data_store,
            copies: copies.collect::<Result<_, StorageError>>()?,
            consumers: consumers.map(|(name, o)| (name.to_ascii_lowercase(), o.clone())).collect(),
            secrets: None,
            portal: Portal::of(&config.portal.docspace, &config.backup.temp_dir)?,
        };
        storages.check_consumers()?;
        storages.check_copies()?;
        Ok(storages)
    }

    /// A copy where the archives themselves lie, or another copy, would be lost with it.
    fn check_copies(&self) -> Result<(), StorageError> {
        let local = Folder::new(self.root.clone(), Vec::new(), false)?.url().clone();
        let mut taken = vec![("storage.local.root".to_owned(), Where::Folder(local))];
        let main =
            [("custom_cloud", self.custom_cloud.as_ref()), ("data_store", Some(&self.data_store))];
        for (section, storage) in main {
            taken.extend(storage.map(|storage| (format!("[storage.{section}]"), storage.at())));
        }
        for (name, copy) in &self.copies {
            let at = copy.at();
            if let Some((other, _)) = taken.iter().find(|(_, taken)| taken.is(&at)) {
                return Err(StorageError::Configuration(format!(
                    "[[storage.copy]] {name:?} is the same place as {other}: a copy must lie elsewhere"
                )));
            }
            taken.push((format!("[[storage.copy]] {name:?}"), at));
        }
        Ok(())
    }

    /// Also knows the consumers whose credentials lie elsewhere than in the configuration.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Arc<dyn ConsumerSecrets>) -> Self {
        self.secrets = Some(Arc::new(Remembered::new(secrets)));
        self
    }

    /// The folder that every `Local` path lies under.
    pub fn local_root(&self) -> &Path {
        &self.root
    }

    /// The storage that a request names. Every check of what a request may name is here; no storage is
    /// asked anything (of a local path, links are looked for).
    pub fn resolve(
        &self,
        kind: StorageType,
        params: &StorageParams,
    ) -> Result<Storage, StorageError> {
        match kind {
            StorageType::Local => self.local(params::find(params, &["filepath"])?.unwrap_or("")),
            StorageType::CustomCloud => self.custom_cloud(params),
            StorageType::DataStore => Ok(self.data_store.storage.clone()),
            StorageType::Documents | StorageType::ThirdpartyDocuments => {
                self.documents(kind, params)
            }
            StorageType::ThirdPartyConsumer => self.consumer(params),
        }
    }

    /// The storage and the name of an archive that a request names as DocSpace does: by the storage, and
    /// by a path or name in it (`filePath`). What may not be named is refused; nothing is asked.
    pub fn archive_at(
        &self,
        kind: StorageType,
        params: &StorageParams,
        path: &str,
    ) -> Result<(Storage, String), StorageError> {
        let (folder, name) = match kind {
            StorageType::Local | StorageType::ThirdPartyConsumer => {
                path.rsplit_once('/').map_or(("", path), |(folder, name)| {
                    (if folder.is_empty() && path.starts_with('/') { "/" } else { folder }, name)
                })
            }
            StorageType::Documents | StorageType::ThirdpartyDocuments => {
                return self.document_at(kind, params, path);
            }
            _ => ("", path),
        };
        let storage = match kind {
            StorageType::Local => self.local(folder)?,
            StorageType::ThirdPartyConsumer => {
                let mut params = params.clone();
                params::started_by_hand(kind, &mut params);
                params::descend(&mut params, "subdir", folder);
                self.consumer(&params)?
            }
            other => self.resolve(other, params)?,
        };
        super::name::check(name)?;
        Ok((storage, name.to_owned()))
    }

    /// The storage and the name of an archive that a request names by its URL: within a configured storage,
    /// or where `storage.allow` lets it. A copy's own address counts too: it is what is left when the archive is not.
    pub fn by_allowed_url(&self, url: &Url) -> Result<(Storage, String), StorageError> {
        let (folder, name) = split(url)?;
        let place = Prefix::new(&folder)?;
        for (_, copy) in &self.copies {
            let at = copy.prefix()?;
            if at.contains(&place) && place.contains(&at) {
                return Ok((copy.storage.clone(), name));
            }
        }
        let (kind, params) = self.named(&folder)?;
        Ok((self.resolve(kind, &params)?, name))
    }

    /// What a request would name a folder or prefix by: it lies within a configured storage, or where
    /// `storage.allow` lets it.
    pub fn named(&self, folder: &Url) -> Result<(StorageType, StorageParams), StorageError> {
        let place = Prefix::new(folder)?;
        let own = self.data_store.prefix()?;
        if own.contains(&place) && place.contains(&own) {
            return Ok((StorageType::DataStore, StorageParams::new()));
        }
        let roots = [Some(&self.root), self.real_root.as_ref()];
        if let Location::Folder(path) = location::parse(folder)?
            && let Some(below) =
                roots.into_iter().flatten().find_map(|root| path.strip_prefix(root).ok())
        {
            let below = below.to_string_lossy().into_owned();
            let path = Some(("filePath".to_owned(), below)).filter(|(_, path)| !path.is_empty());
            return Ok((StorageType::Local, path.into_iter().collect()));
        }
        let params = StorageParams::from([("url".to_owned(), folder.to_string())]);
        self.custom_cloud(&params).map_err(|error| match error {
            error if error.is_bad_request() => StorageError::Invalid(format!(
                "url: {} lies in no configured storage, and storage.allow does not name it",
                location::redacted(folder)
            )),
            other => other,
        })?;
        Ok((StorageType::CustomCloud, params))
    }

    /// The storage and the name of an archive that the operator names by its URL: nothing is refused.
    /// Options come from the configured storage of the same bucket, else from the environment.
    pub fn by_url(&self, url: &Url) -> Result<(Storage, String), StorageError> {
        let (folder, name) = split(url)?;
        Ok((self.folder_by_url(&folder)?, name))
    }

    /// The storage that the operator names by the URL of the folder or prefix.
    pub fn folder_by_url(&self, url: &Url) -> Result<Storage, StorageError> {
        let bucket = match location::parse(url)? {
            Location::Folder(path) => return Ok(Storage::folder(Folder::new(path, vec![], true)?)),
            Location::Bucket(bucket) => bucket,
        };
        let copies = self.copies.iter().map(|(_, copy)| copy);
        let all = self.custom_cloud.iter().chain([&self.data_store]).chain(copies);
        let configured = all.into_iter().find(|configured| {
            matches!(location::parse(&configured.url), Ok(Location::Bucket(other)) if other.root == bucket.root)
        });
        let none = Options::default();
        let (options, environment) = match configured {
            Some(configured) => (&configured.options, false),
            None => (&none, true),
        };
        Ok(Storage::cloud(Cloud::new(&bucket, options, environment, self.max_parts)?))
    }

    /// A further storage for finished archives, by its name.
    pub fn copy(&self, name: &str) -> Option<&Storage> {
        self.copies.iter().find(|(own, _)| own == name).map(|(_, copy)| &copy.storage)
    }

    /// The names of the further storages.
    pub fn copy_names(&self) -> Vec<String> {
        self.copies.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Every storage that the configuration names, `Local` by its root.
    pub fn all_configured(&self) -> Vec<(StorageType, Storage)> {
        let local = self.local("").ok().map(|storage| (StorageType::Local, storage));
        let cloud = self.custom_cloud.as_ref();
        local
            .into_iter()
            .chain(cloud.map(|cloud| (StorageType::CustomCloud, cloud.storage.clone())))
            .chain([(StorageType::DataStore, self.data_store.storage.clone())])
            .collect()
    }

    /// A `Local` path: below the root, whatever it tries.
    fn local(&self, path: &str) -> Result<Storage, StorageError> {
        let invalid = |why: String| StorageError::Invalid(format!("filePath {path:?}: {why}"));
        let drive = path.as_bytes().get(1) == Some(&b':')
            && path.as_bytes().first().is_some_and(u8::is_ascii_alphabetic);
        if drive {
            return Err(invalid("a Windows path; write a path of this server, with /".to_owned()));
        }
        let mut below = Vec::new();
        for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
            if let Some(fault) = location::fault(part) {
                return Err(invalid(fault.to_owned()));
            }
            below.push(part.to_owned());
        }
        if path.starts_with('/') {
            let absolute: PathBuf = Path::new("/").join(below.iter().collect::<PathBuf>());
            let beneath = [Some(&self.root), self.real_root.as_ref()]
                .into_iter()
                .flatten()
                .find_map(|root| absolute.strip_prefix(root).ok())
                .ok_or_else(|| {
                    invalid(format!(
                        "it must lie under {}, or be relative to it",
                        self.root.display()
                    ))
                })?;
            let skip = below.len() - beneath.components().count();
            below.drain(..skip);
        }
        if below.first().is_some_and(|part| part == UPLOADS) {
            return Err(invalid("this folder holds uploads, not archives".to_owned()));
        }
        let folder = Folder::new(self.root.clone(), below, false)?;
        folder.check()?;
        Ok(Storage::folder(folder))
    }
}

/// An archive's URL as that of its folder, and its name.
fn split(url: &Url) -> Result<(Url, String), StorageError> {
    let mut parts = location::components(url)?;
    let name = parts.pop().filter(|_| !url.path().ends_with('/')).ok_or_else(|| {
        StorageError::Invalid(format!("{} names no archive", location::redacted(url)))
    })?;
    super::name::check(&name)?;
    let mut folder = url.clone();
    if let Ok(mut segments) = folder.path_segments_mut() {
        segments.pop();
    }
    Ok((folder, name))
}

impl Configured {
    fn new(config: &UrlConfig, max_parts: u32) -> Result<Self, StorageError> {
        let storage = match location::parse(&config.url)? {
            Location::Folder(path) => {
                if let Some((name, _)) = config.options.iter().next() {
                    return Err(StorageError::Configuration(format!(
                        "{}: a folder has no option {name:?}",
                        config.url
                    )));
                }
                Storage::folder(Folder::new(path, Vec::new(), false)?)
            }
            Location::Bucket(bucket) => {
                Storage::cloud(Cloud::new(&bucket, &config.options, false, max_parts)?)
            }
        };
        Ok(Self { url: config.url.clone(), options: config.options.clone(), storage })
    }

    fn prefix(&self) -> Result<Prefix, StorageError> {
        Prefix::new(&self.url)
    }

    fn at(&self) -> Where {
        let url = self.storage.url().clone();
        match Place::of(&url, &self.options) {
            Some(bucket) => Where::Bucket(bucket, url.path().to_owned()),
            None => Where::Folder(url),
        }
    }
}

/// Where a storage's archives lie.
enum Where {
    Folder(Url),
    /// And below what.
    Bucket(Place, String),
}

impl Where {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Folder(one), Self::Folder(other)) => one == other,
            (Self::Bucket(one, below), Self::Bucket(other, below_other)) => {
                one.is(other) && below == below_other
            }
            _ => false,
        }
    }
}
