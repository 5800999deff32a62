//! The tables of routes, bindings and errors in `docspace/facts.md`, row by row: each row here begins with the words
//! that it stands for. Where the answer differs on purpose, docs/API.md says so.

use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use super::docspace_tables::config;
use crate::support::docspace::{ADMIN_KEY, DocSpace, FILES_KEY, Key, MEMBER_KEY, READ_KEY};
use crate::support::service::Service;

const BASES: [&str; 2] = ["/api/2.0/backup", "/api/2.0/portal"];
const NOBODYS: &str = "0f3c8b0a-7a52-4f0e-9d0c-3a1b5e6f7a8b";

fn request(service: &Service, key: &Key, method: &str, path: &str) -> RequestBuilder {
    let method: Method = method.parse().unwrap();
    let request = service.http.request(method, format!("{}{path}", service.base));
    request.header("Authorization", format!("Bearer {}", key.text()))
}

async fn read(answer: Response) -> (u16, Value) {
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

/// "Routes under `/api/2.0/backup/`"; "`/api/2.0/portal/<anything with backup|restore>` (rewritten
/// `/portal/`→`/backup/`, case-insensitive)".
#[tokio::test]
async fn routes() {
    let docspace = DocSpace::create().await;
    docspace.execute(&["DELETE FROM backup_backup"]).await;
    let service = Service::start(&config(&docspace)).await;
    let schedule = json!({"storageType": "3", "dump": true, "backupsStored": "1",
        "cronParams": {"Period": "0", "Hour": "12", "Day": "0"}});
    let restore = json!({"backupId": NOBODYS, "dump": true});
    let deleted = format!("DELETE deletebackup/{NOBODYS}");
    for base in BASES {
        for (row, query, body, expected) in [
            ("POST createbackupschedule", "", Some(&schedule), (200, json!(true))),
            ("GET getbackupschedule", "?dump=true", None, (200, json!({"dump": true}))),
            ("DELETE deletebackupschedule", "?dump=true", None, (200, json!(true))),
            ("POST startbackup", "", Some(&schedule), (200, json!({"error": ""}))),
            ("GET getbackupprogress", "?dump=true", None, (200, json!({"tenantId": 1}))),
            ("POST cancelbackup", "", None, (200, json!(true))),
            ("GET getbackuphistory", "?dump=false", None, (200, json!([]))),
            // Unknown: a 500 there, and 404 here.
            (deleted.as_str(), "", None, (404, Value::Null)),
            ("DELETE deletebackuphistory", "?dump=false", None, (200, json!(true))),
            ("POST startrestore", "", Some(&restore), (404, Value::Null)),
            ("GET getrestoreprogress", "?dump=true", None, (200, Value::Null)),
            ("GET backuptmp", "", None, (200, json!("/tmp"))),
            ("GET getbackupscount", "?from=2020-01-01&to=2020-02-01", None, (200, json!(0))),
            ("GET getservicestate", "", None, (200, json!({"enabled": true}))),
        ] {
            let (method, route) = row.split_once(' ').unwrap();
            for route in [route.to_owned(), route.to_uppercase()] {
                let path = format!("{base}/{route}{query}");
                let mut request = request(&service, &ADMIN_KEY, method, &path);
                if let Some(body) = body {
                    request = request.json(body);
                }
                let (status, answer) = read(request.send().await.unwrap()).await;
                assert_eq!(status, expected.0, "{row}: {answer}");
                if status != 200 {
                    assert_eq!(answer["statusCode"], status, "{row}: {answer}");
                    continue;
                }
                // "{"response":…,"count":n,…,"links":[{"href":full request URL,"action":"GET"}],"status":0,
                // "statusCode":200}; nulls omitted (null result → no `response`, `count` 0, still 200)".
                let links = json!([{"href": format!("{}{path}", service.base), "action": method}]);
                assert_eq!((&answer["links"], &answer["status"]), (&links, &json!(0)), "{row}");
                assert_eq!(answer["statusCode"], 200, "{row}");
                let count = match &answer["response"] {
                    Value::Null => 0,
                    Value::Array(list) => list.len(),
                    _ => 1,
                };
                assert_eq!(answer["count"], count, "{row}");
                match &expected.1 {
                    Value::Array(_) => assert!(answer["response"].is_array(), "{row}: {answer}"),
                    Value::Object(some) => {
                        for (name, value) in some {
                            assert_eq!(&answer["response"][name], value, "{row}: {answer}");
                        }
                    }
                    // The second time there may be nothing left to cancel.
                    Value::Bool(_) => assert!(answer["response"].is_boolean(), "{row}: {answer}"),
                    other => assert_eq!(answer.get("response").unwrap_or(&Value::Null), other),
                }
            }
        }
    }
    // "getrestoreprogress[P, anonymous]"
    let anonymous = format!("{}{}/getrestoreprogress", service.base, BASES[0]);
    let (status, answer) = read(service.http.get(anonymous).send().await.unwrap()).await;
    assert_eq!((status, answer["count"].as_i64()), (200, Some(0)));
}

/// How a refused request is answered.
enum Refused {
    /// "400 wrapped: {"response":{ValidationProblemDetails},"count":1,…,"status":1,"statusCode":400}"
    Binding,
    /// `{"error":…}` with a message that has these words.
    Error(&'static str),
}

/// "Binding [F]", and what follows it to the end of its section.
#[tokio::test]
async fn bindings() {
    use Refused::{Binding, Error};
    let docspace = DocSpace::create().await;
    let service = Service::start(&(config(&docspace) + "url = \"http://127.0.0.1:1\"\n")).await;
    let body = |more: &str| format!("{{\"dump\":true{more}}}");
    let params = |list: &str| body(&format!(",\"storageType\":3,\"storageParams\":{list}"));
    let cron = |more: &str| body(&format!(",\"storageType\":3{more}"));
    let post = |path: &str, body: &str| {
        let path = format!("{}/{path}", BASES[1]);
        let request = request(&service, &ADMIN_KEY, "POST", &path);
        request.header("Content-Type", "application/json").body(body.to_owned()).send()
    };
    for (row, path, body, refused) in [
        ("Malformed JSON", "startbackup", "{\"dump\":".to_owned(), Binding),
        ("unknown enum name", "startbackup", body(",\"storageType\":\"Moon\""), Binding),
        ("missing `backupId` in startrestore", "startrestore", body(""), Binding),
        ("empty body with JSON content type", "startbackup", String::new(), Binding),
        // Accepted there, to fail later.
        ("Out-of-range integer enums", "startbackup", body(",\"storageType\":\"9\""), Error("9")),
        ("null value → 500", "startbackup", params("[{\"key\":\"a\",\"value\":null}]"), Error("a")),
        (
            "duplicate key → 400",
            "startbackup",
            params(r#"[{"key":"a","value":1},{"key":"a","value":2}]"#),
            Error("twice"),
        ),
        (
            "type Documents(0) without folderId → 400",
            "startbackup",
            body(""),
            Error("wrong folder type"),
        ),
        (
            "ThridpartyDocuments with a numeric folderId",
            "startbackup",
            body(r#","storageType":"1","storageParams":[{"key":"folderId","value":7}]"#),
            Error("wrong folder type"),
        ),
        (
            "cronParams null → 500",
            "createbackupschedule",
            cron(",\"cronParams\":null"),
            Error("cronParams"),
        ),
        (
            "bad hour/day → 500",
            "createbackupschedule",
            cron(r#","cronParams":{"period":0,"hour":"24"}"#),
            Error("hour"),
        ),
        (
            "bad hour/day → 500",
            "createbackupschedule",
            cron(r#","cronParams":{"period":"1","hour":"0","day":"0"}"#),
            Error("day"),
        ),
        (
            "bad hour/day → 500",
            "createbackupschedule",
            cron(r#","cronParams":{"period":2,"hour":0,"day":32}"#),
            Error("day"),
        ),
        (
            "backupsStored outside 1–30 → 400",
            "createbackupschedule",
            cron(r#","backupsStored":0,"cronParams":{}"#),
            Error("1 and 30"),
        ),
        (
            "backupsStored outside 1–30 → 400",
            "createbackupschedule",
            cron(r#","backupsStored":"31","cronParams":{}"#),
            Error("1 and 30"),
        ),
        (
            "folderId missing → 500",
            "createbackupschedule",
            body(",\"cronParams\":{}"),
            Error("folderId"),
        ),
        (
            "dump with an own `tenantId` param → 400",
            "createbackupschedule",
            params("[{\"key\":\"tenantId\",\"value\":2}],\"cronParams\":{}"),
            Error("tenantId"),
        ),
        (
            "startrestore without a backupId GUID needs a `filePath` key",
            "startrestore",
            body(",\"backupId\":\"\",\"storageType\":3"),
            Error("filePath"),
        ),
    ] {
        let (status, answer) = read(post(path, &body).await.unwrap()).await;
        assert_eq!((status, &answer["status"]), (400, &json!(1)), "{row}: {answer}");
        assert_eq!(answer["statusCode"], 400, "{row}: {answer}");
        match refused {
            Binding => {
                let errors = answer["response"]["errors"].as_object();
                assert!(errors.is_some_and(|errors| errors.len() == 1), "{row}: {answer}");
                assert_eq!(answer["count"], 1, "{row}: {answer}");
            }
            Error(word) => {
                let message = answer["error"]["message"].as_str().unwrap_or_default();
                assert!(message.contains(word), "{row}: {answer}");
            }
        }
    }
    // "no content type → 415", "type/stack/hresult null,null,0 for … 415", and nulls are written.
    let path = format!("{}/startbackup", BASES[0]);
    let bare = request(&service, &ADMIN_KEY, "POST", &path).body("{}").send().await.unwrap();
    let (status, answer) = read(bare).await;
    assert_eq!(status, 415);
    let error = answer["error"].as_object().unwrap();
    assert_eq!(error.keys().collect::<Vec<_>>(), ["hresult", "message", "stack", "type"]);
    assert_eq!((&error["type"], &error["hresult"]), (&Value::Null, &json!(0)));

    // "query names case-insensitive (`Dump`=`dump`), bool `true/True`; `dump=1` or empty → 400".
    for (query, expected) in [
        ("Dump=true", 200),
        ("dump=True", 200),
        ("DUMP=false", 200),
        ("dump=1", 400),
        ("dump=", 400),
    ] {
        let path = format!("{}/getbackuphistory?{query}", BASES[0]);
        let answer = request(&service, &ADMIN_KEY, "GET", &path).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), expected, "{query}");
    }
    assert_eq!(service.json("/v1/jobs").await["total"], 0, "nothing was begun");

    // "Body names case-insensitive, unknown ignored (`backupMail` is sent), numbers may be strings (`"5"`), enums
    // … numeric strings (web client sends `"4"`, period `"0"`, hour `"12"`)"; "null array ok"; "values of any JSON
    // type are stringified (true→`True`)".
    for (path, body) in [
        (
            "createbackupschedule",
            r#"{"STORAGETYPE":"4","storageparams":null,"BackupsStored":"5","cronParams":{"Period":"0","Hour":"12"},"backupMail":true,"Dump":true}"#,
        ),
        (
            "createbackupschedule",
            r#"{"storageType":"local","storageParams":[{"Key":"filePath","Value":true}],"cronParams":{"period":"everymonth","hour":0,"day":31},"dump":true}"#,
        ),
    ] {
        assert_eq!(read(post(path, body).await.unwrap()).await.0, 200, "{body}");
    }
    let shown = service.json("/api/2.0/backup/getbackupschedule?dump=true").await;
    let expected = json!({"storageType": 3, "storageParams": {"folderId": "True"}, "backupsStored": 1,
        "cronParams": {"period": 2, "hour": 0, "day": 31}, "lastBackupTime": "0001-01-01T00:00:00", "dump": true});
    assert_eq!(shown["response"], expected);
}

/// The table "Exception | HTTP", as far as a request can bring it about, and what follows it.
#[tokio::test]
async fn errors() {
    let docspace = DocSpace::create().await;
    let service = Service::start(&config(&docspace)).await;
    let unknown = format!("deletebackup/{NOBODYS}");
    for (row, key, method, route, expected, kind) in [
        (
            "ItemNotFound, FileNotFound, DirectoryNotFound | 404",
            &ADMIN_KEY,
            "DELETE",
            unknown.as_str(),
            404,
            "ASC.Common.Web.ItemNotFoundException",
        ),
        (
            "Argument* | 400",
            &ADMIN_KEY,
            "GET",
            "getbackupscount?from=2026-02-01&to=2026-01-01",
            400,
            "System.ArgumentException",
        ),
        (
            "Security, Authorizing, UnauthorizedAccess | 403",
            &MEMBER_KEY,
            "GET",
            "getbackuphistory",
            403,
            "System.Security.SecurityException",
        ),
    ] {
        let path = format!("{}/{route}", BASES[0]);
        let answer = request(&service, key, method, &path).send().await.unwrap();
        let (status, answer) = read(answer).await;
        assert_eq!((status, answer["error"]["type"].as_str()), (expected, Some(kind)), "{row}");
        assert_eq!((&answer["status"], &answer["statusCode"]), (&json!(1), &json!(expected)));
        let number = answer["error"]["hresult"].as_i64();
        assert!(number.is_some_and(|number| number < 0), "{row}: {answer}");
        if expected == 403 {
            assert_eq!(answer["error"]["message"], "Access denied", "message forced");
        }
    }
    // "Auth failures before the controller: 401/403 with empty body"; "a key limited to `files:*` gets 403"; "GET →
    // `*:read` or `*:write`; other verbs → `*:write`".
    let history = format!("{}/getbackuphistory", BASES[0]);
    let cancel = format!("{}/cancelbackup", BASES[0]);
    for (expected, request) in [
        (401, service.http.get(format!("{}{history}", service.base))),
        (403, request(&service, &FILES_KEY, "GET", &history)),
        (403, request(&service, &READ_KEY, "POST", &cancel)),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), expected);
        assert_eq!(answer.text().await.unwrap(), "");
    }
    assert_eq!(
        read(request(&service, &READ_KEY, "GET", &history).send().await.unwrap()).await.0,
        200
    );
    // "getrestoreprogress still checks scopes when a `Bearer sk-` header is sent".
    let progress = format!("{}/getrestoreprogress", BASES[0]);
    let answer = request(&service, &FILES_KEY, "GET", &progress).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 403);
}
