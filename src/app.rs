//! The application, built from its configuration; tests start the same object as `main`.

use crate::config::Config;

/// Everything that requests and jobs share.
pub struct App {
    pub config: Config,
}
