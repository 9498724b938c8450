//! An app sends a user here and gets a code: the whole way, what is refused, and what attackers try (RFC 9700).

use std::collections::BTreeMap;

use latchkey::accounts::apps::operate::{self, NewApp};
use latchkey::accounts::event::{self, EventKind};
use latchkey::accounts::signing_key::SigningAlgorithm;
use reqwest::Method;
use reqwest::header::LOCATION;
use sea_orm::EntityTrait;
use url::Url;

use crate::OTTER;
use crate::app::TestApp;
use crate::browser::{Browser, Form, Page};
use crate::tokens::tokens;

pub const CALLBACK: &str = "https://wiki.example.com/callback";
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// The challenge of the verifier, as in RFC 7636, appendix B.
pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A registered app.
pub struct Wiki {
    pub id: String,
    pub secret: String,
}

impl Wiki {
    /// Registers an app, with these changes.
    pub async fn register(app: &TestApp, change: impl FnOnce(&mut NewApp)) -> Self {
        let mut new = NewApp {
            name: "Wiki".parse().unwrap(),
            redirect_uris: vec![CALLBACK.parse().unwrap(), "http://127.0.0.1/cb".parse().unwrap()],
            logout_uris: vec![],
            hosts: vec![],
            public: false,
            trusted: false,
            pkce: true,
            algorithm: SigningAlgorithm::Rs256,
            backchannel_uri: None,
            backchannel_private: false,
            key_set: None,
        };
        change(&mut new);
        let (app, secret) = operate::add(&app.app.db, new, app.app.now()).await.unwrap().unwrap();
        let secret = secret.map(|secret| secret.reveal().to_string()).unwrap_or_default();
        Self { id: app.id.to_string(), secret }
    }

    /// Returns the path of a request, with these parameters in place of the usual ones. `-` leaves one out.
    pub fn request(&self, changes: &[(&str, &str)]) -> String {
        let mut parameters = BTreeMap::from([
            ("client_id", self.id.as_str()),
            ("redirect_uri", CALLBACK),
            ("response_type", "code"),
            ("scope", "openid profile email"),
            ("state", "a state & more"),
            ("nonce", "n-0S6_WzA2Mj"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ]);
        parameters.extend(changes.iter().copied());
        parameters.retain(|_, value| *value != "-");
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(parameters);
        format!("/oauth/authorize?{}", query.finish())
    }
}

/// Follows redirects inside the site. Returns the page, or the address of another site to which the browser is sent.
pub async fn go(browser: &mut Browser, mut page: Page) -> Result<Page, Url> {
    for _ in 0..8 {
        let Some(next) = page.headers.get(LOCATION).map(|next| next.to_str().unwrap().to_owned()) else {
            return Ok(page);
        };
        if !next.starts_with('/') {
            return Err(next.parse().unwrap());
        }
        page = browser.send(Method::GET, &next, |request| request).await;
    }
    panic!("redirected in circles, at last to {}", page.path)
}

pub async fn open(browser: &mut Browser, path: &str) -> Result<Page, Url> {
    let page = browser.send(Method::GET, path, |request| request).await;
    go(browser, page).await
}

/// Presses a button of a form.
pub async fn press(browser: &mut Browser, form: Form) -> Result<Page, Url> {
    let page = browser.post(&form.action, &form.fields).await;
    go(browser, page).await
}

pub fn parameters(url: &Url) -> BTreeMap<String, String> {
    url.query_pairs().into_owned().collect()
}

/// Returns the error that the app gets.
async fn error(browser: &mut Browser, path: &str) -> String {
    let back = open(browser, path).await.expect_err("the app gets an answer");
    assert!(back.as_str().starts_with(CALLBACK), "{back}");
    parameters(&back).remove("error").unwrap_or_else(|| panic!("{back}"))
}

async fn log_in(browser: &mut Browser, page: Page, login: &str) -> Result<Page, Url> {
    press(browser, page.form("/login").fill("login", login).fill("password", OTTER)).await
}

#[tokio::test]
async fn a_user_goes_from_an_app_through_the_log_in_and_a_question_back_to_it() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |_| {}).await;
    app.user("sam", OTTER).await;
    let mut sam = app.browser();

    let page = open(&mut sam, &wiki.request(&[])).await.expect("the log-in");
    assert!(page.html.contains("Log in to go on to Wiki."), "{}", page.html);
    // Chromium applies the policy to the redirects after the form too, and the last of them leaves the site.
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("form-action 'self' https://wiki.example.com;"), "{policy}");

    let page = log_in(&mut sam, page, "sam").await.expect("the question");
    page.assert_framed(200);
    assert_eq!((page.heading(), page.title()), ("Log in to Wiki".into(), "Log in to Wiki – Latchkey".into()));
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("form-action 'self' https://wiki.example.com;"), "{policy}");
    for words in ["your username, your full name", "your email address", "You go on to wiki.example.com."] {
        assert!(page.html.contains(words), "{words}: {}", page.html);
    }
    let back = press(&mut sam, page.form("/oauth/consent").fill("decision", "allow")).await.expect_err("the app");
    let mut got = parameters(&back);
    assert_eq!(got.remove("code").map(|code| code.len()), Some(43), "{back}");
    let expected = [("iss", app.url.as_str()), ("state", "a state & more")];
    assert_eq!(got, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert!(back.as_str().starts_with(&format!("{CALLBACK}?")), "{back}");

    // The answer is remembered, and an event.
    let back = open(&mut sam, &wiki.request(&[])).await.expect_err("nobody is asked twice");
    assert!(parameters(&back).contains_key("code"));
    let kinds = event::Entity::find().all(app.app.db.read()).await.unwrap();
    assert_eq!(kinds.iter().filter(|event| event.kind == EventKind::AppAllowed).count(), 1);
    // For more, the user is asked again.
    let page = open(&mut sam, &wiki.request(&[("scope", "openid")])).await;
    assert!(page.is_err(), "less than before");
    assert!(open(&mut sam, &wiki.request(&[("prompt", "consent")])).await.is_ok(), "because the app wants it");
}

#[tokio::test]
async fn a_user_may_refuse_and_the_app_is_told_so() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |_| {}).await;
    let mut sam = app.user("sam", OTTER).await;
    let page = open(&mut sam, &wiki.request(&[])).await.expect("the question");
    let back = press(&mut sam, page.form("/oauth/consent").fill("decision", "deny")).await.expect_err("the app");
    let got = parameters(&back);
    assert_eq!((got["error"].as_str(), got["state"].as_str()), ("access_denied", "a state & more"));
    assert!(!got.contains_key("code"));
    assert!(open(&mut sam, &wiki.request(&[])).await.is_ok(), "a refusal is not remembered");
}

#[tokio::test]
async fn a_trusted_app_asks_nothing() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let mut sam = app.user("sam", OTTER).await;
    let back = open(&mut sam, &wiki.request(&[("prompt", "none")])).await.expect_err("the app");
    assert!(parameters(&back).contains_key("code"), "{back}");
}

/// Any program on the same machine may take the port or the scheme (RFC 8252, 8.6).
#[tokio::test]
async fn a_public_app_on_the_users_machine_gets_nothing_that_the_user_does_not_see() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| (new.public, new.trusted) = (true, true)).await;
    let mut sam = app.user("sam", OTTER).await;
    let local = [("redirect_uri", "http://127.0.0.1:51004/cb")];
    for _ in 0..2 {
        let page = open(&mut sam, &wiki.request(&local)).await.expect("the question, each time");
        assert!(page.html.contains("You go on to 127.0.0.1:51004."), "{}", page.html);
        let back = press(&mut sam, page.form("/oauth/consent").fill("decision", "allow")).await.expect_err("the app");
        assert!(parameters(&back).contains_key("code"));
    }
    let back = open(&mut sam, &wiki.request(&[local[0], ("prompt", "none")])).await.expect_err("the app");
    assert_eq!(parameters(&back)["error"], "consent_required");
    let back = open(&mut sam, &wiki.request(&[])).await.expect_err("over https it is known who gets the code");
    assert!(parameters(&back).contains_key("code"));
    // The log-in names the port too, or Chromium would stop there.
    let page = open(&mut app.browser(), &wiki.request(&local)).await.expect("the log-in");
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("form-action 'self' http://127.0.0.1:51004;"), "{policy}");
}

/// Redirect URI variants, and open redirects through errors (RFC 9700, 4.1 and 4.11).
#[tokio::test]
async fn a_request_of_no_known_app_is_a_page_and_never_a_redirect() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |_| {}).await;
    let mut sam = app.user("sam", OTTER).await;
    let other = uuid::Uuid::from_u128(7).to_string();
    let double = format!("{}&redirect_uri=https%3A%2F%2Fevil.example", wiki.request(&[]));
    let double_id = format!("{}&client_id={other}", wiki.request(&[]));
    let mut requests = vec![double, double_id, "/oauth/authorize".to_owned()];
    for (name, value) in [
        ("client_id", other.as_str()),
        ("client_id", "-"),
        ("client_id", "latchkey"),
        ("redirect_uri", "-"),
        ("redirect_uri", ""),
        ("redirect_uri", "https://evil.example/"),
        ("redirect_uri", "https://wiki.example.com/callback/../evil"),
        ("redirect_uri", "https://wiki.example.com/callback?x=1"),
        ("redirect_uri", "https://wiki.example.com.evil.example/callback"),
        ("redirect_uri", "javascript:alert(1)"),
        ("redirect_uri", "//evil.example"),
        ("redirect_uri", "http://127.0.0.1.evil.example/cb"),
    ] {
        for more in [("response_type", "code"), ("response_type", "nonsense"), ("prompt", "none")] {
            requests.push(wiki.request(&[(name, value), more]));
        }
    }
    for request in requests {
        for browser in [&mut sam, &mut app.browser()] {
            let page = open(browser, &request).await.unwrap_or_else(|url| panic!("{request} leads to {url}"));
            page.assert_framed(400);
            assert_eq!(page.heading(), "This link leads to no app", "{request}");
        }
    }
    let port = wiki.request(&[("redirect_uri", "http://127.0.0.1:51004/cb"), ("prompt", "none")]);
    let back = open(&mut sam, &port).await.expect_err("the app");
    assert_eq!((back.port(), parameters(&back)["error"].as_str()), (Some(51004), "consent_required"), "any port");
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_to_the_app() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |_| {}).await;
    let mut sam = app.user("sam", OTTER).await;
    for (name, value, expected) in [
        ("response_type", "-", "invalid_request"),
        ("response_type", "token", "unsupported_response_type"),
        ("response_type", "code id_token", "unsupported_response_type"),
        ("response_mode", "fragment", "invalid_request"),
        ("scope", "-", "invalid_scope"),
        ("scope", "phone", "invalid_scope"),
        ("code_challenge", "-", "invalid_request"),
        ("code_challenge", "short", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge_method", "-", "invalid_request"),
        ("prompt", "none login", "invalid_request"),
        ("prompt", "nothing", "invalid_request"),
        ("prompt", "none", "consent_required"),
        ("max_age", "-1", "invalid_request"),
        ("max_age", "soon", "invalid_request"),
        ("request", "eyJhbGciOiJub25lIn0.e30.", "request_not_supported"),
        ("request_uri", "https://wiki.example.com/request", "request_uri_not_supported"),
    ] {
        assert_eq!(error(&mut sam, &wiki.request(&[(name, value)])).await, expected, "{name}={value}");
    }
    let double = format!("{}&scope=openid", wiki.request(&[]));
    assert_eq!(error(&mut sam, &double).await, "invalid_request");
    assert_eq!(error(&mut app.browser(), &wiki.request(&[("prompt", "none")])).await, "login_required");
}

#[tokio::test]
async fn an_app_can_have_the_user_log_in_again() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let mut sam = app.user("sam", OTTER).await;
    app.app.clock.advance(time::Duration::minutes(2));
    for again in [("prompt", "login"), ("max_age", "60"), ("prompt", "select_account")] {
        let page = open(&mut sam, &wiki.request(&[again])).await.expect("the log-in, although Sam is logged in");
        assert!(page.path.starts_with("/login?") && page.html.contains("Log in to go on to Wiki."), "{}", page.path);
        let back = log_in(&mut sam, page, "sam").await.expect_err("the app, and not the log-in again");
        assert!(parameters(&back).contains_key("code"), "{back}");
        app.app.clock.advance(time::Duration::minutes(2));
    }
    let back = open(&mut sam, &wiki.request(&[("max_age", "3600")])).await.expect_err("it is not long ago");
    assert!(parameters(&back).contains_key("code"));
    let old = wiki.request(&[("max_age", "60"), ("prompt", "none")]);
    assert_eq!(error(&mut sam, &old).await, "login_required");
}

#[tokio::test]
async fn an_app_can_say_who_will_log_in() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |_| {}).await;
    let mut sam = app.user("sam", OTTER).await;
    let hinted = async |user: &mut Browser, hint: &str, more: (&str, &str)| {
        open(user, &wiki.request(&[("login_hint", hint), more])).await.expect("the log-in").value_of("login")
    };
    let none = ("x", "-");
    for hint in ["sam@example.com", "sam", "示例", "\"><script>alert(1)</script>"] {
        assert_eq!(hinted(&mut app.browser(), hint, none).await, hint);
    }
    assert_eq!(hinted(&mut app.browser(), &"x".repeat(300), none).await, "", "longer than any address");
    assert_eq!(hinted(&mut sam, "ada", ("prompt", "login")).await, "ada");
    // What the user has typed here is nearer than what the app supposes.
    let mut other = app.browser();
    other.log_in("ada@example.com", OTTER).await;
    assert_eq!(hinted(&mut other, "sam@example.com", none).await, "ada@example.com");
    // Only the request of an app hints.
    let page = app.browser().open("/login?next=%2Fprofile%3Flogin_hint%3Dsam").await;
    assert_eq!(page.value_of("login"), "");
}

#[tokio::test]
async fn an_app_can_say_which_languages_its_user_reads() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |_| {}).await;
    let mut sam = app.user("sam", OTTER).await;
    let request = wiki.request(&[("ui_locales", "fr zh en")]);
    let speaks = |page: &Page, tag: &str| {
        assert!(page.html.contains(&format!("<html lang=\"{tag}\"")), "{tag}: {}", page.html);
    };
    let mut user = app.browser();
    let page = open(&mut user, &request).await.expect("the log-in");
    speaks(&page, "zh-CN");
    let wrong = page.form("/login").fill("login", "sam").fill("password", "wrong");
    let page = press(&mut user, wrong).await.expect("the log-in again");
    speaks(&page, "zh-CN");
    speaks(&log_in(&mut user, page, "sam").await.expect("the question"), "zh-CN");
    speaks(&user.open("/profile").await, "en");

    speaks(&open(&mut app.browser(), &wiki.request(&[("ui_locales", "fr eo")])).await.unwrap(), "en");
    let mut chinese = app.browser();
    chinese.language = Some("zh-CN");
    speaks(&open(&mut chinese, &wiki.request(&[("ui_locales", "en")])).await.unwrap(), "en");
    // The user's own choice is stronger, in this browser and in the account.
    let mut chosen = app.browser();
    chosen.open("/login?lang=en").await;
    speaks(&open(&mut chosen, &request).await.unwrap(), "en");
    let form = sam.open("/profile/language").await.form("/profile/language");
    sam.submit(form.fill("language", "en")).await;
    speaks(&open(&mut sam, &request).await.unwrap(), "en");
}

/// An app that has the user's ID token learns at once whether somebody else is there now (Core, 3.1.2.1).
#[tokio::test]
async fn an_app_can_say_which_user_it_means() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let other = Wiki::register(&app, |new| (new.name, new.trusted) = ("Other".parse().unwrap(), true)).await;
    let mut sam = app.user("sam", OTTER).await;
    let mut ada = app.user("ada", OTTER).await;
    let got = tokens(&app, &wiki, &mut sam).await;
    let id = got["id_token"].as_str().unwrap();
    let hint = |more: (&'static str, &'static str)| wiki.request(&[("id_token_hint", id), more]);
    let (none, silently) = (("x", "-"), ("prompt", "none"));
    // The hint may have expired long ago.
    app.app.clock.advance(time::Duration::hours(1));
    for more in [none, silently] {
        let back = open(&mut sam, &hint(more)).await.expect_err("the app");
        assert!(parameters(&back).contains_key("code"), "{back}");
    }
    assert_eq!(error(&mut ada, &hint(silently)).await, "login_required");
    assert_eq!(error(&mut app.browser(), &hint(silently)).await, "login_required");

    // If Ada goes on as Ada, the app gets nobody. She may log in as Sam.
    let page = open(&mut ada, &hint(none)).await.expect("the log-in, although Ada is logged in");
    let back = log_in(&mut ada, page, "ada").await.expect_err("the app, and not the log-in for ever");
    assert_eq!(parameters(&back)["error"], "login_required");
    let page = open(&mut ada, &hint(none)).await.expect("the log-in");
    let back = log_in(&mut ada, page, "sam").await.expect_err("the app");
    assert!(parameters(&back).contains_key("code"), "{back}");
    let mut visitor = app.browser();
    let page = open(&mut visitor, &hint(none)).await.expect("the log-in");
    let back = log_in(&mut visitor, page, "sam").await.expect_err("the app");
    assert!(parameters(&back).contains_key("code"), "{back}");

    // What is no ID token of this app says nothing: nobody is taken for the user whom the app means.
    let theirs = tokens(&app, &other, &mut sam).await;
    let (head, tail) = id.rsplit_once('.').unwrap();
    let mut forged = tail.to_owned();
    forged.replace_range(..4, if tail.starts_with("AAAA") { "BBBB" } else { "AAAA" });
    let payload = id.split('.').nth(1).unwrap();
    // Signed by us, with the same claims, for another use.
    let signer = app.app.accounts.signing.signer(SigningAlgorithm::Rs256, app.app.now()).await.unwrap();
    let claims: serde_json::Value = jsonwebtoken::dangerous::insecure_decode_claims(id).unwrap();
    let retyped = signer.sign("at+jwt", &claims).unwrap();
    for bad in [
        theirs["id_token"].as_str().unwrap(),
        got["access_token"].as_str().unwrap(),
        &retyped,
        &format!("{head}.{forged}"),
        &format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}."),
        &sam.cookies["latchkey_session"].clone(),
        "x",
    ] {
        let request = |more| wiki.request(&[("id_token_hint", bad), more]);
        assert_eq!(error(&mut sam, &request(silently)).await, "login_required", "{bad}");
        let page = open(&mut sam, &request(none)).await.expect("the log-in");
        let back = log_in(&mut sam, page, "sam").await.expect_err("the app");
        assert!(parameters(&back).contains_key("code"), "{back}");
    }
}

#[tokio::test]
async fn a_page_of_the_app_may_post_the_request_and_no_page_may_post_the_answer() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |_| {}).await;
    let mut sam = app.user("sam", OTTER).await;
    let query = wiki.request(&[]).split_once('?').unwrap().1.to_owned();
    let fields: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let posted = sam
        .send(Method::POST, "/oauth/authorize", |request| {
            request.header("sec-fetch-site", "cross-site").header("origin", "https://wiki.example.com").form(&fields)
        })
        .await;
    assert_eq!(posted.status, 303, "{}", posted.html);
    let page = go(&mut sam, posted).await.expect("the question");
    // Consent by a page of another site (CSRF), and in a frame of one (clickjacking).
    let form = page.form("/oauth/consent").fill("decision", "allow");
    for site in ["cross-site", "same-site"] {
        let forged = sam
            .send(Method::POST, "/oauth/consent", |request| {
                request.header("sec-fetch-site", site).header("origin", "https://evil.example").form(&form.fields)
            })
            .await;
        assert_eq!(forged.status, 403, "{site}");
    }
    assert!(page.headers["content-security-policy"].to_str().unwrap().contains("frame-ancestors 'none'"));
    assert_eq!(page.headers["x-frame-options"], "DENY");
    assert!(open(&mut sam, &wiki.request(&[])).await.is_ok(), "nothing was allowed");
    // A button that says neither is the question again.
    let neither = press(&mut sam, page.form("/oauth/consent").fill("decision", "maybe")).await.expect("the question");
    assert_eq!(neither.heading(), "Log in to Wiki");
}

#[tokio::test]
async fn nobody_decides_for_another_user() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |_| {}).await;
    let mut sam = app.user("sam", OTTER).await;
    let form = open(&mut sam, &wiki.request(&[])).await.expect("the question").form("/oauth/consent");
    // Ada logs in in another tab.
    app.user("ada", OTTER).await;
    sam.log_out().await;
    sam.log_in("ada", OTTER).await;
    let page = press(&mut sam, form.fill("decision", "allow")).await.expect("the question, to Ada");
    assert_eq!(page.heading(), "Log in to Wiki");
    let back = press(&mut sam, page.form("/oauth/consent").fill("decision", "allow")).await.expect_err("the app");
    assert!(parameters(&back).contains_key("code"));
}

#[tokio::test]
async fn a_request_with_more_parameters_than_any_has_none() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |_| {}).await;
    let many = format!("{}&{}", wiki.request(&[]), "a&".repeat(200));
    open(&mut app.browser(), &many).await.expect("a page").assert_framed(400);
}

#[tokio::test]
async fn a_session_that_ends_meanwhile_opens_no_app() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |_| {}).await;
    let mut sam = app.user("sam", OTTER).await;
    let page = open(&mut sam, &wiki.request(&[])).await.expect("the question");
    let form = page.form("/oauth/consent").fill("decision", "allow");
    sam.log_out().await;
    let page = press(&mut sam, form).await.expect("the log-in");
    assert!(page.html.contains("Log in to go on to Wiki."), "{}", page.path);
    let page = log_in(&mut sam, page, "sam").await.expect("the question again: the user may be another one");
    assert_eq!(page.heading(), "Log in to Wiki");
}

#[tokio::test]
async fn a_request_that_is_too_long_for_the_log_in_is_a_page() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |_| {}).await;
    let long = "x".repeat(3000);
    let page = open(&mut app.browser(), &wiki.request(&[("state", &long)])).await.expect("a page");
    page.assert_framed(400);
    assert!(page.html.contains("Log in here first"), "{}", page.html);
    // With a session, nothing has to be carried.
    let mut sam = app.user("sam", OTTER).await;
    let page = open(&mut sam, &wiki.request(&[("state", &long)])).await.expect("the question");
    let back = press(&mut sam, page.form("/oauth/consent").fill("decision", "allow")).await.expect_err("the app");
    assert_eq!(parameters(&back)["state"].len(), 3000);
}
