//! Storages that lie in what is restored.

use serde_json::json;

use super::local_path;
use crate::support::portal::{PlainPortal, tree};
use crate::support::s3::S3Server;
use crate::support::service::Service;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_into_a_folder_leaves_the_storages_in_it() {
    let portal = PlainPortal::new(10);
    let config = portal.config() + "[storage.local]\nroot = \"{dir}/place/backups\"\n";
    let service = Service::start(&config).await;
    let archive = service.backup("Local", json!([])).await;
    let file = local_path(&archive);
    let content = std::fs::read(&file).unwrap();
    let place = service.dir.path().join("place");
    std::fs::write(place.join("stray"), "x").unwrap();
    let id = archive["id"].as_str().unwrap();
    let into = |path: &std::path::Path| {
        service.cli(&["restore", id, "--yes", "--into", &format!("file://{}", path.display())])
    };
    let refused = into(&place.join("backups"));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("is itself the local storage"), "{said}");
    let done = into(&place);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(std::fs::read(&file).unwrap() == content);
    let mut now = tree(&place);
    now.retain(|path, _| !path.starts_with("backups/"));
    assert!(now == tree(&portal.files()));
}

/// Its server may have more names than anybody could know to be one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn archives_in_the_bucket_that_is_restored_stay() {
    for (host, option) in [("127.0.0.1", "aws_endpoint_url_s3"), ("0.0.0.0", "endpoint")] {
        let server = S3Server::start().await;
        let folder = server.bucket_dir();
        std::fs::write(folder.join("a"), "old").unwrap();
        let portal = PlainPortal::new(10);
        let options = |endpoint: &str, text: &str| {
            let pairs = server.options().into_iter().map(|(name, value)| match name.as_str() {
                "endpoint" => format!("{endpoint} = \"{text}\""),
                _ => format!("{name} = \"{value}\""),
            });
            pairs.collect::<Vec<_>>().join(", ")
        };
        let local = format!("url = \"file://{}\"", portal.files().display());
        let own = options("endpoint", &server.endpoint);
        let bucket = format!("url = \"s3://archives\"\noptions = {{ {own} }}");
        let other = options(option, &server.endpoint.replace("127.0.0.1", host));
        let config = portal.config().replace(&local, &bucket)
            + &format!(
                "[storage.custom_cloud]\nurl = \"s3a://ARCHIVES//backups/\"\noptions = {{ {other} }}\n"
            );
        let service = Service::start(&config).await;
        let first = service.backup("CustomCloud", json!([])).await;
        service.backup("CustomCloud", json!([])).await;
        let archives = tree(&folder.join("backups"));
        assert_eq!(archives.keys().filter(|name| name.ends_with(".tar.gz")).count(), 2);
        std::fs::write(folder.join("a"), "spoiled").unwrap();
        std::fs::write(folder.join("stray"), "x").unwrap();
        service.restore(&json!({"backupId": first["id"], "dump": true})).await;
        assert!(tree(&folder.join("backups")) == archives, "{host}");
        assert_eq!(std::fs::read(folder.join("a")).unwrap(), b"old");
        assert!(!folder.join("stray").exists());
    }
}
