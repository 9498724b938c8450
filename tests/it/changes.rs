//! Who is there, from memory: no page shows a session that has ended, or a user as they were.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use latchkey::accounts::{operator, session, user};
use latchkey::chance;
use latchkey::db::Db;
use reqwest::Method;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};
use tokio::task::JoinSet;

use crate::app::TestApp;
use crate::browser::Browser;
use crate::database::sqlite_only;
use crate::process::{Process, Ran, until};
use crate::{HERON, OTTER};

/// One request. Returns whether the browser is logged in.
pub async fn is_open(browser: &mut Browser) -> bool {
    let page = browser.send(Method::GET, "/profile", |request| request).await;
    assert!(page.status == 200 || page.headers["location"] == "/login", "{}: {}", page.status, page.html);
    page.status == 200
}

/// Opens pages until the session of the browser is served from memory.
pub async fn comes_from_memory(app: &TestApp, browser: &mut Browser) {
    until("the session is in memory", async || {
        assert!(is_open(browser).await);
        let pointer = app.app.keys.verify(&browser.cookies["latchkey_session"], app.app.now()).unwrap();
        app.app.db.changes().mark(pointer.user).map(|_| ())
    })
    .await;
    assert!(is_open(browser).await);
}

/// Returns the browser, with its cookies, at another server of the site.
pub fn at_server(browser: &Browser, app: &TestApp) -> Browser {
    let mut browser = browser.clone();
    browser.base.clone_from(&app.url);
    browser.site = Some(app.app.public_url.origin().to_string());
    browser
}

/// Logs a user out again and again, in one of all the ways that there are, while other requests of the same session come to
/// each server. Returns how many were served meanwhile.
///
/// # Panics
/// If one that was sent after the answer to the log-out finds the session open.
async fn log_out_again_and_again(apps: Arc<Vec<TestApp>>, name: String, rounds: u8) -> usize {
    let any = || usize::from(chance::bytes::<1>()[0]);
    let new = apps[0].browser(); // to make one takes longer than to log in
    let (mut desk, mut phone) = (new.clone(), new.clone()); // known browsers, which need no email
    let (mut served, mut passwords) = (0, [OTTER, HERON]);
    for round in 0..rounds {
        let (at, by) = (&apps[any() % apps.len()], &apps[any() % apps.len()]);
        let mut sam = at_server(&desk, at);
        let fields = [("login", name.as_str()), ("password", passwords[0])];
        assert_eq!(sam.post("/login", &fields).await.status, 303);
        let mut other = at_server(&phone, by);
        let ended = Arc::new(AtomicBool::new(false));
        let mut readers = JoinSet::new();
        for app in apps.iter() {
            let (mut sam, ended) = (at_server(&sam, app), ended.clone());
            assert!(is_open(&mut sam).await);
            readers.spawn(async move {
                let mut open = 0;
                loop {
                    tokio::time::sleep(Duration::from_millis(10)).await; // or there would be no time left for the hashes
                    let after = ended.load(SeqCst);
                    match (is_open(&mut sam).await, after) {
                        (true, false) => open += 1,
                        (true, true) => panic!("round {round}: it was open after the log-out, after {open} pages"),
                        (false, true) => return open,
                        (false, false) => {}
                    }
                }
            });
        }
        let db = &by.app.db;
        match any() % 8 {
            0 => {
                assert_eq!(other.post("/login", &fields).await.status, 303);
                assert_eq!(other.post("/profile/security/log-out", &[("others", "1")]).await.status, 303);
            }
            1 => {
                let user = user::by_login(db.read(), &name).await.unwrap().unwrap();
                let link = operator::reset_link(db, &user, by.app.now()).await.unwrap().unwrap();
                let at = format!("/reset-password?token={}", *link.reveal());
                assert_eq!(other.send(Method::GET, &at, |request| request).await.status, 303);
                assert_eq!(other.post("/reset-password", &[("password", passwords[1])]).await.status, 303);
                passwords.reverse();
            }
            2 => {
                let user = user::by_login(db.read(), &name).await.unwrap().unwrap();
                assert!(operator::log_out(db, &user, None, by.app.now()).await.unwrap() > 0);
            }
            _ => {
                let mut leaves = at_server(&sam, by);
                assert_eq!(leaves.post("/logout", &[("", ""); 0]).await.status, 303);
            }
        }
        ended.store(true, SeqCst);
        for app in apps.iter() {
            assert!(!is_open(&mut at_server(&sam, app)).await, "round {round}: it is open after the log-out");
        }
        (desk, phone) = (sam, other);
        served += readers.join_all().await.into_iter().sum::<usize>();
    }
    served
}

/// Does that with so many users at once.
pub async fn log_out_at_once(apps: Vec<TestApp>, users: u8, rounds: u8) {
    for user in 0..users {
        apps[0].user(&format!("sam{user}"), OTTER).await;
    }
    let apps = Arc::new(apps);
    let mut all = JoinSet::new();
    for user in 0..users {
        all.spawn(log_out_again_and_again(apps.clone(), format!("sam{user}"), rounds));
    }
    let served: usize = all.join_all().await.into_iter().sum();
    assert!(served > usize::from(users) * usize::from(rounds) / 2, "{served} pages while users were logged in");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_is_open_after_the_answer_to_a_log_out() {
    log_out_at_once(vec![TestApp::start_with(&["--rate-limits=off"]).await], 4, 25).await;
}

#[tokio::test]
async fn a_page_shows_at_once_what_was_changed() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    for name in ["Ann", "Bo", "Cy"] {
        comes_from_memory(&app, &mut sam).await;
        let form = sam.open("/profile/name").await.form("/profile/name").fill("full_name", name);
        assert!(sam.submit(form).await.html.contains(name));
        assert!(sam.open("/profile").await.html.contains(name));
    }
}

#[tokio::test]
async fn a_deleted_user_is_gone_at_once() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let db = &app.app.db;
    comes_from_memory(&app, &mut sam).await;
    let user = user::by_login(db.read(), "sam").await.unwrap().unwrap();
    operator::delete(db, &user, app.app.now()).await.unwrap();
    assert!(!is_open(&mut sam).await);
}

#[tokio::test]
async fn a_session_is_noted_as_seen_once_in_five_minutes_also_from_memory() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    comes_from_memory(&app, &mut sam).await;
    let cookie = sam.cookies["latchkey_session"].clone();
    app.app.clock.advance(time::Duration::minutes(6));
    assert!(is_open(&mut sam).await);
    let renewed = sam.cookies["latchkey_session"].clone();
    assert_ne!(renewed, cookie);
    for _ in 0..3 {
        assert!(is_open(&mut sam).await);
        assert_eq!(sam.cookies["latchkey_session"], renewed, "it is not written again");
    }
    app.app.clock.advance(time::Duration::days(1));
    assert!(!is_open(&mut sam).await, "a session in memory expires too");
}

/// What another process writes to the file is known in half a second.
#[tokio::test]
async fn what_another_process_writes_to_a_sqlite_file_is_seen_within_a_second() {
    sqlite_only!("other processes notify PostgreSQL's listeners");
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let other = Db::open_existing(&app.app.settings.storage.database).await.unwrap();
    for _ in 0..2 {
        comes_from_memory(&app, &mut sam).await;
        // A statement of no command of ours, after which nobody waits.
        other.write().execute_unprepared("WITH one AS (SELECT 1) DELETE FROM sessions").await.unwrap();
        let began = Instant::now();
        while is_open(&mut sam).await {
            assert!(began.elapsed() < Duration::from_secs(1), "the session lives on");
        }
        assert_eq!(sam.log_in("sam", OTTER).await.path, "/profile");
    }
}

/// A disk that is full breaks the writing connection. The next one has triggers too.
#[tokio::test]
async fn a_new_writing_connection_tells_of_changes_too() {
    sqlite_only!("PostgreSQL has its triggers in the database");
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    comes_from_memory(&app, &mut sam).await;
    let db = &app.app.db;
    // The library counts this transaction, and SQLite has none.
    let tx = db.begin().await.unwrap();
    tx.execute_unprepared("ROLLBACK").await.unwrap();
    assert!(tx.commit().await.is_err());
    let changes = session::Entity::delete_many().filter(session::Column::UserAgent.eq("nobody's"));
    changes.exec(db.write()).await.unwrap();
    comes_from_memory(&app, &mut sam).await;
    sam.log_out().await;
    assert!(!is_open(&mut sam).await);
    assert_eq!(sam.log_in("sam", OTTER).await.path, "/profile");
    comes_from_memory(&app, &mut sam).await;
    let found = user::by_login(db.read(), "sam").await.unwrap().unwrap();
    operator::log_out(db, &found, None, app.app.now()).await.unwrap();
    assert!(!is_open(&mut sam).await);
}

/// The command waits for the server, whatever the database is.
#[tokio::test]
async fn a_page_after_a_command_is_as_the_command_says() {
    let mut server = Process::serving(&[("LATCHKEY_RATE_LIMITS", "off")]).await;
    let mut sam = server.user("sam", OTTER).await;
    for _ in 0..3 {
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(400) {
            assert!(is_open(&mut sam).await);
        }
        let reading = tokio::spawn({
            let mut sam = sam.clone();
            async move { while is_open(&mut sam).await {} }
        });
        let mut command = server.command(&["user", "log-out", "sam"]);
        let ended = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(!is_open(&mut sam).await, "{:?}", Ran::of(ended));
        reading.await.unwrap();
        assert_eq!(sam.log_in("sam", OTTER).await.path, "/profile");
    }
    server.stop().await;
}
