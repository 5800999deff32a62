//! An S3 server in the test's own process, with its objects in a temporary folder.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
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
    gate: Arc<Mutex<Gate>>,
    serving: JoinHandle<()>,
}

/// A request as it came.
#[derive(Debug, Clone)]
#[allow(dead_code)]
pub struct Request {
    pub method: String,
    pub uri: String,
    pub headers: Vec<(String, String)>,
}

impl Request {
    #[allow(dead_code)]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// The status, and S3's code and message.
type Refusal = (u16, &'static str, &'static str);

type Refuse = Box<dyn FnMut(&Request) -> Option<Refusal> + Send>;

/// What every request passes first.
#[derive(Default)]
struct Gate {
    requests: Vec<Request>,
    refuse: Option<Refuse>,
}

/// As S3's own, in bytes.
const LONGEST_KEY: usize = 1024;

impl Gate {
    fn pass(&mut self, request: Request) -> Option<Refusal> {
        let path = request.uri.split('?').next().unwrap_or_default();
        let key = path.splitn(3, '/').nth(2).unwrap_or_default();
        let is_long = percent_encoding::percent_decode_str(key).count() > LONGEST_KEY;
        let refusal = self.refuse.as_mut().and_then(|refuse| refuse(&request));
        let refusal =
            refusal.or(is_long.then_some((400, "KeyTooLongError", "Your key is too long")));
        self.requests.push(request);
        refusal
    }
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
        let gate = Arc::new(Mutex::new(Gate::default()));
        let of_server = gate.clone();
        let serving = tokio::spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { continue };
                let (service, gate) = (service.clone(), of_server.clone());
                let service = service_fn(move |mut request: hyper::Request<Incoming>| {
                    let (service, gate) = (service.clone(), gate.clone());
                    async move {
                        let headers = request.headers().iter().map(|(name, value)| {
                            (name.to_string(), value.to_str().unwrap_or_default().to_owned())
                        });
                        let asked = Request {
                            method: request.method().to_string(),
                            uri: request.uri().to_string(),
                            headers: headers.collect(),
                        };
                        let Some((status, code, message)) = gate.lock().unwrap().pass(asked) else {
                            return hyper::service::Service::call(&service, request).await;
                        };
                        let body = request.body_mut();
                        while std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx))
                            .await
                            .is_some()
                        {}
                        let text = format!(
                            "<Error><Code>{code}</Code><Message>{message}</Message></Error>"
                        );
                        let answer = hyper::Response::builder().status(status);
                        Ok(answer.body(s3s::Body::from(text)).unwrap())
                    }
                });
                tokio::spawn(async move {
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        });
        Self { endpoint, access_key, secret_key, bucket, dir, gate, serving }
    }

    /// From now on requests for which this says so are refused, instead of being answered.
    #[allow(dead_code)]
    pub fn refuse(&self, refuse: impl FnMut(&Request) -> Option<Refusal> + Send + 'static) {
        self.gate.lock().unwrap().refuse = Some(Box::new(refuse));
    }

    /// The requests that came since this was last asked.
    #[allow(dead_code)]
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.gate.lock().unwrap().requests)
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

    /// The same as the configuration's text; `endpoint`: another way there; `more`: options beside.
    #[allow(dead_code)]
    pub fn configured(&self, endpoint: Option<&str>, more: &[(&str, &str)]) -> String {
        let mut options = self.options();
        if let Some(endpoint) = endpoint {
            options[0].1 = endpoint.to_owned();
        }
        options.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let options: Vec<_> =
            options.iter().map(|(name, value)| format!("{name} = \"{value}\"")).collect();
        format!("options = {{ {} }}", options.join(", "))
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
