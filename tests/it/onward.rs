//! The way from an app through a sign-up or a reset back to the app, in the browser in which it began. What leads there is a path
//! on this site, kept with the letter that this browser has asked for, and used once.

use time::Duration;
use url::Url;

use crate::app::TestApp;
use crate::authorize::{CALLBACK, Wiki, go, open, parameters, press};
use crate::browser::{Browser, Page};
use crate::{HERON, OTTER};

/// Follows a link of a page, by its text.
async fn follow(browser: &mut Browser, page: &Page, text: &str) -> Result<Page, Url> {
    let links = page.links();
    let link = links.iter().find(|(words, _)| words == text).unwrap_or_else(|| panic!("no “{text}”: {links:?}"));
    let here = page.path.split('?').next().unwrap();
    let to = if link.1.starts_with('?') { format!("{here}{}", link.1) } else { link.1.clone() };
    open(browser, &to).await
}

/// Comes from an app and signs up. Returns the page that says where the letter is.
async fn sign_up(browser: &mut Browser, request: &str, name: &str) -> Page {
    let page = open(browser, request).await.expect("the log-in");
    let page = follow(browser, &page, "Create account").await.expect("the sign-up");
    assert!(page.html.contains("Create an account to go on to Wiki."), "{}", page.html);
    let form = page.form("/signup").fill("email", &format!("{name}@example.com")).fill("username", name);
    // The form comes back once, and knows its way still.
    let page = press(browser, form.fill("password", "1")).await.expect("the form");
    page.assert_framed(422);
    press(browser, page.form("/signup").fill("password", OTTER)).await.expect("where the letter is")
}

/// Comes from an app and asks for a reset link.
async fn ask_reset(browser: &mut Browser, request: &str, email: &str) -> Page {
    let page = open(browser, request).await.expect("the log-in");
    let page = follow(browser, &page, "Forgot password?").await.expect("the form");
    let page = press(browser, page.form("/forgot-password").fill("email", "sam@")).await.expect("the form again");
    page.assert_framed(422);
    press(browser, page.form("/forgot-password").fill("email", email)).await.expect("where the letter is")
}

async fn log_in(browser: &mut Browser, page: &Page, login: &str, password: &str) -> Result<Page, Url> {
    press(browser, page.form("/login").fill("login", login).fill("password", password)).await
}

fn assert_is_the_app(back: &Url) {
    assert!(back.as_str().starts_with(CALLBACK) && parameters(back).contains_key("code"), "{back}");
    assert_eq!(parameters(back)["state"], "a state & more");
}

fn policy(page: &Page) -> &str {
    page.headers["content-security-policy"].to_str().unwrap()
}

#[tokio::test]
async fn a_sign_up_that_begins_at_an_app_ends_at_the_app() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |_| {}).await;
    let mut sam = app.browser();
    let page = sign_up(&mut sam, &wiki.request(&[]), "sam").await;
    assert_eq!(page.path, "/signup/sent");
    assert!(page.html.contains("Open the link in this browser to go on to Wiki."), "{}", page.html);

    let link = app.letters_to("sam@example.com", 1).await[0].links[0].clone();
    let query: Vec<_> = Url::parse(&link).unwrap().query_pairs().map(|(name, _)| name.into_owned()).collect();
    assert_eq!(query, ["token"], "a letter says nothing of the way: a stranger may have asked for it");
    // Another tab of the same browser.
    let page = open(&mut sam, &link).await.expect("the button");
    assert!(policy(&page).contains("form-action 'self' https://wiki.example.com;"), "{}", policy(&page));
    let page = press(&mut sam, page.form("/signup/confirm")).await.expect("the question of the app");
    assert_eq!(page.heading(), "Log in to Wiki");
    assert_eq!(page.flash(), "Your account is ready and you are logged in.");
    let back = press(&mut sam, page.form("/oauth/consent").fill("decision", "allow")).await.expect_err("the app");
    assert_is_the_app(&back);

    // The way is used up.
    sam.log_out().await;
    let page = sam.open("/login").await;
    let page = log_in(&mut sam, &page, "sam", OTTER).await.expect("the profile");
    assert_eq!(page.path, "/profile");
}

#[tokio::test]
async fn a_trusted_app_is_where_the_button_leads_and_no_words_are_left_behind() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let mut sam = app.browser();
    sign_up(&mut sam, &wiki.request(&[]), "sam").await;
    let link = app.letters_to("sam@example.com", 1).await[0].links[0].clone();
    let page = open(&mut sam, &link).await.expect("the button");
    assert_is_the_app(&press(&mut sam, page.form("/signup/confirm")).await.expect_err("the app"));
    assert_eq!(sam.open("/profile").await.flash(), "", "the app has taken over");
}

#[tokio::test]
async fn an_open_site_leads_from_the_sign_up_straight_to_the_app() {
    let app = TestApp::start_with(&["--signup", "open"]).await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let mut sam = app.browser();
    let page = open(&mut sam, &wiki.request(&[])).await.expect("the log-in");
    let page = follow(&mut sam, &page, "Create account").await.expect("the sign-up");
    assert!(policy(&page).contains("form-action 'self' https://wiki.example.com;"), "{}", policy(&page));
    let form = page.form("/signup").fill("email", "sam@example.com").fill("username", "sam").fill("password", OTTER);
    assert_is_the_app(&press(&mut sam, form).await.expect_err("the app"));
}

#[tokio::test]
async fn another_browser_that_confirms_takes_no_way_and_the_first_one_keeps_its_own() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let (mut sam, mut phone) = (app.browser(), app.browser());
    sign_up(&mut sam, &wiki.request(&[]), "sam").await;
    let link = app.letters_to("sam@example.com", 1).await[0].links[0].clone();
    let page = open(&mut phone, &link).await.expect("the button");
    assert!(!page.html.contains("Wiki") && !policy(&page).contains("wiki"), "{}", page.html);
    let page = press(&mut phone, page.form("/signup/confirm").fill("password", HERON)).await.expect("the log-in");
    assert_eq!((page.path.as_str(), page.html.contains("Wiki")), ("/login", false));
    // The link is used, and the browser that came from the app can go on.
    let page = open(&mut sam, &link).await.expect("no link any more");
    page.assert_framed(410);
    let page = follow(&mut sam, &page, "Log in").await.expect("the log-in");
    assert_is_the_app(&log_in(&mut sam, &page, "sam", HERON).await.expect_err("the app"));
}

#[tokio::test]
async fn a_sign_up_that_is_begun_again_and_a_letter_that_is_sent_again_keep_the_way() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let mut sam = app.browser();
    let page = sign_up(&mut sam, &wiki.request(&[]), "sma").await;
    let page = follow(&mut sam, &page, "Start again").await.expect("the form");
    assert!(page.html.contains("Create an account to go on to Wiki."), "{}", page.html);
    let form = page.form("/signup").fill("email", "sam@example.com").fill("username", "sam").fill("password", OTTER);
    let page = press(&mut sam, form).await.expect("where the letter is");
    app.letters_to("sam@example.com", 1).await;
    app.app.clock.advance(Duration::minutes(2));
    press(&mut sam, page.form("/signup/resend")).await.expect("sent again");
    let link = app.letters_to("sam@example.com", 2).await[0].links[0].clone();
    let page = open(&mut sam, &link).await.expect("the button");
    assert_is_the_app(&press(&mut sam, page.form("/signup/confirm")).await.expect_err("the app"));
}

#[tokio::test]
async fn a_reset_that_begins_at_an_app_ends_at_the_log_in_for_the_app() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    app.user("sam", OTTER).await;
    let mut sam = app.browser();
    let page = ask_reset(&mut sam, &wiki.request(&[]), "sam@example.com").await;
    assert!(page.html.contains("Open the link in this browser to go on to Wiki."), "{}", page.html);
    app.letters_to("sam@example.com", 2).await;
    app.app.clock.advance(Duration::minutes(2));
    press(&mut sam, page.form("/forgot-password")).await.expect("sent again");
    let link = app.letters_to("sam@example.com", 3).await[0].links[0].clone();
    assert!(!link.contains("next"), "{link}");

    let page = open(&mut sam, &link).await.expect("the form");
    let page = press(&mut sam, page.form("/reset-password").fill("password", HERON)).await.expect("the log-in");
    assert!(page.html.contains("Log in to go on to Wiki."), "{}", page.html);
    assert_eq!(page.flash(), "Your password was changed. Log in with it. All devices have been logged out.");
    assert_is_the_app(&log_in(&mut sam, &page, "sam", HERON).await.expect_err("the app"));

    // The way is used up: a reset that begins here ends here.
    sam.log_out().await;
    app.letters_to("sam@example.com", 4).await;
    app.app.clock.advance(Duration::minutes(2));
    sam.ask_reset("sam@example.com").await;
    let link = app.letters_to("sam@example.com", 5).await[0].links[0].clone();
    let page = sam.reset(&link, OTTER).await;
    assert_eq!((page.path.as_str(), page.html.contains("Wiki")), ("/login", false));
}

#[tokio::test]
async fn another_browser_that_resets_takes_no_way() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |_| {}).await;
    app.user("sam", OTTER).await;
    let (mut sam, mut phone) = (app.browser(), app.browser());
    ask_reset(&mut sam, &wiki.request(&[]), "sam@example.com").await;
    let link = app.letters_to("sam@example.com", 2).await[0].links[0].clone();
    let page = phone.reset(&link, HERON).await;
    assert_eq!((page.path.as_str(), page.html.contains("Wiki")), ("/login", false));
    let page = open(&mut sam, &link).await.expect("no link any more");
    page.assert_framed(410);
    let page = follow(&mut sam, &page, "Log in").await.expect("the log-in");
    assert!(page.html.contains("Log in to go on to Wiki."), "{}", page.html);
}

#[tokio::test]
async fn a_way_ends_after_an_hour_and_with_a_sign_up_or_a_reset_without_it() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |_| {}).await;
    app.user("kim", OTTER).await;
    let request = wiki.request(&[]);
    let (mut sam, mut kim) = (app.browser(), app.browser());
    sign_up(&mut sam, &request, "sam").await;
    ask_reset(&mut kim, &request, "kim@example.com").await;
    let (signed_up, reset) = (
        app.letters_to("sam@example.com", 1).await[0].links[0].clone(),
        app.letters_to("kim@example.com", 2).await[0].links[0].clone(),
    );
    app.app.clock.advance(Duration::minutes(61));
    let page = open(&mut sam, &signed_up).await.expect("the button");
    assert!(!page.html.contains("Wiki") && !policy(&page).contains("wiki"), "{}", page.html);
    let page = press(&mut sam, page.form("/signup/confirm")).await.expect("the profile");
    assert_eq!(page.path, "/profile");
    let page = kim.open(&reset).await;
    assert!(page.status == 410 && !page.links().iter().any(|(_, to)| to.contains("next=")), "{}", page.html);

    let mut eve = app.browser();
    sign_up(&mut eve, &request, "eve").await;
    eve.sign_up("eve@example.com", "eve", OTTER).await;
    for letter in app.letters_to("eve@example.com", 2).await {
        let page = eve.open(&letter.links[0]).await;
        assert!(!page.html.contains("Wiki"), "{}", page.html);
    }
}

#[tokio::test]
async fn a_way_that_another_site_plants_leads_only_to_paths_of_this_site() {
    let app = TestApp::start().await;
    app.user("kim", OTTER).await;
    let mut number = 0;
    for next in ["//evil.example", "/\\evil.example", "https://evil.example/", "/\t/evil.example", "/.//evil.example"] {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
        for path in ["/signup", "/forgot-password", "/login"] {
            let page = app.browser().open(&format!("{path}?{query}")).await;
            // The links to other languages have the query as it came, and lead to this page.
            let ours = page.links().iter().all(|(_, to)| to.starts_with("?next=") || !to.contains("next="));
            assert!(ours && !page.html.contains("name=\"next\""), "{path} {next}: {}", page.html);
            assert!(!page.headers.contains_key("set-cookie"), "a page that is opened keeps nothing");
        }
        // A form with such a field does as one without it.
        let (mut sam, name) = (app.browser(), format!("sam{number}"));
        number += 1;
        let form = sam.open("/signup").await.form("/signup").fill("next", next);
        let form = form.fill("email", &format!("{name}@example.com")).fill("username", &name).fill("password", OTTER);
        sam.submit(form).await;
        let link = app.letters_to(&format!("{name}@example.com"), 1).await[0].links[0].clone();
        let page = sam.open(&link).await;
        assert_eq!(sam.submit(page.form("/signup/confirm")).await.path, "/profile", "{next}");
    }
    // A path of this site is all that can be planted, and an app that is not registered, or another address of one, is none.
    let wiki = Wiki::register(&app, |_| {}).await;
    for request in [
        wiki.request(&[("redirect_uri", "https://evil.example/callback")]),
        wiki.request(&[("client_id", "00000000-0000-0000-0000-000000000000")]),
    ] {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", &request).finish();
        let (mut sam, name) = (app.browser(), format!("sam{number}"));
        number += 1;
        let page = sam.open(&format!("/signup?{query}")).await;
        assert!(!policy(&page).contains("evil") && !page.html.contains("Wiki"), "{}", policy(&page));
        let form = page.form("/signup").fill("email", &format!("{name}@example.com"));
        sam.submit(form.fill("username", &name).fill("password", OTTER)).await;
        let link = app.letters_to(&format!("{name}@example.com"), 1).await[0].links[0].clone();
        let page = sam.open(&link).await;
        let page = press(&mut sam, page.form("/signup/confirm")).await.expect("a page of this site");
        page.assert_framed(400);
    }
}

#[tokio::test]
async fn a_user_who_is_logged_in_goes_on_from_the_sign_up_at_once() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    app.user("sam", OTTER).await;
    let mut sam = app.browser();
    sam.log_in("sam", OTTER).await;
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", &wiki.request(&[])).finish();
    let page = sam.send(reqwest::Method::GET, &format!("/signup?{query}"), |request| request).await;
    assert_is_the_app(&go(&mut sam, page).await.expect_err("the app"));
}

#[tokio::test]
async fn the_language_that_an_app_asks_for_goes_along() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |_| {}).await;
    let mut sam = app.browser();
    let page = open(&mut sam, &wiki.request(&[("ui_locales", "zh-CN")])).await.expect("the log-in");
    let page = follow(&mut sam, &page, "创建账号").await.expect("the sign-up");
    assert!(page.html.contains("创建账号，即可前往 Wiki 继续。"), "{}", page.html);
    let form = page.form("/signup").fill("email", "sam@example.com").fill("username", "sam");
    let page = press(&mut sam, form.fill("password", "1")).await.expect("the form");
    assert_eq!(page.heading(), "创建账号");
    press(&mut sam, page.form("/signup").fill("password", OTTER)).await.expect("where the letter is");
    let letter = app.letters_to("sam@example.com", 1).await.remove(0);
    assert!(letter.subject.contains("验证"), "{}", letter.subject);
}

/// Libraries make long requests: this one has a `state` of 500 bytes.
#[tokio::test]
async fn another_language_loses_no_long_way() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    app.user("sam", OTTER).await;
    let mut sam = app.browser();
    let state = "a/+=&".repeat(100);
    let page = open(&mut sam, &wiki.request(&[("state", &state)])).await.expect("the log-in");
    let page = follow(&mut sam, &page, "简体中文").await.expect("the same in Chinese");
    assert!(page.html.contains("登录后继续前往 Wiki"), "{}", page.html);
    let back = log_in(&mut sam, &page, "sam", OTTER).await.expect_err("the app");
    assert_eq!(parameters(&back)["state"], state);
}

#[tokio::test]
async fn a_site_that_is_closed_leads_from_the_sign_up_to_the_log_in_for_the_app() {
    let app = TestApp::start_with(&["--signup", "closed"]).await;
    let wiki = Wiki::register(&app, |_| {}).await;
    let mut sam = app.browser();
    let request: String = url::form_urlencoded::byte_serialize(wiki.request(&[]).as_bytes()).collect();
    let page = sam.open(&format!("/signup?next={request}")).await;
    page.assert_framed(403);
    let page = follow(&mut sam, &page, "Log in").await.expect("the log-in");
    assert!(page.html.contains("Log in to go on to Wiki."), "{}", page.html);
}
