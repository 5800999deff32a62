//! Reading the configuration: file, then environment, then secrets kept in files, then checks.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use super::Config;

const ENV_PREFIX: &str = "PORTAL_BACKUP__";
/// Keys that end in `_file` by themselves and do not name a file with a secret in it.
const OWN_FILE_KEYS: [&str; 4] = [
    "identity_file",
    "web_identity_token_file",
    "aws_web_identity_token_file",
    "azure_federated_token_file",
];

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: {message}", path.display())]
    Syntax { path: PathBuf, message: String },
    #[error("environment variable {name}: {message}")]
    Environment { name: String, message: String },
    #[error("configuration: {0}")]
    Invalid(String),
}

/// Reads the configuration.
///
/// `file`: the file named on the command line, which must exist; without it the first of
/// `portal-backup.toml` and `/etc/portal-backup/portal-backup.toml` that exists is used, and none is fine.
/// `environment`: variables; those that begin with `PORTAL_BACKUP__` override the file.
pub fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let path = file.map(Path::to_path_buf).or_else(|| {
        ["portal-backup.toml", "/etc/portal-backup/portal-backup.toml"]
            .into_iter()
            .map(PathBuf::from)
            .find(|path| path.exists())
    });
    let mut table = match &path {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Read { path: path.clone(), source })?;
            text.parse::<Table>().map_err(|error| ConfigError::Syntax {
                path: path.clone(),
                message: error.to_string(),
            })?
        }
        None => Table::new(),
    };
    let mut overrides: Vec<_> = environment
        .into_iter()
        .filter_map(|(name, value)| {
            name.strip_prefix(ENV_PREFIX)
                .map(|path| (path.to_ascii_lowercase(), name.clone(), value))
        })
        .collect();
    // Numbers by their value: a list grows item by item.
    overrides.sort_by_cached_key(|(path, ..)| {
        let parts =
            path.split("__").map(|part| (part.parse::<usize>().unwrap_or(0), part.to_owned()));
        parts.collect::<Vec<_>>()
    });
    // First those of the file, so that a variable overrides a secret that the file only points to.
    read_secret_files(&mut table)?;
    for (path, name, value) in overrides {
        let keys: Vec<&str> = path.split("__").collect();
        set(&mut table, &keys, value)
            .map_err(|message| ConfigError::Environment { name, message })?;
    }
    read_secret_files(&mut table)?;
    let config = Config::deserialize(Value::Table(table))
        .map_err(|error| ConfigError::Invalid(error.to_string().trim().to_owned()))?;
    check(&config)?;
    Ok(config)
}

/// Sets the value at a path of keys; a number steps into a list, which grows by one at most.
fn set(table: &mut Table, keys: &[&str], text: String) -> Result<(), String> {
    let Some((key, rest)) = keys.split_first() else {
        return Err("has no key".to_owned());
    };
    if key.is_empty() {
        return Err("has an empty key".to_owned());
    }
    if rest.is_empty() {
        table.insert((*key).to_owned(), Value::String(text));
        return Ok(());
    }
    let list_index = rest[0].parse::<usize>().ok();
    let slot = table.entry((*key).to_owned()).or_insert_with(|| match list_index {
        Some(_) => Value::Array(Vec::new()),
        None => Value::Table(Table::new()),
    });
    match (slot, list_index) {
        (Value::Table(inner), _) => set(inner, rest, text),
        (Value::Array(items), Some(index)) => {
            if index > items.len() {
                return Err(format!(
                    "item {index} of {key} would leave a gap after {}",
                    items.len()
                ));
            }
            if rest.len() == 1 {
                items.truncate(items.len().max(index));
                if index == items.len() {
                    items.push(Value::String(text));
                } else {
                    items[index] = Value::String(text);
                }
                return Ok(());
            }
            if index == items.len() {
                items.push(Value::Table(Table::new()));
            }
            match &mut items[index] {
                Value::Table(inner) => set(inner, &rest[1..], text),
                _ => Err(format!("item {index} of {key} has no keys of its own")),
            }
        }
        _ => Err(format!("{key} has no keys of its own")),
    }
}

/// Replaces every `KEY_file = "path"` by `KEY = "what the file holds"`, without its last line end.
fn read_secret_files(table: &mut Table) -> Result<(), ConfigError> {
    let keys: Vec<String> = table.keys().cloned().collect();
    for key in keys {
        match table.get_mut(&key) {
            Some(Value::Table(inner)) => read_secret_files(inner)?,
            Some(Value::Array(items)) => {
                for item in items {
                    if let Value::Table(inner) = item {
                        read_secret_files(inner)?;
                    }
                }
            }
            Some(Value::String(path)) if !OWN_FILE_KEYS.contains(&key.as_str()) => {
                let Some(name) = key.strip_suffix("_file") else { continue };
                let path = PathBuf::from(path.as_str());
                let text = std::fs::read_to_string(&path)
                    .map_err(|source| ConfigError::Read { path, source })?;
                let text = text.strip_suffix('\n').unwrap_or(&text);
                let text = text.strip_suffix('\r').unwrap_or(text).to_owned();
                table.insert(name.to_owned(), Value::String(text));
                table.remove(&key);
            }
            _ => {}
        }
    }
    Ok(())
}

/// What types cannot say.
fn check(config: &Config) -> Result<(), ConfigError> {
    let invalid = |message: String| Err(ConfigError::Invalid(message));
    let portal = &config.portal;
    for (kind, names) in [
        ("database", portal.database.iter().map(|d| d.name.as_str()).collect::<Vec<_>>()),
        ("filesystem", portal.filesystem.iter().map(|f| f.name.as_str()).collect()),
        ("index", portal.index.iter().map(|i| i.name.as_str()).collect()),
        ("copy", config.storage.copy.iter().map(|copy| copy.name.as_str()).collect()),
    ] {
        let section = if kind == "copy" { "storage" } else { "portal" };
        for (position, name) in names.iter().enumerate() {
            if name.is_empty()
                || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
                || name.starts_with('.')
                || name.len() > 64
            {
                return invalid(format!(
                    "{section}.{kind} name {name:?}: 1 to 64 letters, digits, '-', '_' and '.' only"
                ));
            }
            if names[..position].contains(name) {
                return invalid(format!("two {section}.{kind} entries are named {name:?}"));
            }
        }
    }
    if portal.name.is_empty() || portal.name.contains(['/', '\\', '\0']) {
        return invalid(format!("portal.name {:?} cannot begin a file name", portal.name));
    }
    if jiff::tz::TimeZone::get(&portal.timezone).is_err() {
        return invalid(format!("portal.timezone {:?} is no known time zone", portal.timezone));
    }
    if config.backup.memory.0 < 32 << 20 {
        return invalid("backup.memory must be at least 32MiB".to_owned());
    }
    if let Some(jwt) = &config.auth.jwt {
        jwt.check().map_err(ConfigError::Invalid)?;
    }
    config.limits.check().map_err(ConfigError::Invalid)?;
    if config.storage.max_parts == 0 {
        return invalid("storage.max_parts must be at least 1".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(text: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::fs::write(&path, text).unwrap();
        load(Some(&path), env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
    }

    #[test]
    fn environment_overrides_and_extends_lists() {
        let config = from(
            "[[portal.database]]\nname = 'a'\nurl = 'sqlite://a.db'\n",
            &[
                ("PORTAL_BACKUP__PORTAL__DATABASE__0__URL", "sqlite://b.db"),
                ("PORTAL_BACKUP__PORTAL__DATABASE__1__NAME", "c"),
                ("PORTAL_BACKUP__PORTAL__DATABASE__1__URL", "sqlite://c.db"),
                ("PORTAL_BACKUP__STORAGE__MAX_PARTS", "1000"),
                ("PORTAL_BACKUP__STORAGE__ALLOW", "s3://a, s3://b"),
                ("OTHER", "x"),
            ],
        )
        .unwrap();
        assert_eq!(config.portal.database[0].url.expose(), "sqlite://b.db");
        assert_eq!(config.portal.database[1].name, "c");
        assert_eq!(config.storage.max_parts, 1000);
        assert_eq!(config.storage.allow, ["s3://a", "s3://b"]);
    }

    #[test]
    fn unknown_keys_are_errors() {
        let error = from("[server]\nlisten_on = 'x'\n", &[]).unwrap_err().to_string();
        assert!(error.contains("listen_on"), "{error}");
        assert!(from("", &[("PORTAL_BACKUP__SERVRE__LISTEN", "x")]).is_err());
    }

    #[test]
    fn tokens_need_one_kind_of_key() {
        let jwt = |keys: &str| {
            let text =
                format!("[auth.jwt]\nissuer = 'https://id.example'\naudience = 'us'\n{keys}");
            from(&text, &[]).map(|config| config.auth.jwt.unwrap())
        };
        assert!(jwt("").unwrap().is_discovered());
        assert_eq!(jwt("keys_ttl = '7'").unwrap().keys_ttl, 7);
        let long = "0123456789abcdef0123456789abcdef";
        assert!(!jwt(&format!("secret = '{long}'")).unwrap().is_discovered());
        for (keys, word) in [
            ("secret = 'short'", "32"),
            (&format!("secret = '{long}'\njwks_url = 'https://id.example/keys'") as &str, "both"),
            ("jwks_url = 'file:///etc/keys'", "jwks_url"),
            ("introspection_url = 'ftp://id.example'", "introspection_url"),
            ("jwks_url = 'https://id.example/keys'\nclient_id = 'us'", "introspection_url"),
            ("jwks = 'x'", "jwks"),
        ] {
            let error = jwt(keys).unwrap_err().to_string();
            assert!(error.contains(word), "{keys}: {error}");
        }
    }

    #[test]
    fn secrets_come_from_files() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "key of the machine\n").unwrap();
        let path = file.path().to_str().unwrap();
        let config =
            from(&format!("[portal.docspace]\nmachine_key_file = '{path}'\n"), &[]).unwrap();
        assert_eq!(config.portal.docspace.machine_key.expose(), "key of the machine");
        let config = from("", &[("PORTAL_BACKUP__SERVER__SECRET_KEY_FILE", path)]).unwrap();
        assert_eq!(config.server.secret_key.expose(), "key of the machine");
    }
}
