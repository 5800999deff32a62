//! What is refused, and in which words. Facts A1, A3, A4, A6.

use reqwest::Method;
use serde_json::{Value, json};

use super::raven::Raven;

const DATABASE: &str = "/databases/Northwind";

#[tokio::test]
async fn requests_for_backups() {
    let raven = Raven::start("").await;
    let good = json!({"BackupLocation": "bk"});
    // "Missing database: `503 {"Error":"Could not find a database named: X"}`"
    let missing = raven.post("/databases/Nowhere/admin/backup", &good).await;
    assert_eq!(
        (missing.status, missing.text.as_str()),
        (503, r#"{"Error":"Could not find a database named: Nowhere"}"#)
    );
    // "Missing fs, 3.0 admin route: 500, `Could not find a filesystem named: X`"
    let missing = raven.post("/fs/Nowhere/admin/backup", &good).await;
    assert_eq!(missing.status, 500);
    assert!(
        missing.json()["Error"]
            .as_str()
            .unwrap()
            .contains("Could not find a filesystem named: Nowhere")
    );
    // The system database, which is routed, and a file system without a name.
    assert_eq!(raven.post("/admin/backup", &good).await.status, 503);
    assert_eq!(raven.post("/fs/admin/backup", &good).await.status, 500);
    // "null body or null BackupLocation: 500"
    for body in ["", "null", "{}", "{'BackupLocation':null}"] {
        let answer = raven
            .send(Method::POST, "/databases/Northwind/admin/backup", body, &raven.service.key)
            .await;
        assert_eq!(answer.status, 500, "{body}");
        assert_eq!(answer.json()["Url"], "/databases/Northwind/admin/backup");
    }
    assert_eq!(raven.status(DATABASE).await.status, 404, "nothing was begun");
    for body in [
        "{'BackupLocation':",
        "[]",
        "{'BackupLocation':{}}",
        "{'BackupLocation':'x','DatabaseDocument':1}",
    ] {
        let answer = raven
            .send(Method::POST, "/databases/Northwind/admin/backup", body, &raven.service.key)
            .await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text);
    }
    // Locations outside what may be named.
    for location in [
        r"c:\..\x",
        "../x",
        "/a/../../x",
        "file:///etc",
        "s3://elsewhere/x",
        "http://x/y",
        "a\u{1}b",
        ".uploads",
    ] {
        let body = json!({ "BackupLocation": location });
        let answer = raven.post("/databases/Northwind/admin/backup", &body).await;
        assert_eq!(answer.status, 400, "{location}: {}", answer.text);
        assert!(answer.json()["Error"].is_string());
        let answer = raven.post("/fs/NorthwindFS/admin/backup", &body).await;
        assert!(
            answer.status == 400 && answer.json()["Message"].is_string(),
            "{location}: {}",
            answer.text
        );
    }
    std::fs::create_dir_all(raven.service.backups()).unwrap();
    std::os::unix::fs::symlink("/tmp", raven.at("link")).unwrap();
    let answer =
        raven.post("/databases/Northwind/admin/backup", &json!({"BackupLocation": "link/x"})).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
}

/// "Not admin: `401 {"Error":"The operation 'URL' is only available to administrators"}`", and the variant
#[tokio::test]
async fn only_administrators() {
    let raven = Raven::start("").await;
    let reader = raven.service.new_key("read");
    let path = "/databases/Northwind/admin/backup?incremental=false";
    let refused = raven.send(Method::POST, path, "{'BackupLocation':'x'}", &reader).await;
    assert_eq!(refused.status, 401);
    let only = format!("The operation '{path}' is only available to administrators");
    assert_eq!(refused.json(), json!({ "Error": only }));
    for key in ["", "sk-wrong"] {
        let refused = raven.send(Method::POST, "/admin/restore", "{}", key).await;
        assert_eq!(refused.status, 401);
        let text = refused.json()["Error"].as_str().unwrap().to_owned();
        assert!(
            text.ends_with("administrators, and could not find the user to authorize with"),
            "{text}"
        );
    }
    // Status needs less.
    assert_eq!(raven.send(Method::GET, "/operations", "", &reader).await.status, 200);
    for path in ["/docs/Raven/Databases/Northwind", "/docs/Raven/FileSystems/NorthwindFS"] {
        assert_eq!(raven.send(Method::GET, path, "", &reader).await.status, 401, "{path}");
        assert_eq!(raven.get(path).await.status, 200, "{path}");
    }
    assert_eq!(raven.send(Method::GET, "/operation/kill?id=1", "", &reader).await.status, 401);
    assert_eq!(raven.send(Method::GET, "/operations", "", "").await.status, 401);
}

/// "Missing database: `503 {"Error":"Could not find a database named: X"}`", also where only a prefix names it
#[tokio::test]
async fn prefixes_that_name_nothing() {
    let raven = Raven::start("").await;
    for (prefix, what) in [("databases", "database"), ("fs", "filesystem")] {
        for rest in ["operation/status?id=1", "operation/kill?id=1", "operations"] {
            let path = format!("/{prefix}/Nowhere/{rest}");
            let answer = raven.get(&path).await;
            let said = format!("Could not find a {what} named: Nowhere");
            assert_eq!((answer.status, answer.json()), (503, json!({ "Error": said })), "{path}");
        }
    }
    let answer = raven.post("/databases/Nowhere/admin/restore", &json!({})).await;
    let said = json!({"Error": "Could not find a database named: Nowhere"});
    assert_eq!((answer.status, answer.json()), (503, said));
    assert_eq!(raven.get("/databases/northwind/operations").await.json(), json!([]));
}

/// "Every processed answer carries `Raven-Server-Build` and `Temp-Request-Time`. JSON is … compact, indented if
/// User-Agent product is Mozilla or Fiddler"; "Bad id: `400 …`. Unknown id: 404 empty"
#[tokio::test]
async fn forms_of_answers() {
    let raven = Raven::start("").await;
    let answer = raven.get("/operation/status?id=x").await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.text, r#"{"Error":"Query string variable id must be a valid int64"}"#);
    assert_eq!(answer.header("raven-server-build"), "30179");
    assert!(answer.header("temp-request-time").parse::<u64>().is_ok());
    assert_eq!(answer.header("content-type"), "application/json; charset=utf-8");
    assert_eq!(raven.get("/operation/kill").await.status, 400);
    for path in [
        "/operation/status?id=77",
        "/docs/Raven/Restore/Status",
        "/docs/Raven/Restore/InProgress",
        "/docs/Raven/FileSystem/Restore/Status/x",
        "/databases/Northwind/docs/Raven/Backup/Status",
    ] {
        let answer = raven.get(path).await;
        assert_eq!((answer.status, answer.text.as_str()), (404, ""), "{path}");
        assert_eq!(answer.header("raven-server-build"), "30179");
    }
    let request = raven.service.request(Method::GET, "/operation/status");
    let answer = request.header("User-Agent", "Mozilla/5.0 (X11)").send().await.unwrap();
    assert!(answer.text().await.unwrap().contains("{\n  \"Error\""));
    // "missing = 404 `{"Url","Error"}`, Error `Could not find config: NAME`"; "no-cache headers"
    let answer = raven.get("/fs/NorthwindFS/config?name=Raven%2FBackup%2FStatus").await;
    assert_eq!(answer.status, 404);
    assert_eq!(
        answer.json(),
        json!({"Url": "/fs/NorthwindFS/config?name=Raven%2FBackup%2FStatus",
            "Error": "Could not find config: Raven/Backup/Status"})
    );
    assert!(answer.header("cache-control").contains("no-cache"));
    assert_eq!(raven.get("/fs/NorthwindFS/config").await.json(), json!([]));
}

/// A4, the table of what is refused at once.
#[tokio::test]
async fn requests_for_restores_of_databases() {
    let raven = Raven::start("").await;
    let document = json!({"Id": null, "Settings": {}, "SecuredSettings": {"Raven/Key": "secret"}});
    let body = json!({"BackupLocation": "bk", "DatabaseDocument": document});
    // Secrets stay out, and the status says so.
    let messages = raven.backup(DATABASE, "", body).await;
    assert!(
        messages.iter().any(|m| m["Message"].as_str().unwrap().contains("secrets were left out")),
        "{messages:?}"
    );
    let stored = std::fs::read_to_string(raven.at("bk/Database.Document")).unwrap();
    assert!(!stored.contains("secret"), "{stored}");

    let text = "text/plain; charset=utf-8";
    // "no name in request nor backup doc", "status doc also written, nested as `{"restoreStatus":{…}}`"
    let answer = raven.post("/admin/restore", &json!({"BackupLocation": "bk"})).await;
    let said = "Database.Document file is invalid - database name was not found and not supplied in the request \
        (Id property is missing or null). This is probably a bug - should never happen.";
    assert_eq!(
        (answer.status, answer.text.as_str(), answer.header("content-type")),
        (400, said, text)
    );
    let status = raven.get("/docs/Raven/Restore/Status").await.json();
    assert_eq!(status, json!({"restoreStatus": {"State": "Faulted", "Messages": [said]}}));
    for (path, body, status, said) in [
        (
            "/databases/Northwind/admin/restore",
            json!({"BackupLocation": "bk", "DatabaseName": "New"}),
            400,
            "Restore is only possible from the system database",
        ),
        (
            "/admin/restore",
            json!({"BackupLocation": "bk", "DatabaseName": "<system>"}),
            400,
            "Cannot do an online restore for the <system> database",
        ),
        (
            "/admin/restore",
            json!({"BackupLocation": "bk", "DatabaseName": "northwind"}),
            400,
            "Cannot do an online restore for an existing database, delete the database northwind and restore again.",
        ),
    ] {
        let answer = raven.post(path, &body).await;
        assert_eq!((answer.status, answer.text.as_str()), (status, said));
        assert_eq!(answer.header("content-type"), text);
    }
    // "BackupLocation not existing: 500 JSON, DirectoryNotFoundException"
    let answer = raven
        .post("/admin/restore", &json!({"BackupLocation": "nothing", "DatabaseName": "New"}))
        .await;
    assert_eq!(answer.status, 500);
    assert!(answer.json()["Error"].as_str().unwrap().contains("DirectoryNotFoundException"));
    assert_eq!(raven.post("/admin/restore", &json!({})).await.status, 500);
    // Names and places that lead elsewhere.
    for (member, value) in [
        ("DatabaseName", "../x"),
        ("DatabaseName", "a/b"),
        ("DatabaseName", ".x"),
        ("DatabaseLocation", "../x"),
        ("DatabaseLocation", "s3://elsewhere/x"),
        ("IndexesLocation", r"c:\..\x"),
        ("JournalsLocation", "file:///etc"),
    ] {
        let mut body = json!({"BackupLocation": "bk", "DatabaseName": "New"});
        body[member] = value.into();
        let answer = raven.post("/admin/restore", &body).await;
        assert_eq!(answer.status, 400, "{member} {value}: {}", answer.text);
    }
}

/// A4, "Accepted, then **faulted** in operation and status", for databases.
#[tokio::test]
async fn restores_of_databases_that_fail() {
    let raven = Raven::start("").await;
    raven.good_backup(DATABASE, "", "bk").await;
    std::fs::create_dir_all(raven.at("none")).unwrap();
    std::fs::create_dir_all(raven.at("broken")).unwrap();
    std::fs::write(raven.at("broken/Database.Document"), "{\"Id\":\"X\"}").unwrap();
    std::fs::write(raven.at("broken/RavenDB.Voron.Backup"), "no archive").unwrap();
    std::fs::create_dir_all(raven.at("used")).unwrap();
    std::fs::write(raven.at("used/x"), "x").unwrap();
    for (location, place, said) in [
        (
            "none",
            "new",
            "Cannot restore when the Database.Document file is missing in the backup folder: none",
        ),
        ("broken", "new", "broken doesn't look like a valid backup"),
        (
            "bk",
            "used",
            "Database location directory is not empty. Point to non-existing or empty directory.",
        ),
    ] {
        let body =
            json!({"DatabaseName": "New", "BackupLocation": location, "DatabaseLocation": place});
        let done = raven.restore("/admin/restore", body).await;
        assert_eq!(done, json!({"Completed": true, "Faulted": true, "State": {"Error": said}}));
        let status = raven.get("/docs/Raven/Restore/Status").await.json();
        assert_eq!(status["State"], "Faulted");
        let last = status["Messages"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(last, format!("Unable to restore database {said}"));
        assert!(!raven.at("new").exists());
    }
    assert_eq!(std::fs::read_dir(raven.at("used")).unwrap().count(), 1);
    assert_eq!(raven.get("/databases").await.json(), json!(["Northwind"]));
}

/// A4, the rows of file systems.
#[tokio::test]
async fn restores_of_file_systems() {
    let raven = Raven::start("").await;
    raven.good_backup("/fs/NorthwindFS", "", "bk").await;
    std::fs::create_dir_all(raven.at("none")).unwrap();
    let answer = raven
        .post("/admin/fs/restore", &json!({"FilesystemName": "New", "BackupLocation": "none"}))
        .await;
    assert_eq!(answer.status, 500);
    let said =
        "Cannot restore when the Filesystem.Document file is missing in the backup folder: none";
    assert!(answer.json()["Error"].as_str().unwrap().contains(said));
    for member in ["IndexesLocation", "JournalsLocation"] {
        let mut body = json!({"FilesystemName": "New", "BackupLocation": "bk"});
        body[member] = r"d:\not\there".into();
        let answer = raven.post("/admin/fs/restore", &body).await;
        assert_eq!(
            (answer.status, answer.json()),
            (400, json!({"Message": r"Non-existing path : d:\not\there"}))
        );
    }
    // "fs **name** exists: **no check**; only the non-empty directory check below"; the other routes
    let taken = "Filesystem already exists, cannot restore to an existing filesystem.";
    std::fs::create_dir_all(raven.at("used")).unwrap();
    std::fs::write(raven.at("used/x"), "x").unwrap();
    for (path, name, place) in [
        ("/fs/x/admin/restore", "NorthwindFS", json!(null)),
        ("/admin/fs-restore", "New", json!("used")),
        ("/fs/x/admin-restore", "northwindfs", json!("elsewhere")),
    ] {
        let body =
            json!({"FilesystemName": name, "BackupLocation": "bk", "FilesystemLocation": place});
        let done = raven.restore(path, body).await;
        assert_eq!(done["State"]["Error"], taken, "{path}");
        let status =
            raven.get(&format!("/docs/Raven/FileSystem/Restore/Status/{name}")).await.json();
        let last = status["Messages"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(last, format!("Unable to restore filesystem {taken}"));
    }
    assert!(!raven.at("elsewhere").exists());
    // A database's backup is none of a file system.
    raven.good_backup(DATABASE, "", "db").await;
    std::fs::copy(raven.at("db/Database.Document"), raven.at("db/Filesystem.Document")).unwrap();
    let done = raven
        .restore("/admin/fs/restore", json!({"FilesystemName": "New", "BackupLocation": "db"}))
        .await;
    assert_eq!(done["State"]["Error"], "db doesn't look like a valid backup");
}

/// The rows of 3.5.
#[tokio::test]
async fn version_3_5() {
    let raven = Raven::version_3_5().await;
    let body = json!({"BackupLocation": "bk"});
    for path in ["/databases/Nowhere/admin/backup", "/fs/Nowhere/admin/backup"] {
        let missing = raven.post(path, &body).await;
        assert_eq!(
            (missing.status, missing.json()),
            (503, json!({"Error": "Could not find a resource named: Nowhere"}))
        );
    }
    // "3.5: client version ≥4 header → 503 `{"Error":…}`"
    for (version, status) in [("4.0.1", 503), ("3.5.9", 200)] {
        let request = raven.service.request(Method::GET, "/operations");
        let answer = request.header("Raven-Client-Version", version).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{version}");
        assert_eq!(answer.json::<Value>().await.unwrap().is_object(), status == 503);
    }
    raven.backup(DATABASE, "", body.clone()).await;
    // "3.5 `Backup.Failure` holding the message, in the root"
    let archive = std::fs::read(raven.at("bk/RavenDB.Voron.Backup")).unwrap();
    std::fs::create_dir_all(raven.at("half")).unwrap();
    std::fs::write(raven.at("half/RavenDB.Voron.Backup"), archive).unwrap();
    let answer =
        raven.post("/databases/Northwind/admin/backup", &json!({"BackupLocation": "half"})).await;
    let failed = raven.operation(&answer.json()["OperationId"]).await;
    let said = "Failed to complete backup because: Denying request to perform a full backup to an existing backup \
        folder. Try doing an incremental backup instead.";
    assert_eq!(
        (&failed["Faulted"], &failed["State"]),
        (&json!(true), &json!({"Progress": null, "Error": said}))
    );
    assert_eq!(failed["Exception"]["Message"], said);
    assert!(
        std::fs::read_to_string(raven.at("half/Backup.Failure")).unwrap().starts_with("Denying")
    );
    // "`Backup failure marker was detected. …`", at the start of both
    let answer =
        raven.post("/databases/Northwind/admin/backup", &json!({"BackupLocation": "half"})).await;
    assert_eq!(answer.status, 500);
    assert!(
        answer.json()["Error"]
            .as_str()
            .unwrap()
            .contains("Backup failure marker was detected. In order to proceed")
    );
    let body = json!({"BackupLocation": "half", "DatabaseName": "New"});
    let answer = raven.post("/admin/restore", &body).await;
    assert_eq!(answer.status, 202);
    let done = raven.operation(&answer.json()["OperationId"]).await;
    assert_eq!(done["State"], json!({}));
    assert_eq!(
        done["Exception"]["Message"],
        "Backup failure marker was detected. Unable to restore from given directory."
    );
    // FS code never sets Success.
    raven.backup("/fs/NorthwindFS", "", json!({"BackupLocation": "fs"})).await;
    let status: Value = raven.ended("/fs/NorthwindFS").await;
    assert_eq!(status["Success"], false);
}
