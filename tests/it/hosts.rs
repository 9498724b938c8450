//! The names that the site answers to, and which proxies it believes about addresses.

use reqwest::{Method, RequestBuilder};

use crate::OTTER;
use crate::app::TestApp;
use crate::browser::{Browser, Page};
use crate::process::Process;
use crate::wire::Wire;

/// Sends a request with this head. Returns the status of the answer, and the whole answer.
async fn ask(app: &TestApp, head: &str) -> (u16, String) {
    let mut wire = Wire::to(&app.url).await;
    wire.say(format!("{head}\r\n\r\n")).await;
    let answer = wire.answer().await;
    (answer[9..12].parse().unwrap(), answer)
}

async fn named(app: &TestApp, host: &str) -> u16 {
    ask(app, &format!("GET /login HTTP/1.1\r\nHost: {host}")).await.0
}

/// Starts a site with this public URL, which the tests reach on loopback. Its emails go nowhere.
async fn far(url: &str) -> TestApp {
    let mail = ["--smtp-url", "smtp://localhost:1", "--mail-from", "no-reply@example.com"];
    TestApp::start_with(&[&["--public-url", url], &mail[..]].concat()).await
}

#[tokio::test]
async fn a_site_answers_to_its_own_name_only() {
    let app = far("https://accounts.example.com").await;
    for own in ["accounts.example.com", "ACCOUNTS.example.com", "accounts.example.com.", "accounts.example.com:443"] {
        assert_eq!(named(&app, own).await, 200, "{own}");
    }
    for other in [
        "evil.example",
        "localhost",
        "127.0.0.1",
        "",
        "accounts.example.com:80",
        "accounts.example.com:3000",
        "accounts.example.com.evil.example",
        "evil.example#accounts.example.com",
        "evil@accounts.example.com",
        "accounts.example.com, evil.example",
        "资料.example",
    ] {
        assert_eq!(named(&app, other).await, 421, "{other:?}");
    }
    let odd = far("https://accounts.example.com:8443").await;
    assert_eq!(named(&odd, "accounts.example.com:8443").await, 200);
    assert_eq!(named(&odd, "accounts.example.com").await, 421);
}

#[tokio::test]
async fn a_site_on_loopback_answers_to_every_name_of_the_loopback_and_to_no_other() {
    for url in ["http://localhost:3000", "http://127.0.0.1:3000", "http://[::1]:3000", "https://accounts.localhost"] {
        let app = TestApp::start_with(&["--public-url", url]).await;
        for own in ["localhost", "localhost:81", "127.0.0.1:3000", "[::1]:3000", "a.localhost", "LOCALHOST"] {
            assert_eq!(named(&app, own).await, 200, "{url} as {own}");
        }
        for other in ["evil.example", "evil.example:3000", "localhost.evil.example", "192.0.2.1", "10.0.0.1:3000"] {
            assert_eq!(named(&app, other).await, 421, "{url} as {other}");
        }
    }
}

#[tokio::test]
async fn a_client_that_asks_for_another_host_is_told_in_words() {
    let app = TestApp::start().await;
    let foreign = |request: RequestBuilder| request.header("host", "evil.example");
    for (language, heading) in [("en", "This site can't be found"), ("zh-CN", "找不到此网站")] {
        let mut sam = app.browser();
        sam.language = Some(language);
        for (method, path) in [(Method::GET, "/"), (Method::POST, "/login"), (Method::GET, "/nowhere")] {
            let page = sam.send(method, path, foreign).await;
            page.assert_framed(421);
            assert_eq!(page.heading(), heading);
            assert!(!page.html.contains("evil"), "{}", page.html);
        }
        for (method, path) in [(Method::GET, "/users/me/"), (Method::POST, "/token"), (Method::GET, "/openapi.json")] {
            let page = sam.send(method, path, foreign).await;
            assert_eq!(page.status, 421);
            assert_eq!(page.html, format!("{{\"detail\":\"{heading}\"}}"));
        }
    }
    // Static files have the same origin as the pages.
    let home = app.browser().open("/").await.html;
    let style = home.split('"').find(|part| part.starts_with("/static/")).unwrap();
    assert_eq!(app.browser().send(Method::GET, style, foreign).await.status, 421);
}

#[tokio::test]
async fn load_balancers_may_use_any_name() {
    let app = far("https://accounts.example.com").await;
    for head in ["HTTP/1.1\r\nHost: 10.0.0.7:3000", "HTTP/1.1\r\nHost: ", "HTTP/1.1", "HTTP/1.0"] {
        for path in ["/healthz", "/readyz"] {
            assert_eq!(ask(&app, &format!("GET {path} {head}")).await.0, 200, "{path} {head}");
        }
    }
}

#[tokio::test]
async fn a_request_must_name_its_host_once() {
    let app = far("https://accounts.example.com").await;
    for (head, expected) in [
        ("GET /login HTTP/1.1", 400),
        ("GET /login HTTP/1.0", 400),
        ("GET /login HTTP/1.0\r\nHost: accounts.example.com", 200),
        ("GET /login HTTP/1.1\r\nHost: accounts.example.com\r\nHost: accounts.example.com", 400),
        ("GET /login HTTP/1.1\r\nHost: accounts.example.com\r\nHost: evil.example", 400),
        ("GET /login HTTP/1.1\r\nHost: evil.example\r\nHost: accounts.example.com", 400),
        ("GET http://accounts.example.com/login HTTP/1.1\r\nHost: accounts.example.com", 200),
        ("GET http://accounts.example.com/login HTTP/1.1\r\nHost: evil.example", 421),
        ("GET http://evil.example/login HTTP/1.1\r\nHost: accounts.example.com", 421),
        ("GET http://evil.example/login HTTP/1.1\r\nHost: evil.example", 421),
        ("GET http://evil.example/login HTTP/1.1", 421),
        ("CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443", 421),
        ("CONNECT accounts.example.com:443 HTTP/1.1\r\nHost: accounts.example.com:443", 404),
    ] {
        let (status, answer) = ask(&app, head).await;
        assert_eq!(status, expected, "{head:?}: {answer}");
    }
}

#[tokio::test]
async fn over_http_2_the_authority_is_the_host() {
    let app = far("https://accounts.example.com").await;
    for (authority, host, expected) in [
        ("accounts.example.com", None, 200),
        ("evil.example", None, 421),
        ("accounts.example.com", Some("evil.example"), 421),
        ("evil.example", Some("accounts.example.com"), 421),
        ("accounts.example.com", Some("accounts.example.com"), 200),
    ] {
        let (mut sender, connection) = h2::client::handshake(Wire::to(&app.url).await.0).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut request = axum::http::Request::get(format!("http://{authority}/login"));
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let (answer, _) = sender.send_request(request.body(()).unwrap(), true).unwrap();
        assert_eq!(answer.await.unwrap().status(), expected, "{authority} with {host:?}");
        connection.abort();
    }
}

fn without_numbers(page: &Page) -> (u16, Vec<(String, String)>, String) {
    let changing = ["x-request-id", "date"];
    let headers = page.headers.iter().filter(|(name, _)| !changing.contains(&name.as_str()));
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    let html = page.html.replace(page.headers["x-request-id"].to_str().unwrap(), "");
    let lines = html.lines().filter(|line| !line.contains("form_id"));
    (page.status.as_u16(), headers, lines.collect())
}

#[tokio::test]
async fn what_proxies_say_of_host_and_scheme_changes_nothing() {
    let app = TestApp::start_with(&["--trusted-proxies", "127.0.0.0/8"]).await;
    let lies = |request: RequestBuilder| {
        request
            .header("x-forwarded-host", "evil.example")
            .header("x-forwarded-proto", "https")
            .header("x-forwarded-port", "81")
            .header("x-forwarded-prefix", "/evil")
            .header("x-original-url", "/evil")
            .header("x-rewrite-url", "/evil")
            .header("x-http-method-override", "DELETE")
            .header("forwarded", "for=192.0.2.1;host=evil.example;proto=https")
    };
    let mut sam = app.user("sam", OTTER).await;
    for path in ["/", "/login", "/signup", "/profile", "/profile/security", "/nowhere", "/docs", "/openapi.json"] {
        for browser in [&mut sam, &mut app.browser()] {
            let honest = browser.send(Method::GET, path, |request| request).await;
            let lied_to = browser.send(Method::GET, path, lies).await;
            assert_eq!(without_numbers(&honest), without_numbers(&lied_to), "{path}");
        }
    }
    let fields = [("login", "sam"), ("password", OTTER)];
    let page = app.browser().send(Method::POST, "/login", |request| lies(request).form(&fields)).await;
    assert_eq!(page.headers["location"], "/profile");
    let cookies: Vec<&str> = page.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap()).collect();
    assert!(cookies.iter().any(|cookie| cookie.starts_with("latchkey_session=")), "{cookies:?}");
    assert!(cookies.iter().all(|cookie| !cookie.contains("Secure")), "{cookies:?}");
    // The email of a sign-up does not change either. That of a reset is tested in `password_reset`.
    let fields = [("email", "ann@example.com"), ("username", "ann"), ("password", OTTER)];
    app.browser().send(Method::POST, "/signup", |request| lies(request).form(&fields)).await;
    let letter = app.letters_to("ann@example.com", 1).await.remove(0);
    assert!(letter.links.iter().all(|link| link.starts_with(&app.url)), "{:?}", letter.links);
    assert!(!letter.text.contains("evil") && !letter.html.contains("evil"));
}

/// Logs in with these `X-Forwarded-For` headers. Returns the address that the site notes for the session.
async fn seen(app: &TestApp, hops: &[&str]) -> String {
    let mut sam: Browser = app.browser();
    let fields = [("login", "sam"), ("password", OTTER)];
    let through = |request: RequestBuilder| {
        hops.iter().fold(request, |request, hop| request.header("x-forwarded-for", *hop)).form(&fields)
    };
    assert_eq!(sam.send(Method::POST, "/login", through).await.status, 303);
    let page = sam.open("/profile/security").await.html;
    page.split("class=\"sessions\"")
        .nth(1)
        .unwrap()
        .split("<bdi>")
        .nth(1)
        .unwrap()
        .split('<')
        .next()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn an_address_is_believed_only_from_trusted_proxies() {
    let alone = TestApp::start().await;
    alone.user("sam", OTTER).await;
    assert_eq!(seen(&alone, &["192.0.2.1"]).await, "127.0.0.1");

    let proxies = ["--trusted-proxies", "127.0.0.0/8,10.0.0.0/8,2001:db8:10::/48"];
    let app = TestApp::start_with(&[&proxies[..], &["--rate-limits", "off"]].concat()).await;
    app.user("sam", OTTER).await;
    for (hops, client) in [
        (&[][..], "127.0.0.1"),
        (&["192.0.2.1"], "192.0.2.1"),
        // What stands left of an untrusted address, the client may have invented.
        (&["6.6.6.6, 192.0.2.1"], "192.0.2.1"),
        (&["6.6.6.6, 192.0.2.1, 10.0.0.1"], "192.0.2.1"),
        (&["10.0.0.9, 192.0.2.1"], "192.0.2.1"),
        // Several headers are one list.
        (&["6.6.6.6", "192.0.2.1", "10.0.0.1"], "192.0.2.1"),
        (&["192.0.2.1, 10.0.0.1", "10.0.0.2"], "192.0.2.1"),
        (&["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2:3:4:5:6"),
        (&["2001:DB8:1::6, 2001:db8:10::1"], "2001:db8:1::6"),
        (&["::ffff:192.0.2.1"], "192.0.2.1"),
        (&["192.0.2.1, ::ffff:10.0.0.1"], "192.0.2.1"),
        // Some proxies write the port too.
        (&["192.0.2.1:5678"], "192.0.2.1"),
        (&["[2001:db8:1::6]:5678, 10.0.0.1:80"], "2001:db8:1::6"),
        // An entry that is no address is ignored, with everything left of it: the last known address stays.
        (&["unknown"], "127.0.0.1"),
        (&["192.0.2.1, unknown"], "127.0.0.1"),
        (&["192.0.2.1, unknown, 10.0.0.1"], "10.0.0.1"),
        (&["192.0.2.1,"], "127.0.0.1"),
        (&["<script>"], "127.0.0.1"),
    ] {
        assert_eq!(seen(&app, hops).await, client, "{hops:?}");
    }
}

#[tokio::test]
async fn a_proxy_that_is_missing_in_the_settings_is_warned_of_once() {
    let words = "LATCHKEY_TRUSTED_PROXIES: 127.0.0.1";
    for (proxies, lines) in [("", 1), ("127.0.0.1/32", 0), ("127.0.0.1", 0), ("::1,127.0.0.1", 0)] {
        let settings = [("LATCHKEY_TRUSTED_PROXIES", proxies)];
        let mut process = Process::serving(if proxies.is_empty() { &[] } else { &settings }).await;
        let mut sam = process.browser();
        sam.open("/login").await;
        assert!(!process.log().contains(words), "{}", process.log());
        for _ in 0..3 {
            sam.send(Method::GET, "/login", |request| request.header("x-forwarded-for", "192.0.2.1")).await;
        }
        process.stop().await;
        assert_eq!(process.log().matches(words).count(), lines, "{}", process.log());
    }
}

/// The headers that proxies and CDNs add to a request that they pass on.
const ADDED_BY_PROXIES: [(&str, &str); 12] = [
    ("forwarded", "for=192.0.2.1"),
    ("x-forwarded-for", "192.0.2.1"),
    ("x-forwarded-host", "accounts.example.com"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-server", "proxy"),
    ("x-real-ip", "192.0.2.1"),
    ("x-client-ip", "192.0.2.1"),
    ("true-client-ip", "192.0.2.1"),
    ("via", "1.1 proxy"),
    ("cf-connecting-ip", "192.0.2.1"),
    ("cf-ray", "1"),
    ("cdn-loop", "cloudflare"),
];

#[tokio::test]
async fn the_mailbox_is_not_there_for_clients_behind_a_proxy() {
    let mut process = Process::serving(&[]).await;
    process.user("sam", OTTER).await;
    let letters = reqwest::get(format!("{}/dev/mailbox.json", process.url)).await.unwrap();
    let id = letters.json::<serde_json::Value>().await.unwrap()[0]["id"].as_str().unwrap().to_owned();
    let pages = ["".to_owned(), ".json".to_owned(), format!("/{id}"), format!("/{id}/html")];
    let said = "LATCHKEY_SMTP_URL: ";
    assert!(!process.log().contains(said), "{}", process.log());
    let mut eve = process.browser();
    for page in &pages {
        let path = format!("/dev/mailbox{page}");
        assert_eq!(eve.open(&path).await.status, 200, "{path}");
        for (name, value) in ADDED_BY_PROXIES {
            let answer = eve.send(Method::GET, &path, |request| request.header(name, value)).await;
            answer.assert_framed(404);
            assert!(!answer.html.contains("sam@"), "{path} with {name}: {}", answer.html);
        }
        // nginx with its default settings adds no header, but speaks HTTP/1.0.
        let mut wire = Wire::to(&process.url).await;
        let host = process.url.trim_start_matches("http://");
        wire.say(format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        assert!(wire.answer().await.contains(" 404 "), "{path}");
        assert_eq!(eve.open(&path).await.status, 200, "{path}: the developer still reads it");
    }
    process.stop().await;
    assert_eq!(process.log().matches(said).count(), 1, "{}", process.log());
}
