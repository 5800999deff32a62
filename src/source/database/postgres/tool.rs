//! The server's own `pg_dump`, asked for the definitions of a snapshot.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use super::names::BESIDE;
use super::url::Target;

/// Where distributions put versions side by side.
const ROOTS: &[&str] =
    &["/usr/lib/postgresql", "/usr/pgsql", "/opt/homebrew/opt", "/usr/local/pgsql"];

/// How long an ALTER TABLE may make it wait.
const LOCK_WAIT: &str = "--lock-wait-timeout=120s";

/// A folder with a `pg_dump` and a `pg_restore` that can dump a server of a version; without one, what to install.
pub(super) async fn find(server: u32) -> Result<PathBuf, String> {
    let wanted = server / 10_000;
    let search = move || {
        let found = candidates().into_iter();
        nearest(
            wanted,
            found.filter_map(|folder| Some((version(&folder.join("pg_dump"))?, folder))),
        )
    };
    tokio::task::spawn_blocking(search).await.map_err(|error| error.to_string())?
}

/// The nearest that is not older: its text is what the server itself understands best.
fn nearest(wanted: u32, all: impl Iterator<Item = (u32, PathBuf)>) -> Result<PathBuf, String> {
    let (mut nearest, mut newest): (Option<(u32, PathBuf)>, Option<u32>) = (None, None);
    for (version, folder) in all {
        newest = newest.max(Some(version));
        if version >= wanted && nearest.as_ref().is_none_or(|(least, _)| version < *least) {
            nearest = Some((version, folder));
        }
        if version == wanted {
            break;
        }
    }
    let found = newest.map_or("there are none here".to_owned(), |newest| {
        format!("the newest here are of version {newest}")
    });
    nearest.map(|(_, folder)| folder).ok_or_else(|| {
        format!(
            "its definitions are read by pg_dump and pg_restore of version {wanted} or newer, and {found}: install \
             PostgreSQL {wanted}'s client programs (Debian's package is postgresql-client-{wanted})"
        )
    })
}

fn candidates() -> Vec<PathBuf> {
    // Before those of PATH: there Debian has a script that takes longer than the program.
    let mut folders = Vec::new();
    for root in ROOTS {
        folders.push(Path::new(root).join("bin"));
        let Ok(versions) = std::fs::read_dir(root) else { continue };
        folders.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    folders
        .retain(|folder| folder.join("pg_dump").is_file() && folder.join("pg_restore").is_file());
    folders
}

/// The major version that a `pg_dump` says it is of.
fn version(program: &Path) -> Option<u32> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let number =
        text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The definitions of everything, in `pg_restore --verbose`'s text: each with its number and those it depends on.
/// (`pg_dump` itself writes the same text without most of the dependencies.)
pub(super) async fn definitions(
    target: &Target,
    folder: &Path,
    snapshot: &str,
    encoding: &str,
) -> Result<String, String> {
    let mut dump = Command::new(folder.join("pg_dump"));
    dump.args(["--format=custom", "--compress=0", "--schema-only", "--no-password", LOCK_WAIT])
        .arg(format!("--snapshot={snapshot}"))
        .arg(format!("--encoding={encoding}"))
        .arg(format!("--exclude-table=public.{BESIDE}*"))
        .arg(format!("--exclude-schema={BESIDE}*"))
        .envs(target.environment.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut print = Command::new(folder.join("pg_restore"));
    print.args(["--verbose", "--file=-"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = Running::default();
    let children = Arc::clone(&running.0);
    let run = move || pipe(dump, print, &children);
    tokio::task::spawn_blocking(run).await.map_err(|error| error.to_string())?
}

/// Ends what runs when it is dropped.
#[derive(Default)]
struct Running(Arc<Mutex<Vec<Child>>>);

impl Drop for Running {
    fn drop(&mut self) {
        for child in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            let _ = child.kill(); // It has ended by itself.
        }
    }
}

fn pipe(
    mut dump: Command,
    mut print: Command,
    children: &Mutex<Vec<Child>>,
) -> Result<String, String> {
    let failed = |what: &str, error: std::io::Error| format!("{what} cannot be run: {error}");
    let mut dumping = dump.spawn().map_err(|error| failed("pg_dump", error))?;
    let between = dumping.stdout.take().map_or_else(Stdio::null, Stdio::from);
    let mut complaints = vec![drain(dumping.stderr.take())];
    let printing = print.stdin(between).spawn();
    let mut printing = match printing {
        Ok(printing) => printing,
        Err(error) => {
            let _ = dumping.kill();
            let _ = dumping.wait();
            return Err(failed("pg_restore", error));
        }
    };
    // Else our copy of the pipe would keep pg_dump writing to nobody.
    drop(print);
    let output = printing.stdout.take();
    complaints.push(drain(printing.stderr.take()));
    children.lock().unwrap_or_else(PoisonError::into_inner).extend([dumping, printing]);
    let mut text = Vec::new();
    let read = output.map_or(Ok(0), |mut output| output.read_to_end(&mut text));
    let complaints: Vec<String> =
        complaints.into_iter().map(|thread| thread.join().unwrap_or_default()).collect();
    for (child, (what, said)) in children
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .iter_mut()
        .zip(["pg_dump", "pg_restore"].into_iter().zip(&complaints))
    {
        let status = child.wait().map_err(|error| failed(what, error))?;
        if !status.success() {
            let said = said.lines().rev().take(5).collect::<Vec<_>>();
            let said = said.into_iter().rev().collect::<Vec<_>>().join(" ");
            return Err(format!("{what} failed: {said}"));
        }
    }
    read.map_err(|error| failed("pg_restore", error))?;
    String::from_utf8(text)
        .map_err(|error| not_utf8(error.as_bytes(), error.utf8_error().valid_up_to()))
}

/// Says which definition is not UTF-8: one of a database that does not know its encoding.
fn not_utf8(text: &[u8], at: usize) -> String {
    const NAME: &[u8] = b"-- Name: ";
    let heading = text[..at].windows(NAME.len()).rposition(|place| place == NAME);
    let line = heading
        .and_then(|heading| text[heading + NAME.len()..].split(|byte| *byte == b'\n').next());
    let what = line.map_or_else(
        || "a definition".to_owned(),
        |line| {
            let line = String::from_utf8_lossy(line);
            format!("the definition of {}", line.split("; Schema: ").next().unwrap_or(&line))
        },
    );
    format!(
        "{what} has bytes that are not UTF-8, which a database of the encoding SQL_ASCII lets in: write it (its name, \
         its comment, its texts) in UTF-8 to have it backed up"
    )
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut text); // What was read is all there is to say.
        }
        String::from_utf8_lossy(&text).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::{nearest, not_utf8};

    #[test]
    fn the_nearest_version_is_taken_or_said_to_be_missing() {
        let of = |versions: &'static [u32]| {
            versions.iter().map(|version| (*version, version.to_string().into()))
        };
        assert_eq!(nearest(16, of(&[15, 18, 17])), Ok("17".into()));
        assert_eq!(nearest(18, of(&[15, 18, 19])), Ok("18".into()));
        let said = nearest(18, of(&[14, 15, 13])).unwrap_err();
        assert!(
            said.contains("the newest here are of version 15: install PostgreSQL 18's"),
            "{said}"
        );
        let said = nearest(18, of(&[])).unwrap_err();
        assert!(said.contains("there are none here: install PostgreSQL 18's"), "{said}");
    }

    #[test]
    fn a_definition_that_is_not_utf8_is_named() {
        let text = b"--\n-- Name: a; Type: TABLE; Schema: x; Owner: y\n--\n-- Name: f\xfc; Type: TABLE; Schema: x; Owner: y\n";
        let said = not_utf8(text, text.iter().position(|byte| *byte == 0xfc).unwrap());
        assert!(said.starts_with("the definition of f\u{fffd}; Type: TABLE has"), "{said}");
    }
}
