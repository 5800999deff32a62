//! Tokens of an issuer whose keys rotate, vanish and turn hostile.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::support::issuer::{Issuer, Mood, Signer, now};
use crate::support::portal::PlainPortal;
use crate::support::service::Service;

/// Keys are fetched anew with every token whose key is not known.
const EAGER: &str = "keys_retry = 0";

async fn status(service: &Service, token: &str) -> u16 {
    let url = format!("{}/api/2.0/backup/getbackupprogress", service.base);
    let answer = service.http.get(url).header("Authorization", format!("Bearer {token}")).send();
    answer.await.unwrap().status().as_u16()
}

async fn start(issuer: &Issuer, more: &str) -> (PlainPortal, Service) {
    let portal = PlainPortal::new(10);
    let service = Service::start(&(portal.config() + &issuer.config(more))).await;
    (portal, service)
}

/// `facts.md` §1 "JWT": issuer, audience, ES256 or RS256, two minutes' skew, expiry required, keys by discovery.
#[tokio::test]
async fn good_tokens_pass_and_no_others() {
    let (es, rs) = (Signer::es256("es"), Signer::rs256("rs"));
    let issuer = Issuer::start(&[&es, &rs]).await;
    let (_portal, service) = start(&issuer, "").await;
    for signer in [&es, &rs] {
        assert_eq!(status(&service, &signer.sign(&issuer.claims(json!({})))).await, 200);
    }
    let discovery = "/oauth2/.well-known/openid-configuration";
    assert_eq!(issuer.asked(), [discovery, "/oauth2/jwks"], "and what was fetched is kept");
    assert_eq!(status(&service, &es.sign(&issuer.claims(json!({"scope": "*:read"})))).await, 200);
    assert_eq!(status(&service, &es.sign(&issuer.claims(json!({"scope": "openid"})))).await, 403);

    let good = es.sign(&issuer.claims(json!({})));
    let (rest, signature) = good.rsplit_once('.').unwrap();
    let secret_of_public_key = {
        let public = serde_json::to_vec(&rs.jwk).unwrap();
        let header = Header { kid: Some("rs".to_owned()), ..Header::new(Algorithm::HS256) };
        encode(&header, &issuer.claims(json!({})), &EncodingKey::from_secret(&public)).unwrap()
    };
    let stranger = Signer::es256("es");
    let unknown = Signer::es256("unknown");
    let mut wrong = vec![
        format!("{rest}."),
        format!("eyJhbGciOiJub25lIn0.{}.", rest.split_once('.').unwrap().1),
        format!("{rest}.{}", signature.chars().rev().collect::<String>()),
        secret_of_public_key,
        stranger.sign(&issuer.claims(json!({}))),
        unknown.sign(&issuer.claims(json!({}))),
        es.sign(&issuer.claims(json!({"more": "x".repeat(20_000)}))),
    ];
    for claims in [
        json!({"exp": now() - 200}),
        json!({"exp": null}),
        json!({"nbf": now() + 200}),
        json!({"iat": now() + 200}),
        json!({"aud": "https://elsewhere.example"}),
        json!({"aud": null}),
        json!({"iss": "https://elsewhere.example"}),
        json!({"sub": null}),
    ] {
        wrong.push(es.sign(&issuer.claims(claims)));
    }
    for token in wrong {
        assert_eq!(status(&service, &token).await, 401, "{token}");
    }
    assert_eq!(status(&service, &good).await, 200);
    assert!(!service.log().contains(&good));
}

#[tokio::test]
async fn keys_rotate_and_unknown_ones_are_not_asked_for_again_and_again() {
    let (old, new) = (Signer::es256("old"), Signer::rs256("new"));
    let issuer = Issuer::start(&[&old]).await;
    let (_portal, service) = start(&issuer, EAGER).await;
    assert_eq!(status(&service, &old.sign(&issuer.claims(json!({})))).await, 200);
    issuer.set_keys(&[&new]);
    assert_eq!(status(&service, &new.sign(&issuer.claims(json!({})))).await, 200);
    assert_eq!(status(&service, &old.sign(&issuer.claims(json!({})))).await, 401, "withdrawn");

    // With a pause between attempts (the default), strangers' tokens make no requests.
    let (_portal, service) = start(&issuer, "").await;
    assert_eq!(status(&service, &new.sign(&issuer.claims(json!({})))).await, 200);
    let before = issuer.asked().len();
    for _ in 0..20 {
        let stranger = Signer::es256(&uuid::Uuid::new_v4().to_string());
        assert_ne!(status(&service, &stranger.sign(&issuer.claims(json!({})))).await, 200);
    }
    let more = issuer.asked().len() - before;
    assert!(more <= 2, "{more} requests for twenty tokens");
}

#[tokio::test]
async fn known_keys_outlive_a_hostile_set_for_a_while() {
    let good = Signer::es256("good");
    let issuer = Issuer::start(&[&good]).await;
    let (_portal, service) = start(&issuer, EAGER).await;
    let token = good.sign(&issuer.claims(json!({})));
    assert_eq!(status(&service, &token).await, 200);
    let other = Signer::es256("other");
    let thousands: Vec<Value> = (0..2000)
        .map(|number| {
            let mut key = other.jwk.clone();
            key["kid"] = json!(number.to_string());
            key
        })
        .collect();
    let moods = [
        Mood::Broken,
        Mood::Redirecting,
        Mood::Impostor,
        Mood::Says(json!({"keys": thousands}).to_string()),
        Mood::Says(json!({"keys": [{"kty": "oct", "kid": "good", "k": "c2VjcmV0"}]}).to_string()),
        Mood::Says(
            json!({"keys": [{"kty": ["EC"], "kid": 5}, null, "x", {"kty": "EC"}]}).to_string(),
        ),
        Mood::Says(format!("{{\"keys\":{}", "[".repeat(100_000))),
        Mood::Says(" ".repeat(1 << 20)),
        Mood::Says("<html>".to_owned()),
    ];
    for mood in moods {
        issuer.set_mood(mood);
        // A key that is not known makes it look for new ones.
        assert_eq!(status(&service, &other.sign(&issuer.claims(json!({})))).await, 401);
        assert_eq!(status(&service, &token).await, 200);
    }
    assert!(!issuer.asked().iter().any(|path| path == "/oauth2/other"), "{:?}", issuer.asked());
    assert_eq!(service.get("/health").await.status(), 200);

    // An empty set is no nonsense: the issuer has withdrawn everything.
    issuer.set_mood(Mood::Says(json!({"keys": []}).to_string()));
    let _ = status(&service, &other.sign(&issuer.claims(json!({})))).await;
    assert_ne!(status(&service, &token).await, 200);
}

#[tokio::test]
async fn keys_that_vanished_are_used_no_longer_than_allowed() {
    let signer = Signer::es256("a");
    let issuer = Issuer::start(&[&signer]).await;
    let (_portal, service) = start(&issuer, "keys_retry = 0\nkeys_ttl = 1\nkeys_stale = 3").await;
    let token = signer.sign(&issuer.claims(json!({})));
    assert_eq!(status(&service, &token).await, 200);
    issuer.set_mood(Mood::Broken);
    let mut answers = vec![];
    while answers.last() != Some(&503) {
        answers.push(status(&service, &token).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(answers.iter().filter(|status| **status == 200).count() > 1, "{answers:?}");
    assert!(answers.iter().all(|status| [200, 503].contains(status)), "{answers:?}");
    issuer.set_mood(Mood::Well);
    assert_eq!(status(&service, &token).await, 200, "and it is back");
}

#[tokio::test]
async fn without_the_issuer_other_credentials_go_on() {
    let signer = Signer::es256("a");
    let issuer = Issuer::start(&[]).await;
    issuer.set_mood(Mood::Broken);
    let (_portal, service) = start(&issuer, EAGER).await;
    let token = signer.sign(&issuer.claims(json!({})));
    assert_eq!(status(&service, &token).await, 503);
    assert_eq!(status(&service, &service.key).await, 200);
    issuer.set_mood(Mood::Well);
    issuer.set_keys(&[&signer]);
    assert_eq!(status(&service, &token).await, 200);
}

/// `facts.md` §1 "JWT": "then POST introspection must say active".
#[tokio::test]
async fn revoked_tokens_are_refused() {
    let signer = Signer::es256("a");
    let issuer = Issuer::start(&[&signer]).await;
    let found = "client_id = \"us\"\nclient_secret = \"s3cret\"";
    let (_portal, service) = start(&issuer, found).await;
    let token = signer.sign(&issuer.claims(json!({})));
    for _ in 0..10 {
        assert_eq!(status(&service, &token).await, 200);
    }
    let asked = issuer.asked();
    let asked: Vec<_> = asked.iter().filter(|asked| asked.contains("/introspect")).collect();
    assert!((1..=2).contains(&asked.len()), "answers are kept for seconds: {asked:?}");
    // "us:s3cret" in Base64.
    assert!(asked[0].starts_with("/oauth2/introspect Basic dXM6czNjcmV0 token=ey"), "{asked:?}");
    issuer.set_active(false);
    while status(&service, &token).await == 200 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(status(&service, &token).await, 401);
    let another = signer.sign(&issuer.claims(json!({"jti": "another"})));
    issuer.set_mood(Mood::Broken);
    assert_eq!(status(&service, &another).await, 503, "not let in because nobody answers");
    assert!(!service.log().contains("s3cret"));
}

#[tokio::test]
async fn a_shared_secret_signs_too() {
    let secret = "a secret of at least thirty-two bytes";
    let issuer = Issuer::start(&[]).await;
    let (_portal, service) = start(&issuer, &format!("secret = \"{secret}\"")).await;
    let sign = |secret: &str| {
        let key = EncodingKey::from_secret(secret.as_bytes());
        encode(&Header::new(Algorithm::HS256), &issuer.claims(json!({})), &key).unwrap()
    };
    assert_eq!(status(&service, &sign(secret)).await, 200);
    assert_eq!(status(&service, &sign("another secret of thirty-two bytes or more")).await, 401);
    let stranger = Signer::es256("a");
    assert_eq!(status(&service, &stranger.sign(&issuer.claims(json!({})))).await, 401);
    assert_eq!(issuer.asked(), Vec::<String>::new());
}
