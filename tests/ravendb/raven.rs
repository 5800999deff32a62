//! A service with one database and one file system, spoken to as RavenDB's clients do.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::portal::PlainPortal;
use crate::support::service::Service;

pub struct Raven {
    pub service: Service,
    pub portal: PlainPortal,
}

pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Raven {
    /// `more`: of the configuration.
    pub async fn start(more: &str) -> Self {
        Self::of(PlainPortal::new(300), more).await
    }

    pub async fn of(portal: PlainPortal, more: &str) -> Self {
        let config = portal
            .config()
            .replace("\"main\"", "\"Northwind\"")
            .replace("name = \"files\"", "name = \"NorthwindFS\"");
        let service = Service::start(&format!("{config}{more}")).await;
        Self { service, portal }
    }

    pub async fn version_3_5() -> Self {
        Self::start("[ravendb]\nversion = \"3.5\"\n").await
    }

    /// From now on nobody runs jobs, or somebody does.
    pub async fn set_role(&mut self, role: &str) {
        self.service.terminate();
        let path = self.service.dir.path().join("portal-backup.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines: Vec<&str> =
            text.lines().filter(|line| !line.starts_with("role =")).collect();
        let role = format!("role = \"{role}\"");
        lines.insert(1, &role);
        std::fs::write(&path, lines.join("\n")).unwrap();
        self.service.restart().await;
    }

    /// A path below the local storage's root.
    pub fn at(&self, path: &str) -> PathBuf {
        self.service.backups().join(path)
    }

    pub async fn send(&self, method: Method, path: &str, body: &str, key: &str) -> Answer {
        let mut request = self.service.http.request(method, format!("{}{path}", self.service.base));
        if !key.is_empty() {
            request = request.header("X-Api-Key", key);
        }
        // As curl sends what `-d` has.
        let request = request.header("Content-Type", "application/x-www-form-urlencoded");
        let answer = request.body(body.to_owned()).send().await.unwrap();
        Answer {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            text: answer.text().await.unwrap(),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, "", &self.service.key).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, &body.to_string(), &self.service.key).await
    }

    /// The backup status of `/databases/X` or `/fs/X`.
    pub async fn status(&self, source: &str) -> Answer {
        match source.starts_with("/fs/") {
            true => self.get(&format!("{source}/config?name=Raven%2FBackup%2FStatus")).await,
            false => self.get(&format!("{source}/docs/Raven/Backup/Status")).await,
        }
    }

    /// Waits for the end of a backup; its status then.
    pub async fn ended(&self, source: &str) -> Value {
        self.until(async || {
            let status = self.status(source).await;
            assert_eq!(status.status, 200, "{}", status.text);
            let status = status.json();
            (status["IsRunning"] == false).then_some(status)
        })
        .await
    }

    /// A backup from request to end; its messages.
    pub async fn backup(&self, source: &str, query: &str, body: Value) -> Vec<Value> {
        let answer = self.post(&format!("{source}/admin/backup{query}"), &body).await;
        assert!(matches!(answer.status, 201 | 202), "{} {}", answer.status, answer.text);
        let status = self.ended(source).await;
        assert!(!status["Completed"].is_null(), "{status}");
        status["Messages"].as_array().unwrap().clone()
    }

    /// A backup that must be a success.
    pub async fn good_backup(&self, source: &str, query: &str, location: &str) {
        let messages = self.backup(source, query, json!({ "BackupLocation": location })).await;
        assert!(messages.iter().all(|m| m["Severity"] == "Informational"), "{messages:?}");
        assert_eq!(messages.last().unwrap()["Message"], "Voron backup db finished");
    }

    /// Waits for the end of an operation; its status then.
    pub async fn operation(&self, id: &Value) -> Value {
        self.until(async || {
            let status = self.get(&format!("/operation/status?id={id}")).await;
            assert_eq!(status.status, 200, "{}", status.text);
            let status = status.json();
            (status["Completed"] == true).then_some(status)
        })
        .await
    }

    /// A restore from request to end; the operation's status then.
    pub async fn restore(&self, path: &str, body: Value) -> Value {
        let answer = self.post(path, &body).await;
        assert!(matches!(answer.status, 200 | 202), "{} {}", answer.status, answer.text);
        self.operation(&answer.json()["OperationId"]).await
    }

    async fn until<T>(&self, look: impl AsyncFn() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(Instant::now() < deadline, "no end: {}", self.service.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Every row of every table, as text.
pub fn rows(database: &Path) -> Vec<String> {
    assert!(database.is_file(), "{}", database.display());
    let db = rusqlite::Connection::open(database).unwrap();
    let mut rows = Vec::new();
    for (table, columns) in [("note", "id, body, weight"), ("pair", "a, hex(b)"), ("empty", "id")] {
        let mut query =
            db.prepare(&format!("select {columns} from {table} order by 1, 2")).unwrap_or_else(
                |_| db.prepare(&format!("select {columns} from {table} order by 1")).unwrap(),
            );
        let count = query.column_count();
        let found = query
            .query_map([], |row| {
                let values = (0..count).map(|at| row.get::<_, rusqlite::types::Value>(at));
                Ok(format!("{table} {:?}", values.collect::<Result<Vec<_>, _>>()?))
            })
            .unwrap();
        rows.extend(found.map(Result::unwrap));
    }
    rows
}
