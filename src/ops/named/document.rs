//! Configuration documents: what RavenDB stores beside a backup so that it can be restored elsewhere.

use serde_json::{Map, Value, json};
use url::Url;

use super::sources::{NamedSource, SourcePlace};
use crate::app::App;
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

/// The document of a source as it is now, with its secrets.
pub fn current(app: &App, source: &NamedSource) -> Map<String, Value> {
    if let Some(document) = &source.document {
        return document.clone();
    }
    let kind = source.place.kind();
    let mut secured = Map::new();
    match &source.place {
        SourcePlace::Database { url } => {
            if Url::parse(url.expose()).is_ok_and(|url| url.password().is_some()) {
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
    set(&mut document, data_dir(kind), &without_password(source.place.url()));
    let indexes = app.config.portal.index.iter();
    if let Some(index) = indexes.into_iter().find(|index| index.name == source.name) {
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
        if let Some(Value::Object(settings)) = get_mut(&mut document, "Settings") {
            let before = settings.len();
            settings.retain(|name, _| !is_secret(name));
            left_out |= settings.len() < before;
            for value in settings.values_mut() {
                let clean = value.as_str().map(without_password);
                if let Some(clean) = clean.filter(|clean| Some(clean.as_str()) != value.as_str()) {
                    *value = clean.into();
                    left_out = true;
                }
            }
        }
    }
    let (name, value) = storage_name(kind);
    set(&mut document, name, value);
    (document, left_out)
}

fn is_secret(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    let lower = name.to_ascii_lowercase();
    is_secret_param(last)
        || ["password", "secret", "apikey", "encryption/key", "connectionstring", "oauthtokenkey"]
            .iter()
            .any(|word| lower.contains(word))
}

/// A URL without its password; any other text as it is.
fn without_password(text: &str) -> String {
    match Url::parse(text) {
        Ok(mut url) if url.password().is_some() => {
            // Fails only for URLs that have no password.
            let _ = url.set_password(None);
            url.to_string()
        }
        _ => text.to_owned(),
    }
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
        let plain = map(json!({"SecuredSettings": {}, "Settings": {"a": "b"}}));
        assert!(!stored(SourceKind::Database, plain, false).1);
    }
}
