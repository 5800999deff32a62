//! Programs of others against the running service: DocSpace's own SDK and samples, the `curl` lines of our
//! documents, clients generated from `openapi.yaml`, and Schemathesis.
//!
//! What they need is installed or made once, under `target/clients`. Where a machine lacks a tool, the test
//! says "SKIPPED" and which; `scripts/tools.sh` installs them all on Debian.

#[path = "../support/mod.rs"]
mod support;

mod curl;
mod described;
mod docspace;
mod generated;
mod tool;
