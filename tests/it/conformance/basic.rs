//! The plan of a basic OpenID provider (`oidcc-basic-certification-test-plan`): response type `code`, `client_secret_basic`.

use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use time::Duration;

use super::{CALLBACK, STATE, Suite, assert_claims, names, unsigned};
use crate::authorize::{CHALLENGE, Wiki, go, open};
use crate::tokens::{exchange, form, post, refresh, userinfo};

/// A whole flow, with an ID token that has what was asked for and no more (Core, 2, 3.1 and 5.4).
#[tokio::test]
async fn oidcc_server() {
    let mut suite = Suite::start().await;
    let mut sam = suite.sam.clone();
    let answer = suite.answer(&mut sam, &[]).await;
    let code = suite.code(&answer);
    assert!(code.len() * 8 >= 128, "{code}");
    let flow = suite.finish(&answer, &[]).await;
    let expected = ["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "at_hash", "sid"];
    let more: Vec<_> = names(&flow.id).into_iter().filter(|name| !expected.contains(name)).collect();
    assert!(more.is_empty(), "not asked for: {more:?}");
    // Every flow brings another code and another token.
    let second = suite.flow(&[]).await;
    assert_ne!(second.access_token(), flow.access_token());
}

/// A request without `response_type` is an error (RFC 6749, 3.1.1).
#[tokio::test]
async fn oidcc_response_type_missing() {
    let suite = Suite::start().await;
    let answer = suite.answer(&mut suite.sam.clone(), &[("response_type", "-")]).await;
    assert_eq!(suite.error(&answer, Some(STATE)), "invalid_request");
}

/// An app that says nothing about it gets RS256, and the token names its key (Core, 3.1.3.7 and 10.1).
#[tokio::test]
async fn oidcc_idtoken_signature() {
    let flow = Suite::start().await.flow(&[]).await;
    let header = jsonwebtoken::decode_header(flow.id_token()).unwrap();
    assert_eq!((header.alg, header.kid.is_some()), (jsonwebtoken::Algorithm::RS256, true));
}

/// An ID token without a signature is for apps that ask for one, where a server has that at all (Core, 2). We have not.
#[tokio::test]
async fn oidcc_idtoken_unsigned() {
    let suite = Suite::start().await;
    let algorithms = suite.discovery().await["id_token_signing_alg_values_supported"].clone();
    let algorithms: Vec<_> = algorithms.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(algorithms, ["RS256", "ES256", "EdDSA"]);
}

async fn userinfo_by(suite: &mut Suite, ask: impl FnOnce(Client, &str, &str) -> RequestBuilder) {
    let flow = suite.flow(&[("scope", "openid profile email")]).await;
    let url = format!("{}/oauth/userinfo", suite.app.url);
    let answer = ask(Client::new(), &url, flow.access_token()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_claims(&answer.json().await.unwrap(), &flow.id);
}

/// userinfo by GET (Core, 5.3.1).
#[tokio::test]
async fn oidcc_userinfo_get() {
    userinfo_by(&mut Suite::start().await, |client, url, token| client.get(url).bearer_auth(token)).await;
}

/// userinfo by POST, with the token in the header (Core, 5.3.1).
#[tokio::test]
async fn oidcc_userinfo_post_header() {
    let mut suite = Suite::start().await;
    userinfo_by(&mut suite, |client, url, token| client.post(url).bearer_auth(token)).await;
    // Some clients name the type of a body that they do not send.
    userinfo_by(&mut suite, |client, url, token| {
        client.post(url).bearer_auth(token).header("content-type", "application/x-www-form-urlencoded")
    })
    .await;
}

/// userinfo by POST, with the token in the body (RFC 6750, 2.2).
#[tokio::test]
async fn oidcc_userinfo_post_body() {
    userinfo_by(&mut Suite::start().await, |client, url, token| client.post(url).form(&[("access_token", token)]))
        .await;
}

/// The code flow needs no `nonce`, and without one the ID token has none (Core, 3.1.2.1).
#[tokio::test]
async fn oidcc_ensure_request_without_nonce_succeeds_for_code_flow() {
    let flow = Suite::start().await.flow(&[("nonce", "-")]).await;
    assert!(!names(&flow.id).contains("nonce"));
}

/// `profile` opens what an account has of the profile (Core, 5.4).
#[tokio::test]
async fn oidcc_scope_profile() {
    let mut suite = Suite::start().await;
    let flow = suite.flow(&[("scope", "openid profile")]).await;
    let info = suite.userinfo(&flow).await;
    assert_eq!(Vec::from_iter(names(&info)), ["name", "preferred_username", "sub", "updated_at"]);
}

/// `email` opens the address and nothing else (Core, 5.4).
#[tokio::test]
async fn oidcc_scope_email() {
    let mut suite = Suite::start().await;
    let flow = suite.flow(&[("scope", "openid email")]).await;
    assert_eq!(Vec::from_iter(names(&suite.userinfo(&flow).await)), ["email", "email_verified", "sub"]);
    assert!(!names(&flow.id).contains("name"));
}

/// A scope that discovery does not name is left out, and the app is told so (Core, 3.1.2.1; RFC 6749, 3.3).
async fn left_out(scope: &str, claim: &str) {
    let mut suite = Suite::start().await;
    let supported = suite.discovery().await["scopes_supported"].clone();
    assert!(!supported.as_array().unwrap().contains(&scope.into()), "{supported}");
    let flow = suite.flow(&[("scope", &format!("openid {scope}"))]).await;
    assert_eq!(flow.tokens["scope"], "openid");
    assert!(!names(&suite.userinfo(&flow).await).contains(claim));
}

/// `address`, which accounts do not have (Core, 5.4).
#[tokio::test]
async fn oidcc_scope_address() {
    left_out("address", "address").await;
}

/// `phone`, which accounts do not have (Core, 5.4).
#[tokio::test]
async fn oidcc_scope_phone() {
    left_out("phone", "phone_number").await;
}

/// All scopes of the standard at once (Core, 5.4).
#[tokio::test]
async fn oidcc_scope_all() {
    let mut suite = Suite::start().await;
    let flow = suite.flow(&[("scope", "openid profile email address phone")]).await;
    assert_eq!(flow.tokens["scope"], "openid profile email");
    let info = suite.userinfo(&flow).await;
    assert_eq!(
        Vec::from_iter(names(&info)),
        ["email", "email_verified", "name", "preferred_username", "sub", "updated_at"]
    );
}

/// Neither the order of the scopes nor that of the parameters matters (RFC 6749, 3.3).
#[tokio::test]
async fn oidcc_alternate_happy_flow() {
    let suite = Suite::start().await;
    let changes = [("scope", "email openid")];
    let request = suite.request(&changes);
    let (path, query) = request.split_once('?').unwrap();
    let mut all: Vec<_> = query.split('&').collect();
    all.reverse();
    let mut sam = suite.sam.clone();
    let step = open(&mut sam, &format!("{path}?{}", all.join("&"))).await;
    let answer = suite.through(&mut sam, step).await;
    let flow = suite.finish(&answer, &changes).await;
    assert_eq!(suite.userinfo(&flow).await["email"], "sam@example.com");
}

/// `display=page` is the page that everybody gets (Core, 3.1.2.1 and 15.1).
#[tokio::test]
async fn oidcc_display_page() {
    Suite::start().await.flow_with_log_in(&[("display", "page")]).await;
}

/// `display=popup` is no error (Core, 3.1.2.1 and 15.1).
#[tokio::test]
async fn oidcc_display_popup() {
    Suite::start().await.flow_with_log_in(&[("display", "popup")]).await;
}

/// Does a second request, which must show the log-in although the user is logged in. `auth_time` must be of that log-in, and
/// not of the first one.
async fn logs_in_again(changes: &[(&str, &str)]) {
    let mut suite = Suite::start().await;
    let first = suite.flow(&[]).await;
    suite.app.app.clock.advance(Duration::seconds(2));
    let asked = suite.app.app.now().unix_timestamp();
    let mut sam = suite.sam.clone();
    let page = open(&mut sam, &suite.request(changes)).await.expect("the log-in");
    assert!(page.path.starts_with("/login"), "{}", page.path);
    let answer = suite.through(&mut sam, Ok(page)).await;
    let second = suite.finish(&answer, changes).await.id;
    assert_eq!(first.id["sub"], second["sub"]);
    let [before, again, issued] =
        [&first.id["auth_time"], &second["auth_time"], &second["iat"]].map(|time| time.as_i64().unwrap());
    assert!(again > before && (asked..=issued).contains(&again), "{before}, asked at {asked}: {second}");
}

/// `prompt=login` has the user log in again, and `auth_time` is later (Core, 3.1.2.1).
#[tokio::test]
async fn oidcc_prompt_login() {
    logs_in_again(&[("prompt", "login")]).await;
}

/// `prompt=none` without a log-in is an error, and a long `state` comes back whole (Core, 3.1.2.6).
#[tokio::test]
async fn oidcc_prompt_none_not_logged_in() {
    let suite = Suite::start().await;
    let state = "aB3-".repeat(32);
    let answer = suite.answer(&mut suite.app.browser(), &[("prompt", "none"), ("state", &state)]).await;
    assert_eq!(suite.error(&answer, Some(&state)), "login_required");
}

/// Does two requests, of which the second must ask the user nothing. Both are about the same user and the same log-in.
async fn asks_nothing(first: &[(&str, &str)], second: impl AsyncFnOnce(&Suite, &str) -> String) {
    let mut suite = Suite::start().await;
    let before = suite.flow(first).await;
    suite.app.app.clock.advance(Duration::seconds(2));
    let request = second(&suite, before.id_token()).await;
    let answer = open(&mut suite.sam, &request).await.expect_err("nothing is asked");
    let after = suite.finish(&answer, &[]).await;
    assert!(before.id["auth_time"].is_i64(), "{}", before.id);
    for name in ["sub", "auth_time", "sid"] {
        assert_eq!(before.id[name], after.id[name], "{name}");
    }
}

/// `prompt=none` with a log-in asks nothing (Core, 3.1.2.1).
#[tokio::test]
async fn oidcc_prompt_none_logged_in() {
    asks_nothing(&[], async |suite, _| suite.request(&[("prompt", "none")])).await;
}

/// `max_age=1` two seconds after the log-in has the user log in again (Core, 3.1.2.1).
#[tokio::test]
async fn oidcc_max_age_1() {
    logs_in_again(&[("max_age", "1")]).await;
}

/// `max_age=10000` soon after the log-in asks nothing, and `auth_time` is there (Core, 3.1.2.1).
#[tokio::test]
async fn oidcc_max_age_10000() {
    asks_nothing(&[("max_age", "15000")], async |suite, _| suite.request(&[("max_age", "10000")])).await;
}

/// A parameter that we do not know is ignored (RFC 6749, 3.1).
#[tokio::test]
async fn oidcc_ensure_request_with_unknown_parameter_succeeds() {
    Suite::start().await.flow(&[("extra", "foobar")]).await;
}

/// `prompt=none` with the ID token of the user who is there asks nothing (Core, 3.1.2.1).
#[tokio::test]
async fn oidcc_id_token_hint() {
    asks_nothing(&[], async |suite, id| suite.request(&[("prompt", "none"), ("id_token_hint", id)])).await;
}

/// `login_hint` is in the field of the log-in (Core, 3.1.2.1).
#[tokio::test]
async fn oidcc_login_hint() {
    let suite = Suite::start().await;
    let (page, _) = suite.flow_with_log_in(&[("login_hint", "buffy@latchkey.example")]).await;
    assert_eq!(page.value_of("login"), "buffy@latchkey.example");
}

/// The log-in is in the first of `ui_locales` that we have, and one that we have not is no error (Core, 3.1.2.1).
#[tokio::test]
async fn oidcc_ui_locales() {
    let suite = Suite::start().await;
    for (locales, ours) in [("se", "en"), ("se zh-CN en", "zh-CN")] {
        let (page, _) = suite.flow_with_log_in(&[("ui_locales", locales)]).await;
        assert!(page.html.contains(&format!("<html lang=\"{ours}\"")), "{locales}: {}", page.html);
    }
}

/// `claims_locales` is no error (Core, 5.2 and 15.1).
#[tokio::test]
async fn oidcc_claims_locales() {
    Suite::start().await.flow(&[("claims_locales", "se")]).await;
}

/// The ID token has one of the `acr_values` that discovery names. Others are no error (Core, 3.1.2.1 and 15.1).
#[tokio::test]
async fn oidcc_ensure_request_with_acr_values_succeeds() {
    let mut suite = Suite::start().await;
    let supported = suite.discovery().await["acr_values_supported"].clone();
    let supported: Vec<_> = supported.as_array().unwrap().iter().map(|value| value.as_str().unwrap()).collect();
    let flow = suite.flow(&[("acr_values", &supported.join(" "))]).await;
    assert!(supported.contains(&flow.id["acr"].as_str().unwrap()), "{}", flow.id);
    assert_eq!(suite.flow(&[("acr_values", "gold 2")]).await.id["acr"], "1", "what it was, and not what was asked for");
}

/// Redeems a code a second time, this long after the first. Returns the answer, and the status of the first token then.
async fn reused(after: Duration) -> (u16, Value, u16) {
    let suite = Suite::start().await;
    let answer = suite.answer(&mut suite.sam.clone(), &[]).await;
    let flow = suite.finish(&answer, &[]).await;
    suite.app.app.clock.advance(after);
    let code = suite.code(&answer);
    let (status, got) = exchange(&suite.app, &suite.client, &form(&code)[..3]).await;
    let (then, ..) = userinfo(&suite.app, flow.access_token()).await;
    (status.as_u16(), got, then.as_u16())
}

/// A code that comes a second time at once is refused (RFC 6749, 4.1.2 and 5.2).
#[tokio::test]
async fn oidcc_codereuse() {
    let (status, got, _) = reused(Duration::ZERO).await;
    assert_eq!((status, &got["error"]), (400, &"invalid_grant".into()));
}

/// A code that comes a second time after 30 seconds is refused, and ends what the first one got (RFC 6749, 4.1.2).
#[tokio::test]
async fn oidcc_codereuse_30seconds() {
    let (status, got, then) = reused(Duration::seconds(30)).await;
    assert_eq!((status, &got["error"], then), (400, &"invalid_grant".into(), 401));
}

/// An address that is not registered is a page, and no redirect (Core, 3.1.2.1).
#[tokio::test]
async fn oidcc_ensure_registered_redirect_uri() {
    let suite = Suite::start().await;
    let other = suite.request(&[("redirect_uri", &format!("{CALLBACK}/hM3kPz81Qx"))]);
    for user in [&mut suite.sam.clone(), &mut suite.app.browser()] {
        open(user, &other).await.expect("a page").assert_framed(400);
    }
}

/// The request comes as a form that a page of the app has sent (Core, 3.1.2.1).
#[tokio::test]
async fn oidcc_ensure_post_request_succeeds() {
    let suite = Suite::start().await;
    let request = suite.request(&[]);
    let query = request.split_once('?').unwrap().1.as_bytes();
    let fields: Vec<(String, String)> = url::form_urlencoded::parse(query).into_owned().collect();
    for mut user in [suite.sam.clone(), suite.app.browser()] {
        let posted = user
            .send(Method::POST, "/oauth/authorize", |request| {
                request
                    .header("sec-fetch-site", "cross-site")
                    .header("origin", "https://wiki.example.com")
                    .form(&fields)
            })
            .await;
        let step = go(&mut user, posted).await;
        let answer = suite.through(&mut user, step).await;
        suite.finish(&answer, &[]).await;
    }
}

/// The app shows its secret in the form (Core, 9).
#[tokio::test]
async fn oidcc_server_client_secret_post() {
    let suite = Suite::start().await;
    let methods = suite.discovery().await["token_endpoint_auth_methods_supported"].clone();
    assert!(methods.as_array().unwrap().contains(&"client_secret_post".into()), "{methods}");
    let answer = suite.answer(&mut suite.sam.clone(), &[]).await;
    let code = suite.code(&answer);
    let shown = [("client_id", suite.client.id.as_str()), ("client_secret", &suite.client.secret)];
    let (status, tokens) = post(&suite.app, &[&form(&code)[..3], &shown].concat(), |request| request).await;
    assert_eq!(status, 200, "{tokens}");
    suite.checked(tokens, &[]).await;
}

/// A `request_uri` is refused by name, and nothing is fetched (Core, 3.1.2.6 and 6.2). The state is in the object only.
#[tokio::test]
async fn oidcc_request_uri_unsigned_supported_correctly_or_rejected_as_unsupported() {
    let suite = Suite::start().await;
    assert_eq!(suite.discovery().await["request_uri_parameter_supported"], false);
    let by_uri = [("request_uri", "https://wiki.example.com/request.jwt#x"), ("state", "-"), ("nonce", "-")];
    for user in [&mut suite.sam.clone(), &mut suite.app.browser()] {
        let answer = suite.answer(user, &by_uri).await;
        assert_eq!(suite.error(&answer, None), "request_uri_not_supported");
    }
}

/// A request object is refused by name, and never ignored (Core, 3.1.2.6 and 6.1).
#[tokio::test]
async fn oidcc_unsigned_request_object_supported_correctly_or_rejected_as_unsupported() {
    let suite = Suite::start().await;
    assert_eq!(suite.discovery().await["request_parameter_supported"], false);
    let object = unsigned(&[("client_id", &suite.client.id), ("scope", "openid email"), ("state", STATE)]);
    let answer = suite.answer(&mut suite.sam.clone(), &[("request", &object), ("state", "-"), ("nonce", "-")]).await;
    assert_eq!(suite.error(&answer, None), "request_not_supported");
}

/// A request for a single claim is no error (Core, 5.5). We have none, so it opens nothing that the scopes do not.
#[tokio::test]
async fn oidcc_claims_essential() {
    let mut suite = Suite::start().await;
    assert_eq!(suite.discovery().await["claims_parameter_supported"], false);
    let claims = r#"{"userinfo":{"name":{"essential":true}}}"#;
    let flow = suite.flow(&[("claims", claims)]).await;
    assert!(!names(&flow.id).contains("name"));
    assert_eq!(Vec::from_iter(names(&suite.userinfo(&flow).await)), ["sub"]);
    let with_profile = suite.flow(&[("claims", claims), ("scope", "openid profile")]).await;
    assert_eq!(suite.userinfo(&with_profile).await["name"], "Sam Smith");
}

/// An address that only a request object names is none: the one beside it counts, and is a page (Core, 6.1).
#[tokio::test]
async fn oidcc_ensure_request_object_with_redirect_uri() {
    let suite = Suite::start().await;
    let object = unsigned(&[("client_id", &suite.client.id), ("redirect_uri", CALLBACK), ("scope", "openid")]);
    let other = format!("{CALLBACK}/hM3kPz81Qx");
    let request = suite.request(&[("request", &object), ("redirect_uri", &other)]);
    open(&mut suite.sam.clone(), &request).await.expect("a page").assert_framed(400);
}

/// A refresh token works, for its own app only, and the ID token that comes with it is about the same log-in (Core, 11 and 12;
/// RFC 6749, 6).
#[tokio::test]
async fn oidcc_refresh_token() {
    let mut suite = Suite::start().await;
    assert!(suite.discovery().await["grant_types_supported"].as_array().unwrap().contains(&"refresh_token".into()));
    let lasting = [("scope", "openid offline_access"), ("prompt", "consent")];
    let first = suite.flow(&lasting).await;
    let token = first.tokens["refresh_token"].clone();
    let plain = token.as_str().unwrap();
    assert!(plain.len() >= 22 && plain.bytes().all(|c| (0x20..=0x7e).contains(&c)), "{plain}");
    suite.app.app.clock.advance(Duration::seconds(1));
    let fields = [("grant_type", "refresh_token"), ("refresh_token", plain), ("scope", "openid offline_access")];
    let (status, got) = exchange(&suite.app, &suite.client, &fields).await;
    assert_eq!(status, 200, "{got}");
    let second = suite.checked(got, &lasting).await;
    assert_ne!(second.access_token(), first.access_token());
    for name in ["iss", "sub", "aud", "auth_time"] {
        assert_eq!(second.id[name], first.id[name], "{name}");
    }
    assert!(second.id["iat"].as_i64() > first.id["iat"].as_i64() && second.id["azp"].is_null());

    let other = Wiki::register(&suite.app, |new| new.name = "Second".parse().unwrap()).await;
    let (status, got) = refresh(&suite.app, &other, &second.tokens["refresh_token"]).await;
    assert_eq!((status.as_u16(), &got["error"]), (400, &"invalid_grant".into()));
    assert_eq!(refresh(&suite.app, &suite.client, &second.tokens["refresh_token"]).await.0, 200, "nothing has ended");
}

/// A request with PKCE succeeds (RFC 7636).
#[tokio::test]
async fn oidcc_ensure_request_with_valid_pkce_succeeds() {
    let suite = Suite::start().await;
    let changes = [("code_challenge", CHALLENGE), ("code_challenge_method", "S256")];
    let answer = suite.answer(&mut suite.sam.clone(), &changes).await;
    let (status, tokens) = exchange(&suite.app, &suite.client, &form(&suite.code(&answer))).await;
    assert_eq!(status, 200, "{tokens}");
    suite.checked(tokens, &changes).await;
}
