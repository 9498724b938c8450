//! The page about the JSON door. The lines for curl are tested beside the code that writes them.

use scraper::{Html, Selector};
use serde_json::Value;

use crate::OTTER;
use crate::app::TestApp;
use crate::browser::Page;

fn texts(page: &Page, selector: &str) -> Vec<String> {
    let (document, selector) = (Html::parse_document(&page.html), Selector::parse(selector).unwrap());
    document.select(&selector).map(|element| element.text().collect()).collect()
}

#[tokio::test]
async fn a_visitor_reads_about_the_api_in_their_language() {
    let app = TestApp::start().await;
    for (language, words) in [("en", "Operations"), ("zh-CN", "接口")] {
        let mut sam = app.browser();
        sam.language = Some(language);
        let page = sam.open("/docs").await;
        page.assert_framed(200);
        assert_eq!((page.path.as_str(), &page.headers["content-language"]), ("/docs", &language.parse().unwrap()));
        assert_eq!(texts(&page, "nav h2"), [words]);
        // The description is in English, whatever language the page is in.
        assert_eq!(texts(&page, "h1[lang=en]"), texts(&page, "h1"));
        assert!(page.html.contains(&format!("<code>{}</code>", app.url)), "{}", page.html);
        assert_eq!(texts(&page, "main a[href='/openapi.json']"), ["/openapi.json"]);
    }
}

#[tokio::test]
async fn a_user_reads_in_the_language_that_they_have_saved() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let form = sam.open("/profile/language").await.form("/profile/language");
    sam.submit(form.fill("language", "zh-CN")).await;
    assert!(!sam.cookies.contains_key("latchkey_lang"));
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

/// The page must stay short: the same table of errors would stand under each of the operations.
#[tokio::test]
async fn a_response_that_all_operations_have_is_shown_once() {
    let app = TestApp::start().await;
    let page = app.browser().open("/docs").await;
    let common = texts(&page, "#any-operation dt");
    assert!(["413", "429", "503"].iter().all(|status| common.iter().any(|common| common == status)), "{common:?}");
    for status in common {
        let times = texts(&page, "main dt").into_iter().filter(|dt| *dt == status).count();
        assert_eq!(times, 1, "{status}");
    }
}

/// Collects the names and descriptions of the fields of a schema.
fn fields(document: &Value, schema: &Value, into: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        return fields(document, document.pointer(&reference[1..]).unwrap(), into);
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        into.extend([name.clone(), field["description"].as_str().unwrap_or_default().to_owned()]);
        fields(document, field, into);
    }
    for part in ["oneOf", "anyOf", "allOf"].iter().flat_map(|key| schema[key].as_array().into_iter().flatten()) {
        fields(document, part, into);
    }
    if schema["items"].is_object() {
        fields(document, &schema["items"], into);
    }
}

/// The page reads only the parts of OpenAPI that the description uses. When an operation uses another one, this test says
/// what the page lacks.
#[tokio::test]
async fn the_page_shows_all_that_the_description_says() {
    let app = TestApp::start().await;
    let document: Value = reqwest::get(format!("{}/openapi.json", app.url)).await.unwrap().json().await.unwrap();
    let page = app.browser().open("/docs").await;
    let bare = |text: &str| text.replace('`', "").split_whitespace().collect::<String>();
    let common = texts(&page, "#any-operation").concat();
    let operations = document["paths"].as_object().unwrap().iter();
    for (path, method, operation) in
        operations.flat_map(|(path, all)| all.as_object().unwrap().iter().map(move |(method, one)| (path, method, one)))
    {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut says = vec![format!("{} {path}", method.to_uppercase()), text(&operation["summary"])];
        says.push(text(&operation["description"]));
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            says.extend([text(&parameter["name"]), text(&parameter["description"])]);
        }
        for (media_type, body) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
            says.push(media_type.clone());
            fields(&document, &body["schema"], &mut says);
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            says.extend([status.clone(), text(&response["description"])]);
            for (media_type, body) in response["content"].as_object().into_iter().flatten() {
                says.extend([media_type.clone(), format!("{:#}", body["example"])]);
            }
        }
        let section = texts(&page, &format!("section[id='{}']", text(&operation["operationId"]))).concat();
        let shown = bare(&format!("{section}{common}"));
        for text in says {
            assert!(shown.contains(&bare(&text)), "{method} {path}: the page lacks {text:?}");
        }
        assert!(!section.contains("/{"), "{method} {path}: the line for curl needs an example: {section}");
    }
}
