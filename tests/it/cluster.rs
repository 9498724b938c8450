//! A PostgreSQL server of a test's own, which the test can stop.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use latchkey::db::Db;
use rustix::process::{Pid, Signal, getuid, kill_process};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use tempfile::TempDir;

use crate::process::{Process, free_port, until};
use crate::smtp::make_certificate;

/// A secret that all servers of one database share.
pub const SECRET: &str = "canary-9vT2qLx7Rm4Kc8Wz1Nd6Hb3Fp5Gs0Jy";

/// A PostgreSQL server with an empty database. It stops when this value is dropped.
pub struct Cluster {
    pub dir: TempDir,
    server: Child,
    pub port: u16,
    pub url: String,
}

impl Cluster {
    pub async fn start() -> Self {
        crate::needs("PostgreSQL");
        let dir = tempfile::tempdir().unwrap();
        make_certificate(dir.path());
        if getuid().is_root() {
            let ids = Command::new("id").args(["-u", "postgres"]).output().unwrap().stdout;
            let postgres = String::from_utf8(ids).unwrap().trim().parse().unwrap();
            for path in [dir.path().to_owned(), dir.path().join("server.key")] {
                chown(path, Some(postgres), None).unwrap();
            }
        }
        let (data, port) = (dir.path().join("data"), free_port());
        let mut initdb = command("initdb");
        initdb.args(["--no-sync", "--auth=trust", "--username=latchkey", "--pgdata"]).arg(&data);
        let ran = initdb.output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        // PostgreSQL asks only the user `sam` for a password.
        fs::write(data.join("pg_hba.conf"), "host all sam all scram-sha-256\nhost all all all trust\n").unwrap();
        let server = Self::serve(dir.path(), port);
        let url = format!("postgres://latchkey@localhost:{port}/postgres");
        let cluster = Self { dir, server, port, url };
        cluster.is_ready().await;
        cluster
    }

    fn serve(dir: &Path, port: u16) -> Child {
        let mut postgres = command("postgres");
        postgres.args(["-F", "-h", "localhost", "-k", "", "-p", &port.to_string(), "-D"]).arg(dir.join("data"));
        let file = |name: &str| dir.join(name).display().to_string();
        let tls = [format!("ssl_cert_file={}", file("server.pem")), format!("ssl_key_file={}", file("server.key"))];
        postgres.args(["-c", "ssl=on", "-c", &tls[0], "-c", &tls[1]]);
        postgres.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    pub async fn is_ready(&self) {
        until("PostgreSQL is ready", async || {
            // The eighth line of this file is the server's state.
            let about = fs::read_to_string(self.dir.path().join("data/postmaster.pid")).unwrap_or_default();
            about.lines().nth(7)?.starts_with("ready").then_some(())
        })
        .await;
    }

    /// Ends the server without a checkpoint (`pg_ctl stop -m immediate`), its children too.
    pub fn stop_at_once(&mut self) {
        kill_process(Pid::from_child(&self.server), Signal::QUIT).unwrap();
        self.server.wait().unwrap();
    }

    pub async fn start_again(&mut self) {
        let _ = fs::remove_file(self.dir.path().join("data/postmaster.pid")); // what is in it is of the server before
        self.server = Self::serve(self.dir.path(), self.port);
        self.is_ready().await;
    }

    pub async fn db(&self) -> Db {
        Db::open(&self.url.parse().unwrap()).await.unwrap()
    }

    /// Returns a server on this database, with a query at the end of its URL. It does not run yet.
    pub fn process(&self, query: &str) -> Process {
        self.node(query, &[])
    }

    /// As [`Cluster::process`], with more settings. It stops at once, unless they say otherwise.
    pub fn node(&self, query: &str, more: &[(&str, &str)]) -> Process {
        let url = format!("{}{query}", self.url);
        let ours =
            [("LATCHKEY_DATABASE_URL", url.as_str()), ("LATCHKEY_SECRET", SECRET), ("LATCHKEY_DRAIN_SECONDS", "0")];
        Process::new(&[&ours, more].concat())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop_at_once();
    }
}

/// Returns the folder of PostgreSQL's programs: of the version that the environment chooses, or of the newest installed one.
fn programs() -> PathBuf {
    if let Some(chosen) = std::env::var_os("LATCHKEY_TEST_POSTGRES_BIN") {
        return chosen.into();
    }
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed: apt-get install postgresql");
    let newest: PathBuf = versions.map(|entry| entry.unwrap().path()).max().unwrap();
    newest.join("bin")
}

/// Returns a program of PostgreSQL.
pub fn command(program: &str) -> Command {
    as_user("postgres", programs().join(program))
}

/// Returns a program that refuses to run as root, so root becomes this user.
pub fn as_user(user: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = if getuid().is_root() {
        let mut command = Command::new("/usr/bin/setpriv");
        command
            .args([format!("--reuid={user}"), format!("--regid={user}")])
            .args(["--clear-groups", "--"])
            .arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/").stdin(Stdio::null());
    command
}

/// Returns the number that a query counts.
pub async fn count(db: &Db, query: &str) -> i64 {
    let query = Statement::from_string(DbBackend::Postgres, query);
    db.read().query_one_raw(query).await.unwrap().unwrap().try_get_by_index(0).unwrap()
}

/// Counts the statements that wait for a lock, except those of the sweeper, which runs when a server starts.
pub const WAITING: &str = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                           AND query NOT LIKE 'DELETE FROM \"events\" WHERE \"events\".\"id\" IN%'";

/// Waits until so many statements wait for a lock.
pub async fn until_locked_out(db: &Db, statements: i64) {
    until("they wait", async || (count(db, WAITING).await == statements).then_some(())).await;
}
