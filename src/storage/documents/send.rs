//! DocSpace's upload sessions.
//!
//! Since version 3.7 chunks have numbers, so that one whose answer was lost can be sent again. Older
//! servers have only a session with a location that takes chunks in their order; there nothing can be repeated.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use reqwest::{Body, Method, StatusCode};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use super::super::StorageError;
use super::answer::short;
use super::api::{Api, id_text};
use super::spool::Spool;

const TRIES: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(300);

/// An upload that DocSpace knows of.
#[derive(Debug, Clone)]
pub(super) struct Session {
    folder: String,
    pub id: String,
    /// Of older servers: where chunks go.
    location: Option<Url>,
}

impl Session {
    pub(super) async fn create(
        api: &Api,
        folder: &str,
        name: &str,
        size: u64,
    ) -> Result<Self, StorageError> {
        // Never as a new version of a file that has the name.
        let wanted = json!({ "fileName": name, "fileSize": size, "createNewIfExist": true });
        let created = api.ask(Method::POST, api.url(&[folder, "session"]), Some(&wanted)).await;
        let (session, old) = match created {
            Ok(session) => (session, false),
            // The folder was there a moment ago, so it is the route that is missing.
            Err(StorageError::NotFound(_) | StorageError::Other(_)) => {
                let url = api.url(&[folder, "upload", "create_session"]);
                let answer = api.ask(Method::POST, url, Some(&wanted)).await?;
                if answer["success"] == Value::Bool(false) {
                    return Err(failed(&answer));
                }
                (answer["data"].clone(), true)
            }
            Err(error) => return Err(error),
        };
        let id = session["id"].as_str().filter(|id| !id.is_empty()).ok_or_else(|| {
            StorageError::Other("DocSpace opened an upload session without an id".to_owned())
        })?;
        let location = match old {
            false => None,
            true => Some(api.own(session["location"].as_str().unwrap_or_default())?),
        };
        Ok(Self { folder: folder.to_owned(), id: id.to_owned(), location })
    }

    /// A session that a dead attempt left.
    pub(super) fn known(folder: &str, id: &str) -> Self {
        Self { folder: folder.to_owned(), id: id.to_owned(), location: None }
    }

    /// Sends everything and closes the session; the new file's id.
    pub(super) async fn send(
        &self,
        api: &Api,
        name: &str,
        spool: &Spool,
        chunk: u64,
    ) -> Result<String, StorageError> {
        let total = spool.len();
        if let Some(location) = &self.location {
            return self.send_in_order(api, location, name, spool, chunk).await;
        }
        if total < chunk {
            // The server takes a file of this size at once, and has no chunks of it.
            let url = api.url(&[&self.folder, "session", &self.id]);
            let (status, answer) = post(api, url, name, spool, 0, total).await?;
            return finished(status, &answer["response"]);
        }
        for (number, start) in (1_u64..).zip((0..total).step_by(chunk as usize)) {
            let mut url = api.url(&[&self.folder, "session", &self.id, "upload"]);
            url.query_pairs_mut().append_pair("chunkNumber", &number.to_string());
            repeatedly(|| post(api, url.clone(), name, spool, start, chunk.min(total - start)))
                .await?;
        }
        let url = api.url(&[&self.folder, "session", &self.id, "finalize"]);
        // Only once: after a lost answer the session is gone, and the caller looks for the file.
        let (status, answer) =
            api.send(Method::PUT, url, "application/json".to_owned(), 0, Body::from("")).await?;
        finished(status, &answer["response"])
    }

    async fn send_in_order(
        &self,
        api: &Api,
        location: &Url,
        name: &str,
        spool: &Spool,
        chunk: u64,
    ) -> Result<String, StorageError> {
        let total = spool.len();
        let mut last = None;
        for start in (0..total).step_by(chunk as usize) {
            let length = chunk.min(total - start);
            let (status, answer) = post(api, location.clone(), name, spool, start, length).await?;
            // Errors come with status 200 here.
            if answer["success"] != Value::Bool(true) {
                return Err(failed(&answer));
            }
            last = Some((status, answer));
        }
        let Some((status, answer)) = last else {
            return Err(StorageError::Other("there is nothing to upload".to_owned()));
        };
        finished(status, &answer["data"])
    }

    /// Ends the session and frees its chunks; fine when it is gone.
    pub(super) async fn abort(&self, api: &Api) -> Result<(), StorageError> {
        if let Some(location) = &self.location {
            let mut url = location.clone();
            url.query_pairs_mut().append_pair("abort", "true");
            return api.ask(Method::POST, url, None).await.map(drop);
        }
        let url = api.url(&[&self.folder, "session", &self.id]);
        match api.ask(Method::DELETE, url, None).await {
            Ok(_) | Err(StorageError::NotFound(_)) => Ok(()),
            // So does DocSpace answer when it does not know the session any more.
            Err(StorageError::Unavailable(text)) if text.contains("status 500") => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// One chunk as a form with one file.
async fn post(
    api: &Api,
    url: Url,
    name: &str,
    spool: &Spool,
    start: u64,
    length: u64,
) -> Result<(StatusCode, Value), StorageError> {
    let boundary = Uuid::new_v4().simple().to_string();
    // Quotes and line ends would end the header; the real name was given with the session.
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%') { c } else { '_' })
        .collect();
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{plain}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    let tail = format!("\r\n--{boundary}--\r\n");
    let all = head.len() as u64 + length + tail.len() as u64;
    let body = stream::iter([Ok(Bytes::from(head))])
        .chain(spool.read(start, length))
        .chain(stream::iter([Ok(Bytes::from(tail))]));
    let content_type = format!("multipart/form-data; boundary={boundary}");
    spool.allow(length).await;
    api.send(Method::POST, url, content_type, all, Body::wrap_stream(body)).await
}

async fn repeatedly<F, W>(mut send: F) -> Result<(), StorageError>
where
    F: FnMut() -> W,
    W: Future<Output = Result<(StatusCode, Value), StorageError>>,
{
    let mut wait = FIRST_WAIT;
    let mut attempt = 1;
    loop {
        match send().await {
            Ok(_) => return Ok(()),
            Err(StorageError::Unavailable(text)) if attempt < TRIES => {
                tracing::warn!(text, attempt, "a chunk is sent to DocSpace again");
                tokio::time::sleep(wait).await;
                wait *= 2;
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

fn finished(status: StatusCode, file: &Value) -> Result<String, StorageError> {
    let whole = status == StatusCode::CREATED || file["uploaded"] == Value::Bool(true);
    match id_text(&file["id"]).filter(|id| whole && id != "0") {
        Some(id) => Ok(id),
        None => Err(StorageError::Other(
            "DocSpace took every chunk and has not made the file: it counts other bytes than were sent"
                .to_owned(),
        )),
    }
}

fn failed(answer: &Value) -> StorageError {
    let said = answer["message"].as_str().unwrap_or("it does not say why");
    StorageError::Other(format!("DocSpace refused the upload: {}", short(said)))
}
