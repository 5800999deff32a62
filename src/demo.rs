//! A portal to try the program on, and to measure it with: a database and files as offices keep
//! them, made up, the same at every run.

mod content;
mod database;
mod files;
mod random;
pub mod tables;
mod words;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use files::write_files;

/// Says that a folder is ours to remake, and what is finished in it.
const MARKER: &str = ".portal-backup-demo";
/// Changes when what is generated changes, so that what an older program left is made anew.
pub const VERSION: u32 = 1;

/// How much is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DemoSize {
    /// Rows in all tables together.
    pub rows: u64,
    pub files: usize,
    /// Of all files together, kept within a few percent.
    pub bytes: u64,
}

impl Default for DemoSize {
    fn default() -> Self {
        Self { rows: 100_000, files: 500, bytes: 100_000_000 }
    }
}

/// Where the portal's parts lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoPortal {
    /// A SQLite database.
    pub database: PathBuf,
    /// The folder of the files.
    pub files: PathBuf,
}

/// Makes a demo portal in `dir`, or returns the one that is there if it is finished and of this size.
///
/// # Errors
/// `AlreadyExists` when `dir` holds a `portal.db` or `files` that this function did not make;
/// otherwise whatever writing gives.
pub fn generate(dir: &Path, size: DemoSize) -> io::Result<DemoPortal> {
    let portal = DemoPortal { database: dir.join("portal.db"), files: dir.join("files") };
    let marker = dir.join(MARKER);
    let finished = format!(
        "finished {VERSION} {} rows {} files {} bytes\n",
        size.rows, size.files, size.bytes
    );
    let found = match fs::read_to_string(&marker) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let whole = portal.database.is_file() && portal.files.is_dir();
    if whole && found.as_ref() == Some(&finished) {
        return Ok(portal);
    }
    if found.is_some() {
        clear(&portal)?;
    } else if portal.database.exists() || portal.files.exists() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("{} holds a portal that is not a demo; name an empty folder", dir.display()),
        ));
    }
    fs::create_dir_all(dir)?;
    fs::write(&marker, "unfinished\n")?;
    database::write_database(&portal.database, size.rows)?;
    write_files(&portal.files, size.files, size.bytes)?;
    fs::write(&marker, finished)?;
    Ok(portal)
}

fn clear(portal: &DemoPortal) -> io::Result<()> {
    let missing_is_fine = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = portal.database.clone().into_os_string();
        name.push(suffix);
        missing_is_fine(fs::remove_file(PathBuf::from(name)))?;
    }
    missing_is_fine(fs::remove_dir_all(&portal.files))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const SMALL: DemoSize = DemoSize { rows: 2_000, files: 60, bytes: 3_000_000 };

    /// Every file below `dir` by its path.
    fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut open = vec![dir.to_path_buf()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    let data = fs::read(&path).unwrap();
                    found.insert(path.strip_prefix(dir).unwrap().to_path_buf(), data);
                }
            }
        }
        found
    }

    fn rows(database: &Path) -> u64 {
        let db = rusqlite::Connection::open(database).unwrap();
        tables::TABLES
            .iter()
            .map(|table| {
                db.query_row(&format!("select count(*) from {}", table.name), [], |row| {
                    row.get::<_, i64>(0)
                })
                .unwrap() as u64
            })
            .sum()
    }

    #[test]
    fn has_the_size_asked_for_and_sound_references() {
        let dir = tempfile::tempdir().unwrap();
        let portal = generate(dir.path(), SMALL).unwrap();
        assert_eq!(rows(&portal.database), SMALL.rows);
        let db = rusqlite::Connection::open(&portal.database).unwrap();
        let broken: i64 = db
            .query_row("select count(*) from pragma_foreign_key_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(broken, 0);
        let sound: String = db.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(sound, "ok");

        let files = tree(&portal.files);
        assert_eq!(files.len(), SMALL.files);
        let bytes: u64 = files.values().map(|data| data.len() as u64).sum();
        assert!(bytes.abs_diff(SMALL.bytes) < SMALL.bytes / 20, "{bytes}");
        assert!(files.keys().any(|path| !path.to_string_lossy().is_ascii()));
        assert!(files.keys().any(|path| path.components().count() > 2));
    }

    #[test]
    fn is_the_same_every_time_and_made_once() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = generate(one.path(), SMALL).unwrap();
        let second = generate(two.path(), SMALL).unwrap();
        assert!(tree(&first.files) == tree(&second.files));
        assert!(fs::read(&first.database).unwrap() == fs::read(&second.database).unwrap());

        let made = fs::metadata(&first.database).unwrap().modified().unwrap();
        generate(one.path(), SMALL).unwrap();
        assert_eq!(fs::metadata(&first.database).unwrap().modified().unwrap(), made);
    }

    #[test]
    fn remakes_its_own_and_leaves_what_is_not_its_own() {
        let dir = tempfile::tempdir().unwrap();
        generate(dir.path(), SMALL).unwrap();
        let other = DemoSize { rows: 1_000, files: 10, bytes: 500_000 };
        let portal = generate(dir.path(), other).unwrap();
        assert_eq!(rows(&portal.database), other.rows);
        assert_eq!(tree(&portal.files).len(), other.files);

        fs::remove_file(dir.path().join(MARKER)).unwrap();
        let refused = generate(dir.path(), SMALL).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(tree(&portal.files).len(), other.files);
    }

    #[test]
    fn office_files_open_as_zip() {
        let dir = tempfile::tempdir().unwrap();
        let portal = generate(dir.path(), SMALL).unwrap();
        let data = tree(&portal.files)
            .into_iter()
            .find(|(path, _)| path.extension().is_some_and(|e| e == "docx"))
            .unwrap();
        let path = portal.files.join(data.0);
        // Deflate must have been at work, or the file would compress as no real one does.
        let script = "import sys,zipfile; z=zipfile.ZipFile(sys.argv[1]); \
                      assert z.testzip() is None; i=z.getinfo('word/document.xml'); \
                      assert i.compress_size * 2 < i.file_size";
        let status =
            std::process::Command::new("python3").args(["-c", script]).arg(path).status().unwrap();
        assert!(status.success());
    }
}
