//! Where folders really lie: links followed, and mounts that show one folder in two places.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Where `place` appears below `root`, relative to it; None when it lies elsewhere.
pub fn below(root: &Path, place: &Path) -> Option<PathBuf> {
    let (root, place) = (resolved(root), resolved(place));
    let table = || std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    let found = place.strip_prefix(&root).ok().map(Path::to_path_buf);
    found.or_else(|| shown(&root, &place, &Mount::all(&table())))
}

/// The path with its links resolved, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let Ok(mut real) = ancestor.canonicalize() {
            for part in path.strip_prefix(ancestor).unwrap_or(Path::new("")).components() {
                match part {
                    Component::ParentDir => drop(real.pop()),
                    part => real.push(part),
                }
            }
            return real;
        }
    }
    path.to_path_buf()
}

/// Something that is mounted.
pub struct Mount {
    device: Vec<u8>,
    /// What of the device is seen.
    inner: PathBuf,
    /// Where it is seen.
    pub point: PathBuf,
}

impl Mount {
    /// Of a table as `/proc/self/mountinfo` is one.
    pub fn all(table: &[u8]) -> Vec<Self> {
        let path = |text: &[u8]| PathBuf::from(OsStr::from_bytes(&unescaped(text)));
        let mount = |line: &[u8]| {
            let mut words = line.split(|byte| *byte == b' ').skip(2);
            let (device, inner, point) = (words.next()?, words.next()?, words.next()?);
            Some(Self { device: device.to_vec(), inner: path(inner), point: path(point) })
        };
        table.split(|byte| *byte == b'\n').filter_map(mount).collect()
    }
}

/// The same for paths without links, when a mount shows the place below the root, or the root above the place.
fn shown(root: &Path, place: &Path, mounts: &[Mount]) -> Option<PathBuf> {
    // Of several at one point the last one is seen.
    let of = |path: &Path| {
        let around = mounts.iter().filter(|mount| path.starts_with(&mount.point));
        let mount = around.max_by_key(|mount| mount.point.components().count())?;
        Some((&mount.device, mount.inner.join(path.strip_prefix(&mount.point).ok()?)))
    };
    let (device, inner) = of(place)?;
    let own = of(root).map(|(device, inner)| (device, inner, PathBuf::new()));
    let below = mounts.iter().filter_map(|mount| {
        let at = mount.point.strip_prefix(root).ok().filter(|at| *at != Path::new(""))?;
        Some((&mount.device, mount.inner.clone(), at.to_path_buf()))
    });
    own.into_iter().chain(below).filter(|(on, ..)| *on == device).find_map(|(_, base, at)| {
        let rest = inner.strip_prefix(base).ok()?;
        // `join` of nothing would end in a slash.
        Some(at.components().chain(rest.components()).collect())
    })
}

/// Spaces, tabs, line breaks and backslashes stand there in octal.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let digits =
            after.get(..3).filter(|digits| digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        match (byte, digits) {
            (b'\\', Some(digits)) => {
                let value =
                    digits.iter().fold(0u32, |value, digit| value * 8 + u32::from(digit - b'0'));
                plain.push(value as u8);
                rest = &after[3..];
            }
            _ => {
                plain.push(*byte);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_mount_points_are_read() {
        assert_eq!(unescaped(b"/a\\040b\\134c\\"), b"/a b\\c\\");
    }

    #[test]
    fn one_folder_in_two_places_is_known() {
        let table = "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                     21 20 8:2 /srv/portal /data rw - ext4 /dev/sdb rw\n\
                     22 20 8:2 /srv/portal/back\\040ups /backups rw - ext4 /dev/sdb rw\n\
                     23 20 8:2 /other /other rw - ext4 /dev/sdb rw\n\
                     24 21 8:3 /vault /data/deep/vault rw - ext4 /dev/sdc rw\n\
                     25 20 8:3 / /mnt rw - ext4 /dev/sdc rw\n";
        let mounts = Mount::all(table.as_bytes());
        let shown = |root: &str, place: &str| shown(Path::new(root), Path::new(place), &mounts);
        let found = |path: &str| Some(PathBuf::from(path));
        assert_eq!(shown("/data", "/backups"), found("back ups"));
        assert_eq!(shown("/data", "/backups/x"), found("back ups/x"));
        assert_eq!(shown("/data/back ups", "/backups"), found(""));
        assert_eq!(shown("/data", "/mnt/vault/y"), found("deep/vault/y"));
        assert_eq!(shown("/data/deep", "/mnt/vault"), found("vault"));
        assert_eq!(shown("/data", "/mnt/else"), None);
        assert_eq!(shown("/data", "/other"), None);
        assert_eq!(shown("/backups", "/data"), None);
        assert_eq!(shown("/data", "/srv/portal"), None);
    }

    #[test]
    fn what_is_not_there_yet_is_resolved_too() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        assert_eq!(resolved(&root.join("none/../x/./y")), root.join("x/y"));
        assert_eq!(below(&root, &root.join("none/../x")), Some("x".into()));
        assert_eq!(below(&root, &root.join("none/../../x")), None);
    }
}
