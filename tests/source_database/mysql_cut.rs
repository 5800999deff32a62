//! A way to MariaDB that breaks at a chosen statement.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Goes on until its runtime ends; the port. The `statements` first statements that change something pass; the next one
/// is run, and nobody hears of it.
pub async fn proxy(statements: i64) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let left = Arc::new(AtomicI64::new(statements));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect("127.0.0.1:3306").await.unwrap();
            let (client_in, client_out) = client.into_split();
            let (server_in, server_out) = server.into_split();
            let left = left.clone();
            tokio::spawn(async move {
                let silent = AtomicBool::new(false);
                tokio::select! {
                    () = up(client_in, server_out, &left, &silent) => {}
                    () = down(server_in, client_out, &silent) => {}
                }
            });
        }
    });
    port
}

async fn up(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    left: &AtomicI64,
    silent: &AtomicBool,
) {
    const QUERY: u8 = 3;
    loop {
        let mut packet = vec![0; 4];
        if client.read_exact(&mut packet).await.is_err() {
            return;
        }
        let length = u32::from_le_bytes([packet[0], packet[1], packet[2], 0]) as usize;
        packet.resize(4 + length, 0);
        if client.read_exact(&mut packet[4..]).await.is_err() {
            return;
        }
        let query = packet[3] == 0 && packet.get(4) == Some(&QUERY);
        let reads = ["SELECT", "SHOW", "SET", "USE"].iter();
        let changes =
            query && !reads.into_iter().any(|verb| packet[5..].starts_with(verb.as_bytes()));
        let breaks = changes && left.fetch_sub(1, Ordering::SeqCst) <= 0;
        silent.store(breaks, Ordering::SeqCst);
        if server.write_all(&packet).await.is_err() {
            return;
        }
        if breaks {
            // The answer ends it all.
            std::future::pending::<()>().await;
        }
    }
}

async fn down(mut server: OwnedReadHalf, mut client: OwnedWriteHalf, silent: &AtomicBool) {
    let mut buffer = vec![0; 65536];
    loop {
        match server.read(&mut buffer).await {
            Ok(length) if length > 0 && !silent.load(Ordering::SeqCst) => {
                if client.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
            }
            _ => return,
        }
    }
}
