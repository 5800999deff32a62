//! `demo`: the main job on embedded defaults, through the front door.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::progress::Display;
use super::serve::{Service, signal};
use super::{CliError, Global, output};
use crate::app::App;
use crate::catalog::Scope;
use crate::config::{Config, DatabaseConfig, FilesystemConfig, Secret};
use crate::demo::{DemoSize, generate};
use crate::jobs::ProgressView;

#[derive(Debug, Args)]
pub struct Demo {
    /// End after the backup instead of going on serving
    #[arg(long)]
    exit: bool,
    /// Where the demo keeps everything
    #[arg(long, default_value = "portal-backup-demo", value_name = "DIR")]
    dir: PathBuf,
    /// The address to serve on
    #[arg(long, default_value = "127.0.0.1:5012", value_name = "ADDRESS")]
    listen: SocketAddr,
}

impl Demo {
    pub async fn run(self, global: &Global) -> Result<(), CliError> {
        let say = |text: &str| if global.json { Ok(()) } else { output::line(text) };
        std::fs::create_dir_all(&self.dir).map_err(CliError::failed)?;
        let dir = self.dir.canonicalize().map_err(CliError::failed)?;
        say("Making a demo portal: a SQLite database and a folder of office files …")?;
        let home = dir.join("portal");
        let portal = tokio::task::spawn_blocking(move || generate(&home, DemoSize::default()))
            .await
            .map_err(CliError::failed)?
            .map_err(|error| CliError::Failed(format!("making the demo portal: {error}")))?;
        say(&format!("  database  {}", portal.database.display()))?;
        say(&format!("  files     {}", portal.files.display()))?;

        let mut config = Config::default();
        config.server.listen = self.listen;
        config.catalog.url = Secret::new(format!("sqlite://{}", dir.join("catalog.db").display()));
        config.storage.local.root = dir.join("backups");
        config.portal.database.push(DatabaseConfig {
            name: "portal".to_owned(),
            url: Secret::new(format!("sqlite://{}", portal.database.display())),
        });
        let files = url::Url::from_directory_path(&portal.files)
            .map_err(|()| CliError::Failed("the demo's folder has no absolute path".to_owned()))?;
        config.portal.filesystem.push(FilesystemConfig {
            name: "files".to_owned(),
            url: files,
            options: Default::default(),
        });

        let app = App::build(config).await?;
        let (_, key) =
            app.catalog.api_keys().create("demo", Scope::Write).await.map_err(CliError::failed)?;
        let service = Service::start(app).await?;
        let client = Client {
            http: reqwest::Client::new(),
            base: format!("http://{}", service.address()),
            key,
        };
        say(&format!("Serving on {}\nAPI key {}", client.base, client.key.expose()))?;
        let result = back_up(&client, global.json).await;
        if self.exit || result.is_err() {
            service.stop().await;
            return result;
        }
        say("\nServing until Ctrl-C.")?;
        signal().await?;
        service.stop().await;
        Ok(())
    }
}

/// The body that DocSpace's sample sends.
const SAMPLE: &str = r#"{"storageType":"Local","dump":true}"#;

/// What DocSpace's sample does, then what its clients do: poll until it is done.
async fn back_up(client: &Client, as_json: bool) -> Result<(), CliError> {
    if !as_json {
        output::line(&format!(
            "\nPOST /api/2.0/backup/startbackup\nAuthorization: sk-…\n{SAMPLE}\n"
        ))?;
    }
    client.send(Method::POST, "/api/2.0/backup/startbackup", Some(SAMPLE)).await?;
    let mut display = Display::new(as_json);
    let progress = loop {
        let answer =
            client.send(Method::GET, "/api/2.0/backup/getbackupprogress?dump=true", None).await?;
        let progress = answer["response"].clone();
        let jobs = client.send(Method::GET, "/v1/jobs?limit=1", None).await?;
        let view = &jobs["items"][0];
        let ended = progress["isCompleted"] == true;
        // A job that ended between the two answers is shown by the next two, not as done at 98 %.
        if ended || view["finishedOn"].is_null() {
            display.show(&ProgressView {
                phase: view["phase"].as_str().unwrap_or_default().to_owned(),
                percent: progress["progress"].as_u64().unwrap_or(0) as u8,
                bytes_done: view["bytesDone"].as_u64().unwrap_or(0),
                bytes_total: view["bytesTotal"].as_u64().unwrap_or(0),
                rate: view["rate"].as_u64().unwrap_or(0),
                eta_seconds: view["etaSeconds"].as_u64(),
                current: None,
            });
        }
        if ended {
            break progress;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    display.finish();
    if let Some(error) = progress["error"].as_str().filter(|error| !error.is_empty()) {
        return Err(CliError::Failed(error.to_owned()));
    }
    let archives = client.send(Method::GET, "/v1/archives?limit=1", None).await?;
    let archive = &archives["items"][0];
    let (Some(url), Some(verified)) = (archive["url"].as_str(), archive["verifiedOn"].as_str())
    else {
        return Err(CliError::Failed("the backup ended without a verified archive".to_owned()));
    };
    if as_json {
        return output::json(&json!({
            "url": client.base,
            "key": client.key.expose(),
            "archive": archive,
            "download": progress["link"],
        }));
    }
    output::line(&format!(
        "\nThe archive   {}\n  size        {}\n  SHA-256     {}\n  verified    read back and compared, {verified}\n  download    {}\nThe API       {}/swagger/",
        url.strip_prefix("file://").unwrap_or(url),
        output::bytes(archive["size"].as_u64().unwrap_or(0)),
        archive["sha256"].as_str().unwrap_or_default(),
        progress["link"].as_str().unwrap_or_default(),
        client.base,
    ))
}

/// A client as far from the program as any other: it knows an address and a key.
struct Client {
    http: reqwest::Client,
    base: String,
    key: Secret,
}

impl Client {
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&'static str>,
    ) -> Result<Value, CliError> {
        let failed =
            |error: &dyn std::fmt::Display| CliError::Failed(format!("{method} {path}: {error}"));
        let mut request = self
            .http
            .request(method.clone(), format!("{}{path}", self.base))
            .header("Authorization", self.key.expose());
        if let Some(body) = body {
            request = request.header("Content-Type", "application/json").body(body);
        }
        let answer = request.send().await.map_err(|error| failed(&error))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| failed(&error))?;
        if !status.is_success() {
            return Err(failed(&format!("{status} {text}")));
        }
        serde_json::from_str(&text).map_err(|error| failed(&error))
    }
}
