//! Azurite, which stands in for Azure's blob storage: one process for a test program, a container for each test.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Azurite's own, known to everybody.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

struct Server {
    address: String,
    /// Ends with this process: its standard input closes then.
    _child: Child,
}

/// A container of its own in the process's server.
pub struct Container {
    /// `http://127.0.0.1:PORT/devstoreaccount1`
    pub endpoint: String,
    pub name: String,
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let root = env!("CARGO_MANIFEST_DIR");
        let found = Command::new(format!("{root}/scripts/azurite.sh")).output().unwrap();
        assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
        let program = String::from_utf8(found.stdout).unwrap().trim().to_owned();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let script = "dir=$(mktemp -d); \"$0\" --location \"$dir\" --blobHost 127.0.0.1 --blobPort \"$1\" \
             --skipApiVersionCheck --disableTelemetry --silent >/dev/null & \
             echo started; cat >/dev/null; kill $!; wait; rm -rf \"$dir\"";
        let mut child = Command::new("sh")
            .args(["-c", script, &program, &free.port().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let begun = Instant::now();
        while std::net::TcpStream::connect(free).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(120), "azurite does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        Server { address: format!("http://{free}"), _child: child }
    })
}

impl Container {
    pub async fn start() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let server = tokio::task::spawn_blocking(server).await.unwrap();
        let name = format!("archives{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let container = Self { endpoint: format!("{}/{ACCOUNT}", server.address), name };
        let made = container.ask(reqwest::Method::PUT, &[("restype", "container")]).await;
        assert_eq!(made.status(), 201, "{}", made.text().await.unwrap());
        container
    }

    /// `127.0.0.1:PORT`, for a proxy in front.
    #[allow(dead_code)]
    pub fn address(&self) -> String {
        self.endpoint.trim_start_matches("http://").split('/').next().unwrap().to_owned()
    }

    /// The options of a storage there, as in the configuration.
    pub fn options(&self) -> Vec<(String, String)> {
        [
            ("endpoint", self.endpoint.as_str()),
            ("account_name", ACCOUNT),
            ("account_key", KEY),
            ("allow_http", "true"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// The names of all blobs, also of those that are nothing but blocks of an unfinished upload.
    pub async fn all(&self) -> Vec<String> {
        self.list(&[("comp", "list"), ("include", "uncommittedblobs"), ("restype", "container")])
            .await
    }

    /// The names of all blobs.
    #[allow(dead_code)]
    pub async fn committed(&self) -> Vec<String> {
        self.list(&[("comp", "list"), ("restype", "container")]).await
    }

    async fn list(&self, query: &[(&str, &str)]) -> Vec<String> {
        let answer = self.ask(reqwest::Method::GET, query).await;
        assert_eq!(answer.status(), 200);
        let text = answer.text().await.unwrap();
        let names = text.split("<Name").skip(1).filter_map(|rest| rest.split_once('>'));
        let name = |text: &str| text.replace("&#xA;", "\n").replace("&#10;", "\n");
        names.map(|(_, rest)| name(rest.split_once("</Name>").unwrap().0)).collect()
    }

    /// Puts a blob of any name.
    #[allow(dead_code)]
    pub async fn put(&self, key: &str, content: &str, tags: &str) {
        let mut headers = vec![("x-ms-blob-type", "BlockBlob")];
        if !tags.is_empty() {
            headers.push(("x-ms-tags", tags));
        }
        let put =
            self.send(reqwest::Method::PUT, key, &[], &headers, content.as_bytes().to_vec()).await;
        assert_eq!(put.status(), 201, "{}", put.text().await.unwrap());
    }

    /// What is at a key, or of it by a query; None when there is none.
    #[allow(dead_code)]
    pub async fn get(&self, key: &str, query: &[(&str, &str)]) -> Option<String> {
        let got = self.send(reqwest::Method::GET, key, query, &[], Vec::new()).await;
        if got.status() == 404 {
            return None;
        }
        assert_eq!(got.status(), 200, "{}", got.text().await.unwrap());
        got.text().await.ok()
    }

    #[allow(dead_code)]
    pub async fn remove(&self, key: &str) {
        let removed = self.send(reqwest::Method::DELETE, key, &[], &[], Vec::new()).await;
        assert_eq!(removed.status(), 202);
    }

    async fn ask(&self, method: reqwest::Method, query: &[(&str, &str)]) -> reqwest::Response {
        self.send(method, "", query, &[], Vec::new()).await
    }

    /// Signed by the account's key:
    /// <https://learn.microsoft.com/en-us/rest/api/storageservices/authorize-with-shared-key>
    async fn send(
        &self,
        method: reqwest::Method,
        key: &str,
        query: &[(&str, &str)],
        more: &[(&str, &str)],
        body: Vec<u8>,
    ) -> reqwest::Response {
        let path = match key {
            "" => self.name.clone(),
            key => {
                let encode = percent_encoding::NON_ALPHANUMERIC;
                let parts = key
                    .split('/')
                    .map(|part| percent_encoding::utf8_percent_encode(part, encode).to_string());
                format!("{}/{}", self.name, parts.collect::<Vec<_>>().join("/"))
            }
        };
        let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let mut headers: Vec<(String, String)> =
            more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        headers.push(("x-ms-date".to_owned(), date));
        headers.push(("x-ms-version".to_owned(), "2021-08-06".to_owned()));
        headers.sort();
        let said: String =
            headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let length = if body.is_empty() { String::new() } else { body.len().to_string() };
        let asked: String = query.iter().map(|(name, value)| format!("\n{name}:{value}")).collect();
        let text = format!(
            "{method}\n\n\n{length}{}{said}/{ACCOUNT}/{ACCOUNT}/{path}{asked}",
            "\n".repeat(9),
        );
        let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(KEY).unwrap());
        let signature = STANDARD.encode(hmac::sign(&key, text.as_bytes()));
        let mut request = reqwest::Client::new()
            .request(method, format!("{}/{path}", self.endpoint))
            .query(query)
            .header("authorization", format!("SharedKey {ACCOUNT}:{signature}"))
            .header("content-length", body.len().to_string());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.body(body).send().await.unwrap()
    }
}
