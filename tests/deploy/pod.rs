//! What the chart configures, run here: the program with the pod's configuration, environment, secrets and
//! arguments, its container paths moved into a temporary folder, asked by the pod's own probes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use portal_backup::config;
use serde_json::{Value, json};

use super::rendered::{chart, charts, list, of_kind, text};
use crate::support::docspace::{ADMIN_KEY, DocSpace, MACHINE_KEY};
use crate::support::portal::PlainPortal;

/// A container's world: its files below a temporary folder, its environment, its configuration file.
pub struct Container {
    dir: tempfile::TempDir,
    env: BTreeMap<String, String>,
    pub base: String,
    moved: Vec<(String, String)>,
    child: Option<Child>,
}

impl Container {
    /// `moved`: what is to be read otherwise in every text of the configuration and the environment.
    pub fn new(env: &[(String, String)], moved: &[(&str, String)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut all: Vec<_> =
            moved.iter().map(|(from, to)| ((*from).to_owned(), to.clone())).collect();
        for path in ["/var/lib/portal-backup", "/backups", "/run/secrets", "/etc/portal-backup"] {
            let to = format!("{}{path}", dir.path().display());
            std::fs::create_dir_all(&to).unwrap();
            all.push((path.to_owned(), to));
        }
        let mut container = Self {
            dir,
            env: BTreeMap::new(),
            base: format!("http://127.0.0.1:{port}"),
            moved: all,
            child: None,
        };
        for (name, value) in env {
            let value = match name.as_str() {
                "PORTAL_BACKUP__SERVER__LISTEN" => format!("127.0.0.1:{port}"),
                _ => container.place(&container.expand(value)),
            };
            container.env.insert(name.clone(), value);
        }
        container
    }

    /// `$(NAME)` as Kubernetes replaces it: by what was set before.
    fn expand(&self, value: &str) -> String {
        let known = |text: String, (name, value): (&String, &String)| {
            text.replace(&format!("$({name})"), value)
        };
        self.env.iter().fold(value.to_owned(), known)
    }

    fn place(&self, text: &str) -> String {
        self.moved.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }

    /// A path of the container, as it is here.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(self.place(inside))
    }

    pub fn write(&self, inside: &str, content: &str) {
        let path = self.path(inside);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, self.place(content)).unwrap();
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portal-backup"));
        command
            .args(args.iter().map(|arg| self.place(arg)))
            .env_clear()
            .envs(&self.env)
            .current_dir(self.path("/var/lib/portal-backup"));
        command
    }

    pub fn environment(&self) -> BTreeMap<String, String> {
        self.env.clone()
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Starts it and waits until `path` answers 200, as a startup probe does.
    pub async fn start(&mut self, args: &[&str], path: &str) {
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        self.child = Some(self.command(args).stdin(Stdio::null()).stderr(log).spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.status(path, None).await != 200 {
            assert!(Instant::now() < deadline, "{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn status(&self, path: &str, key: Option<&str>) -> u16 {
        let mut request = reqwest::Client::new().get(format!("{}{path}", self.base));
        if let Some(key) = key {
            request = request.header("Authorization", key);
        }
        request.send().await.map_or(0, |answer| answer.status().as_u16())
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The pod's environment with `secret` for every reference, its configuration, and the files of its secrets.
fn environment(chart: &Value, secret: impl Fn(&str) -> String) -> Vec<(String, String)> {
    let pod = &of_kind(chart, "Deployment")[0]["spec"]["template"]["spec"];
    let value = |variable: &Value| match variable["value"].as_str() {
        Some(value) => value.to_owned(),
        None => secret(text(&variable["valueFrom"]["secretKeyRef"]["key"])),
    };
    list(&pod["containers"][0]["env"])
        .iter()
        .map(|variable| (text(&variable["name"]).to_owned(), value(variable)))
        .collect()
}

fn configured(
    chart: &Value,
    moved: &[(&str, String)],
    secret: impl Fn(&str) -> String,
) -> Container {
    let container = Container::new(&environment(chart, &secret), moved);
    let config = text(&of_kind(chart, "ConfigMap")[0]["data"]["portal-backup.toml"]);
    container.write("/etc/portal-backup/portal-backup.toml", config);
    let pod = &of_kind(chart, "Deployment")[0]["spec"]["template"]["spec"];
    for volume in list(&pod["volumes"]) {
        for source in list(&volume["projected"]["sources"]) {
            for item in list(&source["secret"]["items"]) {
                let path = format!("/run/secrets/portal-backup/{}", text(&item["path"]));
                container.write(&path, &secret(text(&item["key"])));
            }
        }
    }
    container
}

fn arguments(chart: &Value) -> Vec<&str> {
    let pod = &of_kind(chart, "Deployment")[0]["spec"]["template"]["spec"];
    list(&pod["containers"][0]["args"]).iter().map(text).collect()
}

/// An unknown key, in the file or in the environment, is an error of the configuration: so every name here is
/// one that the program knows.
#[test]
fn every_configuration_is_one_that_the_program_accepts() {
    for chart in charts() {
        let secret = |key: &str| match key {
            "database-url" => "mysql://backup:x@mysql:3306/portal".to_owned(),
            "catalog-url" => "mysql://backup:x@mysql:3306/catalog".to_owned(),
            _ => "0123456789abcdef0123456789abcdef".to_owned(),
        };
        let container = configured(chart, &[], secret);
        let file = container.path("/etc/portal-backup/portal-backup.toml");
        let config = config::load(Some(Path::new(&file)), container.env.clone())
            .unwrap_or_else(|error| panic!("{}: {error}", chart["name"]));
        let named =
            |variable: &str| environment(chart, secret).iter().any(|(name, _)| name == variable);
        assert_eq!(
            named("PORTAL_BACKUP__SERVER__SECRET_KEY_FILE"),
            !config.server.secret_key.is_empty()
        );
        if chart["name"] == "docspace" {
            super::compose::reaches_docspace(&config.portal.docspace, "");
        }
        for database in &config.portal.database {
            assert!(database.url.expose().starts_with("mysql://"), "{}", chart["name"]);
        }
    }
}

#[tokio::test]
async fn the_plain_pod_starts_is_probed_and_backs_up() {
    let portal = PlainPortal::new(100);
    let database = format!("sqlite://{}", portal.database().display());
    let secret = |key: &str| match key {
        "database-url" => database.clone(),
        _ => "0123456789abcdef0123456789abcdef".to_owned(),
    };
    let chart = chart("manifest");
    let moved = [("file:///portal", format!("file://{}", portal.files().display()))];
    let mut container = configured(chart, &moved, secret);
    let pod = &of_kind(chart, "Deployment")[0]["spec"]["template"]["spec"];
    let probe = |name: &str| text(&pod["containers"][0][name]["httpGet"]["path"]).to_owned();
    container.start(&arguments(chart), &probe("startupProbe")).await;
    for name in ["readinessProbe", "livenessProbe"] {
        assert_eq!(container.status(&probe(name), None).await, 200, "{name}: {}", container.log());
    }
    assert_eq!(container.status("/metrics", None).await, 200);

    // What NOTES.txt says to run, in the pod.
    let notes = text(&chart["notes"]);
    let commands: Vec<_> =
        notes.lines().filter_map(|line| line.split_once("-- portal-backup ")).collect();
    assert_eq!(commands.len(), 2, "{notes}");
    for (_, arguments) in commands {
        let output = container.run(&arguments.split(' ').collect::<Vec<_>>());
        assert!(
            output.status.success(),
            "{arguments}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let config = ["--config", "/etc/portal-backup/portal-backup.toml", "--json"];
    let output = container.run(&[&["backup"], &config[..]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read_dir(container.path("/backups")).unwrap().count(), 1);
}

#[tokio::test]
async fn the_pod_beside_a_docspace_lets_its_administrators_in() {
    let docspace = DocSpace::create().await;
    let secret = |key: &str| match key {
        "APP_CORE_MACHINEKEY" => MACHINE_KEY.to_owned(),
        "mysql-password" => "from-the-secret".to_owned(),
        _ => "0123456789abcdef0123456789abcdef".to_owned(),
    };
    let chart = chart("docspace");
    let moved = [
        ("mysql://onlyoffice_user:from-the-secret@mysql:3306/docspace", docspace.url.clone()),
        ("/app/onlyoffice/data", docspace.root().display().to_string()),
    ];
    let mut container = configured(chart, &moved, secret);
    container.start(&arguments(chart), "/health").await;
    // The paths under which DocSpace's router asks: facts, "Base facts".
    for path in ["/api/2.0/backup/getbackuphistory", "/api/2.0/portal/getbackuphistory"] {
        let key = format!("Bearer {}", ADMIN_KEY.text());
        assert_eq!(container.status(path, Some(&key)).await, 200, "{}", container.log());
        assert_eq!(container.status(path, None).await, 401);
    }
    let config = ["--config", "/etc/portal-backup/portal-backup.toml", "--json"];
    let output = container.run(&[&["config", "check"], &config[..]].concat());
    let checks: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(list(&checks).iter().all(|check| check["ok"] == json!(true)), "{checks}");
    assert!(list(&checks).len() >= 4, "{checks}");
}
