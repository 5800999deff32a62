//! `server.secret_key`, or a key made once and kept beside an SQLite catalog.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::catalog::sqlite_file;
use crate::config::{Config, ConfigError, Secret};

/// Lies beside a SQLite catalog.
pub const FILE: &str = "portal-backup.key";
/// Shorter ones can be guessed.
const SHORT: usize = 16;

/// The key that everything secret is derived from: the configured one, else the one in
/// `portal-backup.key` beside the SQLite catalog, which is made, with mode 0600, if there is none.
/// Processes that start at the same time get the same key.
///
/// Errors: a catalog that several machines may share has no place beside it, so there the key must be
/// configured; files that cannot be read or made.
pub fn load_or_create_secret_key(config: &Config) -> Result<Secret, ConfigError> {
    if !config.server.secret_key.is_empty() {
        if config.server.secret_key.expose().len() < SHORT {
            tracing::warn!("server.secret_key is shorter than {SHORT} characters");
        }
        return Ok(config.server.secret_key.clone());
    }
    let catalog = sqlite_file(config.catalog.url.expose()).ok_or_else(|| {
        ConfigError::Invalid(
            "server.secret_key must be set, because catalog.url is no SQLite file beside which one \
             could be kept; every process that shares the catalog needs the same"
                .to_owned(),
        )
    })?;
    let path = match catalog.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.join(FILE),
        _ => FILE.into(),
    };
    let failed = |source| ConfigError::Read { path: path.clone(), source };
    match read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            create(&path).map_err(failed)?;
            // Perhaps not ours: another process may have been first.
            read(&path).map_err(failed)
        }
        result => result.map_err(failed),
    }
}

fn read(path: &Path) -> std::io::Result<Secret> {
    let text = std::fs::read_to_string(path)?;
    if std::fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
        tracing::warn!("{} can be read by others than its owner", path.display());
    }
    let text = text.trim();
    if text.len() < SHORT {
        return Err(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            "it holds no key; if it was emptied by accident, put the old one back",
        ));
    }
    Ok(Secret::new(text))
}

/// Makes the file whole or not at all, and never over an existing one.
fn create(path: &Path) -> std::io::Result<()> {
    let mut random = [0; 32];
    aws_lc_rs::rand::fill(&mut random)
        .map_err(|_| std::io::Error::other("the system gives no random numbers"))?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder)?;
    // Its mode is 0600 from the beginning.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    writeln!(file, "{}", hex::encode(random))?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => std::fs::File::open(folder)?.sync_all(),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(catalog: &str) -> Config {
        let mut config = Config::default();
        config.catalog.url = Secret::new(catalog);
        config
    }

    #[test]
    fn one_key_however_many_start() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&format!("sqlite://{}/new/c.db", folder.path().display()));
        let keys: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|_| scope.spawn(|| load_or_create_secret_key(&config).unwrap()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
        assert_eq!(keys[0].expose().len(), 64);
        let files: Vec<_> = std::fs::read_dir(folder.path().join("new")).unwrap().collect();
        assert_eq!(files.len(), 1, "no temporary file stays");
        let mode = files[0].as_ref().unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_shared_catalog_needs_a_configured_key() {
        let mut config = config("mysql://root@127.0.0.1/c");
        let error = load_or_create_secret_key(&config).unwrap_err().to_string();
        assert!(error.contains("server.secret_key"), "{error}");
        config.server.secret_key = Secret::new("0123456789abcdef");
        assert_eq!(load_or_create_secret_key(&config).unwrap().expose(), "0123456789abcdef");
    }

    #[test]
    fn an_emptied_file_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "\n").unwrap();
        let config = config(&format!("sqlite://{}/c.db", folder.path().display()));
        assert!(load_or_create_secret_key(&config).is_err());
    }
}
