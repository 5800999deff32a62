//! Reading request bodies: never too much, never for ever.

use std::time::Duration;

use actix_web::web::{BytesMut, Payload};
use futures::StreamExt;

/// Far more than any request of ours needs.
pub const LIMIT: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BodyError {
    #[error("the request's body is larger than {LIMIT} bytes")]
    TooLarge,
    #[error("the request's body did not arrive in time")]
    TooSlow,
    #[error("the request's body cannot be read")]
    Broken,
}

/// The whole body of a request.
pub async fn read(payload: Payload) -> Result<Vec<u8>, BodyError> {
    read_within(payload, LIMIT, PATIENCE).await
}

async fn read_within(
    mut payload: Payload,
    limit: usize,
    patience: Duration,
) -> Result<Vec<u8>, BodyError> {
    let all = async {
        let mut body = BytesMut::new();
        while let Some(piece) = payload.next().await {
            let piece = piece.map_err(|_| BodyError::Broken)?;
            if body.len() + piece.len() > limit {
                return Err(BodyError::TooLarge);
            }
            body.extend_from_slice(&piece);
        }
        Ok(body.to_vec())
    };
    tokio::time::timeout(patience, all).await.unwrap_or(Err(BodyError::TooSlow))
}

#[cfg(test)]
mod tests {
    use actix_web::FromRequest;
    use actix_web::test::TestRequest;

    use super::*;

    async fn of(body: &'static str, limit: usize) -> Result<Vec<u8>, BodyError> {
        let (request, mut payload) = TestRequest::post().set_payload(body).to_http_parts();
        let payload = Payload::from_request(&request, &mut payload).await.unwrap();
        read_within(payload, limit, Duration::from_secs(5)).await
    }

    #[actix_web::test]
    async fn limits() {
        assert_eq!(of("12345", 5).await, Ok(b"12345".to_vec()));
        assert_eq!(of("123456", 5).await, Err(BodyError::TooLarge));
        assert_eq!(of("", 5).await, Ok(Vec::new()));
    }
}
