//! Getting back in.

use latchkey::accounts::{operator, user};

use crate::app::TestApp;
use crate::process::until;
use crate::{HERON, OTTER};

#[tokio::test]
async fn a_user_who_forgot_the_password_gets_back_in() {
    let app = TestApp::start().await;
    let mut elsewhere = app.user("sam", OTTER).await;
    let mut sam = app.browser();
    let page = sam.ask_reset("SAM@example.com").await;
    assert_eq!(page.path, "/forgot-password/sent");
    assert!(page.html.contains("If <strong>SAM@example.com</strong> has an account"), "{}", page.html);

    let letter = app.letters_to("sam@example.com", 2).await.remove(0);
    assert_eq!(letter.subject, "Reset your Latchkey password");
    assert!(letter.links[0].starts_with(&format!("{}/reset-password?token=", app.url)));
    let page = sam.open(&letter.links[0]).await;
    assert_eq!((page.status.as_u16(), page.path.as_str()), (200, "/reset-password"), "the token is out of the address");
    assert!(!page.html.contains("token"), "and not in the page");
    assert!(page.html.contains("value=\"sam@example.com\" readonly"));
    let page = sam.submit(page.form("/reset-password").fill("password", HERON)).await;
    assert_eq!(page.path, "/login", "a link does not become a session");
    assert!(page.flash().starts_with("Your password was changed. Log in with it."));
    assert!(!elsewhere.is_logged_in().await, "every session has ended");
    assert_eq!(sam.log_in("sam", OTTER).await.status, 422);
    assert_eq!(sam.log_in("sam", HERON).await.path, "/profile");

    let letter = app.letters_to("sam@example.com", 3).await.remove(0);
    assert_eq!(letter.subject, "Your Latchkey password was changed");
    assert!(letter.text.contains("127.0.0.1"));
}

#[tokio::test]
async fn known_and_unknown_addresses_get_the_same_answer_and_only_the_known_one_gets_an_email() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let ask = |address: &'static str| {
        let mut browser = app.browser();
        async move {
            let page = browser.ask_reset(address).await;
            (page.status, page.path, page.html.split("form_id").next().unwrap().replace(address, "x"))
        }
    };
    assert_eq!(ask("sam@example.com").await, ask("who@example.com").await);
    app.letters_to("sam@example.com", 2).await;
    app.outbox_is_done().await;
    assert!(app.letters().await.iter().all(|letter| letter.to == "sam@example.com"));
}

#[tokio::test]
async fn a_link_of_another_account_asks_first() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let mut eve = app.user("eve", OTTER).await;
    let link = app.reset_link("sam@example.com", 2).await;
    let page = eve.open(&link).await;
    page.assert_framed(200);
    assert_eq!(page.heading(), "This link is for another account");
    for text in ["<strong>eve</strong>", "<strong>sam@example.com</strong>", "href=\"/profile\""] {
        assert!(page.html.contains(text), "{text}: {}", page.html);
    }
    assert!(eve.is_logged_in().await, "nothing has happened yet");

    let page = eve.submit(page.form("/logout")).await;
    assert_eq!((page.path.as_str(), page.flash().as_str()), ("/reset-password", "You are logged out."));
    let page = eve.submit(page.form("/reset-password").fill("password", HERON)).await;
    assert_eq!(page.path, "/login");
    assert_eq!(app.browser().log_in("sam", HERON).await.path, "/profile");
}

#[tokio::test]
async fn a_link_of_the_users_own_account_does_not_ask() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let link = app.reset_link("sam@example.com", 2).await;
    assert_eq!(sam.reset(&link, HERON).await.path, "/login");
}

#[tokio::test]
async fn the_password_that_the_account_has_is_not_chosen_again() {
    let app = TestApp::start().await;
    let mut elsewhere = app.user("sam", OTTER).await;
    let link = app.reset_link("sam@example.com", 2).await;
    let mut sam = app.browser();
    let page = sam.reset(&link, OTTER).await;
    page.assert_framed(422);
    assert_eq!(page.problem_at("password"), "This is the password you already have. Choose another");
    assert!(elsewhere.is_logged_in().await, "nothing has happened");
    let token = link.split_once("token=").unwrap().1;
    let body = serde_json::json!({"token": token, "new_password": OTTER});
    let page = sam.send(reqwest::Method::POST, "/complete_reset_password/", |request| request.json(&body)).await;
    assert_eq!(page.status, 422);
    assert!(page.html.contains("This is the password you already have"), "{}", page.html);
    assert_eq!(sam.reset(&link, HERON).await.path, "/login", "the link still works");
}

/// Otherwise an attacker with one link could send many guesses at once, and all would be compared with the old password
/// before the first one has used up the link.
#[tokio::test]
async fn a_guess_at_the_old_password_that_waits_finds_its_link_used() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let link = app.reset_link("sam@example.com", 2).await;
    let sam = user::by_login(app.app.db.read(), "sam").await.unwrap().unwrap();
    let known = app.app.accounts.hasher.for_the_known();
    let held = (known.hold(&sam.id.to_string()).await.unwrap(), known.hold(&sam.id.to_string()).await.unwrap());
    let mut eve = app.browser();
    let form = eve.open(&link).await.form("/reset-password").fill("password", OTTER);
    let worked = || {
        let metrics = app.app.metrics.text(false).unwrap();
        metrics.lines().find(|line| line.starts_with("latchkey_hash_wait_seconds_count")).unwrap().to_owned()
    };
    let before = worked();
    let guess = tokio::spawn(async move { eve.submit(form).await });
    until("the guess is judged and waits", async || (worked() != before).then_some(())).await;
    operator::disable(&app.app.db, &sam, app.app.now()).await.unwrap();
    drop(held);
    guess.await.unwrap().assert_framed(410);
}

#[tokio::test]
async fn the_address_is_typed_once() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    assert_eq!(sam.open("/forgot-password").await.value_of("email"), "sam@example.com", "who is logged in");
    let link = app.reset_link("sam@example.com", 2).await;
    let mut elsewhere = app.browser();
    assert_eq!(elsewhere.reset(&link, HERON).await.value_of("login"), "sam@example.com", "after a reset");

    app.browser().sign_up("alex@example.com", "alex", OTTER).await;
    let link = app.letters_to("alex@example.com", 1).await.remove(0).links.remove(0);
    let mut elsewhere = app.browser();
    let form = elsewhere.open(&link).await.form("/signup/confirm").fill("password", OTTER);
    let page = elsewhere.submit(form).await;
    assert_eq!((page.path.as_str(), page.value_of("login").as_str()), ("/login", "alex@example.com"));
}

#[tokio::test]
async fn a_link_works_once() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let link = app.reset_link("sam@example.com", 2).await;
    let mut sam = app.browser();
    assert_eq!(sam.reset(&link, HERON).await.path, "/login");
    let page = sam.open(&link).await;
    page.assert_framed(410);
    assert!(page.html.contains("Email me a new link"));
    let page = sam.post("/reset-password", &[("password", OTTER)]).await;
    page.assert_framed(410);
    assert_eq!(sam.log_in("sam", HERON).await.path, "/profile");
}

#[tokio::test]
async fn of_two_resets_at_once_exactly_one_wins() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    for round in 0..5 {
        let link = app.reset_link("sam@example.com", 2 + round * 2).await;
        let (mut one, mut two) = (app.browser(), app.browser());
        one.open(&link).await;
        two.open(&link).await;
        let (a, b) = (format!("{HERON} one {round}"), format!("{HERON} two {round}"));
        let (fields_a, fields_b) = ([("password", a.as_str())], [("password", b.as_str())]);
        let (first, second) =
            tokio::join!(one.post("/reset-password", &fields_a), two.post("/reset-password", &fields_b));
        let mut answers = [first.status.as_u16(), second.status.as_u16()];
        let (mut winner, password) = if answers[0] == 303 { (one, &a) } else { (two, &b) };
        assert_eq!(winner.log_in("sam", password).await.path, "/profile");
        answers.sort_unstable();
        assert_eq!(answers, [303, 410]);
        app.letters_to("sam@example.com", 3 + round * 2).await;
    }
}

#[tokio::test]
async fn a_log_in_in_progress_does_not_outlive_the_reset() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let link = app.reset_link("sam@example.com", 2).await;
    let mut sam = app.browser();
    sam.open(&link).await;
    let thieves = futures_util::future::join_all((0..24).map(|_| {
        let mut thief = app.browser();
        async move {
            thief.post("/login", &[("login", "sam"), ("password", OTTER)]).await;
            thief
        }
    }));
    let reset = [("password", HERON)];
    let (mut thieves, page) = tokio::join!(thieves, sam.post("/reset-password", &reset));
    assert_eq!(page.status, 303);
    for thief in &mut thieves {
        assert!(!thief.is_logged_in().await, "checked before the reset, let in after it");
    }
}

#[tokio::test]
async fn a_second_click_gets_the_first_answer() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let link = app.reset_link("sam@example.com", 2).await;
    let mut sam = app.browser();
    let form = sam.open(&link).await.form("/reset-password").fill("password", HERON);
    let (mut one, mut two) = (sam.clone(), sam);
    let (first, second) = tokio::join!(one.submit(form.clone()), two.submit(form));
    assert_eq!([first.path.as_str(), second.path.as_str()], ["/login"; 2]);
}

#[tokio::test]
async fn opening_a_link_never_uses_it_up() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let link = app.reset_link("sam@example.com", 2).await;
    for _ in 0..3 {
        let mut scanner = app.browser();
        let page = scanner.send(reqwest::Method::HEAD, &link, |request| request).await;
        assert_eq!((page.status.as_u16(), &page.headers["location"]), (303, &"/reset-password".parse().unwrap()));
        assert_eq!(scanner.open(&link).await.status, 200);
    }
    let mut sam = app.browser();
    let form = sam.open(&link).await.form("/reset-password").fill("password", "short");
    let page = sam.submit(form).await;
    page.assert_framed(422);
    assert_eq!(page.problem_at("password"), "Password must be 8 characters or more");
    let form = page.form("/reset-password").fill("password", HERON);
    assert_eq!(sam.submit(form).await.path, "/login", "a weak password does not use it up either");
}

#[tokio::test]
async fn three_links_work_at_a_time_and_none_after_the_first_success() {
    let app = TestApp::start_with(&["--rate-limits", "off"]).await;
    app.user("sam", OTTER).await;
    let mut links = vec![];
    for n in 0..4 {
        links.push(app.reset_link("sam@example.com", 2 + n).await);
    }
    app.browser().open(&links[0]).await.assert_framed(410);
    for link in &links[1..] {
        assert_eq!(app.browser().open(link).await.status, 200);
    }
    let mut sam = app.browser();
    assert_eq!(sam.reset(&links[1], HERON).await.path, "/login");
    for link in &links {
        app.browser().open(link).await.assert_framed(410);
    }
}

#[tokio::test]
async fn a_link_ends_after_an_hour_and_with_a_change_of_password() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let link = app.reset_link("sam@example.com", 2).await;
    let form = sam.open("/profile/password").await.form("/profile/password");
    sam.submit(form.fill("current_password", OTTER).fill("new_password", HERON)).await;
    app.browser().open(&link).await.assert_framed(410);

    let link = app.reset_link("sam@example.com", 4).await;
    let mut other = app.browser();
    let page = other.open(&link).await;
    assert_eq!(page.status, 200);
    app.app.clock.advance(time::Duration::minutes(61));
    let page = other.submit(page.form("/reset-password").fill("password", OTTER)).await;
    page.assert_framed(410);
}

#[tokio::test]
async fn foreign_and_broken_tokens_are_one_friendly_page() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let link = app.reset_link("sam@example.com", 2).await;
    let (base, token) = link.split_once("token=").unwrap();
    let flipped: String = token.chars().rev().collect();
    for bad in [
        &token[..40],
        &format!("{token}A"),
        &flipped,
        "x",
        "%ff%fe",
        "%00",
        &"a".repeat(9000),
        "../../etc/passwd",
        "' OR 1=1--",
    ] {
        let mut sam = app.browser();
        sam.open(&link).await; // the page must not be the one of this good link
        sam.open(&format!("{base}token={bad}")).await.assert_framed(410);
        sam.post("/reset-password", &[("password", HERON)]).await.assert_framed(410);
    }
    app.browser().open("/reset-password").await.assert_framed(410);
    app.browser().post("/reset-password", &[("password", HERON)]).await.assert_framed(410);
    assert_eq!(app.browser().log_in("sam", OTTER).await.path, "/profile", "nothing has changed");
}

#[tokio::test]
async fn the_host_header_never_reaches_an_email() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let mut eve = app.browser();
    let fields = [("email", "sam@example.com")];
    let poisoned = |request: reqwest::RequestBuilder| {
        request
            .header("host", "evil.localhost:81") // others are refused
            .header("x-forwarded-host", "evil.example")
            .header("forwarded", "host=evil.example")
            .form(&fields)
    };
    eve.send(reqwest::Method::POST, "/forgot-password", poisoned).await;
    let letter = app.letters_to("sam@example.com", 2).await.remove(0);
    assert!(letter.links.iter().all(|link| link.starts_with(&app.url)), "{:?}", letter.links);
    assert!(!letter.text.contains("evil") && !letter.html.contains("evil"));
}

#[tokio::test]
async fn send_again_waits_a_minute() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let mut sam = app.browser();
    let page = sam.ask_reset("sam@example.com").await;
    let page = sam.submit(page.form("/forgot-password")).await;
    assert!(page.flash().contains("less than a minute ago"), "{}", page.flash());
    app.outbox_is_done().await; // the lease of an email that is being sent would end with the minute
    app.app.clock.advance(time::Duration::seconds(61));
    let page = sam.submit(page.form("/forgot-password")).await;
    assert_eq!(page.flash(), "We sent it again.");
    assert_eq!(app.letters_to("sam@example.com", 3).await.len(), 3);
}
