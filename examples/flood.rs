//! Measures what attackers without an account can make the site write, and how long an honest reset waits meanwhile:
//!
//! ```text
//! bench/flood [resets | sign-ups | addresses]   # cargo build --release && cargo run --release --example flood
//! ```
//!
//! The release binary runs as a child process on a database in a temporary folder; all traffic is on loopback. Each
//! flood sends forms for 20 seconds: requests for a reset from every /64 of one IPv6 /48, sign-ups from the same /48, and
//! requests for a reset from 131 072 IPv4 addresses. An attacker's address is in `X-Forwarded-For`, which the server trusts
//! here. After five seconds a user with an account and another address asks for a reset. The clock runs until the email is in
//! the mailbox. The program takes about a minute and a half.

#![expect(clippy::print_stdout, reason = "the program prints a table")]

#[expect(dead_code, reason = "shared with other programs")]
mod measured;
mod served;

use std::collections::HashSet;
use std::env;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use sea_orm::{ConnectionTrait, Database, DbBackend, Statement};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::sleep;

use measured::{PASSWORD, Run, Table, sign_up};
use served::{Connection, Server, post};

const FLOOD_FOR: Duration = Duration::from_secs(20);
const ASKS_AFTER: Duration = Duration::from_secs(5);
const WAITS_AT_MOST: Duration = Duration::from_secs(90);
const CONNECTIONS: usize = 64;
/// The honest user's address (RFC 5737).
const HOME: &str = "203.0.113.9";
/// The tables in which a flood makes rows.
const TABLES: [&str; 5] = ["outbox", "limits", "events", "pending_signups", "visits"];

/// The forms of one flood.
#[derive(Clone, Copy)]
struct Flood {
    name: &'static str,
    path: &'static str,
    /// Returns the address of the request with this number.
    from: fn(u32) -> String,
}

const FLOODS: [Flood; 3] = [
    Flood { name: "resets", path: "/forgot-password", from: network },
    Flood { name: "sign-ups", path: "/signup", from: network },
    Flood { name: "addresses", path: "/forgot-password", from: addresses },
];

/// Returns the /64s of one /48 in turn. The /48 is of the network for documentation (RFC 3849).
fn network(n: u32) -> String {
    let subnet = u16::try_from(n & 0xffff).unwrap_or_default();
    Ipv6Addr::new(0x2001, 0xdb8, 0x77, subnet, 0, 0, 0, 1).to_string()
}

/// Returns the addresses of the network for benchmarks in turn (RFC 2544).
fn addresses(n: u32) -> String {
    Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 0).to_bits() + n % (1 << 17)).to_string()
}

/// The number of responses to the flood, of each kind.
#[derive(Default)]
struct Responses {
    next: AtomicU32,
    let_in: AtomicU64,
    refused: AtomicU64,
    busy: AtomicU64,
    other: AtomicU64,
}

/// The size of the database.
struct Kept {
    bytes: u64,
    rows: Vec<i64>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let run = Run::begin("bench/flood")?;
    let only = env::args().nth(1);
    let mut table = Table::default();
    for flood in FLOODS.iter().filter(|flood| only.as_deref().is_none_or(|only| only == flood.name)) {
        let dir = tempfile::tempdir()?;
        sign_up(Server::latchkey(dir.path(), &[("LATCHKEY_SIGNUP", "open")]).await?).await?;
        measure(dir.path(), *flood, &mut table).await?;
    }
    table.print();
    run.end()
}

async fn measure(dir: &Path, flood: Flood, table: &mut Table) -> anyhow::Result<()> {
    let limits = [("LATCHKEY_RATE_LIMITS", "on"), ("LATCHKEY_TRUSTED_PROXIES", "127.0.0.0/8")];
    let server = Server::latchkey(dir, &limits).await?;
    let (before, quiet) = (kept(dir).await?, reset(dir, server.port, "otter0").await?);

    let responses = Arc::new(Responses::default());
    let (port, counts) = (server.port, responses.clone());
    let crowd = thread::spawn(move || {
        Builder::new_current_thread().enable_all().build()?.block_on(async {
            let mut all: JoinSet<()> = (0..CONNECTIONS).map(|_| send(port, flood, counts.clone())).collect();
            sleep(FLOOD_FOR).await;
            all.shutdown().await;
            anyhow::Ok(())
        })
    });
    sleep(ASKS_AFTER).await;
    let early = responses.let_in.load(Ordering::Relaxed);
    let honest = reset(dir, server.port, "otter1").await;
    crowd.join().map_err(|_| anyhow!("a panic"))??;
    let after = kept(dir).await?;
    server.stop()?;

    let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
    let (late, lasted) = (count(&responses.let_in) - early, (FLOOD_FOR - ASKS_AFTER).as_secs_f64());
    let first = early as f64 / ASKS_AFTER.as_secs_f64();
    let name = format!("{}: let in a second, from the 5th second on", flood.name);
    table.row(&name, [&format!("{:.1}", late as f64 / lasted), &format!("before: {first:.0}"), "", "", ""]);
    let refused = format!("{} / {} / {}", count(&responses.refused), count(&responses.busy), count(&responses.other));
    table.row("  let in, in all", [&count(&responses.let_in).to_string(), "", "", "", ""]);
    table.row("  refused: 429 / 503 / otherwise", [&refused, "", "", "", ""]);
    for (at, name) in TABLES.iter().enumerate() {
        table.row(&format!("  rows in {name}"), [&(after.rows[at] - before.rows[at]).to_string(), "", "", "", ""]);
    }
    let grown = (after.bytes - before.bytes) as f64 / 1e6;
    table.row("  the database has grown by", [&format!("{grown:.1} MB"), "", "", "", ""]);
    let yardstick = format!("quiet: {quiet:.2} s");
    let waited = honest.map_or_else(|why| why.to_string(), |waited| format!("{waited:.2} s"));
    table.row("  an honest reset waits for its letter", [&waited, &yardstick, "", "a few seconds", ""]);
    Ok(())
}

/// Sends forms one after the other, each from another address and with another email address.
async fn send(port: u16, flood: Flood, responses: Arc<Responses>) {
    let mut open = None;
    loop {
        let n = responses.next.fetch_add(1, Ordering::Relaxed);
        let (email, username) = (format!("nobody{n}@example.com"), format!("nobody{n}"));
        let fields = [("email", email.as_str()), ("username", &username), ("password", PASSWORD)];
        let status = ask(port, &mut open, &post(flood.path, &fields), &(flood.from)(n)).await.unwrap_or_default();
        let which = match status {
            303 => &responses.let_in,
            429 => &responses.refused,
            503 => &responses.busy,
            _ => &responses.other,
        };
        which.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sends a request from this address, on the open connection or on a new one. Returns the status.
async fn ask(port: u16, open: &mut Option<Connection>, request: &[u8], from: &str) -> anyhow::Result<u16> {
    let mut connection = match open.take() {
        Some(connection) => connection,
        None => Connection::open(port).await?,
    };
    let line = format!("\r\nX-Forwarded-For: {from}\r\n");
    let request = String::from_utf8_lossy(request).replacen("\r\n", &line, 1);
    let status = connection.ask(request.as_bytes()).await?.status;
    *open = Some(connection);
    Ok(status)
}

/// Asks for a reset until the site accepts it, and waits for the email. Returns how many seconds both took.
async fn reset(dir: &Path, port: u16, user: &str) -> anyhow::Result<f64> {
    let (began, address) = (Instant::now(), format!("{user}@example.com"));
    let request = post("/forgot-password", &[("email", &address)]);
    while ask(port, &mut None, &request, HOME).await? != 303 {
        ensure!(began.elapsed() < WAITS_AT_MOST, "it was not let in");
        sleep(Duration::from_secs(1)).await;
    }
    let mut seen = HashSet::new();
    while !has_letter(dir, &address, &mut seen)? {
        ensure!(began.elapsed() < WAITS_AT_MOST, "no letter in {WAITS_AT_MOST:?}");
        sleep(Duration::from_millis(10)).await;
    }
    Ok(began.elapsed().as_secs_f64())
}

/// Returns whether the mailbox has an email to this address that was not `seen` before.
fn has_letter(dir: &Path, address: &str, seen: &mut HashSet<PathBuf>) -> anyhow::Result<bool> {
    let to = format!("To: {address}");
    for file in fs::read_dir(dir.join("mailbox"))? {
        let path = file?.path();
        if path.is_file() && seen.insert(path.clone()) && fs::read_to_string(&path)?.contains(&to) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns the number of rows, and the bytes of the database with its journal.
async fn kept(dir: &Path) -> anyhow::Result<Kept> {
    let file = dir.join("latchkey.db");
    let db = Database::connect(format!("sqlite://{}?mode=ro", file.display())).await?;
    let mut rows = vec![];
    for table in TABLES {
        let count = Statement::from_string(DbBackend::Sqlite, format!("SELECT count(*) AS count FROM {table}"));
        rows.push(db.query_one_raw(count).await?.context("a count")?.try_get::<i64>("", "count")?);
    }
    db.close().await?;
    let size = |name: &str| fs::metadata(dir.join(name)).map_or(0, |file| file.len());
    Ok(Kept { bytes: size("latchkey.db") + size("latchkey.db-wal"), rows })
}
