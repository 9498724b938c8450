//! The keys with which the tokens of apps are signed: shared, published before they sign, sealed.

use std::collections::BTreeSet;

use latchkey::accounts::operator::rotate_signing_keys;
use latchkey::accounts::signing_key::{self, PUBLISHED_KEPT, SigningAlgorithm, SigningKeys};
use latchkey::secret::Secret;
use reqwest::StatusCode;
use reqwest::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use sea_orm::EntityTrait;
use serde_json::{Value, json};
use time::Duration;

use crate::OTTER;
use crate::app::TestApp;
use crate::authorize::Wiki;
use crate::process::Process;

const OLD: &str = "old-Zt4uQm9Xv2Lr7Kc1Wb6Nh3Fp8Gs5Jy0D";
const NEW: &str = "new-Ra8eYk3Tq6Mw1Cz9Vd4Hn7Bj2Px5Lf0S";

/// Returns the names of the published keys, in their order.
async fn published(url: &str) -> Vec<String> {
    let keys: Value = reqwest::get(format!("{url}/.well-known/jwks.json")).await.unwrap().json().await.unwrap();
    keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// Returns the name of the key that signs now.
async fn signs(app: &TestApp, algorithm: SigningAlgorithm) -> String {
    let key = app.app.accounts.signing.signer(algorithm, app.app.now()).await.unwrap();
    let token = key.sign("at+jwt", &json!({})).unwrap();
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

#[tokio::test]
async fn every_site_may_read_the_public_keys_and_keep_them_for_an_hour() {
    let app = TestApp::start().await;
    let url = format!("{}/.well-known/jwks.json", app.url);
    let answer = reqwest::get(&url).await.unwrap();
    let header = |name| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(
        (header(CACHE_CONTROL), header(ACCESS_CONTROL_ALLOW_ORIGIN)),
        ("public, max-age=3600".into(), "*".into())
    );
    let tag = header(ETAG);
    let keys: Value = answer.json().await.unwrap();
    let keys = keys["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2, "the one that signs, and the next: {keys:?}");
    for key in keys {
        let names: BTreeSet<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, BTreeSet::from(["alg", "e", "kid", "kty", "n", "use"]), "nothing private");
        assert_eq!((&key["kty"], &key["alg"], &key["use"]), (&json!("RSA"), &json!("RS256"), &json!("sig")));
        assert_eq!(key["n"].as_str().unwrap().len(), 342, "2048 bits");
    }
    let again = |tag: &str| reqwest::Client::new().get(&url).header(IF_NONE_MATCH, tag.to_owned()).send();
    assert_eq!(again(&tag).await.unwrap().status(), StatusCode::NOT_MODIFIED);
    assert_eq!(again("\"other\"").await.unwrap().status(), StatusCode::OK);
    let posted = reqwest::Client::new().post(&url).send().await.unwrap();
    assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(posted.json::<Value>().await.unwrap()["error"], "invalid_request");
}

#[tokio::test]
async fn a_key_is_published_before_it_signs_and_after() {
    let app = TestApp::start().await;
    let first = published(&app.url).await;
    assert_eq!(signs(&app, SigningAlgorithm::Rs256).await, first[0]);
    app.app.clock.advance(Duration::days(89));
    assert_eq!(
        (signs(&app, SigningAlgorithm::Rs256).await, published(&app.url).await),
        (first[0].clone(), first.clone())
    );
    app.app.clock.advance(Duration::days(1));
    assert_eq!(signs(&app, SigningAlgorithm::Rs256).await, first[1], "after 90 days the next one");
    let second = published(&app.url).await;
    assert_eq!(
        (&second[..2], second.len()),
        (&first[..], 3),
        "the one before it is still there, and another one waits"
    );
    app.app.clock.advance(Duration::days(90));
    assert_eq!(signs(&app, SigningAlgorithm::Rs256).await, second[2]);
    let third = published(&app.url).await;
    assert_eq!((&third[..2], third.len()), (&second[1..], 3), "and the oldest is gone");
}

#[tokio::test]
async fn the_next_key_takes_over_when_apps_can_know_it() {
    let app = TestApp::start().await;
    let keys = published(&app.url).await;
    let db = &app.app.db;
    let began = signing_key::Entity::find().one(db.read()).await.unwrap().unwrap().created_at;
    // So soon, an app may have the keys of a moment before these two were made.
    let rotated = rotate_signing_keys(db, began).await.unwrap();
    assert_eq!(rotated, [(SigningAlgorithm::Rs256, began + PUBLISHED_KEPT)]);
    let fresh = || SigningKeys::new(db.clone(), &Secret::load(&app.dir.path().join("secret")).unwrap());
    let signer = async |now| {
        let token = fresh().signer(SigningAlgorithm::Rs256, now).await.unwrap().sign("at+jwt", &json!({})).unwrap();
        jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
    };
    assert_eq!(signer(began + PUBLISHED_KEPT - Duration::SECOND).await, keys[0]);
    assert_eq!(signer(began + PUBLISHED_KEPT).await, keys[1]);
    let later = began + Duration::hours(3);
    signer(later).await;
    assert_eq!(
        rotate_signing_keys(db, later).await.unwrap(),
        [(SigningAlgorithm::Rs256, later)],
        "known for long: at once"
    );
}

#[tokio::test]
async fn other_algorithms_have_keys_once_an_app_asks_for_them() {
    let app = TestApp::start().await;
    for (algorithm, kty, fields) in
        [(SigningAlgorithm::Es256, "EC", &["crv", "x", "y"][..]), (SigningAlgorithm::EdDsa, "OKP", &["crv", "x"])]
    {
        let kid = signs(&app, algorithm).await;
        let keys = app.app.accounts.signing.published(&[], app.app.now()).await.unwrap();
        let key = keys.iter().find(|key| key["kid"] == kid).unwrap();
        assert_eq!(key["kty"], kty);
        assert!(fields.iter().all(|field| key[*field].is_string()) && key.get("d").is_none(), "{key}");
    }
    assert_eq!(published(&app.url).await.len(), 6, "two of each");
    // They are there before its first user comes.
    let app = TestApp::start().await;
    Wiki::register(&app, |new| new.algorithm = SigningAlgorithm::Es256).await;
    assert_eq!(published(&app.url).await.len(), 4);
}

#[tokio::test]
async fn a_restart_changes_no_key_and_two_servers_share_them() {
    let app = TestApp::start().await;
    let (before, kid) = (published(&app.url).await, signs(&app, SigningAlgorithm::Rs256).await);
    let dir = app.stop().await;
    let app = TestApp::start_in(dir, &[]).await;
    assert_eq!((published(&app.url).await, signs(&app, SigningAlgorithm::Rs256).await), (before, kid));
    // At the same moment, on an empty table: they agree on one pair of keys.
    let app = TestApp::start().await;
    let secret = Secret::load(&app.dir.path().join("secret")).unwrap();
    let nodes: Vec<_> = (0..8).map(|_| SigningKeys::new(app.app.db.clone(), &secret)).collect();
    let all = futures_util::future::join_all(nodes.iter().map(|node| node.published(&[], app.app.now()))).await;
    let all: Vec<_> = all.into_iter().map(|keys| keys.unwrap()).collect();
    assert!(all.iter().all(|keys| *keys == all[0] && keys.len() == 2), "{all:?}");
}

#[tokio::test]
async fn the_database_alone_signs_nothing() {
    let app = TestApp::start().await;
    published(&app.url).await;
    let keys = |secret: &str| SigningKeys::new(app.app.db.clone(), &secret.parse().unwrap());
    let now = app.app.now();
    let thief = keys(NEW).signer(SigningAlgorithm::Rs256, now).await.unwrap().sign("at+jwt", &json!({})).unwrap();
    // With another secret it has a key of its own, which is not one of ours.
    let kid = jsonwebtoken::decode_header(thief).unwrap().kid.unwrap();
    assert_ne!(kid, signs(&app, SigningAlgorithm::Rs256).await);
    for row in signing_key::Entity::find().all(app.app.db.read()).await.unwrap() {
        // The middle of PKCS#8 for RSA: its algorithm.
        assert!(!row.sealed_key.contains("MA0GCSqGSIb3DQ") && !row.public_key.to_string().contains("\"d\""));
    }
}

#[tokio::test]
async fn the_secret_changes_and_the_keys_stay() {
    let app = TestApp::start().await;
    let (db, now) = (&app.app.db, app.app.now());
    let keys = |secret: &str| SigningKeys::new(db.clone(), &secret.parse().unwrap());
    let before = keys(OLD).published(&[], now).await.unwrap();
    let both = format!("{NEW},{OLD}");
    let kid = async |secret: &str| {
        let token =
            keys(secret).signer(SigningAlgorithm::Rs256, now).await.unwrap().sign("at+jwt", &json!({})).unwrap();
        jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
    };
    assert_eq!(kid(&both).await, kid(OLD).await);
    signing_key::reseal(db, &both.parse().unwrap()).await.unwrap();
    assert_eq!(keys(NEW).published(&[], now).await.unwrap(), before);
    assert_eq!(kid(NEW).await, before[0]["kid"].as_str().unwrap());
}

#[tokio::test]
async fn the_operator_rotates_them_with_the_secret_or_alone() {
    let process = Process::serving(&[]).await;
    process.user("sam", OTTER).await;
    assert_eq!(process.run(&["keys", "rotate", "--signing"]).out, "", "there are none yet");
    published(&process.url).await;
    let rotated = process.run(&["keys", "rotate", "--signing"]);
    assert!(
        rotated.code == Some(0) && rotated.out.starts_with("The next RS256 key signs the tokens of apps from "),
        "{rotated:?}"
    );
    assert!(rotated.err.contains("event=\"signing_keys_rotated\""), "{rotated:?}");
    // After a leak, none of them may sign.
    let before = published(&process.url).await;
    let both = process.run(&["keys", "rotate"]);
    assert!(both.out.contains("A fresh secret stands first") && both.out.contains("The next RS256 key"), "{both:?}");
    assert_eq!(process.run(&["keys", "drop", "--force"]).code, Some(0));
    let left = signing_key::Entity::find().all(process.db().await.read()).await.unwrap();
    assert!(left.iter().all(|key| !before.contains(&key.id)), "{before:?}");
}
