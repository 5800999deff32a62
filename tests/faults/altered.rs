//! A table whose definition changes while the portal is read.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::docspace::DocSpace;
use crate::support::service::Service;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_that_is_begun_again_warns_once() {
    let docspace = DocSpace::create().await;
    docspace
        .execute(&[
            "CREATE TABLE large (id int PRIMARY KEY, t text)",
            "INSERT INTO large SELECT seq, REPEAT(MD5(seq), 30) FROM seq_1_to_20000",
            // Else the server may not know yet that it is large.
            "ANALYZE TABLE large",
            "CREATE TABLE late (id int PRIMARY KEY)",
            "INSERT INTO late VALUES (1)",
            "CREATE TABLE odd (id int PRIMARY KEY) ENGINE = MyISAM",
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
    // The largest table comes first.
    while service.progress().await["progress"].as_i64().unwrap() < 10 {
        assert!(Instant::now() < deadline, "{}", service.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    docspace.execute(&["ALTER TABLE late ADD COLUMN x int, ALGORITHM = COPY"]).await;
    assert_eq!(service.finish().await["error"], "");
    assert!(service.log().contains("the dump is begun again"), "{}", service.log());
    let jobs = service.json("/v1/jobs?kind=backup").await;
    let warnings = jobs["items"][0]["warnings"].as_array().unwrap();
    let odd = warnings.iter().filter(|warning| warning.as_str().unwrap().contains("odd"));
    assert_eq!(odd.count(), 1, "{warnings:?}");
}
