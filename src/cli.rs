//! The command line: one file a verb.

mod apikey;
mod archive_ref;
mod backup;
mod config_check;
mod consolidate;
mod demo;
mod extract;
mod follow;
mod import;
mod list;
mod logging;
mod ls;
mod output;
mod plan;
mod progress;
mod rekey;
mod restore;
mod schedule;
mod serve;
mod storage_arg;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};

use crate::app::{App, StartError};
use crate::config::{self, Config, ConfigError};
use crate::ops::OpError;

/// Backs up a web portal, its database and files, as one verified archive in any storage; and puts it back.
#[derive(Debug, Parser)]
#[command(name = "portal-backup", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    global: Global,
}

#[derive(Debug, Args)]
struct Global {
    /// The configuration file [default: portal-backup.toml, else /etc/portal-backup/portal-backup.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the service
    Serve(serve::Serve),
    /// Make a backup and wait for it
    Backup(backup::Backup),
    /// Put the portal back as an archive has it
    Restore(restore::Restore),
    /// Make one full archive of an increment and all that it builds on
    Consolidate(consolidate::Consolidate),
    /// Check that an archive is whole
    Verify(verify::Verify),
    /// List the archives in the catalog
    List(list::List),
    /// List what is in an archive
    Ls(ls::Ls),
    /// Take files or tables out of an archive
    Extract(extract::Extract),
    /// Manage API keys
    #[command(subcommand)]
    Apikey(apikey::Apikey),
    /// Manage schedules
    #[command(subcommand)]
    Schedule(schedule::Schedule),
    /// Enter archives that lie in a storage into the catalog
    Import(import::Import),
    /// Encrypt stored archives anew, for the recipients that are configured now
    Rekey(rekey::Rekey),
    /// Look at the configuration
    #[command(subcommand)]
    Config(config_check::ConfigVerb),
    /// Make a demo portal, serve it and back it up
    Demo(demo::Demo),
}

/// How a verb ended badly, and with which exit status.
#[derive(Debug, thiserror::Error)]
enum CliError {
    /// Wrong usage or configuration: status 2.
    #[error("{0}")]
    Usage(String),
    /// It was tried and failed: status 1.
    #[error("{0}")]
    Failed(String),
}

impl CliError {
    fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<StartError> for CliError {
    fn from(error: StartError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<OpError> for CliError {
    fn from(error: OpError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Runs the program; its exit status is 0 done, 1 failed, 2 wrong usage or configuration.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.global.json;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("portal-backup: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("portal-backup: {error}");
            if json && !output::has_printed() {
                // Whoever reads the document reads of the failure; its status says it either way.
                let _ = output::json(&serde_json::json!({"error": error.to_string()}));
            }
            ExitCode::from(match error {
                CliError::Usage(_) => 2,
                CliError::Failed(_) => 1,
            })
        }
    }
}

async fn run(cli: Cli) -> Result<(), CliError> {
    let global = cli.global;
    logging::start(matches!(cli.verb, Verb::Serve(_)));
    survive_file_limits()?;
    match cli.verb {
        Verb::Serve(verb) => verb.run(&global).await,
        Verb::Backup(verb) => verb.run(&global).await,
        Verb::Restore(verb) => verb.run(&global).await,
        Verb::Consolidate(verb) => verb.run(&global).await,
        Verb::Verify(verb) => verb.run(&global).await,
        Verb::List(verb) => verb.run(&global).await,
        Verb::Ls(verb) => verb.run(&global).await,
        Verb::Extract(verb) => verb.run(&global).await,
        Verb::Apikey(verb) => verb.run(&global).await,
        Verb::Schedule(verb) => verb.run(&global).await,
        Verb::Import(verb) => verb.run(&global).await,
        Verb::Rekey(verb) => verb.run(&global).await,
        Verb::Config(verb) => verb.run(&global).await,
        Verb::Demo(verb) => verb.run(&global).await,
    }
}

/// Beyond a limit of file sizes (`ulimit -f`) a write must fail like one to a full disk: the signal that comes with it
/// would end the process, with everything else that it is doing.
fn survive_file_limits() -> Result<(), CliError> {
    use tokio::signal::unix::{SignalKind, signal};
    // Once it is listened for, it ends nothing, however soon the listener is gone.
    let too_large = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    signal(too_large).map(drop).map_err(CliError::failed)
}

impl Global {
    fn load(&self) -> Result<Config, CliError> {
        Ok(config::load(self.config.as_deref(), std::env::vars())?)
    }

    async fn app(&self) -> Result<Arc<App>, CliError> {
        Ok(App::build(self.load()?).await?)
    }
}
