//! What the benches are made of.
#![allow(dead_code)] // Each bench uses its own part.

pub mod bounds;
pub mod latency;
pub mod load;
pub mod mysql;
pub mod peers;
pub mod portal;
pub mod process;
pub mod report;
pub mod service;

use std::path::Path;
use std::process::{Command, Stdio};

/// Any failure ends the bench with its text and status 1.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

pub const MB: f64 = 1e6;
pub const MIB: f64 = (1 << 20) as f64;

pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Runs a command of the shell in `dir`, where a failure anywhere in a pipe counts, and fails if it does.
pub fn shell(dir: &Path, script: &str) -> Result<()> {
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{script}\n{}", String::from_utf8_lossy(&output.stderr)).into())
}

/// The sizes of all files below a folder together, in bytes.
pub fn folder_size(dir: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        sum += if meta.is_dir() { folder_size(&entry.path())? } else { meta.len() };
    }
    Ok(sum)
}

/// The shortest.
pub fn best(runs: &[std::time::Duration]) -> f64 {
    runs.iter().min().copied().unwrap_or_default().as_secs_f64()
}

/// One line of a verdict: a factor, and whether it is what was aimed at.
pub fn verdict(what: &str, factor: f64, least: f64) -> String {
    let met = if factor >= least { "met" } else { "MISSED" };
    format!("{what}   {factor:.2}x   [at least {least}x]   {met}")
}

/// Makes `dir` anew, empty.
pub fn empty_folder(dir: &Path) -> Result<()> {
    if dir.exists() {
        std::fs::remove_dir_all(dir)?;
    }
    Ok(std::fs::create_dir_all(dir)?)
}
