//! DocSpace's consumers that are storages, and what it calls their settings (`facts.md` §7).

use std::collections::BTreeMap;

use super::super::StorageError;
use super::super::params::{find as value, normal};
use crate::config::Options;

/// Spellings, normalised.
pub(super) const ENDPOINT: [&str; 6] =
    ["serviceurl", "endpoint", "endpointurl", "awsendpoint", "awsendpointurl", "awsendpointurls3"];
pub(super) const REGION: [&str; 2] = ["region", "awsregion"];
/// Settings that are understood here and are no options of a client.
const OWN: [&str; 11] = [
    "module",
    "forcepathstyle",
    "usehttp",
    "sse",
    "ssekey",
    "subdir",
    "lower",
    "tenantid",
    "filepath",
    "allowhttp",
    "publiccontainer",
];

/// One consumer.
pub(super) struct Module {
    pub name: &'static str,
    pub scheme: &'static str,
    /// What the bucket is called; DocSpace's own name first.
    pub bucket: &'static [&'static str],
    /// What the parts of the credentials are called.
    access: &'static [&'static str],
    secret: &'static [&'static str],
    pub needs_endpoint: bool,
}

static MODULES: [Module; 4] = [
    Module {
        name: "s3",
        scheme: "s3",
        bucket: &["bucket"],
        // The first is DocSpace's spelling.
        access: &["acesskey", "accesskey", "accesskeyid", "awsaccesskeyid"],
        secret: &["secretaccesskey", "awssecretaccesskey"],
        needs_endpoint: false,
    },
    Module {
        name: "googlecloud",
        scheme: "gs",
        bucket: &["bucket"],
        access: &[],
        secret: &["json", "serviceaccountkey", "googleserviceaccountkey"],
        needs_endpoint: false,
    },
    Module {
        name: "rackspace",
        scheme: "s3",
        bucket: &["privatecontainer", "bucket"],
        access: &["username", "accesskeyid"],
        secret: &["apikey", "secretaccesskey"],
        needs_endpoint: true,
    },
    Module {
        name: "selectel",
        scheme: "s3",
        bucket: &["privatecontainer", "bucket"],
        access: &["authuser", "accesskeyid"],
        secret: &["authpwd", "secretaccesskey"],
        needs_endpoint: true,
    },
];

/// DocSpace's web client writes some names with capitals.
pub(super) fn find(name: &str) -> Option<&'static Module> {
    MODULES.iter().find(|module| module.name.eq_ignore_ascii_case(name))
}

pub(super) fn names() -> String {
    MODULES.iter().map(|module| module.name).collect::<Vec<_>>().join(", ")
}

/// Options by which a client finds its credentials elsewhere: roles, tokens in files, the machine's own.
pub(super) fn has_other_credentials(options: &Options) -> bool {
    const PARTS: [&str; 7] = [
        "rolearn",
        "webidentity",
        "containercredentials",
        "metadata",
        "skipsignature",
        "serviceaccount",
        "applicationcredentials",
    ];
    options.iter().any(|(name, _)| {
        let name = normal(name);
        name.contains("bearertoken") || PARTS.iter().any(|part| name.contains(part))
    })
}

impl Module {
    pub(super) fn is_s3(&self) -> bool {
        self.scheme == "s3"
    }

    /// Whether a setting is understood here, so that it is no option of the client.
    pub(super) fn is_own(&self, name: &str) -> bool {
        let name = normal(name);
        let name = name.as_str();
        [self.bucket, self.access, self.secret, &ENDPOINT, &REGION, &OWN]
            .iter()
            .any(|names| names.contains(&name))
    }

    /// The options of the credentials among these values; None when there are none.
    pub(super) fn credentials(
        &self,
        values: &BTreeMap<String, String>,
    ) -> Option<Result<Options, StorageError>> {
        let read = || -> Result<_, StorageError> {
            Ok((value(values, self.access)?, value(values, self.secret)?))
        };
        let options = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Some(Ok(Options(pairs.collect())))
        };
        match read() {
            Err(error) => Some(Err(error)),
            Ok((None, None)) => None,
            Ok((None, Some(json))) if !self.is_s3() => options(&[("service_account_key", json)]),
            Ok((Some(access), Some(secret))) => {
                options(&[("access_key_id", access), ("secret_access_key", secret)])
            }
            Ok(_) => Some(Err(StorageError::Invalid(format!(
                "the credentials of {} are {} and {}: one is missing",
                self.name, self.access[0], self.secret[0]
            )))),
        }
    }

    pub(super) fn no_credentials(&self) -> StorageError {
        StorageError::NotConfigured(format!(
            "ThirdPartyConsumer {0}: there are no credentials, neither in [consumers.{0}] of the \
             configuration nor in DocSpace's settings",
            self.name
        ))
    }
}

/// The options of what DocSpace's settings hold; `NotConfigured` when something is missing there.
pub(super) fn stored(
    module: &Module,
    settings: &BTreeMap<String, String>,
) -> Result<Options, StorageError> {
    let broken = |error: StorageError| StorageError::NotConfigured(error.to_string());
    let options = module.credentials(settings).ok_or_else(|| module.no_credentials())?;
    let mut options = options.map_err(broken)?;
    name_no_host(&mut options).map_err(|text| {
        StorageError::NotConfigured(format!("DocSpace's setting json of googlecloud {text}"))
    })?;
    Ok(options)
}

/// Takes out of a service account's key what would lead its client to another host: anybody who may change DocSpace's
/// settings, or make a request, has written it. Errors end a sentence that begins with what the key was in.
pub(super) fn name_no_host(options: &mut Options) -> Result<(), &'static str> {
    if let Some(json) = options.0.get_mut("service_account_key") {
        *json = plain_account(json).ok_or("is no service account's key")?;
    }
    Ok(())
}

fn plain_account(json: &str) -> Option<String> {
    let serde_json::Value::Object(mut account) = serde_json::from_str(json).ok()? else {
        return None;
    };
    account.retain(|name, _| {
        matches!(name.as_str(), "type" | "private_key" | "private_key_id" | "client_email")
    });
    serde_json::to_string(&account).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    /// "`s3` (secrets acesskey (sic), secretaccesskey …), `googlecloud` (json; bucket), `rackspace`
    /// (username, apiKey …)"
    #[test]
    fn settings_have_docspaces_names() {
        for (module, settings) in [
            ("S3", map(&[("acesskey", "id"), ("secretaccesskey", "secret")])),
            ("rackspace", map(&[("username", "id"), ("apiKey", "secret")])),
            ("Selectel", map(&[("authUser", "id"), ("authPwd", "secret")])),
        ] {
            let module = find(module).unwrap();
            let options = stored(module, &settings).unwrap();
            assert_eq!(options.get("access_key_id"), Some("id"));
            assert_eq!(options.get("secret_access_key"), Some("secret"));
            assert!(matches!(stored(module, &map(&[])), Err(StorageError::NotConfigured(_))));
            for half in settings.keys() {
                let mut settings = settings.clone();
                settings.remove(half);
                assert!(stored(module, &settings).unwrap_err().is_bad_request());
            }
        }
    }

    #[test]
    fn a_stored_account_names_no_host() {
        let module = find("googlecloud").unwrap();
        let json = r#"{"private_key":"k","private_key_id":"i","client_email":"e","type":"service_account",
            "gcs_base_url":"http://169.254.169.254","disable_oauth":true}"#;
        let options = stored(module, &map(&[("json", json)])).unwrap();
        let account = options.get("service_account_key").unwrap();
        assert!(account.contains("client_email"), "{account}");
        assert!(!account.contains("169.254") && !account.contains("oauth"), "{account}");
        assert!(stored(module, &map(&[("json", "no json")])).is_err());
    }
}
