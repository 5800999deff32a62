//! DocSpace knows one schedule a tenant and one of the installation. Each has an id that is always the same,
//! so that its archives stay its own when it is deleted and made anew, here or by DocSpace.

use jiff::Timestamp;
use uuid::Uuid;

use crate::catalog::ScheduleRecord;
use crate::storage::{StorageParams, StorageType};

/// The id of DocSpace's schedule of a tenant, or of the installation.
pub fn slot_id(tenant_id: i64, dump: bool) -> Uuid {
    let whose = if dump { -1 } else { tenant_id };
    let mut bytes = *b"portal\x40\x00\x80\x00\x00\x00\x00\x00\x00\x00";
    bytes[10..].copy_from_slice(&whose.to_be_bytes()[2..]);
    Uuid::from_bytes(bytes)
}

/// Whether a schedule is the one that DocSpace knows.
pub fn is_slot(record: &ScheduleRecord) -> bool {
    record.id == slot_id(record.tenant_id, record.dump)
}

/// Whether a schedule's time has come, and nothing of it runs.
pub fn is_due(record: &ScheduleRecord, now: Timestamp) -> bool {
    let come = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
    !record.awaited && record.enabled && (come(record.next_run) || come(record.retry_on))
}

/// What DocSpace keeps as `storage_base_path`.
pub fn base_path(storage_type: StorageType, params: &StorageParams) -> Option<String> {
    let named = |name: &str| {
        let found = params.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
    };
    match storage_type {
        StorageType::Documents | StorageType::ThirdpartyDocuments => named("folderId"),
        // DocSpace tells the path back as folderId, and clients send back what they were told.
        StorageType::Local => named("filePath").or_else(|| named("folderId")),
        _ => None,
    }
}

/// The parameters that say the same as DocSpace's columns.
pub fn params_of(
    storage_type: StorageType,
    base_path: Option<&str>,
    params: &StorageParams,
) -> StorageParams {
    let name = match storage_type {
        StorageType::Documents | StorageType::ThirdpartyDocuments => "folderId",
        StorageType::Local => "filePath",
        _ => return params.clone(),
    };
    base_path.map(|path| (name.to_owned(), path.to_owned())).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_have_ids_of_their_own() {
        assert_eq!(slot_id(7, true), slot_id(8, true));
        assert_ne!(slot_id(7, false), slot_id(8, false));
        assert_ne!(slot_id(1, true), slot_id(1, false));
        assert_eq!(slot_id(258, false).to_string(), "706f7274-616c-4000-8000-000000000102");
        assert_eq!(slot_id(1, false).get_version_num(), 4);
    }

    #[test]
    fn folders_are_docspaces_base_path() {
        let params = |name: &str| StorageParams::from([(name.to_owned(), "12".to_owned())]);
        assert_eq!(base_path(StorageType::Documents, &params("FolderId")).as_deref(), Some("12"));
        assert_eq!(base_path(StorageType::Documents, &params("filePath")), None);
        assert_eq!(base_path(StorageType::Local, &params("filePath")).as_deref(), Some("12"));
        assert_eq!(base_path(StorageType::ThirdPartyConsumer, &params("folderId")), None);
        for storage_type in [StorageType::Documents, StorageType::Local] {
            let read = params_of(storage_type, Some("12"), &StorageParams::new());
            assert_eq!(base_path(storage_type, &read).as_deref(), Some("12"));
        }
    }
}
