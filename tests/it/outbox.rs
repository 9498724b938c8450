//! Letters: written with their cause, sent at least once, kept with the reason when they cannot be.

use std::fs;

use latchkey::accounts::outbox::{self, Entity, State};
use sea_orm::EntityTrait;

use crate::app::TestApp;
use crate::{HERON, OTTER};

#[tokio::test]
async fn an_outbox_row_holds_no_secret() {
    let app = TestApp::start().await;
    app.someone("sam", OTTER).await;
    let link = app.reset_link("sam@example.com", 2).await;
    app.outbox_is_done().await;
    let token = link.split_once("token=").unwrap().1;
    for row in Entity::find().all(app.app.db.read()).await.unwrap() {
        assert_eq!(row.state, State::Sent);
        assert!(row.sent_at.is_some());
        let text = format!("{} {}", row.letter, row.data);
        assert!(!text.contains(token) && !text.contains(OTTER), "{text}");
    }
    // Nor does the whole database file, in which only digests rest.
    app.app.db.write().ping().await.unwrap();
    for file in ["latchkey.db", "latchkey.db-wal"] {
        let bytes = fs::read(app.dir.path().join(file)).unwrap_or_default();
        for secret in [token, OTTER] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{file} holds {secret}");
        }
    }
}

#[tokio::test]
async fn a_letter_leased_by_a_dead_process_is_sent_at_the_next_start() {
    let app = TestApp::start().await;
    app.someone("sam", OTTER).await;
    let (url, accounts) = (app.url.clone(), app.app.accounts.clone());
    let dir = app.stop().await;

    // A start that dies between taking the letter and sending it.
    let now = latchkey::clock::Clock::default().now();
    let email = latchkey::accounts::email::Email::parse("sam@example.com").unwrap();
    latchkey::accounts::password_reset::ask(&accounts, &email, &Default::default(), now).await.unwrap();
    let conn = accounts.db.write();
    assert!(outbox::lease(conn, now).await.unwrap().is_some());
    assert!(outbox::lease(conn, now).await.unwrap().is_none(), "no second postman gets it meanwhile");
    drop(accounts);

    let app = TestApp::start_in(dir, &["--public-url", &url]).await;
    let letter = app.letters_to("sam@example.com", 2).await.remove(0);
    assert_eq!(letter.subject, "Reset your Latchkey password");
}

#[tokio::test]
async fn a_letter_that_cannot_be_kept_is_tried_again_and_given_up_at_its_deadline() {
    let app = TestApp::start().await;
    app.someone("sam", OTTER).await;
    // The folder is in the way of itself: a file where the postman writes.
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
    let until = |tries: i32| async move {
        loop {
            let row = row().await;
            if row.attempts >= tries && row.leased_until.is_none() {
                return row;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let first = until(1).await;
    assert_eq!(first.state, State::Waiting);
    assert!(first.last_error.is_some());
    let mut pauses = vec![first.next_attempt_at - first.created_at];
    let mut row = first;
    while row.state == State::Waiting {
        let before = row.next_attempt_at;
        app.app.clock.advance(row.next_attempt_at - app.app.now());
        app.app.bell.notify_one();
        row = until(row.attempts + 1).await;
        pauses.push(row.next_attempt_at - before);
    }
    assert_eq!(row.state, State::Failed);
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
    app.someone("sam", OTTER).await;
    let (url, accounts) = (app.url.clone(), app.app.accounts.clone());
    let dir = app.stop().await;
    let long_ago = latchkey::clock::Clock::default().now() - time::Duration::minutes(61);
    let email = latchkey::accounts::email::Email::parse("sam@example.com").unwrap();
    latchkey::accounts::password_reset::ask(&accounts, &email, &Default::default(), long_ago).await.unwrap();
    let app = TestApp::start_in(dir, &["--public-url", &url]).await;
    app.outbox_is_done().await;
    let rows = Entity::find().all(accounts.db.read()).await.unwrap();
    let late = rows.iter().find(|row| row.letter == "reset_password").unwrap();
    assert_eq!(late.state, State::Failed);
    assert_eq!(app.letters().await.len(), 1, "the one from the sign-up");
}

#[tokio::test]
async fn rows_that_are_done_with_are_swept_after_a_month() {
    let app = TestApp::start().await;
    let mut sam = app.someone("sam", OTTER).await;
    let form = sam.open("/profile/password").await.form("/profile/password");
    sam.submit(form.fill("current_password", OTTER).fill("new_password", HERON)).await;
    app.outbox_is_done().await;
    let now = app.app.now();
    assert_eq!(outbox::sweep(app.app.db.write(), now + time::Duration::days(29)).await.unwrap(), 0);
    assert_eq!(outbox::sweep(app.app.db.write(), now + time::Duration::days(31)).await.unwrap(), 2);
}
