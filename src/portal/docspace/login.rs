//! The token that DocSpace gives who logs in: the cookie `asc_auth_key` (`facts.md` §1 "Cookie token").

use aws_lc_rs::cipher::{AES_256, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use percent_encoding::percent_decode_str;

use super::random::Random;
use crate::config::Secret;

/// Ten times what DocSpace makes; what is longer is not worth decrypting.
const LONGEST: usize = 2048;
const FIELDS: usize = 9;

/// What a token says, before the database was asked about it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LoginToken {
    pub tenant: i64,
    /// As in `core_user.id`.
    pub user_id: String,
    /// These must be those of the tenant's and the user's settings: raising one there ends all logins.
    pub tenant_index: i64,
    pub user_index: i64,
    pub expires: Timestamp,
    /// A row of `login_events`, which must be active; None: the login was not recorded.
    pub event: Option<i64>,
}

/// Reads tokens with the key that DocSpace derives from its machine key.
pub struct LoginReader {
    key: Option<[u8; 32]>,
}

impl LoginReader {
    /// Only the last four bytes of the machine key matter. Without them there are no logins.
    pub fn new(machine_key: &Secret) -> Self {
        let tail = machine_key.expose().as_bytes().last_chunk::<4>();
        Self { key: tail.map(|tail| Random::new(i32::from_le_bytes(*tail)).bytes()) }
    }

    /// The token as a request brings it: perhaps URL-encoded. None when it is not one.
    pub fn read(&self, text: &str) -> Option<LoginToken> {
        let key = self.key.as_ref()?;
        if text.is_empty() || text.len() > LONGEST {
            return None;
        }
        // A plus sign may have become a blank on the way.
        let text = percent_decode_str(text).decode_utf8().ok()?.replace(' ', "+");
        let mut buffer = STANDARD.decode(text).ok()?;
        let key = PaddedBlockDecryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_256, key).ok()?);
        let context = DecryptionContext::Iv128(FixedLength::from([0; 16]));
        parse(std::str::from_utf8(key.ok()?.decrypt(&mut buffer, context).ok()?).ok()?)
    }
}

fn parse(text: &str) -> Option<LoginToken> {
    let fields: Vec<&str> = text.split('$').collect();
    let fields: [&str; FIELDS] = fields.try_into().ok()?;
    // The fourth is a hash of the address that logged in; DocSpace does not compare it either.
    let [_, tenant, _, _, user, tenant_index, expires, user_index, event] = fields;
    let event = match event {
        "" => None,
        event => Some(event.parse().ok()?).filter(|event| *event != 0),
    };
    let is_guid = user.len() == 32 && user.bytes().all(|digit| digit.is_ascii_hexdigit());
    Some(LoginToken {
        tenant: tenant.parse().ok()?,
        user_id: is_guid.then(|| uuid::Uuid::try_parse(user).ok())??.to_string(),
        tenant_index: tenant_index.parse().ok()?,
        user_index: user_index.parse().ok()?,
        expires: DateTime::strptime("%Y-%m-%d %H:%M:%S,%f", expires)
            .ok()?
            .to_zoned(TimeZone::UTC)
            .ok()?
            .timestamp(),
        event,
    })
}

/// `Index` of `TenantCookieSettings`, whose default is 0. None: it cannot be read, so nothing equals it.
pub fn index(settings: Option<&str>) -> Option<i64> {
    let Some(settings) = settings else { return Some(0) };
    let settings: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(settings).ok()?;
    let index = settings.iter().find(|(name, _)| name.eq_ignore_ascii_case("Index"));
    index.map_or(Some(0), |(_, value)| value.as_i64())
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::cipher::{EncryptionContext, PaddedBlockEncryptingKey};

    use super::*;

    /// The key of `facts.md` §1 for the machine key `1123askdasjklasbnd`.
    const KEY: &str = "e3749c2091f034c3429a2d1d207c6e1f8c3c7cb21e696c5181855dae0e2d3781";

    fn token(plain: &str) -> String {
        let key = UnboundCipherKey::new(&AES_256, &hex::decode(KEY).unwrap()).unwrap();
        let key = PaddedBlockEncryptingKey::cbc_pkcs7(key).unwrap();
        let mut buffer = plain.as_bytes().to_vec();
        let context = EncryptionContext::Iv128(FixedLength::from([0; 16]));
        key.less_safe_encrypt(&mut buffer, context).unwrap();
        STANDARD.encode(buffer)
    }

    fn reader() -> LoginReader {
        LoginReader::new(&Secret::new("1123askdasjklasbnd"))
    }

    const PLAIN: &str = "$1$$47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=$\
        11111111000000000000000000000002$3$2030-01-02 03:04:05,678$4$77";

    #[test]
    fn a_token_says_who_and_until_when() {
        let expected = LoginToken {
            tenant: 1,
            user_id: "11111111-0000-0000-0000-000000000002".to_owned(),
            tenant_index: 3,
            user_index: 4,
            expires: "2030-01-02T03:04:05.678Z".parse().unwrap(),
            event: Some(77),
        };
        let text = token(PLAIN);
        assert_eq!(reader().read(&text), Some(expected.clone()));
        let encoded = text.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        assert_eq!(reader().read(&encoded), Some(expected.clone()));
        assert_eq!(reader().read(&text.replace('+', " ")), Some(expected.clone()));
        for unrecorded in ["", "0"] {
            let plain = PLAIN.replace("$77", &format!("${unrecorded}"));
            assert_eq!(reader().read(&token(&plain)).unwrap().event, None);
        }
        // Another machine key with the same end makes the same key.
        assert_eq!(LoginReader::new(&Secret::new("other-sbnd")).read(&text), Some(expected));
    }

    #[test]
    fn everything_else_is_none() {
        let good = token(PLAIN);
        assert_eq!(LoginReader::new(&Secret::new("another")).read(&good), None);
        assert_eq!(LoginReader::new(&Secret::default()).read(&good), None);
        for text in ["", "x", "%", "%ff", "AAAA", &"A".repeat(4096), &good[..good.len() - 24]] {
            assert_eq!(reader().read(text), None, "{text:?}");
        }
        for (from, to) in [
            ("$1$", "$one$"),
            ("$1$$", "$1$"),
            ("$77", "$77$"),
            ("$77", "$x"),
            ("11111111000000000000000000000002", "1111"),
            ("11111111000000000000000000000002", "11111111-0000-0000-0000-000000000002"),
            ("$3$", "$$"),
            ("2030-01-02 03:04:05,678", "2030-02-30 03:04:05,678"),
            ("2030-01-02 03:04:05,678", ""),
        ] {
            assert_eq!(reader().read(&token(&PLAIN.replacen(from, to, 1))), None, "{from} {to}");
        }
    }

    #[test]
    fn indexes_come_from_the_settings() {
        assert_eq!(index(None), Some(0));
        assert_eq!(index(Some(r#"{"Index":7,"LifeTime":1440,"Enabled":true}"#)), Some(7));
        assert_eq!(index(Some("{}")), Some(0));
        assert_eq!(index(Some(r#"{"Index":"x"}"#)), None);
        assert_eq!(index(Some("garbage")), None);
    }
}
