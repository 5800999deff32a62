//! `storage/restore_info` and `storage/missing_info`: the lists of files that DocSpace's restore reads,
//! in the form its `XElement` prints (`facts.md` §6). Written piece by piece: they grow with the portal.

use quick_xml::Reader;
use quick_xml::events::Event;

use super::StoredFile;

/// More of one `<file>` than this is no list of files.
const LONGEST_FILE: usize = 256 << 10;

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

/// Reads a list piece by piece, in any spelling of the same XML.
#[derive(Debug, Default)]
pub struct FileList {
    pending: Vec<u8>,
}

impl FileList {
    /// The files that ended in this piece. Errors when it is not such a list.
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<StoredFile>, String> {
        const END: &[u8] = b"</file>";
        self.pending.extend_from_slice(piece);
        let last = self.pending.windows(END.len()).rposition(|window| window == END);
        let Some(last) = last else {
            return match self.pending.len() > LONGEST_FILE {
                true => Err("storage/restore_info is no list of files".to_owned()),
                false => Ok(Vec::new()),
            };
        };
        let rest = self.pending.split_off(last + END.len());
        let whole = std::mem::replace(&mut self.pending, rest);
        files(&whole).map_err(|error| format!("storage/restore_info cannot be read: {error}"))
    }
}

fn files(xml: &[u8]) -> Result<Vec<StoredFile>, String> {
    let text = std::str::from_utf8(xml).map_err(|error| error.to_string())?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    // The list's own element ends in another piece.
    reader.config_mut().check_end_names = false;
    let (mut files, mut fields, mut field) = (Vec::new(), Fields::default(), String::new());
    loop {
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(start) => {
                field = String::from_utf8_lossy(start.local_name().as_ref()).into_owned();
                if field == "file" {
                    fields = Fields::default();
                }
            }
            Event::Text(text) => {
                let text = text.decode().map_err(|error| error.to_string())?;
                fields.add(&field, &text);
            }
            Event::CData(text) => fields.add(&field, &String::from_utf8_lossy(&text)),
            Event::GeneralRef(reference) => {
                let character = match reference.resolve_char_ref().map_err(|e| e.to_string())? {
                    Some(character) => character,
                    None => match &reference[..] {
                        b"amp" => '&',
                        b"lt" => '<',
                        b"gt" => '>',
                        b"quot" => '"',
                        b"apos" => '\'',
                        other => return Err(format!("&{};", String::from_utf8_lossy(other))),
                    },
                };
                fields.add(&field, character.encode_utf8(&mut [0; 4]));
            }
            Event::End(end) => {
                if end.local_name().as_ref() == b"file" {
                    files.push(std::mem::take(&mut fields).file()?);
                }
                field.clear();
            }
            Event::Eof => return Ok(files),
            _ => {}
        }
    }
}

#[derive(Default)]
struct Fields {
    domain: String,
    module: String,
    path: String,
    tenant: String,
}

impl Fields {
    fn add(&mut self, field: &str, text: &str) {
        match field {
            "domain" => self.domain.push_str(text),
            "module" => self.module.push_str(text),
            "path" => self.path.push_str(text),
            "tenant" => self.tenant.push_str(text),
            _ => {}
        }
    }

    fn file(self) -> Result<StoredFile, String> {
        let tenant = self.tenant.trim();
        let tenant = tenant.parse().map_err(|_| format!("{tenant:?} is no tenant"))?;
        Ok(StoredFile { module: self.module, domain: self.domain, path: self.path, tenant })
    }
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
