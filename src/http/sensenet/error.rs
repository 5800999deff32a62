//! sensenet's errors on the wire (`seed-systems.md` B4).

use actix_web::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Serialize;
use utoipa::ToSchema;

use super::{JSON, answer};
use crate::http::auth::Refusal;
use crate::http::body::BodyError;
use crate::http::incident;
use crate::ops::OpError;

#[derive(Debug)]
pub enum SnError {
    /// Of which operation.
    Refused(Refusal, String),
    Malformed(String),
    Body(BodyError),
    /// No such operation, or another content's.
    UnknownAction(String),
    NullTarget,
    IllegalInvoke(Method),
    /// No index is configured.
    NotSupported,
    Op(OpError),
}

impl From<OpError> for SnError {
    fn from(error: OpError) -> Self {
        Self::Op(error)
    }
}

impl From<BodyError> for SnError {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

/// An error.
#[derive(Debug, Serialize, ToSchema)]
pub struct ODataError {
    #[schema(inline)]
    error: Detail,
}

#[derive(Debug, Serialize, ToSchema)]
struct Detail {
    /// One word for programs.
    code: &'static str,
    /// The kind of error, by the name that sensenet or .NET has for it.
    exceptiontype: &'static str,
    #[schema(inline)]
    message: Message,
    /// Never told.
    #[schema(required)]
    innererror: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Message {
    /// Always `en-us`.
    lang: &'static str,
    /// A sentence for people.
    value: String,
}

impl SnError {
    pub fn response(self) -> HttpResponse {
        let (status, code, exceptiontype, value) = match self {
            Self::Refused(refusal, operation) => match refused(&refusal) {
                Some(response) => return response,
                None => (
                    StatusCode::FORBIDDEN,
                    "Forbidden",
                    "SenseNetSecurityException",
                    format!("Operation not accessible: {operation}"),
                ),
            },
            Self::Malformed(text) => {
                (StatusCode::BAD_REQUEST, "RequestError", "ODataException", text)
            }
            Self::Body(error) => {
                let status = match error {
                    BodyError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                    BodyError::TooSlow => StatusCode::REQUEST_TIMEOUT,
                    BodyError::Broken => StatusCode::BAD_REQUEST,
                };
                (status, "RequestError", "ODataException", error.to_string())
            }
            Self::UnknownAction(name) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "UnknownAction",
                "InvalidContentActionException",
                format!("Operation not found: {name}"),
            ),
            Self::NullTarget => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "NotSpecified",
                "ArgumentNullException",
                "Value cannot be null. (Parameter 'target')".to_owned(),
            ),
            Self::IllegalInvoke(method) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "IllegalInvoke",
                "ODataException",
                format!("OData action cannot be invoked with HTTP {method}."),
            ),
            Self::NotSupported => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "NotSpecified",
                "SnNotSupportedException",
                "No index is configured: [[portal.index]] names the folder of one".to_owned(),
            ),
            Self::Op(error) => operation(error),
        };
        let message = Message { lang: "en-us", value };
        let error = ODataError { error: Detail { code, exceptiontype, message, innererror: None } };
        let body = answer::json(&error).unwrap_or_default();
        HttpResponseBuilder::new(status).insert_header((CONTENT_TYPE, JSON)).body(body)
    }
}

/// The answer without a body; None: it has one.
fn refused(refusal: &Refusal) -> Option<HttpResponse> {
    Some(match refusal {
        Refusal::Unauthorized => {
            HttpResponse::Unauthorized().insert_header((WWW_AUTHENTICATE, "Bearer")).finish()
        }
        // Whose portal it is not sees no Root.
        Refusal::NoTenant => HttpResponse::NotFound().finish(),
        Refusal::TooMany(wait) => HttpResponse::TooManyRequests()
            .insert_header((RETRY_AFTER, wait.as_secs().max(1).to_string()))
            .finish(),
        Refusal::Unavailable(_) => {
            HttpResponse::ServiceUnavailable().insert_header((RETRY_AFTER, "5")).finish()
        }
        Refusal::Forbidden | Refusal::TenantClosed => return None,
    })
}

fn operation(error: OpError) -> (StatusCode, &'static str, &'static str, String) {
    let text = error.to_string();
    match error {
        OpError::Invalid(_) => (StatusCode::BAD_REQUEST, "RequestError", "ArgumentException", text),
        OpError::NotFound(_) => {
            (StatusCode::NOT_FOUND, "ContentNotFound", "ContentNotFoundException", text)
        }
        OpError::Forbidden => {
            (StatusCode::FORBIDDEN, "Forbidden", "SenseNetSecurityException", text)
        }
        OpError::Conflict(_) | OpError::Locked(_) => {
            (StatusCode::CONFLICT, "NotSpecified", "InvalidOperationException", text)
        }
        OpError::Unavailable(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "NotSpecified", "Exception", text)
        }
        OpError::Internal(source) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "NotSpecified",
            "Exception",
            incident(source.as_ref()),
        ),
    }
}
