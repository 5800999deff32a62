//! Keys of objects that no path can hold: with control characters, with empty parts, and some more. Under [`FOLDER`]
//! each has a name that a path, an archive and a folder can hold, and that stands for this key alone:
//! `a//b` is `.portal-backup-keys/a/%/b`.

use object_store::path::Path;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// Where such keys appear. A key that has a part of this name is one of them.
pub const FOLDER: &str = ".portal-backup-keys";
/// An empty part. A `%` of a key is never alone.
const EMPTY: &str = "%";
const IN_PART: &AsciiSet = &CONTROLS.add(b'%').add(b'\\');

/// How a path says a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// As it is. A `/` at the end marks a folder, as consoles make them.
    Plainly,
    As(String),
    /// No request can ask for it: whoever sends an address resolves `.` and `..` in it.
    Never,
}

/// How a path says a key below a root.
pub fn said(key: &str) -> Said {
    let plain = key.strip_suffix('/').unwrap_or(key);
    let is_path = Path::parse(plain).is_ok_and(|path| path.as_ref() == plain);
    let is_member = archive::clean_path(plain).is_ok_and(|clean| clean == plain);
    if is_path && is_member && !key.split('/').any(|part| part == FOLDER) {
        return Said::Plainly;
    }
    if key.is_empty() || key.contains('\0') || !key.split('/').all(is_sendable) {
        return Said::Never;
    }
    Said::As(path_of(key))
}

fn path_of(key: &str) -> String {
    let mut path = FOLDER.to_owned();
    for part in key.split('/') {
        path.push('/');
        match part {
            "" => path.push_str(EMPTY),
            part => path.extend(utf8_percent_encode(part, IN_PART)),
        }
    }
    path
}

/// The key that a path below a root stands for, where that is another; an error for one that stands for none.
pub fn key_of(path: &str) -> Option<Result<String, &'static str>> {
    let rest = path.strip_prefix(FOLDER)?;
    let parts = match rest.strip_prefix('/') {
        None if rest.is_empty() => return Some(Err("it is no name of a key")),
        // Another name that begins alike.
        None => return None,
        Some(parts) => parts,
    };
    let part = |part: &str| match part {
        EMPTY => Some(String::new()),
        part => Some(percent_decode_str(part).decode_utf8().ok()?.into_owned()),
    };
    let key = parts.split('/').map(part).collect::<Option<Vec<_>>>().map(|parts| parts.join("/"));
    // Only the one spelling: no two paths stand for one key.
    let key = key.filter(|key| match said(key) {
        Said::As(own) => own == path,
        // A folder's mark that has content.
        Said::Plainly => key.ends_with('/') && path_of(key) == path,
        Said::Never => false,
    });
    Some(key.ok_or("it is no name of a key"))
}

fn is_sendable(part: &str) -> bool {
    !matches!(part, "." | "..")
}

/// The names of a bucket's keys, whole: with the root that they lie below.
#[derive(Debug, Clone)]
pub struct Names {
    /// Empty, or ending in `/`.
    root: String,
    /// A folder of our own there, whose keys are always as they are.
    own: &'static str,
}

impl Names {
    /// `own`: a folder below the root whose keys are all ours.
    pub fn new(root: &Path, own: &'static str) -> Self {
        let root = match root.as_ref() {
            "" => String::new(),
            root => format!("{root}/"),
        };
        Self { root, own }
    }

    pub fn said(&self, key: &str) -> Said {
        let Some(below) = key.strip_prefix(&self.root) else {
            return Some(said(key)).filter(|said| *said == Said::Plainly).unwrap_or(Said::Never);
        };
        let is_own = below.split('/').next() == Some(self.own);
        match said(below) {
            Said::As(_)
                if is_own && Path::parse(below).is_ok_and(|path| path.as_ref() == below) =>
            {
                Said::Plainly
            }
            Said::As(path) => Said::As(format!("{}{path}", self.root)),
            other => other,
        }
    }

    /// Under a name of its own, whatever a path would make of the key.
    pub fn odd(&self, key: &str) -> Said {
        match key.strip_prefix(&self.root) {
            Some(below) if below.split('/').all(is_sendable) => {
                Said::As(format!("{}{}", self.root, path_of(below)))
            }
            _ => Said::Never,
        }
    }

    /// What an address that names a path is to ask for instead; None: just that. `address`: a URL, its path, or a
    /// bucket and a key, percent-encoded.
    pub fn renamed(&self, address: &str) -> Option<Result<String, &'static str>> {
        let (address, query) = match address.split_once('?') {
            Some((address, query)) => (address, Some(query)),
            None => (address, None),
        };
        let at = address.find("://").map_or(0, |at| at + 3);
        let at = at + address[at..].find('/').filter(|_| at > 0).unwrap_or(0);
        let (server, path) = address.split_at(at);
        let path = percent_decode_str(path).decode_utf8().ok()?;
        let start = format!("/{}{FOLDER}/", self.root);
        let at = path.find(&start)?;
        let before = &path[..at];
        if before.split('/').any(|part| part == self.own) {
            return None;
        }
        let key = match key_of(&path[at + 1 + self.root.len()..])? {
            Ok(key) => key,
            Err(why) => return Some(Err(why)),
        };
        let whole = format!("{before}/{}{key}", self.root);
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        Some(Ok(format!("{server}{}{query}", super::in_address(&whole))))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_that_no_path_holds_have_names() {
        for (key, path) in [
            ("a//b", "a/%/b"),
            ("/a", "%/a"),
            ("a\n\u{1}/%", "a%0A%01/%25"),
            ("mark//", "mark/%/%"),
            ("/", "%/%"),
            ("x\\..\\y", "x%5C..%5Cy"),
            ("c:/x", "c:/x"),
            ("x/.portal-backup-keys", "x/.portal-backup-keys"),
        ] {
            let path = format!("{FOLDER}/{path}");
            assert_eq!(said(key), Said::As(path.clone()), "{key:?}");
            assert_eq!(key_of(&path), Some(Ok(key.to_owned())));
        }
        for key in ["a/b", "ü %20\\ x", "folder/", "a..b", "\u{85}"] {
            assert_eq!(said(key), Said::Plainly, "{key:?}");
        }
        for key in ["../x", "x/./y", "a\n/..", "", "a\0"] {
            assert_eq!(said(key), Said::Never, "{key:?}");
        }
        assert_eq!(key_of(&format!("{FOLDER}/mark/%")), Some(Ok("mark/".to_owned())));
        assert_eq!(key_of("a/b"), None);
        assert_eq!(key_of(".portal-backup-keysx/b"), None);
        for path in ["%2E%2E/x", "../x", "%2e/x", "a%00", "a%zz", "%61", "a%FF", "%2F", "a/b", "%"]
        {
            let path = format!("{FOLDER}/{path}");
            assert!(matches!(key_of(&path), Some(Err(_))), "{path}");
        }
        assert!(matches!(key_of(FOLDER), Some(Err(_))));
    }

    #[test]
    fn addresses_are_renamed_below_the_root_alone() {
        let names = |root: &str| Names::new(&Path::parse(root).unwrap(), ".own");
        let to = |root: &str, address: &str| names(root).renamed(address).map(Result::unwrap);
        let odd = |path: &str| format!("{FOLDER}/{path}");
        for (root, address, expected) in [
            ("", format!("http://h:1/b/{}?x=/y", odd("a/%25/b")), Some("http://h:1/b/a//b?x=/y")),
            (
                "p/q",
                format!("https://h/b/p/q/{}", odd("%2525%250A")),
                Some("https://h/b/p/q/%25%0A"),
            ),
            ("p", format!("b/p/{}", odd("a%250A")), Some("b/p/a%0A")),
            ("p", format!("b%2Fp%2F{}", odd("a/%25").replace('/', "%2F")), Some("b/p/a/")),
            ("", format!("/b/.own/1/new/{}", odd("a%250A")), None),
            ("new", format!("/b/new/.own/1/new/{}", odd("a%250A")), None),
            ("p", format!("/b/{}", odd("a%250A")), None),
            ("", "/b/plain%20x".to_owned(), None),
        ] {
            assert_eq!(to(root, &address).as_deref(), expected, "{root} {address}");
        }
        assert!(names("").renamed(&format!("/b/{}", odd("%252E%252E/x"))).unwrap().is_err());
        assert_eq!(names("p").said("p//x"), Said::As(format!("p/{FOLDER}/%/x")));
        assert_eq!(names("p").said(&format!("p/.own/1/new/{FOLDER}/x")), Said::Plainly);
        assert_eq!(names("p").said("p/a"), Said::Plainly);
    }

    proptest! {
        #[test]
        fn every_key_is_found_again(key in "[a-c/%.\\\\\n:é]{1,12}") {
            match said(&key) {
                Said::As(path) => {
                    prop_assert!(Path::parse(&path).is_ok_and(|parsed| parsed.as_ref() == path));
                    prop_assert_eq!(archive::clean_path(&path).ok(), Some(path.clone()));
                    prop_assert_eq!(key_of(&path), Some(Ok(key)));
                }
                Said::Plainly => prop_assert_eq!(key_of(&key), None),
                Said::Never => {}
            }
        }
    }
}
