//! The OpenID Foundation's suite (`openid-certification/conformance-suite`), module by module: each test has the name of a module
//! of a certification plan, and looks at what that module looks at. `docs/openid.md` has the table.

mod backchannel;
mod basic;
mod config;
mod logout;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latchkey::accounts::apps::operate::NewApp;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use crate::OTTER;
use crate::app::TestApp;
use crate::authorize::{CALLBACK, Wiki, open, parameters, press};
use crate::browser::{Browser, Page};
use crate::tokens::{exchange, form, userinfo, verified};

/// The parameters of the suite's requests, where they are others than those of our tests: it asks for the ID only, and without
/// PKCE.
const PLAIN: [(&str, &str); 3] = [("scope", "openid"), ("code_challenge", "-"), ("code_challenge_method", "-")];

/// A server with a user, and the suite's app.
struct Suite {
    app: TestApp,
    client: Wiki,
    /// The browser in which the user has signed up.
    sam: Browser,
}

/// What an app has got at the end of a flow.
struct Flow {
    tokens: Value,
    /// The claims of the ID token.
    id: Value,
}

impl Flow {
    fn access_token(&self) -> &str {
        self.tokens["access_token"].as_str().unwrap()
    }

    fn id_token(&self) -> &str {
        self.tokens["id_token"].as_str().unwrap()
    }
}

impl Suite {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts with an app that is registered with these changes.
    async fn with(change: impl FnOnce(&mut NewApp)) -> Self {
        let app = TestApp::start().await;
        let client = Wiki::register(&app, |new| {
            (new.pkce, new.logout_uris) = (false, vec![BYE.parse().unwrap()]);
            change(new);
        })
        .await;
        let sam = app.user("sam", OTTER).await;
        Self { app, client, sam }
    }

    /// Returns the path of a request of the suite, with these changes.
    fn request(&self, changes: &[(&str, &str)]) -> String {
        self.client.request(&[&PLAIN, changes].concat())
    }

    /// Takes a user from a page to the app: through the log-in and the question, if they come.
    async fn through(&self, user: &mut Browser, mut step: Result<Page, Url>) -> Url {
        for _ in 0..3 {
            let form = match step {
                Err(back) => return back,
                Ok(page) if page.path.starts_with("/login") => {
                    page.form("/login").fill("login", "sam").fill("password", OTTER)
                }
                Ok(page) => page.form("/oauth/consent").fill("decision", "allow"),
            };
            step = press(user, form).await;
        }
        panic!("the user does not come to the app");
    }

    /// Does a request of the suite, and returns the answer that the app gets.
    async fn answer(&self, user: &mut Browser, changes: &[(&str, &str)]) -> Url {
        let step = open(user, &self.request(changes)).await;
        self.through(user, step).await
    }

    /// Does a whole flow in the browser in which Sam is logged in.
    async fn flow(&mut self, changes: &[(&str, &str)]) -> Flow {
        let mut sam = self.sam.clone();
        let answer = self.answer(&mut sam, changes).await;
        self.sam = sam;
        self.finish(&answer, changes).await
    }

    /// Does a whole flow in a browser without cookies, and returns the log-in that the user sees, too.
    async fn flow_with_log_in(&self, changes: &[(&str, &str)]) -> (Page, Flow) {
        let mut user = self.app.browser();
        let page = open(&mut user, &self.request(changes)).await.expect("the log-in");
        page.assert_framed(200);
        let again = open(&mut user, &self.request(changes)).await;
        let answer = self.through(&mut user, again).await;
        (page, self.finish(&answer, changes).await)
    }

    /// Goes on from an answer to tokens and userinfo, with what the suite looks at in every flow.
    async fn finish(&self, answer: &Url, changes: &[(&str, &str)]) -> Flow {
        let code = self.code(answer);
        let (status, tokens) = exchange(&self.app, &self.client, &form(&code)[..3]).await;
        assert_eq!(status, 200, "{tokens}");
        self.checked(tokens, changes).await
    }

    /// Returns the code in an answer.
    fn code(&self, answer: &Url) -> String {
        let mut got = parameters(answer);
        assert!(answer.as_str().starts_with(&format!("{CALLBACK}?")) && answer.fragment().is_none(), "{answer}");
        assert_eq!((got.remove("state").as_deref(), got.remove("iss").as_ref()), (Some(STATE), Some(&self.app.url)));
        let code = got.remove("code").unwrap_or_else(|| panic!("{answer}"));
        assert!(got.is_empty(), "{got:?}");
        code
    }

    /// Checks the tokens of a flow (OpenID Connect Core, 3.1.3.7 and 5.3; RFC 6749, 5.1).
    async fn checked(&self, tokens: Value, changes: &[(&str, &str)]) -> Flow {
        assert_eq!(tokens["token_type"], "Bearer");
        assert!(tokens["expires_in"].as_i64().unwrap() > 0);
        let now = self.app.app.now().unix_timestamp();
        let id = verified(&self.app, tokens["id_token"].as_str().unwrap(), &self.client.id).await;
        let number = |name: &str| id[name].as_i64().unwrap_or_else(|| panic!("{name} in {id}"));
        assert!((now - 60..=now).contains(&number("iat")) && number("exp") > now, "{id}");
        assert!((now - 86400..=now).contains(&number("auth_time")), "{id}");
        let sub = id["sub"].as_str().unwrap();
        assert!(!sub.is_empty() && sub.len() <= 255 && sub.is_ascii(), "{sub}");
        assert!(id["acr"].is_null() || id["acr"].as_str().is_some_and(|acr| !acr.is_empty()), "{id}");
        assert!(id["updated_at"].is_null() || id["updated_at"].is_i64(), "{id}");
        let nonce = match changes.iter().find(|(name, _)| *name == "nonce") {
            None => Some(NONCE),
            Some((_, "-")) => None,
            Some((_, nonce)) => Some(*nonce),
        };
        assert_eq!(id["nonce"].as_str(), nonce);
        // The left half of the SHA-256 that RS256 signs (Core, 3.1.3.6).
        let digest = Sha256::digest(tokens["access_token"].as_str().unwrap());
        assert_eq!(id["at_hash"], URL_SAFE_NO_PAD.encode(&digest[..16]));
        let (status, _, info) = userinfo(&self.app, tokens["access_token"].as_str().unwrap()).await;
        assert_eq!((status, &info["sub"]), (StatusCode::OK, &id["sub"]));
        Flow { tokens, id }
    }

    /// Returns what userinfo says, and checks the claims that the standard describes (OpenID Connect Core, 5.1).
    async fn userinfo(&self, flow: &Flow) -> Value {
        let (status, _, info) = userinfo(&self.app, flow.access_token()).await;
        assert_eq!(status, 200, "{info}");
        assert_claims(&info, &flow.id);
        info
    }

    /// Returns the error in an answer, which must have nothing else that an app does not expect (RFC 6749, 4.1.2.1).
    fn error(&self, answer: &Url, state: Option<&str>) -> String {
        let mut got = parameters(answer);
        assert!(answer.as_str().starts_with(&format!("{CALLBACK}?")) && answer.fragment().is_none(), "{answer}");
        assert_eq!((got.remove("state").as_deref(), got.remove("iss").as_ref()), (state, Some(&self.app.url)));
        let is_plain = |c: char| matches!(c, ' '..='~') && c != '"' && c != '\\';
        assert!(got.remove("error_description").is_none_or(|words| words.chars().all(is_plain)), "{answer}");
        let error = got.remove("error").unwrap_or_else(|| panic!("{answer}"));
        assert!(got.is_empty(), "{got:?}");
        error
    }

    async fn discovery(&self) -> Value {
        reqwest::get(format!("{}/.well-known/openid-configuration", self.app.url)).await.unwrap().json().await.unwrap()
    }
}

/// Where the browser goes after a log-out.
const BYE: &str = "https://wiki.example.com/post_logout_redirect";
/// The state and the nonce of [`Wiki::request`].
const STATE: &str = "a state & more";
const NONCE: &str = "n-0S6_WzA2Mj";

fn assert_claims(info: &Value, id: &Value) {
    let is_text = |name: &str| info[name].is_null() || info[name].as_str().is_some_and(|text| !text.is_empty());
    for name in ["name", "preferred_username", "email", "locale"] {
        assert!(is_text(name), "{name} in {info}");
    }
    assert!(info["email_verified"].is_null() || info["email_verified"].is_boolean(), "{info}");
    assert!(info["updated_at"].is_null() || info["updated_at"].as_i64().is_some_and(|at| at > 1_700_000_000), "{info}");
    assert!(info["sub"].is_string() && info["sub"] == id["sub"], "{info}");
}

/// Returns the names of the claims.
fn names(claims: &Value) -> BTreeSet<&str> {
    claims.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Returns a request object that nobody has signed.
fn unsigned(claims: &[(&str, &str)]) -> String {
    unsigned_claims(&json!(claims.iter().copied().collect::<BTreeMap<_, _>>()))
}

/// Returns a token with these claims that nobody has signed.
fn unsigned_claims(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.", part(&json!({ "alg": "none", "typ": "JWT" })), part(claims))
}

/// The table names every module once, and says of each which test mirrors it.
#[test]
fn the_table_of_modules_names_the_tests_that_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let docs = read("docs/openid.md");
    let rows = docs.lines().filter_map(|line| line.strip_prefix("| `oidcc-")?.split_once("` | "));
    let in_table: BTreeSet<String> = rows
        .map(|(module, rest)| {
            let test = format!("oidcc_{}", module.replace('-', "_"));
            assert!(rest.contains(&format!("::{test}` | ")), "the row of {module} names another test");
            test
        })
        .collect();
    let files =
        ["basic", "config", "logout", "backchannel"].map(|file| read(&format!("tests/it/conformance/{file}.rs")));
    let tests = files.iter().flat_map(|text| text.lines());
    let tests: BTreeSet<String> = tests
        .filter_map(|line| line.strip_prefix("async fn ")?.strip_suffix("() {"))
        .map(str::to_owned)
        .filter(|name| name.starts_with("oidcc_"))
        .collect();
    assert!(tests.len() == 52, "{tests:?}");
    assert_eq!(in_table, tests);
}
