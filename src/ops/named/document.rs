//! Configuration documents: what RavenDB stores beside a backup so that it can be restored elsewhere.

use serde_json::{Map, Value, json};
use url::Url;

use super::sources::{NamedSource, SourcePlace};
use crate::catalog::SourceKind;
use crate::storage::is_secret_param;

/// Where a source keeps its data.
pub fn data_dir(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Database => "Raven/DataDir",
        SourceKind::Filesystem => "Raven/FileSystem/DataDir",
    }
}

fn storage_name(kind: SourceKind) -> (&'static str, &'static str) {
    match kind {
        SourceKind::Database => ("Raven/StorageTypeName", "Voron"),
        SourceKind::Filesystem => ("Raven/FileSystem/Storage", "voron"),
    }
}

/// The name that a document has of itself; its id may be that of RavenDB's system document.
pub fn name_in(document: &Map<String, Value>) -> Option<String> {
    let id = get(document, "Id")?.as_str()?;
    let bare = ["Raven/Databases/", "Raven/FileSystems/"].iter().find_map(|prefix| {
        id.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
            .then(|| &id[prefix.len()..])
    });
    let name = bare.unwrap_or(id);
    (!name.trim().is_empty()).then(|| name.to_owned())
}

/// A member by its name in any case.
pub fn get<'a>(document: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    document.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn get_mut<'a>(document: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Value> {
    document.iter_mut().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// A setting of the document.
pub fn setting<'a>(document: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    get(get(document, "Settings")?.as_object()?, name)?.as_str()
}

/// Sets a setting; a document without any gets them.
pub fn set(document: &mut Map<String, Value>, name: &str, value: &str) {
    if !matches!(get(document, "Settings"), Some(Value::Object(_))) {
        document.retain(|key, _| !key.eq_ignore_ascii_case("Settings"));
        document.insert("Settings".to_owned(), json!({}));
    }
    if let Some(Value::Object(settings)) = get_mut(document, "Settings") {
        settings.retain(|key, _| !key.eq_ignore_ascii_case(name));
        settings.insert(name.to_owned(), value.into());
    }
}

/// Removes a setting.
pub fn unset(document: &mut Map<String, Value>, name: &str) {
    if let Some(Value::Object(settings)) = get_mut(document, "Settings") {
        settings.retain(|key, _| !key.eq_ignore_ascii_case(name));
    }
}

/// The document of a source as it is now, with its secrets.
pub fn current(source: &NamedSource) -> Map<String, Value> {
    if let Some(document) = &source.document {
        return document.clone();
    }
    let kind = source.place.kind();
    let mut secured = Map::new();
    match &source.place {
        SourcePlace::Database { url } => {
            if without_secrets(url.expose()) != url.expose() {
                secured.insert("Portal-Backup/Url".to_owned(), url.expose().into());
            }
        }
        SourcePlace::Filesystem { options, .. } => {
            for (name, value) in options.iter().filter(|(name, _)| is_secret_param(name)) {
                secured.insert(format!("Portal-Backup/{name}"), value.into());
            }
        }
    }
    let mut document = Map::new();
    document.insert("SecuredSettings".to_owned(), secured.into());
    document.insert("Settings".to_owned(), json!({}));
    document.insert("Disabled".to_owned(), false.into());
    document.insert("Id".to_owned(), source.name.clone().into());
    set(&mut document, data_dir(kind), &without_secrets(source.place.url()));
    if let Some(index) = &source.index {
        set(&mut document, "Raven/IndexStoragePath", index.url.as_str());
    }
    document
}

/// The document as it is stored, and whether secrets were left out of it.
pub fn stored(
    kind: SourceKind,
    mut document: Map<String, Value>,
    with_secrets: bool,
) -> (Map<String, Value>, bool) {
    let mut left_out = false;
    if !with_secrets {
        if let Some(secured) = get_mut(&mut document, "SecuredSettings")
            && secured.as_object().is_none_or(|secured| !secured.is_empty())
            && !secured.is_null()
        {
            *secured = json!({});
            left_out = true;
        }
        left_out |= clean_members(&mut document);
    }
    let (name, value) = storage_name(kind);
    set(&mut document, name, value);
    (document, left_out)
}

/// Leaves secrets out, however deep they lie. True: there were any.
fn clean(value: &mut Value) -> bool {
    match value {
        Value::Object(members) => clean_members(members),
        Value::Array(items) => items.iter_mut().fold(false, |found, item| clean(item) | found),
        Value::String(text) => {
            let clean = without_secrets(text);
            let found = clean != *text;
            *text = clean;
            found
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn clean_members(members: &mut Map<String, Value>) -> bool {
    let before = members.len();
    members.retain(|name, value| value.is_null() || !is_secret(name));
    let left_out = members.len() < before;
    members.values_mut().fold(left_out, |found, value| clean(value) | found)
}

/// Whatever has one of these in its name is secret.
const WORDS: [&str; 8] = [
    "password",
    "passwd",
    "pwd",
    "secret",
    "apikey",
    "encryption/key",
    "connectionstring",
    "signature",
];

fn is_secret(name: &str) -> bool {
    let last = name.trim().rsplit('/').next().unwrap_or(name);
    let lower = name.trim().to_ascii_lowercase();
    is_secret_param(last) || WORDS.iter().any(|word| lower.contains(word))
}

/// A URL or a connection string without what in it is secret; any other text as it is.
pub fn without_secrets(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return without_secret_pairs(text) };
    if url.password().is_some() {
        // Fails only for URLs that have no password.
        let _ = url.set_password(None);
    }
    if url.query_pairs().any(|(name, _)| is_secret(&name)) {
        let kept: Vec<(String, String)> =
            url.query_pairs().into_owned().filter(|(name, _)| !is_secret(name)).collect();
        match kept.is_empty() {
            true => url.set_query(None),
            false => drop(url.query_pairs_mut().clear().extend_pairs(kept)),
        }
    }
    // A URL that had none must stay as it was written.
    match Url::parse(text).as_ref() == Ok(&url) {
        true => without_secret_pairs(text),
        false => without_secret_pairs(url.as_str()),
    }
}

/// Of `Server=db;Password=x` or `host=db password=x`.
fn without_secret_pairs(text: &str) -> String {
    let is_secret_pair = |pair: &str| {
        let name = pair.split_once('=').map_or("", |(name, _)| name);
        is_secret(name.rsplit('/').next().unwrap_or(name))
    };
    let words = |part: &str| part.split_whitespace().any(is_secret_pair);
    if !text.split(';').any(|part| is_secret_pair(part) || words(part)) {
        return text.to_owned();
    }
    let kept = text.split(';').filter_map(|part| {
        let kept: Vec<_> =
            part.split_whitespace().take_while(|word| !is_secret_pair(word)).collect();
        let cut = kept.len() < part.split_whitespace().count();
        match (cut, is_secret_pair(part)) {
            // What follows may belong to it.
            (true, _) if !kept.is_empty() => Some(kept.join(" ")),
            (true, _) | (false, true) => None,
            (false, false) => Some(part.to_owned()),
        }
    });
    kept.collect::<Vec<_>>().join(";")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    /// "`Id` string (`Northwind`, or `Raven/Databases/Northwind` resp. `Raven/FileSystems/X`)"
    #[test]
    fn names_have_two_forms() {
        for (id, name) in [
            (json!("Northwind"), Some("Northwind")),
            (json!("Raven/Databases/Northwind"), Some("Northwind")),
            (json!("raven/filesystems/X"), Some("X")),
            (json!(null), None),
            (json!(""), None),
            (json!("Raven/Databases/"), None),
            (json!("é"), Some("é")),
        ] {
            assert_eq!(name_in(&map(json!({ "id": id }))).as_deref(), name);
        }
        assert_eq!(name_in(&Map::new()), None);
    }

    #[test]
    fn secrets_are_left_out_unless_allowed() {
        let document = map(json!({
            "Id": null,
            "securedSettings": {"Raven/Encryption/Key": "x"},
            "Settings": {"a": "b", "Raven/Voron/Password": "p", "Raven/DataDir": "mysql://u:p@h/d"},
        }));
        let (kept, left_out) = stored(SourceKind::Database, document.clone(), false);
        assert!(left_out);
        assert_eq!(
            Value::Object(kept),
            json!({
                "Id": null, "securedSettings": {},
                "Settings": {"a": "b", "Raven/DataDir": "mysql://u@h/d", "Raven/StorageTypeName": "Voron"},
            })
        );
        let (kept, left_out) = stored(SourceKind::Filesystem, document, true);
        assert!(!left_out);
        assert_eq!(kept["securedSettings"]["Raven/Encryption/Key"], "x");
        assert_eq!(kept["Settings"]["Raven/FileSystem/Storage"], "voron");
        let plain = map(json!({"SecuredSettings": {}, "Settings": {"a": "b"}, "Password": null}));
        assert!(!stored(SourceKind::Database, plain, false).1);
        let elsewhere = map(json!({
            "Settings": {"a": "Server=db;Password=hunter2"},
            "Replication": {"Destinations": [{"Url": "http://x", "ApiKey": "hunter2"}]},
            "Token": "hunter2",
        }));
        let (kept, left_out) = stored(SourceKind::Database, elsewhere, false);
        assert!(left_out);
        assert_eq!(kept["Replication"]["Destinations"], json!([{"Url": "http://x"}]));
        assert!(!Value::Object(kept).to_string().contains("hunter2"));
    }

    #[test]
    fn texts_lose_what_is_secret_in_them() {
        for (text, left) in [
            ("mysql://u:p@h/d", "mysql://u@h/d"),
            ("postgres://u@h/d?password=p", "postgres://u@h/d"),
            ("postgres://u@h/d?sslmode=require&password=p", "postgres://u@h/d?sslmode=require"),
            ("jdbc:postgresql://h/d?Password=p&x=1", "jdbc:postgresql://h/d?x=1"),
            ("Server=db;Password=p;Database=x", "Server=db;Database=x"),
            ("Server=db;User Id = sa; pwd = p", "Server=db;User Id = sa"),
            ("host=db password='a b' dbname=x", "host=db"),
            ("Url=http://x;ApiKey=k/p", "Url=http://x"),
            ("sqlserver://h;user=sa;password=p", "sqlserver://h;user=sa"),
            ("Password=p", ""),
            ("file:///a%20b/c?", "file:///a%20b/c?"),
            (r"~\Databases\a=b;c", r"~\Databases\a=b;c"),
            ("two words", "two words"),
        ] {
            assert_eq!(without_secrets(text), left, "{text}");
        }
    }
}
