//! What users do in Chromium: on a phone and on a laptop, with script and without, by pointer and by keyboard.
//! `gallery.rs` tests how each page looks.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;

use latchkey::accounts::apps::redirect_uri::RedirectUri;
use serde_json::{Value, json};
use thirtyfour::prelude::*;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::app::TestApp;
use crate::authorize::{Wiki, parameters};
use crate::process::until;
use crate::visitor::{DESK, Hands, PHONE, Script, Visitor, button_of};
use crate::{HERON, OTTER};

const ADDRESS: &str = "sam@example.com";

/// Everything from the first page to the log-in with a password that was reset by email.
async fn a_whole_life(width: u32, script: Script, hands: Hands) {
    let app = TestApp::start().await;
    let mut sam = Visitor::at(&app, width, script).await;
    sam.hands = hands;
    sam.opens("/").await;
    sam.follows("/signup").await;
    sam.sees("form[action='/signup']").await;
    let show = sam.driver.find(By::Css("[data-pw]")).await.unwrap();
    assert_eq!(show.is_displayed().await.unwrap(), script == Script::On, "Show is there with script only");
    sam.types("email", ADDRESS).await;
    sam.types("username", "sam").await;
    sam.types("full_name", "Sam Smith").await;
    sam.types("password", OTTER).await;
    sam.presses("/signup").await;
    sam.sees("form[action='/signup/resend']").await;
    sam.opens_the_letter(&app, ADDRESS, 1).await;
    sam.sees("iframe.letter").await;
    sam.follows("/signup/confirm").await;
    sam.sees("form[action='/signup/confirm']").await;
    sam.presses("/signup/confirm").await;
    sam.is_told().await;
    sam.sees("form[action='/logout']").await;

    sam.follows("/profile/name").await;
    sam.sees("form[action='/profile/name']").await;
    sam.types("full_name", "Sam Miller").await;
    sam.presses("/profile/name").await;
    sam.is_told().await;
    assert!(sam.finds("main").await.text().await.unwrap().contains("Sam Miller"));

    sam.follows("/profile/language").await;
    sam.chooses("language", "zh-CN").await;
    sam.presses("/profile/language").await;
    sam.sees("html[lang=zh-CN] [role=status]").await;
    sam.takes("footer a[hreflang=en]").await;
    sam.sees("html[lang=en] form[action='/logout']").await;

    for _ in 0..3 {
        app.browser().log_in("sam", OTTER).await;
    }
    sam.follows("/profile/security").await;
    sam.sees(".sessions li:nth-child(4)").await;
    sam.presses("/profile/security/log-out").await;
    sam.sees("[role=status] ~ section .sessions:not(:has(li:nth-child(4)))").await;
    sam.takes(".sessions ~ form button").await;
    sam.sees("[role=status] ~ section .sessions:not(:has(li:nth-child(2)))").await;
    sam.follows("/profile/password").await;
    sam.sees("form[action='/profile/password']").await;
    sam.types("current_password", OTTER).await;
    sam.types("new_password", HERON).await;
    sam.presses("/profile/password").await;
    sam.is_told().await;
    sam.sees("form[action='/logout']").await;

    sam.presses("/logout").await;
    sam.is_told().await;
    sam.goes_back().await;
    sam.sees("form[action='/login']").await;
    assert_eq!(sam.path().await, "/login", "Back does not bring the profile back");

    sam.follows("/forgot-password").await;
    sam.sees("form[action='/forgot-password']").await;
    sam.types("email", ADDRESS).await;
    sam.presses("/forgot-password").await;
    sam.sees("[name=again] ~ button").await;
    // Seven emails came before: of the sign-up, of three new browsers, of two log-outs of devices, and of the new password.
    sam.opens_the_letter(&app, ADDRESS, 8).await;
    sam.presses_in_the_letter("/reset-password").await;
    sam.sees("form[action='/reset-password']").await;
    sam.types("password", OTTER).await;
    sam.presses("/reset-password").await;
    sam.is_told().await;
    sam.types("login", "sam").await;
    sam.types("password", OTTER).await;
    sam.presses("/login").await;
    sam.sees("form[action='/logout']").await;

    app.user("alex", OTTER).await;
    sam.driver.goto(app.reset_link("alex@example.com", 2).await).await.unwrap();
    sam.presses("/logout").await;
    sam.sees("form[action='/reset-password']").await;
}

#[tokio::test]
async fn an_account_lives_on_a_phone_with_script() {
    a_whole_life(PHONE, Script::On, Hands::Pointer).await;
}

#[tokio::test]
async fn an_account_lives_on_a_phone_without_script() {
    a_whole_life(PHONE, Script::Off, Hands::Pointer).await;
}

#[tokio::test]
async fn an_account_lives_on_a_desk_with_script() {
    a_whole_life(DESK, Script::On, Hands::Pointer).await;
}

#[tokio::test]
async fn an_account_lives_on_a_desk_without_script() {
    a_whole_life(DESK, Script::Off, Hands::Pointer).await;
}

#[tokio::test]
async fn an_account_lives_by_keyboard_with_script() {
    a_whole_life(DESK, Script::On, Hands::Keyboard).await;
}

#[tokio::test]
async fn an_account_lives_by_keyboard_without_script() {
    a_whole_life(DESK, Script::Off, Hands::Keyboard).await;
}

#[tokio::test]
async fn show_shows_the_password_and_hide_hides_it() {
    let app = TestApp::start().await;
    let sam = Visitor::at(&app, PHONE, Script::On).await;
    sam.opens("/login").await;
    sam.types("password", OTTER).await;
    let field = sam.finds("#password").await;
    let button = sam.finds("[data-pw]").await;
    for (words, label, kind) in
        [("show", "show-label", "password"), ("hide", "hide-label", "text"), ("show", "show-label", "password")]
    {
        let given = async |name| button.attr(format!("data-{name}")).await.unwrap().unwrap();
        assert_eq!(button.text().await.unwrap(), given(words).await);
        assert_eq!(button.attr("aria-label").await.unwrap().unwrap(), given(label).await);
        assert_eq!(field.attr("type").await.unwrap().unwrap(), kind);
        assert_eq!(field.prop("value").await.unwrap().unwrap(), OTTER);
        button.click().await.unwrap();
    }
    sam.presses("/login").await;
    sam.finds("#errors").await;
}

#[tokio::test]
async fn a_form_that_is_reloaded_does_not_come_from_another_site() {
    let app = TestApp::start().await;
    let sam = Visitor::at(&app, DESK, Script::Off).await;
    sam.opens("/login").await;
    sam.types("login", "sam").await;
    sam.types("password", HERON).await;
    sam.presses("/login").await;
    sam.sees("#errors").await;
    sam.driver.refresh().await.unwrap(); // sends the form again
    sam.sees("#errors").await;
    let page = app.app.metrics.text(false).unwrap();
    let failures = page.lines().find(|line| line.starts_with("latchkey_log_ins_total{outcome=\"failed\"}")).unwrap();
    assert!(failures.ends_with(" 2"), "{failures}");
}

/// Without our script, Chromium shows “Confirm Form Resubmission” there.
#[tokio::test]
async fn back_after_an_error_shows_the_form() {
    let app = TestApp::start().await;
    let sam = Visitor::at(&app, DESK, Script::On).await;
    sam.opens("/profile/security").await;
    sam.types("login", ADDRESS).await;
    sam.types("password", HERON).await;
    sam.takes("form[action='/login'] .btn").await;
    sam.sees("#errors").await;
    sam.follows("/forgot-password").await;
    sam.sees("form[action='/forgot-password']").await;
    assert_eq!(sam.finds("#email").await.prop("value").await.unwrap().unwrap(), ADDRESS);
    sam.goes_back().await;
    sam.sees("form[action='/login']").await;
    assert!(sam.driver.current_url().await.unwrap().as_str().ends_with("/login?next=%2Fprofile%2Fsecurity"));
    assert_eq!(sam.finds("#login").await.prop("value").await.unwrap().unwrap(), ADDRESS);
    sam.driver.refresh().await.unwrap();
    sam.sees("form[action='/login']").await;
    let metrics = app.app.metrics.text(false).unwrap();
    assert!(metrics.contains("latchkey_log_ins_total{outcome=\"failed\"} 1\n"), "{metrics}");
}

#[tokio::test]
async fn times_are_in_the_time_zone_of_the_browser_and_in_utc_without_script() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    for (script, language, zone) in
        [(Script::On, "en-GB", "Asia/Tokyo"), (Script::On, "zh-CN", "Asia/Tokyo"), (Script::Off, "en", "Asia/Tokyo")]
    {
        let sam = Visitor::who_reads(language, &app, PHONE, script).await;
        sam.cdp("Emulation.setTimezoneOverride", json!({"timezoneId": zone})).await;
        sam.opens("/login?next=/profile/security").await;
        sam.types("login", "sam").await;
        sam.types("password", OTTER).await;
        sam.takes("form[action='/login'] .btn").await;
        sam.sees(".sessions time").await;
        let time = sam.finds(".sessions time").await;
        let at = time.attr("datetime").await.unwrap().unwrap();
        let at = OffsetDateTime::parse(&at, &Rfc3339).unwrap();
        let local = at.to_offset(time::UtcOffset::from_hms(9, 0, 0).unwrap());
        let clock = |at: OffsetDateTime| format!("{:02}:{:02}", at.hour(), at.minute());
        let says = time.text().await.unwrap();
        if script == Script::On {
            assert!(says.contains(&clock(local)) && !says.contains("UTC"), "{says}");
            let day = if language == "zh-CN" { "月" } else { " 20" };
            assert!(says.contains(day), "{says}");
        } else {
            assert!(says.contains(&clock(at)) && says.contains("UTC"), "{says}");
        }
        assert_eq!(time.rect().await.unwrap().height as u32 / 30, 0, "on one line: {says}");
    }
}

/// Chromium applies `form-action` to the redirect after a form too.
#[tokio::test]
async fn a_log_in_leads_to_the_home_url_on_another_site() {
    let elsewhere = TestApp::start().await;
    let home = format!("{}/docs", elsewhere.url);
    let app = TestApp::start_with(&["--home-url", &home]).await;
    app.user("sam", OTTER).await;
    let sam = Visitor::at(&app, DESK, Script::On).await;
    sam.opens("/login").await;
    sam.types("login", "sam").await;
    sam.types("password", OTTER).await;
    sam.presses("/login").await;
    sam.sees("#operations").await;
    assert_eq!(sam.driver.current_url().await.unwrap().as_str(), home);
}

/// Returns the cookies of the browser, by name.
async fn cookies(visitor: &Visitor) -> BTreeMap<String, String> {
    let all = visitor.cdp("Network.getCookies", json!({})).await;
    let text = |cookie: &Value, what: &str| cookie[what].as_str().unwrap().to_owned();
    all["cookies"].as_array().unwrap().iter().map(|cookie| (text(cookie, "name"), text(cookie, "value"))).collect()
}

#[tokio::test]
async fn a_log_out_clears_what_was_stored_and_the_account_still_knows_the_browser() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let sam = Visitor::at(&app, DESK, Script::On).await;
    sam.opens("/login").await;
    sam.takes("footer a[hreflang=zh-CN]").await;
    sam.types("login", "sam").await;
    sam.types("password", OTTER).await;
    sam.presses("/login").await;
    sam.sees("html[lang=zh-CN] form[action='/logout']").await;
    let before = cookies(&sam).await;
    sam.learns("localStorage.setItem('planted', 'by a script that slipped in')").await;
    sam.presses("/logout").await;
    sam.sees("html[lang=zh-CN] [role=status]").await;
    assert_eq!(sam.learns("localStorage.getItem('planted')").await, Value::Null);
    let mut after = cookies(&sam).await;
    after.remove("latchkey_visit");
    let mut expected = before;
    assert!(expected.remove("latchkey_session").is_some());
    assert_eq!(after.keys().collect::<Vec<_>>(), ["latchkey_device", "latchkey_lang"]);
    assert_eq!(after, expected);
}

async fn double_click_the_sign_up(script: Script) {
    let app = TestApp::start().await;
    let sam = Visitor::at(&app, DESK, script).await;
    sam.opens("/signup").await;
    sam.types("email", ADDRESS).await;
    sam.types("username", "sam").await;
    sam.types("password", OTTER).await;
    let button = sam.finds(&button_of("/signup")).await;
    sam.driver.action_chain().double_click_element(&button).perform().await.unwrap();
    sam.sees("form[action='/signup/resend']").await;
    assert_eq!(sam.path().await, "/signup/sent");
    app.letters_to(ADDRESS, 1).await;
    app.outbox_is_done().await;
    assert_eq!(app.letters().await.len(), 1, "one effect");
}

#[tokio::test]
async fn a_double_click_signs_up_once() {
    double_click_the_sign_up(Script::On).await;
}

#[tokio::test]
async fn a_double_click_signs_up_once_without_script_too() {
    double_click_the_sign_up(Script::Off).await;
}

async fn log_in_by_keyboard(script: Script) {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let mut sam = Visitor::at(&app, DESK, script).await;
    sam.hands = Hands::Keyboard;
    sam.opens("/login").await;
    sam.keys(Key::Tab).await;
    sam.keys(Key::Enter).await; // the skip link
    sam.types("login", "sam").await;
    sam.types("password", HERON).await;
    sam.keys(Key::Enter).await;
    sam.sees("#errors").await;
    assert_eq!(sam.focus().await, "errors", "what is wrong is read out first");

    sam.keys(Key::Tab).await;
    sam.keys(Key::Enter).await; // the summary has a link to the field
    assert_eq!(sam.focus().await, "login");
    sam.types("password", OTTER).await;
    sam.keys(Key::Enter).await;
    sam.sees("form[action='/logout']").await;
}

#[tokio::test]
async fn tab_and_enter_are_enough_to_log_in() {
    log_in_by_keyboard(Script::On).await;
}

#[tokio::test]
async fn tab_and_enter_are_enough_to_log_in_without_script() {
    log_in_by_keyboard(Script::Off).await;
}

/// Answers every request, as the app to which a browser is sent.
fn serve_an_app() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 8192]); // a browser may open a connection and send nothing
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 8\r\nconnection: close\r\n\r\n<p>wiki<p");
        }
    });
    port
}

/// Chromium applies `form-action` to the redirects that answer a form, so each form on the way has to name the app.
async fn an_app_gets_its_user(script: Script) {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let callback = format!("http://localhost:{}/callback", serve_an_app());
    let registered: RedirectUri = callback.parse().unwrap();
    let wiki = Wiki::register(&app, |new| new.redirect_uris = vec![registered]).await;
    let sam = Visitor::at(&app, DESK, script).await;
    let request = wiki.request(&[("redirect_uri", &callback)]);
    let at_the_app = async || {
        let url = until("the app", async || {
            let url = sam.driver.current_url().await.unwrap();
            url.as_str().starts_with(&callback).then_some(url)
        })
        .await;
        assert!(parameters(&url).contains_key("code"), "{url}");
    };
    sam.opens(&request).await;
    sam.types("login", "sam").await;
    sam.types("password", OTTER).await;
    sam.presses("/login").await;
    sam.presses("/oauth/consent").await;
    at_the_app().await;
    // From the log-in straight to the app, because it was allowed before.
    sam.opens("/profile").await;
    sam.presses("/logout").await;
    sam.sees("form[action='/login']").await;
    sam.opens(&request).await;
    sam.types("login", "sam").await;
    sam.types("password", OTTER).await;
    sam.presses("/login").await;
    at_the_app().await;
}

#[tokio::test]
async fn an_app_gets_its_user_with_script() {
    an_app_gets_its_user(Script::On).await;
}

#[tokio::test]
async fn an_app_gets_its_user_without_script() {
    an_app_gets_its_user(Script::Off).await;
}

/// From an app to the sign-up, to the letter and its button in another tab, and back to the app.
#[tokio::test]
async fn an_app_gets_its_user_who_signs_up_on_the_way_without_script() {
    let app = TestApp::start().await;
    let callback = format!("http://localhost:{}/callback", serve_an_app());
    let registered: RedirectUri = callback.parse().unwrap();
    let wiki = Wiki::register(&app, |new| (new.redirect_uris, new.trusted) = (vec![registered], true)).await;
    let mut sam = Visitor::at(&app, PHONE, Script::Off).await;
    sam.opens(&wiki.request(&[("redirect_uri", &callback)])).await;
    sam.sees("form[action='/login']").await;
    sam.takes("a[href^='/signup?next=']").await;
    sam.sees("form[action='/signup']").await;
    sam.types("email", ADDRESS).await;
    sam.types("username", "sam").await;
    sam.types("password", OTTER).await;
    sam.presses("/signup").await;
    sam.sees("form[action='/signup/resend']").await;
    sam.opens_the_letter(&app, ADDRESS, 1).await;
    sam.presses_in_the_letter("/signup/confirm").await;
    sam.sees("form[action='/signup/confirm']").await;
    // Chromium applies the policy of this page to the redirects that answer its form.
    sam.presses("/signup/confirm").await;
    let url = until("the app", async || {
        let url = sam.driver.current_url().await.unwrap();
        url.as_str().starts_with(&callback).then_some(url)
    })
    .await;
    assert!(parameters(&url).contains_key("code"), "{url}");
}
