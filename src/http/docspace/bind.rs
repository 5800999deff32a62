//! Reads a request's body as ASP.NET does for DocSpace: names in any case, enums as names, numbers or
//! numeric strings, unknown members ignored, the last of two equal names counts (`docspace/facts.md` §2).

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::storage::{StorageParams, StorageType};

/// DocSpace's names of its storage types, spelling included.
pub const STORAGE_TYPES: [(StorageType, &str); 6] = [
    (StorageType::Documents, "Documents"),
    (StorageType::ThirdpartyDocuments, "ThridpartyDocuments"),
    (StorageType::CustomCloud, "CustomCloud"),
    (StorageType::Local, "Local"),
    (StorageType::DataStore, "DataStore"),
    (StorageType::ThirdPartyConsumer, "ThirdPartyConsumer"),
];

#[derive(Debug, PartialEq, Eq)]
pub enum BindError {
    /// No JSON content type: 415.
    MediaType,
    /// ASP.NET refuses it while binding: a wrapped list of validation errors. `field`: a JSON path.
    Invalid { field: String, message: String },
    /// DocSpace takes it and then fails on it, or worse, does not: an error with a clear text.
    Argument(String),
}

/// The body of `startbackup`, as sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StartBackup {
    pub storage_type: Option<StorageType>,
    pub storage_params: StorageParams,
    pub dump: bool,
}

/// Reads the body of `startbackup`.
pub fn start_backup(content_type: Option<&str>, body: &[u8]) -> Result<StartBackup, BindError> {
    let text = decode(content_type, body)?;
    let mut result = StartBackup::default();
    for (name, value) in object(&text)?.0 {
        match name.to_ascii_lowercase().as_str() {
            "storagetype" => result.storage_type = storage_type(value)?,
            "storageparams" => result.storage_params = storage_params(value)?,
            "dump" => result.dump = boolean(value, "$.dump")?,
            _ => {}
        }
    }
    Ok(result)
}

/// The body of `startrestore`, as sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StartRestore {
    /// A GUID names an archive; anything else means that storage and `file_path` do.
    pub backup_id: String,
    pub storage_type: Option<StorageType>,
    /// All of them but `filePath`.
    pub storage_params: StorageParams,
    /// `filePath` among the parameters; it may be empty.
    pub file_path: Option<String>,
    /// Who is told of it; nobody is yet.
    pub notify: bool,
    pub dump: bool,
}

/// Reads the body of `startrestore`.
pub fn start_restore(content_type: Option<&str>, body: &[u8]) -> Result<StartRestore, BindError> {
    let text = decode(content_type, body)?;
    let mut result = StartRestore::default();
    let mut backup_id: Option<String> = None;
    for (name, value) in object(&text)?.0 {
        match name.to_ascii_lowercase().as_str() {
            "backupid" => {
                backup_id = serde_json::from_str(value.get())
                    .map_err(|_| invalid("$.backupId", format!("{} is not text.", shown(value))))?;
            }
            "storagetype" => result.storage_type = storage_type(value)?,
            "storageparams" => result.storage_params = storage_params(value)?,
            "notify" => result.notify = boolean(value, "$.notify")?,
            "dump" => result.dump = boolean(value, "$.dump")?,
            _ => {}
        }
    }
    result.backup_id =
        backup_id.ok_or_else(|| invalid("BackupId", "The BackupId field is required."))?;
    let name = result.storage_params.keys().find(|name| name.eq_ignore_ascii_case("filePath"));
    result.file_path = name.cloned().and_then(|name| result.storage_params.remove(&name));
    Ok(result)
}

fn boolean(value: &RawValue, path: &str) -> Result<bool, BindError> {
    serde_json::from_str(value.get())
        .map_err(|_| invalid(path, format!("{} is neither true nor false.", shown(value))))
}

/// The body as text, by its content type's charset; a byte order mark is no part of it.
pub(super) fn decode(content_type: Option<&str>, body: &[u8]) -> Result<String, BindError> {
    let mut parts = content_type.ok_or(BindError::MediaType)?.split(';');
    let media = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = media == "application/json"
        || media == "text/json"
        || (media.starts_with("application/") && media.ends_with("+json"));
    if !is_json {
        return Err(BindError::MediaType);
    }
    let charset = parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_charset = name.trim().eq_ignore_ascii_case("charset");
        is_charset.then(|| value.trim().trim_matches('"').to_ascii_lowercase())
    });
    let text = match charset.as_deref() {
        None | Some("utf-8" | "utf8" | "us-ascii") => String::from_utf8(body.to_vec()).ok(),
        Some("utf-16" | "utf-16le" | "unicode") => {
            let (pairs, rest) = body.as_chunks::<2>();
            let units: Vec<u16> = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
            String::from_utf16(&units).ok().filter(|_| rest.is_empty())
        }
        Some(_) => return Err(BindError::MediaType),
    };
    let text = text.ok_or_else(|| invalid("$", "The body is not text in its charset."))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

pub(super) fn object(text: &str) -> Result<Members<'_>, BindError> {
    if text.trim().is_empty() {
        return Err(invalid("", "A non-empty request body is required."));
    }
    serde_json::from_str(text).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        let message = match error.classify() {
            serde_json::error::Category::Data => "The body must be a JSON object".to_owned(),
            _ => "The body is not valid JSON".to_owned(),
        };
        invalid("$", format!("{message} ({place})."))
    })
}

pub(super) fn storage_type(value: &RawValue) -> Result<Option<StorageType>, BindError> {
    let parsed: serde_json::Value = parse(value, "$.storageType")?;
    let number = match &parsed {
        serde_json::Value::Null => return Ok(None),
        serde_json::Value::Number(number) => number.as_i64(),
        serde_json::Value::String(text) => {
            if let Some(known) = storage_type_named(text) {
                return Ok(Some(known));
            }
            text.trim().parse().ok()
        }
        _ => None,
    };
    let Some(number) = number.and_then(|number| i32::try_from(number).ok()) else {
        return Err(invalid(
            "$.storageType",
            format!("{} is not a storage type: send one of {}.", shown(value), names()),
        ));
    };
    storage_type_numbered(number).map(Some).ok_or_else(|| {
        BindError::Argument(format!(
            "storageType {number} does not exist: send 0 to 5 or one of {}",
            names()
        ))
    })
}

/// A storage type by its name, in any case.
pub fn storage_type_named(name: &str) -> Option<StorageType> {
    let named = STORAGE_TYPES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name.trim()));
    named.map(|(storage_type, _)| *storage_type)
}

/// A storage type by its number on the wire.
pub fn storage_type_numbered(number: i32) -> Option<StorageType> {
    STORAGE_TYPES.iter().map(|(known, _)| *known).find(|known| *known as i32 == number)
}

/// DocSpace's name of a storage type.
pub fn storage_type_name(storage_type: StorageType) -> &'static str {
    let named = STORAGE_TYPES.iter().find(|(known, _)| *known == storage_type);
    named.map_or("", |(_, name)| name)
}

fn names() -> String {
    STORAGE_TYPES.map(|(_, name)| name).join(", ")
}

/// `[{"key":…,"value":…}]`, both of any JSON type.
pub(super) fn storage_params(value: &RawValue) -> Result<StorageParams, BindError> {
    let items: Option<Vec<&RawValue>> = serde_json::from_str(value.get()).map_err(|_| {
        invalid("$.storageParams", "It must be an array of objects with the members key and value.")
    })?;
    let mut params = BTreeMap::new();
    for (index, item) in items.unwrap_or_default().into_iter().enumerate() {
        let path = format!("$.storageParams[{index}]");
        let members: Members = serde_json::from_str(item.get())
            .map_err(|_| invalid(&path, "It must be an object with the members key and value."))?;
        let (mut key, mut text) = (None, None);
        for (name, value) in members.0 {
            match name.to_ascii_lowercase().as_str() {
                "key" => key = stringified(value, &path)?,
                "value" => text = stringified(value, &path)?,
                _ => {}
            }
        }
        let key =
            key.ok_or_else(|| BindError::Argument(format!("storageParams[{index}] has no key")))?;
        let text = text.ok_or_else(|| {
            BindError::Argument(format!("storageParams[{index}] ({key}) has no value"))
        })?;
        if params.insert(key.clone(), text).is_some() {
            return Err(BindError::Argument(format!("storageParams has the key {key} twice")));
        }
    }
    Ok(params)
}

/// A value as .NET turns it into text: strings as they are, `True` and `False`, all else as it was written.
fn stringified(value: &RawValue, path: &str) -> Result<Option<String>, BindError> {
    Ok(match value.get().as_bytes().first() {
        Some(b'n') => None,
        Some(b't') => Some("True".to_owned()),
        Some(b'f') => Some("False".to_owned()),
        Some(b'"') => Some(parse(value, path)?),
        _ => Some(value.get().to_owned()),
    })
}

pub(super) fn parse<'a, T: Deserialize<'a>>(
    value: &'a RawValue,
    path: &str,
) -> Result<T, BindError> {
    serde_json::from_str(value.get()).map_err(|_| invalid(path, "The value cannot be read."))
}

pub(super) fn invalid(field: &str, message: impl Into<String>) -> BindError {
    BindError::Invalid { field: field.to_owned(), message: message.into() }
}

/// A value in an error text: short, because it may be anything.
pub(super) fn shown(value: &RawValue) -> String {
    let mut text: String = value.get().chars().take(60).collect();
    if text.len() < value.get().len() {
        text.push('…');
    }
    text
}

/// The members of a JSON object in their order, equal names included.
pub(super) struct Members<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Collect).map(Self)
    }
}

#[cfg(test)]
#[path = "bind_tests.rs"]
mod tests;
