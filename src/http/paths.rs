//! DocSpace's and RavenDB's routes are found in any case and with a trailing slash, as ASP.NET finds them; and
//! sensenet's whatever the case of `odata.svc`.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Uri;
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest};

const DOCSPACE: &str = "/api/2.0/";
const ODATA: &str = "/odata.svc/";
const UPLOAD: &str = "/backupfileupload.ashx";

/// Path and query as the client sent them.
#[derive(Debug, Clone)]
struct AsSent(String);

/// Rewrites paths of DocSpace's API to the one form that is routed.
pub async fn normalise(
    mut request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    if let Some(path) = normalised(request.path()) {
        let uri = request.uri().clone();
        let path = match uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        if let Ok(changed) = path.parse::<Uri>() {
            request.extensions_mut().insert(AsSent(sent(&uri)));
            request.match_info_mut().get_mut().update(&changed);
            request.head_mut().uri = changed;
        }
    }
    next.call(request).await
}

/// Path and query as the client sent them, for links.
pub fn as_sent(request: &HttpRequest) -> String {
    let extensions = request.extensions();
    extensions.get::<AsSent>().map_or_else(|| sent(request.uri()), |sent| sent.0.clone())
}

fn sent(uri: &Uri) -> String {
    uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string)
}

/// RavenDB's routes in lower case, all but the names in them.
fn of_ravendb(path: &str) -> Option<String> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut parts = path.strip_prefix('/')?.split('/');
    let first = parts.next()?.to_ascii_lowercase();
    let named = match first.as_str() {
        "databases" | "fs" => true,
        "admin" | "docs" | "operation" | "operations" => false,
        _ => return None,
    };
    let mut lower = format!("/{first}");
    for (position, part) in parts.enumerate() {
        lower.push('/');
        match named && position == 0 {
            true => lower.push_str(part),
            false => lower.push_str(&part.to_ascii_lowercase()),
        }
    }
    Some(lower)
}

/// None: the path is fine as it is.
fn normalised(path: &str) -> Option<String> {
    if let Some(lower) = of_ravendb(path) {
        return (lower != path).then_some(lower);
    }
    if let Some((start, rest)) = path.split_at_checked(ODATA.len())
        && start.eq_ignore_ascii_case(ODATA)
    {
        return (start != ODATA).then(|| format!("{ODATA}{rest}"));
    }
    let is_docspace =
        path.get(..DOCSPACE.len()).is_some_and(|start| start.eq_ignore_ascii_case(DOCSPACE));
    if !is_docspace && !path.eq_ignore_ascii_case(UPLOAD) {
        return None;
    }
    let lower = path.strip_suffix('/').unwrap_or(path).to_ascii_lowercase();
    (lower != path).then_some(lower)
}

#[cfg(test)]
mod tests {
    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, call_and_read_body, init_service};
    use actix_web::{App, HttpResponse, web};

    use super::*;

    #[test]
    fn forms() {
        let of = normalised;
        assert_eq!(of("/api/2.0/backup/startbackup"), None);
        assert_eq!(
            of("/API/2.0/Backup/StartBackup/").as_deref(),
            Some("/api/2.0/backup/startbackup")
        );
        assert_eq!(of("/backupFileUpload.ashx").as_deref(), Some(UPLOAD));
        assert_eq!(of("/OData.svc/('Root')/X").as_deref(), Some("/odata.svc/('Root')/X"));
        assert_eq!(of("/odata.svc/('Root')/X"), None);
        assert_eq!(of("/v1/Archives/"), None);
        assert_eq!(
            of("/Databases/North%20Wind/docs/Raven/Backup/Status").as_deref(),
            Some("/databases/North%20Wind/docs/raven/backup/status")
        );
        assert_eq!(of("/fs/X/config"), None);
        assert_eq!(of("/admin/FS/Restore/").as_deref(), Some("/admin/fs/restore"));
        assert_eq!(of("/é/x"), None);
        assert_eq!(of("/"), None);
    }

    #[actix_web::test]
    async fn routes_match_and_links_show_what_was_sent() {
        let handler = |request: HttpRequest, id: web::Path<String>| async move {
            HttpResponse::Ok().body(format!("{} {}", id.into_inner(), as_sent(&request)))
        };
        let app = init_service(
            App::new()
                .route("/api/2.0/backup/deletebackup/{id}", web::get().to(handler))
                .wrap(from_fn(normalise)),
        )
        .await;
        let uri = "/Api/2.0/BACKUP/DeleteBackup/AbC/?Dump=True&x=%20";
        let body = call_and_read_body(&app, TestRequest::get().uri(uri).to_request()).await;
        assert_eq!(body, format!("abc {uri}"));
        let plain = "/api/2.0/backup/deletebackup/x";
        let body = call_and_read_body(&app, TestRequest::get().uri(plain).to_request()).await;
        assert_eq!(body, format!("x {plain}"));
    }
}
