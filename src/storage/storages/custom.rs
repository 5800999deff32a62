//! `CustomCloud`: the configured cloud, or what a request makes of it within what is allowed.

use url::Url;

use super::super::allow::Prefix;
use super::super::cloud::Cloud;
use super::super::folder::Folder;
use super::super::location::{self, Bucket, Location};
use super::super::params::find;
use super::super::{Storage, StorageError, StorageParams};
use super::Storages;
use crate::config::Options;

/// The spellings of the option `endpoint`.
const ENDPOINT: [&str; 6] = [
    "aws_endpoint_url_s3",
    "aws_endpoint_url",
    "aws_endpoint",
    "endpoint_url",
    "endpoint",
    "azure_endpoint",
];

/// What of a request concerns the place.
struct Wanted<'a> {
    url: Option<&'a str>,
    bucket: Option<&'a str>,
    endpoint: Option<&'a str>,
    region: Option<&'a str>,
    access_key: Option<&'a str>,
    secret_key: Option<&'a str>,
    token: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    fn of(params: &'a StorageParams) -> Result<Self, StorageError> {
        Ok(Self {
            url: find(params, &["url"])?,
            bucket: find(params, &["bucket", "bucketname"])?,
            endpoint: find(params, &["endpoint", "endpointurl", "serviceurl"])?,
            region: find(params, &["region"])?,
            // The first is DocSpace's spelling.
            access_key: find(params, &["acesskey", "accesskey", "accesskeyid", "awsaccesskeyid"])?,
            secret_key: find(
                params,
                &["secretaccesskey", "secretkey", "secret", "awssecretaccesskey"],
            )?,
            token: find(params, &["sessiontoken", "token", "awssessiontoken"])?,
        })
    }

    fn has_credentials(&self) -> bool {
        self.access_key.is_some() || self.secret_key.is_some() || self.token.is_some()
    }

    fn is_empty(&self) -> bool {
        !self.has_credentials()
            && [self.url, self.bucket, self.endpoint, self.region].iter().all(Option::is_none)
    }
}

pub(super) fn refused(what: &str, value: &str) -> StorageError {
    StorageError::Invalid(format!(
        "storageParams: {what} {value:?} is not allowed by the configuration (storage.allow)"
    ))
}

impl Storages {
    pub(super) fn custom_cloud(&self, params: &StorageParams) -> Result<Storage, StorageError> {
        let wanted = Wanted::of(params)?;
        let configured = self.custom_cloud.as_ref();
        if wanted.is_empty() {
            return configured.map(|cloud| cloud.storage.clone()).ok_or_else(not_configured);
        }
        if wanted.has_credentials() && !self.allow_credentials {
            return Err(StorageError::Invalid(
                "storageParams: credentials in a request are not allowed by the configuration \
                 (storage.allow_request_credentials)"
                    .to_owned(),
            ));
        }
        let url = self.wanted_url(&wanted)?;
        let bucket = match location::parse(&url)? {
            Location::Folder(_) => return self.allowed_folder(&url),
            Location::Bucket(bucket) => bucket,
        };
        let mut options = configured.map(|cloud| cloud.options.clone()).unwrap_or_default();
        let endpoint = self.allowed_endpoint(&wanted, &bucket, &options)?;
        if let Some(region) = wanted.region {
            check_region(region)?;
            set(&mut options, &["aws_region", "region"], "region", region);
        }
        if let Some(endpoint) = &endpoint {
            set(&mut options, &ENDPOINT, "endpoint", endpoint.as_str().trim_end_matches('/'));
            let http = (endpoint.scheme() == "http").to_string();
            set(&mut options, &["aws_allow_http", "allow_http"], "allow_http", &http);
        }
        if wanted.has_credentials() {
            set_credentials(&mut options, &wanted)?;
        }
        let cloud =
            Cloud::new(&bucket, &options, false, self.max_parts).map_err(|error| match error {
                StorageError::Configuration(text) => StorageError::Invalid(text),
                other => other,
            })?;
        Ok(Storage::cloud(cloud))
    }

    /// A place that a request names by its URL, and the options to open it with: within the configured cloud, or
    /// where `storage.allow` lets it.
    pub fn allowed_place(&self, url: &Url) -> Result<(Url, Options), StorageError> {
        let none = StorageParams::new();
        let wanted = Wanted { url: Some(url.as_str()), ..Wanted::of(&none)? };
        let url = self.wanted_url(&wanted)?;
        match location::parse(&url)? {
            Location::Folder(_) => {
                let storage = self.allowed_folder(&url)?;
                Ok((storage.url().clone(), Options::default()))
            }
            Location::Bucket(bucket) => {
                let configured = self.custom_cloud.as_ref();
                let options = configured.map(|c| c.options.clone()).unwrap_or_default();
                self.allowed_endpoint(&wanted, &bucket, &options)?;
                Ok((bucket.url(), options))
            }
        }
    }

    /// The URL that results from the request and the configuration.
    fn wanted_url(&self, wanted: &Wanted<'_>) -> Result<Url, StorageError> {
        let configured = self.custom_cloud.as_ref();
        let mut url = match wanted.url {
            Some(text) => Url::parse(text).map_err(|error| {
                StorageError::Invalid(format!("storageParams: url is not a URL: {error}"))
            })?,
            None => match (configured, wanted.bucket) {
                (Some(cloud), None) => cloud.url.clone(),
                // Another bucket of the configured provider; its prefix belongs to the configured one.
                (_, Some(bucket)) => {
                    let scheme = configured.map_or("s3", |cloud| cloud.url.scheme());
                    if scheme == "file" || !location::is_bucket(bucket) {
                        return Err(StorageError::Invalid(format!(
                            "storageParams: {bucket:?} is not the name of a bucket"
                        )));
                    }
                    if let Some(cloud) = configured.filter(|c| c.url.host_str() == Some(bucket)) {
                        return Ok(cloud.url.clone());
                    }
                    Url::parse(&format!("{scheme}://{bucket}")).map_err(|_| not_configured())?
                }
                (None, None) => return Err(not_configured()),
            },
        };
        if let (Some(bucket), Some(host)) = (wanted.bucket, url.host_str().map(str::to_owned))
            && !host.eq_ignore_ascii_case(bucket)
        {
            return Err(StorageError::Invalid(format!(
                "storageParams: url and bucket name two buckets, {host:?} and {bucket:?}"
            )));
        }
        if !url.path().ends_with('/') && url.scheme() != "file" {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(url)
    }

    /// Checks that the request may name this bucket at this endpoint; returns the endpoint to set.
    fn allowed_endpoint(
        &self,
        wanted: &Wanted<'_>,
        bucket: &Bucket,
        options: &Options,
    ) -> Result<Option<Url>, StorageError> {
        let configured = options
            .iter()
            .find(|(name, _)| ENDPOINT.contains(&name.to_ascii_lowercase().as_str()))
            .and_then(|(_, value)| Url::parse(value).ok());
        let Some(text) = wanted.endpoint else {
            self.allow_place(&bucket.url(), configured.as_ref(), bucket)?;
            return Ok(None);
        };
        let endpoint = endpoint_url(text)?;
        // Also refuses a user, a query, and dots that climb.
        let asked = Prefix::new(&endpoint)?;
        let same = match &configured {
            Some(url) => {
                let own = Prefix::new(url)?;
                own.contains(&asked) && asked.contains(&own)
            }
            None => false,
        };
        if same {
            self.allow_place(&bucket.url(), Some(&endpoint), bucket)?;
            return Ok(None);
        }
        // A bucket's name says nothing at a foreign endpoint: only the endpoint's own entry counts.
        match self.allow.find(&at_endpoint(&endpoint, bucket))? {
            Some(_) => Ok(Some(endpoint)),
            None => Err(refused("endpoint", location::redacted(&endpoint).as_str())),
        }
    }

    /// A place at the configured endpoint: within the configured storage, or allowed by name.
    fn allow_place(
        &self,
        url: &Url,
        endpoint: Option<&Url>,
        bucket: &Bucket,
    ) -> Result<(), StorageError> {
        let place = Prefix::new(url)?;
        if let Some(cloud) = &self.custom_cloud
            && cloud.prefix()?.contains(&place)
        {
            return Ok(());
        }
        if self.allow.find(url)?.is_some() {
            return Ok(());
        }
        if let Some(endpoint) = endpoint
            && self.allow.find(&at_endpoint(endpoint, bucket))?.is_some()
        {
            return Ok(());
        }
        Err(refused("url", url.as_str()))
    }

    /// A folder within an allowed one; links on the way from there are not followed.
    fn allowed_folder(&self, url: &Url) -> Result<Storage, StorageError> {
        let place = Prefix::new(url)?;
        let own = self.custom_cloud.as_ref().map(|cloud| cloud.prefix()).transpose()?;
        let entry = match own.as_ref().filter(|own| own.contains(&place)) {
            Some(own) => Some(own),
            None => self.allow.find(url)?,
        };
        let Some(below) = entry.and_then(|entry| entry.rest(&place)) else {
            return Err(refused("url", url.as_str()));
        };
        let mut base = match location::parse(url)? {
            Location::Folder(path) => path,
            Location::Bucket(_) => return Err(refused("url", url.as_str())),
        };
        for _ in below {
            base.pop();
        }
        let folder = Folder::new(base, below.to_vec(), false)?;
        folder.check()?;
        Ok(Storage::folder(folder))
    }
}

fn not_configured() -> StorageError {
    StorageError::NotConfigured(
        "CustomCloud needs [storage.custom_cloud] in the configuration".to_owned(),
    )
}

/// A region becomes part of a host name.
pub(super) fn check_region(region: &str) -> Result<(), StorageError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if region.is_empty() || region.len() > 40 || !region.chars().all(plain) {
        return Err(StorageError::Invalid(format!("storageParams: no region {region:?}")));
    }
    Ok(())
}

/// An endpoint that a request names, as far as its form goes.
pub(super) fn endpoint_url(text: &str) -> Result<Url, StorageError> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| {
            StorageError::Invalid(
                "storageParams: endpoint must be a URL such as https://host:9000".to_owned(),
            )
        })
}

/// The place as an address of the endpoint: `https://host/bucket/prefix`.
pub(super) fn at_endpoint(endpoint: &Url, bucket: &Bucket) -> Url {
    let mut url = endpoint.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().push(&bucket.name).extend(&bucket.prefix);
    }
    url
}

fn set_credentials(options: &mut Options, wanted: &Wanted<'_>) -> Result<(), StorageError> {
    let (Some(access), Some(secret)) = (wanted.access_key, wanted.secret_key) else {
        return Err(StorageError::Invalid(
            "storageParams: credentials are an access key and a secret access key".to_owned(),
        ));
    };
    // None of the operator's ways to authenticate may mix with the request's.
    for name in options.0.keys().cloned().collect::<Vec<_>>() {
        if super::super::is_secret_param(&name) || name.ends_with("skip_signature") {
            options.0.remove(&name);
        }
    }
    options.0.insert("access_key_id".to_owned(), access.to_owned());
    options.0.insert("secret_access_key".to_owned(), secret.to_owned());
    if let Some(token) = wanted.token {
        options.0.insert("session_token".to_owned(), token.to_owned());
    }
    Ok(())
}

/// Sets an option under one name and removes its other spellings.
fn set(options: &mut Options, names: &[&str], name: &str, value: &str) {
    options.0.retain(|key, _| !names.contains(&key.to_ascii_lowercase().as_str()));
    options.0.insert(name.to_owned(), value.to_owned());
}
