//! An app shows who it is by what it has signed (`private_key_jwt`).

use std::fs;
use std::process::Command;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use latchkey::accounts::assertion::Entity;
use reqwest::StatusCode;
use sea_orm::{EntityTrait, PaginatorTrait};
use serde_json::{Value, json};

use crate::OTTER;
use crate::app::TestApp;
use crate::authorize::Wiki;
use crate::process::Process;
use crate::tokens::{code, form, refresh};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The key pair of an app.
struct Pair {
    algorithm: Algorithm,
    private: EncodingKey,
    jwk: Value,
}

impl Pair {
    fn new(algorithm: Algorithm, kid: &str) -> Self {
        let private = match algorithm {
            Algorithm::ES256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
                EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref())
            }
            Algorithm::EdDSA => {
                EncodingKey::from_ed_der(Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap().as_ref())
            }
            _ => rsa(),
        };
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&private, algorithm).unwrap()).unwrap();
        jwk["kid"] = kid.into();
        Self { algorithm, private, jwk }
    }

    fn header(&self) -> Header {
        Header { kid: self.jwk["kid"].as_str().map(str::to_owned), ..Header::new(self.algorithm) }
    }

    fn signs(&self, claims: &Value) -> String {
        jsonwebtoken::encode(&self.header(), claims, &self.private).unwrap()
    }
}

fn rsa() -> EncodingKey {
    let line = "openssl genrsa 2048 2>/dev/null | openssl rsa -traditional -outform DER 2>/dev/null";
    EncodingKey::from_rsa_der(&Command::new("sh").args(["-c", line]).output().unwrap().stdout)
}

async fn register(app: &TestApp, name: &str, keys: &[&Pair]) -> Wiki {
    let keys: Vec<_> = keys.iter().map(|pair| pair.jwk.clone()).collect();
    let keys = json!({ "keys": keys }).to_string().parse().unwrap();
    let wiki = Wiki::register(app, |new| {
        (new.name, new.trusted, new.key_set) = (name.parse().unwrap(), true, Some(keys));
    });
    let wiki = wiki.await;
    assert_eq!(wiki.secret, "", "it needs none");
    wiki
}

/// Returns what a library says: for the issuer, for a minute, with a `jti` of its own.
fn claims(app: &TestApp, wiki: &Wiki) -> Value {
    let now = app.app.now().unix_timestamp();
    let jti = latchkey::chance::id();
    json!({ "iss": wiki.id, "sub": wiki.id, "aud": app.url, "iat": now, "nbf": now, "exp": now + 60, "jti": jti })
}

async fn post(app: &TestApp, path: &str, fields: &[(&str, &str)]) -> (StatusCode, Value) {
    let sent = reqwest::Client::new().post(format!("{}{path}", app.url)).form(fields).send().await.unwrap();
    (sent.status(), sent.json().await.unwrap_or_default())
}

/// Asks as the app, by this assertion.
async fn ask(app: &TestApp, path: &str, assertion: &str, fields: &[(&str, &str)]) -> (StatusCode, Value) {
    let own = [("client_assertion_type", JWT_BEARER), ("client_assertion", assertion)];
    post(app, path, &[&own, fields].concat()).await
}

/// Returns why an assertion is refused, or `None` if it shows who the app is: then it is only the code that works no more.
async fn why(app: &TestApp, assertion: &str) -> Option<String> {
    let (status, said) = ask(app, "/oauth/token", assertion, &form("no code")).await;
    match said["error"].as_str().unwrap() {
        "invalid_grant" => None,
        error => {
            assert_eq!((status, error), (StatusCode::UNAUTHORIZED, "invalid_client"), "{said}");
            Some(said["error_description"].as_str().unwrap().to_owned())
        }
    }
}

#[tokio::test]
async fn an_app_needs_no_secret() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    for algorithm in [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA] {
        let pair = Pair::new(algorithm, "one");
        let wiki = register(&app, &format!("{algorithm:?}"), &[&pair]).await;
        let own = || pair.signs(&claims(&app, &wiki));
        let code = code(&wiki, &mut sam, &[("scope", "openid offline_access")]).await;
        let (status, got) = ask(&app, "/oauth/token", &own(), &form(&code)).await;
        assert_eq!(status, 200, "{algorithm:?} {got}");
        let next = [("grant_type", "refresh_token"), ("refresh_token", got["refresh_token"].as_str().unwrap())];
        let (status, got) = ask(&app, "/oauth/token", &own(), &next).await;
        assert_eq!(status, 200, "{algorithm:?} {got}");
        let token = [("token", got["access_token"].as_str().unwrap())];
        assert_eq!(ask(&app, "/oauth/introspect", &own(), &token).await.1["active"], true);
        assert_eq!(ask(&app, "/oauth/revoke", &own(), &token).await.0, 200);
        assert_eq!(ask(&app, "/oauth/introspect", &own(), &token).await.1["active"], false);

        let query = wiki.request(&[]);
        let request: Vec<_> = url::form_urlencoded::parse(query.split_once('?').unwrap().1.as_bytes()).collect();
        let request: Vec<_> = request.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
        let (status, said) = ask(&app, "/oauth/par", &own(), &request).await;
        assert_eq!(status, 201, "{algorithm:?} {said}");
        // What has ended of itself, it reads by POST.
        let (status, said) = ask(&app, "/oauth/revocations", &own(), &[("since", "0")]).await;
        assert!(status == 200 && said["revocations"].is_array(), "{said}");
        assert_eq!(ask(&app, "/oauth/revocations", "x", &[]).await.0, 401);
        // Its name alone opens nothing, and neither does any secret.
        assert_eq!(post(&app, "/oauth/token", &[&[("client_id", wiki.id.as_str())][..], &next].concat()).await.0, 401);
        assert_eq!(refresh(&app, &wiki, &json!("x")).await.0, 401);
    }
    let rows = latchkey::accounts::authorize::pushed::Entity::find().all(app.app.db.read()).await.unwrap();
    assert!(rows.len() == 4 && rows.iter().all(|row| !row.parameters.contains("assertion")), "{rows:?}");
}

/// An app that collects passwords shows itself so too.
#[tokio::test]
async fn an_app_that_signs_speaks_for_a_person() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let pair = Pair::new(Algorithm::EdDSA, "one");
    let wiki = register(&app, "Wiki", &[&pair]).await;
    let log_in = async |assertion: &str| {
        let form = [
            ("username", "sam"),
            ("password", OTTER),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", assertion),
        ];
        let asked =
            reqwest::Client::new().post(format!("{}/token", app.url)).header("X-Latchkey-Client-IP", "203.0.113.9");
        asked.form(&form).send().await.unwrap().status().as_u16()
    };
    let own = pair.signs(&claims(&app, &wiki));
    assert_eq!((log_in(&own).await, log_in(&own).await), (200, 401), "it works once");
    let events = latchkey::accounts::event::Entity::find().all(app.app.db.read()).await.unwrap();
    assert!(events.iter().any(|event| event.ip == "203.0.113.9"), "{events:?}");
}

/// Whoever reads a request, such as a proxy that writes logs, gets nothing that works again.
#[tokio::test]
async fn an_assertion_works_once() {
    let app = TestApp::start().await;
    let pair = Pair::new(Algorithm::EdDSA, "one");
    let (wiki, bank) = (register(&app, "Wiki", &[&pair]).await, register(&app, "Bank", &[&pair]).await);
    let said = claims(&app, &wiki);
    let all = futures_util::future::join_all((0..8).map(|_| async { why(&app, &pair.signs(&said)).await })).await;
    assert_eq!(all.iter().filter(|refused| refused.is_none()).count(), 1, "{all:?}");
    assert!(all.iter().flatten().all(|refused| refused.contains("used before")), "{all:?}");
    let mut again = claims(&app, &bank);
    again["jti"] = said["jti"].clone();
    assert_eq!(why(&app, &pair.signs(&again)).await, None, "the jti of another app is another one");

    // Also a moment before it expires, when the sweeper has been there.
    app.app.clock.advance(time::Duration::seconds(110));
    let (conn, now) = (app.app.db.write(), app.app.now());
    assert_eq!(latchkey::accounts::assertion::sweep(conn, now).await.unwrap(), 0);
    assert!(why(&app, &pair.signs(&said)).await.unwrap().contains("used before"));
    app.app.clock.advance(time::Duration::hours(2));
    assert_eq!(latchkey::accounts::assertion::sweep(conn, app.app.now()).await.unwrap(), 2);
}

#[tokio::test]
async fn an_assertion_says_who_for_whom_and_how_long() {
    let app = TestApp::start().await;
    let pair = Pair::new(Algorithm::ES256, "one");
    let (wiki, bank) = (register(&app, "Wiki", &[&pair]).await, register(&app, "Bank", &[&pair]).await);
    let now = app.app.now().unix_timestamp();
    let with = |name: &str, value: Value| {
        let mut said = claims(&app, &wiki);
        said[name] = value;
        pair.signs(&said)
    };
    let evil = "https://evil.example";
    for (name, value, words) in [
        ("iss", json!(bank.id), "iss and sub"),
        ("iss", json!(evil), "iss and sub"),
        ("iss", Value::Null, "lacks"),
        ("aud", json!(evil), "aud of"),
        ("aud", json!(""), "aud of"),
        ("aud", json!([]), "aud of"),
        ("aud", json!(format!("{}/", app.url)), "aud of"),
        ("aud", json!(format!("{}/login", app.url)), "aud of"),
        // The other one could use it here, as the app.
        ("aud", json!([app.url, evil]), "aud of"),
        ("aud", Value::Null, "lacks"),
        ("exp", json!(now - 61), "expired"),
        ("exp", json!(now + 3720), "within an hour"),
        ("exp", json!(1e300), "within an hour"),
        ("exp", json!("soon"), "lacks"),
        ("exp", Value::Null, "lacks"),
        ("nbf", json!(now + 120), "not valid yet"),
        ("iat", json!(now + 120), "not valid yet"),
        ("jti", json!(""), "needs a jti"),
        ("jti", Value::Null, "lacks"),
    ] {
        let refused = why(&app, &with(name, value.clone())).await;
        assert!(refused.as_ref().is_some_and(|why| why.contains(words)), "{name} {value}: {refused:?}");
    }
    assert_eq!(Entity::find().count(app.app.db.read()).await.unwrap(), 0, "no row for what is refused");
    let at = |path: &str| format!("{}{path}", app.url);
    for (name, value) in [
        ("aud", json!([app.url, at("/oauth/token")])),
        ("aud", json!(at("/oauth/token"))),
        ("aud", json!(at("/oauth/par"))),
        ("aud", json!(at("/oauth/introspect"))),
        ("aud", json!(at("/oauth/revocations"))),
        ("exp", json!(now as f64 + 30.5)),
        ("exp", json!(now - 30)), // clocks differ
        ("exp", json!(now + 3600)),
        ("nbf", Value::Null),
        ("iat", json!(now + 30)),
        ("jti", json!("ü\u{0}'")),
        ("more", json!({ "a": [1] })),
    ] {
        assert_eq!(why(&app, &with(name, value.clone())).await, None, "{name} {value}");
    }
}

#[tokio::test]
async fn only_the_keys_of_the_app_sign() {
    let app = TestApp::start().await;
    let (one, two) = (Pair::new(Algorithm::RS256, "one"), Pair::new(Algorithm::EdDSA, "two"));
    let strange = Pair::new(Algorithm::RS256, "one");
    let wiki = register(&app, "Wiki", &[&one, &two]).await;
    let bank = register(&app, "Bank", &[&strange]).await;
    let sign = |header: &Header, key: &EncodingKey| jsonwebtoken::encode(header, &claims(&app, &wiki), key).unwrap();
    let header = |change: fn(&mut Header)| {
        let mut header = one.header();
        change(&mut header);
        sign(&header, &one.private)
    };
    assert_eq!(why(&app, &one.signs(&claims(&app, &wiki))).await, None);
    assert_eq!(why(&app, &two.signs(&claims(&app, &wiki))).await, None);
    assert_eq!(why(&app, &header(|header| header.kid = None)).await, None, "it has one RSA key");
    assert_eq!(why(&app, &header(|header| header.typ = None)).await, None);
    assert_eq!(why(&app, &header(|header| header.typ = Some("client-authentication+jwt".to_owned()))).await, None);

    let mut forged = vec![
        strange.signs(&claims(&app, &wiki)),
        one.signs(&claims(&app, &bank)), // the key of one app names another one
        header(|header| header.kid = Some("two".to_owned())),
        header(|header| header.kid = Some("three".to_owned())),
        header(|header| header.typ = Some("at+jwt".to_owned())),
        header(|header| header.typ = Some("oauth-authz-req+jwt".to_owned())),
        header(|header| header.crit = Some(vec!["exp".to_owned()])),
    ];
    // It would take long to read before anybody has signed it.
    let mut long = claims(&app, &wiki);
    long["more"] = "x".repeat(3000).into();
    forged.push(one.signs(&long));
    // A public key as a password (RFC 8725, 2.1), in the forms that libraries have been caught with.
    let modulus = one.jwk["n"].as_str().unwrap();
    for secret in ["", modulus, &one.jwk.to_string()] {
        for algorithm in [Algorithm::HS256, Algorithm::HS512] {
            let key = EncodingKey::from_secret(secret.as_bytes());
            forged.push(sign(&Header { kid: Some("one".to_owned()), ..Header::new(algorithm) }, &key));
        }
    }
    // Another algorithm of the same key than the one that the key names, and none at all.
    forged.push(sign(&Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::PS256) }, &one.private));
    let real = one.signs(&claims(&app, &wiki));
    let parts: Vec<_> = real.split('.').collect();
    forged.push(format!("eyJhbGciOiJub25lIn0.{}.", parts[1])); // {"alg":"none"}
    forged.push(format!("{}.{}.", parts[0], parts[1]));
    let last = one.signs(&claims(&app, &wiki));
    forged.push(format!("{}.{}.{}", parts[0], parts[1], last.rsplit('.').next().unwrap()));
    for forged in forged {
        let refused = why(&app, &forged).await;
        assert!(refused.as_ref().is_some_and(|why| why.contains("no key of this app")), "{forged}: {refused:?}");
    }
    for garbage in ["x", "..", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
        assert_eq!(ask(&app, "/oauth/token", garbage, &form("no code")).await.0, 401, "{garbage}");
    }
    // Whose assertion is it?
    for named in [&wiki.id, &bank.id, ""] {
        let more = [&[("client_id", named)], &form("no code")[..]].concat();
        let (status, said) = ask(&app, "/oauth/token", &one.signs(&claims(&app, &wiki)), &more).await;
        let expected = if named == wiki.id { "invalid_grant" } else { "invalid_request" };
        assert_eq!((status, &said["error"]), (StatusCode::BAD_REQUEST, &json!(expected)), "{said}");
    }
    // An app shows itself in one way, and as what it says.
    let own = real.as_str();
    let by = |fields: &[(&'static str, &str)]| -> Vec<(String, String)> {
        fields.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    };
    for (fields, status) in [
        (by(&[("client_assertion", own)]), 401),
        (by(&[("client_assertion", own), ("client_assertion_type", "jwt")]), 401),
        (by(&[("client_assertion", own), ("client_assertion_type", JWT_BEARER), ("client_secret", "x")]), 400),
        (by(&[("client_assertion_type", JWT_BEARER), ("client_id", &wiki.id)]), 401),
        (by(&[("client_assertion", own), ("client_assertion", own), ("client_assertion_type", JWT_BEARER)]), 401),
    ] {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let (got, said) = post(&app, "/oauth/token", &[&fields, &form("no code")[..]].concat()).await;
        assert_eq!(got, status, "{fields:?} {said}");
    }
    assert_eq!(why(&app, own).await, None, "and none of that has used it up");
}

#[tokio::test]
async fn an_operator_changes_keys_without_a_pause() {
    let process = Process::serving(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (old, new) = (Pair::new(Algorithm::ES256, "2026"), Pair::new(Algorithm::EdDSA, "2027"));
    let both = file("both.json", &json!({ "keys": [old.jwk, new.jwk] }).to_string());
    let one = file("one.json", &new.jwk.to_string());
    let add = ["app", "add", "Wiki", "--redirect-uri", "https://wiki.example.com/callback", "--json"];
    let app: Value = serde_json::from_str(&process.done(&[&add[..], &["--jwks", &one]].concat())).unwrap();
    assert_eq!(
        (&app["client_secret"], &app["secrets"], &app["keys"]),
        (&Value::Null, &json!(0), &json!(["2027"])),
        "{app}"
    );
    let shown = process.done(&["app", "edit", "Wiki", "--jwks", &both]);
    for line in ["Secrets:       none", "Key:           2026", "Key:           2027"] {
        assert!(shown.contains(line), "{shown}");
    }
    // From keys to a secret, and back.
    let refused = |arguments: &[&str], words: &str| {
        let ran = process.run(arguments);
        assert!(ran.code != Some(0) && ran.err.contains(words), "{arguments:?}: {ran:?}");
    };
    refused(&["app", "edit", "Wiki", "--no-jwks"], "latchkey app secret 'Wiki'");
    process.done(&["app", "secret", "Wiki"]);
    let shown = process.done(&["app", "edit", "Wiki", "--no-jwks"]);
    assert!(shown.contains("Secrets:       one") && !shown.contains("Key:"), "{shown}");
    refused(&["app", "edit", "Wiki", "--no-secret"], "--jwks FILE");
    let shown = process.done(&["app", "edit", "Wiki", "--no-secret", "--jwks", &one]);
    assert!(shown.contains("Secrets:       none") && shown.contains("Key:           2027"), "{shown}");

    // What is no set of public keys is refused, with the reason.
    let mut private = new.jwk.clone();
    private["d"] = json!("AAAA");
    let mut encrypts = old.jwk.clone();
    encrypts["use"] = json!("enc");
    let mut other = old.jwk.clone();
    other["alg"] = json!("RS256");
    let named = |name: &str| {
        let mut key = new.jwk.clone();
        key["kid"] = name.into();
        key.to_string()
    };
    let short = json!({ "kty": "RSA", "n": "x".repeat(171), "e": "AQAB" }); // 1024 bits
    for (keys, words) in [
        ("keys".to_owned(), "is no JSON"),
        ("{}".to_owned(), "RSA of 2048"),
        ("[1]".to_owned(), "no public key"),
        (json!({ "keys": [] }).to_string(), "1 to 10 keys"),
        (json!({ "keys": vec![new.jwk.clone(); 11] }).to_string(), "1 to 10 keys"),
        (json!({ "keys": new.jwk }).to_string(), "no list"),
        (json!({ "keys": [old.jwk, private] }).to_string(), "key 2: it is private"),
        (json!({ "kty": "oct", "k": "c2VjcmV0" }).to_string(), "key 1: it is private"),
        (encrypts.to_string(), "`use` must be `sig`"),
        (other.to_string(), "fit the key"),
        (short.to_string(), "RSA of 2048"),
        (json!({ "kty": "RSA", "n": "x".repeat(342), "e": "AQ" }).to_string(), "RSA of 2048"),
        (json!({ "kty": "RSA", "n": format!("AAAA{}", "x".repeat(340)), "e": "AQAB" }).to_string(), "RSA of 2048"),
        (named("a\u{1b}[2J"), "its `kid`"),
        (named(&"a".repeat(101)), "its `kid`"),
    ] {
        refused(&["app", "edit", "Wiki", "--jwks", &file("bad.json", &keys)], words);
    }
    refused(&["app", "edit", "Wiki", "--jwks", "/nowhere.json"], "cannot be read");
    let phone = ["app", "add", "Phone", "--redirect-uri", "com.example.wiki:/cb", "--public"];
    refused(&[&phone[..], &["--jwks", &one]].concat(), "cannot be used with");
    process.done(&phone);
    refused(&["app", "edit", "Phone", "--jwks", &one], "Phone is public");
}
