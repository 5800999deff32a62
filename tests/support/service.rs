//! The program itself, running: its own process, its own catalog, an API key.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

pub struct Service {
    pub dir: tempfile::TempDir,
    pub base: String,
    pub key: String,
    pub http: reqwest::Client,
    config: PathBuf,
    child: Option<Child>,
}

impl Service {
    /// `portal`: the `[portal]` section and whatever else of the configuration is not the default here.
    /// `{dir}` in it stands for the service's own folder.
    pub async fn start(portal: &str) -> Self {
        let mut service = Self::prepare(portal);
        service.restart().await;
        service
    }

    /// Everything but the running process.
    pub fn prepare(portal: &str) -> Self {
        let mut service = Self::prepare_without_key(portal);
        service.key = service.new_key("write");
        service
    }

    /// For a configuration that may be wrong.
    pub fn prepare_without_key(portal: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let home = dir.path().display().to_string();
        let mut text = format!(
            "[server]\nlisten = \"127.0.0.1:{port}\"\n[catalog]\nurl = \"sqlite://{home}/catalog.db\"\n"
        );
        if !portal.contains("[storage.local]") {
            text += &format!("[storage.local]\nroot = \"{home}/backups\"\n");
        }
        text += &portal.replace("{dir}", &home);
        let config = dir.path().join("portal-backup.toml");
        std::fs::write(&config, text).unwrap();
        Self {
            base: format!("http://127.0.0.1:{port}"),
            key: String::new(),
            http: reqwest::Client::new(),
            dir,
            config,
            child: None,
        }
    }

    pub fn new_key(&self, scope: &str) -> String {
        let output = self.cli(&["apikey", "create", "--name", "test", "--scope", scope, "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let key: Value = serde_json::from_slice(&output.stdout).unwrap();
        key["key"].as_str().unwrap().to_owned()
    }

    /// Runs a verb of the program on the same configuration.
    pub fn cli(&self, args: &[&str]) -> std::process::Output {
        Command::new(env!("CARGO_BIN_EXE_portal-backup"))
            .args(args)
            .arg("--config")
            .arg(&self.config)
            .output()
            .unwrap()
    }

    /// The same on a terminal on which `input` is typed; what it shows.
    pub fn on_terminal(&self, args: &[&str], input: &str) -> (std::process::ExitStatus, String) {
        let program = env!("CARGO_BIN_EXE_portal-backup");
        let command = format!("{program} {} --config {}", args.join(" "), self.config.display());
        let mut script = Command::new("script")
            .args(["-qec", &command, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut script.stdin.take().unwrap(), input.as_bytes()).unwrap();
        let output = script.wait_with_output().unwrap();
        (output.status, String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The same, not waited for.
    pub fn spawn(&self, args: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portal-backup"));
        command.args(args).arg("--config").arg(&self.config);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Changes the configuration; the running process keeps the old one.
    pub fn reconfigure(&self, change: impl FnOnce(String) -> String) {
        let text = std::fs::read_to_string(&self.config).unwrap();
        std::fs::write(&self.config, change(text)).unwrap();
    }

    /// Starts the process (again), and waits until it answers.
    pub async fn restart(&mut self) {
        self.spawn_serving(Command::new(env!("CARGO_BIN_EXE_portal-backup"))).await;
    }

    /// The same as a user who may not read everything, though the tests are root.
    pub async fn restart_without_roots_rights(&mut self) {
        let mut command = Command::new("setpriv");
        command.arg("--bounding-set=-dac_override,-dac_read_search");
        command.arg(env!("CARGO_BIN_EXE_portal-backup"));
        self.spawn_serving(command).await;
    }

    async fn spawn_serving(&mut self, mut program: Command) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.path().join("log"))
            .unwrap();
        let serve = program.arg("serve").arg("--config").arg(&self.config);
        self.child = Some(serve.stdin(Stdio::null()).stderr(log).spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Ok(answer) = self.http.get(format!("{}/health", self.base)).send().await
                && answer.status().is_success()
            {
                return;
            }
            assert!(Instant::now() < deadline, "the service does not start: {}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, and the exit status that follows.
    pub fn terminate(&mut self) -> std::process::ExitStatus {
        let mut child = self.child.take().unwrap();
        Command::new("kill").arg(child.id().to_string()).status().unwrap();
        child.wait().unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub fn backups(&self) -> PathBuf {
        self.dir.path().join("backups")
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).header("Authorization", &self.key)
    }

    pub async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    /// GET that must succeed, as JSON.
    pub async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    pub async fn post(&self, path: &str, body: &Value) -> Response {
        self.request(Method::POST, path).json(body).send().await.unwrap()
    }

    /// DocSpace's request for a dump; the answer's `response`.
    pub async fn start_backup(&self, storage: &str, params: Value) -> Value {
        let body = json!({"storageType": storage, "storageParams": params, "dump": true});
        let answer = self.post("/api/2.0/backup/startbackup", &body).await;
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{text}");
        serde_json::from_str::<Value>(&text).unwrap()["response"].clone()
    }

    pub async fn progress(&self) -> Value {
        self.json("/api/2.0/backup/getbackupprogress?dump=true").await["response"].clone()
    }

    /// Polls until the backup has ended; checks on the way that progress never falls.
    pub async fn finish(&self) -> Value {
        let deadline = Instant::now() + Duration::from_secs(120);
        let mut last = 0;
        loop {
            let progress = self.progress().await;
            let percent = progress["progress"].as_i64().unwrap();
            assert!(percent >= last, "progress fell from {last} to {percent}");
            last = percent;
            if progress["isCompleted"] == true {
                return progress;
            }
            assert!(percent < 100, "100 % before the end");
            assert!(Instant::now() < deadline, "no end: {progress} {}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Polls until the restore has ended. Needs no key.
    pub async fn finish_restore(&self) -> Value {
        let deadline = Instant::now() + Duration::from_secs(600);
        loop {
            let path = format!("{}/api/2.0/backup/getrestoreprogress?dump=true", self.base);
            let answer = self.http.get(path).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            let progress = answer.json::<Value>().await.unwrap()["response"].clone();
            if progress["isCompleted"] == true {
                return progress;
            }
            assert!(Instant::now() < deadline, "no end: {progress} {}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A restore from request to end, which must be a success.
    pub async fn restore(&self, body: &Value) {
        let answer = self.post("/api/2.0/backup/startrestore", body).await;
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{text}");
        let done = self.finish_restore().await;
        assert_eq!(done["error"], "", "{done} {}", self.log());
        assert_eq!((done["progress"].as_i64(), done["status"].as_i64()), (Some(100), Some(2)));
    }

    /// A backup from request to end, which must be a success. Returns the newest archive as `/v1/archives` shows it.
    pub async fn backup(&self, storage: &str, params: Value) -> Value {
        self.start_backup(storage, params).await;
        let progress = self.finish().await;
        assert_eq!(progress["error"], "", "{progress} {}", self.log());
        assert_eq!(progress["progress"], 100);
        assert_eq!(progress["status"], 2);
        self.json("/v1/archives?limit=1").await["items"][0].clone()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("the service's log:\n{}", self.log());
        }
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The names below a folder, sorted; none when it does not exist.
pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .map(|entries| {
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
        })
        .unwrap_or_default();
    names.sort();
    names
}
