//! How many pieces of memory a page takes. Unlike its time, the number is the same on each machine. `cargo test budget --
//! --nocapture` shows it.

#![expect(clippy::print_stdout, reason = "the figures are for whoever changes them")]

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::header::{ACCEPT, ACCEPT_LANGUAGE, COOKIE, HOST, USER_AGENT};
use http_body_util::BodyExt;
use latchkey::{api, web};
use tower::ServiceExt;

use crate::OTTER;
use crate::app::TestApp;
use crate::changes::comes_from_memory;
use crate::security::FIREFOX;

/// The allocations of the log-in page, and of the profile with its session in memory. Whoever makes a page need fewer writes the
/// smaller number here. More need a reason.
const LOG_IN: u64 = 75;
const PROFILE: u64 = 95;

#[test]
fn a_page_takes_no_more_allocations_than_before() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (app, cookies) = runtime.block_on(async {
        let app = TestApp::start().await;
        let mut sam = app.user("sam", OTTER).await;
        comes_from_memory(&app, &mut sam).await;
        (app, sam.cookies)
    });
    let cookies: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let (_, description) = api::router(app.app.clone()).unwrap();
    let router = web::router(app.app.clone(), &description);
    let taken = |path: &str, cookies: &str| {
        let send = || {
            let mut request = Request::get(path)
                .header(HOST, app.url.trim_start_matches("http://"))
                .header(USER_AGENT, FIREFOX)
                .header(ACCEPT, "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
                .header(ACCEPT_LANGUAGE, "en-US,en;q=0.5");
            if !cookies.is_empty() {
                request = request.header(COOKIE, cookies);
            }
            let peer = ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 40_000)));
            let request = request.extension(peer).body(Body::empty()).unwrap();
            let router = router.clone();
            // What belongs to the server alone is counted: not the making of the request, nor the runtime.
            allocation_counter::measure(|| {
                runtime.block_on(async {
                    let answer = router.oneshot(request).await.unwrap();
                    assert_eq!(answer.status(), 200);
                    answer.into_body().collect().await.unwrap();
                });
            })
        };
        // Other tasks of this thread may run in between.
        (0..50).map(|_| send().count_total).min().unwrap()
    };
    let (log_in, profile) = (taken("/login", ""), taken("/profile", &cookies.join("; ")));
    println!("log-in page: {log_in}, profile: {profile} allocations");
    assert!(
        log_in <= LOG_IN && profile <= PROFILE,
        "log-in page {log_in} > {LOG_IN}, or profile {profile} > {PROFILE}"
    );
}
