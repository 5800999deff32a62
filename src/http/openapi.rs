//! The API's description, made from the code. `openapi.yaml` in the repository is the same text: a test
//! compares them, and `UPDATE_OPENAPI=1 cargo test openapi` writes it anew.

use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, OpenApi as Description, PathItem, Ref, RefOr, Response,
    ResponseBuilder,
};
use utoipa::{Modify, OpenApi};

use super::{docspace, health, ravendb, sensenet, v1};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Portal Backup",
        description = "Backs up a web portal: its database and its files, in one consistent and verified \
archive; and puts it back. The operations under /api/2.0/backup are DocSpace's; the same can be called under /api/2.0/portal. \
Those under /odata.svc are sensenet's, which also take the key as a header or parameter `apikey`. \
Everything under /v1 is Portal Backup's own.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "Backup", description = "DocSpace's backup API"),
        (name = "sensenet", description = "sensenet's API for copies of its index"),
        (name = "Jobs", description = "Work, and how far it is"),
        (name = "Archives", description = "What was stored"),
        (name = "Schedules", description = "When backups are made of themselves, and which stay"),
        (name = "RavenDB", description = "RavenDB's backup API, for single databases and file systems"),
        (name = "Health", description = "For those who run the service"),
    ),
    paths(
        docspace::start::handle, docspace::progress::handle, docspace::cancel::handle,
        docspace::history::handle, docspace::delete::handle, docspace::restore::handle,
        docspace::restore_progress::handle, docspace::upload::handle, docspace::upload::status,
        docspace::schedule::get, docspace::schedule::create, docspace::schedule::delete,
        docspace::state::delete_history, docspace::state::count, docspace::state::service,
        docspace::state::temp_path,
        v1::backups::create, v1::restores::create, v1::restores::plan, v1::jobs::list, v1::jobs::get, v1::jobs::cancel, v1::events::stream,
        v1::archives::list, v1::archives::get, v1::archives::delete, v1::content::download,
        v1::entries::list, v1::entries::read, v1::verify::start,
        v1::consolidate::start,
        v1::schedules::list, v1::schedules::create, v1::schedules::get, v1::schedules::replace,
        v1::schedules::delete, v1::retention::plan, v1::retention::apply,
        ravendb::backup::database, ravendb::backup::filesystem, ravendb::restore::database,
        ravendb::restore::filesystem, ravendb::documents::backup_status,
        ravendb::documents::restore_status, ravendb::documents::filesystem_restore_status,
        ravendb::documents::in_progress, ravendb::documents::database, ravendb::documents::filesystem,
        ravendb::documents::databases, ravendb::documents::filesystems, ravendb::config::handle, ravendb::operations::status,
        ravendb::operations::kill, ravendb::operations::list, ravendb::remove::database, ravendb::remove::filesystem,
        sensenet::describe_backup, sensenet::describe_query, sensenet::describe_query_by_post,
        sensenet::describe_cancel,
        health::health, health::liveness, health::ready,
    ),
    components(schemas(docspace::ErrorWrapper, docspace::ValidationErrorWrapper, v1::ErrorBody,
        ravendb::ErrorBody, ravendb::MessageBody, ravendb::UnhandledBody)),
    security(("ApiKeyBearer" = []), ("Bearer" = []), ("asc_auth_key" = [])),
    modifiers(&Credentials, &CommonErrors, &Corrections),
)]
struct Api;

/// The description as YAML.
pub fn yaml() -> Result<String, String> {
    description().to_yaml().map_err(|error| error.to_string())
}

fn description() -> Description {
    Api::openapi()
}

/// The credentials by DocSpace's names for them.
struct Credentials;

impl Modify for Credentials {
    fn modify(&self, openapi: &mut Description) {
        let components = openapi.components.get_or_insert_with(Components::default);
        let text = "An API key. `Authorization: sk-…` is taken as well.";
        let key = ApiKeyValue::with_description("ApiKeyBearer", text);
        components.add_security_scheme("ApiKeyBearer", SecurityScheme::ApiKey(ApiKey::Header(key)));
        let mut bearer = Http::new(HttpAuthScheme::Bearer);
        bearer.description = Some(
            "`Bearer` and an API key, a JSON Web Token of the configured issuer, or what DocSpace \
             gives who logs in."
                .to_owned(),
        );
        components.add_security_scheme("Bearer", SecurityScheme::Http(bearer));
        let text = "DocSpace's login.";
        let cookie = ApiKeyValue::with_description("asc_auth_key", text);
        components
            .add_security_scheme("asc_auth_key", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

/// What any operation may answer, in the form of its API.
struct CommonErrors;

impl Modify for CommonErrors {
    fn modify(&self, openapi: &mut Description) {
        for (path, item) in &mut openapi.paths.paths {
            if path.starts_with("/v1/") {
                operations(item).for_each(|operation| describe_errors(operation, own_error));
            } else if path.starts_with("/api/2.0/") {
                operations(item).for_each(|operation| describe_errors(operation, docspace_error));
            } else if operations(item).any(|operation| is_ravendb(operation)) {
                operations(item).for_each(|operation| describe_errors(operation, ravendb_error));
            } else if path.starts_with("/odata.svc/") {
                operations(item).for_each(|operation| describe_errors(operation, sensenet_error));
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.head, &mut item.post, &mut item.put, &mut item.delete]
        .into_iter()
        .flatten()
}

/// Adds those that the operation does not describe itself.
fn describe_errors(operation: &mut Operation, form: fn(&str, &str) -> RefOr<Response>) {
    let anonymous = operation.security.is_some();
    for (status, text) in [
        ("401", "No credential, or a wrong one"),
        ("403", "The credential does not reach so far"),
        ("404", "No such portal"),
        ("429", "Too many wrong credentials from this address"),
        (UNEXPECTED, "Unexpected; the message has the id under which it was logged"),
        ("503", "Something the service depends on does not answer"),
    ] {
        if status == "401" && anonymous {
            continue;
        }
        let responses = &mut operation.responses.responses;
        responses.entry(status.to_owned()).or_insert_with(|| form(status, text));
    }
}

const UNEXPECTED: &str = "500";

fn is_ravendb(operation: &Operation) -> bool {
    operation.tags.as_ref().is_some_and(|tags| tags.iter().any(|tag| tag == "RavenDB"))
}

fn ravendb_error(status: &str, text: &str) -> RefOr<Response> {
    error(text, JSON, Some(if status == UNEXPECTED { "RavenUnhandled" } else { "RavenError" }))
}

fn own_error(_: &str, text: &str) -> RefOr<Response> {
    error(text, JSON, Some("Error"))
}

/// DocSpace's refusals have no body that its specification tells of.
fn docspace_error(status: &str, text: &str) -> RefOr<Response> {
    error(text, JSON, (status == UNEXPECTED).then_some("ErrorWrapper"))
}

fn sensenet_error(status: &str, text: &str) -> RefOr<Response> {
    match status {
        "403" => error(text, sensenet::JSON, Some("ODataError")),
        UNEXPECTED => {
            error("No index is configured, or unexpected", sensenet::JSON, Some("ODataError"))
        }
        _ => error(text, JSON, None),
    }
}

const JSON: &str = "application/json";

fn error(text: &str, media: &str, schema: Option<&str>) -> RefOr<Response> {
    let mut response = ResponseBuilder::new().description(text);
    if let Some(schema) = schema {
        let schema = Ref::from_schema_name(schema);
        let content = ContentBuilder::new().schema(Some(schema)).build();
        response = response.content(media, content);
    }
    response.build().into()
}

/// What the macros cannot say.
struct Corrections;

impl Modify for Corrections {
    fn modify(&self, openapi: &mut Description) {
        openapi.info.contact = None;
        for operation in openapi.paths.paths.values_mut().flat_map(operations) {
            let id = operation.operation_id.as_deref();
            let optional = matches!(
                id,
                Some(
                    "startBackup"
                        | "createBackupSchedule"
                        | "verifyArchive"
                        | "planRetention"
                        | "uploadBackupFile"
                        | "backupIndex"
                )
            );
            if let (true, Some(RefOr::T(body))) = (optional, &mut operation.request_body) {
                body.required = None;
            }
        }
    }
}

/// The bytes of a file.
#[derive(utoipa::ToSchema)]
#[schema(value_type = String, format = Binary)]
#[allow(dead_code, reason = "a schema")]
pub struct Binary(String);

#[cfg(test)]
#[path = "openapi_tests.rs"]
mod tests;
