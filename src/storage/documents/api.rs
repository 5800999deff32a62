//! What is asked of DocSpace's API about files.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue, ORIGIN};
use reqwest::{Body, Client, Method, RequestBuilder, StatusCode, redirect};
use serde_json::{Value, json};
use url::Url;

use super::super::StorageError;
use super::answer::{read, refusal, short, unreachable};

const PAGE: usize = 100;
/// More files of one folder are not looked through.
const MOST_FILES: usize = 100_000;
/// `FolderType` of the recycle bin.
const TRASH: i64 = 3;
/// DocSpace's own `files:uploader:chunk-size`.
const USUAL_CHUNK: u64 = 10_485_760;
/// What DocSpace itself serves beside its API: uploads of older versions, and contents of files.
const HANDLERS: [&str; 2] = ["chunkeduploader.ashx", "filehandler.ashx"];
const TRIES: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// For questions; what carries an archive's bytes has time by itself.
const PATIENCE: Duration = Duration::from_secs(30);
/// A chunk may take this long.
const CHUNK_PATIENCE: Duration = Duration::from_secs(600);

/// A file as DocSpace describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileInfo {
    /// A number, or a text in a connected cloud.
    pub id: String,
    pub title: String,
    pub size: u64,
    in_trash: bool,
}

#[derive(Clone)]
pub(super) struct Api {
    clients: Clients,
    base: Url,
    authorization: HeaderValue,
    /// The tenant that the credential is of, where there are several: DocSpace looks here first, because the
    /// configured address may be one for all.
    origin: Option<HeaderValue>,
}

#[derive(Clone)]
pub(super) struct Clients {
    http: Client,
    /// For chunks: nothing is heard of DocSpace while one is sent, however slowly.
    chunks: Client,
}

impl Clients {
    /// No redirect is followed: it might lead a credential to another host.
    pub(super) fn new() -> Result<Self, String> {
        let client = || {
            Client::builder()
                .redirect(redirect::Policy::none())
                .connect_timeout(Duration::from_secs(10))
                .user_agent(concat!("portal-backup/", env!("CARGO_PKG_VERSION")))
        };
        let wrong = |error: reqwest::Error| error.to_string();
        let http = client().read_timeout(Duration::from_secs(120)).build().map_err(wrong)?;
        Ok(Self { http, chunks: client().build().map_err(wrong)? })
    }
}

impl Api {
    pub(super) fn new(
        clients: Clients,
        base: Url,
        credential: &str,
        origin: Option<&str>,
    ) -> Result<Self, StorageError> {
        let value = match credential.starts_with("sk-") {
            true => format!("Bearer {credential}"),
            false => credential.to_owned(),
        };
        let mut authorization = HeaderValue::from_str(&value).map_err(|_| {
            StorageError::Invalid("the credential for DocSpace cannot be sent".to_owned())
        })?;
        authorization.set_sensitive(true);
        let origin = origin.and_then(|origin| HeaderValue::from_str(origin).ok());
        Ok(Self { clients, base, authorization, origin })
    }

    /// The address of a resource below `/api/2.0/files`.
    pub(super) fn url(&self, parts: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "2.0", "files"]).extend(parts);
        }
        url
    }

    /// An address that DocSpace gave, on the configured host: nothing is ever sent to another. DocSpace names the host
    /// that people use from outside, so one of its own handlers is asked where we reach DocSpace.
    pub(super) fn own(&self, text: &str) -> Result<Url, StorageError> {
        let foreign = || {
            StorageError::Other(
                "DocSpace names an address on another host than portal.docspace.url; it is not used"
                    .to_owned(),
            )
        };
        let given = self.base.join(text).map_err(|_| foreign())?;
        let plain = given.username().is_empty() && given.password().is_none();
        let handler = given.path().rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        let own = given.host_str() == self.base.host_str() || HANDLERS.contains(&handler.as_str());
        if !matches!(given.scheme(), "http" | "https") || !own || !plain {
            return Err(foreign());
        }
        let mut url = self.base.clone();
        url.set_path(given.path());
        url.set_query(given.query());
        Ok(url)
    }

    pub(super) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.identified(self.clients.http.request(method, url))
    }

    fn identified(&self, request: RequestBuilder) -> RequestBuilder {
        let request = request.header(AUTHORIZATION, self.authorization.clone());
        match &self.origin {
            Some(origin) => request.header(ORIGIN, origin.clone()),
            None => request,
        }
    }

    /// A question that may be repeated; the answer's `response`.
    pub(super) async fn ask(
        &self,
        method: Method,
        url: Url,
        body: Option<&Value>,
    ) -> Result<Value, StorageError> {
        let mut wait = FIRST_WAIT;
        for attempt in 1.. {
            let mut request = self.request(method.clone(), url.clone()).timeout(PATIENCE);
            if let Some(body) = body {
                request = request.json(body);
            }
            match self.answer(request).await {
                Err(StorageError::Unavailable(text)) if attempt < TRIES => {
                    tracing::debug!(text, "DocSpace is asked again");
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
                result => return result,
            }
        }
        Err(StorageError::Other("DocSpace was not asked".to_owned()))
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Value, StorageError> {
        let (_, answer) = self.whole(request).await?;
        Ok(answer.get("response").cloned().unwrap_or(Value::Null))
    }

    /// The whole answer, which must be a success.
    async fn whole(&self, request: RequestBuilder) -> Result<(StatusCode, Value), StorageError> {
        let response = request.send().await.map_err(|error| unreachable(&error))?;
        let status = response.status();
        let body = read(response).await?;
        let answer = serde_json::from_slice(&body);
        if !status.is_success() {
            return Err(refusal(status, answer.ok()));
        }
        match answer {
            Ok(answer) => Ok((status, answer)),
            Err(_) if body.is_empty() => Ok((status, Value::Null)),
            Err(_) => Err(StorageError::Other(
                "DocSpace's answer is no JSON: is portal.docspace.url its address?".to_owned(),
            )),
        }
    }

    /// Sends a part of an upload once; the status and the whole answer.
    pub(super) async fn send(
        &self,
        method: Method,
        url: Url,
        content_type: String,
        length: u64,
        body: Body,
    ) -> Result<(StatusCode, Value), StorageError> {
        let request = self
            .identified(self.clients.chunks.request(method, url))
            .header("content-type", content_type)
            .header("content-length", length)
            .timeout(CHUNK_PATIENCE)
            .body(body);
        self.whole(request).await
    }

    /// How large the chunks of an upload are: all but the last must have exactly this size. Where DocSpace shows no
    /// settings, as to a key that may not see them, it is what DocSpace comes with.
    pub(super) async fn chunk_size(&self) -> Result<u64, StorageError> {
        let settings = match self.ask(Method::GET, self.url(&["settings"]), None).await {
            Err(error @ StorageError::Unavailable(_)) => return Err(error),
            answer => answer.unwrap_or_default(),
        };
        Ok(settings["chunkUploadSize"].as_u64().filter(|size| *size > 0).unwrap_or(USUAL_CHUNK))
    }

    /// None when there is none, or only in the recycle bin.
    pub(super) async fn file(&self, id: &str) -> Result<Option<FileInfo>, StorageError> {
        match self.ask(Method::GET, self.url(&["file", id]), None).await {
            Ok(file) => Ok(Some(file_info(&file)?).filter(|file| !file.in_trash)),
            Err(StorageError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The first file of a folder that fits, the newest first.
    pub(super) async fn find(
        &self,
        folder: &str,
        mut fits: impl FnMut(&FileInfo) -> bool,
    ) -> Result<Option<FileInfo>, StorageError> {
        let mut start = 0;
        while start < MOST_FILES {
            let mut url = self.url(&[folder]);
            url.query_pairs_mut()
                .append_pair("filterType", "FilesOnly")
                .append_pair("withsubfolders", "false")
                .append_pair("sortBy", "DateAndTime")
                .append_pair("sortOrder", "descending")
                .append_pair("startIndex", &start.to_string())
                .append_pair("count", &PAGE.to_string());
            let page = self.ask(Method::GET, url, None).await?;
            let files = page["files"].as_array().map(Vec::as_slice).unwrap_or_default();
            for file in files {
                let file = file_info(file)?;
                if fits(&file) {
                    return Ok(Some(file));
                }
            }
            if files.len() < PAGE {
                break;
            }
            start += files.len();
        }
        Ok(None)
    }

    /// Asks for a file to be deleted, not to be put into the recycle bin; that happens in the background.
    pub(super) async fn delete_file(&self, id: &str) -> Result<(), StorageError> {
        let how = json!({ "deleteAfter": false, "immediately": true });
        match self.ask(Method::DELETE, self.url(&["file", id]), Some(&how)).await {
            Ok(operations) => {
                let errors = operations.as_array().into_iter().flatten();
                let mut errors = errors.filter_map(|operation| operation["error"].as_str());
                match errors.find(|error| !error.is_empty()) {
                    Some(error) => Err(StorageError::Denied(format!("DocSpace: {}", short(error)))),
                    None => Ok(()),
                }
            }
            Err(StorageError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Where a file's content can be read.
    pub(super) async fn content_url(&self, id: &str) -> Result<Url, StorageError> {
        let answer = self.ask(Method::GET, self.url(&["file", id, "presigneduri"]), None).await?;
        let text = answer.as_str().ok_or_else(|| {
            StorageError::Other("DocSpace names no address to read the file at".to_owned())
        })?;
        self.own(text)
    }
}

pub(super) fn id_text(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        _ => None,
    }
}

fn file_info(file: &Value) -> Result<FileInfo, StorageError> {
    let id = id_text(&file["id"])
        .ok_or_else(|| StorageError::Other("DocSpace describes a file without an id".to_owned()))?;
    Ok(FileInfo {
        id,
        title: file["title"].as_str().unwrap_or_default().to_owned(),
        // DocSpace leaves a zero out.
        size: file["pureContentLength"].as_u64().unwrap_or(0),
        in_trash: file["rootFolderType"].as_i64() == Some(TRASH),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(base: &str) -> Api {
        Api::new(Clients::new().unwrap(), base.parse().unwrap(), "sk-abc", None).unwrap()
    }

    #[test]
    fn addresses_stay_on_the_configured_host() {
        let api = api("http://portal.example:8092/");
        let own = |text| api.own(text).map(|url| url.to_string());
        for good in [
            "http://portal.example:8092/ChunkedUploader.ashx?uid=1",
            "https://portal.example/ChunkedUploader.ashx?uid=1",
            "/ChunkedUploader.ashx?uid=1",
            // DocSpace knows only the name that people use.
            "https://docspace.example.org/ChunkedUploader.ashx?uid=1",
        ] {
            let url = own(good).unwrap();
            assert_eq!(url, "http://portal.example:8092/ChunkedUploader.ashx?uid=1", "{good}");
        }
        for bad in [
            "http://evil.example/ChunkedUploader.ashx/x?uid=1",
            "https://bucket.s3.example.org/files/file_5/content.tar.gz",
            "https://docspace.example.org/",
            "//evil.example/x",
            "http://portal.example.evil.example/x",
            "http://portal.example@evil.example/x",
            "http://user@portal.example:8092/x",
            "\\\\evil.example/x",
            "file:///etc/passwd",
            "gopher://portal.example/x",
        ] {
            let error = api.own(bad).unwrap_err();
            assert!(error.to_string().contains("another host"), "{bad}: {error}");
        }
    }

    #[test]
    fn ids_are_one_part_of_an_address() {
        let api = api("https://portal.example/sub/");
        let url = api.url(&["file", "drive-1-|a/../b?x#y"]);
        assert_eq!(
            url.as_str(),
            "https://portal.example/sub/api/2.0/files/file/drive-1-|a%2F..%2Fb%3Fx%23y"
        );
    }
}
