//! The envelope of DocSpace's answers.

use std::collections::BTreeSet;

use actix_web::HttpRequest;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::model::{BackupHistoryRecord, BackupProgress};
use super::query;
use super::schedule_model::{BackupServiceStateDto, ScheduleDto};
use crate::http::HttpState;

/// What an envelope tells of the request it answers.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The full address as the client sees it.
    pub href: String,
    pub method: String,
    /// Which members of the result are wanted; None: all.
    pub fields: Option<BTreeSet<String>>,
}

impl Asked {
    pub fn of(state: &HttpState, request: &HttpRequest) -> Self {
        Self {
            href: state.href(request),
            method: request.method().to_string(),
            fields: query::fields(request.query_string()),
        }
    }

    pub fn links(&self) -> Vec<Link> {
        vec![Link { href: self.href.clone(), action: self.method.clone() }]
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Link {
    /// The address of the request.
    #[schema(required = false)]
    pub href: String,
    /// The method of the request.
    #[schema(required = false)]
    pub action: String,
}

macro_rules! envelope {
    ($(#[$doc:meta])* $name:ident, $response:ty) => {
        $(#[$doc])*
        #[derive(Debug, Serialize, ToSchema)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schema(nullable = false)]
            pub response: Option<$response>,
            /// How many items the response has.
            #[schema(required = false)]
            pub count: i32,
            /// The request that this answers.
            #[schema(required = false, inline)]
            pub links: Vec<Link>,
            /// 0: it went well.
            #[schema(required = false)]
            pub status: i32,
            /// The HTTP status.
            #[schema(required = false)]
            pub status_code: i32,
        }

        impl $name {
            pub fn new(asked: &Asked, response: Option<$response>, count: usize) -> Self {
                let count = i32::try_from(count).unwrap_or(i32::MAX);
                Self { response, count, links: asked.links(), status: 0, status_code: 200 }
            }
        }
    };
}

envelope!(
    /// The state of a backup or restore; without `response` when there is none.
    BackupProgressWrapper, BackupProgress
);
envelope!(
    /// Stored backups.
    BackupHistoryRecordArrayWrapper, Vec<BackupHistoryRecord>
);
envelope!(
    /// Whether it was done.
    BooleanWrapper, bool
);
envelope!(
    /// A schedule; without `response` when there is none.
    ScheduleWrapper, ScheduleDto
);
envelope!(
    /// Whether backups can be made.
    BackupServiceStateWrapper, BackupServiceStateDto
);
envelope!(
    /// A number.
    Int32Wrapper, i32
);
envelope!(
    /// A text.
    StringWrapper, String
);

impl ScheduleWrapper {
    pub fn of(asked: &Asked, schedule: Option<ScheduleDto>) -> Self {
        let count = usize::from(schedule.is_some());
        Self::new(asked, schedule, count)
    }
}

impl BackupProgressWrapper {
    pub fn of(asked: &Asked, progress: Option<BackupProgress>) -> Self {
        let count = usize::from(progress.is_some());
        Self::new(asked, progress, count)
    }
}

impl BackupHistoryRecordArrayWrapper {
    pub fn of(asked: &Asked, records: Vec<BackupHistoryRecord>) -> Self {
        let count = records.len();
        Self::new(asked, Some(records), count)
    }
}

impl BooleanWrapper {
    pub fn of(asked: &Asked, value: bool) -> Self {
        Self::new(asked, Some(value), 1)
    }
}

/// An answer as JSON, its result cut down to the fields that were asked for.
pub fn to_json(asked: &Asked, envelope: &impl Serialize) -> serde_json::Result<String> {
    let Some(fields) = &asked.fields else { return serde_json::to_string(envelope) };
    let mut value = serde_json::to_value(envelope)?;
    match value.get_mut("response") {
        Some(Value::Array(items)) => items.iter_mut().for_each(|item| keep(item, fields)),
        Some(item) => keep(item, fields),
        None => {}
    }
    serde_json::to_string(&value)
}

fn keep(item: &mut Value, fields: &BTreeSet<String>) {
    if let Value::Object(members) = item {
        members.retain(|name, _| fields.contains(&name.to_ascii_lowercase()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::docspace::model::tests::{record, running};

    fn asked(fields: Option<&[&str]>) -> Asked {
        Asked {
            href: "http://localhost:5012/api/2.0/backup/getbackupprogress?Dump=true".to_owned(),
            method: "GET".to_owned(),
            fields: fields.map(|fields| fields.iter().map(|&field| field.to_owned()).collect()),
        }
    }

    fn json_of(asked: &Asked, envelope: &impl Serialize) -> Value {
        serde_json::from_str(&to_json(asked, envelope).unwrap()).unwrap()
    }

    #[test]
    fn a_progress() {
        let asked = asked(None);
        let text = to_json(&asked, &BackupProgressWrapper::of(&asked, Some(running()))).unwrap();
        assert_eq!(
            text,
            "{\"response\":{\"isCompleted\":false,\"progress\":42,\"error\":\"\",\"link\":\"\",\
             \"tenantId\":1,\"backupProgressEnum\":0,\"status\":1,\
             \"taskId\":\"0f3c8b0a-7a52-4f0e-9d0c-3a1b5e6f7a8b\"},\"count\":1,\"links\":[{\"href\":\
             \"http://localhost:5012/api/2.0/backup/getbackupprogress?Dump=true\",\"action\":\"GET\"}],\
             \"status\":0,\"statusCode\":200}"
        );
    }

    #[test]
    fn no_progress_is_no_response() {
        let asked = asked(None);
        let value = json_of(&asked, &BackupProgressWrapper::of(&asked, None));
        assert!(value.get("response").is_none());
        assert_eq!(value["count"], 0);
        assert_eq!(value["statusCode"], 200);
    }

    #[test]
    fn lists_are_counted() {
        let asked = asked(None);
        let list = BackupHistoryRecordArrayWrapper::of(&asked, vec![record(), record()]);
        assert_eq!(json_of(&asked, &list)["count"], 2);
        let empty = json_of(&asked, &BackupHistoryRecordArrayWrapper::of(&asked, Vec::new()));
        assert_eq!((&empty["response"], &empty["count"]), (&json!([]), &json!(0)));
        let boolean = json_of(&asked, &BooleanWrapper::of(&asked, true));
        assert_eq!((&boolean["response"], &boolean["count"]), (&json!(true), &json!(1)));
    }

    #[test]
    fn only_the_fields_asked_for() {
        let asked = asked(Some(&["id", "filename"]));
        let list = json_of(&asked, &BackupHistoryRecordArrayWrapper::of(&asked, vec![record()]));
        let names: Vec<&String> = list["response"][0].as_object().unwrap().keys().collect();
        assert_eq!(names, ["fileName", "id"]);
        assert_eq!(list["statusCode"], 200);
        let one = json_of(&asked, &BackupProgressWrapper::of(&asked, Some(running())));
        assert_eq!(one["response"], json!({}));
        assert_eq!(json_of(&asked, &BooleanWrapper::of(&asked, true))["response"], true);
    }
}
