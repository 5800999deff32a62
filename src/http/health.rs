//! `/health`, `/liveness`, `/ready` and `/metrics`: for those who run the service. No credential is needed.

use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use serde::Serialize;
use utoipa::ToSchema;

use super::methods::allowing;
use super::{HttpState, metrics};
use crate::ops;

/// How the service is, in DocSpace's words.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `Healthy` or `Unhealthy`.
    pub status: &'static str,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub description: Option<String>,
}

pub fn configure(config: &mut ServiceConfig) {
    let methods = "GET, HEAD";
    let both = |path: &str| allowing(path, methods);
    config
        .service(both("/health").route(web::get().to(health)).route(web::head().to(health)))
        .service(both("/liveness").route(web::get().to(liveness)).route(web::head().to(liveness)))
        .service(both("/ready").route(web::get().to(ready)).route(web::head().to(ready)))
        .service(
            both("/metrics")
                .route(web::get().to(metrics::handle))
                .route(web::head().to(metrics::handle)),
        );
}

/// Whether the process is alive.
#[utoipa::path(
    get, path = "/liveness", operation_id = "liveness", tag = "Health", security(()),
    responses((status = 200, description = "It is", body = Health)),
)]
pub async fn liveness() -> impl Responder {
    HttpResponse::Ok().json(Health { status: "Healthy", description: None })
}

/// Whether the service works: its catalog answers and its worker is alive.
#[utoipa::path(
    get, path = "/health", operation_id = "health", tag = "Health", security(()),
    responses(
        (status = 200, description = "It does", body = Health),
        (status = 503, description = "It does not", body = Health),
    ),
)]
pub async fn health(state: Data<HttpState>) -> impl Responder {
    answer(ops::health::ready(&state.app).await)
}

/// Whether the service can take requests.
#[utoipa::path(
    get, path = "/ready", operation_id = "ready", tag = "Health", security(()),
    responses(
        (status = 200, description = "It can", body = Health),
        (status = 503, description = "It cannot", body = Health),
    ),
)]
pub async fn ready(state: Data<HttpState>) -> impl Responder {
    answer(ops::health::ready(&state.app).await)
}

fn answer(ready: Result<(), String>) -> HttpResponse {
    match ready {
        Ok(()) => HttpResponse::Ok().json(Health { status: "Healthy", description: None }),
        Err(why) => HttpResponse::ServiceUnavailable()
            .json(Health { status: "Unhealthy", description: Some(why) }),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;

    use super::*;

    #[actix_web::test]
    async fn bodies() {
        let good = answer(Ok(()));
        assert_eq!(good.status(), 200);
        assert_eq!(to_bytes(good.into_body()).await.unwrap(), "{\"status\":\"Healthy\"}");
        let bad = answer(Err("no catalog".to_owned()));
        assert_eq!(bad.status(), 503);
        let body = to_bytes(bad.into_body()).await.unwrap();
        assert_eq!(body, "{\"status\":\"Unhealthy\",\"description\":\"no catalog\"}");
    }
}
