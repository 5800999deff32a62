//! A stand-in for Google Cloud Storage's XML API, as far as `object_store` uses it: no emulator has one.
//! <https://cloud.google.com/storage/docs/xml-api/overview>

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use bytes::Bytes;
use percent_encoding::percent_decode_str;

use super::web::{Asked, Reply, Web};

const BUCKET: &str = "archives";
const TOKEN: &str = "test-token";
const ACCOUNT: &str = "tester@example.org";
/// As Google's own.
const PAGE: usize = 1000;
/// In bytes.
const LONGEST_KEY: usize = 1024;
const MODIFIED: &str = "Sun, 01 Mar 2026 01:02:03 GMT";

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Object>,
    /// By upload id.
    uploads: BTreeMap<String, Upload>,
    asked: Vec<(String, Vec<(String, String)>)>,
    ids: u64,
    /// So many answers have half of their object, and say of it what is said of the whole.
    halved: u32,
    /// Answers all questions for contents in the store's place.
    intruder: Option<&'static str>,
}

#[derive(Default, Clone)]
struct Object {
    content: Bytes,
    /// Those that describe the object.
    headers: Vec<(String, String)>,
    generation: u64,
}

#[derive(Default)]
struct Upload {
    key: String,
    headers: Vec<(String, String)>,
    parts: BTreeMap<u32, Bytes>,
}

/// Has one bucket, `archives`. Asks for a bearer token or a signed address.
pub struct GcsServer {
    web: Web,
    state: Arc<Mutex<State>>,
    account: String,
}

impl GcsServer {
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let of_server = state.clone();
        let web = Web::start(move |asked| of_server.lock().unwrap().answer(&asked)).await;
        let account = serde_json::json!({
            "type": "service_account", "client_email": ACCOUNT, "private_key_id": "1",
            "private_key": private_key(),
        });
        Self { web, state, account: account.to_string() }
    }

    #[allow(dead_code)]
    pub fn endpoint(&self) -> &str {
        &self.web.url
    }

    /// The options of a storage there, as in the configuration.
    pub fn options(&self) -> Vec<(String, String)> {
        [
            ("endpoint", self.web.url.as_str()),
            ("bearer_token", TOKEN),
            ("service_account_key", &self.account),
            ("allow_http", "true"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// The names of all objects, and of uploads that were neither completed nor aborted.
    pub fn all(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let uploads = state.uploads.values().map(|upload| format!("upload of {}", upload.key));
        state.objects.keys().cloned().chain(uploads).collect()
    }

    /// Puts an object of any name.
    #[allow(dead_code)]
    pub fn put(&self, key: &str, content: impl Into<Bytes>) {
        self.state.lock().unwrap().store(key.to_owned(), content.into(), Vec::new());
    }

    #[allow(dead_code)]
    pub fn content(&self, key: &str) -> Option<Bytes> {
        self.state.lock().unwrap().objects.get(key).map(|object| object.content.clone())
    }

    #[allow(dead_code)]
    pub fn remove(&self, key: &str) {
        self.state.lock().unwrap().objects.remove(key);
    }

    /// The next answers of contents have only half of them.
    #[allow(dead_code)]
    pub fn halve(&self, answers: u32) {
        self.state.lock().unwrap().halved = answers;
    }

    #[allow(dead_code)]
    pub fn intrude(&self, answer: &'static str) {
        self.state.lock().unwrap().intruder = Some(answer);
    }

    /// Method and address of every request, with its headers.
    #[allow(dead_code)]
    pub fn asked(&self) -> Vec<(String, Vec<(String, String)>)> {
        self.state.lock().unwrap().asked.clone()
    }
}

/// An RSA key in PEM, made once.
fn private_key() -> &'static str {
    static KEY: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    KEY.get_or_init(|| {
        use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
        use aws_lc_rs::rsa::{KeyPair, KeySize};
        let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
        let text = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
        let lines: Vec<_> =
            text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let lines = lines.join("\n");
        format!("-----BEGIN PRIVATE KEY-----\n{lines}\n-----END PRIVATE KEY-----\n")
    })
}

fn error(status: u16, code: &str) -> Reply {
    Reply::new(
        status,
        format!("<Error><Code>{code}</Code><Message>{code} it is.</Message></Error>"),
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('\n', "&#xA;")
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Reply {
        let headers = asked.headers.iter();
        let headers: Vec<_> = headers
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
            .collect();
        self.asked.push((format!("{} {}", asked.method, asked.path), headers.clone()));
        let signed = asked.query("X-Goog-Signature").is_some_and(|signature| signature.len() > 200)
            && asked.query("X-Goog-Credential").is_some_and(|by| by.starts_with(ACCOUNT));
        if asked.header("authorization") != format!("Bearer {TOKEN}") && !signed {
            return error(403, "AccessDenied");
        }
        let (bucket, key) =
            asked.path[1..].split_once('/').unwrap_or((asked.path[1..].as_ref(), ""));
        if bucket != BUCKET {
            return error(404, "NoSuchBucket");
        }
        let key = percent_decode_str(key).decode_utf8().unwrap().into_owned();
        if key.len() > LONGEST_KEY {
            return error(400, "KeyTooLongError");
        }
        let describing = headers
            .into_iter()
            .filter(|(name, _)| name.starts_with("x-goog-meta-") || name == "x-goog-storage-class")
            .collect();
        match (asked.method.as_str(), asked.query("uploadId")) {
            ("GET", _) if key.is_empty() => self.list(asked),
            ("GET" | "HEAD", _) => self.get(&key, asked.header("range")),
            ("PUT", Some(id)) => self.put_part(id, asked),
            ("PUT", None) => {
                if asked.header("x-goog-if-generation-match") == "0"
                    && self.objects.contains_key(&key)
                {
                    return error(412, "PreconditionFailed");
                }
                let from = asked.header("x-goog-copy-source").trim_start_matches('/');
                match from.split_once('/') {
                    None => self.store(key, asked.body.clone(), describing),
                    Some((_, from)) => {
                        let from = percent_decode_str(from).decode_utf8().unwrap();
                        match self.objects.get(from.as_ref()).cloned() {
                            Some(object) => self.store(key, object.content, object.headers),
                            None => error(404, "NoSuchKey"),
                        }
                    }
                }
            }
            ("POST", None) if asked.query("uploads").is_some() => {
                self.ids += 1;
                let id = format!("upload-{}", self.ids);
                let upload = Upload { key, headers: describing, parts: BTreeMap::new() };
                self.uploads.insert(id.clone(), upload);
                Reply::new(200, format!("<R><UploadId>{id}</UploadId></R>"))
            }
            ("POST", Some(id)) => {
                let Some(upload) = self.uploads.remove(id) else {
                    return error(404, "NoSuchUpload");
                };
                let content: Vec<u8> = upload.parts.into_values().flatten().collect();
                let stored = self.store(upload.key, content.into(), upload.headers);
                let headers = stored.headers;
                Reply { headers, ..Reply::new(200, "<R><ETag>\"x\"</ETag></R>") }
            }
            ("DELETE", Some(id)) => match self.uploads.remove(id) {
                Some(_) => Reply::new(204, ""),
                None => error(404, "NoSuchUpload"),
            },
            ("DELETE", None) => match self.objects.remove(&key) {
                Some(_) => Reply::new(204, ""),
                None => error(404, "NoSuchKey"),
            },
            _ => error(405, "MethodNotAllowed"),
        }
    }

    fn store(&mut self, key: String, content: Bytes, headers: Vec<(String, String)>) -> Reply {
        self.ids += 1;
        let generation = self.ids;
        self.objects.insert(key, Object { content, headers, generation });
        Reply::new(200, "")
            .with("etag", format!("\"{generation}\""))
            .with("x-goog-generation", generation.to_string())
    }

    fn put_part(&mut self, id: &str, asked: &Asked) -> Reply {
        let Some(upload) = self.uploads.get_mut(id) else { return error(404, "NoSuchUpload") };
        let number = asked.query("partNumber").unwrap().parse().unwrap();
        upload.parts.insert(number, asked.body.clone());
        Reply::new(200, "")
            .with("etag", format!("\"part-{number}\""))
            .with("x-goog-generation", "1".to_owned())
    }

    fn get(&mut self, key: &str, range: &str) -> Reply {
        let Some(mut object) = self.objects.get(key).cloned() else {
            return error(404, "NoSuchKey");
        };
        if let Some(answer) = self.intruder {
            return Reply::new(200, answer).with("last-modified", MODIFIED.to_owned());
        }
        if self.halved > 0 {
            self.halved -= 1;
            object.content.truncate(object.content.len() / 2);
        }
        let length = object.content.len();
        let mut reply = match range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) {
            Some((from, to)) => {
                let (from, to) = (from.parse::<usize>().unwrap(), to.parse::<usize>().unwrap());
                if from >= length {
                    return error(416, "InvalidRange");
                }
                let end = (to + 1).min(length);
                Reply::new(206, object.content.slice(from..end))
                    .with("content-range", format!("bytes {from}-{}/{length}", end - 1))
            }
            None => Reply::new(200, object.content.clone()),
        };
        for (name, value) in &object.headers {
            reply = reply.with(Box::leak(name.clone().into_boxed_str()), value.clone());
        }
        // An answer to HEAD has no body to tell it by.
        let length = reply.body.len().to_string();
        reply
            .with("content-length", length)
            .with("etag", format!("\"{}\"", object.generation))
            .with("x-goog-generation", object.generation.to_string())
            .with("last-modified", MODIFIED.to_owned())
    }

    fn list(&self, asked: &Asked) -> Reply {
        let prefix = asked.query("prefix").unwrap_or_default();
        let after = asked.query("continuation-token").unwrap_or_default();
        let mut folders = Vec::new();
        let mut page = String::new();
        let (mut count, mut last) = (0, None);
        for (key, object) in self.objects.iter().filter(|(key, _)| key.starts_with(prefix)) {
            if key.as_str() <= after {
                continue;
            }
            if count == PAGE {
                page += &format!(
                    "<NextContinuationToken>{}</NextContinuationToken>",
                    escaped(last.unwrap())
                );
                break;
            }
            last = Some(key.as_str());
            if let (Some("/"), Some((folder, _))) =
                (asked.query("delimiter"), key[prefix.len()..].split_once('/'))
            {
                let folder = format!("{prefix}{folder}/");
                if !folders.contains(&folder) {
                    page += &format!(
                        "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>",
                        escaped(&folder)
                    );
                    folders.push(folder);
                }
                continue;
            }
            count += 1;
            page += &format!(
                "<Contents><Key>{}</Key><Size>{}</Size><ETag>\"{}\"</ETag>\
                 <LastModified>2026-03-01T01:02:03.000Z</LastModified></Contents>",
                escaped(key),
                object.content.len(),
                object.generation
            );
        }
        Reply::new(200, format!("<ListBucketResult>{page}</ListBucketResult>"))
    }
}
