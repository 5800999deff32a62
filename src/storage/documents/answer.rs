//! DocSpace's answers, and what they mean when they are no success.

use futures::TryStreamExt;
use reqwest::{Response, StatusCode};
use serde_json::Value;

use super::super::StorageError;

/// Answers are small objects and pages of a hundred files.
const LARGEST_ANSWER: usize = 8 << 20;

/// The whole body, up to a limit.
pub(super) async fn read(response: Response) -> Result<Vec<u8>, StorageError> {
    let mut body = Vec::new();
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.try_next().await.map_err(|error| unreachable(&error))? {
        if body.len() + piece.len() > LARGEST_ANSWER {
            return Err(StorageError::Other("DocSpace's answer is too long".to_owned()));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// An error before or within an answer; the text names no address with what may be a secret in it.
pub(super) fn unreachable(error: &reqwest::Error) -> StorageError {
    let why = if error.is_timeout() {
        "it does not answer in time"
    } else if error.is_connect() {
        "no connection can be made"
    } else {
        "the connection broke"
    };
    StorageError::Unavailable(format!("DocSpace (portal.docspace.url): {why}"))
}

/// An answer that is no success.
pub(super) fn refusal(status: StatusCode, answer: Option<Value>) -> StorageError {
    let said = answer.as_ref().and_then(|answer| {
        answer["error"]["message"].as_str().or_else(|| answer["message"].as_str())
    });
    let said = short(said.unwrap_or_default());
    let text = |what: &str| match said.is_empty() {
        true => format!("DocSpace: {what}"),
        false => format!("DocSpace: {what}: {said}"),
    };
    match status {
        StatusCode::UNAUTHORIZED => {
            StorageError::Denied(text("it does not accept the credential (status 401)"))
        }
        StatusCode::FORBIDDEN => StorageError::Denied(text("access denied")),
        StatusCode::NOT_FOUND => StorageError::NotFound(text("there is no such folder or file")),
        StatusCode::PAYMENT_REQUIRED | StatusCode::PAYLOAD_TOO_LARGE => {
            StorageError::Full(text("the portal takes no more, or no file as large as this"))
        }
        StatusCode::TOO_MANY_REQUESTS => StorageError::Unavailable(text("too many requests")),
        status if status.is_server_error() => {
            StorageError::Unavailable(text(&format!("status {}", status.as_u16())))
        }
        status if status.is_redirection() => StorageError::Other(text(
            "it answers with a redirect, which is not followed: portal.docspace.url must be the \
             address itself",
        )),
        status => StorageError::Other(text(&format!("status {}", status.as_u16()))),
    }
}

/// What another program said, fit for a message of ours.
pub(super) fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
