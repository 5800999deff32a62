//! `mysql://user:password@host:port/database?…` as connection options.

use std::time::Duration;

use mysql_async::{Opts, OptsBuilder, SslOpts};
use percent_encoding::percent_decode_str;
use url::Url;

/// The protocol's own limit: a value must never be too long for us.
const MAX_PACKET: usize = 1 << 30;

/// How a restore waits for tables that others use, unless the URL says.
const LOCK_WAIT: Duration = Duration::from_secs(30);

/// What a URL says.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub opts: Opts,
    /// How long a restore waits for tables that others use.
    pub lock_wait: Duration,
    /// The longest statement that something between us and the server lets through, in bytes.
    pub max_packet: Option<usize>,
}

/// Reads a URL. Parameters: `socket` (path of a Unix socket), `ssl-mode` (as MySQL's clients have it:
/// DISABLED, REQUIRED, VERIFY_CA, VERIFY_IDENTITY), `require_ssl=true` (the same as VERIFY_IDENTITY), with which
/// `verify_ca=false` and `verify_identity=false` may stand, `ssl-ca` (path of a PEM file), `lock-wait-timeout` (seconds that a restore waits for tables in use),
/// `max-allowed-packet` (bytes, where that is less than the server's own). Errors do not repeat the URL, for it may hold a password.
pub(super) fn parse(url: &str) -> Result<Settings, String> {
    let url = Url::parse(url).map_err(|error| format!("its url cannot be read: {error}"))?;
    let database = decode(url.path().trim_start_matches('/'), "database")?;
    if database.is_empty() {
        return Err("its url must name a database: mysql://user@host/database".to_owned());
    }
    let host = match url.host_str() {
        Some(host) if !host.is_empty() => decode(host.trim_matches(['[', ']']), "host")?,
        _ => "127.0.0.1".to_owned(),
    };
    let user = decode(url.username(), "user")?;
    let mut options = OptsBuilder::default()
        .ip_or_hostname(host)
        .tcp_port(url.port().unwrap_or(3306))
        .user((!user.is_empty()).then_some(user))
        .pass(url.password().map(|password| decode(password, "password")).transpose()?)
        .db_name(Some(database))
        .prefer_socket(false)
        .stmt_cache_size(0)
        .max_allowed_packet(Some(MAX_PACKET))
        .tcp_keepalive(Some(Duration::from_secs(30)));

    let mut tls = None;
    let mut authority = None;
    let (mut verify_ca, mut verify_identity) = (true, true);
    let mut lock_wait = LOCK_WAIT;
    let mut max_packet = None;
    for (key, value) in url.query_pairs() {
        match key.to_ascii_lowercase().replace('_', "-").as_str() {
            "socket" => options = options.socket(Some(value.into_owned())),
            "ssl-mode" | "sslmode" => tls = tls_mode(&value)?,
            "require-ssl" => tls = is_true(&value).then(SslOpts::default),
            "verify-ca" => verify_ca = is_true(&value),
            "verify-identity" => verify_identity = is_true(&value),
            "ssl-ca" | "sslca" => authority = Some(std::path::PathBuf::from(value.as_ref())),
            "lock-wait-timeout" => lock_wait = Duration::from_secs(number(&key, &value)?),
            "max-allowed-packet" => {
                let bytes = number(&key, &value)?.max(16 << 10);
                max_packet = Some(usize::try_from(bytes).unwrap_or(MAX_PACKET));
            }
            "charset" | "collation" | "timezone" => {} // Ours are fixed.
            _ => return Err(format!("its url has an unknown parameter {key:?}")),
        }
    }
    if !verify_ca {
        tls = tls.map(|options| options.with_danger_accept_invalid_certs(true));
    }
    if !verify_identity {
        tls = tls.map(|options| options.with_danger_skip_domain_validation(true));
    }
    if let (Some(options), Some(path)) = (tls.as_mut(), authority) {
        *options = std::mem::take(options).with_root_certs(vec![path.into()]);
    }
    options = options.ssl_opts(tls);
    Ok(Settings { opts: options.into(), lock_wait, max_packet })
}

fn number(key: &str, value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("{key} in its url is not a number"))
}

fn is_true(value: &str) -> bool {
    value == "true" || value == "1"
}

fn tls_mode(mode: &str) -> Result<Option<SslOpts>, String> {
    match mode.to_ascii_uppercase().replace('-', "_").as_str() {
        "DISABLED" | "PREFERRED" => Ok(None),
        // Encrypts and trusts anyone, as it does in MySQL's own clients.
        "REQUIRED" => Ok(Some(SslOpts::default().with_danger_accept_invalid_certs(true))),
        "VERIFY_CA" => Ok(Some(SslOpts::default().with_danger_skip_domain_validation(true))),
        "VERIFY_IDENTITY" => Ok(Some(SslOpts::default())),
        _ => Err(format!("its url has an unknown ssl-mode {mode:?}")),
    }
}

fn decode(text: &str, what: &str) -> Result<String, String> {
    percent_decode_str(text)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| format!("the {what} in its url is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_read() {
        let opts = parse("mysql://us%40er:p%3Aw%2Fd@db.example:3307/my%20db").unwrap().opts;
        assert_eq!(opts.user(), Some("us@er"));
        assert_eq!(opts.pass(), Some("p:w/d"));
        assert_eq!(opts.ip_or_hostname(), "db.example");
        assert_eq!(opts.tcp_port(), 3307);
        assert_eq!(opts.db_name(), Some("my db"));
        assert!(opts.ssl_opts().is_none());
        assert_eq!(parse("mysql://root@[::1]/d").unwrap().opts.ip_or_hostname(), "::1");
    }

    #[test]
    fn tls_is_used_when_asked_for() {
        let trusting = parse("mysql://h/d?ssl-mode=REQUIRED").unwrap().opts;
        assert!(trusting.ssl_opts().unwrap().accept_invalid_certs());
        let strict = parse("mysql://h/d?require_ssl=true&ssl-ca=/ca.pem").unwrap().opts;
        let strict = strict.ssl_opts().unwrap();
        assert!(!strict.accept_invalid_certs() && !strict.skip_domain_validation());
        assert_eq!(strict.root_certs().len(), 1);
        let lenient = parse("mysql://h/d?require_ssl=true&verify_ca=false").unwrap().opts;
        assert!(lenient.ssl_opts().unwrap().accept_invalid_certs());
        assert!(parse("mysql://h/d?verify_ca=false").unwrap().opts.ssl_opts().is_none());
        let socket = parse("mysql://h/d?socket=/run/x.sock").unwrap().opts;
        assert_eq!(socket.socket(), Some("/run/x.sock"));
    }

    #[test]
    fn limits_of_a_restore_are_numbers() {
        let settings = parse("mysql://h/d?lock_wait_timeout=5&max-allowed-packet=1048576").unwrap();
        assert_eq!(settings.lock_wait, Duration::from_secs(5));
        assert_eq!(settings.max_packet, Some(1 << 20));
        assert!(parse("mysql://h/d?lock-wait-timeout=soon").is_err());
    }

    #[test]
    fn errors_say_what_is_wrong_and_hide_the_password() {
        for url in ["mysql://u:hunter2@h", "mysql://u:hunter2@h/d?zip=1", "mysql://u:hunter2@h:x/d"]
        {
            let error = parse(url).unwrap_err();
            assert!(!error.is_empty() && !error.contains("hunter2"), "{error}");
        }
    }
}
