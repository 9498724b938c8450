//! The places where a person is logged in, and how they end them.

use crate::app::TestApp;
use crate::browser::{Browser, Page};
use crate::{HERON, OTTER};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";
const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1";

async fn with(app: &TestApp, user_agent: &'static str) -> Browser {
    let mut browser = app.browser();
    browser.user_agent = Some(user_agent);
    assert_eq!(browser.log_in("sam", OTTER).await.path, "/profile");
    browser
}

/// The ids of the other places, in the order of the page.
fn others(page: &Page) -> Vec<String> {
    let ids = page.html.split("name=\"place\" value=\"").skip(1);
    ids.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_person_sees_where_they_are_logged_in_and_logs_one_place_out() {
    let app = TestApp::start().await;
    app.someone("sam", OTTER).await;
    let mut desk = with(&app, FIREFOX).await;
    app.app.clock.advance(time::Duration::minutes(1));
    let mut phone = with(&app, IPHONE).await;
    let page = desk.open("/profile/security").await;
    page.assert_framed(200);
    for text in ["Firefox on Linux", "Safari on iPhone", "This device", "127.0.0.1", "Unknown browser", "Changed on "] {
        assert!(page.html.contains(text), "{text}: {}", page.html);
    }
    assert_eq!(page.html.matches("This device").count(), 1);
    let places = others(&page);
    assert_eq!(places.len(), 2);

    // The phone was used last.
    let form = page.form("/profile/security/log-out").fill("place", &places[0]);
    let page = desk.submit(form).await;
    assert_eq!((page.path.as_str(), page.flash().as_str()), ("/profile/security", "That device is logged out."));
    assert!(!page.html.contains("Safari on iPhone"));
    assert!(desk.is_logged_in().await && !phone.is_logged_in().await);
}

#[tokio::test]
async fn all_other_places_go_at_once() {
    let app = TestApp::start().await;
    let mut first = app.someone("sam", OTTER).await;
    let mut ada = app.someone("ada", OTTER).await;
    let (mut desk, mut phone) = (with(&app, FIREFOX).await, with(&app, IPHONE).await);
    let page = desk.post("/profile/security/log-out", &[("form_id", "x")]).await;
    assert_eq!(page.headers["location"], "/profile/security");
    let page = desk.open("/profile/security").await;
    assert_eq!(page.flash(), "All other devices are logged out.");
    assert_eq!((others(&page).len(), page.html.contains("Log out all other devices")), (0, false));
    assert!(desk.is_logged_in().await && ada.is_logged_in().await);
    assert!(!phone.is_logged_in().await && !first.is_logged_in().await);
}

#[tokio::test]
async fn nobody_logs_another_person_out() {
    let app = TestApp::start().await;
    let mut eve = app.someone("eve", HERON).await;
    app.someone("sam", OTTER).await;
    let mut sam = with(&app, FIREFOX).await;
    let mut also_sam = with(&app, IPHONE).await;
    let sams = others(&also_sam.open("/profile/security").await);
    for place in [sams[0].as_str(), sams[1].as_str(), "x", "00000000-0000-0000-0000-000000000000", "' or 1=1 --"] {
        let page = eve.post("/profile/security/log-out", &[("place", place)]).await;
        assert_eq!(page.headers["location"], "/profile/security", "the same answer for all");
    }
    assert!(sam.is_logged_in().await && also_sam.is_logged_in().await && eve.is_logged_in().await);
    assert!(!eve.open("/profile/security").await.html.contains("Firefox"));
}

#[tokio::test]
async fn logging_this_place_out_is_a_log_out() {
    let app = TestApp::start().await;
    app.someone("sam", OTTER).await;
    let mut desk = with(&app, FIREFOX).await;
    let this = others(&with(&app, IPHONE).await.open("/profile/security").await).remove(0);
    let page = desk.post("/profile/security/log-out", &[("place", this.as_str())]).await;
    assert_eq!(page.headers["location"], "/login");
    assert_eq!(desk.open("/login").await.flash(), "You are logged out.");
    assert!(!desk.is_logged_in().await);
}

#[tokio::test]
async fn what_a_browser_calls_itself_is_never_shown_as_it_came() {
    let app = TestApp::start().await;
    app.someone("sam", OTTER).await;
    let mut eve = with(&app, "<script>alert(1)</script> Firefox/ call us now").await;
    let html = eve.open("/profile/security").await.html;
    assert!(
        html.contains("<strong>Firefox</strong>") && !html.contains("alert") && !html.contains("call us"),
        "{html}"
    );
    let form = eve.open("/profile/password").await.form("/profile/password");
    eve.submit(form.fill("current_password", OTTER).fill("new_password", HERON)).await;
    let letter = app.letters_to("sam@example.com", 2).await.remove(0);
    assert!(letter.text.contains("with Firefox from") && !letter.text.contains("call us"), "{}", letter.text);
}
