//! The secrets that sign sessions: a fresh one is added, old ones are dropped, all are lost.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latchkey::accounts::authorize::authorization;
use latchkey::accounts::session;
use rustix::process::getuid;
use serde_json::Value;
use time::Duration;

use crate::app::TestApp;
use crate::authorize::{CALLBACK, Wiki};
use crate::browser::Browser;
use crate::database::sqlite_only;
use crate::process::{Process, confirm, forget, sign_up, until};
use crate::tokens::{code, form, lasting, refresh};
use crate::{HERON, OTTER};

/// A secret from `openssl rand -base64 32`.
const SECRET: &str = "qk3P0o7Y0mYb5rVnTt9E6gkZ1yW8cXJfLhRuDsAaBvM=";

fn secrets(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect()
}

/// Returns the name of the key that signed this browser's cookie.
fn kid(browser: &Browser) -> String {
    let header = browser.cookies["latchkey_session"].split('.').next().unwrap();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

async fn token(process: &Process) -> String {
    let fields = [("username", "sam"), ("password", OTTER)];
    let answer = reqwest::Client::new().post(format!("{}/token", process.url)).form(&fields).send().await.unwrap();
    answer.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned()
}

async fn opens(process: &Process, token: &str) -> bool {
    let me = reqwest::Client::new().get(format!("{}/users/me/", process.url)).bearer_auth(token);
    me.send().await.unwrap().status() == 200
}

#[tokio::test]
async fn a_fresh_secret_logs_no_user_out_until_the_old_one_is_dropped() {
    let mut process = Process::serving(&[]).await;
    let (mut sam, file) = (process.user("sam", OTTER).await, process.path("data/secret"));
    let (old_token, old) = (token(&process).await, secrets(&file));
    let ran = process.run(&["keys", "rotate"]);
    assert_eq!((ran.code, ran.err.lines().count()), (Some(0), 1), "the event: {}", ran.err);
    for word in ["data/secret", "Restart", "14 days later", "latchkey keys drop"] {
        assert!(ran.out.contains(word), "{word}: {}", ran.out);
    }
    let both = secrets(&file);
    assert_eq!((both.len(), &both[1..]), (2, &old[..]));
    assert!(sam.is_logged_in().await && opens(&process, &old_token).await, "a running server goes on with the old");

    process.stop().await;
    process.start().await;
    assert!(sam.is_logged_in().await && opens(&process, &old_token).await);
    let (mut ada, new_token) = (process.user("ada", OTTER).await, token(&process).await);
    let list = process.run(&["keys", "list"]).out;
    let [new_id, old_id] = [0, 1].map(|line| list.lines().nth(line).unwrap().split_whitespace().next().unwrap());
    assert_eq!((kid(&ada).as_str(), kid(&sam).as_str()), (new_id, old_id), "the newest signs");
    assert!(both.iter().all(|secret| !list.contains(secret.as_str()) && !ran.out.contains(secret.as_str())));

    let refused = process.run(&["keys", "drop"]);
    assert_eq!((refused.code, refused.out.as_str(), secrets(&file)), (Some(1), "", both.clone()), "{refused:?}");
    assert_eq!(process.run(&["keys", "drop", "--force"]).code, Some(0));
    assert_eq!(secrets(&file), both[..1]);
    process.stop().await;
    process.start().await;
    assert!(!sam.is_logged_in().await && !opens(&process, &old_token).await);
    assert!(ada.is_logged_in().await && opens(&process, &new_token).await);
    assert_eq!(sam.log_in("sam", OTTER).await.path, "/profile");
}

#[tokio::test]
async fn a_secret_is_not_dropped_while_a_session_may_be_open_by_it() {
    let mut process = Process::serving(&[]).await;
    let (mut sam, file) = (process.user("sam", OTTER).await, process.path("data/secret"));
    token(&process).await;
    assert_eq!(process.run(&["keys", "rotate"]).code, Some(0));
    let both = secrets(&file);
    let refused = |words: &[&str]| {
        let ran = process.run(&["keys", "drop"]);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.lines().count()), (Some(1), "", 1), "{ran:?}");
        words.iter().for_each(|word| assert!(ran.err.contains(word), "{word}: {}", ran.err));
        assert_eq!(secrets(&file), both);
    };
    refused(&["restart the server", "2 sessions", "UTC", "--force"]);
    process.stop().await;
    process.start().await;
    let refused = process.run(&["keys", "drop"]);
    assert!(refused.err.contains("2 sessions") && !refused.err.contains("restart"), "{refused:?}");
    assert_eq!(process.run(&["keys", "drop", "--keep", "2"]).code, Some(0), "nothing to drop");
    assert_eq!(secrets(&file), both);

    // Once every session that the old secret signed has ended, it is dropped without force, and no user is logged out.
    sam.post("/profile/security/log-out", &[("others", "1")]).await;
    sam.log_out().await;
    let dropped = async || {
        // Times are in whole seconds, and the second of the start may not be over.
        assert_eq!(sam.log_in("sam", OTTER).await.path, "/profile");
        let done = process.run(&["keys", "drop"]).code == Some(0);
        if !done {
            sam.log_out().await;
        }
        done.then_some(())
    };
    until("the secret is dropped", dropped).await;
    assert_eq!(secrets(&file), both[..1]);
    process.stop().await;
    process.start().await;
    assert!(sam.is_logged_in().await);
}

#[tokio::test]
async fn a_session_that_is_used_is_signed_anew() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let open = async |since| {
        let db = app.app.db.read();
        session::signed_before(db, (since, false), app.app.now()).await.unwrap().map(|(count, _)| count)
    };
    app.app.clock.advance(Duration::minutes(1));
    let restart = Some(app.app.now());
    assert_eq!((open(restart).await, open(None).await), (Some(1), Some(1)));
    app.app.clock.advance(Duration::minutes(9));
    assert!(sam.is_logged_in().await);
    assert_eq!((open(restart).await, open(None).await), (None, Some(1)));
    app.app.clock.advance(Duration::hours(3));
    assert_eq!(open(None).await, None, "it has ended");
}

/// Returns an app with a refresh token. It is registered by the operator's command.
async fn refresh_token(process: &Process, browser: &mut Browser) -> (Wiki, String) {
    let added = process.done(&["app", "add", "Wiki", "--redirect-uri", CALLBACK, "--trusted", "--json"]);
    let added: Value = serde_json::from_str(&added).unwrap();
    let text = |name: &str| added[name].as_str().unwrap().to_owned();
    let wiki = Wiki { id: text("client_id"), secret: text("client_secret") };
    let code = code(&wiki, browser, &[("scope", "openid offline_access")]).await;
    let got = ask(process, &wiki, &form(&code)).await;
    (wiki, got["refresh_token"].as_str().unwrap().to_owned())
}

async fn ask(process: &Process, wiki: &Wiki, form: &[(&str, &str)]) -> Value {
    let request = reqwest::Client::new().post(format!("{}/oauth/token", process.url));
    let answer = request.basic_auth(&wiki.id, Some(&wiki.secret)).form(form).send().await.unwrap();
    answer.json().await.unwrap()
}

/// An app that is opened seldom has its refresh token for as long as the session.
#[tokio::test]
async fn a_secret_is_not_dropped_while_an_app_has_a_refresh_token_by_it() {
    let mut process = Process::serving(&[]).await;
    let mut sam = process.user("sam", OTTER).await;
    let (wiki, token) = refresh_token(&process, &mut sam).await;
    process.done(&["keys", "rotate"]);
    let refused = process.run(&["keys", "drop"]);
    assert!(refused.err.contains("1 session and 1 refresh token"), "{refused:?}");
    process.stop().await;
    process.start().await;
    let refused = process.run(&["keys", "drop"]);
    assert!(refused.code == Some(1) && refused.err.contains("1 session and 1 refresh token"), "{refused:?}");
    // The tokens that an app has got go on until then, and those after it are of the newest secret.
    let next = ask(&process, &wiki, &[("grant_type", "refresh_token"), ("refresh_token", &token)]).await;
    let next = next["refresh_token"].as_str().unwrap_or_else(|| panic!("{next}")).to_owned();
    process.done(&["keys", "drop", "--force"]);
    process.stop().await;
    process.start().await;
    let next = ask(&process, &wiki, &[("grant_type", "refresh_token"), ("refresh_token", &next)]).await;
    assert!(next["refresh_token"].is_string(), "{next}");
}

#[tokio::test]
async fn a_refresh_token_may_be_older_than_the_cookie_of_its_session() {
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let mut sam = app.user("sam", OTTER).await;
    let got = lasting(&app, &wiki, &mut sam).await;
    let open = async |since| {
        let (db, now) = (app.app.db.read(), app.app.now());
        let count = |found: Option<(u64, _)>| found.map_or(0, |(count, _)| count);
        let sessions = session::signed_before(db, (since, false), now).await.unwrap();
        (count(sessions), count(authorization::refreshed_before(db, since, now).await.unwrap()))
    };
    app.app.clock.advance(Duration::minutes(1));
    let restart = Some(app.app.now());
    assert_eq!((open(restart).await, open(None).await), ((1, 1), (1, 1)));
    app.app.clock.advance(Duration::minutes(9));
    assert!(sam.is_logged_in().await);
    assert_eq!(open(restart).await, (0, 1), "the cookie is signed anew, and the app has its old token");
    assert_eq!(refresh(&app, &wiki, &got["refresh_token"]).await.0, 200);
    assert_eq!((open(restart).await, open(None).await), ((0, 0), (1, 1)));
    app.app.clock.advance(Duration::hours(3));
    assert_eq!(open(None).await, (0, 0), "they have ended");
}

/// Returns the names of the published keys, and how many lines of the log are about keys that do not open.
async fn signing(process: &Process) -> (Vec<String>, usize) {
    let keys = reqwest::get(format!("{}/.well-known/jwks.json", process.url)).await.unwrap();
    let keys: Value = keys.json().await.unwrap();
    let keys = keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect();
    let log = process.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("sealed with a secret")).collect();
    assert!(lines.iter().all(|line| line.contains("WARN") && line.contains("latchkey keys drop")), "{lines:?}");
    (keys, lines.len())
}

/// The signing keys are sealed under the secret.
#[tokio::test]
async fn a_secret_that_is_taken_out_of_the_environment_too_soon_is_told_with_what_to_do() {
    let mut process = Process::serving(&[("LATCHKEY_SECRET", SECRET)]).await;
    let mut sam = process.user("sam", OTTER).await;
    let (wiki, token) = refresh_token(&process, &mut sam).await;
    let (before, lines) = signing(&process).await;
    assert_eq!((before.len(), lines), (2, 0));
    process.stop().await;
    let fresh = "Jh2vX8bQm5Tz0KdYcR7pWnA4sUfE1gLoIk9ZxV3tBuM=";
    process.set("LATCHKEY_SECRET", fresh);
    process.start().await;
    let (after, lines) = signing(&process).await;
    assert!(before.iter().all(|kid| after.contains(kid)) && after.len() == 4, "others sign: {before:?} {after:?}");
    assert_eq!(lines, 1, "{}", process.log());
    // The app is told that its refresh token is gone, and gets others once the user has logged in again.
    let gone = ask(&process, &wiki, &[("grant_type", "refresh_token"), ("refresh_token", &token)]).await;
    assert_eq!(gone["error"], "invalid_grant", "{gone}");
    assert_eq!(sam.log_in("sam", OTTER).await.path, "/profile");
    let code = code(&wiki, &mut sam, &[]).await;
    assert!(ask(&process, &wiki, &form(&code)).await["id_token"].is_string());
    let told = process.run(&["doctor"]).out;
    let line = told.lines().find(|line| line.contains("signing")).unwrap_or_else(|| panic!("{told}"));
    for words in ["warn", "2 of 4 keys", "put it back after the newest one", "latchkey keys drop"] {
        assert!(line.contains(words), "{words}: {line}");
    }

    // It is put back, and can be taken away once the command says so.
    process.stop().await;
    process.set("LATCHKEY_SECRET", &format!("{fresh},{SECRET}"));
    process.start().await;
    let back = ask(&process, &wiki, &[("grant_type", "refresh_token"), ("refresh_token", &token)]).await;
    assert!(back["refresh_token"].is_string(), "{back}");
    assert_eq!(signing(&process).await, (after.clone(), 1));
    let told = process.run(&["doctor"]).out;
    assert!(told.contains("2 of them sealed with an older secret: run latchkey keys drop"), "{told}");
    let refused = process.run(&["keys", "drop"]);
    assert!(refused.code == Some(1) && refused.err.contains("session"), "{refused:?}");
    sam.post("/profile/security/log-out", &[("others", "1")]).await;
    let ready = until("the older secret is not needed", async || {
        // Times are in whole seconds, and the second of the start may not be over.
        sam.log_out().await;
        sam.log_in("sam", OTTER).await;
        let ran = process.run(&["keys", "drop"]);
        (ran.code == Some(0)).then_some(ran.out)
    });
    let ready = ready.await;
    assert!(ready.contains("LATCHKEY_SECRET: only the first 1"), "{ready}");
    process.stop().await;
    process.set("LATCHKEY_SECRET", fresh);
    process.start().await;
    assert_eq!(signing(&process).await, (after, 1));
    let told = process.run(&["doctor"]).out;
    assert!(told.contains("4 keys sign the tokens of apps, sealed with the newest secret"), "{told}");
    let nothing = process.run(&["keys", "drop"]);
    assert!(nothing.err.contains("LATCHKEY_SECRET is yours to change"), "{nothing:?}");
}

#[test]
fn rotations_at_once_lose_nothing_and_no_reader_sees_half_a_file() {
    let process = Process::new(&[]);
    assert_eq!(process.run(&["migrate"]).code, Some(0));
    let first = secrets(&process.path("data/secret")).remove(0);
    let rotate = || process.command(&["keys", "rotate"]).stdout(Stdio::null()).spawn().unwrap();
    let mut running: Vec<_> = (0..24).map(|_| rotate()).collect();
    while running.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
        let list = process.run(&["keys", "list"]);
        assert_eq!((list.code, list.err.as_str()), (Some(0), ""));
    }
    assert!(running.iter_mut().all(|child| child.wait().unwrap().success()));
    let all = secrets(&process.path("data/secret"));
    assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len(), all.last()), (25, 25, Some(&first)));
    let files = fs::read_dir(process.path("data")).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = files.filter(|name| !name.to_str().unwrap().starts_with("latchkey.db")).collect();
    assert_eq!(left, ["secret"]);
}

#[test]
fn the_file_keeps_its_mode_its_owner_and_the_link_to_it() {
    sqlite_only!("no secret is made on PostgreSQL");
    let process = Process::new(&[("LATCHKEY_SECRET_FILE", "link")]);
    let file = process.path("elsewhere/secret");
    fs::create_dir(process.path("elsewhere")).unwrap();
    assert_eq!(process.run(&["migrate", "--secret-file", "elsewhere/secret"]).code, Some(0));
    symlink("elsewhere/secret", process.path("link")).unwrap();
    if getuid().is_root() {
        chown(&file, Some(65534), Some(65534)).unwrap();
    }
    let before = fs::metadata(&file).unwrap();
    assert_eq!(process.run(&["keys", "rotate"]).code, Some(0));
    assert!(process.path("link").is_symlink());
    let after = fs::metadata(&file).unwrap();
    assert_eq!((secrets(&file).len(), after.permissions().mode() & 0o777), (2, 0o600));
    assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()), "the service can still read it");
}

#[test]
fn as_many_as_wanted_are_kept() {
    let process = Process::new(&[]);
    assert_eq!(process.run(&["migrate"]).code, Some(0));
    (0..3).for_each(|_| assert_eq!(process.run(&["keys", "rotate"]).code, Some(0)));
    let all = secrets(&process.path("data/secret"));
    for (arguments, kept) in [(&["--keep", "9"][..], 4), (&["--keep", "2"], 2), (&[], 1), (&[], 1)] {
        let ran = process.run(&[&["keys", "drop"], arguments].concat());
        let nothing = ran.out == "There was nothing to drop in data/secret.\n";
        assert!(ran.code == Some(0) && (nothing || ran.out.contains(&format!("data/secret: {kept}."))), "{ran:?}");
        assert_eq!(secrets(&process.path("data/secret")), all[..kept]);
    }
    assert_eq!(process.run(&["keys", "drop", "--keep", "0"]).code, Some(2));
    assert_eq!(secrets(&process.path("data/secret")).len(), 1);
}

#[test]
fn what_is_not_there_or_not_ours_to_change_is_said() {
    for command in ["list", "rotate", "drop"] {
        let ran = Process::new(&[]).run(&["keys", command]);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.lines().count()), (Some(1), "", 1), "{ran:?}");
        assert!(ran.err.contains("LATCHKEY_SECRET_FILE: there is no secret at /"), "{}", ran.err);
    }
    let process = Process::new(&[("LATCHKEY_SECRET", SECRET)]);
    for command in ["rotate", "drop"] {
        let ran = process.run(&["keys", command]);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.lines().count()), (Some(1), "", 1), "{ran:?}");
        assert!(ran.err.contains("LATCHKEY_SECRET is yours to change"), "{}", ran.err);
        assert!(!ran.err.contains(SECRET), "{}", ran.err);
    }
    let list = process.run(&["keys", "list"]);
    assert_eq!((list.code, list.out.lines().count()), (Some(0), 1), "{list:?}");
    assert!(!process.path("data").exists());
}

#[tokio::test]
async fn losing_the_secret_only_logs_users_out() {
    let mut process = Process::serving(&[]).await;
    let (mut sam, mut ada) = (process.user("sam", OTTER).await, process.browser());
    sign_up(&mut ada, "ada", OTTER).await;
    let ada_link = process.link("ada@example.com", 1).await;
    forget(&mut process.browser(), "sam@example.com").await;
    let sam_link = process.link("sam@example.com", 2).await;
    let old_token = token(&process).await;

    process.stop().await;
    fs::remove_file(process.path("data/secret")).unwrap();
    process.start().await;
    for path in ["/", "/login", "/signup", "/profile"] {
        assert_eq!(sam.open(path).await.status, 200, "{path}");
    }
    assert!(!sam.is_logged_in().await && !opens(&process, &old_token).await);
    assert_eq!(sam.log_in("sam", OTTER).await.path, "/profile");
    assert_eq!(process.browser().reset(&sam_link, HERON).await.path, "/login");
    assert_eq!(process.browser().log_in("sam", HERON).await.path, "/profile");
    assert_eq!(confirm(&mut ada, &ada_link).await.path, "/profile", "she is known from her visit");
}
