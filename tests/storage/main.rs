//! Storages: one suite for folders and clouds, then what only one of them has.

#[path = "../support/azure.rs"]
mod azure;
#[path = "../support/disk.rs"]
mod disk;
#[path = "../support/files.rs"]
mod files;
#[path = "../support/gcs.rs"]
mod gcs;
#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/s3.rs"]
mod s3;
#[path = "../support/web.rs"]
mod web;

mod answers;
mod clouds;
mod conformance;
mod consumers;
mod documents;
mod folders;
mod objects;
mod requests;
mod sources;
mod tools;
