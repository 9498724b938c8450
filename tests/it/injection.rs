//! Line breaks and control characters in every text that a client can send: they make no header, no email and no line of
//! the log.

use std::collections::BTreeSet;

use reqwest::header::{COOKIE, HeaderValue, ORIGIN, REFERER, USER_AGENT};
use reqwest::{Client, Method, redirect};
use serde_json::{Value, json};

use crate::OTTER;
use crate::app::TestApp;
use crate::bad_input::FORMS;
use crate::process::Process;
use crate::redirects::raw;

/// Texts that would be a header, a second answer or a line of the log if they got through, each in several spellings.
const PAYLOADS: &[&str] = &[
    "a\r\nX-Evil: 1\r\n\r\n<b>",
    "a\nX-Evil: 1",
    "a\rX-Evil: 1",
    "\r\n\r\nHTTP/1.1 200 OK\r\nX-Evil: 1\r\n\r\n",
    "a\u{560a}\u{560d}X-Evil: 1", // the low bytes are CR and LF
    "a\u{10a}\u{10d}X-Evil: 1",
    "a\u{0}X-Evil: 1",
    "a\u{85}X-Evil: 1",
    "a\u{2028}X-Evil: 1\u{2029}",
    "a\u{b}\u{c}X-Evil: 1",
    "a%0d%0aX-Evil: 1",
    "a%250d%250aX-Evil: 1",
    "a\\r\\nX-Evil: 1",
    "\u{1b}[2J\u{1b}]0;X-Evil\u{7}",
    "\u{9b}2JX-Evil",
    "\u{202e}livE-X",
];

/// The forms that [`FORMS`] lacks: the ones that end a session, and the one that programs send.
const OTHER_FORMS: &[(&str, &[&str])] =
    &[("/logout", &["next"]), ("/not-me", &[]), ("/token", &["username", "password", "grant_type"])];

const JSON_FIELDS: &[(&str, &[&str])] = &[
    ("/users/", &["username", "email", "full_name", "password"]),
    ("/reset_password/", &["email"]),
    ("/complete_reset_password/", &["token", "new_password"]),
];

/// The names of all headers that we send. A client can add none.
const OURS: &[&str] = &[
    "allow",
    "cache-control",
    "clear-site-data",
    "content-language",
    "content-length",
    "content-security-policy",
    "content-type",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "date",
    "location",
    "permissions-policy",
    "referrer-policy",
    "retry-after",
    "set-cookie",
    "vary",
    "www-authenticate",
    "x-content-type-options",
    "x-frame-options",
    "x-request-id",
];

fn assert_headers_are_ours(headers: &reqwest::header::HeaderMap, what: &str) {
    for (name, value) in headers {
        assert!(OURS.contains(&name.as_str()), "{what}: {name}");
        let text = value.to_str().unwrap_or_else(|_| panic!("{what}: {name}: {value:?}"));
        assert!(name == "location" || !text.to_lowercase().contains("x-evil"), "{what}: {name}: {text}");
    }
    let cookies: BTreeSet<_> = headers
        .get_all("set-cookie")
        .iter()
        .map(|cookie| cookie.to_str().unwrap().split('=').next().unwrap())
        .collect();
    assert!(cookies.iter().all(|name| name.starts_with("latchkey_")), "{what}: {cookies:?}");
}

#[tokio::test]
async fn no_field_and_no_query_splits_a_header() {
    let app = TestApp::start_with(&["--rate-limits", "off"]).await;
    let mut sam = app.user("sam", OTTER).await;
    sam.open(&app.reset_link("sam@example.com", 2).await).await;
    for payload in PAYLOADS {
        for (path, fields) in FORMS.iter().chain(OTHER_FORMS) {
            let all: Vec<_> = fields.iter().map(|field| (*field, *payload)).collect();
            let page = sam.clone().post(path, &all).await;
            assert!(page.status.as_u16() < 500, "{path} with {payload:?}: {}", page.status);
            assert_headers_are_ours(&page.headers, &format!("{path} with {payload:?}"));
        }
        for (path, fields) in JSON_FIELDS {
            let body: Value = fields.iter().map(|field| ((*field).to_owned(), json!(payload))).collect();
            let page = app.browser().send(Method::POST, path, |request| request.json(&body)).await;
            assert!(page.status.as_u16() < 500, "{path} with {payload:?}: {}", page.status);
            assert_headers_are_ours(&page.headers, &format!("{path} with {payload:?}"));
        }
        let query: String = form_urlencoded::byte_serialize(payload.as_bytes()).collect();
        for path in [
            "/login?next=/",
            "/login?lang=",
            "/login?lang=en&x=",
            "/signup/confirm?token=",
            "/reset-password?token=",
            "/reset_password/?token=",
            "/profile?",
            "/",
            "/static/",
            "/dev/mailbox/",
        ] {
            for mut browser in [app.browser(), sam.clone()] {
                let page = browser.send(Method::GET, &format!("{path}{query}"), |request| request).await;
                assert!(page.status.as_u16() < 500, "{path}{query}: {}", page.status);
                assert_headers_are_ours(&page.headers, &format!("{path}{query}"));
            }
        }
    }
}

#[tokio::test]
async fn an_address_with_bytes_that_are_not_text_gets_an_ordinary_answer() {
    let app = TestApp::start().await;
    for path in [
        "/\u{7f}",
        "/login?next=/\u{7f}",
        "/é",
        "/login?next=/é",
        "/login?lang=en&x=é",
        "/profile/security?é",
        "/\u{85}",
        "/dev/mailbox/é?lang=en",
    ] {
        let answer = raw(&app, &format!("GET {path} HTTP/1.1"), "").await;
        let status = &answer[..answer.len().min(12)];
        assert!(["HTTP/1.1 200", "HTTP/1.1 303", "HTTP/1.1 400", "HTTP/1.1 404"].contains(&status), "{path}: {answer}");
    }
}

/// Sends every text of a client that can get into the log: paths, methods, headers and names.
async fn pester(process: &Process) {
    let client = Client::builder().redirect(redirect::Policy::none()).build().unwrap();
    let mut sam = process.user("sam", OTTER).await;
    for payload in PAYLOADS {
        let query: String = form_urlencoded::byte_serialize(payload.as_bytes()).collect();
        for path in ["/", "/login/", "/static/", "/dev/mailbox/", "/users/", "/reset_password/"] {
            client.get(format!("{}{path}{query}", process.url)).send().await.unwrap();
        }
        sam.post("/profile", &[("full_name", *payload)]).await;
        sam.post("/profile/security/log-out", &[("session", *payload)]).await;
        let mut stranger = process.browser();
        stranger.post("/login", &[("login", *payload), ("password", payload)]).await;
        stranger.post("/signup", &[("email", *payload), ("username", payload), ("password", payload)]).await;
        stranger.post("/forgot-password", &[("email", *payload)]).await;
        // A header may hold bytes beyond ASCII. It may not hold control characters, which no client sends.
        let Ok(value) = HeaderValue::from_bytes(payload.as_bytes()) else { continue };
        for name in [
            ORIGIN,
            REFERER,
            USER_AGENT,
            COOKIE,
            "sec-fetch-site".parse().unwrap(),
            "x-forwarded-for".parse().unwrap(),
            "accept-language".parse().unwrap(),
            "content-type".parse().unwrap(),
            "authorization".parse().unwrap(),
        ] {
            for path in ["/login", "/users/", "/users/me/"] {
                let request = client.post(format!("{}{path}", process.url)).header(name.clone(), value.clone());
                request.body("x").send().await.unwrap();
                client.get(format!("{}{path}", process.url)).header(name.clone(), value.clone()).send().await.unwrap();
            }
        }
    }
    for origin in
        ["https://evil.example\t2026-01-01T00:00:00.000000Z  INFO forged", "\"} {\"level\":\"INFO\"", "https://a\u{e9}"]
    {
        let request = client.post(format!("{}/login", process.url)).header(ORIGIN, origin);
        assert_eq!(request.send().await.unwrap().status(), 403);
    }
}

const TRUSTING: (&str, &str) = ("LATCHKEY_TRUSTED_PROXIES", "127.0.0.0/8");

#[tokio::test]
async fn a_line_of_the_log_stays_one_line_whatever_clients_send() {
    for level in ["debug", "trace"] {
        let mut process = Process::serving(&[TRUSTING, ("LATCHKEY_LOG", level), ("LATCHKEY_RATE_LIMITS", "off")]).await;
        pester(&process).await;
        process.stop().await;
        let log = process.log();
        assert!(log.contains("refused") && log.contains("evil.example") && log.contains("X-Evil"), "they are in it");
        for line in log.lines() {
            let mut words = line.split_whitespace();
            let at = words.next().unwrap_or_default();
            let stamp = at.len() == 27 && at.ends_with('Z') && at.starts_with("20");
            let level = words.next().is_some_and(|level| ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"].contains(&level));
            assert!(stamp && level, "a line that is none of ours: {line:?}");
            let odd = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}');
            assert!(!line.contains(odd), "a character that a terminal obeys: {line:?}");
        }
    }
}

#[tokio::test]
async fn a_line_of_the_json_log_stays_one_object_whatever_clients_send() {
    let json = ("LATCHKEY_LOG_FORMAT", "json");
    let mut process =
        Process::serving(&[TRUSTING, json, ("LATCHKEY_LOG", "trace"), ("LATCHKEY_RATE_LIMITS", "off")]).await;
    pester(&process).await;
    process.stop().await;
    let log = process.log();
    assert!(log.contains("refused") && log.contains("evil.example") && log.contains("X-Evil"), "they are in it");
    for line in log.lines() {
        let fact: Value = serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line:?}"));
        assert!(fact["timestamp"].is_string() && fact["level"].is_string(), "{line}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}
