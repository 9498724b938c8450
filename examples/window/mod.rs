//! A client of HTTP/2 (RFC 9113) that sends a request on every stream it may have, and opens no window for the responses.

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
/// The number of streams of the first measurement, before the server had a limit. The server may allow fewer.
const STREAMS: usize = 100;

/// Sends the requests that `ask` returns for a number of streams, and reads frames until the server ends the connection.
pub async fn hold(mut stream: TcpStream, ask: impl Fn(usize) -> Vec<(Vec<u8>, Vec<u8>, bool)>) -> anyhow::Result<()> {
    let no_window = [0, 4, 0, 0, 0, 0]; // SETTINGS_INITIAL_WINDOW_SIZE = 0
    stream
        .write_all(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", frame(SETTINGS, 0, 0, &no_window).as_slice()].concat())
        .await?;
    // The server's settings come first. They say how many streams the client may open.
    let (kind, _, settings) = read(&mut stream).await?;
    if kind != SETTINGS {
        bail!("no settings");
    }
    let setting = |id: u16| {
        let found = settings.chunks_exact(6).find(|setting| setting[..2] == id.to_be_bytes());
        found.map(|setting| u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]) as usize)
    };
    let streams = setting(3).unwrap_or(STREAMS).min(STREAMS);
    stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await?;
    let mut window = 65_535_usize; // of the whole connection
    for (number, (head, body, ends)) in (0_u32..).zip(ask(streams)) {
        let id = 2 * number + 1;
        let end = if ends { END_STREAM } else { 0 };
        let head_ends = END_HEADERS | if body.is_empty() { end } else { 0 };
        stream.write_all(&frame(HEADERS, head_ends, id, &head)).await?;
        if body.is_empty() {
            continue;
        }
        while window < body.len() {
            window += more_window(&mut stream).await?;
        }
        window -= body.len();
        stream.write_all(&frame(DATA, end, id, &body)).await?;
    }
    loop {
        read(&mut stream).await?;
    }
}

/// Waits for the next frame. Returns by how many bytes it opens the window of the connection.
async fn more_window(stream: &mut TcpStream) -> anyhow::Result<usize> {
    let (kind, id, payload) = read(stream).await?;
    let more = payload.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes) as usize);
    Ok(more.filter(|_| kind == WINDOW_UPDATE && id == 0).unwrap_or_default())
}

/// Reads a frame: its kind, stream and payload.
async fn read(stream: &mut TcpStream) -> anyhow::Result<(u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await?;
    let [a, b, c, kind, _, id @ ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    stream.read_exact(&mut payload).await.context("half a frame")?;
    Ok((kind, u32::from_be_bytes(id), payload))
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Returns the head of a request, neither indexed nor compressed (RFC 7541, 6.2.2).
pub fn head(method: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "localhost")];
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    let field = |(name, value): &(&str, &str)| [vec![0], text(name), text(value)].concat();
    pseudo.iter().chain(fields).flat_map(field).collect()
}
