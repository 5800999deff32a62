//! Storages: where archives go. A storage is a folder or a prefix of a bucket; archives lie directly in it.
//!
//! [`Storages`] knows what is configured and what a request may name; [`Storage`] is one place, with
//! the same behaviour for folders and clouds: an archive appears under its name whole or not at all.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

mod allow;
mod cloud;
mod consumer;
mod documents;
mod error;
mod folder;
mod location;
mod name;
mod object;
mod params;
mod place;
mod storages;
mod upload;

pub use consumer::ConsumerSecrets;
pub use error::StorageError;
pub use name::is_archive;
pub use object::StoredObject;
pub use params::{
    FILE_ID, PORTAL_TOKEN, has_portal_token, in_record, is_secret_param, lend, locked_until,
    of_tenant, secret_params, started_by_hand,
};
pub use place::Storage;
pub use storages::{Storages, UPLOADS};
pub use upload::{JournalError, Upload, UploadHint, UploadJournal};

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

impl StorageType {
    /// Whether it is a folder of the portal itself.
    pub fn is_documents(self) -> bool {
        matches!(self, Self::Documents | Self::ThirdpartyDocuments)
    }

    /// When an archive that was made at `created` goes by itself: DocSpace keeps those of its data store for a day.
    pub fn expires_on(self, created: Timestamp) -> Option<Timestamp> {
        (self == Self::DataStore).then(|| created + SignedDuration::from_hours(24))
    }
}

/// `storageParams` of a request: names in DocSpace's spelling, values as text.
pub type StorageParams = BTreeMap<String, String>;

/// What an attempt to write an archive may have left behind: recorded before the first byte is written,
/// so that the next start can remove it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remains {
    pub name: String,
    /// How the storage finds what belongs to this attempt; its form is the storage's own.
    pub upload_id: Option<String>,
}
