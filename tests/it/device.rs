//! Browsers that an account knows, and the letter about one that it does not.

use time::Duration;

use crate::app::TestApp;
use crate::{HERON, OTTER};

const SUBJECT: &str = "New log-in to your Latchkey account";

#[tokio::test]
async fn a_log_in_from_a_new_browser_is_told_by_letter_and_from_a_known_one_is_not() {
    let app = TestApp::start().await;
    let mut home = app.someone("sam", OTTER).await;
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

    // From now on it is known, and so it is half a year later, if it is used.
    for _ in 0..3 {
        app.app.clock.advance(Duration::days(100));
        elsewhere.log_in("sam", OTTER).await;
        home.log_in("sam", OTTER).await;
    }
    app.outbox_is_done().await;
    assert_eq!(app.letters_to("sam@example.com", 2).await.len(), 2);
}

/// A stranger who planted the sign-up, or read the password over a shoulder, must not be the silent first.
#[tokio::test]
async fn the_first_log_in_from_an_unknown_browser_is_told_however_young_the_account_is() {
    let app = TestApp::start_with(&["--signup", "open"]).await;
    let account = r#"{"username": "sam", "email": "sam@example.com", "password": "velvet otter bakes rye"}"#;
    let request = reqwest::Client::new().post(format!("{}/users/", app.url)).header("content-type", "application/json");
    assert_eq!(request.body(account).send().await.unwrap().status(), 201);
    assert_eq!(app.browser().log_in("sam", OTTER).await.path, "/profile");
    assert_eq!(app.letters_to("sam@example.com", 1).await[0].subject, SUBJECT);
}

#[tokio::test]
async fn two_people_at_one_browser_are_both_known() {
    let app = TestApp::start().await;
    let mut shared = app.someone("sam", OTTER).await;
    app.someone("ada", OTTER).await;
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

#[tokio::test]
async fn the_first_token_that_a_program_gets_is_told_by_letter() {
    let app = TestApp::start().await;
    app.someone("sam", OTTER).await;
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
    let mut eve = app.someone("sam", OTTER).await;
    let link = app.reset_link("sam@example.com", 2).await;
    let mut sam = app.browser();
    sam.reset(&link, HERON).await;
    assert_eq!(sam.log_in("sam", HERON).await.path, "/profile");
    app.outbox_is_done().await;
    assert_eq!(app.letters_to("sam@example.com", 3).await.len(), 3, "sign-up, reset, password changed");
    eve.log_in("sam", HERON).await;
    assert_eq!(app.letters_to("sam@example.com", 4).await[0].subject, SUBJECT);
}

/// Each log-in in a new browser adds a row. The owner's database must not grow with a program that forgets its cookies.
#[tokio::test]
async fn an_account_keeps_the_twenty_newest_devices_and_the_fifty_newest_sessions() {
    use latchkey::accounts::{device, session};
    use sea_orm::{EntityTrait, PaginatorTrait};
    let app = TestApp::start_with(&["--rate-limits", "off"]).await;
    let mut first = app.someone("sam", OTTER).await;
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

    // The page shows ten of them at a time, beside the one that looks.
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
