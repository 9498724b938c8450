//! What users change in their account.

use std::sync::Arc;

use latchkey::accounts::user::{self, User};
use latchkey::db::{Alone, DatabaseUrl, Db};
use migrations::{Migrator, MigratorTrait};
use sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::app::TestApp;
use crate::database::sqlite_only;
use crate::{HERON, OTTER};

#[tokio::test]
async fn the_profile_shows_the_account_and_changes_the_name() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let page = sam.open("/profile").await;
    for text in ["sam", "sam@example.com", "Sam Smith", "Member since"] {
        assert!(page.html.contains(text), "{text}");
    }
    let page = sam.open("/profile/name").await;
    let page = sam.submit(page.form("/profile/name").fill("full_name", "  萨姆 · O'Neil  ")).await;
    assert_eq!((page.path.as_str(), page.flash().as_str()), ("/profile", "Your name was changed."));
    assert!(page.html.contains("萨姆 · O&#39;Neil"), "{}", page.html);
    let page = sam.open("/profile/name").await;
    assert_eq!(page.value_of("full_name"), "萨姆 · O'Neil");
    let page = sam.submit(page.form("/profile/name").fill("full_name", &"x".repeat(101))).await;
    page.assert_framed(422);
    assert_eq!(page.problem_at("full_name"), "Full name must be 100 characters or fewer");
    assert_eq!(page.value_of("full_name"), "x".repeat(101), "what was typed is kept");
}

/// The columns of the tables, and names that stand for rights in other programs.
pub const NOT_ON_ANY_FORM: &[(&str, &str)] = &[
    ("id", "00000000-0000-7000-8000-000000000000"),
    ("user_id", "00000000-0000-7000-8000-000000000000"),
    ("user[id]", "1"),
    ("email_canonical", "eve@example.com"),
    ("username_canonical", "eve"),
    ("hashed_password", "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA"),
    ("created_at", "2000-01-01T00:00:00Z"),
    ("updated_at", "2000-01-01T00:00:00Z"),
    ("password_changed_at", "2000-01-01T00:00:00Z"),
    ("expires_at", "2100-01-01T00:00:00Z"),
    ("locale", "zh-CN"),
    ("first_locale", "zh-CN"),
    ("is_admin", "true"),
    ("role", "admin"),
    ("confirmed", "true"),
    ("token_digest", "x"),
    ("remember", "1"),
    ("kind", "api"),
];

#[tokio::test]
async fn fields_that_are_not_on_the_form_change_nothing() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let row = || async { user::by_login(app.app.db.read(), "sam").await.unwrap().unwrap() };
    let before = row().await;
    app.app.clock.advance(time::Duration::minutes(1));
    for path in ["/profile", "/profile/name"] {
        let new = [("full_name", path), ("email", "eve@example.com"), ("username", "eve"), ("password", HERON)];
        let fields = [&new, NOT_ON_ANY_FORM].concat();
        assert_eq!(sam.post(path, &fields).await.status, 303);
        let after = row().await;
        assert_eq!(after.full_name, path);
        let (full_name, updated_at) = (before.full_name.clone(), before.updated_at);
        assert_eq!(User { full_name, updated_at, ..after }, before);
    }
}

#[tokio::test]
async fn a_change_of_password_needs_the_current_one_and_ends_other_sessions() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let mut elsewhere = app.browser();
    elsewhere.log_in("sam", OTTER).await;

    let page = sam.open("/profile/password").await;
    let page =
        sam.submit(page.form("/profile/password").fill("current_password", HERON).fill("new_password", HERON)).await;
    page.assert_framed(422);
    assert_eq!(page.problem_at("current_password"), "Incorrect current password");
    let page = sam.submit(page.form("/profile/password").fill("new_password", "12345678")).await;
    assert_eq!(page.problem_at("current_password"), "Enter your current password");
    assert!(page.problem_at("new_password").starts_with("Choose a password that is harder to guess"));
    assert!(page.title().starts_with("Error: "));
    let form = page.form("/profile/password").fill("current_password", HERON).fill("new_password", "12345678");
    let page = sam.submit(form).await;
    assert_eq!(page.problem_at("current_password"), "Incorrect current password", "all that is wrong is said at once");
    assert!(page.problem_at("new_password").starts_with("Choose a password that is harder to guess"));
    for (new, problem) in [(OTTER, "This is the password you already have. Choose another"), ("", "Choose a password")]
    {
        let form = page.form("/profile/password").fill("current_password", OTTER).fill("new_password", new);
        let page = sam.submit(form).await;
        page.assert_framed(422);
        assert_eq!(page.problems(), [problem]);
    }
    assert!(elsewhere.is_logged_in().await, "nothing has happened yet");

    let page =
        sam.submit(page.form("/profile/password").fill("current_password", OTTER).fill("new_password", HERON)).await;
    assert_eq!(
        (page.path.as_str(), page.flash().as_str()),
        ("/profile/security", "Your password was changed. All other devices are logged out.")
    );
    assert!(sam.is_logged_in().await);
    assert!(!elsewhere.is_logged_in().await);
    assert_eq!(app.browser().log_in("sam", OTTER).await.status, 422);
    assert_eq!(app.browser().log_in("sam", HERON).await.path, "/profile");
    app.outbox_is_done().await;
    assert!(app.letters().await.iter().any(|letter| letter.subject == "Your Latchkey password was changed"));
}

#[tokio::test]
async fn a_second_click_changes_the_password_once() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let form = sam.open("/profile/password").await.form("/profile/password");
    let form = form.fill("current_password", OTTER).fill("new_password", HERON);
    let (mut one, mut two) = (sam.clone(), sam);
    let (first, second) = tokio::join!(one.submit(form.clone()), two.submit(form));
    assert_eq!([first.path.as_str(), second.path.as_str()], ["/profile/security"; 2]);
    app.outbox_is_done().await;
    assert_eq!(app.letters_to("sam@example.com", 2).await.len(), 2);
}

#[tokio::test]
async fn the_pages_of_an_account_open_only_after_a_log_in() {
    let app = TestApp::start().await;
    for path in ["/profile", "/profile/name", "/profile/language", "/profile/password", "/profile/security"] {
        assert!(app.browser().open(path).await.path.starts_with("/login"), "{path}");
        if path == "/profile/security" {
            continue;
        }
        let page = app.browser().post(path, &[("full_name", "x")]).await;
        assert!(page.headers["location"].to_str().unwrap().starts_with("/login"), "{path}");
    }
    let page = app.browser().send(reqwest::Method::GET, "/.well-known/change-password", |request| request).await;
    assert_eq!((page.status.as_u16(), &page.headers["location"]), (302, &"/profile/password".parse().unwrap()));
}

#[tokio::test]
async fn a_database_from_before_languages_is_brought_up_to_date() {
    sqlite_only!("the file of an earlier release is made");
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let hash = Statement::from_string(DbBackend::Sqlite, "SELECT hashed_password FROM users");
    let hash: String = app.app.db.read().query_one_raw(hash).await.unwrap().unwrap().try_get_by_index(0).unwrap();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let db = Db::open(&DatabaseUrl::of_file(&dir.path().join("latchkey.db")).unwrap()).await.unwrap();
    let tx = db.begin_alone(Alone::Migrating).await.unwrap();
    Migrator::up(&tx, Some(1)).await.unwrap();
    let user = format!(
        "INSERT INTO users (id, email, email_canonical, username, username_canonical, full_name, hashed_password, created_at, \
         updated_at) VALUES (randomblob(16), 'sam@example.com', 'sam@example.com', 'sam', 'sam', '', '{hash}', \
         '2026-11-01T11:33:14Z', '2026-11-01T11:33:14Z')"
    );
    tx.execute_unprepared(&user).await.unwrap();
    tx.commit().await.unwrap();
    db.close().await.unwrap();

    let app = TestApp::start_in(dir, &[]).await;
    let mut sam = app.browser();
    assert_eq!(sam.log_in("sam", OTTER).await.path, "/profile");
    let page = sam.open("/profile/security").await;
    assert!(page.html.contains("<dt>Password</dt><dd>Set on "), "{}", page.html);
    let form = sam.open("/profile/password").await.form("/profile/password");
    let page = sam.submit(form.fill("current_password", OTTER).fill("new_password", HERON)).await;
    assert!(page.html.contains("<dt>Password</dt><dd>Changed on "), "{}", page.html);
}
