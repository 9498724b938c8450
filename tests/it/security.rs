//! The sessions of a user, and how the user ends them.

use crate::app::TestApp;
use crate::browser::{Browser, Page};
use crate::{HERON, OTTER};

pub const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";
pub const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1";

async fn with(app: &TestApp, user_agent: &'static str) -> Browser {
    let mut browser = app.browser();
    browser.user_agent = Some(user_agent);
    assert_eq!(browser.log_in("sam", OTTER).await.path, "/profile");
    browser
}

/// Returns the name and the value of an input, given the HTML after `<input`.
fn name_and_value(input: &str) -> (String, String) {
    let attribute =
        |name: &str| input.split(&format!("{name}=\"")).nth(1).unwrap().split('"').next().unwrap().to_owned();
    (attribute("name"), attribute("value"))
}

/// Returns the IDs of the other sessions, in the order of the page.
fn others(page: &Page) -> Vec<String> {
    let ids = page.html.split("name=\"session\" value=\"").skip(1);
    ids.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_user_sees_their_sessions_and_ends_one() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let mut desk = with(&app, FIREFOX).await;
    app.app.clock.advance(time::Duration::minutes(1));
    let mut phone = with(&app, IPHONE).await;
    let page = desk.open("/profile/security").await;
    page.assert_framed(200);
    for text in ["Firefox on Linux", "Safari on iPhone", "This device", "127.0.0.1", "Unknown browser", "Set on "] {
        assert!(page.html.contains(text), "{text}: {}", page.html);
    }
    assert_eq!(page.html.matches("This device").count(), 1);
    let places = others(&page);
    assert_eq!(places.len(), 2);

    // The phone was used last.
    let form = page.form("/profile/security/log-out").fill("session", &places[0]);
    let page = desk.submit(form).await;
    assert_eq!((page.path.as_str(), page.flash().as_str()), ("/profile/security", "That device is logged out."));
    let (places, activity) = page.html.split_once("Recent activity").unwrap();
    assert!(!places.contains("Safari on iPhone") && activity.contains("Safari on iPhone"));
    assert!(desk.is_logged_in().await && !phone.is_logged_in().await);
}

#[tokio::test]
async fn all_other_sessions_end_at_once() {
    let app = TestApp::start().await;
    let mut first = app.user("sam", OTTER).await;
    let mut ada = app.user("ada", OTTER).await;
    let (mut desk, mut phone) = (with(&app, FIREFOX).await, with(&app, IPHONE).await);
    let page = desk.open("/profile/security").await;
    let mut form = page.form("/profile/security/log-out");
    form.fields = page.html.rsplit("<form").next().unwrap().split("<input").skip(1).map(name_and_value).collect();
    assert!(form.fields.contains(&("others".into(), "1".into())), "the last form is that for all: {form:?}");
    for nothing in ["", "session=", "session=x", "session=a&session=b", "others=1&others=1"] {
        let posted = |request: reqwest::RequestBuilder| {
            request.header("content-type", "application/x-www-form-urlencoded").body(nothing)
        };
        desk.send(reqwest::Method::POST, "/profile/security/log-out", posted).await;
        assert!(phone.is_logged_in().await, "{nothing}");
    }
    let page = desk.submit(form).await;
    assert_eq!((page.path.as_str(), page.flash().as_str()), ("/profile/security", "All other devices are logged out."));
    assert_eq!((others(&page).len(), page.html.contains("Log out all other devices")), (0, false));
    assert!(desk.is_logged_in().await && ada.is_logged_in().await);
    assert!(!phone.is_logged_in().await && !first.is_logged_in().await);
}

/// A copied cookie belongs to the session that acts, so “all others” would not include it (ASVS 5.0, 7.2.4).
#[tokio::test]
async fn a_copied_cookie_ends_when_its_owner_changes_the_password_or_logs_all_others_out() {
    let app = TestApp::start().await;
    for (name, path, fields) in [
        ("sam", "/profile/password", &[("current_password", OTTER), ("new_password", HERON)][..]),
        ("ada", "/profile/security/log-out", &[("others", "1")]),
    ] {
        let mut owner = app.user(name, OTTER).await;
        let (mut thief, before) = (owner.clone(), owner.cookies.clone());
        assert_eq!(owner.post(path, fields).await.headers["location"], "/profile/security");
        for cookie in ["latchkey_session", "latchkey_device"] {
            assert_ne!(owner.cookies[cookie], before[cookie], "{cookie} after {path}");
        }
        assert!(owner.is_logged_in().await, "{path}");
        assert!(!thief.is_logged_in().await, "{path}");
        // The copied device token is worthless too: a log-in with it counts as one from an unknown browser.
        let password = if name == "sam" { HERON } else { OTTER };
        assert_eq!(thief.log_in(name, password).await.path, "/profile");
        let subject = "New log-in to your Latchkey account";
        let letters = app.letters_to(&format!("{name}@example.com"), if name == "sam" { 3 } else { 2 }).await;
        assert!(letters.iter().any(|letter| letter.subject == subject), "{path}: {letters:?}");
    }
}

/// A session that gets another ID keeps the time of its log-in, or it could be kept alive without end.
#[tokio::test]
async fn a_session_that_gets_another_id_lasts_no_longer() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    for _ in 0..13 {
        app.app.clock.advance(time::Duration::minutes(110));
        sam.post("/profile/security/log-out", &[("others", "1")]).await;
    }
    assert!(sam.is_logged_in().await, "after 23 hours and 50 minutes");
    app.app.clock.advance(time::Duration::minutes(11));
    assert!(!sam.is_logged_in().await);
}

/// A thief of one session could otherwise fill the disk, and push the log-in that gave it out of Recent activity.
#[tokio::test]
async fn logging_others_out_again_and_again_leaves_no_events_and_is_limited() {
    use latchkey::accounts::event::Entity;
    use sea_orm::{EntityTrait, PaginatorTrait};
    let app = TestApp::start().await;
    let mut thief = app.user("sam", OTTER).await;
    let before = Entity::find().count(app.app.db.read()).await.unwrap();
    let mut last = 0;
    for _ in 0..40 {
        last = thief.post("/profile/security/log-out", &[("others", "1")]).await.status.as_u16();
    }
    assert_eq!(last, 429);
    // One row about the client that used up its limit, and none about sessions that did not exist.
    assert_eq!(Entity::find().count(app.app.db.read()).await.unwrap() - before, 1);
}

/// A thief who has only the session cookie must not make a browser known, because a known browser has attempts of its own
/// at the password.
#[tokio::test]
async fn logging_all_others_out_makes_no_browser_known() {
    use latchkey::accounts::session::device::Entity;
    use sea_orm::{EntityTrait, PaginatorTrait};
    let app = TestApp::start().await;
    let mut thief = app.user("sam", OTTER).await;
    thief.cookies.remove("latchkey_device");
    thief.post("/profile/security/log-out", &[("others", "1")]).await;
    assert!(thief.is_logged_in().await);
    assert_eq!(Entity::find().count(app.app.db.read()).await.unwrap(), 0);
}

const LOGGED_OUT: &str = "logged out of your Latchkey account";

/// Returns the number of emails to Sam about devices that were logged out.
async fn told(app: &TestApp) -> usize {
    app.outbox_is_done().await;
    let letters = app.letters_to("sam@example.com", 1).await;
    letters.iter().filter(|letter| letter.subject.contains(LOGGED_OUT)).count()
}

/// An owner who is logged out by a thief sees no more than a log-in page, and does not think of a thief.
#[tokio::test]
async fn an_email_tells_of_log_outs_from_a_browser_that_is_new_to_the_account() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let mut phone = with(&app, IPHONE).await;
    let mut eve = with(&app, FIREFOX).await;
    app.letters_to("sam@example.com", 3).await;
    eve.post("/profile/security/log-out", &[("others", "1")]).await;
    assert!(!sam.is_logged_in().await && !phone.is_logged_in().await && eve.is_logged_in().await);
    let letter = app.letters_to("sam@example.com", 4).await.remove(0);
    assert_eq!(letter.subject, format!("2 devices were {LOGGED_OUT}"));
    assert!(letter.text.contains("127.0.0.1") && letter.text.contains("(Firefox on Linux)"), "{}", letter.text);
    let page = eve.open("/profile/security").await;
    assert!(page.html.contains("<strong>Logged out all other devices</strong>"), "{}", page.html);

    // The link ends the session that logged the others out, which has another ID by now.
    let page = sam.open(&letter.links[0]).await;
    assert!(page.html.contains("someone logged other devices out of the account of <strong>sam"), "{}", page.html);
    assert_eq!(sam.submit(page.form("/not-me")).await.path, "/not-me/done");
    assert!(!eve.is_logged_in().await);
}

#[tokio::test]
async fn an_email_tells_of_single_log_outs_too_and_not_of_log_outs_that_ended_no_session() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let mut eve = with(&app, FIREFOX).await;
    let sams = others(&eve.open("/profile/security").await).remove(0);
    // These requests must not use up the emails about the next ones.
    for _ in 0..5 {
        let unknown = "00000000-0000-0000-0000-000000000000";
        eve.post("/profile/security/log-out", &[("session", unknown)]).await;
    }
    assert_eq!(told(&app).await, 0);
    eve.post("/profile/security/log-out", &[("session", &sams)]).await;
    assert_eq!(told(&app).await, 1);
    for _ in 0..5 {
        eve.post("/profile/security/log-out", &[("others", "1")]).await;
    }
    assert_eq!(told(&app).await, 1);
    // Many log-outs must not fill the mailbox.
    for _ in 0..4 {
        app.browser().log_in("sam@example.com", OTTER).await;
        eve.post("/profile/security/log-out", &[("others", "1")]).await;
    }
    assert_eq!(told(&app).await, 3);
    // But the owner learns of all of them: those beyond the limit wait in one email.
    app.app.clock.advance(time::Duration::hours(1));
    app.app.accounts.bell.notify_one();
    assert_eq!(told(&app).await, 4);
    // The email about the log-ins goes out at the same moment.
    let letters = app.letters_to("sam@example.com", 1).await;
    let newest: Vec<_> = letters.iter().take(2).map(|letter| letter.subject.as_str()).collect();
    assert!(newest.contains(&"2 devices were logged out of your Latchkey account"), "{newest:?}");
}

/// Several log-outs of one session at the same moment end it once. They must not use up the emails: the log-out that
/// matters still has its own.
#[tokio::test]
async fn log_outs_at_the_same_moment_cannot_use_up_the_emails() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    for _ in 0..3 {
        with(&app, IPHONE).await;
    }
    let mut eve = with(&app, FIREFOX).await;
    let one = others(&eve.open("/profile/security").await).remove(0);
    let at_once = (0..8).map(|_| {
        let (mut eve, one) = (eve.clone(), one.clone());
        async move { eve.post("/profile/security/log-out", &[("session", &one)]).await }
    });
    futures_util::future::join_all(at_once).await;
    eve.post("/profile/security/log-out", &[("others", "1")]).await;
    app.outbox_is_done().await; // the clock would end the lease of a letter, which would be sent twice
    app.app.clock.advance(time::Duration::hours(4));
    app.app.accounts.bell.notify_one();
    app.outbox_is_done().await;
    let letters = app.letters_to("sam@example.com", 1).await;
    let counts: Vec<u32> = letters
        .iter()
        .filter_map(|letter| letter.subject.strip_suffix(" logged out of your Latchkey account"))
        .map(|count| if count.starts_with("A device") { 1 } else { count.split(' ').next().unwrap().parse().unwrap() })
        .collect();
    assert_eq!(counts.iter().sum::<u32>(), 4, "{counts:?}");
}

#[tokio::test]
async fn an_email_tells_of_log_outs_from_a_browser_without_a_device_token() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    with(&app, IPHONE).await;
    app.app.clock.advance(time::Duration::days(8));
    sam.log_in("sam", OTTER).await;
    with(&app, IPHONE).await;
    let mut eve = sam.clone();
    eve.cookies.remove("latchkey_device");
    eve.post("/profile/security/log-out", &[("others", "1")]).await;
    assert_eq!(told(&app).await, 1);
}

#[tokio::test]
async fn no_email_tells_of_log_outs_from_a_browser_that_has_been_known_for_a_week() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    app.app.clock.advance(time::Duration::days(8));
    sam.log_in("sam", OTTER).await;
    let mut phone = with(&app, IPHONE).await;
    sam.post("/profile/security/log-out", &[("others", "1")]).await;
    assert!(!phone.is_logged_in().await);
    assert_eq!(told(&app).await, 0);
}

#[tokio::test]
async fn a_user_cannot_log_another_user_out() {
    let app = TestApp::start().await;
    let mut eve = app.user("eve", HERON).await;
    app.user("sam", OTTER).await;
    let mut sam = with(&app, FIREFOX).await;
    let mut also_sam = with(&app, IPHONE).await;
    let sams = others(&also_sam.open("/profile/security").await);
    for place in [sams[0].as_str(), sams[1].as_str(), "x", "00000000-0000-0000-0000-000000000000", "' or 1=1 --"] {
        let page = eve.post("/profile/security/log-out", &[("session", place)]).await;
        assert_eq!(page.headers["location"], "/profile/security", "the same answer for all");
    }
    assert!(sam.is_logged_in().await && also_sam.is_logged_in().await && eve.is_logged_in().await);
    assert!(!eve.open("/profile/security").await.html.contains("Firefox"));
}

#[tokio::test]
async fn a_session_shows_where_it_was_used_last() {
    let app = TestApp::start_with(&["--trusted-proxies", "127.0.0.0/8"]).await;
    app.user("sam", OTTER).await;
    let mut thief = with(&app, FIREFOX).await;
    app.app.clock.advance(time::Duration::minutes(6));
    let from = |request: reqwest::RequestBuilder| request.header("x-forwarded-for", "203.0.113.9");
    thief.send(reqwest::Method::GET, "/profile", from).await;
    let html = with(&app, IPHONE).await.open("/profile/security").await.html;
    assert!(html.contains("<bdi>203.0.113.9</bdi>, logged in "), "{html}");
}

/// Users of a screen reader cannot tell twelve buttons apart that are all called “Log out: Chrome on Linux”.
#[tokio::test]
async fn each_log_out_button_is_named_by_its_browser_address_and_times() {
    let app = TestApp::start_with(&["--trusted-proxies", "127.0.0.0/8"]).await;
    let mut sam = app.user("sam", OTTER).await;
    for ip in ["203.0.113.8", "203.0.113.9"] {
        let form = [("login", "sam"), ("password", OTTER)];
        let from = |request: reqwest::RequestBuilder| request.header("x-forwarded-for", ip).form(&form);
        let mut browser = app.browser();
        browser.user_agent = Some(FIREFOX);
        app.app.clock.advance(time::Duration::minutes(1));
        assert_eq!(browser.send(reqwest::Method::POST, "/login", from).await.status, 303);
    }
    let page = sam.open("/profile/security").await;
    let document = scraper::Html::parse_document(&page.html);
    let buttons = scraper::Selector::parse("#sessions li button").unwrap();
    let mut names = vec![];
    for button in document.select(&buttons) {
        let ids = button.attr("aria-labelledby").expect("a name of its own").split(' ');
        names.push(ids.flat_map(|id| page.texts(&format!("[id='{id}']"))).collect::<Vec<_>>().join(" "));
    }
    assert_eq!(names.len(), 3);
    for (name, start) in names.iter().zip([
        "Log out Unknown browser This device 127.0.0.1, logged in ",
        "Log out Firefox on Linux 203.0.113.9, logged in ",
        "Log out Firefox on Linux 203.0.113.8, logged in ",
    ]) {
        assert!(name.starts_with(start), "{name}");
        assert_eq!(name.matches(" UTC").count(), 2, "{name}");
    }
    assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), 3);
}

#[tokio::test]
async fn the_text_of_a_user_agent_is_never_shown() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let mut eve = with(&app, "<script>alert(1)</script> Firefox/ call us now").await;
    let html = eve.open("/profile/security").await.html;
    assert!(
        html.contains("<strong>Firefox</strong>") && !html.contains("alert") && !html.contains("call us"),
        "{html}"
    );
    let form = eve.open("/profile/password").await.form("/profile/password");
    eve.submit(form.fill("current_password", OTTER).fill("new_password", HERON)).await;
    let letter = app.letters_to("sam@example.com", 2).await.remove(0);
    assert!(letter.text.contains("(Firefox)") && !letter.text.contains("call us"), "{}", letter.text);
}
