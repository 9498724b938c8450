//! Bad input of any kind is answered by a page of the site, never by a 500. The page says what to do, and shows again what
//! was typed.

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use sea_orm::EntityTrait;

use crate::app::TestApp;
use crate::browser::{Browser, Page};
use crate::{HERON, OTTER};

const FORM: &str = "application/x-www-form-urlencoded";

/// The forms of the pages, with their fields.
pub const FORMS: &[(&str, &[&str])] = &[
    ("/signup", &["email", "username", "full_name", "password"]),
    ("/login", &["login", "password", "remember", "next", "misses", "locale"]),
    ("/forgot-password", &["email", "again"]),
    ("/reset-password", &["password"]),
    ("/profile", &["full_name"]),
    ("/profile/name", &["full_name"]),
    ("/profile/language", &["language"]),
    ("/profile/security/log-out", &["session", "others"]),
    ("/profile/apps", &["app"]),
    ("/profile/apps", &["app"]),
    ("/profile/password", &["current_password", "new_password"]),
    ("/signup/confirm", &["username"]),
    ("/signup/resend", &[]),
    ("/oauth/consent", &["request", "user", "decision"]),
];

/// The forms that the walk leaves out: the first two end the session that the others need, the third has no field, and the rest
/// are sent by other sites.
const LEFT_OUT: [&str; 5] = ["/logout", "/oauth/logout/confirm", "/not-me", "/oauth/authorize", "/oauth/logout"];

#[test]
fn the_forms_here_are_those_of_the_routes() {
    let source = |file: &str| std::fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let (urls, routes) = (source("src/urls/mod.rs"), source("src/web/mod.rs"));
    let path_of = |name: &str| {
        let (_, rest) = urls.split_once(&format!("pub const {name}: &str = \"")).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    let posted = routes.lines().filter(|line| line.contains("post(")).filter_map(|line| line.split_once("urls::"));
    let paths: Vec<_> = posted.map(|(_, rest)| path_of(rest.split(',').next().unwrap())).collect();
    assert!(paths.len() > FORMS.len(), "{paths:?}");
    for path in paths {
        let known = FORMS.iter().any(|(form, _)| *form == path) || LEFT_OUT.contains(&path.as_str());
        assert!(known, "FORMS has no {path}");
    }
}

async fn post_raw(browser: &mut Browser, path: &str, kind: &str, body: Vec<u8>) -> Page {
    browser.send(Method::POST, path, |request| request.header(CONTENT_TYPE, kind).body(body)).await
}

/// Checks that the response is a page of the site, or a redirect to one.
fn assert_calm(page: &Page, what: &str) {
    match page.status.as_u16() {
        303 => {}
        status @ (400 | 410 | 422) => {
            page.assert_framed(status);
        }
        status => panic!("{what}: {status} {}", page.html),
    }
}

/// Returns a browser that can open every form: it is logged in and has opened a reset link.
async fn everywhere(app: &TestApp) -> Browser {
    let mut sam = app.user("sam", OTTER).await;
    let link = app.reset_link("sam@example.com", 2).await;
    sam.open(&link).await;
    sam
}

#[tokio::test]
async fn nonsense_in_any_field_of_any_form_is_answered_by_a_page() {
    let app = TestApp::start_with(&["--rate-limits", "off"]).await;
    let sam = everywhere(&app).await;
    let long = "x".repeat(10_000);
    let nonsense = [
        "",
        "%00",
        "%01%02%03",
        "%0d%0aSet-Cookie:%20a=b",
        "%ff%fe",
        "%",
        "%zz",
        "%E2%80%AE",
        "%F0%9F%92%A9",
        "<script>alert(1)</script>",
        "'%20OR%201=1--",
        "..%2f..%2fetc%2fpasswd",
        "{{7*7}}",
        "+",
        &long,
        "%EF%BF%BD",
    ];
    for (path, fields) in FORMS {
        for value in nonsense {
            let body: Vec<String> = fields.iter().map(|field| format!("{field}={value}")).collect();
            let mut sam = sam.clone();
            let body = body.join("&");
            if body.len() > 16 * 1024 {
                continue; // another test sends bodies that are too large
            }
            let page = post_raw(&mut sam, path, FORM, body.into_bytes()).await;
            assert_calm(&page, &format!("{path} with {}", &value[..value.len().min(30)]));
            assert!(!page.html.contains("<script>alert"), "{path} lets code through");
            assert!(
                page.headers.get_all("set-cookie").iter().all(|cookie| !cookie.to_str().unwrap().starts_with("a=b"))
            );
        }
    }
    // Some of these values are accepted as passwords. The account is there, whatever its password is now.
    app.outbox_is_done().await;
    let letters = app.letters_to("sam@example.com", 1).await.len();
    let mut sam = app.browser();
    sam.open(&app.reset_link("sam@example.com", letters + 1).await).await;
    assert_eq!(sam.post("/reset-password", &[("password", HERON)]).await.status, 303);
    assert_eq!(sam.log_in("sam", HERON).await.path, "/profile", "nothing is lost");
}

#[tokio::test]
async fn missing_and_doubled_fields_ask_for_the_field() {
    let app = TestApp::start().await;
    let mut sam = everywhere(&app).await;
    for (path, fields) in FORMS {
        let page = post_raw(&mut sam.clone(), path, FORM, vec![]).await;
        assert_calm(&page, path);
        let doubled: Vec<String> = fields.iter().map(|field| format!("{field}=one&{field}=two")).collect();
        let page = post_raw(&mut sam.clone(), path, FORM, doubled.join("&").into_bytes()).await;
        assert_calm(&page, path);
        assert!(!page.html.contains("\"one\"") && !page.html.contains("\"two\""), "{path} chose one of two");
    }
    let page =
        post_raw(&mut sam, "/signup", FORM, b"email=a@b.example&email=c@d.example&username=ann&password=x".to_vec())
            .await;
    page.assert_framed(422);
    assert_eq!(page.problem_at("email"), "Enter your email address");
    assert_eq!(page.value_of("username"), "ann");
}

#[tokio::test]
async fn the_sign_up_form_names_all_mistakes_at_once_in_the_order_of_the_fields() {
    let app = TestApp::start().await;
    let mut eve = app.browser();
    let form = eve.open("/signup").await.form("/signup");
    let form = form
        .fill("email", "sam@example")
        .fill("username", "a b")
        .fill("full_name", "\u{202e}x")
        .fill("password", "12345678");
    let page = eve.submit(form).await;
    page.assert_framed(422);
    let problems = [
        page.problem_at("email"),
        page.problem_at("username"),
        page.problem_at("full_name"),
        page.problem_at("password"),
    ];
    assert_eq!(page.problems(), problems);
    assert_eq!(problems[0], "Enter an email address like name@example.com");
    assert!(problems[3].contains("Three random words work well"));
    assert!(page.title().starts_with("Error: "));
    for field in ["email", "username", "password"] {
        assert!(page.html.contains(&format!("href=\"#{field}\"")), "{field}");
    }
    assert!(page.html.contains("tabindex=\"-1\" autofocus id=\"errors\""));
    assert!(
        page.html.contains("aria-describedby=\"username-hint username-error\" aria-invalid=\"true\""),
        "{}",
        page.html
    );
}

#[tokio::test]
async fn a_body_that_is_not_a_form_or_is_too_large_is_refused() {
    let app = TestApp::start().await;
    let sam = everywhere(&app).await;
    for (path, _) in FORMS.iter().filter(|(path, _)| *path != "/signup/resend") {
        let page = post_raw(&mut sam.clone(), path, "application/json", b"{\"email\":1}".to_vec()).await;
        page.assert_framed(415);
        let page = post_raw(&mut sam.clone(), path, "multipart/form-data; boundary=x", b"--x--".to_vec()).await;
        page.assert_framed(415);
        let page = post_raw(&mut sam.clone(), path, FORM, vec![b'a'; 17 * 1024]).await;
        page.assert_framed(413);
    }
    let page =
        sam.clone().send(Method::PUT, "/profile", |request| request.header("sec-fetch-site", "same-origin")).await;
    page.assert_framed(405);
}

#[tokio::test]
async fn a_form_posted_after_the_session_ended_is_found_filled_after_the_log_in_and_not_saved() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let name = sam.open("/profile/name").await.form("/profile/name").fill("full_name", "New <b>");
    let language = sam.open("/profile/language").await.form("/profile/language").fill("language", "zh-CN");
    let password = sam.open("/profile/password").await.form("/profile/password");
    let password = password.fill("current_password", OTTER).fill("new_password", HERON);
    for (form, field, value) in [(name, "full_name", "New <b>"), (language, "language", "zh-CN"), (password, "", "")] {
        app.app.clock.advance(time::Duration::hours(3));
        let page = sam.submit(form.clone()).await;
        assert!(page.path.starts_with("/login?next="), "{}", page.path);
        assert_eq!(page.flash(), "Log in to continue. You were logged out, so nothing has been saved yet.");
        let page = sam.submit(page.form("/login").fill("login", "sam").fill("password", OTTER)).await;
        assert_eq!((page.path.as_str(), page.status.as_u16()), (form.action.as_str(), 200));
        assert_eq!(page.flash(), "Nothing has been saved yet. Check the form, then save it.");
        let found = page.form(&form.action);
        assert!(field.is_empty() || found.fields.contains(&(field.into(), value.into())), "{found:?}");
        assert!(!page.html.contains(OTTER) && !page.html.contains(HERON), "no secrets are kept");
        assert!(sam.open("/profile").await.html.contains("Sam Smith"), "not saved");
        let again = sam.open(&form.action).await;
        assert_eq!(again.flash(), "", "shown once");
    }
    let rows = latchkey::visit_store::Entity::find().all(app.app.db.read()).await.unwrap();
    assert!(rows.is_empty(), "{rows:?}");
}

#[tokio::test]
async fn a_device_that_was_to_be_logged_out_after_the_session_ended_is_still_there_and_the_page_says_so() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let mut elsewhere = app.browser();
    elsewhere.log_in("sam", OTTER).await;
    let form = sam.open("/profile/security").await.form("/profile/security/log-out");
    sam.cookies.remove("latchkey_session");
    let page = sam.submit(form).await;
    let page = sam.submit(page.form("/login").fill("login", "sam").fill("password", OTTER)).await;
    assert_eq!(page.path, "/profile/security");
    assert_eq!(page.flash(), "No device has been logged out yet. Choose again.");
    assert!(elsewhere.is_logged_in().await);
}

#[tokio::test]
async fn a_visitor_cannot_fill_the_table_with_posts_to_account_pages() {
    let app = TestApp::start().await;
    for (name, text) in [
        ("full_name", "x".repeat(15_000)),
        ("full_name", "x".repeat(1024)),
        ("full_name", "\0".repeat(1024)),
        ("current_password", OTTER.to_owned()),
        ("a", "b".repeat(1000)),
    ] {
        let fields: Vec<_> = std::iter::repeat_n((name, text), 1).chain([("language", "zh-CN".into())]).collect();
        app.browser().post("/profile/name", &fields).await;
    }
    let rows = latchkey::visit_store::Entity::find().all(app.app.db.read()).await.unwrap();
    assert_eq!(rows.len(), 5);
    assert!(rows.iter().all(|row| row.data.len() < 8 * 1024 && !row.data.contains(OTTER)), "{rows:?}");
}

#[tokio::test]
async fn a_malformed_cookie_is_ignored() {
    let app = TestApp::start().await;
    for value in ["", "=", "a=b=c", "\"", "%00", "{}", &"x".repeat(6000)] {
        for name in ["latchkey_session", "latchkey_visit", "latchkey_reset", "latchkey_signup", "latchkey_lang"] {
            let mut eve = app.browser();
            eve.cookies.insert(name.into(), value.into());
            for path in ["/", "/login", "/signup", "/signup/sent", "/forgot-password/sent"] {
                assert_eq!(eve.open(path).await.status, 200, "{name}={value} at {path}");
            }
            assert_eq!(eve.open("/profile").await.path, "/login");
            eve.open("/reset-password").await.assert_framed(410);
            eve.open("/signup/confirm").await.assert_framed(410);
        }
    }
}

#[tokio::test]
async fn the_mailbox_opens_no_path_that_is_not_the_id_of_a_letter() {
    let app = TestApp::start().await;
    for id in ["x", "..%2f..%2fsecret", "00000000-0000-0000-0000-000000000000"] {
        app.browser().open(&format!("/dev/mailbox/{id}")).await.assert_framed(404);
        app.browser().open(&format!("/dev/mailbox/{id}/html")).await.assert_framed(404);
    }
    assert!(app.browser().open("/dev/mailbox").await.html.contains("No emails yet"));
}
