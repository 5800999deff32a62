//! Small portals in the plain layout: a SQLite database and a folder of files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub struct PlainPortal {
    pub dir: tempfile::TempDir,
}

impl PlainPortal {
    /// A database with `rows` rows in its largest table, and a few files of every awkward kind.
    pub fn new(rows: u32) -> Self {
        let portal = Self { dir: tempfile::tempdir().unwrap() };
        let db = rusqlite::Connection::open(portal.database()).unwrap();
        db.pragma_update(None, "journal_mode", "wal").unwrap();
        db.execute_batch(
            "create table note (id integer primary key, body text, weight real);
             create table empty (id integer primary key);
             create table pair (a text, b blob);
             insert into pair values (null, ''), ('', x'00ff'), ('line\nend;', null);",
        )
        .unwrap();
        db.execute(
            "insert into note with recursive n(i) as (select 1 union all select i + 1 from n where i < ?1)
             select i * 1000, printf('note %d: %s', i, hex(randomblob(40))), i / 7.0 from n",
            [rows],
        )
        .unwrap();
        let files = portal.files();
        std::fs::create_dir_all(files.join("deep/er")).unwrap();
        std::fs::write(files.join("plain.txt"), "text ".repeat(10_000)).unwrap();
        std::fs::write(files.join("deep/er/empty"), "").unwrap();
        std::fs::write(files.join("deep/naïve 100% #1.txt"), "x").unwrap();
        std::fs::write(files.join("noise.bin"), noise(5 << 20)).unwrap();
        portal
    }

    pub fn database(&self) -> PathBuf {
        self.dir.path().join("portal.db")
    }

    pub fn files(&self) -> PathBuf {
        self.dir.path().join("files")
    }

    /// The `[portal]` section.
    pub fn config(&self) -> String {
        format!(
            "[portal]\nlayout = \"plain\"\n[[portal.database]]\nname = \"main\"\nurl = \"sqlite://{}\"\n[[portal.filesystem]]\nname = \"files\"\nurl = \"file://{}\"\n",
            self.database().display(),
            self.files().display()
        )
    }
}

/// Bytes that do not compress, the same each time.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The files below a folder by their relative paths.
pub fn tree(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// The members of an archive, read with nothing of ours: gzip and tar as anybody has them.
pub fn members(archive: &Path) -> BTreeMap<String, Vec<u8>> {
    use std::io::Read;
    let file = std::fs::File::open(archive).unwrap();
    let mut tar = tar::Archive::new(flate2::read::MultiGzDecoder::new(file));
    let mut members = BTreeMap::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        assert!(members.insert(name.clone(), content).is_none(), "{name} is there twice");
    }
    members
}
