//! Browsers that an account knows, the letter about one that it does not, and the way out of it.

use time::Duration;

use crate::app::TestApp;
use crate::browser::{Browser, Page};
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
async fn this_was_not_me_ends_that_session_and_starts_a_reset() {
    let app = TestApp::start().await;
    let mut sam = app.someone("sam", OTTER).await;
    let mut eve = app.browser();
    eve.log_in("sam", OTTER).await;
    let link = app.letters_to("sam@example.com", 2).await[0].links[0].clone();

    // Reading does nothing: a mail scanner opens it first.
    let mut anywhere = app.browser();
    let page = anywhere.open(&link).await;
    page.assert_framed(200);
    assert_eq!((page.path.as_str(), page.heading().as_str()), ("/not-me", "This was not me"));
    assert!(page.html.contains("127.0.0.1") && page.html.contains("sam"));
    assert!(eve.is_logged_in().await);
    // Their browser is known now: what they begin next is told by no letter, and must end as well.
    let mut again = app.browser();
    again.cookies.insert("latchkey_device".into(), eve.cookies["latchkey_device"].clone());
    again.log_in("sam", OTTER).await;
    assert!(again.is_logged_in().await);

    let page = anywhere.submit(page.form("/not-me")).await;
    assert_eq!((page.path.as_str(), page.flash().as_str()), ("/forgot-password/sent", "That device is logged out."));
    assert!(!eve.is_logged_in().await && !again.is_logged_in().await && sam.is_logged_in().await);
    let letter = app.letters_to("sam@example.com", 3).await.remove(0);
    assert_eq!(letter.subject, "Reset your Latchkey password");
    assert_eq!(anywhere.reset(&letter.links[0], HERON).await.path, "/login");
    eve.log_in("sam", OTTER).await.assert_framed(422);

    // A second press, from another window, harms nobody: there is no such session any more.
    let page = anywhere.open(&link).await;
    assert!(page.html.contains("That device is logged out already."), "{}", page.html);
    anywhere.log_in("sam", HERON).await;
    let page = anywhere.open(&link).await;
    anywhere.submit(page.form("/not-me")).await;
    assert!(anywhere.is_logged_in().await);
}

/// Changes the password on the page, as its owner or as a thief who knows it.
async fn change_password(browser: &mut Browser, from: &str, to: &str) -> Page {
    let form = browser.open("/profile/password").await.form("/profile/password");
    browser.submit(form.fill("current_password", from).fill("new_password", to)).await
}

/// A thief changes the password first, so that the owner's link finds a password that was changed after the log-in.
#[tokio::test]
async fn this_was_not_me_works_though_the_thief_has_changed_the_password() {
    let app = TestApp::start().await;
    app.someone("sam", OTTER).await;
    let mut eve = app.browser();
    eve.log_in("sam", OTTER).await;
    let link = app.letters_to("sam@example.com", 2).await[0].links[0].clone();
    assert_eq!(change_password(&mut eve, OTTER, HERON).await.path, "/profile/security");
    let mut again = app.browser();
    again.log_in("sam", HERON).await;
    assert!(eve.is_logged_in().await && again.is_logged_in().await);

    let mut sam = app.browser();
    let page = sam.open(&link).await;
    assert_eq!(sam.submit(page.form("/not-me")).await.path, "/forgot-password/sent");
    assert!(!eve.is_logged_in().await && !again.is_logged_in().await);
    // Neither password opens anything, at neither door, also where the account knows the browser.
    for password in [OTTER, HERON] {
        eve.log_in("sam", password).await.assert_framed(422);
        let form = [("username", "sam"), ("password", password)];
        let token = reqwest::Client::new().post(format!("{}/token", app.url)).form(&form).send().await.unwrap();
        assert_eq!(token.status(), 400);
    }
    let letters = app.letters_to("sam@example.com", 5).await;
    let letter = letters.iter().find(|letter| letter.subject == "Reset your Latchkey password").unwrap();
    assert_eq!(sam.reset(&letter.links[0], HERON).await.path, "/login");
    assert_eq!(sam.log_in("sam", HERON).await.path, "/profile");
}

/// The owner may read the later of two emails first. The thief of both log-ins must not keep one of them.
#[tokio::test]
async fn this_was_not_me_ends_every_session_since_the_first_log_in_that_an_email_told_of() {
    let app = TestApp::start().await;
    let mut sam = app.someone("sam", OTTER).await;
    let (mut eve, mut again) = (app.browser(), app.browser());
    eve.log_in("sam", OTTER).await;
    app.letters_to("sam@example.com", 2).await;
    again.log_in("sam", OTTER).await;
    let link = app.letters_to("sam@example.com", 3).await[0].links[0].clone();
    let mut anywhere = app.browser();
    let page = anywhere.open(&link).await;
    anywhere.submit(page.form("/not-me")).await;
    assert!(!again.is_logged_in().await && !eve.is_logged_in().await);
    assert!(sam.is_logged_in().await, "which began before");
}

#[tokio::test]
async fn a_browser_that_stays_logged_in_cannot_bring_the_old_password_back() {
    let app = TestApp::start().await;
    let mut sam = app.someone("sam", OTTER).await;
    app.browser().log_in("sam", OTTER).await;
    let link = app.letters_to("sam@example.com", 2).await[0].links[0].clone();
    let open = sam.open("/profile/password").await.form("/profile/password");
    let page = sam.open(&link).await;
    sam.submit(page.form("/not-me")).await;

    assert!(sam.is_logged_in().await, "this session is older than the thief's");
    let page = sam.open("/profile/security").await;
    assert!(page.html.contains("<dd>Turned off</dd>"), "{}", page.html);
    assert_eq!(sam.open("/profile/password").await.path, "/forgot-password");
    let page = sam.submit(open.fill("current_password", OTTER).fill("new_password", HERON)).await;
    assert_eq!(page.path, "/forgot-password", "a form that was left open leads there too");
    app.browser().log_in("sam", HERON).await.assert_framed(422);
}

/// Each email that the link causes could push the owner's own out of the few that one address gets.
#[tokio::test]
async fn this_was_not_me_ten_times_is_one_letter_and_refills_no_bucket() {
    let app = TestApp::start().await;
    app.someone("sam", OTTER).await;
    app.browser().log_in("sam", OTTER).await;
    let link = app.letters_to("sam@example.com", 2).await[0].links[0].clone();
    // The thief has used up the letters of the address before. The owner's comes all the same.
    for _ in 0..4 {
        app.browser().ask_reset("sam@example.com").await;
    }
    app.outbox_is_done().await;
    assert_eq!(app.letters_to("sam@example.com", 5).await.len(), 5, "sign-up, new log-in, three resets");
    for _ in 0..10 {
        let mut sam = app.browser();
        let page = sam.open(&link).await;
        assert_eq!(sam.submit(page.form("/not-me")).await.path, "/forgot-password/sent");
    }
    app.browser().ask_reset("sam@example.com").await;
    app.outbox_is_done().await;
    assert_eq!(app.letters_to("sam@example.com", 6).await.len(), 6);
}

#[tokio::test]
async fn a_link_that_was_changed_or_is_a_week_old_does_nothing() {
    let app = TestApp::start().await;
    let sam = app.someone("sam", OTTER).await;
    let mut elsewhere = app.browser();
    elsewhere.log_in("sam", OTTER).await;
    let link = app.letters_to("sam@example.com", 2).await[0].links[0].clone();
    let cookie = sam.cookies["latchkey_session"].clone();
    let cut = link[..link.len() - 1].to_owned();
    for bad in
        [cut.clone(), format!("{link}x"), format!("{}/not-me?token={cookie}", app.url), format!("{}/not-me", app.url)]
    {
        let mut browser = app.browser();
        browser.open(&bad).await.assert_framed(410);
        browser.post("/not-me", &[("form_id", "")]).await.assert_framed(410);
    }
    // Nor is it a session.
    let token = link.split_once("token=").unwrap().1.to_owned();
    let mut eve = app.browser();
    eve.cookies.insert("latchkey_session".into(), token.clone());
    assert!(!eve.is_logged_in().await);
    let me = reqwest::Client::new().get(format!("{}/users/me/", app.url)).bearer_auth(&token).send().await.unwrap();
    assert_eq!(me.status(), 401);

    app.app.clock.advance(Duration::days(7));
    app.browser().open(&link).await.assert_framed(410);
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
