//! A temporary PostgreSQL server, as durable as one that an operator runs.

use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, getuid, kill_process};
use sea_orm::{ConnectionTrait, Database};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::served::free_port;

/// A PostgreSQL server on a free port. It stops when this value is dropped.
pub struct Cluster {
    server: Child,
    port: u16,
    _dir: TempDir,
}

impl Cluster {
    /// Makes a cluster with PostgreSQL's own settings, except these (`NAME=VALUE`), and starts it.
    pub async fn start(settings: &[&str]) -> anyhow::Result<Self> {
        let (dir, port) = (tempfile::tempdir()?, free_port()?);
        if getuid().is_root() {
            let id = Command::new("id").args(["-u", "postgres"]).output()?.stdout;
            chown(dir.path(), Some(String::from_utf8(id)?.trim().parse()?), None)?;
        }
        let data = dir.path().join("data");
        let made = program("initdb")?.args(["--auth=trust", "--username=latchkey", "--pgdata"]).arg(&data).output()?;
        ensure!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let mut postgres = program("postgres")?;
        postgres.args(["-h", "localhost", "-k", "", "-p", &port.to_string(), "-D"]).arg(&data);
        postgres.args(settings.iter().flat_map(|setting| ["-c", *setting]));
        let server = postgres.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let (cluster, began) = (Self { server, port, _dir: dir }, Instant::now());
        while Database::connect(cluster.url("postgres")).await.is_err() {
            ensure!(began.elapsed() < Duration::from_secs(30), "PostgreSQL did not start");
            sleep(Duration::from_millis(50)).await;
        }
        Ok(cluster)
    }

    /// Makes an empty database, and returns its URL.
    pub async fn database(&self, name: &str) -> anyhow::Result<String> {
        let first = Database::connect(self.url("postgres")).await?;
        first.execute_unprepared(&format!("CREATE DATABASE {name}")).await?;
        first.close().await?;
        Ok(self.url(name))
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://latchkey@localhost:{}/{database}", self.port)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // PostgreSQL's immediate shutdown, which ends its children too. Both fail if it has ended already.
        let _ = kill_process(Pid::from_child(&self.server), Signal::QUIT);
        let _ = self.server.wait();
    }
}

/// Returns a program of the newest installed PostgreSQL. The server refuses to run as root, so root becomes its user.
fn program(name: &str) -> anyhow::Result<Command> {
    let versions = fs::read_dir("/usr/lib/postgresql").context("apt-get install postgresql")?;
    let Some(newest) = versions.filter_map(|version| Some(version.ok()?.path())).max() else {
        bail!("apt-get install postgresql");
    };
    let program: PathBuf = newest.join("bin").join(name);
    let mut command = if getuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/").stdin(Stdio::null());
    Ok(command)
}
