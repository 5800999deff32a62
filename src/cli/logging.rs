//! Where the log goes: standard error, as text on a terminal and as JSON lines otherwise.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// `service`: long-running, so that what it does is logged too; other verbs log only what goes wrong.
/// The variable `RUST_LOG` overrides what is logged.
pub fn start(service: bool) {
    let default = if service { "info" } else { "warn" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start in one process (tests) keeps the first.
    let _ = if std::io::stderr().is_terminal() || !service {
        builder.with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
}
