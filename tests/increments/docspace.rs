//! A chain on MariaDB in DocSpace's layout: random changes, each link compared with a full backup of the same moment, and
//! restored. `PORTAL_BACKUP_CHAIN_LINKS` says how long it is.

use std::time::{Duration, Instant};

use portal_backup::catalog::ArchiveRecord;
use portal_backup::jobs::{Job, JobState, WorkerOptions};
use portal_backup::ops::archives;
use portal_backup::ops::backup::{self, Mode, StartBackup};
use portal_backup::ops::restore::{self, ArchiveChoice, RestoreRequest};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use uuid::Uuid;

use super::chains::{number, whole};
use crate::roundtrip::docspace::{config, fingerprint};
use crate::support::clocked::{Clocked, by_hand};
use crate::support::docspace::DocSpace;
use crate::support::portal::{noise, tree};

#[derive(Debug, Clone)]
enum Change {
    Insert(u32, u32),
    Update(u32, u32),
    Delete(u32, u32),
    /// In a table without a key.
    Keyless(u32, bool),
    /// In DocSpace's own tables.
    Title(u8),
    Column(u8),
    Write(i64, u8, usize),
    Remove(i64, u8),
}

fn change() -> impl Strategy<Value = Change> {
    let (row, tenant, file) = (0..200_000_u32, 1..3_i64, 0..6_u8);
    prop_oneof![
        (row.clone(), 1..500_u32).prop_map(|(from, count)| Change::Insert(from, count)),
        (row.clone(), 1..20_000_u32).prop_map(|(from, count)| Change::Update(from, count)),
        (row.clone(), 1..20_000_u32).prop_map(|(from, count)| Change::Delete(from, count)),
        (row, any::<bool>()).prop_map(|(row, adds)| Change::Keyless(row, adds)),
        any::<u8>().prop_map(Change::Title),
        any::<u8>().prop_map(Change::Column),
        (tenant.clone(), file.clone(), 0..300_000_usize)
            .prop_map(|(t, n, s)| Change::Write(t, n, s)),
        (tenant, file).prop_map(|(tenant, n)| Change::Remove(tenant, n)),
    ]
}

async fn apply(docspace: &DocSpace, change: &Change) {
    let sql = match change {
        Change::Insert(from, count) => format!(
            "insert ignore into chain_rows select seq, left(sha2(rand(), 224), 32), unhex(sha2(seq, 512)), null from seq_{from}_to_{}",
            from + count
        ),
        Change::Update(from, count) => format!(
            "update chain_rows set a = concat('new \\n', left(sha2(rand(), 224), 32)), at = '2026-01-02 03:04:05.678901' \
             where id between {from} and {}",
            from + count
        ),
        Change::Delete(from, count) => {
            format!("delete from chain_rows where id between {from} and {}", from + count)
        }
        Change::Keyless(row, true) => {
            format!(
                "insert into chain_keyless select {row} + seq % 3, repeat('k', seq) from seq_1_to_200"
            )
        }
        Change::Keyless(row, false) => format!("delete from chain_keyless where n % 7 = {row} % 7"),
        Change::Title(n) => {
            format!("update files_file set title = 'title {n}' where id % 2 = {n} % 2")
        }
        Change::Column(n) => {
            format!("alter table chain_rows modify a varchar({})", 100 + u32::from(*n))
        }
        Change::Write(..) | Change::Remove(..) => String::new(),
    };
    if !sql.is_empty() {
        docspace.execute(&[sql]).await;
    }
    let file = |tenant: &i64, n: &u8| {
        let folder =
            format!("Products/Files/00/00/0{tenant}/folder_1000/file_{}", 500 + u32::from(*n));
        docspace.root().join(folder).join("v1/content.bin")
    };
    match change {
        Change::Write(tenant, n, size) => {
            let file = file(tenant, n);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, noise(*size)).unwrap();
        }
        Change::Remove(tenant, n) => {
            // With the folders that were its own, which no archive has.
            if let Some(folder) = file(tenant, n).parent().and_then(|version| version.parent())
                && folder.exists()
            {
                std::fs::remove_dir_all(folder).unwrap();
            }
        }
        _ => {}
    }
}

/// Waits for the end of a job, by the one worker that runs all the time: a pool of connections ends with the worker that
/// made it.
async fn ended(service: &Clocked, id: Uuid) -> Job {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let job = service.app.queue.get(id).await.unwrap().unwrap();
        if job.state.is_finished() {
            assert_eq!(job.state, JobState::Succeeded, "{:?}", job.error);
            return job;
        }
        assert!(Instant::now() < deadline, "a job does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn made(service: &Clocked, mode: Mode) -> ArchiveRecord {
    let request = StartBackup { mode, ..by_hand() };
    let job = backup::start(&service.app, request).await.unwrap();
    let job = ended(service, job.id).await;
    let record = service.app.catalog.archives().get(job.archive_id.unwrap()).await;
    let record = record.unwrap().unwrap();
    assert_eq!(record.mode == "incremental", mode == Mode::Incremental, "{:?}", job.warnings);
    record
}

async fn put_back(service: &Clocked, link: &ArchiveRecord) {
    let request = RestoreRequest::of(ArchiveChoice::Id { id: link.id });
    let job = restore::start(&service.app, 1, request).await.unwrap().job;
    ended(service, job.id).await;
}

#[tokio::test]
async fn every_link_of_a_docspace_comes_back_as_it_was() {
    let docspace = DocSpace::create().await;
    docspace
        .execute(&[
            "create table chain_rows (id int unsigned primary key, a varchar(100), b mediumblob, at datetime(6)) charset utf8mb4",
            "create table chain_keyless (n int, t text) charset utf8mb4",
            "insert into chain_rows select seq * 7, left(sha2(seq, 224), 32), unhex(sha2(seq, 512)), null from seq_1_to_30000",
        ])
        .await;
    let dir = tempfile::tempdir().unwrap();
    let service = Clocked::open(dir.path(), &config(&docspace), "2026-01-01T00:00:00Z").await;
    let moment = || (fingerprint(&docspace.database), tree(docspace.root()));
    let options = WorkerOptions { poll: Duration::from_millis(20), ..Default::default() };
    let worker = service.app.start_worker(options).unwrap();
    let full = made(&service, Mode::Full).await;
    // Now nothing is there that no archive has.
    put_back(&service, &full).await;

    let count = number("PORTAL_BACKUP_CHAIN_LINKS", 5);
    let steps = prop::collection::vec(prop::collection::vec(change(), 1..6), count);
    let steps = steps.new_tree(&mut TestRunner::default()).unwrap().current();
    let mut links = Vec::new();
    for step in &steps {
        for change in step {
            apply(&docspace, change).await;
        }
        let link = made(&service, Mode::Incremental).await;
        let same = made(&service, Mode::Full).await;
        let (found, expected) = (whole(&service, &link).await, whole(&service, &same).await);
        archives::delete(&service.app, None, same.id, None).await.unwrap();
        let differ: Vec<_> = found
            .keys()
            .chain(expected.keys())
            .filter(|path| found.get(*path) != expected.get(*path))
            .collect();
        assert!(differ.is_empty(), "{differ:?} after {step:?} of {steps:?}");
        links.push((link, moment()));
    }
    for (number, (link, (rows, files))) in links.iter().enumerate().rev() {
        put_back(&service, link).await;
        let (rows_now, files_now) = moment();
        let differ: Vec<_> =
            rows.lines().zip(rows_now.lines()).filter(|(then, now)| then != now).take(3).collect();
        assert!(*rows == rows_now, "{differ:#?} of link {number} of {steps:?}");
        assert!(*files == files_now, "the files of link {number} of {steps:?}");
    }
    worker.shutdown(Duration::from_secs(20)).await;
}
