//! What `deploy/` hands out, and what `docs/OPERATIONS.md` says to do with it.

#[path = "../support/mod.rs"]
mod support;

mod chart;
mod compose;
mod config;
mod documents;
mod image;
mod installing;
mod pod;
mod rendered;
mod tools;
mod unit;
