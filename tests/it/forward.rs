//! Forward-auth: a proxy asks who is there, for apps that know nothing of log-ins.

use latchkey::accounts::{operator, user};
use reqwest::{Method, RequestBuilder};

use crate::app::TestApp;
use crate::authorize::{Wiki, open, parameters};
use crate::browser::{Browser, Page};
use crate::process::{Process, Ran, free_port, until};
use crate::{HERON, OTTER};

/// The domain of the site and its apps.
pub const DOMAIN: &str = "example.localhost";

fn refused(ran: &Ran, words: &str) {
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert!(ran.err.contains(words) && ran.out.is_empty(), "{words}: {ran:?}");
}

#[tokio::test]
async fn an_operator_registers_where_an_app_stands() {
    let url = format!("http://accounts.{DOMAIN}:{}", free_port());
    let process = Process::serving(&[("LATCHKEY_PUBLIC_URL", &url), ("LATCHKEY_GATE_DOMAIN", DOMAIN)]).await;
    let json = |arguments: &[&str]| -> serde_json::Value {
        let ran = process.run(&[arguments, &["--json"]].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        serde_json::from_str(&ran.out).unwrap()
    };
    let wiki =
        json(&["app", "add", "Wiki", "--host", "Wiki.Example.localhost:80", "--host", "w.example.localhost:8080"]);
    assert_eq!(wiki["hosts"], serde_json::json!(["wiki.example.localhost", "w.example.localhost:8080"]), "{wiki}");
    assert_eq!(wiki["redirect_uris"], serde_json::json!([]), "it needs no other address");
    assert!(process.run(&["app", "show", "wiki"]).out.contains("Host:          wiki.example.localhost\n"));

    let add = |host: &str| process.run(&["app", "add", "Shop", "--host", host]);
    refused(&add("wiki.example.localhost"), "--host: wiki.example.localhost belongs to Wiki already");
    refused(&add("wiki.example.localhost."), "belongs to Wiki already");
    refused(&add("wiki.example.org"), "is not below LATCHKEY_GATE_DOMAIN, which is example.localhost");
    refused(&add("notexample.localhost"), "is not below");
    refused(&add("accounts.example.localhost:8080"), "this site's own host");
    refused(&add("https://shop.example.localhost"), "is not a host such as wiki.example.com");
    refused(&process.run(&["app", "add", "Shop"]), "--redirect-uri");
    json(&["app", "add", "Shop", "--host", "shop.example.localhost"]);
    refused(&process.run(&["app", "edit", "Shop", "--host", "w.example.localhost:8080"]), "belongs to Wiki already");

    let edited = json(&["app", "edit", "Wiki", "--name", "The Wiki"]);
    assert_eq!(edited["hosts"], wiki["hosts"], "what is not named stays");
    assert_eq!(json(&["app", "edit", "The Wiki", "--no-host"])["hosts"], serde_json::json!([]));
    assert_eq!(
        json(&["app", "edit", "Shop", "--host", "w.example.localhost:8080"])["hosts"],
        serde_json::json!(["w.example.localhost:8080"])
    );
}

#[tokio::test]
async fn a_host_needs_a_domain_that_the_site_is_in() {
    let process = Process::serving(&[]).await;
    refused(&process.run(&["app", "add", "Wiki", "--host", "wiki.example.com"]), "--host needs LATCHKEY_GATE_DOMAIN");
    for (domain, words) in [
        ("example.org", "LATCHKEY_GATE_DOMAIN=example.org is refused"),
        ("wiki.example.localhost", "is refused"),
        ("localhost", "needs a dot"),
        ("127.0.0.1", "is an address"),
        ("https://example.localhost", "is not a domain"),
    ] {
        let process = Process::new(&[
            ("LATCHKEY_PUBLIC_URL", "http://accounts.example.localhost"),
            ("LATCHKEY_GATE_DOMAIN", domain),
        ]);
        let ran = process.run(&["serve"]);
        refused(&ran, words);
        assert_eq!(ran.err.trim().lines().count(), 1, "{ran:?}");
    }
}

pub const SITE: &str = "http://accounts.example.localhost";
pub const WIKI: &str = "wiki.example.localhost:8080";
/// A page of the app, with escapes that must come back as they are.
const PAGE: &str = "/a/%2e%2E//%e8%b5%84?q=a+b%20c&x={}|'%2B&next=https://wiki.example.localhost/&%";
/// The headers of a browser that opens a page.
pub const OPENS: [(&str, &str); 2] = [("sec-fetch-mode", "navigate"), ("accept", "text/html,*/*;q=0.8")];

/// Starts a site with an app that stands behind a proxy. The tests are the proxy.
pub async fn site(proxies: &str) -> TestApp {
    let flags = ["--public-url", SITE, "--gate-domain", DOMAIN, "--trusted-proxies", proxies];
    let app = TestApp::start_with(&flags).await;
    Wiki::register(&app, |new| (new.redirect_uris, new.hosts) = (vec![], vec![WIKI.parse().unwrap()])).await;
    app
}

pub fn browser(app: &TestApp) -> Browser {
    let mut browser = app.browser();
    browser.site = Some(SITE.to_owned());
    browser
}

/// Signs a user up. Returns the browser in which the user is logged in.
pub async fn signed_up(app: &TestApp, name: &str) -> Browser {
    let (mut browser, address) = (browser(app), format!("{name}@example.com"));
    let form = browser.open("/signup").await.form("/signup").fill("email", &address).fill("username", name);
    browser.submit(form.fill("full_name", "Sam 史密斯").fill("password", OTTER)).await;
    let link = app.letters_to(&address, 1).await[0].links[0].replace(SITE, "");
    let form = browser.open(&link).await.form("/signup/confirm");
    assert_eq!(browser.submit(form).await.path, "/profile");
    browser
}

/// Asks who is there, as a proxy does for a request to this host and path, with these headers of the client.
pub async fn ask(browser: &Browser, host: &str, uri: &str, headers: &[(&str, &str)]) -> Page {
    ask_at(browser, "/auth/verify", &[&[("x-forwarded-host", host), ("x-forwarded-uri", uri)], headers].concat()).await
}

async fn ask_at(browser: &Browser, path: &str, headers: &[(&str, &str)]) -> Page {
    // An application's host gets the forward cookie only.
    let mut there = browser.clone();
    there.cookies.retain(|name, _| name == "latchkey_gate");
    there.site = there.site.filter(|_| !headers.iter().any(|(name, _)| *name == "host"));
    there
        .send(Method::GET, path, |request| {
            let add = |request: RequestBuilder, (name, value): &(&str, &str)| request.header(*name, *value);
            headers.iter().fold(request, add)
        })
        .await
}

/// Returns who is there, by the headers of the answer.
pub fn remote(page: &Page) -> [String; 4] {
    assert_eq!(page.status, 200, "{page:?}");
    assert_eq!(page.headers["cache-control"], "no-store");
    ["remote-user", "remote-id", "remote-email", "remote-name"]
        .map(|name| String::from_utf8(page.headers[name].as_bytes().to_vec()).unwrap())
}

/// Returns the path of the page to which a browser is sent.
fn enters(page: &Page) -> String {
    assert_eq!(page.status, 302, "{page:?}");
    let to = page.headers["location"].to_str().unwrap();
    assert!(to.starts_with(&format!("{SITE}/auth/enter?to=")), "{to}");
    to.replace(SITE, "")
}

#[tokio::test]
async fn a_user_goes_through_the_log_in_back_to_exactly_the_same_page() {
    let app = site("127.0.0.1").await;
    signed_up(&app, "sam").await;
    let mut sam = browser(&app);
    let sent = enters(&ask(&sam, WIKI, PAGE, &OPENS).await);
    let page = open(&mut sam, &sent).await.expect("the log-in");
    assert!(page.html.contains("Log in to go on to Wiki."), "{}", page.html);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains(&format!("form-action 'self' http://{WIKI};")), "{policy}");

    let form = page.form("/login").fill("login", "sam").fill("password", OTTER);
    let page = sam.post(&form.action, &form.fields).await;
    let next = page.headers["location"].to_str().unwrap().to_owned();
    let page = sam.send(Method::GET, &next, |request| request).await;
    assert_eq!(
        (page.status.as_u16(), page.headers["location"].to_str().unwrap()),
        (303, &*format!("http://{WIKI}{PAGE}"))
    );

    let [user, id, email, name] = remote(&ask(&sam, WIKI, PAGE, &OPENS).await);
    assert_eq!((user.as_str(), email.as_str(), name.as_str()), ("sam", "sam@example.com", "Sam 史密斯"));
    assert!(id.parse::<uuid::Uuid>().is_ok(), "{id}");
    // A user who is logged in here already sees no log-in.
    let mut again = sam.clone();
    again.cookies.remove("latchkey_gate");
    let sent = enters(&ask(&again, WIKI, "/", &OPENS).await);
    let back = open(&mut again, &sent).await.expect_err("the app");
    assert_eq!(back.as_str(), format!("http://{WIKI}/"));
    assert_eq!(remote(&ask(&again, WIKI, "/", &OPENS).await)[0], "sam");
}

#[tokio::test]
async fn the_cookie_is_for_the_domain_and_ends_with_the_log_in() {
    let app = site("127.0.0.1").await;
    let mut sam = signed_up(&app, "sam").await;
    let form = sam.open("/login").await; // redirected, because Sam is logged in
    assert_eq!(form.path, "/profile");
    let mut sam = browser(&app);
    let form =
        sam.open("/login").await.form("/login").fill("login", "sam").fill("password", OTTER).fill("remember", "1");
    let page = sam.post(&form.action, &form.fields).await;
    let set = |page: &Page, name: &str| {
        let all = page.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap().to_owned());
        all.filter(|cookie| cookie.starts_with(&format!("{name}="))).collect::<Vec<_>>()
    };
    let (session, gate) = (set(&page, "latchkey_session"), set(&page, "latchkey_gate"));
    let attributes = |cookie: &str| {
        let mut all: Vec<_> = cookie.split("; ").skip(1).map(str::to_owned).collect();
        all.retain(|attribute| !attribute.starts_with("Max-Age="));
        all.sort();
        all
    };
    let days = |cookie: &str| {
        let kept = cookie.split("Max-Age=").nth(1).unwrap().split(';').next().unwrap();
        (kept.parse::<f64>().unwrap() / 86400.0).round()
    };
    assert_eq!((days(&gate[0]), days(&session[0])), (30.0, 30.0), "as long as the log-in may last");
    assert_eq!(attributes(&gate[0]), ["Domain=example.localhost", "HttpOnly", "Path=/", "SameSite=Lax"]);
    assert_eq!(attributes(&session[0]), ["HttpOnly", "Path=/", "SameSite=Lax"]);
    let page = sam.open("/profile").await;
    let form = page.form("/logout");
    let old = sam.clone();
    let page = sam.post(&form.action, &form.fields).await;
    let gone = set(&page, "latchkey_gate");
    assert!(gone[0].contains("Max-Age=0") && gone[0].contains("Domain=example.localhost"), "{gone:?}");
    enters(&ask(&old, WIKI, "/", &OPENS).await);
}

#[tokio::test]
async fn only_a_proxy_of_ours_and_for_a_registered_host_is_answered() {
    let app = site("127.0.0.1").await;
    let sam = signed_up(&app, "sam").await;
    let no = async |host: &str, words: &str| {
        let page = ask(&sam, host, "/", &OPENS).await;
        assert!(page.status == 403 && page.html.contains(words), "{host}: {page:?}");
        assert!(!page.headers.contains_key("remote-user"));
    };
    for host in
        ["evil.example", "wiki.example.localhost", "accounts.example.localhost", "x.wiki.example.localhost:8080"]
    {
        no(host, "No app is registered").await;
    }
    for host in [
        "",
        "?",
        "wiki.example.localhost:8080, evil.example",
        "wiki.example.localhost:8080/",
        "a@wiki.example.localhost:8080",
    ] {
        no(host, "sends no host").await;
    }
    for host in ["WIKI.example.localhost:8080", "wiki.example.localhost.:8080"] {
        assert_eq!(remote(&ask(&sam, host, "/", &OPENS).await)[0], "sam", "{host}");
    }
    let twice = [("x-forwarded-host", WIKI), ("x-forwarded-host", "evil.example")];
    assert_eq!(ask_at(&sam, "/auth/verify", &twice).await.status, 403);
    assert_eq!(ask_at(&sam, "/auth/verify", &[]).await.status, 403, "the site itself is no app");
    // Envoy leaves the host as it is, and writes the path after ours.
    for path in ["/auth/verify/", "/auth/verify/a//b?status&c=%20"] {
        assert_eq!(remote(&ask_at(&sam, path, &[("host", WIKI)]).await)[0], "sam", "{path}");
        let to = enters(&ask_at(&browser(&app), path, &[("host", WIKI), OPENS[0]]).await);
        let back = format!("http://{WIKI}{}", path.replace("/auth/verify", ""));
        assert_eq!(parameters(&format!("{SITE}{to}").parse().unwrap())["to"], back);
    }

    let far = site("192.0.2.1").await;
    for headers in [&[("x-forwarded-host", WIKI)][..], &[("host", WIKI)], &[]] {
        let page = ask_at(&browser(&far), "/auth/verify", headers).await;
        assert!(page.status == 403 && page.html.contains("LATCHKEY_TRUSTED_PROXIES"), "{page:?}");
    }
    let off = TestApp::start_with(&["--trusted-proxies", "127.0.0.1"]).await;
    let page = ask_at(&off.browser(), "/auth/verify", &[("x-forwarded-host", WIKI)]).await;
    assert!(page.status == 403 && page.html.contains("LATCHKEY_GATE_DOMAIN is not set"), "{page:?}");
    assert_eq!(off.browser().open("/auth/enter?to=http://wiki.example.localhost/").await.status, 400);
}

#[tokio::test]
async fn what_cannot_show_a_log_in_gets_a_status() {
    let app = site("127.0.0.1").await;
    let guest = browser(&app);
    for headers in [
        &[("sec-fetch-mode", "cors"), ("accept", "text/html")][..],
        &[("sec-fetch-mode", "no-cors")],
        &[("sec-fetch-mode", "websocket")],
        &[("upgrade", "websocket"), ("accept", "text/html")],
        &[("accept", "application/json")],
        &[("accept", "*/*"), ("x-forwarded-method", "POST")],
        &[("x-forwarded-method", "HEAD")],
        &[],
    ] {
        let page = ask(&guest, WIKI, PAGE, headers).await;
        assert_eq!((page.status.as_u16(), page.headers["content-type"].to_str().unwrap()), (401, "application/json"));
        let words: serde_json::Value = serde_json::from_str(&page.html).unwrap();
        let root = format!("{SITE}/auth/enter?to=http%3A%2F%2Fwiki.example.localhost%3A8080%2F");
        assert_eq!(words, serde_json::json!({ "error": "not_logged_in", "log_in": root }));
        assert_eq!(page.headers["www-authenticate"], format!("Latchkey realm=\"{SITE}\""));
        assert_eq!(page.headers["cache-control"], "no-store");
    }
    for headers in [&OPENS[..], &[OPENS[0], ("x-forwarded-method", "HEAD")], &[("accept", "text/html")]] {
        enters(&ask(&guest, WIKI, PAGE, headers).await);
    }
    // nginx takes a status only, and asks again for the whole answer.
    let headers = [&OPENS[..], &[("x-forwarded-host", WIKI), ("x-forwarded-uri", "/?status")]].concat();
    let page = ask_at(&guest, "/auth/verify?status", &headers).await;
    assert_eq!((page.status.as_u16(), page.html.as_str()), (401, ""));
    enters(&ask_at(&guest, "/auth/verify", &headers).await);
    // As many methods as there are.
    for method in ["HEAD", "POST", "OPTIONS", "PROPFIND"] {
        let sent = |request: RequestBuilder| request.header("x-forwarded-host", WIKI).header("x-forwarded-uri", "/");
        let page = guest.clone().send(method.parse().unwrap(), "/auth/verify", sent).await;
        assert_eq!(page.status, 401, "{method}");
    }
}

#[tokio::test]
async fn a_form_that_finds_its_session_gone_gets_a_page_that_loses_nothing() {
    let app = site("127.0.0.1").await;
    let guest = browser(&app);
    let post = [OPENS[0], OPENS[1], ("x-forwarded-method", "POST")];
    let page = ask(&guest, WIKI, "/edit?page=1", &post).await;
    assert_eq!((page.status.as_u16(), page.heading().as_str()), (401, "You have been logged out"));
    assert!(page.html.contains("What you have sent has not reached Wiki yet"), "{}", page.html);
    assert!(page.html.len() < 12 * 1024, "HAProxy hands on no page of {} bytes", page.html.len());
    // A browser shows it at the origin of the app: nothing may lead there, or be loaded from there.
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    let root = format!("{SITE}/auth/enter?to=http%3A%2F%2Fwiki.example.localhost%3A8080%2F");
    let links = scraper::Html::parse_document(&page.html);
    let found = |attribute: &str| {
        let selector = scraper::Selector::parse(&format!("[{attribute}]")).unwrap();
        let all = links.select(&selector).map(|element| element.attr(attribute).unwrap().to_owned());
        all.collect::<Vec<_>>()
    };
    assert_eq!((found("href"), found("src"), found("action")), (vec![root], vec![], vec![]));
    for name in ["strict-transport-security", "permissions-policy", "cross-origin-opener-policy"] {
        assert!(!page.headers.contains_key(name), "{name} is not ours to say at the app's origin");
    }
    let page = ask(&guest, WIKI, "/edit", &[&post[..], &[("accept-language", "zh-CN")]].concat()).await;
    assert_eq!(page.heading(), "你已退出登录");
}

/// Open redirects (OWASP, Unvalidated Redirects and Forwards).
#[tokio::test]
async fn a_link_leads_to_registered_hosts_only() {
    let app = site("127.0.0.1").await;
    let mut sam = signed_up(&app, "sam").await;
    let encoded = |to: &str| url::form_urlencoded::byte_serialize(to.as_bytes()).collect::<String>();
    let good = format!("http://{WIKI}/a");
    let mut queries: Vec<String> = [
        "",
        "/profile",
        "//evil.example",
        "http://evil.example/",
        "https://wiki.example.localhost:8080/",
        "http://wiki.example.localhost/",
        "http://wiki.example.localhost:8081/",
        "http://accounts.example.localhost/",
        "http://wiki.example.localhost:8080@evil.example/",
        "http://sam@wiki.example.localhost:8080/",
        "http://evil.example\\@wiki.example.localhost:8080/",
        "http://wiki.example.localhost:8080\\.evil.example/",
        "http://wiki.example.localhost:8080.evil.example/",
        "http://evil.example/#http://wiki.example.localhost:8080/",
        "http://wiki.example.localhost:8080/\r\nSet-Cookie: a=b",
        "http://wiki.example.localhost:8080/\t",
        "javascript://wiki.example.localhost:8080/%0aalert(1)",
        "data:text/html,x",
    ]
    .iter()
    .map(|to| format!("?to={}", encoded(to)))
    .collect();
    queries.extend(["".to_owned(), format!("?to={0}&to={0}", encoded(&good)), format!("?next={}", encoded(&good))]);
    for query in queries {
        for browser in [&mut sam, &mut browser(&app)] {
            let page = browser.send(Method::GET, &format!("/auth/enter{query}"), |request| request).await;
            page.assert_framed(400);
            assert_eq!(page.heading(), "This link leads to no app", "{query}");
        }
    }
    let back = open(&mut sam, &format!("/auth/enter?to={}", encoded(&good))).await.expect_err("the app");
    assert_eq!(back.as_str(), good);
    // One that is too long for a log-in leads to the first page of the app.
    let long = format!("/auth/enter?to={}", encoded(&format!("http://{WIKI}/{}", "%20".repeat(900))));
    let page = browser(&app).send(Method::GET, &long, |request| request).await;
    assert!(page.headers["location"].to_str().unwrap().ends_with("8080%252F"), "{:?}", page.headers);
}

#[tokio::test]
async fn a_proxy_that_hands_no_cookie_on_is_told_and_not_gone_through_for_ever() {
    let app = site("127.0.0.1").await;
    let mut sam = signed_up(&app, "sam").await;
    let to = |page: &str| format!("/auth/enter?to=http://{WIKI}{page}");
    for _ in 0..3 {
        assert!(open(&mut sam, &to("/a")).await.is_err(), "on to the app");
    }
    let page = open(&mut sam, &to("/a")).await.expect("a page that says so");
    page.assert_framed(400);
    assert_eq!(page.heading(), "Wiki does not see that you are logged in");
    assert!(page.html.contains("the proxy at wiki.example.localhost:8080 must pass on"), "{}", page.html);
    assert!(open(&mut sam, &to("/a")).await.is_err(), "the user may try again");
    for number in 0..9 {
        assert!(open(&mut sam, &to(&format!("/{number}"))).await.is_err(), "a browser that restores its tabs");
    }
}

/// An application that reads the cookie must not be able to touch the account.
#[tokio::test]
async fn the_cookie_opens_nothing_else_and_nothing_else_opens_this() {
    let app = site("127.0.0.1").await;
    let sam = signed_up(&app, "sam").await;
    let gate = sam.cookies["latchkey_gate"].clone();
    let mut thief = browser(&app);
    for name in ["latchkey_gate", "latchkey_session", "latchkey_visit", "latchkey_device"] {
        thief.cookies.insert(name.to_owned(), gate.clone());
    }
    assert!(!thief.is_logged_in().await, "no page");
    for path in ["/users/me/", "/oauth/userinfo"] {
        let page = browser(&app).send(Method::GET, path, |request| request.bearer_auth(&gate)).await;
        assert_eq!(page.status, 401, "{path}");
    }
    let mut thief = browser(&app);
    thief.cookies.insert("latchkey_gate".to_owned(), gate.clone());
    let page = thief.open(&format!("/auth/enter?to=http://{WIKI}/")).await;
    assert!(page.path.starts_with("/login?next="), "{}", page.path);
    assert!(!thief.cookies.contains_key("latchkey_session"), "{:?}", thief.cookies);

    let token = browser(&app).post("/token", &[("username", "sam"), ("password", OTTER)]).await;
    let token: serde_json::Value = serde_json::from_str(&token.html).unwrap();
    let pointer = app.app.keys.verify(&sam.cookies["latchkey_session"], app.app.now()).unwrap();
    let hour = app.app.now() + time::Duration::HOUR;
    let doctor = app.app.doctor_keys.mint(pointer, app.app.now(), hour).unwrap();
    for other in [sam.cookies["latchkey_session"].clone(), token["access_token"].as_str().unwrap().into(), doctor] {
        let mut thief = browser(&app);
        thief.cookies.insert("latchkey_gate".to_owned(), other);
        enters(&ask(&thief, WIKI, "/", &OPENS).await);
    }
    let bearer = format!("Bearer {}", token["access_token"].as_str().unwrap());
    enters(&ask(&browser(&app), WIKI, "/", &[OPENS[0], ("authorization", &bearer)]).await);
    let expired = app.app.forward_keys.mint(pointer, app.app.now() - time::Duration::HOUR, app.app.now()).unwrap();
    for (cookies, there) in [
        (format!("latchkey_gate={gate}"), true),
        (format!("a=b; latchkey_gate={gate}; c=d"), true),
        (format!("latchkey_gate={gate}; latchkey_gate={gate}"), false),
        (format!("__Secure-latchkey_gate={gate}"), false),
        (format!("latchkey_session={gate}"), false),
        (format!("latchkey%5Fgate={gate}"), false),
        (format!("latchkey_gate={expired}"), false),
        (format!("latchkey_gate={gate}x"), false),
    ] {
        let page = ask(&browser(&app), WIKI, "/", &[("cookie", &cookies)]).await;
        assert_eq!(page.status.as_u16(), if there { 200 } else { 401 }, "{cookies}");
    }
}

#[tokio::test]
async fn who_has_logged_out_anywhere_is_not_there() {
    let app = site("127.0.0.1").await;
    let mut sam = signed_up(&app, "sam").await;
    assert_eq!(remote(&ask(&sam, WIKI, "/", &[]).await)[0], "sam");
    let old = sam.clone();
    let form = sam.open("/profile").await.form("/logout");
    sam.submit(form).await;
    assert_eq!(ask(&old, WIKI, "/", &[]).await.status, 401, "logged out");

    let mut there = browser(&app);
    there.log_in("sam", OTTER).await;
    assert_eq!(remote(&ask(&there, WIKI, "/", &[]).await)[0], "sam");
    browser(&app).ask_reset("sam@example.com").await;
    let reset = until("the email arrives", async || {
        let letters = app.letters_to("sam@example.com", 2).await;
        letters.into_iter().find(|letter| letter.subject.contains("Reset"))
    });
    let link = reset.await.links[0].replace(SITE, "");
    assert_eq!(browser(&app).reset(&link, HERON).await.path, "/login");
    assert_eq!(ask(&there, WIKI, "/", &[]).await.status, 401, "the password was reset");

    let mut there = browser(&app);
    there.log_in("sam", HERON).await;
    let before = there.clone();
    let form = there.open("/profile/password").await.form("/profile/password");
    there.submit(form.fill("current_password", HERON).fill("new_password", OTTER)).await;
    assert_eq!(ask(&before, WIKI, "/", &[]).await.status, 401, "a copy of the cookie from before");
    assert_eq!(remote(&ask(&there, WIKI, "/", &[]).await)[0], "sam", "this browser got another one");
    let row = user::by_login(app.app.db.read(), "sam").await.unwrap().unwrap();
    operator::disable(&app.app.db, &row, app.app.now()).await.unwrap();
    assert_eq!(ask(&there, WIKI, "/", &[]).await.status, 401, "disabled");
}

/// Traefik's `forwardAuth` sends a GET with all headers of the client, and five of its own in place of the client's.
#[tokio::test]
async fn a_request_as_traefiks_manual_describes_it_is_answered() {
    let app = site("127.0.0.1").await;
    let sam = signed_up(&app, "sam").await;
    let of_traefik = [
        ("x-forwarded-method", "POST"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-port", "8080"),
        ("x-forwarded-server", "traefik"),
        ("x-real-ip", "192.0.2.7"),
    ];
    let of_client =
        [OPENS[0], OPENS[1], ("content-type", "text/plain"), ("remote-user", "eve"), ("x-forwarded-prefix", "/x")];
    assert_eq!(remote(&ask(&sam, WIKI, PAGE, &[&of_traefik[..], &of_client].concat()).await)[0], "sam");
    let page = ask(&browser(&app), WIKI, PAGE, &[&of_traefik[..], &of_client].concat()).await;
    assert_eq!((page.status.as_u16(), page.heading().as_str()), (401, "You have been logged out"));
    assert!(!page.headers.contains_key("remote-user"), "nothing of the client comes back: {:?}", page.headers);
    // Of a WebSocket it says so in the scheme.
    let socket = [("x-forwarded-method", "GET"), ("x-forwarded-proto", "ws"), ("sec-fetch-mode", "websocket")];
    assert_eq!(ask(&browser(&app), WIKI, "/socket", &socket).await.status, 401);
    assert_eq!(remote(&ask(&sam, WIKI, "/socket", &socket).await)[0], "sam");
}
