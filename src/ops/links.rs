//! Signed, expiring addresses of archives that are files.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;

/// As long as DocSpace's own links.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);
const AUDIENCE: &str = "portal-backup:download";

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: Uuid,
    aud: String,
    exp: u64,
}

/// Signs and checks download addresses.
pub struct Links {
    public_url: Url,
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl Links {
    /// `key`: secret bytes used for nothing else.
    pub fn new(public_url: Url, key: &[u8]) -> Self {
        Self {
            public_url,
            encoding: EncodingKey::from_secret(key),
            decoding: DecodingKey::from_secret(key),
        }
    }

    pub fn lifetime(&self) -> Duration {
        LIFETIME
    }

    /// The address of an archive's content, for who shows a credential there.
    pub fn content(&self, archive: Uuid) -> Url {
        let mut url = self.public_url.clone();
        let path = format!("{}/v1/archives/{archive}/content", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url
    }

    /// Path and query of an address of ours, for who reaches us by another host; None: it is another's.
    pub fn path_of<'u>(&self, url: &'u Url) -> Option<&'u str> {
        let base = self.public_url.as_str().trim_end_matches('/');
        url.as_str().strip_prefix(base).filter(|rest| rest.starts_with('/'))
    }

    /// The address of an archive's content, good for `lifetime`.
    pub fn sign(&self, archive: Uuid) -> Result<Url, jsonwebtoken::errors::Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let claims =
            Claims { sub: archive, aud: AUDIENCE.to_owned(), exp: (now + LIFETIME).as_secs() };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)?;
        let mut url = self.content(archive);
        url.query_pairs_mut().append_pair("token", &token);
        Ok(url)
    }

    /// Whether a token is ours, for this archive, and not expired.
    pub fn verify(&self, archive: Uuid, token: &str) -> bool {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[AUDIENCE]);
        validation.leeway = 0;
        jsonwebtoken::decode::<Claims>(token, &self.decoding, &validation)
            .is_ok_and(|data| data.claims.sub == archive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_for_one_archive_and_one_key() {
        let base = Url::parse("https://portal.example.org/backup/").unwrap();
        let links = Links::new(base.clone(), b"key");
        let archive = Uuid::new_v4();
        let url = links.sign(archive).unwrap();
        assert_eq!(url.path(), format!("/backup/v1/archives/{archive}/content"));
        let token = url.query().unwrap();
        let below = format!("/v1/archives/{archive}/content?{token}");
        assert_eq!(links.path_of(&url), Some(below.as_str()));
        let other = Url::parse("https://portal.example.org/backups/x").unwrap();
        assert_eq!(links.path_of(&other), None);
        let token = url.query_pairs().next().unwrap().1.into_owned();
        assert!(links.verify(archive, &token));
        assert!(!links.verify(Uuid::new_v4(), &token));
        assert!(!Links::new(base, b"other").verify(archive, &token));
    }
}
