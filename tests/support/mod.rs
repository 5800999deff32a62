//! What the tests share.
#![allow(dead_code)] // Each test program uses its own part.

pub mod azure;
pub mod catalogs;
pub mod clocked;
pub mod disk;
pub mod docspace;
pub mod files;
pub mod gcs;
pub mod issuer;
pub mod lucene;
pub mod portal;
pub mod proxy;
pub mod s3;
pub mod service;
pub mod web;
