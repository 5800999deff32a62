//! The body of `createbackupschedule`, read as ASP.NET does for DocSpace.

use serde_json::value::RawValue;

use super::bind::{
    BindError, Members, decode, invalid, object, parse, shown, storage_params, storage_type,
};
use crate::schedule::{Period, Periodic};
use crate::storage::{StorageParams, StorageType};

/// The body of `createbackupschedule`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateSchedule {
    pub storage_type: Option<StorageType>,
    pub storage_params: StorageParams,
    /// How many are kept; 1 if it was not said, as in DocSpace.
    pub backups_stored: u32,
    pub when: Periodic,
    pub dump: bool,
}

/// Reads the body of `createbackupschedule`.
pub fn create_schedule(
    content_type: Option<&str>,
    body: &[u8],
) -> Result<CreateSchedule, BindError> {
    let text = decode(content_type, body)?;
    let (mut kind, mut params, mut dump) = (None, StorageParams::new(), false);
    let (mut stored, mut cron) = (None, None);
    for (name, value) in object(&text)?.0 {
        match name.to_ascii_lowercase().as_str() {
            "storagetype" => kind = storage_type(value)?,
            "storageparams" => params = storage_params(value)?,
            "backupsstored" => stored = number(value, "$.backupsStored")?,
            "cronparams" => cron = cron_params(value)?,
            "dump" => {
                dump = serde_json::from_str(value.get()).map_err(|_| {
                    invalid("$.dump", format!("{} is neither true nor false.", shown(value)))
                })?;
            }
            _ => {}
        }
    }
    let argument = |text: &str| BindError::Argument(text.to_owned());
    let (period, hour, day) =
        cron.ok_or_else(|| argument("cronParams is missing: send period, hour and day"))?;
    let when = Periodic::new(period, hour, day).map_err(BindError::Argument)?;
    let backups_stored = u32::try_from(stored.unwrap_or(1))
        .ok()
        .filter(|count| (1..=30).contains(count))
        .ok_or_else(|| argument("backupsStored must be between 1 and 30"))?;
    Ok(CreateSchedule { storage_type: kind, storage_params: params, backups_stored, when, dump })
}

/// Period, hour and day; what is missing is 0. None: null.
fn cron_params(value: &RawValue) -> Result<Option<(Period, i64, i64)>, BindError> {
    let members: Option<Members> = serde_json::from_str(value.get()).map_err(|_| {
        invalid("$.cronParams", "It must be an object with the members period, hour and day.")
    })?;
    let Some(members) = members else { return Ok(None) };
    let (mut period_, mut hour, mut day) = (Period::Day, 0, 0);
    for (name, value) in members.0 {
        match name.to_ascii_lowercase().as_str() {
            "period" => period_ = period(value)?,
            "hour" => hour = number(value, "$.cronParams.hour")?.unwrap_or(0),
            "day" => day = number(value, "$.cronParams.day")?.unwrap_or(0),
            _ => {}
        }
    }
    Ok(Some((period_, hour, day)))
}

fn period(value: &RawValue) -> Result<Period, BindError> {
    const NAMES: [(&str, Period); 3] =
        [("EveryDay", Period::Day), ("EveryWeek", Period::Week), ("EveryMonth", Period::Month)];
    let path = "$.cronParams.period";
    let wrong = || {
        invalid(
            path,
            format!("{} is no period: send EveryDay, EveryWeek or EveryMonth.", shown(value)),
        )
    };
    let parsed: serde_json::Value = parse(value, path)?;
    let number = match &parsed {
        serde_json::Value::Null => return Ok(Period::Day),
        serde_json::Value::Number(number) => number.as_i64(),
        serde_json::Value::String(text) => {
            let named = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text.trim()));
            if let Some((_, period)) = named {
                return Ok(*period);
            }
            text.trim().parse().ok()
        }
        _ => None,
    };
    let number = number.ok_or_else(wrong)?;
    NAMES.iter().map(|(_, period)| *period).find(|period| *period as i64 == number).ok_or_else(
        || {
            BindError::Argument(format!(
                "cronParams.period {number} does not exist: send 0, 1 or 2"
            ))
        },
    )
}

/// A whole number, which may be a text; None: null.
fn number(value: &RawValue, path: &str) -> Result<Option<i64>, BindError> {
    let parsed: serde_json::Value = parse(value, path)?;
    let number = match &parsed {
        serde_json::Value::Null => return Ok(None),
        serde_json::Value::Number(number) => number.as_i64(),
        serde_json::Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let number = number.filter(|number| i32::try_from(*number).is_ok());
    number
        .map(Some)
        .ok_or_else(|| invalid(path, format!("{} is not a whole number.", shown(value))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Result<CreateSchedule, BindError> {
        create_schedule(Some("application/json"), body.as_bytes())
    }

    #[test]
    fn as_the_web_client_sends_it() {
        // facts §7: "Schedules as strings plus backupsStored, cronParams{Period,Hour,Day}".
        let bound = of(r#"{"storageType":"3","storageParams":[{"key":"filePath","value":"w"}],
            "backupsStored":"5","cronParams":{"Period":"1","Hour":"12","Day":"7"},"dump":true,"backupMail":false}"#)
        .unwrap();
        assert_eq!((bound.storage_type, bound.backups_stored), (Some(StorageType::Local), 5));
        assert_eq!(bound.when, Periodic { period: Period::Week, hour: 12, day: 7 });
        assert!(bound.dump);
        // facts §2: "enums case-insensitive names, ints, or numeric strings (… period "0", hour "12")".
        for (period, day) in [("\"everymonth\"", "31"), ("2", "\"31\""), ("\"2\"", "31")] {
            let bound =
                of(&format!("{{\"cronParams\":{{\"period\":{period},\"hour\":0,\"day\":{day}}}}}"))
                    .unwrap();
            assert_eq!(bound.when.to_cron(), "0 0 0 31 * ?");
            // facts §9: "backups_stored (1–30, default 1)".
            assert_eq!((bound.backups_stored, bound.dump), (1, false));
        }
    }

    #[test]
    fn mistakes() {
        // facts §2: "cronParams null → 500; bad hour/day → 500; backupsStored outside 1–30 → 400": all 400 here.
        for body in [
            "{}",
            r#"{"cronParams":null}"#,
            r#"{"cronParams":{"period":0,"hour":24}}"#,
            r#"{"cronParams":{"period":0,"hour":-1}}"#,
            r#"{"cronParams":{"period":1,"hour":3,"day":0}}"#,
            r#"{"cronParams":{"period":1,"hour":3,"day":8}}"#,
            r#"{"cronParams":{"period":2,"hour":3}}"#,
            r#"{"cronParams":{"period":2,"hour":3,"day":32}}"#,
            r#"{"cronParams":{"period":9,"hour":3}}"#,
            r#"{"cronParams":{"hour":3},"backupsStored":0}"#,
            r#"{"cronParams":{"hour":3},"backupsStored":31}"#,
            r#"{"cronParams":{"hour":3},"storageParams":[{"key":"a","value":null}]}"#,
        ] {
            assert!(matches!(of(body), Err(BindError::Argument(_))), "{body}: {:?}", of(body));
        }
        for body in [
            "",
            "[]",
            r#"{"cronParams":[]}"#,
            r#"{"cronParams":{"period":"Hourly"}}"#,
            r#"{"cronParams":{"hour":"noon"}}"#,
            r#"{"cronParams":{"hour":3.5}}"#,
            r#"{"cronParams":{"hour":3},"backupsStored":"many"}"#,
            r#"{"cronParams":{"hour":3},"backupsStored":99999999999}"#,
            r#"{"cronParams":{"hour":3},"dump":"yes"}"#,
            r#"{"cronParams":{"hour":3},"storageType":"Moon"}"#,
        ] {
            assert!(matches!(of(body), Err(BindError::Invalid { .. })), "{body}: {:?}", of(body));
        }
        assert_eq!(create_schedule(None, b"{}"), Err(BindError::MediaType));
    }
}
