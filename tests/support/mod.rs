//! What the tests share.
#![allow(dead_code)] // Each test program uses its own part.

pub mod portal;
pub mod service;
