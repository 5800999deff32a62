//! Reaching the buckets of clouds: options, clients, and errors in words. Sources read them, storages
//! write archives to them; both by the same options.

mod client;
mod error;
mod listed;
mod middle;
pub mod odd;
mod place;
mod put;
mod signing;

pub use client::ClientConfig;
pub use error::{Context, Fault, FaultKind, has_code, is_no_bucket, is_not_implemented};
pub use listed::Unnamable;
pub use middle::{Deletes, LockedUntil, Tagged, WithTags};
pub use place::Place;
pub use put::PutSettings;

use object_store::Attribute;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// What a path in an address must not hold as it is: all but RFC 3986's unreserved characters and `/`.
const IN_ADDRESS: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// A key as it stands in an address.
pub fn in_address(key: &str) -> String {
    percent_encode(key.as_bytes(), IN_ADDRESS).to_string()
}

/// Whose interface a bucket has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Amazon's, and the many that resemble it.
    S3,
    Google,
    Azure,
}

impl Provider {
    /// By the scheme of a URL.
    pub fn of_scheme(scheme: &str) -> Option<Self> {
        match scheme {
            "s3" | "s3a" => Some(Self::S3),
            "gs" => Some(Self::Google),
            "az" | "azure" | "adl" | "abfs" | "abfss" => Some(Self::Azure),
            _ => None,
        }
    }

    /// The name of the mark among the metadata of our archives: it says which attempt wrote one.
    pub fn mark(self) -> Attribute {
        let name = match self {
            // There names are those of programming languages.
            Self::Azure => "portal_backup_attempt",
            Self::S3 | Self::Google => "portal-backup-attempt",
        };
        Attribute::Metadata(name.into())
    }
}
