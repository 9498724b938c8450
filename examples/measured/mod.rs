//! The parts that the measuring programs share: the users, the yardstick, the table.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use argon2_rust::params::Memory;
use argon2_rust::{Algorithm, Argon2, Hasher, Params, Version};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::served::{Connection, Server, cookies, fetch, post, with};

/// The pause between two pages of the one reader who reads meanwhile. It makes the load of a user, not of a load test.
pub const READER_RESTS: Duration = Duration::from_millis(2);
/// How many users log in at once, again and again, for each core.
pub const AT_ONCE: usize = 16;
/// How many groups of users take turns. From the 51st log-in of a user on, each ends a session. Users seldom have so many.
pub const TURNS: usize = 8;
pub const PASSWORD: &str = "velvet otter bakes rye";

/// A run on this machine, and the share of the machine that other programs take meanwhile.
pub struct Run {
    began: Instant,
    busy: f64,
}

impl Run {
    /// Prints the machine and the command.
    pub fn begin(command: &str) -> anyhow::Result<Self> {
        let (cpus, kernel) = (fs::read_to_string("/proc/cpuinfo")?, fs::read_to_string("/proc/sys/kernel/osrelease")?);
        let model = cpus.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
        println!("machine: {} cores, {}, Linux {}", cores(), model.unwrap_or("unknown"), kernel.trim());
        println!("command: {command}");
        Ok(Self { began: Instant::now(), busy: busy_time()? })
    }

    /// Prints the share of the machine that other programs took.
    pub fn end(self) -> anyhow::Result<()> {
        let others = busy_time()? - self.busy - processor_time(std::process::id())?;
        let share = others.max(0.0) / (self.began.elapsed().as_secs_f64() * cores() as f64) * 100.0;
        let load = fs::read_to_string("/proc/loadavg")?;
        println!("other programs took {share:.0} % of the machine meanwhile; load average {}", load.trim());
        Ok(())
    }
}

/// Signs up the users, which makes the database.
pub async fn sign_up(server: Server) -> anyhow::Result<()> {
    for user in 0..users() {
        let (email, username) = (format!("otter{user}@example.com"), format!("otter{user}"));
        let request = post("/signup", &[("email", &email), ("username", &username), ("password", PASSWORD)]);
        let status = server.connect().await?.ask(&request).await?.status;
        ensure!(status == 303, "the sign-up answered {status}");
    }
    server.stop()
}

/// Returns how many users sign up.
pub fn users() -> usize {
    TURNS * AT_ONCE * cores()
}

pub fn page() -> Vec<u8> {
    fetch("/login")
}

pub fn log_in(user: usize) -> Vec<u8> {
    post("/login", &[("login", &format!("otter{}", user % users())), ("password", PASSWORD)])
}

/// Reads the page and pauses. Returns how many milliseconds the page took.
pub async fn read_once(reader: &mut Connection) -> anyhow::Result<f64> {
    let began = Instant::now();
    let status = reader.ask(&page()).await?.status;
    let took = began.elapsed();
    ensure!(status == 200, "the page answered {status}");
    sleep(READER_RESTS).await;
    Ok(took.as_secs_f64() * 1e3)
}

/// Opens a connection for each request, to these ports in turn, and sends the request again after each response, with the device
/// token that the response sets, as a browser does. Returns the number of responses.
pub async fn load(ports: &[u16], requests: &[Vec<u8>], expected: u16, lasts: Duration) -> anyhow::Result<u32> {
    let mut connections = Vec::new();
    for (request, port) in requests.iter().zip(ports.iter().cycle()) {
        connections.push((Connection::open(*port).await?, request.clone()));
    }
    let end = Instant::now() + lasts;
    let mut tasks = JoinSet::new();
    for (mut connection, request) in connections {
        tasks.spawn(async move {
            let (mut done, mut request) = (0, request);
            loop {
                let answer = connection.ask(&request).await?;
                ensure!(answer.status == expected, "answered {}, not {expected}", answer.status);
                if answer.text.contains("\r\nset-cookie: latchkey_device=") {
                    request = with(&request, device(&cookies(answer.text)));
                }
                if Instant::now() > end {
                    return Ok(done);
                }
                done += 1;
            }
        });
    }
    tasks.join_all().await.into_iter().sum()
}

/// Returns the device token among some cookies.
pub fn device(cookies: &str) -> &str {
    cookies.split("; ").find(|cookie| cookie.starts_with("latchkey_device=")).unwrap_or_default()
}

/// Returns how many hashes the cores can make when they do nothing else, by the server's engine.
pub fn raw_argon2(lasts: Duration) -> anyhow::Result<u32> {
    let params = Params::builder().memory(Memory::kib(19_456)).passes(2).lanes(1).build()?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let end = Instant::now() + lasts;
    let hash = |mut hasher: Hasher| {
        let (mut done, mut output) = (0, [0; 32]);
        loop {
            hasher.hash_into(PASSWORD.as_bytes(), &[7; 16], &mut output)?;
            if Instant::now() > end {
                return anyhow::Ok(done);
            }
            done += 1;
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..cores()).map(|_| scope.spawn(|| hash(argon2.hasher()))).collect();
        threads.into_iter().map(|one| one.join().map_err(|_| anyhow!("a panic"))?).sum::<anyhow::Result<_>>()
    })
}

impl Server {
    /// Returns a line of one of the server's files in `/proc`, in MB.
    pub fn memory(&self, file: &str, line: &str) -> anyhow::Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))?;
        let found = text.lines().find_map(|one| one.strip_prefix(line)).context("no such line")?;
        Ok(found.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0 / 1e6)
    }
}

pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Returns the time that the machine was busy, in seconds (proc_stat(5): all but idle and iowait, in 1/100 s).
fn busy_time() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let ticks: Vec<f64> = stat.split_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    Ok([0, 1, 2, 5, 6, 7].iter().filter_map(|at| ticks.get(*at)).sum::<f64>() / 100.0)
}

/// Returns the user and system time of a process and of its children that have ended, in seconds (proc_pid_stat(5),
/// fields 14 to 17, in 1/100 s).
pub fn processor_time(pid: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    let ticks = fields.split_whitespace().skip(11).take(4).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / 100.0)
}

/// The results of several runs.
#[derive(Default)]
pub struct Runs(pub Vec<f64>);

impl Runs {
    /// Returns the value that this share of the runs stays below.
    pub fn at(&self, share: f64) -> f64 {
        let mut all = self.0.clone();
        all.sort_by(f64::total_cmp);
        all.get((all.len().saturating_sub(1) as f64 * share) as usize).copied().unwrap_or(f64::NAN)
    }

    pub fn median(&self) -> f64 {
        self.at(0.5)
    }

    /// Returns the median, the smallest and the largest value as text.
    pub fn show(&self, unit: &str) -> String {
        let (least, median, most) = (self.at(0.0), self.median(), self.at(1.0));
        let digits = usize::from(median < 100.0);
        format!("{median:.digits$} {unit} ({least:.digits$}–{most:.digits$})")
    }

    pub fn percentiles(&self) -> String {
        format!("{:.1} / {:.1} / {:.1} ms", self.median(), self.at(0.99), self.at(1.0))
    }
}

pub fn met(aim: bool) -> &'static str {
    if aim { "yes" } else { "NO" }
}

/// `figure | measured | yardstick | ratio | aim | met?`
#[derive(Default)]
pub struct Table(Vec<Vec<String>>);

impl Table {
    pub fn row(&mut self, figure: &str, cells: [&str; 5]) {
        self.0.push(std::iter::once(figure).chain(cells).map(str::to_owned).collect());
    }

    pub fn print(mut self) {
        let head = ["figure", "measured", "yardstick", "ratio", "aim", "met?"];
        self.0.insert(0, head.map(str::to_owned).to_vec());
        let width = |at: usize| self.0.iter().map(|row| row[at].chars().count()).max().unwrap_or_default();
        for row in &self.0 {
            let cells: Vec<_> = row.iter().enumerate().map(|(at, cell)| format!("{cell:<0$}", width(at))).collect();
            println!("{}", cells.join(" | ").trim_end());
        }
    }
}
