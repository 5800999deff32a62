//! Running other people's programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};

use crate::support::portal::PlainPortal;
use crate::support::service::Service;

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of this folder.
pub fn here(name: &str) -> PathBuf {
    root().join("tests/clients").join(name)
}

/// A folder under `target/clients` that stays.
pub fn kept(name: &str) -> PathBuf {
    let folder = root().join("target/clients").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Whether all of these commands are on this machine; says so if not.
pub fn have(commands: &[&str]) -> bool {
    let missing: Vec<_> = commands
        .iter()
        .filter(|command| {
            let found = Command::new("sh").args(["-c", &format!("command -v {command}")]).output();
            !found.is_ok_and(|output| output.status.success())
        })
        .collect();
    if !missing.is_empty() {
        eprintln!(
            "SKIPPED: this machine lacks {missing:?}; scripts/tools.sh installs them on Debian"
        );
    }
    missing.is_empty()
}

/// The Python that has what `tests/requirements.txt` names.
pub fn python() -> PathBuf {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON
        .get_or_init(|| {
            PathBuf::from(run(&mut Command::new(root().join("scripts/python.sh"))).trim())
        })
        .clone()
}

/// Runs it to its end, which must be a success; what it printed.
pub fn run(command: &mut Command) -> String {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{said}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

/// A service with a small portal, and the variables by which the programs find it.
pub struct Target {
    pub service: Service,
    /// Goes when this goes.
    _portal: PlainPortal,
}

impl Target {
    pub async fn start() -> Self {
        let portal = PlainPortal::new(300);
        let index = portal.dir.path().join("index");
        std::fs::create_dir(&index).unwrap();
        std::fs::write(index.join("terms"), "a b c").unwrap();
        let section = format!(
            "{}[[portal.index]]\nname = \"search\"\nurl = \"file://{}\"\n",
            portal.config(),
            index.display()
        );
        let service = Service::start(&section).await;
        Self { service, _portal: portal }
    }

    pub fn point<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("BASE", &self.service.base).env("KEY", &self.service.key)
    }
}

/// Makes something in a folder under `target/clients`, unless it was made there from the same `sources`.
pub fn made(name: &str, sources: &[PathBuf], make: impl FnOnce(&Path)) -> PathBuf {
    // One at a time: generators and compilers take what cores there are anyway.
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = kept(name);
    let stamp = folder.join("made-from");
    let from: Vec<u8> = sources.iter().flat_map(|path| std::fs::read(path).unwrap()).collect();
    if std::fs::read(&stamp).ok().as_ref() != Some(&from) {
        let _ = std::fs::remove_file(&stamp);
        make(&folder);
        std::fs::write(stamp, from).unwrap();
    }
    folder
}
