//! Reading a file of the portal's documents.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures::stream::{BoxStream, StreamExt};
use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Method, Response, StatusCode};
use tokio::sync::Mutex;
use url::Url;

use super::super::StorageError;
use super::answer::{refusal, unreachable};
use super::api::{Api, FileInfo};

pub(in super::super) struct DocumentsObject {
    api: Api,
    file: FileInfo,
    /// Where the content is; DocSpace signs it for a while.
    url: Mutex<Option<Url>>,
    /// For servers that do not know ranges: one answer, read on from where the last piece ended.
    whole: Mutex<Option<Whole>>,
}

struct Whole {
    pieces: BoxStream<'static, Result<Bytes, StorageError>>,
    at: u64,
    /// What came and is not asked for yet.
    rest: Bytes,
}

impl DocumentsObject {
    pub(super) fn new(api: Api, file: FileInfo) -> Self {
        Self { api, file, url: Mutex::default(), whole: Mutex::default() }
    }

    pub(in super::super) async fn fetch(&self, range: Range<u64>) -> Result<Bytes, StorageError> {
        let mut whole = self.whole.lock().await;
        if whole.is_some() {
            return self.read_on(&mut whole, range).await;
        }
        drop(whole);
        let header = format!("bytes={}-{}", range.start, range.end - 1);
        let response = self.get(Some(&header)).await?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let given = response.headers().get(CONTENT_RANGE);
                let given = given.and_then(|given| given.to_str().ok()).unwrap_or_default();
                let wanted = format!("bytes {}-{}/", range.start, range.end - 1);
                if !given.trim().starts_with(&wanted) {
                    return Err(self.failed("it gives another part than was asked for"));
                }
                let mut part = Whole::of(response, range.start);
                part.take(range.end - range.start).await
            }
            // The whole file: because all of it was asked for, or because the server knows no ranges.
            _ if range == (0..self.file.size) => Whole::of(response, 0).take(self.file.size).await,
            _ => {
                let mut whole = self.whole.lock().await;
                whole.get_or_insert_with(|| Whole::of(response, 0));
                self.read_on(&mut whole, range).await
            }
        }
    }

    /// Pieces are mostly asked for one after the other; going back means beginning anew.
    async fn read_on(
        &self,
        whole: &mut Option<Whole>,
        range: Range<u64>,
    ) -> Result<Bytes, StorageError> {
        let mut open = match whole.take() {
            Some(open) if open.at <= range.start => open,
            _ => Whole::of(self.get(None).await?, 0),
        };
        open.skip_to(range.start).await?;
        let bytes = open.take(range.end - range.start).await?;
        *whole = Some(open);
        Ok(bytes)
    }

    /// A successful answer. An address that has expired is asked for anew, once.
    async fn get(&self, range: Option<&str>) -> Result<Response, StorageError> {
        for fresh in [false, true] {
            let url = self.address(fresh).await?;
            let mut request = self.api.request(Method::GET, url);
            if let Some(range) = range {
                request = request.header(RANGE, range);
            }
            let response = request.send().await.map_err(|error| unreachable(&error))?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            let expired = matches!(status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED);
            if !expired || fresh {
                return Err(refusal(status, None));
            }
        }
        Err(self.failed("it does not give the file"))
    }

    async fn address(&self, fresh: bool) -> Result<Url, StorageError> {
        let mut kept = self.url.lock().await;
        if let Some(url) = kept.as_ref().filter(|_| !fresh) {
            return Ok(url.clone());
        }
        let url = self.api.content_url(&self.file.id).await?;
        *kept = Some(url.clone());
        Ok(url)
    }

    fn failed(&self, what: &str) -> StorageError {
        StorageError::Other(format!("DocSpace, file {}: {what}", self.file.id))
    }
}

impl Whole {
    fn of(response: Response, at: u64) -> Self {
        let pieces =
            response.bytes_stream().map(|piece| piece.map_err(|error| unreachable(&error)));
        Self { pieces: pieces.boxed(), at, rest: Bytes::new() }
    }

    async fn more(&mut self) -> Result<(), StorageError> {
        while self.rest.is_empty() {
            self.rest = self.pieces.next().await.ok_or_else(|| {
                StorageError::Unavailable("DocSpace gave less of a file than it has".to_owned())
            })??;
        }
        Ok(())
    }

    async fn skip_to(&mut self, position: u64) -> Result<(), StorageError> {
        while self.at < position {
            self.more().await?;
            let piece = self.rest.len().min((position - self.at) as usize);
            drop(self.rest.split_to(piece));
            self.at += piece as u64;
        }
        Ok(())
    }

    async fn take(&mut self, length: u64) -> Result<Bytes, StorageError> {
        let mut bytes = BytesMut::with_capacity(length as usize);
        while (bytes.len() as u64) < length {
            self.more().await?;
            let piece = self.rest.len().min(length as usize - bytes.len());
            bytes.extend_from_slice(&self.rest.split_to(piece));
            self.at += piece as u64;
        }
        Ok(bytes.freeze())
    }
}
