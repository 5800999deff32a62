//! Chains of random changes, compared at every link with a full backup of the same moment.
//! `PORTAL_BACKUP_CHAIN_LINKS` says how long they are, `PORTAL_BACKUP_CHAINS` how many.

use std::collections::BTreeMap;

use archive::EntryKind;
use futures::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use portal_backup::catalog::{ArchiveFilter, ArchiveRecord};
use portal_backup::encryption::Opened;
use portal_backup::jobs::{JobKind, JobState};
use portal_backup::ops::backup::{self, Mode, StartBackup};
use portal_backup::ops::schedules::{self, SetSchedule};
use portal_backup::ops::{archives, chain};
use portal_backup::schedule::retention::Rules;
use portal_backup::storage::{StorageParams, StorageType};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use uuid::Uuid;

use crate::support::clocked::Clocked;
use crate::support::portal::{PlainPortal, noise};

#[derive(Debug, Clone)]
enum Change {
    Insert(i64),
    Update(i64, i64),
    Delete(i64, i64),
    Blob(i64, usize),
    Table(u8),
    Drop(u8),
    Write(u8, usize, u8),
    Touch(u8),
    Remove(u8),
}

fn change() -> impl Strategy<Value = Change> {
    let row = 0..4_000_000_i64;
    prop_oneof![
        row.clone().prop_map(Change::Insert),
        (row.clone(), 1..30_000_i64).prop_map(|(from, count)| Change::Update(from, count)),
        (row.clone(), 1..300_000_i64).prop_map(|(from, count)| Change::Delete(from, count)),
        (row, 0..3_000_000_usize).prop_map(|(id, size)| Change::Blob(id, size)),
        (0..3_u8).prop_map(Change::Table),
        (0..3_u8).prop_map(Change::Drop),
        (0..9_u8, 0..2_000_000_usize, any::<u8>())
            .prop_map(|(n, size, b)| Change::Write(n, size, b)),
        (0..9_u8).prop_map(Change::Touch),
        (0..9_u8).prop_map(Change::Remove),
    ]
}

fn apply(portal: &PlainPortal, change: &Change) {
    let db = rusqlite::Connection::open(portal.database()).unwrap();
    let file = |n: u8| match n % 3 {
        0 => portal.files().join(format!("deep/{n}.bin")),
        _ => portal.files().join(format!("{n}.txt")),
    };
    match change {
        Change::Insert(id) => {
            db.execute("insert or replace into note values (?1, 'new', 1.5)", [id]).unwrap();
        }
        Change::Update(from, count) => {
            let sql = "update note set body = body || '!' where id between ?1 and ?1 + ?2";
            db.execute(sql, [from, count]).unwrap();
        }
        Change::Delete(from, count) => {
            db.execute("delete from note where id between ?1 and ?1 + ?2", [from, count]).unwrap();
        }
        Change::Blob(id, size) => {
            let sql = "insert into pair values (?1, ?2)";
            db.execute(sql, rusqlite::params![id.to_string(), noise(*size)]).unwrap();
        }
        Change::Table(n) => db
            .execute_batch(&format!(
                "create table if not exists t{n} (a integer primary key, b text);
                 insert into t{n} (b) values ('x'), ('y');"
            ))
            .unwrap(),
        Change::Drop(n) => db.execute_batch(&format!("drop table if exists t{n}")).unwrap(),
        Change::Write(n, size, byte) => {
            let mut content = noise(*size);
            content.extend([*byte; 100]);
            std::fs::write(file(*n), content).unwrap();
        }
        Change::Touch(n) => {
            if let Ok(file) = std::fs::File::options().append(true).open(file(*n)) {
                let at = std::time::SystemTime::UNIX_EPOCH
                    + std::time::Duration::from_secs(1_600_000_000);
                file.set_modified(at).unwrap();
            }
        }
        Change::Remove(n) => drop(std::fs::remove_file(file(*n))),
    }
}

pub async fn make(service: &Clocked, mode: Mode) -> ArchiveRecord {
    let request = StartBackup {
        tenant_id: 1,
        storage_type: StorageType::Local,
        storage_params: StorageParams::new(),
        dump: true,
        mode,
        parent: None,
        full_every: None,
    };
    let job = backup::start(&service.app, request).await.unwrap();
    service.work().await;
    let job = service.app.queue.get(job.id).await.unwrap().unwrap();
    assert_eq!(job.state, JobState::Succeeded, "{:?}", job.error);
    assert_eq!(job.warnings, Vec::<String>::new());
    service.app.catalog.archives().get(job.archive_id.unwrap()).await.unwrap().unwrap()
}

type Whole = BTreeMap<String, (EntryKind, u64, Option<u64>, Vec<u8>)>;

/// Everything in an archive but the lists of chunks, which each chain has a key of its own for.
async fn whole(service: &Clocked, record: &ArchiveRecord) -> Whole {
    let archive = archives::open(&service.app, record).await.unwrap();
    let entries: Vec<_> = archive.entries().try_collect().await.unwrap();
    let mut all = BTreeMap::new();
    for entry in entries.iter().filter(|entry| !entry.path.starts_with("extra/increment/")) {
        let content: Vec<bytes::Bytes> = archive.read(entry, None).try_collect().await.unwrap();
        let found = (entry.kind, entry.size, entry.rows, content.concat());
        assert!(all.insert(entry.path.clone(), found).is_none(), "{} is there twice", entry.path);
    }
    all
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test]
async fn every_link_is_what_a_full_backup_is() {
    let mut runner = TestRunner::default();
    let links = number("PORTAL_BACKUP_CHAIN_LINKS", 4);
    for _ in 0..number("PORTAL_BACKUP_CHAINS", 2) {
        let steps = prop::collection::vec(prop::collection::vec(change(), 0..6), links);
        let steps = steps.new_tree(&mut runner).unwrap().current();
        let portal = PlainPortal::new(4000);
        let dir = tempfile::tempdir().unwrap();
        let service = Clocked::open(dir.path(), &portal.config(), "2026-01-01T00:00:00Z").await;
        make(&service, Mode::Full).await;
        let mut last = None;
        for step in &steps {
            step.iter().for_each(|change| apply(&portal, change));
            let link = make(&service, Mode::Incremental).await;
            assert_eq!(link.mode, "incremental");
            let found = whole(&service, &link).await;
            // Of the same moment; and no parent of the next, which adds to what is newest.
            let full = make(&service, Mode::Full).await;
            let expected = whole(&service, &full).await;
            archives::delete(&service.app, None, full.id).await.unwrap();
            let differ: Vec<_> = found
                .keys()
                .chain(expected.keys())
                .filter(|path| found.get(*path) != expected.get(*path))
                .collect();
            assert!(differ.is_empty(), "{differ:?} after {step:?} of {steps:?}");
            last = Some(link);
        }
        let Some(last) = last else { continue };
        let storage = archives::storage(&service.app, &last).unwrap();
        let app = &service.app;
        let stored = archives::stored(app, &last).await.unwrap();
        let opened = Opened::new(stored, &app.keys).await.unwrap();
        let progress = portal_backup::jobs::Progress::default();
        let near = chain::Near::Storage(storage);
        let report = chain::verify(Some(app), &app.keys, &near, &opened, &progress).await.unwrap();
        assert!(report.ok(), "{:?}", report.problems);
        // As one archive it is the same.
        let job = backup::consolidate::start(&service.app, None, last.id).await.unwrap();
        service.work().await;
        let job = service.app.queue.get(job.id).await.unwrap().unwrap();
        assert_eq!(
            (job.kind, job.state),
            (JobKind::Consolidate, JobState::Succeeded),
            "{:?}",
            job.error
        );
        let made =
            service.app.catalog.archives().get(job.archive_id.unwrap()).await.unwrap().unwrap();
        assert_eq!((made.mode.as_str(), made.parent_id), ("full", None));
        assert!(whole(&service, &made).await == whole(&service, &last).await);
    }
}

#[tokio::test]
async fn a_schedule_makes_a_full_backup_when_one_is_due() {
    let portal = PlainPortal::new(10);
    let dir = tempfile::tempdir().unwrap();
    let now = Timestamp::now();
    let service = Clocked::open(dir.path(), &portal.config(), &now.to_string()).await;
    let wanted = SetSchedule {
        id: Some(Uuid::new_v4()),
        tenant_id: 1,
        dump: true,
        name: "hourly".to_owned(),
        cron: "0 0 * ? * *".to_owned(),
        timezone: None,
        enabled: true,
        storage_type: StorageType::Local,
        storage_params: StorageParams::new(),
        mode: Mode::Incremental,
        full_every: Some("5h".to_owned()),
        retention: Rules::default(),
    };
    let wrong = SetSchedule { full_every: Some("soon".to_owned()), ..wanted.clone() };
    assert!(schedules::set(&service.app, wrong).await.is_err());
    let wrong = SetSchedule { mode: Mode::Full, ..wanted.clone() };
    assert!(schedules::set(&service.app, wrong).await.is_err());
    schedules::set(&service.app, wanted).await.unwrap();
    let mut modes = Vec::new();
    for hour in 1..=6 {
        // Archives have the machine's own time, so the first is nearly as old as the clock says.
        service.run(&(now + SignedDuration::from_hours(hour)).to_string()).await;
        let newest = service.app.catalog.archives().list(ArchiveFilter::default(), 1, 0).await;
        modes.push(newest.unwrap().items[0].mode.clone());
    }
    let [full, added] = ["full", "incremental"];
    assert_eq!(modes, [full, added, added, added, added, full]);
}
