//! The table of operations on one source: what their clients are told, also after a restart.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::db::{Columns, Db, is_unique_violation, to_json, to_word};
use super::sources::key;
use super::{Catalog, CatalogError, SourceKind};

const COLUMNS: &str = "id, operation_number, job_id, task, source_kind, name, location, messages, started_on, \
    completed_on, ending, error";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    Backup,
    Restore,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    Succeeded,
    Failed,
    Cancelled,
}

/// Something that a client is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub text: String,
    pub details: Option<String>,
    pub at: Timestamp,
    pub is_error: bool,
}

impl Message {
    pub fn now(text: impl Into<String>) -> Self {
        Self { text: text.into(), details: None, at: Timestamp::now(), is_error: false }
    }

    pub fn error(text: impl Into<String>, details: Option<String>) -> Self {
        Self { details, is_error: true, ..Self::now(text) }
    }
}

/// One backup or restore of one source.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// In the catalog.
    pub id: i64,
    /// By which its clients know it, counted from 1; None: they are told none.
    pub number: Option<i64>,
    /// None: it was refused before there was a job.
    pub job_id: Option<Uuid>,
    pub task: Task,
    pub kind: SourceKind,
    pub name: String,
    /// As its client named it.
    pub location: String,
    pub messages: Vec<Message>,
    pub started_on: Timestamp,
    pub completed_on: Option<Timestamp>,
    /// None: it runs, or its end was not taken note of yet.
    pub ending: Option<Ending>,
    pub error: Option<String>,
}

#[derive(Debug, Clone, Copy)]
pub struct Operations<'c> {
    pub(super) catalog: &'c Catalog,
}

impl Operations<'_> {
    /// Records an operation and gives it an id, and a number if it is to have one; or finds the one that was recorded
    /// for its job.
    pub async fn begin(&self, new: &Operation, numbered: bool) -> Result<Operation, CatalogError> {
        let new = new.clone();
        self.catalog
            .run(move |db| {
                let new = new.clone();
                async move {
                    loop {
                        if let Some(job) = new.job_id
                            && let Some(known) = of_job(&db, job).await?
                        {
                            return Ok(known);
                        }
                        if let Some(made) = insert(&db, &new, numbered).await? {
                            return Ok(made);
                        }
                    }
                }
            })
            .await
    }

    pub async fn numbered(&self, number: i64) -> Result<Option<Operation>, CatalogError> {
        self.catalog
            .run(move |db| async move {
                one(&db, "operation_number = ?", vec![], Some(number)).await
            })
            .await
    }

    pub async fn get(&self, id: i64) -> Result<Option<Operation>, CatalogError> {
        self.catalog.run(move |db| async move { one(&db, "id = ?", vec![], Some(id)).await }).await
    }

    /// The newest of a task; of all sources if none is named.
    pub async fn newest(
        &self,
        task: Task,
        kind: SourceKind,
        name: Option<&str>,
    ) -> Result<Option<Operation>, CatalogError> {
        let mut values = vec![to_word(&task)?, to_word(&kind)?];
        let condition = match name {
            Some(name) => {
                values.push(key(name));
                "task = ? and source_kind = ? and name_key = ?"
            }
            None => "task = ? and source_kind = ?",
        };
        self.catalog
            .run(move |db| {
                let values = values.clone();
                async move { one(&db, condition, values, None).await }
            })
            .await
    }

    /// The newest, newest first.
    pub async fn recent(&self, limit: u32) -> Result<Vec<Operation>, CatalogError> {
        self.catalog
            .run(move |db| async move {
                let sql = db.sql(&format!(
                    "select {COLUMNS} from portal_backup_operations order by id desc limit ?"
                ));
                let rows = sqlx::query(sql).bind(i64::from(limit)).fetch_all(&db.pool).await?;
                rows.iter().map(read).collect()
            })
            .await
    }

    /// Adds a message to those of a job; `anew` forgets the earlier ones.
    pub async fn say(
        &self,
        job: Uuid,
        messages: Vec<Message>,
        anew: bool,
    ) -> Result<(), CatalogError> {
        self.catalog
            .run(move |db| {
                let messages = messages.clone();
                async move {
                    let Some(mut operation) = of_job(&db, job).await? else { return Ok(()) };
                    if anew {
                        operation.messages.clear();
                    }
                    operation.messages.extend(messages);
                    let sql = db.sql(
                        "update portal_backup_operations set messages = ? where id = ? and ending is null",
                    );
                    sqlx::query(sql)
                        .bind(to_json(&operation.messages)?)
                        .bind(operation.id)
                        .execute(&db.pool)
                        .await?;
                    Ok(())
                }
            })
            .await
    }

    /// Takes note of how an operation ended: its messages, times and ending.
    pub async fn settle(&self, ended: &Operation) -> Result<(), CatalogError> {
        let ended = ended.clone();
        self.catalog
            .run(move |db| {
                let ended = ended.clone();
                async move {
                    let sql = db.sql(
                        "update portal_backup_operations set messages = ?, completed_on = ?, \
                         ending = ?, error = ? where id = ? and ending is null",
                    );
                    sqlx::query(sql)
                        .bind(to_json(&ended.messages)?)
                        .bind(ended.completed_on.map(Timestamp::as_millisecond))
                        .bind(ended.ending.as_ref().map(to_word).transpose()?)
                        .bind(ended.error)
                        .bind(ended.id)
                        .execute(&db.pool)
                        .await?;
                    Ok(())
                }
            })
            .await
    }
}

/// None: another took the id, the number, or the job's place.
async fn insert(
    db: &Db,
    new: &Operation,
    numbered: bool,
) -> Result<Option<Operation>, CatalogError> {
    let sql = db.sql(
        "select coalesce(max(id), 0) as newest, coalesce(max(operation_number), 0) as highest \
         from portal_backup_operations",
    );
    let row = sqlx::query(sql).fetch_one(&db.pool).await?;
    let (newest, highest) = (Columns(&row).number("newest")?, Columns(&row).number("highest")?);
    let number = numbered.then_some(highest + 1);
    let made = Operation { id: newest + 1, number, ..new.clone() };
    let sql = db.sql(&format!(
        "insert into portal_backup_operations ({COLUMNS}, name_key) \
         values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    ));
    let result = sqlx::query(sql)
        .bind(made.id)
        .bind(made.number)
        .bind(made.job_id.map(|id| id.to_string()))
        .bind(to_word(&made.task)?)
        .bind(to_word(&made.kind)?)
        .bind(made.name.clone())
        .bind(made.location.clone())
        .bind(to_json(&made.messages)?)
        .bind(made.started_on.as_millisecond())
        .bind(made.completed_on.map(Timestamp::as_millisecond))
        .bind(made.ending.as_ref().map(to_word).transpose()?)
        .bind(made.error.clone())
        .bind(key(&made.name))
        .execute(&db.pool)
        .await;
    match result {
        Ok(_) => Ok(Some(made)),
        Err(error) if is_unique_violation(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn of_job(db: &Db, job: Uuid) -> Result<Option<Operation>, CatalogError> {
    one(db, "job_id = ?", vec![job.to_string()], None).await
}

async fn one(
    db: &Db,
    condition: &'static str,
    words: Vec<String>,
    number: Option<i64>,
) -> Result<Option<Operation>, CatalogError> {
    let sql = db.sql(&format!(
        "select {COLUMNS} from portal_backup_operations where {condition} order by id desc limit 1"
    ));
    let query = words.into_iter().fold(sqlx::query(sql), |query, word| query.bind(word));
    let query = number.into_iter().fold(query, |query, number| query.bind(number));
    query.fetch_optional(&db.pool).await?.as_ref().map(read).transpose()
}

fn read(row: &AnyRow) -> Result<Operation, CatalogError> {
    let row = Columns(row);
    let ending = match row.optional_text("ending")? {
        Some(_) => Some(row.word("ending")?),
        None => None,
    };
    Ok(Operation {
        id: row.number("id")?,
        number: row.optional_number("operation_number")?,
        job_id: row.optional_id("job_id")?,
        task: row.word("task")?,
        kind: row.word("source_kind")?,
        name: row.text("name")?,
        location: row.text("location")?,
        messages: row.json("messages")?,
        started_on: row.time("started_on")?,
        completed_on: row.optional_time("completed_on")?,
        ending,
        error: row.optional_text("error")?,
    })
}
