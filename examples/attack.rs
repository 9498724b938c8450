//! Measures how many places and how much memory of the server an attacker with few addresses and little traffic can take:
//!
//! ```text
//! bench/attack [NAME]   # cargo build --release && cargo run --release --example attack
//! ```
//!
//! Each attack runs against a new release server with its limits on, in a child process, on loopback. The attacker's
//! connections come from 127.0.1.x and open again when the server ends them. Meanwhile an honest visitor at 127.0.0.1 opens a
//! new connection for each page. The table has the visitor's times (median, 99th percentile, maximum), the server's peak
//! memory, and how soon after the attack its memory is under 60 MB again. The program only reports: a missed aim is not an
//! error. It takes about four minutes, and all traffic stays on the machine.

#![expect(clippy::print_stdout, reason = "the program prints a table")]

#[expect(dead_code, reason = "other programs use the rest")]
mod measured;
#[expect(dead_code, reason = "other programs use the rest")]
mod served;
mod window;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use std::{env, iter};

use anyhow::{anyhow, bail, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use measured::{Run, Runs, Table, met};
use served::{Server, binary, fetch, free_port};

/// The open files for ten thousand connections, and for everything else.
const FILES: u64 = 10_500;
/// How long an attack lasts while the visitor reads.
const LASTS: Duration = Duration::from_secs(15);
/// How long an attacker's connection waits before it opens again.
const OPENS_AGAIN: Duration = Duration::from_millis(200);
/// How long the visitor pauses between two pages, and after how long a page counts as lost.
const RESTS: Duration = Duration::from_millis(20);
const LOST: Duration = Duration::from_secs(5);
/// The aims.
const PEAK: f64 = 150.0;
const AFTER: f64 = 60.0;
const AFTER_WITHIN: Duration = Duration::from_secs(60);
const VISITOR: f64 = 100.0;

/// One attack.
struct Attack {
    name: &'static str,
    addresses: u8,
    /// How many connections each address opens.
    connections: usize,
    /// How many files the server may open, or `None` for the usual limit.
    files: Option<u32>,
    how: How,
}

/// The behaviour of each connection.
#[derive(Clone, Copy)]
enum How {
    /// It sends the body of an HTTP/1 request at one byte per second.
    SlowBody,
    /// It requests these paths on all streams of HTTP/2 and opens no window for the responses.
    Unread(&'static [&'static str]),
    /// It posts 16 KB of quotes, which HTML writes as `&quot;`, and opens no window either.
    UnreadEcho,
    /// It sends heads of 425 indexed fields, one byte each (RFC 7541, 6.1), and never the bodies.
    IndexedHeads,
    /// It sends 16 KB on each stream, and never the end.
    HalfBodies,
}

const fn attack(name: &'static str, addresses: u8, how: How) -> Attack {
    Attack { name, addresses, connections: 256, files: None, how }
}

const ATTACKS: [Attack; 10] = [
    Attack { connections: 200, files: Some(300), ..attack("slow-bodies-few-files", 1, How::SlowBody) },
    attack("slow-bodies", 40, How::SlowBody),
    attack("echo", 1, How::UnreadEcho),
    attack("docs", 1, How::Unread(&["/docs"])),
    attack("openapi", 1, How::Unread(&["/openapi.json"])),
    attack("heads", 1, How::IndexedHeads),
    attack("half-bodies", 1, How::HalfBodies),
    attack("two-echo", 2, How::UnreadEcho),
    attack("two-docs", 2, How::Unread(&["/docs", "/openapi.json"])),
    attack("two-heads", 2, How::IndexedHeads),
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let files = getrlimit(Resource::Nofile);
    let most = files.maximum.unwrap_or(u64::MAX);
    ensure!(most >= FILES, "{most} open files are allowed (ulimit -Hn), and 10 000 connections at once need {FILES}");
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files })?;
    let only = env::args().nth(1);
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    ensure!(ATTACKS.iter().any(|attack| wanted(attack.name)), "no such attack");

    let run = Run::begin("bench/attack")?;
    let mut table = Table::default();
    quiet(&mut table).await?;
    for attack in ATTACKS.iter().filter(|attack| wanted(attack.name)) {
        measure(attack, &mut table).await?;
    }
    table.print();
    run.end()
}

/// Measures the server with only the visitor.
async fn quiet(table: &mut Table) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let server = serve(dir.path(), None).await?;
    let idle = server.memory("status", "VmRSS:")?;
    let (took, lost) = visit(server.port, Duration::from_secs(2)).await;
    table.row("quiet: memory when idle", [&format!("{idle:.1} MB"), "", "", "≤ 25 MB", met(idle <= 25.0)]);
    table.row(&format!("  a visitor's page; lost: {lost}"), [&took.percentiles(), "", "", "", ""]);
    server.stop()
}

async fn measure(attack: &Attack, table: &mut Table) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let server = serve(dir.path(), attack.files).await?;
    let (stop, stopped) = oneshot::channel::<()>();
    let (port, how, connections) = (server.port, attack.how, attack.connections);
    let addresses: Vec<_> = (1..=attack.addresses).map(|last| Ipv4Addr::new(127, 0, 1, last)).collect();
    // The attacker has its own thread, so that the visitor does not wait for the attacker in this program.
    let attacker = thread::spawn(move || -> anyhow::Result<()> {
        Builder::new_current_thread().enable_all().build()?.block_on(async {
            for address in addresses.iter().flat_map(|address| iter::repeat_n(*address, connections)) {
                tokio::spawn(hold(address, port, how));
            }
            let _ = stopped.await; // the sender is dropped to stop this
        });
        Ok(())
    });
    sleep(Duration::from_secs(1)).await;
    let (took, lost) = visit(port, LASTS).await;
    drop(stop);
    attacker.join().map_err(|_| anyhow!("a panic"))??;
    let ended = Instant::now();
    while server.memory("status", "VmRSS:")? >= AFTER && ended.elapsed() < AFTER_WITHIN {
        sleep(Duration::from_millis(250)).await;
    }
    let (peak, after) = (server.memory("status", "VmHWM:")?, server.memory("status", "VmRSS:")?);
    let back = format!("{after:.0} MB after {:.0} s", ended.elapsed().as_secs_f64());
    let good = lost == 0 && took.at(0.99) < VISITOR;
    let name = format!("{}: a visitor's page; lost: {lost}", attack.name);
    table.row(&name, [&took.percentiles(), "", "", "p99 < 100 ms", met(good)]);
    table.row("  peak memory", [&format!("{peak:.0} MB"), "", "", "≤ 150 MB", met(peak <= PEAK)]);
    table.row("  memory when it is over", [&back, "", "", "< 60 MB in 60 s", met(after < AFTER)]);
    server.stop()
}

/// Starts the server with its limits on, and with a limit on open files if there is one.
async fn serve(dir: &Path, files: Option<u32>) -> anyhow::Result<Server> {
    let (mut command, port) = (Command::new("sh"), free_port()?);
    let ulimit = files.map(|files| format!("ulimit -n {files} && ")).unwrap_or_default();
    command.args(["-c", &format!("{ulimit}exec \"$0\"")]).arg(binary()?);
    command.env_clear().env("LATCHKEY_PUBLIC_URL", "http://localhost").env("LATCHKEY_DATA_DIR", dir);
    command.env("LATCHKEY_LISTEN", format!("127.0.0.1:{port}"));
    Server::start(command, port, dir.join("latchkey.log")).await
}

/// Opens a connection for each page. Returns how long each page took and how many were lost.
async fn visit(port: u16, lasts: Duration) -> (Runs, usize) {
    let (mut took, mut lost, began) = (Runs::default(), 0, Instant::now());
    while began.elapsed() < lasts {
        let asked = Instant::now();
        match timeout(LOST, read_page(port)).await {
            Ok(Ok(())) => took.0.push(asked.elapsed().as_secs_f64() * 1e3),
            _ => lost += 1,
        }
        sleep(RESTS).await;
    }
    (took, lost)
}

async fn read_page(port: u16) -> anyhow::Result<()> {
    let status = served::Connection::open(port).await?.ask(&fetch("/login")).await?.status;
    ensure!(status == 200, "the page answered {status}");
    Ok(())
}

/// Holds one connection of the attacker, and opens it again whenever it ends.
async fn hold(from: Ipv4Addr, port: u16, how: How) {
    loop {
        let held = async {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::from((from, 0)))?;
            let stream = socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
            match how {
                How::SlowBody => drip(stream).await,
                how => window::hold(stream, |streams| requests(how, streams)).await,
            }
        };
        let _ = held.await; // the server ended the connection
        sleep(OPENS_AGAIN).await;
    }
}

async fn drip(mut stream: TcpStream) -> anyhow::Result<()> {
    let head = "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n";
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n\r\n";
    stream.write_all(format!("{head}{kind}").as_bytes()).await?;
    let (mut read, mut write) = stream.split();
    let ended = async { while read.read(&mut [0; 1024]).await.is_ok_and(|count| count > 0) {} };
    let dripping = async {
        while write.write_all(b"x").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        () = ended => {}
        () = dripping => {}
    }
    bail!("the server ended it")
}

/// Returns what is sent on each stream: the head, the body, and whether the request ends there.
fn requests(how: How, streams: usize) -> Vec<(Vec<u8>, Vec<u8>, bool)> {
    let form = [("content-type", "application/x-www-form-urlencoded"), ("sec-fetch-site", "same-origin")];
    let of = |count: usize| match how {
        How::Unread(paths) => (window::head("GET", paths[count % paths.len()], &[]), vec![], true),
        How::UnreadEcho => {
            let body = [b"email=".as_slice(), &[b'"'; 16_000]].concat();
            (window::head("POST", "/forgot-password", &form), body, true)
        }
        How::HalfBodies => (window::head("POST", "/forgot-password", &form), vec![b'x'; 16_000], false),
        How::IndexedHeads => {
            // The first stream puts `x: y` into the table. The others refer to it.
            let field: &[u8] = if count == 0 { b"\x40\x01x\x01y" } else { b"\xbe" };
            let head = [window::head("POST", "/login", &[]), field.to_vec(), vec![0xbe; 424]].concat();
            (head, vec![], false)
        }
        How::SlowBody => (vec![], vec![], true),
    };
    (0..streams).map(of).collect()
}
