//! SQLite.
use super::{Database, DatabaseError, ServerInfo, Snapshot};
use async_trait::async_trait;
pub struct Sqlite;
impl Sqlite {
    pub fn new(
        _name: &str,
        _url: &str,
        _temp_dir: &std::path::Path,
    ) -> Result<Self, DatabaseError> {
        todo!()
    }
}
#[async_trait]
impl Database for Sqlite {
    async fn check(&self) -> Result<ServerInfo, DatabaseError> {
        todo!()
    }
    async fn snapshot(&self, _readers: usize) -> Result<Box<dyn Snapshot>, DatabaseError> {
        todo!()
    }
}
