//! Our own program, run as its users run it: a configuration file, `serve`, and HTTP.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::portal::Portal;
use super::process::{self, Usage};
use super::{Result, empty_folder, folder_size, mysql, variable};

const START_LIMIT: Duration = Duration::from_secs(20);
const BACKUP_LIMIT: Duration = Duration::from_secs(1_800);
const POLL: Duration = Duration::from_millis(20);

/// One job, measured.
pub struct Run {
    /// From the request to `isCompleted`, reading back included.
    pub wall: Duration,
    pub archive_bytes: u64,
    pub peak_memory: u64,
    pub usage: Usage,
    pub database_cpu: Duration,
}

pub struct Service {
    server: Child,
    archives: PathBuf,
    pub url: String,
    pub key: String,
    client: reqwest::Client,
    runtime: Runtime,
    /// DocSpace's name of where archives go.
    storage: &'static str,
}

impl Service {
    /// Starts the service for a portal; `dir` gets its configuration, catalog, log and archives.
    pub fn start(portal: &Portal, dir: &Path) -> Result<Self> {
        Self::with(dir, &sources(&mysql::url(&portal.database), Some(&portal.files)), "Local")
    }

    /// The same for whatever the configuration names beside; archives go to `storage`.
    pub fn with(dir: &Path, more: &str, storage: &'static str) -> Result<Self> {
        empty_folder(dir)?;
        let archives = dir.join("archives");
        fs::create_dir(&archives)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let config = dir.join("portal-backup.toml");
        fs::write(&config, configuration(more, dir, &archives, port))?;

        let log = fs::File::create(dir.join("serve.log"))?;
        let server = Command::new(program())
            .args(["serve", "--config"])
            .arg(&config)
            .current_dir(dir)
            .stdout(log.try_clone()?)
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()?;
        let mut service = Self {
            server,
            archives,
            url: format!("http://127.0.0.1:{port}"),
            key: String::new(),
            // Between two runs the server may give up a connection, and nobody here would notice.
            client: reqwest::Client::builder().pool_max_idle_per_host(0).build()?,
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
            storage,
        };
        service.wait_until_ready(dir)?;
        let made = Command::new(program())
            .args(["apikey", "create", "--name", "bench", "--scope", "write", "--json", "--config"])
            .arg(&config)
            .output()?;
        if !made.status.success() {
            return Err(format!("apikey: {}", String::from_utf8_lossy(&made.stderr)).into());
        }
        let made: Value = serde_json::from_slice(&made.stdout)?;
        service.key = made["key"].as_str().ok_or("apikey create printed no key")?.to_owned();
        Ok(service)
    }

    fn wait_until_ready(&mut self, dir: &Path) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < START_LIMIT {
            let answer = self.client.get(format!("{}/ready", self.url)).send();
            if self.runtime.block_on(answer).is_ok_and(|a| a.status().is_success()) {
                return Ok(());
            }
            if self.server.try_wait()?.is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let log = fs::read_to_string(dir.join("serve.log"))?;
        Err(format!("{} serve did not get ready; its log:\n{log}", program()).into())
    }

    /// Backs the portal up once and deletes the archive again.
    pub fn backup(&self) -> Result<Run> {
        let run = self.measure(|| self.start_backup(), || self.progress())?;
        self.delete_archives()?;
        Ok(run)
    }

    /// Backs the portal up once; returns the archive's id.
    pub fn backup_and_keep(&self) -> Result<String> {
        self.measure(|| self.start_backup(), || self.progress())?;
        let id = self.progress()?["taskId"].as_str().map(str::to_owned);
        Ok(id.ok_or("a backup without an id")?)
    }

    /// Makes a backup of some mode, which stays; `archive_bytes` is what it added.
    pub fn backup_of_mode(&self, mode: &str) -> Result<Run> {
        let before = folder_size(&self.archives)?;
        let url = format!("{}/v1/backups", self.url);
        let body = json!({ "storageType": "Local", "dump": true, "mode": mode });
        let mut run = self.measure(
            || {
                let job = self.answer(self.client.post(url).json(&body))?;
                Ok(json!({ "isCompleted": job["state"] == "succeeded", "error": "" }))
            },
            || self.progress(),
        )?;
        run.archive_bytes -= before;
        let jobs = self.answer(self.client.get(format!("{}/v1/archives?limit=1", self.url)))?;
        let made = &jobs["items"][0];
        if made["mode"] != mode {
            return Err(format!("a backup of another mode was made: {made}").into());
        }
        Ok(run)
    }

    /// Restores an archive in place.
    pub fn restore(&self, archive: &str) -> Result<Run> {
        let url = |name: &str| format!("{}/api/2.0/backup/{name}", self.url);
        let body = json!({ "backupId": archive, "dump": true });
        self.measure(
            || self.send(self.client.post(url("startrestore")).json(&body)),
            || self.send(self.client.get(url("getrestoreprogress?dump=true"))),
        )
    }

    fn measure(
        &self,
        start: impl FnOnce() -> Result<Value>,
        progress_now: impl Fn() -> Result<Value>,
    ) -> Result<Run> {
        let pid = self.server.id();
        let database = process::mariadb();
        let database_cpu = || database.map_or(Ok(Duration::ZERO), process::cpu);
        process::forget_peak_memory(pid);
        let (usage, cpu) = (process::usage(pid)?, database_cpu()?);

        let began = Instant::now();
        let mut progress = start()?;
        while progress["isCompleted"] != true {
            if began.elapsed() > BACKUP_LIMIT {
                return Err("the job did not end".into());
            }
            std::thread::sleep(POLL);
            progress = progress_now()?;
        }
        let wall = began.elapsed();
        if progress["error"] != "" || progress["progress"] != 100 {
            return Err(format!("the job failed: {progress}").into());
        }
        Ok(Run {
            wall,
            archive_bytes: folder_size(&self.archives)?,
            peak_memory: process::peak_memory(pid)?,
            usage: process::usage(pid)?.since(usage),
            database_cpu: database_cpu()? - cpu,
        })
    }

    /// The very request of DocSpace's sample; the answer is the progress.
    pub fn start_backup(&self) -> Result<Value> {
        self.send(
            self.client
                .post(format!("{}/api/2.0/backup/startbackup", self.url))
                .json(&json!({ "storageType": self.storage, "dump": true })),
        )
    }

    pub fn progress_url(&self) -> String {
        format!("{}/api/2.0/backup/getbackupprogress?dump=true", self.url)
    }

    pub fn progress(&self) -> Result<Value> {
        self.send(self.client.get(self.progress_url()))
    }

    fn delete_archives(&self) -> Result<()> {
        let history = format!("{}/api/2.0/backup/getbackuphistory?dump=true", self.url);
        let history = self.send(self.client.get(history))?;
        for record in history.as_array().ok_or("the history is no list")? {
            let id = record["id"].as_str().ok_or("a record without id")?;
            let url = format!("{}/api/2.0/backup/deletebackup/{id}", self.url);
            self.send(self.client.delete(url))?;
        }
        match folder_size(&self.archives)? {
            0 => Ok(()),
            left => Err(format!("deleting left {left} bytes").into()),
        }
    }

    fn send(&self, request: reqwest::RequestBuilder) -> Result<Value> {
        Ok(self.answer(request)?["response"].take())
    }

    fn answer(&self, request: reqwest::RequestBuilder) -> Result<Value> {
        self.runtime.block_on(async {
            let answer = request.header("Authorization", &self.key).send().await?;
            let (status, body) = (answer.status(), answer.text().await?);
            if !status.is_success() {
                return Err(format!("{status}: {body}").into());
            }
            Ok(serde_json::from_str(&body)?)
        })
    }

    /// Ends the service as an operator would.
    pub fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.server.id()).ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.ok_or("no process")?, rustix::process::Signal::TERM)?;
        if !self.server.wait()?.success() {
            return Err("the service did not end with status 0".into());
        }
        Ok(())
    }
}

impl Drop for Service {
    /// After a failure nobody calls `stop`, and the server must not outlive the bench.
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The program just built, or another that is to be measured.
fn program() -> String {
    variable("BENCH_PROGRAM").unwrap_or(env!("CARGO_BIN_EXE_portal-backup").to_owned())
}

/// The `[portal]` of a database, by its URL, and a folder.
pub fn sources(database: &str, files: Option<&Path>) -> String {
    let files = files.map(|files| {
        format!("[[portal.filesystem]]\nname = \"files\"\nurl = \"file://{}\"\n", files.display())
    });
    format!(
        "[portal]\nlayout = \"plain\"\nname = \"bench\"\n[[portal.database]]\nname = \"portal\"\n\
         url = \"{database}\"\n{}",
        files.unwrap_or_default()
    )
}

fn configuration(more: &str, dir: &Path, archives: &Path, port: u16) -> String {
    format!(
        r#"[server]
listen = "127.0.0.1:{port}"
{more}
[catalog]
url = "sqlite://{dir}/catalog.db"
[backup]
temp_dir = "{dir}"
[storage.local]
root = "{archives}"
"#,
        dir = dir.display(),
        archives = archives.display(),
    )
}
