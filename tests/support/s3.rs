//! An S3 server in the test's own process, with its objects in a temporary folder.

use std::path::PathBuf;

use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Listens on a port of its own until dropped; has one bucket.
pub struct S3Server {
    /// `http://127.0.0.1:PORT`
    pub endpoint: String,
    pub access_key: &'static str,
    pub secret_key: &'static str,
    pub bucket: &'static str,
    dir: TempDir,
    serving: JoinHandle<()>,
}

impl S3Server {
    pub async fn start() -> Self {
        let (access_key, secret_key, bucket) = ("test-access-key", "test-secret-key", "archives");
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(bucket)).unwrap();
        let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(dir.path()).unwrap());
        service.set_auth(SimpleAuth::from_single(access_key, secret_key));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { continue };
                let service = service.clone();
                tokio::spawn(async move {
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        });
        Self { endpoint, access_key, secret_key, bucket, dir, serving }
    }

    /// `127.0.0.1:PORT`, for a proxy in front.
    #[allow(dead_code)]
    pub fn address(&self) -> String {
        self.endpoint.trim_start_matches("http://").to_owned()
    }

    /// The options of a storage there, as in the configuration.
    #[allow(dead_code)]
    pub fn options(&self) -> Vec<(String, String)> {
        [
            ("endpoint", self.endpoint.as_str()),
            ("access_key_id", self.access_key),
            ("secret_access_key", self.secret_key),
            ("allow_http", "true"),
            ("region", "us-east-1"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// Where the bucket's objects lie as files.
    #[allow(dead_code)]
    pub fn bucket_dir(&self) -> PathBuf {
        self.dir.path().join(self.bucket)
    }

    /// Files of multipart uploads that were neither completed nor aborted.
    #[allow(dead_code)]
    pub fn open_uploads(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.dir.path()).unwrap();
        names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with(".upload"))
            .collect()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
