//! The browsers that an account knows, and the letter about a log-in in another one.

use latchkey::accounts::outbox::{Entity, LetterState, OutboxRow};
use sea_orm::EntityTrait;
use time::Duration;

use crate::app::TestApp;
use crate::process::until;
use crate::{HERON, OTTER};

const SUBJECT: &str = "New log-in to your Latchkey account";

#[tokio::test]
async fn a_log_in_in_a_new_browser_is_reported_by_letter_and_in_a_known_one_is_not() {
    let app = TestApp::start().await;
    let mut home = app.user("sam", OTTER).await;
    for _ in 0..2 {
        home.log_out().await;
        assert_eq!(home.log_in("sam", OTTER).await.path, "/profile");
    }
    app.outbox_is_done().await;
    assert_eq!(app.letters_to("sam@example.com", 1).await.len(), 1, "only the one of the sign-up");

    let mut elsewhere = app.browser();
    elsewhere.user_agent = Some("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0");
    assert_eq!(elsewhere.log_in("sam", OTTER).await.path, "/profile");
    let letter = app.letters_to("sam@example.com", 2).await.remove(0);
    assert_eq!(letter.subject, SUBJECT);
    assert!(letter.text.contains("(Firefox on Windows)") && letter.text.contains("127.0.0.1"), "{}", letter.text);

    // The browser is known now. It is still known half a year later if it is used.
    for _ in 0..3 {
        app.app.clock.advance(Duration::days(100));
        elsewhere.log_in("sam", OTTER).await;
        home.log_in("sam", OTTER).await;
    }
    app.outbox_is_done().await;
    assert_eq!(app.letters_to("sam@example.com", 2).await.len(), 2);
}

/// An attacker who planted the sign-up, or saw the password being typed, must not be the first to log in without a letter.
#[tokio::test]
async fn the_first_log_in_in_an_unknown_browser_is_reported_even_if_the_account_is_new() {
    let app = TestApp::start_with(&["--signup", "open"]).await;
    let account = r#"{"username": "sam", "email": "sam@example.com", "password": "velvet otter bakes rye"}"#;
    let request = reqwest::Client::new().post(format!("{}/users/", app.url)).header("content-type", "application/json");
    assert_eq!(request.body(account).send().await.unwrap().status(), 201);
    assert_eq!(app.browser().log_in("sam", OTTER).await.path, "/profile");
    assert_eq!(app.letters_to("sam@example.com", 1).await[0].subject, SUBJECT);
}

#[tokio::test]
async fn two_users_of_one_browser_are_both_known() {
    let app = TestApp::start().await;
    let mut shared = app.user("sam", OTTER).await;
    app.user("ada", OTTER).await;
    for _ in 0..2 {
        for name in ["ada", "sam"] {
            shared.log_out().await;
            assert_eq!(shared.log_in(name, OTTER).await.path, "/profile");
        }
    }
    app.outbox_is_done().await;
    assert_eq!(app.letters_to("ada@example.com", 2).await.len(), 2, "once new to her account");
    assert_eq!(app.letters_to("sam@example.com", 1).await.len(), 1);
}

/// Logs in with Sam's password in `count` browsers that the account does not know, each from its own address. The username
/// and the email take turns, because each has its own attempts.
async fn log_in_elsewhere(app: &TestApp, from: usize, count: usize) {
    for n in from..from + count {
        let form = [("login", ["sam", "sam@example.com"][n % 2]), ("password", OTTER)];
        let ip = format!("203.0.113.{n}");
        let from = |request: reqwest::RequestBuilder| request.header("x-forwarded-for", ip).form(&form);
        assert_eq!(app.browser().send(reqwest::Method::POST, "/login", from).await.status, 303, "{n}");
    }
}

/// Returns the rows of waiting letters about log-ins.
async fn waiting(app: &TestApp) -> Vec<OutboxRow> {
    let rows = Entity::find().all(app.app.db.read()).await.unwrap();
    rows.into_iter().filter(|row| row.state == LetterState::Waiting && row.letter == "new_devices").collect()
}

fn subject(times: usize) -> String {
    format!("{times} new log-ins to your Latchkey account")
}

const BEHIND_A_PROXY: [&str; 2] = ["--trusted-proxies", "127.0.0.0/8"];

/// An attacker who logs in three times uses up the emails. The fourth log-in must be reported too.
#[tokio::test]
async fn log_ins_beyond_the_limit_come_in_one_email_as_soon_as_the_limit_allows_it() {
    let app = TestApp::start_with(&BEHIND_A_PROXY).await;
    app.began_earlier(&mut app.user("sam", OTTER).await, std::time::Duration::from_secs(60)).await;
    log_in_elsewhere(&app, 1, 8).await;
    assert_eq!(app.letters_to("sam@example.com", 4).await.len(), 4, "sign-up and three log-ins");
    assert_eq!(waiting(&app).await.len(), 1, "the others wait in one email");

    app.app.clock.advance(Duration::hours(1));
    app.app.accounts.bell.notify_one();
    let letters = app.letters_to("sam@example.com", 5).await;
    let letter = letters.iter().find(|letter| letter.subject == subject(5)).unwrap();
    for n in 1..=8 {
        let told = letter.text.contains(&format!("- Unknown browser, 203.0.113.{n}, "));
        assert_eq!(told, n > 3, "{n}: {}", letter.text);
    }
    assert!(!letter.text.contains("more"), "{}", letter.text);
    app.outbox_is_done().await;

    // The email has used the attempt of this hour. The next log-in waits for the next hour.
    log_in_elsewhere(&app, 9, 2).await;
    assert_eq!(waiting(&app).await.len(), 1);
    app.app.clock.advance(Duration::hours(1));
    app.app.accounts.bell.notify_one();
    app.outbox_is_done().await;
    assert!(app.letters_to("sam@example.com", 6).await.iter().any(|letter| letter.subject == subject(2)));

    // The link is about the first log-in.
    let mut sam = app.browser();
    let page = sam.open(&letter.links[0]).await;
    assert!(
        page.html.contains("203.0.113.4") && page.html.contains("There were 4 more log-ins after it."),
        "{}",
        page.html
    );
    sam.submit(page.form("/not-me")).await;
    let page = sam.open("/not-me/done").await;
    assert!(page.html.contains("10 devices are logged out"), "{}", page.html);
}

#[tokio::test]
async fn one_log_in_beyond_the_limit_is_reported_an_hour_later() {
    let app = TestApp::start_with(&BEHIND_A_PROXY).await;
    app.user("sam", OTTER).await;
    log_in_elsewhere(&app, 1, 4).await;
    app.letters_to("sam@example.com", 4).await;
    app.app.clock.advance(Duration::hours(1));
    app.app.accounts.bell.notify_one();
    let letters = app.letters_to("sam@example.com", 5).await;
    let letter = letters.iter().find(|letter| letter.text.contains("203.0.113.4")).unwrap();
    assert_eq!(letter.subject, SUBJECT);
}

#[tokio::test]
async fn a_waiting_email_about_log_ins_survives_a_restart_and_is_sent_once() {
    let app = TestApp::start_with(&BEHIND_A_PROXY).await;
    app.user("sam", OTTER).await;
    log_in_elsewhere(&app, 1, 5).await;
    app.letters_to("sam@example.com", 4).await;
    let url = app.url.clone();
    let app = TestApp::start_in(app.stop().await, &["--public-url", &url]).await;
    assert_eq!(waiting(&app).await.len(), 1);
    app.app.clock.advance(Duration::hours(1));
    app.app.accounts.bell.notify_one();
    app.outbox_is_done().await;
    let letters = app.letters_to("sam@example.com", 5).await;
    assert_eq!((letters.len(), letters.iter().filter(|letter| letter.subject == subject(2)).count()), (5, 1));
}

/// The row must not grow with the number of an attacker's log-ins.
#[tokio::test]
async fn one_email_lists_ten_log_ins_and_counts_the_rest() {
    let app = TestApp::start_with(&BEHIND_A_PROXY).await;
    app.user("sam", OTTER).await;
    log_in_elsewhere(&app, 1, 10).await;
    for n in 11..=16 {
        app.app.clock.advance(Duration::minutes(6));
        log_in_elsewhere(&app, n, 1).await;
    }
    let rows = waiting(&app).await;
    assert_eq!((rows.len(), rows[0].data["log_ins"].as_array().unwrap().len()), (1, 10));
    app.app.clock.advance(Duration::hours(1));
    app.app.accounts.bell.notify_one();
    let letters = app.letters_to("sam@example.com", 5).await;
    let letter = letters.iter().find(|letter| letter.subject == subject(13)).unwrap();
    assert_eq!(letter.text.matches(", 203.0.113.").count(), 10, "{}", letter.text);
    assert!(letter.text.contains("and 3 more"), "{}", letter.text);
}

#[tokio::test]
async fn log_ins_at_the_same_moment_wait_in_one_email() {
    let app = TestApp::start_with(&BEHIND_A_PROXY).await;
    app.user("sam", OTTER).await;
    log_in_elsewhere(&app, 1, 3).await;
    futures_util::future::join_all((4..9).map(|n| log_in_elsewhere(&app, n, 1))).await;
    let rows = waiting(&app).await;
    assert_eq!((rows.len(), rows[0].data["log_ins"].as_array().unwrap().len()), (1, 5));
}

/// An email may have arrived although its sending failed. So it stays as it is, and later log-ins wait in another email.
#[tokio::test]
async fn no_log_in_is_left_out_because_the_mail_server_was_down() {
    let app = TestApp::start_with(&BEHIND_A_PROXY).await;
    app.user("sam", OTTER).await;
    log_in_elsewhere(&app, 1, 5).await;
    app.letters_to("sam@example.com", 4).await;
    let incoming = app.dir.path().join("mailbox/.incoming");
    std::fs::remove_dir_all(&incoming).unwrap();
    std::fs::write(&incoming, "").unwrap();
    app.app.clock.advance(Duration::hours(1));
    app.app.accounts.bell.notify_one();
    until("an attempt was made", async || waiting(&app).await[0].last_error.is_some().then_some(())).await;
    log_in_elsewhere(&app, 6, 3).await;
    let mut lengths: Vec<_> =
        waiting(&app).await.iter().map(|row| row.data["log_ins"].as_array().unwrap().len()).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, [2, 3]);
    std::fs::remove_file(&incoming).unwrap();
    std::fs::create_dir(&incoming).unwrap();
    app.app.clock.advance(Duration::hours(1));
    app.app.accounts.bell.notify_one();
    let letters = app.letters_to("sam@example.com", 6).await;
    for times in [2, 3] {
        assert!(letters.iter().any(|letter| letter.subject == subject(times)), "{times}");
    }
}

#[tokio::test]
async fn the_first_token_that_a_program_gets_is_reported_by_letter() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    for _ in 0..3 {
        let form = [("username", "sam"), ("password", OTTER)];
        let token = reqwest::Client::new().post(format!("{}/token", app.url)).form(&form).send().await.unwrap();
        assert_eq!(token.status(), 200);
        assert!(!token.headers().contains_key("set-cookie"));
    }
    app.outbox_is_done().await;
    let letters = app.letters_to("sam@example.com", 2).await;
    assert_eq!((letters.len(), letters[0].subject.as_str()), (2, SUBJECT));
}

#[tokio::test]
async fn after_a_reset_no_browser_is_known() {
    let app = TestApp::start().await;
    let mut eve = app.user("sam", OTTER).await;
    let link = app.reset_link("sam@example.com", 2).await;
    let mut sam = app.browser();
    sam.reset(&link, HERON).await;
    assert_eq!(sam.log_in("sam", HERON).await.path, "/profile");
    app.outbox_is_done().await;
    assert_eq!(app.letters_to("sam@example.com", 3).await.len(), 3, "sign-up, reset, password changed");
    eve.log_in("sam", HERON).await;
    assert_eq!(app.letters_to("sam@example.com", 4).await[0].subject, SUBJECT);
}

/// Each log-in in a new browser adds a row. A program that forgets its cookies must not make the database grow.
#[tokio::test]
async fn an_account_keeps_the_twenty_newest_devices_and_the_fifty_newest_sessions() {
    use latchkey::accounts::session::{self, device};
    use sea_orm::{EntityTrait, PaginatorTrait};
    let app = TestApp::start_with(&["--rate-limits", "off"]).await;
    let mut first = app.user("sam", OTTER).await;
    let mut second = app.browser();
    second.log_in("sam", OTTER).await;
    let form = [("username", "sam"), ("password", OTTER)];
    let token = reqwest::Client::new().post(format!("{}/token", app.url)).form(&form).send().await.unwrap();
    assert_eq!(token.status(), 200);
    for _ in 0..49 {
        app.app.clock.advance(Duration::seconds(1));
        assert_eq!(app.browser().post("/login", &form_of_login()).await.status, 303);
    }
    let rows = session::Entity::find().count(app.app.db.read()).await.unwrap();
    assert_eq!(rows, 51, "fifty of browsers; a program's is not counted among them");
    assert_eq!(device::Entity::find().count(app.app.db.read()).await.unwrap(), 20);
    assert!(!first.is_logged_in().await && second.is_logged_in().await, "the oldest goes");

    // The page shows its own session, and ten others at a time.
    for (page, shown) in [("", 10), ("?sessions=1", 10), ("?sessions=4", 10), ("?sessions=5", 10)] {
        let seen = second.open(&format!("/profile/security{page}")).await;
        assert_eq!(seen.html.matches("name=\"session\"").count(), shown, "{page}");
        assert_eq!(seen.html.contains("href=\"?sessions=2#sessions\""), !page.contains(['4', '5']), "{page}");
        assert_eq!(seen.html.contains("href=\"?sessions=4#sessions\""), page.contains('5'), "{page}");
    }
    for odd in ["0", "-1", "6", "x", "99999999999999999999"] {
        let page = second.open(&format!("/profile/security?sessions={odd}&activity={odd}")).await;
        page.assert_framed(200);
        assert!(page.html.matches("name=\"session\"").count() == 10, "{odd}");
    }
}

fn form_of_login() -> [(&'static str, &'static str); 2] {
    [("login", "sam"), ("password", OTTER)]
}
