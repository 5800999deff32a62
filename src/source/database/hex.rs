//! Bytes as hexadecimal digits, fast: blobs are a large part of many databases.

const fn pairs() -> [[u8; 2]; 256] {
    let digits = b"0123456789ABCDEF";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    table
}

static PAIRS: [[u8; 2]; 256] = pairs();

pub(super) fn append(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len() * 2, 0);
    for (digits, byte) in out[start..].chunks_exact_mut(2).zip(bytes) {
        digits.copy_from_slice(&PAIRS[usize::from(*byte)]);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_byte_has_its_digits() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut out = b"0x".to_vec();
        super::append(&mut out, &bytes);
        let expected: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(String::from_utf8(out).unwrap(), format!("0x{expected}"));
    }
}
