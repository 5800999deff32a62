//! DocSpace's own service and ours in turns, on the tables that both write (`facts.md` §4, §7, §9).

use portal_backup::catalog::ArchiveRecord;
use portal_backup::http::v1::schedules::ScheduleView;
use portal_backup::jobs::JobKind;
use portal_backup::notify::Event;
use portal_backup::ops::backup::{self, StartBackup};
use portal_backup::ops::mirror::{mend, pull, push};
use portal_backup::ops::scheduler::follow_zones;
use portal_backup::ops::schedules::{self, SetSchedule, slot_id};
use portal_backup::ops::{Actor, archives, jobs};
use portal_backup::schedule::retention::Rules;
use portal_backup::storage::StorageParams;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::docspace_tables::config;
use crate::support::clocked::{self, Clocked, at};
use crate::support::docspace::{ADMIN, ADMIN_KEY, DocSpace};
use crate::support::s3::S3Server;
use crate::support::service::Service;

fn into(folder: &str) -> StorageParams {
    StorageParams::from([("filePath".to_owned(), folder.to_owned())])
}

fn by_hand(folder: &str) -> StartBackup {
    StartBackup { storage_params: into(folder), ..clocked::by_hand() }
}

fn nightly(folder: &str) -> SetSchedule {
    let retention = Rules::stored(3);
    SetSchedule { storage_params: into(folder), retention, ..clocked::nightly() }
}

/// A DocSpace, and ours beside it; the folder lives as long as the last.
async fn beside() -> (DocSpace, Clocked, tempfile::TempDir) {
    let docspace = DocSpace::create().await;
    let dir = tempfile::tempdir().unwrap();
    let clocked = Clocked::open(dir.path(), &config(&docspace), "2026-06-12T12:00:00Z").await;
    (docspace, clocked, dir)
}

/// A schedule that DocSpace made.
fn schedule_row(tenant: i64, cron: &str, dump: bool) -> String {
    format!(
        "INSERT INTO backup_schedule (tenant_id, cron, backups_stored, storage_type, storage_base_path, \
         last_backup_time, storage_params, dump) VALUES ({tenant}, '{cron}', 1, 3, 'own', '0001-01-01 00:00:00', \
         NULL, {})",
        u8::from(dump)
    )
}

async fn archive(clocked: &Clocked, id: &str) -> ArchiveRecord {
    clocked.app.catalog.archives().get(id.parse().unwrap()).await.unwrap().unwrap()
}

/// facts §7: "schedules do not [add `subdir`], giving `{tenantId}/backup/{name}`"; "DataStore → module
/// `backup`", which is `Studio/{0}/backup`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docspaces_archives_are_found_where_it_put_them() {
    let docspace = DocSpace::create().await;
    let s3 = S3Server::start().await;
    let bucket = s3.bucket_dir();
    for (folder, name) in [("1/backup", "own.tar.gz"), ("2/backup", "whole.tar.gz")] {
        std::fs::create_dir_all(bucket.join(folder)).unwrap();
        std::fs::write(bucket.join(folder).join(name), "an archive").unwrap();
    }
    let studio = docspace.root().join("Studio/00/00/02/backup");
    std::fs::create_dir_all(&studio).unwrap();
    std::fs::write(studio.join("day.tar.gz"), "for a day").unwrap();
    let place = format!(r#"{{"module":"s3","bucket":"{}","region":"us-east-1""#, s3.bucket);
    let row = |id: u8, tenant: i64, kind: u8, name: &str, params: &str| {
        format!(
            "INSERT INTO backup_backup (id, tenant_id, is_scheduled, name, storage_type, storage_path, created_on, \
             hash, removed, paid, storage_params) VALUES ('c0000000-0000-0000-0000-00000000000{id}', {tenant}, 1, \
             '{name}', {kind}, '{name}', '2026-06-10 03:00:00', '', 0, 0, '{params}')"
        )
    };
    docspace
        .execute(&[
            row(1, 1, 5, "own.tar.gz", &format!("{place}}}")),
            row(2, -1, 5, "whole.tar.gz", &format!(r#"{place},"tenantId":"2"}}"#)),
            row(3, -1, 4, "day.tar.gz", "{}"),
            row(4, 1, 5, "gone.tar.gz", &format!("{place}}}")),
        ])
        .await;
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        "{}[consumers.s3]\nacesskey = \"{}\"\nsecretaccesskey = \"{}\"\nserviceurl = \"{}\"\n",
        config(&docspace),
        s3.access_key,
        s3.secret_key,
        s3.endpoint
    );
    let clocked = Clocked::open(dir.path(), &config, "2026-06-12T12:00:00Z").await;
    let app = &clocked.app;
    pull(app).await.unwrap();
    let own = archive(&clocked, "c0000000-0000-0000-0000-000000000001").await;
    assert_eq!((own.size, own.url), (10, format!("s3://{}/1/backup/own.tar.gz", s3.bucket)));
    let whole = archive(&clocked, "c0000000-0000-0000-0000-000000000002").await;
    assert_eq!((whole.size, whole.url), (10, format!("s3://{}/2/backup/whole.tar.gz", s3.bucket)));
    let day = archive(&clocked, "c0000000-0000-0000-0000-000000000003").await;
    assert_eq!(day.size, 9);
    assert_eq!(archives::storage(app, &day).unwrap().size("day.tar.gz").await.unwrap(), Some(9));

    // The history leaves out what is not there, but the table of the one who made it is not told so.
    let shown: Vec<String> = archives::history(app, 1, None)
        .await
        .unwrap()
        .iter()
        .map(|record| record.name.clone())
        .collect();
    for (name, there) in
        [("own.tar.gz", true), ("whole.tar.gz", true), ("day.tar.gz", true), ("gone.tar.gz", false)]
    {
        assert_eq!(shown.contains(&name.to_owned()), there, "{name}: {shown:?}");
    }
    push(app).await.unwrap();
    pull(app).await.unwrap();
    push(app).await.unwrap();
    let removed = "SELECT SUM(removed) FROM backup_backup WHERE id LIKE 'c0000000%'";
    assert_eq!(docspace.value(removed).await.as_deref(), Some("0"));
    assert!(
        archive(&clocked, "c0000000-0000-0000-0000-000000000004").await.missing_since.is_some()
    );
    // What it removes itself stays removed.
    docspace.execute(&["UPDATE backup_backup SET removed = 1 WHERE name = 'gone.tar.gz'"]).await;
    pull(app).await.unwrap();
    push(app).await.unwrap();
    assert!(archive(&clocked, "c0000000-0000-0000-0000-000000000004").await.removed_on.is_some());
    assert_eq!(docspace.value(removed).await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_row_that_is_refused_stops_no_other() {
    let (docspace, clocked, _dir) = beside().await;
    let app = &clocked.app;
    pull(app).await.unwrap();
    // A column of three-byte UTF-8 takes no emoji.
    schedules::set(app, nightly("\u{1f512}")).await.unwrap();
    for folder in ["\u{1f512}", "plain"] {
        backup::start(app, by_hand(folder)).await.unwrap();
        clocked.work().await;
    }
    push(app).await.unwrap_err();
    let value = async |sql: &str| docspace.value(sql).await.unwrap();
    let made = "SELECT COUNT(*) FROM backup_backup WHERE created_on > '2026-07-01'";
    assert_eq!(value(made).await, "1");
    assert_eq!(value("SELECT COUNT(*) FROM audit_events").await, "4");
    assert_eq!(value("SELECT COUNT(*) FROM backup_schedule").await, "0");
    assert_eq!(clocked.schedule(slot_id(1, true)).await.stale, 1, "still to be told");

    // A server that is not strict cuts instead: that is no change of DocSpace's.
    docspace
        .execute(&["CREATE TRIGGER cut BEFORE INSERT ON backup_schedule FOR EACH ROW \
             SET NEW.storage_base_path = '/cut', NEW.storage_params = '{'"])
        .await;
    schedules::set(app, nightly("long")).await.unwrap();
    let _ = push(app).await;
    pull(app).await.unwrap();
    assert_eq!(value("SELECT storage_base_path FROM backup_schedule").await, "/cut");
    let kept = clocked.schedule(slot_id(1, true)).await;
    assert_eq!((kept.storage_params["filePath"].as_str(), kept.stale), ("long", 0));
}

#[tokio::test]
async fn parameters_have_a_length() {
    let docspace = DocSpace::create().await;
    let service = Service::start(&config(&docspace)).await;
    let params = |count: usize| -> Vec<Value> {
        (0..count).map(|n| json!({"key": format!("k{n}"), "value": ""})).collect()
    };
    let start = async |count: usize| {
        let body = json!({"storageType": "Local", "dump": true, "storageParams": params(count)});
        service.post("/api/2.0/backup/startbackup", &body).await.status()
    };
    assert_eq!(start(5000).await, StatusCode::BAD_REQUEST);
    assert_eq!(start(500_000).await, StatusCode::PAYLOAD_TOO_LARGE);
    let many: StorageParams = (0..5000).map(|n| (format!("k{n}"), String::new())).collect();
    let body = json!({"storageType": "Local", "dump": true, "storageParams": many});
    assert_eq!(service.post("/v1/backups", &body).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(service.json("/v1/jobs").await["total"], 0);
    assert_eq!(start(100).await, StatusCode::OK);
}

/// facts §7: "Local → absolute directory"; §9: "last_backup_time is set before the run".
#[tokio::test]
async fn a_stay_with_docspace_makes_no_backup_twice() {
    let (docspace, clocked, dir) = beside().await;
    let app = &clocked.app;
    schedules::set(app, nightly("here")).await.unwrap();
    push(app).await.unwrap();
    let here = dir.path().join("backups/here");
    assert_eq!(
        docspace.value("SELECT storage_base_path FROM backup_schedule").await.unwrap(),
        here.display().to_string()
    );
    // DocSpace makes those of three nights.
    docspace
        .execute(&["UPDATE backup_schedule SET last_backup_time = '2026-06-15 03:00:10'"])
        .await;
    clocked.set("2026-06-15T10:00:00Z");
    pull(app).await.unwrap();
    clocked.tick().await;
    assert!(clocked.jobs(JobKind::Backup).await.is_empty(), "they were made already");
    let kept = clocked.schedule(slot_id(1, true)).await;
    assert_eq!(kept.last_run, Some(at("2026-06-15T03:00:10Z")));
    assert_eq!(kept.next_run, Some(at("2026-06-16T03:00:00Z")));
    // And one that nobody made is made up for.
    clocked.set("2026-06-16T10:00:00Z");
    pull(app).await.unwrap();
    clocked.run("2026-06-16T10:00:00Z").await;
    assert_eq!(clocked.jobs(JobKind::Backup).await.len(), 1);

    // As DocSpace writes it back, after a change: the folder is the same.
    push(app).await.unwrap();
    docspace
        .execute(&["UPDATE backup_schedule SET cron = '0 0 5 ? * *', storage_params = NULL"])
        .await;
    pull(app).await.unwrap();
    clocked.run("2026-06-17T05:00:00Z").await;
    let after = clocked.schedule(slot_id(1, true)).await;
    assert_eq!((after.last_error, after.cron.as_str()), (None, "0 0 5 ? * *"));
    assert_eq!(std::fs::read_dir(&here).unwrap().count(), 2);
}

#[tokio::test]
async fn a_database_that_is_away_is_a_failure_that_is_told() {
    let (docspace, clocked, _dir) = beside().await;
    let app = &clocked.app;
    let made = schedules::set(app, SetSchedule { tenant_id: 1, ..nightly("here") }).await.unwrap();
    docspace.execute(&["RENAME TABLE tenants_tenants TO away"]).await;
    clocked.set("2026-06-13T03:00:00Z");
    clocked.tick().await;
    clocked.tick().await;
    let failed = clocked.schedule(made.id).await;
    assert_eq!((failed.failures, failed.last_run), (1, None));
    assert_eq!(failed.retry_on, Some(at("2026-06-13T03:05:00Z")));
    assert_eq!(failed.next_run, Some(at("2026-06-14T03:00:00Z")));
    let views = ScheduleView::of(app, &[failed]).await.unwrap();
    assert!(views[0].last_error.as_ref().unwrap().contains("tenants_tenants"), "{views:?}");
    assert!(matches!(
        &clocked.told.0.lock().unwrap()[..],
        [Event::ScheduleFailed { failures: 1, .. }]
    ));
    docspace.execute(&["RENAME TABLE away TO tenants_tenants"]).await;
    clocked.run("2026-06-13T03:05:00Z").await;
    let well = clocked.schedule(made.id).await;
    assert_eq!((well.failures, well.last_error), (0, None));
}

#[tokio::test]
async fn a_tenant_that_moves_to_another_zone_is_followed() {
    let (docspace, clocked, _dir) = beside().await;
    let app = &clocked.app;
    docspace.execute(&[schedule_row(1, "0 0 3 ? * *", false)]).await;
    pull(app).await.unwrap();
    let own = slot_id(1, false);
    // Of Europe/Paris.
    assert_eq!(clocked.schedule(own).await.next_run, Some(at("2026-06-13T01:00:00Z")));
    let before = clocked.schedule(own).await;
    follow_zones(app).await.unwrap();
    assert_eq!(clocked.schedule(own).await, before, "nothing has changed");
    docspace
        .execute(&["UPDATE tenants_tenants SET timezone = 'America/New_York' WHERE id = 1"])
        .await;
    follow_zones(app).await.unwrap();
    assert_eq!(clocked.schedule(own).await.next_run, Some(at("2026-06-13T07:00:00Z")));
}

/// facts §8: "5130 ScheduledBackupDeleted, 5131 BackupCancelled".
#[tokio::test]
async fn the_audit_trail_names_who_cancelled_and_deleted_and_outlives_a_kill() {
    let (docspace, clocked, _dir) = beside().await;
    let app = &clocked.app;
    let job = backup::start(app, by_hand("here")).await.unwrap();
    let actor =
        Actor { user_id: Some(ADMIN.0.to_owned()), address: Some("198.51.100.7".parse().unwrap()) };
    jobs::cancel(app, None, job.id, &actor).await.unwrap();
    schedules::set(app, nightly("here")).await.unwrap();
    push(app).await.unwrap();
    schedules::delete(app, slot_id(1, true), Some(actor)).await.unwrap();
    push(app).await.unwrap();
    let trail = "SELECT GROUP_CONCAT(CONCAT_WS('|', action, user_id, ip, initiator) ORDER BY action) FROM audit_events";
    let expected =
        format!("5041|Portal Backup,5130|{0}|198.51.100.7,5131|{0}|198.51.100.7", ADMIN.0);
    assert_eq!(docspace.value(trail).await.unwrap(), expected);

    // A process was killed after it had claimed to write a row.
    docspace.execute(&["DELETE FROM audit_events WHERE action = 5131"]).await;
    clocked.clock.set(jiff::Timestamp::now() + jiff::SignedDuration::from_mins(5));
    push(app).await.unwrap();
    assert_ne!(docspace.value(trail).await.unwrap(), expected);
    for _ in 0..2 {
        mend(app).await.unwrap();
        assert_eq!(docspace.value(trail).await.unwrap(), expected, "once");
    }
}

#[tokio::test]
async fn docspaces_key_hashes_may_have_a_salt_of_their_own() {
    let docspace = DocSpace::create().await;
    let hash = portal_backup::portal::docspace::keys::hash_key(&ADMIN_KEY.text(), "a grain");
    let sql = format!(
        "UPDATE core_user_api_key SET hashed_key = '{hash}' WHERE Id = '{}'",
        ADMIN_KEY.id()
    );
    docspace.execute(&[sql]).await;
    for (salt, expected) in [("", StatusCode::UNAUTHORIZED), (" a grain\\n", StatusCode::OK)] {
        let config = format!("{}password_salt = \"{salt}\"\n", config(&docspace));
        let service = Service::start(&config).await;
        let request = service.http.request(Method::GET, format!("{}/v1/jobs", service.base));
        let answer = request.header("Authorization", ADMIN_KEY.text()).send().await.unwrap();
        assert_eq!(answer.status(), expected, "{salt:?}");
    }
}

/// A rekey puts another object, of another digest, in an archive's place.
#[tokio::test]
async fn a_row_that_is_written_again_says_what_is_so_now() {
    let (_docspace, clocked, _dir) = beside().await;
    let identity = clocked.app.portal.identity().unwrap();
    let id = "a0000000-0000-0000-0000-000000000003";
    let rows = async || identity.backups().await.unwrap().unwrap();
    let mut row = rows().await.into_iter().find(|row| row.id == id).unwrap();
    row.hash = "AB".repeat(32);
    row.params = [("region".to_owned(), "eu".to_owned())].into();
    identity.put_backup(&row, true).await.unwrap();
    assert!(rows().await.contains(&row));
}

/// facts §9: "scheduled ones beyond backups_stored …, newest kept; manual backups are never trimmed": DocSpace would
/// trim by its own rule what another schedule keeps by others.
#[tokio::test]
async fn archives_of_other_schedules_are_not_docspaces_to_trim() {
    let (docspace, clocked, _dir) = beside().await;
    let app = &clocked.app;
    pull(app).await.unwrap();
    let other = SetSchedule {
        id: Some(uuid::Uuid::new_v4()),
        cron: "0 0 4 ? * *".to_owned(),
        ..nightly("monthly")
    };
    schedules::set(app, nightly("own")).await.unwrap();
    schedules::set(app, other).await.unwrap();
    clocked.run("2026-06-13T03:00:00Z").await;
    clocked.run("2026-06-13T04:00:00Z").await;
    push(app).await.unwrap();
    let scheduled = "SELECT GROUP_CONCAT(CONCAT(is_scheduled, SUBSTRING_INDEX(storage_base_path, '/', -1)) \
                     ORDER BY is_scheduled) FROM backup_backup WHERE created_on > '2026-07-01'";
    assert_eq!(docspace.value(scheduled).await.unwrap(), "0monthly,1own");
}

/// Issue 5, scope 2: "A schedule that fails tells someone …, and never stops silently".
#[tokio::test]
async fn a_schedule_of_docspaces_that_cannot_run_is_told_when_it_is_taken_over() {
    let (docspace, clocked, _dir) = beside().await;
    let app = &clocked.app;
    docspace.execute(&[schedule_row(-1, "every night", true)]).await;
    for _ in 0..2 {
        pull(app).await.unwrap();
        let told = clocked.told.0.lock().unwrap();
        assert!(
            matches!(&told[..], [Event::ScheduleFailed { failures: 1, again_on: None, .. }]),
            "{told:?}"
        );
    }
    docspace.execute(&["UPDATE backup_schedule SET cron = '0 0 3 ? * *'"]).await;
    pull(app).await.unwrap();
    let mended = clocked.schedule(slot_id(1, true)).await;
    assert_eq!((mended.failures, mended.last_error), (0, None));
    assert_eq!(mended.next_run, Some(at("2026-06-13T03:00:00Z")));
}
