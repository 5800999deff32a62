//! What clients may rely on about the connections they keep.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::portal::PlainPortal;
use crate::support::service::Service;

/// Java's client offers HTTP/2 with every request, keeps the connection unless it is told not to, and does
/// not repeat a `DELETE` or `POST` for which the kept one was closed.
#[tokio::test]
async fn a_connection_that_ends_after_an_answer_is_said_to_end() {
    let portal = PlainPortal::new(1);
    let service = Service::start(&portal.config()).await;
    let address = service.base.strip_prefix("http://").unwrap();
    for offer in
        ["", "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAA\r\nUpgrade: h2c\r\n"]
    {
        for request in ["GET /health", "DELETE /api/2.0/backup/deletebackup/x", "GET /none"] {
            let mut socket = TcpStream::connect(address).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            write!(socket, "{request} HTTP/1.1\r\nHost: {address}\r\n{offer}\r\n").unwrap();
            let mut answer = Vec::new();
            let ended = match socket.read_to_end(&mut answer) {
                Ok(_) => true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => false,
                Err(error) => panic!("{request}: {error}"),
            };
            let answer = String::from_utf8(answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 "), "{request}: {answer}");
            assert_eq!(ended, answer.contains("\r\nconnection: close\r\n"), "{request}: {answer}");
            assert_eq!(ended, !offer.is_empty(), "{request}: {answer}");
        }
    }
}
