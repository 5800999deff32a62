//! `storageParams`: reading them by name in any spelling, and knowing which hold secrets.

use super::{StorageError, StorageParams};

/// Lower case without `_`, `-` and `.`: `filePath`, `file_path` and `FILEPATH` are one name.
fn normal(name: &str) -> String {
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
    const PARTS: [&str; 13] = [
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
    ];
    PARTS.iter().any(|part| name.contains(part))
        || matches!(name.as_str(), "json" | "key" | "saskey" | "serviceaccountkey" | "auth")
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
