//! Portal Backup: a consistent, verified backup of a web portal in one streaming pass.
//!
//! Data flows one way: `http` and `cli` call `ops`, which uses `source`, `portal`, `storage`,
//! `jobs` and `catalog`; the archive format is the crate `archive`. `docs/ARCHITECTURE.md` tells more.

pub mod app;
pub mod catalog;
pub mod cli;
mod cloud;
pub mod config;
pub mod demo;
pub mod encryption;
pub mod http;
pub mod jobs;
pub mod limits;
pub mod notify;
pub mod ops;
pub mod portal;
pub mod schedule;
pub mod seal;
pub mod source;
pub mod storage;
