//! Storages: where archives go. Each of DocSpace's storage types is an `object_store` with a prefix.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// DocSpace's storage types; the numbers are the ones on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub enum StorageType {
    Documents = 0,
    ThirdpartyDocuments = 1,
    CustomCloud = 2,
    Local = 3,
    DataStore = 4,
    ThirdPartyConsumer = 5,
}

/// `storageParams` of a request: names in DocSpace's spelling, values as text.
pub type StorageParams = BTreeMap<String, String>;

/// What an attempt to write an archive may have left behind: recorded before the first byte is written,
/// so that the next start can remove it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remains {
    pub name: String,
    pub upload_id: Option<String>,
}
