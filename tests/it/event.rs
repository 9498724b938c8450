//! Events of an account: in the table, and in plain words on the page.

use latchkey::accounts::Asked;
use latchkey::accounts::event::{self, Entity, Event, EventKind};
use sea_orm::{EntityTrait, QueryOrder};

use crate::app::TestApp;
use crate::{HERON, OTTER};

async fn events(app: &TestApp) -> Vec<Event> {
    use latchkey::accounts::event::Column;
    Entity::find().order_by_asc(Column::Id).all(app.app.db.read()).await.unwrap()
}

#[tokio::test]
async fn a_whole_life_is_noted_with_the_id_of_each_request() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let form = sam.open("/profile/password").await.form("/profile/password");
    sam.submit(form.fill("current_password", OTTER).fill("new_password", HERON)).await;
    sam.log_out().await;
    let wrong = sam.log_in("sam", OTTER).await;
    wrong.assert_framed(422);
    sam.log_in("sam", HERON).await;
    let mut other = app.browser();
    other.log_in("sam", HERON).await;
    let page = sam.open("/profile/security").await;
    sam.submit(page.form("/profile/security/log-out")).await;
    let form = [("username", "sam"), ("password", HERON)];
    reqwest::Client::new().post(format!("{}/token", app.url)).form(&form).send().await.unwrap();
    let link = app.reset_link("sam@example.com", 6).await;
    other.reset(&link, OTTER).await;

    use EventKind::{LogIn, LogInFailed, LogOut, PasswordChanged, ResetAsked, ResetDone, SessionEnded, SignUp, Token};
    let all = events(&app).await;
    let kinds: Vec<EventKind> = all.iter().map(|event| event.kind).collect();
    assert_eq!(
        kinds,
        [SignUp, LogIn, PasswordChanged, LogOut, LogInFailed, LogIn, LogIn, SessionEnded, Token, ResetAsked, ResetDone]
    );
    assert!(all.iter().all(|event| event.ip == "127.0.0.1" && event.user_id == all[0].user_id));
    assert!(all.iter().all(|event| event.request_id.len() == 16));
    assert_eq!(all[4].request_id, wrong.headers["x-request-id"].to_str().unwrap());
}

#[tokio::test]
async fn a_user_reads_what_happened_with_browser_address_and_time() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let mut eve = app.browser();
    eve.user_agent = Some("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0");
    for n in 0..10 {
        eve.log_in(["sam", "sam@example.com"][n % 2], "not this one").await.assert_framed(422);
    }
    eve.log_in("sam", "not this one").await.assert_framed(429);
    let page = sam.open("/profile/security").await;
    let (_, activity) = page.html.split_once("Recent activity").unwrap();
    for words in [
        "Too many failed log-ins: further attempts had to wait",
        "9 failed log-ins",
        "Failed log-in<",
        "Firefox on Linux",
        "127.0.0.1",
        "Logged in",
        "Account created",
    ] {
        assert!(activity.contains(words), "{words}: {activity}");
    }
    // Events of another user are not shown.
    let mut ada = app.user("ada", OTTER).await;
    assert!(!ada.open("/profile/security").await.html.contains("ailed log-in"));
}

/// Returns the lines of Recent activity on this page: what happened, and where and when.
fn activity(page: &crate::browser::Page) -> Vec<(String, String)> {
    let (what, place) = (page.texts("#activity li strong"), page.texts("#activity li p"));
    assert_eq!(what.len(), place.len());
    what.into_iter().zip(place).collect()
}

/// Logs in with a wrong password, from its own address.
async fn guess(app: &TestApp, ip: String) {
    let form = [("login", "sam"), ("password", "not this one")];
    let from = |request: reqwest::RequestBuilder| request.header("x-forwarded-for", ip).form(&form);
    app.browser().send(reqwest::Method::POST, "/login", from).await.assert_framed(422);
}

#[tokio::test]
async fn only_the_same_in_a_row_is_one_line_with_its_count_and_first_and_last_time() {
    let app = TestApp::start_with(&["--trusted-proxies", "127.0.0.0/8"]).await;
    let mut sam = app.user("sam", OTTER).await;
    for (ip, minutes) in [("203.0.113.1", 0), ("203.0.113.1", 7), ("203.0.113.2", 2), ("203.0.113.1", 3)] {
        app.app.clock.advance(time::Duration::minutes(minutes));
        guess(&app, ip.to_owned()).await;
    }
    let lines = activity(&sam.open("/profile/security").await);
    let what: Vec<&str> = lines.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(what, ["Failed log-in", "Failed log-in", "2 failed log-ins", "Logged in", "Account created"]);
    for (line, ip, times) in [(0, "203.0.113.1", 1), (1, "203.0.113.2", 1), (2, "203.0.113.1", 2)] {
        let place = &lines[line].1;
        assert!(place.starts_with(&format!("Unknown browser, {ip}, ")), "{place}");
        assert_eq!(place.matches(" at ").count(), times, "{place}");
    }
    assert!(lines[2].1.contains(" UTC to "), "{lines:?}");
}

/// Without this, an attacker who has guessed the password could fill the first page, and the log-in would be on the fifth.
#[tokio::test]
async fn guesses_from_thirty_addresses_leave_the_owners_own_events_on_the_first_page() {
    let app = TestApp::start_with(&["--trusted-proxies", "127.0.0.0/8", "--rate-limits", "off"]).await;
    let mut sam = app.user("sam", OTTER).await;
    for _ in 0..4 {
        sam.log_out().await;
        sam.log_in("sam", OTTER).await;
    }
    let mut eve = app.browser();
    eve.user_agent = Some(crate::security::FIREFOX);
    eve.log_in("sam", OTTER).await;
    for n in 0..60 {
        guess(&app, format!("203.0.113.{}", n % 30)).await;
    }
    let lines = activity(&sam.open("/profile/security").await);
    let what: Vec<&str> = lines.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(what[..5], ["Failed log-in", "Failed log-in", "Failed log-in", "57 failed log-ins", "Logged in"]);
    assert!(lines[3].1.starts_with("30 addresses, "), "{lines:?}");
    assert!(lines[4].1.starts_with("Firefox on Linux, 127.0.0.1, "), "{lines:?}");
    assert_eq!(what.iter().filter(|what| **what == "Logged out").count(), 4, "{lines:?}");
    assert_eq!(what.last(), Some(&"Account created"), "all on one page: {lines:?}");
}

#[tokio::test]
async fn recent_activity_has_pages_of_twenty() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    for _ in 0..15 {
        sam.log_out().await;
        sam.log_in("sam", OTTER).await;
        app.app.clock.advance(time::Duration::minutes(1));
    }
    let entries = |page: &crate::browser::Page| {
        let activity = page.html.split("Recent activity</h2>").nth(1).unwrap().to_owned();
        activity.split("</ul>").next().unwrap().matches("<li>").count()
    };
    let first = sam.open("/profile/security").await;
    assert_eq!(entries(&first), 20);
    assert!(first.html.contains("href=\"?activity=2#activity\""), "{}", first.html);
    let second = sam.open("/profile/security?activity=2").await;
    assert_eq!(entries(&second), 12, "a sign-up, sixteen log-ins and fifteen log-outs in all");
    assert!(second.html.contains("href=\"?activity=1#activity\"") && !second.html.contains("activity=3"));
    assert!(second.html.contains("Account created") && !first.html.contains("Account created"));
}

#[tokio::test]
async fn guesses_at_names_without_an_account_are_noted_for_the_operator() {
    let app = TestApp::start().await;
    app.browser().log_in("nobody", OTTER).await;
    let all = events(&app).await;
    assert_eq!((all.len(), all[0].kind, all[0].user_id), (1, EventKind::LogInFailed, None));
}

#[tokio::test]
async fn a_form_of_another_site_is_noted_a_few_times_and_shown_to_the_user_of_the_cookie() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    for _ in 0..8 {
        let foreign = |request: reqwest::RequestBuilder| request.header("sec-fetch-site", "same-site");
        sam.send(reqwest::Method::POST, "/logout", foreign).await.assert_framed(403);
    }
    let page = sam.open("/profile/security").await;
    assert!(page.html.contains("Form from another site refused, 5 times"), "{}", page.html);
}

#[tokio::test]
async fn a_client_that_uses_up_its_attempts_is_noted_once() {
    let app = TestApp::start().await;
    for n in 0..40 {
        app.browser().post("/signup", &[("email", format!("sam{n}"))]).await;
    }
    let all = events(&app).await;
    assert_eq!((all.len(), all[0].kind, all[0].user_id), (1, EventKind::LimitHit, None));
}

#[tokio::test]
async fn events_are_deleted_with_their_user_and_after_their_time() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let kept = time::Duration::days(90);
    let sweep = async |days| {
        let now = app.app.now() + time::Duration::days(days);
        latchkey::accounts::event::sweep(app.app.db.write(), kept, now).await.unwrap()
    };
    assert_eq!(sweep(89).await, 0);
    let user = events(&app).await[0].user_id.unwrap();
    app.browser().log_in("nobody", OTTER).await;
    latchkey::accounts::user::Entity::delete_by_id(user).exec(app.app.db.write()).await.unwrap();
    assert_eq!(events(&app).await.len(), 1, "what belongs to no account stays, for a week");
    assert_eq!((sweep(6).await, sweep(8).await), (0, 1));
}

/// A guess costs an attacker only a hash. At 100 guesses a second, they would write 8 million rows a day.
#[tokio::test]
async fn a_flood_of_guesses_at_unknown_names_is_noted_1000_times_and_hides_no_guess_at_an_account() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let (db, accounts) = (app.app.db.write(), &app.app.accounts);
    let asked = Asked {
        at: app.app.now(),
        ip: "198.51.100.7".to_owned(),
        user_agent: String::new(),
        request_id: String::new(),
    };
    for _ in 0..1100 {
        // This writes from inside, because at the door each guess costs a hash.
        event::record_of_stranger(db, accounts, (EventKind::LogInFailed, None), &asked).await.unwrap();
    }
    let count = |all: &[Event], kind: EventKind| all.iter().filter(|event| event.kind == kind).count();
    let all = events(&app).await;
    assert_eq!(count(&all, EventKind::LogInFailed), 1000);
    assert_eq!(app.app.metrics.events_left_out.get(), 100);

    app.browser().log_in("sam", HERON).await.assert_framed(422);
    sam.log_out().await;
    assert_eq!(sam.log_in("sam", OTTER).await.path, "/profile");
    let more = events(&app).await;
    assert_eq!(more.len(), all.len() + 3, "the guess at the account, the log-out and the log-in");
    app.app.clock.advance(time::Duration::minutes(1));
    app.browser().log_in("nobody", HERON).await;
    assert_eq!(count(&events(&app).await, EventKind::LogInFailed), 1002);
}
