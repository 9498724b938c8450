//! The figures of the product, each beside its yardstick, in one run:
//!
//! ```text
//! cargo build --release && cargo run --release --example figures
//! ```
//!
//! The release binary runs as a child process, on a new database in a temporary folder, with sixteen users.
//! All traffic is on loopback and comes from this process: one thread, keep-alive connections, requests made
//! beforehand. Server and client share the machine's cores, as do the yardsticks and theirs:
//!
//! - log-ins a second stand beside raw argon2id, a thread a core, with the same parameters and no server;
//! - pages a second stand beside a bare axum handler in a process of its own (this program again, with the
//!   argument `bare`) that renders a page of the same size, with no layers and no database.
//!
//! A yardstick is measured in turns with its figure, because machines are noisy; a ratio is the median over
//! the turns. A value is the median of its runs with the least and the most. A missed aim is no failure:
//! this program reports. It takes about two minutes.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, net, thread};

use anyhow::{Context, anyhow, bail, ensure};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use askama::Template;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

const STARTS: usize = 7;
const BURSTS: usize = 3;
const BURST: usize = 200;
/// Short turns, and many of them: what else runs on the machine then falls on both sides.
const LOGIN_TURNS: usize = 8;
const LOGINS_FOR: Duration = Duration::from_secs(3);
const LOGINS_AT_ONCE: usize = 16;
const PAGE_TURNS: usize = 12;
const PAGES_FOR: Duration = Duration::from_secs(1);
const PAGES_AT_ONCE: usize = 32;
/// Between two pages of the one reader who is there meanwhile: a person's load, not a load test's.
const READER_RESTS: Duration = Duration::from_millis(2);
const USERS: usize = 16;
const PASSWORD: &str = "velvet otter bakes rye";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [what, port, size] = &arguments[..]
        && what == "bare"
    {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        return runtime.block_on(bare(port.parse()?, size.parse()?));
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure())
}

async fn measure() -> anyhow::Result<()> {
    let binary = env::current_exe()?.ancestors().nth(2).context("no target folder")?.join("latchkey");
    if !binary.exists() {
        bail!("{} is not there; build it first: cargo build --release", binary.display());
    }
    let (cpus, kernel) = (fs::read_to_string("/proc/cpuinfo")?, fs::read_to_string("/proc/sys/kernel/osrelease")?);
    let model = cpus.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
    println!("machine: {} cores, {}, Linux {}", cores(), model.unwrap_or("unknown"), kernel.trim());
    println!("command: cargo run --release --example figures");
    let before = (Instant::now(), busy_time()?);

    let dir = tempfile::tempdir()?;
    let latchkey = async || Server::latchkey(&binary, dir.path()).await;
    sign_up(latchkey().await?).await?;
    let mut table = Table::default();
    let mut starts = Runs::default();
    for _ in 0..STARTS {
        let server = latchkey().await?;
        starts.0.push(server.started_in.as_secs_f64() * 1e3);
        server.stop()?;
    }
    table.row("start to first answer", [&starts.show("ms"), "", "", "< 150 ms", met(starts.median() < 150.0)]);
    let raw = logins(latchkey().await?, &mut table).await?;
    bursts(latchkey, raw, &mut table).await?;
    pages(latchkey().await?, dir.path(), &mut table).await?;
    table.print();
    let others = busy_time()? - before.1 - processor_time(std::process::id())?;
    let share = others.max(0.0) / (before.0.elapsed().as_secs_f64() * cores() as f64) * 100.0;
    let load = fs::read_to_string("/proc/loadavg")?;
    println!("other programs took {share:.0} % of the machine meanwhile; load average {}", load.trim());
    Ok(())
}

/// Makes the users, and with them the database.
async fn sign_up(server: Server) -> anyhow::Result<()> {
    for user in 0..USERS {
        let (email, username) = (format!("otter{user}@example.com"), format!("otter{user}"));
        let request = post("/signup", &[("email", &email), ("username", &username), ("password", PASSWORD)]);
        let status = server.connect().await?.ask(&request).await?.status;
        ensure!(status == 303, "the sign-up answered {status}");
    }
    server.stop()
}

/// Log-ins a second in turns with raw argon2; returns what raw argon2 did in a second.
async fn logins(server: Server, table: &mut Table) -> anyhow::Result<f64> {
    let requests: Vec<_> = (0..LOGINS_AT_ONCE).map(log_in).collect();
    let [mut rate, mut cost, mut raw_rate, mut raw_cost, mut ratios] = [const { Runs(Vec::new()) }; 5];
    for _ in 0..LOGIN_TURNS {
        let (a, b) = (server.load(&requests, 303, LOGINS_FOR).await?, raw_argon2(LOGINS_FOR)?);
        rate.0.push(a.per_second);
        cost.0.push(a.server_cost / 1e3);
        raw_rate.0.push(b.per_second);
        raw_cost.0.push(b.server_cost / 1e3);
        ratios.0.push(a.per_second / b.per_second * 100.0);
    }
    server.stop()?;
    let yardstick = format!("raw argon2: {}", raw_rate.show("/s"));
    let met = met(ratios.median() >= 90.0);
    table.row("log-ins a second", [&rate.show("/s"), &yardstick, &ratios.show("%"), "≥ 90 %", met]);
    let yardstick = format!("raw argon2: {}", raw_cost.show("ms"));
    let ratio = format!("{:.2}", cost.median() / raw_cost.median());
    table.row("  processor time a log-in", [&cost.show("ms"), &yardstick, &ratio, "", ""]);
    Ok(raw_rate.median())
}

/// How many hashes a second the cores can do with nothing else to do.
fn raw_argon2(lasts: Duration) -> anyhow::Result<Load> {
    let params = Params::new(19_456, 2, 1, Some(32))?;
    let mut memory: Vec<_> = (0..cores()).map(|_| vec![Block::default(); params.block_count()]).collect();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let (before, end) = (processor_time(std::process::id())?, Instant::now() + lasts);
    let hash = |blocks: &mut [Block]| {
        let (mut done, mut output) = (0, [0; 32]);
        loop {
            argon2.hash_password_into_with_memory(PASSWORD.as_bytes(), &[7; 16], &mut output, &mut *blocks)?;
            if Instant::now() > end {
                return anyhow::Ok(done);
            }
            done += 1;
        }
    };
    let done: u32 = thread::scope(|scope| {
        let threads: Vec<_> = memory.iter_mut().map(|blocks| scope.spawn(|| hash(blocks))).collect();
        threads.into_iter().map(|one| one.join().map_err(|_| anyhow!("a panic"))?).sum::<anyhow::Result<_>>()
    })?;
    Ok(Load::new(done, lasts, processor_time(std::process::id())? - before, 0.0))
}

/// What fresh servers need: at rest, and while [`BURST`] people log in at once and one more reads.
async fn bursts(latchkey: impl AsyncFn() -> anyhow::Result<Server>, raw: f64, table: &mut Table) -> anyhow::Result<()> {
    let [mut resident, mut proportional, mut peak, mut after, mut slowest] = [const { Runs(Vec::new()) }; 5];
    let (mut quiet, mut busy, mut lost) = (Runs::default(), Runs::default(), 0);
    for _ in 0..BURSTS {
        let server = latchkey().await?;
        let mut reader = server.connect().await?;
        reader.ask(&page()).await?;
        sleep(Duration::from_secs(1)).await;
        resident.0.push(server.memory("status", "VmRSS:")?);
        proportional.0.push(server.memory("smaps_rollup", "Pss:")?);
        for _ in 0..200 {
            quiet.0.push(read_once(&mut reader).await?);
        }

        let mut people = JoinSet::new();
        for person in 0..BURST {
            let (mut connection, request) = (server.connect().await?, log_in(person));
            people.spawn(async move {
                let began = Instant::now();
                let answer = connection.ask(&request).await;
                (began.elapsed(), answer.is_ok_and(|answer| answer.status == 303))
            });
        }
        let mut longest = Duration::ZERO;
        while !people.is_empty() {
            busy.0.push(read_once(&mut reader).await?);
            while let Some(done) = people.try_join_next() {
                let (took, well) = done?;
                longest = longest.max(took);
                lost += usize::from(!well);
            }
        }
        slowest.0.push(longest.as_secs_f64() * 1e3);
        peak.0.push(server.memory("status", "VmHWM:")?);
        after.0.push(server.memory("status", "VmRSS:")?);
        server.stop()?;
    }
    for (name, runs) in [("idle memory, resident", &resident), ("idle memory, proportional", &proportional)] {
        table.row(name, [&runs.show("MB"), "", "", "< 25 MB", met(runs.median() < 25.0)]);
    }
    let blocks = cores() as f64 * 19.0 * 1.048_576; // MiB to MB
    let (least, limit) = (resident.median() + blocks, resident.median() + blocks + 40.0);
    let (yardstick, aim) = (format!("idle + blocks: {least:.0} MB"), format!("< {limit:.0} MB"));
    let name = format!("peak memory, {BURST} log-ins at once");
    table.row(&name, [&peak.show("MB"), &yardstick, "", &aim, met(peak.median() < limit)]);
    table.row("  resident when they are in", [&after.show("MB"), "", "", "", ""]);
    let least = BURST as f64 / raw * 1e3;
    let (yardstick, ratio) = (format!("raw argon2: {least:.0} ms"), format!("{:.2}", slowest.median() / least));
    let name = format!("  the slowest answer; lost: {lost}");
    table.row(&name, [&slowest.show("ms"), &yardstick, &ratio, "none lost", met(lost == 0)]);
    let yardstick = format!("quiet: {}", quiet.percentiles());
    table.row("  a page meanwhile: p50 / p99 / max", [&busy.percentiles(), &yardstick, "", "", ""]);
    Ok(())
}

/// Reads the page, says how many milliseconds that took, and rests.
async fn read_once(reader: &mut Connection) -> anyhow::Result<f64> {
    let began = Instant::now();
    let status = reader.ask(&page()).await?.status;
    let took = began.elapsed();
    ensure!(status == 200, "the page answered {status}");
    sleep(READER_RESTS).await;
    Ok(took.as_secs_f64() * 1e3)
}

/// Pages a second in turns with the bare handler, and what one page costs in processor time.
async fn pages(ours: Server, dir: &Path, table: &mut Table) -> anyhow::Result<()> {
    let size = ours.connect().await?.ask(&page()).await?.size;
    let bare = Server::bare(dir, size).await?;
    let same = bare.connect().await?.ask(&page()).await?.size;
    ensure!(same == size, "the bare page has {same} bytes, ours {size}");

    let requests = vec![page(); PAGES_AT_ONCE];
    for server in [&ours, &bare] {
        server.load(&requests, 200, Duration::from_millis(500)).await?; // to warm up
    }
    let [mut rate, mut cost, mut bare_rate, mut bare_cost, mut ratios, mut client] = [const { Runs(Vec::new()) }; 6];
    for _ in 0..PAGE_TURNS {
        let (a, b) = (ours.load(&requests, 200, PAGES_FOR).await?, bare.load(&requests, 200, PAGES_FOR).await?);
        rate.0.push(a.per_second);
        cost.0.push(a.server_cost);
        bare_rate.0.push(b.per_second);
        bare_cost.0.push(b.server_cost);
        ratios.0.push(a.per_second / b.per_second * 100.0);
        client.0.push(b.client_busy * 100.0);
    }
    ours.stop()?;
    bare.stop()?;
    let yardstick = format!("bare axum: {}", bare_rate.show("/s"));
    let met = met(ratios.median() >= 70.0);
    table.row("pages a second", [&rate.show("/s"), &yardstick, &ratios.show("%"), "≥ 70 %", met]);
    let yardstick = format!("bare axum: {}", bare_cost.show("µs"));
    let ratio = format!("{:.2}", cost.median() / bare_cost.median());
    table.row("  processor time a page", [&cost.show("µs"), &yardstick, &ratio, "", ""]);
    table.row("  the client's share of a core (bare)", [&client.show("%"), "", "", "", ""]);
    Ok(())
}

#[derive(Template)]
#[template(source = "<title>{{ title }} – {{ site }}</title>{{ padding }}<footer>{{ site }}</footer>", ext = "html")]
struct BarePage<'a> {
    title: &'a str,
    site: &'a str,
    padding: &'a str,
}

/// The yardstick for pages: a handler that renders `size` bytes, and nothing around it.
async fn bare(port: u16, size: usize) -> anyhow::Result<()> {
    fn render(padding: &str) -> String {
        BarePage { title: "Log in", site: "Latchkey", padding }.render().unwrap_or_default()
    }
    async fn show(State(padding): State<Arc<str>>) -> Response {
        ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], render(&padding)).into_response()
    }
    let padding: Arc<str> = "x".repeat(size.saturating_sub(render("").len())).into();
    let router = axum::Router::new().route("/healthz", get(|| async { "alive\n" })).route("/login", get(show));
    Ok(axum::serve(TcpListener::bind(("127.0.0.1", port)).await?, router.with_state(padding)).await?)
}

/// A server in a child process, killed when this goes away.
struct Server {
    child: Child,
    port: u16,
    started_in: Duration,
}

/// What came of a load.
struct Load {
    per_second: f64,
    /// Processor time of the server for one answer, in µs.
    server_cost: f64,
    /// Processor time of this process, as a share of one core.
    client_busy: f64,
}

impl Load {
    fn new(done: u32, lasts: Duration, server: f64, client: f64) -> Self {
        let (done, seconds) = (f64::from(done), lasts.as_secs_f64());
        Self { per_second: done / seconds, server_cost: server / done * 1e6, client_busy: client / seconds }
    }
}

impl Server {
    async fn latchkey(binary: &Path, dir: &Path) -> anyhow::Result<Self> {
        let (mut command, port) = (Command::new(binary), free_port()?);
        command.env_clear().env("LATCHKEY_SIGNUP", "open").env("LATCHKEY_RATE_LIMITS", "off");
        command.env("LATCHKEY_LISTEN", format!("127.0.0.1:{port}")).env("LATCHKEY_DATA_DIR", dir);
        // What the requests ask for, as those of browsers do: another name of the loopback takes a microsecond to read.
        command.env("LATCHKEY_PUBLIC_URL", "http://localhost");
        Self::start(command, port, dir.join("latchkey.log")).await
    }

    async fn bare(dir: &Path, size: usize) -> anyhow::Result<Self> {
        let (mut command, port) = (Command::new(env::current_exe()?), free_port()?);
        command.args(["bare", &port.to_string(), &size.to_string()]);
        Self::start(command, port, dir.join("bare.log")).await
    }

    /// Starts it and waits for its first answer.
    async fn start(mut command: Command, port: u16, log: PathBuf) -> anyhow::Result<Self> {
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

    /// Stops it as an operator does.
    fn stop(mut self) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        self.child.wait()?;
        Ok(())
    }

    async fn connect(&self) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, buffer: vec![0; 16 * 1024] })
    }

    /// A connection for each request, which is sent again as soon as it is answered.
    async fn load(&self, requests: &[Vec<u8>], expected: u16, lasts: Duration) -> anyhow::Result<Load> {
        let mut connections = Vec::new();
        for request in requests {
            connections.push((self.connect().await?, request.clone()));
        }
        let before = (processor_time(self.child.id())?, processor_time(std::process::id())?);
        let end = Instant::now() + lasts;
        let mut tasks = JoinSet::new();
        for (mut connection, request) in connections {
            tasks.spawn(async move {
                let mut done = 0;
                loop {
                    let status = connection.ask(&request).await?.status;
                    ensure!(status == expected, "answered {status}, not {expected}");
                    if Instant::now() > end {
                        return Ok(done);
                    }
                    done += 1;
                }
            });
        }
        let done: u32 = tasks.join_all().await.into_iter().sum::<anyhow::Result<u32>>()?;
        let after = (processor_time(self.child.id())?, processor_time(std::process::id())?);
        Ok(Load::new(done, lasts, after.0 - before.0, after.1 - before.1))
    }

    /// A line of one of its files in `/proc`, in MB.
    fn memory(&self, file: &str, line: &str) -> anyhow::Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))?;
        let found = text.lines().find_map(|one| one.strip_prefix(line)).context("no such line")?;
        Ok(found.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0 / 1e6)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _stopped_already = self.child.kill();
        let _gone = self.child.wait();
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn free_port() -> anyhow::Result<u16> {
    Ok(net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The time that the machine was busy, in seconds (proc_stat(5): all but idle and iowait, in 1/100 s).
fn busy_time() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let ticks: Vec<f64> = stat.split_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    Ok([0, 1, 2, 5, 6, 7].iter().filter_map(|at| ticks.get(*at)).sum::<f64>() / 100.0)
}

/// User and system time of a process and of its children that have ended, in seconds (proc_pid_stat(5),
/// fields 14 to 17, in 1/100 s).
fn processor_time(pid: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    let ticks = fields.split_whitespace().skip(11).take(4).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / 100.0)
}

/// As cheap an HTTP client as can be: bytes out, and bytes in until there are as many as were announced.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

struct Answer {
    status: u16,
    /// Bytes of the body.
    size: usize,
}

impl Connection {
    async fn ask(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        loop {
            filled += match self.stream.read(&mut self.buffer[filled..]).await? {
                0 => bail!("the connection ended early"),
                count => count,
            };
            let seen = &self.buffer[..filled];
            let Some(head) = seen.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let text = std::str::from_utf8(&seen[..head])?;
            let size = text.rsplit_once("content-length: ").context("no length")?.1;
            let size: usize = size.split("\r\n").next().unwrap_or_default().parse()?;
            if filled == head + 4 + size {
                return Ok(Answer { status: text.get(9..12).context("no status")?.parse()?, size });
            }
        }
    }
}

fn fetch(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into()
}

fn page() -> Vec<u8> {
    fetch("/login")
}

fn post(path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let form = "Content-Type: application/x-www-form-urlencoded\r\nSec-Fetch-Site: same-origin";
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{form}\r\nContent-Length: {length}\r\n\r\n{body}").into()
}

fn log_in(person: usize) -> Vec<u8> {
    post("/login", &[("login", &format!("otter{}", person % USERS)), ("password", PASSWORD)])
}

/// What came of several runs.
#[derive(Default)]
struct Runs(Vec<f64>);

impl Runs {
    /// The value that this share of the runs stays below.
    fn at(&self, share: f64) -> f64 {
        let mut all = self.0.clone();
        all.sort_by(f64::total_cmp);
        all[((all.len() - 1) as f64 * share) as usize]
    }

    fn median(&self) -> f64 {
        self.at(0.5)
    }

    /// The median, the least and the most.
    fn show(&self, unit: &str) -> String {
        let (least, median, most) = (self.at(0.0), self.median(), self.at(1.0));
        let digits = usize::from(median < 100.0);
        format!("{median:.digits$} {unit} ({least:.digits$}–{most:.digits$})")
    }

    fn percentiles(&self) -> String {
        format!("{:.1} / {:.1} / {:.1} ms", self.median(), self.at(0.99), self.at(1.0))
    }
}

fn met(aim: bool) -> &'static str {
    if aim { "yes" } else { "NO" }
}

/// `figure | measured | yardstick | ratio | aim | met?`
#[derive(Default)]
struct Table(Vec<Vec<String>>);

impl Table {
    fn row(&mut self, figure: &str, cells: [&str; 5]) {
        self.0.push(std::iter::once(figure).chain(cells).map(str::to_owned).collect());
    }

    fn print(mut self) {
        let head = ["figure", "measured", "yardstick", "ratio", "aim", "met?"];
        self.0.insert(0, head.map(str::to_owned).to_vec());
        let width = |at: usize| self.0.iter().map(|row| row[at].chars().count()).max().unwrap_or_default();
        for row in &self.0 {
            let cells: Vec<_> = row.iter().enumerate().map(|(at, cell)| format!("{cell:<0$}", width(at))).collect();
            println!("{}", cells.join(" | ").trim_end());
        }
    }
}
