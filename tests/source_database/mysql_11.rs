//! What MariaDB added up to 11.8, one of each, there and back.

use crate::mysql_objects::{picture, script, text};
use crate::mysql_objects_restore::{NONE, staged};
use crate::mysql_restore::{Live, assert_same, dump_all};
use crate::support::Temporary;

const ADDED: &str = include_str!("mysql_11.sql");

/// A database with it, of a server that has all of it.
fn with(sql: &str) -> Option<Live> {
    let live = Live::new("");
    let version = live.run("SELECT VERSION()");
    let mut numbers = version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version_is = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if !version.contains("MariaDB") || version_is < (11, 8) {
        eprintln!("skipped: the server is {}, not MariaDB 11.8 or newer", version.trim());
        return None;
    }
    script(&live.0.0, sql.as_bytes());
    Some(live)
}

#[tokio::test]
async fn what_later_versions_added_comes_back() {
    let Some(live) = with(ADDED) else { return };
    let before = picture(&live.0.0);
    let dump = dump_all(&live.url()).await;
    let copy = Temporary::new();
    script(&copy.0, &text(&dump));
    assert_same(&picture(&copy.0), &before, "loaded by the client");
    live.run(
        "DELETE FROM vec; ALTER TABLE vec2 DROP INDEX v; UPDATE inv SET a = 99; DROP VIEW v3; TRUNCATE kinds; ALTER TABLE coll DROP COLUMN d; DROP TABLE app;
         DO NEXTVAL(s1); DROP SEQUENCE s2; DELETE FROM sv; DROP FUNCTION agg; DROP PACKAGE pkg",
    );
    let spoiled = picture(&live.0.0);
    for last in [false, true] {
        let (staged, warnings) = staged(&live.url(), &dump).await;
        assert_eq!(warnings, NONE);
        staged.swap().await.unwrap();
        assert_same(&picture(&live.0.0), &before, "swapped");
        if last {
            staged.finish().await.unwrap();
            assert_same(&picture(&live.0.0), &before, "finished");
        } else {
            staged.roll_back().await.unwrap();
            assert_same(&picture(&live.0.0), &spoiled, "rolled back");
        }
    }
    let fresh = Live::new("");
    let (staged, warnings) = staged(&fresh.url(), &dump).await;
    assert_eq!(warnings, NONE);
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    assert_same(&picture(&fresh.0.0), &before, "in an empty one");
}

/// Its values do not fit a signed number.
#[tokio::test]
async fn a_sequence_without_signs_stands_where_it_stood() {
    let Some(live) = with(
        "CREATE SEQUENCE big AS bigint unsigned START WITH 18446744073709550000 NOCACHE; DO NEXTVAL(big);",
    ) else {
        return;
    };
    let dump = dump_all(&live.url()).await;
    let fresh = Live::new("");
    let (staged, warnings) = staged(&fresh.url(), &dump).await;
    assert_eq!(warnings, NONE);
    staged.swap().await.unwrap();
    staged.finish().await.unwrap();
    assert_eq!(fresh.run("SELECT NEXTVAL(big)"), "18446744073709550001\n");
}
