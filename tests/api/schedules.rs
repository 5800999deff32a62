//! Schedules, retention and DocSpace's routes about them.

use std::collections::BTreeSet;
use std::net::TcpListener;

use jiff::tz::TimeZone;
use portal_backup::catalog::Scope;
use portal_backup::http::v1::schedules::ScheduleView;
use portal_backup::jobs::{JobKind, JobState};
use portal_backup::notify::Event;
use portal_backup::ops::backup::StartBackup;
use portal_backup::ops::import::import;
use portal_backup::ops::retention;
use portal_backup::ops::scheduler::{clean, follow_zones, tick};
use portal_backup::ops::schedules::{self, SetSchedule};
use portal_backup::schedule::retention::{Action, Rules};
use portal_backup::storage::{StorageParams, StorageType};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::clocked::{Clocked, at, by_hand, nightly};
use crate::support::portal::PlainPortal;
use crate::support::service::{Service, names};

fn set(cron: &str, retention: Rules) -> SetSchedule {
    let id = Some(uuid::Uuid::new_v4());
    SetSchedule { id, cron: cron.to_owned(), retention, ..nightly() }
}

#[tokio::test]
async fn docspaces_schedule_is_made_shown_and_deleted() {
    let portal = PlainPortal::new(10);
    let service = Service::start(&portal.config()).await;
    let none = service.json("/api/2.0/backup/getbackupschedule").await;
    assert_eq!((none.get("response"), &none["count"]), (None, &json!(0)));

    // facts §7: the web client sends "Schedules as strings plus backupsStored, cronParams{Period,Hour,Day}".
    let body = json!({
        "storageType": "3", "storageParams": [{"key": "filePath", "value": "weekly"}],
        "backupsStored": "5", "cronParams": {"Period": "1", "Hour": "12", "Day": "1"},
        "dump": true, "backupMail": false
    });
    let made = service.post("/api/2.0/portal/CreateBackupSchedule", &body).await;
    assert_eq!(made.status(), StatusCode::OK);
    assert_eq!(made.json::<Value>().await.unwrap()["response"], true);

    // facts §2: "Schedule: storageType, storageParams{}, cronParams{period,hour,day}, backupsStored?,
    // lastBackupTime, dump; for non-consumer types storageParams.folderId = storage_base_path".
    let shown = service.json("/api/2.0/backup/getbackupschedule?Dump=true").await;
    assert_eq!(
        shown["response"],
        json!({
            "storageType": 3, "storageParams": {"folderId": "weekly"},
            "cronParams": {"period": 1, "hour": 12, "day": 1}, "backupsStored": 5,
            "lastBackupTime": "0001-01-01T00:00:00", "dump": true
        })
    );
    let own = service.json("/api/2.0/backup/getbackupschedule").await;
    assert_eq!(own.get("response"), None, "one a tenant, and one global dump");

    let list = service.json("/v1/schedules").await;
    assert_eq!((&list["total"], &list["items"][0]["docspace"]), (&json!(1), &json!(true)));
    assert_eq!(list["items"][0]["cron"], "0 0 12 ? * 1");
    let next = list["items"][0]["nextRun"].as_str().unwrap();
    let next = at(next).to_zoned(TimeZone::UTC);
    assert_eq!(next.weekday(), jiff::civil::Weekday::Sunday, "1 = Sunday");

    for _ in 0..2 {
        let path = "/api/2.0/backup/deletebackupschedule?dump=true";
        let deleted = service.request(Method::DELETE, path).send().await.unwrap();
        assert_eq!(deleted.json::<Value>().await.unwrap()["response"], true);
    }
    assert_eq!(service.json("/v1/schedules").await["total"], 0);
}

#[tokio::test]
async fn wrong_schedules_are_refused() {
    let portal = PlainPortal::new(10);
    let service = Service::start(&portal.config()).await;
    // facts §2: "cronParams null → 500; bad hour/day → 500 (FormatException); backupsStored outside 1–30 →
    // 400; folderId missing → 500; dump with an own tenantId param → 400": all are 400 here.
    let cron = json!({"period": 0, "hour": 3, "day": 0});
    for body in [
        json!({"storageType": "Local", "cronParams": null}),
        json!({"storageType": "Local"}),
        json!({"storageType": "Local", "cronParams": {"period": 0, "hour": 24}}),
        json!({"storageType": "Local", "cronParams": {"period": 2, "hour": 3, "day": 0}}),
        json!({"storageType": "Local", "cronParams": {"period": 2, "hour": 3, "day": 32}}),
        json!({"storageType": "Local", "cronParams": {"period": 1, "hour": 3, "day": 8}}),
        json!({"storageType": "Local", "cronParams": cron, "backupsStored": 0}),
        json!({"storageType": "Local", "cronParams": cron, "backupsStored": 31}),
        json!({"storageType": "Documents", "cronParams": cron}),
        json!({"storageType": "ThridpartyDocuments", "cronParams": cron}),
        json!({"storageType": "CustomCloud", "cronParams": cron}),
        json!({"storageType": "Local", "cronParams": cron, "dump": true,
            "storageParams": [{"key": "tenantId", "value": "2"}]}),
        json!({"storageType": "Local", "cronParams": cron,
            "storageParams": [{"key": "filePath", "value": "../out"}]}),
        json!({"storageType": "Moon", "cronParams": cron}),
    ] {
        let answer = service.post("/api/2.0/backup/createbackupschedule", &body).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(answer.json::<Value>().await.unwrap()["statusCode"], 400, "{body}");
    }
    let local = |more: Value| {
        let mut body = json!({"storageType": "Local", "cron": "0 0 3 ? * *"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (more, word) in [
        (json!({"cron": "0 0 3 30 2 ?"}), "never"),
        (json!({"cron": "0 0 3 * * *"}), "?"),
        (json!({"cron": "0 0 24 ? * *"}), "cron"),
        (json!({"cron": "0 3 * * *"}), "fields"),
        (json!({"timezone": "Mars/Olympus"}), "Mars"),
        (json!({"retention": {"keepDaily": 0}}), "keepDaily"),
        (json!({"retention": {"keepWithin": "soon"}}), "keepWithin"),
        (json!({"retention": {"keepForever": true}}), "keepForever"),
        (json!({"name": ""}), "name"),
        (json!({"fullEvery": "7d"}), "incremental"),
        (json!({"mode": "incremental", "fullEvery": "soon"}), "fullEvery"),
        (json!({"storageParams": {"filePath": "/etc"}}), "/etc"),
    ] {
        let answer = service.post("/v1/schedules", &local(more.clone())).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{more}");
        let text = answer.text().await.unwrap();
        assert!(text.contains(word), "{more}: {text}");
    }
    assert_eq!(service.json("/v1/schedules").await["total"], 0);
    for path in [
        "/api/2.0/backup/getbackupschedule?dump=1",
        "/api/2.0/backup/getbackupscount?from=yesterday",
        "/api/2.0/backup/getbackupscount?from=2026-02-01&to=2026-01-01",
        "/api/2.0/backup/getbackupscount?paid=2",
    ] {
        assert_eq!(service.get(path).await.status(), StatusCode::BAD_REQUEST, "{path}");
    }
    let reader = service.new_key("read");
    for (method, path) in [
        (Method::POST, "/api/2.0/backup/createbackupschedule"),
        (Method::DELETE, "/api/2.0/backup/deletebackupschedule"),
        (Method::DELETE, "/api/2.0/backup/deletebackuphistory"),
        (Method::POST, "/v1/schedules"),
        (Method::POST, "/v1/retention/apply"),
    ] {
        let request = service.http.request(method, format!("{}{path}", service.base));
        let answer = request.header("Authorization", &reader).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path}");
    }
}

#[tokio::test]
async fn schedules_of_our_own_are_written_and_shown_alike_everywhere() {
    let portal = PlainPortal::new(10);
    let service = Service::start(&portal.config()).await;
    let wanted = json!({
        "name": "Quarterly", "cron": "0 30 2 ? jan,apr,jul,oct mon#1", "timezone": "Romance Standard Time",
        "storageType": "Local", "storageParams": {"filePath": "q", "secretKey": "hunter2"}, "dump": true,
        "retention": {"keepLast": 2, "keepYearly": 5, "keepWithin": "1y"}
    });
    let made = service.post("/v1/schedules", &wanted).await;
    assert_eq!(made.status(), StatusCode::CREATED);
    let location = made.headers()["Location"].to_str().unwrap().to_owned();
    let made: Value = made.json().await.unwrap();
    assert_eq!(location, format!("/v1/schedules/{}", made["id"].as_str().unwrap()));
    assert_eq!(made["cron"], "0 30 2 ? JAN,APR,JUL,OCT MON#1");
    assert_eq!(made["effectiveTimezone"], "Europe/Paris");
    assert_eq!(made["retention"], wanted["retention"]);
    assert_eq!(made["storageParams"], json!({"filePath": "q"}), "secrets are not told");
    assert_eq!(service.json(&location).await, made);
    let next = at(made["nextRun"].as_str().unwrap()).in_tz("Europe/Paris").unwrap();
    assert_eq!((next.weekday(), next.hour(), next.minute()), (jiff::civil::Weekday::Monday, 2, 30));
    assert!(next.day() <= 7 && [1, 4, 7, 10].contains(&next.month()), "{next}");

    let shown = service.cli(&["schedule", "show", made["id"].as_str().unwrap(), "--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&shown.stdout).unwrap(), made);
    let disabled =
        json!({"cron": "0 0 3 ? * *", "storageType": "Local", "dump": true, "enabled": false});
    let put = |body: Value| service.request(Method::PUT, &location).json(&body).send();
    let put_answer: Value = put(disabled.clone()).await.unwrap().json().await.unwrap();
    assert_eq!((&put_answer["enabled"], &put_answer["nextRun"]), (&json!(false), &Value::Null));
    assert_eq!(put_answer["createdOn"], made["createdOn"]);
    let other = json!({"cron": "0 0 3 ? * *", "storageType": "Local", "dump": false});
    assert_eq!(put(other).await.unwrap().status(), StatusCode::BAD_REQUEST);

    let set =
        service.cli(&["schedule", "set", "--cron", "0 0 3 ? * 2", "--keep-daily", "7", "--json"]);
    assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
    let set: Value = serde_json::from_slice(&set.stdout).unwrap();
    assert_eq!(set["retention"], json!({"keepDaily": 7}));
    let wrong = service.cli(&["schedule", "set", "--cron", "0 0 3 31 2 ?"]);
    assert_eq!(wrong.status.code(), Some(2), "{}", String::from_utf8_lossy(&wrong.stderr));
    assert_eq!(service.json("/v1/schedules").await["total"], 2);
    let id = set["id"].as_str().unwrap();
    assert!(service.cli(&["schedule", "delete", id]).status.success());
    assert_eq!(service.cli(&["schedule", "delete", id]).status.code(), Some(1));
    let gone =
        service.request(Method::DELETE, &format!("/v1/schedules/{id}")).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
    let metrics = service.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("portal_backup_schedule_failures{"), "{metrics}");
}

/// The service itself, by the machine's clock: every second, so that none has to be waited for long.
#[tokio::test]
async fn serve_runs_what_is_due() {
    let portal = PlainPortal::new(10);
    let service = Service::start(&portal.config()).await;
    let body = json!({"cron": "* * * * * ?", "storageType": "Local", "dump": true,
        "retention": {"keepLast": 1}});
    let made: Value = service.post("/v1/schedules", &body).await.json().await.unwrap();
    let path = format!("/v1/schedules/{}", made["id"].as_str().unwrap());
    let mut successes = BTreeSet::new();
    for _ in 0..1200 {
        let shown = service.json(&path).await;
        assert_eq!(shown["lastError"], Value::Null, "{shown}");
        if let Some(success) = shown["lastSuccess"].as_str() {
            successes.insert(success.to_owned());
        }
        if successes.len() >= 3 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(successes.len() >= 3, "{successes:?} {}", service.log());
    let deleted = service.request(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    let pruned = service.json("/v1/jobs?kind=prune&state=succeeded").await;
    assert!(pruned["total"].as_u64().unwrap() >= 1, "{pruned}");
}

#[tokio::test]
async fn missed_runs_are_made_up_once_by_one_of_many() {
    let portal = PlainPortal::new(10);
    let dir = tempfile::tempdir().unwrap();
    let one = Clocked::open(dir.path(), &portal.config(), "2026-06-01T12:00:00Z").await;
    let two = Clocked::open(dir.path(), &portal.config(), "2026-06-01T12:00:00Z").await;
    let made = schedules::set(&one.app, set("0 0 3 ? * *", Rules::default())).await.unwrap();
    // facts §9: "a new schedule whose hour already passed runs at the next tick": not here.
    assert_eq!(made.next_run, Some(at("2026-06-02T03:00:00Z")));
    one.tick().await;
    assert!(one.jobs(JobKind::Backup).await.is_empty());

    for clocked in [&one, &two] {
        clocked.set("2026-06-20T09:00:00Z");
    }
    let ticks = (0..8).map(|n| tick(if n % 2 == 0 { &one.app } else { &two.app }));
    for ticked in futures::future::join_all(ticks).await {
        ticked.unwrap();
    }
    assert_eq!(one.jobs(JobKind::Backup).await.len(), 1, "facts §9: missed runs fire once");
    let running = one.schedule(made.id).await;
    assert_eq!(running.next_run, Some(at("2026-06-21T03:00:00Z")));
    one.work().await;
    // Another process hears of a job's end a little later.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let done = loop {
        two.tick().await;
        let done = two.schedule(made.id).await;
        if !done.awaited || std::time::Instant::now() > deadline {
            break done;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    assert!(done.last_success.is_some() && !done.awaited && done.last_error.is_none());
    let archives = retention::plan(&one.app, None, None, None).await.unwrap();
    assert_eq!(archives.len(), 1);
    assert_eq!(archives[0].archive.schedule_id, Some(made.id));

    // A lost catalog learns it from the archive itself.
    let lost = format!("{}[catalog]\nurl = \"sqlite://{{}}\"\n", portal.config());
    let lost = lost.replace("{}", dir.path().join("new.db").to_str().unwrap());
    let anew = Clocked::open(dir.path(), &lost, "2026-06-20T09:00:00Z").await;
    import(&anew.app, StorageType::Local, StorageParams::new(), |_| {}).await.unwrap();
    let found = retention::plan(&anew.app, None, None, None).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].archive.schedule_id, Some(made.id));
}

/// Through the catalog and the queue, every night of a leap year with two changes of the clocks.
#[tokio::test]
async fn a_year_of_nights() {
    let portal = PlainPortal::new(1);
    let dir = tempfile::tempdir().unwrap();
    let config = portal
        .config()
        .replace("layout = \"plain\"", "layout = \"plain\"\ntimezone = \"Europe/Paris\"");
    let clocked = Clocked::open(dir.path(), &config, "2027-12-31T12:00:00Z").await;
    let made = schedules::set(&clocked.app, set("0 30 2 ? * *", Rules::default())).await.unwrap();
    let month_ends =
        schedules::set(&clocked.app, set("0 0 12 L * ?", Rules::default())).await.unwrap();
    let (mut nights, mut ends) = (BTreeSet::new(), BTreeSet::new());
    loop {
        let (night, end) = (clocked.schedule(made.id).await, clocked.schedule(month_ends.id).await);
        let next = night.next_run.min(end.next_run).unwrap();
        let local = next.in_tz("Europe/Paris").unwrap();
        if local.year() > 2028 {
            break;
        }
        clocked.clock.set(next);
        clocked.tick().await;
        let job = clocked.jobs(JobKind::Backup).await.remove(0);
        assert_eq!(job.state, JobState::Queued, "{local}");
        // The run itself is not what this is about.
        clocked.app.queue.request_cancel(job.id).await.unwrap();
        clocked.tick().await;
        if local.hour() == 12 {
            assert!(ends.insert(local.date()), "{local} twice");
        } else {
            let moved = local.month() == 3 && local.day() == 26;
            assert_eq!(
                (local.hour(), local.minute()),
                if moved { (3, 0) } else { (2, 30) },
                "{local}"
            );
            assert!(nights.insert(local.date()), "{local} twice");
        }
    }
    assert_eq!((nights.len(), ends.len()), (366, 12));
    assert!(ends.contains(&jiff::civil::date(2028, 2, 29)));
}

#[tokio::test]
async fn a_failure_is_told_tried_again_and_ends() {
    let portal = PlainPortal::new(10);
    let dir = tempfile::tempdir().unwrap();
    let clocked = Clocked::open(dir.path(), &portal.config(), "2026-06-01T12:00:00Z").await;
    let made = schedules::set(&clocked.app, set("0 0 3 ? * *", Rules::default())).await.unwrap();
    let away = portal.dir.path().join("away");
    std::fs::rename(portal.files(), &away).unwrap();
    clocked.run("2026-06-02T03:00:00Z").await;
    let failed = clocked.schedule(made.id).await;
    assert_eq!(failed.failures, 1);
    assert!(!failed.last_error.as_ref().unwrap().is_empty());
    assert_eq!(failed.retry_on, Some(at("2026-06-02T03:05:00Z")));
    assert_eq!(failed.next_run, Some(at("2026-06-03T03:00:00Z")));
    clocked.run("2026-06-02T03:04:59Z").await;
    assert_eq!(clocked.jobs(JobKind::Backup).await.len(), 1, "not before its time");
    clocked.run("2026-06-02T03:05:00Z").await;
    let failed = clocked.schedule(made.id).await;
    assert_eq!((failed.failures, failed.retry_on), (2, Some(at("2026-06-02T03:15:00Z"))));
    std::fs::rename(&away, portal.files()).unwrap();
    clocked.run("2026-06-02T03:15:00Z").await;
    let well = clocked.schedule(made.id).await;
    assert_eq!((well.failures, &well.last_error, well.retry_on), (0, &None, None));
    assert!(well.last_success.is_some());
    assert_eq!(well.next_run, Some(at("2026-06-03T03:00:00Z")));
    let told = clocked.told.0.lock().unwrap();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        matches!(&told[0], Event::ScheduleFailed { failures: 1, error, .. } if !error.is_empty())
    );
    assert!(matches!(&told[2], Event::ScheduleRecovered { after: 2, .. }));
}

#[tokio::test]
async fn a_schedule_waits_for_what_excludes_it_and_outlives_a_cancelled_job() {
    let portal = PlainPortal::new(10);
    let dir = tempfile::tempdir().unwrap();
    let clocked = Clocked::open(dir.path(), &portal.config(), "2026-06-01T12:00:00Z").await;
    let made = schedules::set(&clocked.app, set("0 0 3 ? * *", Rules::default())).await.unwrap();
    let running = portal_backup::ops::backup::start(&clocked.app, by_hand()).await.unwrap();
    clocked.set("2026-06-02T03:00:00Z");
    clocked.tick().await;
    assert_eq!(clocked.jobs(JobKind::Backup).await.len(), 1, "both want the installation");
    let waiting = clocked.schedule(made.id).await;
    assert_eq!(waiting.last_run, None);
    let views = ScheduleView::of(&clocked.app, &[waiting]).await.unwrap();
    assert_eq!(views[0].waiting_for, Some(running.id));
    clocked.app.queue.request_cancel(running.id).await.unwrap();
    clocked.tick().await;
    let jobs = clocked.jobs(JobKind::Backup).await;
    assert_eq!(jobs.len(), 2, "as soon as it can");
    let own = jobs.iter().find(|job| job.id != running.id).unwrap();
    clocked.app.queue.request_cancel(own.id).await.unwrap();
    clocked.tick().await;
    let after = clocked.schedule(made.id).await;
    let views = ScheduleView::of(&clocked.app, std::slice::from_ref(&after)).await.unwrap();
    assert_eq!(views[0].waiting_for, None);
    assert!(after.last_error.unwrap().contains("cancelled"));
    assert_eq!((after.failures, after.retry_on), (0, None), "somebody wanted it so");
    assert_eq!(after.next_run, Some(at("2026-06-03T03:00:00Z")));
}

#[tokio::test]
async fn retention_removes_what_no_rule_keeps_and_says_why() {
    let portal = PlainPortal::new(10);
    let dir = tempfile::tempdir().unwrap();
    let clocked = Clocked::open(dir.path(), &portal.config(), "2026-06-01T12:00:00Z").await;
    let app = &clocked.app;
    // Archives bear the machine's time, so the clock must not be behind it.
    let wanted = SetSchedule {
        storage_params: [("filePath".into(), "s".into())].into(),
        ..set("0 0 3 ? * *", Rules::stored(2))
    };
    let made = schedules::set(app, wanted).await.unwrap();
    let temporary = StartBackup { storage_type: StorageType::DataStore, ..by_hand() };
    portal_backup::ops::backup::start(app, temporary).await.unwrap();
    clocked.work().await;
    for day in 2..=4 {
        clocked.run(&format!("2026-06-0{day}T03:00:00Z")).await;
    }
    let folder = dir.path().join("backups/s");
    let stored = names(&folder);
    assert_eq!(stored.len(), 2, "backupsStored: {stored:?}");
    let planned = retention::plan(app, None, None, None).await.unwrap();
    assert_eq!(planned.len(), 3, "the one by hand beside");
    assert!(
        planned.iter().all(|planned| planned.action == Action::Keep && !planned.reasons.is_empty())
    );

    // Only tried, not done.
    let one = Some((made.id, Rules { keep_last: Some(1), ..Rules::default() }));
    let tried = retention::plan(app, None, None, one).await.unwrap();
    assert_eq!(tried.iter().filter(|planned| planned.action == Action::Remove).count(), 1);
    assert_eq!(names(&folder), stored);

    // facts §7: "DataStore → … expires 1 day".
    let now = jiff::Timestamp::now();
    clocked.clock.set(now + jiff::SignedDuration::from_hours(23));
    clean(app).await.unwrap();
    clocked.work().await;
    assert_eq!(retention::plan(app, None, None, None).await.unwrap().len(), 3);
    clocked.clock.set(now + jiff::SignedDuration::from_hours(25));
    clean(app).await.unwrap();
    clocked.work().await;
    let left = retention::plan(app, None, None, None).await.unwrap();
    assert_eq!(left.len(), 2);
    assert!(left.iter().all(|planned| planned.archive.schedule_id == Some(made.id)));
    assert_eq!(names(&dir.path().join("backups/datastore")), Vec::<String>::new());

    // What vanished is marked, and does not stand for one that exists.
    std::fs::remove_file(folder.join(&left[0].archive.name)).unwrap();
    let again = Clocked::open(dir.path(), &portal.config(), "2026-06-05T02:00:00Z").await;
    retention::start(&again.app).await.unwrap();
    again.work().await;
    let after = retention::plan(&again.app, None, None, None).await.unwrap();
    assert!(after[0].archive.missing_since.is_some() && after[0].reasons[0].contains("gone"));
    assert!(after[1].reasons[0].contains("1 of 2"), "{:?}", after[1].reasons);
    assert_eq!(names(&folder).len(), 1);
}

#[tokio::test]
async fn jobs_of_long_ago_are_forgotten() {
    let portal = PlainPortal::new(1);
    let dir = tempfile::tempdir().unwrap();
    let clocked = Clocked::open(dir.path(), &portal.config(), "2026-06-01T12:00:00Z").await;
    schedules::set(&clocked.app, set("0 0 3 ? * *", Rules::default())).await.unwrap();
    for day in 2..=4 {
        clocked.set(&format!("2026-06-0{day}T03:00:00Z"));
        clocked.tick().await;
        let job = clocked.jobs(JobKind::Backup).await.remove(0);
        clocked.app.queue.request_cancel(job.id).await.unwrap();
        clocked.tick().await;
    }
    let newest = clocked.jobs(JobKind::Backup).await[0].id;
    // Jobs bear the database's time.
    let now = jiff::Timestamp::now();
    for (days, left) in [(89, 3), (91, 1)] {
        clocked.clock.set(now + jiff::SignedDuration::from_hours(24 * days));
        clean(&clocked.app).await.unwrap();
        assert_eq!(clocked.jobs(JobKind::Backup).await.len(), left, "after {days} days");
    }
    assert_eq!(clocked.jobs(JobKind::Backup).await[0].id, newest, "the newest of each kind stays");
}

#[tokio::test]
async fn docspaces_counts_and_history() {
    let portal = PlainPortal::new(10);
    let service = Service::start(&portal.config()).await;
    let state = service.json("/api/2.0/backup/getservicestate").await;
    assert_eq!(state["response"], json!({"enabled": true}));
    let temp = service.json("/api/2.0/backup/backuptmp").await;
    assert!(temp["response"].is_string());
    for name in ["a", "b"] {
        service.backup("Local", json!([{"key": "filePath", "value": name}])).await;
    }
    let count = |query: &str| {
        let path = format!("/api/2.0/backup/getbackupscount{query}");
        let service = &service;
        async move { service.json(&path).await["response"].clone() }
    };
    // facts, base facts: "getbackupscount (from,to,paid; default current UTC month; counts removed rows too)".
    assert_eq!(count("").await, 2);
    assert_eq!(count("?paid=true").await, 0);
    assert_eq!(count("?from=2020-01-01&to=2020-12-31T23:59:59").await, 0);
    assert_eq!(count("?From=2020-01-01T00:00:00Z").await, 2);
    // .NET's DateTime.MinValue and MaxValue.
    assert_eq!(count("?from=0001-01-01T00:00:00&to=9999-12-31T23:59:59").await, 2);
    let plan = service.post("/v1/retention/plan", &json!({})).await;
    let plan: Value = plan.json().await.unwrap();
    assert_eq!((&plan["kept"], &plan["removed"]), (&json!(2), &json!(0)));
    assert!(plan["items"][0]["reasons"][0].as_str().unwrap().contains("by hand"));

    let path = "/api/2.0/backup/deletebackuphistory";
    let deleted = service.request(Method::DELETE, path).send().await.unwrap();
    assert_eq!(deleted.json::<Value>().await.unwrap()["response"], true);
    assert_eq!(service.json("/api/2.0/backup/getbackuphistory").await["count"], 0);
    for name in ["a", "b"] {
        assert_eq!(names(&service.backups().join(name)), Vec::<String>::new());
    }
    assert_eq!(count("").await, 2, "removed ones are counted too");
    // facts §2: "deletebackup unknown GUID → 500": 404 here.
    let unknown = "/api/2.0/backup/deletebackup/00000000-0000-0000-0000-000000000001";
    let unknown = service.request(Method::DELETE, unknown).send().await.unwrap();
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
}

/// The routes over a socket of this process, by a clock that was moved.
#[tokio::test]
async fn the_current_month_is_the_clocks() {
    let portal = PlainPortal::new(10);
    let dir = tempfile::tempdir().unwrap();
    let clocked = Clocked::open(dir.path(), &portal.config(), "2026-06-01T12:00:00Z").await;
    let app = clocked.app.clone();
    let (_, key) = app.catalog.api_keys().create("test", Scope::Read).await.unwrap();
    schedules::set(&app, set("0 0 3 ? * *", Rules::default())).await.unwrap();
    clocked.run("2026-06-02T03:00:00Z").await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/api/2.0/backup/getbackupscount", listener.local_addr().unwrap());
    let server = portal_backup::http::serve(app, listener).unwrap();
    let handle = server.handle();
    let serving = tokio::spawn(server);
    let count = || async {
        let request = reqwest::Client::new().get(&url).header("Authorization", key.expose());
        request.send().await.unwrap().json::<Value>().await.unwrap()["response"].clone()
    };
    clocked.clock.set(jiff::Timestamp::now());
    assert_eq!(count().await, 1);
    clocked.set("2031-01-31T23:59:59Z");
    assert_eq!(count().await, 0);
    handle.stop(true).await;
    serving.await.unwrap().unwrap();
}

/// Once its clock is right again, a machine does not wait for what it had planned by the wrong one.
#[tokio::test]
async fn a_clock_that_was_ahead_stops_no_schedule() {
    let portal = PlainPortal::new(1);
    let dir = tempfile::tempdir().unwrap();
    let clocked = Clocked::open(dir.path(), &portal.config(), "2036-06-01T12:00:00Z").await;
    for timezone in [None, Some("Europe/Paris".to_owned())] {
        let wanted = SetSchedule { timezone, ..set("0 0 3 ? * *", Rules::default()) };
        let made = schedules::set(&clocked.app, wanted).await.unwrap();
        clocked.set("2026-06-01T12:00:00Z");
        follow_zones(&clocked.app).await.unwrap();
        let next = clocked.schedule(made.id).await.next_run.unwrap();
        assert!(next < at("2026-06-02T03:00:01Z"), "{next}");
        clocked.set("2036-06-01T12:00:00Z");
    }
}

/// Twice a day through the nights on which the clocks change: each of the two comes, and comes once.
#[tokio::test]
async fn two_hours_a_day_are_two_backups_on_every_day() {
    let portal = PlainPortal::new(1);
    let config = portal
        .config()
        .replace("layout = \"plain\"", "layout = \"plain\"\ntimezone = \"Europe/Paris\"");
    for (day, hours) in [("2026-03-29", [3, 14]), ("2026-10-25", [2, 14])] {
        let day: jiff::civil::Date = day.parse().unwrap();
        let midnight = day.in_tz("Europe/Paris").unwrap().timestamp();
        let dir = tempfile::tempdir().unwrap();
        let clocked = Clocked::open(dir.path(), &config, &midnight.to_string()).await;
        let made =
            schedules::set(&clocked.app, set("0 0 2,14 ? * *", Rules::default())).await.unwrap();
        let mut ran = Vec::new();
        loop {
            let next = clocked.schedule(made.id).await.next_run.unwrap();
            let local = next.in_tz("Europe/Paris").unwrap();
            if local.date() > day {
                break;
            }
            ran.push(local.hour());
            clocked.clock.set(next);
            clocked.tick().await;
            let job = clocked.jobs(JobKind::Backup).await.remove(0);
            clocked.app.queue.request_cancel(job.id).await.unwrap();
            clocked.tick().await;
        }
        assert_eq!(ran, hours, "{day}");
    }
}
