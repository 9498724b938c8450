//! A temporary PostgreSQL server, as durable as one that an operator runs.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, getuid, kill_process};
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// A PostgreSQL server with data of its own. It ends when this value is dropped.
pub struct Cluster {
    dir: TempDir,
    pub port: u16,
    options: Vec<String>,
    server: Option<Child>,
}

/// Returns whether PostgreSQL is installed.
pub fn is_installed() -> bool {
    newest().is_ok()
}

fn newest() -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").context("PostgreSQL is needed: apt-get install postgresql")?;
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    versions.filter_map(|entry| Some(entry.ok()?.path())).max_by_key(number).context("no PostgreSQL")
}

/// Returns a program of the newest installed PostgreSQL. The server refuses to run as root, so root becomes its user.
fn command(program: &str) -> anyhow::Result<Command> {
    let program = newest()?.join("bin").join(program);
    let mut command = Command::new(if getuid().is_root() { Path::new("/usr/bin/setpriv") } else { &program });
    if getuid().is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(&program);
    }
    command.current_dir("/").stdin(Stdio::null());
    Ok(command)
}

/// Runs a command on a thread of its own. It may wait for Latchkey, whose connections are carried by this runtime's threads.
async fn run(mut command: Command) -> anyhow::Result<String> {
    let ran = spawn_blocking(move || command.output()).await??;
    ensure!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    Ok(String::from_utf8(ran.stdout)?)
}

async fn folder() -> anyhow::Result<TempDir> {
    let dir = tempfile::Builder::new().prefix("latchkey-postgres-").tempdir()?;
    if getuid().is_root() {
        let mut ask = Command::new("id");
        ask.args(["-u", "postgres"]);
        chown(dir.path(), Some(run(ask).await?.trim().parse()?), None)?;
    }
    Ok(dir)
}

impl Cluster {
    /// Starts a server on an empty database at this port, with these options (`NAME=VALUE`).
    pub async fn start(port: u16, options: &[&str]) -> anyhow::Result<Self> {
        let dir = folder().await?;
        let mut initdb = command("initdb")?;
        initdb.args(["--no-sync", "--auth=trust", "--username=latchkey", "--pgdata"]).arg(dir.path().join("data"));
        run(initdb).await?;
        Self::on(dir, port, options).await
    }

    /// Starts a standby of this server at this port. It streams from it.
    pub async fn standby(&self, port: u16) -> anyhow::Result<Self> {
        let dir = folder().await?;
        let mut copy = command("pg_basebackup")?;
        copy.args([
            "-h",
            "localhost",
            "-p",
            &self.port.to_string(),
            "-U",
            "latchkey",
            "-c",
            "fast",
            "-X",
            "stream",
            "-R",
            "-D",
        ]);
        copy.arg(dir.path().join("data"));
        run(copy).await?;
        Self::on(dir, port, &[]).await
    }

    async fn on(dir: TempDir, port: u16, options: &[&str]) -> anyhow::Result<Self> {
        let mut cluster = Self { dir, port, options: options.iter().map(ToString::to_string).collect(), server: None };
        cluster.spawn()?;
        cluster.is_up().await?;
        Ok(cluster)
    }

    fn spawn(&mut self) -> anyhow::Result<()> {
        let mut postgres = command("postgres")?;
        postgres
            .args(["-h", "localhost", "-k", "", "-p", &self.port.to_string(), "-D"])
            .arg(self.dir.path().join("data"));
        for option in &self.options {
            postgres.args(["-c", option]);
        }
        let log = fs::File::options().create(true).append(true).open(self.dir.path().join("log"))?;
        self.server = Some(postgres.stdout(Stdio::null()).stderr(log).spawn()?);
        Ok(())
    }

    async fn is_up(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        while self.ask("SELECT 1").await.is_err() {
            let log = || fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            ensure!(began.elapsed() < Duration::from_secs(30), "PostgreSQL does not start: {}", log());
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    pub fn url(&self) -> String {
        format!("postgres://latchkey@localhost:{}/postgres", self.port)
    }

    /// Makes an empty database. Returns its URL.
    pub async fn database(&self, name: &str) -> anyhow::Result<String> {
        self.ask(&format!("CREATE DATABASE {name}")).await?;
        Ok(format!("postgres://latchkey@localhost:{}/{name}", self.port))
    }

    /// Runs a statement as the operator does.
    pub async fn ask(&self, statement: &str) -> anyhow::Result<String> {
        let mut psql = command("psql")?;
        psql.args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement, &self.url()]);
        run(psql).await
    }

    /// Shuts the server down at once, without a checkpoint (`pg_ctl stop -m immediate`), and starts it again.
    pub async fn restart_immediately(&mut self, down: Duration) -> anyhow::Result<()> {
        self.end(Signal::QUIT)?;
        sleep(down).await;
        self.spawn()?;
        self.is_up().await
    }

    /// Ends the server and its children.
    fn end(&mut self, signal: Signal) -> anyhow::Result<()> {
        if let Some(mut server) = self.server.take() {
            kill_process(Pid::from_child(&server), signal)?;
            server.wait()?;
        }
        Ok(())
    }

    /// Kills the server and its children, as when its machine goes.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)?;
        if let Some(mut server) = self.server.take() {
            server.wait()?;
        }
        Ok(())
    }

    /// Sends a signal to the server and to its children.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let server = self.server.as_ref().context("PostgreSQL does not run")?;
        let parent = server.id().to_string();
        kill_process(Pid::from_child(server), signal)?;
        for entry in fs::read_dir("/proc")? {
            let stat = fs::read_to_string(entry?.path().join("stat")).unwrap_or_default();
            // proc_pid_stat(5): the parent is the second field after the name.
            let Some((start, rest)) = stat.rsplit_once(')') else { continue };
            if rest.split_whitespace().nth(1) == Some(&parent)
                && let Some(pid) = start.split(' ').next().and_then(|pid| Pid::from_raw(pid.parse().ok()?))
            {
                let _ = kill_process(pid, signal); // a child may have ended meanwhile
            }
        }
        Ok(())
    }

    /// Makes a standby the primary.
    pub async fn promote(&self) -> anyhow::Result<()> {
        self.ask("SELECT pg_promote(true, 30)").await.map(drop)
    }

    /// Runs PostgreSQL's own checks of tables and indexes.
    ///
    /// # Errors
    /// If they find something.
    pub async fn integrity(&self) -> anyhow::Result<()> {
        let mut check = command("pg_amcheck")?;
        check.args(["-h", "localhost", "-p", &self.port.to_string(), "-U", "latchkey", "--install-missing"]);
        check.args(["--heapallindexed", "--parent-check", "-d", "postgres"]);
        run(check).await.map(drop).context("pg_amcheck")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A stopped process would not end; an error means that it has ended already.
        let _ = self.server.is_some().then(|| self.signal(Signal::CONT));
        let _ = self.end(Signal::QUIT);
    }
}
