//! The public keys of an identity provider (RFC 7517): which of a set are of use.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// Providers have two or three; one that has more than this wants something else of us.
const MOST_KEYS: usize = 64;
const LONGEST_ID: usize = 256;
/// 2048 to 8192 bits: what is shorter is broken, what is longer only costs time.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=1024;
const LONGEST_EXPONENT: usize = 4;
const COORDINATE: usize = 32;

/// A set in which at least every key is of a known kind and of sound size; others were left out.
#[derive(Default)]
pub struct KeySet(Vec<Key>);

struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    #[error("it is no key set")]
    Form,
    #[error("it has {0} keys, and {MOST_KEYS} at most are read")]
    TooMany(usize),
    #[error("none of its keys is for ES256 or RS256")]
    NoneOfUse,
}

impl KeySet {
    /// Takes the keys of use from a set. An empty set is one: the provider has withdrawn all keys.
    pub fn read(set: &Value) -> Result<Self, KeySetError> {
        let list = set.get("keys").and_then(Value::as_array).ok_or(KeySetError::Form)?;
        if list.len() > MOST_KEYS {
            return Err(KeySetError::TooMany(list.len()));
        }
        let keys: Vec<Key> = list.iter().filter_map(key).collect();
        if keys.is_empty() && !list.is_empty() {
            return Err(KeySetError::NoneOfUse);
        }
        Ok(Self(keys))
    }

    /// The key of this id for this algorithm; without an id the only one for the algorithm.
    pub fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&DecodingKey> {
        let mut fitting = self.0.iter().filter(|key| key.algorithm == algorithm);
        match id {
            Some(id) => fitting.find(|key| key.id.as_deref() == Some(id)).map(|key| &key.key),
            None => {
                let first = fitting.next()?;
                fitting.next().is_none().then_some(&first.key)
            }
        }
    }
}

/// None: of no use to us, be it of another kind, for something else, or broken.
fn key(value: &Value) -> Option<Key> {
    let jwk = Jwk::deserialize(value).ok()?;
    if jwk.purpose.as_deref().is_some_and(|purpose| purpose != "sig")
        || jwk.kid.as_deref().is_some_and(|id| id.len() > LONGEST_ID)
    {
        return None;
    }
    // Never `oct`: a secret that a provider publishes is none.
    let (algorithm, name, key) = match jwk.kty.as_str() {
        "EC" if jwk.crv.as_deref() == Some("P-256") => {
            let (x, y) = (jwk.x?, jwk.y?);
            if [&x, &y].iter().any(|text| bytes(text).map(|b| b.len()) != Some(COORDINATE)) {
                return None;
            }
            (Algorithm::ES256, "ES256", DecodingKey::from_ec_components(&x, &y).ok()?)
        }
        "RSA" => {
            let (n, e) = (bytes(&jwk.n?)?, bytes(&jwk.e?)?);
            let n = &n[n.iter().take_while(|byte| **byte == 0).count()..];
            if !MODULUS.contains(&n.len()) || !(1..=LONGEST_EXPONENT).contains(&e.len()) {
                return None;
            }
            (Algorithm::RS256, "RS256", DecodingKey::from_rsa_raw_components(n, &e))
        }
        _ => return None,
    };
    let fits = jwk.alg.is_none_or(|alg| alg == name);
    fits.then_some(Key { id: jwk.kid, algorithm, key })
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn number(length: usize) -> String {
        URL_SAFE_NO_PAD.encode(vec![0x81; length])
    }

    fn ec(id: &str) -> Value {
        json!({"kty": "EC", "crv": "P-256", "kid": id, "x": number(32), "y": number(32)})
    }

    fn rsa(id: &str) -> Value {
        json!({"kty": "RSA", "alg": "RS256", "use": "sig", "kid": id, "n": number(256), "e": "AQAB"})
    }

    fn read(keys: Value) -> Result<KeySet, KeySetError> {
        KeySet::read(&json!({"keys": keys}))
    }

    #[test]
    fn keys_are_found_by_id_and_algorithm() {
        let set = read(json!([ec("a"), rsa("a"), rsa("b")])).unwrap();
        let found = |id, algorithm| set.find(id, algorithm).is_some();
        assert!(found(Some("a"), Algorithm::ES256));
        assert!(found(Some("a"), Algorithm::RS256));
        assert!(!found(Some("b"), Algorithm::ES256));
        assert!(!found(Some("c"), Algorithm::RS256));
        assert!(found(None, Algorithm::ES256), "there is one only");
        assert!(!found(None, Algorithm::RS256), "there are two");
        assert!(!found(Some("a"), Algorithm::HS256));
    }

    #[test]
    fn what_is_of_no_use_is_left_out() {
        let with = |mut key: Value, name: &str, value: Value| {
            key[name] = value;
            key
        };
        for bad in [
            json!({"kty": "oct", "kid": "x", "k": "c2VjcmV0", "alg": "HS256"}),
            with(ec("x"), "crv", json!("P-384")),
            with(ec("x"), "x", json!(number(31))),
            with(ec("x"), "x", json!(7)),
            with(ec("x"), "y", json!("!")),
            with(ec("x"), "use", json!("enc")),
            with(ec("x"), "alg", json!("ES384")),
            with(ec("x"), "kid", json!(["x"])),
            with(ec("x"), "kid", json!("x".repeat(1000))),
            with(rsa("x"), "n", json!(number(128))),
            with(rsa("x"), "n", json!(number(4096))),
            with(rsa("x"), "e", json!(number(64))),
            with(rsa("x"), "alg", json!("HS256")),
            json!("key"),
            json!(null),
        ] {
            assert_eq!(read(json!([bad])).err(), Some(KeySetError::NoneOfUse), "{bad}");
            let set = read(json!([bad, ec("good")])).unwrap();
            assert_eq!(set.0.len(), 1, "{bad}");
        }
    }

    #[test]
    fn hostile_sets_are_refused_and_empty_ones_mean_what_they_say() {
        let many: Vec<Value> = (0..5000).map(|number| ec(&number.to_string())).collect();
        assert_eq!(read(json!(many)).err(), Some(KeySetError::TooMany(5000)));
        for form in [json!({}), json!([]), json!({"keys": {}}), json!({"keys": "x"}), json!(null)] {
            assert_eq!(KeySet::read(&form).err(), Some(KeySetError::Form), "{form}");
        }
        assert_eq!(read(json!([])).unwrap().0.len(), 0);
    }
}
