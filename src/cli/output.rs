//! What verbs print.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use super::CliError;
use crate::catalog::{ArchiveRecord, CopyRecord};

/// Whether anything was printed.
static PRINTED: AtomicBool = AtomicBool::new(false);

pub fn has_printed() -> bool {
    PRINTED.load(Ordering::Relaxed)
}

/// One JSON document on standard output.
pub fn json(value: &impl Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value).map_err(CliError::failed)?;
    line(&text)
}

/// One line on standard output. A reader that has gone (`| head`) ends the program quietly.
pub fn line(text: &str) -> Result<(), CliError> {
    PRINTED.store(true, Ordering::Relaxed);
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(CliError::failed(error)),
    }
}

/// Bytes for people.
pub fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}

/// An archive as `/v1/archives` shows it.
pub fn archive_json(record: &ArchiveRecord, copies: Option<&Vec<CopyRecord>>) -> serde_json::Value {
    let view = crate::http::v1::model::ArchiveView::new(record, copies);
    serde_json::to_value(view).unwrap_or_default()
}
