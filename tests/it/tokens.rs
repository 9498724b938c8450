//! What an app gets for a code, and what its tokens open.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use latchkey::accounts::signing_key::SigningAlgorithm;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::app::TestApp;
use crate::authorize::{CALLBACK, VERIFIER, Wiki, open, parameters, press};
use crate::browser::Browser;
use crate::{HERON, OTTER};

/// Takes the user through the app's request, and returns the code.
pub async fn code(wiki: &Wiki, user: &mut Browser, changes: &[(&str, &str)]) -> String {
    let back = match open(user, &wiki.request(changes)).await {
        Err(back) => back,
        Ok(page) => press(user, page.form("/oauth/consent").fill("decision", "allow")).await.expect_err("the app"),
    };
    parameters(&back).remove("code").unwrap_or_else(|| panic!("{back}"))
}

pub fn form(code: &str) -> Vec<(&str, &str)> {
    vec![("grant_type", "authorization_code"), ("code", code), ("redirect_uri", CALLBACK), ("code_verifier", VERIFIER)]
}

pub async fn post(
    app: &TestApp,
    fields: &[(&str, &str)],
    with: impl FnOnce(RequestBuilder) -> RequestBuilder,
) -> (StatusCode, Value) {
    let answer =
        with(reqwest::Client::new().post(format!("{}/oauth/token", app.url)).form(fields)).send().await.unwrap();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    (answer.status(), answer.json().await.unwrap())
}

/// Exchanges a code as the app does.
pub async fn exchange(app: &TestApp, wiki: &Wiki, fields: &[(&str, &str)]) -> (StatusCode, Value) {
    post(app, fields, |request| request.basic_auth(&wiki.id, Some(&wiki.secret))).await
}

pub async fn tokens(app: &TestApp, wiki: &Wiki, user: &mut Browser) -> Value {
    let code = code(wiki, user, &[]).await;
    let (status, got) = exchange(app, wiki, &form(&code)).await;
    assert_eq!(status, 200, "{got}");
    got
}

pub async fn userinfo(app: &TestApp, token: &str) -> (StatusCode, String, Value) {
    let answer =
        reqwest::Client::new().get(format!("{}/oauth/userinfo", app.url)).bearer_auth(token).send().await.unwrap();
    let challenge = answer.headers().get("www-authenticate").map(|text| text.to_str().unwrap().to_owned());
    (answer.status(), challenge.unwrap_or_default(), answer.json().await.unwrap_or_default())
}

/// Returns an access token of nobody, signed by a key with this name.
pub fn made_up(kid: &str) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = json!({ "typ": "at+jwt", "alg": "RS256", "kid": kid });
    format!("{}.{}.{}", part(head), part(json!({})), "A".repeat(342))
}

/// Verifies a token as an app does: by the keys that discovery names.
pub async fn verified(app: &TestApp, token: &str, audience: &str) -> Value {
    let configuration: Value =
        reqwest::get(format!("{}/.well-known/openid-configuration", app.url)).await.unwrap().json().await.unwrap();
    let keys: JwkSet = reqwest::get(configuration["jwks_uri"].as_str().unwrap()).await.unwrap().json().await.unwrap();
    let header = jsonwebtoken::decode_header(token).unwrap();
    let key = keys.find(header.kid.as_deref().unwrap()).expect("a published key");
    let mut rules = Validation::new(header.alg);
    rules.set_audience(&[audience]);
    rules.set_issuer(&[configuration["issuer"].as_str().unwrap()]);
    jsonwebtoken::decode::<Value>(token, &DecodingKey::from_jwk(key).unwrap(), &rules).unwrap().claims
}

#[tokio::test]
async fn an_app_learns_who_logged_in_and_sees_what_it_may_see() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |_| {}).await;
    let mut sam = app.user("sam", OTTER).await;
    let got = tokens(&app, &wiki, &mut sam).await;
    assert_eq!(
        (&got["token_type"], &got["expires_in"], &got["scope"]),
        (&json!("Bearer"), &json!(600), &json!("openid profile email"))
    );

    let id = verified(&app, got["id_token"].as_str().unwrap(), &wiki.id).await;
    assert_eq!((&id["nonce"], &id["amr"], &id["aud"]), (&json!("n-0S6_WzA2Mj"), &json!(["pwd"]), &json!(wiki.id)));
    assert_eq!(
        (&id["preferred_username"], &id["email"], &id["email_verified"]),
        (&json!("sam"), &json!("sam@example.com"), &json!(true))
    );
    assert_eq!(id["exp"].as_i64().unwrap() - id["iat"].as_i64().unwrap(), 600);
    assert!(id["auth_time"].as_i64().unwrap() <= id["iat"].as_i64().unwrap() && id["sid"].is_string());
    assert_eq!(id["at_hash"].as_str().unwrap().len(), 22, "half of a SHA-256");

    let access = got["access_token"].as_str().unwrap();
    assert_eq!(jsonwebtoken::decode_header(access).unwrap().typ.as_deref(), Some("at+jwt"));
    let claims = verified(&app, access, &wiki.id).await;
    assert_eq!((&claims["client_id"], &claims["sub"]), (&json!(wiki.id), &id["sub"]));
    let (status, _, info) = userinfo(&app, access).await;
    assert_eq!(
        (status, &info["sub"], &info["name"], &info["email"]),
        (StatusCode::OK, &id["sub"], &json!("Sam Smith"), &json!("sam@example.com"))
    );
    // In a form too (RFC 6750, 2.2), and never in the query.
    let url = format!("{}/oauth/userinfo", app.url);
    let posted = reqwest::Client::new().post(&url).form(&[("access_token", access)]).send().await.unwrap();
    assert_eq!(posted.json::<Value>().await.unwrap(), info);
    assert_eq!(reqwest::get(format!("{url}?access_token={access}")).await.unwrap().status(), 401);
}

#[tokio::test]
async fn an_app_sees_no_more_than_its_scopes() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let mut sam = app.user("sam", OTTER).await;
    for (scope, expected) in [
        ("openid", &["sub"][..]),
        ("openid email", &["sub", "email", "email_verified"]),
        ("openid profile", &["sub", "preferred_username", "name", "updated_at"]),
    ] {
        let code = code(&wiki, &mut sam, &[("scope", scope)]).await;
        let (_, got) = exchange(&app, &wiki, &form(&code)).await;
        let (_, _, info) = userinfo(&app, got["access_token"].as_str().unwrap()).await;
        let names: BTreeSet<_> = info.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, expected.iter().copied().collect(), "{scope}");
    }
    let code = code(&wiki, &mut sam, &[("scope", "email")]).await;
    let (_, got) = exchange(&app, &wiki, &form(&code)).await;
    assert!(got.get("id_token").is_none(), "without openid it is OAuth only");
    let (status, challenge, _) = userinfo(&app, got["access_token"].as_str().unwrap()).await;
    assert_eq!((status, challenge.as_str()), (StatusCode::FORBIDDEN, "Bearer error=\"insufficient_scope\""));
}

/// Where anybody can type any address, an app that links accounts by address must not believe it.
#[tokio::test]
async fn an_address_is_verified_only_if_its_owner_has_shown_to_read_it() {
    let app = TestApp::start_with(&["--signup", "open"]).await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let mut sam = app.browser();
    sam.sign_up("sam@example.com", "sam", OTTER).await;
    let verified = async |user: &mut Browser| {
        let got = tokens(&app, &wiki, user).await;
        userinfo(&app, got["access_token"].as_str().unwrap()).await.2["email_verified"].clone()
    };
    assert_eq!(verified(&mut sam).await, false);
    sam.ask_reset("sam@example.com").await;
    let letter = app.letters_to("sam@example.com", 1).await.remove(0);
    sam.reset(&letter.links[0], HERON).await;
    sam.log_in("sam", HERON).await;
    assert_eq!(verified(&mut sam).await, true);
}

#[tokio::test]
async fn a_code_works_once_for_a_minute_and_for_its_own_request() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let other = Wiki::register(&app, |new| new.name = "Other".parse().unwrap()).await;
    let mut sam = app.user("sam", OTTER).await;
    let wrong = ("code_verifier", "wrong-wrong-wrong-wrong-wrong-wrong-wrong-w");
    for change in
        [wrong, ("code_verifier", ""), ("redirect_uri", "http://127.0.0.1/cb"), ("redirect_uri", ""), ("code", "x")]
    {
        let code = code(&wiki, &mut sam, &[]).await;
        let mut fields = form(&code);
        fields.retain(|(name, _)| *name != change.0);
        let (status, got) = exchange(&app, &wiki, &[&fields[..], &[change]].concat()).await;
        assert_eq!((status, &got["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_grant")), "{change:?}");
        let (status, _) = exchange(&app, &wiki, &form(&code)).await;
        assert_eq!(status, 200, "a mistake uses nothing up: {change:?}");
    }
    // Another app has got hold of a code (code injection; RFC 9700, 4.5).
    let stolen = code(&wiki, &mut sam, &[]).await;
    assert_eq!(exchange(&app, &other, &form(&stolen)).await.1["error"], "invalid_grant");
    assert_eq!(exchange(&app, &wiki, &form(&stolen)).await.0, 200, "and has not ended it");

    let late = code(&wiki, &mut sam, &[]).await;
    app.app.clock.advance(time::Duration::seconds(60));
    assert_eq!(exchange(&app, &wiki, &form(&late)).await.1["error"], "invalid_grant");

    // A second use ends what the first one got.
    let twice = code(&wiki, &mut sam, &[]).await;
    let (_, first) = exchange(&app, &wiki, &form(&twice)).await;
    let token = first["access_token"].as_str().unwrap();
    assert_eq!(userinfo(&app, token).await.0, 200);
    assert_eq!(exchange(&app, &wiki, &form(&twice)).await.1["error"], "invalid_grant");
    assert_eq!(userinfo(&app, token).await.0, 401);
}

/// Of fifty that come at the same moment, one gets tokens, and they open nothing: nobody knows which of them was the app.
#[tokio::test]
async fn of_many_that_redeem_a_code_at_once_none_keeps_anything() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let mut sam = app.user("sam", OTTER).await;
    let code = code(&wiki, &mut sam, &[]).await;
    let fields = form(&code);
    let all = futures_util::future::join_all((0..50).map(|_| exchange(&app, &wiki, &fields))).await;
    let won: Vec<_> = all.iter().filter(|(status, _)| *status == 200).collect();
    assert!(won.len() <= 1, "{won:?}");
    for (_, got) in won {
        assert_eq!(userinfo(&app, got["access_token"].as_str().unwrap()).await.0, 401);
    }
}

#[tokio::test]
async fn a_challenge_that_an_attacker_took_out_of_the_request_is_missed() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| {
        new.pkce = false;
        new.trusted = true;
    })
    .await;
    let mut sam = app.user("sam", OTTER).await;
    let without = [("code_challenge", "-"), ("code_challenge_method", "-")];
    let downgraded = code(&wiki, &mut sam, &without).await;
    assert_eq!(
        exchange(&app, &wiki, &form(&downgraded)).await.1["error"],
        "invalid_grant",
        "the app sends its verifier"
    );
    let plain = code(&wiki, &mut sam, &without).await;
    assert_eq!(exchange(&app, &wiki, &form(&plain)[..3]).await.0, 200, "an app that has never used PKCE");
    let with = code(&wiki, &mut sam, &[]).await;
    assert_eq!(
        exchange(&app, &wiki, &form(&with)[..3]).await.1["error"],
        "invalid_grant",
        "whoever asked with it needs it"
    );
}

#[tokio::test]
async fn an_app_shows_its_secret_in_one_of_two_ways() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let phone = Wiki::register(&app, |new| {
        new.name = "Phone".parse().unwrap();
        new.public = true;
        new.trusted = true;
    })
    .await;
    let mut sam = app.user("sam", OTTER).await;
    let named = [("client_id", wiki.id.as_str()), ("client_secret", wiki.secret.as_str())];
    let in_form = code(&wiki, &mut sam, &[]).await;
    assert_eq!(post(&app, &[&form(&in_form)[..], &named].concat(), |request| request).await.0, 200);
    let public = code(&phone, &mut sam, &[]).await;
    let fields = [&form(&public)[..], &[("client_id", phone.id.as_str())]].concat();
    assert_eq!(post(&app, &fields, |request| request).await.0, 200);

    let code = code(&wiki, &mut sam, &[]).await;
    let refused = async |fields: &[(&str, &str)], id: &str, secret: Option<&str>, expected: &str| {
        let fields = [&form(&code)[..], fields].concat();
        let (status, got) = post(&app, &fields, |request| match secret {
            Some(secret) => request.basic_auth(id, Some(secret)),
            None => request,
        })
        .await;
        assert_eq!(got["error"], expected, "{fields:?} {id} {secret:?} {status}");
    };
    refused(&named[..1], "", None, "invalid_client").await;
    refused(&[("client_id", &wiki.id), ("client_secret", "")], "", None, "invalid_client").await;
    refused(&[("client_id", &wiki.id), ("client_secret", &phone.id)], "", None, "invalid_client").await;
    refused(&[], &wiki.id, Some("wrong"), "invalid_client").await;
    refused(&[], &phone.id, Some(""), "invalid_client").await;
    refused(&[], "latchkey", Some(&wiki.secret), "invalid_client").await;
    refused(&named, &wiki.id, Some(&wiki.secret), "invalid_request").await;
    refused(&[("client_id", &phone.id)], &wiki.id, Some(&wiki.secret), "invalid_request").await;
    refused(&[("grant_type", "password")], &wiki.id, Some(&wiki.secret), "invalid_request").await;
    let (status, got) = exchange(&app, &wiki, &[("grant_type", "password")]).await;
    assert_eq!((status, &got["error"]), (StatusCode::BAD_REQUEST, &json!("unsupported_grant_type")));
}

/// Takes the user through a request for lasting access, and returns the tokens.
pub async fn lasting(app: &TestApp, wiki: &Wiki, user: &mut Browser) -> Value {
    let code = code(wiki, user, &[("scope", "openid email offline_access")]).await;
    exchange(app, wiki, &form(&code)).await.1
}

pub async fn refresh(app: &TestApp, wiki: &Wiki, token: &Value) -> (StatusCode, Value) {
    exchange(app, wiki, &[("grant_type", "refresh_token"), ("refresh_token", token.as_str().unwrap())]).await
}

#[tokio::test]
async fn a_refresh_token_brings_the_next_one() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let other = Wiki::register(&app, |new| new.name = "Other".parse().unwrap()).await;
    let mut sam = app.user("sam", OTTER).await;
    assert!(tokens(&app, &wiki, &mut sam).await.get("refresh_token").is_none(), "only with offline_access");
    let mut got = lasting(&app, &wiki, &mut sam).await;
    for _ in 0..3 {
        app.app.clock.advance(time::Duration::minutes(10));
        assert_eq!(refresh(&app, &other, &got["refresh_token"]).await.1["error"], "invalid_grant", "another app's");
        let (status, next) = refresh(&app, &wiki, &got["refresh_token"]).await;
        assert_eq!(status, 200, "{next}");
        assert_ne!(next["refresh_token"], got["refresh_token"]);
        assert_eq!(userinfo(&app, next["access_token"].as_str().unwrap()).await.0, 200);
        let id = verified(&app, next["id_token"].as_str().unwrap(), &wiki.id).await;
        assert_eq!(id["nonce"], "n-0S6_WzA2Mj");
        got = next;
    }
    let narrow = |scope| {
        let token = got["refresh_token"].as_str().unwrap();
        [("grant_type", "refresh_token"), ("refresh_token", token), ("scope", scope)]
    };
    assert_eq!(exchange(&app, &wiki, &narrow("openid profile")).await.1["error"], "invalid_scope", "more than before");
    let (_, less) = exchange(&app, &wiki, &narrow("openid")).await;
    assert_eq!(less["scope"], "openid");
    assert!(userinfo(&app, less["access_token"].as_str().unwrap()).await.2.get("email").is_none());
    for bad in ["x", &wiki.secret, got["access_token"].as_str().unwrap()] {
        assert_eq!(refresh(&app, &wiki, &json!(bad)).await.1["error"], "invalid_grant", "{bad}");
    }
}

#[tokio::test]
async fn fifty_refreshes_at_once_log_nobody_out_and_a_thief_later_does() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let mut sam = app.user("sam", OTTER).await;
    let first = lasting(&app, &wiki, &mut sam).await["refresh_token"].clone();
    let all = futures_util::future::join_all((0..50).map(|_| refresh(&app, &wiki, &first))).await;
    let next: BTreeSet<_> =
        all.iter().map(|(status, got)| (status.as_u16(), got["refresh_token"].to_string())).collect();
    assert!(next.len() == 1 && next.first().unwrap().0 == 200, "all have the same next one: {next:?}");
    app.app.clock.advance(time::Duration::seconds(50));
    assert_eq!(refresh(&app, &wiki, &first).await.0, 200, "an answer that got lost");
    app.app.clock.advance(time::Duration::seconds(11));
    let second = all[0].1["refresh_token"].clone();
    let (_, third) = refresh(&app, &wiki, &second).await;
    assert_eq!(userinfo(&app, third["access_token"].as_str().unwrap()).await.0, 200);
    // A thief has an old one. Whoever uses it, the others end.
    assert_eq!(refresh(&app, &wiki, &first).await.1["error"], "invalid_grant");
    assert_eq!(refresh(&app, &wiki, &third["refresh_token"]).await.1["error"], "invalid_grant");
    assert_eq!(userinfo(&app, third["access_token"].as_str().unwrap()).await.0, 401);
}

#[tokio::test]
async fn a_refresh_token_that_was_used_over_a_minute_ago_ends_the_next_one() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let mut sam = app.user("sam", OTTER).await;
    let first = lasting(&app, &wiki, &mut sam).await["refresh_token"].clone();
    let (_, next) = refresh(&app, &wiki, &first).await;
    app.app.clock.advance(time::Duration::seconds(61));
    assert_eq!(refresh(&app, &wiki, &first).await.1["error"], "invalid_grant");
    assert_eq!(refresh(&app, &wiki, &next["refresh_token"]).await.1["error"], "invalid_grant");
}

#[tokio::test]
async fn codes_that_nobody_takes_push_no_tokens_out() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let mut sam = app.user("sam", OTTER).await;
    let got = lasting(&app, &wiki, &mut sam).await;
    for _ in 0..3 {
        for _ in 0..12 {
            code(&wiki, &mut sam, &[]).await;
        }
        app.app.clock.advance(time::Duration::seconds(61));
    }
    assert_eq!(refresh(&app, &wiki, &got["refresh_token"]).await.0, 200);
}

#[tokio::test]
async fn a_refresh_token_ends_with_the_session() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let mut sam = app.user("sam", OTTER).await;
    let got = lasting(&app, &wiki, &mut sam).await;
    sam.log_out().await;
    assert_eq!(refresh(&app, &wiki, &got["refresh_token"]).await.1["error"], "invalid_grant");
}

#[tokio::test]
async fn tokens_end_with_the_session_at_once() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let mut sam = app.user("sam", OTTER).await;
    let got = tokens(&app, &wiki, &mut sam).await;
    let access = got["access_token"].as_str().unwrap();
    assert_eq!(userinfo(&app, access).await.0, 200);
    let unused = code(&wiki, &mut sam, &[]).await;
    sam.log_out().await;
    let (status, challenge, _) = userinfo(&app, access).await;
    assert_eq!((status, challenge.as_str()), (StatusCode::UNAUTHORIZED, "Bearer error=\"invalid_token\""));
    assert_eq!(exchange(&app, &wiki, &form(&unused)).await.1["error"], "invalid_grant");

    // A reset ends them too, and time does.
    sam.log_in("sam", OTTER).await;
    let got = tokens(&app, &wiki, &mut sam).await;
    app.app.clock.advance(time::Duration::seconds(595));
    assert_eq!(userinfo(&app, got["access_token"].as_str().unwrap()).await.0, 200);
    app.app.clock.advance(time::Duration::seconds(5));
    assert_eq!(userinfo(&app, got["access_token"].as_str().unwrap()).await.0, 401);
    let got = tokens(&app, &wiki, &mut sam).await;
    app.browser().ask_reset("sam@example.com").await;
    let letter = app.letters_to("sam@example.com", 2).await.remove(0);
    app.browser().reset(&letter.links[0], HERON).await;
    assert_eq!(userinfo(&app, got["access_token"].as_str().unwrap()).await.0, 401);
}

/// The session goes on under another id, and what a thief has got an app to open in it does not.
#[tokio::test]
async fn tokens_end_when_the_password_changes_and_when_others_are_logged_out() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let mut sam = app.user("sam", OTTER).await;
    let got = tokens(&app, &wiki, &mut sam).await;
    let form = sam.open("/profile/password").await.form("/profile/password");
    let changed = sam.submit(form.fill("current_password", OTTER).fill("new_password", HERON)).await;
    assert_eq!((changed.status, changed.flash().is_empty()), (StatusCode::OK, false), "{}", changed.html);
    assert_eq!(userinfo(&app, got["access_token"].as_str().unwrap()).await.0, 401);

    let got = tokens(&app, &wiki, &mut sam).await;
    app.browser().log_in("sam", HERON).await;
    let others = sam.post("/profile/security/log-out", &[("others", "1")]).await;
    assert_eq!(others.status, 303, "{}", others.html);
    assert!(sam.is_logged_in().await);
    assert_eq!(userinfo(&app, got["access_token"].as_str().unwrap()).await.0, 401);
}

/// An app may have the user log in again. That is no reason to log the user out of all other apps.
#[tokio::test]
async fn a_log_in_again_for_one_app_leaves_the_tokens_of_another() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let bank = Wiki::register(&app, |new| (new.name, new.trusted) = ("Bank".parse().unwrap(), true)).await;
    let mut sam = app.user("sam", OTTER).await;
    let got = lasting(&app, &wiki, &mut sam).await;
    let before = verified(&app, got["id_token"].as_str().unwrap(), &wiki.id).await;
    for _ in 0..2 {
        app.app.clock.advance(time::Duration::minutes(1));
        let page = open(&mut sam, &bank.request(&[("prompt", "login")])).await.expect("the log-in");
        let back = press(&mut sam, page.form("/login").fill("login", "sam").fill("password", OTTER)).await;
        let code = parameters(&back.expect_err("the app")).remove("code").unwrap();
        let at_bank = exchange(&app, &bank, &form(&code)).await.1;
        let at_bank = verified(&app, at_bank["id_token"].as_str().unwrap(), &bank.id).await;
        assert_ne!((&at_bank["sid"], &at_bank["auth_time"]), (&before["sid"], &before["auth_time"]));
        assert_eq!(userinfo(&app, got["access_token"].as_str().unwrap()).await.0, 200);
    }
    // For the wiki it is still the session that it knows, and the log-in that it was told of.
    let (status, after) = refresh(&app, &wiki, &got["refresh_token"]).await;
    assert_eq!(status, 200, "{after}");
    let claims = verified(&app, after["id_token"].as_str().unwrap(), &wiki.id).await;
    assert_eq!((&claims["sid"], &claims["auth_time"]), (&before["sid"], &before["auth_time"]));
    sam.log_out().await;
    assert_eq!(userinfo(&app, after["access_token"].as_str().unwrap()).await.0, 401);

    // Another user who logs in here leaves nothing of it.
    sam.log_in("sam", OTTER).await;
    let got = lasting(&app, &wiki, &mut sam).await;
    app.user("eve", HERON).await;
    let page = open(&mut sam, &bank.request(&[("prompt", "login")])).await.expect("the log-in");
    let back = press(&mut sam, page.form("/login").fill("login", "eve").fill("password", HERON)).await;
    back.expect_err("the app");
    assert_eq!(userinfo(&app, got["access_token"].as_str().unwrap()).await.0, 401);
}

/// One kind of token is never taken for another, and the algorithm is never the token's choice (RFC 8725).
#[tokio::test]
async fn no_other_token_is_an_access_token() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let mut sam = app.user("sam", OTTER).await;
    let got = tokens(&app, &wiki, &mut sam).await;
    let (access, id) = (got["access_token"].as_str().unwrap(), got["id_token"].as_str().unwrap());
    let cookie = sam.cookies["latchkey_session"].clone();
    let parts: Vec<&str> = access.split('.').collect();
    let keys: Value = reqwest::get(format!("{}/.well-known/jwks.json", app.url)).await.unwrap().json().await.unwrap();
    let kid = jsonwebtoken::decode_header(access).unwrap().kid;
    // Signed with the public key as if it were a shared secret.
    let header =
        jsonwebtoken::Header { typ: Some("at+jwt".into()), kid, ..jsonwebtoken::Header::new(Algorithm::HS256) };
    let secret = jsonwebtoken::EncodingKey::from_secret(keys["keys"][0]["n"].as_str().unwrap().as_bytes());
    let claims: Value = jsonwebtoken::dangerous::insecure_decode_claims(access).unwrap();
    let confused = jsonwebtoken::encode(&header, &claims, &secret).unwrap();
    // Signed by us, with the same claims, for another use.
    let signer = app.app.accounts.signing.signer(SigningAlgorithm::Rs256, app.app.now()).await.unwrap();
    let retyped = signer.sign("JWT", &claims).unwrap();
    let none = format!("eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJub25lIn0.{}.", parts[1]);
    let stripped = format!("{}.{}.", parts[0], parts[1]);
    for token in ["", "x", id, &cookie, &confused, &retyped, &none, &stripped, &access[..access.len() - 2]] {
        let (status, ..) = userinfo(&app, token).await;
        assert_eq!(status, 401, "{token}");
    }
    // Nor does an access token open what others open.
    let me = reqwest::Client::new().get(format!("{}/users/me/", app.url)).bearer_auth(access).send().await.unwrap();
    assert_eq!(me.status(), 401);
    let mut thief = app.browser();
    thief.cookies.insert("latchkey_session".into(), access.to_owned());
    assert!(!thief.is_logged_in().await);
}

#[tokio::test]
async fn an_app_chooses_how_its_tokens_are_signed() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    for (algorithm, name, half) in
        [(SigningAlgorithm::Es256, Algorithm::ES256, 22), (SigningAlgorithm::EdDsa, Algorithm::EdDSA, 43)]
    {
        let wiki = Wiki::register(&app, |new| {
            new.name = format!("{name:?}").parse().unwrap();
            (new.algorithm, new.trusted) = (algorithm, true);
        })
        .await;
        let got = tokens(&app, &wiki, &mut sam).await;
        let id = got["id_token"].as_str().unwrap();
        assert_eq!(jsonwebtoken::decode_header(id).unwrap().alg, name);
        assert_eq!(verified(&app, id, &wiki.id).await["at_hash"].as_str().unwrap().len(), half);
        assert_eq!(userinfo(&app, got["access_token"].as_str().unwrap()).await.0, 200);
    }
}

#[tokio::test]
async fn discovery_says_where_everything_is_and_a_script_may_ask() {
    let app = TestApp::start().await;
    let read =
        async |path: &str| -> Value { reqwest::get(format!("{}{path}", app.url)).await.unwrap().json().await.unwrap() };
    let configuration = read("/.well-known/openid-configuration").await;
    assert_eq!(configuration, read("/.well-known/oauth-authorization-server").await);
    assert_eq!(configuration["issuer"], app.url);
    for name in ["authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"] {
        let url = configuration[name].as_str().unwrap();
        assert_ne!(reqwest::get(url).await.unwrap().status(), 404, "{name}");
        assert!(url.starts_with(&app.url), "{url}");
    }
    let preflight = reqwest::Client::new()
        .request(reqwest::Method::OPTIONS, configuration["userinfo_endpoint"].as_str().unwrap())
        .header("origin", "https://wiki.example.com")
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "authorization")
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.status(), 204);
    let header = |name: &str| preflight.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("access-control-allow-origin"), "*");
    assert!(header("access-control-allow-headers").contains("Authorization"));
    assert!(preflight.headers().get("access-control-allow-credentials").is_none(), "no cookie goes with it");
}
