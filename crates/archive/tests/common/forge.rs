//! A second writer of the format, after docs/ARCHIVE-FORMAT.md alone, which also writes what the real one never would.

use std::io::Write;

use bytes::Bytes;
use serde_json::{Value, json};

use super::sha256;

pub fn hex(digest: [u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One gzip member with the header that frames have.
pub fn member(content: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::GzBuilder::new()
        .operating_system(255)
        .write(Vec::new(), flate2::Compression::new(6));
    gzip.write_all(content).unwrap();
    let mut bytes = gzip.finish().unwrap();
    bytes[8] = 0;
    bytes
}

/// A header block.
pub fn header(name: &[u8], kind: u8, size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    header.as_bytes().to_vec()
}

pub fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// A header with its content.
pub fn file(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    [header(name.as_bytes(), kind, content.len() as u64), padded(content.to_vec())].concat()
}

/// An archive whose every part can be changed before it is put together.
#[derive(Default)]
pub struct Forge {
    /// Each one is a frame.
    pub frames: Vec<Vec<u8>>,
    pub entries: Vec<Value>,
    /// Changes to the manifest's list of frames.
    pub frame_change: Option<fn(usize, &mut Value)>,
    /// Changes to the manifest's text.
    pub text_change: Option<fn(String) -> String>,
    pub info: Value,
    tar: u64,
}

impl Forge {
    pub fn new() -> Self {
        Self { info: json!({"format": 1, "portal": "forged"}), ..Self::default() }
    }

    /// Adds an entry in a frame of its own.
    pub fn add(&mut self, path: &str, content: &[u8]) -> &mut Self {
        self.add_as(path, path, b'0', content)
    }

    /// Adds an entry whose header says another name or kind than the manifest.
    pub fn add_as(&mut self, listed: &str, name: &str, kind: u8, content: &[u8]) -> &mut Self {
        let tar = file(name, kind, content);
        self.entries.push(json!({
            "path": listed, "kind": "file", "size": content.len(), "mtime": 0, "headerOffset": self.tar,
            "tarOffset": self.tar + 512, "sha256": hex(sha256(content)),
        }));
        self.tar += tar.len() as u64;
        self.frames.push(tar);
        self
    }

    pub fn build(&self) -> Bytes {
        let mut out = Vec::new();
        let (mut list, mut tar) = (Vec::new(), 0);
        for (index, frame) in self.frames.iter().enumerate() {
            let bytes = member(frame);
            let mut record = json!({
                "offset": out.len(), "length": bytes.len(), "tarOffset": tar, "tarLength": frame.len(),
                "sha256": hex(sha256(&bytes)),
            });
            if let Some(change) = self.frame_change {
                change(index, &mut record);
            }
            list.push(record.to_string());
            tar += frame.len() as u64;
            out.extend_from_slice(&bytes);
        }
        let info = self.info.to_string();
        let entries: Vec<String> = self.entries.iter().map(Value::to_string).collect();
        let mut text = format!(
            "{},\"frames\":[\n{}\n],\"entries\":[\n{}\n]}}\n",
            info.strip_suffix('}').unwrap(),
            list.join(",\n"),
            entries.join(",\n")
        );
        if let Some(change) = self.text_change {
            text = change(text);
        }
        let manifest = [file("manifest.json", b'0', text.as_bytes()), vec![0; 1024]].concat();
        let bytes = member(&manifest);
        let tail = tail(
            out.len() as u64,
            bytes.len() as u64,
            tar,
            tar + manifest.len() as u64,
            sha256(&bytes),
        );
        out.extend_from_slice(&bytes);
        out.extend_from_slice(&tail);
        out.into()
    }
}

pub fn tail(
    offset: u64,
    length: u64,
    tar_offset: u64,
    tar_bytes: u64,
    digest: [u8; 32],
) -> Vec<u8> {
    let mut tail = vec![0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 88, 0, b'P', b'B', 84, 0];
    tail.extend_from_slice(b"PBACKUP\x1a");
    tail.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]);
    for number in [offset, length, tar_offset, tar_bytes] {
        tail.extend_from_slice(&number.to_le_bytes());
    }
    tail.extend_from_slice(&digest);
    let mut crc = flate2::Crc::new();
    crc.update(&tail);
    tail.extend_from_slice(&crc.sum().to_le_bytes());
    tail.extend_from_slice(&[3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    tail
}
