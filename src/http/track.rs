//! Around every request: an id, a line in the log, figures, and headers that protect browsers.

use std::time::Instant;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use actix_web::middleware::Next;
use actix_web::web::Data;
use tracing::Instrument;
use uuid::Uuid;

use super::{HttpState, metrics};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Swagger UI brings its own scripts and styles, and styles inline.
const CONTENT_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

pub async fn track(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = Instant::now();
    let offers_upgrade = request.head().upgrade();
    let id = request_id(request.headers());
    let method = request.method().clone();
    // Never the query: it may hold a link's token.
    let path = request.path().to_owned();
    let state = request.app_data::<Data<HttpState>>();
    let client = state.and_then(|state| state.client(request.request()).address);
    let client = client.map(|address| address.to_string()).unwrap_or_default();
    let span = tracing::info_span!("request", id);
    let mut response = next.call(request).instrument(span.clone()).await?;

    let elapsed = started.elapsed();
    let status = response.status().as_u16();
    let route = response.request().match_pattern();
    metrics::request(method.as_str(), route.as_deref().unwrap_or("none"), status, elapsed);
    span.in_scope(|| {
        let milliseconds = elapsed.as_secs_f64() * 1000.0;
        tracing::info!(target: "access", client, %method, path, status, milliseconds, "answered");
    });
    protect(response.headers_mut());
    if offers_upgrade {
        // actix closes such connections after the answer, and calls them upgraded. Java's client offers
        // HTTP/2 with every request, and would send its next one into the closing connection.
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    Ok(response)
}

/// The sender's own id if it is harmless, so that a call can be followed through several services.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let is_plain = |id: &&str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        (1..=64).contains(&id.len()) && id.bytes().all(plain)
    };
    given.filter(is_plain).map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
}

fn protect(headers: &mut HeaderMap) {
    let mut set = |name: HeaderName, value: &'static str| {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    };
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(X_FRAME_OPTIONS, "DENY");
    set(REFERRER_POLICY, "no-referrer");
    set(CACHE_CONTROL, "no-store");
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if content_type.is_some_and(|content_type| content_type.starts_with("text/html")) {
        let policy = HeaderValue::from_static(CONTENT_POLICY);
        headers.insert(HeaderName::from_static("content-security-policy"), policy);
    }
}

#[cfg(test)]
mod tests {
    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::{App, HttpResponse, web};

    use super::*;

    #[actix_web::test]
    async fn every_answer_has_an_id_and_protection() {
        let page =
            || async { HttpResponse::Ok().content_type("text/html; charset=utf-8").body("x") };
        let app =
            init_service(App::new().route("/", web::get().to(page)).wrap(from_fn(track))).await;
        let call = async |uri: &str, id: &str| {
            let request = TestRequest::with_uri(uri).insert_header(("X-Request-Id", id));
            call_service(&app, request.to_request()).await.headers().clone()
        };
        let headers = call("/", "abc-1").await;
        assert_eq!(headers.get("x-request-id").unwrap(), "abc-1");
        assert_eq!(headers.get("x-content-type-options").unwrap(), "nosniff");
        assert!(
            headers.get("content-security-policy").unwrap().to_str().unwrap().contains("'self'")
        );
        for bad in ["", "a b", &"x".repeat(65), "a;b"] {
            let headers = call("/missing", bad).await;
            let id = headers.get("x-request-id").unwrap().to_str().unwrap();
            assert!(id.parse::<Uuid>().is_ok(), "{bad:?} became {id:?}");
            assert!(!headers.contains_key("content-security-policy"));
        }
    }
}
