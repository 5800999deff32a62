//! What the one who asks adds to a storage's parameters, and what they may not.

use actix_web::http::header::{AUTHORIZATION, COOKIE, HeaderMap};

use crate::app::App;
use crate::catalog::ArchiveRecord;
use crate::http::auth::{Caller, Role};
use crate::ops::restore::ArchiveChoice;
use crate::ops::{OpError, archives};
use crate::storage::{
    FILE_ID, StorageParams, StorageType, has_portal_token, lend, started_by_hand,
};

/// DocSpace's own login cookie.
const LOGIN: &str = "asc_auth_key";

/// As DocSpace completes the parameters of a backup that somebody starts. A user of DocSpace who wants it
/// in the portal's documents also lends their credential, so that DocSpace itself says where they may write;
/// it is sealed, and forgotten with the job.
pub async fn asked_by(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    kind: StorageType,
    params: &mut StorageParams,
) {
    started_by_hand(kind, params);
    if kind.is_documents()
        && let Some(credential) = lent(caller, headers)
    {
        lend(params, credential, app.portal.origin_of(caller.tenant_id).await);
    }
}

/// The credential of a user of DocSpace, with which they reach the portal's documents.
pub fn lent(caller: &Caller, headers: &HeaderMap) -> Option<String> {
    matches!(caller.role, Role::User { .. }).then(|| credential(headers)).flatten()
}

/// A request may name a credential only where the operator lets it.
pub fn no_foreign_credential(app: &App, params: &StorageParams) -> Result<(), OpError> {
    if has_portal_token(params) && !app.config.storage.allow_request_credentials {
        return Err(OpError::Invalid(
            "storageParams: credentials in a request are not allowed by the configuration \
             (storage.allow_request_credentials)"
                .to_owned(),
        ));
    }
    Ok(())
}

/// An archive as a restore names it: one that only the user who asks reaches, with their credential.
pub async fn choice(app: &App, record: ArchiveRecord, credential: Option<String>) -> ArchiveChoice {
    let record = archives::lent(app, record, credential).await;
    match record.storage_params.get(FILE_ID) {
        Some(file) if has_portal_token(&record.storage_params) => ArchiveChoice::Stored {
            path: file.clone(),
            storage_type: record.storage_type,
            storage_params: record.storage_params,
        },
        _ => ArchiveChoice::Id { id: record.id },
    }
}

/// As DocSpace takes it in `Authorization`: a login token may stand there as well as in its cookie.
fn credential(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let header = text(AUTHORIZATION).or_else(|| {
        headers.get("apikeybearer").and_then(|value| value.to_str().ok()).map(str::trim)
    });
    if let Some(header) = header.filter(|header| !header.is_empty()) {
        return Some(header.to_owned());
    }
    login(headers)
}

/// The login in the cookie that a browser sends.
pub fn login(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get(COOKIE)?.to_str().ok()?;
    let mut pairs = cookies.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, token) = pairs.find(|(name, _)| *name == LOGIN)?;
    Some(token.trim().to_owned()).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;
    use crate::catalog::Scope;

    fn lent_by(role: Role, header: (&'static str, &str)) -> Option<String> {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(header.1).unwrap();
        headers.insert(HeaderName::from_static(header.0), value);
        lent(&Caller { tenant_id: 1, role, reach: Scope::Write, address: None }, &headers)
    }

    /// "startbackup/startrestore add `subdir=backup` if absent"
    #[test]
    fn a_consumers_folder_is_backup() {
        let mut params = StorageParams::new();
        started_by_hand(StorageType::ThirdPartyConsumer, &mut params);
        assert_eq!(params, [("subdir".to_owned(), "backup".to_owned())].into());
    }

    #[test]
    fn users_lend_their_credential_and_keys_of_ours_do_not() {
        let user = || Role::User { id: "u".to_owned() };
        for (header, credential) in [
            (("authorization", "Bearer sk-1"), "Bearer sk-1"),
            (("apikeybearer", "sk-1"), "sk-1"),
            (("cookie", "a=b; asc_auth_key=token+x==; c=d"), "token+x=="),
        ] {
            assert_eq!(lent_by(user(), header).as_deref(), Some(credential));
        }
        assert_eq!(lent_by(Role::Installation, ("authorization", "Bearer sk-1")), None);
    }
}
