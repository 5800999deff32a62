//! Answers and errors in RavenDB's forms.

use std::time::Instant;

use actix_web::http::StatusCode;
use actix_web::http::header::{RETRY_AFTER, USER_AGENT};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::RavenVersion;
use crate::http::auth::Refusal;
use crate::http::body::BodyError;
use crate::http::{HttpState, incident, paths};
use crate::ops::OpError;
use crate::ops::named::backup::BackupRefused;
use crate::ops::named::restore::RestoreRefused;

/// What an answer needs to know of its request.
pub struct Asked {
    began: Instant,
    /// Path and query, as sent.
    url: String,
    indented: bool,
    version: RavenVersion,
}

#[derive(Debug)]
pub enum RavenError {
    Refused(Refusal),
    Body(BodyError),
    /// `{"Error"}`
    Error(StatusCode, String),
    /// `{"Message"}`, always 400.
    Message(String),
    /// Plain text.
    Text(StatusCode, String),
    /// What RavenDB's filter makes of an exception: its .NET type, and what it says. `{"Url","Error"}`
    Unhandled(StatusCode, String),
    /// 404 without a body.
    Nothing,
    Op(OpError),
}

impl RavenError {
    pub fn unavailable(text: impl Into<String>) -> Self {
        Self::Error(StatusCode::SERVICE_UNAVAILABLE, text.into())
    }

    pub fn unhandled(exception: &str, text: impl std::fmt::Display) -> Self {
        Self::Unhandled(StatusCode::INTERNAL_SERVER_ERROR, format!("{exception}: {text}"))
    }
}

impl From<Refusal> for RavenError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<BodyError> for RavenError {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl From<OpError> for RavenError {
    fn from(error: OpError) -> Self {
        Self::Op(error)
    }
}

impl From<BackupRefused> for RavenError {
    fn from(refused: BackupRefused) -> Self {
        match refused {
            BackupRefused::Op(error) => Self::Op(error),
            BackupRefused::NoPermissions(_) => Self::Message(refused.to_string()),
            BackupRefused::Running
            | BackupRefused::FailureMarker
            | BackupRefused::IncrementalOff => {
                Self::unhandled("System.InvalidOperationException", refused)
            }
        }
    }
}

impl From<RestoreRefused> for RavenError {
    fn from(refused: RestoreRefused) -> Self {
        let text = refused.to_string();
        match refused {
            RestoreRefused::Op(error) => Self::Op(error),
            RestoreRefused::NoName(..) | RestoreRefused::System | RestoreRefused::Exists(_) => {
                Self::Text(StatusCode::BAD_REQUEST, text)
            }
            RestoreRefused::Busy(_) | RestoreRefused::StillBusy(..) => {
                Self::Text(StatusCode::SERVICE_UNAVAILABLE, text)
            }
            RestoreRefused::NoBackup(_) => {
                Self::unhandled("System.IO.DirectoryNotFoundException", text)
            }
            RestoreRefused::NoDocument(..) => {
                Self::unhandled("System.InvalidOperationException", text)
            }
            RestoreRefused::NoPath(_) | RestoreRefused::NoPermissions(_) => Self::Message(text),
        }
    }
}

/// An error.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = RavenError)]
pub struct ErrorBody {
    error: String,
}

/// What is answered to a body that cannot be read, whatever it asks for.
#[derive(utoipa::IntoResponses)]
pub enum BodyErrors {
    #[response(status = 408, description = "The body did not arrive in time")]
    Late(ErrorBody),
    #[response(status = 413, description = "The body is too large")]
    Large(ErrorBody),
}

/// A wrong request.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = RavenMessage)]
pub struct MessageBody {
    message: String,
}

/// An error that RavenDB does not foresee.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = RavenUnhandled)]
pub struct UnhandledBody {
    /// Path and query.
    url: String,
    /// The kind of error, by .NET's name, and what it says.
    error: String,
}

impl Asked {
    pub fn of(state: &HttpState, request: &HttpRequest) -> Self {
        let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        let product = |agent: &str| {
            let products =
                agent.split_whitespace().map(|part| part.split('/').next().unwrap_or(part));
            products.into_iter().any(|name| name == "Mozilla" || name == "Fiddler")
        };
        Self {
            began: Instant::now(),
            url: paths::as_sent(request),
            indented: agent.is_some_and(product),
            version: state.app.config.ravendb.version,
        }
    }

    pub fn empty(&self, status: StatusCode) -> HttpResponse {
        self.begin(status).finish()
    }

    pub fn json(&self, status: StatusCode, body: &impl Serialize) -> HttpResponse {
        let json = match self.indented {
            true => serde_json::to_string_pretty(body),
            false => serde_json::to_string(body),
        };
        match json {
            Ok(json) => {
                self.begin(status).content_type("application/json; charset=utf-8").body(json)
            }
            Err(error) => {
                incident(&error);
                self.begin(StatusCode::INTERNAL_SERVER_ERROR).finish()
            }
        }
    }

    pub fn answer(&self, result: Result<HttpResponse, RavenError>) -> HttpResponse {
        result.unwrap_or_else(|error| self.error(error))
    }

    fn begin(&self, status: StatusCode) -> HttpResponseBuilder {
        let mut answer = HttpResponse::build(status);
        // The build that the facts were taken from; of 3.5 the first number of its line.
        let build = match self.version {
            RavenVersion::V30 => "30179",
            RavenVersion::V35 => "35000",
        };
        answer.insert_header(("Raven-Server-Build", build));
        answer.insert_header(("Temp-Request-Time", self.began.elapsed().as_millis().to_string()));
        answer
    }

    fn error(&self, error: RavenError) -> HttpResponse {
        let simple = |status, error| self.json(status, &ErrorBody { error });
        match error {
            RavenError::Refused(refusal) => self.refused(&refusal),
            RavenError::Body(error) => {
                let status = match error {
                    BodyError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                    BodyError::TooSlow => StatusCode::REQUEST_TIMEOUT,
                    BodyError::Broken => StatusCode::BAD_REQUEST,
                };
                simple(status, error.to_string())
            }
            RavenError::Error(status, text) => simple(status, text),
            RavenError::Message(message) => {
                self.json(StatusCode::BAD_REQUEST, &MessageBody { message })
            }
            RavenError::Text(status, text) => {
                self.begin(status).content_type("text/plain; charset=utf-8").body(text)
            }
            RavenError::Unhandled(status, error) => self.unhandled(status, error),
            RavenError::Nothing => self.empty(StatusCode::NOT_FOUND),
            RavenError::Op(error) => match error {
                OpError::Invalid(text) => simple(StatusCode::BAD_REQUEST, text),
                OpError::NotFound(text) => simple(StatusCode::NOT_FOUND, text),
                OpError::Forbidden => self.refused(&Refusal::Forbidden),
                OpError::Conflict(text) | OpError::Locked(text) => {
                    simple(StatusCode::CONFLICT, text)
                }
                OpError::Unavailable(text) => simple(StatusCode::SERVICE_UNAVAILABLE, text),
                OpError::Internal(source) => {
                    self.unhandled(StatusCode::INTERNAL_SERVER_ERROR, incident(source.as_ref()))
                }
            },
        }
    }

    fn unhandled(&self, status: StatusCode, error: String) -> HttpResponse {
        self.json(status, &UnhandledBody { url: self.url.clone(), error })
    }

    /// RavenDB has one answer for everybody who does not administer it.
    fn refused(&self, refusal: &Refusal) -> HttpResponse {
        let only = format!("The operation '{}' is only available to administrators", self.url);
        let (status, error, wait) = match refusal {
            Refusal::Unauthorized => {
                let text = format!("{only}, and could not find the user to authorize with");
                (StatusCode::UNAUTHORIZED, text, None)
            }
            Refusal::Forbidden => (StatusCode::UNAUTHORIZED, only, None),
            Refusal::TooMany(wait) => {
                let text = "Too many wrong credentials from your address".to_owned();
                (StatusCode::TOO_MANY_REQUESTS, text, Some(wait.as_secs().max(1)))
            }
            Refusal::NoTenant => {
                (StatusCode::NOT_FOUND, "No portal has this host name".to_owned(), None)
            }
            Refusal::TenantClosed => {
                (StatusCode::FORBIDDEN, "The portal is not in service now".to_owned(), None)
            }
            Refusal::Unavailable(why) => {
                (StatusCode::SERVICE_UNAVAILABLE, (*why).to_owned(), Some(5))
            }
        };
        let mut response = self.json(status, &ErrorBody { error });
        if let Some(seconds) = wait {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}
