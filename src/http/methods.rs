//! Methods and paths that nothing is registered for.

use actix_web::error::{InternalError, PathError};
use actix_web::http::Method;
use actix_web::http::header::ALLOW;
use actix_web::web;
use actix_web::{HttpRequest, HttpResponse, Resource};

use super::v1;

/// A resource that tells other methods which ones it takes. `methods`: as in `Allow`, without OPTIONS.
pub fn allowing(path: &str, methods: &'static str) -> Resource {
    let allow = format!("{methods}, OPTIONS");
    web::resource(path.to_owned()).default_service(web::to(move |request: HttpRequest| {
        let allow = allow.clone();
        async move { other(&request, &allow) }
    }))
}

fn other(request: &HttpRequest, allow: &str) -> HttpResponse {
    if request.method() == Method::OPTIONS {
        return HttpResponse::NoContent().insert_header((ALLOW, allow)).finish();
    }
    let mut answer = HttpResponse::MethodNotAllowed();
    answer.insert_header((ALLOW, allow));
    if is_v1(request) {
        let text = format!("{} is not allowed here: use {allow}", request.method());
        return answer.json(v1::ErrorBody::new("method_not_allowed", text));
    }
    answer.finish()
}

pub async fn not_found(request: HttpRequest) -> HttpResponse {
    nothing_at(&request)
}

/// A path whose parts are no text names nothing.
pub fn bad_path(error: PathError, request: &HttpRequest) -> actix_web::Error {
    InternalError::from_response(error, nothing_at(request)).into()
}

fn nothing_at(request: &HttpRequest) -> HttpResponse {
    if is_v1(request) {
        let text = "There is nothing at this address";
        return HttpResponse::NotFound().json(v1::ErrorBody::new("not_found", text));
    }
    HttpResponse::NotFound().finish()
}

fn is_v1(request: &HttpRequest) -> bool {
    request.path().starts_with("/v1/")
}

#[cfg(test)]
mod tests {
    use actix_web::App;
    use actix_web::test::{TestRequest, call_service, init_service, read_body_json};

    use super::*;

    #[actix_web::test]
    async fn other_methods_hear_which_there_are() {
        let get = || web::get().to(HttpResponse::Ok);
        let app = init_service(
            App::new()
                .service(allowing("/v1/x", "GET, HEAD").route(get()))
                .service(allowing("/api/x", "GET").route(get()))
                .default_service(web::to(not_found)),
        )
        .await;
        let call = async |method: Method, path: &str| {
            call_service(&app, TestRequest::with_uri(path).method(method).to_request()).await
        };
        assert_eq!(call(Method::GET, "/api/x").await.status(), 200);
        let post = call(Method::POST, "/api/x").await;
        assert_eq!(post.status(), 405);
        assert_eq!(post.headers().get(ALLOW).unwrap(), "GET, OPTIONS");
        assert_eq!(call(Method::OPTIONS, "/v1/x").await.status(), 204);
        let post = call(Method::POST, "/v1/x").await;
        let body: serde_json::Value = read_body_json(post).await;
        assert_eq!(body["error"]["code"], "method_not_allowed");
        let body: serde_json::Value = read_body_json(call(Method::GET, "/v1/y").await).await;
        assert_eq!(body["error"]["code"], "not_found");
        assert_eq!(call(Method::GET, "/nowhere").await.status(), 404);
    }
}
