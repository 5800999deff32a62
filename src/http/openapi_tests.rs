use std::path::Path;

use serde_json::{Value, json};

use super::*;

fn api() -> Value {
    serde_json::to_value(description()).unwrap()
}

#[test]
fn openapi_yaml_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.yaml");
    let yaml = yaml().unwrap();
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&path, &yaml).unwrap();
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(checked_in == yaml, "run: UPDATE_OPENAPI=1 cargo test openapi");
}

#[test]
fn operations_are_docspaces() {
    let api = api();
    for (path, method, id, schema) in [
        ("startbackup", "post", "startBackup", "BackupProgressWrapper"),
        ("getbackupprogress", "get", "getBackupProgress", "BackupProgressWrapper"),
        ("cancelbackup", "post", "cancelBackup", "BooleanWrapper"),
        ("getbackuphistory", "get", "getBackupHistory", "BackupHistoryRecordArrayWrapper"),
        ("deletebackup/{id}", "delete", "deleteBackup", "BooleanWrapper"),
        ("startrestore", "post", "startBackupRestore", "BackupProgressWrapper"),
        ("getrestoreprogress", "get", "getRestoreProgress", "BackupProgressWrapper"),
        ("getbackupschedule", "get", "getBackupSchedule", "ScheduleWrapper"),
        ("createbackupschedule", "post", "createBackupSchedule", "BooleanWrapper"),
        ("deletebackupschedule", "delete", "deleteBackupSchedule", "BooleanWrapper"),
        ("deletebackuphistory", "delete", "deleteBackupHistory", "BooleanWrapper"),
        ("getbackupscount", "get", "getBackupsCount", "Int32Wrapper"),
        ("getservicestate", "get", "getBackupsServiceState", "BackupServiceStateWrapper"),
    ] {
        let operation = &api["paths"][format!("/api/2.0/backup/{path}")][method];
        assert_eq!(operation["operationId"], id);
        assert_eq!(operation["tags"], json!(["Backup"]));
        let body = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        assert_eq!(body["$ref"], format!("#/components/schemas/{schema}"));
    }
    for path in ["getbackupprogress", "getrestoreprogress"] {
        let operation = &api["paths"][format!("/api/2.0/backup/{path}")]["get"];
        let dump = &operation["parameters"][0];
        assert_eq!((&dump["name"], &dump["in"]), (&json!("Dump"), &json!("query")));
    }
    let restore = &api["paths"]["/api/2.0/backup/startrestore"]["post"]["requestBody"];
    let body = &restore["content"]["application/json"]["schema"]["$ref"];
    assert_eq!(body, "#/components/schemas/BackupRestoreDto");
    let progress = &api["paths"]["/api/2.0/backup/getrestoreprogress"]["get"];
    assert_eq!(progress["security"], json!([{}]), "no credential is needed");
}

#[test]
fn schemas_are_docspaces() {
    let api = api();
    let schemas = &api["components"]["schemas"];
    let properties = |name: &str| -> Vec<String> {
        let mut names: Vec<String> =
            schemas[name]["properties"].as_object().unwrap().keys().cloned().collect();
        names.sort();
        names
    };
    assert_eq!(properties("BackupDto"), ["dump", "storageParams", "storageType"]);
    assert_eq!(
        properties("BackupRestoreDto"),
        ["backupId", "dump", "notify", "storageParams", "storageType"]
    );
    assert_eq!(schemas["BackupRestoreDto"]["required"], json!(["backupId"]));
    assert_eq!(properties("BackupFileUpload"), ["ChunkSize", "EndUpload", "Message", "Success"]);
    assert_eq!(properties("ItemKeyValuePairObjectObject"), ["key", "value"]);
    assert_eq!(
        properties("BackupProgress"),
        [
            "backupProgressEnum",
            "error",
            "isCompleted",
            "link",
            "progress",
            "status",
            "taskId",
            "tenantId",
            "warning"
        ]
    );
    assert_eq!(
        properties("BackupHistoryRecord"),
        ["createdOn", "expiresOn", "fileName", "id", "storageType"]
    );
    assert_eq!(
        properties("BackupScheduleDto"),
        ["backupsStored", "cronParams", "dump", "storageParams", "storageType"]
    );
    assert_eq!(properties("Cron"), ["day", "hour", "period"]);
    assert_eq!(properties("CronParams"), ["day", "hour", "period"]);
    assert_eq!(
        properties("ScheduleDto"),
        ["backupsStored", "cronParams", "dump", "lastBackupTime", "storageParams", "storageType"]
    );
    assert_eq!(properties("BackupServiceStateDto"), ["enabled"]);
    assert_eq!(
        schemas["BackupPeriod"]["x-enum-varnames"],
        json!(["EveryDay", "EveryWeek", "EveryMonth"])
    );
    for wrapper in ["ScheduleWrapper", "Int32Wrapper", "BackupServiceStateWrapper"] {
        assert_eq!(properties(wrapper), ["count", "links", "response", "status", "statusCode"]);
    }
    for wrapper in ["BackupProgressWrapper", "BackupHistoryRecordArrayWrapper", "BooleanWrapper"] {
        assert_eq!(properties(wrapper), ["count", "links", "response", "status", "statusCode"]);
        assert!(schemas[wrapper].get("required").is_none(), "DocSpace requires none of {wrapper}");
        let link = &schemas[wrapper]["properties"]["links"]["items"]["properties"];
        assert!(link["href"].is_object() && link["action"].is_object());
    }
    let storage_type = &schemas["BackupStorageType"];
    assert_eq!(storage_type["type"], "integer");
    assert_eq!(storage_type["enum"], json!([0, 1, 2, 3, 4, 5]));
    assert_eq!(storage_type["x-enum-varnames"][1], "ThridpartyDocuments");
    assert_eq!(schemas["DistributedTaskStatus"]["x-enum-varnames"][4], "Failted");
    assert_eq!(schemas["BackupProgressEnum"]["enum"], json!([0, 1, 2]));
}

#[test]
fn every_operation_tells_its_errors_and_has_a_name_of_its_own() {
    let api = api();
    let mut names = std::collections::BTreeSet::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            assert!(names.insert(operation["operationId"].to_string()), "{path}");
            let of_ravendb = operation["tags"] == json!(["RavenDB"]);
            if path.starts_with("/v1/") || path.starts_with("/api/") || of_ravendb {
                let open = operation["security"] == json!([{}]);
                let statuses = ["401", "403", "404", "429", "500", "503"];
                for status in statuses.into_iter().filter(|status| !open || *status != "401") {
                    assert!(operation["responses"].get(status).is_some(), "{path} {status}");
                }
            }
        }
    }
    assert_eq!(names.len(), 63);
}
