//! A valid archive with arbitrary changes: whatever verification accepts is the archive unchanged.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

#[path = "../../tests/common/exercise.rs"]
mod exercise;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));
static VALID: &[u8] = include_bytes!("../../tests/corpus/framed.tar.gz");

fuzz_target!(|data: &[u8]| {
    let changed = exercise::mutate(VALID, data);
    let same = changed == VALID;
    let report = RUNTIME.block_on(exercise::exercise(changed.into()));
    assert_eq!(report.ok(), same, "{:?}", report.problems);
});
