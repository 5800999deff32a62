//! MySQL and MariaDB.
use super::{Database, DatabaseError, ServerInfo, Snapshot};
use async_trait::async_trait;
pub struct MySql;
impl MySql {
    pub fn new(_name: &str, _url: &str) -> Result<Self, DatabaseError> {
        todo!()
    }
}
#[async_trait]
impl Database for MySql {
    async fn check(&self) -> Result<ServerInfo, DatabaseError> {
        todo!()
    }
    async fn snapshot(&self, _readers: usize) -> Result<Box<dyn Snapshot>, DatabaseError> {
        todo!()
    }
}
