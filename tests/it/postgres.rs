//! PostgreSQL: each test has a temporary cluster, and servers that share its database.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::{join_all, try_join_all};
use latchkey::accounts::link::reset_token;
use latchkey::accounts::outbox;
use latchkey::clock::Clock;
use sea_orm::ConnectionTrait;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::OTTER;
use crate::cluster::{Cluster, SECRET, WAITING, count, until_locked_out};
use crate::database::give_up_after;
use crate::process::{Process, confirm, free_port, sign_up, try_to_serve, until};
use crate::smtp::make_certificate;

const HERONS: &str = "seven herons paint slowly";
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
    // A command makes no tables.
    for _ in 0..2 {
        let ran = process.run(&["user", "list"]);
        assert!(ran.code == Some(1) && ran.err.contains("tables of this version"), "{ran:?}");
    }
    assert_eq!(fs::read_dir(process.dir.path()).unwrap().count(), 0);
    process.done(&["migrate"]);
    let create = ["user", "create", "dora@example.com", "dora"];
    let ran = process.run(&create);
    assert!(ran.code == Some(1) && ran.err.contains("LATCHKEY_PUBLIC_URL must be given"), "{ran:?}");

    process.start().await;
    let link = process.done(&create).lines().last().unwrap().to_owned();
    assert!(process.run(&create).err.contains("has an account already"), "the unique column judges");
    let mut dora = process.browser();
    assert_eq!(dora.reset(&link, OTTER).await.path, "/login");
    assert_eq!(dora.log_in("dora", OTTER).await.path, "/profile");
    process.user("sam", OTTER).await;
    let taken = process.run(&["user", "set-email", "dora", "sam@example.com"]);
    assert!(taken.code == Some(1) && taken.err.contains("has an account already"), "{taken:?}");
    process.done(&["user", "set-email", "dora", "doris@example.com"]);
    assert!(dora.is_logged_in().await);
    process.done(&["user", "disable", "doris@example.com"]);
    assert!(!dora.is_logged_in().await);
    assert_eq!(dora.log_in("dora", OTTER).await.status, 422);
    process.done(&["user", "enable", "dora"]);
    assert_eq!(dora.log_in("dora", OTTER).await.path, "/profile");
    process.done(&["user", "log-out", "dora"]);
    assert!(!dora.is_logged_in().await);
    assert_eq!(process.done(&["user", "events", "dora"]).lines().count(), 9);
}

const ALIVE: &str = "SELECT count(*) FROM reset_tokens WHERE used_at IS NULL";

#[tokio::test]
async fn a_reset_kills_a_link_that_is_made_while_it_waits_for_the_user() {
    let cluster = Cluster::start().await;
    let mut process = cluster.process("");
    process.start().await;
    process.user("sam", OTTER).await;
    let link = process.run(&["user", "reset-link", "sam"]).out.trim().to_owned();
    let db = cluster.db().await;

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
    let db = cluster.db().await;

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

/// Two links of one address: an email that was sent twice has two, and a user may open both.
#[tokio::test]
async fn two_confirmations_of_one_address_at_once_do_not_wait_for_each_other() {
    let cluster = Cluster::start().await;
    let mut process = cluster.process("");
    process.start().await;
    let mut browsers = [process.browser(), process.browser()];
    for (n, browser) in browsers.iter_mut().enumerate() {
        sign_up(browser, "sam", OTTER).await;
        process.link("sam@example.com", n + 1).await;
    }
    let letters = process.letters("sam@example.com").await;
    let db = cluster.db().await;
    // Another transaction has the address, so both wait for it.
    let tx = db.begin().await.unwrap();
    let insert = "INSERT INTO users (id, email, email_canonical, username, username_canonical, full_name, hashed_password, \
                  created_at, updated_at) SELECT id, email, email_canonical, 'other', 'other', '', '', now(), now() \
                  FROM pending_signups LIMIT 1";
    tx.execute_unprepared(insert).await.unwrap();
    // Each browser opens the link of its own sign-up: the newest letter is the first.
    let links = [letters[1].links[0].clone(), letters[0].links[0].clone()];
    let confirmations = browsers
        .into_iter()
        .zip(links)
        .map(|(mut browser, link)| tokio::spawn(async move { confirm(&mut browser, &link).await.status.as_u16() }));
    let confirmations: Vec<_> = confirmations.collect();
    until_locked_out(&db, 2).await;
    tx.rollback().await.unwrap();
    let mut answers: Vec<_> = join_all(confirmations).await.into_iter().map(|answer| answer.unwrap()).collect();
    answers.sort_unstable();
    assert_eq!(answers, [200, 410]);
}

#[tokio::test]
async fn a_log_out_and_the_deletion_of_its_user_do_not_wait_for_each_other() {
    let cluster = Cluster::start().await;
    let mut process = cluster.process("");
    process.start().await;
    let mut sam = process.user("sam", OTTER).await;
    let db = cluster.db().await;
    let tx = db.begin().await.unwrap();
    // The log-out stops between the end of the session and its event.
    tx.execute_unprepared("LOCK TABLE events IN EXCLUSIVE MODE").await.unwrap();
    let log_out = tokio::spawn(async move { sam.post("/logout", &[("", "")]).await.status.as_u16() });
    until_locked_out(&db, 1).await;
    let mut delete = process.command(&["user", "delete", "sam", "--yes"]);
    let mut delete = delete.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until_locked_out(&db, 2).await;
    tx.commit().await.unwrap();
    assert_eq!(log_out.await.unwrap(), 303);
    assert!(delete.wait().unwrap().success());
}

#[tokio::test]
async fn a_guess_and_the_log_in_that_forgives_failures_do_not_wait_for_each_other() {
    let cluster = Cluster::start().await;
    let mut process = cluster.process("");
    process.start().await;
    process.user("sam", OTTER).await;
    assert_eq!(process.browser().log_in("sam", "wrong").await.status, 422);
    let db = cluster.db().await;
    let log_in = |password: &'static str| {
        let mut browser = process.browser();
        tokio::spawn(async move { browser.log_in("sam", password).await })
    };

    // The log-in stops when the password was right, and then both meet at the counters of sam.
    let user = db.begin().await.unwrap();
    user.execute_unprepared("SELECT 1 FROM users FOR UPDATE").await.unwrap();
    let right = log_in(OTTER);
    until_locked_out(&db, 1).await;
    let counters = db.begin().await.unwrap();
    counters.execute_unprepared("SELECT 1 FROM limits FOR UPDATE").await.unwrap();
    let wrong = log_in("wrong");
    until_locked_out(&db, 2).await;
    user.commit().await.unwrap();
    let both = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%\"limits\"%'";
    until("both wait", async || (count(&db, both).await == 2).then_some(())).await;
    counters.commit().await.unwrap();
    assert_eq!((right.await.unwrap().path.as_str(), wrong.await.unwrap().status.as_u16()), ("/profile", 422));
}

#[tokio::test]
async fn a_guess_that_has_read_the_counters_before_a_reset_does_not_bring_them_back() {
    let cluster = Cluster::start().await;
    let mut process = cluster.process("");
    process.start().await;
    process.user("sam", OTTER).await;
    let link = process.run(&["user", "reset-link", "sam"]).out.trim().to_owned();
    assert_eq!(process.browser().log_in("sam", "wrong").await.status, 422);
    let db = cluster.db().await;
    let counters = db.begin().await.unwrap();
    counters.execute_unprepared("SELECT 1 FROM limits FOR UPDATE").await.unwrap();
    let (mut owner, mut stranger) = (process.browser(), process.browser());
    let reset = tokio::spawn(async move { owner.reset(&link, HERONS).await.path });
    until_locked_out(&db, 1).await;
    let guess = tokio::spawn(async move { stranger.log_in("sam", "wrong").await.status });
    until_locked_out(&db, 2).await;
    counters.commit().await.unwrap();
    assert_eq!((reset.await.unwrap().as_str(), guess.await.unwrap().as_u16()), ("/login", 422));
    assert_eq!(count(&db, "SELECT max(misses)::bigint FROM limits").await, 1);
}

/// A request ends at any of its awaits when its client goes. A connection that is still in its transaction then would take in
/// what others write, answer "done", and lose it.
#[tokio::test]
async fn a_transaction_that_is_given_up_as_it_begins_ends() {
    const CONNECTIONS: usize = 16;
    let cluster = Cluster::start().await;
    let (db, other) = (cluster.db().await, cluster.db().await);
    db.write().execute_unprepared("CREATE TABLE written (n integer)").await.unwrap();
    for steps in 1..=4 {
        give_up_after(steps, db.begin()).await;
        // Each connection of the pool writes one row.
        let write = |_| db.write().execute_unprepared("INSERT INTO written SELECT 1 FROM pg_sleep(0.2)");
        try_join_all((0..CONNECTIONS).map(write)).await.unwrap();
        assert_eq!(count(&other, "SELECT count(*) FROM written").await, (CONNECTIONS * steps) as i64);
    }
}

/// The sweeper and an owner's transaction may meet the same rows in different orders.
#[tokio::test]
async fn the_sweeper_leaves_rows_that_are_locked_for_the_next_time() {
    let cluster = Cluster::start().await;
    let mut process = cluster.process("");
    process.start().await;
    process.user("sam", OTTER).await;
    process.run(&["user", "reset-link", "sam"]);
    process.run(&["user", "reset-link", "sam"]);
    let db = cluster.db().await;
    let tx = db.begin().await.unwrap();
    tx.execute_unprepared("SELECT 1 FROM reset_tokens ORDER BY id LIMIT 1 FOR UPDATE").await.unwrap();
    let later = Clock::default().now() + time::Duration::hours(2);
    let sweep = async || timeout(Duration::from_secs(5), reset_token::sweep(db.write(), later)).await.unwrap().unwrap();
    assert_eq!(sweep().await, 1);
    tx.commit().await.unwrap();
    assert_eq!(sweep().await, 1);
}

#[tokio::test]
async fn a_postman_leaves_letters_that_another_node_changes() {
    let cluster = Cluster::start().await;
    let mut process = cluster.process("");
    process.start().await;
    process.user("sam", OTTER).await;
    process.user("ada", OTTER).await;
    process.stop().await;
    let (db, now) = (cluster.db().await, Clock::default().now());
    db.write().execute_unprepared("UPDATE outbox SET state = 'waiting', priority = 0").await.unwrap();
    let tx = db.begin().await.unwrap();
    tx.execute_unprepared("SELECT 1 FROM outbox ORDER BY id LIMIT 1 FOR UPDATE").await.unwrap();
    let in_time = Duration::from_secs(5);
    timeout(in_time, outbox::lease(&db, now)).await.expect("no wait for the other node").unwrap();
    let sorted = "SELECT count(*) FROM outbox WHERE priority <> 0";
    assert_eq!(count(&db, sorted).await, 1);
    db.write().execute_unprepared("UPDATE outbox SET leased_until = NULL WHERE priority <> 0").await.unwrap();
    let pause = time::Duration::minutes(1);
    let put_off = async || timeout(in_time, outbox::put_off_due(db.write(), "no answer", pause, now)).await;
    assert_eq!(put_off().await.expect("no wait for the other node").unwrap().waiting, 1);
    tx.commit().await.unwrap();
    assert_eq!(put_off().await.unwrap().unwrap().waiting, 1);
}

#[tokio::test]
async fn a_database_that_crashes_and_comes_back_is_503_meanwhile_and_no_user_is_logged_out() {
    let mut cluster = Cluster::start().await;
    let mut process = cluster.process("");
    process.start().await;
    let mut sam = process.user("sam", OTTER).await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|n| {
            let (mut client, mut owner, stop) = (process.browser(), sam.clone(), stop.clone());
            tokio::spawn(async move {
                let mut answers = vec![];
                while !stop.load(Ordering::Relaxed) {
                    answers.push(match n {
                        0 => client.post("/token", &[("username", "sam"), ("password", OTTER)]).await.status.as_u16(),
                        // Not so often that the honest reset in the end is refused.
                        1 if answers.len() < 10 => {
                            client.post("/forgot-password", &[("email", "ada@example.com")]).await.status.as_u16()
                        }
                        _ => owner.open("/profile").await.status.as_u16(),
                    });
                }
                answers
            })
        })
        .collect();
    for _ in 0..3 {
        let db = cluster.db().await;
        let tx = db.begin().await.unwrap();
        tx.execute_unprepared("LOCK TABLE users IN ACCESS EXCLUSIVE MODE").await.unwrap();
        until("a request is in the middle", async || (count(&db, WAITING).await > 0).then_some(())).await;
        cluster.stop_at_once();
        sleep(Duration::from_millis(300)).await; // and some of them meet no server at all
        cluster.start_again().await;
    }
    until("it serves again", async || (sam.open("/profile").await.status == 200).then_some(())).await;
    stop.store(true, Ordering::Relaxed);
    let answers: Vec<_> = join_all(clients).await.into_iter().flat_map(|answers| answers.unwrap()).collect();
    let odd: Vec<_> = answers.iter().filter(|status| ![200, 303, 429, 503].contains(*status)).collect();
    assert!(odd.is_empty() && answers.contains(&503), "{odd:?} of {} answers", answers.len());
    assert_eq!(process.browser().log_in("sam", OTTER).await.path, "/profile");
    let link = process.letters("sam@example.com").await.len();
    process.browser().ask_reset("sam@example.com").await;
    process.link("sam@example.com", link + 1).await;
}

#[tokio::test]
async fn both_schemes_name_a_postgresql_server() {
    let cluster = Cluster::start().await;
    let url = cluster.url.replace("postgres:", "postgresql:");
    let process = Process::new(&[("LATCHKEY_DATABASE_URL", &url), ("LATCHKEY_SECRET", SECRET)]);
    let ran = try_to_serve(process.command(&["serve"]));
    assert!(ran.out.contains("is ready"), "{ran:?}");
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

/// Carries connections to PostgreSQL, until those that are open are frozen: nothing comes through any more, and neither end is
/// told. This is what a loss of power or a firewall does.
struct Line {
    port: u16,
    freeze: watch::Sender<()>,
}

impl Line {
    async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = listener.local_addr().unwrap().port();
        let (freeze, frozen) = watch::channel(());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut frozen = frozen.clone();
                frozen.mark_unchanged();
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(("localhost", port)).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = frozen.changed() => std::future::pending().await,
                    }
                });
            }
        });
        Self { port: ours, freeze }
    }
}

#[tokio::test]
async fn connections_that_die_without_a_word_stop_neither_requests_nor_emails() {
    let cluster = Cluster::start().await;
    let line = Line::to(cluster.port).await;
    let url = format!("postgres://latchkey@localhost:{}/postgres", line.port);
    let settings =
        [("LATCHKEY_DATABASE_URL", url.as_str()), ("LATCHKEY_SECRET", SECRET), ("LATCHKEY_DRAIN_SECONDS", "0")];
    let mut process = Process::new(&settings);
    process.start().await;
    let mut sam = process.user("sam", OTTER).await;
    let db = cluster.db().await;
    let tx = db.begin().await.unwrap();
    tx.execute_unprepared("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE").await.unwrap();
    until("the postman has a statement under way", async || (count(&db, WAITING).await > 0).then_some(())).await;
    line.freeze.send(()).unwrap();
    tx.commit().await.unwrap();
    until("a page is served", async || sam.is_logged_in().await.then_some(())).await;
    process.browser().ask_reset("sam@example.com").await;
    process.link("sam@example.com", 2).await;
    process.stop().await;
}
