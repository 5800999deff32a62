//! Arbitrary bytes as an archive.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

#[path = "../../tests/common/exercise.rs"]
mod exercise;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

fuzz_target!(|data: &[u8]| {
    RUNTIME.block_on(exercise::exercise(Bytes::copy_from_slice(data)));
});
