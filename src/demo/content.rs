//! What is in a file of each kind: enough of the format that tools recognise it, and bytes that
//! compress, or do not, as the real ones do. Each function takes the length to aim at.

use libdeflater::{CompressionLvl, Compressor};

use super::random::Random;
use super::words::{self, Prose};

pub(super) fn docx(random: &mut Random, length: usize) -> Vec<u8> {
    office(random, length, "word/document.xml", "word/media/image")
}

pub(super) fn xlsx(random: &mut Random, length: usize) -> Vec<u8> {
    office(random, length, "xl/worksheets/sheet1.xml", "xl/media/image")
}

pub(super) fn pptx(random: &mut Random, length: usize) -> Vec<u8> {
    office(random, length, "ppt/slides/slide1.xml", "ppt/media/image")
}

/// A zip of deflated XML, and pictures that are stored.
fn office(random: &mut Random, length: usize, main: &str, picture: &str) -> Vec<u8> {
    let mut zip = Zip::default();
    zip.add("[Content_Types].xml", br#"<?xml version="1.0"?><Types/>"#, true);
    let xml = markup(random, length.min(400_000), "<w:p><w:r><w:t>", "</w:t></w:r></w:p>\n");
    zip.add(main, xml.as_bytes(), true);
    let mut number = 1;
    while zip.length() < length {
        let size = (length - zip.length()).min(random.between(40_000, 900_000));
        zip.add(&format!("{picture}{number}.jpeg"), &jpeg(random, size), false);
        number += 1;
    }
    zip.finish()
}

pub(super) fn pdf(random: &mut Random, length: usize) -> Vec<u8> {
    let mut pdf = b"%PDF-1.7\n%\xE2\xE3\xCF\xD3\n".to_vec();
    let mut number = 1;
    while pdf.len() < length {
        let text = Prose::text(random, 20_000);
        for (filter, data) in [
            ("FlateDecode", zlib(text.as_bytes())),
            ("DCTDecode", jpeg(random, (length - pdf.len()).min(60_000))),
        ] {
            let head =
                format!("{number} 0 obj\n<</Length {}/Filter/{filter}>>\nstream\n", data.len());
            pdf.extend_from_slice(head.as_bytes());
            pdf.extend_from_slice(&data);
            pdf.extend_from_slice(b"\nendstream\nendobj\n");
            number += 1;
        }
    }
    pdf.extend_from_slice(b"%%EOF\n");
    pdf
}

pub(super) fn jpeg(random: &mut Random, length: usize) -> Vec<u8> {
    let mut jpeg = b"\xFF\xD8\xFF\xE0\0\x10JFIF\0\x01\x01\0\0\x48\0\x48\0\0".to_vec();
    jpeg.extend(random.noise(length.saturating_sub(jpeg.len() + 2)));
    jpeg.extend_from_slice(b"\xFF\xD9");
    jpeg
}

/// Grey noise, 256 pixels wide.
pub(super) fn png(random: &mut Random, length: usize) -> Vec<u8> {
    let height = (length / 257).max(1);
    let mut pixels = random.noise(height * 257);
    pixels.chunks_exact_mut(257).for_each(|row| row[0] = 0); // the row's filter: none
    let mut png = b"\x89PNG\r\n\x1A\n".to_vec();
    let mut chunk = |name: &[u8], data: &[u8]| {
        let body = [name, data].concat();
        png.extend_from_slice(&(data.len() as u32).to_be_bytes());
        png.extend_from_slice(&body);
        png.extend_from_slice(&libdeflater::crc32(&body).to_be_bytes());
    };
    let mut header = [0, 0, 1, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&(height as u32).to_be_bytes());
    chunk(b"IHDR", &header);
    chunk(b"IDAT", &zlib(&pixels));
    chunk(b"IEND", b"");
    png
}

pub(super) fn mp4(random: &mut Random, length: usize) -> Vec<u8> {
    let data = random.noise(length.saturating_sub(32));
    let mut mp4 = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom".to_vec();
    mp4.extend_from_slice(&(data.len() as u32 + 8).to_be_bytes());
    mp4.extend_from_slice(b"mdat");
    mp4.extend(data);
    mp4
}

pub(super) fn txt(random: &mut Random, length: usize) -> Vec<u8> {
    Prose::text(random, length).into_bytes()
}

pub(super) fn html(random: &mut Random, length: usize) -> Vec<u8> {
    let mut page = "<!doctype html><meta charset=\"utf-8\">\n<body>\n".to_owned();
    page.push_str(&markup(random, length, "<p class=\"text\">", "</p>\n"));
    page.into_bytes()
}

pub(super) fn csv(random: &mut Random, length: usize) -> Vec<u8> {
    let mut csv = "id;name;city;amount;date\n".to_owned();
    while csv.len() < length {
        csv.push_str(&format!(
            "{};{};{};{:.2};2025-{:02}-{:02}\n",
            random.below(1_000_000),
            words::person(random),
            random.pick(&["Berlin", "Lyon", "Łódź", "Москва", "東京", "São Paulo"]),
            random.below(100_000_000) as f64 / 100.0,
            random.between(1, 12),
            random.between(1, 28),
        ));
    }
    csv.into_bytes()
}

pub(super) fn json(random: &mut Random, length: usize) -> Vec<u8> {
    let mut json = "[\n".to_owned();
    while json.len() < length {
        json.push_str(&format!(
            "  {{\"id\": {}, \"owner\": \"{}\", \"title\": \"{}\", \"size\": {}, \"etag\": \"{:016x}\"}},\n",
            random.below(1_000_000),
            words::person(random),
            random.pick(words::TITLES),
            random.below(50_000_000),
            random.next(),
        ));
    }
    json.push_str("  {}\n]\n");
    json.into_bytes()
}

/// A mail: prose, and now and then an attachment in lines of hexadecimal digits.
pub(super) fn eml(random: &mut Random, length: usize) -> Vec<u8> {
    let mut mail = format!(
        "From: {} <a@example.org>\r\nSubject: {}\r\nMIME-Version: 1.0\r\n\r\n",
        words::person(random),
        random.pick(words::TITLES)
    );
    let prose = if random.chance(30) { length / 4 } else { length };
    Prose::any(random).fill(random, &mut mail, prose);
    while mail.len() < length {
        for byte in random.noise(38) {
            mail.push_str(&format!("{byte:02x}"));
        }
        mail.push_str("\r\n");
    }
    mail.into_bytes()
}

fn markup(random: &mut Random, length: usize, open: &str, close: &str) -> String {
    let prose = Prose::any(random);
    let mut text = String::with_capacity(length + 1_000);
    while text.len() < length {
        text.push_str(open);
        let end = text.len() + random.between(60, 600);
        prose.fill(random, &mut text, end);
        text.push_str(close);
    }
    text
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::new(CompressionLvl::default());
    let mut out = vec![0; compressor.zlib_compress_bound(data.len())];
    // The bound is enough by definition, so this cannot fail.
    let length = compressor.zlib_compress(data, &mut out).unwrap_or(0);
    out.truncate(length);
    out
}

/// A zip archive (PKWARE's APPNOTE, sections 4.3.7, 4.3.12 and 4.3.16), without 64-bit sizes.
#[derive(Default)]
struct Zip {
    body: Vec<u8>,
    directory: Vec<u8>,
    entries: u16,
}

impl Zip {
    fn add(&mut self, name: &str, data: &[u8], deflate: bool) {
        let mut deflated = Vec::new();
        if deflate {
            let mut compressor = Compressor::new(CompressionLvl::default());
            deflated.resize(compressor.deflate_compress_bound(data.len()), 0);
            let length = compressor.deflate_compress(data, &mut deflated).unwrap_or(0);
            deflated.truncate(length);
        }
        let (method, stored) = if deflate { (8u16, &deflated[..]) } else { (0, data) };
        let offset = self.body.len() as u32;
        // From "version needed" to "extra length", which both headers have alike.
        let mut common = Vec::with_capacity(26);
        for number in [20u16, 0x0800, method, 0, 0x5821] {
            common.extend_from_slice(&number.to_le_bytes());
        }
        for number in [libdeflater::crc32(data), stored.len() as u32, data.len() as u32] {
            common.extend_from_slice(&number.to_le_bytes());
        }
        for number in [name.len() as u16, 0] {
            common.extend_from_slice(&number.to_le_bytes());
        }
        for part in [b"PK\x03\x04".as_slice(), &common, name.as_bytes(), stored] {
            self.body.extend_from_slice(part);
        }
        let place = [&[0; 10][..], &offset.to_le_bytes()].concat();
        for part in [b"PK\x01\x02\x14\0".as_slice(), &common, &place, name.as_bytes()] {
            self.directory.extend_from_slice(part);
        }
        self.entries += 1;
    }

    fn length(&self) -> usize {
        self.body.len() + self.directory.len()
    }

    fn finish(mut self) -> Vec<u8> {
        let (offset, length) = (self.body.len() as u32, self.directory.len() as u32);
        self.body.append(&mut self.directory);
        self.body.extend_from_slice(b"PK\x05\x06\0\0\0\0");
        for number in [self.entries, self.entries] {
            self.body.extend_from_slice(&number.to_le_bytes());
        }
        for number in [length, offset] {
            self.body.extend_from_slice(&number.to_le_bytes());
        }
        self.body.extend_from_slice(&[0, 0]);
        self.body
    }
}
