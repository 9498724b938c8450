//! Many connections of few clients: which of them end when there is no room, and how much memory requests and answers may
//! hold.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use latchkey::net::ConnectionLimits;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use tokio::time::{Instant, sleep, timeout};

use crate::app::TestApp;
use crate::bad_input::FORMS;
use crate::process::Process;
use crate::wire::{Wire, frame};

const GET: &str = "GET /login HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// A request whose body does not come.
const HALF: &str = "POST /login HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n";
/// The attacker's addresses. Honest visitors are at 127.0.0.1.
const EVE: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);
const MALLORY: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 2);

async fn app(limits: ConnectionLimits) -> TestApp {
    TestApp::start_within(Arc::new(tempfile::tempdir().unwrap()), &[], limits).await
}

/// Limits under which only the memory ends a connection that takes nothing.
fn little_memory() -> ConnectionLimits {
    ConnectionLimits { memory: 256 * 1024, unread: Duration::from_secs(75), ..ConnectionLimits::default() }
}

async fn gets_the_page(wire: &mut Wire) -> bool {
    wire.say(GET).await;
    wire.answer().await.starts_with("HTTP/1.1 200")
}

#[tokio::test]
async fn a_client_that_trickles_bodies_makes_room_for_a_visitor() {
    let app = app(ConnectionLimits { connections: 3, ..ConnectionLimits::default() }).await;
    let mut slow = vec![];
    for _ in 0..3 {
        let mut wire = Wire::from(EVE, &app.url).await;
        wire.say(HALF).await;
        assert!(wire.answer().await.starts_with("HTTP/1.1 100"), "the server waits for the body");
        wire.say("login=").await;
        slow.push(wire);
    }
    assert!(gets_the_page(&mut Wire::to(&app.url).await).await);
    let [first, _second, third] = &mut slow[..] else { unreachable!() };
    assert_eq!(first.rest().await, b"", "it has waited longest");
    let seen = String::from_utf8(third.rest().await).unwrap();
    assert!(seen.starts_with("HTTP/1.1 408"), "the others are told when their time is up: {seen}");
}

#[tokio::test]
async fn the_client_that_has_most_connections_makes_room() {
    let app = app(ConnectionLimits { connections: 4, ..ConnectionLimits::default() }).await;
    // The visitor's connection has waited longest.
    let mut visitor = Wire::to(&app.url).await;
    assert!(gets_the_page(&mut visitor).await);
    let mut crowd = vec![];
    for _ in 0..3 {
        let mut wire = Wire::from(EVE, &app.url).await;
        assert!(gets_the_page(&mut wire).await);
        crowd.push(wire);
    }
    assert!(gets_the_page(&mut Wire::from(MALLORY, &app.url).await).await);
    assert_eq!(crowd[0].rest().await, b"");
    for wire in crowd[1..].iter_mut().chain([&mut visitor]) {
        assert!(gets_the_page(wire).await);
    }
}

#[tokio::test]
async fn one_client_has_an_eighth_of_the_places_where_files_are_few() {
    let mut process = Process::new(&[]);
    process.files = Some(300); // 172 places
    process.start().await;
    let mut wires = vec![];
    for _ in 0..21 {
        let mut wire = Wire::from(EVE, &process.url).await;
        assert!(gets_the_page(&mut wire).await);
        wires.push(wire);
    }
    assert!(!gets_the_page(&mut Wire::from(EVE, &process.url).await).await);
    assert!(gets_the_page(&mut Wire::from(MALLORY, &process.url).await).await);
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_an_answer_is_cut_soon() {
    let app = app(ConnectionLimits { unread: Duration::from_millis(300), ..ConnectionLimits::default() }).await;
    let mut wire = Wire::to(&app.url).await;
    wire.say(frame::asks(&frame::head("GET", "/docs"), 1, frame::END_STREAM, 0)).await;
    let seen = frame::kinds(&wire.rest().await);
    assert!(seen.contains(&frame::HEADERS) && seen.contains(&frame::GO_AWAY), "{seen:?}");
}

#[tokio::test]
async fn a_client_that_takes_an_answer_slowly_gets_all_of_it() {
    let unread = Duration::from_millis(800);
    let app = app(ConnectionLimits { unread, ..ConnectionLimits::default() }).await;
    let length = app.browser().open("/docs").await.html.len();
    let mut wire = Wire::to(&app.url).await;
    wire.say(frame::asks(&frame::head("GET", "/docs"), 1, frame::END_STREAM, 0)).await;
    let began = Instant::now();
    let mut taken = 0;
    // Each part is taken in time, but all parts together take longer.
    for part in [16_384, length - 16_384] {
        sleep(unread * 3 / 4).await;
        let more = u32::try_from(part).unwrap().to_be_bytes();
        wire.say(frame::bytes(frame::WINDOW_UPDATE, 0, 1, &more)).await;
        taken += wire.data(part).await;
    }
    assert!(began.elapsed() > unread);
    assert_eq!(taken, length);
}

#[tokio::test]
async fn answers_that_no_client_takes_hold_only_so_much_memory() {
    let app = app(little_memory()).await;
    // A visitor from another address reads slowly, and was there first.
    let mut visitor = Wire::to(&app.url).await;
    visitor.say(frame::asks(&frame::head("GET", "/login"), 1, frame::END_STREAM, 0)).await;
    visitor.data(0).await;
    let mut crowd = vec![];
    for _ in 0..5 {
        let mut wire = Wire::from(EVE, &app.url).await;
        wire.say(frame::asks(&frame::head("GET", "/docs"), 16, frame::END_STREAM, 0)).await;
        crowd.push(wire);
    }
    let ended = crowd.iter_mut().map(|wire| timeout(Duration::from_secs(5), wire.rest()));
    let cut = join_all(ended).await.iter().filter(|ended| ended.is_ok()).count();
    assert!(cut >= 3, "{cut} of 5 were cut");
    assert!(gets_the_page(&mut Wire::from(EVE, &app.url).await).await, "the memory is free again");
    visitor.say(frame::bytes(frame::WINDOW_UPDATE, 0, 1, &65_535_u32.to_be_bytes())).await;
    assert!(visitor.data(1).await > 0, "the visitor gets the answer");
}

#[tokio::test]
async fn a_window_of_one_byte_frees_no_memory() {
    let app = app(little_memory()).await;
    let mut crowd = vec![];
    for _ in 0..5 {
        let mut wire = Wire::from(EVE, &app.url).await;
        // hyper has taken the answers from us now, and keeps all of them except the first byte.
        wire.say(frame::asks(&frame::head("GET", "/login"), 16, frame::END_STREAM, 1)).await;
        crowd.push(wire);
    }
    let ended = crowd.iter_mut().map(|wire| timeout(Duration::from_secs(5), wire.rest()));
    let cut = join_all(ended).await.iter().filter(|ended| ended.is_ok()).count();
    assert!(cut > 0, "no connection was cut");
}

#[tokio::test]
async fn heads_count_as_decoded_and_bodies_as_far_as_they_have_come() {
    // `x: y` is put into the table once. Each byte after that is one more such field (RFC 7541, 6.1).
    let many = [frame::head("POST", "/login"), b"\x40\x01x\x01y".to_vec(), vec![0xbe; 90]].concat();
    let mut heads = frame::asks(&many, 1, 0, 0);
    let again = [frame::head("POST", "/login"), vec![0xbe; 90]].concat();
    for stream in 1..8 {
        heads.extend(frame::bytes(frame::HEADERS, frame::END_HEADERS, 2 * stream + 1, &again));
    }
    let length = "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16000\r\n\r\n";
    let half = [length.as_bytes(), &[b'x'; 15_000]].concat();
    for (bytes, connections) in [(heads, 4), (half, 30)] {
        let app = app(little_memory()).await;
        let mut crowd = vec![];
        for _ in 0..connections {
            let mut wire = Wire::from(EVE, &app.url).await;
            wire.say(&bytes).await;
            crowd.push(wire);
        }
        // This is sooner than the time-out of a body, which would be answered 408.
        let ended = crowd.iter_mut().map(|wire| timeout(Duration::from_secs(5), wire.rest()));
        let cut = join_all(ended).await.iter().filter(|ended| ended.is_ok()).count();
        assert!(cut > 0, "all {connections} were waited for");
    }
}

#[tokio::test]
async fn a_value_that_is_longer_than_any_honest_one_is_not_shown_again() {
    let app = TestApp::start().await;
    app.user("sam", crate::OTTER).await;
    let mut sam = app.browser();
    sam.log_in("sam", crate::OTTER).await;
    // HTML writes each of these as five characters.
    let long = "\"".repeat(3_000);
    for (path, fields) in FORMS {
        for browser in [&mut sam, &mut app.browser()] {
            let body: Vec<_> = fields.iter().map(|field| format!("{field}={long}")).collect();
            let post = |request: reqwest::RequestBuilder| {
                request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body.join("&"))
            };
            let page = browser.send(Method::POST, path, post).await;
            let shown = page.html.matches("&#34;").count();
            assert!(shown <= 1024 * fields.len(), "{path} shows {shown} quotes");
        }
    }
    let short = app.browser().open("/login").await.html.len();
    let page = app.browser().open(&format!("/login?{}", "&".repeat(8_000))).await;
    assert!(page.html.len() < short + 2_000, "a query, in the links to other languages: {} bytes", page.html.len());
}

#[tokio::test]
async fn a_query_is_not_sent_back_in_a_header() {
    let app = TestApp::start().await;
    let query = format!("lang=en&x={}", "%22".repeat(4_000));
    let page = app.browser().send(Method::GET, &format!("/login?{query}"), |request| request).await;
    let length = page.headers.get("location").map(|location| location.len());
    assert!(length.is_none_or(|length| length < 2_000), "{length:?}");
}

#[tokio::test]
async fn a_head_of_more_than_a_hundred_fields_is_refused_over_http_2_too() {
    let app = TestApp::start().await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    for (fields, expected) in [(90, 200), (101, 431)] {
        let many = (0..fields).fold(client.get(format!("{}/login", app.url)), |ask, _| ask.header("x", "y"));
        assert_eq!(many.send().await.unwrap().status(), expected, "{fields} fields");
    }
}

#[tokio::test]
async fn a_form_that_is_sent_back_to_be_corrected_costs_an_attempt() {
    let app = TestApp::start().await;
    let mut eve = app.browser();
    for _ in 0..30 {
        assert_eq!(eve.post("/forgot-password", &[("email", "\"")]).await.status, 422);
    }
    assert_eq!(eve.post("/forgot-password", &[("email", "\"")]).await.status, 429);
}
