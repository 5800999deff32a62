//! ISA-L, if the system has it: three times as fast as libdeflate for a few hundredths more in size.
//!
//! It is looked for when the program runs, so that a build needs nothing and one binary serves systems with and without
//! it. Names, layout and values are those of `igzip_lib.h`, the same from 2.20 to 2.31 (`libisal.so.2`).

#![allow(unsafe_code, reason = "a library in C, loaded by hand; see each SAFETY")]

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

use libdeflater::Decompressor;
use libloading::Library;

const NAME: &str = "libisal.so.2";
/// The next one takes half as long again for two hundredths of the size.
const LEVEL: u32 = 2;
/// What the highest level asks for (`ISAL_DEF_LVL3_DEFAULT`), in bytes; it does for all.
const LEVEL_BUFFER: usize = 348_160;
const GZIP: u16 = 1;
const COMP_OK: c_int = 0;

/// `struct isal_zstream`.
#[repr(C)]
struct Stream {
    next_in: *const u8,
    avail_in: u32,
    total_in: u32,
    next_out: *mut u8,
    avail_out: u32,
    total_out: u32,
    hufftables: *mut c_void,
    level: u32,
    level_buf_size: u32,
    level_buf: *mut u8,
    end_of_stream: u16,
    flush: u16,
    gzip_flag: u16,
    hist_bits: u16,
    /// 82,320 bytes in 2.30; the rest is room for other versions.
    internal_state: [u64; 24 << 10],
}

#[derive(Clone, Copy)]
struct Functions {
    init: unsafe extern "C" fn(*mut Stream),
    deflate: unsafe extern "C" fn(*mut Stream) -> c_int,
}

/// Compresses whole buffers into gzip members.
pub(crate) struct Igzip {
    functions: Functions,
    stream: Box<Stream>,
    level_buffer: Vec<u8>,
}

impl Igzip {
    /// None where the library is missing, or does not do what is expected of it.
    pub(crate) fn new() -> Option<Self> {
        static FUNCTIONS: OnceLock<Option<Functions>> = OnceLock::new();
        FUNCTIONS.get_or_init(|| load().filter(|functions| works(*functions))).map(Self::with)
    }

    fn with(functions: Functions) -> Self {
        let stream = Stream {
            next_in: std::ptr::null(),
            avail_in: 0,
            total_in: 0,
            next_out: std::ptr::null_mut(),
            avail_out: 0,
            total_out: 0,
            hufftables: std::ptr::null_mut(),
            level: 0,
            level_buf_size: 0,
            level_buf: std::ptr::null_mut(),
            end_of_stream: 0,
            flush: 0,
            gzip_flag: 0,
            hist_bits: 0,
            internal_state: [0; 24 << 10],
        };
        Self { functions, stream: Box::new(stream), level_buffer: vec![0; LEVEL_BUFFER] }
    }

    /// Writes `raw` as one member to `out`; returns its length, or None when `out` is too short.
    pub(crate) fn compress(&mut self, raw: &[u8], out: &mut [u8]) -> Option<usize> {
        let stream = &mut *self.stream;
        // SAFETY: the stream is larger than the library's, and the pointers are to live buffers of the lengths that
        // stand beside them; the library keeps none of them after the call.
        unsafe {
            (self.functions.init)(stream);
            stream.level = LEVEL;
            stream.level_buf = self.level_buffer.as_mut_ptr();
            stream.level_buf_size = u32::try_from(self.level_buffer.len()).ok()?;
            stream.gzip_flag = GZIP;
            stream.end_of_stream = 1;
            stream.next_in = raw.as_ptr();
            stream.avail_in = u32::try_from(raw.len()).ok()?;
            stream.next_out = out.as_mut_ptr();
            stream.avail_out = u32::try_from(out.len()).ok()?;
            if (self.functions.deflate)(stream) != COMP_OK || stream.avail_in != 0 {
                return None;
            }
        }
        Some(stream.total_out as usize)
    }
}

fn load() -> Option<Functions> {
    // SAFETY: ISA-L runs nothing when it is loaded; its functions have the types given here.
    unsafe {
        let library = Library::new(NAME).ok()?;
        let functions = Functions {
            init: *library.get(b"isal_deflate_stateless_init\0").ok()?,
            deflate: *library.get(b"isal_deflate_stateless\0").ok()?,
        };
        // It stays loaded as long as the program runs.
        std::mem::forget(library);
        Some(functions)
    }
}

/// A library that is not the one expected must not write an archive.
fn works(functions: Functions) -> bool {
    let raw: Vec<u8> =
        (0..300_000_u32).map(|n| (n / 7 * 31 % 251) as u8 ^ (n >> 12) as u8).collect();
    let mut member = vec![0; raw.len() + 1024];
    let Some(length) = Igzip::with(functions).compress(&raw, &mut member) else { return false };
    let mut back = vec![0; raw.len()];
    let inflated =
        Decompressor::new().gzip_decompress(&member[..length.min(member.len())], &mut back);
    inflated == Ok(raw.len()) && back == raw
}
