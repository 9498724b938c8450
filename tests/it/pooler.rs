//! PgBouncer between Latchkey and PostgreSQL.

use std::fs;
use std::process::{Child, Command, Stdio};

use crate::OTTER;
use crate::cluster::{Cluster, SECRET, as_user};
use crate::process::{Process, free_port, try_to_serve, until};

/// Where Debian puts it, which is not in the `PATH` of every user.
const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// A PgBouncer before a cluster. It stops when this value is dropped.
struct Pooler {
    child: Child,
    url: String,
}

impl Pooler {
    async fn start(cluster: &Cluster, settings: &[&str]) -> Self {
        crate::needs("PgBouncer");
        let (port, dir) = (free_port(), cluster.dir.path());
        let (file, users) = (dir.join("pgbouncer.ini"), dir.join("users"));
        fs::write(&users, "\"latchkey\" \"\"\n").unwrap();
        let lines = [
            "[databases]".to_owned(),
            format!("* = host=localhost port={}", cluster.port),
            "[pgbouncer]".to_owned(),
            format!("listen_addr=127.0.0.1\nlisten_port={port}\nunix_socket_dir=\nauth_type=trust"),
            format!("auth_file={}", users.display()),
            settings.join("\n"),
        ];
        fs::write(&file, lines.join("\n")).unwrap();
        let mut command = as_user("postgres", PROGRAM);
        let child = command.arg("-q").arg(&file).stderr(Stdio::null()).spawn().unwrap();
        let url = format!("postgres://latchkey@localhost:{port}/postgres");
        let pooler = Self { child, url };
        until("PgBouncer listens", async || std::net::TcpStream::connect(("127.0.0.1", port)).ok()).await;
        pooler
    }

    fn process(&self) -> Process {
        Process::new(&[
            ("LATCHKEY_DATABASE_URL", &self.url),
            ("LATCHKEY_SECRET", SECRET),
            ("LATCHKEY_RATE_LIMITS", "off"),
        ])
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Returns whether the installed PgBouncer can keep prepared statements in transaction mode, as it does from 1.21 on.
fn keeps_statements() -> bool {
    let said = Command::new(PROGRAM).arg("--version").output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    let mut numbers = said.split_whitespace().nth(1).unwrap().split('.').map(|number| number.parse::<u32>().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap()) >= (1, 21)
}

async fn lives(pooler: &Pooler) {
    let mut servers = [pooler.process(), pooler.process()];
    for server in &mut servers {
        server.start().await;
    }
    let mut sam = servers[0].user("sam", OTTER).await;
    for _ in 0..20 {
        assert_eq!(servers[1].browser().log_in("sam", OTTER).await.path, "/profile");
        assert!(sam.is_logged_in().await);
    }
    assert!(servers[1].run(&["user", "list"]).out.contains("sam@example.com"));
    for mut server in servers {
        server.stop().await;
    }
}

#[tokio::test]
async fn pgbouncer_in_session_mode_works() {
    let cluster = Cluster::start().await;
    lives(&Pooler::start(&cluster, &["pool_mode=session"]).await).await;
}

#[tokio::test]
async fn pgbouncer_in_transaction_mode_works_if_it_keeps_prepared_statements() {
    if keeps_statements() {
        let cluster = Cluster::start().await;
        let settings = ["pool_mode=transaction", "max_prepared_statements=200"];
        lives(&Pooler::start(&cluster, &settings).await).await;
    }
}

#[tokio::test]
async fn pgbouncer_that_loses_prepared_statements_is_refused_in_one_line() {
    let cluster = Cluster::start().await;
    // Older ones do not know the setting.
    let settings = ["pool_mode=transaction", "max_prepared_statements=0"];
    let known = if keeps_statements() { 2 } else { 1 };
    let pooler = Pooler::start(&cluster, &settings[..known]).await;
    for _ in 0..5 {
        for arguments in [&["serve"][..], &["migrate"], &["user", "list"]] {
            let ran = try_to_serve(pooler.process().command(arguments));
            assert_eq!((ran.code, ran.out.as_str(), ran.err.lines().count()), (Some(1), "", 1), "{ran:?}");
            for words in ["LATCHKEY_DATABASE_URL: ", "pool_mode=session", "max_prepared_statements"] {
                assert_eq!(ran.err.matches(words).count(), 1, "{words}: {ran:?}");
            }
        }
    }
}
