//! DocSpace's errors on the wire (`docspace/facts.md` §2).

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::bind::BindError;
use super::wrapper::{Asked, Link};
use crate::http::auth::Refusal;
use crate::http::body::BodyError;
use crate::http::incident;
use crate::ops::OpError;

#[derive(Debug)]
pub enum DocError {
    /// Turned away before the controller: no body at all, unless something does not answer.
    Refused(Refusal),
    Bind(BindError),
    Body(BodyError),
    Op(OpError),
}

impl From<Refusal> for DocError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<BindError> for DocError {
    fn from(error: BindError) -> Self {
        Self::Bind(error)
    }
}

impl From<BodyError> for DocError {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl From<OpError> for DocError {
    fn from(error: OpError) -> Self {
        Self::Op(error)
    }
}

/// An error.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorWrapper {
    pub error: ErrorInfo,
    /// Always 1.
    pub status: i32,
    /// The HTTP status.
    pub status_code: u16,
}

/// What is answered to a body that cannot be read, whatever it asks for.
#[derive(utoipa::IntoResponses)]
pub enum BodyErrors {
    #[response(status = 408, description = "The request's body did not arrive in time")]
    Late(ErrorWrapper),
    #[response(status = 413, description = "The request's body is too large")]
    Large(ErrorWrapper),
    #[response(status = 415, description = "The request's body is not JSON")]
    NotJson(ErrorWrapper),
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ErrorWrapperError)]
pub struct ErrorInfo {
    pub message: String,
    /// The kind of error, by the name that .NET has for it.
    pub r#type: Option<&'static str>,
    /// Never told.
    pub stack: Option<&'static str>,
    /// .NET's number of the kind of error.
    pub hresult: i32,
}

/// A request that could not be read.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValidationErrorWrapper {
    pub response: ValidationProblem,
    pub count: i32,
    #[schema(inline)]
    pub links: Vec<Link>,
    /// Always 1.
    pub status: i32,
    /// The HTTP status.
    pub status_code: u16,
}

/// Which part of a request is wrong, and how.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValidationProblem {
    pub r#type: &'static str,
    pub title: &'static str,
    pub status: u16,
    /// Texts by the place they are about: a JSON path or a parameter's name.
    #[schema(inline)]
    pub errors: BTreeMap<String, Vec<String>>,
    pub trace_id: String,
}

/// .NET's name and number of a kind of error. None: those that DocSpace answers without.
type Kind = Option<(&'static str, u32)>;

const ARGUMENT: Kind = Some(("System.ArgumentException", 0x8007_0057));
const SECURITY: Kind = Some(("System.Security.SecurityException", 0x8013_150A));
const NOT_FOUND: Kind = Some(("ASC.Common.Web.ItemNotFoundException", 0x8013_1500));
const INVALID_OPERATION: Kind = Some(("System.InvalidOperationException", 0x8013_1509));
const OTHER: Kind = Some(("System.Exception", 0x8013_1500));

impl DocError {
    pub fn response(self, asked: &Asked) -> HttpResponse {
        match self {
            Self::Refused(refusal) => refused(&refusal),
            Self::Bind(BindError::MediaType) => wrapped(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Send JSON with Content-Type: application/json",
                None,
            ),
            Self::Bind(BindError::Argument(text)) => {
                wrapped(StatusCode::BAD_REQUEST, text, ARGUMENT)
            }
            Self::Bind(BindError::Invalid { field, message }) => invalid(asked, field, message),
            Self::Body(error) => {
                let status = match error {
                    BodyError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                    BodyError::TooSlow => StatusCode::REQUEST_TIMEOUT,
                    BodyError::Broken => StatusCode::BAD_REQUEST,
                };
                wrapped(status, error.to_string(), None)
            }
            Self::Op(error) => operation(error),
        }
    }
}

fn refused(refusal: &Refusal) -> HttpResponse {
    match refusal {
        Refusal::Unauthorized => {
            HttpResponse::Unauthorized().insert_header((WWW_AUTHENTICATE, "Bearer")).finish()
        }
        Refusal::Forbidden | Refusal::TenantClosed => HttpResponse::Forbidden().finish(),
        Refusal::NoTenant => HttpResponse::NotFound().finish(),
        Refusal::TooMany(wait) => HttpResponse::TooManyRequests()
            .insert_header((RETRY_AFTER, wait.as_secs().max(1).to_string()))
            .finish(),
        Refusal::Unavailable(why) => {
            let mut response = wrapped(StatusCode::SERVICE_UNAVAILABLE, *why, OTHER);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
            response
        }
    }
}

fn operation(error: OpError) -> HttpResponse {
    let text = error.to_string();
    match error {
        OpError::Invalid(_) => wrapped(StatusCode::BAD_REQUEST, text, ARGUMENT),
        OpError::Forbidden => wrapped(StatusCode::FORBIDDEN, "Access denied", SECURITY),
        OpError::NotFound(_) => wrapped(StatusCode::NOT_FOUND, text, NOT_FOUND),
        OpError::Conflict(_) | OpError::Locked(_) => {
            wrapped(StatusCode::CONFLICT, text, INVALID_OPERATION)
        }
        OpError::Unavailable(_) => wrapped(StatusCode::SERVICE_UNAVAILABLE, text, OTHER),
        OpError::Internal(source) => {
            wrapped(StatusCode::INTERNAL_SERVER_ERROR, incident(source.as_ref()), OTHER)
        }
    }
}

fn wrapped(status: StatusCode, message: impl Into<String>, kind: Kind) -> HttpResponse {
    HttpResponseBuilder::new(status).json(ErrorWrapper {
        error: ErrorInfo {
            message: message.into(),
            r#type: kind.map(|(name, _)| name),
            stack: None,
            hresult: kind.map_or(0, |(_, number)| number.cast_signed()),
        },
        status: 1,
        status_code: status.as_u16(),
    })
}

fn invalid(asked: &Asked, field: String, message: String) -> HttpResponse {
    let trace = Uuid::new_v4().simple().to_string();
    HttpResponse::BadRequest().json(ValidationErrorWrapper {
        response: ValidationProblem {
            r#type: "https://tools.ietf.org/html/rfc9110#section-15.5.1",
            title: "One or more validation errors occurred.",
            status: 400,
            errors: BTreeMap::from([(field, vec![message])]),
            trace_id: format!("00-{trace}-{}-00", &trace[..16]),
        },
        count: 1,
        links: asked.links(),
        status: 1,
        status_code: 400,
    })
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use serde_json::{Value, json};

    use super::*;

    async fn of(error: impl Into<DocError>) -> (u16, Value) {
        let asked = Asked { href: "http://h/x".into(), method: "POST".into(), fields: None };
        let response = error.into().response(&asked);
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body()).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    #[actix_web::test]
    async fn errors_keep_their_nulls() {
        let (status, body) = of(OpError::Invalid("wrong folder type".to_owned())).await;
        assert_eq!(status, 400);
        assert_eq!(
            body,
            json!({
                "error": {
                    "message": "wrong folder type", "type": "System.ArgumentException",
                    "stack": null, "hresult": -2147024809
                },
                "status": 1, "statusCode": 400
            })
        );
        let (status, body) = of(BindError::MediaType).await;
        assert_eq!(status, 415);
        assert_eq!(body["error"]["type"], Value::Null);
        assert_eq!(body["error"]["hresult"], 0);
    }

    #[actix_web::test]
    async fn every_operation_error_has_its_status() {
        let (status, body) = of(OpError::Forbidden).await;
        assert_eq!((status, &body["error"]["message"]), (403, &json!("Access denied")));
        assert_eq!(of(OpError::NotFound("x".into())).await.0, 404);
        assert_eq!(of(OpError::Conflict("x".into())).await.0, 409);
        assert_eq!(of(OpError::Unavailable("x".into())).await.0, 503);
        let (status, body) = of(OpError::Internal("secret detail".into())).await;
        assert_eq!(status, 500);
        assert!(!body.to_string().contains("secret"));
    }

    #[actix_web::test]
    async fn refusals_have_no_body() {
        let wait = std::time::Duration::from_millis(5);
        for (refusal, expected) in [
            (Refusal::Unauthorized, 401),
            (Refusal::Forbidden, 403),
            (Refusal::NoTenant, 404),
            (Refusal::TenantClosed, 403),
            (Refusal::TooMany(wait), 429),
        ] {
            assert_eq!(of(refusal).await, (expected, Value::Null));
        }
        let (status, body) = of(Refusal::Unavailable("It is away")).await;
        assert_eq!((status, &body["error"]["message"]), (503, &json!("It is away")));
    }

    #[actix_web::test]
    async fn validation_errors_are_wrapped_like_answers() {
        let error = BindError::Invalid { field: "$.dump".into(), message: "No.".into() };
        let (status, body) = of(error).await;
        assert_eq!(status, 400);
        assert_eq!(body["response"]["errors"], json!({"$.dump": ["No."]}));
        assert_eq!(body["response"]["status"], 400);
        assert_eq!(body["links"], json!([{"href": "http://h/x", "action": "POST"}]));
        assert_eq!((&body["count"], &body["status"]), (&json!(1), &json!(1)));
        assert_eq!(body["statusCode"], 400);
    }
}
