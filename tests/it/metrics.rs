//! The metrics, as Prometheus reads them.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;

use latchkey::net::ConnectionLimits;
use reqwest::{Client, Method};

use crate::app::TestApp;
use crate::process::{Process, fault, free_port, try_to_serve};
use crate::wire::Wire;
use crate::{HERON, OTTER};

/// A site with a port for its metrics.
struct MeteredSite {
    app: TestApp,
    url: String,
}

/// The result of one scrape: each series and its value.
#[derive(Debug)]
struct Scrape(BTreeMap<String, f64>);

impl MeteredSite {
    async fn start() -> Self {
        Self::start_within(ConnectionLimits::default()).await
    }

    async fn start_within(limits: ConnectionLimits) -> Self {
        let listen = format!("127.0.0.1:{}", free_port());
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let app = TestApp::start_within(dir, &["--metrics-listen", &listen], limits).await;
        Self { app, url: format!("http://{listen}") }
    }

    async fn scrape(&self) -> Scrape {
        let answer = reqwest::get(format!("{}/metrics", self.url)).await.unwrap();
        assert_eq!(answer.status(), 200);
        let kind = answer.headers()["content-type"].to_str().unwrap();
        assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
        let text = answer.text().await.unwrap();
        assert!(text.ends_with("# EOF\n"), "{text}");
        let series = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with("latchkey_"), "{line}");
            (name.to_owned(), value.parse().unwrap())
        });
        Scrape(series.collect())
    }
}

impl Scrape {
    fn of(&self, series: &str) -> f64 {
        *self.0.get(series).unwrap_or_else(|| panic!("no {series} in {self:#?}"))
    }

    fn answers(&self, route: &str, method: &str, status: u16) -> f64 {
        self.of(&format!("latchkey_http_requests_total{{route=\"{route}\",method=\"{method}\",status=\"{status}\"}}"))
    }

    fn log_ins(&self) -> [f64; 3] {
        ["succeeded", "failed", "refused"].map(|word| self.of(&format!("latchkey_log_ins_total{{outcome=\"{word}\"}}")))
    }

    fn resets(&self) -> [f64; 4] {
        ["asked", "sent", "opened", "done"]
            .map(|word| self.of(&format!("latchkey_password_resets_total{{step=\"{word}\"}}")))
    }

    fn letters(&self) -> [f64; 4] {
        ["waiting", "sent", "dropped", "failed"]
            .map(|word| self.of(&format!("latchkey_outbox_letters{{state=\"{word}\"}}")))
    }
}

#[tokio::test]
async fn the_life_of_an_account_is_counted() {
    let site = MeteredSite::start().await;
    let mut sam = site.app.user("sam", OTTER).await;
    sam.log_out().await;
    sam.log_in("sam", HERON).await.assert_framed(422);
    sam.log_in("nobody", HERON).await.assert_framed(422);
    assert_eq!(sam.log_in("sam", OTTER).await.path, "/profile");
    let token = [("username", "sam"), ("password", OTTER)];
    Client::new().post(format!("{}/token", site.app.url)).form(&token).send().await.unwrap();
    let mut eve = site.app.browser();
    // The token took one of the account's ten attempts for unknown clients, and one of the five of this name.
    for name in ["sam", "sam@example.com"] {
        for _ in 0..5 {
            eve.log_in(name, HERON).await;
        }
    }
    let reset = site.app.reset_link("sam@example.com", 3).await;
    let mut visitor = site.app.browser();
    let form = visitor.open("/forgot-password").await.form("/forgot-password").fill("email", "nobody@example.com");
    visitor.submit(form).await;
    assert_eq!(visitor.reset(&reset, HERON).await.path, "/login");
    visitor.open(&reset).await.assert_framed(410);
    site.app.outbox_is_done().await;

    let seen = site.scrape().await;
    assert_eq!(seen.log_ins(), [2.0, 11.0, 1.0]);
    assert_eq!([303, 422, 429].map(|status| seen.answers("/login", "POST", status)), [1.0, 11.0, 1.0]);
    assert_eq!(seen.answers("/token", "POST", 200), 1.0);
    let took = "latchkey_http_request_duration_seconds";
    let labels = "route=\"/login\",method=\"POST\"";
    assert_eq!(seen.of(&format!("{took}_count{{{labels}}}")), 13.0);
    assert_eq!(seen.of(&format!("{took}_bucket{{le=\"30.0\",{labels}}}")), 13.0);
    assert!(seen.of(&format!("{took}_sum{{{labels}}}")) > 0.01, "a hash takes its time");
    assert_eq!(seen.resets(), [2.0, 1.0, 1.0, 1.0]);
    let [waiting, sent, dropped, failed] = seen.letters();
    assert_eq!((waiting, sent, dropped, failed), (0.0, site.app.letters().await.len() as f64, 1.0, 0.0));
    assert_eq!(seen.of("latchkey_outbox_oldest_waiting_seconds"), 0.0);
    // Two new passwords were judged and hashed, and fifteen were compared.
    assert_eq!(seen.of("latchkey_hash_wait_seconds_count"), 18.0);
    assert_eq!((seen.of("latchkey_hash_queue"), seen.of("latchkey_hash_busy_total")), (0.0, 0.0));
    assert!(seen.of("latchkey_connections") >= 1.0, "the browsers keep their connections");
    assert_eq!(seen.of(&format!("latchkey_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), 1.0);
}

#[tokio::test]
async fn a_client_that_is_over_its_limit_is_a_refused_log_in() {
    let site = MeteredSite::start().await;
    let mut eve = site.app.browser();
    let mut attempts = 0.0;
    let over_the_limit = async {
        loop {
            attempts += 1.0;
            let page = eve.post("/login", &[("login", format!("sam{attempts}")), ("password", HERON.to_owned())]).await;
            if page.status == 429 {
                return;
            }
        }
    };
    over_the_limit.await;
    assert_eq!(site.scrape().await.log_ins(), [0.0, attempts - 1.0, 1.0]);
}

/// Otherwise an attacker could fill our memory and that of Prometheus with names of series (CWE-770).
#[tokio::test]
async fn what_a_client_invents_makes_no_series() {
    let site = MeteredSite::start().await;
    let host = site.app.url.strip_prefix("http://").unwrap();
    for n in 0..40 {
        for (method, path) in [
            ("GET", format!("/nowhere-{n}")),
            ("GET", format!("/static/{n}.css")),
            ("GET", format!("/users/{n}")),
            ("GET", format!("/login?next=/{n}")),
            (&format!("BREW{n}"), "/login".to_owned()),
            (&format!("BREW{n}"), format!("/%2f{n}")),
        ] {
            let mut wire = Wire::to(&site.app.url).await;
            let host = if n % 2 == 0 { host } else { "evil.example" };
            wire.say(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
            assert!(!wire.rest().await.is_empty());
        }
    }
    let seen = site.scrape().await;
    let answers: Vec<_> = seen.0.keys().filter(|series| series.starts_with("latchkey_http_requests")).collect();
    assert_eq!(answers.len(), 12, "six routes and methods, found or misdirected: {answers:#?}");
    assert_eq!(seen.answers("none", "GET", 404), 20.0);
    assert_eq!(seen.answers("none", "other", 404), 20.0);
    assert_eq!(seen.answers("/login", "other", 405), 20.0);
    assert_eq!(seen.answers("/static/{name}", "GET", 404), 20.0);
    assert_eq!(seen.answers("/users/{*rest}", "GET", 421), 20.0);
}

#[tokio::test]
async fn the_age_of_the_oldest_waiting_email_is_shown() {
    let site = MeteredSite::start().await;
    let incoming = site.app.dir.path().join("mailbox/.incoming");
    site.app.user("sam", OTTER).await;
    // Now the postman cannot write its files.
    std::fs::remove_dir_all(&incoming).unwrap();
    std::fs::write(&incoming, "").unwrap();
    let mut sam = site.app.browser();
    let form = sam.open("/forgot-password").await.form("/forgot-password").fill("email", "sam@example.com");
    sam.submit(form).await;
    site.app.app.clock.advance(time::Duration::minutes(7));
    let seen = site.scrape().await;
    assert_eq!((seen.letters()[0], seen.resets()[1]), (1.0, 0.0));
    assert!((420.0..480.0).contains(&seen.of("latchkey_outbox_oldest_waiting_seconds")), "{seen:#?}");
}

#[tokio::test]
async fn without_the_database_the_other_metrics_are_shown() {
    let site = MeteredSite::start().await;
    site.app.browser().log_in("nobody", OTTER).await;
    site.app.app.db.read().close_by_ref().await.unwrap();
    for _ in 0..3 {
        let seen = site.scrape().await;
        assert_eq!(seen.log_ins(), [0.0, 1.0, 0.0]);
        assert!(!seen.0.keys().any(|series| series.starts_with("latchkey_outbox")), "old numbers would be wrong");
    }
    let up = ["database", "mail"].map(|what| format!("latchkey_{what}_up"));
    let seen = site.scrape().await;
    assert_eq!(up.map(|series| seen.of(&series)), [0.0, 1.0], "mail is in no trouble");
    assert_eq!(
        site.scrape().await.of("latchkey_scrape_errors_total"),
        1.0,
        "the database was asked once for all of them"
    );
}

#[tokio::test]
async fn the_port_answers_one_path_and_the_site_does_not_have_it() {
    let site = MeteredSite::start().await;
    let ask = async |method: Method, url: String| {
        let asked = Client::new().request(method, url).header("host", "latchkey:9464");
        asked.send().await.unwrap().status().as_u16()
    };
    assert_eq!(ask(Method::GET, format!("{}/metrics", site.url)).await, 200);
    assert_eq!(ask(Method::POST, format!("{}/metrics", site.url)).await, 405);
    for path in ["", "/", "/metrics/", "/login", "/healthz", "/users/me/", "/dev/mailbox"] {
        assert_eq!(ask(Method::GET, format!("{}{path}", site.url)).await, 404, "{path}");
    }
    let page = site.app.browser().open("/metrics").await;
    page.assert_framed(404);
}

/// A page of an attacker can lead its own name to the port (DNS rebinding), and would read the numbers there.
#[tokio::test]
async fn the_port_answers_to_addresses_and_to_names_that_an_attacker_cannot_register() {
    let site = MeteredSite::start().await;
    let ask = async |host: &str| {
        let mut wire = Wire::to(&site.url).await;
        wire.say(format!("GET /metrics HTTP/1.1\r\n{host}Connection: close\r\n\r\n")).await;
        String::from_utf8(wire.rest().await).unwrap()
    };
    for own in ["127.0.0.1:9464", "10.1.2.3", "[::1]:9464", "[fd00::1]", "localhost:9464", "LOCALHOST", "latchkey:9464"]
    {
        assert!(ask(&format!("Host: {own}\r\n")).await.starts_with("HTTP/1.1 200"), "{own}");
    }
    for own in ["a.localhost", "latchkey.internal:9464"] {
        assert!(ask(&format!("Host: {own}\r\n")).await.starts_with("HTTP/1.1 200"), "{own}");
    }
    for other in [
        "evil.example",
        "evil.example:9464",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.example.",
        "@",
        "",
    ] {
        let answer = ask(&format!("Host: {other}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 421") && !answer.contains("latchkey_"), "{other}: {answer}");
        assert!(answer.contains("Ask for an address"), "{answer}");
    }
    assert!(ask("Host: localhost\r\nHost: evil.example\r\n").await.starts_with("HTTP/1.1 400"));
    let listen = format!("127.0.0.1:{}", free_port());
    let far = ["--public-url", "https://accounts.example.com", "--smtp-url", "smtp://localhost:1"];
    let mail = ["--mail-from", "no-reply@example.com", "--metrics-listen", &listen];
    let _app = TestApp::start_with(&[&far[..], &mail].concat()).await;
    let asked = Client::new().get(format!("http://{listen}/metrics")).header("host", "accounts.example.com:9464");
    assert_eq!(asked.send().await.unwrap().status(), 200, "the site's own name");
}

#[tokio::test]
async fn an_attacker_who_fills_the_server_does_not_blind_its_operator() {
    let site =
        MeteredSite::start_within(ConnectionLimits { connections: 3, per_client: 3, ..ConnectionLimits::default() })
            .await;
    let host = site.app.url.strip_prefix("http://").unwrap();
    let mut crowd = vec![];
    for _ in 0..3 {
        let mut wire = Wire::to(&site.app.url).await;
        // It is busy, because its body never comes.
        wire.say(format!("POST /login HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"))
            .await;
        assert!(wire.answer().await.starts_with("HTTP/1.1 100"));
        crowd.push(wire);
    }
    assert_eq!(site.scrape().await.of("latchkey_connections"), 3.0);
}

#[tokio::test]
async fn metrics_are_off_by_default() {
    let app = TestApp::start().await;
    assert_eq!(app.app.settings.metrics_listen, None);
    app.browser().open("/metrics").await.assert_framed(404);
}

#[test]
fn an_address_that_cannot_be_used_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for address in [taken.as_str(), "9464", "everywhere"] {
        assert_eq!(fault("LATCHKEY_METRICS_LISTEN", &[("LATCHKEY_METRICS_LISTEN", address)]), None);
    }
}

#[test]
fn an_address_that_the_internet_may_reach_is_warned_of() {
    for (address, warned) in [("127.0.0.1:0", false), ("[::1]:0", false), ("0.0.0.0:0", true)] {
        let ran = try_to_serve(Process::new(&[("LATCHKEY_METRICS_LISTEN", address)]).command(&["serve"]));
        assert!(ran.out.contains("is ready"), "{ran:?}");
        assert_eq!(ran.err.contains("LATCHKEY_METRICS_LISTEN") && ran.err.contains("no password"), warned, "{ran:?}");
    }
}
