//! Names as text. A name of this machine is any bytes; those that are no UTF-8 stand as characters that are
//! for private use, one a byte, so that the archive and everything else can handle the name as text.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// Stands for the byte 0; only bytes from 0x80 on ever need one.
const FIRST: u32 = 0x10_FE00;

/// The text of a name, or of a path. Every name has a text of its own.
pub fn of_bytes(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            match byte(character) {
                None => text.push(character),
                // So that it is not taken for a byte on the way back.
                Some(_) => {
                    text.extend(character.encode_utf8(&mut [0; 4]).bytes().filter_map(stand_in))
                }
            }
        }
        text.extend(chunk.invalid().iter().copied().filter_map(stand_in));
    }
    text
}

/// The name that a text stands for.
pub fn to_name(text: &str) -> OsString {
    // Most names; there are millions of them.
    if text.is_ascii() {
        return OsString::from(text);
    }
    let mut name = Vec::with_capacity(text.len());
    for character in text.chars() {
        match byte(character) {
            Some(byte) => name.push(byte),
            None => name.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    OsString::from_vec(name)
}

/// The bytes that a path's text stands for.
pub fn to_bytes(path: &str) -> Vec<u8> {
    to_name(path).into_vec()
}

fn stand_in(byte: u8) -> Option<char> {
    char::from_u32(FIRST + u32::from(byte))
}

fn byte(character: char) -> Option<u8> {
    let byte = u8::try_from(u32::from(character).checked_sub(FIRST)?).ok()?;
    (byte >= 0x80).then_some(byte)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn every_name_has_a_text_of_its_own_and_comes_back() {
        let stand_in = "\u{10fee9}";
        let names: [&[u8]; 7] = [
            b"plain",
            "é 😀".as_bytes(),
            b"\xe9",
            b"\xff\xfe name",
            b"cut \xf0\x9f",
            stand_in.as_bytes(),
            b"\xc3/\xa9",
        ];
        let texts = names.map(of_bytes);
        for (name, text) in names.iter().zip(&texts) {
            assert_eq!(to_name(text).as_bytes(), *name, "{text:?}");
        }
        assert_eq!(texts[1], "é 😀");
        assert_eq!(texts[2], stand_in);
        assert_ne!(texts[5], stand_in);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_come_back(name: Vec<u8>) {
            proptest::prop_assert_eq!(to_bytes(&of_bytes(&name)), name);
        }
    }
}
