//! An app gives a token back, and asks whether one still opens anything.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::OTTER;
use crate::app::TestApp;
use crate::authorize::Wiki;
use crate::tokens::{lasting, refresh, tokens, userinfo, verified};

/// Sends a form to one of the two paths, as an app with this secret. A public app shows its name and nothing else.
async fn post(app: &TestApp, path: &str, wiki: &Wiki, fields: &[(&str, &str)]) -> (StatusCode, Value) {
    let sent = reqwest::Client::new().post(format!("{}{path}", app.url));
    let sent = match wiki.secret.as_str() {
        "" => sent.form(&[&[("client_id", wiki.id.as_str())], fields].concat()),
        secret => sent.basic_auth(&wiki.id, Some(secret)).form(fields),
    };
    let answer = sent.send().await.unwrap();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let status = answer.status();
    let text = answer.text().await.unwrap();
    (status, if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() })
}

pub async fn introspect(app: &TestApp, wiki: &Wiki, token: &Value) -> Value {
    let (status, said) = post(app, "/oauth/introspect", wiki, &[("token", token.as_str().unwrap())]).await;
    assert_eq!(status, 200, "{said}");
    said
}

async fn revoke(app: &TestApp, wiki: &Wiki, token: &Value) {
    let answer = post(app, "/oauth/revoke", wiki, &[("token", token.as_str().unwrap())]).await;
    assert_eq!(answer, (StatusCode::OK, Value::Null));
}

#[tokio::test]
async fn an_app_gives_back_what_it_has_got_and_all_of_it_ends() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let mut sam = app.user("sam", OTTER).await;
    for given_back in ["refresh_token", "access_token"] {
        let got = lasting(&app, &wiki, &mut sam).await;
        let another = tokens(&app, &wiki, &mut sam).await;
        assert_eq!(userinfo(&app, got["access_token"].as_str().unwrap()).await.0, 200);
        revoke(&app, &wiki, &got[given_back]).await;
        assert_eq!(userinfo(&app, got["access_token"].as_str().unwrap()).await.0, 401, "{given_back}");
        assert_eq!(refresh(&app, &wiki, &got["refresh_token"]).await.1["error"], "invalid_grant", "{given_back}");
        // The user stays logged in, here and at the app's other log-ins.
        assert_eq!(userinfo(&app, another["access_token"].as_str().unwrap()).await.0, 200);
        assert!(sam.is_logged_in().await);
        // Once more changes nothing, and neither does what is no token (RFC 7009, 2.2).
        revoke(&app, &wiki, &got[given_back]).await;
    }
    revoke(&app, &wiki, &json!("no token")).await;
    assert_eq!(post(&app, "/oauth/revoke", &wiki, &[]).await.1["error"], "invalid_request");
}

/// An older refresh token is still the app's to give back: its answer with the newer one may have got lost.
#[tokio::test]
async fn an_older_refresh_token_ends_the_newer_one() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let mut sam = app.user("sam", OTTER).await;
    let old = lasting(&app, &wiki, &mut sam).await;
    let new = refresh(&app, &wiki, &old["refresh_token"]).await.1;
    revoke(&app, &wiki, &old["refresh_token"]).await;
    assert_eq!(refresh(&app, &wiki, &new["refresh_token"]).await.1["error"], "invalid_grant");
}

#[tokio::test]
async fn an_app_asks_whether_a_token_still_opens_anything() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let mut sam = app.user("sam", OTTER).await;
    let got = lasting(&app, &wiki, &mut sam).await;
    let claims = verified(&app, got["access_token"].as_str().unwrap(), &wiki.id).await;
    let said = introspect(&app, &wiki, &got["access_token"]).await;
    let expected = json!({
        "active": true, "token_type": "Bearer", "client_id": wiki.id, "scope": "openid email offline_access",
        "sub": claims["sub"], "aud": claims["aud"], "iss": app.url, "exp": claims["exp"],
        "iat": claims["iat"], "jti": claims["jti"], "sid": claims["sid"],
    });
    assert_eq!(said, expected);
    let said = introspect(&app, &wiki, &got["refresh_token"]).await;
    let (active, sub) = (&said["active"], &said["sub"]);
    assert_eq!((active, sub, &said["client_id"]), (&json!(true), &claims["sub"], &json!(wiki.id)));
    assert_eq!((said.get("token_type"), said.get("exp")), (None, None), "{said}");

    // A refresh token that was used says so once its minute is over.
    let next = refresh(&app, &wiki, &got["refresh_token"]).await.1;
    assert_eq!(introspect(&app, &wiki, &got["refresh_token"]).await["active"], true);
    app.app.clock.advance(time::Duration::seconds(61));
    assert_eq!(introspect(&app, &wiki, &got["refresh_token"]).await, json!({ "active": false }));
    assert_eq!(introspect(&app, &wiki, &next["refresh_token"]).await["active"], true);
    // And an access token once it has expired.
    app.app.clock.advance(time::Duration::minutes(9));
    assert_eq!(introspect(&app, &wiki, &got["access_token"]).await, json!({ "active": false }));

    let last = refresh(&app, &wiki, &next["refresh_token"]).await.1;
    sam.log_out().await;
    for token in ["access_token", "refresh_token"] {
        assert_eq!(introspect(&app, &wiki, &last[token]).await, json!({ "active": false }), "{token}");
    }
    assert_eq!(introspect(&app, &wiki, &json!("no token")).await, json!({ "active": false }));
    assert_eq!(introspect(&app, &wiki, &got["id_token"]).await, json!({ "active": false }));
    assert_eq!(post(&app, "/oauth/introspect", &wiki, &[]).await.1["error"], "invalid_request");
}

/// A name is seen by those apps only that the user lets see it.
#[tokio::test]
async fn an_app_learns_no_name_that_it_may_not_see() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let mut sam = app.user("sam", OTTER).await;
    for (scope, name) in [("openid", None), ("openid profile", Some(&json!("sam")))] {
        let code = crate::tokens::code(&wiki, &mut sam, &[("scope", scope)]).await;
        let got = crate::tokens::exchange(&app, &wiki, &crate::tokens::form(&code)).await.1;
        let said = introspect(&app, &wiki, &got["access_token"]).await;
        assert_eq!((&said["active"], said.get("username")), (&json!(true), name));
    }
}

/// A token of another app tells an attacker nothing, and ends nothing (RFC 7009, 2.1; RFC 7662, 4).
#[tokio::test]
async fn an_app_neither_reads_nor_ends_the_tokens_of_another() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let thief = Wiki::register(&app, |new| new.name = "Thief".parse().unwrap()).await;
    let mut sam = app.user("sam", OTTER).await;
    let got = lasting(&app, &wiki, &mut sam).await;
    for token in ["access_token", "refresh_token"] {
        assert_eq!(introspect(&app, &thief, &got[token]).await, json!({ "active": false }), "{token}");
        revoke(&app, &thief, &got[token]).await;
    }
    assert_eq!(userinfo(&app, got["access_token"].as_str().unwrap()).await.0, 200);
    assert_eq!(refresh(&app, &wiki, &got["refresh_token"]).await.0, 200);

    // Whoever asks shows a secret. Without one, anybody could try tokens here (RFC 7662, 2.1).
    let fake = Wiki { id: wiki.id.clone(), secret: thief.secret.clone() };
    let public = Wiki::register(&app, |new| {
        new.name = "Phone".parse().unwrap();
        new.public = true;
    });
    let public = public.await;
    for (path, caller) in [("/oauth/revoke", &fake), ("/oauth/introspect", &fake), ("/oauth/introspect", &public)] {
        let (status, said) = post(&app, path, caller, &[("token", got["access_token"].as_str().unwrap())]).await;
        assert_eq!((status, &said["error"]), (StatusCode::UNAUTHORIZED, &json!("invalid_client")), "{path}");
    }
}

/// An app without a secret has nothing to show. Whoever has its token may end it.
#[tokio::test]
async fn an_app_without_a_secret_gives_its_tokens_back() {
    let app = TestApp::start().await;
    let phone = Wiki::register(&app, |new| (new.public, new.trusted) = (true, true)).await;
    let mut sam = app.user("sam", OTTER).await;
    let code = crate::tokens::code(&phone, &mut sam, &[("scope", "openid offline_access")]).await;
    let (client, id) = (reqwest::Client::new(), [("client_id", phone.id.as_str())]);
    let send = |path: &str, fields: Vec<(&str, &str)>| {
        let fields: Vec<_> =
            fields.into_iter().chain(id).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        client.post(format!("{}{path}", app.url)).form(&fields).send()
    };
    let got: Value = send("/oauth/token", crate::tokens::form(&code)).await.unwrap().json().await.unwrap();
    let token = got["refresh_token"].as_str().unwrap();
    assert_eq!(send("/oauth/revoke", vec![("token", token)]).await.unwrap().status(), 200);
    let again = vec![("grant_type", "refresh_token"), ("refresh_token", token)];
    assert_eq!(send("/oauth/token", again).await.unwrap().status(), 400);
}
