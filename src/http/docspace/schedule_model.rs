//! DocSpace's objects of schedules on the wire; names and types as in its specification.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::model::{BackupStorageType, ItemKeyValuePairObjectObject, date};
use crate::catalog::ScheduleRecord;
use crate::http::integer_enum;
use crate::ops::schedules::base_path;
use crate::schedule::Periodic;
use crate::storage::{StorageParams, StorageType, is_secret_param};

/// What a schedule is to be.
#[derive(ToSchema)]
#[allow(dead_code, reason = "a schema; requests are read by `bind_schedule`")]
#[schema(rename_all = "camelCase")]
pub struct BackupScheduleDto {
    #[schema(nullable = false)]
    storage_type: Option<BackupStorageType>,
    /// Settings of the storage, such as `filePath` of a local one.
    storage_params: Option<Vec<ItemKeyValuePairObjectObject>>,
    /// How many of the schedule's backups are kept; 1 if absent.
    #[schema(minimum = 1, maximum = 30)]
    backups_stored: Option<i32>,
    #[schema(nullable = false)]
    cron_params: Option<Cron>,
    /// True: back up the whole installation.
    #[schema(required = false)]
    dump: bool,
}

/// When a backup is to be made.
#[derive(ToSchema)]
#[allow(dead_code, reason = "a schema; requests are read by `bind_schedule`")]
pub struct Cron {
    #[schema(nullable = false)]
    period: Option<BackupPeriod>,
    /// 0 to 23, in the portal's time zone.
    #[schema(minimum = 0, maximum = 23)]
    hour: Option<i32>,
    /// Of the week: 1 (Sunday) to 7; of the month: 1 to 31.
    #[schema(minimum = 0, maximum = 31)]
    day: Option<i32>,
}

integer_enum!(
    /// How often: 0 every day, 1 every week, 2 every month.
    BackupPeriod { EveryDay = 0, EveryWeek = 1, EveryMonth = 2, }
);

/// A schedule.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleDto {
    pub storage_type: BackupStorageType,
    /// Settings of the storage.
    pub storage_params: BTreeMap<String, Option<String>>,
    pub cron_params: CronParams,
    /// How many of the schedule's backups are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backups_stored: Option<u32>,
    /// When the last one was begun, in UTC, written without a zone; `0001-01-01T00:00:00`: never.
    #[schema(format = "date-time-local")]
    pub last_backup_time: String,
    /// Whether it is of the whole installation.
    pub dump: bool,
}

/// When backups are made; without members when the time is one that DocSpace's form cannot say.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CronParams {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub period: Option<BackupPeriod>,
    /// 0 to 23, in the portal's time zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hour: Option<u32>,
    /// Of the week: 1 (Sunday) to 7; of the month: 1 to 31; every day: 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<u32>,
}

impl ScheduleDto {
    /// `params`: the storage's, not sealed; secrets among them are not told.
    pub fn new(record: &ScheduleRecord, params: &StorageParams) -> Self {
        let shown = match record.storage_type {
            StorageType::ThirdPartyConsumer => {
                let open = params.iter().filter(|(name, _)| !is_secret_param(name));
                open.map(|(name, value)| (name.clone(), Some(value.clone()))).collect()
            }
            // facts §2: "for non-consumer types storageParams.folderId = storage_base_path (may be JSON null)".
            other => [("folderId".to_owned(), base_path(other, params))].into(),
        };
        Self {
            storage_type: record.storage_type.into(),
            storage_params: shown,
            cron_params: Periodic::of_cron(&record.cron).map(CronParams::from).unwrap_or_default(),
            backups_stored: record.retention.backups_stored,
            last_backup_time: date(record.last_run),
            dump: record.dump,
        }
    }
}

impl From<Periodic> for CronParams {
    fn from(when: Periodic) -> Self {
        use crate::schedule::Period;
        let period = match when.period {
            Period::Day => BackupPeriod::EveryDay,
            Period::Week => BackupPeriod::EveryWeek,
            Period::Month => BackupPeriod::EveryMonth,
        };
        Self { period: Some(period), hour: Some(when.hour), day: Some(when.day) }
    }
}

/// Whether backups can be made.
#[derive(Debug, Serialize, ToSchema)]
pub struct BackupServiceStateDto {
    #[schema(required = false)]
    pub enabled: bool,
}
