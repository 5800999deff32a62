//! DocSpace's own tables and ours are kept equal (`facts.md` §4, §8, §9).

use portal_backup::jobs::JobKind;
use portal_backup::ops::mirror::{pull, push};
use portal_backup::ops::retention;
use portal_backup::ops::scheduler::clean;
use portal_backup::ops::schedules::{self, slot_id};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::catalogs::{Kind, Place};
use crate::support::clocked::{Clocked, at, by_hand, nightly};
use crate::support::docspace::{ADMIN, ADMIN_KEY, DocSpace, MACHINE_KEY, OTHER_KEY};
use crate::support::service::Service;

pub fn config(docspace: &DocSpace) -> String {
    format!(
        "[portal]\nlayout = \"docspace\"\n[[portal.database]]\nname = \"docspace\"\nurl = \"{}\"\n[[portal.filesystem]]\nname = \"data\"\nurl = \"file://{}\"\n[portal.docspace]\nmachine_key = \"{MACHINE_KEY}\"\n",
        docspace.url,
        docspace.root().display()
    )
}

/// Asks until it is so: the service writes the tables within seconds.
pub async fn eventually(docspace: &DocSpace, sql: &str, expected: &str) {
    let mut found = None;
    for _ in 0..600 {
        found = docspace.value(sql).await;
        if found.as_deref() == Some(expected) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{sql}: {found:?}");
}

#[tokio::test]
async fn what_is_made_here_stands_in_docspaces_tables() {
    let docspace = DocSpace::create().await;
    let service = Service::start(&config(&docspace)).await;
    let as_admin = |method: Method, path: &str| {
        let request = service.http.request(method, format!("{}{path}", service.base));
        request.header("Authorization", format!("Bearer {}", ADMIN_KEY.text()))
    };
    let body = json!({"storageType": "Local", "dump": true,
        "storageParams": [{"key": "filePath", "value": "here"}]});
    let started =
        as_admin(Method::POST, "/api/2.0/backup/startbackup").json(&body).send().await.unwrap();
    assert_eq!(started.status(), StatusCode::OK);
    service.finish().await;
    let archive = service.json("/v1/archives?dump=true&limit=1").await["items"][0].clone();
    let id = archive["id"].as_str().unwrap();
    let of_backup = |columns: &str| {
        format!("SELECT CONCAT_WS('|', {columns}) FROM backup_backup WHERE id = '{id}'")
    };
    // facts §6: "hash column = uppercase hex SHA-256"; §4: tenant -1 owns the dumps; §7: "Local → …
    // storage_path full path".
    let path = url::Url::parse(archive["url"].as_str().unwrap()).unwrap().to_file_path().unwrap();
    let hash = archive["sha256"].as_str().unwrap().to_uppercase();
    let folder = path.parent().unwrap().display().to_string();
    let expected = format!("-1|0|3|{folder}|{}|{hash}|0|0|0001-01-01 00:00:00", path.display());
    let columns = "tenant_id, is_scheduled, storage_type, storage_base_path, storage_path, hash, removed, paid, expires_on";
    eventually(&docspace, &of_backup(columns), &expected).await;

    // facts §8: "5041 BackupStarted, 5125 Completed".
    let audit = "SELECT GROUP_CONCAT(action ORDER BY id) FROM audit_events WHERE tenant_id = 1";
    eventually(&docspace, audit, "5041,5125").await;
    let by =
        "SELECT DISTINCT CONCAT_WS('|', initiator, ip, IFNULL(user_id, '-')) FROM audit_events";
    eventually(&docspace, by, &format!("127.0.0.1|{}", ADMIN.0)).await;

    // The rows that DocSpace has made are in the history: the seeds have one of tenant 1 and one dump. The
    // objects of neither exist here, and of those in Documents that cannot be told.
    let history = service.json("/v1/archives").await;
    let ids: Vec<&str> = history["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect();
    assert!(ids.contains(&"a0000000-0000-0000-0000-000000000002"), "{history}");
    assert!(ids.contains(&"a0000000-0000-0000-0000-000000000003"), "{history}");
    assert!(!ids.contains(&"a0000000-0000-0000-0000-000000000001"), "it was removed");

    let schedule = json!({"storageType": "Local", "dump": true, "backupsStored": 7,
        "storageParams": [{"key": "filePath", "value": "here"}],
        "cronParams": {"period": 2, "hour": 4, "day": 31}});
    let path = "/api/2.0/backup/createbackupschedule";
    let made = as_admin(Method::POST, path).json(&schedule).send().await.unwrap();
    assert_eq!(made.status(), StatusCode::OK, "{}", made.text().await.unwrap());
    // facts §9: "one global dump (tenant -1, storage_params.tenantId = creator); saving … resets
    // last_backup_time to 0001-01-01"; "monthly 0 0 H D * ?".
    let row = "SELECT CONCAT_WS('|', tenant_id, cron, backups_stored, storage_type, storage_base_path, dump, \
        last_backup_time, JSON_VALUE(storage_params, '$.tenantId')) FROM backup_schedule";
    let expected = format!("-1|0 0 4 31 * ?|7|3|{folder}|1|0001-01-01 00:00:00|1");
    eventually(&docspace, row, &expected).await;
    let shown =
        as_admin(Method::GET, "/api/2.0/portal/getbackupschedule?dump=true").send().await.unwrap();
    let shown: Value = shown.json().await.unwrap();
    assert_eq!(shown["response"]["storageParams"], json!({"folderId": "here"}));
    let path = "/api/2.0/backup/deletebackupschedule?dump=true";
    assert_eq!(as_admin(Method::DELETE, path).send().await.unwrap().status(), StatusCode::OK);
    eventually(&docspace, "SELECT COUNT(*) FROM backup_schedule", "0").await;
    // facts §8: "5130 ScheduledBackupDeleted".
    eventually(&docspace, audit, "5041,5125,5130").await;

    // facts §4: "Deletion = removed=1"; another tenant's GUIDs are 404.
    let other = "/api/2.0/backup/deletebackup/a0000000-0000-0000-0000-000000000003";
    let request = service.http.delete(format!("{}{other}", service.base));
    let request = request
        .header("Authorization", format!("Bearer {}", OTHER_KEY.text()))
        .header("Origin", "http://second.localhost");
    assert_eq!(request.send().await.unwrap().status(), StatusCode::NOT_FOUND);
    let path = format!("/api/2.0/backup/deletebackup/{id}");
    assert_eq!(as_admin(Method::DELETE, &path).send().await.unwrap().status(), StatusCode::OK);
    eventually(&docspace, &of_backup("removed"), "1").await;
}

#[tokio::test]
async fn what_docspace_made_is_taken_over() {
    let docspace = DocSpace::create().await;
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("backups/old");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("acme.tar.gz"), "an archive").unwrap();
    docspace
        .execute(&[
            "INSERT INTO backup_schedule (tenant_id, cron, backups_stored, storage_type, storage_base_path, \
             last_backup_time, storage_params, dump) VALUES \
             (-1, '0 0 3 ? * *', 3, 3, 'docspace', '2026-06-10 03:00:00', '{\"tenantId\":\"1\"}', 1), \
             (1, '0 0 2 ? * 1', 1, 3, 'own', '0001-01-01 00:00:00', NULL, 0)"
                .to_owned(),
            format!(
                "INSERT INTO backup_backup (id, tenant_id, is_scheduled, name, storage_type, storage_path, \
                 created_on, hash, removed, paid, storage_params) VALUES \
                 ('B0000000-0000-0000-0000-000000000001', -1, 1, 'acme.tar.gz', 3, '{}/acme.tar.gz', \
                  '2026-06-10 03:00:00', 'AB12', 0, 0, '{{}}'), \
                 ('b0000000-0000-0000-0000-000000000002', 1, 0, 'paid.tar.gz', 4, 'paid.tar.gz', \
                  '2026-06-10 03:00:00', '', 0, 1, NULL)",
                folder.display()
            ),
        ])
        .await;
    let clocked = Clocked::open(dir.path(), &config(&docspace), "2026-06-12T12:00:00Z").await;
    let app = &clocked.app;
    pull(app).await.unwrap();
    let dump = clocked.schedule(schedules::slot_id(1, true)).await;
    assert_eq!((dump.tenant_id, dump.dump, dump.cron.as_str()), (1, true, "0 0 3 ? * *"));
    assert_eq!(dump.retention.backups_stored, Some(3));
    assert_eq!(dump.last_run, Some(at("2026-06-10T03:00:00Z")));
    assert_eq!(dump.next_run, Some(at("2026-06-11T03:00:00Z")), "missed, so it is due at once");
    // Tenant 1 is in Europe/Paris; 1 is Sunday; never run, so it waits for its next time.
    let own = clocked.schedule(schedules::slot_id(1, false)).await;
    assert_eq!(own.next_run, Some(at("2026-06-14T00:00:00Z")));

    let archives = app.catalog.archives();
    let id = |text: &str| text.parse::<uuid::Uuid>().unwrap();
    let first = id("b0000000-0000-0000-0000-000000000001");
    let scheduled = archives.get(first).await.unwrap().unwrap();
    assert_eq!((scheduled.dump, scheduled.size, scheduled.sha256.as_str()), (true, 10, "ab12"));
    assert_eq!(scheduled.schedule_id, Some(dump.id), "its retention is that of the schedule");
    let before = docspace
        .value(
            "SELECT GROUP_CONCAT(CONCAT_WS('|', id, removed, hash) ORDER BY id) FROM backup_backup",
        )
        .await;
    push(app).await.unwrap();
    pull(app).await.unwrap();
    let after = docspace
        .value(
            "SELECT GROUP_CONCAT(CONCAT_WS('|', id, removed, hash) ORDER BY id) FROM backup_backup",
        )
        .await;
    assert_eq!(before, after, "what is equal is left alone");
    let month = (at("2026-06-01T00:00:00Z"), at("2026-06-30T00:00:00Z"));
    for (paid, count) in [(true, 1), (false, 1)] {
        let counted = portal_backup::ops::counts::backups(app, 1, month.0, month.1, paid).await;
        assert_eq!(counted.unwrap(), count, "paid {paid}");
    }

    // The dump runs, and its row says so.
    clocked.tick().await;
    clocked.work().await;
    clocked.tick().await;
    clocked.work().await;
    push(app).await.unwrap();
    let done = clocked.schedule(dump.id).await;
    assert_eq!(done.last_error, None);
    let value = |sql: &'static str| docspace.value(sql);
    assert_eq!(
        value("SELECT last_backup_time FROM backup_schedule WHERE tenant_id = -1").await.unwrap(),
        "2026-06-12 12:00:00"
    );
    assert_eq!(
        value("SELECT COUNT(*) FROM backup_backup WHERE tenant_id = -1 AND is_scheduled = 1 AND removed = 0")
            .await
            .unwrap(),
        "2"
    );
    // facts §8: "5127/5128/5129 Scheduled started/completed/failed".
    assert_eq!(
        value("SELECT GROUP_CONCAT(action ORDER BY id) FROM audit_events").await.unwrap(),
        "5127,5128"
    );
    push(app).await.unwrap();
    assert_eq!(value("SELECT COUNT(*) FROM audit_events").await.unwrap(), "2", "each once");

    // Changed, and deleted, by DocSpace.
    docspace
        .execute(&[
            "UPDATE backup_schedule SET cron = '0 0 5 ? * *', backups_stored = 1 WHERE tenant_id = -1",
            "DELETE FROM backup_schedule WHERE tenant_id = 1",
            "UPDATE backup_backup SET removed = 1 WHERE name = 'paid.tar.gz'",
        ])
        .await;
    pull(app).await.unwrap();
    let changed = clocked.schedule(dump.id).await;
    assert_eq!((changed.cron.as_str(), changed.retention.backups_stored), ("0 0 5 ? * *", Some(1)));
    assert_eq!(changed.last_success, done.last_success);
    assert_eq!(schedules::list(app, None, None).await.unwrap().len(), 1);
    let paid = archives.get(id("b0000000-0000-0000-0000-000000000002")).await.unwrap();
    assert!(paid.unwrap().removed_on.is_some());

    // The rule now keeps one, and DocSpace's own goes: its row says so.
    retention::enqueue(app).await.unwrap().unwrap();
    clocked.work().await;
    assert_eq!(clocked.jobs(JobKind::Prune).await[0].warnings, Vec::<String>::new());
    push(app).await.unwrap();
    assert!(!folder.join("acme.tar.gz").exists());
    assert_eq!(
        value(
            "SELECT removed FROM backup_backup WHERE id = 'b0000000-0000-0000-0000-000000000001'"
        )
        .await
        .unwrap(),
        "1"
    );
}

#[tokio::test]
async fn an_absent_database_loses_nothing() {
    let docspace = DocSpace::create().await;
    let dir = tempfile::tempdir().unwrap();
    let clocked = Clocked::open(dir.path(), &config(&docspace), "2026-06-12T12:00:00Z").await;
    let app = &clocked.app;
    // The pool of connections belongs to the runtime that uses it first, and the worker's ends here.
    pull(app).await.unwrap();
    let job = portal_backup::ops::backup::start(app, by_hand()).await.unwrap();
    clocked.work().await;
    docspace.execute(&["RENAME TABLE backup_backup TO b, audit_events TO a"]).await;
    push(app).await.unwrap_err();
    assert_eq!(
        app.queue.get(job.id).await.unwrap().unwrap().state,
        portal_backup::jobs::JobState::Succeeded,
        "the backup is made all the same"
    );
    docspace.execute(&["RENAME TABLE b TO backup_backup"]).await;
    push(app).await.unwrap_err();
    docspace.execute(&["RENAME TABLE a TO audit_events"]).await;
    push(app).await.unwrap();
    let row = format!("SELECT COUNT(*) FROM backup_backup WHERE id = '{}'", job.id);
    assert_eq!(docspace.value(&row).await.unwrap(), "1");
    assert_eq!(
        docspace.value("SELECT GROUP_CONCAT(action ORDER BY id) FROM audit_events").await.unwrap(),
        "5041,5125"
    );
    // A table of another time (a restore) does not know it: it is told again.
    docspace.execute(&[format!("DELETE FROM backup_backup WHERE id = '{}'", job.id)]).await;
    pull(app).await.unwrap();
    push(app).await.unwrap();
    assert_eq!(docspace.value(&row).await.unwrap(), "1");
}

/// The same on a catalog of each other kind: one run, told, trimmed and forgotten.
async fn a_life(kind: Kind) {
    let docspace = DocSpace::create().await;
    let place = Place::new(kind).await;
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        "{}[catalog]\nurl = \"{}\"\n[server]\nsecret_key = \"0123456789abcdef0123456789abcdef\"\n",
        config(&docspace),
        place.url.expose()
    );
    let one = Clocked::open(dir.path(), &config, "2026-06-12T12:00:00Z").await;
    let two = Clocked::open(dir.path(), &config, "2026-06-12T12:00:00Z").await;
    for clocked in [&one, &two] {
        pull(&clocked.app).await.unwrap();
    }
    schedules::set(&one.app, nightly()).await.unwrap();
    for day in [13, 14] {
        for clocked in [&one, &two] {
            clocked.set(&format!("2026-06-{day}T03:00:00Z"));
        }
        let ticks = [&one, &two, &one, &two].map(|clocked| clocked.tick());
        futures::future::join_all(ticks).await;
        one.work().await;
        futures::future::join_all([one.tick(), two.tick()]).await;
        one.work().await;
        let pushed = futures::future::join_all([push(&one.app), push(&two.app)]).await;
        assert!(pushed.iter().all(Result::is_ok), "{pushed:?}");
    }
    assert_eq!(one.jobs(JobKind::Backup).await.len(), 2, "one a night, whoever was quicker");
    let done = two.schedule(slot_id(1, true)).await;
    assert_eq!((done.last_error, done.failures, done.stale), (None, 0, 0));
    let value = async |sql: &str| docspace.value(sql).await.unwrap();
    assert_eq!(
        value("SELECT GROUP_CONCAT(removed ORDER BY removed DESC) FROM backup_backup WHERE is_scheduled = 1").await,
        "1,0"
    );
    assert_eq!(
        value("SELECT GROUP_CONCAT(action ORDER BY action) FROM audit_events").await,
        "5127,5127,5128,5128"
    );
    assert_eq!(value("SELECT backups_stored FROM backup_schedule").await, "1");
    let (from, to) = (at("2020-01-01T00:00:00Z"), at("2100-01-01T00:00:00Z"));
    let counted = portal_backup::ops::counts::backups(&one.app, 1, from, to, false).await.unwrap();
    assert_eq!(counted, 2, "DocSpace's, one of them removed; the dumps are tenant -1's");
    one.clock.set(jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 91));
    clean(&one.app).await.unwrap();
    assert_eq!(one.jobs(JobKind::Backup).await.len(), 1);
    assert!(schedules::delete(&two.app, slot_id(1, true), None).await.unwrap());
    push(&two.app).await.unwrap();
    assert_eq!(value("SELECT COUNT(*) FROM backup_schedule").await, "0");
    assert!(schedules::list(&one.app, None, None).await.unwrap().is_empty());
    for clocked in [one, two] {
        clocked.app.catalog.close().await;
    }
    place.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_on_postgres() {
    a_life(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_on_mysql() {
    a_life(Kind::MySql).await;
}
