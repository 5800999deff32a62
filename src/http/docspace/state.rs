//! `getservicestate`, `getbackupscount`, `backuptmp`, `deletebackuphistory`.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::bind::BindError;
use super::schedule_model::BackupServiceStateDto;
use super::stored_for::lent;
use super::wrapper::{
    Asked, BackupServiceStateWrapper, BooleanWrapper, Int32Wrapper, StringWrapper,
};
use super::{DocError, ErrorWrapper, administrator, answer, query};
use crate::catalog::Scope;
use crate::config::LayoutKind;
use crate::http::HttpState;
use crate::ops::{OpError, archives, counts};

/// Tells whether backups can be made.
#[utoipa::path(
    get, path = "/api/2.0/backup/getservicestate", operation_id = "getBackupsServiceState",
    tag = "Backup", summary = "Get the backup service state",
    responses(
        (status = 200, description = "The state", body = BackupServiceStateWrapper),
    ),
)]
pub async fn service(state: Data<HttpState>, request: HttpRequest) -> HttpResponse {
    let asked = Asked::of(&state, &request);
    let result = administrator(&state, &request, Scope::Read).await.map(|_| {
        BackupServiceStateWrapper::new(&asked, Some(BackupServiceStateDto { enabled: true }), 1)
    });
    answer(&asked, result)
}

/// Tells where files lie for a while.
#[utoipa::path(
    get, path = "/api/2.0/backup/backuptmp", operation_id = "getTempPath", tag = "Backup",
    summary = "Get the path of the temporary folder",
    responses(
        (status = 200, description = "The path", body = StringWrapper),
    ),
)]
pub async fn temp_path(state: Data<HttpState>, request: HttpRequest) -> HttpResponse {
    let asked = Asked::of(&state, &request);
    let result = administrator(&state, &request, Scope::Read).await.map(|_| {
        let path = state.app.config.backup.temp_dir.display().to_string();
        StringWrapper::new(&asked, Some(path), 1)
    });
    answer(&asked, result)
}

/// Counts the portal's backups of a time, deleted ones included; without a time those of this month (UTC).
#[utoipa::path(
    get, path = "/api/2.0/backup/getbackupscount", operation_id = "getBackupsCount",
    tag = "Backup", summary = "Get the number of backups",
    params(
        ("from" = Option<String>, Query, nullable = false, format = DateTime,
            description = "From when on; the beginning of this month if absent"),
        ("to" = Option<String>, Query, nullable = false, format = DateTime,
            description = "Until when; the end of this month if absent"),
        ("paid" = Option<bool>, Query, nullable = false,
            description = "True: only those that were paid for"),
    ),
    responses(
        (status = 200, description = "The number", body = Int32Wrapper),
        (status = 400, description = "A parameter cannot be read (`ValidationErrorWrapper`), or the time ends before it begins (`ErrorWrapper`)"),
    ),
)]
pub async fn count(state: Data<HttpState>, request: HttpRequest) -> HttpResponse {
    let asked = Asked::of(&state, &request);
    let result = counted(&state, &request).await;
    answer(&asked, result.map(|count| Int32Wrapper::new(&asked, Some(count), 1)))
}

async fn counted(state: &HttpState, request: &HttpRequest) -> Result<i32, DocError> {
    let caller = administrator(state, request, Scope::Read).await?;
    let text = request.query_string();
    let paid = query::flag(text, "paid")?.unwrap_or(false);
    let (first, last) = month(state.app.clock.now());
    let from = moment(text, "from")?.unwrap_or(first);
    let to = moment(text, "to")?.unwrap_or(last.max(from));
    if to < from {
        return Err(OpError::Invalid("to is earlier than from".to_owned()).into());
    }
    let count = counts::backups(&state.app, caller.tenant_id, from, to, paid).await?;
    Ok(i32::try_from(count).unwrap_or(i32::MAX))
}

/// The first and the last moment of the month, in UTC.
fn month(now: Timestamp) -> (Timestamp, Timestamp) {
    let start = now.to_zoned(TimeZone::UTC).first_of_month().and_then(|day| day.start_of_day());
    let Ok(start) = start else { return (now, now) };
    let end = start.checked_add(1.month()).map_or(now, |next| next.timestamp());
    (start.timestamp(), end.checked_sub(1.millisecond()).unwrap_or(end))
}

/// A date, or a date and a time; without a zone it is UTC.
fn moment(query: &str, name: &str) -> Result<Option<Timestamp>, BindError> {
    let Some(text) = query::first(query, name) else { return Ok(None) };
    let text = text.trim();
    // A plus that was not encoded has become a blank.
    let mended = text.rsplit_once(' ').map(|(left, right)| format!("{left}+{right}"));
    let read = |text: &str| -> Option<Timestamp> {
        let utc = || {
            let civil: DateTime = text.trim_end_matches(['Z', 'z']).parse().ok()?;
            let most = Timestamp::MAX.to_zoned(TimeZone::UTC).datetime();
            // .NET's last moment lies behind the last one that is known here.
            TimeZone::UTC.to_timestamp(civil.min(most)).ok()
        };
        text.parse().ok().or_else(utc)
    };
    let at = read(text).or_else(|| read(mended.as_deref()?));
    at.map(Some).ok_or_else(|| {
        let shown: String = text.chars().take(60).collect();
        let message = format!("The value '{shown}' is not valid for {name}: send a date and time.");
        BindError::Invalid { field: name.to_owned(), message }
    })
}

/// Deletes all stored backups of the portal, or of the whole installation.
#[utoipa::path(
    delete, path = "/api/2.0/backup/deletebackuphistory", operation_id = "deleteBackupHistory",
    tag = "Backup", summary = "Delete the backup history",
    params(("Dump" = Option<bool>, Query, nullable = false,
        description = "True: those of the whole installation")),
    responses(
        (status = 200, description = "They are deleted", body = BooleanWrapper),
        (status = 400, description = "A parameter cannot be read", body = super::ValidationErrorWrapper),
        (status = 409, description = "Something else needs one of them now; the others are deleted", body = ErrorWrapper),
    ),
)]
pub async fn delete_history(state: Data<HttpState>, request: HttpRequest) -> HttpResponse {
    let asked = Asked::of(&state, &request);
    let result = forget(&state, &request).await;
    answer(&asked, result.map(|()| BooleanWrapper::of(&asked, true)))
}

async fn forget(state: &HttpState, request: &HttpRequest) -> Result<(), DocError> {
    let caller = administrator(state, request, Scope::Write).await?;
    let dump = match query::dump(request.query_string())? {
        // There both are the same portal's.
        None if state.app.portal.layout() == LayoutKind::Plain => None,
        dump => Some(dump.unwrap_or(false)),
    };
    let dump = caller.visible(&state.app, dump).await?;
    let credential = lent(&caller, request.headers());
    Ok(archives::delete_history(&state.app, caller.tenant_id, dump, credential).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_in_utc() {
        // facts, base facts: "getbackupscount … default current UTC month".
        let (first, last) = month("2028-02-29T23:59:59.5Z".parse().unwrap());
        assert_eq!(first.to_string(), "2028-02-01T00:00:00Z");
        assert_eq!(last.to_string(), "2028-02-29T23:59:59.999Z");
    }

    #[test]
    fn times_in_every_form() {
        let at = |text: &str| moment(&format!("From={text}"), "from");
        let expected: Timestamp = "2026-03-01T02:00:00Z".parse().unwrap();
        for text in [
            "2026-03-01T02:00:00Z",
            "2026-03-01T02:00:00",
            "2026-03-01%2002:00:00",
            "2026-03-01T03:00:00%2B01:00",
            "2026-03-01T03:00:00+01:00",
            "2026-03-01T02:00:00.000000%2B0000",
        ] {
            assert_eq!(at(text), Ok(Some(expected)), "{text}");
        }
        assert_eq!(at("2026-03-01").unwrap().unwrap().to_string(), "2026-03-01T00:00:00Z");
        for text in ["9999-12-31T23:59:59", "9999-12-31T23:59:59.9999999Z", "9999-12-31"] {
            assert_eq!(at(text), Ok(Some(Timestamp::MAX)), "{text}");
        }
        assert_eq!(at("0001-01-01T00:00:00").unwrap().unwrap().to_string(), "0001-01-01T00:00:00Z");
        assert_eq!(moment("", "from"), Ok(None));
        for text in ["", "yesterday", "2026-02-30", "1"] {
            assert!(at(text).is_err(), "{text}");
        }
    }
}
