//! Unpacking one frame. `libdeflater` does not say how much of its input was used, and bytes hidden behind a frame's
//! end must be found, so this calls the C function that does.

#![allow(unsafe_code)]

use std::ptr::NonNull;

use libdeflate_sys::{
    libdeflate_alloc_decompressor, libdeflate_decompressor, libdeflate_free_decompressor,
    libdeflate_gzip_decompress_ex, libdeflate_result_LIBDEFLATE_SUCCESS,
};

use crate::frame::HEADER;
use crate::{Error, MAX_FRAME, Result};

pub(crate) struct Inflater(NonNull<libdeflate_decompressor>);

// SAFETY: a decompressor is plain memory without ties to a thread, and every use of it needs `&mut`.
unsafe impl Send for Inflater {}

impl Inflater {
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: takes nothing; null, when memory is short, is checked.
        let pointer = unsafe { libdeflate_alloc_decompressor() };
        NonNull::new(pointer).map(Self).ok_or(Error::TooLarge("a decompressor"))
    }

    /// The `tar_length` bytes in a frame. Errors with [`Error::Damaged`] when `compressed` is not exactly one gzip
    /// member of ours with exactly that content.
    pub(crate) fn frame(&mut self, compressed: &[u8], tar_length: usize) -> Result<Vec<u8>> {
        let damaged = |text: &str| Err(Error::damaged(text));
        if tar_length > MAX_FRAME {
            return damaged("a frame claims more than 4 MiB");
        }
        if !compressed.starts_with(&HEADER) {
            return damaged("a frame does not begin as one");
        }
        let mut out = vec![0; tar_length];
        let (mut used, mut made) = (0, 0);
        // SAFETY: both buffers are valid for the lengths given and are not kept; the pointers for the results outlive
        // the call; `self.0` came from libdeflate and is used by this call alone.
        let result = unsafe {
            libdeflate_gzip_decompress_ex(
                self.0.as_ptr(),
                compressed.as_ptr().cast(),
                compressed.len(),
                out.as_mut_ptr().cast(),
                out.len(),
                &mut used,
                &mut made,
            )
        };
        if result != libdeflate_result_LIBDEFLATE_SUCCESS {
            return damaged("a frame does not unpack to what the manifest says");
        }
        if used != compressed.len() || made != tar_length {
            return damaged("a frame has another length than the manifest says");
        }
        Ok(out)
    }
}

impl Drop for Inflater {
    fn drop(&mut self) {
        // SAFETY: it came from libdeflate and is not used again.
        unsafe { libdeflate_free_decompressor(self.0.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Compression;
    use crate::frame::Encoder;

    #[test]
    fn only_the_exact_frame_is_accepted() {
        let raw = b"hello hello hello hello hello hello".repeat(20);
        for compression in [Compression::None, Compression::Fast] {
            let frame = Encoder::new(compression).encode(&raw).bytes;
            let mut inflater = Inflater::new().unwrap();
            assert_eq!(inflater.frame(&frame, raw.len()).unwrap(), raw);
            assert!(inflater.frame(&frame, raw.len() + 1).is_err());
            assert!(inflater.frame(&frame, raw.len() - 1).is_err());
            assert!(inflater.frame(&frame, MAX_FRAME + 1).is_err());
            for len in 0..frame.len() {
                assert!(inflater.frame(&frame[..len], raw.len()).is_err());
            }
            // A second member, or anything else, behind the first.
            for extra in [&frame[..], b"\0"] {
                let longer = [&frame[..], extra].concat();
                assert!(inflater.frame(&longer, raw.len()).is_err());
            }
        }
    }
}
