//! `serve`: the API, the worker, or both, until a signal.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::{CliError, Global};
use crate::app::App;
use crate::config::Role;
use crate::http;
use crate::jobs::{WorkerHandle, WorkerOptions};
use crate::ops::scheduler::{self, SchedulerHandle};
use crate::ops::uploads;

/// How long running work may take to stop and clean up after a signal.
const SHUTDOWN: Duration = Duration::from_secs(25);

#[derive(Debug, Args)]
pub struct Serve {}

impl Serve {
    pub async fn run(self, global: &Global) -> Result<(), CliError> {
        raise_open_files();
        let app = global.app().await?;
        let service = Service::start(app).await?;
        tracing::info!(address = %service.address(), "serving");
        signal().await?;
        tracing::info!("stopping");
        service.stop().await;
        Ok(())
    }
}

/// A running service; the demo and tests start the same.
pub struct Service {
    handle: actix_web::dev::ServerHandle,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
    address: std::net::SocketAddr,
    worker: Option<WorkerHandle>,
    sweeper: tokio::task::JoinHandle<()>,
    scheduler: Option<SchedulerHandle>,
}

impl Service {
    pub async fn start(app: Arc<App>) -> Result<Self, CliError> {
        let role = app.config.server.role;
        let listen = app.config.server.listen;
        let listener = TcpListener::bind(listen)
            .map_err(|error| CliError::Failed(format!("cannot listen on {listen}: {error}")))?;
        let address = listener.local_addr().map_err(CliError::failed)?;
        let server = http::serve(Arc::clone(&app), listener).map_err(CliError::failed)?;
        let worker = match role {
            Role::Api => None,
            Role::All | Role::Worker => {
                let copies = app.storages.copy_names().len();
                let options = WorkerOptions { copies, ..WorkerOptions::default() };
                Some(app.start_worker(options).map_err(CliError::failed)?)
            }
        };
        let scheduler = worker.is_some().then(|| scheduler::start(&app));
        let sweeper = tokio::spawn(async move { uploads::keep_swept(&app).await });
        let handle = server.handle();
        Ok(Self { handle, server: tokio::spawn(server), address, worker, sweeper, scheduler })
    }

    pub fn address(&self) -> std::net::SocketAddr {
        self.address
    }

    /// Running jobs stop cleanly and are queued again; open requests are answered.
    pub async fn stop(self) {
        self.sweeper.abort();
        let scheduler = async {
            if let Some(scheduler) = self.scheduler
                && tokio::time::timeout(SHUTDOWN, scheduler.shutdown()).await.is_err()
            {
                tracing::warn!("what the scheduler is at takes too long and is left");
            }
        };
        let worker = async {
            if let Some(worker) = self.worker {
                worker.shutdown(SHUTDOWN).await;
            }
        };
        tokio::join!(worker, scheduler);
        self.handle.stop(true).await;
        if let Ok(Err(error)) = self.server.await {
            tracing::error!(%error, "the server ended badly");
        }
    }
}

/// Every client that keeps its connection is an open file, and systems allow 1024 unless one asks.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    const ENOUGH: u64 = 65_536;
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(ENOUGH, |most| most.min(ENOUGH));
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "cannot have more than the usual number of open files");
        }
    }
}

/// Waits for Ctrl-C or SIGTERM.
pub async fn signal() -> Result<(), CliError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(CliError::failed)?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result.map_err(CliError::failed),
        _ = terminate.recv() => Ok(()),
    }
}
