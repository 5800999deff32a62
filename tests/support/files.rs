//! DocSpace's API about files, as far as an upload needs it: what its public source and documentation say
//! of upload sessions, in both forms, with the mistakes of a server on request.
#![allow(dead_code)] // Each test program uses its own part.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use serde_json::{Value, json};

use super::web::{Asked, Reply, Web};

pub const KEY: &str = "sk-of-the-portal";
pub const CHUNK: usize = 256 << 10;
pub const FOLDER: &str = "5";
pub const CLOUD_FOLDER: &str = "drive-1-folder|x";

#[derive(Debug, Clone, Copy, Default)]
pub struct Behaviour {
    /// Only `create_session` and chunks in their order.
    pub old: bool,
    pub no_ranges: bool,
    /// This chunk is answered with 500, so many times.
    pub fail_chunk: Option<(usize, u32)>,
    /// The session is forgotten after so many chunks.
    pub expire_after: Option<usize>,
    /// The file is made, and the answer that says so is lost.
    pub lose_end: bool,
    /// The file is put together in the wrong order.
    pub wrong_order: bool,
    /// Addresses that the server names are on another host, as people reach it from outside.
    pub foreign: bool,
    /// The settings may not be seen.
    pub no_settings: bool,
    /// While a tenant in this database is being restored, nobody is answered.
    pub closed_by: Option<&'static str>,
}

impl Behaviour {
    fn is_closed(&self) -> bool {
        let Some(database) = self.closed_by else { return false };
        let query = "select count(*) from tenants_tenants where status = 4";
        let answer = std::process::Command::new("mariadb")
            .args(["-h127.0.0.1", "-uroot", "-N", "-e", query, database])
            .output()
            .unwrap();
        answer.stdout != b"0\n"
    }
}

#[derive(Debug, Clone)]
pub struct Stored {
    pub folder: String,
    pub title: String,
    pub content: Bytes,
    pub in_trash: bool,
}

#[derive(Default)]
struct Session {
    folder: String,
    title: String,
    total: usize,
    chunks: BTreeMap<usize, Bytes>,
    file: Option<String>,
}

#[derive(Default)]
pub struct State {
    pub behaviour: Behaviour,
    pub files: BTreeMap<String, Stored>,
    sessions: BTreeMap<String, Session>,
    made: usize,
    /// `METHOD /path` of every request.
    pub asked: Vec<String>,
    /// Requests with a body of unknown length.
    pub unframed: usize,
    url: String,
    /// The only one that may do anything.
    pub key: String,
    /// The tenant that it is of; empty: the only one.
    pub origin: &'static str,
}

pub struct DocSpaceFiles {
    web: Web,
    state: Arc<Mutex<State>>,
}

impl DocSpaceFiles {
    pub async fn start(behaviour: Behaviour) -> Self {
        let state =
            Arc::new(Mutex::new(State { behaviour, key: KEY.to_owned(), ..State::default() }));
        let shared = state.clone();
        let web = Web::start(move |asked| shared.lock().unwrap().answer(&asked)).await;
        state.lock().unwrap().url = web.url.clone();
        Self { web, state }
    }

    pub fn url(&self) -> &str {
        &self.web.url
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn sessions(&self) -> usize {
        self.state().sessions.len()
    }

    /// How often requests of this method and beginning of the path came.
    pub fn count(&self, request: &str) -> usize {
        self.state().asked.iter().filter(|asked| asked.starts_with(request)).count()
    }

    /// The `[portal.docspace]` section.
    pub fn config(&self) -> String {
        format!("[portal.docspace]\nurl = \"{}\"\napi_key = \"{KEY}\"\n", self.url())
    }
}

fn fine(response: Value) -> Reply {
    Reply::json(200, &json!({ "response": response, "count": 1, "status": 0, "statusCode": 200 }))
}

fn error(status: u16, message: &str) -> Reply {
    let error = json!({ "message": message, "type": null, "stack": null, "hresult": 0 });
    Reply::json(status, &json!({ "error": error, "status": 1, "statusCode": status }))
}

/// As ASP.NET answers where there is no such route.
fn no_route() -> Reply {
    Reply::new(404, "")
}

fn id(text: &str) -> Value {
    text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number))
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Reply {
        self.asked.push(format!("{} {}", asked.method, asked.path));
        let elsewhere = !self.origin.is_empty() && asked.header("origin") != self.origin;
        if elsewhere || asked.header("authorization") != format!("Bearer {}", self.key) {
            return Reply::new(401, "");
        }
        if self.behaviour.is_closed() {
            return error(403, "Access denied");
        }
        if asked.headers.contains_key("transfer-encoding") {
            self.unframed += 1;
        }
        if asked.path == "/ChunkedUploader.ashx" {
            return self.chunk_in_order(asked);
        }
        if asked.path == "/filehandler.ashx" {
            return self.content(asked);
        }
        let Some(rest) = asked.path.strip_prefix("/api/2.0/files/") else { return no_route() };
        let parts: Vec<String> = rest
            .split('/')
            .map(|part| percent_encoding::percent_decode_str(part).decode_utf8().unwrap().into())
            .collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match (asked.method.as_str(), parts.as_slice()) {
            ("GET", ["settings"]) if self.behaviour.no_settings => error(403, "Access denied"),
            ("GET", ["settings"]) => fine(json!({ "chunkUploadSize": CHUNK })),
            ("GET", ["file", file]) => match self.files.get(*file) {
                Some(stored) => fine(describe(file, stored)),
                None => error(404, "The required file was not found"),
            },
            ("DELETE", ["file", file]) => {
                let how: Value = serde_json::from_slice(&asked.body).unwrap();
                assert_eq!(how, json!({ "deleteAfter": false, "immediately": true }));
                self.files.remove(*file);
                fine(json!([{ "id": "operation", "progress": 0, "finished": false, "error": "" }]))
            }
            ("GET", ["file", file, "presigneduri"]) => {
                let host = if self.behaviour.foreign { "http://evil.example" } else { &self.url };
                fine(json!(format!(
                    "{host}/filehandler.ashx?action=stream&fileid={file}&version=1"
                )))
            }
            ("GET", [folder]) => self.list(folder, asked),
            ("POST", [folder, "session"]) if !self.behaviour.old => {
                self.create(folder, asked).map_or_else(|reply| reply, fine)
            }
            ("POST", [folder, "upload", "create_session"]) => match self.create(folder, asked) {
                Ok(session) => fine(json!({ "success": true, "data": session })),
                Err(reply) => reply,
            },
            ("POST", [_, "session", session]) => self.single(session, asked),
            ("POST", [_, "session", session, "upload"]) => self.chunk(session, asked),
            ("PUT", [_, "session", session, "finalize"]) => self.finalize(session),
            ("DELETE", [_, "session", session]) => match self.sessions.remove(*session) {
                Some(_) => fine(Value::Null),
                None => error(500, "Object reference not set to an instance of an object."),
            },
            _ => no_route(),
        }
    }

    fn list(&self, folder: &str, asked: &Asked) -> Reply {
        if folder != FOLDER && folder != CLOUD_FOLDER {
            return error(404, "The required folder was not found");
        }
        let number = |name| asked.query(name).unwrap().parse::<usize>().unwrap();
        let files = self.files.iter().rev().filter(|(_, file)| file.folder == folder);
        let page = files.skip(number("startIndex")).take(number("count"));
        let files: Vec<_> = page.map(|(id, file)| describe(id, file)).collect();
        fine(json!({ "files": files, "folders": [] }))
    }

    fn create(&mut self, folder: &str, asked: &Asked) -> Result<Value, Reply> {
        if folder != FOLDER && folder != CLOUD_FOLDER {
            return Err(error(404, "The required folder was not found"));
        }
        let wanted: Value = serde_json::from_slice(&asked.body).unwrap();
        assert_eq!(wanted["createNewIfExist"], true, "an old file would be overwritten");
        self.made += 1;
        let session = format!("{:032x}", self.made);
        let total = wanted["fileSize"].as_u64().unwrap() as usize;
        let title = wanted["fileName"].as_str().unwrap().to_owned();
        self.sessions.insert(
            session.clone(),
            Session { folder: folder.to_owned(), title, total, ..Session::default() },
        );
        let host = if self.behaviour.foreign { "http://evil.example" } else { &self.url };
        Ok(json!({
            "id": session, "path": [id(folder)], "created": "2026-03-01T00:00:00",
            "expired": "2026-03-01T12:00:00", "bytes_total": total,
            "location": format!("{host}/ChunkedUploader.ashx?uid={session}"),
        }))
    }

    /// A whole file that is smaller than a chunk.
    fn single(&mut self, session: &str, asked: &Asked) -> Reply {
        let Some(mut open) = self.sessions.remove(session) else {
            return error(500, "Object reference not set to an instance of an object.");
        };
        let content = form(asked);
        assert!(open.total < CHUNK, "the server has no chunks of this session");
        if content.len() != open.total {
            return error(400, "uploadSize != bytesTotal");
        }
        open.chunks.insert(1, content);
        self.make(open)
    }

    fn chunk(&mut self, session: &str, asked: &Asked) -> Reply {
        let number: usize = asked.query("chunkNumber").unwrap().parse().unwrap();
        if let Some((failing, times @ 1..)) = self.behaviour.fail_chunk
            && failing == number
        {
            self.behaviour.fail_chunk = Some((failing, times - 1));
            return error(500, "An error occurred");
        }
        let content = form(asked);
        if content.len() > CHUNK {
            return error(500, "The file exceeds the maximum size");
        }
        if self.behaviour.expire_after.is_some_and(|after| number > after) {
            self.sessions.remove(session);
        }
        let Some(open) = self.sessions.get_mut(session) else {
            return error(500, "Object reference not set to an instance of an object.");
        };
        open.chunks.insert(number, content);
        fine(json!({ "id": session, "bytes_total": open.total }))
    }

    /// Counts as DocSpace does: as many chunks as there would be if all had the full size.
    fn finalize(&mut self, session: &str) -> Reply {
        let Some(open) = self.sessions.get(session) else {
            return error(500, "Object reference not set to an instance of an object.");
        };
        let count = open.total.div_ceil(CHUNK);
        let bytes: usize = (1..=count).map_while(|n| open.chunks.get(&n)).map(Bytes::len).sum();
        if bytes != open.total {
            return error(400, "uploadSize != bytesTotal");
        }
        let open = self.sessions.remove(session).unwrap();
        self.make(open)
    }

    fn chunk_in_order(&mut self, asked: &Asked) -> Reply {
        let session = asked.query("uid").unwrap();
        let refused = "Not authorized or session with specified upload id already expired";
        let refused = Reply::json(200, &json!({ "success": false, "message": refused }));
        if asked.query("abort") == Some("true") {
            return match self.sessions.remove(session) {
                Some(_) => Reply::json(200, &json!({ "success": true, "message": "" })),
                None => refused,
            };
        }
        let Some(open) = self.sessions.get_mut(session) else { return refused };
        let number = open.chunks.len() + 1;
        if self.behaviour.expire_after.is_some_and(|after| number > after) {
            self.sessions.remove(session);
            return refused;
        }
        open.chunks.insert(number, form(asked));
        let bytes: usize = open.chunks.values().map(Bytes::len).sum();
        if bytes < open.total {
            let data = json!({ "id": session, "bytes_total": open.total });
            return Reply::json(200, &json!({ "success": true, "data": data, "message": "" }));
        }
        let open = self.sessions.remove(session).unwrap();
        let made = self.make(open);
        let made: Value = serde_json::from_slice(&made.body).unwrap();
        Reply::json(201, &json!({ "success": true, "data": made["response"], "message": "" }))
    }

    fn make(&mut self, session: Session) -> Reply {
        self.made += 1;
        let file = match session.folder.parse::<u64>() {
            Ok(_) => (1000 + self.made).to_string(),
            Err(_) => format!("drive-1-file {}|é", self.made),
        };
        let mut content = Vec::new();
        let mut chunks: Vec<_> = session.chunks.values().collect();
        if self.behaviour.wrong_order {
            chunks.reverse();
        }
        chunks.into_iter().for_each(|chunk| content.extend_from_slice(chunk));
        let stored = Stored {
            folder: session.folder,
            title: session.title,
            content: content.into(),
            in_trash: false,
        };
        let answer = json!({
            "id": id(&file), "folderId": id(&stored.folder), "version": 1, "title": stored.title,
            "uploaded": true, "file": describe(&file, &stored),
        });
        self.files.insert(file, stored);
        if self.behaviour.lose_end {
            return Reply::cut();
        }
        Reply::json(201, &json!({ "response": answer, "status": 0, "statusCode": 201 }))
    }

    fn content(&self, asked: &Asked) -> Reply {
        assert_eq!(asked.query("action"), Some("stream"));
        let Some(file) = self.files.get(asked.query("fileid").unwrap()) else {
            return Reply::new(404, "");
        };
        let all = file.content.len();
        let range = asked.header("range").strip_prefix("bytes=").and_then(|r| r.split_once('-'));
        let Some((start, end)) = range.filter(|_| !self.behaviour.no_ranges) else {
            return Reply::new(200, file.content.clone());
        };
        let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
        let end = (end + 1).min(all);
        let part = file.content.slice(start..end);
        if part.len() == all {
            return Reply::new(200, part);
        }
        // The blank at the beginning is DocSpace's.
        Reply::new(206, part).with("content-range", format!(" bytes {start}-{}/{all}", end - 1))
    }
}

fn describe(file: &str, stored: &Stored) -> Value {
    json!({
        "id": id(file), "title": stored.title, "folderId": id(&stored.folder),
        "contentLength": "1 MB", "pureContentLength": stored.content.len(),
        "rootFolderType": if stored.in_trash { 3 } else { 5 },
    })
}

/// The file of a form that has nothing else.
fn form(asked: &Asked) -> Bytes {
    let content_type = asked.header("content-type");
    let boundary = content_type.strip_prefix("multipart/form-data; boundary=").unwrap();
    let body = &asked.body;
    let start = body.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let head = std::str::from_utf8(&body[..start]).unwrap();
    assert!(head.starts_with(&format!("--{boundary}\r\n")), "{head}");
    assert!(head.contains("form-data; name=\"file\"; filename=\""), "{head}");
    let end = format!("\r\n--{boundary}--\r\n");
    assert!(body.ends_with(end.as_bytes()));
    body.slice(start..body.len() - end.len())
}
