//! An app sends its request ahead of its user (RFC 9126).

use latchkey::accounts::limit::clients::{Action, Source};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::OTTER;
use crate::app::TestApp;
use crate::authorize::{CALLBACK, CHALLENGE, Wiki, open, parameters, press};
use crate::tokens::{exchange, form, verified};

/// Sends a request, with these parameters in place of the usual ones. `-` leaves one out.
async fn push(app: &TestApp, wiki: &Wiki, changes: &[(&str, &str)]) -> (StatusCode, Value) {
    let path = wiki.request(changes);
    let query = path.split_once('?').unwrap().1.to_owned();
    let client = reqwest::Client::new().post(format!("{}/oauth/par", app.url));
    // A public app shows nothing but its name, which is in the form.
    let sent = if wiki.secret.is_empty() { client } else { client.basic_auth(&wiki.id, Some(&wiki.secret)) };
    let sent = sent.header("content-type", "application/x-www-form-urlencoded").body(query).send().await.unwrap();
    assert_eq!(sent.headers()["cache-control"], "no-store");
    (sent.status(), sent.json().await.unwrap())
}

async fn pushed(app: &TestApp, wiki: &Wiki, changes: &[(&str, &str)]) -> String {
    let (status, said) = push(app, wiki, changes).await;
    assert_eq!((status, &said["expires_in"]), (StatusCode::CREATED, &json!(600)), "{said}");
    said["request_uri"].as_str().unwrap().to_owned()
}

/// Returns the path to which the app sends its user.
fn at(client_id: &str, uri: &str) -> String {
    let query = [("client_id", client_id), ("request_uri", uri)];
    format!("/oauth/authorize?{}", url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish())
}

#[tokio::test]
async fn an_app_sends_its_request_ahead_of_its_user() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |_| {}).await;
    app.user("sam", OTTER).await;
    let mut sam = app.browser();
    let uri = pushed(&app, &wiki, &[]).await;
    assert!(uri.starts_with("urn:ietf:params:oauth:request_uri:"), "{uri}");

    let page = open(&mut sam, &at(&wiki.id, &uri)).await.expect("the log-in");
    assert!(page.html.contains("Log in to go on to Wiki."), "{}", page.html);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("form-action 'self' https://wiki.example.com;"), "{policy}");
    let page = press(&mut sam, page.form("/login").fill("login", "sam").fill("password", OTTER)).await;
    let page = page.expect("the question");
    assert!(page.html.contains("your email address"), "{}", page.html);
    let back = press(&mut sam, page.form("/oauth/consent").fill("decision", "allow")).await.expect_err("the app");
    assert!(back.as_str().starts_with(CALLBACK), "{back}");
    let got = parameters(&back);
    assert_eq!(got["state"], "a state & more");
    let (status, tokens) = exchange(&app, &wiki, &form(&got["code"])).await;
    assert_eq!(status, 200, "{tokens}");
    let claims = verified(&app, tokens["id_token"].as_str().unwrap(), &wiki.id).await;
    assert_eq!(claims["nonce"], "n-0S6_WzA2Mj");

    // It works once.
    let page = open(&mut sam, &at(&wiki.id, &uri)).await.expect("a page");
    page.assert_framed(400);
    assert!(page.html.contains("has expired"), "{}", page.html);
}

/// What the browser brings beside the address counts for nothing: the app has said what it asks for.
#[tokio::test]
async fn the_browser_changes_nothing_in_it() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let mut sam = app.user("sam", OTTER).await;
    let uri = pushed(&app, &wiki, &[("scope", "openid")]).await;
    let more =
        format!("{}&scope=openid+email&state=other&redirect_uri=https%3A%2F%2Fevil.example%2F", at(&wiki.id, &uri));
    let back = open(&mut sam, &more).await.expect_err("the app");
    assert!(back.as_str().starts_with(CALLBACK), "{back}");
    let got = parameters(&back);
    assert_eq!(got["state"], "a state & more");
    assert_eq!(exchange(&app, &wiki, &form(&got["code"])).await.1["scope"], "openid");

    // The log-in that it asks for comes once, and not again and again.
    let uri = pushed(&app, &wiki, &[("prompt", "login")]).await;
    let page = open(&mut sam, &at(&wiki.id, &uri)).await.expect("the log-in");
    let back = press(&mut sam, page.form("/login").fill("login", "sam").fill("password", OTTER)).await;
    assert!(parameters(&back.expect_err("the app")).contains_key("code"));
}

#[tokio::test]
async fn a_request_of_another_app_or_too_late_is_none() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let bank = Wiki::register(&app, |new| (new.name, new.trusted) = ("Bank".parse().unwrap(), true)).await;
    let mut sam = app.user("sam", OTTER).await;
    let uri = pushed(&app, &wiki, &[]).await;
    for path in
        [at(&bank.id, &uri), at(&wiki.id, &format!("{uri}x")), at(&wiki.id, "urn:ietf:params:oauth:request_uri:")]
    {
        open(&mut sam, &path).await.expect("a page").assert_framed(400);
    }
    app.app.clock.advance(time::Duration::minutes(10));
    open(&mut sam, &at(&wiki.id, &uri)).await.expect("a page").assert_framed(400);
}

#[tokio::test]
async fn what_could_not_be_answered_is_refused_at_once() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |_| {}).await;
    let bank = Wiki::register(&app, |new| new.name = "Bank".parse().unwrap()).await;
    for (changes, error) in [
        ([("redirect_uri", "https://evil.example/")], "invalid_request"),
        ([("redirect_uri", "-")], "invalid_request"),
        ([("response_type", "token")], "unsupported_response_type"),
        ([("scope", "phone")], "invalid_scope"),
        ([("code_challenge", "-")], "invalid_request"),
        ([("request_uri", "urn:ietf:params:oauth:request_uri:x")], "invalid_request"),
        ([("request", "e30.e30.")], "request_not_supported"),
        ([("client_id", bank.id.as_str())], "invalid_request"),
    ] {
        let (status, said) = push(&app, &wiki, &changes).await;
        assert_eq!((status, said["error"].as_str()), (StatusCode::BAD_REQUEST, Some(error)), "{changes:?}");
    }
    let public = Wiki::register(&app, |new| (new.name, new.public) = ("Phone".parse().unwrap(), true)).await;
    let wrong = Wiki { id: wiki.id.clone(), secret: bank.secret.clone() };
    for caller in [&public, &wrong] {
        let (status, said) = push(&app, caller, &[]).await;
        assert_eq!((status, &said["error"]), (StatusCode::UNAUTHORIZED, &json!("invalid_client")));
    }
    let long = "s".repeat(4096);
    assert_eq!(push(&app, &wiki, &[("state", &long)]).await.0, StatusCode::BAD_REQUEST);
    // The secret may be in the form too, and is not kept.
    let fields = [
        ("client_id", wiki.id.as_str()),
        ("client_secret", wiki.secret.as_str()),
        ("redirect_uri", CALLBACK),
        ("response_type", "code"),
        ("scope", "openid"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    let sent = reqwest::Client::new().post(format!("{}/oauth/par", app.url)).form(&fields).send().await.unwrap();
    assert_eq!(sent.status(), 201);
    use latchkey::accounts::authorize::pushed::Entity;
    use sea_orm::EntityTrait;
    let rows = Entity::find().all(app.app.db.read()).await.unwrap();
    assert_eq!((rows.len(), rows[0].parameters.contains(&wiki.secret)), (1, false), "{rows:?}");
}

/// A botnet that clicks on an app's log-in makes the app send requests. It fills no table, and other apps go on.
#[tokio::test]
async fn an_app_sends_no_more_than_so_many() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |_| {}).await;
    let bank = Wiki::register(&app, |new| new.name = "Bank".parse().unwrap()).await;
    let own = Source { ip: None, via: Some(wiki.id.parse().unwrap()) };
    let clients = &app.app.accounts.limits.clients;
    let mut refused = 0;
    for _ in 0..20 {
        while clients.take(Action::Push, own, app.app.now()).is_ok() {}
        refused = push(&app, &wiki, &[]).await.0.as_u16();
        if refused == 429 {
            break; // else another one had come, which takes 50 ms
        }
    }
    assert_eq!(refused, 429);
    assert_eq!(push(&app, &bank, &[]).await.0, StatusCode::CREATED);
    app.app.clock.advance(time::Duration::seconds(1));
    assert_eq!(push(&app, &wiki, &[]).await.0, StatusCode::CREATED);
}

/// Two browsers come with one request at the same moment.
#[tokio::test]
async fn one_request_gets_one_code() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let sam = app.user("sam", OTTER).await;
    for _ in 0..4 {
        let path = at(&wiki.id, &pushed(&app, &wiki, &[]).await);
        let opened = (0..4).map(|_| {
            let (mut sam, path) = (sam.clone(), path.clone());
            async move { open(&mut sam, &path).await.is_err() }
        });
        let codes = futures_util::future::join_all(opened).await;
        assert_eq!(codes.into_iter().filter(|code| *code).count(), 1);
    }
}
