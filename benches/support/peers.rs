//! The same job by the tools that people use for it.

use std::path::Path;
use std::time::{Duration, Instant};

use super::portal::Portal;
use super::{Result, empty_folder, folder_size, mysql, shell};

pub struct Run {
    pub wall: Duration,
    pub archive_bytes: u64,
}

/// `mariadb-dump` and `tar | pigz`, in the faster of two ways: through a file into one archive, or
/// piped into an archive of its own. The size is that of the one archive.
pub fn pigz(portal: &Portal, dir: &Path) -> Result<Run> {
    empty_folder(dir)?;
    let dump = dump_command(portal);
    let top = portal.dir.display();
    let one = timed(|| {
        shell(dir, &format!("{dump} > x.sql"))?;
        shell(
            dir,
            &format!("tar -cf - -C '{top}' files -C \"$PWD\" x.sql | pigz -6 -p2 > out.tar.gz"),
        )
    })?;
    let archive_bytes = std::fs::metadata(dir.join("out.tar.gz"))?.len();
    empty_folder(dir)?;
    let two = timed(|| {
        shell(dir, &format!("{dump} | pigz -6 -p2 > db.sql.gz"))?;
        shell(dir, &format!("tar -cf - -C '{top}' files | pigz -6 -p2 > files.tar.gz"))
    })?;
    std::fs::remove_dir_all(dir)?;
    Ok(Run { wall: one.min(two), archive_bytes })
}

/// restic with its default compression, into a repository of its own that is made beforehand.
pub fn restic(portal: &Portal, dir: &Path) -> Result<Run> {
    empty_folder(dir)?;
    let restic = "restic --quiet --no-cache --repo repository";
    std::fs::write(dir.join("password"), "bench")?;
    let shell =
        |script: String| shell(dir, &format!("export RESTIC_PASSWORD_FILE=password; {script}"));
    shell(format!("{restic} init"))?;
    let wall = timed(|| {
        let dump = dump_command(portal);
        shell(format!("{dump} | {restic} backup --stdin --stdin-filename db.sql"))?;
        shell(format!("{restic} backup '{}'", portal.files.display()))
    })?;
    let archive_bytes = folder_size(&dir.join("repository"))?;
    std::fs::remove_dir_all(dir)?;
    Ok(Run { wall, archive_bytes })
}

pub fn dump_command(portal: &Portal) -> String {
    format!("mariadb-dump {} --single-transaction {}", mysql::ACCESS, portal.database)
}

pub fn timed(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed())
}
