//! Apps: what an operator registers.

use latchkey::accounts::apps;
use latchkey::accounts::event::{self, EventKind};
use sea_orm::{EntityTrait, QueryOrder};
use serde_json::Value;

use crate::process::{Process, Ran};

const WIKI: &str = "https://wiki.example.com/callback";

fn json(ran: &Ran) -> Value {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"))
}

fn refused(ran: &Ran, words: &str) {
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert!(ran.err.contains(words) && ran.out.is_empty(), "{words}: {ran:?}");
}

#[tokio::test]
async fn an_operator_registers_an_app_and_sees_its_secret_once() {
    let process = Process::serving(&[]).await;
    let added = process.run(&["app", "add", "Wiki", "--redirect-uri", WIKI]);
    let value = |name: &str| {
        let line = added.out.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} {added:?}")).trim().to_owned()
    };
    let (id, secret) = (value("client_id:"), value("client_secret:"));
    assert_eq!((added.code, value("issuer:")), (Some(0), process.url.clone()));

    let shown = process.run(&["app", "show", "wiki"]);
    for line in ["Name:          Wiki", "Secrets:       one", "PKCE:          needed", "Signatures:    RS256"] {
        assert!(shown.out.contains(line), "{line}: {shown:?}");
    }
    assert!(shown.out.contains(&id) && shown.out.contains(WIKI), "{shown:?}");
    let listed = process.run(&["app", "list", "--json"]);
    assert_eq!(json(&listed), Value::Array(vec![json(&process.run(&["app", "show", &id, "--json"]))]));

    // Neither the commands nor the database have the secret again.
    let db = process.db().await;
    let app = apps::by_id(db.read(), id.parse().unwrap()).await.unwrap().expect("the app");
    assert!(app.has_secret(&secret) && !app.has_secret(&id) && !app.has_secret(""));
    for text in [shown.out, listed.out, format!("{app:?}")] {
        assert!(!text.contains(&secret), "{text}");
    }
}

#[tokio::test]
async fn a_program_can_register_an_app() {
    let process = Process::serving(&[]).await;
    let add = ["app", "add", "Wiki", "--redirect-uri", WIKI, "--redirect-uri", "http://127.0.0.1/cb", "--trusted"];
    let options = ["--logout-uri", "https://wiki.example.com/", "--no-pkce", "--algorithm", "ES256", "--json"];
    let ran = process.run(&[&add[..], &options].concat());
    let app = json(&ran);
    assert_eq!(app["redirect_uris"], serde_json::json!([WIKI, "http://127.0.0.1/cb"]), "{app}");
    assert_eq!(app["logout_uris"], serde_json::json!(["https://wiki.example.com/"]), "{app}");
    let about =
        ["name", "public", "trusted", "pkce", "algorithm", "secrets", "issuer"].map(|name| app[name].to_string());
    let expected = ["\"Wiki\"", "false", "true", "false", "\"ES256\"", "1", &format!("\"{}\"", process.url)];
    assert_eq!(about, expected.map(str::to_owned));
    assert_eq!(app["client_secret"].as_str().map(str::len), Some(43), "{app}");

    let phone =
        json(&process.run(&["app", "add", "Phone", "--redirect-uri", "com.example.wiki:/cb", "--public", "--json"]));
    assert!(phone["client_secret"].is_null() && phone["pkce"] == true && phone["secrets"] == 0, "{phone}");
    refused(&process.run(&["app", "secret", "Phone"]), "Phone is public");
    refused(&process.run(&["app", "edit", "Phone", "--pkce", "false"]), "cannot do without PKCE");
    assert_eq!(process.run(&["app", "list"]).out.lines().count(), 2);
}

#[tokio::test]
async fn an_app_changes_and_what_is_not_named_stays() {
    let process = Process::serving(&[]).await;
    let before = json(&process.run(&["app", "add", "Wiki", "--redirect-uri", WIKI, "--json"]));
    json(&process.run(&["app", "add", "Shop", "--redirect-uri", WIKI, "--json"]));
    let edit = ["app", "edit", "WIKI", "--name", "The Wiki", "--trusted", "true", "--json"];
    let mut after = json(&process.run(&edit));
    assert_eq!((&after["name"], &after["trusted"]), (&"The Wiki".into(), &true.into()));
    for name in ["name", "trusted"] {
        after[name] = before[name].clone();
    }
    let (after, mut before) = (after.as_object().unwrap(), before.as_object().unwrap().clone());
    before.retain(|name, _| after.contains_key(name));
    assert_eq!(after, &before);

    let moved = json(&process.run(&["app", "edit", "the wiki", "--redirect-uri", "https://a.example/cb", "--json"]));
    assert_eq!(moved["redirect_uris"], serde_json::json!(["https://a.example/cb"]), "in place of the one before");
    refused(&process.run(&["app", "edit", "Shop", "--name", "THE WIKI"]), "there is an app THE WIKI already");
    refused(&process.run(&["app", "edit", "Shop"]), "nothing was named to change");
    refused(&process.run(&["app", "edit", "Blog", "--name", "x"]), "there is no app Blog");
}

#[tokio::test]
async fn the_back_channel_is_taken_away() {
    let process = Process::serving(&[]).await;
    let back = ["--backchannel-uri", "https://wiki.example.com/back", "--backchannel-private"];
    let added = json(&process.run(&[&["app", "add", "Wiki", "--redirect-uri", WIKI, "--json"][..], &back].concat()));
    let of = |app: &Value| (app["backchannel_uri"].clone(), app["backchannel_private"].clone());
    assert_eq!(of(&added), ("https://wiki.example.com/back".into(), true.into()));
    for also in [&back[..2], &["--backchannel-private", "true"]] {
        refused(&process.run(&[&["app", "edit", "Wiki", "--no-backchannel"], also].concat()), "--no-backchannel");
    }
    let shown = process.run(&["app", "show", "Wiki"]);
    assert!(shown.out.contains("Back channel:"), "{shown:?}");
    let without = json(&process.run(&["app", "edit", "Wiki", "--no-backchannel", "--json"]));
    // Another address later is not on a private network unless the operator says so again.
    assert_eq!(of(&without), (Value::Null, false.into()));
    let shown = process.run(&["app", "show", "Wiki"]);
    assert!(!shown.out.contains("Back channel:"), "{shown:?}");
    let again = json(&process.run(&[&["app", "edit", "Wiki", "--json"], &back[..2]].concat()));
    assert_eq!(of(&again), ("https://wiki.example.com/back".into(), false.into()));
}

#[tokio::test]
async fn a_secret_changes_while_the_one_before_still_works() {
    let process = Process::serving(&[]).await;
    let first = json(&process.run(&["app", "add", "Wiki", "--redirect-uri", WIKI, "--json"]));
    let next =
        || json(&process.run(&["app", "secret", "Wiki", "--json"]))["client_secret"].as_str().unwrap().to_owned();
    let (first, second) = (first["client_secret"].as_str().unwrap().to_owned(), next());
    let db = process.db().await;
    let works = async |secrets: [&str; 3]| {
        let app = apps::by_name(db.read(), &"wiki".parse().unwrap()).await.unwrap().unwrap();
        secrets.map(|secret| app.has_secret(secret))
    };
    assert_eq!(works([&first, &second, "x"]).await, [true, true, false]);
    let third = next();
    assert_eq!(works([&first, &second, &third]).await, [false, true, true], "two at a time");
    let dropped = || json(&process.run(&["app", "secret", "Wiki", "--drop-old", "--json"]))["dropped"].clone();
    assert_eq!(dropped(), true);
    assert_eq!(works([&first, &second, &third]).await, [false, false, true]);
    assert_eq!(dropped(), false);
}

#[tokio::test]
async fn an_app_is_removed_after_a_question_and_all_of_it_is_noted() {
    let process = Process::serving(&[]).await;
    json(&process.run(&["app", "add", "Wiki", "--redirect-uri", WIKI, "--json"]));
    refused(&process.run(&["app", "remove", "Wiki"]), "--yes");
    json(&process.run(&["app", "secret", "Wiki", "--json"]));
    json(&process.run(&["app", "edit", "Wiki", "--trusted", "true", "--json"]));
    assert_eq!(process.run(&["app", "remove", "wiki", "--yes"]).out, "Removed Wiki.\n");
    refused(&process.run(&["app", "show", "Wiki"]), "there is no app Wiki");
    assert_eq!(process.run(&["app", "list"]).out, "");

    let events = event::Entity::find().order_by_asc(event::Column::Id).all(process.db().await.read()).await.unwrap();
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::AppAdded, EventKind::AppSecretChanged, EventKind::AppChanged, EventKind::AppRemoved]);
}

#[tokio::test]
async fn a_bad_value_is_refused_with_its_name() {
    let process = Process::serving(&[]).await;
    let add = |name: &str, uri: &str, more: &[&str]| {
        process.run(&[&["app", "add", name, "--redirect-uri", uri], more].concat())
    };
    refused(&add("", WIKI, &[]), "1 to 40 characters");
    refused(&add(&"x".repeat(41), WIKI, &[]), "1 to 40 characters");
    refused(&add("Wiki", "http://wiki.example.com/cb", &[]), "--redirect-uri");
    refused(&add("Wiki", "https://wiki.example.com/#x", &[]), "fragment");
    refused(&add("Wiki", WIKI, &["--logout-uri", "javascript:alert(1)"]), "--logout-uri");
    refused(&add("Wiki", WIKI, &["--algorithm", "none"]), "RS256");
    refused(&add("Wiki", WIKI, &["--public", "--no-pkce"]), "--no-pkce");
    refused(&process.run(&["app", "add", "Wiki"]), "--redirect-uri");
    json(&add("Wiki", WIKI, &["--json"]));
    refused(&add("wiki", WIKI, &[]), "there is an app wiki already");
}
