//! The HTTP service: routes, who may, and how answers and errors look. What is done is in `ops`.

pub mod auth;
mod body;
pub mod client;
mod credentials;
pub mod docspace;
mod failures;
pub mod health;
mod methods;
pub mod metrics;
pub mod openapi;
mod pages;
mod paths;
mod range;
pub mod ravendb;
mod schema;
pub mod sensenet;
mod track;
pub mod v1;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::MessageBody;
pub use actix_web::dev::Server;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpServer};
use uuid::Uuid;

use crate::app::App;
use client::{BadProxy, Client, TrustedProxies};
use failures::Failures;
pub(crate) use schema::integer_enum;

/// What all requests share.
pub struct HttpState {
    pub app: Arc<App>,
    proxies: TrustedProxies,
    failures: Failures,
    /// Tokens of another issuer, where one is configured.
    tokens: Option<auth::jwt::Tokens>,
    metrics: metrics::Metrics,
    openapi: String,
}

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error(transparent)]
    Proxy(#[from] BadProxy),
    #[error("{0}")]
    Tokens(String),
    #[error("cannot write the API's description: {0}")]
    OpenApi(String),
    #[error("cannot serve: {0}")]
    Io(#[from] std::io::Error),
}

impl HttpState {
    pub fn new(app: Arc<App>) -> Result<Self, HttpError> {
        Ok(Self {
            proxies: TrustedProxies::parse(&app.config.server.trusted_proxies)?,
            failures: Failures::default(),
            tokens: app
                .config
                .auth
                .jwt
                .as_ref()
                .map(auth::jwt::Tokens::new)
                .transpose()
                .map_err(HttpError::Tokens)?,
            metrics: metrics::Metrics::install(),
            openapi: openapi::yaml().map_err(HttpError::OpenApi)?,
            app,
        })
    }

    fn client(&self, request: &HttpRequest) -> Client {
        Client::of(request, &self.proxies, self.app.config.server.listen)
    }

    /// The full address of a request as the client sees it.
    fn href(&self, request: &HttpRequest) -> String {
        let public_url = self.app.config.server.public_url.as_ref();
        self.client(request).url(public_url, &paths::as_sent(request))
    }
}

/// Serves until the server's handle is told to stop. Signals are the caller's.
///
/// `listener`: bound already, so that its port is known and a taken one is the caller's error.
pub fn serve(app: Arc<App>, listener: TcpListener) -> Result<Server, HttpError> {
    let state = Data::new(HttpState::new(app)?);
    let server = HttpServer::new(move || application(state.clone()))
        .keep_alive(Duration::from_secs(75))
        .client_request_timeout(Duration::from_secs(10))
        .client_disconnect_timeout(Duration::from_secs(5))
        .shutdown_timeout(5)
        .disable_signals()
        .listen(listener)?
        .run();
    metrics::keep_up();
    Ok(server)
}

/// All routes; tests call it without a socket.
pub fn application(
    state: Data<HttpState>,
) -> actix_web::App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    actix_web::App::new()
        .app_data(state)
        .app_data(web::PathConfig::default().error_handler(methods::bad_path))
        .configure(docspace::configure)
        .configure(sensenet::configure)
        .configure(v1::configure)
        .configure(ravendb::configure)
        .configure(health::configure)
        .configure(pages::configure)
        .default_service(web::to(methods::not_found))
        .wrap(from_fn(paths::normalise))
        .wrap(from_fn(track::track))
}

/// Logs an unexpected error, and returns what a client is told of it: an id to find it by.
fn incident(error: &(dyn std::error::Error + 'static)) -> String {
    let id = Uuid::new_v4();
    let mut story = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        story.push_str(": ");
        story.push_str(&cause.to_string());
        source = cause.source();
    }
    tracing::error!(incident = %id, error = story, "unexpected error");
    format!("Unexpected error; it is in the log as {id}")
}
