//! Several servers on one PostgreSQL database, behind a load balancer without sticky sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use latchkey::accounts::operator;
use latchkey::accounts::outbox::{self, ActiveModel, Entity, LetterState, OutboxRow};
use latchkey::accounts::signing_key::SigningAlgorithm;
use latchkey::accounts::user;
use latchkey::chance;
use latchkey::db::{Alone, Db};
use latchkey::replay_store::{ReplayStore, Turn};
use reqwest::{Client, Method, redirect};
use rustix::process::{Pid, Signal, kill_process};
use sea_orm::{ActiveModelTrait, ConnectionTrait, DbBackend, EntityTrait, IntoActiveModel, Statement};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::app::TestApp;
use crate::authorize::Wiki;
use crate::browser::{Browser, Form, Page};
use crate::cluster::{Cluster, SECRET, count};
use crate::process::{Process, SLOW, confirm, free_port, sign_up, try_to_serve, until};
use crate::shown_token::introspect;
use crate::smtp::MailServer;
use crate::tokens::{lasting, made_up, refresh, tokens, userinfo};
use crate::{HERON, OTTER, changes};

/// Two servers and their load balancer.
struct Site {
    _cluster: Cluster,
    nodes: [Process; 2],
    turn: Arc<AtomicUsize>,
    db: Db,
}

impl Site {
    async fn start(more: &[(&str, &str)]) -> Self {
        let cluster = Cluster::start().await;
        let ports = [free_port(), free_port()];
        let (url, turn) = balance(ports).await;
        // Both put emails into one mailbox, which either shows.
        let shared = cluster.dir.path().join("latchkey").display().to_string();
        let nodes = ports.map(|port| {
            let listen = format!("127.0.0.1:{port}");
            let ours = [("LATCHKEY_LISTEN", &*listen), ("LATCHKEY_PUBLIC_URL", &*url), ("LATCHKEY_DATA_DIR", &*shared)];
            cluster.node("", &[&ours, more].concat())
        });
        let db = Db::open(&cluster.url.parse().unwrap()).await.unwrap();
        let mut site = Self { _cluster: cluster, nodes, turn, db };
        join_all(site.nodes.iter_mut().map(Process::start)).await;
        site
    }

    /// Returns a browser of which each request comes to the other node than the one before.
    fn browser(&self) -> Browser {
        let client = Client::builder().redirect(redirect::Policy::none()).pool_max_idle_per_host(0).build().unwrap();
        Browser::over(client, &self.nodes[0].url)
    }

    /// Sends the next request to this node.
    fn turn_to(&self, node: usize) {
        self.turn.store(node, Ordering::SeqCst);
    }

    async fn user(&self, name: &str) -> Browser {
        let mut browser = self.browser();
        sign_up(&mut browser, name, OTTER).await;
        let page = confirm(&mut browser, &self.nodes[0].link(&format!("{name}@example.com"), 1).await).await;
        assert_eq!(page.path, "/profile", "{}", page.html);
        browser
    }

    async fn count(&self, query: &str) -> i64 {
        count(&self.db, query).await
    }

    /// Submits the same form to both nodes at the same moment, and to each once more. Returns the answer, which all of them
    /// must be.
    async fn submit_to_all(&self, browser: &mut Browser, form: &Form) -> Page {
        let mut others = [browser.clone(), browser.clone(), browser.clone()];
        let [second, third, fourth] = &mut others;
        let (first, same) =
            tokio::join!(browser.post(&form.action, &form.fields), second.post(&form.action, &form.fields));
        let late = [third.post(&form.action, &form.fields).await, fourth.post(&form.action, &form.fields).await];
        for page in [&same].into_iter().chain(&late) {
            assert_eq!(page.status, first.status, "{}: {}", form.action, page.html);
            assert_eq!(page.headers.get("location"), first.headers.get("location"), "{}", form.action);
        }
        for other in others {
            assert_eq!(other.cookies, browser.cookies, "{}: the same session", form.action);
        }
        first
    }
}

/// Starts a load balancer, which leads each connection to the other node than the one before. Returns its address, and the
/// turn.
async fn balance(ports: [u16; 2]) -> (String, Arc<AtomicUsize>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://localhost:{}", socket.local_addr().unwrap().port());
    let turn = Arc::new(AtomicUsize::new(0));
    let next = turn.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = socket.accept().await {
            let port = ports[next.fetch_add(1, Ordering::SeqCst) % 2];
            tokio::spawn(async move {
                if let Ok(mut node) = TcpStream::connect(("127.0.0.1", port)).await {
                    let _ = copy_bidirectional(&mut client, &mut node).await; // an error ends the connection
                }
            });
        }
    });
    (url, turn)
}

/// Asserts that a browser is logged in, or that it is not, at both nodes.
async fn assert_at_both(browser: &mut Browser, logged_in: bool) {
    for _ in 0..2 {
        // One request each, which would lead to the log-in.
        let page = browser.send(Method::GET, "/profile", |request| request).await;
        assert_eq!(page.status == 200, logged_in, "{}", page.status);
    }
}

#[tokio::test]
async fn a_whole_life_works_with_each_request_at_the_other_node() {
    let site = Site::start(&[]).await;
    let mut sam = site.user("sam").await;
    assert_at_both(&mut sam, true).await;
    // The form comes to one node, and the page with the flash to the other.
    let form = sam.open("/profile/name").await.form("/profile/name").fill("full_name", "Sam Smith");
    assert!(!sam.submit(form).await.flash().is_empty());
    let mut phone = site.browser();
    assert_eq!(phone.log_in("sam", OTTER).await.path, "/profile");
    site.nodes[0].link("sam@example.com", 2).await;

    let form = sam.open("/profile/security").await.form("/profile/security/log-out").fill("others", "1");
    sam.submit(form).await;
    assert_at_both(&mut phone, false).await;
    assert_at_both(&mut sam, true).await;
    assert_eq!(phone.log_in("sam", OTTER).await.path, "/profile");
    sam.log_out().await;
    assert_at_both(&mut sam, false).await;
    // The browser is known at both nodes, so there is no email about it.
    assert_eq!(sam.log_in("sam", OTTER).await.path, "/profile");

    // What strangers may guess at a name is counted once for both nodes.
    let mut eve = site.browser();
    // There are five, of which the phone has used two: it was a stranger each time.
    for guess in 0..3 {
        assert_eq!(eve.log_in("sam", "wrong").await.status, 422, "guess {guess}");
    }
    assert_eq!(eve.log_in("sam", OTTER).await.status, 429);
    eve.ask_reset("sam@example.com").await;
    let is_reset = |link: &String| link.contains("/reset-password");
    let link = until("the reset link", async || {
        let letters = site.nodes[0].letters("sam@example.com").await;
        letters.into_iter().find_map(|letter| letter.links.into_iter().find(is_reset))
    });
    let link = link.await;
    assert_eq!(eve.reset(&link, HERON).await.path, "/login");
    for browser in [&mut sam, &mut phone] {
        assert_at_both(browser, false).await;
    }
    for _ in 0..2 {
        assert_eq!(eve.open(&link).await.status, 410);
    }
    assert_eq!(sam.log_in("sam", HERON).await.path, "/profile");
}

#[tokio::test]
async fn the_same_form_at_two_nodes_has_one_effect_and_one_answer() {
    let site = Site::start(&[]).await;
    let mut sam = site.browser();
    sign_up(&mut sam, "sam", OTTER).await;
    let link = site.nodes[0].link("sam@example.com", 1).await;
    let form = sam.open(&link).await.form("/signup/confirm");
    assert_eq!(site.submit_to_all(&mut sam, &form).await.headers["location"], "/profile");
    assert_at_both(&mut sam, true).await;
    assert_eq!(site.count("SELECT count(*) FROM users").await, 1);
    assert_eq!(site.count("SELECT count(*) FROM sessions").await, 1);

    let form = sam.open("/profile/name").await.form("/profile/name").fill("full_name", "Sam Smith");
    assert_eq!(site.submit_to_all(&mut sam, &form).await.status, 303);
    let mut phone = site.browser();
    let form = phone.open("/login").await.form("/login").fill("login", "sam").fill("password", OTTER);
    assert_eq!(site.submit_to_all(&mut phone, &form).await.headers["location"], "/profile");
    assert_at_both(&mut phone, true).await;
    assert_eq!(site.count("SELECT count(*) FROM sessions").await, 2);

    let form = phone.open("/forgot-password").await.form("/forgot-password").fill("email", "sam@example.com");
    assert_eq!(site.submit_to_all(&mut phone, &form).await.status, 303);
    assert_eq!(site.count("SELECT count(*) FROM outbox WHERE letter = 'reset_password'").await, 1);
    let link = until("the reset link", async || {
        let letters = site.nodes[0].letters("sam@example.com").await;
        letters.into_iter().find_map(|letter| letter.links.into_iter().find(|link| link.contains("/reset-password")))
    });
    let form = phone.open(&link.await).await.form("/reset-password").fill("password", HERON);
    assert_eq!(site.submit_to_all(&mut phone, &form).await.headers["location"], "/login");
    assert_eq!(site.count("SELECT count(*) FROM reset_tokens WHERE used_at IS NOT NULL").await, 1);
    assert_eq!(site.count("SELECT count(*) FROM events WHERE kind = 'reset_done'").await, 1);
    assert_eq!(phone.log_in("sam", HERON).await.path, "/profile");

    // A thief of the database finds no cookie and no address there.
    let kept = "FROM replays WHERE response IS NOT NULL";
    assert!(site.count(&format!("SELECT count(*) {kept}")).await > 0);
    let plain = "position('latchkey' IN encode(response, 'escape')) > 0 OR position('location' IN encode(response, 'escape')) > 0";
    assert_eq!(site.count(&format!("SELECT count(*) {kept} AND ({plain})")).await, 0);
    until("what has expired is deleted", async || {
        (site.count("SELECT count(*) FROM replays").await == 0).then_some(())
    })
    .await;
    // A form that failed may be sent again, and leaves nothing.
    let mut eve = site.browser();
    let form = eve.open("/login").await.form("/login").fill("login", "sam").fill("password", "wrong");
    let began = Instant::now();
    assert_eq!(site.submit_to_all(&mut eve, &form).await.status, 422);
    assert!(began.elapsed() < Duration::from_secs(4), "none waits for the end of a lease: {:?}", began.elapsed());
    until("the forms are given back", async || (site.count("SELECT count(*) FROM replays").await == 0).then_some(()))
        .await;
}

#[tokio::test]
async fn a_form_whose_node_dies_is_answered_by_another_node() {
    let site = Site::start(&SLOW).await;
    site.user("sam").await;
    let mut sam = site.browser();
    let form = sam.open("/login").await.form("/login").fill("login", "sam").fill("password", OTTER);
    let begin = |node| {
        site.turn_to(node);
        let (mut browser, form) = (sam.clone(), form.clone());
        tokio::spawn(async move { browser.post(&form.action, &form.fields).await })
    };
    let first = begin(0);
    let taken = async || (site.count("SELECT count(*) FROM replays WHERE response IS NULL").await == 1).then_some(());
    until("the first node has the form", taken).await;
    let second = begin(1);
    let dying = site.nodes[0].id();
    kill_process(Pid::from_raw(dying.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    let began = Instant::now();
    assert!(first.await.is_err(), "its connection broke");
    let page = second.await.unwrap();
    assert_eq!((page.status.as_u16(), &page.headers["location"]), (303, &"/profile".parse().unwrap()));
    assert!(began.elapsed() < Duration::from_secs(20), "a lease and a hash: {:?}", began.elapsed());
    assert_eq!(site.count("SELECT count(*) FROM sessions").await, 2, "the one of the sign-up, and this one");
}

#[tokio::test]
async fn a_form_stays_with_its_node_for_as_long_as_the_node_works_on_it() {
    let cluster = Cluster::start().await;
    let db = Db::open(&cluster.url.parse().unwrap()).await.unwrap();
    db.migrate().await.unwrap();
    let secret = SECRET.parse().unwrap();
    let [ours, theirs] = [(), ()].map(|()| ReplayStore::new(&db, &secret).unwrap());
    let form = [7; 32];
    let Turn::Ours(claim) = ours.claim(&form).await.unwrap() else { panic!("no other node has it") };
    let work = async {
        claim.hold(tokio::time::sleep(Duration::from_secs(6))).await; // longer than one lease
        claim.answer("the answer").await;
    };
    let (theirs, ()) = tokio::join!(theirs.claim(&form), work);
    assert!(matches!(theirs.unwrap(), Turn::Answered(text) if text == "the answer"));
}

#[tokio::test]
async fn two_nodes_let_a_client_attempt_about_as_much_as_one() {
    let metrics = [free_port(), free_port()];
    let cluster = Cluster::start().await;
    let mut nodes = metrics.map(|port| cluster.node("", &[("LATCHKEY_METRICS_LISTEN", &format!("127.0.0.1:{port}"))]));
    join_all(nodes.iter_mut().map(Process::start)).await;
    for node in &nodes {
        let both = async || (node.metric("latchkey_nodes").await == 2.0).then_some(());
        until("each knows of the other", both).await;
    }
    let mut admitted = 0;
    for node in &nodes {
        let mut eve = node.browser();
        for guess in 0..40 {
            let page = eve.post("/login", &[("login", &*format!("user{guess}")), ("password", "wrong")]).await;
            admitted += usize::from(page.status == 422);
        }
    }
    assert!((30..=33).contains(&admitted), "{admitted} of 80; one node admits 30");
    for mut node in nodes {
        node.stop().await;
    }
    let db = Db::open(&cluster.url.parse().unwrap()).await.unwrap();
    assert_eq!(count(&db, "SELECT count(*) FROM nodes").await, 0, "a node that stops says so");
}

/// Writes letters that wait.
async fn write_letters(db: &Db, like: &OutboxRow, number: usize) {
    let rows = (0..number).map(|_| {
        let waits = (LetterState::Waiting, 0, None, None);
        let mut row = OutboxRow { id: chance::id(), ..like.clone() };
        (row.state, row.attempts, row.sent_at, row.leased_until) = waits;
        row.into_active_model().reset_all()
    });
    Entity::insert_many(rows.collect::<Vec<ActiveModel>>()).exec_without_returning(db.write()).await.unwrap();
}

#[tokio::test]
async fn two_nodes_send_each_of_many_letters_once() {
    let cluster = Cluster::start().await;
    let mut nodes = [cluster.node("", &[]), cluster.node("", &[])];
    nodes[0].start().await;
    sign_up(&mut nodes[0].browser(), "sam", OTTER).await;
    nodes[0].link("sam@example.com", 1).await;
    nodes[0].stop().await;
    let db = Db::open(&cluster.url.parse().unwrap()).await.unwrap();
    let like = Entity::find().one(db.read()).await.unwrap().unwrap();
    write_letters(&db, &like, 300).await;
    let (now, race) = (latchkey::clock::Clock::default().now(), 0..16);
    let postman = async || {
        let mut taken = vec![];
        while let Some(row) = outbox::lease(&db, now).await.unwrap()
            && taken.len() < 300
        {
            taken.push(row.id);
        }
        taken
    };
    let mut taken = join_all(race.map(|_| postman())).await.concat();
    assert_eq!(taken.len(), 300, "each is taken once");
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken.len(), 300);
    db.write().execute_unprepared("DELETE FROM outbox WHERE state = 'waiting'").await.unwrap();

    write_letters(&db, &like, 400).await;
    join_all(nodes.iter_mut().map(Process::start)).await;
    let waiting = "SELECT count(*) FROM outbox WHERE state = 'waiting'";
    until("all are sent", async || (count(&db, waiting).await == 0).then_some(())).await;
    let mut sent = vec![];
    for node in &nodes {
        sent.push(node.letters("sam@example.com").await.len());
    }
    assert_eq!(sent.iter().sum::<usize>(), 401, "{sent:?}");
    assert!(sent.iter().all(|sent| *sent > 50), "both had work to do: {sent:?}");
    assert_eq!(count(&db, "SELECT count(*) FROM outbox WHERE attempts <> 1").await, 0);
}

#[tokio::test]
async fn a_letter_whose_node_was_killed_is_sent_by_another_node_after_its_lease() {
    let cluster = Cluster::start().await;
    // A mail server that takes the letter and says nothing.
    let silent = MailServer::start_with(&["silent", "--times", "1"]).await;
    let smtp = format!("smtp://127.0.0.1:{}", silent.port);
    let mut dying = cluster.node("", &[("LATCHKEY_SMTP_URL", &smtp), ("LATCHKEY_MAIL_FROM", "a@example.com")]);
    dying.start().await;
    sign_up(&mut dying.browser(), "sam", OTTER).await;
    let db = Db::open(&cluster.url.parse().unwrap()).await.unwrap();
    let leased = "SELECT count(*) FROM outbox WHERE leased_until IS NOT NULL";
    until("the letter is being sent", async || (count(&db, leased).await == 1).then_some(())).await;
    dying.kill();

    let dir = Arc::new(tempfile::tempdir().unwrap());
    let app = TestApp::start_in(dir, &["--database-url", &cluster.url, "--secret", SECRET]).await;
    assert!(outbox::lease(&app.app.db, app.app.now()).await.unwrap().is_none(), "another postman may be at it");
    app.app.clock.advance(outbox::LEASE);
    let began = Instant::now();
    app.letters_to("sam@example.com", 1).await;
    assert!(began.elapsed() < Duration::from_secs(6), "it looks every five seconds: {:?}", began.elapsed());
}

#[tokio::test]
async fn a_node_that_stops_tells_load_balancers_first_and_serves_meanwhile() {
    let cluster = Cluster::start().await;
    let mut node = cluster.node("", &[("LATCHKEY_DRAIN_SECONDS", "2")]);
    node.start().await;
    let mut sam = node.user("sam", OTTER).await;
    let ready = sam.send(Method::GET, "/readyz", |request| request).await;
    assert_eq!((ready.status.as_u16(), ready.html.as_str(), ready.headers.get("connection")), (200, "ready\n", None));
    let began = Instant::now();
    node.terminate();
    let red = async || Some(sam.open("/readyz").await).filter(|page| page.status == 503);
    assert_eq!(until("it is not ready", red).await.html, "stopping\n");
    assert_eq!(sam.open("/healthz").await.status, 200);
    let page = sam.open("/profile").await;
    assert_eq!((page.path.as_str(), &page.headers["connection"]), ("/profile", &"close".parse().unwrap()));
    let form = page.form("/logout");
    assert_eq!(sam.submit(form).await.status, 200, "forms too");
    assert_eq!(node.ended().await.code(), Some(0), "{}", node.log());
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    // An operator at a terminal does not wait, and neither does a second SIGTERM.
    for signals in [&[Signal::INT][..], &[Signal::TERM, Signal::TERM]] {
        node.start().await;
        let (began, mut browser) = (Instant::now(), node.browser());
        for (sent, signal) in signals.iter().enumerate() {
            let seen = async || (sent == 0 || browser.open("/readyz").await.status == 503).then_some(());
            until("the signal before is seen", seen).await;
            kill_process(Pid::from_raw(node.id().try_into().unwrap()).unwrap(), *signal).unwrap();
        }
        assert_eq!(node.ended().await.code(), Some(0));
        assert!(began.elapsed() < Duration::from_secs(2), "{signals:?}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn one_node_sweeps_at_a_time_and_each_compares_its_clock_with_the_database() {
    let cluster = Cluster::start().await;
    let open = async || Db::open(&cluster.url.parse().unwrap()).await.unwrap();
    let (ours, theirs) = (open().await, open().await);
    let lock = ours.try_lock(Alone::Sweeping).await.unwrap();
    assert!(lock.is_some());
    assert!(theirs.try_lock(Alone::Sweeping).await.unwrap().is_none());
    assert!(theirs.try_lock(Alone::Migrating).await.unwrap().is_some(), "another lock");
    drop(lock);
    until("the lock has ended", async || theirs.try_lock(Alone::Sweeping).await.unwrap()).await;

    ours.migrate().await.unwrap();
    let node = latchkey::nodes::Node::new(&ours).unwrap();
    let now = latchkey::clock::Clock::default().now();
    let beat = node.beat(now - time::Duration::seconds(60)).await.unwrap();
    assert!((60..62).contains(&beat.database_ahead.whole_seconds()), "{beat:?}");
    assert_eq!(beat.nodes, 1);
    assert_eq!(latchkey::nodes::Node::new(&theirs).unwrap().beat(now).await.unwrap().nodes, 2);
    ours.write().execute_unprepared("UPDATE nodes SET seen_at = seen_at - interval '21 seconds'").await.unwrap();
    assert_eq!(node.beat(now).await.unwrap().nodes, 1, "the other one is gone");
}

#[tokio::test]
async fn a_database_that_a_newer_latchkey_has_added_to_is_used_and_one_that_it_has_broken_is_refused() {
    let cluster = Cluster::start().await;
    let in_a_file = Process::on_sqlite(&[]);
    let file = format!("sqlite://{}", in_a_file.path("data/latchkey.db").display());
    for (process, url) in [(&in_a_file, &file), (&cluster.node("", &[]), &cluster.url)] {
        assert_eq!(process.run(&["migrate"]).code, Some(0));
        let db = Db::open(&url.parse().unwrap()).await.unwrap();
        let add = async |step: &str| {
            let step = format!("INSERT INTO seaql_migrations (version, applied_at) VALUES ('{step}', 0)");
            db.write().execute_unprepared(&step).await.unwrap();
        };
        add("m29991231_000001_later").await;
        let served = try_to_serve(process.command(&["serve"]));
        assert!(served.out.contains("is ready"), "{served:?}");
        for ran in [served, process.run(&["migrate"]), process.run(&["user", "list"])] {
            assert_ne!(ran.code, Some(1), "{ran:?}");
            let warned =
                ran.err.lines().filter(|line| line.contains("a newer Latchkey has changed this database")).count();
            assert!(warned == 1 && ran.err.contains("m29991231_000001_later"), "{ran:?}");
        }
        let last = "DELETE FROM seaql_migrations WHERE version LIKE '%not_me_links'";
        db.write().execute_unprepared(last).await.unwrap();
        let ran = process.run(&["migrate"]);
        assert!(ran.code == Some(1) && ran.err.contains("lacks a step of this one"), "{ran:?}");
        add("m29991231_000002_breaking_names").await;
        for arguments in [&["serve"][..], &["migrate"], &["user", "list"]] {
            let ran = try_to_serve(process.command(arguments));
            assert_eq!((ran.code, ran.out.as_str(), ran.err.lines().count()), (Some(1), "", 1), "{ran:?}");
            for words in ["LATCHKEY_DATABASE_URL: ", "a newer Latchkey", "m29991231_000002_breaking_names", "restore"] {
                assert_eq!(ran.err.matches(words).count(), 1, "{words}: {ran:?}");
            }
        }
        db.close().await.unwrap();
    }
}

/// Starts so many servers on the cluster's database, in the process of the test.
async fn apps<const N: usize>(cluster: &Cluster) -> [TestApp; N] {
    let mut apps: Vec<TestApp> = vec![];
    let folder = Arc::new(tempfile::tempdir().unwrap()); // of all: any of them may send an email
    for _ in 0..N {
        let mut flags = vec!["--database-url", &*cluster.url, "--secret", SECRET, "--rate-limits=off"];
        flags.extend(apps.first().iter().flat_map(|first| ["--public-url", &*first.url]));
        let next = TestApp::start_in(folder.clone(), &flags).await;
        apps.push(next);
    }
    apps.try_into().unwrap_or_else(|_| unreachable!("N of them"))
}

/// Returns the browser's session at another node, where it is in memory.
async fn there(app: &TestApp, browser: &Browser) -> Browser {
    let mut browser = changes::at_server(browser, app);
    changes::comes_from_memory(app, &mut browser).await;
    browser
}

#[tokio::test(flavor = "multi_thread")]
async fn no_node_shows_a_session_after_the_answer_to_one_of_a_thousand_log_outs() {
    let cluster = Cluster::start().await;
    changes::log_out_at_once(apps::<2>(&cluster).await.into(), 8, 125).await;
}

/// The first app with another algorithm makes keys at the node that it asks. It may ask any other node next.
#[tokio::test]
async fn a_token_is_verified_by_a_node_that_has_not_seen_its_key() {
    let cluster = Cluster::start().await;
    let [here, other] = apps(&cluster).await;
    let mut sam = here.user("sam", OTTER).await;
    // Both have read the keys that there are.
    for node in [&here, &other] {
        assert_eq!(userinfo(node, &made_up("none")).await.0, 401);
    }
    let wiki = Wiki::register(&here, |new| (new.trusted, new.algorithm) = (true, SigningAlgorithm::Es256)).await;
    let got = tokens(&here, &wiki, &mut sam).await;
    let access = got["access_token"].as_str().unwrap();
    assert_eq!(userinfo(&here, access).await.0, 200);
    // The made-up token of a moment ago may have been the one look of this second.
    until("the other node knows the key", async || (userinfo(&other, access).await.0 == 200).then_some(())).await;
}

/// What an app has got in a session ends with it. All nodes refuse it once the end is answered.
#[tokio::test]
async fn what_an_app_has_got_is_refused_at_the_other_node_once_the_session_has_ended() {
    let cluster = Cluster::start().await;
    let [here, other] = apps(&cluster).await;
    let wiki = Wiki::register(&here, |new| new.trusted = true).await;
    let mut sam = here.user("sam", OTTER).await;
    for way in ["access taken away", "log-out", "reset", "disabled"] {
        let got = lasting(&here, &wiki, &mut sam).await;
        let access = got["access_token"].as_str().unwrap();
        for node in [&here, &other] {
            assert_eq!(userinfo(node, access).await.0, 200, "{way}");
            assert_eq!(introspect(node, &wiki, &got["access_token"]).await["active"], true, "{way}");
        }
        match way {
            "access taken away" => {
                sam.post("/profile/apps", &[("app", &wiki.id)]).await;
            }
            "log-out" => {
                sam.log_out().await;
            }
            "reset" => {
                let link = here.reset_link("sam@example.com", 2).await;
                here.browser().reset(&link, HERON).await;
            }
            _ => {
                let row = user::by_login(here.app.db.read(), "sam").await.unwrap().unwrap();
                operator::disable(&here.app.db, &row, here.app.now()).await.unwrap();
            }
        }
        for node in [&other, &here] {
            assert_eq!(userinfo(node, access).await.0, 401, "{way}");
            assert_eq!(introspect(node, &wiki, &got["access_token"]).await["active"], false, "{way}");
            assert_eq!(introspect(node, &wiki, &got["refresh_token"]).await["active"], false, "{way}");
            assert_eq!(refresh(node, &wiki, &got["refresh_token"]).await.1["error"], "invalid_grant", "{way}");
        }
        match way {
            "log-out" => assert_eq!(sam.log_in("sam", OTTER).await.path, "/profile"),
            "reset" => assert_eq!(sam.log_in("sam", HERON).await.path, "/profile"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn every_node_serves_from_memory_and_hears_of_changes() {
    let cluster = Cluster::start().await;
    let [here, other] = apps(&cluster).await;
    let mut sam = here.user("sam", OTTER).await;
    let mut same = there(&other, &sam).await;
    changes::comes_from_memory(&here, &mut sam).await;
    // Nothing tells of this change. So a page that shows it was not served from memory.
    let psql = cluster.db().await;
    let tx = psql.begin().await.unwrap();
    tx.execute_unprepared("ALTER TABLE sessions DISABLE TRIGGER USER").await.unwrap();
    tx.execute_unprepared("DELETE FROM sessions WHERE kind = 'browser'").await.unwrap();
    assert!(changes::is_open(&mut sam).await && changes::is_open(&mut same).await);
    tx.commit().await.unwrap();
    let from_memory = changes::is_open(&mut sam).await && changes::is_open(&mut same).await;
    assert!(from_memory, "or this machine stood still for a second");
    // A program of another version changes the user, and asks nobody.
    psql.write().execute_unprepared("UPDATE users SET full_name = 'Sam Smith'").await.unwrap();
    let heard = |mut browser: Browser| async move {
        until("it is heard of", async || (!changes::is_open(&mut browser).await).then_some(())).await;
    };
    let began = Instant::now();
    tokio::join!(heard(sam), heard(same));
    assert!(began.elapsed() < Duration::from_millis(500), "at once, not when a lease ends: {:?}", began.elapsed());
}

#[tokio::test]
async fn a_node_that_hears_nothing_serves_nothing_from_memory() {
    let cluster = Cluster::start().await;
    let [app] = apps(&cluster).await;
    let mut sam = app.user("sam", OTTER).await;
    changes::comes_from_memory(&app, &mut sam).await;
    let psql = cluster.db().await;
    let deaf = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN %'";
    psql.write().execute_unprepared(deaf).await.unwrap();
    let began = Instant::now();
    psql.write().execute_unprepared("WITH one AS (SELECT 1) DELETE FROM sessions").await.unwrap();
    while changes::is_open(&mut sam).await {
        assert!(began.elapsed() < Duration::from_secs(1), "the session lives on");
    }
    // It listens again by itself.
    assert_eq!(sam.log_in("sam", OTTER).await.path, "/profile");
    changes::comes_from_memory(&app, &mut sam).await;
}

/// PostgreSQL's processes for the connections that listen stand still. So both nodes serve from memory until their time is up,
/// and nothing tells them of the log-out.
#[tokio::test]
async fn a_log_out_waits_for_a_node_that_hears_nothing_until_it_serves_nothing_from_memory() {
    let cluster = Cluster::start().await;
    let [here, other] = apps(&cluster).await;
    let mut sam = here.user("sam", OTTER).await;
    let mut same = there(&other, &sam).await;
    let listening = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN %'";
    let listening = Statement::from_string(DbBackend::Postgres, listening);
    let listening = cluster.db().await.read().query_all_raw(listening).await.unwrap();
    let signal = |signal| {
        for row in &listening {
            kill_process(Pid::from_raw(row.try_get_by_index(0).unwrap()).unwrap(), signal).unwrap();
        }
    };
    changes::comes_from_memory(&other, &mut same).await;
    signal(Signal::STOP);
    let began = Instant::now();
    let (before, mut again) = (sam.clone(), sam.clone());
    let form: [(&str, &str); 1] = [("next", "/login")]; // another form, which finds no session
    let (first, second) = tokio::join!(sam.post("/logout", &[("", ""); 0]), async {
        tokio::time::sleep(Duration::from_millis(50)).await; // the first one has ended it by then, and waits
        let answer = again.post("/logout", &form).await;
        (answer.status, changes::is_open(&mut same.clone()).await)
    });
    assert_eq!((first.status.as_u16(), second), (303, (first.status, false)), "the second answer is no sooner");
    let (took, open) =
        (began.elapsed(), [changes::is_open(&mut same).await, changes::is_open(&mut before.clone()).await]);
    signal(Signal::CONT);
    assert_eq!(open, [false, false], "after {took:?}");
    assert!(took < Duration::from_millis(1500), "{took:?}");
    assert_eq!(listening.len(), 2);
}

/// What is sent to the client of a connection that listens is held back. So its node does not know that the connection has ended.
async fn deaf_proxy(cluster: &Cluster) -> (String, Arc<AtomicBool>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://latchkey@localhost:{}/postgres?sslmode=disable", socket.local_addr().unwrap().port());
    let (port, deaf) = (cluster.port, Arc::new(AtomicBool::new(false)));
    let holds = deaf.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = socket.accept().await {
            let server = TcpStream::connect(("localhost", port)).await.unwrap();
            let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
                (client.into_split(), server.into_split());
            let (listens, holds) = (Arc::new(AtomicBool::new(false)), holds.clone());
            let notes = listens.clone();
            tokio::spawn(async move {
                let mut buffer = vec![0; 1 << 16];
                while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
                    notes.fetch_or(buffer[..read].windows(6).any(|six| six == b"LISTEN"), Ordering::SeqCst);
                    to_server.write_all(&buffer[..read]).await.unwrap();
                }
            });
            tokio::spawn(async move {
                let mut buffer = vec![0; 1 << 16];
                while let Ok(read) = from_server.read(&mut buffer).await {
                    while holds.load(Ordering::SeqCst) && listens.load(Ordering::SeqCst) {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    if read == 0 || to_client.write_all(&buffer[..read]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (url, deaf)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_out_waits_for_a_node_whose_connection_has_ended_without_its_knowledge() {
    let cluster = Cluster::start().await;
    let (url, deaf) = deaf_proxy(&cluster).await;
    let [here] = apps(&cluster).await;
    let flags = ["--database-url", &*url, "--secret", SECRET, "--rate-limits=off", "--public-url", &*here.url];
    let other = TestApp::start_in(Arc::new(tempfile::tempdir().unwrap()), &flags).await;
    let mut sam = here.user("sam", OTTER).await;
    let mut same = there(&other, &sam).await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1200) {
        assert!(changes::is_open(&mut same).await && changes::is_open(&mut sam).await);
    }
    deaf.store(true, Ordering::SeqCst);
    let end = "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN %' \
               ORDER BY backend_start DESC LIMIT 1) AS newest";
    cluster.db().await.write().execute_unprepared(end).await.unwrap();
    let began = Instant::now();
    assert_eq!(sam.post("/logout", &[("", ""); 0]).await.status, 303);
    let took = began.elapsed();
    assert!(!changes::is_open(&mut same).await, "after {took:?}");
    deaf.store(false, Ordering::SeqCst);
}

/// A lease counts from when its ping was sent. If it came back late, what was committed in between is not known.
#[tokio::test(flavor = "multi_thread")]
async fn a_ping_that_comes_back_late_is_worth_less() {
    let cluster = Cluster::start().await;
    let (url, deaf) = deaf_proxy(&cluster).await;
    let flags = ["--database-url", &*url, "--secret", SECRET, "--rate-limits=off"];
    let app = TestApp::start_in(Arc::new(tempfile::tempdir().unwrap()), &flags).await;
    let mut sam = app.user("sam", OTTER).await;
    changes::comes_from_memory(&app, &mut sam).await;
    let user = user::by_login(app.app.db.read(), "sam").await.unwrap().unwrap().id;
    let mark = || app.app.db.changes().mark(user);
    deaf.store(true, Ordering::SeqCst);
    until("its time is up", async || mark().is_none().then_some(())).await; // a ping was sent meanwhile
    tokio::time::sleep(Duration::from_millis(500)).await;
    deaf.store(false, Ordering::SeqCst);
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(100) {
        assert!(mark().is_none(), "the ping was sent more than a second ago");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn what_nothing_tells_of_is_seen_after_a_minute() {
    let cluster = Cluster::start().await;
    let [app] = apps(&cluster).await;
    let mut sam = app.user("sam", OTTER).await;
    let psql = cluster.db().await;
    psql.write().execute_unprepared("ALTER TABLE sessions DISABLE TRIGGER USER").await.unwrap();
    changes::comes_from_memory(&app, &mut sam).await;
    app.app.clock.advance(time::Duration::seconds(50));
    psql.write().execute_unprepared("DELETE FROM sessions").await.unwrap();
    assert!(changes::is_open(&mut sam).await, "or this machine stood still for a second");
    app.app.clock.advance(time::Duration::seconds(11));
    assert!(!changes::is_open(&mut sam).await);
}

#[tokio::test]
async fn a_table_that_is_emptied_at_once_is_heard_of() {
    let cluster = Cluster::start().await;
    let [app] = apps(&cluster).await;
    let mut sam = app.user("sam", OTTER).await;
    changes::comes_from_memory(&app, &mut sam).await;
    cluster.db().await.write().execute_unprepared("TRUNCATE sessions CASCADE").await.unwrap();
    let began = Instant::now();
    until("it is heard of", async || (!changes::is_open(&mut sam).await).then_some(())).await;
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
}
