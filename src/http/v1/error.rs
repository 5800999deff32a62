//! Errors of our own API.

use actix_web::http::StatusCode;
use actix_web::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::auth::Refusal;
use crate::http::body::BodyError;
use crate::http::incident;
use crate::ops::OpError;

#[derive(Debug, thiserror::Error)]
pub enum V1Error {
    #[error("refused")]
    Refused(Refusal),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Op(#[from] OpError),
    #[error("Send JSON with Content-Type: application/json")]
    MediaType,
    /// Only keys of the installation may do what the text names.
    #[error("{0} need a key of the installation (portal-backup apikey create)")]
    InstallationOnly(&'static str),
    /// The file has no such part; its size.
    #[error("The archive has {0} bytes")]
    Range(u64),
}

impl From<Refusal> for V1Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl V1Error {
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::Op(OpError::Invalid(text.into()))
    }
}

/// An error.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Error)]
pub struct ErrorBody {
    #[schema(inline)]
    error: ErrorDetail,
}

#[derive(Debug, Serialize, ToSchema)]
struct ErrorDetail {
    /// One word for programs.
    code: &'static str,
    /// A sentence for people.
    message: String,
}

/// What is answered to a body that cannot be read, whatever it asks for.
#[derive(utoipa::IntoResponses)]
pub enum BodyErrors {
    #[response(status = 408, description = "The body did not arrive in time")]
    Late(ErrorBody),
    #[response(status = 413, description = "The body is too large")]
    Large(ErrorBody),
    #[response(status = 415, description = "The body is not JSON")]
    NotJson(ErrorBody),
}

impl ErrorBody {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { error: ErrorDetail { code, message: message.into() } }
    }
}

impl ResponseError for V1Error {
    fn status_code(&self) -> StatusCode {
        self.parts().0
    }

    fn error_response(&self) -> HttpResponse {
        let (status, code, message) = self.parts();
        let mut response = HttpResponseBuilder::new(status);
        match self {
            Self::Refused(Refusal::Unauthorized) => {
                response.insert_header((WWW_AUTHENTICATE, "Bearer"));
            }
            Self::Refused(Refusal::TooMany(wait)) => {
                response.insert_header((RETRY_AFTER, wait.as_secs().max(1).to_string()));
            }
            Self::Refused(Refusal::Unavailable(_)) => {
                response.insert_header((RETRY_AFTER, "5"));
            }
            Self::Range(size) => {
                response.insert_header(("Content-Range", format!("bytes */{size}")));
            }
            _ => {}
        }
        let message = match self {
            Self::Op(OpError::Internal(source)) => incident(source.as_ref()),
            _ => message,
        };
        response.json(ErrorBody::new(code, message))
    }
}

impl V1Error {
    fn parts(&self) -> (StatusCode, &'static str, String) {
        let (status, code, text) = match self {
            Self::Refused(refusal) => match refusal {
                Refusal::Unauthorized => (
                    StatusCode::UNAUTHORIZED,
                    "unauthorized",
                    "Send a valid API key as Authorization: Bearer sk-…; Basic is not accepted",
                ),
                Refusal::Forbidden => (
                    StatusCode::FORBIDDEN,
                    "forbidden",
                    "The API key's scope does not reach so far",
                ),
                Refusal::TooMany(_) => (
                    StatusCode::TOO_MANY_REQUESTS,
                    "too_many_attempts",
                    "Too many wrong credentials from your address",
                ),
                Refusal::NoTenant => {
                    (StatusCode::NOT_FOUND, "no_such_portal", "No portal has this host name")
                }
                Refusal::TenantClosed => {
                    (StatusCode::FORBIDDEN, "portal_closed", "The portal is not in service now")
                }
                Refusal::Unavailable(why) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", *why),
            },
            Self::Body(BodyError::TooLarge) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "")
            }
            Self::Body(BodyError::TooSlow) => (StatusCode::REQUEST_TIMEOUT, "body_too_slow", ""),
            Self::Body(BodyError::Broken) => (StatusCode::BAD_REQUEST, "invalid_request", ""),
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", ""),
            Self::InstallationOnly(_) => (StatusCode::FORBIDDEN, "forbidden", ""),
            Self::Range(_) => (StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable", ""),
            Self::Op(error) => match error {
                OpError::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid_request", ""),
                OpError::NotFound(_) => (StatusCode::NOT_FOUND, "not_found", ""),
                OpError::Forbidden => (StatusCode::FORBIDDEN, "forbidden", ""),
                OpError::Locked(_) => (StatusCode::CONFLICT, "encrypted", ""),
                OpError::Conflict(_) => (StatusCode::CONFLICT, "conflict", ""),
                OpError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", ""),
                OpError::Internal(_) => {
                    (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Unexpected error")
                }
            },
        };
        let text = if text.is_empty() { self.to_string() } else { text.to_owned() };
        (status, code, text)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use serde_json::{Value, json};

    use super::*;

    async fn of(error: impl Into<V1Error>) -> (u16, Value) {
        let response = error.into().error_response();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body()).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[actix_web::test]
    async fn all_have_code_and_message() {
        let invalid = of(V1Error::invalid("limit: 0 is too small")).await;
        let expected =
            json!({"error": {"code": "invalid_request", "message": "limit: 0 is too small"}});
        assert_eq!(invalid, (400, expected));
        for (error, status, code) in [
            (V1Error::from(Refusal::Unauthorized), 401, "unauthorized"),
            (Refusal::Forbidden.into(), 403, "forbidden"),
            (Refusal::NoTenant.into(), 404, "no_such_portal"),
            (BodyError::TooLarge.into(), 413, "body_too_large"),
            (V1Error::MediaType, 415, "unsupported_media_type"),
            (V1Error::InstallationOnly("x and y"), 403, "forbidden"),
            (V1Error::Range(10), 416, "range_not_satisfiable"),
            (OpError::Conflict("It has ended".into()).into(), 409, "conflict"),
            (OpError::Locked("a.tar.gz.age: no identity".into()).into(), 409, "encrypted"),
        ] {
            let (got, body) = of(error).await;
            assert_eq!((got, &body["error"]["code"]), (status, &json!(code)));
            assert!(!body["error"]["message"].as_str().unwrap().is_empty());
        }
    }

    #[actix_web::test]
    async fn unexpected_errors_tell_an_id_only() {
        let (status, body) = of(OpError::Internal("password=hunter2".into())).await;
        let message = body["error"]["message"].as_str().unwrap();
        assert_eq!(status, 500);
        assert!(!message.contains("hunter2") && message.contains("in the log as"));
    }

    #[test]
    fn headers_that_clients_act_on() {
        let header = |error: V1Error, name: &str| {
            error.error_response().headers().get(name).unwrap().to_str().unwrap().to_owned()
        };
        let wait = std::time::Duration::from_secs(7);
        assert_eq!(header(Refusal::TooMany(wait).into(), "retry-after"), "7");
        assert_eq!(header(Refusal::Unauthorized.into(), "www-authenticate"), "Bearer");
        assert_eq!(header(V1Error::Range(10), "content-range"), "bytes */10");
    }
}
