//! The weight of a first visit and its budget of 10 kB. `cargo test weight -- --nocapture` shows the figures.

#![expect(clippy::print_stdout, reason = "the figures are for the README")]

use std::collections::BTreeSet;

use latchkey::locale::Locale;
use reqwest::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE};
use scraper::{Html, Selector};

use crate::app::TestApp;

const KB: usize = 1024;

/// Returns the page and everything that it makes a browser ask for, each with the number of bytes that are sent.
async fn first_visit(app: &TestApp, path: &str, language: &str) -> Vec<(String, usize)> {
    let client = reqwest::Client::new();
    let fetch = async |path: &str| {
        let request = client.get(format!("{}{path}", app.url)).header(ACCEPT_LANGUAGE, language);
        let answer = request.header(ACCEPT_ENCODING, "gzip").send().await.unwrap();
        assert!(answer.status().is_success() || path == "/nowhere", "{path}");
        answer.bytes().await.unwrap()
    };
    let page = fetch(path).await;
    let html = Html::parse_document(str::from_utf8(&page).unwrap()).clone();
    let asks = Selector::parse("link[href], script[src], img[src], iframe[src]").unwrap();
    let parts: BTreeSet<String> = html
        .select(&asks)
        .filter_map(|element| element.attr("href").or(element.attr("src")))
        .map(str::to_owned)
        .collect();
    let mut weights = vec![(path.to_owned(), page.len())];
    for part in parts {
        let size = fetch(&part).await.len();
        weights.push((part, size));
    }
    weights
}

#[tokio::test]
async fn a_first_visit_is_light() {
    let app = TestApp::start().await;
    for language in Locale::iter() {
        for path in ["/", "/login", "/signup", "/forgot-password", "/nowhere"] {
            let weights = first_visit(&app, path, language).await;
            let all: usize = weights.iter().map(|(_, size)| size).sum();
            println!(
                "{language:<5} {path:<16} page {:>5} B, in all {all:>5} B, {} requests",
                weights[0].1,
                weights.len()
            );
            assert!(all < 10_000 && weights.len() <= 5, "{weights:?}");
            for (part, size) in weights {
                let most = if part.ends_with(".css") { 5 * KB } else { 3 * KB / 2 };
                assert!(part == path || size <= most, "{part} weighs {size} bytes");
            }
        }
    }
}
