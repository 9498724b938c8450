//! A bare socket, for what no well-behaved client sends.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than anything takes that is not stuck.
pub const PATIENCE: Duration = Duration::from_secs(25);

/// One connection.
pub struct Wire(pub TcpStream);

/// Frames of HTTP/2 (RFC 9113), as bytes.
pub mod frame {
    pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    pub const SETTINGS: u8 = 4;
    pub const HEADERS: u8 = 1;
    pub const RESET: u8 = 3;
    pub const GO_AWAY: u8 = 7;
    pub const CONTINUATION: u8 = 9;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;

    /// Any frame.
    pub fn bytes(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// The head of `GET http://localhost/`, compressed.
    pub fn get() -> Vec<u8> {
        [b"\x82\x86\x84\x41\x09", &b"localhost"[..]].concat()
    }

    /// The kinds of frames in what was received.
    pub fn kinds(mut received: &[u8]) -> Vec<u8> {
        let mut kinds = vec![];
        while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = received {
            kinds.push(*kind);
            received = rest.get(u32::from_be_bytes([0, *a, *b, *c]) as usize..).unwrap_or_default();
        }
        kinds
    }
}

impl Wire {
    /// Connects to the address of a server.
    pub async fn to(url: &str) -> Self {
        Self(TcpStream::connect(url.rsplit("://").next().unwrap()).await.unwrap())
    }

    /// Sends; the server may have ended the connection already.
    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let _ended_perhaps = self.0.write_all(bytes.as_ref()).await;
    }

    /// Reads an answer to its end, by its length.
    pub async fn answer(&mut self) -> String {
        let read = async {
            let mut seen = vec![];
            loop {
                let text = String::from_utf8_lossy(&seen).into_owned();
                if let Some((head, body)) = text.split_once("\r\n\r\n") {
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                    if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                        return text;
                    }
                }
                if self.0.read_buf(&mut seen).await.unwrap_or_default() == 0 {
                    return text;
                }
            }
        };
        timeout(PATIENCE, read).await.expect("an answer")
    }

    /// Everything until the server ends the connection.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut all = vec![];
        let read = async { while self.0.read_buf(&mut all).await.is_ok_and(|count| count > 0) {} };
        timeout(PATIENCE, read).await.expect("the server ends the connection");
        all
    }

    /// Says this a byte at a time, and goes on until the server ends the connection.
    pub async fn drip(mut self, bytes: &[u8]) -> Vec<u8> {
        let (mut read, mut write) = self.0.split();
        let mut all = vec![];
        let dripping = async {
            for byte in bytes.iter().cycle() {
                if write.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let reading = async { while read.read_buf(&mut all).await.is_ok_and(|count| count > 0) {} };
        timeout(PATIENCE, async {
            tokio::select! { () = dripping => {}, () = reading => {} }
        })
        .await
        .expect("the server ends the connection");
        all
    }
}
