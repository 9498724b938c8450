//! An operator's look for the site: its logo, its colours, and the looks that are refused.

use std::fs;

use reqwest::Method;
use scraper::{Html, Selector};
use tempfile::TempDir;

use crate::OTTER;
use crate::app::TestApp;
use crate::browser::Page;
use crate::process::fault;

const SVG: &str = r##"<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 2 2"><circle cx="1" cy="1" r="1" fill="#0b6e4f"/><circle cx="1" cy="1" r=".5"/></svg>"##;
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
const WEBP: &[u8] = b"RIFF\x24\0\0\0WEBPVP8 ";

/// Makes a file in a new folder. Returns the folder and the file's path.
fn file(name: &str, content: impl AsRef<[u8]>) -> (TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, content).unwrap();
    (dir, path.to_str().unwrap().to_owned())
}

/// Returns an attribute of the one element that matches the selector.
fn attribute(page: &Page, selector: &str, name: &str) -> Option<String> {
    let (document, selector) = (Html::parse_document(&page.html), Selector::parse(selector).unwrap());
    let mut found = document.select(&selector);
    let value = found.next().map(|element| element.attr(name).unwrap().to_owned());
    assert!(found.next().is_none(), "{selector:?} twice");
    value
}

/// Returns the style sheet that the log-in page links, and its path.
async fn style(app: &TestApp) -> (String, String) {
    let mut browser = app.browser();
    let path = attribute(&browser.open("/login").await, "link[rel=stylesheet]", "href").unwrap();
    let page = browser.open(&path).await;
    assert_eq!(
        (page.status.as_u16(), &page.headers["content-type"]),
        (200, &"text/css; charset=utf-8".parse().unwrap())
    );
    (page.html, path)
}

/// `gallery.rs` relies on this: in dark, it has axe-core look at colours only.
#[test]
fn in_dark_the_style_sheet_changes_nothing_but_variables() {
    let (_, dark) = include_str!("../../static/app.css").split_once("(prefers-color-scheme: dark) {").unwrap();
    let (dark, rest) = dark.split_once("\n}\n").unwrap();
    assert!(!rest.contains("prefers-color-scheme"), "there is one place for dark");
    let lines: Vec<&str> = dark.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let [":root {", variables @ .., "}"] = lines.as_slice() else { panic!("more than :root: {lines:?}") };
    assert!(!variables.is_empty() && variables.iter().all(|line| line.starts_with("--")), "{variables:?}");
}

#[tokio::test]
async fn a_logo_stands_beside_the_name_and_is_the_icon() {
    // The name of the file says nothing.
    for (content, kind, extension) in
        [(SVG.as_bytes(), "image/svg+xml", ".svg"), (PNG, "image/png", ".png"), (WEBP, "image/webp", ".webp")]
    {
        let (_dir, logo) = file("logo.txt", content);
        let app = TestApp::start_with(&["--logo", &logo]).await;
        let mut browser = app.browser();
        let page = browser.open("/login").await;
        let path = attribute(&page, "header .brand img", "src").unwrap();
        assert_eq!(attribute(&page, "header .brand img", "alt").unwrap(), "", "the name follows");
        assert_eq!(attribute(&page, "header .brand svg", "viewBox"), None, "not our key as well");
        assert_eq!(attribute(&page, "link[rel=icon]", "href").unwrap(), path);
        assert_eq!(attribute(&page, "link[rel=icon]", "type").unwrap(), kind);
        assert!(path.starts_with("/static/logo.") && path.ends_with(extension), "{path}");
        let favicon = browser.send(Method::GET, "/favicon.ico", |request| request).await;
        assert_eq!(favicon.headers["location"], path);

        let served = reqwest::get(format!("{}{path}", app.url)).await.unwrap();
        assert_eq!(served.headers()["content-type"], kind);
        assert_eq!(served.headers()["cache-control"], "public, max-age=31536000, immutable");
        assert!(served.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
        assert_eq!(served.bytes().await.unwrap(), content);
        let packed = browser.send(Method::GET, &path, |request| request.header("accept-encoding", "gzip")).await;
        assert_eq!(packed.headers.contains_key("content-encoding"), kind == "image/svg+xml", "{kind}");
    }
}

#[tokio::test]
async fn without_a_logo_the_key_stands_there() {
    let app = TestApp::start().await;
    let page = app.browser().open("/login").await;
    assert!(attribute(&page, "header .brand svg", "viewBox").is_some() && !page.html.contains("<img"));
    assert_eq!(attribute(&page, "link[rel=icon]", "type").unwrap(), "image/svg+xml");
    assert!(attribute(&page, "link[rel=icon]", "href").unwrap().starts_with("/static/icon."));
}

#[tokio::test]
async fn colours_of_the_site_follow_the_style_sheet_under_a_new_name() {
    let (ours, our_path) = style(&TestApp::start().await).await;
    assert_eq!(ours, include_str!("../../static/app.css"));
    let app =
        TestApp::start_with(&["--theme-light", "accent=#0b6e4f", "--theme-dark", "accent=#7fe0b8,bg=#000000"]).await;
    let (css, path) = style(&app).await;
    assert_ne!(path, our_path);
    let theme = css.strip_prefix(&ours).unwrap();
    let (light, dark) = theme.split_once("@media (prefers-color-scheme: dark)").unwrap();
    for (rule, colours) in [
        (light, ["--bg:#f5f6f8", "--accent:#0b6e4f", "--on-accent:#ffffff"]),
        (dark, ["--bg:#000000", "--accent:#7fe0b8", "--on-accent:#000000"]),
    ] {
        for colour in colours {
            assert!(rule.contains(colour), "{colour} in {rule}");
        }
    }
}

/// Returns the links that match the selector, each with its text.
fn links(page: &Page, selector: &str) -> Vec<(String, String)> {
    let (document, selector) = (Html::parse_document(&page.html), Selector::parse(selector).unwrap());
    let link = |link: scraper::ElementRef| (link.text().collect(), link.attr("href").unwrap().to_owned());
    document.select(&selector).map(link).collect()
}

#[tokio::test]
async fn the_operators_links_are_at_the_foot_of_every_page_and_the_logo_leads_home() {
    let app = TestApp::start().await;
    let page = app.browser().open("/login").await;
    assert_eq!((links(&page, ".foot > ul a").len(), links(&page, ".brand")[0].1.as_str()), (0, "/"));

    let terms = "Terms=https://example.com/terms?a=1&b=<2>, 帮助=mailto:help@example.com";
    let app = TestApp::start_with(&["--links", terms, "--home-url", "https://www.example.com/app"]).await;
    let mut sam = app.user("sam", OTTER).await;
    for path in ["/login", "/signup", "/profile", "/docs", "/nowhere"] {
        let page = sam.open(path).await;
        let [(_, terms), (help, mailbox)] = &links(&page, ".foot > ul a")[..] else { panic!("{path}") };
        assert_eq!(terms, "https://example.com/terms?a=1&b=%3C2%3E");
        assert_eq!((help.as_str(), mailbox.as_str()), ("帮助", "mailto:help@example.com"));
        assert_eq!(links(&page, ".brand")[0].1, "https://www.example.com/app");
    }
    assert_eq!(links(&sam.open("/nowhere").await, "main .btn")[0].1, "https://www.example.com/app");
}

#[tokio::test]
async fn a_log_in_that_no_page_asked_for_leads_home() {
    let app = TestApp::start_with(&["--home-url", "https://www.example.com/app"]).await;
    app.user("sam", OTTER).await;
    for (path, next, to) in [
        ("/login", "", "https://www.example.com/app"),
        ("/login", "/profile/security", "/profile/security"),
        ("/login", "//evil.example", "https://www.example.com/app"),
    ] {
        let fields = [("login", "sam"), ("password", OTTER), ("next", next)];
        let page = app.browser().post(path, &fields).await;
        assert_eq!((page.status.as_u16(), page.headers["location"].to_str().unwrap()), (303, to), "{next}");
    }
    let policy = app.browser().open("/login").await.headers["content-security-policy"].clone();
    assert!(policy.to_str().unwrap().contains("form-action 'self' https://www.example.com; "), "{policy:?}");
}

#[test]
fn a_look_that_cannot_be_used_refuses_to_start_with_one_line_that_names_it() {
    let (_dir, large) = file("large.svg", format!("<svg>{}</svg>", " ".repeat(64 * 1024)));
    let (light, dark) = ("LATCHKEY_THEME_LIGHT", "LATCHKEY_THEME_DARK");
    let cases = [
        ("LATCHKEY_LOGO: file: is not an SVG, PNG or WebP file", "LATCHKEY_LOGO", "file"), // made by `fault`
        ("LATCHKEY_LOGO: nowhere.svg: No such file", "LATCHKEY_LOGO", "nowhere.svg"),
        ("LATCHKEY_LOGO: .: Is a directory", "LATCHKEY_LOGO", "."),
        ("LATCHKEY_LOGO: /dev/zero: is over 64 KiB", "LATCHKEY_LOGO", "/dev/zero"),
        ("large.svg: is over 64 KiB", "LATCHKEY_LOGO", &large),
        (
            "LATCHKEY_HOME_URL (--home-url): \"javascript:alert(1)\" must begin with",
            "LATCHKEY_HOME_URL",
            "javascript:alert(1)",
        ),
        (
            "LATCHKEY_LINKS (--links): \"Terms\" must be NAME=URL",
            "LATCHKEY_LINKS",
            "Help=mailto:help@example.com,Terms",
        ),
        ("LATCHKEY_THEME_LIGHT: \"blue\" is not a colour such as #1b48c4", light, "accent=blue"),
        ("LATCHKEY_THEME_LIGHT: \"\\n\" is not name=#rrggbb", light, "accent=#0b6e4f,\n"),
        ("LATCHKEY_THEME_LIGHT: accent is given twice", light, "accent=#0b6e4f,accent=#0b6e4f"),
        ("LATCHKEY_THEME_DARK: \"font\" is none of bg, surface, text", dark, "font=#ffffff"),
        (
            "LATCHKEY_THEME_LIGHT: muted #999999 on bg #ffffff has a contrast of 2.8:1, and 4.5:1 is the least",
            light,
            "muted=#999999,bg=#ffffff",
        ),
        ("LATCHKEY_THEME_DARK: accent #1b48c4 on bg #0e1116 has a contrast of", dark, "accent=#1b48c4"),
    ];
    let faults: Vec<_> = cases.iter().filter_map(|(words, name, value)| fault(words, &[(name, value)])).collect();
    assert!(faults.is_empty(), "{}", faults.join(""));
}
