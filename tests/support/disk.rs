//! A disk that is soon full.

use std::path::Path;
use std::process::Command;

/// A file system of some megabytes, unmounted when dropped.
pub struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// None where mounting is not permitted: then it cannot be tested, and that is said.
    pub fn mount(megabytes: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        Self::mount_at(dir.path(), megabytes).then(|| Self(dir))
    }

    /// Mounts over an existing folder; unmount with [`SmallDisk::unmount`].
    pub fn mount_at(path: &Path, megabytes: u32) -> bool {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"])
            .arg(path)
            .output();
        let done = matches!(mounted, Ok(output) if output.status.success());
        if !done {
            eprintln!("not tested here: a full disk (mounting is not permitted)");
        }
        done
    }

    pub fn unmount(path: &Path) {
        let _ = Command::new("umount").arg("-l").arg(path).status();
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Self::unmount(self.0.path());
    }
}
