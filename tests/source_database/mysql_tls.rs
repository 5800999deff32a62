//! Encrypted connections, to a server of the test's own: the machine's has no certificate.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use portal_backup::config::{Config, DatabaseConfig, LayoutKind, Secret};
use portal_backup::portal::Portal;

use crate::support::open;

struct Server {
    child: Child,
    dir: tempfile::TempDir,
    port: u16,
}

impl Server {
    /// With a certificate that only it vouches for, and a user who must not come without encryption.
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display().to_string();
        run(
            "openssl",
            &[
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=pb",
                "-addext",
                "subjectAltName=IP:127.0.0.1",
                "-addext",
                "basicConstraints=critical,CA:FALSE",
                "-keyout",
                &format!("{path}/key.pem"),
                "-out",
                &format!("{path}/cert.pem"),
            ],
        );
        let data = format!("--datadir={path}/data");
        let install = [
            "--no-defaults",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--user=root",
            &data,
        ];
        run("mariadb-install-db", &install);
        // A statement a line.
        let init = "CREATE DATABASE portal;\nGRANT ALL ON portal.* TO tls@'%' IDENTIFIED BY 'secret' REQUIRE SSL;\n";
        std::fs::write(dir.path().join("init.sql"), init).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("mariadbd")
            .args(["--no-defaults", "--user=root", "--bind-address=127.0.0.1", &data])
            .arg(format!("--port={port}"))
            .arg(format!("--socket={path}/s"))
            .arg(format!("--pid-file={path}/pid"))
            .arg(format!("--ssl-cert={path}/cert.pem"))
            .arg(format!("--ssl-key={path}/key.pem"))
            .arg(format!("--init-file={path}/init.sql"))
            // As on Windows.
            .arg("--lower-case-table-names=1")
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, dir, port }
    }

    fn url(&self, parameters: &str) -> String {
        format!("mysql://tls:secret@127.0.0.1:{}/portal?{parameters}", self.port)
    }

    fn certificate(&self) -> String {
        self.dir.path().join("cert.pem").display().to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

fn docspace(url: &str) -> Result<Portal, String> {
    let mut config = Config::default();
    config.portal.layout = LayoutKind::Docspace;
    let url = Secret::new(url.to_owned());
    config.portal.database.push(DatabaseConfig { name: "docspace".to_owned(), url });
    Portal::open(&config, &[]).map_err(|error| error.to_string())
}

#[tokio::test]
async fn dumps_and_docspaces_questions_are_encrypted_alike() {
    let server = Server::start();
    assert!(Path::new(&server.certificate()).exists());
    let trusting = server.url("ssl-mode=REQUIRED");
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Err(error) = open(&trusting).check().await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let authority = server.certificate();
    for (parameters, good) in [
        ("ssl-mode=REQUIRED&lock-wait-timeout=5&max-allowed-packet=1048576".to_owned(), true),
        ("require_ssl=true&verify_ca=false".to_owned(), true),
        (format!("ssl-mode=VERIFY_CA&ssl-ca={authority}"), true),
        (format!("ssl-mode=VERIFY_IDENTITY&ssl-ca={authority}"), true),
        ("ssl-mode=VERIFY_CA".to_owned(), false),
        ("ssl-mode=VERIFY_IDENTITY".to_owned(), false),
        ("require_ssl=true".to_owned(), false),
        // The server refuses the user.
        (String::new(), false),
    ] {
        let url = server.url(&parameters);
        let dumps = open(&url).check().await;
        assert_eq!(dumps.is_ok(), good, "{parameters}: {dumps:?}");
        let answer = docspace(&url).unwrap().last_migration().await;
        assert_eq!(answer.is_ok(), good, "{parameters}: {answer:?}");
    }
    // This server writes every name in small letters: an archive's tables are found there nevertheless.
    let live = open(&trusting).live().await.unwrap();
    assert_eq!(live.folded("Tenants_Ä"), "tenants_ä");
    let error = docspace(&server.url("ssl-mode=SOMETIMES")).err().unwrap();
    assert!(error.contains("ssl-mode") && !error.contains("secret"), "{error}");
}
