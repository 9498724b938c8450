//! The visit: nothing is written until there is something to remember.

use std::pin::pin;

use latchkey::visit_store;
use sea_orm::{ConnectionTrait, EntityTrait, PaginatorTrait, Set};
use time::Duration;

use crate::app::TestApp;
use crate::{HERON, OTTER};

async fn rows(app: &TestApp) -> u64 {
    visit_store::Entity::find().count(app.app.db.read()).await.unwrap()
}

#[tokio::test]
async fn ten_thousand_anonymous_page_views_write_no_row() {
    let app = TestApp::start().await;
    let client = reqwest::Client::new();
    let view = |n: usize| {
        let path = ["/", "/login", "/signup", "/forgot-password", "/nowhere"][n % 5];
        let request = client.get(format!("{}{path}", app.url));
        async move {
            let answer = request.send().await.unwrap();
            assert!(answer.headers().get("set-cookie").is_none());
            answer.bytes().await.unwrap();
        }
    };
    for batch in 0..100 {
        futures_util::future::join_all((0..100).map(|n| view(batch + n))).await;
    }
    assert_eq!(rows(&app).await, 0);
}

#[tokio::test]
async fn a_visit_is_deleted_with_its_last_value_and_gets_another_id_at_log_in() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    assert_eq!(rows(&app).await, 0, "the flash was shown, the sign-up is done");
    let page = sam.open("/profile").await;
    let page = sam.submit(page.form("/logout")).await;
    assert_eq!(page.flash(), "You are logged out.");
    assert_eq!(rows(&app).await, 0);
    assert_eq!(sam.cookies.keys().collect::<Vec<_>>(), ["latchkey_device"]);

    sam.ask_reset("sam@example.com").await;
    let before = sam.cookies["latchkey_visit"].clone();
    sam.log_in("sam", OTTER).await;
    assert_ne!(sam.cookies["latchkey_visit"], before);
    assert_eq!(rows(&app).await, 1, "the old one is gone");
}

#[tokio::test]
async fn a_flash_waits_for_a_page_and_is_shown_once() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let form = sam.open("/profile/name").await.form("/profile/name").fill("full_name", "Sam");
    assert_eq!(sam.post(&form.action, &form.fields).await.status, 303);
    for path in ["/login", "/reset-password?token=x", "/profile?lang=en", "/docs/none", "/not-me/done"] {
        let page = sam.send(reqwest::Method::GET, path, |request| request).await;
        assert!(page.status == 303 || page.status == 404, "{path}: {}", page.status);
    }
    // Neither shows a flash: a form that comes back with a problem, and the answer to a HEAD.
    let long = [("full_name", "x".repeat(101))];
    assert_eq!(sam.post("/profile/name", &long).await.status, 422);
    assert_eq!(sam.send(reqwest::Method::HEAD, "/profile", |request| request).await.status, 200);
    assert_eq!(sam.open("/profile").await.flash(), "Your name was changed.");
    assert_eq!(sam.open("/profile").await.flash(), "");
    assert_eq!(rows(&app).await, 0);
}

#[tokio::test]
async fn the_table_does_not_hold_the_value_of_the_cookie() {
    let app = TestApp::start().await;
    let mut sam = app.browser();
    sam.ask_reset("sam@example.com").await;
    let row = visit_store::Entity::find().one(app.app.db.read()).await.unwrap().unwrap();
    assert_ne!(row.id, sam.cookies["latchkey_visit"]);
}

#[tokio::test]
async fn a_broken_visit_cookie_is_a_new_visitor() {
    let app = TestApp::start().await;
    for broken in ["", "x", "AAAAAAAAAAAAAAAAAAAAAA", "%00", &"a".repeat(4000)] {
        let mut sam = app.browser();
        sam.cookies.insert("latchkey_visit".into(), broken.to_owned());
        assert_eq!(sam.open("/login").await.status, 200, "{broken}");
    }
}

/// One statement that deletes all of them would block SQLite's only writer for seconds, and every log-in with it.
#[tokio::test]
async fn a_sweep_leaves_the_newest_visits_and_lets_others_write_meanwhile() {
    const TOO_MANY: u64 = 30_000;
    let app = TestApp::start().await;
    let inner = app.app.clone();
    let _folder = app.stop().await; // without its own sweeper, which would take a part of the rows
    let (db, now) = (&inner.db, inner.now());
    let row = |n: u64| visit_store::ActiveModel {
        id: Set(format!("visit {n}")),
        data: Set("{}".to_owned()),
        expires_at: Set(now + Duration::seconds(n as i64 + 1)),
    };
    for thousand in 0..(100_000 + TOO_MANY) / 1000 {
        let rows = (0..1000).map(|n| row(thousand * 1000 + n));
        visit_store::Entity::insert_many(rows).exec_without_returning(db.write()).await.unwrap();
    }
    let mut written = 0;
    let mut write = async || {
        written += 1;
        let newest = visit_store::ActiveModel { id: Set(format!("meanwhile {written}")), ..row(200_000) };
        visit_store::Entity::insert(newest).exec_without_returning(db.write()).await.unwrap();
        visit_store::Entity::find().count(db.read()).await.unwrap()
    };
    let (mut sweep, mut meanwhile) = (pin!(visit_store::sweep(db, now)), vec![]);
    let swept = loop {
        tokio::select! {
            swept = &mut sweep => break swept.unwrap(),
            left = write() => meanwhile.push(left),
        }
    };
    let half_way = |left: &u64| (101_000..100_000 + TOO_MANY).contains(left);
    assert!(meanwhile.iter().any(half_way), "no write came between two batches: {meanwhile:?}");
    let too_many = TOO_MANY..=TOO_MANY + meanwhile.len() as u64 + 1;
    assert!(too_many.contains(&swept), "what was written before the sweep looked may count: {swept}");
    let oldest = visit_store::Entity::find_by_id(format!("visit {}", TOO_MANY - 1));
    assert!(oldest.one(db.read()).await.unwrap().is_none(), "the oldest go");
}

/// The change is done by then. A page that says it failed, without the cookies of the answer, would log the user out.
#[tokio::test]
async fn a_visit_that_cannot_be_written_fails_no_form() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    sam.cookies.remove("latchkey_visit");
    app.app.db.write().execute_unprepared("ALTER TABLE visits RENAME TO away").await.unwrap();
    let form = [("current_password", OTTER), ("new_password", HERON)];
    let page = sam.post("/profile/password", &form).await;
    assert_eq!((page.status.as_u16(), page.headers["location"].to_str().unwrap()), (303, "/profile/security"));
    app.app.db.write().execute_unprepared("ALTER TABLE away RENAME TO visits").await.unwrap();
    assert!(sam.is_logged_in().await);
    assert_eq!(app.browser().log_in("sam", HERON).await.path, "/profile");
}
