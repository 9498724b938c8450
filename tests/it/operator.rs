//! The commands with which an operator manages users' accounts, while the site runs.

use latchkey::accounts::link::pending_signup;
use latchkey::accounts::outbox::LetterState;
use reqwest::Client;
use sea_orm::{EntityTrait, PaginatorTrait};
use serde_json::Value;

use crate::app::Letter;
use crate::process::{Process, Ran, confirm, forget, sign_up, until};
use crate::{HERON, OTTER};

fn refused(ran: &Ran, words: &[&str]) {
    assert_eq!((ran.code, ran.out.as_str(), ran.err.lines().count()), (Some(1), "", 1), "{ran:?}");
    words.iter().for_each(|word| assert!(ran.err.contains(word), "{word}: {}", ran.err));
}

/// Waits for the email to this address with this subject.
async fn letter(process: &Process, address: &str, subject: &str) -> Letter {
    let arrived = async || process.letters(address).await.into_iter().find(|letter| letter.subject == subject);
    until(subject, arrived).await
}

/// Asks for a token. Returns the status and the body.
async fn token(process: &Process, password: &str) -> (u16, Value) {
    let fields = [("username", "sam"), ("password", password)];
    let answer = Client::new().post(format!("{}/token", process.url)).form(&fields).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Returns the kinds of a user's events, newest first.
fn events(process: &Process, login: &str) -> Vec<String> {
    let json: Value = serde_json::from_str(&process.done(&["user", "events", login, "--json"])).unwrap();
    json.as_array().unwrap().iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_account_made_by_the_operator_opens_by_the_link() {
    let process = Process::serving(&[]).await;
    sign_up(&mut process.browser(), "dora", OTTER).await; // an attacker's sign-up, which reserves nothing
    process.link("dora@example.com", 1).await;
    let out = process.done(&["user", "create", "dora@example.com", "Dora", "--full-name", "Dora Doe"]);
    let [words, link] = out.lines().collect::<Vec<_>>()[..] else { panic!("{out}") };
    assert!(link.starts_with(&format!("{}/reset-password?token=", process.url)), "{out}");
    for word in ["Created Dora (dora@example.com)", "1 hour", "latchkey user reset-link Dora"] {
        assert!(words.contains(word), "{word}: {words}");
    }
    let shown = process.done(&["user", "show", "dora"]);
    assert!(shown.contains("Dora Doe") && shown.contains("Password:      none"), "{shown}");
    assert_eq!(process.browser().log_in("dora", "!").await.status, 422, "no password opens it");
    assert_eq!(pending_signup::Entity::find().count(process.db().await.read()).await.unwrap(), 0);

    // The address gets an email without any text that was typed. Its reader can ask for a link to choose a password.
    let told = letter(&process, "dora@example.com", "Your Latchkey account").await;
    assert_eq!(told.links[0], format!("{}/forgot-password", process.url));
    assert!(!told.text.contains("Doe") && !told.text.contains("Dora"), "{}", told.text);

    let mut dora = process.browser();
    assert_eq!(dora.reset(link, HERON).await.path, "/login");
    assert_eq!(dora.log_in("dora@example.com", HERON).await.path, "/profile");
    dora.open(link).await.assert_framed(410);
    assert!(dora.open("/profile/security").await.html.contains("Account created by an administrator"));
    assert_eq!(events(&process, "dora").last().unwrap(), "user_created");
}

#[tokio::test]
async fn an_account_that_cannot_be_is_refused_in_one_line() {
    let process = Process::serving(&[]).await;
    process.user("sam", OTTER).await;
    for (address, username, words) in [
        ("Sam@example.com", "samuel", "Sam@example.com has an account already"),
        ("other@example.com", "SAM", "SAM is taken"),
        ("sam", "samuel", "sam: Enter an email address"),
        ("other@example.com", "x", "x: Username must be 3 characters"),
        ("other@example.com", "admin", "admin: This username is reserved"),
    ] {
        refused(&process.run(&["user", "create", address, username]), &[words]);
    }
    let long = "x".repeat(101);
    refused(&process.run(&["user", "create", "a@example.com", "ada", "--full-name", &long]), &["--full-name: "]);
    refused(&process.run(&["user", "set-email", "sam", "nowhere"]), &["nowhere: Enter an email address"]);
    process.user("ada", OTTER).await;
    refused(&process.run(&["user", "set-email", "sam", "ADA@example.com"]), &["has an account already"]);
    refused(&process.run(&["user", "set-email", "sam", "sam@example.com"]), &["sam has that address already"]);
    assert_eq!(process.done(&["user", "list"]).lines().count(), 2);
    for command in ["disable", "enable", "sessions", "log-out", "events"] {
        refused(&process.run(&["user", command, "nobody"]), &["no user nobody", "latchkey user list"]);
    }
}

#[tokio::test]
async fn a_disabled_account_is_closed_at_once_and_says_so_to_its_owner_only() {
    let process = Process::serving(&[]).await;
    let mut sam = process.user("sam", OTTER).await;
    forget(&mut process.browser(), "sam@example.com").await;
    let old_link = process.link("sam@example.com", 2).await;
    let made = token(&process, OTTER).await.1;
    let me =
        Client::new().get(format!("{}/users/me/", process.url)).bearer_auth(made["access_token"].as_str().unwrap());
    assert_eq!(me.try_clone().unwrap().send().await.unwrap().status(), 200);

    let out = process.done(&["user", "disable", "sam"]);
    assert_eq!(
        out,
        "Disabled sam (sam@example.com) and ended 2 sessions. `latchkey user enable sam` opens the account again.\n"
    );
    assert!(!sam.is_logged_in().await);
    assert_eq!(me.send().await.unwrap().status(), 401);
    process.browser().open(&old_link).await.assert_framed(410);
    refused(&process.run(&["user", "reset-link", "sam"]), &["sam is disabled", "latchkey user enable sam"]);
    refused(&process.run(&["user", "disable", "sam"]), &["sam is disabled already"]);

    // With the right password, the owner sees that the account is disabled. For an attacker it is like any other account.
    let page = sam.log_in("sam", OTTER).await;
    assert_eq!((page.status.as_u16(), page.path.as_str()), (422, "/login"));
    assert_eq!(page.problems(), ["This account is disabled. Contact an administrator of this site"]);
    let wrong = sam.log_in("sam", HERON).await;
    let unknown = sam.log_in("nobody", HERON).await;
    assert_eq!((wrong.status, wrong.problems()), (unknown.status, unknown.problems()));
    let (status, body) = token(&process, OTTER).await;
    assert_eq!((status, &body["error"]), (400, &"invalid_grant".into()));
    assert!(body["detail"].as_str().unwrap().starts_with("This account is disabled"), "{body}");
    assert_eq!(token(&process, HERON).await.1["detail"], "Incorrect username or password");

    // A reset is dropped as for an unknown address, and no link of any kind is sent.
    forget(&mut process.browser(), "sam@example.com").await;
    let dropped =
        async || process.outbox().await.last().is_some_and(|row| row.state == LetterState::Dropped).then_some(());
    until("the reset is dropped", dropped).await;
    assert!(
        process.letters("sam@example.com").await.iter().filter(|letter| letter.subject.contains("Reset")).count() == 1
    );
    let (list, shown) = (process.done(&["user", "list"]), process.done(&["user", "show", "sam"]));
    assert!(list.contains("disabled since") && shown.contains("Disabled:      since"), "{list}{shown}");

    assert_eq!(process.done(&["user", "enable", "sam"]), "Enabled sam (sam@example.com).\n");
    refused(&process.run(&["user", "enable", "sam"]), &["sam is not disabled"]);
    assert!(!sam.is_logged_in().await, "what has ended stays ended");
    process.browser().open(&old_link).await.assert_framed(410);
    assert_eq!(sam.log_in("sam", OTTER).await.path, "/profile");
    let html = sam.open("/profile/security").await.html;
    for words in ["Account disabled by an administrator", "Account enabled by an administrator", "Log-in refused"] {
        assert!(html.contains(words), "{words}: {html}");
    }
    assert!(!process.done(&["user", "list"]).contains("disabled"));
}

#[tokio::test]
async fn a_log_in_that_is_under_way_does_not_open_an_account_that_is_being_disabled() {
    // The check of the password takes a second. The account is disabled meanwhile.
    let process = Process::hashing_slowly().await;
    process.user("sam", OTTER).await;
    let mut sam = process.browser();
    let log_in = async move {
        let page = sam.log_in("sam", OTTER).await;
        (page, sam)
    };
    let log_in = process.until_hashing(log_in).await;
    process.done(&["user", "disable", "sam"]);
    assert!(!log_in.is_finished(), "the log-in was too fast for this test");
    let (page, mut sam) = log_in.await.unwrap();
    assert_eq!((page.status.as_u16(), page.path.as_str()), (422, "/login"), "{}", page.html);
    assert!(!sam.is_logged_in().await);
    assert_eq!(process.done(&["user", "sessions", "sam"]), "");
}

#[tokio::test]
async fn a_link_that_says_this_was_not_me_is_void_once_the_account_is_disabled() {
    let process = Process::serving(&[]).await;
    process.user("sam", OTTER).await;
    process.browser().log_in("sam", OTTER).await;
    let not_me = process.link("sam@example.com", 2).await;
    process.done(&["user", "disable", "sam"]);
    process.browser().open(&not_me).await.assert_framed(410);
    process.done(&["user", "enable", "sam"]);
    process.browser().open(&not_me).await.assert_framed(200);
}

#[tokio::test]
async fn an_address_that_the_operator_sets_takes_the_place_of_the_old_one() {
    let process = Process::serving(&[]).await;
    let mut sam = process.user("sam", OTTER).await;
    process.browser().log_in("sam", OTTER).await;
    let not_me = process.link("sam@example.com", 2).await;
    forget(&mut process.browser(), "sam@example.com").await;
    let old_link = process.link("sam@example.com", 3).await;
    let mut stranger = process.browser();
    sign_up(&mut stranger, "new", OTTER).await; // with new@example.com
    let planted = process.link("new@example.com", 1).await;

    let out = process.done(&["user", "set-email", "sam", "New@example.com"]);
    assert_eq!(out, "sam has the address New@example.com now; it was sam@example.com. Both are told by email.\n");
    assert!(sam.is_logged_in().await, "the sessions stay");
    assert!(sam.open("/profile").await.html.contains("New@example.com"));
    assert!(sam.open("/profile/security").await.html.contains("Email address set by an administrator"));
    process.browser().open(&old_link).await.assert_framed(410);
    process.browser().open(&not_me).await.assert_framed(410);
    stranger.open(&planted).await.assert_framed(410);
    assert_eq!(process.browser().log_in("sam@example.com", OTTER).await.status, 422);
    assert_eq!(process.browser().log_in("new@example.com", OTTER).await.path, "/profile");

    let old = "Your email address was removed from your Latchkey account";
    let (old, new) =
        (letter(&process, "sam@example.com", old).await, "Your email address was added to a Latchkey account");
    let new = letter(&process, "New@example.com", new).await;
    assert!(
        !format!("{old:?}").to_lowercase().contains("new@example.com"),
        "the old mailbox does not learn the new one"
    );
    assert_eq!(new.links[0], format!("{}/forgot-password", process.url));
    assert!(!new.text.contains("sam"), "{}", new.text);

    forget(&mut process.browser(), "new@example.com").await;
    let reset = letter(&process, "New@example.com", "Reset your Latchkey password").await;
    assert_eq!(process.browser().reset(&reset.links[0], HERON).await.path, "/login");
    assert!(events(&process, "sam").contains(&"email_set".to_owned()));
    // The old address is free again.
    let mut other = process.browser();
    other.sign_up("sam@example.com", "samuel", OTTER).await;
    let link = process.link("sam@example.com", 5).await;
    assert_eq!(confirm(&mut other, &link).await.path, "/profile");
}

#[tokio::test]
async fn sessions_are_listed_and_ended_one_or_all() {
    let process = Process::serving(&[]).await;
    let mut first = process.user("sam", OTTER).await;
    let (mut second, mut third) = (process.browser(), process.browser());
    second.user_agent = Some("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0");
    for browser in [&mut second, &mut third] {
        assert_eq!(browser.log_in("sam", OTTER).await.path, "/profile");
    }
    token(&process, OTTER).await;
    let out = process.done(&["user", "sessions", "sam"]);
    assert_eq!(out.lines().count(), 4, "{out}");
    let line = out.lines().find(|line| line.contains("Firefox on Linux")).unwrap();
    assert!(line.contains("browser") && line.contains("127.0.0.1") && line.contains("UTC"), "{line}");
    assert!(out.lines().any(|line| line.contains("api")), "{out}");

    let id = line.split_whitespace().next().unwrap();
    assert_eq!(process.done(&["user", "log-out", "sam", id]), "Ended 1 session of sam (sam@example.com).\n");
    assert!(!second.is_logged_in().await && first.is_logged_in().await && third.is_logged_in().await);
    refused(&process.run(&["user", "log-out", "sam", id]), &["sam has no session", "latchkey user sessions sam"]);
    process.user("ada", OTTER).await;
    let adas = process.done(&["user", "sessions", "ada"]);
    refused(&process.run(&["user", "log-out", "sam", adas.split_whitespace().next().unwrap()]), &["no session"]);

    assert_eq!(process.done(&["user", "log-out", "sam"]), "Ended 3 sessions of sam (sam@example.com).\n");
    assert!(!first.is_logged_in().await && !third.is_logged_in().await);
    assert_eq!(process.done(&["user", "log-out", "sam"]), "sam (sam@example.com) was not logged in anywhere.\n");
    assert_eq!(events(&process, "sam").iter().filter(|event| *event == "logged_out").count(), 2);
    assert_eq!(first.log_in("sam", OTTER).await.path, "/profile");
    assert!(first.open("/profile/security").await.html.contains("Logged out by an administrator"));
    let lines = process.done(&["user", "events", "sam"]);
    assert!(lines.lines().next().is_some_and(|line| line.contains("log_in")), "the newest first: {lines}");
}

#[tokio::test]
async fn a_reset_that_is_under_way_does_not_open_an_account_that_is_being_disabled() {
    let process = Process::hashing_slowly().await;
    process.user("sam", OTTER).await;
    let link = process.done(&["user", "reset-link", "sam"]);
    let mut sam = process.browser();
    let reset = process.until_hashing(async move { sam.reset(link.trim(), HERON).await }).await;
    process.done(&["user", "disable", "sam"]);
    assert!(!reset.is_finished(), "the reset was too fast for this test");
    reset.await.unwrap().assert_framed(410);
    process.done(&["user", "enable", "sam"]);
    assert_eq!(process.browser().log_in("sam", OTTER).await.path, "/profile", "the password is the old one");
}
