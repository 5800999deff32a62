//! The catalog on SQLite, PostgreSQL and MariaDB.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use portal_backup::catalog::{
    ArchiveFilter, ArchiveRecord, Catalog, CatalogError, Fired, ScheduleRecord, Scope,
};
use portal_backup::config::Secret;
use portal_backup::jobs::{JobFilter, JobKind, NewJob, Queue};
use portal_backup::schedule::retention::Rules;
use portal_backup::storage::StorageType;
use sqlx::{Connection as _, Executor as _, Row as _};
use uuid::Uuid;

#[path = "support/catalogs.rs"]
mod catalogs;
use catalogs::{Place, record};

on_every_database!(
    archives_come_back_as_they_were,
    archives_are_listed_in_pages,
    marks_of_archives,
    memos_go_with_their_archives,
    keys_work_until_revoked,
    many_may_open_at_once,
    newer_schemas_are_refused,
    writers_do_not_fail_each_other,
    a_schedule_is_fired_by_one_alone,
    a_first_catalog_is_brought_up_to_date,
);

fn archive(number: i64) -> ArchiveRecord {
    ArchiveRecord {
        tenant_id: 1 + number % 2,
        storage_params: [("filePath".to_owned(), "/b'ück\"up/😀".to_owned())].into(),
        size: 1 << 40,
        sha256: "ab".repeat(32),
        created_on: Timestamp::from_millisecond(1_700_000_000_000 + number).unwrap(),
        dump: number % 3 == 0,
        ..record(&format!("workspace_{number}.tar.gz"))
    }
}

async fn archives_come_back_as_they_were(place: &Place) {
    let catalog = place.open().await;
    let bare = archive(1);
    let at = |ms| Some(Timestamp::from_millisecond(ms).unwrap());
    let full = ArchiveRecord {
        expires_on: at(1),
        parent_id: Some(bare.id),
        verified_on: at(-2),
        proved_on: at(3),
        removed_on: at(4),
        missing_since: at(5),
        warnings: 7,
        job_id: Some(Uuid::new_v4()),
        schedule_id: None,
        // Longer than MySQL's `text`.
        url: format!("file:///{}", "ж".repeat(100_000)),
        storage_type: StorageType::CustomCloud,
        ..archive(2)
    };
    for record in [&bare, &full] {
        assert!(catalog.archives().insert(record).await.unwrap());
        assert!(!catalog.archives().insert(record).await.unwrap(), "it is there already");
        assert_eq!(catalog.archives().get(record.id).await.unwrap().as_ref(), Some(record));
    }
    assert_eq!(catalog.archives().get(Uuid::new_v4()).await.unwrap(), None);
    // Another process sees the same, also after this one has closed.
    catalog.close().await;
    assert!(catalog.archives().get(bare.id).await.is_err());
    assert_eq!(place.open().await.archives().get(full.id).await.unwrap(), Some(full));
}

async fn archives_are_listed_in_pages(place: &Place) {
    let catalog = place.open().await;
    let archives = catalog.archives();
    let mut records: Vec<_> = (0..20).map(archive).collect();
    for record in &records {
        archives.insert(record).await.unwrap();
    }
    records.reverse();
    let all = ArchiveFilter::default();
    let page = archives.list(all, 7, 5).await.unwrap();
    assert_eq!((page.total, page.items.as_slice()), (20, &records[5..12]));
    assert_eq!(archives.list(all, 7, 18).await.unwrap().items, records[18..]);
    let filter = ArchiveFilter { tenant_id: Some(2), dump: Some(false), with_missing: false };
    let expected: Vec<_> =
        records.iter().filter(|a| a.tenant_id == 2 && !a.dump).cloned().collect();
    let page = archives.list(filter, 100, 0).await.unwrap();
    assert_eq!((page.total, page.items), (expected.len() as u64, expected));
}

async fn memos_go_with_their_archives(place: &Place) {
    let catalog = place.open().await;
    let (archives, memos) = (catalog.archives(), catalog.memos());
    let (one, two) = (archive(1), archive(2));
    archives.insert(&one).await.unwrap();
    archives.insert(&two).await.unwrap();
    // As long as the longest part.
    let content = "sealed:v1:".to_owned() + &"x".repeat(1_500_000);
    let job = NewJob {
        kind: JobKind::Backup,
        tenant_id: 1,
        dump: true,
        request: serde_json::json!({}),
        exclusive: None,
        archive_id: None,
    };
    let job = Queue::new(catalog.clone()).enqueue(job).await.unwrap().job;
    let orphan = Uuid::new_v4();
    for id in [one.id, two.id, job.id, orphan] {
        memos.add(id, 0, content.clone()).await.unwrap();
        memos.add(id, 1, id.to_string()).await.unwrap();
        assert!(memos.add(id, 1, String::new()).await.is_err(), "a part is there once");
    }
    let part = async |id: Uuid, part: u32| memos.part(id, part).await.unwrap();
    assert_eq!(part(one.id, 0).await, Some(content));
    assert_eq!(part(two.id, 1).await, Some(two.id.to_string()));
    assert_eq!(part(one.id, 2).await, None);

    archives.mark_removed(one.id, Timestamp::now()).await.unwrap();
    assert_eq!((part(one.id, 0).await, part(one.id, 1).await), (None, None));
    // Of an archive, and of one that is being made.
    memos.forget_orphans().await.unwrap();
    assert_eq!(part(orphan, 0).await, None);
    for id in [two.id, job.id] {
        assert!(part(id, 0).await.is_some() && part(id, 1).await.is_some());
        memos.forget(id).await.unwrap();
        assert_eq!(part(id, 1).await, None);
    }
}

async fn marks_of_archives(place: &Place) {
    let catalog = place.open().await;
    let archives = catalog.archives();
    let (one, two) = (archive(1), archive(2));
    archives.insert(&one).await.unwrap();
    archives.insert(&two).await.unwrap();
    let now = Timestamp::from_millisecond(1_800_000_000_123).unwrap();
    let later = now + Duration::from_secs(1);

    let at = |url: &str| archives.by_url(url.to_owned());
    assert_eq!(at(&one.url).await.unwrap().as_ref(), Some(&one));
    assert_eq!(at("file:///elsewhere").await.unwrap(), None);
    assert!(archives.mark_removed(one.id, now).await.unwrap());
    assert!(!archives.mark_removed(one.id, later).await.unwrap());
    assert_eq!(at(&one.url).await.unwrap(), None);
    let known = archives.by_sha256(one.sha256.clone()).await.unwrap();
    assert!(known.is_some(), "what was removed was ours all the same");
    assert_eq!(archives.get(one.id).await.unwrap().unwrap().removed_on, Some(now));

    assert!(archives.mark_missing(two.id, now).await.unwrap());
    assert!(archives.mark_missing(two.id, later).await.unwrap());
    let missing = archives.get(two.id).await.unwrap().unwrap();
    assert_eq!(missing.missing_since, Some(now), "the first time stays");
    assert_eq!(archives.list(ArchiveFilter::default(), 10, 0).await.unwrap().total, 0);
    let filter = ArchiveFilter { with_missing: true, ..ArchiveFilter::default() };
    assert_eq!(archives.list(filter, 10, 0).await.unwrap().items, [missing]);

    assert!(archives.mark_verified(two.id, later).await.unwrap());
    assert!(archives.mark_proved(two.id, now).await.unwrap());
    let back = archives.get(two.id).await.unwrap().unwrap();
    assert_eq!(
        back,
        ArchiveRecord { verified_on: Some(later), proved_on: Some(now), ..two.clone() }
    );
    assert!(!archives.mark_verified(Uuid::new_v4(), now).await.unwrap());
}

async fn keys_work_until_revoked(place: &Place) {
    let (here, elsewhere) = (place.open().await, place.open().await);
    let (key, text) = here.api_keys().create("backup of 'x'", Scope::Write).await.unwrap();
    let text = text.expose();
    assert_eq!(text.len(), 67);
    assert_eq!(here.api_keys().verify(text).await.unwrap(), Some(key.clone()));
    assert_eq!(elsewhere.api_keys().verify(text).await.unwrap(), Some(key.clone()));
    let wrong = format!("{}{}", &text[..66], if text.ends_with('0') { '1' } else { '0' });
    assert_eq!(here.api_keys().verify(&wrong).await.unwrap(), None);
    assert_eq!(here.api_keys().verify("").await.unwrap(), None);
    let (reader, _) = here.api_keys().create("r", Scope::Read).await.unwrap();
    assert!(reader.scope < key.scope);

    let listed = here.api_keys().list().await.unwrap();
    assert_eq!(listed.len(), 2);
    let info = listed.iter().find(|info| info.key == key).unwrap();
    assert!(info.last_used_on.is_some() && info.revoked_on.is_none());

    // In no table is there anything of the key itself.
    let mut beside = place.connect().await;
    let rows = beside.fetch_all("select key_hash from portal_backup_api_keys").await.unwrap();
    assert!(rows.iter().all(|row| !text.contains(&row.get::<String, _>("key_hash"))));

    assert!(here.api_keys().revoke(key.id).await.unwrap());
    assert!(!here.api_keys().revoke(key.id).await.unwrap());
    assert_eq!(here.api_keys().verify(text).await.unwrap(), None, "at once here");
    let revoked = Instant::now();
    while elsewhere.api_keys().verify(text).await.unwrap().is_some() {
        assert!(revoked.elapsed() < Duration::from_secs(2), "still trusted by another process");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn many_may_open_at_once(place: &Place) {
    let catalogs = futures::future::join_all((0..8).map(|_| Catalog::open(&place.url))).await;
    for catalog in catalogs {
        let now = catalog.unwrap().ping().await.unwrap();
        let skew = now.duration_since(Timestamp::now()).abs();
        assert!(skew.as_secs() < 5, "the clock of the database in UTC: {now}");
    }
    let mut beside = place.connect().await;
    let row =
        beside.fetch_one("select count(*) as n from portal_backup_schema_versions").await.unwrap();
    let versions = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let versions = std::fs::read_dir(versions).unwrap().count() as i64;
    assert_eq!(row.get::<i64, _>("n"), versions, "each version was applied once");
}

async fn newer_schemas_are_refused(place: &Place) {
    place.open().await.close().await;
    let mut beside = place.connect().await;
    beside
        .execute("insert into portal_backup_schema_versions (version, applied_on) values (1000, 0)")
        .await
        .unwrap();
    beside.close().await.unwrap();
    match Catalog::open(&place.url).await {
        Err(error @ CatalogError::NewerSchema { .. }) => {
            assert!(error.to_string().contains("1000"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

/// As `serve` and several command-line verbs would on one catalog.
async fn writers_do_not_fail_each_other(place: &Place) {
    let catalogs = [place.open().await, place.open().await, place.open().await];
    let writers =
        catalogs.iter().flat_map(|catalog| (0..4).map(move |_| catalog)).map(|catalog| async {
            for number in 0..10 {
                let record = archive(number);
                assert!(catalog.archives().insert(&record).await.unwrap());
                let now = Timestamp::now();
                assert!(catalog.archives().mark_verified(record.id, now).await.unwrap());
            }
        });
    futures::future::join_all(writers).await;
    let page = catalogs[0].archives().list(ArchiveFilter::default(), 1, 0).await.unwrap();
    assert_eq!(page.total, 120);
}

fn schedule() -> ScheduleRecord {
    let at = |ms| Timestamp::from_millisecond(ms).ok();
    ScheduleRecord {
        id: Uuid::new_v4(),
        tenant_id: -1,
        dump: true,
        name: "nächtlich".to_owned(),
        cron: "0 0 3 ? * *".to_owned(),
        timezone: Some("Europe/Paris".to_owned()),
        enabled: true,
        storage_type: StorageType::Local,
        storage_params: [("filePath".to_owned(), "a".to_owned())].into(),
        mode: "full".to_owned(),
        full_every: None,
        retention: Rules::stored(3),
        created_on: at(1_000).unwrap(),
        next_run: at(2_000),
        retry_on: at(3_000),
        last_run: at(4_000),
        last_success: None,
        last_job: Some(Uuid::new_v4()),
        awaited: false,
        last_error: Some("x".repeat(100_000)),
        failures: 2,
        stale: 1,
        mirrored: Some("[]".to_owned()),
        synced_on: at(5_000),
        deleted_on: None,
        deleted_by: None,
        revision: 0,
    }
}

async fn a_schedule_is_fired_by_one_alone(place: &Place) {
    let catalogs = [place.open().await, place.open().await];
    let schedules = catalogs[0].schedules();
    let new = schedule();
    assert!(schedules.save(&new).await.unwrap());
    assert!(!schedules.save(&new).await.unwrap(), "it is there already");
    let read = schedules.get(new.id).await.unwrap().unwrap();
    assert_eq!(read, ScheduleRecord { revision: 1, ..new.clone() });
    let early = Timestamp::from_millisecond(1_999).unwrap();
    assert!(schedules.pending(early).await.unwrap().is_empty());
    let due = Timestamp::from_millisecond(2_000).unwrap();
    assert_eq!(schedules.pending(due).await.unwrap(), std::slice::from_ref(&read));

    let job = NewJob {
        kind: JobKind::Backup,
        tenant_id: 1,
        dump: true,
        request: serde_json::json!({}),
        exclusive: Some("installation".to_owned()),
        archive_id: None,
    };
    let next = ScheduleRecord { next_run: None, retry_on: None, awaited: true, ..read };
    let fires = (0..8).map(|n| {
        let (catalog, next, job) = (&catalogs[n % 2], next.clone(), job.clone());
        async move { catalog.schedules().fire(&next, job).await.unwrap() }
    });
    let fired = futures::future::join_all(fires).await;
    let started: Vec<_> = fired
        .iter()
        .filter_map(|fired| if let Fired::Started(id) = fired { Some(*id) } else { None })
        .collect();
    assert_eq!(started.len(), 1, "{fired:?}");
    let jobs = Queue::new(catalogs[1].clone()).list(JobFilter::default(), 10, 0).await.unwrap();
    assert_eq!((jobs.total, jobs.items[0].id), (1, started[0]));
    let after = schedules.get(new.id).await.unwrap().unwrap();
    assert_eq!((after.last_job, after.revision), (Some(started[0]), 2));

    // What excludes the job keeps both from being written.
    assert_eq!(schedules.fire(&after, job).await.unwrap(), Fired::Busy);
    assert_eq!(schedules.get(new.id).await.unwrap(), Some(after.clone()));
    assert!(!schedules.forget(new.id, 1).await.unwrap());
    assert!(schedules.forget(new.id, 2).await.unwrap());
    assert!(schedules.all().await.unwrap().is_empty());
}

/// A catalog of the program's first version, with an archive and a job in it.
async fn a_first_catalog_is_brought_up_to_date(place: &Place) {
    place.open().await.close().await;
    let mut beside = place.connect().await;
    let indexes = [
        "archives_stale on portal_backup_archives",
        "jobs_told on portal_backup_jobs",
        "jobs_finished on portal_backup_jobs",
    ];
    let is_mysql = place.url.expose().starts_with("mysql");
    for index in indexes {
        let (name, table) = index.split_once(" on ").unwrap();
        let on = if is_mysql { format!(" on {table}") } else { String::new() };
        let sql = format!("drop index portal_backup_{name}{on}");
        beside.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    }
    for sql in [
        "drop table portal_backup_index_copies",
        "drop table portal_backup_copies",
        "drop table portal_backup_operations",
        "drop table portal_backup_sources",
        "drop table portal_backup_schedules",
        "alter table portal_backup_archives drop column schedule_id",
        "alter table portal_backup_archives drop column stale",
        "alter table portal_backup_jobs drop column told",
        "delete from portal_backup_schema_versions where version >= 2",
        "insert into portal_backup_archives (id, tenant_id, name, storage_type, storage_params, url, size_bytes, \
         sha256, created_on, dump, backup_mode, warnings) values ('00000000-0000-4000-8000-000000000001', 1, 'a', \
         'Local', '{}', 'file:///a', 1, 'ab', 5, 1, 'full', 0)",
    ] {
        beside.execute(sql).await.unwrap();
    }
    beside.close().await.unwrap();
    let catalog = place.open().await;
    let archives = catalog.archives().list(ArchiveFilter::default(), 10, 0).await.unwrap();
    assert_eq!((archives.total, archives.items[0].schedule_id), (1, None));
    assert!(catalog.schedules().save(&schedule()).await.unwrap());
}

#[tokio::test]
async fn an_sqlite_catalog_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let url = Secret::new(format!("sqlite://{}/new/My%20catalog.db", folder.path().display()));
    let catalog = Catalog::open(&url).await.unwrap();
    catalog.archives().insert(&archive(1)).await.unwrap();
    let files: Vec<_> =
        std::fs::read_dir(folder.path().join("new")).unwrap().map(|file| file.unwrap()).collect();
    assert!(files.iter().any(|file| file.file_name() == "My catalog.db"), "{files:?}");
    assert!(files.len() >= 2, "the write-ahead log lies beside it: {files:?}");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[tokio::test]
async fn a_catalog_that_cannot_be_opened_says_why_without_secrets() {
    for url in [
        "mysql://root:hunter2@127.0.0.1:1/x",
        "mysql://root:hunter2@127.0.0.1:3306/pb_there_is_no_such",
        "postgres://root:hunter2@127.0.0.1:5432/pb_there_is_no_such",
        "mongodb://hunter2@x/y",
        "sqlite::memory:",
        "sqlite:///proc/1/hunter.db",
    ] {
        let begun = Instant::now();
        let error = Catalog::open(&Secret::new(url)).await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(!text.contains("hunter2"), "{text}");
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn a_catalog_may_be_dropped_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let url = Secret::new(format!("sqlite://{}/c.db", folder.path().display()));
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Opened by a runtime that ends, used by another, dropped within it.
    let catalog = runtime().block_on(Catalog::open(&url)).unwrap();
    runtime().block_on(async move {
        catalog.archives().insert(&archive(1)).await.unwrap();
        drop(catalog);
    });
}
