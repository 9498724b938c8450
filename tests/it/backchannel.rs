//! Apps are told that a session has ended (OpenID Connect Back-Channel Logout), and everybody who asks is (`/oauth/revocations`).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use latchkey::accounts::apps;
use latchkey::accounts::apps::operate::{self, Changes};
use latchkey::accounts::logout::{self, Entity};
use latchkey::accounts::operator;
use latchkey::accounts::user;
use reqwest::header::{ETAG, IF_NONE_MATCH};
use sea_orm::EntityTrait;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::app::TestApp;
use crate::authorize::Wiki;
use crate::browser::Browser;
use crate::process::until;
use crate::tokens::{lasting, refresh, tokens, verified};
use crate::{HERON, OTTER};

/// What the app's own server gets, and how it answers.
pub struct Receiver {
    pub url: String,
    got: UnboundedReceiver<(HeaderMap, String)>,
    status: Arc<Mutex<StatusCode>>,
}

type Shared = (UnboundedSender<(HeaderMap, String)>, Arc<Mutex<StatusCode>>);

async fn take((State((to, status)), headers, body): (State<Shared>, HeaderMap, Bytes)) -> StatusCode {
    to.send((headers, String::from_utf8(body.to_vec()).unwrap())).unwrap();
    *status.lock().unwrap()
}

impl Receiver {
    pub async fn start() -> Self {
        let (to, got) = unbounded_channel();
        let status = Arc::new(Mutex::new(StatusCode::OK));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/backchannel?a=b", listener.local_addr().unwrap());
        let handler = |state: State<Shared>, headers: HeaderMap, body: Bytes| take((state, headers, body));
        let router = axum::Router::new().route("/backchannel", post(handler)).with_state((to, status.clone()));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, got, status }
    }

    async fn wiki(&self, app: &TestApp) -> Wiki {
        let uri = self.url.parse().unwrap();
        Wiki::register(app, |new| (new.trusted, new.backchannel_uri) = (true, Some(uri))).await
    }

    /// Returns the logout token that comes next.
    pub async fn next(&mut self) -> String {
        let got =
            tokio::time::timeout(Duration::from_secs(20), self.got.recv()).await.expect("an app is told").unwrap();
        assert_eq!(got.0["content-type"], "application/x-www-form-urlencoded");
        let mut form = url::form_urlencoded::parse(got.1.as_bytes());
        let (name, token) = form.next().unwrap();
        assert_eq!((&*name, form.next()), ("logout_token", None));
        token.into_owned()
    }

    async fn sid(&mut self, app: &TestApp, wiki: &Wiki) -> Value {
        verified(app, &self.next().await, &wiki.id).await["sid"].clone()
    }
}

async fn opened(app: &TestApp, wiki: &Wiki, user: &mut Browser) -> Value {
    let got = tokens(app, wiki, user).await;
    verified(app, got["id_token"].as_str().unwrap(), &wiki.id).await
}

#[tokio::test]
async fn an_app_is_told_of_a_log_out() {
    let app = TestApp::start().await;
    let mut receiver = Receiver::start().await;
    let wiki = receiver.wiki(&app).await;
    let mut sam = app.user("sam", OTTER).await;
    let known = opened(&app, &wiki, &mut sam).await;
    opened(&app, &wiki, &mut sam).await;
    sam.log_out().await;
    let token = receiver.next().await;
    let header = jsonwebtoken::decode_header(&token).unwrap();
    assert_eq!(header.typ.as_deref(), Some("logout+jwt"));
    let claims = verified(&app, &token, &wiki.id).await;
    let expected = json!({ "http://schemas.openid.net/event/backchannel-logout": {} });
    assert_eq!((&claims["sid"], &claims["sub"], &claims["events"]), (&known["sid"], &known["sub"], &expected));
    assert!(claims["jti"].is_string() && claims.get("nonce").is_none(), "{claims}");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 120);

    // The app that was opened twice in one session is told once, and a session without apps tells nobody.
    sam.log_in("sam", OTTER).await;
    sam.log_out().await;
    sam.log_in("sam", OTTER).await;
    let known = opened(&app, &wiki, &mut sam).await;
    sam.log_out().await;
    assert_eq!(receiver.sid(&app, &wiki).await, known["sid"]);
}

#[tokio::test]
async fn an_app_is_told_however_the_session_ends() {
    let app = TestApp::start().await;
    let mut receiver = Receiver::start().await;
    let wiki = receiver.wiki(&app).await;
    let mut sam = app.user("sam", OTTER).await;

    let known = opened(&app, &wiki, &mut sam).await;
    let link = app.reset_link("sam@example.com", 2).await;
    app.browser().reset(&link, HERON).await;
    assert_eq!(receiver.sid(&app, &wiki).await, known["sid"], "a reset");

    sam.log_in("sam", HERON).await;
    let known = opened(&app, &wiki, &mut sam).await;
    sam.post("/profile/apps", &[("app", &wiki.id)]).await;
    assert_eq!(receiver.sid(&app, &wiki).await, known["sid"], "access taken away");

    let known = opened(&app, &wiki, &mut sam).await;
    app.browser().log_in("sam", HERON).await;
    sam.post("/profile/security/log-out", &[("others", "1")]).await;
    assert_eq!(receiver.sid(&app, &wiki).await, known["sid"], "the others, and this one under its old id");

    let known = opened(&app, &wiki, &mut sam).await;
    let row = user::by_login(app.app.db.read(), "sam").await.unwrap().unwrap();
    operator::delete(&app.app.db, &row, app.app.now()).await.unwrap();
    assert_eq!(receiver.sid(&app, &wiki).await, known["sid"], "the user is deleted");
}

/// The session goes on, so its apps are told nothing. The end of the new one is that of the one that they know.
#[tokio::test]
async fn an_app_is_told_of_the_session_that_it_knows() {
    let app = TestApp::start().await;
    let mut receiver = Receiver::start().await;
    let wiki = receiver.wiki(&app).await;
    let mut sam = app.user("sam", OTTER).await;
    let known = opened(&app, &wiki, &mut sam).await;
    let page = sam.open("/login?again=1").await;
    let page = sam.submit(page.form("/login").fill("login", "sam").fill("password", OTTER)).await;
    assert_eq!(page.path, "/profile");
    sam.log_out().await;
    assert_eq!(receiver.sid(&app, &wiki).await, known["sid"]);
    assert!(receiver.got.try_recv().is_err());
}

#[tokio::test]
async fn an_app_that_does_not_answer_is_told_again() {
    let app = TestApp::start().await;
    let mut receiver = Receiver::start().await;
    let wiki = receiver.wiki(&app).await;
    let mut sam = app.user("sam", OTTER).await;
    *receiver.status.lock().unwrap() = StatusCode::SERVICE_UNAVAILABLE;
    let known = opened(&app, &wiki, &mut sam).await;
    sam.log_out().await;
    assert_eq!(receiver.sid(&app, &wiki).await, known["sid"]);
    let row = async || Entity::find().one(app.app.db.read()).await.unwrap().expect("a row");
    until("the row", async || (row().await.last_error.is_some()).then_some(())).await;
    let put_off = row().await;
    assert_eq!(put_off.last_error.as_deref(), Some("the app answers 503 Service Unavailable"));
    assert!(put_off.done_at.is_none() && put_off.next_attempt_at > Some(app.app.now()));
    *receiver.status.lock().unwrap() = StatusCode::NO_CONTENT;
    app.app.clock.advance(time::Duration::seconds(6));
    assert_eq!(receiver.sid(&app, &wiki).await, known["sid"]);
    until("the row", async || (row().await.done_at.is_some()).then_some(())).await;
    assert_eq!(row().await.last_error, None);

    // After a day it is given up.
    *receiver.status.lock().unwrap() = StatusCode::BAD_REQUEST;
    sam.log_in("sam", OTTER).await;
    opened(&app, &wiki, &mut sam).await;
    sam.log_out().await;
    receiver.next().await;
    let open = async || {
        let rows = Entity::find().all(app.app.db.read()).await.unwrap();
        rows.into_iter().find(|row| row.done_at.is_none())
    };
    until("the row", async || (open().await.is_some_and(|row| row.last_error.is_some())).then_some(())).await;
    app.app.clock.advance(time::Duration::hours(25));
    receiver.next().await;
    until("the row", async || (open().await.is_none()).then_some(())).await;
}

#[tokio::test]
async fn an_app_whose_back_channel_was_taken_away_is_told_no_more() {
    let app = TestApp::start().await;
    let mut receiver = Receiver::start().await;
    let wiki = receiver.wiki(&app).await;
    let mut sam = app.user("sam", OTTER).await;
    opened(&app, &wiki, &mut sam).await;
    *receiver.status.lock().unwrap() = StatusCode::INTERNAL_SERVER_ERROR;
    sam.log_out().await;
    receiver.next().await;
    let row = async || Entity::find().one(app.app.db.read()).await.unwrap().expect("a row");
    until("the row", async || row().await.last_error.is_some().then_some(())).await;
    let registered = apps::by_id(app.app.db.read(), wiki.id.parse().unwrap()).await.unwrap().unwrap();
    let changes = Changes { backchannel_uri: Some(None), ..Changes::default() };
    operate::edit(&app.app.db, &registered, changes, app.app.now()).await.unwrap().unwrap();
    app.app.clock.advance(time::Duration::hours(1));
    until("the row is done", async || row().await.done_at.map(drop)).await;
    assert!(receiver.got.try_recv().is_err() && row().await.attempts == 1);
}

/// Two nodes look at the same moment.
#[tokio::test]
async fn an_app_is_told_by_one_node() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| {
        // Nobody listens here.
        (new.trusted, new.backchannel_uri) = (true, Some("http://127.0.0.1:9/".parse().unwrap()));
    });
    let wiki = wiki.await;
    let mut sam = app.user("sam", OTTER).await;
    opened(&app, &wiki, &mut sam).await;
    sam.log_out().await;
    let row = async || Entity::find().one(app.app.db.read()).await.unwrap().expect("a row");
    until("the row", async || (row().await.last_error.is_some()).then_some(())).await;
    let attempts = row().await.attempts;
    let later = app.app.now() + time::Duration::minutes(1); // the app's own worker does not know of it
    let take = || logout::take(&app.app.db, (8, &[]), later);
    let taken = futures_util::future::join_all((0..8).map(|_| take())).await;
    assert_eq!(taken.into_iter().map(|taken| taken.unwrap().len()).sum::<usize>(), 1);
    assert_eq!(row().await.attempts, attempts + 1);
}

#[tokio::test]
async fn those_who_verify_tokens_themselves_ask_which_sessions_have_ended() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let mut sam = app.user("sam", OTTER).await;
    let ask = async |query: &str| {
        let answer = reqwest::get(format!("{}/oauth/revocations{query}", app.url)).await.unwrap();
        assert_eq!(answer.headers()["access-control-allow-origin"], "*");
        (answer.headers()[ETAG].clone(), answer.json::<Value>().await.unwrap())
    };
    assert_eq!(ask("").await.1, json!({ "revocations": [] }));
    let known = opened(&app, &wiki, &mut sam).await;
    let got = lasting(&app, &wiki, &mut sam).await;
    let at = app.app.now().unix_timestamp();
    sam.log_out().await;
    assert_eq!(refresh(&app, &wiki, &got["refresh_token"]).await.0, 400);
    let (tag, said) = ask("").await;
    let entries = said["revocations"].as_array().unwrap();
    assert_eq!((entries.len(), &entries[0]["sid"], entries[0].get("client_id")), (1, &known["sid"], None), "{said}");
    assert!((at..=at + 10).contains(&entries[0]["at"].as_i64().unwrap()), "{said}");
    assert_eq!(ask(&format!("?since={at}")).await.1["revocations"].as_array().unwrap().len(), 1);
    assert_eq!(ask(&format!("?since={}", at + 60)).await.1, json!({ "revocations": [] }));
    assert_eq!(ask("?since=nonsense").await.1, said);
    let again = reqwest::Client::new().get(format!("{}/oauth/revocations", app.url)).header(IF_NONE_MATCH, tag);
    assert_eq!(again.send().await.unwrap().status(), 304);
    // Once all its access tokens have expired, nobody needs to know.
    app.app.clock.advance(time::Duration::minutes(11));
    assert_eq!(ask("").await.1, json!({ "revocations": [] }));
}

/// An app does not find out which other apps its users use, and one app's end is not that of the session.
#[tokio::test]
async fn an_app_reads_what_has_ended_of_itself() {
    let app = TestApp::start().await;
    let register =
        async |name: &str| Wiki::register(&app, |new| (new.name, new.trusted) = (name.parse().unwrap(), true)).await;
    let (wiki, bank) = (register("Wiki").await, register("Bank").await);
    let mut sam = app.user("sam", OTTER).await;
    let known = opened(&app, &wiki, &mut sam).await;
    assert_eq!(opened(&app, &bank, &mut sam).await["sid"], known["sid"]);
    let ask = async |caller: Option<(&str, &str)>| {
        let mut request = reqwest::Client::new().get(format!("{}/oauth/revocations", app.url));
        if let Some((id, secret)) = caller {
            request = request.basic_auth(id, Some(secret));
        }
        let answer = request.send().await.unwrap();
        let cache = answer.headers()["cache-control"].to_str().unwrap().to_owned();
        let said: Value = answer.json().await.unwrap();
        let entries = said["revocations"].as_array().cloned().unwrap_or_default();
        (cache, entries.iter().map(|entry| (entry["client_id"].clone(), entry["sid"].clone())).collect::<Vec<_>>())
    };
    let own = |wiki: &Wiki| (json!(wiki.id), known["sid"].clone());
    sam.post("/profile/apps", &[("app", &wiki.id)]).await;
    assert_eq!(ask(None).await, ("public, max-age=1".to_owned(), vec![]), "the session goes on");
    assert_eq!(ask(Some((&wiki.id, &wiki.secret))).await, ("private, max-age=1".to_owned(), vec![own(&wiki)]));
    assert_eq!(ask(Some((&bank.id, &bank.secret))).await.1, []);
    sam.log_out().await;
    assert_eq!(ask(None).await.1, [(Value::Null, known["sid"].clone())], "once, and of no app");
    assert_eq!(ask(Some((&bank.id, &bank.secret))).await.1, [own(&bank)]);
    assert_eq!(ask(Some((&bank.id, &wiki.secret))).await, ("no-store".to_owned(), vec![]));
}
