//! Tables that are made anew while the portal is read.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::docspace::DocSpace;
use crate::support::service::Service;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_that_is_begun_again_warns_once() {
    let warnings = begun_again("ALTER TABLE late ADD COLUMN x int, ALGORITHM = COPY").await;
    let odd = warnings.iter().filter(|warning| warning.contains("odd"));
    assert_eq!(odd.count(), 1, "{warnings:?}");
}

/// Some seconds after, the server would give the rows of now to a snapshot from before: none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_emptied_under_the_snapshot_is_noticed() {
    begun_again("TRUNCATE TABLE late").await;
}

/// Runs a statement about the table `late` long before that is read; gives the job's warnings.
async fn begun_again(statement: &str) -> Vec<String> {
    let docspace = DocSpace::create().await;
    docspace
        .execute(&[
            "CREATE TABLE large (id int PRIMARY KEY, t text)",
            "INSERT INTO large SELECT seq, REPEAT(LEFT(SHA2(seq, 224), 32), 30) FROM seq_1_to_20000",
            // Else the server may not know yet that it is large.
            "ANALYZE TABLE large",
            "CREATE TABLE odd (id int PRIMARY KEY) ENGINE = MyISAM",
            "CREATE TABLE late (id int PRIMARY KEY)",
            "INSERT INTO late VALUES (1)",
        ])
        .await;
    let config = format!(
        "[limits]\ndatabase_read = \"4MiB\"\ndatabase_connections = 1\n[portal]\nlayout = \"plain\"\n\
         [[portal.database]]\nname = \"main\"\nurl = \"{}\"\n",
        docspace.url
    );
    let service = Service::start(&config).await;
    service.start_backup("Local", json!([])).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    // The largest table comes first, and takes seconds at that limit.
    loop {
        let jobs = service.json("/v1/jobs?kind=backup").await;
        if jobs["items"][0]["current"] == "large" {
            break;
        }
        assert!(Instant::now() < deadline, "{jobs} {}", service.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    docspace.execute(&[statement]).await;
    assert_eq!(service.finish().await["error"], "");
    assert!(service.log().contains("the dump is begun again"), "{}", service.log());
    let jobs = service.json("/v1/jobs?kind=backup").await;
    let warnings = jobs["items"][0]["warnings"].as_array().unwrap();
    warnings.iter().map(|warning| warning.as_str().unwrap().to_owned()).collect()
}
