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
        let query = [("comp", "list"), ("include", "uncommittedblobs"), ("restype", "container")];
        let answer = self.ask(reqwest::Method::GET, &query).await;
        assert_eq!(answer.status(), 200);
        let text = answer.text().await.unwrap();
        let names = text.split("<Name>").skip(1);
        names.map(|rest| rest.split_once("</Name>").unwrap().0.to_owned()).collect()
    }

    /// Signed by the account's key:
    /// <https://learn.microsoft.com/en-us/rest/api/storageservices/authorize-with-shared-key>
    async fn ask(&self, method: reqwest::Method, query: &[(&str, &str)]) -> reqwest::Response {
        let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let headers = format!("x-ms-date:{date}\nx-ms-version:2021-08-06\n");
        let asked: String = query.iter().map(|(name, value)| format!("\n{name}:{value}")).collect();
        let text = format!(
            "{method}{}{headers}/{ACCOUNT}/{ACCOUNT}/{}{asked}",
            "\n".repeat(12),
            self.name
        );
        let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(KEY).unwrap());
        let signature = STANDARD.encode(hmac::sign(&key, text.as_bytes()));
        reqwest::Client::new()
            .request(method, format!("{}/{}", self.endpoint, self.name))
            .query(query)
            .header("x-ms-date", date)
            .header("x-ms-version", "2021-08-06")
            .header("authorization", format!("SharedKey {ACCOUNT}:{signature}"))
            .header("content-length", "0")
            .send()
            .await
            .unwrap()
    }
}
