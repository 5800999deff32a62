//! Archives uploaded for a restore, one a tenant, through DocSpace's chunked protocol.

use std::path::PathBuf;

use crate::app::App;

/// The archive that a tenant uploaded, complete; None: there is none.
pub async fn uploaded(_app: &App, _tenant: i64) -> Option<PathBuf> {
    todo!()
}

/// Removes what a tenant uploaded.
pub async fn remove(_app: &App, _tenant: i64) {}
