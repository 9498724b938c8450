//! Measures what users wait for when many come at once:
//!
//! ```text
//! bench/load [pages | log-ins | guesses | slow]   # cargo build --release && cargo run --release --example load
//! ```
//!
//! The release binary runs as a child process, a new one for each group of rows, on a database in a temporary folder. All
//! traffic is on loopback. The measured user and the load have one thread each in this process, so that neither waits for
//! the other in the client. All share the machine's cores. The yardstick of each group is the same measurement on the quiet
//! server before, or raw argon2id. Times are the median, the 99th percentile and the maximum. Memory is the server's peak.
//! The program only reports: a missed aim is not an error. It takes about two minutes.

#![expect(clippy::print_stdout, reason = "the program prints a table")]

#[expect(dead_code, reason = "shared with other programs")]
mod measured;
mod served;

use std::collections::BTreeMap;
use std::env;
use std::future::Future;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;

use measured::{Run, Runs, Table, log_in, met, page, raw_argon2, read_once, sign_up};
use served::{Connection, Response, Server, cookies, fetch, post};

/// The open files for two thousand connections, and for everything else.
const FILES: u64 = 2500;
const RAW_FOR: Duration = Duration::from_secs(3);
/// How many connections read at once, and whether their browser is logged in.
const READERS: [(usize, bool); 5] = [(1, false), (32, false), (200, false), (2000, false), (32, true)];
const PAGE_TURNS: usize = 3;
const PAGES_FOR: Duration = Duration::from_secs(1);
/// How many users log in at once, and how often that is measured.
const BURSTS: [(usize, usize); 2] = [(200, 3), (2000, 2)];
/// A log-in that takes longer is late.
const ALL_IN_WITHIN: Duration = Duration::from_secs(60);
const GUESSERS: usize = 500;
const SLOW: usize = 1000;
const BROKEN_OFF: usize = 500;
/// The honest user logs in this many times and reads some pages, in no more time than the next constant.
const LOG_INS: usize = 9; // on the quiet server and beside the crowd: a known browser has twenty attempts at once
const LOG_INS_WITHIN: Duration = Duration::from_secs(25);
const PAGES_BETWEEN: usize = 10;
const PERSON_RESTS: Duration = Duration::from_millis(20);
/// The honest user's address (RFC 5737). The crowd's addresses are from the network for benchmarks (RFC 2544).
const HOME: &str = "203.0.113.9";

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let files = getrlimit(Resource::Nofile);
    let most = files.maximum.unwrap_or(u64::MAX);
    ensure!(most >= FILES, "{most} open files are allowed (ulimit -Hn), and 2000 connections at once need {FILES}");
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files })?;

    let run = Run::begin("bench/load")?;
    let dir = tempfile::tempdir()?;
    sign_up(Server::latchkey(dir.path(), &[("LATCHKEY_SIGNUP", "open")]).await?).await?;
    let mut table = Table::default();
    let only = env::args().nth(1);
    let wanted = |lot| only.as_deref().is_none_or(|only| only == lot);
    if wanted("pages") {
        pages(dir.path(), &mut table).await?;
    }
    if wanted("log-ins") {
        let raw = f64::from(raw_argon2(RAW_FOR)?) / RAW_FOR.as_secs_f64();
        for (users, times) in BURSTS {
            bursts(dir.path(), (users, times), raw, &mut table).await?;
        }
    }
    if wanted("guesses") {
        // Each crowd guesses at another user, because an attacked account refuses new browsers for a while.
        for (user, addresses) in [GUESSERS, 1].into_iter().enumerate() {
            guesses(dir.path(), user, addresses, &mut table).await?;
        }
    }
    if wanted("slow") {
        slow(dir.path(), &mut table).await?;
    }
    table.print();
    run.end()
}

/// Measures readers who request the page again as soon as they have it.
async fn pages(dir: &Path, table: &mut Table) -> anyhow::Result<()> {
    for (readers, logged_in) in READERS {
        let server = Server::latchkey(dir, &[]).await?;
        let (what, request) = if logged_in {
            let jar = cookies(server.connect().await?.ask(&log_in(0)).await?.text);
            ("signed-in pages", with(&fetch("/profile"), &format!("Cookie: {jar}")))
        } else {
            ("pages", page())
        };
        let (mut rate, mut took, mut lost) = (Runs::default(), Runs::default(), 0);
        for _ in 0..PAGE_TURNS {
            let mut connections = Vec::new();
            for _ in 0..readers {
                connections.push(server.connect().await?);
            }
            let (mut all, began) = (JoinSet::new(), Instant::now());
            for mut connection in connections {
                let request = request.clone();
                all.spawn(async move {
                    let mut took = Vec::new();
                    while began.elapsed() < PAGES_FOR {
                        let asked = Instant::now();
                        match connection.ask(&request).await {
                            Ok(answer) if answer.status == 200 => took.push(milliseconds(asked)),
                            _ => return (took, 1),
                        }
                    }
                    (took, 0)
                });
            }
            let of_all = all.join_all().await;
            let read: usize = of_all.iter().map(|(took, _)| took.len()).sum();
            rate.0.push(read as f64 / began.elapsed().as_secs_f64());
            lost += of_all.iter().map(|(_, lost)| lost).sum::<usize>();
            took.0.extend(of_all.into_iter().flat_map(|(took, _)| took));
        }
        let name = format!("{what} a second, {readers} at once; lost: {lost}");
        table.row(&name, [&rate.show("/s"), "", "", "none lost", met(lost == 0)]);
        table.row("  a page: p50 / p99 / max", [&took.percentiles(), "", "", "", ""]);
        end(server, table)?;
    }
    Ok(())
}

/// Measures users who log in all at once, and again after the time that a refusal names; and one who reads meanwhile.
async fn bursts(dir: &Path, (users, times): (usize, usize), raw: f64, table: &mut Table) -> anyhow::Result<()> {
    let [mut quiet, mut meanwhile, mut all_in, mut first, mut refused] = [const { Runs(Vec::new()) }; 5];
    let (mut refusals, mut peak, mut lost, mut missing) = (Runs::default(), Runs::default(), 0, 0);
    for _ in 0..times {
        let server = Server::latchkey(dir, &[]).await?;
        let mut reader = server.connect().await?;
        for _ in 0..200 {
            quiet.0.push(read_once(&mut reader).await?);
        }
        let (said, heard) = channel();
        let (port, began) = (server.port, Instant::now());
        let crowd = Clients::gather((0..users).map(move |user| get_in(port, user, began, said.clone())));
        while !crowd.is_over() && began.elapsed() < ALL_IN_WITHIN {
            meanwhile.0.push(read_once(&mut reader).await?);
        }
        crowd.leave()?;
        let (mut inside, mut at_first) = (Runs::default(), 0);
        for seen in heard {
            match seen.status {
                303 => inside.0.push(seen.at),
                503 => {
                    refusals.0.push(seen.took);
                    at_first += usize::from(seen.first);
                }
                _ => lost += 1,
            }
        }
        missing += users - inside.0.len();
        first.0.push(inside.median());
        all_in.0.push(inside.at(1.0));
        refused.0.push(at_first as f64);
        peak.0.push(server.memory("status", "VmHWM:")?);
        server.stop()?;
    }
    let least = users as f64 / raw * 1e3;
    let (yardstick, ratio) = (format!("raw argon2: {least:.0} ms"), format!("{:.2}", all_in.median() / least));
    let name = format!("{users} log-ins at once: the last is in; lost: {lost}, late: {}", missing - lost);
    table.row(&name, [&all_in.show("ms"), &yardstick, &ratio, "none lost", met(missing == 0)]);
    table.row("  half of them are in", [&first.show("ms"), "", "", "", ""]);
    if !refusals.0.is_empty() {
        table.row("  told to come again (503)", [&refused.show("users"), "", "", "", ""]);
        table.row("  how soon: p50 / p99 / max", [&refusals.percentiles(), "", "", "", ""]);
    }
    let yardstick = format!("quiet: {}", quiet.percentiles());
    table.row("  a page meanwhile: p50 / p99 / max", [&meanwhile.percentiles(), &yardstick, "", "", ""]);
    table.row("  peak memory", [&peak.show("MB"), "", "", "", ""]);
    Ok(())
}

/// Attempts to log in until it succeeds, again after the time that each refusal names.
async fn get_in(port: u16, user: usize, began: Instant, said: Sender<Seen>) {
    let (request, mut connection) = (log_in(user), None);
    for turn in 0.. {
        let asked = Instant::now();
        let (status, again) = ask(port, &mut connection, &request).await.unwrap_or_default();
        let (took, at) = (milliseconds(asked), milliseconds(began));
        let _ = said.send(Seen { status, first: turn == 0, took, at }); // the measurement may be over
        match again {
            Some(seconds) => sleep(Duration::from_secs(seconds)).await,
            None => return,
        }
    }
}

/// Sends a request on this connection, or on a new one if there is none. Returns the status, and after how many seconds the
/// request may be sent again.
async fn ask(port: u16, open: &mut Option<Connection>, request: &[u8]) -> anyhow::Result<(u16, Option<u64>)> {
    let mut connection = match open.take() {
        Some(connection) => connection,
        None => Connection::open(port).await?,
    };
    let answer = connection.ask(request).await?;
    let again = headers(&answer, "retry-after").next().and_then(|seconds| seconds.parse().ok());
    let status = answer.status;
    *open = Some(connection);
    Ok((status, again))
}

/// Measures an honest user with a browser that the account knows, beside a crowd that guesses passwords.
async fn guesses(dir: &Path, user: usize, addresses: usize, table: &mut Table) -> anyhow::Result<()> {
    let limits = [("LATCHKEY_RATE_LIMITS", "on"), ("LATCHKEY_TRUSTED_PROXIES", "127.0.0.0/8")];
    let server = Server::latchkey(dir, &limits).await?;
    let mut browser = Browser::open(&server, user).await?;
    let quiet = browser.live().await?;
    let (port, (said, heard)) = (server.port, channel());
    let crowd = Clients::gather((0..GUESSERS).map(move |guesser| {
        let address = guesser % addresses;
        guess(port, user, format!("198.18.{}.{}", address / 250, address % 250 + 1), said.clone())
    }));
    sleep(Duration::from_secs(1)).await;
    let beside = browser.live().await?;
    crowd.leave()?;

    let name = format!("log-in beside {GUESSERS} who guess, from {addresses} address(es); refused: {}", beside.refused);
    let yardstick = format!("quiet: {}", quiet.log_ins.percentiles());
    table.row(&name, [&beside.log_ins.percentiles(), &yardstick, "", "none refused", met(beside.refused == 0)]);
    let yardstick = format!("quiet: {}", quiet.pages.percentiles());
    table.row("  /profile: p50 / p99 / max", [&beside.pages.percentiles(), &yardstick, "", "", ""]);
    let mut tally = BTreeMap::<u16, Runs>::new();
    for (status, took) in heard {
        tally.entry(status).or_default().0.push(took);
    }
    for (status, took) in tally {
        let what = match status {
            422 => "guesses looked at (422)",
            429 => "guesses refused (429)",
            503 => "guesses told to come again (503)",
            _ => "guesses lost",
        };
        let (count, yardstick) = (took.0.len().to_string(), format!("each: {}", took.percentiles()));
        table.row(&format!("  {what}"), [&count, &yardstick, "", "", ""]);
    }
    end(server, table)
}

/// Guesses in turns at the honest user's account and at names without an account, as fast as the server answers.
async fn guess(port: u16, user: usize, address: String, said: Sender<(u16, f64)>) {
    let mut connection = None;
    for count in 0.. {
        let name = if count % 2 == 0 { format!("otter{user}") } else { format!("stoat{count}.{address}") };
        let request = post("/login", &[("login", &name), ("password", "seven herons paint slow")]);
        let request = with(&request, &format!("X-Forwarded-For: {address}"));
        let asked = Instant::now();
        let (status, _) = ask(port, &mut connection, &request).await.unwrap_or_default();
        let _ = said.send((status, milliseconds(asked))); // the measurement may be over
        if connection.is_none() {
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Measures connections that send one byte per second, and log-ins whose connections break off.
async fn slow(dir: &Path, table: &mut Table) -> anyhow::Result<()> {
    let server = Server::latchkey(dir, &[]).await?;
    let mut browser = Browser::open(&server, 0).await?;
    let quiet = browser.live().await?;
    let port = server.port;
    let crowd = Clients::gather((0..SLOW).map(move |_| drip(port)));
    sleep(Duration::from_secs(3)).await;
    let beside = browser.live().await?;
    crowd.leave()?;
    for user in 0..BROKEN_OFF {
        // The connection is dropped at once, as when a user closes the window.
        server.connect().await?.send(&log_in(user)).await?;
    }
    let after = browser.live().await?;
    let yardstick = format!("quiet: {}", quiet.log_ins.percentiles());
    for (name, lived) in [
        (format!("log-in beside {SLOW} slow connections"), beside),
        (format!("log-in after {BROKEN_OFF} that were broken off"), after),
    ] {
        let met = met(lived.refused == 0 && lived.log_ins.at(1.0) < 1000.0);
        let name = format!("{name}; refused: {}", lived.refused);
        table.row(&name, [&lived.log_ins.percentiles(), &yardstick, "", "< 1000 ms", met]);
    }
    end(server, table)
}

/// Sends a request at one byte per second, over and over.
async fn drip(port: u16) {
    let request = with(&page(), &format!("X: {}", "x".repeat(600)));
    loop {
        let dripped = async {
            let mut connection = Connection::open(port).await?;
            for byte in &request {
                connection.send(&[*byte]).await?;
                sleep(Duration::from_secs(1)).await;
            }
            anyhow::Ok(())
        };
        let _ = dripped.await; // the server cut the connection; the loop opens another one
    }
}

fn end(server: Server, table: &mut Table) -> anyhow::Result<()> {
    let peak = format!("{:.1} MB", server.memory("status", "VmHWM:")?);
    table.row("  peak memory", [&peak, "", "", "", ""]);
    server.stop()
}

/// A response to a user's first attempt or to a later one, with how long it took and when it came, in milliseconds.
struct Seen {
    status: u16,
    first: bool,
    took: f64,
    at: f64,
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// The clients that make the load, on a thread of their own.
struct Clients {
    stay: oneshot::Sender<()>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Clients {
    fn gather<P>(clients: impl Iterator<Item = P> + Send + 'static) -> Self
    where
        P: Future<Output = ()> + Send + 'static,
    {
        let (stay, mut left) = oneshot::channel();
        let thread = thread::spawn(move || {
            Builder::new_current_thread().enable_all().build()?.block_on(async {
                let mut all: JoinSet<()> = clients.collect();
                let over = async { while all.join_next().await.is_some() {} };
                tokio::select! {
                    () = over => {}
                    _ = &mut left => {}
                }
                Ok(())
            })
        });
        Self { stay, thread }
    }

    fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends the clients that are still there.
    fn leave(self) -> anyhow::Result<()> {
        drop(self.stay);
        self.thread.join().map_err(|_| anyhow!("a panic"))?
    }
}

/// The honest user's browser: a connection, and its cookies.
struct Browser {
    user: usize,
    connection: Connection,
    cookies: BTreeMap<String, String>,
}

/// The results of the honest user.
#[derive(Default)]
struct Lived {
    log_ins: Runs,
    pages: Runs,
    refused: usize,
}

impl Browser {
    /// Logs in once, so that the account knows the browser.
    async fn open(server: &Server, user: usize) -> anyhow::Result<Self> {
        let mut browser = Self { user, connection: server.connect().await?, cookies: BTreeMap::new() };
        let (status, _) = browser.ask(&log_in(user)).await?;
        ensure!(status == 303, "the log-in answered {status}");
        Ok(browser)
    }

    async fn live(&mut self) -> anyhow::Result<Lived> {
        let (mut lived, began) = (Lived::default(), Instant::now());
        while lived.log_ins.0.len() < LOG_INS && began.elapsed() < LOG_INS_WITHIN {
            let (status, took) = self.ask(&log_in(self.user)).await?;
            lived.log_ins.0.push(took);
            lived.refused += usize::from(status != 303);
            for _ in 0..PAGES_BETWEEN {
                let (status, took) = self.ask(&fetch("/profile")).await?;
                lived.pages.0.push(took);
                lived.refused += usize::from(status != 200);
                sleep(PERSON_RESTS).await;
            }
        }
        Ok(lived)
    }

    /// Sends a request. Returns the status, and how many milliseconds it took.
    async fn ask(&mut self, request: &[u8]) -> anyhow::Result<(u16, f64)> {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = with(request, &format!("X-Forwarded-For: {HOME}\r\nCookie: {}", cookies.join("; ")));
        let asked = Instant::now();
        let answer = self.connection.ask(&request).await?;
        let took = milliseconds(asked);
        for set in headers(&answer, "set-cookie") {
            let (name, value) = set.split(';').next().and_then(|pair| pair.split_once('=')).context("a cookie")?;
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        Ok((answer.status, took))
    }
}

/// Returns the values of all headers of this name.
fn headers<'a>(answer: &'a Response<'_>, name: &str) -> impl Iterator<Item = &'a str> {
    let head = answer.text.split("\r\n\r\n").next().unwrap_or_default();
    head.split("\r\n")
        .filter_map(|line| line.split_once(": "))
        .filter(move |(its, _)| *its == name)
        .map(|(_, value)| value)
}

/// Returns the request with more lines in its head.
fn with(request: &[u8], lines: &str) -> Vec<u8> {
    String::from_utf8_lossy(request).replacen("\r\n", &format!("\r\n{lines}\r\n"), 1).into_bytes()
}
