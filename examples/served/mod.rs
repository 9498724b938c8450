//! The release binary as a child process, and a very cheap HTTP client: the client's own work must not be measured.

use std::env;
use std::fs::{self, File};
use std::net;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

/// A server in a child process, which is killed when this value is dropped.
pub struct Server {
    pub child: Child,
    pub port: u16,
    pub started_in: Duration,
}

/// Returns the path of the release binary, which is two folders above an example.
pub fn binary() -> anyhow::Result<PathBuf> {
    let binary = env::current_exe()?.ancestors().nth(2).context("no target folder")?.join("latchkey");
    if !binary.exists() {
        bail!("{} is not there; build it first: cargo build --release", binary.display());
    }
    Ok(binary)
}

impl Server {
    /// Starts Latchkey on a folder, with these settings and no limits.
    pub async fn latchkey(dir: &Path, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let (mut command, port) = (Command::new(binary()?), free_port()?);
        command.env_clear().env("LATCHKEY_RATE_LIMITS", "off");
        command.env("LATCHKEY_PUBLIC_URL", "http://localhost"); // the host that our requests name
        command.envs(settings.iter().copied());
        command.env("LATCHKEY_LISTEN", format!("127.0.0.1:{port}")).env("LATCHKEY_DATA_DIR", dir);
        Self::start(command, port, dir.join("latchkey.log")).await
    }

    /// Starts a server and waits for its first response.
    pub async fn start(mut command: Command, port: u16, log: PathBuf) -> anyhow::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let began = Instant::now();
        let mut server = Self { child: command.spawn()?, port, started_in: Duration::ZERO };
        let alive = fetch("/healthz");
        while began.elapsed() < Duration::from_secs(10) {
            if let Ok(mut connection) = server.connect().await
                && connection.ask(&alive).await?.status == 200
            {
                server.started_in = began.elapsed();
                return Ok(server);
            }
            sleep(Duration::from_millis(1)).await;
        }
        bail!("the server did not start: {}", fs::read_to_string(log)?)
    }

    /// Stops the server as an operator does.
    pub fn stop(mut self) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        self.child.wait()?;
        Ok(())
    }

    pub async fn connect(&self) -> anyhow::Result<Connection> {
        Connection::open(self.port).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail if the server has stopped already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn free_port() -> anyhow::Result<u16> {
    Ok(net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A connection that sends bytes, and reads until the announced number of bytes has come.
pub struct Connection<S = TcpStream> {
    stream: S,
    buffer: Vec<u8>,
}

pub struct Response<'a> {
    pub status: u16,
    /// The whole response: the status line, the headers, an empty line, the body.
    pub text: &'a str,
}

impl Connection {
    pub async fn open(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub fn over(stream: S) -> Self {
        Self { stream, buffer: vec![0; 64 * 1024] }
    }

    pub async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    pub async fn ask(&mut self, request: &[u8]) -> anyhow::Result<Response<'_>> {
        self.send(request).await?;
        let mut filled = 0;
        loop {
            filled += match self.stream.read(&mut self.buffer[filled..]).await? {
                0 => bail!("the connection ended early"),
                count => count,
            };
            let seen = &self.buffer[..filled];
            let Some(head) = seen.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let size = std::str::from_utf8(&seen[..head])?.rsplit_once("content-length: ").context("no length")?.1;
            let size: usize = size.split("\r\n").next().unwrap_or_default().parse()?;
            if filled == head + 4 + size {
                break;
            }
        }
        let text = std::str::from_utf8(&self.buffer[..filled])?;
        Ok(Response { status: text.get(9..12).context("no status")?.parse()?, text })
    }
}

pub fn fetch(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into()
}

/// Returns a request that posts a form.
pub fn post(path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    send(path, "application/x-www-form-urlencoded", &body)
}

pub fn send(path: &str, kind: &str, body: &str) -> Vec<u8> {
    let kind = format!("Content-Type: {kind}\r\nSec-Fetch-Site: same-origin");
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into()
}

/// Returns the request with these cookies, and no others.
pub fn with(request: &[u8], cookies: &str) -> Vec<u8> {
    let request = String::from_utf8_lossy(request);
    let (first, rest) = request.split_once("\r\n").unwrap_or_default();
    let rest = match rest.strip_prefix("Cookie: ").and_then(|rest| rest.split_once("\r\n")) {
        Some((_, rest)) => rest,
        None => rest,
    };
    format!("{first}\r\nCookie: {cookies}\r\n{rest}").into_bytes()
}

/// Returns the cookies that a response sets, as a browser sends them.
pub fn cookies(response: &str) -> String {
    let (head, _) = response.split_once("\r\n\r\n").unwrap_or_default();
    let set = head.lines().filter_map(|line| line.strip_prefix("set-cookie: "));
    let pairs: Vec<_> = set.filter_map(|cookie| cookie.split(';').next()).filter(|pair| !pair.ends_with('=')).collect();
    pairs.join("; ")
}
