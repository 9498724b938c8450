//! “This was not me”: the link in an email about a log-in, what its button does, and what its page says afterwards.

use futures_util::future::join_all;
use latchkey::accounts::event::{self, EventKind};
use latchkey::accounts::link::not_me_link;
use latchkey::accounts::user::email::Email;
use latchkey::accounts::{limit, operator, outbox, user};
use latchkey::clock::APART;
use latchkey::locale::Locale;
use sea_orm::{ActiveModelTrait, EntityTrait, IntoActiveModel, PaginatorTrait, Set};
use time::Duration;

use crate::app::TestApp;
use crate::browser::{Browser, Page};
use crate::database::contents;
use crate::process::until;
use crate::{HERON, OTTER};

const ADDRESS: &str = "sam@example.com";
const MINUTE: std::time::Duration = std::time::Duration::from_secs(60);
const SUBJECT: &str = "Reset your Latchkey password: you told us a log-in was not you";

/// Logs Eve in with Sam's password, in a browser that the account does not know. Returns the browser and the link in the
/// email about it. Sam then has `emails` emails.
async fn eve_logs_in(app: &TestApp, emails: usize) -> (Browser, String) {
    let mut eve = app.browser();
    assert_eq!(eve.log_in("sam", OTTER).await.path, "/profile");
    let link = app.letters_to(ADDRESS, emails).await[0].links[0].clone();
    (eve, link)
}

/// Logs in with Sam's password in another browser, which has the device token of this one. So no email tells of it.
async fn log_in_again(app: &TestApp, before: &Browser) -> Browser {
    let mut again = app.browser();
    again.cookies.insert("latchkey_device".into(), before.cookies["latchkey_device"].clone());
    assert_eq!(again.log_in("sam", OTTER).await.path, "/profile");
    again
}

/// Opens the link and uses its button.
async fn say(browser: &mut Browser, link: &str) -> Page {
    let page = browser.open(link).await;
    browser.submit(page.form("/not-me")).await
}

/// Changes the password on the page, as its owner or as a thief who knows it.
async fn change_password(browser: &mut Browser, from: &str, to: &str) -> Page {
    let form = browser.open("/profile/password").await.form("/profile/password");
    browser.submit(form.fill("current_password", from).fill("new_password", to)).await
}

/// Makes an account for Sam and logs him in, long enough ago that no difference between clocks matters.
async fn sam(app: &TestApp) -> Browser {
    let mut sam = app.user("sam", OTTER).await;
    app.began_earlier(&mut sam, MINUTE).await;
    sam
}

async fn told(app: &TestApp) -> usize {
    let events = event::Entity::find().all(app.app.db.read()).await.unwrap();
    events.iter().filter(|event| event.kind == EventKind::NotMe).count()
}

#[tokio::test]
async fn the_button_ends_that_session_and_starts_a_reset() {
    let app = TestApp::start().await;
    let mut sam = sam(&app).await;
    let (mut eve, link) = eve_logs_in(&app, 2).await;

    // Opening the link does nothing: a mail scanner opens it first.
    let mut anywhere = app.browser();
    let page = anywhere.open(&link).await;
    page.assert_framed(200);
    assert_eq!((page.path.as_str(), page.heading().as_str()), ("/not-me", "This was not me"));
    assert!(page.html.contains("127.0.0.1") && page.html.contains("sam"));
    assert!(eve.is_logged_in().await);
    // Eve's browser is known now, so no email tells of her next session. It must end as well.
    let mut again = log_in_again(&app, &eve).await;
    assert!(again.is_logged_in().await);

    anywhere.submit(page.form("/not-me")).await;
    assert!(!eve.is_logged_in().await && !again.is_logged_in().await && sam.is_logged_in().await);
    let letter = app.letters_to(ADDRESS, 3).await.remove(0);
    assert_eq!(anywhere.reset(&letter.links[0], HERON).await.path, "/login");
    eve.log_in("sam", OTTER).await.assert_framed(422);
}

#[tokio::test]
async fn it_ends_on_a_page_that_says_what_was_done_and_what_comes_next() {
    let app = TestApp::start().await;
    sam(&app).await;
    let (mut eve, link) = eve_logs_in(&app, 2).await;
    let mut again = log_in_again(&app, &eve).await;
    let mut sam = app.browser();
    let page = say(&mut sam, &link).await;
    page.assert_framed(200);
    assert_eq!((page.path.as_str(), page.heading().as_str()), ("/not-me/done", "Now choose a new password"));
    for words in [
        "2 devices are logged out: that one, and every other that has logged in since.",
        "Your old password no longer works.",
        "We emailed a link to <strong>sam@example.com</strong>. Open it within 1 hour",
    ] {
        assert!(page.html.contains(words), "{words}: {}", page.html);
    }
    assert!(!eve.is_logged_in().await && !again.is_logged_in().await);
    assert_eq!(sam.open("/not-me/done").await.heading(), page.heading(), "it can be loaded again");
    app.letters_to(ADDRESS, 3).await;
    // After a minute, the user can ask for another one.
    app.app.clock.advance(Duration::minutes(1));
    let sent = sam.submit(page.form("/forgot-password")).await;
    assert_eq!((sent.path.as_str(), sent.flash().as_str()), ("/forgot-password/sent", "We sent it again."));
    assert_eq!(app.letters_to(ADDRESS, 4).await[0].subject, "Reset your Latchkey password");
    // There is no such page without the link.
    app.browser().open("/not-me/done").await.assert_framed(410);
}

#[tokio::test]
async fn it_says_so_when_that_device_was_the_only_one_or_was_logged_out_already() {
    for (leaves, words) in
        [(false, ">That device is logged out.<"), (true, ">That device had been logged out already.<")]
    {
        let app = TestApp::start().await;
        sam(&app).await;
        let (mut eve, link) = eve_logs_in(&app, 2).await;
        if leaves {
            eve.log_out().await;
        }
        let page = say(&mut app.browser(), &link).await;
        assert!(page.html.contains(words), "{words}: {}", page.html);
    }
}

#[tokio::test]
async fn its_email_is_one_of_its_own() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let (_, link) = eve_logs_in(&app, 2).await;
    let mut sam = app.browser();
    sam.user_agent = Some(crate::security::IPHONE);
    say(&mut sam, &link).await;
    let letter = app.letters_to(ADDRESS, 3).await.remove(0);
    assert_eq!(letter.subject, SUBJECT);
    let text = letter.text.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "You told us that a log-in to sam@example.com was not you.",
        "from 127.0.0.1 (Safari on iPhone)",
        "your old password no longer works",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains("ignore"), "a user who is attacked should not ignore it: {text}");
    assert_eq!(sam.reset(&letter.links[0], HERON).await.path, "/login");
    assert_eq!(sam.log_in("sam", HERON).await.path, "/profile");
}

#[tokio::test]
async fn the_link_has_43_characters_and_only_their_digest_is_kept() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let (_, link) = eve_logs_in(&app, 2).await;
    let token = link.split_once("/not-me?token=").unwrap().1;
    assert_eq!(token.len(), 43, "{token}");
    app.outbox_is_done().await;
    assert_eq!(not_me_link::Entity::find().all(app.app.db.read()).await.unwrap().len(), 1);
    let bytes = contents(&app.app.db, app.dir.path()).await;
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("sam@example.com") && !holds(token));
}

/// The first sending may have arrived although the mail server's answer was lost.
#[tokio::test]
async fn an_email_that_is_sent_twice_has_two_links_that_both_work() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let (_, first) = eve_logs_in(&app, 2).await;
    app.outbox_is_done().await;
    let rows = outbox::Entity::find().all(app.app.db.read()).await.unwrap();
    let mut row = rows.into_iter().find(|row| row.letter == "new_device").unwrap().into_active_model();
    row.state = Set(outbox::LetterState::Waiting);
    row.update(app.app.db.write()).await.unwrap();
    app.app.accounts.bell.notify_one();
    let letters = app.letters_to(ADDRESS, 3).await;
    let links: Vec<&String> = letters.iter().filter_map(|letter| letter.links.first()).collect();
    let second = links.iter().find(|link| link.contains("/not-me") && **link != &first).unwrap();
    app.browser().open(second).await.assert_framed(200);
    assert_eq!(say(&mut app.browser(), &first).await.path, "/not-me/done");
}

#[tokio::test]
async fn opened_a_second_time_it_says_so_and_offers_only_the_email() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let (_, link) = eve_logs_in(&app, 2).await;
    let mut late = app.browser();
    let form = late.open(&link).await.form("/not-me");
    say(&mut app.browser(), &link).await;
    app.letters_to(ADDRESS, 3).await;
    app.app.clock.advance(Duration::hours(2));

    let mut sam = app.browser();
    let page = sam.open(&link).await;
    page.assert_framed(200);
    assert_eq!((page.path.as_str(), page.heading().as_str()), ("/not-me", "You have already told us"));
    assert!(!page.html.contains("action=\"/not-me\""), "{}", page.html);
    // A form in another tab does nothing more, and leads to the same page.
    let page = late.submit(form).await;
    assert_eq!((page.path.as_str(), page.heading().as_str()), ("/not-me", "You have already told us"));
    app.outbox_is_done().await;
    assert_eq!((told(&app).await, app.letters_to(ADDRESS, 3).await.len()), (1, 3));

    let sent = sam.submit(page.form("/forgot-password")).await;
    assert_eq!(sent.path, "/forgot-password/sent");
    let letter = app.letters_to(ADDRESS, 4).await.remove(0);
    assert_eq!(sam.reset(&letter.links[0], HERON).await.path, "/login");

    // After that there is nothing left to do, and nothing that would undo the reset.
    let page = sam.open(&link).await;
    page.assert_framed(200);
    assert_eq!(page.heading(), "Your password has been reset since then");
    assert!(page.html.contains("href=\"/login\"") && page.html.contains("href=\"/profile/security\""));
    assert!(!page.html.contains("<form"), "{}", page.html);
    assert_eq!(sam.log_in("sam", HERON).await.path, "/profile");
    sam.post("/not-me", &[("form_id", "")]).await;
    assert!(sam.is_logged_in().await);
}

#[tokio::test]
async fn the_link_of_another_email_about_the_same_thief_says_so_too() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let (_, first) = eve_logs_in(&app, 2).await;
    let (_, second) = eve_logs_in(&app, 3).await;
    say(&mut app.browser(), &first).await;
    assert_eq!(app.browser().open(&second).await.heading(), "You have already told us");
}

#[tokio::test]
async fn of_ten_clicks_at_once_one_counts() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let (_, link) = eve_logs_in(&app, 2).await;
    let mut browsers: Vec<Browser> = (0..10).map(|_| app.browser()).collect();
    for browser in &mut browsers {
        browser.open(&link).await;
    }
    let clicks = browsers.iter_mut().map(|browser| browser.post("/not-me", &[("a", "b")]));
    let ends: Vec<String> =
        join_all(clicks).await.iter().map(|page| page.headers["location"].to_str().unwrap().to_owned()).collect();
    assert_eq!(ends.iter().filter(|end| *end == "/not-me/done").count(), 1, "{ends:?}");
    assert_eq!(ends.iter().filter(|end| *end == "/not-me").count(), 9, "{ends:?}");
    app.outbox_is_done().await;
    assert_eq!((told(&app).await, app.letters_to(ADDRESS, 3).await.len()), (1, 3));
}

/// A thief changes the password first, so that the owner's link finds a password that was changed after the log-in.
#[tokio::test]
async fn it_works_though_the_thief_has_changed_the_password() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let (mut eve, link) = eve_logs_in(&app, 2).await;
    assert_eq!(change_password(&mut eve, OTTER, HERON).await.path, "/profile/security");
    let mut again = app.browser();
    again.log_in("sam", HERON).await;
    assert!(eve.is_logged_in().await && again.is_logged_in().await);

    let mut sam = app.browser();
    assert_eq!(say(&mut sam, &link).await.path, "/not-me/done");
    assert!(!eve.is_logged_in().await && !again.is_logged_in().await);
    // Neither password opens the account, through either door, even in a browser that the account knows.
    for password in [OTTER, HERON] {
        eve.log_in("sam", password).await.assert_framed(422);
        let form = [("username", "sam"), ("password", password)];
        let token = reqwest::Client::new().post(format!("{}/token", app.url)).form(&form).send().await.unwrap();
        assert_eq!(token.status(), 400);
    }
    let letters = app.letters_to(ADDRESS, 4).await;
    let letter = letters.iter().find(|letter| letter.subject == SUBJECT).unwrap();
    assert_eq!(sam.reset(&letter.links[0], HERON).await.path, "/login");
    assert_eq!(sam.log_in("sam", HERON).await.path, "/profile");
}

/// The owner may read the later of two emails first. A thief who logged in twice must not keep one of the sessions.
#[tokio::test]
async fn it_ends_every_session_since_the_first_log_in_that_an_email_told_of() {
    let app = TestApp::start().await;
    let mut sam = sam(&app).await;
    let (mut eve, _) = eve_logs_in(&app, 2).await;
    let (mut again, link) = eve_logs_in(&app, 3).await;
    say(&mut app.browser(), &link).await;
    assert!(!again.is_logged_in().await && !eve.is_logged_in().await);
    assert!(sam.is_logged_in().await, "which began before");
}

/// A thief's second log-in comes to a node whose clock is behind that of the first one, and so do its session's times.
#[tokio::test]
async fn it_ends_a_session_that_a_clock_behind_makes_look_older() {
    let app = TestApp::start().await;
    let mut sam = sam(&app).await;
    let (mut eve, link) = eve_logs_in(&app, 2).await;
    let mut again = log_in_again(&app, &eve).await;
    app.began_earlier(&mut again, APART).await;
    assert!(again.is_logged_in().await);
    say(&mut app.browser(), &link).await;
    assert!(!again.is_logged_in().await && !eve.is_logged_in().await && sam.is_logged_in().await);
}

#[tokio::test]
async fn a_browser_that_stays_logged_in_cannot_bring_the_old_password_back() {
    let app = TestApp::start().await;
    let mut sam = sam(&app).await;
    let (_, link) = eve_logs_in(&app, 2).await;
    let open = sam.open("/profile/password").await.form("/profile/password");
    say(&mut sam, &link).await;

    assert!(sam.is_logged_in().await, "this session is older than the thief's");
    let page = sam.open("/profile/security").await;
    assert!(page.html.contains("<dd>Turned off</dd>"), "{}", page.html);
    assert_eq!(sam.open("/profile/password").await.path, "/forgot-password");
    let page = sam.submit(open.fill("current_password", OTTER).fill("new_password", HERON)).await;
    assert_eq!(page.path, "/forgot-password", "a form that was left open leads there too");
    app.browser().log_in("sam", HERON).await.assert_framed(422);
}

/// Each email that the link causes could use up one of the few emails that an address gets, which the owner then lacks.
#[tokio::test]
async fn used_ten_times_it_sends_one_email_and_refills_no_bucket() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let (_, link) = eve_logs_in(&app, 2).await;
    // The thief has used up the emails of the address before. The owner's email comes all the same.
    for _ in 0..4 {
        app.browser().ask_reset(ADDRESS).await;
    }
    app.outbox_is_done().await;
    assert_eq!(app.letters_to(ADDRESS, 5).await.len(), 5, "sign-up, new log-in, three resets");
    assert_eq!(say(&mut app.browser(), &link).await.path, "/not-me/done");
    for _ in 0..10 {
        let mut sam = app.browser();
        sam.open(&link).await;
        assert_eq!(sam.post("/not-me", &[("form_id", "")]).await.headers["location"], "/not-me");
    }
    app.browser().ask_reset(ADDRESS).await;
    app.outbox_is_done().await;
    assert_eq!(app.letters_to(ADDRESS, 6).await.len(), 6);
}

#[tokio::test]
async fn a_link_that_was_changed_or_is_a_week_old_does_nothing() {
    let app = TestApp::start().await;
    let sam = app.user("sam", OTTER).await;
    let (_, link) = eve_logs_in(&app, 2).await;
    // The emails of earlier releases had a JWT.
    let jwt = sam.cookies["latchkey_session"].clone();
    let first = link.len() - 43;
    let other = if link[first..].starts_with('A') { 'Q' } else { 'A' };
    let cut = &link[..link.len() - 1];
    for bad in [
        cut.to_owned(),
        format!("{link}x"),
        format!("{}{other}{}", &link[..first], &link[first + 1..]),
        format!("{}/not-me?token={jwt}", app.url),
        format!("{}/not-me", app.url),
    ] {
        let mut browser = app.browser();
        let page = browser.open(&bad).await;
        page.assert_framed(410);
        for way_out in ["href=\"/profile/security\"", "href=\"/forgot-password\""] {
            assert!(page.html.contains(way_out), "{way_out}");
        }
        browser.post("/not-me", &[("form_id", "")]).await.assert_framed(410);
    }
    // The token is not a session either.
    let token = link.split_once("token=").unwrap().1.to_owned();
    let mut eve = app.browser();
    eve.cookies.insert("latchkey_session".into(), token.clone());
    assert!(!eve.is_logged_in().await);
    let me = reqwest::Client::new().get(format!("{}/users/me/", app.url)).bearer_auth(&token).send().await.unwrap();
    assert_eq!(me.status(), 401);
    // It does not reset the password either.
    app.browser().open(&link.replace("/not-me", "/reset-password")).await.assert_framed(410);

    app.app.clock.advance(Duration::days(7));
    let mut late = app.browser();
    late.open(&link).await.assert_framed(410);
    late.cookies.insert("latchkey_not_me".into(), token);
    late.post("/not-me", &[("form_id", "")]).await.assert_framed(410);
    assert_eq!(not_me_link::sweep(app.app.db.write(), app.app.now()).await.unwrap(), 1);
}

/// The thief has a copy of the cookie of a session that began before the log-in which the owner has reported.
#[tokio::test]
async fn what_an_older_session_does_later_is_another_report() {
    let app = TestApp::start().await;
    let mut copied = sam(&app).await;
    let mut other = log_in_again(&app, &copied).await;
    app.began_earlier(&mut other, MINUTE).await;
    let (_, link) = eve_logs_in(&app, 2).await;
    assert_eq!(say(&mut app.browser(), &link).await.path, "/not-me/done");
    assert!(copied.is_logged_in().await);

    let others = copied.open("/profile/security").await.form("/profile/security/log-out");
    copied.submit(others).await;
    app.outbox_is_done().await;
    let letters = app.letters_to(ADDRESS, 4).await;
    let letter = letters.iter().find(|letter| letter.subject.contains("logged out of")).unwrap();
    let page = say(&mut app.browser(), &letter.links[0]).await;
    assert_eq!(page.path, "/not-me/done");
    assert!(!copied.is_logged_in().await);
}

/// The next user of this browser could remove the password with it.
#[tokio::test]
async fn the_link_stays_in_the_browser_for_fifteen_minutes() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let (_, link) = eve_logs_in(&app, 2).await;
    let page = app.browser().send(reqwest::Method::GET, &link, |request| request).await;
    let cookie = page.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("latchkey_not_me=") && cookie.contains("Max-Age=900"), "{cookie}");
}

/// An operator gives the account another address while a log-in waits for the hash: the old mailbox need not be the owner's.
#[tokio::test]
async fn the_email_about_a_log_in_goes_to_the_address_that_the_account_has_by_then() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let counted = async || limit::accounts::Entity::find().count(app.app.db.read()).await.unwrap();
    let before = counted().await;
    let held = app.app.accounts.hasher.hold("sam").await.unwrap();
    let mut eve = app.browser();
    let log_in = tokio::spawn(async move { eve.log_in("sam", OTTER).await.path });
    until("the log-in has read the user", async || (counted().await > before).then_some(())).await;
    let sam = user::by_login(app.app.db.read(), "sam").await.unwrap().unwrap();
    let new = Email::parse("new@example.com").unwrap();
    let set = operator::set_email(&app.app.db, &sam, (&new, Locale::En), app.app.now()).await;
    assert!(set.unwrap().is_ok());
    drop(held);
    assert_eq!(log_in.await.unwrap(), "/profile");
    app.outbox_is_done().await;
    let letters = app.letters().await;
    let told: Vec<_> = letters.iter().filter(|letter| letter.links[0].contains("/not-me")).collect();
    assert_eq!(told.iter().map(|letter| letter.to.as_str()).collect::<Vec<_>>(), ["new@example.com"]);
}

#[tokio::test]
async fn the_link_goes_with_its_user() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let (_, link) = eve_logs_in(&app, 2).await;
    let user = event::Entity::find().one(app.app.db.read()).await.unwrap().unwrap().user_id.unwrap();
    latchkey::accounts::user::Entity::delete_by_id(user).exec(app.app.db.write()).await.unwrap();
    app.browser().open(&link).await.assert_framed(410);
}
