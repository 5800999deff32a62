//! An OpenID provider in the test's own process, whose keys rotate, vanish and turn hostile.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use hyper::body::{Body, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub const AUDIENCE: &str = "https://portal.example.org";

/// A key of the issuer.
pub struct Signer {
    pub id: String,
    algorithm: Algorithm,
    key: EncodingKey,
    /// Its public half, as key sets have it.
    pub jwk: Value,
}

impl Signer {
    pub fn es256(id: &str) -> Self {
        let key =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        Self::of(id, Algorithm::ES256, EncodingKey::from_ec_der(key.unwrap().as_ref()))
    }

    pub fn rs256(id: &str) -> Self {
        let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der = key.as_der().unwrap();
        // What PKCS #8 wraps begins after the version and the algorithm.
        Self::of(id, Algorithm::RS256, EncodingKey::from_rsa_der(&der.as_ref()[26..]))
    }

    fn of(id: &str, algorithm: Algorithm, key: EncodingKey) -> Self {
        let jwk = Jwk::from_encoding_key(&key, algorithm).unwrap();
        let mut jwk = serde_json::to_value(jwk).unwrap();
        jwk["kid"] = json!(id);
        jwk["use"] = json!("sig");
        Self { id: id.to_owned(), algorithm, key, jwk }
    }

    pub fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.clone()), ..Header::new(self.algorithm) };
        encode(&header, claims, &self.key).unwrap()
    }
}

/// How the issuer answers.
#[derive(Clone)]
pub enum Mood {
    Well,
    /// Every request fails.
    Broken,
    /// Sends who asks for keys to another host, which would answer well.
    Redirecting,
    /// The key set is this text.
    Says(String),
    /// Describes somebody else.
    Impostor,
}

struct State {
    keys: Vec<Value>,
    mood: Mood,
    active: bool,
    asked: Vec<String>,
}

/// Listens on a port of its own until dropped.
pub struct Issuer {
    /// The issuer's name and address.
    pub url: String,
    state: Arc<Mutex<State>>,
    serving: JoinHandle<()>,
}

impl Issuer {
    pub async fn start(keys: &[&Signer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}/oauth2");
        let keys = keys.iter().map(|key| key.jwk.clone()).collect();
        let state = State { keys, mood: Mood::Well, active: true, asked: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let (shared, own) = (state.clone(), url.clone());
        let serving = tokio::spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { continue };
                let (state, url) = (shared.clone(), own.clone());
                let service = hyper::service::service_fn(move |request| {
                    let (state, url) = (state.clone(), url.clone());
                    async move { Ok::<_, Infallible>(answer(&state, &url, request).await) }
                });
                tokio::spawn(async move {
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        });
        Self { url, state, serving }
    }

    pub fn set_keys(&self, keys: &[&Signer]) {
        self.state.lock().unwrap().keys = keys.iter().map(|key| key.jwk.clone()).collect();
    }

    pub fn set_mood(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    /// What the introspection says of every token.
    pub fn set_active(&self, active: bool) {
        self.state.lock().unwrap().active = active;
    }

    /// The requests so far: path, and for introspections their credential and body.
    pub fn asked(&self) -> Vec<String> {
        self.state.lock().unwrap().asked.clone()
    }

    /// The `[auth.jwt]` section; `more` is appended.
    pub fn config(&self, more: &str) -> String {
        format!("[auth.jwt]\nissuer = \"{}\"\naudience = \"{AUDIENCE}\"\n{more}\n", self.url)
    }

    /// Claims of a good token, changed by `change`; null takes a claim away.
    pub fn claims(&self, change: Value) -> Value {
        let mut claims = json!({
            "iss": self.url, "aud": AUDIENCE, "sub": "someone", "scope": "*:write",
            "exp": now() + 300, "iat": now(),
        });
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        claims
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

async fn answer(state: &Mutex<State>, url: &str, request: Request<Incoming>) -> Response<String> {
    let path = request.uri().path().to_owned();
    let credential = request.headers().get("authorization").cloned();
    let body = read(request.into_body()).await;
    let mut state = state.lock().unwrap();
    let credential = credential.map(|value| value.to_str().unwrap().to_owned());
    state.asked.push(format!("{path} {} {body}", credential.unwrap_or_default()).trim().to_owned());
    let reply = |status: u16, body: String| {
        Response::builder().status(status).header("content-type", "application/json").body(body)
    };
    let set = json!({"keys": state.keys}).to_string();
    let reply = match (path.as_str(), &state.mood) {
        (_, Mood::Broken) => reply(500, "{}".to_owned()),
        ("/oauth2/.well-known/openid-configuration", mood) => {
            let issuer = match mood {
                Mood::Impostor => "https://elsewhere.example",
                _ => url,
            };
            let keys = format!("{url}/jwks");
            let introspect = format!("{url}/introspect");
            reply(
                200,
                json!({"issuer": issuer, "jwks_uri": keys, "introspection_endpoint": introspect})
                    .to_string(),
            )
        }
        ("/oauth2/jwks", Mood::Redirecting) => {
            let elsewhere = format!("{}/other", url.replace("127.0.0.1", "localhost"));
            Response::builder().status(302).header("location", elsewhere).body(String::new())
        }
        ("/oauth2/jwks", Mood::Says(text)) => reply(200, text.clone()),
        ("/oauth2/jwks" | "/oauth2/other", _) => reply(200, set),
        ("/oauth2/introspect", _) => reply(200, json!({"active": state.active}).to_string()),
        _ => reply(404, "{}".to_owned()),
    };
    reply.unwrap()
}

async fn read(mut body: Incoming) -> String {
    let mut text = String::new();
    while let Some(frame) =
        std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
    {
        if let Ok(data) = frame.unwrap().into_data() {
            text += std::str::from_utf8(&data).unwrap();
        }
    }
    text
}
