//! Letters are written with their cause and sent at least once. If one cannot be sent, it is kept with the reason.

use std::fs;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use latchkey::accounts::Client;
use latchkey::accounts::login::{Credentials, LogIn, log_in};
use latchkey::accounts::outbox::letter::Priority;
use latchkey::accounts::outbox::{self, ActiveModel, Entity, LetterState, OutboxRow, Queue};
use latchkey::accounts::password::Password;
use latchkey::accounts::policy::Lasting;
use latchkey::accounts::user::email::Email;
use latchkey::chance;
use latchkey::db::Db;
use sea_orm::{ActiveModelTrait, ConnectionTrait, EntityTrait, IntoActiveModel};

use crate::app::{TestApp, line};
use crate::database::{contents, on_postgres};
use crate::{HERON, OTTER};

#[tokio::test]
async fn an_outbox_row_holds_no_secret() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let link = app.reset_link("sam@example.com", 2).await;
    app.outbox_is_done().await;
    let token = link.split_once("token=").unwrap().1;
    for row in Entity::find().all(app.app.db.read()).await.unwrap() {
        assert_eq!(row.state, LetterState::Sent);
        assert!(row.sent_at.is_some());
        let text = format!("{} {}", row.letter, row.data);
        assert!(!text.contains(token) && !text.contains(OTTER), "{text}");
    }
    // The whole database holds no secret either, only digests.
    app.app.db.write().execute_unprepared("SELECT 1").await.unwrap();
    let bytes = contents(&app.app.db, app.dir.path()).await;
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("sam@example.com") && !holds(token) && !holds(OTTER));
}

/// On PostgreSQL, a server that starts does not know whether the process that leased a letter has ended. So the letter waits
/// for the end of its lease.
fn leases_end(app: &TestApp) {
    if on_postgres() {
        app.app.clock.advance(outbox::LEASE);
        app.app.accounts.bell.notify_one();
    }
}

#[tokio::test]
async fn a_letter_leased_by_a_dead_process_is_sent_at_the_next_start() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let (url, accounts) = (app.url.clone(), app.app.accounts.clone());
    let dir = app.stop().await;

    // A server ends between taking the letter and sending it.
    let now = latchkey::clock::Clock::default().now();
    let email = Email::parse("sam@example.com").unwrap();
    latchkey::accounts::password_reset::ask(&accounts, (email.as_str(), false), &Default::default(), now)
        .await
        .unwrap()
        .unwrap();
    assert!(outbox::lease(&accounts.db, now).await.unwrap().is_some());
    assert!(outbox::lease(&accounts.db, now).await.unwrap().is_none(), "no second postman gets it meanwhile");
    drop(accounts);

    let app = TestApp::start_in(dir, &["--public-url", &url]).await;
    leases_end(&app);
    let letter = app.letters_to("sam@example.com", 2).await.remove(0);
    assert_eq!(letter.subject, "Reset your Latchkey password");
}

#[tokio::test]
async fn a_letter_that_cannot_be_written_is_retried_and_given_up_at_its_deadline() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    // There is a file where the postman needs its folder.
    let incoming = app.dir.path().join("mailbox/.incoming");
    fs::remove_dir_all(&incoming).unwrap();
    fs::write(&incoming, "").unwrap();
    let mut sam = app.browser();
    let form = sam.open("/forgot-password").await.form("/forgot-password").fill("email", "sam@example.com");
    assert_eq!(sam.submit(form).await.path, "/forgot-password/sent", "the page does not wait for the mail");

    let row = || async {
        let rows = Entity::find().all(app.app.db.read()).await.unwrap();
        rows.into_iter().find(|row| row.letter == "reset_password").unwrap()
    };
    let until = |attempts: i32| async move {
        loop {
            let row = row().await;
            if row.attempts >= attempts && row.leased_until.is_none() {
                return row;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let first = until(1).await;
    assert_eq!(first.state, LetterState::Waiting);
    assert!(first.last_error.is_some());
    let mut pauses = vec![first.next_attempt_at - first.created_at];
    let mut row = first;
    while row.state == LetterState::Waiting {
        let before = row.next_attempt_at;
        app.app.clock.advance(row.next_attempt_at - app.app.now());
        app.app.accounts.bell.notify_one();
        row = until(row.attempts + 1).await;
        pauses.push(row.next_attempt_at - before);
    }
    assert_eq!(row.state, LetterState::Failed);
    assert!(row.last_error.as_deref().unwrap().contains("Not a directory"), "{:?}", row.last_error);
    assert!(pauses.is_sorted_by(|a, b| *b - *a > time::Duration::seconds(-3)), "growing: {pauses:?}");
    assert!(row.next_attempt_at >= row.deadline && row.deadline - row.created_at == time::Duration::hours(1));

    fs::remove_file(&incoming).unwrap();
    fs::create_dir(&incoming).unwrap();
    app.reset_link("sam@example.com", 2).await;
}

#[tokio::test]
async fn a_letter_that_comes_too_late_is_not_sent() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let (url, accounts) = (app.url.clone(), app.app.accounts.clone());
    let dir = app.stop().await;
    let long_ago = latchkey::clock::Clock::default().now() - time::Duration::minutes(61);
    let email = Email::parse("sam@example.com").unwrap();
    latchkey::accounts::password_reset::ask(&accounts, (email.as_str(), false), &Default::default(), long_ago)
        .await
        .unwrap()
        .unwrap();
    let app = TestApp::start_in(dir, &["--public-url", &url]).await;
    app.outbox_is_done().await;
    let rows = Entity::find().all(accounts.db.read()).await.unwrap();
    let late = rows.iter().find(|row| row.letter == "reset_password").unwrap();
    assert_eq!(late.state, LetterState::Failed);
    assert_eq!(app.letters().await.len(), 1, "the one from the sign-up");
}

#[tokio::test]
async fn what_is_due_while_the_mail_server_is_away_waits_and_is_given_up_at_its_deadline() {
    let app = TestApp::start().await;
    let accounts = app.app.accounts.clone();
    let _dir = app.stop().await;
    let now = latchkey::clock::Clock::default().now();
    for (address, at) in [("sam@example.com", now), ("ada@example.com", now - time::Duration::minutes(61))] {
        let client = Default::default();
        let asked = latchkey::accounts::password_reset::ask(&accounts, (address, false), &client, at);
        asked.await.unwrap().unwrap();
    }
    let put_off = outbox::put_off_due(accounts.db.write(), "away", outbox::pause(1), now).await.unwrap();
    assert_eq!(put_off, outbox::PutOff { waiting: 1, failed: 1 });
    assert_eq!(outbox::most_urgent(accounts.db.read(), now).await.unwrap(), None);
    for row in Entity::find().all(accounts.db.read()).await.unwrap() {
        let is_late = row.to_address.as_str() == "ada@example.com";
        assert_eq!(row.state, if is_late { LetterState::Failed } else { LetterState::Waiting });
        assert_eq!((row.last_error.as_deref(), row.failed_at, row.attempts), (Some("away"), Some(now), 0));
    }
}

#[tokio::test]
async fn news_rings_no_bell_while_passwords_wait() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    app.outbox_is_done().await;
    let accounts = app.app.accounts.clone();
    let _dir = app.stop().await;
    let now = latchkey::clock::Clock::default().now();
    let rings = || accounts.bell.notified().now_or_never().is_some();
    let in_a_new_browser = async || {
        let sam = Credentials { login: "sam", password: Password::new(OTTER) };
        let logged_in = log_in(&accounts, sam, Lasting::UntilClosed, &Client::default(), now).await.unwrap();
        assert!(matches!(logged_in, LogIn::Succeeded(_)));
    };
    rings();
    let hasher = accounts.hasher.for_the_known();
    let line = line(&hasher, 8);
    in_a_new_browser().await;
    assert!(!rings(), "nobody waits for it");
    let queue = async || outbox::queue(accounts.db.read(), now).await.unwrap();
    assert_eq!(queue().await, Queue::Empty, "every client may learn this, and not that sam has logged in");
    latchkey::accounts::password_reset::ask(&accounts, ("sam@example.com", false), &Client::default(), now)
        .await
        .unwrap()
        .unwrap();
    assert!(rings(), "its user waits");
    assert_eq!(queue().await, Queue::Due);
    drop(line);
    in_a_new_browser().await;
    assert!(rings(), "no password waits");
}

#[tokio::test]
async fn news_goes_out_although_passwords_wait() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let hasher = app.app.accounts.hasher.for_the_known();
    let _line = line(&hasher, 8);
    app.browser().log_in("sam", OTTER).await;
    let letter = app.letters_to("sam@example.com", 2).await.remove(0);
    assert_eq!(letter.subject, "New log-in to your Latchkey account");
}

#[tokio::test]
async fn finished_rows_are_swept_after_a_month() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let form = sam.open("/profile/password").await.form("/profile/password");
    sam.submit(form.fill("current_password", OTTER).fill("new_password", HERON)).await;
    app.outbox_is_done().await;
    let now = app.app.now();
    assert_eq!(outbox::sweep(&app.app.db, now + time::Duration::days(29)).await.unwrap(), 0);
    assert_eq!(outbox::sweep(&app.app.db, now + time::Duration::days(31)).await.unwrap(), 2);
}

/// Writes as many rows as a flood does. A form for each row would take too long for a test.
async fn write_rows(db: &Db, like: &OutboxRow, count: usize, change: impl Fn(usize, &mut OutboxRow)) {
    let rows = (0..count).map(|n| {
        let mut row = OutboxRow { id: chance::id(), ..like.clone() };
        change(n, &mut row);
        row.into_active_model().reset_all()
    });
    for some in rows.collect::<Vec<ActiveModel>>().chunks(1000) {
        Entity::insert_many(some.to_vec()).exec_without_returning(db.write()).await.unwrap();
    }
}

/// An attacker decides how many of these letters there are, so an owner must not wait behind them.
#[tokio::test]
async fn a_reset_for_an_account_overtakes_letters_to_strangers_and_resets_without_an_account() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    app.reset_link("sam@example.com", 2).await;
    app.outbox_is_done().await;
    let (url, accounts) = (app.url.clone(), app.app.accounts.clone());
    let dir = app.stop().await;
    let db = &accounts.db;
    let rows = Entity::find().all(db.read()).await.unwrap();
    let like = |letter| rows.iter().find(|row| row.letter == letter).unwrap();
    let waits = |row: &mut OutboxRow| (row.state, row.attempts, row.sent_at) = (LetterState::Waiting, 0, None);
    write_rows(db, like("signup"), 20, |_, row| waits(row)).await;
    let nobodys = |n: usize, row: &mut OutboxRow| {
        waits(row);
        (row.priority, row.to_address) = (Priority::Unsorted, Email::parse(&format!("nobody{n}@example.com")).unwrap());
        row.next_attempt_at = latchkey::clock::Clock::default().now();
    };
    write_rows(db, like("reset_password"), 3000, nobodys).await;
    let now = latchkey::clock::Clock::default().now();
    let email = Email::parse("SAM@example.com").unwrap();
    latchkey::accounts::password_reset::ask(&accounts, (email.as_str(), false), &Default::default(), now)
        .await
        .unwrap()
        .unwrap();

    // The reset does not wait for the end of the flood either.
    let flood = join_all((1..9).map(async |part| {
        for n in (part * 1_000_000..).step_by(50) {
            write_rows(db, like("reset_password"), 50, |more, row| nobodys(n + more, row)).await;
        }
    }));
    let first = tokio::select! {
        leased = outbox::lease(db, now) => leased.unwrap().unwrap(),
        _ = flood => unreachable!("it has no end"),
        () = tokio::time::sleep(Duration::from_secs(10)) => panic!("no letter goes out during a flood"),
    };
    assert_eq!((first.letter.as_str(), first.to_address.as_str()), ("reset_password", "SAM@example.com"));
    assert_eq!(outbox::lease(db, now).await.unwrap().unwrap().letter, "signup");
    let rows = Entity::find().all(db.read()).await.unwrap();
    let count = |state| rows.iter().filter(|row| row.state == state && row.letter == "reset_password").count();
    assert!(count(LetterState::Dropped) >= 3000);

    let app = TestApp::start_in(dir, &["--public-url", &url]).await;
    leases_end(&app);
    app.letters_to("sam@example.com", 3).await;
}

#[tokio::test]
async fn a_flood_leaves_at_most_10_000_finished_letters_and_none_of_an_owner_is_deleted() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let form = sam.open("/profile/password").await.form("/profile/password");
    sam.submit(form.fill("current_password", OTTER).fill("new_password", HERON)).await;
    app.outbox_is_done().await;
    let rows = Entity::find().all(app.app.db.read()).await.unwrap();
    let signup = rows.iter().find(|row| row.letter == "signup").unwrap();
    write_rows(&app.app.db, signup, 10_500, |_, _| ()).await;
    assert_eq!(outbox::sweep(&app.app.db, app.app.now()).await.unwrap(), 501);
    let rows = Entity::find().all(app.app.db.read()).await.unwrap();
    assert_eq!(rows.len(), 10_001);
    assert!(rows.iter().any(|row| row.letter == "password_changed"), "the owner's stays");
}
