//! The command lines of RavenDB's own documentation, sent as they mean it. Those pages are none of ours, so they are not
//! kept here: SEEDS says where they are, or they lie where the project's shared papers are.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::raven::{Raven, rows};
use crate::support::portal::tree;

fn folder() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = std::env::var_os("SEEDS").map(PathBuf::from);
    let near = ["../shared/seeds", "../../shared/seeds"].map(|up| root.join(up));
    let found = named.into_iter().chain(near).find(|folder| folder.is_dir());
    if found.is_none() {
        eprintln!("SKIPPED: SEEDS does not name the folder with RavenDB's pages");
    }
    found
}

/// An example: the text between `curl` and the answer, and the answer's status.
struct Example {
    command: String,
    status: u16,
}

fn examples(folder: &Path, page: &str) -> Vec<Example> {
    let page = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(page))
        .unwrap();
    let text = std::fs::read_to_string(page).unwrap().replace('\r', "");
    let blocks = text.split("curl ").skip(1).filter(|block| block.contains("localhost:8080"));
    let examples = blocks.map(|block| {
        let (command, answer) = block.split_once("< HTTP/1.1 ").unwrap();
        let status = answer.split_whitespace().next().unwrap().parse().unwrap();
        Example { command: command.trim().to_owned(), status }
    });
    examples.collect()
}

impl Example {
    fn url(&self) -> String {
        let start = self.command.find("http://localhost:8080").unwrap();
        let rest = &self.command[start..];
        rest.split([' ', '"', '\n', '\t']).next().unwrap().to_owned()
    }

    /// Only the shell's `\"` undone.
    fn payload(&self) -> String {
        let (_, rest) = self.command.split_once("-d \"").unwrap();
        let (payload, _) = rest.rsplit_once('"').unwrap();
        payload.replace("\\\"", "\"")
    }

    /// Sends the payload with curl's defaults.
    fn send(&self, raven: &Raven) -> String {
        let url = self.url().replace("http://localhost:8080", &raven.service.base);
        let mut curl = Command::new("curl");
        curl.args(["-X", "POST", &url, "-d", &self.payload()]);
        self.sent(raven, &mut curl)
    }

    /// Lets a shell send it, which undoes more than `\"`.
    fn send_by_shell(&self, raven: &Raven) -> String {
        let command = self.command.replace("http://localhost:8080", &raven.service.base);
        let mut shell = Command::new("bash");
        shell.args(["-c", &format!("curl \"$@\" {command}"), "bash"]);
        self.sent(raven, &mut shell)
    }

    fn sent(&self, raven: &Raven, command: &mut Command) -> String {
        let output = command
            .args(["-sS", "-w", "\n%{http_code}", "-H"])
            .arg(format!("Authorization: Bearer {}", raven.service.key))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = said.rsplit_once('\n').unwrap_or_default();
        assert_eq!(status, self.status.to_string(), "{}: {body}", self.command);
        body.to_owned()
    }
}

async fn all(send: fn(&Example, &Raven) -> String) {
    let Some(folder) = folder() else { return };
    let raven = Raven::start("").await;
    // A file system: its backup, and its restore as another.
    let examples_of_files = examples(&folder, "001");
    assert_eq!(examples_of_files.len(), 2);
    assert_eq!(
        send(&examples_of_files[0], &raven),
        "",
        "\"201 … The request does not return any message\""
    );
    let status = raven.ended("/fs/NorthwindFS").await;
    // "Started backup process. Backing up data to directory = 'PATH'", whatever a shell made of the path.
    assert_eq!(
        status["Messages"][0]["Message"],
        r"Started backup process. Backing up data to directory = 'c:\temp\backup\NorthwindFS'"
    );
    assert!(raven.at("temp/backup/NorthwindFS/Filesystem.Document").is_file());
    let started: Value = serde_json::from_str(&send(&examples_of_files[1], &raven)).unwrap();
    assert_eq!(started, json!({"OperationId": 1}), "\"counter starting at 1\"; backups have none");
    let done = raven.operation(&started["OperationId"]).await;
    assert_eq!(done, json!({"Completed": true, "Faulted": false, "State": null}));
    assert_eq!(tree(&raven.at("FileSystem/NewNorthwindFS")), tree(&raven.portal.files()));

    // A database.
    let examples_of_databases = examples(&folder, "002");
    assert_eq!(examples_of_databases.len(), 2);
    assert_eq!(send(&examples_of_databases[0], &raven), "");
    raven.ended("/databases/Northwind").await;
    let document = std::fs::read(raven.at("temp/backup/Northwind/Database.Document")).unwrap();
    let document: Value = serde_json::from_slice(&document).unwrap();
    // "A supplied document is stored verbatim: seed 002's example has `Id:null`"
    assert!(document["Id"].is_null() && document["Disabled"] == false, "{document}");
    let started: Value = serde_json::from_str(&send(&examples_of_databases[1], &raven)).unwrap();
    assert_eq!(started, json!({"OperationId": 2}));
    let done = raven.operation(&started["OperationId"]).await;
    assert_eq!(done, json!({"Completed": true, "Faulted": false, "State": null}));
    let restored = raven.at("Databases/NewNorthwind/NewNorthwind.db");
    assert_eq!(rows(&restored), rows(&raven.portal.database()));
    assert_eq!(raven.get("/databases").await.json(), json!(["NewNorthwind", "Northwind"]));
    assert_eq!(raven.get("/fs").await.json(), json!(["NewNorthwindFS", "NorthwindFS"]));
}

#[tokio::test]
async fn the_examples_work_as_their_pages_mean_them() {
    all(Example::send).await;
}

/// The page of the client: "Pass `null` to use the current one", "getting `Raven/Backup/Status` configuration item".
#[tokio::test]
async fn the_client_passes_null_and_reads_the_status() {
    let raven = Raven::start("").await;
    let body = json!({"BackupLocation": "x", "FileSystemDocument": null});
    assert_eq!(
        raven.post("/fs/NorthwindFS/admin/backup?incremental=False", &body).await.status,
        201
    );
    let status = raven.ended("/fs/NorthwindFS").await;
    assert!(status["Messages"].as_array().unwrap().len() >= 2, "{status}");
    let document = std::fs::read(raven.at("x/Filesystem.Document")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&document).unwrap()["Id"], "NorthwindFS");
}

#[tokio::test]
async fn a_shell_may_send_them() {
    all(Example::send_by_shell).await;
}
