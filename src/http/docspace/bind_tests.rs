use super::*;

const JSON: Option<&str> = Some("application/json");

fn of(body: &str) -> Result<StartBackup, BindError> {
    start_backup(JSON, body.as_bytes())
}

fn params(json: &str) -> Result<StorageParams, BindError> {
    of(&format!(r#"{{"storageParams":{json}}}"#)).map(|bound| bound.storage_params)
}

fn is_invalid(result: Result<StartBackup, BindError>, at: &str) -> bool {
    matches!(result, Err(BindError::Invalid { field, message }) if field == at && !message.is_empty())
}

#[test]
fn the_sample_of_docspace() {
    let bound = of(r#"{"storageType":"Local","dump":true}"#).unwrap();
    assert_eq!(
        bound,
        StartBackup {
            storage_type: Some(StorageType::Local),
            storage_params: BTreeMap::new(),
            dump: true
        }
    );
}

#[test]
fn nothing_given_is_the_defaults() {
    assert_eq!(of("{}").unwrap(), StartBackup::default());
    assert_eq!(of(r#"{"storageType":null,"storageParams":null}"#).unwrap(), StartBackup::default());
}

#[test]
fn names_in_any_case_and_unknown_ones_ignored() {
    let bound = of(r#"{"STORAGETYPE":3,"StorageParams":[{"KEY":"a","Value":"b","x":1}],
        "Dump":true,"backupMail":false,"other":{"deep":[1]}}"#)
    .unwrap();
    assert_eq!(bound.storage_type, Some(StorageType::Local));
    assert_eq!(bound.storage_params["a"], "b");
    assert!(bound.dump);
}

#[test]
fn the_last_of_equal_names_counts() {
    assert!(of(r#"{"dump":false,"DUMP":true}"#).unwrap().dump);
    assert!(!of(r#"{"Dump":true,"dump":false}"#).unwrap().dump);
}

#[test]
fn storage_types_in_every_form() {
    for (storage_type, name) in STORAGE_TYPES {
        let number = storage_type as i32;
        let (lower, upper) = (name.to_lowercase(), name.to_uppercase());
        for form in [
            format!("{number}"),
            format!("\"{number}\""),
            format!("\"{name}\""),
            format!("\"{lower}\""),
            format!("\"{upper}\""),
            format!("\" {name} \""),
        ] {
            let bound = of(&format!(r#"{{"storageType":{form}}}"#)).unwrap();
            assert_eq!(bound.storage_type, Some(storage_type), "{form}");
        }
        assert_eq!(storage_type_name(storage_type), name);
    }
}

#[test]
fn storage_types_that_do_not_exist() {
    for form in [r#""Nowhere""#, r#""""#, "3.5", "true", "[]", "{}", "99999999999", r#""3.0""#] {
        assert!(is_invalid(of(&format!(r#"{{"storageType":{form}}}"#)), "$.storageType"), "{form}");
    }
    for form in ["6", "-1", r#""42""#] {
        let bound = of(&format!(r#"{{"storageType":{form}}}"#));
        assert!(
            matches!(bound, Err(BindError::Argument(text)) if text.contains("0 to 5")),
            "{form}"
        );
    }
}

#[test]
fn params_of_any_type_become_text() {
    let bound = params(
        r#"[{"key":"s","value":"a\u00e9\n"},{"key":"t","value":true},{"key":"f","value":false},
            {"key":"n","value":1.50},{"key":"big","value":123456789012345678901234567890},
            {"key":"e","value":1E5},{"key":"o","value":{"a": 1}},{"key":7,"value":""}]"#,
    )
    .unwrap();
    let expected = [
        ("s", "aé\n"),
        ("t", "True"),
        ("f", "False"),
        ("n", "1.50"),
        ("big", "123456789012345678901234567890"),
        ("e", "1E5"),
        ("o", r#"{"a": 1}"#),
        ("7", ""),
    ];
    assert_eq!(bound, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
}

#[test]
fn params_that_cannot_be() {
    assert!(params("[]").unwrap().is_empty());
    let argument = |json: &str, word: &str| matches!(params(json), Err(BindError::Argument(text)) if text.contains(word));
    assert!(argument(r#"[{"key":"a","value":null}]"#, "(a) has no value"));
    assert!(argument(r#"[{"key":"a"}]"#, "(a) has no value"));
    assert!(argument(r#"[{"value":"a"}]"#, "has no key"));
    assert!(argument(r#"[{"key":"a","value":1},{"key":"a","value":2}]"#, "key a twice"));
    assert_eq!(params(r#"[{"key":"a","value":1},{"key":"A","value":2}]"#).unwrap().len(), 2);
    for json in [r#"{"filePath":"/x"}"#, r#""x""#, "3"] {
        let bound = of(&format!(r#"{{"storageParams":{json}}}"#));
        assert!(is_invalid(bound, "$.storageParams"), "{json}");
    }
    assert!(is_invalid(of(r#"{"storageParams":[null]}"#), "$.storageParams[0]"));
    assert!(is_invalid(
        of(r#"{"storageParams":[{"key":"a","value":1},[]]}"#),
        "$.storageParams[1]"
    ));
}

#[test]
fn dump_is_a_boolean() {
    for form in [r#""true""#, "1", "null", "[]"] {
        assert!(is_invalid(of(&format!(r#"{{"dump":{form}}}"#)), "$.dump"), "{form}");
    }
}

#[test]
fn bodies_that_are_no_object() {
    for body in ["{", "[]", "null", "3", r#""x""#, r#"{"a":1,}"#, "{'a':1}", r#"{"a":1} x"#, "nul"]
    {
        assert!(is_invalid(of(body), "$"), "{body}");
    }
    assert!(is_invalid(of(""), ""));
    assert!(is_invalid(of("  \n"), ""));
    assert!(is_invalid(start_backup(JSON, b"{\"a\":\"\xff\"}"), "$"));
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(
        of(&deep).is_ok(),
        "an unknown member is skipped, however deep, without a stack overflow"
    );
}

#[test]
fn media_types() {
    let with = |content_type: Option<&str>| start_backup(content_type, b"{}");
    for good in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "text/json",
        "application/vnd.x+json;charset=\"UTF-8\"",
        "application/json;odata=verbose",
    ] {
        assert!(with(Some(good)).is_ok(), "{good}");
    }
    for bad in [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
        "application/json; charset=iso-8859-1",
        "json",
    ] {
        assert_eq!(with(Some(bad)), Err(BindError::MediaType), "{bad}");
    }
    assert_eq!(with(None), Err(BindError::MediaType));
}

#[test]
fn byte_order_marks_and_utf_16() {
    assert!(start_backup(JSON, b"\xef\xbb\xbf{\"dump\":true}").unwrap().dump);
    let wide: Vec<u8> =
        "\u{feff}{\"dump\":true}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf16 = Some("application/json; charset=utf-16");
    assert!(start_backup(utf16, &wide).unwrap().dump);
    assert!(start_backup(utf16, &wide[..5]).is_err());
}

fn restore(body: &str) -> Result<StartRestore, BindError> {
    start_restore(JSON, body.as_bytes())
}

#[test]
fn a_restore_of_the_web_client() {
    let bound = restore(
        r#"{"backupId":"","storageType":"3","notify":false,"dump":true,
        "storageParams":[{"key":"filePath","value":"a.tar.gz"},{"key":"module","value":"x"}]}"#,
    )
    .unwrap();
    assert_eq!(
        bound,
        StartRestore {
            backup_id: String::new(),
            storage_type: Some(StorageType::Local),
            storage_params: [("module".to_owned(), "x".to_owned())].into(),
            file_path: Some("a.tar.gz".to_owned()),
            notify: false,
            dump: true,
        }
    );
    let bound = restore(r#"{"BackupID":"x","STORAGEPARAMS":[{"key":"FilePath","value":""}]}"#);
    assert_eq!(bound.unwrap().file_path.as_deref(), Some(""));
    let bound =
        restore(r#"{"backupId":"11111111-1111-1111-1111-111111111111","other":1}"#).unwrap();
    assert_eq!((bound.file_path, bound.dump), (None, false));
}

#[test]
fn what_a_restore_lacks_is_named() {
    let field = |body: &str| match restore(body) {
        Err(BindError::Invalid { field, .. }) => field,
        other => panic!("{body}: {other:?}"),
    };
    assert_eq!(field("{}"), "BackupId");
    assert_eq!(field(r#"{"backupId":null}"#), "BackupId");
    assert_eq!(field(r#"{"backupId":7}"#), "$.backupId");
    assert_eq!(field(r#"{"backupId":"","notify":"yes"}"#), "$.notify");
    assert_eq!(field(r#"{"backupId":"","dump":1}"#), "$.dump");
    assert_eq!(field(r#"{"backupId":"","storageType":"Moon"}"#), "$.storageType");
    assert_eq!(field("{"), "$");
    assert_eq!(start_restore(None, b"{}"), Err(BindError::MediaType));
    let twice = r#"{"backupId":"","storageParams":[{"key":"a","value":1},{"key":"a","value":2}]}"#;
    assert!(matches!(restore(twice), Err(BindError::Argument(_))));
}
