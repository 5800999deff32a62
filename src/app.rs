//! The application, built from its configuration; tests start the same object as `main`.

use crate::catalog::Catalog;
use crate::config::Config;
use crate::portal::Portal;

/// Everything that requests and jobs share.
pub struct App {
    pub config: Config,
    pub catalog: Catalog,
    pub portal: Portal,
}
