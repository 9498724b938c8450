//! Redirects always lead to pages of this site, whatever the URL or the form asks for.

use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

use crate::OTTER;
use crate::app::TestApp;
use crate::browser::{Browser, Page};

/// Ways to write another site, or no site at all, encoded for a query.
const ELSEWHERE: &[&str] = &[
    "//evil.example",
    "///evil.example",
    "////evil.example",
    "/%2fevil.example",
    "%2f%2fevil.example",
    "%2F%2Fevil.example/profile",
    "/%5cevil.example",
    "%5c%5cevil.example",
    "%5c/evil.example",
    "/%5c/evil.example",
    "/%09/evil.example",
    "%09//evil.example",
    "/%0a/evil.example",
    "/%0d%0a/evil.example",
    "/%0d%0aLocation:%20https:%2f%2fevil.example",
    "/%00/evil.example",
    "%20//evil.example",
    "/%20/evil.example",
    "%ef%bb%bf//evil.example",
    "%c2%a0//evil.example",
    "/.//evil.example",
    "/..//evil.example",
    "/profile/..//evil.example",
    "/%2e%2e//evil.example",
    "/./%2e//evil.example",
    "http:evil.example",
    "http:/evil.example",
    "http://evil.example",
    "https://evil.example/profile",
    "HTTPS://evil.example",
    "https:%5c%5cevil.example",
    "http://localhost@evil.example",
    "http://localhost:80%5c@evil.example",
    "//localhost@evil.example/",
    "@evil.example",
    ".evil.example",
    "evil.example",
    ":80/",
    "javascript:alert(1)",
    "%01javascript:alert(1)",
    "java%0ascript:alert(1)",
    "data:text/html,x",
    "vbscript:x",
    "file:///etc/passwd",
    "mailto:a@evil.example",
    "?next=//evil.example",
    "#//evil.example",
    "%e2%88%95%e2%88%95evil.example",
    "/%e2%88%95evil.example",
    "/%ef%bc%8fevil.example",
    "%ef%bc%8f%ef%bc%8fevil.example",
    "/%e3%80%82evil.example",
    "/%ef%bc%bcevil.example",
    "/%ff/evil.example",
    "//[::1]/",
    "//0x7f000001/",
    "%2568ttps:",
    "/%252fevil.example",
    "/%25%35%63evil.example",
    "//evil.example&next=/profile",
    "/profile&next=//evil.example",
];

/// Asserts that a location is on this site, by its text and by the rules of the URL standard.
fn assert_local(base: &str, location: &str, what: &str) {
    let plain = location.starts_with('/') && !location.starts_with("//");
    assert!(plain && !location.contains(|c: char| c == '\\' || c.is_control()), "{what} led to {location:?}");
    let base = Url::parse(base).unwrap();
    assert_eq!(base.join(location).unwrap().origin(), base.origin(), "{what} led to {location:?}");
}

/// Returns the location of a response, which must be on this site.
fn local(base: &str, page: &Page, what: &str) -> String {
    let location = page.headers["location"].to_str().unwrap();
    assert_local(base, location, what);
    assert_eq!(page.headers.get_all("location").iter().count(), 1, "{what}");
    location.to_owned()
}

async fn post_raw(browser: &mut Browser, path: &str, body: String) -> Page {
    let form = "application/x-www-form-urlencoded";
    browser.send(Method::POST, path, |request| request.header("content-type", form).body(body)).await
}

#[tokio::test]
async fn next_leads_to_a_page_of_this_site_or_nowhere() {
    let app = TestApp::start_with(&["--rate-limits", "off"]).await;
    let mut sam = app.user("sam", OTTER).await;
    let get = async |browser: &mut Browser, path: &str| browser.send(Method::GET, path, |request| request).await;
    let page = get(&mut sam, "/login?next=/profile/security").await;
    assert_eq!(local(&app.url, &page, "the control"), "/profile/security", "a page of ours is gone to");
    for next in ELSEWHERE {
        // If the user is logged in already, the page redirects at once.
        let page = get(&mut sam, &format!("/login?next={next}")).await;
        local(&app.url, &page, &format!("GET /login?next={next}"));
        let page = post_raw(&mut sam.clone(), "/logout", format!("next={next}")).await;
        local(&app.url, &page, &format!("POST /logout with {next}"));
        sam.cookies.clear(); // the log-out above has ended the session
        // The form keeps only a page that it would lead to.
        let page = get(&mut app.browser(), &format!("/login?next={next}")).await;
        let kept = page.value_of("next");
        assert!(kept.is_empty() || kept.starts_with('/') && !kept.starts_with("//"), "{next} is kept as {kept}");
        let page = post_raw(&mut sam, "/login", format!("login=sam&password={OTTER}&next={next}")).await;
        local(&app.url, &page, &format!("POST /login with {next}"));
        assert!(sam.cookies.contains_key("latchkey_session"));
    }
}

#[tokio::test]
async fn the_log_in_that_a_page_asks_for_leads_back_to_that_page() {
    let app = TestApp::start_with(&["--rate-limits", "off"]).await;
    app.user("sam", OTTER).await;
    for query in ["", "?x=//evil.example", "?next=//evil.example", "?a%0d%0ab", "?%5c%5cevil.example", "?\u{ff0f}"] {
        let mut sam = app.browser();
        let page = sam.send(Method::GET, &format!("/profile/security{query}"), |request| request).await;
        let to_log_in = local(&app.url, &page, query);
        let page = sam.open(&to_log_in).await;
        let form = page.form("/login").fill("login", "sam").fill("password", OTTER);
        let page = sam.post("/login", &form.fields).await;
        assert!(local(&app.url, &page, query).starts_with("/profile/security"), "{query}");
    }
}

#[tokio::test]
async fn the_switch_of_language_stays_on_the_page() {
    let app = TestApp::start().await;
    for path in [
        "/login?lang=en",
        "/login?next=//evil.example&lang=en",
        "/login?lang=en&lang=zh-CN",
        "/login?lang=en&x=%0d%0aLocation:%20//evil.example",
        "/login?lang=en&%5c%5cevil.example",
        "/login?//evil.example&lang=en",
        "/login?lang=en%0d%0aSet-Cookie:%20a=b",
        "/login?lang=//evil.example",
        "//evil.example/login?lang=en",
        "///login?lang=en",
        "/%2fevil.example?lang=en",
        "/%5cevil.example?lang=en",
        "/login/..//evil.example?lang=en",
        "/.//evil.example/?lang=en",
        "/dev/mailbox/%2f%2fevil.example?lang=en",
        "/static/%2f%2fevil.example?lang=en",
    ] {
        let answer = raw(&app, &format!("GET {path} HTTP/1.1"), "").await;
        let lines: Vec<&str> = answer.split("\r\n\r\n").next().unwrap().lines().collect();
        assert!(["HTTP/1.1 200", "HTTP/1.1 303", "HTTP/1.1 404"].contains(&&lines[0][..12]), "{path}: {}", lines[0]);
        for line in &lines {
            if let Some(location) = line.strip_prefix("location: ") {
                assert_local(&app.url, location, path);
            }
            assert!(!line.starts_with("set-cookie: a=b"), "{path}");
        }
    }
    // A request to a proxy has the name of a site in its first line.
    let answer = raw(&app, "GET http://evil.example/login?lang=en HTTP/1.1", "").await;
    assert!(!answer.lines().any(|line| line.starts_with("location: ") && line != "location: /login"), "{answer}");
}

/// Sends a request line and headers that no well-behaved client sends. Returns the whole response.
pub async fn raw(app: &TestApp, line: &str, headers: &str) -> String {
    let host = app.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    let request = format!("{line}\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![];
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
