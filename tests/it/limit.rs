//! The limits of attempts at an account, of attempts of a client, and of letters to an address. They never lock the owner out.

use std::time::Instant;

use futures_util::{StreamExt, stream};
use latchkey::accounts::apps::{self, operate};
use latchkey::accounts::event::{self, EventKind};
use latchkey::accounts::limit::accounts;
use latchkey::accounts::limit::clients::Action;
use reqwest::{Response, StatusCode};
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, PaginatorTrait};
use serde_json::{Value, json};
use time::Duration;

use crate::app::{TestApp, line};
use crate::authorize::{CALLBACK, CHALLENGE, Wiki};
use crate::browser::{Browser, Page};
use crate::process::until;
use crate::tokens::{code, form};
use crate::{HERON, OTTER};

/// Guesses until the response is no longer “wrong”. Returns how many guesses were checked.
async fn guess(browser: &mut Browser, login: &str) -> (u32, Page) {
    for looked_at in 0..150 {
        let page = browser.post("/login", &[("login", login), ("password", "not this one at all")]).await;
        if page.status != StatusCode::UNPROCESSABLE_ENTITY {
            return (looked_at, page);
        }
    }
    panic!("nothing stops the guessing");
}

fn retry_after(page: &Page) -> i64 {
    page.headers["retry-after"].to_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_stranger_guesses_five_times_at_a_name_and_then_waits_whether_or_not_there_is_an_account() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let mut answers = vec![];
    let names = ["nobody", "nobody@example.com", "no such name, nor can there be", "sam", "sam@example.com"];
    for login in names {
        app.app.clock.advance(Duration::minutes(10)); // this refills the client's own attempts
        let (looked_at, page) = guess(&mut app.browser(), login).await;
        page.assert_framed(429);
        assert_eq!(looked_at, 5, "{login}");
        assert!((350..=360).contains(&retry_after(&page)), "{login}: {}", retry_after(&page));
        assert_eq!(page.heading(), "Too many attempts");
        assert!(
            page.html.contains("Too many attempts. Try again in 6 minutes, or reset your password now."),
            "{}",
            page.html
        );
        assert!(page.html.contains("href=\"/forgot-password\""), "a way out");
        let id = page.headers["x-request-id"].to_str().unwrap();
        answers.push(page.html.replace(id, "…"));
    }
    assert!(answers.windows(2).all(|two| two[0] == two[1]), "the page does not tell who has an account");

    // The same name has the same bucket at the JSON door.
    let form = [("username", "SAM@Example.com"), ("password", OTTER)];
    let token = reqwest::Client::new().post(format!("{}/token", app.url)).form(&form).send().await.unwrap();
    assert_eq!(token.status(), 429);
    assert!(token.headers().contains_key("retry-after"));
    assert!(token.text().await.unwrap().starts_with("{\"detail\":\"Too many attempts. Try again in 6 minutes"));

    // Even the right password is not checked. Otherwise an attacker would learn it.
    app.browser().log_in("sam@example.com", OTTER).await.assert_framed(429);
    app.app.clock.advance(Duration::minutes(6));
    assert_eq!(app.browser().log_in("sam@example.com", OTTER).await.path, "/profile");
    assert_eq!(guess(&mut app.browser(), "sam@example.com").await.0, 0, "a right password takes its attempt too");
}

/// If the two names of one account shared a bucket, an attacker who knows a username could find out its address.
#[tokio::test]
async fn two_names_of_one_account_are_limited_like_two_unknown_names() {
    let app = TestApp::start_with(&["--trusted-proxies", "127.0.0.0/8"]).await;
    app.user("sam", OTTER).await;
    let client = std::cell::Cell::new(0u32);
    let answer = async |login: &str| {
        client.set(client.get() + 1); // each guess has its own client, so that no client is limited
        let ip = format!("203.0.{}.{}", client.get() / 200, client.get() % 200);
        let fields = [("login", login), ("password", "not this one at all")];
        let from = |request: reqwest::RequestBuilder| request.header("x-forwarded-for", &ip).form(&fields);
        let page = app.browser().send(reqwest::Method::POST, "/login", from).await;
        (page.status.as_u16(), page.headers.get("retry-after").map_or(0, |_| retry_after(&page)))
    };
    let mut guesses = 0;
    for round in 0..30 {
        for name in [0, 0, 1, 0, 1, 1, 1, 1, 0, 0, 0, 1, 1] {
            let own = answer(["sam", "sam@example.com"][name]).await;
            let nobodys = answer(["tim", "tim@example.com"][name]).await;
            assert_eq!(own.0, nobodys.0, "round {round}, name {name}");
            assert!(own.1.abs_diff(nobodys.1) <= 5, "round {round}, name {name}: {} {}", own.1, nobodys.1);
            guesses += u32::from(own.0 == 422);
        }
        app.app.clock.advance(Duration::minutes(12));
    }
    assert_eq!(guesses, 100, "fifty at each name, a hundred at the account");
    app.app.clock.advance(Duration::days(2));
    for name in ["sam", "sam@example.com", "tim", "tim@example.com"] {
        assert_eq!(answer(name).await.0, 429, "closed: {name}");
    }
}

#[tokio::test]
async fn a_hundred_guesses_at_once_get_no_further_than_ten_in_turn() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    // An attempt that is taken from the name's bucket and given back, because the account's has changed meanwhile, would be
    // missing for another guess in between.
    let db = app.app.db.write();
    let before = "CREATE TRIGGER given_back BEFORE UPDATE ON limits FOR EACH ROW WHEN (new.misses < old.misses)";
    let sql = match db.get_database_backend() {
        DbBackend::Sqlite => format!("{before} BEGIN SELECT raise(ABORT, 'given back'); END"),
        _ => format!(
            "CREATE FUNCTION given_back() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''given back''; END';
             {before} EXECUTE FUNCTION given_back()"
        ),
    };
    db.execute_unprepared(&sql).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..30 {
        let mut browser = app.browser();
        let login = if n % 2 == 0 { "sam" } else { "sam@example.com" };
        let password = format!("wrong {n}");
        tasks.spawn(async move { browser.post("/login", &[("login", login), ("password", &password)]).await.status });
    }
    let answers = tasks.join_all().await;
    let wrong = answers.iter().filter(|status| status.as_u16() == 422).count();
    let refused = answers.iter().filter(|status| status.as_u16() == 429).count();
    assert_eq!((wrong, refused), (10, 20));
}

#[tokio::test]
async fn strangers_cannot_lock_the_owners_own_browser_out() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    sam.log_out().await;
    let mut failures = 0;
    while failures < 100 {
        for name in ["sam", "sam@example.com"] {
            failures += guess(&mut app.browser(), name).await.0;
        }
        app.app.clock.advance(Duration::minutes(30));
    }
    assert_eq!(failures, 100, "at the latest after 100 failures in a row");

    // From here on, waiting does not help an attacker.
    app.app.clock.advance(Duration::days(7));
    let page = app.browser().log_in("sam", OTTER).await;
    page.assert_framed(429);
    assert!(page.html.contains("Reset your password, or log in from a browser you have used before"));
    assert_eq!(retry_after(&page), 3600);

    // The failures of the owner have their own count, and a failure does not lock the owner out.
    assert_eq!(sam.log_in("sam", "not this one").await.status, 422);
    assert_eq!(sam.log_in("sam", OTTER).await.path, "/profile");
    app.browser().log_in("sam", OTTER).await.assert_framed(429);

    // After a reset, the new password works in every browser again.
    let link = app.reset_link("sam@example.com", 2).await;
    let mut anywhere = app.browser();
    assert_eq!(anywhere.reset(&link, HERON).await.path, "/login");
    assert_eq!(anywhere.log_in("sam", HERON).await.path, "/profile");
}

#[tokio::test]
async fn a_known_browser_has_attempts_of_its_own_and_only_at_its_own_account() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    app.user("ada", OTTER).await;
    let device = sam.cookies["latchkey_device"].clone();
    let mut thief = app.browser();
    thief.cookies.insert("latchkey_device".into(), device.clone());
    assert_eq!(guess(&mut thief, "sam").await.0, 20);
    app.browser().log_in("sam", OTTER).await.assert_framed(200);

    // Other accounts do not know this browser.
    assert_eq!(guess(&mut app.browser(), "ada").await.0, 5);
    assert_eq!(guess(&mut thief, "ada").await.0, 0);

    // The device token changes at each log-in. A copy of the old token is unknown, and so is a planted one.
    app.app.clock.advance(Duration::hours(3));
    assert_eq!(sam.log_in("sam", OTTER).await.path, "/profile");
    assert_ne!(sam.cookies["latchkey_device"], device);
    guess(&mut app.browser(), "sam").await;
    assert_eq!(guess(&mut thief, "sam").await.0, 0);
}

#[tokio::test]
async fn a_restart_forgives_nothing() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    guess(&mut app.browser(), "sam").await;
    let app = TestApp::start_in(app.stop().await, &[]).await;
    app.browser().log_in("sam", OTTER).await.assert_framed(429);
}

/// A sweep may come between the moment in which a guess reads the counters and the one in which it writes them.
#[tokio::test]
async fn a_sweep_leaves_the_counters_that_a_reset_has_refilled() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    guess(&mut app.browser(), "sam").await;
    let link = app.reset_link("sam@example.com", 2).await;
    app.browser().reset(&link, HERON).await;
    let rows = async || accounts::Entity::find().count(app.app.db.read()).await.unwrap();
    let before = rows().await;
    accounts::sweep(&app.app.db, app.app.now()).await.unwrap();
    assert_eq!(rows().await, before);
    assert_eq!(guess(&mut app.browser(), "sam").await.0, 5);
}

/// An office has one address: the attempt of a right password is given back at once, and not by the time that passes.
#[tokio::test]
async fn forty_log_ins_from_one_address_at_the_same_time_are_no_limit() {
    let app = TestApp::start().await;
    for name in ["sam", "ada", "eve", "kim"] {
        app.user(name, OTTER).await;
        for login in [name.to_owned(), format!("{name}@example.com")] {
            for n in 0..5 {
                let page = app.browser().post("/login", &[("login", login.as_str()), ("password", OTTER)]).await;
                assert_eq!(page.status, 303, "{login} {n}");
            }
        }
    }
}

#[tokio::test]
async fn one_client_has_thirty_failures_at_all_accounts_together_and_log_ins_do_not_count() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    for _ in 0..4 {
        for n in 0..10 {
            let login = ["sam", "sam@example.com"][n % 2];
            assert_eq!(app.browser().post("/login", &[("login", login), ("password", OTTER)]).await.status, 303);
        }
        // The browser is used, because the account keeps only the newest devices.
        app.app.clock.advance(Duration::seconds(1));
        assert_eq!(sam.post("/login", &[("login", "sam"), ("password", OTTER)]).await.status, 303);
        app.app.clock.advance(Duration::minutes(30));
    }
    let mut looked_at = 0;
    let mut page = None;
    for n in 0..40 {
        let answer = app.browser().post("/login", &[("login", format!("user{n}").as_str()), ("password", OTTER)]).await;
        if answer.status == 429 {
            page = Some(answer);
            break;
        }
        looked_at += 1;
    }
    assert_eq!(looked_at, 30);
    let page = page.unwrap();
    page.assert_framed(429);
    assert!(page.html.contains("Too many attempts from your network. Try again in 1 minute."));
    assert!((1..=20).contains(&retry_after(&page)));
    // A browser that the account knows is not slowed down by other clients at the same address.
    assert_eq!(sam.post("/login", &[("login", "sam"), ("password", OTTER)]).await.status, 303);
    app.browser().log_in("sam", OTTER).await.assert_framed(429);
    app.app.clock.advance(Duration::seconds(20));
    assert_eq!(app.browser().log_in("sam", OTTER).await.path, "/profile");
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_its_own_count() {
    let app = TestApp::start_with(&["--trusted-proxies", "127.0.0.0/8"]).await;
    let from = |ip: String, n: usize| {
        let mut browser = app.browser();
        async move {
            let fields = [("login", format!("user{n}")), ("password", OTTER.to_owned())];
            let sent = |request: reqwest::RequestBuilder| request.header("x-forwarded-for", &ip).form(&fields);
            browser.send(reqwest::Method::POST, "/login", sent).await.status.as_u16()
        }
    };
    for n in 0..30 {
        assert_eq!(from(format!("2001:db8::{n:x}"), n).await, 422, "{n}");
    }
    assert_eq!(from("2001:db8::ffff".into(), 99).await, 429, "one /64 is one client");
    assert_eq!(from("2001:db8:0:1::1".into(), 99).await, 422);
    assert_eq!(from("6.6.6.6, 2001:db8::1".into(), 99).await, 429, "what the client has written is not asked");
    assert_eq!(from("\u{ff}, [2001:db8::1]".into(), 99).await, 429, "nor does it hide what the proxy has");
}

#[tokio::test]
async fn every_form_that_costs_something_is_limited_at_both_doors() {
    let app = TestApp::start().await;
    for (path, wrong, others) in [
        ("/signup", 422, &["/users/"][..]),
        ("/forgot-password", 303, &["/reset_password/"]),
        ("/reset-password", 410, &["/complete_reset_password/", "/signup/confirm", "/not-me"]),
    ] {
        let mut browser = app.browser();
        for n in 0..30 {
            let page = browser.post(path, &[("email", format!("sam{n}@example.com").as_str())]).await;
            assert_eq!(page.status, wrong, "{path}");
        }
        browser.post(path, &[("email", "sam@example.com")]).await.assert_framed(429);
        for other in others {
            let body = r#"{"username":"sam","email":"sam@example.com","password":"x","token":"x","new_password":"x"}"#;
            let json = |request: reqwest::RequestBuilder| {
                if other.contains('_') || *other == "/users/" {
                    request.header("content-type", "application/json").body(body)
                } else {
                    request
                }
            };
            let page = browser.send(reqwest::Method::POST, other, json).await;
            assert_eq!(page.status, 429, "{other}: {}", page.html);
            assert!(retry_after(&page) > 0);
        }
    }
}

#[tokio::test]
async fn a_letter_that_is_asked_for_again_too_soon_costs_an_attempt_too() {
    let app = TestApp::start().await;
    let mut browser = app.browser();
    let again = [("email", "sam@example.com"), ("again", "1")];
    for n in 0..30 {
        assert_eq!(browser.post("/forgot-password", &again).await.status, 303, "{n}");
    }
    browser.post("/forgot-password", &again).await.assert_framed(429);
}

#[tokio::test]
async fn three_letters_go_to_one_address_and_then_one_an_hour_with_the_same_answer() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let ask = async |email: &str| {
        let mut browser = app.browser();
        let page = browser.ask_reset(email).await;
        (page.status, page.path.clone(), page.html.replace(email, "…").len())
    };
    let mut answers = vec![];
    for email in ["sam@example.com", "SAM@example.com", "sam@Example.com", "sam@example.com", "sam@example.com"] {
        answers.push(ask(email).await);
        answers.push(ask(&email.replace("sam", "nobody").replace("SAM", "nobody")).await);
    }
    assert!(answers.windows(2).all(|two| two[0] == two[1]), "{answers:?}");
    app.outbox_is_done().await;
    assert_eq!(app.letters_to("sam@example.com", 4).await.len(), 4, "the one of the sign-up and three");

    app.app.clock.advance(Duration::hours(1));
    ask("sam@example.com").await;
    ask("sam@example.com").await;
    app.outbox_is_done().await;
    assert_eq!(app.letters_to("sam@example.com", 5).await.len(), 5);
}

/// An attacker's sign-up must not prevent the victim's own letter. The only button in the mailbox would be the attacker's.
#[tokio::test]
async fn a_stranger_cannot_use_up_the_sign_up_letters_of_an_address() {
    let app = TestApp::start_with(&["--trusted-proxies", "127.0.0.0/8"]).await;
    let sign_up = async |ip: &'static str, name: &str| {
        let fields = [("email", "new@example.com"), ("username", name), ("password", OTTER)];
        let from = |request: reqwest::RequestBuilder| request.header("x-forwarded-for", ip).form(&fields);
        assert_eq!(app.browser().send(reqwest::Method::POST, "/signup", from).await.status, 303);
    };
    for n in 0..5 {
        sign_up("203.0.113.9", &format!("planted{n}")).await;
    }
    app.outbox_is_done().await;
    assert_eq!(app.letters_to("new@example.com", 3).await.len(), 3);
    sign_up("198.51.100.7", "honest").await;
    app.letters_to("new@example.com", 4).await;
}

/// Attackers from many addresses can use up the letters of one address. The first email that a client asks for is sent all
/// the same.
#[tokio::test]
async fn the_first_sign_up_letter_that_a_client_asks_for_always_comes() {
    let app = TestApp::start_with(&["--trusted-proxies", "127.0.0.0/8"]).await;
    let sign_up = async |ip: &str, name: String| {
        let fields = [("email", "new@example.com"), ("username", &name), ("password", OTTER)];
        let from = |request: reqwest::RequestBuilder| request.header("x-forwarded-for", ip).form(&fields);
        assert_eq!(app.browser().send(reqwest::Method::POST, "/signup", from).await.status, 303);
    };
    for n in 0..15 {
        sign_up(&format!("203.0.113.{}", n / 3), format!("planted{n}")).await;
    }
    app.outbox_is_done().await;
    let before = app.letters_to("new@example.com", 10).await.len();
    assert_eq!(before, 11, "ten are all that one address gets, and the first one that the last client asked for");
    sign_up("198.51.100.7", "honest".into()).await;
    app.letters_to("new@example.com", 12).await;
    sign_up("198.51.100.7", "honest2".into()).await;
    app.outbox_is_done().await;
    assert_eq!(app.letters_to("new@example.com", 12).await.len(), 12, "only the first");
}

/// A botnet must not send 100 000 of these emails to one mailbox in a day.
#[tokio::test]
async fn first_sign_up_letters_to_one_address_are_limited() {
    let app = TestApp::start_with(&["--trusted-proxies", "127.0.0.0/8"]).await;
    for n in 0..60 {
        let ip = format!("203.0.113.{n}");
        let name = format!("planted{n}");
        let fields = [("email", "new@example.com"), ("username", &name), ("password", OTTER)];
        let from = |request: reqwest::RequestBuilder| request.header("x-forwarded-for", &ip).form(&fields);
        assert_eq!(app.browser().send(reqwest::Method::POST, "/signup", from).await.status, 303);
    }
    app.outbox_is_done().await;
    assert_eq!(app.letters_to("new@example.com", 50).await.len(), 50);
}

#[tokio::test]
async fn a_change_of_password_uses_up_no_letter_of_a_reset() {
    let app = TestApp::start().await;
    let mut thief = app.user("sam", OTTER).await;
    for n in 0..3 {
        app.reset_link("sam@example.com", 2 + n).await;
    }
    let form = thief.open("/profile/password").await.form("/profile/password");
    thief.submit(form.fill("current_password", OTTER).fill("new_password", HERON)).await;
    app.letters_to("sam@example.com", 5).await; // they report the changes
    let link = app.reset_link("sam@example.com", 6).await;
    assert_eq!(app.browser().open(&link).await.status, 200);
}

#[tokio::test]
async fn after_a_reset_the_owner_can_log_in_although_strangers_go_on_guessing() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let link = app.reset_link("sam@example.com", 2).await;
    let mut sam = app.browser();
    assert_eq!(sam.reset(&link, HERON).await.path, "/login");
    assert_eq!(guess(&mut app.browser(), "sam").await.0, 5);
    assert_eq!(sam.log_in("sam", HERON).await.path, "/profile");
}

#[tokio::test]
async fn when_the_queue_for_the_hash_is_full_the_owners_browser_can_log_in_and_others_lose_no_attempt() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    sam.log_out().await;
    // The test fills the queue itself. The limits are on, and no client could fill it so soon.
    let hasher = app.app.accounts.hasher.clone();
    let line = line(&hasher, 256);
    for _ in 0..40 {
        app.browser().log_in("sam", OTTER).await.assert_framed(503);
    }
    assert_eq!(sam.log_in("sam", OTTER).await.path, "/profile");
    drop(line);
    assert_eq!(app.browser().log_in("sam", OTTER).await.path, "/profile");
}

/// A user who is logged in, or who has the mailed link, has proven more than a stranger who guesses.
#[tokio::test]
async fn when_strangers_fill_the_queue_for_the_hash_the_password_can_still_be_changed_and_reset() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let link = app.reset_link("sam@example.com", 2).await;
    let change = sam.open("/profile/password").await.form("/profile/password");
    app.browser().sign_up("ada@example.com", "ada", OTTER).await;
    let mut tablet = app.browser();
    let confirm = tablet.open(&app.letters_to("ada@example.com", 1).await[0].links[0]).await.form("/signup/confirm");
    let mut phone = app.browser();
    let reset = phone.open(&link).await.form("/reset-password");
    let token = link.rsplit('=').next().unwrap();
    let hasher = app.app.accounts.hasher.clone();
    let line = line(&hasher, 256);
    let weak = change.clone().fill("current_password", OTTER).fill("new_password", "password");
    sam.submit(weak).await.assert_framed(422);
    phone.submit(reset.clone().fill("password", "password")).await.assert_framed(422);
    let json = serde_json::json!({"token": token, "new_password": "password"}).to_string();
    let complete = reqwest::Client::new().post(format!("{}/complete_reset_password/", app.url));
    let answer = complete.header("content-type", "application/json").body(json).send().await.unwrap();
    assert_eq!(answer.status(), 422);
    assert_eq!(phone.submit(reset.fill("password", HERON)).await.path, "/login");
    assert_eq!(tablet.submit(confirm.fill("password", HERON)).await.path, "/login");
    drop(line);
}

/// Attackers cannot see that a password is new, so they go on guessing. The owner gets all attempts back.
#[tokio::test]
async fn a_reset_refills_every_bucket_of_the_account() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    for n in 0..100 {
        let form = sam.open("/profile/password").await.form("/profile/password");
        let page = sam.submit(form.fill("current_password", &format!("wrong {n}")).fill("new_password", HERON)).await;
        page.assert_framed(422);
        app.app.clock.advance(Duration::minutes(1));
    }
    let form = sam.open("/profile/password").await.form("/profile/password");
    sam.submit(form.fill("current_password", OTTER).fill("new_password", HERON)).await.assert_framed(429);

    let link = app.reset_link("sam@example.com", 2).await;
    sam.reset(&link, HERON).await;
    assert_eq!(sam.log_in("sam", HERON).await.path, "/profile");
    let form = sam.open("/profile/password").await.form("/profile/password");
    let page = sam.submit(form.fill("current_password", HERON).fill("new_password", OTTER)).await;
    assert_eq!(page.path, "/profile/security");
}

#[tokio::test]
async fn a_program_that_resets_a_password_is_known_afterwards_and_leaves_no_other_device() {
    use latchkey::accounts::session::device::Entity;
    use sea_orm::{EntityTrait, PaginatorTrait};
    let app = TestApp::start_with(&["--trusted-proxies", "127.0.0.0/8"]).await;
    app.user("sam", OTTER).await;
    let link = app.reset_link("sam@example.com", 2).await;
    let json = serde_json::json!({"token": link.rsplit('=').next().unwrap(), "new_password": HERON}).to_string();
    let post = |path: &str| reqwest::Client::new().post(format!("{}{path}", app.url));
    let complete = post("/complete_reset_password/").header("x-forwarded-for", "203.0.113.9");
    assert_eq!(complete.header("content-type", "application/json").body(json).send().await.unwrap().status(), 200);
    assert_eq!(Entity::find().count(app.app.db.read()).await.unwrap(), 1);
    while guess(&mut app.browser(), "sam").await.0 > 0 {}
    let token =
        |ip| post("/token").header("x-forwarded-for", ip).form(&[("username", "sam"), ("password", HERON)]).send();
    assert_eq!(token("198.51.100.7").await.unwrap().status(), 429, "strangers wait");
    assert_eq!(token("203.0.113.9").await.unwrap().status(), 200, "the program does not");
    assert_eq!(Entity::find().count(app.app.db.read()).await.unwrap(), 1);
}

#[tokio::test]
async fn a_client_has_only_so_many_attempts_in_browsers_that_accounts_know() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    // The test uses the attempts up itself. A client would need many accounts for this.
    let (clients, ip) = (&app.app.accounts.limits.clients, Some(std::net::Ipv4Addr::LOCALHOST.into()));
    // One more comes with each second, and the next second may begin before the request arrives.
    let mut tries = 0..10;
    let page = loop {
        while clients.take(Action::KnownLogIn, ip, app.app.now()).is_ok() {}
        let page = sam.post("/login", &[("login", "sam"), ("password", OTTER)]).await;
        if page.status == 429 || tries.next().is_none() {
            break page;
        }
    };
    page.assert_framed(429);
    assert_eq!(retry_after(&page), 1);
    app.app.clock.advance(Duration::seconds(1));
    assert_eq!(sam.post("/login", &[("login", "sam"), ("password", OTTER)]).await.status, 303);
}

/// 1000 attempts at one account must not delay all other accounts. The two names of an account do not wait for each other, or
/// an attacker could measure which address belongs to a username.
#[tokio::test]
async fn one_password_of_a_name_is_hashed_at_a_time() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    app.user("ada", OTTER).await;
    for name in ["sam", "nobody"] {
        let held = app.app.accounts.hasher.hold(name).await.unwrap();
        let mut guesser = app.browser();
        let guess = tokio::spawn(async move { guesser.log_in(name, "not this one at all").await.status });
        assert_eq!(app.browser().log_in("ada", OTTER).await.path, "/profile", "another account");
        app.browser().log_in(&format!("{name}@example.com"), "wrong").await.assert_framed(422);
        let owner = sam.post("/login", &[("login", "sam"), ("password", OTTER)]).await;
        assert_eq!(owner.status, 303, "and the owner in a browser that it knows");
        assert!(!guess.is_finished(), "{name}");
        drop(held);
        assert_eq!(guess.await.unwrap(), 422, "{name}");
    }
}

#[tokio::test]
async fn a_program_is_slowed_down_only_by_guesses_from_its_own_network() {
    let app = TestApp::start_with(&["--trusted-proxies", "127.0.0.0/8"]).await;
    app.user("sam", OTTER).await;
    let token = async |ip: &str, password: &str| {
        let form = [("username", "sam"), ("password", password)];
        let request = reqwest::Client::new().post(format!("{}/token", app.url)).header("x-forwarded-for", ip);
        request.form(&form).send().await.unwrap().status().as_u16()
    };
    assert_eq!(token("203.0.113.9", OTTER).await, 200);
    for n in 0..11 {
        assert_eq!(token("198.51.100.7", "wrong").await, if n < 4 { 400 } else { 429 }, "{n}");
    }
    assert_eq!(token("203.0.113.9", OTTER).await, 200);
}

#[tokio::test]
async fn no_client_fills_the_database_without_an_attempt() {
    use latchkey::visit_store::Entity;
    use sea_orm::{EntityTrait, PaginatorTrait};
    let app = TestApp::start().await;
    for _ in 0..40 {
        assert_eq!(app.browser().post::<&str, &str>("/logout", &[]).await.status, 303);
    }
    assert_eq!(Entity::find().count(app.app.db.read()).await.unwrap(), 0);
    for _ in 0..40 {
        app.browser().post("/profile/name", &[("full_name", "Sam")]).await;
    }
    assert_eq!(Entity::find().count(app.app.db.read()).await.unwrap(), 30);
}

#[tokio::test]
async fn the_rows_with_the_fewest_failures_are_swept_first() {
    use latchkey::accounts::limit::accounts::{ActiveModel, Entity, sweep};
    use sea_orm::{EntityTrait, PaginatorTrait, Set};
    let app = TestApp::start().await;
    guess(&mut app.browser(), "sam").await;
    let row = |n: i64| ActiveModel {
        key: Set(format!("letter {n}")),
        refilled_at: Set(app.app.now().unix_timestamp() + 3600 + n),
        failures: Set(0),
    };
    for thousand in 0..101 {
        let rows = (0..1000).map(|n| row(thousand * 1000 + n));
        Entity::insert_many(rows).exec_without_returning(app.app.db.write()).await.unwrap();
    }
    sweep(&app.app.db, app.app.now()).await.unwrap();
    assert_eq!(Entity::find().count(app.app.db.read()).await.unwrap(), 100_000);
    assert_eq!(guess(&mut app.browser(), "sam").await.0, 0, "a flood of letters forgives no failures");
    app.app.clock.advance(Duration::days(33));
    sweep(&app.app.db, app.app.now()).await.unwrap();
    assert_eq!(Entity::find().count(app.app.db.read()).await.unwrap(), 0);
}

#[tokio::test]
async fn three_letters_of_sign_ups_go_to_one_address_for_one_client() {
    let app = TestApp::start().await;
    for n in 0..5 {
        app.browser().sign_up("new@example.com", &format!("new{n}"), OTTER).await;
    }
    app.outbox_is_done().await;
    assert_eq!(app.letters_to("new@example.com", 3).await.len(), 3);
}

#[tokio::test]
async fn an_attacker_at_an_open_browser_cannot_guess_the_password_in_it() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    for n in 0..21 {
        let form = sam.open("/profile/password").await.form("/profile/password");
        let page = sam.submit(form.fill("current_password", "wrong").fill("new_password", HERON)).await;
        page.assert_framed(if n < 20 { 422 } else { 429 });
    }
    app.app.clock.advance(Duration::minutes(1));
    let form = sam.open("/profile/password").await.form("/profile/password");
    let page = sam.submit(form.fill("current_password", OTTER).fill("new_password", HERON)).await;
    assert_eq!(page.flash(), "Your password was changed. All other devices are logged out.");
}

#[tokio::test]
async fn a_clock_that_was_ahead_and_was_corrected_locks_no_user_out() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    app.app.clock.advance(Duration::days(365));
    assert_eq!(guess(&mut app.browser(), "sam").await.0, 5);
    for n in 0..6 {
        guess(&mut app.browser(), &format!("nobody{n}")).await; // until the client has no attempts left
    }
    app.app.clock.advance(-Duration::days(365));
    assert_eq!(app.browser().log_in("sam", OTTER).await.path, "/profile");
    let (looked_at, page) = guess(&mut app.browser(), "sam").await;
    assert!(looked_at <= 1 && retry_after(&page) <= 360, "the state is an ordinary one again: {}", retry_after(&page));
}

/// Sends `count` empty forms to `path`, many at once, and form n from the address `from(n)`. Returns the status of each
/// response.
async fn send_from(app: &TestApp, path: &'static str, count: u32, from: impl Fn(u32) -> String) -> Vec<u16> {
    let client = reqwest::Client::new();
    let send = |n| {
        let request = client.post(format!("{}{path}", app.url)).header("x-forwarded-for", from(n)).form(&[("a", "b")]);
        async move { request.send().await.unwrap().status().as_u16() }
    };
    stream::iter((0..count).map(send)).buffered(32).collect().await
}

fn count_of(answers: &[u16], status: u16) -> usize {
    answers.iter().filter(|answer| **answer == status).count()
}

/// An attacker can easily get an IPv6 /48, which has 65 536 networks of the size that each household has (RIPE-690).
#[tokio::test]
async fn an_ipv6_network_gets_a_few_times_the_attempts_of_one_client_for_all_its_subnets_together() {
    let app = TestApp::start_with(&["--trusted-proxies", "127.0.0.0/8"]).await;
    let looked_at = |answers: &[u16]| {
        assert_eq!(count_of(answers, 410) + count_of(answers, 429), answers.len());
        count_of(answers, 410)
    };
    let small = send_from(&app, "/not-me", 200, |n| format!("2001:db8:1:{n:x}::1")).await;
    let small = looked_at(&small);
    assert!((120..=130).contains(&small), "a /56: four clients, and what is refilled meanwhile: {small}");
    let large = send_from(&app, "/not-me", 1200, |n| format!("2001:db8:2:{:x}::1", n << 6)).await;
    let large = looked_at(&large);
    assert!((960..=1010).contains(&large), "a /48: 32 clients, and what is refilled meanwhile: {large}");
    for neighbour in ["2001:db8:1:200::1", "2001:db8:3::1", "203.0.113.9"] {
        assert_eq!(send_from(&app, "/not-me", 1, |_| neighbour.to_owned()).await, [410], "{neighbour}");
    }
}

#[tokio::test]
async fn a_flood_of_sign_ups_from_many_networks_leaves_half_of_the_sites_attempts_to_new_clients() {
    let app = TestApp::start_with(&["--trusted-proxies", "127.0.0.0/8"]).await;
    let fifty = |n: u32| format!("198.18.0.{}", n % 50);
    let answers = send_from(&app, "/signup", 1300, fifty).await;
    assert_eq!(answers.len(), count_of(&answers, 422) + count_of(&answers, 503));
    let let_in = count_of(&answers, 422);
    assert!((1000..=1150).contains(&let_in), "half of 2000, and what is refilled meanwhile: {let_in}");

    let newcomer = async |ip: &'static str| {
        let from = |request: reqwest::RequestBuilder| request.header("x-forwarded-for", ip).form(&[("a", "b")]);
        app.browser().send(reqwest::Method::POST, "/signup", from).await
    };
    newcomer("203.0.113.9").await.assert_framed(422);

    // One form each from more networks than an attacker has. Now new clients wait too, as long as all others.
    let answers = send_from(&app, "/signup", 1500, |n| format!("198.19.{}.{}", n / 200, n % 200)).await;
    assert!(count_of(&answers, 503) > 0, "there is an end to it");
    let page = newcomer("198.18.0.1").await;
    page.assert_framed(503);
    assert_eq!(page.heading(), "We're busy right now");
    assert!(retry_after(&page) >= 5);
    app.app.clock.advance(Duration::minutes(1));
    newcomer("203.0.113.10").await.assert_framed(422);
}

#[tokio::test]
async fn a_browser_that_the_account_knows_gets_its_reset_letter_while_the_site_refuses_strangers() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let mut eve = app.user("eve", OTTER).await;
    // The test takes the attempts itself. A flood as large as this would take too long.
    let mut addresses = (0..60_000).map(|n| format!("198.18.{}.{}", n / 250, n % 250));
    let clients = &app.app.accounts.limits.clients;
    let mut refused = |ip: String| {
        clients.take(Action::Letter, Some(ip.parse::<std::net::IpAddr>().unwrap()), app.app.now()).is_err()
    };
    let mut drain = || assert!(addresses.any(&mut refused), "no end");
    for email in ["nobody@example.com", "sam@example.com"] {
        // On a slow machine, the site's bucket gets an attempt back between the two.
        until("a stranger is refused", async || {
            drain();
            (eve.post("/forgot-password", &[("email", email)]).await.status == 503).then_some(())
        })
        .await;
    }
    drain();
    assert_eq!(sam.post("/forgot-password", &[("email", "sam@example.com")]).await.status, 303);
    app.letters_to("sam@example.com", 2).await;
}

/// The first letter of every client is sent, so a /48 must not be 65 536 clients here either.
#[tokio::test]
async fn an_ipv6_network_is_one_client_when_it_has_letters_of_sign_ups_sent_to_one_address() {
    let app = TestApp::start_with(&["--trusted-proxies", "127.0.0.0/8"]).await;
    for n in 0..5 {
        let name = format!("planted{n}");
        let fields = [("email", "new@example.com"), ("username", &name), ("password", OTTER)];
        let ip = format!("2001:db8:1:{n:x}00::1");
        let from = |request: reqwest::RequestBuilder| request.header("x-forwarded-for", ip).form(&fields);
        assert_eq!(app.browser().send(reqwest::Method::POST, "/signup", from).await.status, 303);
    }
    app.outbox_is_done().await;
    assert_eq!(app.letters_to("new@example.com", 3).await.len(), 3);
}

/// The doors at which an app shows its secret.
const OF_APPS: [&str; 4] = ["/oauth/token", "/oauth/par", "/oauth/revoke", "/oauth/introspect"];

/// Sends a form of an app, from this address.
async fn as_app(app: &TestApp, path: &str, ip: &str, wiki: (&str, &str), form: &[(&str, &str)]) -> Response {
    let request = reqwest::Client::new().post(format!("{}{path}", app.url)).header("x-forwarded-for", ip);
    let (id, secret) = wiki;
    let request = if secret.is_empty() {
        request.form(&[form, &[("client_id", id)]].concat())
    } else {
        request.basic_auth(id, Some(secret)).form(form)
    };
    request.send().await.unwrap()
}

/// Asserts that a client has to wait, and is told so as OAuth has it.
async fn has_to_wait(answer: Response) {
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait: u32 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    let body: Value = answer.json().await.unwrap();
    assert!((1..=2).contains(&wait) && body["error"] == "temporarily_unavailable", "{wait} {body}");
}

/// Does the same until it has to wait. Returns how often it did not have to.
async fn until_too_many(mut once: impl AsyncFnMut(usize) -> Response, expected: StatusCode) -> usize {
    for n in 0..2000 {
        let answer = once(n).await;
        if answer.status() != expected {
            has_to_wait(answer).await;
            return n;
        }
    }
    panic!("nothing stops it")
}

/// Returns how many are looked at. One more comes with each second that the test takes.
fn most(began: Instant) -> usize {
    302 + usize::try_from(began.elapsed().as_secs()).unwrap()
}

#[tokio::test]
async fn who_tries_secrets_of_an_app_has_to_wait_and_the_app_has_not() {
    let app = TestApp::start_with(&["--trusted-proxies", "127.0.0.1"]).await;
    let wiki = Wiki::register(&app, |new| new.trusted = true).await;
    let mut sam = app.user("sam", OTTER).await;
    let (stranger, made_up) = ("203.0.113.9", "A".repeat(43));
    let wrong = async |n: usize| {
        let id = if n.is_multiple_of(3) { "no id at all" } else { &wiki.id };
        as_app(&app, OF_APPS[n % 4], stranger, (id, &made_up), &[("token", "x")]).await
    };
    let began = Instant::now();
    let tried = until_too_many(wrong, StatusCode::UNAUTHORIZED).await;
    assert!((300..).contains(&tried) && tried <= most(began), "{tried}");
    for n in 0..OF_APPS.len() {
        until_too_many(async |_| wrong(n).await, StatusCode::UNAUTHORIZED).await;
    }
    let events = event::Entity::find().all(app.app.db.read()).await.unwrap();
    let noted = events.iter().filter(|event| event.kind == EventKind::LimitHit && event.ip == stranger).count();
    assert!((1..=6).contains(&noted), "{noted} events");

    // The app goes on, from another address and from that of the stranger: many servers share the address of a provider.
    for ip in ["203.0.113.10", stranger] {
        let own = (wiki.id.as_str(), wiki.secret.as_str());
        let code = code(&wiki, &mut sam, &[]).await;
        assert_eq!(as_app(&app, "/oauth/token", ip, own, &form(&code)).await.status(), 200, "{ip}");
        let asks = as_app(&app, "/oauth/introspect", ip, own, &[("token", "x")]).await;
        assert_eq!(asks.json::<Value>().await.unwrap(), json!({ "active": false }), "{ip}");
        assert_eq!(as_app(&app, "/oauth/revoke", ip, own, &[("token", "x")]).await.status(), 200, "{ip}");
        let request = [("redirect_uri", CALLBACK), ("response_type", "code"), ("code_challenge", CHALLENGE)];
        let request = [&request[..], &[("code_challenge_method", "S256"), ("scope", "openid")]].concat();
        assert_eq!(as_app(&app, "/oauth/par", ip, own, &request).await.status(), 201, "{ip}");
    }
    until_too_many(async |_| wrong(1).await, StatusCode::UNAUTHORIZED).await;
    // The app in memory may be as old as a second. What the operator has taken away opens nothing meanwhile.
    let old = wiki.secret.clone();
    let as_it_is = async || apps::by_id(app.app.db.read(), wiki.id.parse().unwrap()).await.unwrap().unwrap();
    for _ in 0..2 {
        operate::make_secret(&app.app.db, &as_it_is().await, app.app.now()).await.unwrap();
    }
    assert_ne!(as_app(&app, "/oauth/revoke", stranger, (&wiki.id, &old), &[("token", "x")]).await.status(), 200);
    assert_eq!(as_app(&app, "/oauth/revoke", "203.0.113.10", (&wiki.id, &made_up), &[]).await.status(), 401);
    app.app.clock.advance(Duration::seconds(2));
    assert_eq!(wrong(1).await.status(), 401, "one comes back in a second");
}

#[tokio::test]
async fn an_app_with_its_secret_is_never_limited_by_its_address() {
    let app = TestApp::start_with(&["--trusted-proxies", "127.0.0.1"]).await;
    let wiki = Wiki::register(&app, |_| {}).await;
    let own = (wiki.id.as_str(), wiki.secret.as_str());
    let made_up = "A".repeat(43);
    // Any visitor can make it send a code that was made up, at the address where it gets its codes.
    let ask = |n: usize| {
        let (path, form) = if n.is_multiple_of(2) {
            ("/oauth/token", form(&made_up))
        } else {
            ("/oauth/introspect", vec![("token", "x")])
        };
        let app = &app;
        async move { as_app(app, path, "203.0.113.9", own, &form).await.status().as_u16() }
    };
    let answers: Vec<u16> = stream::iter(0..800).map(ask).buffer_unordered(8).collect().await;
    assert!(answers.iter().all(|status| [200, 400].contains(status)), "{answers:?}");
}

#[tokio::test]
async fn who_tries_codes_of_an_app_without_a_secret_has_to_wait() {
    let app = TestApp::start_with(&["--trusted-proxies", "127.0.0.1"]).await;
    let phone = Wiki::register(&app, |new| (new.trusted, new.public) = (true, true)).await;
    let mut sam = app.user("sam", OTTER).await;
    let got = code(&phone, &mut sam, &[("scope", "openid offline_access")]).await;
    let (stranger, own, made_up) = ("203.0.113.9", (phone.id.as_str(), ""), "A".repeat(43));
    let answer = as_app(&app, "/oauth/token", stranger, own, &form(&got)).await;
    let got: Value = answer.json().await.unwrap();
    let refresh = |token: &str| [("grant_type", "refresh_token".to_owned()), ("refresh_token", token.to_owned())];
    let send = async |ip: &str, fields: [(&str, String); 2]| {
        let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
        as_app(&app, "/oauth/token", ip, own, &fields).await
    };
    let guess = async |n: usize| match n % 2 {
        0 => as_app(&app, "/oauth/token", stranger, own, &form(&made_up)).await,
        _ => send(stranger, refresh("made up")).await,
    };
    let began = Instant::now();
    let tried = until_too_many(guess, StatusCode::BAD_REQUEST).await;
    assert!((300..).contains(&tried) && tried <= most(began), "{tried}");
    // Its users at that address go on. A page of any site can have their browsers use the address up.
    let another = code(&phone, &mut sam, &[]).await;
    assert_eq!(as_app(&app, "/oauth/token", stranger, own, &form(&another)).await.status(), 200);
    let answer = send(stranger, refresh(got["refresh_token"].as_str().unwrap())).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert_eq!(as_app(&app, "/oauth/token", "203.0.113.10", own, &form(&made_up)).await.status(), 400);
}
