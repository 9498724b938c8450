//! Attacks on log-ins for apps, as RFC 9700 (Best Current Practice for OAuth 2.0 Security) lists them. More of them are where the
//! feature is: `authorize`, `tokens`, `revoke`, `logout`.

use std::collections::BTreeSet;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use url::Url;

use crate::OTTER;
use crate::app::TestApp;
use crate::authorize::{CALLBACK, Wiki, open, parameters, press};
use crate::browser::{Browser, Form, Page};
use crate::tokens::{code, exchange, form, tokens, userinfo, verified};

async fn get(browser: &mut Browser, path: &str) -> Page {
    browser.send(Method::GET, path, |request| request).await
}

fn location(page: &Page) -> Option<&str> {
    page.headers.get(LOCATION).map(|to| to.to_str().unwrap())
}

async fn trusted(app: &TestApp, name: &str) -> Wiki {
    Wiki::register(app, |new| (new.name, new.trusted) = (name.parse().unwrap(), true)).await
}

/// Codes go to the registered text and to no other spelling of it, for which somebody else might be at home (4.1).
#[tokio::test]
async fn no_other_spelling_of_an_address_gets_a_code() {
    let app = TestApp::start().await;
    let wiki = trusted(&app, "Wiki").await;
    let mut sam = app.user("sam", OTTER).await;
    for spelling in [
        "http://wiki.example.com/callback",
        "https://wiki.example.com",
        "https://wiki.example.com/",
        "https://wiki.example.com/callback/",
        "https://wiki.example.com/callback#",
        "https://wiki.example.com/callback#x",
        "https://wiki.example.com/callback?",
        "https://wiki.example.com/callback;x",
        "https://wiki.example.com/callback%2f",
        "https://wiki.example.com/callback%00",
        "https://wiki.example.com/callback%0d%0aset-cookie:a=b",
        "https://wiki.example.com/callback\r\nset-cookie: a=b",
        "https://wiki.example.com/callback ",
        " https://wiki.example.com/callback",
        "https://wiki.example.com/Callback",
        "https://wiki.example.com/%63allback",
        "https://wiki.example.com/x/../callback",
        "https://wiki.example.com/callback/../../evil",
        "https://wiki.example.com/callback/%2e%2e/evil",
        "https://wiki.example.com//callback",
        "https://wiki.example.com\\callback",
        "https://WIKI.example.com/callback",
        "HTTPS://wiki.example.com/callback",
        "https://wiki.example.com./callback",
        "https://wiki.example.com:443/callback",
        "https://wiki.example.com:8443/callback",
        "https://wiki.example.com@evil.example/callback",
        "https://evil.example\\@wiki.example.com/callback",
        "https://user@wiki.example.com/callback",
        "https://wiki.example.com%2eevil.example/callback",
        "https://wiki。example。com/callback",
        "https://evil.wiki.example.com/callback",
        "https://example.com/callback",
        "https://wiki.example.com.evil.example/callback",
        "https:wiki.example.com/callback",
        "//wiki.example.com/callback",
        "/callback",
        "data:text/html,<script>alert(1)</script>",
        // The other address of the app is on loopback, where only the port is the app's to choose.
        "https://127.0.0.1/cb",
        "http://127.0.0.1/cb2",
        "http://127.0.0.1/cb?x=1",
        "http://127.0.0.1:80:80/cb",
        "http://127.0.0.1:@evil.example/cb",
        "http://127.0.0.2/cb",
        "http://localhost/cb",
        "http://[::1]/cb",
        "http://2130706433/cb",
        "http://0x7f.1/cb",
        "http://127.0.0.1\\.evil.example/cb",
    ] {
        let page = get(&mut sam, &wiki.request(&[("redirect_uri", spelling)])).await;
        assert_eq!((page.status.as_u16(), location(&page)), (400, None), "{spelling:?}");
        // Nor does a code come out at another spelling than it went to (4.5).
        let code = code(&wiki, &mut sam, &[]).await;
        let mut fields = form(&code);
        fields[2] = ("redirect_uri", spelling);
        assert_eq!(exchange(&app, &wiki, &fields).await.1["error"], "invalid_grant", "{spelling:?}");
    }
}

/// What the app sends along comes back as it was, and adds neither a parameter nor a header to the answer (4.1.3, 4.7).
#[tokio::test]
async fn what_an_app_sends_along_cannot_split_the_answer() {
    let app = TestApp::start().await;
    let wiki = trusted(&app, "Wiki").await;
    let mut sam = app.user("sam", OTTER).await;
    for state in [
        "x&code=evil&iss=https://evil.example",
        "x#code=evil",
        "x?code=evil",
        "x\r\nset-cookie: latchkey_session=evil",
        "x\r\n\r\n<script>alert(1)</script>",
        "%0d%0aset-cookie: a=b",
        "示例 \u{202e}\u{0}",
        "\"><script>alert(1)</script>",
    ] {
        for more in [("prompt", "none"), ("response_type", "token"), ("scope", "phone")] {
            let page = get(&mut sam, &wiki.request(&[("state", state), more])).await;
            let back: Url = location(&page).expect("the app").parse().unwrap();
            assert!(back.as_str().starts_with(&format!("{CALLBACK}?")) && back.fragment().is_none(), "{back}");
            let names: Vec<_> = back.query_pairs().map(|(name, _)| name.into_owned()).collect();
            assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "a parameter came twice: {back}");
            assert_eq!(parameters(&back)["state"], state);
            assert_eq!(parameters(&back)["iss"], app.url);
            assert!(!page.headers.contains_key("set-cookie"), "{state:?}");
        }
    }
}

/// An app that uses several servers compares `iss` with the one that it has asked. An attacker's server cannot pass our answers off
/// as its own, nor its own off as ours (mix-up; 4.4, RFC 9207).
#[tokio::test]
async fn every_answer_says_which_server_it_is_from() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |_| {}).await;
    let mut sam = app.user("sam", OTTER).await;
    let discovery: Value =
        reqwest::get(format!("{}/.well-known/openid-configuration", app.url)).await.unwrap().json().await.unwrap();
    assert_eq!(discovery["authorization_response_iss_parameter_supported"], true);
    let issuer = discovery["issuer"].as_str().unwrap();
    let question = open(&mut sam, &wiki.request(&[])).await.expect("the question").form("/oauth/consent");
    let decide = |decision: &str| -> Form { question.clone().fill("decision", decision) };
    let answers = [
        press(&mut sam, decide("deny")).await.expect_err("the app"),
        open(&mut sam, &wiki.request(&[("prompt", "none")])).await.expect_err("the app"),
        open(&mut sam, &wiki.request(&[("response_type", "-"), ("state", "-")])).await.expect_err("the app"),
        open(&mut app.browser(), &wiki.request(&[("prompt", "none")])).await.expect_err("the app"),
        press(&mut sam, decide("allow")).await.expect_err("the app"),
    ];
    for answer in &answers {
        assert_eq!(parameters(answer)["iss"], issuer, "{answer}");
    }
    let got = tokens(&app, &wiki, &mut sam).await;
    for token in ["id_token", "access_token"] {
        assert_eq!(verified(&app, got[token].as_str().unwrap(), &wiki.id).await["iss"], issuer);
    }
    // What the app says about who we are is not believed.
    let lie = open(&mut sam, &wiki.request(&[("iss", "https://evil.example")])).await.expect_err("the app");
    assert_eq!(lie.query_pairs().filter(|(name, _)| name == "iss").count(), 1, "{lie}");
    assert_eq!(parameters(&lie)["iss"], issuer);
}

/// A browser repeats a POST after 307, and would send the password to the app (4.12). A code that is kept, or goes along as
/// `Referer`, is one that somebody else reads (4.2).
#[tokio::test]
async fn a_code_goes_to_the_app_and_the_password_does_not() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |_| {}).await;
    app.user("sam", OTTER).await;
    let mut sam = app.browser();
    let safe = |headers: &HeaderMap| {
        assert_eq!(headers["cache-control"], "no-store");
        assert_eq!(headers["referrer-policy"], "same-origin");
    };
    let page = open(&mut sam, &wiki.request(&[])).await.expect("the log-in");
    safe(&page.headers);
    let log_in = page.form("/login").fill("login", "sam").fill("password", OTTER);
    let sent = sam.post("/login", &log_in.fields).await;
    assert_eq!(sent.status, 303);
    safe(&sent.headers);
    let question = open(&mut sam, location(&sent).unwrap()).await.expect("the question");
    safe(&question.headers);
    let allow = question.form("/oauth/consent").fill("decision", "allow");
    let sent = sam.post("/oauth/consent", &allow.fields).await;
    assert_eq!(sent.status, 303);
    safe(&sent.headers);
    let to = location(&sent).unwrap();
    assert!(to.starts_with(CALLBACK) && to.contains("code=") && !to.contains("velvet"), "{to}");
}

/// A page of an attacker may hide ours in a frame below a button of its own (4.16).
#[tokio::test]
async fn no_page_on_the_way_to_an_app_is_shown_in_a_frame() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |_| {}).await;
    let mut sam = app.user("sam", OTTER).await;
    let (request, stranger) = (wiki.request(&[]), wiki.request(&[("redirect_uri", "https://evil.example")]));
    let pages = [
        open(&mut app.browser(), &request).await.expect("the log-in"),
        open(&mut sam, &request).await.expect("the question"),
        open(&mut sam, &stranger).await.expect("a page"),
        open(&mut sam, "/oauth/logout").await.expect("the question"),
    ];
    for page in pages {
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("frame-ancestors 'none'"), "{}: {policy}", page.path);
        assert_eq!(page.headers["x-frame-options"], "DENY", "{}", page.path);
    }
}

/// A token of one app is not accepted at another that looks at `aud`, and what an app that is gone had opens nothing (4.10).
#[tokio::test]
async fn a_token_is_for_one_app_and_as_long_as_there_is_the_app() {
    let app = TestApp::start().await;
    let (wiki, bank) = (trusted(&app, "Wiki").await, trusted(&app, "Bank").await);
    let mut sam = app.user("sam", OTTER).await;
    let got = tokens(&app, &wiki, &mut sam).await;
    let id = verified(&app, got["id_token"].as_str().unwrap(), &wiki.id).await;
    assert_eq!(id["aud"], json!(wiki.id), "one audience");
    let access = got["access_token"].as_str().unwrap();
    let claims = verified(&app, access, &wiki.id).await;
    assert_eq!(claims["aud"], json!([wiki.id, app.url]));
    assert!(!claims["aud"].as_array().unwrap().contains(&json!(bank.id)));
    // The attacker is an app itself, and sends what it got from its user as its own client.
    let stolen = code(&wiki, &mut sam, &[]).await;
    let as_bank = [&form(&stolen)[..], &[("client_id", wiki.id.as_str())]].concat();
    assert_eq!(exchange(&app, &bank, &as_bank).await.1["error"], "invalid_request", "two names at once");

    assert_eq!(userinfo(&app, access).await.0, 200);
    let found = latchkey::accounts::apps::by_id(app.app.db.read(), wiki.id.parse().unwrap()).await.unwrap().unwrap();
    latchkey::accounts::access::remove_app(&app.app.db, &found, app.app.now()).await.unwrap();
    assert_eq!(userinfo(&app, access).await.0, 401);
    assert_eq!(exchange(&app, &wiki, &form(&stolen)).await.1["error"], "invalid_client");
    open(&mut sam, &wiki.request(&[])).await.expect("a page").assert_framed(400);
}

/// A token that was signed with what everybody can read, or not at all, names nobody, whatever its header says (RFC 8725, 3.1).
#[tokio::test]
async fn a_token_signed_with_a_public_key_is_none() {
    let app = TestApp::start().await;
    let wiki = trusted(&app, "Wiki").await;
    let mut sam = app.user("sam", OTTER).await;
    let got = tokens(&app, &wiki, &mut sam).await;
    let keys: Value = reqwest::get(format!("{}/.well-known/jwks.json", app.url)).await.unwrap().json().await.unwrap();
    let key = &keys["keys"][0];
    let secrets = [key.to_string(), key["n"].as_str().unwrap().to_owned(), keys.to_string(), String::new()];
    for (name, typ) in [("access_token", "at+jwt"), ("id_token", "JWT")] {
        let token = got[name].as_str().unwrap();
        let kid = jsonwebtoken::decode_header(token).unwrap().kid;
        let claims: Value = jsonwebtoken::dangerous::insecure_decode_claims(token).unwrap();
        for (algorithm, secret) in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512]
            .into_iter()
            .flat_map(|algorithm| secrets.iter().map(move |secret| (algorithm, secret)))
        {
            let header = Header { typ: Some(typ.to_owned()), kid: kid.clone(), ..Header::new(algorithm) };
            let forged = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap();
            assert_eq!(userinfo(&app, &forged).await.0, 401, "{algorithm:?}");
            let silently = wiki.request(&[("prompt", "none"), ("id_token_hint", &forged)]);
            let back = open(&mut sam, &silently).await.expect_err("the app");
            assert_eq!(parameters(&back)["error"], "login_required", "{algorithm:?}");
            let query =
                url::form_urlencoded::Serializer::new(String::new()).append_pair("id_token_hint", &forged).finish();
            open(&mut sam, &format!("/oauth/logout?{query}")).await.expect("a page").assert_framed(400);
        }
    }
    // A token in the address is one that logs and histories keep (4.3.2).
    let access = got["access_token"].as_str().unwrap();
    let in_query = format!("{}/oauth/userinfo?access_token={access}", app.url);
    assert_eq!(Client::new().post(in_query).send().await.unwrap().status(), 401);
}
