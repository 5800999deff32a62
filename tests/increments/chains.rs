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
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use uuid::Uuid;

use crate::support::clocked::{Clocked, by_hand, nightly};
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

/// Mostly small: what is written stays for the rest of a long chain.
fn size(most: usize) -> impl Strategy<Value = usize> {
    prop_oneof![9 => 0..50_000_usize, 1 => 0..most]
}

fn change() -> impl Strategy<Value = Change> {
    let row = 0..4_000_000_i64;
    prop_oneof![
        row.clone().prop_map(Change::Insert),
        (row.clone(), 1..30_000_i64).prop_map(|(from, count)| Change::Update(from, count)),
        (row.clone(), 1..300_000_i64).prop_map(|(from, count)| Change::Delete(from, count)),
        (row, size(3_000_000)).prop_map(|(id, size)| Change::Blob(id, size)),
        (0..3_u8).prop_map(Change::Table),
        (0..3_u8).prop_map(Change::Drop),
        (0..9_u8, size(2_000_000), any::<u8>()).prop_map(|(n, size, b)| Change::Write(n, size, b)),
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
    let request = StartBackup { mode, ..by_hand() };
    let job = backup::start(&service.app, request).await.unwrap();
    service.work().await;
    let job = service.app.queue.get(job.id).await.unwrap().unwrap();
    assert_eq!(job.state, JobState::Succeeded, "{:?}", job.error);
    assert_eq!(job.warnings, Vec::<String>::new());
    service.app.catalog.archives().get(job.archive_id.unwrap()).await.unwrap().unwrap()
}

pub type Whole = BTreeMap<String, (EntryKind, u64, Option<u64>, Vec<u8>)>;

/// Everything in an archive but the lists of chunks, which each chain has a key of its own for.
pub async fn whole(service: &Clocked, record: &ArchiveRecord) -> Whole {
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

pub fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test]
async fn every_link_is_what_a_full_backup_is() {
    let mut runner = TestRunner::default();
    let links = number("PORTAL_BACKUP_CHAIN_LINKS", 50);
    for _ in 0..number("PORTAL_BACKUP_CHAINS", 1) {
        let steps = prop::collection::vec(prop::collection::vec(change(), 0..6), links);
        let steps = steps.new_tree(&mut runner).unwrap().current();
        let portal = PlainPortal::new(4000);
        // It only makes each of so many links slower.
        std::fs::remove_file(portal.files().join("noise.bin")).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let service = Clocked::open(dir.path(), &portal.config(), "2026-01-01T00:00:00Z").await;
        make(&service, Mode::Full).await;
        let mut last = None;
        for step in &steps {
            step.iter().for_each(|change| apply(&portal, change));
            let link = make(&service, Mode::Incremental).await;
            assert_same(&service, &link, &(step, &steps)).await;
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
        let job = backup::consolidate::start(&service.app, None, last.id, None).await.unwrap();
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

/// An increment and a full backup of the same moment, compared. The full one is deleted, so that it becomes no parent.
async fn assert_same(service: &Clocked, link: &ArchiveRecord, what: &dyn std::fmt::Debug) {
    assert_eq!(link.mode, "incremental");
    let found = whole(service, link).await;
    let full = make(service, Mode::Full).await;
    let expected = whole(service, &full).await;
    archives::delete(&service.app, None, full.id, None).await.unwrap();
    let differ: Vec<_> = found
        .keys()
        .chain(expected.keys())
        .filter(|path| found.get(*path) != expected.get(*path))
        .collect();
    assert!(differ.is_empty(), "{differ:?} after {what:?}");
}

/// What happens to a file.
#[derive(Debug, Clone)]
enum Damage {
    Removed,
    /// To so many thousandths.
    Cut(usize),
    /// A byte at so many thousandths.
    Changed(usize, u8),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        Just(Damage::Removed),
        (0..1000_usize).prop_map(Damage::Cut),
        (0..1000_usize, 1..=255_u8).prop_map(|(at, bits)| Damage::Changed(at, bits)),
    ]
}

#[tokio::test]
async fn whatever_is_wrong_with_a_link_is_found_and_named() {
    let mut runner = TestRunner::default();
    let portal = PlainPortal::new(500);
    std::fs::remove_file(portal.files().join("noise.bin")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let service = Clocked::open(dir.path(), &portal.config(), "2026-01-01T00:00:00Z").await;
    let app = &service.app;
    let mut links = vec![make(&service, Mode::Full).await];
    for step in 0..5_u8 {
        apply(&portal, &Change::Write(step, 2000, step));
        apply(&portal, &Change::Insert(i64::from(step)));
        links.push(make(&service, Mode::Incremental).await);
    }
    let last = links.pop().unwrap();
    let problems = async || {
        let opened = Opened::new(archives::stored(app, &last).await.unwrap(), &app.keys).await;
        let near = chain::Near::Storage(archives::storage(app, &last).unwrap());
        let progress = portal_backup::jobs::Progress::default();
        let keys = &app.keys;
        let verified = chain::verify(Some(app), keys, &near, &opened.unwrap(), &progress).await;
        verified.map_or_else(|error| error.to_string(), |report| report.problems.join("; "))
    };
    assert_eq!(problems().await, "");
    for _ in 0..40 {
        let tree = (0..links.len(), damage()).new_tree(&mut runner).unwrap();
        let (which, damage) = tree.current();
        let link = &links[which];
        let file = url::Url::parse(&link.url).unwrap().to_file_path().unwrap();
        let whole = std::fs::read(&file).unwrap();
        match damage {
            Damage::Removed => std::fs::remove_file(&file).unwrap(),
            Damage::Cut(to) => std::fs::write(&file, &whole[..whole.len() * to / 1000]).unwrap(),
            Damage::Changed(at, bits) => {
                let mut bytes = whole.clone();
                bytes[whole.len() * at / 1000] ^= bits;
                std::fs::write(&file, bytes).unwrap();
            }
        }
        let found = problems().await;
        assert!(found.contains(&link.name), "{damage:?} of {}: {found}", link.name);
        std::fs::write(&file, whole).unwrap();
    }
    assert_eq!(problems().await, "");
}

#[tokio::test]
async fn a_schedule_makes_a_full_backup_when_one_is_due() {
    let portal = PlainPortal::new(10);
    let dir = tempfile::tempdir().unwrap();
    let now = Timestamp::now();
    let service = Clocked::open(dir.path(), &portal.config(), &now.to_string()).await;
    let wanted = SetSchedule {
        id: Some(Uuid::new_v4()),
        cron: "0 0 * ? * *".to_owned(),
        mode: Mode::Incremental,
        full_every: Some("5h".to_owned()),
        retention: Rules::default(),
        ..nightly()
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
