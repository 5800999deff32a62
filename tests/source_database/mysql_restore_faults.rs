//! Restores of a database that are ended at any statement: the old state or the new one, and never a mixture.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use portal_backup::source::database::Trust;
use portal_backup::source::restore::Staged;

use crate::mysql_cut::proxy;
use crate::mysql_restore::{Dump, Live, assert_same, attempt, bound, pieces};
use crate::support::open;

/// A new process that knows the attempt's name.
async fn again(url: &str) -> Box<dyn Staged> {
    open(url).staged(&attempt()).await.unwrap()
}

async fn stage(live: &Live, dump: &Dump) {
    let staging = open(&live.url()).stage(&attempt()).await.unwrap();
    staging.objects(dump.1.clone(), Trust::Own).await.unwrap();
    for member in &dump.0 {
        staging.scheme(&member.table, &member.scheme, Trust::Own).await.unwrap();
        let data = pieces(&member.data, 4096);
        staging.data(&member.table, data, Trust::Own, &|_| {}).await.unwrap();
    }
    staging.ready().await.unwrap();
}

async fn broken(live: &Live, statements: i64) -> Box<dyn Staged> {
    let port = proxy(statements).await;
    again(&live.url().replace(":3306", &format!(":{port}"))).await
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Swap,
    RollBack,
    Finish,
}

/// Ends a step at each of its statements in turn; afterwards it is rolled back or gone on with. (A statement that was
/// run without an answer is the next one that was not run.)
async fn end_everywhere(step: Step) {
    end_everywhere_with(step, bound().await, crate::mysql_restore::SPOILED).await;
}

/// Views, routines, events and a sequence, of which each is changed, dropped and made anew.
const OBJECTS: &str = "
CREATE VIEW second AS SELECT * FROM seen; CREATE VIEW dropped AS SELECT id FROM child;
CREATE SEQUENCE counts; DO NEXTVAL(counts); CREATE TABLE counted (id bigint DEFAULT NEXTVAL(counts));
CREATE EVENT often ON SCHEDULE EVERY 2 YEAR DISABLE DO DELETE FROM parent;";
const OBJECTS_SPOILED: &str = "
DROP VIEW second; CREATE OR REPLACE VIEW seen AS SELECT 1 AS id; DROP VIEW dropped; DROP PROCEDURE doing; DROP EVENT often;
CREATE OR REPLACE FUNCTION answer() RETURNS int RETURN 4; ALTER EVENT sometimes COMMENT 'spoiled';
DROP TRIGGER gone; CREATE TRIGGER gone AFTER DELETE ON stays FOR EACH ROW INSERT INTO noted VALUES ('moved');
CREATE TRIGGER survives AFTER UPDATE ON child FOR EACH ROW SET @x = 1; DO NEXTVAL(counts);
CREATE VIEW survives AS SELECT * FROM stays; DROP TABLE counted; DROP SEQUENCE counts;";

/// With the archive's objects.
async fn end_everywhere_objects(step: Step) {
    let (live, _, _) = bound().await;
    live.run("DROP TABLE waits; DROP TABLE IF EXISTS fresh");
    live.run(OBJECTS);
    let mut dump =
        crate::mysql_restore::dump_all(&live.url()).await.without(crate::mysql_restore::UNKNOWN);
    dump.1.retain(|object| object.name != "kept");
    live.run(OBJECTS_SPOILED);
    let spoiled = live.state();
    stage(&live, &dump).await;
    let direct = again(&live.url()).await;
    direct.swap().await.unwrap();
    let new = live.state();
    assert_ne!(spoiled, new);
    for wanted in ["second", "dropped", "often", "survives", "counts", "answer"] {
        assert!(new.contains(wanted), "{wanted}: {new}");
    }
    direct.roll_back().await.unwrap();
    assert_same(&live.state(), &spoiled, "rolled back");
    let spoil = "DROP VIEW second; CREATE OR REPLACE VIEW seen AS SELECT 1 AS id; DROP VIEW dropped; DROP PROCEDURE doing; ALTER SEQUENCE counts RESTART 900";
    end_everywhere_with(step, (live, dump, new), spoil).await;
}

async fn end_everywhere_with(step: Step, (live, dump, new): (Live, Dump, String), spoil: &str) {
    let old = live.state();
    let mut ended = 0;
    for statements in 0.. {
        stage(&live, &dump).await;
        let direct = again(&live.url()).await;
        if step != Step::Swap {
            direct.swap().await.unwrap();
        }
        let through = broken(&live, statements).await;
        let result = match step {
            Step::Swap => through.swap().await,
            Step::RollBack => through.roll_back().await,
            Step::Finish => through.finish().await,
        };
        let complete = result.is_ok();
        ended += u32::from(!complete);
        match step {
            Step::Finish => direct.finish().await.unwrap(),
            Step::Swap if statements % 2 == 0 => {
                direct.swap().await.unwrap();
                assert_same(&live.state(), &new, &format!("{step:?} at {statements}"));
                direct.roll_back().await.unwrap();
            }
            _ => direct.roll_back().await.unwrap(),
        }
        let expected = if step == Step::Finish { &new } else { &old };
        assert_same(&live.state(), expected, &format!("{step:?} at {statements}"));
        assert_eq!(live.beside(), "", "{step:?} at {statements}");
        if step == Step::Finish {
            live.run(spoil);
        }
        if complete {
            break;
        }
    }
    assert!(ended >= 3, "{step:?} was hardly ended: {ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_ended_anywhere_is_undone_or_gone_on_with() {
    end_everywhere(Step::Swap).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_ended_anywhere_is_gone_on_with() {
    end_everywhere(Step::RollBack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_ended_anywhere_is_gone_on_with() {
    end_everywhere(Step::Finish).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_of_objects_ended_anywhere_is_undone_or_gone_on_with() {
    end_everywhere_objects(Step::Swap).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_of_objects_ended_anywhere_is_gone_on_with() {
    end_everywhere_objects(Step::RollBack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_with_objects_ended_anywhere_is_gone_on_with() {
    end_everywhere_objects(Step::Finish).await;
}

#[tokio::test]
async fn a_table_in_use_fails_the_swap_and_changes_nothing() {
    let (live, dump, new) = bound().await;
    let old = live.state();
    stage(&live, &dump).await;
    for table in ["points", "stays", "child"] {
        let mut holder = Conn::new(Opts::from_url(&live.url()).unwrap()).await.unwrap();
        holder.query_drop("START TRANSACTION").await.unwrap();
        holder.query_drop(format!("SELECT * FROM {table}")).await.unwrap();
        let staged = again(&format!("{}?lock-wait-timeout=1", live.url())).await;
        let error = staged.swap().await.unwrap_err().to_string();
        assert!(error.contains("in use by another connection for more than 1 s"), "{error}");
        holder.disconnect().await.unwrap();
        assert_same(&live.state(), &old, table);
    }
    let staged = again(&live.url()).await;
    staged.swap().await.unwrap();
    assert_same(&live.state(), &new, "");
    staged.finish().await.unwrap();
}

/// The process is gone, its RENAME still waits for a table: it must not take place after the rollback.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rename_that_a_dead_process_left_waiting_never_takes_place() {
    let (live, dump, _) = bound().await;
    live.run("DROP TRIGGER first_one; DROP TRIGGER another; DROP TRIGGER gone; ALTER TABLE stays DROP FOREIGN KEY s1");
    let old = live.state();
    stage(&live, &dump).await;
    let mut holder = Conn::new(Opts::from_url(&live.url()).unwrap()).await.unwrap();
    holder.query_drop("START TRANSACTION").await.unwrap();
    holder.query_drop("SELECT * FROM points").await.unwrap();
    let dying = again(&live.url()).await;
    let swapping = tokio::spawn(async move { dying.swap().await.is_ok() });
    let waits = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'RENAME TABLE%' AND STATE LIKE 'Waiting%' AND DB = DATABASE()";
    while live.run(waits).trim() != "1" {
        assert!(!swapping.is_finished());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    swapping.abort();
    again(&live.url()).await.roll_back().await.unwrap();
    holder.disconnect().await.unwrap();
    assert_eq!(live.run(waits).trim(), "0");
    assert_same(&live.state(), &old, "");
    assert_eq!(live.beside(), "");
}

#[tokio::test]
async fn steps_come_in_their_order_and_may_be_repeated() {
    let (live, dump, new) = bound().await;
    let old = live.state();
    let nothing = again(&live.url()).await;
    nothing.swap().await.unwrap();
    nothing.roll_back().await.unwrap();
    nothing.finish().await.unwrap();
    // An attempt that never became ready.
    let staging = open(&live.url()).stage(&attempt()).await.unwrap();
    staging.scheme("fresh", "CREATE TABLE fresh (id int);", Trust::Foreign).await.unwrap();
    drop(staging);
    assert!(nothing.swap().await.is_err());
    assert!(nothing.finish().await.is_err());
    assert_same(&live.state(), &old, "");
    // Another one of its name begins anew, also when the old state is to be put back first.
    stage(&live, &dump).await;
    assert!(nothing.finish().await.is_err());
    nothing.swap().await.unwrap();
    assert_same(&live.state(), &new, "");
    stage(&live, &dump).await;
    assert_same(&live.state(), &old, "");
    nothing.swap().await.unwrap();
    nothing.finish().await.unwrap();
    nothing.roll_back().await.unwrap();
    assert_same(&live.state(), &new, "");
    assert_eq!(live.beside(), "");
}

#[tokio::test]
async fn schemas_of_others_are_left_alone() {
    let (live, _, _) = bound().await;
    let schema = format!("{}_pb_{}", live.0.0, attempt());
    live.run(&format!("CREATE DATABASE {schema}; CREATE TABLE {schema}.precious (id int)"));
    let error = open(&live.url()).stage(&attempt()).await.err().unwrap().to_string();
    assert!(error.contains("did not put there"), "{error}");
    assert!(again(&live.url()).await.roll_back().await.is_err());
    assert_eq!(live.run(&format!("SHOW TABLES IN {schema}")).trim(), "precious");
}
