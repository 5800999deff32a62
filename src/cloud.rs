//! Reaching the buckets of clouds: options, clients, and errors in words. Sources read them, storages
//! write archives to them; both by the same options.

mod client;
mod error;
mod listed;
mod put;

pub use client::ClientConfig;
pub use error::{Context, Fault, FaultKind, has_code, is_no_bucket, is_not_implemented};
pub use listed::Unnamable;
pub use put::PutSettings;

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
}
