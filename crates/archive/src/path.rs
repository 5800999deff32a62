//! The names that entries may have.

use crate::{Error, Result};

/// Longer names are refused: no file system or object store has them.
const MAX_PATH: usize = 32 << 10;

/// The one spelling of an entry's name: relative, parts joined by single `/`, no `.` parts, no trailing `/`.
/// One leading `/` is dropped. Errors with [`Error::BadPath`] for what could lead out of a folder or name nothing:
/// `..` parts (also between backslashes), more than one leading `/`, a drive letter, NUL, an empty name, and names over
/// 32 KiB.
pub fn clean_path(path: &str) -> Result<String> {
    let refuse = |why| {
        let shown: String = path.chars().take(200).collect();
        Err(Error::BadPath { path: shown, why })
    };
    if path.len() > MAX_PATH {
        return refuse("it is too long");
    }
    if path.contains('\0') {
        return refuse("it contains NUL");
    }
    let relative = path.strip_prefix('/').unwrap_or(path);
    if relative.starts_with('/') {
        return refuse("it is absolute");
    }
    // Readers of DocSpace split at both separators, so a `..` between backslashes would climb there.
    if relative.split(['/', '\\']).any(|part| part == "..") {
        return refuse("it contains \"..\"");
    }
    let mut clean = String::with_capacity(relative.len());
    for part in relative.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if !clean.is_empty() {
            clean.push('/');
        }
        clean.push_str(part);
    }
    if clean.is_empty() {
        return refuse("it is empty");
    }
    let first = clean.split(['/', '\\']).next().unwrap_or_default().as_bytes();
    if matches!(first, [letter, b':'] if letter.is_ascii_alphabetic()) {
        return refuse("it has a drive letter");
    }
    Ok(clean)
}

/// Whether `path` is `folder` or lies below it; both as [`clean_path`] spells them.
pub fn is_at_or_in(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// As [`clean_path`], for names that others wrote: `\` separates as `/` does.
pub(crate) fn foreign_path(path: &str) -> Result<String> {
    clean_path(&path.replace('\\', "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_relative() {
        for (given, clean) in [
            ("a", "a"),
            ("/databases/scheme/t", "databases/scheme/t"),
            ("a//b/./c/", "a/b/c"),
            ("./a", "a"),
            ("a\\b", "a\\b"),
            ("..a/b..", "..a/b.."),
            ("Ünï/码", "Ünï/码"),
            ("ab:/c", "ab:/c"),
        ] {
            assert_eq!(clean_path(given).unwrap(), clean);
        }
        assert_eq!(foreign_path("/storage\\files\\a.docx").unwrap(), "storage/files/a.docx");
    }

    #[test]
    fn what_leads_out_is_refused() {
        let long = "a/".repeat(20_000);
        for given in [
            "", "/", ".", "./", "..", "../a", "a/../b", "a/..", "//a", "///a", "a\0b", "a\\..\\b",
            "C:/a", "c:", &long,
        ] {
            assert!(matches!(clean_path(given), Err(Error::BadPath { .. })), "{given:?}");
        }
        assert!(foreign_path("\\\\server\\share").is_err());
        assert!(foreign_path("C:\\a").is_err());
    }
}
