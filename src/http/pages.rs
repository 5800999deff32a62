//! What people open in a browser: the first page, and the API's description.

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;
use actix_web::web::{self, Data, ServiceConfig};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::HttpState;
use super::methods::allowing;

const FIRST_PAGE: &str = "<!doctype html>
<html lang=\"en\">
<head><meta charset=\"utf-8\"><title>Portal Backup</title>
<meta name=\"viewport\" content=\"width=device-width\">
<style>body{font:1.1em/1.6 sans-serif;max-width:40em;margin:4em auto;padding:0 1em}</style></head>
<body><h1>Portal Backup</h1>
<p>This service backs up a portal: its database and its files.</p>
<ul>
<li><a href=\"/swagger/\">The API, to read and to try</a></li>
<li><a href=\"/openapi.yaml\">Its OpenAPI description</a></li>
<li><a href=\"/health\">Whether the service works</a></li>
</ul></body></html>
";

pub fn configure(config: &mut ServiceConfig) {
    let page =
        async || HttpResponse::Ok().content_type("text/html; charset=utf-8").body(FIRST_PAGE);
    let swagger = async || HttpResponse::Found().insert_header((LOCATION, "/swagger/")).finish();
    // No badge: it would ask a server on the internet.
    let ui = Config::from("/openapi.yaml").validator_url("none").persist_authorization(true);
    config
        .service(allowing("/", "GET, HEAD").route(web::get().to(page)).route(web::head().to(page)))
        .service(
            allowing("/openapi.yaml", "GET, HEAD")
                .route(web::get().to(openapi))
                .route(web::head().to(openapi)),
        )
        .service(web::resource("/swagger").route(web::get().to(swagger)))
        .service(SwaggerUi::new("/swagger/{_:.*}").config(ui));
}

async fn openapi(state: Data<HttpState>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/yaml; charset=utf-8").body(state.openapi.clone())
}

#[cfg(test)]
mod tests {
    use actix_web::App;
    use actix_web::test::{TestRequest, call_service, init_service, read_body};

    use super::*;

    #[actix_web::test]
    async fn pages_need_no_network() {
        let app = init_service(App::new().configure(configure)).await;
        for (path, word) in [
            ("/", "/swagger/"),
            ("/swagger/", "swagger-ui"),
            ("/swagger/swagger-initializer.js", "/openapi.yaml"),
        ] {
            let answer = call_service(&app, TestRequest::with_uri(path).to_request()).await;
            assert_eq!(answer.status(), 200, "{path}");
            let body = String::from_utf8(read_body(answer).await.to_vec()).unwrap();
            assert!(body.contains(word), "{path} lacks {word}");
            assert!(!body.contains("src=\"http"), "{path} loads from elsewhere");
        }
        let answer = call_service(&app, TestRequest::with_uri("/swagger").to_request()).await;
        assert_eq!(answer.headers().get(LOCATION).unwrap(), "/swagger/");
    }
}
