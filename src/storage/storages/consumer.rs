//! `ThirdPartyConsumer`: DocSpace's consumers with its names of parameters (`facts.md` §7).
//!
//! Whoever configured a consumer's credentials trusts DocSpace's administrators with its buckets, and
//! DocSpace's web page asks for bucket and region with every backup. So a request may name any bucket and
//! region that those credentials open. It may not name another endpoint than the configured one (or
//! Amazon's own), unless `storage.allow` has it: signed requests must not go to hosts of anybody's choice.

use std::collections::BTreeMap;
use std::sync::Arc;

use url::Url;

use super::super::allow::Prefix;
use super::super::cloud::Cloud;
use super::super::consumer::{Consumer, Pending};
use super::super::location::{self, Bucket, Location};
use super::super::params::find;
use super::super::{Storage, StorageError, StorageParams};
use super::Storages;
use super::custom::{at_endpoint, check_region, endpoint_url, refused};
use super::modules::{self, Module};
use crate::config::Options;

/// What a request or the configuration says of a consumer's place.
struct Place<'a> {
    bucket: Option<&'a str>,
    endpoint: Option<&'a str>,
    region: Option<&'a str>,
    path_style: Option<bool>,
    http: Option<bool>,
    sse: Option<&'a str>,
    sse_key: Option<&'a str>,
}

impl<'a> Place<'a> {
    fn of(module: &Module, values: &'a BTreeMap<String, String>) -> Result<Self, StorageError> {
        Ok(Self {
            bucket: find(values, module.bucket)?,
            endpoint: find(values, &modules::ENDPOINT)?,
            region: find(values, &modules::REGION)?,
            path_style: flag(values, "forcepathstyle")?,
            http: flag(values, "usehttp")?,
            sse: find(values, &["sse"])?,
            sse_key: find(values, &["ssekey"])?,
        })
    }
}

fn flag(values: &BTreeMap<String, String>, name: &str) -> Result<Option<bool>, StorageError> {
    match find(values, &[name])? {
        None => Ok(None),
        Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
        Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
        Some(text) => Err(invalid(&format!("{name} must be true or false, not {text:?}"))),
    }
}

fn invalid(text: &str) -> StorageError {
    StorageError::Invalid(format!("storageParams: {text}"))
}

impl Storages {
    /// Names and options of the configured consumers, tried without asking anybody.
    pub(super) fn check_consumers(&self) -> Result<(), StorageError> {
        for (name, options) in &self.consumers {
            let Some(module) = modules::find(name) else {
                return Err(StorageError::Configuration(format!(
                    "[consumers.{name}]: there is no such consumer, only {}",
                    modules::names()
                )));
            };
            let mut params = StorageParams::from([("module".to_owned(), module.name.to_owned())]);
            if find(&options.0, module.bucket)?.is_none() {
                params.insert("bucket".to_owned(), "bucket".to_owned());
            }
            match self.consumer(&params) {
                // Credentials may be in DocSpace's settings, or not there yet.
                Ok(_) | Err(StorageError::NotConfigured(_)) => {}
                Err(error) => {
                    return Err(StorageError::Configuration(format!(
                        "[consumers.{name}]: {error}"
                    )));
                }
            }
        }
        Ok(())
    }

    pub(super) fn consumer(&self, params: &StorageParams) -> Result<Storage, StorageError> {
        let name = find(params, &["module"])?
            .ok_or_else(|| invalid(&format!("module is missing: one of {}", modules::names())))?;
        let module = modules::find(name).ok_or_else(|| {
            invalid(&format!("there is no module {name:?}, only {}", modules::names()))
        })?;
        let none = Options::default();
        let configured = self.consumers.get(module.name).unwrap_or(&none);
        let own = Place::of(module, &configured.0)?;
        let wanted = Place::of(module, params)?;
        let bucket = self.consumer_bucket(module, &own, &wanted, params)?;
        let mut options = Options(
            configured
                .0
                .iter()
                .filter(|(name, _)| !module.is_own(name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        );
        if module.is_s3() {
            self.s3_options(module, &own, &wanted, &bucket, &mut options)?;
        }
        let lower = flag(params, "lower")?.unwrap_or(true);
        let credentials = match module.credentials(params) {
            Some(given) => Some(self.given_credentials(given, &bucket, &options)?),
            None => module.credentials(&configured.0).transpose()?,
        };
        let by_itself = modules::has_other_credentials(&options);
        let consumer = match (credentials, &self.secrets) {
            (Some(credentials), _) => {
                options.0.extend(credentials.0);
                Consumer::ready(self.client(&bucket, &options)?, lower)
            }
            (None, _) if by_itself => Consumer::ready(self.client(&bucket, &options)?, lower),
            (None, Some(secrets)) => {
                let pending = Pending {
                    consumer: module.name,
                    secrets: Arc::clone(secrets),
                    credentials: Box::new(move |settings| modules::stored(module, settings)),
                    bucket,
                    options,
                    max_parts: self.max_parts,
                };
                Consumer::pending(pending, lower)
            }
            (None, None) => return Err(module.no_credentials()),
        };
        Ok(Storage::consumer(consumer))
    }

    fn client(&self, bucket: &Bucket, options: &Options) -> Result<Cloud, StorageError> {
        Cloud::new(bucket, options, false, self.max_parts)
    }

    /// The bucket, and below which prefix of it archives lie.
    fn consumer_bucket(
        &self,
        module: &Module,
        own: &Place<'_>,
        wanted: &Place<'_>,
        params: &StorageParams,
    ) -> Result<Bucket, StorageError> {
        let parameter = module.bucket[0];
        let name = wanted
            .bucket
            .or(own.bucket)
            .ok_or_else(|| invalid(&format!("{parameter} is missing: the name of the bucket")))?;
        if !location::is_bucket(name) {
            return Err(invalid(&format!("{name:?} is not the name of a bucket")));
        }
        let folder = match (find(params, &["subdir"])?, find(params, &["tenantid"])?) {
            (Some(subdir), _) => subdir.to_owned(),
            (None, Some(tenant)) => {
                let tenant: i64 =
                    tenant.parse().map_err(|_| invalid("tenantId must be a number"))?;
                format!("{tenant}/backup")
            }
            (None, None) => "backup".to_owned(),
        };
        let folder = match flag(params, "lower")? {
            Some(false) => folder,
            _ => folder.to_lowercase(),
        };
        let mut url = Url::parse(&format!("{}://{name}", module.scheme))
            .map_err(|_| invalid(&format!("{name:?} is not the name of a bucket")))?;
        if let Ok(mut segments) = url.path_segments_mut() {
            for part in folder.split('/').filter(|part| !part.is_empty()) {
                if let Some(fault) = location::fault(part) {
                    return Err(invalid(&format!("subdir {folder:?}: {fault}")));
                }
                segments.pop_if_empty().push(part);
            }
        }
        match location::parse(&url)? {
            Location::Bucket(bucket) => Ok(bucket),
            Location::Folder(_) => Err(invalid("this is no bucket")),
        }
    }

    fn s3_options(
        &self,
        module: &Module,
        own: &Place<'_>,
        wanted: &Place<'_>,
        bucket: &Bucket,
        options: &mut Options,
    ) -> Result<(), StorageError> {
        let mut set = |name: &str, value: &str| {
            options.0.insert(name.to_owned(), value.to_owned());
        };
        if let Some(region) = wanted.region.or(own.region) {
            check_region(region)?;
            set("region", region);
        }
        let endpoint = self.consumer_endpoint(own, wanted, bucket)?;
        if endpoint.is_none() && module.needs_endpoint {
            return Err(StorageError::NotConfigured(format!(
                "{0} is reached through its S3 interface: [consumers.{0}] needs endpoint, \
                 access_key_id and secret_access_key",
                module.name
            )));
        }
        let http = endpoint.as_ref().is_some_and(|endpoint| endpoint.scheme() == "http");
        if wanted.http == Some(true) && !http {
            return Err(invalid(
                "usehttp: name an http:// serviceurl that the configuration allows; nothing is \
                 sent in the clear otherwise",
            ));
        }
        if let Some(endpoint) = &endpoint {
            set("endpoint", endpoint.as_str().trim_end_matches('/'));
            set("allow_http", if http { "true" } else { "false" });
        } else if wanted.path_style.or(own.path_style) == Some(false) && !bucket.name.contains('.')
        {
            // Elsewhere the bucket in the path works with every server, and needs no certificate for it.
            set("virtual_hosted_style_request", "true");
        }
        encryption(own, wanted, &mut set)
    }

    /// The endpoint to set; None: Amazon's own.
    fn consumer_endpoint(
        &self,
        own: &Place<'_>,
        wanted: &Place<'_>,
        bucket: &Bucket,
    ) -> Result<Option<Url>, StorageError> {
        let configured = own.endpoint.map(endpoint_url).transpose()?;
        let Some(text) = wanted.endpoint else { return Ok(configured) };
        let asked = endpoint_url(text)?;
        let place = Prefix::new(&asked)?;
        match &configured {
            Some(own) => {
                let own_place = Prefix::new(own)?;
                if own_place.contains(&place) && place.contains(&own_place) {
                    return Ok(configured);
                }
            }
            None if is_amazon(&asked) => return Ok(None),
            None => {}
        }
        match self.allow.find(&at_endpoint(&asked, bucket))? {
            Some(_) => Ok(Some(asked)),
            None => Err(refused("serviceurl", location::redacted(&asked).as_str())),
        }
    }

    /// Credentials of the request itself vouch for no place.
    fn given_credentials(
        &self,
        given: Result<Options, StorageError>,
        bucket: &Bucket,
        options: &Options,
    ) -> Result<Options, StorageError> {
        if !self.allow_credentials {
            return Err(invalid(
                "credentials in a request are not allowed by the configuration \
                 (storage.allow_request_credentials)",
            ));
        }
        let endpoint = options.get("endpoint").and_then(|text| Url::parse(text).ok());
        let at = endpoint.map(|endpoint| at_endpoint(&endpoint, bucket));
        let allowed = self.allow.find(&bucket.url())?.is_some()
            || at.map(|at| self.allow.find(&at).map(|entry| entry.is_some())).transpose()?
                == Some(true);
        if !allowed {
            return Err(refused("bucket", bucket.url().as_str()));
        }
        let mut given = given?;
        modules::name_no_host(&mut given).map_err(|text| invalid(&format!("json {text}")))?;
        Ok(given)
    }
}

/// `https://s3.amazonaws.com` or `https://s3.{region}.amazonaws.com`: where the keys belong anyway.
fn is_amazon(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let between = host.strip_prefix("s3").and_then(|host| host.strip_suffix(".amazonaws.com"));
    url.scheme() == "https"
        && url.port().is_none()
        && url.path().trim_matches('/').is_empty()
        && Prefix::new(url).is_ok()
        && between.is_some_and(|region| {
            let region = region.strip_prefix(['.', '-']).unwrap_or(region);
            region.is_empty() || check_region(region).is_ok()
        })
}

/// Encryption by the storage. What the operator has configured is not switched off by a request.
fn encryption(
    own: &Place<'_>,
    wanted: &Place<'_>,
    set: &mut impl FnMut(&str, &str),
) -> Result<(), StorageError> {
    let none = |sse: &&str| !sse.eq_ignore_ascii_case("none");
    let (sse, key) = match wanted.sse.filter(none) {
        Some(sse) => (Some(sse), wanted.sse_key.or(own.sse_key)),
        None => (own.sse.filter(none), own.sse_key),
    };
    match sse.map(str::to_ascii_lowercase).as_deref() {
        None => {}
        Some("aes256") => set("server_side_encryption", "AES256"),
        Some("awskms") => {
            set("server_side_encryption", "aws:kms");
            if let Some(key) = key {
                set("sse_kms_key_id", key);
            }
        }
        // Encrypted before it is sent, in a form of Amazon's libraries: what is weaker must not take its place.
        Some("clientawskms") => {
            return Err(StorageError::Unsupported(
                "storageParams: sse clientawskms is not supported: use awskms or aes256".to_owned(),
            ));
        }
        Some(other) => {
            return Err(invalid(&format!("sse is none, aes256 or awskms, not {other:?}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_requests_key_names_no_host() {
        let mut config = Config::default();
        config.storage.allow_request_credentials = true;
        config.storage.allow = vec!["gs://second".to_owned()];
        let storages = Storages::new(&config).unwrap();
        let module = modules::find("googlecloud").unwrap();
        let Ok(Location::Bucket(bucket)) = location::parse(&"gs://second/".parse().unwrap()) else {
            panic!("this is a bucket");
        };
        let given = |json: &str| {
            let params = StorageParams::from([("json".to_owned(), json.to_owned())]);
            let given = module.credentials(&params).unwrap();
            storages.given_credentials(given, &bucket, &Options::default())
        };
        let options = given(
            r#"{"private_key":"k","private_key_id":"i","client_email":"e","type":"service_account",
                "gcs_base_url":"https://169.254.169.254","disable_oauth":true}"#,
        );
        let options = options.unwrap();
        let key = options.get("service_account_key").unwrap();
        assert!(key.contains("client_email"), "{key}");
        assert!(!key.contains("169.254") && !key.contains("oauth"), "{key}");
        assert!(given("no json").unwrap_err().is_bad_request());
    }

    #[test]
    fn amazon_is_amazon_only() {
        for url in [
            "https://s3.amazonaws.com",
            "https://s3.eu-west-1.amazonaws.com/",
            "https://s3-eu-west-1.amazonaws.com",
        ] {
            assert!(is_amazon(&url.parse().unwrap()), "{url}");
        }
        for url in [
            "http://s3.amazonaws.com",
            "https://s3.amazonaws.com:8443",
            "https://s3.amazonaws.com.evil.org",
            "https://s3.evil.org.amazonaws.com",
            "https://s3.amazonaws.com/path",
            "https://u:p@s3.amazonaws.com",
            "https://evil.org/s3.amazonaws.com",
            "https://s3evil.x.amazonaws.com",
        ] {
            assert!(!is_amazon(&url.parse().unwrap()), "{url}");
        }
    }
}
