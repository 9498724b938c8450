//! Cookies that an attacker planted in a user's browser, and cookies that no browser would send.

use reqwest::header::{COOKIE, HeaderMap, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, redirect};

use crate::app::TestApp;
use crate::browser::Browser;
use crate::{HERON, OTTER};

const SESSION: &str = "latchkey_session";
const VISIT: &str = "latchkey_visit";

/// Returns the status of `GET /profile` for these lines of cookies: 200 if Sam is logged in, 303 if no user is.
async fn profile(app: &TestApp, lines: &[String]) -> u16 {
    let client = Client::builder().redirect(redirect::Policy::none()).build().unwrap();
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
    }
    let answer = client.get(format!("{}/profile", app.url)).headers(headers).send().await.unwrap();
    answer.status().as_u16()
}

#[tokio::test]
async fn the_session_cookie_is_one_cookie_of_one_name_and_one_value() {
    let app = TestApp::start().await;
    let sam = app.user("sam", OTTER).await;
    let real = &sam.cookies[SESSION];
    let crowd: Vec<String> = (0..100).map(|n| format!("c{n}=v{n}")).collect();
    let crowd = crowd.join("; ");
    for (lines, status) in [
        (vec![format!("{SESSION}={real}")], 200),
        (vec![format!("{crowd}; {SESSION}={real}; {crowd}")], 200),
        (vec![crowd.clone(), format!("{SESSION}={real}"), crowd.clone()], 200),
        (vec![format!("  {SESSION} = {real}  ;;; ; =; ")], 200), // as RFC 6265bis 5.7 reads it
        (vec![format!("{SESSION}={real}; {SESSION}={real}")], 303),
        (vec![format!("{SESSION}={real}"), format!("{SESSION}={real}")], 303),
        (vec![format!("{SESSION}={real}; {SESSION}=")], 303),
        (vec![format!("{SESSION}; {SESSION}={real}")], 200), // a name without a value is not one of our cookies
        (vec![format!("{SESSION}=\"{real}\"")], 303),
        (vec![format!("{SESSION}=\"{real}")], 303),
        (vec![format!("a=\"; {SESSION}={real}; b=\"")], 200), // quotes enclose nothing (RFC 6265bis 5.6)
        (vec![format!("{SESSION}={real},{SESSION}={real}")], 303),
        (vec![format!("a=b,{SESSION}={real}")], 303),
        (vec![format!("{}={real}", SESSION.to_uppercase())], 303),
        (vec![format!("__Host-{SESSION}={real}")], 303), // the name that it has on https
        (vec![format!("__Secure-{SESSION}={real}")], 303),
        (vec![format!("__host-{SESSION}={real}")], 303),
        (vec![format!("$Version=1; {SESSION}={real}; $Path=/")], 200),
        (vec![format!("{SESSION}={real}{}", "x".repeat(7000))], 303),
        (vec![format!("{SESSION}={}", "%41".repeat(2000))], 303),
        (vec![format!("{SESSION}={}", ";".repeat(7000))], 303),
        (vec!["=".repeat(7000)], 303),
    ] {
        assert_eq!(profile(&app, &lines).await, status, "{lines:?}");
    }
}

#[tokio::test]
async fn on_https_a_cookie_has_the_name_that_no_sister_host_can_set() {
    let app = TestApp::start_with(&["--public-url", "https://localhost"]).await;
    let mut sam = app.browser();
    sam.base = app.url.clone();
    let own = |request: RequestBuilder| request.header("sec-fetch-site", "same-origin");
    let fields = [("email", "sam@example.com"), ("username", "sam"), ("password", OTTER)];
    sam.send(Method::POST, "/signup", |request| own(request).form(&fields)).await;
    let link = app.letters_to("sam@example.com", 1).await[0].links[0].replace("https://localhost", &app.url);
    sam.open(&link).await;
    sam.send(Method::POST, "/signup/confirm", own).await;
    let real = &sam.cookies["__Host-latchkey_session"];
    for (line, status) in [
        (format!("__Host-{SESSION}={real}"), 200),
        (format!("{SESSION}=x; __Host-{SESSION}={real}"), 200), // a cookie planted beside it has no effect
        (format!("{SESSION}={real}"), 303),
        (format!("__Secure-{SESSION}={real}"), 303),
        (format!("__host-{SESSION}={real}"), 303),
        // Blanks that Unicode has and a header has not: browsers let a sister host set these.
        (format!("\u{85}__Host-{SESSION}={real}"), 303),
        (format!("\u{a0}__Host-{SESSION}={real}"), 303),
        (format!("\u{2000}__Host-{SESSION}={real}"), 303),
        (format!("\u{3000}__Host-{SESSION}={real}"), 303),
        (format!("__Host-{SESSION}\u{a0}={real}"), 303),
        (format!("\u{2000}__Host-{SESSION}=x; __Host-{SESSION}={real}"), 200),
        (format!("\t __Host-{SESSION} = {real}"), 200),
        (format!("__Host%2D{SESSION}={real}"), 303),
        (format!("%5F%5FHost-{SESSION}={real}"), 303),
        (format!("__Host-{SESSION}=x; __Host-{SESSION}={real}"), 303),
        (format!("__Host-{SESSION}=x; __Host%2D{SESSION}={real}"), 303),
        (format!("__Host\u{2010}{SESSION}={real}").replace('\u{2010}', "%E2%80%90"), 303),
    ] {
        assert_eq!(profile(&app, std::slice::from_ref(&line)).await, status, "{line}");
    }
}

/// An attacker has put their own cookies into Sam's browser. The test looks at them after each step.
#[tokio::test]
async fn what_was_planted_before_a_log_in_is_not_what_is_logged_in_after_it() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let mut eve = app.user("eve", HERON).await;
    eve.ask_reset("eve@example.com").await; // this gives her a visit
    let planted = eve.cookies.clone();
    let reset = app.reset_link("sam@example.com", 2).await;

    let mut sam = app.browser();
    sam.cookies = planted.clone();
    sam.post("/login", &[("login", "sam"), ("password", OTTER)]).await;
    changed(&planted, &sam, "the log-in");
    assert!(sam.open("/profile").await.html.contains("sam@example.com"));
    let mut left = app.browser();
    left.cookies = planted.clone();
    assert!(!left.is_logged_in().await, "the session that was planted has ended");

    // The visit gets another ID at the log-out.
    sam.ask_reset("sam@example.com").await;
    let before = sam.cookies.clone();
    sam.post::<&str, &str>("/logout", &[]).await;
    assert!(!sam.cookies.contains_key(SESSION));
    changed(&before, &sam, "the log-out");

    let mut eve = app.browser();
    eve.ask_reset("eve@example.com").await;
    let mut sam = app.browser();
    sam.cookies = eve.cookies.clone();
    sam.open(&reset).await;
    assert_eq!(sam.post("/reset-password", &[("password", HERON)]).await.status, 303);
    changed(&eve.cookies, &sam, "the reset");
}

/// Asserts that no cookie has the value that it had before. The exception is the device token, which opens nothing and gets
/// another value only at a log-in.
fn changed(before: &std::collections::BTreeMap<String, String>, after: &Browser, what: &str) {
    for (name, value) in before.iter().filter(|(name, _)| what == "the log-in" || *name != "latchkey_device") {
        assert_ne!(after.cookies.get(name), Some(value), "{name} has outlived {what}");
    }
}

#[tokio::test]
async fn the_id_of_a_visit_is_never_one_that_the_browser_sent() {
    let app = TestApp::start().await;
    for id in ["AAAAAAAAAAAAAAAAAAAAAA", "AQAAAAAAAAAAAAAAAAAAAA", "_____________________w"] {
        let mut sam = app.browser();
        sam.cookies.insert(VISIT.into(), id.into());
        sam.ask_reset("sam@example.com").await;
        assert_ne!(sam.cookies[VISIT], id, "the browser's own id was taken");
    }
}

#[tokio::test]
async fn the_cookie_of_a_reset_link_lives_15_minutes() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let link = app.reset_link("sam@example.com", 2).await;
    let mut sam = app.browser();
    let page = sam.send(Method::GET, &link, |request| request).await;
    let cookie = page.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("latchkey_reset=") && cookie.contains("; Max-Age=900"), "{cookie}");
    sam.open("/reset-password").await.assert_framed(200);
    assert!(sam.cookies.contains_key("latchkey_reset"), "a look does not take it");
    app.browser().reset(&link, HERON).await;
    sam.open("/reset-password").await.assert_framed(410);
    assert!(!sam.cookies.contains_key("latchkey_reset"), "the link was used elsewhere");
}

#[tokio::test]
async fn a_dead_link_deletes_its_cookie() {
    let app = TestApp::start().await;
    for (path, name) in
        [("/reset-password", "latchkey_reset"), ("/signup/confirm", "latchkey_signup"), ("/not-me", "latchkey_not_me")]
    {
        for method in [Method::GET, Method::POST] {
            let mut sam = app.browser();
            sam.cookies.insert(name.into(), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8".into());
            sam.send(method.clone(), path, |request| request).await.assert_framed(410);
            assert!(!sam.cookies.contains_key(name), "{method} {path}");
        }
    }
}
