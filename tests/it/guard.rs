//! Requests from other sites, and the headers of every answer.

use reqwest::Method;

use crate::OTTER;
use crate::app::TestApp;
use crate::process::until;

/// Posts a log-out, as another site could make the browser of a user do, with these headers in place of a browser's.
async fn forged(app: &TestApp, cookies: &std::collections::BTreeMap<String, String>, headers: &[(&str, &str)]) -> u16 {
    let mut request = reqwest::Client::new().post(format!("{}/logout", app.url));
    let all: Vec<_> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if !all.is_empty() {
        request = request.header("cookie", all.join("; "));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    client.execute(request.build().unwrap()).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_form_that_another_site_makes_a_browser_send_is_refused() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let cookies = sam.cookies.clone();
    let own = app.url.as_str();
    for headers in [
        &[("origin", "https://evil.example")][..],
        &[("origin", "null")],
        &[("origin", "http://127.0.0.1")],
        &[("origin", "http://127.0.0.1:1")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "SAME-ORIGIN-ISH")],
        &[("sec-fetch-site", "cross-site"), ("origin", own)],
        // Behind a proxy that rewrites Host, a page under any name is “same-origin”. Its origin is not ours.
        &[("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")],
        &[("sec-fetch-site", "same-origin"), ("origin", "http://localhost.evil.example")],
        &[("sec-fetch-site", "same-origin"), ("origin", "null")],
        &[("sec-fetch-site", "none"), ("origin", "https://evil.example")],
        &[("sec-fetch-site", "same-origin"), ("origin", own), ("origin", "https://evil.example")],
        &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site"), ("origin", own)],
        &[("referer", own)],
        &[],
    ] {
        assert_eq!(forged(&app, &cookies, headers).await, 403, "{headers:?}");
        assert!(sam.is_logged_in().await);
    }
    // Developers mix the names of the loopback. The port is the site's, or the browser would not say “same-origin”.
    let mixed = own.replace("127.0.0.1", "localhost");
    for (n, headers) in [
        &[("sec-fetch-site", "same-origin")][..],
        &[("sec-fetch-site", "none")],
        &[("sec-fetch-site", "none"), ("origin", "null")], // what a restored tab sends
        &[("origin", own)],
        &[("sec-fetch-site", "same-origin"), ("origin", own)],
        &[("sec-fetch-site", "same-origin"), ("origin", &mixed)],
        &[("sec-fetch-site", "same-origin"), ("origin", "http://[::1]:3000")],
    ]
    .into_iter()
    .enumerate()
    {
        let fresh = app.user(&format!("sam{n}"), OTTER).await;
        assert_eq!(forged(&app, &fresh.cookies, headers).await, 303, "{headers:?}");
    }
    assert_eq!(forged(&app, &std::collections::BTreeMap::new(), &[]).await, 303, "a program without cookies");
}

#[tokio::test]
async fn a_foreign_log_in_or_sign_up_is_refused_with_a_page() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let mut browser = app.browser();
    browser.base = "https://evil.example".into();
    for path in ["/login", "/signup", "/forgot-password", "/reset-password", "/signup/confirm", "/profile", "/nowhere"]
    {
        let address = format!("{}{path}", app.url);
        let page = browser.post(&address, &[("login", "sam"), ("password", OTTER)]).await;
        if path == "/nowhere" {
            page.assert_framed(404);
        } else {
            page.assert_framed(403);
            assert_eq!(page.heading(), "This request came from another site", "{path}");
        }
    }
}

#[tokio::test]
async fn every_answer_carries_the_headers() {
    let app = TestApp::start().await;
    let mut browser = app.browser();
    let style = browser.open("/").await;
    let style = style.html.split("href=\"").find(|part| part.starts_with("/static/app.")).unwrap();
    let style = style.split('"').next().unwrap().to_owned();
    for (method, path, status) in [
        (Method::GET, "/", 200),
        (Method::GET, "/login", 200),
        (Method::GET, "/profile", 303),
        (Method::GET, "/nowhere", 404),
        (Method::GET, "/%ff%00", 404),
        (Method::GET, "/static/../Cargo.toml", 404),
        (Method::GET, "/static/app.css", 404),
        (Method::DELETE, "/login", 405),
        (Method::GET, "/logout", 405),
        (Method::POST, "/", 405),
        (Method::GET, "/favicon.ico", 303),
        (Method::GET, "/healthz", 200),
        (Method::GET, "/readyz", 200),
        (Method::GET, "/reset-password", 410),
        (Method::GET, &style, 200),
    ] {
        let page = browser.send(method.clone(), path, |request| request).await;
        assert_eq!(page.status.as_u16(), status, "{method} {path}");
        for (name, value) in [
            (
                "content-security-policy",
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            ),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(page.headers[name], value, "{method} {path}");
        }
        assert!(page.headers["permissions-policy"].to_str().unwrap().contains("camera=()"));
        assert!(page.headers.contains_key("x-request-id"));
        let cache = page.headers["cache-control"].to_str().unwrap();
        assert_eq!(cache, if path == style { "public, max-age=31536000, immutable" } else { "no-store" });
        assert!(!page.headers.contains_key("strict-transport-security"), "not on http");
        if status >= 400 {
            page.assert_framed(status);
            assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
        }
        if status == 405 {
            assert!(page.headers.contains_key("allow"));
        }
    }
}

#[tokio::test]
async fn the_html_of_an_email_is_the_only_page_that_may_be_framed() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let letter = reqwest::get(format!("{}/dev/mailbox.json", app.url)).await.unwrap();
    let letter = letter.json::<serde_json::Value>().await.unwrap()[0]["id"].as_str().unwrap().to_owned();
    for (path, expected) in [("", "DENY"), ("/html", "SAMEORIGIN")] {
        let page = app.browser().open(&format!("/dev/mailbox/{letter}{path}")).await;
        assert_eq!(page.headers["x-frame-options"], expected, "{path}");
    }
}

#[tokio::test]
async fn hsts_is_for_https_and_for_subdomains_only_if_the_operator_says_so() {
    for (flags, expected) in [
        (&["--public-url", "https://localhost"][..], "max-age=63072000"),
        (&["--public-url", "https://localhost", "--hsts-subdomains", "on"], "max-age=63072000; includeSubDomains"),
    ] {
        let app = TestApp::start_with(flags).await;
        for path in ["/", "/nowhere", "/openapi.json", "/healthz"] {
            assert_eq!(app.browser().open(path).await.headers["strict-transport-security"], expected, "{path}");
        }
    }
}

#[tokio::test]
async fn a_log_out_clears_the_storage_and_no_cookie_that_must_stay() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let page = sam.post::<&str, &str>("/logout", &[]).await;
    // "cookies" would delete the device cookie too, and "cache" makes browsers wait.
    assert_eq!(page.headers["clear-site-data"], "\"storage\"");
    assert!(sam.cookies.contains_key("latchkey_device") && !sam.cookies.contains_key("latchkey_session"));
    for path in ["/login", "/profile", "/logout"] {
        let page = sam.send(Method::GET, path, |request| request).await;
        assert!(!page.headers.contains_key("clear-site-data"), "{path}");
    }
}

#[tokio::test]
async fn a_failure_shows_the_request_id_of_its_header() {
    let app = TestApp::start().await;
    let page = app.browser().open("/nowhere").await;
    assert!(page.html.contains(page.headers["x-request-id"].to_str().unwrap()));
}

#[tokio::test]
async fn a_database_out_of_reach_never_looks_like_a_log_out() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    app.app.db.read().clone().close().await.unwrap();
    let page = sam.open("/profile").await;
    page.assert_framed(503);
    assert!(page.headers.contains_key("retry-after"));
    let probe = app.browser().open("/readyz").await;
    assert_eq!((probe.status.as_u16(), probe.html.starts_with("database: ")), (503, true), "{}", probe.html);
    assert!(probe.headers.contains_key("retry-after"));
    assert_eq!(app.browser().open("/healthz").await.status, 200);
    let page = app.browser().log_in("sam", OTTER).await;
    page.assert_framed(503);
}

#[tokio::test]
async fn static_files_are_compressed_for_browsers_that_can_unpack_them() {
    let app = TestApp::start().await;
    let mut browser = app.browser();
    let html = browser.open("/").await.html;
    for asset in html.split('"').filter(|part| part.starts_with("/static/")) {
        let plain = browser.send(Method::GET, asset, |request| request).await;
        let packed =
            browser.send(Method::GET, asset, |request| request.header("accept-encoding", "br, gzip;q=0.9")).await;
        assert_eq!(packed.headers["content-encoding"], "gzip");
        assert_eq!(packed.headers["vary"], "Accept-Encoding");
        assert!(!plain.headers.contains_key("content-encoding"));
        assert!(plain.headers["content-length"] != packed.headers["content-length"]);
    }
}

#[tokio::test]
async fn the_probe_of_a_load_balancer_does_not_wait_for_a_writer() {
    let app = TestApp::start().await;
    assert_eq!(app.browser().open("/healthz").await.status, 200, "the start, which writes, is over");
    let writer = app.app.db.begin().await.unwrap();
    let asked = tokio::time::timeout(std::time::Duration::from_secs(5), async { app.browser().open("/readyz").await });
    assert_eq!(asked.await.expect("an answer while another transaction writes").status, 200);
    writer.rollback().await.unwrap();
    app.app.db.read().close_by_ref().await.unwrap();
    let gone = async || (app.browser().open("/readyz").await.status == 503).then_some(());
    until("an old answer is not given for long", gone).await;
}
