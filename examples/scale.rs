//! Measures what the number of users costs, on both databases, and what a second node gives:
//!
//! ```text
//! bench/scale [sqlite | postgres] [USERS …]   # 1000 100000 1000000; cargo run --release --example scale
//! ```
//!
//! The release binary runs as a child process, on a database in a temporary folder, or of a temporary PostgreSQL server with
//! its own settings. The users are seeded as rows, all with the same hash, and with what a site has beside them: a session and
//! a device for each user, three events, old emails, links and visits. One row in ten of those is due for the sweeper, which
//! runs when the server starts.
//!
//! A client asks for one thing at a time: log-ins of random users in browsers that are known, signed-in pages of these users,
//! and resets. A reset is the time until the email is there, and the answer to the new password. Times are the median, the
//! 99th percentile and the maximum. Then 16 connections measure rates. Nearly all work of a change of a name is its two
//! commits, of the name and of the words on the next page. The backup is made while the server runs. All of this shares the
//! machine's cores.

#![expect(clippy::print_stdout, reason = "the program prints a table")]

#[expect(dead_code, reason = "shared with other programs")]
mod cluster;
#[expect(dead_code, reason = "shared with other programs")]
mod measured;
mod seeds;
mod served;

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use sea_orm::{ConnectionTrait, Database, DbBackend, Statement};
use tempfile::TempDir;
use tokio::time::sleep;

use cluster::Cluster;
use latchkey::clock::Clock;
use measured::{PASSWORD, Run, Runs, Table, load};
use served::{Connection, Server, binary, cookies, fetch, free_port, post, with};

const LOG_INS: usize = 200;
const PAGES: usize = 4000;
const RESETS: usize = 40;
/// How many connections ask when a rate is measured, how long, and in how many turns.
const AT_ONCE: usize = 16;
const TURNS: usize = 5;
const RATE_FOR: Duration = Duration::from_secs(2);
/// The secret of servers on PostgreSQL, which share it.
const SECRET: &str = "scale-9vT2qLx7Rm4Kc8Wz1Nd6Hb3Fp5Gs0Jy";

/// The database of one measurement.
struct Site {
    dir: TempDir,
    /// The URL of a PostgreSQL database, or none for the SQLite file in the folder.
    postgres: Option<String>,
    users: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let run = Run::begin(&format!("bench/scale {}", arguments.join(" ")))?;
    let (names, sizes): (Vec<_>, Vec<_>) = arguments.iter().partition(|argument| argument.parse::<usize>().is_err());
    let mut sizes = sizes.iter().map(|size| size.parse()).collect::<Result<Vec<usize>, _>>()?;
    if sizes.is_empty() {
        sizes = vec![1_000, 100_000, 1_000_000];
    }
    let mut table = Table::default();
    for database in
        ["sqlite", "postgres"].into_iter().filter(|name| names.is_empty() || names.iter().any(|n| n == name))
    {
        let cluster = if database == "postgres" {
            Some(Cluster::start(free_port()?, &["max_connections=200"]).await?)
        } else {
            None
        };
        let mut least = None;
        for &users in &sizes {
            let postgres = match &cluster {
                Some(cluster) => Some(cluster.database(&format!("users_{users}")).await?),
                None => None,
            };
            let site = Site { dir: tempfile::tempdir()?, postgres, users };
            let name = format!("{database}, {users} users");
            eprintln!("{name}: seeding");
            site.seed().await?;
            table.row(&name, ["", "", "", "", ""]);
            let log_in = site.measure(least, &mut table).await?;
            least = least.or(Some(log_in));
        }
    }
    table.print();
    run.end()
}

impl Site {
    fn settings(&self) -> Vec<(&str, &str)> {
        let mut settings = vec![("LATCHKEY_SIGNUP", "open")];
        if let Some(url) = &self.postgres {
            settings.extend([("LATCHKEY_DATABASE_URL", url.as_str()), ("LATCHKEY_SECRET", SECRET)]);
        }
        settings
    }

    async fn start(&self) -> anyhow::Result<Server> {
        Server::latchkey(self.dir.path(), &self.settings()).await
    }

    async fn connect(&self) -> anyhow::Result<sea_orm::DatabaseConnection> {
        let file = format!("sqlite://{}", self.dir.path().join("latchkey.db").display());
        Ok(Database::connect(self.postgres.clone().unwrap_or(file)).await?)
    }

    /// Makes the tables and the rows.
    async fn seed(&self) -> anyhow::Result<()> {
        let server = self.start().await?;
        let form = [("email", "first@example.com"), ("username", "first"), ("password", PASSWORD)];
        ensure!(server.connect().await?.ask(&post("/signup", &form)).await?.status == 303, "the sign-up was refused");
        server.stop()?;
        let db = self.connect().await?;
        let backend = db.get_database_backend();
        let hash = Statement::from_string(backend, "SELECT hashed_password FROM users");
        let hash: String = db.query_one_raw(hash).await?.context("no user")?.try_get_by_index(0)?;
        for statement in seeds::statements(backend, self.users, &hash, Clock::default().now()) {
            db.execute_unprepared(&statement).await?;
        }
        let after = if backend == DbBackend::Postgres { "VACUUM ANALYZE" } else { "PRAGMA wal_checkpoint(TRUNCATE)" };
        db.execute_unprepared(after).await?;
        Ok(db.close().await?)
    }

    /// Measures everything. Returns the median of a log-in in milliseconds.
    async fn measure(&self, least: Option<f64>, table: &mut Table) -> anyhow::Result<f64> {
        eprintln!("  sweeping");
        let server = self.start().await?;
        let started = format!("{:.0} ms", server.started_in.as_secs_f64() * 1e3);
        table.row("  start to first answer", [&started, "", "", "", ""]);
        let (swept, page) = self.sweep(&server).await?;
        table.row("  the sweep at the start", [&format!("{swept:.1} s"), "", "", "", ""]);
        table.row("  a page meanwhile", [&page.percentiles(), "", "", "", ""]);

        eprintln!("  log-ins, pages, resets");
        let mut users = Users::new(self.users);
        let (log_ins, cookies) = users.log_in(&server).await?;
        let ratio = least.map_or(String::new(), |least| format!("{:.2}", log_ins.median() / least));
        let met = least.map_or("", |least| measured::met(log_ins.median() <= least * 1.1));
        let aim = if least.is_some() { "≤ 1.10" } else { "" };
        table.row("  a log-in", [&log_ins.percentiles(), "the fewest users", &ratio, aim, met]);
        table.row("  a signed-in page", [&pages(&server, &cookies).await?.percentiles(), "", "", "", ""]);
        let [mails, answers] = users.reset(&server, self.dir.path()).await?;
        table.row("  a reset: until its email is there", [&mails.percentiles(), "", "", "", ""]);
        table.row("  a reset: the new password", [&answers.percentiles(), "", "", "", ""]);
        table.row("  memory", [&format!("{:.0} MB", server.memory("status", "VmRSS:")?), "", "", "", ""]);
        table.row("  memory, peak", [&format!("{:.0} MB", server.memory("status", "VmHWM:")?), "", "", "", ""]);
        table.row("  the database", [&format!("{:.0} MB", self.bytes().await? as f64 / 1e6), "", "", "", ""]);

        self.rates(&server, &cookies, table).await?;
        eprintln!("  backup and restore");
        self.backup(server, table).await?;
        Ok(log_ins.median())
    }

    /// Reads pages until the server says that it has swept. Returns how many seconds that took, and the times of the pages.
    async fn sweep(&self, server: &Server) -> anyhow::Result<(f64, Runs)> {
        let (began, log) = (Instant::now(), self.dir.path().join("latchkey.log"));
        let (mut reader, mut pages) = (server.connect().await?, Runs::default());
        loop {
            pages.0.push(measured::read_once(&mut reader).await?);
            if fs::read_to_string(&log)?.lines().any(|line| line.contains("sweep") && line.contains("done")) {
                return Ok((began.elapsed().as_secs_f64(), pages));
            }
            ensure!(began.elapsed() < Duration::from_secs(600), "the sweep did not end");
        }
    }

    /// Returns the size of the database in bytes.
    async fn bytes(&self) -> anyhow::Result<u64> {
        if self.postgres.is_some() {
            let size = Statement::from_string(DbBackend::Postgres, "SELECT pg_database_size(current_database())");
            let db = self.connect().await?;
            let bytes: i64 = db.query_one_raw(size).await?.context("no size")?.try_get_by_index(0)?;
            db.close().await?;
            return Ok(bytes.try_into()?);
        }
        let size = |name: &str| fs::metadata(self.dir.path().join(name)).map_or(0, |file| file.len());
        Ok(size("latchkey.db") + size("latchkey.db-wal"))
    }

    /// Measures signed-in pages, log-ins and changes of a name a second: one node, and two if the database is PostgreSQL.
    async fn rates(&self, server: &Server, cookies: &[String], table: &mut Table) -> anyhow::Result<()> {
        eprintln!("  rates");
        let pages: Vec<_> = cookies.iter().take(AT_ONCE).map(|cookies| with(&fetch("/profile"), cookies)).collect();
        let log_ins: Vec<_> =
            (0..AT_ONCE).map(|at| with(&log_in_form(seeds::user(self.users, at)), &cookies[at])).collect();
        let renames: Vec<_> = cookies.iter().take(AT_ONCE).map(|cookies| with(&rename(), cookies)).collect();
        let dir = tempfile::tempdir()?;
        let second = match self.postgres {
            Some(_) => Some(Server::latchkey(dir.path(), &self.settings()).await?),
            None => None,
        };
        let all = [("signed-in pages", &pages, 200), ("log-ins", &log_ins, 303), ("changes of a name", &renames, 303)];
        for (name, requests, status) in all {
            let [mut one, mut two, mut ratio] = [const { Runs(Vec::new()) }; 3];
            for _ in 0..TURNS {
                one.0.push(f64::from(load(&[server.port], requests, status, RATE_FOR).await?) / RATE_FOR.as_secs_f64());
                let Some(second) = &second else { continue };
                let both = load(&[server.port, second.port], requests, status, RATE_FOR).await?;
                two.0.push(f64::from(both) / RATE_FOR.as_secs_f64());
                ratio.0.push(two.0[two.0.len() - 1] / one.0[one.0.len() - 1]);
            }
            table.row(&format!("  {name} a second, {AT_ONCE} at once"), [&one.show("/s"), "", "", "", ""]);
            if second.is_some() {
                let ratio = format!("{:.2}", ratio.median());
                table.row("    two nodes on these cores", [&two.show("/s"), "one node", &ratio, "", ""]);
            }
        }
        Ok(())
    }

    /// Measures a backup while the server runs, and its restore into an empty SQLite file.
    async fn backup(&self, server: Server, table: &mut Table) -> anyhow::Result<()> {
        let file = self.dir.path().join("backup.db");
        let run = |dir: &Path, arguments: &[&str], settings: &[(&str, &str)]| {
            let mut command = Command::new(binary()?);
            command.args(arguments).env_clear().envs(settings.iter().copied()).env("LATCHKEY_DATA_DIR", dir);
            let began = Instant::now();
            let ran = command.output()?;
            ensure!(ran.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
            Ok(began.elapsed().as_secs_f64())
        };
        let name = file.to_str().context("not UTF-8")?;
        let took = run(self.dir.path(), &["backup", name], &self.settings())?;
        let size = fs::metadata(&file)?.len() as f64 / 1e6;
        table.row("  a backup, while the server runs", [&format!("{took:.1} s, {size:.0} MB"), "", "", "", ""]);
        server.stop()?;
        let target = match &self.postgres {
            Some(url) => {
                let db = self.connect().await?;
                let name = format!("restored_{}", self.users);
                db.execute_unprepared(&format!("CREATE DATABASE {name}")).await?;
                db.close().await?;
                let (server, _) = url.rsplit_once('/').context("no database")?;
                Some(format!("{server}/{name}"))
            }
            None => None,
        };
        let empty = Site { dir: tempfile::tempdir()?, postgres: target, users: self.users };
        let took = run(empty.dir.path(), &["restore", name], &empty.settings())?;
        table.row("  its restore", [&format!("{took:.1} s"), "", "", "", ""]);
        Ok(())
    }
}

/// The users of a site, of whom some are measured.
struct Users {
    all: usize,
    next: usize,
}

impl Users {
    fn new(all: usize) -> Self {
        Self { all, next: 0 }
    }

    /// Returns users from all over the table, each once.
    fn take(&mut self, count: usize) -> Vec<usize> {
        let from = self.next;
        self.next += count;
        (from..self.next).map(|at| seeds::user(self.all, at)).collect()
    }

    /// Logs users in twice, and measures the second time, when the browser is known. Returns the cookies of each.
    async fn log_in(&mut self, server: &Server) -> anyhow::Result<(Runs, Vec<String>)> {
        let (mut connection, mut runs, mut all) = (server.connect().await?, Runs::default(), vec![]);
        for user in self.take(LOG_INS) {
            let first = cookies(connection.ask(&log_in_form(user)).await?.text);
            let request = with(&log_in_form(user), &first);
            let began = Instant::now();
            let answer = connection.ask(&request).await?;
            runs.0.push(began.elapsed().as_secs_f64() * 1e3);
            ensure!(answer.status == 303, "the log-in of user {user} answered {}", answer.status);
            all.push(cookies(answer.text));
        }
        Ok((runs, all))
    }

    /// Lets users ask for a reset and choose a password. Returns how long the emails and the answers took.
    async fn reset(&mut self, server: &Server, dir: &Path) -> anyhow::Result<[Runs; 2]> {
        let (mut connection, mut mails, mut answers) = (server.connect().await?, Runs::default(), Runs::default());
        for user in self.take(RESETS) {
            let address = format!("user{user}@example.com");
            let began = Instant::now();
            let status = connection.ask(&post("/forgot-password", &[("email", &address)])).await?.status;
            ensure!(status == 303, "/forgot-password answered {status}");
            let link = letter(dir, &address).await?;
            mails.0.push(began.elapsed().as_secs_f64() * 1e3);
            let jar = cookies(connection.ask(&fetch(&link)).await?.text);
            let password = format!("seven herons paint slowly {user}");
            let form = with(&post("/reset-password", &[("password", &password)]), &jar);
            let began = Instant::now();
            let status = connection.ask(&form).await?.status;
            answers.0.push(began.elapsed().as_secs_f64() * 1e3);
            ensure!(status == 303, "/reset-password answered {status}");
        }
        Ok([mails, answers])
    }
}

/// Reads signed-in pages, each with other cookies than the one before.
async fn pages(server: &Server, cookies: &[String]) -> anyhow::Result<Runs> {
    let requests: Vec<_> = cookies.iter().map(|cookies| with(&fetch("/profile"), cookies)).collect();
    let (mut connection, mut runs) = (server.connect().await?, Runs::default());
    for request in requests.iter().cycle().take(PAGES) {
        runs.0.push(timed(&mut connection, request).await?);
    }
    Ok(runs)
}

/// Sends a request that must be answered with a page. Returns how many milliseconds that took.
async fn timed(connection: &mut Connection, request: &[u8]) -> anyhow::Result<f64> {
    let began = Instant::now();
    let status = connection.ask(request).await?.status;
    ensure!(status == 200, "a page answered {status}");
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

fn log_in_form(user: usize) -> Vec<u8> {
    post("/login", &[("login", &format!("user{user}")), ("password", PASSWORD)])
}

/// Returns a form whose work is two small writes.
fn rename() -> Vec<u8> {
    post("/profile", &[("full_name", "Sam Smith")])
}

/// Waits for the reset email to this address, and returns the path of its link.
async fn letter(dir: &Path, address: &str) -> anyhow::Result<String> {
    let (began, to) = (Instant::now(), format!("To: {address}"));
    while began.elapsed() < Duration::from_secs(20) {
        for file in fs::read_dir(dir.join("mailbox"))? {
            let path = file?.path();
            if !path.is_file() {
                continue;
            }
            // The text is quoted-printable (RFC 2045, 6.7).
            let text = fs::read_to_string(&path)?.replace("=\r\n", "").replace("=3D", "=");
            if text.contains(&to)
                && let Some(at) = text.find("/reset-password?token=")
            {
                let link = text[at..].split_whitespace().next().unwrap_or_default().to_owned();
                return Ok(link);
            }
        }
        sleep(Duration::from_millis(1)).await;
    }
    bail!("no email to {address}")
}
