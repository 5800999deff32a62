//! `Documents` and `ThridpartyDocuments`: folders of the portal itself.

use super::super::documents::{Documents, Portal};
use super::super::params::{FILE_ID, find, lent, normal};
use super::super::{Storage, StorageError, StorageParams, StorageType};
use super::Storages;

/// Longest id of a folder or file; those of connected clouds hold paths.
const LONGEST_ID: usize = 1000;

impl Storages {
    pub(super) fn documents(
        &self,
        kind: StorageType,
        params: &StorageParams,
    ) -> Result<Storage, StorageError> {
        let file = find(params, &[normal(FILE_ID).as_str()])?;
        let folder = find(params, &["folderid"])?;
        for id in file.iter().chain(&folder) {
            check_id(kind, id)?;
        }
        let portal = self.documents_portal()?;
        Ok(Storage::documents(Documents::new(portal, folder, file, lent(params)?)?))
    }

    /// An archive by its file's id, as DocSpace's `filePath` has it.
    pub(super) fn document_at(
        &self,
        kind: StorageType,
        params: &StorageParams,
        id: &str,
    ) -> Result<(Storage, String), StorageError> {
        let mut params = params.clone();
        params.retain(|name, _| !["fileid", "folderid"].contains(&normal(name).as_str()));
        params.insert(FILE_ID.to_owned(), id.trim().to_owned());
        let storage = self.documents(kind, &params)?;
        // Only for messages: the file is found by its id.
        let name: String =
            id.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(100).collect();
        Ok((storage, format!("file {name}")))
    }

    fn documents_portal(&self) -> Result<&Portal, StorageError> {
        self.portal.as_ref().ok_or_else(|| {
            StorageError::NotConfigured(
                "backups into the portal's documents need [portal.docspace] url in the \
                 configuration, the address of DocSpace"
                    .to_owned(),
            )
        })
    }
}

/// DocSpace's own folders and files have numbers; those of connected clouds have texts.
fn check_id(kind: StorageType, id: &str) -> Result<(), StorageError> {
    let numeric = id.parse::<u32>().is_ok_and(|number| number > 0);
    let plain = id.len() <= LONGEST_ID && !id.chars().any(char::is_control) && !is_dots(id);
    let fits = match kind {
        StorageType::Documents => numeric,
        _ => id.parse::<i64>().is_err() && plain,
    };
    if fits {
        return Ok(());
    }
    Err(StorageError::Invalid(format!(
        "wrong folder type: {id:?} is no id of {}",
        match kind {
            StorageType::Documents => "the portal's documents (a number)",
            _ => "a connected cloud (a text such as drive-1-…)",
        }
    )))
}

/// What URLs take for a step in the path.
fn is_dots(id: &str) -> bool {
    matches!(id, "." | "..")
}
