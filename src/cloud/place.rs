//! Which bucket a URL and its options name, however they spell it.

use std::str::FromStr;

use object_store::aws::AmazonS3ConfigKey;
use object_store::azure::AzureConfigKey;
use object_store::gcp::GoogleConfigKey;
use url::{Host, Url};

use super::Provider;
use crate::config::Options;

/// The emulator's, on every machine.
const EMULATED: &str = "devstoreaccount1";

#[derive(Debug, Clone)]
pub struct Place {
    pub provider: Provider,
    /// The bucket's or container's name, as it is asked for.
    pub bucket: String,
    /// Azure's: these are worldwide.
    account: String,
    /// Empty: the provider's own.
    server: String,
}

impl Place {
    pub fn of(url: &Url, options: &Options) -> Option<Self> {
        let provider = Provider::of_scheme(url.scheme())?;
        let host = url.host_str().filter(|host| !host.is_empty())?;
        let container = url.username();
        let bucket = match (provider, container) {
            // az://container@account.host/path
            (Provider::Azure, container) if !container.is_empty() => container,
            _ => host,
        };
        let account = match (provider, container) {
            (Provider::Azure, "") => {
                let emulated = value(options, AzureConfigKey::UseEmulator).map(|_| EMULATED);
                value(options, AzureConfigKey::AccountName).or(emulated).unwrap_or_default()
            }
            (Provider::Azure, _) => host.split('.').next().unwrap_or_default(),
            _ => "",
        };
        let endpoint = match provider {
            Provider::S3 => value(options, AmazonS3ConfigKey::S3Endpoint)
                .or_else(|| value(options, AmazonS3ConfigKey::Endpoint)),
            Provider::Google => value(options, GoogleConfigKey::BaseUrl),
            Provider::Azure => value(options, AzureConfigKey::Endpoint),
        };
        let in_host = value(options, AmazonS3ConfigKey::VirtualHostedStyleRequest)
            .filter(|text| provider == Provider::S3 && text.eq_ignore_ascii_case("true"))
            .map(|_| bucket);
        let server = endpoint.map(|text| server(text, in_host)).unwrap_or_default();
        let (bucket, account) = (bucket.to_owned(), account.to_ascii_lowercase());
        Some(Self { provider, bucket, account, server })
    }

    /// Whether both are one bucket, as far as their spelling tells.
    pub fn is(&self, other: &Self) -> bool {
        let same_server = match self.provider {
            Provider::Azure if self.account != EMULATED => self.account == other.account,
            _ => self.account == other.account && self.server == other.server,
        };
        same_server && self.may_be(other)
    }

    /// Whether they may be: a server can have names that nothing here tells to be one.
    pub fn may_be(&self, other: &Self) -> bool {
        // Storages' names are folded, and no provider tells two by their case any more.
        self.provider == other.provider && self.bucket.eq_ignore_ascii_case(&other.bucket)
    }
}

/// The option that a client takes for a key, whichever of its names it has; of several the last one.
fn value<K: FromStr + PartialEq>(options: &Options, key: K) -> Option<&str> {
    let is_key = |name: &str| {
        let name = name.to_ascii_lowercase();
        // One word for the same thing everywhere.
        let is_google = std::any::type_name::<K>() == std::any::type_name::<GoogleConfigKey>();
        let name = if is_google && name == "endpoint" { "base_url" } else { &name };
        name.parse::<K>().is_ok_and(|known| known == key)
    };
    options.iter().filter(|(name, _)| is_key(name)).map(|(_, value)| value.trim()).last()
}

/// An endpoint in one form: the host, the port unless it is the scheme's, the path. Empty for the provider's own.
fn server(endpoint: &str, bucket_in_host: Option<&str>) -> String {
    let Ok(url) = Url::parse(endpoint) else { return endpoint.to_ascii_lowercase() };
    let host = match url.host() {
        Some(Host::Domain(name)) => name.trim_end_matches('.').to_ascii_lowercase(),
        Some(Host::Ipv4(ip)) if ip.is_loopback() => "localhost".to_owned(),
        Some(Host::Ipv6(ip)) if ip.is_loopback() => "localhost".to_owned(),
        Some(ip) => ip.to_string(),
        None => String::new(),
    };
    let inner = bucket_in_host.and_then(|bucket| host.strip_prefix(bucket)?.strip_prefix('.'));
    let host = inner.unwrap_or(&host);
    // Its buckets' names are worldwide, whatever region or kind of address is named.
    if host == "s3.amazonaws.com" || host.ends_with(".amazonaws.com") {
        return String::new();
    }
    if host == "storage.googleapis.com" {
        return String::new();
    }
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{host}{port}{}", url.path().trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Spelled<'a> = (&'a str, Vec<(&'a str, &'a str)>);

    fn place((url, options): &Spelled<'_>) -> Place {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Place::of(&url.parse().unwrap(), &Options(options.collect())).unwrap()
    }

    #[test]
    fn spellings_of_one_bucket() {
        let minio = || ("s3://data", vec![("endpoint", "http://minio:9000")]);
        let acme = || ("az://data", vec![("account_name", "acme")]);
        let in_host =
            vec![("endpoint", "http://data.minio:9000"), ("virtual_hosted_style_request", "true")];
        let two = vec![("endpoint", "http://x"), ("aws_endpoint_url_s3", "http://minio:9000")];
        let whole = vec![
            ("azure_storage_account_name", "ACME"),
            ("endpoint", "https://acme.blob.core.windows.net"),
        ];
        let pairs: Vec<(Spelled<'_>, Spelled<'_>)> = vec![
            (minio(), ("s3a://Data", vec![("aws_endpoint_url_s3", "http://MINIO:9000/")])),
            (minio(), ("s3://data", vec![("AWS_ENDPOINT_URL", "https://minio.:9000")])),
            (minio(), ("s3://data", in_host)),
            (minio(), ("s3://data", two)),
            (
                ("s3://data", vec![]),
                ("s3://data", vec![("endpoint", "https://s3.eu-west-1.amazonaws.com")]),
            ),
            (
                ("s3://data", vec![("endpoint", "http://127.0.0.1:9000")]),
                ("s3://data", vec![("endpoint", "http://localhost:9000")]),
            ),
            (
                ("gs://data", vec![("endpoint", "http://gcs:1")]),
                ("gs://data", vec![("google_base_url", "http://gcs:1/")]),
            ),
            (
                ("gs://data", vec![]),
                ("gs://data", vec![("endpoint", "https://storage.googleapis.com")]),
            ),
            (acme(), ("abfss://data@acme.dfs.core.windows.net/backups", vec![])),
            (acme(), ("az://data", whole)),
        ];
        for (one, other) in pairs {
            assert!(place(&one).is(&place(&other)), "{one:?} {other:?}");
            assert!(place(&other).is(&place(&one)), "{other:?} {one:?}");
        }
    }

    #[test]
    fn other_buckets() {
        let minio = |port| vec![("endpoint", port)];
        let emulated = |endpoint| vec![("account_name", EMULATED), ("endpoint", endpoint)];
        let here = "http://minio:9000";
        let pairs: Vec<(Spelled<'_>, Spelled<'_>, bool)> = vec![
            (("s3://data", minio(here)), ("s3://data2", minio(here)), false),
            (("s3://data", minio(here)), ("gs://data", minio(here)), false),
            (("s3://data", minio(here)), ("s3://data", minio("http://minio:9001")), true),
            (("s3://data", minio(here)), ("s3://data", vec![]), true),
            (
                ("az://data", vec![("account_name", "acme")]),
                ("abfss://data@other.dfs.core.windows.net", vec![]),
                true,
            ),
            (
                ("az://data", emulated("http://a:1/devstoreaccount1")),
                ("az://data", emulated("http://b:1/devstoreaccount1")),
                true,
            ),
        ];
        for (one, other, may_be) in pairs {
            assert!(!place(&one).is(&place(&other)), "{one:?} {other:?}");
            assert_eq!(place(&one).may_be(&place(&other)), may_be, "{one:?} {other:?}");
        }
    }
}
