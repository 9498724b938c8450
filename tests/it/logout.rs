//! An app logs its user out of the site (OpenID Connect RP-Initiated Logout).

use latchkey::accounts::signing_key;
use reqwest::header::{LOCATION, ORIGIN};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::app::TestApp;
use crate::authorize::{Wiki, go, open, parameters, press};
use crate::browser::{Browser, Page};
use crate::tokens::{lasting, refresh, tokens};
use crate::{HERON, OTTER};

const BYE: &str = "https://wiki.example.com/bye";

async fn wiki(app: &TestApp) -> Wiki {
    Wiki::register(app, |new| (new.trusted, new.logout_uris) = (true, vec![BYE.parse().unwrap()])).await
}

fn path(parameters: &[(&str, &str)]) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    format!("/oauth/logout?{query}")
}

async fn get(browser: &mut Browser, parameters: &[(&str, &str)]) -> Page {
    browser.send(Method::GET, &path(parameters), |request| request).await
}

fn hint(tokens: &Value) -> &str {
    tokens["id_token"].as_str().unwrap()
}

#[tokio::test]
async fn an_app_that_shows_its_id_token_logs_its_user_out_at_once() {
    let app = TestApp::start().await;
    let wiki = wiki(&app).await;
    let mut sam = app.user("sam", OTTER).await;
    let got = lasting(&app, &wiki, &mut sam).await;
    // The token need not be valid any more: it is not access that the app asks for.
    app.app.clock.advance(time::Duration::hours(1));
    let bye = [("id_token_hint", hint(&got)), ("post_logout_redirect_uri", BYE), ("state", "a & b")];
    let page = get(&mut sam, &bye).await;
    let cleared = page.headers["clear-site-data"].to_str().unwrap().to_owned();
    let back = go(&mut sam, page).await.expect_err("the app");
    assert_eq!(back.as_str(), format!("{BYE}?state=a+%26+b"));
    assert_eq!(cleared, "\"storage\"");
    assert!(!sam.is_logged_in().await);
    assert_eq!(refresh(&app, &wiki, &got["refresh_token"]).await.1["error"], "invalid_grant");
    // Once more: nobody is there, and the browser goes back all the same.
    let back = open(&mut sam, &path(&bye)).await.expect_err("the app");
    assert!(back.as_str().starts_with(BYE), "{back}");

    // Without an address it stays here, and is told.
    sam.log_in("sam", OTTER).await;
    let got = lasting(&app, &wiki, &mut sam).await;
    let page = open(&mut sam, &path(&[("id_token_hint", hint(&got))])).await.expect("the log-in");
    assert_eq!((page.path.as_str(), page.flash().as_str()), ("/login", "You are logged out."));
}

/// A page of any site can open this address. So without a proof nothing happens until the user says so.
#[tokio::test]
async fn without_a_proof_the_user_is_asked() {
    let app = TestApp::start().await;
    let wiki = wiki(&app).await;
    let mut sam = app.user("sam", OTTER).await;
    let page = open(&mut sam, "/oauth/logout").await.expect("the question");
    page.assert_framed(200);
    assert_eq!(page.heading(), "Log out?");
    assert!(sam.is_logged_in().await, "a link on another site logs nobody out");
    let page = press(&mut sam, page.form("/oauth/logout/confirm")).await.expect("the log-in");
    assert_eq!((page.path.as_str(), page.flash().as_str()), ("/login", "You are logged out."));
    assert!(!sam.is_logged_in().await);

    sam.log_in("sam", OTTER).await;
    let page = get(&mut sam, &[("client_id", &wiki.id), ("post_logout_redirect_uri", BYE), ("state", "s")]).await;
    assert!(page.html.contains("Wiki"), "{}", page.html);
    // Chromium applies the policy to the redirect after the form too.
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("form-action 'self' https://wiki.example.com;"), "{policy}");
    assert!(sam.is_logged_in().await);
    let back = press(&mut sam, page.form("/oauth/logout/confirm")).await.expect_err("the app");
    assert_eq!(back.as_str(), format!("{BYE}?state=s"));
    assert!(!sam.is_logged_in().await);
    // However long the state is.
    sam.log_in("sam", OTTER).await;
    let state = "s*".repeat(600);
    let page = get(&mut sam, &[("client_id", &wiki.id), ("post_logout_redirect_uri", BYE), ("state", &state)]).await;
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("form-action 'self' https://wiki.example.com;"), "{policy}");
    // An app that nobody can know of is not gone back to.
    let page = open(&mut sam, &path(&[("post_logout_redirect_uri", BYE)])).await.expect("the question");
    let page = press(&mut sam, page.form("/oauth/logout/confirm")).await.expect("the log-in");
    assert_eq!(page.path, "/login");
}

/// The token of a session that this browser does not have proves nothing about the one that it has.
#[tokio::test]
async fn an_id_token_of_another_session_logs_nobody_out() {
    let app = TestApp::start().await;
    let wiki = wiki(&app).await;
    let mut sam = app.user("sam", OTTER).await;
    let old = lasting(&app, &wiki, &mut sam).await;
    sam.log_out().await;
    let mut eve = app.user("eve", HERON).await;
    let eves = lasting(&app, &wiki, &mut eve).await;
    sam.log_in("sam", OTTER).await;
    for another in [&old, &eves] {
        let page = get(&mut sam, &[("id_token_hint", hint(another)), ("post_logout_redirect_uri", BYE)]).await;
        assert_eq!((page.status, page.heading().as_str()), (StatusCode::OK, "Log out?"));
        assert!(sam.is_logged_in().await);
    }
    // A log-in again for another app goes on with the session that the wiki knows.
    let bank = Wiki::register(&app, |new| (new.name, new.trusted) = ("Bank".parse().unwrap(), true)).await;
    let got = lasting(&app, &wiki, &mut sam).await;
    let page = open(&mut sam, &bank.request(&[("prompt", "login")])).await.expect("the log-in");
    press(&mut sam, page.form("/login").fill("login", "sam").fill("password", OTTER)).await.expect_err("the app");
    assert!(sam.is_logged_in().await);
    open(&mut sam, &path(&[("id_token_hint", hint(&got))])).await.expect("the log-in");
    assert!(!sam.is_logged_in().await);
}

/// An address that nobody has registered would let an attacker send users anywhere from a page of ours (RFC 9700, 4.11).
#[tokio::test]
async fn what_is_not_registered_or_not_ours_is_a_page_and_changes_nothing() {
    let app = TestApp::start().await;
    let wiki = wiki(&app).await;
    let bank = Wiki::register(&app, |new| (new.name, new.trusted) = ("Bank".parse().unwrap(), true)).await;
    let mut sam = app.user("sam", OTTER).await;
    let got = tokens(&app, &wiki, &mut sam).await;
    let at_bank = tokens(&app, &bank, &mut sam).await;
    let token = hint(&got);
    let (head, rest) = token.split_once('.').unwrap();
    let (claims, signature) = rest.split_once('.').unwrap();
    let modified = format!("{head}.{}x.{signature}", claims.trim_end_matches('x'));
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}.");
    let added = format!("{BYE}?a=b");
    let (hint_name, to) = ("id_token_hint", "post_logout_redirect_uri");
    let wrong: [&[(&str, &str)]; 12] = [
        &[(hint_name, token), (to, "https://evil.example/")],
        &[(hint_name, token), (to, &added)],
        &[(hint_name, token), (to, "https://wiki.example.com/callback")],
        &[(hint_name, hint(&at_bank)), (to, BYE)],
        &[(hint_name, token), (to, BYE), (to, "https://evil.example/")],
        &[(hint_name, token), ("client_id", &bank.id)],
        &[("client_id", &wiki.id), (to, "https://evil.example/")],
        &[("client_id", "nobody"), (to, BYE)],
        &[(hint_name, &modified), (to, BYE)],
        &[(hint_name, &unsigned), (to, BYE)],
        &[(hint_name, got["access_token"].as_str().unwrap()), (to, BYE)],
        &[(hint_name, "no token"), (to, BYE)],
    ];
    for wrong in wrong {
        let page = get(&mut sam, wrong).await;
        assert_eq!((page.status, page.headers.get(LOCATION)), (StatusCode::BAD_REQUEST, None), "{wrong:?}");
        page.assert_framed(400);
        // The form after the question says it once more.
        let query = path(wrong);
        let fields = [("request", query.split_once('?').unwrap().1)];
        assert_eq!(sam.post("/oauth/logout/confirm", &fields).await.status, 400, "{wrong:?}");
        assert!(sam.is_logged_in().await, "{wrong:?}");
    }
    // The user can still log out.
    let page = get(&mut sam, wrong[0]).await;
    assert!(page.html.contains("href=\"/oauth/logout\""), "{}", page.html);
    // Nobody is there, and an attacker still gets no redirect.
    sam.log_out().await;
    assert_eq!(get(&mut sam, wrong[0]).await.status, 400);
}

/// An app that is opened seldom may have an ID token from before keys were rotated twice. Nothing is wrong with the app.
#[tokio::test]
async fn a_token_whose_key_is_gone_is_too_old_and_no_fault_of_its_app() {
    let app = TestApp::start().await;
    let wiki = wiki(&app).await;
    let mut sam = app.user("sam", OTTER).await;
    let got = tokens(&app, &wiki, &mut sam).await;
    signing_key::forget_all(&app.app.db).await.unwrap();
    app.app.clock.advance(time::Duration::days(91)); // another key has to be made, so the keys are read again
    let mut sam = app.browser();
    sam.log_in("sam", OTTER).await;
    let page = get(&mut sam, &[("id_token_hint", hint(&got)), ("post_logout_redirect_uri", BYE)]).await;
    page.assert_framed(400);
    assert!(page.html.contains("it may be too old, or its app is not registered"), "{}", page.html);
    assert!(page.html.contains("href=\"/oauth/logout\"") && sam.is_logged_in().await, "{}", page.html);
}

/// An app may send a form instead. It comes without our cookies, and comes again as a GET.
#[tokio::test]
async fn an_app_may_send_a_form() {
    let app = TestApp::start().await;
    let wiki = wiki(&app).await;
    let mut sam = app.user("sam", OTTER).await;
    let got = lasting(&app, &wiki, &mut sam).await;
    let fields = [("id_token_hint", hint(&got)), ("post_logout_redirect_uri", BYE)];
    let url = format!("{}/oauth/logout", app.url);
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let answer = client.post(url).header(ORIGIN, "https://wiki.example.com").form(&fields).send().await.unwrap();
    assert_eq!(answer.status(), 303);
    let next = answer.headers()[LOCATION].to_str().unwrap().to_owned();
    let back = open(&mut sam, &next).await.expect_err("the app");
    assert_eq!((back.as_str(), parameters(&back).len()), (BYE, 0));
    assert!(!sam.is_logged_in().await);
    // The form of our own question is not for other sites.
    sam.log_in("sam", OTTER).await;
    let forged = sam.send(Method::POST, "/oauth/logout/confirm", |request| {
        request.header(ORIGIN, "https://evil.example").form(&[("request", "")])
    });
    assert_eq!(forged.await.status, 403);
    assert!(sam.is_logged_in().await);
}
