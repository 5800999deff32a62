//! `storage/restore_info` and `storage/missing_info`: the lists of files that DocSpace's restore reads,
//! in the form its `XElement` prints (`facts.md` §6). Written piece by piece: they grow with the portal.

use super::StoredFile;

/// How a list begins. `missing`: of the files that are not in the archive.
pub fn open(missing: bool) -> &'static str {
    if missing { "<storage_missing>" } else { "<storage_restore>" }
}

pub fn close(missing: bool) -> &'static str {
    if missing { "</storage_missing>" } else { "</storage_restore>" }
}

/// One file; in `missing_info` with the reason.
pub fn file(stored: &StoredFile, error: Option<&str>) -> String {
    let mut xml = String::from("<file>\n");
    let tenant = stored.tenant.to_string();
    let parts = [
        ("domain", Some(stored.domain.as_str())),
        ("module", Some(stored.module.as_str())),
        ("path", Some(stored.path.as_str())),
        ("tenant", Some(tenant.as_str())),
        ("error", error),
    ];
    for (name, text) in parts {
        let Some(text) = text else { continue };
        xml.push_str("  <");
        xml.push_str(name);
        xml.push('>');
        escape(text, &mut xml);
        xml.push_str("</");
        xml.push_str(name);
        xml.push_str(">\n");
    }
    xml.push_str("</file>");
    xml
}

/// Whether XML 1.0 can hold the text. A list with a character it cannot hold would be unreadable as a
/// whole, so [`file`] writes U+FFFD in its place, and such files are kept where DocSpace does not look.
pub fn can_hold(text: &str) -> bool {
    text.chars().all(is_xml)
}

fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

fn escape(text: &str, xml: &mut String) {
    for c in text.chars() {
        match c {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            // A reader would turn it into a line feed.
            '\r' => xml.push_str("&#xD;"),
            c if is_xml(c) => xml.push(c),
            _ => xml.push('\u{fffd}'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(path: &str) -> StoredFile {
        StoredFile {
            module: "files".to_owned(),
            domain: String::new(),
            path: path.to_owned(),
            tenant: 1,
        }
    }

    #[test]
    fn a_file_looks_as_docspace_prints_it() {
        assert_eq!(
            file(&stored("folder_1000/file_5/v1/content.docx"), None),
            "<file>\n  <domain></domain>\n  <module>files</module>\n  \
             <path>folder_1000/file_5/v1/content.docx</path>\n  <tenant>1</tenant>\n</file>"
        );
    }

    #[test]
    fn whatever_a_name_holds_the_list_stays_xml() {
        let xml = file(&stored("a<&>\"'\u{1}\r\n\u{fffe}é😀"), Some("gone & lost"));
        assert!(xml.contains("<path>a&lt;&amp;&gt;\"'\u{fffd}&#xD;\n\u{fffd}é😀</path>"), "{xml}");
        assert!(xml.ends_with("  <error>gone &amp; lost</error>\n</file>"), "{xml}");
        assert!(can_hold("a\tb\n") && !can_hold("\u{1}") && !can_hold("\u{ffff}"));
    }
}
