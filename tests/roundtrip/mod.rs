//! What was put in comes out.

mod busy;
pub mod cloud;
mod cloud_sources;
mod command_line;
pub mod docspace;
pub mod encrypted;
pub mod foreign;
mod inside;
mod linked;
mod mariadb;
mod names;
mod plain;
mod postgres;
pub mod restore;
mod several;
mod sqlite;

/// The file of an archive as `/v1/archives` shows it.
fn local_path(archive: &serde_json::Value) -> std::path::PathBuf {
    url::Url::parse(archive["url"].as_str().unwrap()).unwrap().to_file_path().unwrap()
}
