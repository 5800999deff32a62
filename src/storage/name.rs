//! Names of archives within a storage.

use super::StorageError;

/// Longest name in bytes: file systems take 255, and a staged file adds a dot, the attempt and `.part`.
const LONGEST: usize = 200;

/// What archives' names end with; encrypted ones with `.age` behind it.
const ENDINGS: [&str; 4] = [".tar.gz.age", ".tar.age", ".tar.gz", ".tar"];

/// Refuses what is no single, visible name in every storage.
pub(super) fn check(name: &str) -> Result<(), StorageError> {
    let fault = if name.is_empty() {
        "it is empty"
    } else if name.starts_with('.') {
        "it begins with a dot"
    } else if name.contains(['/', '\\']) {
        "it holds a path separator"
    } else if name.chars().any(char::is_control) {
        "it holds a control character"
    } else if name.len() > LONGEST {
        "it is longer than 200 bytes"
    } else {
        return Ok(());
    };
    Err(StorageError::Invalid(format!("{name:?} cannot name an archive: {fault}")))
}

/// The `n`th choice for a name: `x.tar.gz`, `x_2.tar.gz`, `x_3.tar.gz` …
pub(super) fn numbered(name: &str, n: u32) -> String {
    if n < 2 {
        return name.to_owned();
    }
    let stem = ENDINGS.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    format!("{stem}_{n}{}", &name[stem.len()..])
}

/// Whether a name is an archive's, for listings.
pub fn is_archive(name: &str) -> bool {
    !name.starts_with('.') && ENDINGS.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_before_the_ending() {
        assert_eq!(numbered("a_b.tar.gz", 1), "a_b.tar.gz");
        assert_eq!(numbered("a_b.tar.gz", 2), "a_b_2.tar.gz");
        assert_eq!(numbered("a.tar", 3), "a_3.tar");
        assert_eq!(numbered("a.tar.gz.age", 2), "a_2.tar.gz.age");
        assert_eq!(numbered("plain", 2), "plain_2");
    }

    #[test]
    fn names_are_single_and_visible() {
        for good in ["a.tar.gz", "ö ü #?%&+.tar.gz", "a..b", "C:x"] {
            check(good).unwrap();
        }
        for bad in ["", ".", "..", ".x", "a/b", "a\\b", "a\0b", "a\nb", &"x".repeat(201)] {
            assert!(matches!(check(bad), Err(StorageError::Invalid(_))), "{bad:?}");
        }
    }
}
