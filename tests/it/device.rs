//! Browsers that an account knows, the letter about one that it does not, and the way out of it.

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
