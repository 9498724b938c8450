//! A plain socket, for bytes that no well-behaved client sends.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// A time in which everything ends that is not stuck.
pub const PATIENCE: Duration = Duration::from_secs(25);

/// One connection.
pub struct Wire(pub TcpStream);

/// Frames of HTTP/2 (RFC 9113), as bytes.
pub mod frame {
    pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    pub const DATA: u8 = 0;
    pub const SETTINGS: u8 = 4;
    pub const HEADERS: u8 = 1;
    pub const RESET: u8 = 3;
    pub const GO_AWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;

    /// Returns a frame of any kind.
    pub fn bytes(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// Returns the head of `GET http://localhost/`, compressed.
    pub fn get() -> Vec<u8> {
        [b"\x82\x86\x84\x41\x09", &b"localhost"[..]].concat()
    }

    /// Returns the head of a request to `http://localhost`, neither indexed nor compressed (RFC 7541, 6.2.2).
    pub fn head(method: &str, path: &str) -> Vec<u8> {
        let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        let fields = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "localhost")];
        fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
    }

    /// Returns the start of a connection with so many requests, and a window of so many bytes for each answer.
    pub fn asks(head: &[u8], requests: u32, flags: u8, window: u8) -> Vec<u8> {
        let settings = bytes(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, window]); // INITIAL_WINDOW_SIZE
        let asks = (0..requests).flat_map(|number| bytes(HEADERS, flags | END_HEADERS, 2 * number + 1, head));
        [PREFACE, &settings].concat().into_iter().chain(asks).collect()
    }

    /// Returns the kinds of the frames in the bytes that were received.
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

    /// Connects to the address of a server from another address of this machine.
    pub async fn from(address: Ipv4Addr, url: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((address, 0))).unwrap();
        let server = url.rsplit("://").next().unwrap().replace("localhost", "127.0.0.1");
        Self(socket.connect(server.parse().unwrap()).await.unwrap())
    }

    /// Reads frames of HTTP/2 until at least so many bytes of answers have come. Returns how many came.
    pub async fn data(&mut self, least: usize) -> usize {
        let read = async {
            let mut seen = 0;
            loop {
                let mut head = [0; 9];
                self.0.read_exact(&mut head).await.unwrap();
                let [a, b, c, kind, ..] = head;
                let length = u32::from_be_bytes([0, a, b, c]) as usize;
                self.0.read_exact(&mut vec![0; length]).await.unwrap();
                match kind {
                    frame::DATA => seen += length,
                    frame::HEADERS if least == 0 => return seen,
                    _ => {}
                }
                if seen >= least && least > 0 {
                    return seen;
                }
            }
        };
        timeout(PATIENCE, read).await.expect("an answer")
    }

    /// Sends the bytes. The server may have ended the connection already.
    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.0.write_all(bytes.as_ref()).await; // what the server did is seen when it is read
    }

    /// Reads one answer to its end, which its length tells.
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

    /// Reads everything until the server ends the connection.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut all = vec![];
        let read = async { while self.0.read_buf(&mut all).await.is_ok_and(|count| count > 0) {} };
        timeout(PATIENCE, read).await.expect("the server ends the connection");
        all
    }

    /// Sends the bytes one at a time, again and again, until the server ends the connection. Returns what the server sent.
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
