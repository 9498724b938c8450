//! What breaks while users work. `bench/faults` does the same with more users, machines and faults.

use latchkey::accounts::outbox::Entity;
use latchkey::db::{DatabaseUrl, Db};
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, PaginatorTrait, Statement};

use crate::app::TestApp;
use crate::process::{Process, confirm, sign_up};
use crate::{HERON, OTTER};

#[tokio::test]
async fn a_transaction_that_sqlite_has_ended_by_itself_takes_no_later_change_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let url = DatabaseUrl::of_file(&dir.path().join("latchkey.db")).unwrap();
    let db = Db::open(&url).await.unwrap();
    db.write().execute_unprepared("CREATE TABLE kept (value)").await.unwrap();
    // SQLite does this when COMMIT fails, because the disk is full or an fsync fails.
    let tx = db.begin().await.unwrap();
    tx.execute_unprepared("ROLLBACK").await.unwrap();
    assert!(tx.commit().await.is_err(), "a failed COMMIT");
    // A form that is refused rolls back.
    drop(db.begin().await.unwrap());
    db.write().execute_unprepared("INSERT INTO kept VALUES (1)").await.unwrap();
    let rows = db.read().query_all_raw(Statement::from_string(DbBackend::Sqlite, "SELECT * FROM kept"));
    assert_eq!(rows.await.unwrap().len(), 1, "what is acknowledged is there for every reader");
}

#[tokio::test]
async fn a_statement_whose_commit_fails_is_an_error_although_it_has_returned_its_row() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(&DatabaseUrl::of_file(&dir.path().join("latchkey.db")).unwrap()).await.unwrap();
    let tables = "CREATE TABLE parents (id INTEGER PRIMARY KEY); \
                  CREATE TABLE children (parent REFERENCES parents DEFERRABLE INITIALLY DEFERRED)";
    db.write().execute_unprepared(tables).await.unwrap();
    // A deferred constraint is judged where a full disk is found out: after the last row.
    let insert = Statement::from_string(DbBackend::Sqlite, "INSERT INTO children VALUES (1) RETURNING parent");
    assert!(db.write().query_one_raw(insert).await.is_err());
}

#[tokio::test]
async fn a_crash_in_the_middle_of_a_sign_up_leaves_nothing_behind() {
    let mut process = Process::hashing_slowly().await;
    let mut sam = process.browser();
    let fields = [("email", "sam@example.com"), ("username", "sam"), ("password", OTTER)];
    let signing_up = process.until_hashing(async move { sam.post("/signup", &fields).await }).await;
    process.kill();
    assert!(signing_up.await.is_err(), "no answer");
    process.start().await;
    assert_eq!(Entity::find().count(process.db().await.read()).await.unwrap(), 0, "no letter without its sign-up");
    let mut sam = process.browser();
    sign_up(&mut sam, "sam", OTTER).await;
    let page = confirm(&mut sam, &process.link("sam@example.com", 1).await).await;
    assert_eq!(page.path, "/profile", "{}", page.html);
}

#[tokio::test]
async fn of_a_reset_and_a_change_of_the_password_at_once_one_wins() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let link = app.reset_link("sam@example.com", 2).await;
    let mut elsewhere = app.browser();
    elsewhere.open(&link).await;
    let another = format!("{HERON} too");
    let (reset, change) = ([("password", HERON)], [("current_password", OTTER), ("new_password", another.as_str())]);
    let (reset, change) =
        tokio::join!(elsewhere.post("/reset-password", &reset), sam.post("/profile/password", &change));
    let changed = change.status == 303 && change.headers["location"] == "/profile/security";
    assert_ne!(reset.status == 303, changed, "{}, {}", reset.status, change.status);
    for (password, right) in [(OTTER, false), (HERON, !changed), (&another, changed)] {
        assert_eq!(app.browser().log_in("sam", password).await.path == "/profile", right, "{password}");
    }
    assert_eq!(sam.is_logged_in().await, changed);
}
