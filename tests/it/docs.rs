//! The page about the API. What it makes of a document is tested beside the code that reads it.

use scraper::{Html, Selector};

use crate::OTTER;
use crate::app::TestApp;
use crate::browser::Page;

fn texts(page: &Page, selector: &str) -> Vec<String> {
    let (document, selector) = (Html::parse_document(&page.html), Selector::parse(selector).unwrap());
    document.select(&selector).map(|element| element.text().collect()).collect()
}

#[tokio::test]
async fn strangers_read_about_the_api_in_their_language() {
    let app = TestApp::start().await;
    for (language, words) in [("en", "Operations"), ("zh-CN", "接口")] {
        let mut sam = app.browser();
        sam.language = Some(language);
        let page = sam.open("/docs").await;
        page.assert_framed(200);
        assert_eq!((page.path.as_str(), &page.headers["content-language"]), ("/docs", &language.parse().unwrap()));
        assert_eq!(texts(&page, "nav h2"), [words]);
        // The document is in English, whoever reads it.
        assert_eq!(texts(&page, "h1[lang=en]"), texts(&page, "h1"));
        assert!(page.html.contains(&format!("<code>{}</code>", app.url)), "{}", page.html);
        assert_eq!(texts(&page, "main a[href='/openapi.json']"), ["/openapi.json"]);
    }
}

#[tokio::test]
async fn whoever_is_logged_in_reads_in_the_language_they_have_saved() {
    let app = TestApp::start().await;
    let mut sam = app.someone("sam", OTTER).await;
    sam.open("/profile?lang=zh-CN").await;
    sam.cookies.retain(|name, _| !name.contains("lang"));
    assert_eq!(sam.open("/docs").await.headers["content-language"], "zh-CN");
}

#[tokio::test]
async fn the_list_leads_to_every_operation_and_its_curl_line() {
    let app = TestApp::start().await;
    let page = app.browser().open("/docs").await;
    let document = Html::parse_document(&page.html);
    let links = Selector::parse("nav a[href^='#']").unwrap();
    let links: Vec<_> = document.select(&links).map(|link| link.attr("href").unwrap()).collect();
    assert_eq!(links.len(), texts(&page, "section.card").len());
    assert!(!links.is_empty());
    for link in links {
        let id = link.trim_start_matches('#');
        assert_eq!(texts(&page, &format!("section[id='{id}'] > h2")).len(), 1, "{link}");
        let curl = texts(&page, &format!("section[id='{id}'] > h3 + pre")).remove(0);
        assert!(curl.starts_with("curl ") && curl.contains(&format!(" '{}/", app.url)), "{curl}");
    }
}

/// The same table of errors under each of six operations was most of the page.
#[tokio::test]
async fn what_any_operation_may_answer_is_said_once() {
    let app = TestApp::start().await;
    let page = app.browser().open("/docs").await;
    let common = texts(&page, "#any-operation dt");
    assert!(["413", "429", "503"].iter().all(|status| common.iter().any(|common| common == status)), "{common:?}");
    for status in common {
        let said = texts(&page, "main dt").into_iter().filter(|dt| *dt == status).count();
        assert_eq!(said, 1, "{status}");
    }
}
