//! Which tenant a request is for (`facts.md` §1, last paragraph).

use aws_lc_rs::cipher::{AES_256, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;

use crate::portal::{PortalError, Tenant, TenantStatus};

/// What a request says of where it was sent. Each may be a host, a host with a port, or a URL.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestHosts<'a> {
    /// `Host`, or `X-Forwarded-Host` when a trusted proxy sent it.
    pub host: Option<&'a str>,
    /// The header `Origin`.
    pub origin: Option<&'a str>,
    /// The query parameter `origin`: it stands for the host.
    pub origin_query: Option<&'a str>,
}

#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    /// There is no such tenant, or it is suspended or being removed: 404.
    #[error("there is no portal at this address")]
    NotFound,
    /// The tenant is being moved, restored or encrypted: 403, but for the few routes that DocSpace leaves
    /// open then (`getrestoreprogress` is the one of ours).
    #[error("Access denied")]
    Busy(Box<Tenant>),
    #[error(transparent)]
    Portal(#[from] PortalError),
}

/// Everything that the choice depends on.
#[derive(Debug)]
pub struct Directory {
    pub tenants: Vec<Tenant>,
    pub base_domain: String,
    /// One installation of its owner's, not a hosted one: a host that nobody knows gets the first tenant.
    pub standalone: bool,
    /// This machine's name.
    pub host_name: String,
}

impl Directory {
    /// The tenant that a request is for, if it can be used now.
    pub fn tenant(&self, hosts: &RequestHosts<'_>) -> Result<&Tenant, TenantError> {
        let tenant = self.find(hosts).ok_or(TenantError::NotFound)?;
        match tenant.status {
            TenantStatus::Suspended | TenantStatus::RemovePending => Err(TenantError::NotFound),
            TenantStatus::Transferring | TenantStatus::Restoring | TenantStatus::Encryption => {
                Err(TenantError::Busy(Box::new(tenant.clone())))
            }
            TenantStatus::Active | TenantStatus::Migrating | TenantStatus::Other(_) => Ok(tenant),
        }
    }

    /// The address of a tenant, as a browser would send it in `Origin`. None: no host names it.
    pub fn origin(&self, tenant: i64) -> Option<String> {
        let tenant = self.usable().find(|one| one.id == tenant)?;
        let below = match tenant.alias.as_str() {
            "localhost" => tenant.alias.clone(),
            alias => format!("{alias}.{}", self.base_domain),
        };
        let hosts = [tenant.mapped_domain.clone(), Some(below), Some(tenant.alias.clone())];
        let named = |host: &String| self.by_host(host).is_some_and(|found| found.id == tenant.id);
        hosts.into_iter().flatten().find(named).map(|host| format!("http://{host}"))
    }

    fn find(&self, hosts: &RequestHosts<'_>) -> Option<&Tenant> {
        let host = hosts.origin_query.and_then(host_of).or_else(|| hosts.host.and_then(host_of));
        let origin = hosts.origin.and_then(host_of);
        let named = |host: &Option<String>| host.as_deref().and_then(|host| self.by_host(host));
        if self.standalone {
            named(&origin).or_else(|| named(&host)).or_else(|| self.first())
        } else {
            named(&host).or_else(|| named(&origin))
        }
    }

    fn by_host(&self, host: &str) -> Option<&Tenant> {
        if self.is_local(host) {
            return self.by_alias("localhost");
        }
        let base = self.base_domain.to_ascii_lowercase();
        let below = host.strip_suffix(&base).and_then(|rest| rest.strip_suffix('.'));
        if let Some(alias) = below.filter(|alias| !alias.is_empty() && !base.is_empty()) {
            return self.by_alias(alias);
        }
        let named = self.usable().filter(|tenant| {
            let mapped = tenant.mapped_domain.as_deref();
            tenant.alias.eq_ignore_ascii_case(host)
                || mapped.is_some_and(|mapped| mapped.eq_ignore_ascii_case(host))
        });
        named.min_by_key(|tenant| (rank(tenant.status), -tenant.id))
    }

    fn is_local(&self, host: &str) -> bool {
        host == "localhost"
            || host.eq_ignore_ascii_case(&self.host_name)
            || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok()
    }

    fn by_alias(&self, alias: &str) -> Option<&Tenant> {
        self.usable().find(|tenant| tenant.alias.eq_ignore_ascii_case(alias))
    }

    fn first(&self) -> Option<&Tenant> {
        self.usable()
            .filter(|tenant| {
                !matches!(tenant.status, TenantStatus::Suspended | TenantStatus::RemovePending)
            })
            .min_by_key(|tenant| (number(tenant.status), tenant.id))
    }

    /// Tenant -1 holds the installation's settings; nobody visits it.
    fn usable(&self) -> impl Iterator<Item = &Tenant> {
        self.tenants.iter().filter(|tenant| tenant.id != -1)
    }
}

/// Where a status stands in DocSpace's order: a tenant being restored counts as active.
fn rank(status: TenantStatus) -> i64 {
    match status {
        TenantStatus::Restoring => number(TenantStatus::Active),
        other => number(other),
    }
}

fn number(status: TenantStatus) -> i64 {
    match status {
        TenantStatus::Active => 0,
        TenantStatus::Suspended => 1,
        TenantStatus::RemovePending => 2,
        TenantStatus::Transferring => 3,
        TenantStatus::Restoring => 4,
        TenantStatus::Migrating => 5,
        TenantStatus::Encryption => 6,
        TenantStatus::Other(number) => number,
    }
}

/// The host of a URL or of a `Host` header, in lower case; None when there is none (`Origin: null`).
fn host_of(text: &str) -> Option<String> {
    let text = text.trim();
    if text.is_empty() || text == "null" {
        return None;
    }
    let url = match text.contains("://") {
        true => url::Url::parse(text),
        false => url::Url::parse(&format!("http://{text}")),
    };
    url.ok()?.host_str().map(|host| host.trim_end_matches('.').to_owned())
}

/// DocSpace's key of `core_settings`, the same in every installation (`facts.md` §1, keyno 2).
const SETTINGS_KEY: [u8; 32] = [
    0x0a, 0xeb, 0x8d, 0x8b, 0x86, 0xca, 0x2d, 0x76, 0xb4, 0x6f, 0x9a, 0x65, 0x41, 0xc0, 0xc7, 0xc5,
    0xbe, 0xac, 0x0e, 0xbb, 0xac, 0x48, 0x5b, 0xeb, 0x12, 0x87, 0xf7, 0x5c, 0x69, 0x5a, 0x5a, 0x23,
];

/// The text of a value in `core_settings`; None when it is not one.
pub fn decrypt_setting(value: &[u8]) -> Option<String> {
    let key = UnboundCipherKey::new(&AES_256, &SETTINGS_KEY).ok()?;
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).ok()?;
    let mut buffer = value.to_vec();
    let context = DecryptionContext::Iv128(FixedLength::from([0; 16]));
    let text = key.decrypt(&mut buffer, context).ok()?;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(id: i64, alias: &str, status: i64, mapped: Option<&str>) -> Tenant {
        Tenant {
            id,
            alias: alias.to_owned(),
            status: status.into(),
            owner_id: None,
            timezone: None,
            mapped_domain: mapped.map(str::to_owned),
        }
    }

    fn directory(standalone: bool) -> Directory {
        Directory {
            tenants: vec![
                tenant(-1, "settings", 1, None),
                tenant(1, "localhost", 0, Some("office.example.com")),
                tenant(2, "acme", 0, None),
                tenant(3, "moved", 4, Some("old.example.com")),
                tenant(4, "old", 1, Some("old.example.com")),
                tenant(5, "gone", 2, None),
            ],
            base_domain: if standalone { "localhost" } else { "portals.example" }.to_owned(),
            standalone,
            host_name: "server7".to_owned(),
        }
    }

    fn id(directory: &Directory, host: &str, origin: Option<&str>) -> Option<i64> {
        let hosts = RequestHosts { host: Some(host), origin, origin_query: None };
        directory.tenant(&hosts).ok().map(|tenant| tenant.id)
    }

    #[test]
    fn a_standalone_installation_asks_the_origin_first() {
        let directory = directory(true);
        assert_eq!(id(&directory, "localhost:8092", None), Some(1));
        assert_eq!(id(&directory, "127.0.0.1", None), Some(1));
        assert_eq!(id(&directory, "[::1]:5012", None), Some(1));
        assert_eq!(id(&directory, "server7", None), Some(1));
        assert_eq!(id(&directory, "acme.localhost", None), Some(2));
        assert_eq!(id(&directory, "Office.Example.Com", None), Some(1));
        assert_eq!(id(&directory, "localhost", Some("http://acme.localhost:8080")), Some(2));
        assert_eq!(id(&directory, "acme.localhost", Some("https://unknown.example")), Some(2));
        assert_eq!(id(&directory, "unknown.example", Some("null")), Some(1));
        let hosts = RequestHosts {
            host: Some("localhost"),
            origin_query: Some("http://acme.localhost/"),
            origin: None,
        };
        assert_eq!(directory.tenant(&hosts).unwrap().id, 2);
    }

    #[test]
    fn a_hosted_installation_asks_the_host_first() {
        let directory = directory(false);
        assert_eq!(id(&directory, "acme.portals.example", None), Some(2));
        assert_eq!(id(&directory, "api.example", Some("https://acme.portals.example")), Some(2));
        assert_eq!(
            id(&directory, "acme.portals.example", Some("https://office.example.com")),
            Some(2)
        );
        assert_eq!(id(&directory, "unknown.portals.example", None), None);
        assert_eq!(id(&directory, "unknown.example", None), None);
    }

    #[test]
    fn the_status_decides_who_may_come() {
        let directory = directory(true);
        let refused = |host| {
            directory.tenant(&RequestHosts { host: Some(host), ..Default::default() }).unwrap_err()
        };
        assert!(matches!(refused("gone.localhost"), TenantError::NotFound));
        assert!(matches!(refused("old.localhost"), TenantError::NotFound));
        assert!(matches!(refused("moved.localhost"), TenantError::Busy(t) if t.id == 3));
        // Two tenants map the domain: the one being restored counts as active and wins.
        assert!(matches!(refused("old.example.com"), TenantError::Busy(t) if t.id == 3));
        // Nobody reaches the tenant that holds the settings.
        assert_eq!(id(&directory, "settings.localhost", None), Some(1));
    }

    #[test]
    fn settings_are_readable() {
        use aws_lc_rs::cipher::{EncryptionContext, PaddedBlockEncryptingKey};
        let key = UnboundCipherKey::new(&AES_256, &SETTINGS_KEY).unwrap();
        let key = PaddedBlockEncryptingKey::cbc_pkcs7(key).unwrap();
        let mut value = b"portals.example".to_vec();
        let context = EncryptionContext::Iv128(FixedLength::from([0; 16]));
        key.less_safe_encrypt(&mut value, context).unwrap();
        assert_eq!(decrypt_setting(&value).as_deref(), Some("portals.example"));
        assert_eq!(decrypt_setting(b"not encrypted"), None);
    }
}
