//! Who is at the other end, and how it sees us: addresses, hosts and proxies.

use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header::{HOST, HeaderMap};
use url::Url;

/// Addresses or networks whose `X-Forwarded-*` headers are believed.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<Network>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix: u8,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("server.trusted_proxies: {0:?} is not an address or network such as 10.0.0.0/8")]
pub struct BadProxy(String);

impl TrustedProxies {
    /// Reads `127.0.0.1`, `10.0.0.0/8`, `fd00::/8` …
    pub fn parse(items: &[String]) -> Result<Self, BadProxy> {
        items
            .iter()
            .map(|item| Network::parse(item).ok_or_else(|| BadProxy(item.clone())))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(address))
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.trim().split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().ok()?)),
            None => (text.trim(), None),
        };
        let address = address.parse::<IpAddr>().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(longest);
        (prefix <= longest).then_some(Self { address, prefix })
    }

    fn contains(&self, other: IpAddr) -> bool {
        let (ours, theirs, bits) = match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                (u128::from(a.to_bits()), u128::from(b.to_bits()), 32)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
            _ => return false,
        };
        let ignored = bits - u32::from(self.prefix);
        ignored == 128 || ours >> ignored == theirs >> ignored
    }
}

/// What is known of a request's sender, after the proxies we trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    pub address: Option<IpAddr>,
    /// As the client wrote it, with its port if it gave one.
    pub host: String,
    pub scheme: String,
    /// True when a proxy told host or scheme, so that it is known better than any setting.
    forwarded: bool,
}

impl Client {
    pub fn of(request: &HttpRequest, proxies: &TrustedProxies, listen: SocketAddr) -> Self {
        Self::read(request.headers(), request.peer_addr().map(|peer| peer.ip()), proxies, listen)
    }

    /// Proxies append to `X-Forwarded-For`, so it is read from its end, up to the first address that is
    /// none of ours. Of host and scheme the last value counts: the nearest proxy wrote it.
    fn read(
        headers: &HeaderMap,
        peer: Option<IpAddr>,
        proxies: &TrustedProxies,
        listen: SocketAddr,
    ) -> Self {
        let host = text(headers, HOST.as_str()).unwrap_or_else(|| listen.to_string());
        let mut client = Self { address: peer, host, scheme: "http".to_owned(), forwarded: false };
        if !peer.is_some_and(|peer| proxies.contains(peer)) {
            return client;
        }
        let all = headers.get_all("x-forwarded-for").filter_map(|value| value.to_str().ok());
        let hops: Vec<&str> = all.flat_map(|value| value.split(',')).map(str::trim).collect();
        for hop in hops.iter().rev() {
            let Some(address) = hop_address(hop) else { break };
            client.address = Some(address);
            if !proxies.contains(address) {
                break;
            }
        }
        if let Some(host) = last(headers, "x-forwarded-host").filter(|host| is_host(host)) {
            client.host = host;
            client.forwarded = true;
        }
        if let Some(scheme) = last(headers, "x-forwarded-proto")
            .map(|scheme| scheme.to_ascii_lowercase())
            .filter(|scheme| scheme == "http" || scheme == "https")
        {
            client.scheme = scheme;
            client.forwarded = true;
        }
        client
    }

    /// The full address of a request as the client sees it. `path_and_query`: as received.
    /// A trusted proxy's word comes first, then the configured public address, then `Host`.
    pub fn url(&self, public_url: Option<&Url>, path_and_query: &str) -> String {
        match public_url {
            Some(public) if !self.forwarded => {
                format!("{}{path_and_query}", public.as_str().trim_end_matches('/'))
            }
            _ => format!("{}://{}{path_and_query}", self.scheme, self.host),
        }
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned).filter(|text| !text.is_empty())
}

fn last(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get_all(name).last()?.to_str().ok()?;
    value.rsplit(',').next().map(|item| item.trim().to_owned()).filter(|item| !item.is_empty())
}

/// `192.0.2.1`, `192.0.2.1:443`, `2001:db8::1` or `[2001:db8::1]:443`.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let address = hop.parse::<IpAddr>().ok();
    let address = address.or_else(|| hop.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address
        .or_else(|| hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
        .map(|address| address.to_canonical())
}

fn is_host(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in list {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    fn client(list: &[(&'static str, &'static str)], peer: &str, proxies: &[&str]) -> Client {
        let proxies: Vec<String> = proxies.iter().map(|proxy| (*proxy).to_owned()).collect();
        let proxies = TrustedProxies::parse(&proxies).unwrap();
        let listen = "127.0.0.1:5012".parse().unwrap();
        Client::read(&headers(list), Some(peer.parse().unwrap()), &proxies, listen)
    }

    #[test]
    fn networks() {
        let trusted = |network: &str, address: &str| {
            TrustedProxies::parse(&[network.to_owned()]).unwrap().contains(address.parse().unwrap())
        };
        assert!(trusted("10.0.0.0/8", "10.255.1.2"));
        assert!(!trusted("10.0.0.0/8", "11.0.0.1"));
        assert!(trusted("192.0.2.7", "192.0.2.7"));
        assert!(!trusted("192.0.2.7", "192.0.2.6"));
        assert!(trusted("0.0.0.0/0", "203.0.113.9"));
        assert!(trusted("::/0", "2001:db8::1"));
        assert!(!trusted("0.0.0.0/0", "2001:db8::1"));
        assert!(trusted("10.0.0.0/8", "::ffff:10.1.1.1"), "IPv4 inside IPv6");
        assert!(trusted("fd00::/8", "fdab::1"));
        for bad in ["", "10.0.0.0/33", "host.example", "10.0.0.0/x", "::/129"] {
            assert_eq!(TrustedProxies::parse(&[bad.to_owned()]).unwrap_err(), BadProxy(bad.into()));
        }
    }

    #[test]
    fn strangers_cannot_forward() {
        let list = [
            ("host", "portal.example:8080"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-proto", "https"),
        ];
        let seen = client(&list, "203.0.113.5", &["10.0.0.0/8"]);
        assert_eq!(seen.address, Some("203.0.113.5".parse().unwrap()));
        assert_eq!(seen.url(None, "/a?b=c"), "http://portal.example:8080/a?b=c");
    }

    #[test]
    fn trusted_proxies_can() {
        let list = [
            ("host", "backend:5012"),
            ("x-forwarded-for", "6.6.6.6, 198.51.100.4"),
            ("x-forwarded-for", "10.0.0.9"),
            ("x-forwarded-host", "portal.example"),
            ("x-forwarded-proto", "HTTPS"),
        ];
        let seen = client(&list, "10.0.0.1", &["10.0.0.0/8"]);
        assert_eq!(
            seen.address,
            Some("198.51.100.4".parse().unwrap()),
            "not what the client claims"
        );
        let public = Url::parse("http://other.example/").unwrap();
        assert_eq!(seen.url(Some(&public), "/x"), "https://portal.example/x");
    }

    #[test]
    fn nonsense_from_a_proxy_is_not_taken() {
        let list = [
            ("host", "h"),
            ("x-forwarded-for", "unknown"),
            ("x-forwarded-host", "a b/c"),
            ("x-forwarded-proto", "ftp"),
        ];
        let seen = client(&list, "10.0.0.1", &["10.0.0.1"]);
        assert_eq!(seen.address, Some("10.0.0.1".parse().unwrap()));
        assert_eq!(seen.url(None, "/"), "http://h/");
        assert_eq!(hop_address("[2001:db8::1]:443"), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(hop_address("192.0.2.1:99"), Some("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn the_public_address_counts_before_host() {
        let public = Url::parse("https://backup.example/base/").unwrap();
        let seen = client(&[("host", "127.0.0.1:5012")], "127.0.0.1", &[]);
        assert_eq!(seen.url(Some(&public), "/v1?x=1"), "https://backup.example/base/v1?x=1");
        assert_eq!(client(&[], "127.0.0.1", &[]).url(None, "/"), "http://127.0.0.1:5012/");
    }
}
