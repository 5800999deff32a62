//! Paths as bytes, relative to a root: live names need not be text.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The parts of a path; none for the root.
pub fn names(path: &[u8]) -> Vec<&OsStr> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty())
        .map(OsStr::from_bytes)
        .collect()
}

/// The folder that a path lies in, and its name there.
pub fn split(path: &[u8]) -> (&[u8], &OsStr) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], OsStr::from_bytes(&path[at + 1..])),
        None => (b"", OsStr::from_bytes(path)),
    }
}

pub fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    match folder {
        b"" => name.to_vec(),
        folder => [folder, name].join(&b'/'),
    }
}

/// For a message.
pub fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// A set of paths that answers what lies above and below.
#[derive(Debug, Default, Clone)]
pub struct Paths(BTreeSet<Vec<u8>>);

impl Paths {
    /// Superfluous `/` do not matter.
    pub fn new<T: AsRef<[u8]>>(paths: impl IntoIterator<Item = T>) -> Self {
        let clean = |path: T| names(path.as_ref()).join(OsStr::new("/")).as_bytes().to_vec();
        Self(paths.into_iter().map(clean).collect())
    }

    pub fn add(&mut self, path: Vec<u8>) {
        self.0.insert(path);
    }

    pub fn has(&self, path: &[u8]) -> bool {
        self.0.contains(path)
    }

    /// Whether the path is one of them, or below one.
    pub fn hold(&self, path: &[u8]) -> bool {
        self.0.contains(path)
            || self.0.contains(&b""[..])
            || (0..path.len()).any(|at| path[at] == b'/' && self.0.contains(&path[..at]))
    }

    /// The first of them that lies below a path (and is not it).
    pub fn below(&self, path: &[u8]) -> Option<&[u8]> {
        self.all_below(path).next()
    }

    /// The path itself if it is one of them, or else the first below it.
    pub fn first_from(&self, path: &[u8]) -> Option<&[u8]> {
        self.0.get(path).map(Vec::as_slice).or_else(|| self.below(path))
    }

    /// The names in a folder that lead to those of them below it; maybe some more than once.
    pub fn leading_names(&self, folder: &[u8]) -> impl Iterator<Item = &[u8]> {
        let start = match folder {
            b"" => 0,
            folder => folder.len() + 1,
        };
        self.all_below(folder)
            .filter_map(move |path| path[start..].split(|byte| *byte == b'/').next())
    }

    /// Those that lie below none of the others.
    pub fn outermost(&self) -> impl Iterator<Item = &[u8]> {
        let above = |path: &[u8]| match path {
            b"" => false,
            path => self.hold(split(path).0),
        };
        self.0.iter().map(Vec::as_slice).filter(move |path| !above(path))
    }

    fn all_below(&self, folder: &[u8]) -> impl Iterator<Item = &[u8]> {
        let mut start = folder.to_vec();
        // The least path below `""` is one byte long.
        start.push(if folder.is_empty() { 0 } else { b'/' });
        let length = if folder.is_empty() { 0 } else { start.len() };
        self.0
            .range(start.clone()..)
            .map(Vec::as_slice)
            .take_while(move |path| path.starts_with(&start[..length]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_knows_what_lies_above_and_below() {
        let paths = Paths::new(["a/b/", "a//c", "x"]);
        assert!(paths.hold(b"a/b") && paths.hold(b"a/b/c") && paths.hold(b"x/y/z"));
        assert!(!paths.hold(b"a") && !paths.hold(b"a/bc") && !paths.hold(b""));
        assert_eq!(paths.below(b"a"), Some(&b"a/b"[..]));
        assert_eq!(paths.below(b""), Some(&b"a/b"[..]));
        assert_eq!(paths.below(b"a/b"), None);
        assert_eq!(paths.below(b"xx"), None);
        assert_eq!(paths.first_from(b"a/b"), Some(&b"a/b"[..]));
        assert_eq!(paths.first_from(b"a"), Some(&b"a/b"[..]));
        assert_eq!(paths.leading_names(b"").collect::<Vec<_>>(), [&b"a"[..], b"a", b"x"]);
        assert_eq!(paths.leading_names(b"a").collect::<Vec<_>>(), [&b"b"[..], b"c"]);
        let root = Paths::new([""]);
        assert!(root.hold(b"") && root.hold(b"a"));
        assert_eq!(root.below(b""), None);
    }

    #[test]
    fn only_the_outermost_folders_count() {
        let paths = Paths::new(["a", "a/b", "a-b", "c/d"]);
        assert_eq!(paths.outermost().collect::<Vec<_>>(), [&b"a"[..], b"a-b", b"c/d"]);
        assert_eq!(Paths::new(["", "a"]).outermost().collect::<Vec<_>>(), [&b""[..]]);
    }

    #[test]
    fn paths_are_split_and_joined() {
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], OsStr::new("c")));
        assert_eq!(split(b"a"), (&b""[..], OsStr::new("a")));
        assert_eq!(join(b"", b"a"), b"a");
        assert_eq!(join(b"a/b", b"c"), b"a/b/c");
        assert!(names(b"").is_empty());
    }
}
