//! New schemas for databases that are restored under another name, and compaction.

use mysql_async::{Error, Opts, OptsBuilder};

use super::connect::Session;
use super::render::identifier;
use super::{Target, failed};
use crate::source::database::DatabaseError;

/// True: it was made.
pub(super) async fn create(target: &Target) -> Result<bool, DatabaseError> {
    let work = async {
        let mut session = Session::open(&server(&target.opts)).await?;
        let made = match session.run(&format!("CREATE DATABASE {}", schema(target))).await {
            Ok(()) => true,
            // ER_DB_CREATE_EXISTS
            Err(Error::Server(error)) if error.code == 1007 => false,
            Err(error) => return Err(error),
        };
        session.close().await;
        Ok(made)
    };
    work.await.map_err(|error| failed(&target.name, "making its schema", &error))
}

/// Drops the schema, if it holds nothing or `with_content`.
pub(super) async fn discard(target: &Target, with_content: bool) -> Result<(), DatabaseError> {
    let work = async {
        let mut session = Session::open(&server(&target.opts)).await?;
        let name = hex::encode_upper(target.database());
        let query = format!(
            "SELECT (SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = _utf8mb4 0x{name}) \
             + (SELECT COUNT(*) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = _utf8mb4 0x{name})"
        );
        if with_content || session.rows::<u64>(&query).await?.first() == Some(&0) {
            session.run(&format!("DROP DATABASE IF EXISTS {}", schema(target))).await?;
        }
        session.close().await;
        Ok(())
    };
    work.await.map_err(|error| failed(&target.name, "dropping its schema", &error))
}

/// Rebuilds every table.
pub(super) async fn compact(target: &Target) -> Result<(), DatabaseError> {
    let work = async {
        let mut session = Session::open(&target.opts).await?;
        let query = "SELECT TABLE_NAME FROM information_schema.TABLES \
                     WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE' ORDER BY 1";
        for table in session.rows::<String>(query).await? {
            session.run(&format!("OPTIMIZE TABLE {}", identifier(&table))).await?;
        }
        session.close().await;
        Ok(())
    };
    work.await.map_err(|error| failed(&target.name, "compacting it", &error))
}

/// The server, and none of its schemas.
fn server(opts: &Opts) -> Opts {
    OptsBuilder::from_opts(opts.clone()).db_name(None::<String>).into()
}

fn schema(target: &Target) -> String {
    identifier(target.database())
}
