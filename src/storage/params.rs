//! `storageParams`: reading them by name in any spelling, and knowing which hold secrets.

use jiff::Timestamp;

use super::{StorageError, StorageParams, StorageType};

/// Lower case without `_`, `-` and `.`: `filePath`, `file_path` and `FILEPATH` are one name.
pub(super) fn normal(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-' | '.')).map(|c| c.to_ascii_lowercase()).collect()
}

/// The value of the parameter with one of these (normalised) names; an empty value counts as absent.
pub(super) fn find<'a>(
    params: &'a StorageParams,
    names: &[&str],
) -> Result<Option<&'a str>, StorageError> {
    let mut found: Option<(&str, &str)> = None;
    for (name, value) in params {
        if !names.contains(&normal(name).as_str()) {
            continue;
        }
        match found {
            Some((first, other)) if other != value => {
                return Err(StorageError::Invalid(format!(
                    "storageParams: {first} and {name} name the same thing differently"
                )));
            }
            _ => found = Some((name, value)),
        }
    }
    Ok(found.map(|(_, value)| value).filter(|value| !value.is_empty()))
}

/// Whether a parameter of this name holds a secret, to be sealed before it is kept.
/// Knows object_store's and DocSpace's spellings (`acesskey` is DocSpace's).
pub fn is_secret_param(name: &str) -> bool {
    let name = normal(name);
    const PARTS: [&str; 14] = [
        "secret",
        "accesskey",
        "acesskey",
        "password",
        "passphrase",
        "token",
        "credential",
        "apikey",
        "accountkey",
        "masterkey",
        "ssekey",
        "ssecustomerkey",
        "encryptionkey",
        "authpwd",
    ];
    PARTS.iter().any(|part| name.contains(part))
        || matches!(name.as_str(), "json" | "key" | "saskey" | "serviceaccountkey" | "auth")
}

/// The parameter that holds the id of the archive's file, where the storage gives archives ids.
pub const FILE_ID: &str = "fileId";
/// The parameter of a record that holds the end of the archive's lock.
const LOCKED_UNTIL: &str = "lockedUntil";
/// The parameter that holds the credential with which a user asked, for storages within the portal.
pub const PORTAL_TOKEN: &str = "portalToken";

/// The parameter that says which of DocSpace's tenants that user is of, as its header `Origin` has it.
const PORTAL_ORIGIN: &str = "portalOrigin";

/// Adds what a user of DocSpace lends for what they ask: a credential, and the address of their tenant.
pub fn lend(params: &mut StorageParams, credential: String, origin: Option<String>) {
    if has_portal_token(params) {
        return;
    }
    params.insert(PORTAL_TOKEN.to_owned(), credential);
    params.retain(|name, _| normal(name) != normal(PORTAL_ORIGIN));
    params.extend(origin.map(|origin| (PORTAL_ORIGIN.to_owned(), origin)));
}

/// What was lent: credential and address.
pub(super) fn lent(params: &StorageParams) -> Result<Option<(&str, Option<&str>)>, StorageError> {
    let Some(token) = find(params, &[normal(PORTAL_TOKEN).as_str()])? else { return Ok(None) };
    Ok(Some((token, find(params, &[normal(PORTAL_ORIGIN).as_str()])?)))
}

/// Whether a credential for the portal is among the parameters.
pub fn has_portal_token(params: &StorageParams) -> bool {
    has(params, &normal(PORTAL_TOKEN))
}

/// What DocSpace adds to the parameters of a backup that somebody starts, and not to a schedule's: the
/// folder `backup` of a consumer's bucket (`facts.md` §7).
pub fn started_by_hand(kind: StorageType, params: &mut StorageParams) {
    if kind == StorageType::ThirdPartyConsumer && !has(params, "subdir") {
        params.insert("subdir".to_owned(), "backup".to_owned());
    }
}

/// Says whose archive it is, where that decides about its place: without `subdir` a consumer's archives
/// lie in `{tenantId}/backup` (`facts.md` §7). `dump`: the id of the one who made the schedule may stand.
pub fn of_tenant(kind: StorageType, params: &mut StorageParams, tenant: i64, dump: bool) {
    if kind != StorageType::ThirdPartyConsumer || has(params, "subdir") {
        return;
    }
    let given = find(params, &["tenantid"]).ok().flatten().and_then(|id| id.parse::<i64>().ok());
    let id = given.filter(|_| dump).unwrap_or(tenant);
    params.retain(|name, _| normal(name) != "tenantid");
    params.insert("tenantId".to_owned(), id.to_string());
}

/// The parameters of a finished archive: with the id of its file and the end of its lock, and without the
/// credential of the one who asked, which nobody may use for anything else.
pub fn in_record(
    params: &StorageParams,
    file: Option<&str>,
    locked_until: Option<Timestamp>,
) -> StorageParams {
    let lent = [PORTAL_TOKEN, PORTAL_ORIGIN].map(normal);
    let mut kept = params.clone();
    kept.retain(|name, _| !lent.contains(&normal(name)));
    if let Some(file) = file {
        kept.insert(FILE_ID.to_owned(), file.to_owned());
    }
    // What a request says of this counts for nothing.
    kept.retain(|name, _| normal(name) != normal(LOCKED_UNTIL));
    if let Some(until) = locked_until {
        kept.insert(LOCKED_UNTIL.to_owned(), until.to_string());
    }
    kept
}

/// Until when the storage lets nobody delete an archive, as its record says.
pub fn locked_until(params: &StorageParams) -> Option<Timestamp> {
    params.get(LOCKED_UNTIL)?.parse().ok()
}

/// Adds `folder` below the path that the parameter of this (normalised) name holds.
pub(super) fn descend(params: &mut StorageParams, name: &str, folder: &str) {
    for (key, value) in params.iter_mut() {
        if normal(key) == name && !folder.is_empty() {
            *value = format!("{}/{folder}", value.trim_end_matches('/'));
        }
    }
}

fn has(params: &StorageParams, name: &str) -> bool {
    params.iter().any(|(key, value)| normal(key) == name && !value.is_empty())
}

/// The names of the parameters that hold secrets.
pub fn secret_params(params: &StorageParams) -> impl Iterator<Item = &str> {
    params.keys().map(String::as_str).filter(|name| is_secret_param(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> StorageParams {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn names_are_found_in_any_spelling() {
        for name in ["filePath", "FILEPATH", "file_path", "filepath"] {
            assert_eq!(find(&params(&[(name, "x")]), &["filepath"]).unwrap(), Some("x"));
        }
        assert_eq!(find(&params(&[("filePath", "")]), &["filepath"]).unwrap(), None);
        assert_eq!(find(&params(&[("other", "x")]), &["filepath"]).unwrap(), None);
        assert!(find(&params(&[("filePath", "x"), ("FilePath", "y")]), &["filepath"]).is_err());
    }

    #[test]
    fn secrets_are_known_in_every_spelling() {
        let all = params(&[
            ("acesskey", ""),
            ("secretaccesskey", ""),
            ("aws_secret_access_key", ""),
            ("AccessKeyId", ""),
            ("session_token", ""),
            ("json", ""),
            ("sas_key", ""),
            ("ssekey", ""),
            ("filePath", ""),
            ("bucket", ""),
            ("region", ""),
            ("module", ""),
        ]);
        let secrets: Vec<_> = secret_params(&all).collect();
        assert_eq!(secrets.len(), 8, "{secrets:?}");
        assert!(!secrets.contains(&"bucket") && !secrets.contains(&"filePath"));
    }
}
