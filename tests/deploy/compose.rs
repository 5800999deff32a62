//! The compose files: locked down, and with an environment that the program accepts and works with.

use portal_backup::config::{self, DocSpaceConfig};
use serde_json::{Value, json};

use super::pod::Container;
use super::rendered::{list, rendered, text};
use crate::support::docspace::DocSpace;
use crate::support::portal::PlainPortal;
use crate::support::s3::S3Server;

fn service(file: &str, name: &str) -> &'static Value {
    &rendered()["compose"][file]["services"][name]
}

fn environment(service: &Value) -> Vec<(String, String)> {
    service["environment"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.clone(), text(value).to_owned()))
        .collect()
}

#[test]
fn every_service_is_locked_down() {
    let files = rendered()["compose"].as_object().unwrap();
    assert_eq!(files.len(), 2);
    for (file, project) in files {
        for (name, service) in project["services"].as_object().unwrap() {
            assert_eq!(service["cap_drop"], json!(["ALL"]), "{file} {name}");
            assert_eq!(service["security_opt"], json!(["no-new-privileges:true"]), "{file} {name}");
            assert_eq!(service["privileged"], Value::Null, "{file} {name}");
        }
        let ours = &project["services"]["portal-backup"];
        assert_eq!(ours["read_only"], true, "{file}");
        assert_eq!(ours["cap_add"], Value::Null, "{file}");
        // A tmpfs lies in memory, and mem_limit counts it.
        assert_eq!(ours["tmpfs"], Value::Null, "{file}");
        assert_eq!(ours["stop_grace_period"], "60s", "{file}");
        // Whatever is written lies on a volume that the file declares.
        let mounts: Vec<_> =
            list(&ours["volumes"]).iter().map(|v| text(v).split_once(':').unwrap()).collect();
        for needed in ["/backups", "/var/lib/portal-backup", "/tmp"] {
            assert!(mounts.iter().any(|(_, to)| *to == needed), "{file}: {needed}");
        }
        for (volume, _) in mounts {
            assert!(
                project["volumes"].as_object().unwrap().contains_key(volume),
                "{file}: {volume}"
            );
        }
    }
}

// More threads than one: the S3 server answers while the program is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_works_with_its_environment_its_grants_and_an_s3_server() {
    // A user with what the MariaDB image gives it, and the grants of the file, nothing more.
    let user = format!("compose_{}", std::process::id());
    let server = DocSpace::create().await;
    let grants = text(&rendered()["compose"]["compose.yaml"]["configs"]["grants"]["content"]);
    let account = format!("'{user}'@'127.0.0.1'");
    let mut statements = vec![
        format!("create user {account} identified by 'from-the-environment'"),
        format!("grant all privileges on `{}`.* to {account}", server.database),
    ];
    statements.extend(
        grants.replace("portal@'%'", &account).lines().map(|l| l.trim_end_matches(';').to_owned()),
    );
    server.execute(&statements).await;

    let s3 = S3Server::start().await;
    let portal = PlainPortal::new(1);
    let ours = service("compose.yaml", "portal-backup");
    let url = format!("mysql://{user}:from-the-environment@127.0.0.1:3306/{}", server.database);
    let moved = [
        ("mysql://portal:database_password-value@database:3306/portal", url),
        ("file:///portal", format!("file://{}", portal.files().display())),
        ("http://storage:7070", s3.endpoint.clone()),
        ("s3_secret-value", s3.secret_key.to_owned()),
    ];
    let mut environment = environment(ours);
    for (name, value) in &mut environment {
        if name.ends_with("__ACCESS_KEY_ID") {
            let root = &service("compose.yaml", "storage")["environment"]["ROOT_ACCESS_KEY"];
            assert_eq!(value.as_str(), text(root), "the S3 server knows another key");
            *value = s3.access_key.to_owned();
        }
    }
    environment.push((
        "PORTAL_BACKUP__CATALOG__URL".to_owned(),
        "sqlite:///var/lib/portal-backup/c.db".to_owned(),
    ));
    environment.push(("PORTAL_BACKUP__STORAGE__LOCAL__ROOT".to_owned(), "/backups".to_owned()));
    let container = Container::new(&environment, &moved);
    let check = container.run(&["config", "check", "--json"]);
    let backup = container.run(&["backup", "--storage", "custom-cloud", "--json"]);
    server.execute(&[format!("drop user {account}")]).await;

    let checks: Value = serde_json::from_slice(&check.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&check.stderr)));
    assert!(list(&checks).iter().all(|check| check["ok"] == json!(true)), "{checks}");
    assert!(backup.status.success(), "{}", String::from_utf8_lossy(&backup.stderr));
    let archive: Value = serde_json::from_slice(&backup.stdout).unwrap();
    assert!(archive.to_string().contains("s3://archives/workspace/"), "{archive}");
}

#[test]
fn the_bucket_is_made_where_the_server_looks() {
    let bucket = service("compose.yaml", "bucket");
    let url = text(
        &service("compose.yaml", "portal-backup")["environment"]["PORTAL_BACKUP__STORAGE__CUSTOM_CLOUD__URL"],
    );
    let name = url.strip_prefix("s3://").unwrap().split('/').next().unwrap();
    let root = text(list(&service("compose.yaml", "storage")["command"]).last().unwrap());
    assert_eq!(text(list(&bucket["command"]).last().unwrap()), format!("{root}/{name}"));
    assert_eq!(bucket["volumes"], service("compose.yaml", "storage")["volumes"]);
}

/// Facts: "Docker: API `onlyoffice-backup:5050`; volume `/app/onlyoffice/data`".
#[tokio::test]
async fn beside_a_docspace_it_answers_under_docspaces_name() {
    let ours = service("compose.docspace.yaml", "portal-backup");
    assert_eq!(ours["networks"]["docspace"]["aliases"], json!(["onlyoffice-backup"]));
    assert!(list(&ours["volumes"]).iter().any(|v| text(v) == "data:/app/onlyoffice/data"));

    let docspace = DocSpace::create().await;
    let mut environment = environment(ours);
    let (name, url) = ("PORTAL_BACKUP__SERVER__PUBLIC_URL", "https://docspace.example.org");
    environment.iter_mut().find(|(key, _)| key == name).unwrap().1 = url.to_owned();
    let moved = [("/app/onlyoffice/data", docspace.root().display().to_string())];
    // As the image sets it.
    environment.push((
        "PORTAL_BACKUP__CATALOG__URL".to_owned(),
        "sqlite:///var/lib/portal-backup/c.db".to_owned(),
    ));
    environment.push(("PORTAL_BACKUP__STORAGE__LOCAL__ROOT".to_owned(), "/backups".to_owned()));
    let container = Container::new(&environment, &moved);
    for secret in list(&ours["secrets"]) {
        let content = match text(secret) {
            "database-url" => docspace.url.as_str(),
            _ => "0123456789abcdef0123456789abcdef",
        };
        container.write(&format!("/run/secrets/{}", text(secret)), content);
    }
    let check = container.run(&["config", "check", "--json"]);
    let checks: Value = serde_json::from_slice(&check.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&check.stderr)));
    assert!(list(&checks).iter().all(|check| check["ok"] == json!(true)), "{checks}");
    let config = config::load(None, container.environment()).unwrap();
    reaches_docspace(&config.portal.docspace, "onlyoffice-");
}

/// Documents and live progress need all three; DocSpace's router and socket service have the same ports
/// everywhere, and names that begin alike.
pub fn reaches_docspace(config: &DocSpaceConfig, prefix: &str) {
    let is = |url: &Option<url::Url>| url.as_ref().map(ToString::to_string).unwrap_or_default();
    assert_eq!(is(&config.url), format!("http://{prefix}router:8092/"));
    assert_eq!(is(&config.socket_url), format!("http://{prefix}socket:9899/"));
    assert!(!config.api_key.is_empty());
}
