//! Asking an identity provider, which may be slow, gone or hostile: little time, little memory, and no
//! redirect to another host.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use url::Url;

const TIME: Duration = Duration::from_secs(5);
const TIME_TO_CONNECT: Duration = Duration::from_secs(3);
const MOST_REDIRECTS: usize = 3;
/// A key set of a hundred keys has some 40 KB.
const MOST_BYTES: usize = 256 << 10;

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("{0}")]
    Http(String),
    #[error("it answers {0}")]
    Status(u16),
    #[error("its answer has more than {MOST_BYTES} bytes")]
    TooLarge,
    #[error("its answer is not JSON")]
    Syntax,
}

#[derive(Clone)]
pub struct Fetcher(Client);

impl Fetcher {
    pub fn new() -> Result<Self, FetchError> {
        let same_place = |one: &Url, other: &Url| one.origin() == other.origin();
        let policy = Policy::custom(move |attempt| match attempt.previous() {
            [first, ..] if !same_place(first, attempt.url()) => {
                attempt.error("it redirects to another host")
            }
            previous if previous.len() > MOST_REDIRECTS => attempt.error("it redirects for ever"),
            _ => attempt.follow(),
        });
        let client = Client::builder()
            .timeout(TIME)
            .connect_timeout(TIME_TO_CONNECT)
            .redirect(policy)
            .user_agent(concat!("portal-backup/", env!("CARGO_PKG_VERSION")))
            .build();
        client.map(Self).map_err(http)
    }

    pub async fn get(&self, url: &Url) -> Result<Value, FetchError> {
        send(self.0.get(url.clone())).await
    }

    /// Posts a form, with HTTP's basic authentication where there is a user.
    pub async fn post(
        &self,
        url: &Url,
        form: &[(&str, &str)],
        user: Option<(&str, &str)>,
    ) -> Result<Value, FetchError> {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut request = self
            .0
            .post(url.clone())
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(body);
        if let Some((name, password)) = user {
            request = request.basic_auth(name, Some(password));
        }
        send(request).await
    }
}

async fn send(request: RequestBuilder) -> Result<Value, FetchError> {
    let answer = request.header("Accept", "application/json").send().await.map_err(http)?;
    if !answer.status().is_success() {
        return Err(FetchError::Status(answer.status().as_u16()));
    }
    serde_json::from_slice(&read(answer).await?).map_err(|_| FetchError::Syntax)
}

async fn read(mut answer: Response) -> Result<Vec<u8>, FetchError> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(http)? {
        if body.len() + piece.len() > MOST_BYTES {
            return Err(FetchError::TooLarge);
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// With the causes: "error sending request" alone helps nobody.
fn http(error: reqwest::Error) -> FetchError {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    FetchError::Http(text)
}
