//! PostgreSQL: each test has a temporary cluster, and servers that share its database.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use latchkey::db::Db;
use rustix::process::{Pid, Signal, getuid, kill_process};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use tempfile::TempDir;

use crate::OTTER;
use crate::process::{Process, free_port, try_to_serve, until};
use crate::smtp::make_certificate;

const HERONS: &str = "seven herons paint slowly";
/// A secret that all servers of one database share.
const SECRET: &str = "canary-9vT2qLx7Rm4Kc8Wz1Nd6Hb3Fp5Gs0Jy";

/// A PostgreSQL server with an empty database. It stops when this value is dropped.
struct Cluster {
    dir: TempDir,
    server: Child,
    url: String,
}

impl Cluster {
    async fn start() -> Self {
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
        let mut postgres = command("postgres");
        postgres.args(["-F", "-h", "localhost", "-k", "", "-p", &port.to_string(), "-D"]).arg(&data);
        let file = |name: &str| dir.path().join(name).display().to_string();
        let tls = [format!("ssl_cert_file={}", file("server.pem")), format!("ssl_key_file={}", file("server.key"))];
        postgres.args(["-c", "ssl=on", "-c", &tls[0], "-c", &tls[1]]);
        let server = postgres.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let url = format!("postgres://latchkey@localhost:{port}/postgres");
        let cluster = Self { dir, server, url };
        until("PostgreSQL is ready", async || {
            // The eighth line of this file is the server's state.
            let about = fs::read_to_string(cluster.dir.path().join("data/postmaster.pid")).unwrap_or_default();
            about.lines().nth(7)?.starts_with("ready").then_some(())
        })
        .await;
        cluster
    }

    /// Returns a server on this database, with a query at the end of its URL. It does not run yet.
    fn process(&self, query: &str) -> Process {
        Process::new(&[("LATCHKEY_DATABASE_URL", &format!("{}{query}", self.url)), ("LATCHKEY_SECRET", SECRET)])
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // PostgreSQL's immediate shutdown, which ends its children too.
        kill_process(Pid::from_child(&self.server), Signal::QUIT).unwrap();
        self.server.wait().unwrap();
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

/// Returns a program of PostgreSQL. The server refuses to run as root, so root becomes its user.
fn command(program: &str) -> Command {
    let program = programs().join(program);
    let mut command = if getuid().is_root() {
        let mut command = Command::new("/usr/bin/setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/").stdin(Stdio::null());
    command
}

#[tokio::test]
async fn four_servers_that_start_at_once_on_an_empty_database_all_serve() {
    let cluster = Cluster::start().await;
    let mut servers: Vec<_> = (0..4).map(|_| cluster.process("")).collect();
    join_all(servers.iter_mut().map(Process::start)).await;
    servers[0].user("sam", OTTER).await;
    for server in &servers {
        assert_eq!(server.browser().log_in("sam", OTTER).await.path, "/profile");
    }
    for mut server in servers {
        server.stop().await;
    }
}

#[tokio::test]
async fn an_operator_looks_after_users() {
    let cluster = Cluster::start().await;
    let mut process = cluster.process("");
    let done = |process: &Process, arguments: &[&str]| {
        let ran = process.run(arguments);
        assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
        ran.out
    };
    // A command makes no tables.
    for _ in 0..2 {
        let ran = process.run(&["user", "list"]);
        assert!(ran.code == Some(1) && ran.err.contains("tables of this version"), "{ran:?}");
    }
    assert_eq!(fs::read_dir(process.dir.path()).unwrap().count(), 0);
    done(&process, &["migrate"]);
    let create = ["user", "create", "dora@example.com", "dora"];
    let ran = process.run(&create);
    assert!(ran.code == Some(1) && ran.err.contains("LATCHKEY_PUBLIC_URL must be given"), "{ran:?}");

    process.start().await;
    let link = done(&process, &create).lines().last().unwrap().to_owned();
    assert!(process.run(&create).err.contains("has an account already"), "the unique column judges");
    let mut dora = process.browser();
    assert_eq!(dora.reset(&link, OTTER).await.path, "/login");
    assert_eq!(dora.log_in("dora", OTTER).await.path, "/profile");
    process.user("sam", OTTER).await;
    let taken = process.run(&["user", "set-email", "dora", "sam@example.com"]);
    assert!(taken.code == Some(1) && taken.err.contains("has an account already"), "{taken:?}");
    done(&process, &["user", "set-email", "dora", "doris@example.com"]);
    assert!(dora.is_logged_in().await);
    done(&process, &["user", "disable", "doris@example.com"]);
    assert!(!dora.is_logged_in().await);
    assert_eq!(dora.log_in("dora", OTTER).await.status, 422);
    done(&process, &["user", "enable", "dora"]);
    assert_eq!(dora.log_in("dora", OTTER).await.path, "/profile");
    done(&process, &["user", "log-out", "dora"]);
    assert!(!dora.is_logged_in().await);
    assert_eq!(done(&process, &["user", "events", "dora"]).lines().count(), 9);
}

/// Returns the number that a query counts.
async fn count(db: &Db, query: &str) -> i64 {
    let query = Statement::from_string(DbBackend::Postgres, query);
    db.read().query_one_raw(query).await.unwrap().unwrap().try_get_by_index(0).unwrap()
}

/// Waits until so many statements wait for a lock.
async fn until_locked_out(db: &Db, statements: i64) {
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    until("they wait", async || (count(db, waiting).await == statements).then_some(())).await;
}

const ALIVE: &str = "SELECT count(*) FROM reset_tokens WHERE used_at IS NULL";

#[tokio::test]
async fn a_reset_kills_a_link_that_is_made_while_it_waits_for_the_user() {
    let cluster = Cluster::start().await;
    let mut process = cluster.process("");
    process.start().await;
    process.user("sam", OTTER).await;
    let link = process.run(&["user", "reset-link", "sam"]).out.trim().to_owned();
    let db = Db::open(&cluster.url.parse().unwrap()).await.unwrap();

    // The postman makes another link: it has locked the user, and its row is not committed yet.
    let tx = db.begin().await.unwrap();
    tx.execute_unprepared("SELECT 1 FROM users FOR NO KEY UPDATE").await.unwrap();
    let insert = "INSERT INTO reset_tokens SELECT gen_random_uuid(), user_id, 'another', email_at_issue, created_at, \
                  expires_at, NULL FROM reset_tokens";
    tx.execute_unprepared(insert).await.unwrap();
    let mut browser = process.browser();
    let reset = tokio::spawn(async move { browser.reset(&link, HERONS).await.path });
    until_locked_out(&db, 1).await;
    tx.commit().await.unwrap();
    assert_eq!(reset.await.unwrap(), "/login");
    assert_eq!(count(&db, ALIVE).await, 0);
}

#[tokio::test]
async fn a_reset_and_the_postman_who_makes_a_link_do_not_wait_for_each_other() {
    let cluster = Cluster::start().await;
    let mut process = cluster.process("");
    process.start().await;
    process.user("sam", OTTER).await;
    // With one more link, the oldest of them has to go.
    let links: Vec<_> = (0..3).map(|_| process.run(&["user", "reset-link", "sam"]).out.trim().to_owned()).collect();
    let db = Db::open(&cluster.url.parse().unwrap()).await.unwrap();

    let tx = db.begin().await.unwrap();
    tx.execute_unprepared("SELECT 1 FROM users FOR NO KEY UPDATE").await.unwrap();
    process.browser().ask_reset("sam@example.com").await;
    until_locked_out(&db, 1).await; // the postman
    let (mut browser, link) = (process.browser(), links[2].clone());
    let reset = tokio::spawn(async move { browser.reset(&link, HERONS).await });
    until_locked_out(&db, 2).await;
    tx.commit().await.unwrap();
    let page = reset.await.unwrap();
    assert_eq!((page.status.as_u16(), page.path.as_str()), (200, "/login"));
    assert_eq!(count(&db, ALIVE).await, 0, "the link of the postman is older than the reset");
}

#[tokio::test]
async fn a_database_with_a_certificate_of_its_operators_own_authority_is_verified() {
    let cluster = Cluster::start().await;
    let strangers = tempfile::tempdir().unwrap();
    make_certificate(strangers.path());
    let verify = |dir: &Path| format!("?sslmode=verify-full&sslrootcert={}", dir.join("ca.pem").display());
    let ours = cluster.process(&verify(cluster.dir.path()));
    let ran = try_to_serve(ours.command(&["serve"]));
    assert!(ran.out.contains("is ready"), "{ran:?}");
    for query in [verify(strangers.path()), "?sslmode=verify-full".to_owned()] {
        let ran = try_to_serve(cluster.process(&query).command(&["serve"]));
        assert!(ran.err.contains("LATCHKEY_DATABASE_URL") && ran.err.contains("certificate"), "{query}: {ran:?}");
    }
}

#[tokio::test]
async fn a_database_that_cannot_be_used_is_an_error_at_once_with_what_to_do() {
    let cluster = Cluster::start().await;
    let (_, port) = cluster.url.rsplit_once(':').unwrap();
    let port = port.split('/').next().unwrap();
    let closed = free_port();
    let no_database = format!("createdb --host=localhost --port={port} --owner=latchkey nowhere");
    for (url, words) in [
        (
            format!("postgres://sam:tell-nobody@localhost:{closed}/latchkey"),
            vec!["localhost", &closed.to_string(), "connection refused", "start PostgreSQL"],
        ),
        (format!("postgres://sam:tell-nobody@db.invalid:{port}/latchkey"), vec!["the host db.invalid cannot be found"]),
        (
            format!("postgres://sam:tell-nobody@localhost:{port}/postgres"),
            vec!["the password of sam is wrong", "localhost"],
        ),
        (
            format!("postgres://latchkey:tell-nobody@localhost:{port}/nowhere"),
            vec!["no database nowhere", &no_database],
        ),
        (format!("postgres://eve:tell-nobody@localhost:{port}/postgres"), vec!["eve", "does not exist"]),
        (
            "postgres://sam:tell-nobody@localhost/latchkey?host=/no/such/socket".to_owned(),
            vec!["/no/such/socket", "start PostgreSQL"],
        ),
    ] {
        let settings = [
            ("LATCHKEY_DATABASE_URL", url.as_str()),
            ("LATCHKEY_SECRET", SECRET),
            ("LATCHKEY_DATABASE_TLS", "unverified"),
        ];
        for arguments in [&["serve"][..], &["user", "list"]] {
            let began = Instant::now();
            let ran = try_to_serve(Process::new(&settings).command(arguments));
            assert!(began.elapsed() < Duration::from_secs(5), "{url}: {:?}", began.elapsed());
            assert_eq!((ran.code, ran.err.lines().count()), (Some(1), 1), "{url}: {ran:?}");
            assert!(ran.err.contains("LATCHKEY_DATABASE_URL: ") && !ran.err.contains("tell-nobody"), "{url}: {ran:?}");
            for word in &words {
                assert_eq!(ran.err.matches(*word).count(), 1, "{word}, once: {ran:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_database_of_a_newer_latchkey_is_refused() {
    let cluster = Cluster::start().await;
    let in_a_file = Process::on_sqlite(&[]);
    let file = format!("sqlite://{}", in_a_file.path("data/latchkey.db").display());
    for (process, url) in [(&in_a_file, &file), (&cluster.process(""), &cluster.url)] {
        assert_eq!(process.run(&["migrate"]).code, Some(0));
        let step = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m29991231_000001_later', 0)";
        Db::open(&url.parse().unwrap()).await.unwrap().write().execute_unprepared(step).await.unwrap();
        for arguments in [&["serve"][..], &["migrate"], &["user", "list"]] {
            let ran = try_to_serve(process.command(arguments));
            assert_eq!((ran.code, ran.out.as_str(), ran.err.lines().count()), (Some(1), "", 1), "{ran:?}");
            for words in [
                "LATCHKEY_DATABASE_URL: ",
                "a newer Latchkey has changed this database",
                "m29991231_000001_later",
                "restore",
            ] {
                assert_eq!(ran.err.matches(words).count(), 1, "{words}: {ran:?}");
            }
        }
    }
}
