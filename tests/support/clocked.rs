//! The application in this process, by a clock that the test moves.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use portal_backup::app::App;
use portal_backup::catalog::ScheduleRecord;
use portal_backup::config;
use portal_backup::jobs::{Job, JobFilter, JobKind, WorkerOptions};
use portal_backup::notify::{Event, Notifier};
use portal_backup::ops::backup::{Mode, StartBackup};
use portal_backup::ops::scheduler::tick;
use portal_backup::ops::schedules::SetSchedule;
use portal_backup::schedule::SetClock;
use portal_backup::schedule::retention::Rules;
use portal_backup::storage::{StorageParams, StorageType};

/// Keeps what it was told.
#[derive(Default)]
pub struct Told(pub Mutex<Vec<Event>>);

#[async_trait::async_trait]
impl Notifier for Told {
    async fn notify(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

pub struct Clocked {
    pub app: Arc<App>,
    pub clock: Arc<SetClock>,
    pub told: Arc<Told>,
}

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// DocSpace's schedule of the whole installation, each night, of which one archive is kept.
pub fn nightly() -> SetSchedule {
    SetSchedule {
        id: None,
        tenant_id: 1,
        dump: true,
        name: "nightly".to_owned(),
        cron: "0 0 3 ? * *".to_owned(),
        timezone: None,
        enabled: true,
        storage_type: StorageType::Local,
        storage_params: StorageParams::new(),
        mode: Mode::Full,
        full_every: None,
        retention: Rules::stored(1),
    }
}

/// A backup of the whole installation that somebody asks for.
pub fn by_hand() -> StartBackup {
    StartBackup {
        tenant_id: 1,
        storage_type: StorageType::Local,
        storage_params: StorageParams::new(),
        dump: true,
        mode: Mode::Full,
        parent: None,
        full_every: None,
        actor: None,
    }
}

impl Clocked {
    /// `portal`: the `[portal]` section; the catalog and the archives lie in `dir`. Several may share it.
    pub async fn open(dir: &Path, portal: &str, now: &str) -> Self {
        let home = dir.display();
        let file = dir.join("portal-backup.toml");
        let mut text = format!("[storage.local]\nroot = \"{home}/backups\"\n{portal}");
        if !portal.contains("[catalog]") {
            text += &format!("\n[catalog]\nurl = \"sqlite://{home}/catalog.db\"\n");
        }
        std::fs::write(&file, text).unwrap();
        let config = config::load(Some(&file), []).unwrap();
        let clock = Arc::new(SetClock::at(at(now)));
        let told = Arc::new(Told::default());
        let app = App::build_with(config, clock.clone(), told.clone()).await.unwrap();
        Self { app, clock, told }
    }

    pub fn set(&self, now: &str) {
        self.clock.set(at(now));
    }

    pub async fn tick(&self) {
        tick(&self.app).await.unwrap();
    }

    pub async fn jobs(&self, kind: JobKind) -> Vec<Job> {
        let filter = JobFilter { kind: Some(kind), ..JobFilter::default() };
        self.app.queue.list(filter, 1000, 0).await.unwrap().items
    }

    /// Runs whatever is queued, and waits until nothing is.
    pub async fn work(&self) {
        let options = WorkerOptions { poll: Duration::from_millis(20), ..Default::default() };
        let worker = self.app.start_worker(options).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let filter = JobFilter { unfinished: true, ..JobFilter::default() };
        while !self.app.queue.list(filter, 1, 0).await.unwrap().items.is_empty() {
            assert!(Instant::now() < deadline, "a job does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        worker.shutdown(Duration::from_secs(20)).await;
    }

    /// A run from its time to its note.
    pub async fn run(&self, now: &str) {
        self.set(now);
        self.tick().await;
        self.work().await;
        self.tick().await;
        self.work().await;
    }

    pub async fn schedule(&self, id: uuid::Uuid) -> ScheduleRecord {
        self.app.catalog.schedules().get(id).await.unwrap().unwrap()
    }
}
