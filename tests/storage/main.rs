//! Storages: one suite for folders and clouds, then what only one of them has.

#[path = "../support/disk.rs"]
mod disk;
#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/s3.rs"]
mod s3;

mod clouds;
mod conformance;
mod folders;
mod requests;
mod tools;
