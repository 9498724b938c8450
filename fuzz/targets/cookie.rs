//! No line of cookies logs a client in, and every page still answers. The requests pass the production router: our reader of
//! cookies, and those of tower-cookies and tower-sessions.
#![no_main]

use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use clap::Parser;
use latchkey::app::App;
use latchkey::config::{Config, Settings};
use latchkey::{api, web};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

static SITE: LazyLock<(Runtime, Router, TempDir)> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().to_str().expect("UTF-8").to_owned();
    let config = Settings::parse(Arguments::parse_from(["fuzz", "--data-dir", &data]).config).expect("the defaults");
    let app = runtime.block_on(App::open(config)).expect("it starts");
    let document = serde_json::to_value(api::document(&app)).expect("JSON");
    (runtime, web::router(app, &document), dir)
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(cookies) = HeaderValue::from_bytes(bytes) else { return };
    let (runtime, router, _) = &*SITE;
    for (path, status) in [("/login", 200), ("/profile", 303), ("/reset-password", 410)] {
        let request = Request::builder().uri(path).header(header::HOST, "localhost:3000");
        let request = request.header(header::COOKIE, cookies.clone()).body(Body::empty()).expect("a request");
        let response = runtime.block_on(router.clone().oneshot(request)).expect("never fails");
        assert_eq!(response.status(), status, "{path}");
    }
});
