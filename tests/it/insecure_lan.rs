//! The setting for trying out the site in a container or on a private network without TLS: what it allows, the banner on
//! every page, and the checks that it does not change.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};

use reqwest::{Client, Method, redirect};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::app::TestApp;
use crate::browser::{Browser, Page};
use crate::process::{Process, confirm, fault, free_port, sign_up, try_to_serve};
use crate::smtp::{MailServer, by};
use crate::visitor::{DESK, Script, Visitor};
use crate::{HERON, OTTER};

const ON: (&str, &str) = ("LATCHKEY_INSECURE_LAN", "on");
const MAIL: [(&str, &str); 2] =
    [("LATCHKEY_SMTP_URL", "smtp://mailpit:1025"), ("LATCHKEY_MAIL_FROM", "accounts@example.com")];

const WARNING: &str = "This connection is not encrypted";
const CHINESE_WARNING: &str = "此连接未加密";

fn at(url: &str) -> (&str, &str) {
    ("LATCHKEY_PUBLIC_URL", url)
}

#[test]
fn a_site_on_a_private_network_starts_without_tls_and_warns() {
    for url in [
        "http://192.168.1.20:3000",
        "http://10.1.2.3",
        "http://172.16.0.1",
        "http://169.254.7.7",
        "http://[fd12:3456::1]:3000",
        "http://[fe80::1]",
        "http://[::ffff:192.168.1.20]",
        "http://latchkey:3000",
        "http://nas.local",
        "http://accounts.internal",
        "http://accounts.lan",
        "http://Accounts.LAN.",
        "http://accounts.home.arpa",
        "http://accounts.test",
        "http://localhost:3000", // a container's port
    ] {
        let settings = [ON, at(url), MAIL[0], MAIL[1]];
        let ran = try_to_serve(Process::new(&settings).command(&["serve"]));
        assert!(ran.out.contains("is ready: open http://"), "{url}: {ran:?}");
        let warns = |line: &&str| line.contains("WARN") && line.contains("LATCHKEY_INSECURE_LAN");
        assert_eq!(ran.err.lines().filter(warns).count(), 1, "{url}: {ran:?}");
    }
}

#[test]
fn a_site_that_the_world_can_reach_is_still_refused_without_tls() {
    let not_covered = "LATCHKEY_INSECURE_LAN does not cover";
    for url in [
        "http://accounts.example.com",
        "http://accounts.lan.example.com",
        "http://accountslan.example",
        "http://ai.", // a domain of the highest level, written as such
        "http://93.184.216.34",
        "http://134744072", // 8.8.8.8 as a number
        "http://192.0.2.2",
        "http://100.64.0.1", // of the provider's own network, not of the operator's
        "http://172.32.0.1",
        "http://[2606:4700::1]",
        "http://[::ffff:8.8.8.8]",
        "http://[2002:c0a8:114::1]", // 6to4
    ] {
        assert_eq!(fault(not_covered, &[ON, at(url), MAIL[0], MAIL[1]]), None);
    }
    let lan = at("http://192.168.1.20:3000");
    let off = ("LATCHKEY_RATE_LIMITS", "off");
    let cases: &[(&str, &[(&str, &str)])] = &[
        ("LATCHKEY_PUBLIC_URL must begin with https", &[lan, MAIL[0], MAIL[1]]),
        ("LATCHKEY_INSECURE_LAN=on to try it out", &[lan, MAIL[0], MAIL[1]]),
        ("LATCHKEY_INSECURE_LAN=on is refused, because", &[ON, at("https://nas.lan"), MAIL[0], MAIL[1]]),
        ("LATCHKEY_SMTP_URL must be given", &[ON, lan]),
        ("LATCHKEY_SMTP_URL must be given", &[ON, ("LATCHKEY_LISTEN", "0.0.0.0:0"), at("http://localhost:3000")]),
        ("LATCHKEY_RATE_LIMITS=off is refused", &[ON, lan, MAIL[0], MAIL[1], off]),
        ("LATCHKEY_INSECURE_LAN (--insecure-lan): \"yes\" must be one of on, off", &[("LATCHKEY_INSECURE_LAN", "yes")]),
    ];
    let faults: Vec<_> = cases.iter().filter_map(|(words, settings)| fault(words, settings)).collect();
    assert!(faults.is_empty(), "{}", faults.join(""));
}

#[test]
fn the_flag_needs_no_value() {
    for arguments in [&["serve", "--insecure-lan"][..], &["--insecure-lan", "serve"], &["serve", "--insecure-lan=on"]] {
        let ran = try_to_serve(Process::new(&[]).command(arguments));
        assert!(ran.out.contains("is ready") && ran.err.contains("LATCHKEY_INSECURE_LAN"), "{ran:?}");
    }
    let off = try_to_serve(Process::new(&[ON]).command(&["serve", "--insecure-lan=off"]));
    assert!(off.out.contains("is ready") && !off.err.contains("LATCHKEY_INSECURE_LAN"), "{off:?}");
}

/// Starts a site with the two commands of README: with the flags of one, and with the variables of the other.
#[test]
fn the_commands_in_readme_start_a_site() {
    let readme = include_str!("../../README.md").replace("\\\n", " ");
    let line = |start: &str| {
        readme.lines().find_map(|line| line.trim().strip_prefix(start)).unwrap_or_else(|| panic!("no {start}"))
    };
    let lan = line("latchkey serve --insecure-lan").replace("0.0.0.0:3000", "127.0.0.1:0");
    let flags: Vec<_> = ["serve", "--insecure-lan"].into_iter().chain(lan.split_whitespace()).collect();
    let ran = try_to_serve(Process::new(&[]).command(&flags));
    assert!(ran.out.contains("is ready: open http://192.168.1.20:3000"), "{ran:?}");

    let container = line("docker run --rm").replace("0.0.0.0:3000", "0.0.0.0:0").replace("/data/latchkey", "data");
    let settings =
        container.split(" --env ").skip(1).filter_map(|rest| rest.split_whitespace().next()?.split_once('='));
    let settings: Vec<_> = settings.collect();
    assert_eq!(settings.len(), 6, "{settings:?}");
    let ran = try_to_serve(Process::new(&settings).command(&["serve"]));
    assert!(ran.out.contains("is ready: open http://localhost:3000"), "{ran:?}");
}

/// Returns the number of banners: asides with the warning in this language.
fn banners(page: &Page, warning: &str) -> usize {
    let asides = page.html.split("<aside").skip(1);
    asides.filter(|rest| rest.split("</aside>").next().is_some_and(|aside| aside.contains(warning))).count()
}

/// Returns one page of each kind, also of failures.
async fn pages(app: &TestApp) -> Vec<Page> {
    let mut sam = app.user("sam", OTTER).await;
    let mut all = vec![];
    for path in ["/", "/login", "/signup", "/forgot-password", "/docs", "/dev/mailbox", "/signup/confirm", "/nowhere"] {
        all.push(app.browser().open(path).await);
    }
    for path in ["/profile", "/profile/password", "/profile/security", "/dev/mailbox"] {
        all.push(sam.open(path).await);
    }
    let letter = app.letters().await[0].links[0].clone();
    all.push(app.browser().open(&letter).await);
    all.push(app.browser().log_in("sam", HERON).await);
    let evil = app.browser().send(Method::POST, "/login", |request| request.header("origin", "http://evil.lan")).await;
    let misdirected = app.browser().send(Method::GET, "/login", |request| request.header("host", "evil.lan")).await;
    assert_eq!((evil.status.as_u16(), misdirected.status.as_u16()), (403, 421), "neither is loosened");
    all.extend([evil, misdirected]);
    all.push(app.browser().open("/login?lang=zh-CN").await);
    all
}

#[tokio::test]
async fn every_page_says_that_the_connection_is_not_encrypted() {
    let app = TestApp::start_with(&["--insecure-lan"]).await;
    for page in pages(&app).await {
        let warning = if page.html.contains("lang=\"zh-CN\" dir") { CHINESE_WARNING } else { WARNING };
        assert_eq!(banners(&page, warning), 1, "{} {}: {}", page.status, page.path, page.html);
    }
    let app = TestApp::start().await;
    for page in pages(&app).await {
        assert_eq!(banners(&page, WARNING) + banners(&page, CHINESE_WARNING), 0, "{}", page.path);
    }
}

#[tokio::test]
async fn cookies_are_as_they_are_without_it() {
    let mut seen = vec![];
    for flags in [&[][..], &["--insecure-lan"]] {
        let app = TestApp::start_with(flags).await;
        app.user("sam", OTTER).await;
        let answer = app.browser().post("/login", &[("login", "sam"), ("password", OTTER)]).await;
        let attributes = |cookie: &reqwest::header::HeaderValue| {
            let (pair, attributes) = cookie.to_str().unwrap().split_once(';').unwrap();
            (pair.split('=').next().unwrap().to_owned(), attributes.to_owned())
        };
        seen.push(answer.headers.get_all("set-cookie").iter().map(attributes).collect::<BTreeSet<_>>());
    }
    assert!(!seen[0].is_empty() && seen[0] == seen[1], "{seen:#?}");
}

/// Returns the name of this machine without its domain, which looks like a private name, if it has an address.
fn private_name() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?.split('.').next()?.trim().to_owned();
    (name != "localhost" && (name.as_str(), 9).to_socket_addrs().is_ok()).then_some(name)
}

#[tokio::test]
async fn a_catcher_of_mail_on_the_private_network_gets_letters_without_tls() {
    let Some(host) = private_name() else {
        eprintln!("this machine has no name; the unit tests of config::smtp judge names");
        return;
    };
    let server = MailServer::start_with(&["plain", "--host", &host]).await;
    let to = format!("{host}:{}", server.port);
    let url = format!("smtp://{to}");
    let [smtp, from] = by(&url);
    let ran = Process::new(&[smtp, from, ON]).run(&["mail-test", "ada@example.com"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!server.letter(1).await.tls);
    // If the URL has a password or asks for TLS, or without the setting, it is STARTTLS or no email.
    let [with_password, with_tls] = [format!("smtp://sam:canary@{to}"), format!("smtp://{to}?tls=required")];
    for settings in [&[by(&with_password)[0], from, ON][..], &[by(&with_tls)[0], from, ON], &[smtp, from]] {
        let ran = Process::new(settings).run(&["mail-test", "ada@example.com"]);
        assert!(ran.code == Some(1) && ran.err.contains("STARTTLS is not supported"), "{settings:?}: {ran:?}");
    }
    assert_eq!(server.received().len(), 1);
}

/// Serves a page of another site, whose button posts a form to this address.
async fn evil_site(target: String, referrer: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let html = format!(
        "<!doctype html><meta name=referrer content={referrer}><title>x</title><form method=post action='{target}'>\
         <input name=login value=sam><input name=password value='{OTTER}'><button type=submit>Win</button></form>"
    );
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n", html.len());
            let _ = stream.write_all(format!("{head}Connection: close\r\n\r\n{html}").as_bytes()).await;
        }
    });
    address
}

/// Over plain HTTP to another name than localhost, browsers send no `Sec-Fetch-Site`, so only `Origin` protects the site.
#[tokio::test]
async fn in_chromium_an_account_lives_there_and_another_site_is_refused() {
    let mail = MailServer::start("plain").await;
    let (port, smtp_url) = (free_port(), format!("smtp://127.0.0.1:{}", mail.port));
    let (listen, site) = (format!("127.0.0.1:{port}"), format!("http://latchkey.test:{port}"));
    let [smtp, from] = by(&smtp_url);
    let process = Process::serving(&[
        ON,
        smtp,
        from,
        ("LATCHKEY_LISTEN", &listen),
        at(&site),
        ("LATCHKEY_LOG", "info,latchkey::gate=debug"),
    ])
    .await;
    assert_eq!(process.url, site);
    // The user signs up by plain requests.
    let here = Client::builder().redirect(redirect::Policy::none()).resolve("latchkey.test", listen.parse().unwrap());
    let mut other = Browser::over(here.build().unwrap(), &site);
    sign_up(&mut other, "sam", OTTER).await;
    assert_eq!(confirm(&mut other, &mail.letter(1).await.link()).await.path, "/profile");

    let names = ["--host-resolver-rules=MAP latchkey.test 127.0.0.1, MAP evil.test 127.0.0.1"];
    let sam = Visitor::on(&site, "en", (DESK, Script::On), &names).await;
    sam.opens("/login").await;
    assert_eq!(sam.learns("isSecureContext").await, false, "as on a private network");
    sam.sees("aside + header").await;
    sam.types("login", "sam").await;
    sam.types("password", HERON).await;
    sam.presses("/login").await;
    sam.sees("#errors").await;
    sam.types("password", OTTER).await;
    sam.presses("/login").await;
    sam.sees("form[action='/logout']").await;
    sam.follows("/profile/name").await;
    sam.types("full_name", "Sam Miller").await;
    sam.presses("/profile/name").await;
    sam.is_told().await;
    sam.presses("/logout").await;
    sam.sees("form[action='/login'], a[href='/login']").await;

    let causes = || {
        process.log().lines().filter(|line| line.contains("refused status=403")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(causes().is_empty(), "{:?}", causes());
    // A page can hide its name, but not that it is of another site. Browsers send cookies to another port of the same host.
    for (host, path, referrer, origin) in [
        ("evil.test", "/login", "no-referrer", "Origin: null"),
        ("evil.test", "/logout", "unsafe-url", "Origin: http://evil.test:"),
        ("latchkey.test", "/login", "unsafe-url", "Origin: http://latchkey.test:"),
        ("latchkey.test", "/login", "no-referrer", "Origin: null"),
    ] {
        let (evil, before) = (evil_site(format!("{site}{path}"), referrer).await, causes().len());
        sam.driver.goto(format!("http://{host}:{}/", evil.port())).await.unwrap();
        sam.finds("button").await.click().await.unwrap();
        sam.finds("main").await;
        let causes = causes();
        assert!(causes.len() == before + 1 && causes[before].contains(origin), "{host}{path}: {causes:#?}");
        sam.opens("/profile").await;
        assert_eq!(sam.path().await, "/login", "{host}{path} logged the user in");
    }
}
