//! The JSON door over HTTP: a test for each of its operations, and for each way in which they fail.

use reqwest::header::{ACCEPT_LANGUAGE, AUTHORIZATION, CONTENT_TYPE, COOKIE, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Client, Method, RequestBuilder, StatusCode, redirect};
use serde_json::{Value, json};

use crate::app::TestApp;
use crate::profile::NOT_ON_ANY_FORM;
use crate::{HERON, OTTER};

const FORM: &str = "application/x-www-form-urlencoded";

/// A program.
struct Program<'a> {
    app: &'a TestApp,
    client: Client,
}

impl Program<'_> {
    fn of(app: &TestApp) -> Program<'_> {
        let client = Client::builder().redirect(redirect::Policy::none()).build().unwrap();
        Program { app, client }
    }

    fn asks(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.app.url))
    }

    async fn posts(&self, path: &str, body: Value) -> (u16, Value) {
        answer(self.asks(Method::POST, path).json(&body)).await
    }

    async fn signs_up(&self, name: &str) -> (u16, Value) {
        let email = format!("{name}@example.com");
        let user = json!({"username": name, "email": email, "full_name": "Sam Smith", "password": OTTER});
        self.posts("/users/", user).await
    }

    async fn logs_in(&self, username: &str, password: &str) -> (u16, Value) {
        answer(self.asks(Method::POST, "/token").form(&[("username", username), ("password", password)])).await
    }

    /// Returns a token of Sam, who has just confirmed the address.
    async fn token(&self) -> String {
        self.app.user("sam", OTTER).await;
        self.logs_in("sam", OTTER).await.1["access_token"].as_str().unwrap().to_owned()
    }

    async fn me(&self, token: &str) -> (u16, Value) {
        answer(self.asks(Method::GET, "/users/me/").bearer_auth(token)).await
    }
}

/// Sends a request and returns the status and the JSON of the response. Every response of this door is JSON.
async fn answer(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    assert_eq!(answer.headers()[CONTENT_TYPE], "application/json", "{status}");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert!(answer.headers().contains_key("x-request-id") && !answer.headers().contains_key("set-cookie"));
    (status, answer.json().await.unwrap())
}

#[tokio::test]
async fn an_account_is_created_by_the_link_in_the_email() {
    let app = TestApp::start().await;
    let program = Program::of(&app);
    let (status, body) = program.signs_up("sam").await;
    assert_eq!(status, 202);
    assert_eq!(body, json!({"message": "We emailed you a link. Open it to finish creating your account."}));
    assert_eq!(program.logs_in("sam", OTTER).await.0, 400, "no account until the button is pressed");

    let link = app.letters_to("sam@example.com", 1).await[0].links[0].clone();
    let mut browser = app.browser();
    let form = browser.open(&link).await.form("/signup/confirm");
    assert_eq!(browser.submit(form.fill("password", OTTER)).await.path, "/login");
    assert_eq!(program.logs_in("sam", OTTER).await.0, 200);
    // An address that has an account gets the same response.
    let again = json!({"username": "sammy", "email": "sam@example.com", "password": OTTER});
    assert_eq!(program.posts("/users/", again).await, (202, body));
    let subject = "You already have an account at Latchkey";
    assert!(app.letters_to("sam@example.com", 3).await.iter().any(|letter| letter.subject == subject));
}

#[tokio::test]
async fn a_site_with_open_sign_up_creates_it_at_once_and_a_closed_one_says_so() {
    let app = TestApp::start_with(&["--signup", "open"]).await;
    let program = Program::of(&app);
    let (status, mut body) = program.signs_up("sam").await;
    assert_eq!(status, 201);
    assert!(body["id"].take().as_str().unwrap().parse::<uuid::Uuid>().is_ok());
    let sam = json!({"id": null, "username": "sam", "email": "sam@example.com", "full_name": "Sam Smith"});
    assert_eq!(body, sam, "never a password or hash");
    let (status, body) = program.signs_up("sam").await;
    assert_eq!((status, &body["detail"][0]["loc"]), (422, &json!(["body", "username"])));

    let app = TestApp::start_with(&["--signup", "closed"]).await;
    let closed = (403, json!({"detail": "Sign-up is closed"}));
    assert_eq!(Program::of(&app).signs_up("sam").await, closed);
}

#[tokio::test]
async fn a_token_tells_who_its_owner_is() {
    let app = TestApp::start().await;
    let program = Program::of(&app);
    app.user("sam", OTTER).await;
    for login in ["sam", "SAM@example.com"] {
        let (status, body) = program.logs_in(login, OTTER).await;
        assert_eq!(status, 200);
        assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("bearer"), &json!(1800)));
        assert_eq!(body.as_object().unwrap().len(), 3);
        let (status, mut me) = program.me(body["access_token"].as_str().unwrap()).await;
        assert_eq!(status, 200);
        assert!(me["id"].take().is_string());
        let sam = json!({"id": null, "username": "sam", "email": "sam@example.com", "full_name": "Sam Smith"});
        assert_eq!(me, sam);
    }
    for (login, password) in [("sam", HERON), ("nobody", OTTER), ("", ""), ("sam", ""), ("sam", &"x".repeat(5000))] {
        let wrong = (400, json!({"detail": "Incorrect username or password", "error": "invalid_grant"}));
        assert_eq!(program.logs_in(login, password).await, wrong, "{login}");
    }
}

#[tokio::test]
async fn a_grant_that_is_not_the_password_is_refused_as_oauth_says() {
    let app = TestApp::start().await;
    let program = Program::of(&app);
    app.user("sam", OTTER).await;
    let asked = |fields: &[(&str, &str)]| {
        let sam = [("username", "sam"), ("password", OTTER)];
        answer(program.asks(Method::POST, "/token").form(&[&sam[..], fields].concat()))
    };
    // RFC 6749, 3.2: a parameter without a value counts as missing.
    for fields in [&[][..], &[("grant_type", "password")], &[("grant_type", "")], &[("scope", "x"), ("client_id", "y")]]
    {
        assert_eq!(asked(fields).await.0, 200, "{fields:?}");
    }
    let detail = "The only grant_type here is password";
    for kind in ["client_credentials", "authorization_code", "refresh_token", "Password", "password ", "%00", "x"] {
        let (status, body) = asked(&[("grant_type", kind)]).await;
        assert_eq!((status, body), (400, json!({"detail": detail, "error": "unsupported_grant_type"})), "{kind}");
    }
    // The grant is named even if fields are missing, because another grant has other fields.
    let request = program.asks(Method::POST, "/token").form(&[("grant_type", "client_credentials")]);
    assert_eq!(answer(request).await.1["error"], "unsupported_grant_type");
    // RFC 6749, 5.2: missing or repeated parameters.
    let twice = [("grant_type", "password"), ("grant_type", "password")];
    for (fields, field) in
        [(&twice[..], "grant_type"), (&[("username", "sam")], "username"), (&[("password", "x")], "password")]
    {
        let (status, body) = asked(fields).await;
        assert_eq!((status, &body["error"]), (422, &json!("invalid_request")), "{body}");
        assert_eq!(body["detail"].as_array().unwrap().len(), 1);
        assert_eq!(body["detail"][0]["loc"], json!(["body", field]));
    }
    let request = program.asks(Method::POST, "/token").form(&[("grant_type", "password")]);
    let (status, body) = answer(request).await;
    assert_eq!((status, &body["error"], body["detail"].as_array().unwrap().len()), (422, &json!("invalid_request"), 2));
    // Only this operation answers as OAuth does.
    let (status, body) = program.posts("/users/", json!({})).await;
    assert_eq!((status, body.as_object().unwrap().len()), (422, 1), "{body}");
}

#[tokio::test]
async fn a_token_lasts_as_long_as_it_says_and_no_longer() {
    let app = TestApp::start_with(&["--token-minutes", "5"]).await;
    let program = Program::of(&app);
    let token = program.token().await;
    for _ in 0..4 {
        app.app.clock.advance(time::Duration::minutes(1));
        assert_eq!(program.me(&token).await.0, 200);
    }
    app.app.clock.advance(time::Duration::minutes(1));
    assert_eq!(program.me(&token).await.0, 401, "use does not extend it");
}

#[tokio::test]
async fn a_request_without_a_valid_token_learns_nothing() {
    let app = TestApp::start().await;
    let program = Program::of(&app);
    let token = program.token().await;
    let mut browser = app.browser();
    browser.log_in("sam", OTTER).await;
    let cookie = browser.cookies["latchkey_session"].clone();
    let bearer = |token: &str| Some(format!("Bearer {token}"));
    let tampered = format!("{}x", &token[..token.len() - 1]);
    for (what, sent) in [
        ("nothing", None),
        ("no scheme", Some(token.clone())),
        ("another scheme", Some(format!("Basic {token}"))),
        ("no token", bearer("")),
        ("nonsense", bearer("a.b.c")),
        ("a changed signature", bearer(&tampered)),
        ("the cookie", bearer(&cookie)),
    ] {
        let request = program.asks(Method::GET, "/users/me/");
        let request = if let Some(sent) = sent { request.header(AUTHORIZATION, sent) } else { request };
        let answer = request.header(COOKIE, format!("latchkey_session={cookie}")).send().await.unwrap();
        // RFC 6750, 3.1: a program that has sent no token gets no error code. It may not know that it needs one.
        let sent_a_token = !["nothing", "no scheme", "another scheme", "no token"].contains(&what);
        let challenge = if sent_a_token { "Bearer error=\"invalid_token\"" } else { "Bearer" };
        assert_eq!((answer.status().as_u16(), answer.headers()[WWW_AUTHENTICATE].to_str().unwrap()), (401, challenge));
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body, json!({"detail": "Could not validate credentials"}), "{what}");
    }
    let sent = program.asks(Method::GET, "/users/me/").header(AUTHORIZATION, format!("bEARER {token}"));
    assert_eq!(answer(sent).await.0, 200, "the scheme's case does not matter (RFC 9110, 11.1)");

    // The token does not work as a cookie, not even under the name of the session cookie.
    browser.cookies.insert("latchkey_session".into(), token);
    assert!(!browser.is_logged_in().await);
}

#[tokio::test]
async fn a_token_is_listed_among_the_devices_and_a_button_ends_it() {
    let app = TestApp::start().await;
    let program = Program::of(&app);
    let token = program.token().await;
    let mut browser = app.browser();
    browser.log_in("sam", OTTER).await;
    let page = browser.open("/profile/security").await;
    let listed = page.html.split("<li>").find(|item| item.contains("<strong>API token</strong>")).expect("listed");
    assert!(listed.contains("<bdi>127.0.0.1</bdi>") && listed.contains(" UTC</time>"), "{listed}");
    let session = listed.split("name=\"session\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    browser.post("/profile/security/log-out", &[("session", session)]).await;
    assert_eq!(program.me(&token).await.0, 401);
    assert!(browser.is_logged_in().await);
}

#[tokio::test]
async fn a_reset_by_the_door_ends_tokens_and_sessions() {
    let app = TestApp::start().await;
    let program = Program::of(&app);
    let token = program.token().await;
    let sent = (202, json!({"message": "If the address has an account, a link is on its way. It works for 1 hour."}));
    assert_eq!(program.posts("/reset_password/", json!({"email": "sam@example.com"})).await, sent);
    assert_eq!(program.posts("/reset_password/", json!({"email": "nobody@example.com"})).await, sent);
    let by_query = program.asks(Method::POST, "/reset_password/?email=nobody%40example.com");
    assert_eq!(answer(by_query).await, sent);
    let by_query = program.asks(Method::POST, "/reset_password/?email=nobody%40example.com").json(&Value::Null);
    assert_eq!(answer(by_query).await, sent, "null is no body, as described");

    // The emails are of the sign-up, the first token and the reset.
    let letters = app.letters_to("sam@example.com", 3).await;
    let link = letters.iter().find(|letter| letter.subject.contains("Reset")).unwrap().links[0].clone();
    let secret = link.split("token=").nth(1).unwrap();
    let led = program.asks(Method::GET, &format!("/reset_password/?token={secret}")).send().await.unwrap();
    assert_eq!(led.status(), StatusCode::SEE_OTHER);
    assert_eq!(led.headers()[LOCATION], format!("/reset-password?token={secret}"));
    for odd in ["", "?token=x", "?token=%0d%0aset-cookie:a=b", "?token=https://evil.example"] {
        let led = program.asks(Method::GET, &format!("/reset_password/{odd}")).send().await.unwrap();
        assert_eq!(led.headers()[LOCATION], "/reset-password", "{odd}");
    }

    let complete =
        |new: &str| program.posts("/complete_reset_password/", json!({"token": secret, "new_password": new}));
    let (status, body) = complete("12345678").await;
    assert_eq!((status, &body["detail"][0]["loc"]), (422, &json!(["body", "new_password"])));
    assert_eq!(program.me(&token).await.0, 200, "the token still works");
    let (status, body) = complete(HERON).await;
    assert_eq!((status, body["message"].as_str().unwrap().contains("Your password was changed")), (200, true));
    assert_eq!(program.me(&token).await.0, 401);
    assert_eq!(complete(HERON).await, (410, json!({"detail": "This link no longer works"})));
    let made_up = json!({"token": "x", "new_password": HERON});
    assert_eq!(program.posts("/complete_reset_password/", made_up).await.0, 410);
    assert_eq!((program.logs_in("sam", OTTER).await.0, program.logs_in("sam", HERON).await.0), (400, 200));
    assert_eq!(app.letters_to("sam@example.com", 3).await[0].subject, "Your Latchkey password was changed");
}

#[tokio::test]
async fn a_page_of_another_site_cannot_spend_its_visitors_attempts() {
    let app = TestApp::start().await;
    let program = Program::of(&app);
    app.user("sam", OTTER).await;
    let own = app.url.as_str();
    // These are more attempts than a client has. The form of any page may be sent here without a preflight.
    for n in 0..40 {
        let foreign = [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")][n % 2];
        let form = program.asks(Method::POST, "/token").form(&[("username", "sam"), ("password", HERON)]);
        let refused = answer(form.header(foreign.0, foreign.1)).await;
        assert_eq!(refused, (403, json!({"detail": "This request came from another site"})), "{foreign:?}");
        let forgotten = program.asks(Method::POST, "/reset_password/?email=sam%40example.com");
        assert_eq!(answer(forgotten.header(foreign.0, foreign.1)).await.0, 403, "{foreign:?}");
    }
    app.outbox_is_done().await;
    assert_eq!(app.letters().await.len(), 1, "the email of the sign-up");
    assert_eq!(program.logs_in("sam", OTTER).await.0, 200, "all attempts are left");
    for path in ["/users/", "/token", "/reset_password/", "/complete_reset_password/"] {
        for foreign in [
            &[("origin", "https://evil.example")][..],
            &[("origin", "null")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")],
        ] {
            let request =
                foreign.iter().fold(program.asks(Method::POST, path), |all, (name, value)| all.header(*name, *value));
            assert_eq!(answer(request).await.0, 403, "{path} {foreign:?}");
        }
        // A program sends neither header. Our own pages may use the door too.
        for ours in [&[][..], &[("origin", own)], &[("sec-fetch-site", "same-origin"), ("origin", own)]] {
            let request =
                ours.iter().fold(program.asks(Method::POST, path), |all, (name, value)| all.header(*name, *value));
            assert_eq!(answer(request).await.0, 422, "{path} {ours:?}");
        }
        // The response to a preflight has nothing that would let the page go on.
        let preflight = program.asks(Method::OPTIONS, path).header("origin", "https://evil.example");
        let preflight = preflight.header("access-control-request-method", "POST").send().await.unwrap();
        assert_eq!(preflight.status(), 405);
        assert!(preflight.headers().keys().all(|name| !name.as_str().starts_with("access-control")), "{path}");
    }
}

#[tokio::test]
async fn every_field_that_is_not_accepted_is_named() {
    let app = TestApp::start().await;
    let program = Program::of(&app);
    let wrong = json!({"username": "a b", "email": "sam@", "full_name": 7, "password": "12345678"});
    let (status, body) = program.posts("/users/", wrong).await;
    assert_eq!(status, 422);
    let named = |body: &Value| -> Vec<String> {
        body["detail"].as_array().unwrap().iter().map(|one| format!("{}{}", one["loc"], one["type"])).collect()
    };
    let mut all = named(&body);
    all.sort();
    assert_eq!(
        all,
        [
            "[\"body\",\"email\"]\"value_error\"",
            "[\"body\",\"full_name\"]\"missing\"",
            "[\"body\",\"password\"]\"value_error\"",
            "[\"body\",\"username\"]\"value_error\""
        ]
    );
    assert!(body["detail"].as_array().unwrap().iter().all(|one| one["msg"].as_str().is_some_and(|msg| msg.len() > 10)));
    for empty in [json!({}), json!({"username": null, "email": [], "password": {}})] {
        let (status, body) = program.posts("/users/", empty).await;
        assert_eq!((status, named(&body).len()), (422, 3), "{body}");
    }
    let (status, body) = answer(program.asks(Method::POST, "/token").form(&[("username", "sam")])).await;
    assert_eq!((status, named(&body)), (422, vec!["[\"body\",\"password\"]\"missing\"".to_owned()]));
    let planted = json!({"username": "sam", "email": "sam@example.com", "password": OTTER, "id": 1, "created_at": 0});
    assert_eq!(program.posts("/users/", planted).await.0, 202, "a field that is not described changes nothing");
}

#[tokio::test]
async fn every_failure_is_json() {
    let app = TestApp::start().await;
    let program = Program::of(&app);
    let raw = |path: &str, kind: &str, body: &str| {
        program.asks(Method::POST, path).header(CONTENT_TYPE, kind).body(body.to_owned())
    };
    let json = "application/json";
    for (request, expected) in [
        (raw("/users/", json, "{"), 422),
        (raw("/users/", json, "[]"), 422),
        (raw("/users/", json, "\"x\""), 422),
        (raw("/users/", json, "{\"username\": \"\u{0}\"}"), 422),
        (raw("/users/", "text/plain", "{}"), 415),
        (raw("/users/", FORM, "username=sam"), 415),
        (raw("/token", json, "{}"), 415),
        (raw("/users/", json, &format!("\"{}\"", "x".repeat(17_000))), 413),
        (raw("/token", FORM, &"x".repeat(17_000)), 413),
        (program.asks(Method::DELETE, "/users/me/"), 405),
        (program.asks(Method::GET, "/users/"), 405),
        (program.asks(Method::PUT, "/token"), 405),
        (program.asks(Method::GET, "/users/nobody"), 404),
        (program.asks(Method::POST, "/users/me/too/"), 404),
        (program.asks(Method::GET, "/reset_password/x"), 404),
    ] {
        let (status, body) = answer(request).await;
        assert_eq!(status, expected, "{body}");
        let detail = &body["detail"];
        assert!(detail.is_string() || detail.as_array().is_some_and(|all| !all.is_empty()), "{body}");
    }
    let method = program.asks(Method::GET, "/token").send().await.unwrap();
    assert_eq!(method.headers()["allow"], "POST");
}

#[tokio::test]
async fn the_door_answers_in_the_language_asked_for() {
    let app = TestApp::start().await;
    let program = Program::of(&app);
    let chinese = |request: RequestBuilder| request.header(ACCEPT_LANGUAGE, "zh-CN");
    let (_, body) = answer(chinese(program.asks(Method::GET, "/users/me/"))).await;
    assert_eq!(body, json!({"detail": "无法验证凭据"}));
    let (_, body) = answer(chinese(program.asks(Method::GET, "/users/x"))).await;
    assert_eq!(body, json!({"detail": "未找到"}));
    let sam = json!({"username": "sam", "email": "sam@example.com", "password": OTTER});
    let (status, _) = answer(chinese(program.asks(Method::POST, "/users/")).json(&sam)).await;
    assert_eq!(status, 202);
    assert!(app.letters_to("sam@example.com", 1).await[0].subject.starts_with("验证邮箱"));
}

#[tokio::test]
async fn paths_work_with_a_slash_at_their_end_and_without() {
    let app = TestApp::start().await;
    let program = Program::of(&app);
    for path in ["/users", "/users/me", "/token/", "/reset_password", "/complete_reset_password"] {
        let (status, _) = answer(program.asks(Method::PATCH, path)).await;
        assert_eq!(status, 405, "{path}");
    }
}

#[tokio::test]
async fn the_description_names_every_path_and_answer() {
    let app = TestApp::start_with(&["--site-name", "Acme"]).await;
    let (status, document) = answer(Program::of(&app).asks(Method::GET, "/openapi.json")).await;
    assert_eq!((status, document["openapi"].as_str().unwrap().starts_with("3.1")), (200, true));
    assert_eq!(document["info"]["title"], "Acme accounts");
    assert_eq!(document["servers"][0]["url"], json!(app.url));
    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(paths, ["/users/", "/token", "/users/me/", "/reset_password/", "/complete_reset_password/"]);
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap();
            for status in ["400", "408", "413", "500", "503"] {
                assert!(responses.contains_key(status), "{method} {path}: {status}");
            }
            assert!(operation["requestBody"].is_null() || responses.contains_key("415"), "{method} {path}");
            let with_body = responses.iter().filter(|(status, _)| *status != "303");
            let bodies = operation.get("requestBody").into_iter().chain(with_body.map(|(_, response)| response));
            for body in bodies {
                let content = body["content"].as_object().unwrap();
                assert!(content.values().all(|kind| !kind["example"].is_null()), "{method} {path}: {body}");
            }
        }
    }
}

#[tokio::test]
async fn fields_that_are_not_described_make_no_other_account() {
    let app = TestApp::start_with(&["--signup", "open"]).await;
    let program = Program::of(&app);
    let mut user: serde_json::Map<_, _> =
        NOT_ON_ANY_FORM.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let sam = json!({"username": "sam", "email": "sam@example.com", "password": OTTER});
    user.extend(sam.as_object().unwrap().clone());
    let (status, body) = program.posts("/users/", Value::Object(user)).await;
    assert_eq!((status, body.as_object().unwrap().len()), (201, 4), "{body}");
    assert_ne!(body["id"], NOT_ON_ANY_FORM[0].1);
    let row = latchkey::accounts::user::by_login(app.app.db.read(), "sam").await.unwrap().unwrap();
    assert!(row.created_at > app.app.now() - time::Duration::minutes(1) && row.locale.is_none(), "{row:?}");
    assert_eq!(program.logs_in("sam", OTTER).await.0, 200);
}
