//! What requests ask the database.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::time::Instant;

use latchkey::accounts::event::{self, EventKind};
use latchkey::accounts::limit::clients::{Action, Source};
use latchkey::accounts::{Asked, outbox, user};
use latchkey::clock::Clock;
use latchkey::db::Db;
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, QuerySelect, QueryTrait, Statement};
use uuid::Uuid;

use crate::app::TestApp;
use crate::authorize::Wiki;
use crate::database::{give_up_after, sqlite_only};
use crate::{OTTER, changes, forward, tokens};

/// SeaORM binds the 1 of `LIMIT ?`, and SQLite looks at the value to plan. Without the guarantee that plans do not depend on
/// values, it would prepare the statement anew each time.
#[tokio::test]
async fn sqlite_prepares_a_query_once() {
    sqlite_only!("SQLite's own table of statements");
    let app = TestApp::start().await;
    let db = app.app.db.write();
    let find = || user::Entity::find_by_id(Uuid::nil());
    for _ in 0..10 {
        assert!(find().one(db).await.unwrap().is_none());
    }
    let asked =
        format!("SELECT run, reprep FROM sqlite_stmt WHERE sql = '{}'", find().limit(1).build(DbBackend::Sqlite).sql);
    let row = db.query_one_raw(Statement::from_string(DbBackend::Sqlite, asked)).await.unwrap();
    let row = row.expect("the statement is kept");
    let counts: (i64, i64) = (row.try_get_by_index(0).unwrap(), row.try_get_by_index(1).unwrap());
    assert_eq!(counts, (10, 0));
}

/// As on PostgreSQL (`postgres::a_transaction_that_is_given_up_as_it_begins_ends`): if the one connection that writes were still in
/// a transaction, what others write would be lost.
#[tokio::test]
async fn a_transaction_that_is_given_up_as_it_begins_ends_on_sqlite() {
    sqlite_only!("its one connection that writes");
    let app = TestApp::start().await;
    let db = &app.app.db;
    db.write().execute_unprepared("CREATE TABLE written (n integer)").await.unwrap();
    for steps in 1..=4 {
        give_up_after(steps, db.begin()).await;
        db.write().execute_unprepared("INSERT INTO written VALUES (1)").await.unwrap();
        let asked = Statement::from_string(DbBackend::Sqlite, "SELECT count(*) FROM written");
        let row = db.read().query_one_raw(asked).await.unwrap().expect("a row");
        assert_eq!(row.try_get_by_index::<i64>(0).unwrap(), steps as i64);
    }
}

/// Returns how often each statement has run, by its verb and table, and how many rows were looked at without an index, on all
/// connections. The looks of the postman, for notices to apps and for changes are left out.
async fn asked(db: &Db) -> (BTreeMap<String, i64>, i64) {
    let all = [db.begin_reading().await, db.begin_reading().await, db.begin_reading().await, db.begin_reading().await];
    let ask = || Statement::from_string(DbBackend::Sqlite, "SELECT sql, run, nscan FROM sqlite_stmt");
    let mut rows = db.write().query_all_raw(ask()).await.unwrap();
    for one in all {
        rows.extend(one.unwrap().query_all_raw(ask()).await.unwrap());
    }
    let (mut runs, mut scanned) = (BTreeMap::new(), 0);
    for row in rows {
        let sql: String = row.try_get_by_index(0).unwrap();
        let words: Vec<&str> = sql.split_whitespace().collect();
        let after = words.iter().position(|word| ["FROM", "INTO", "UPDATE"].contains(word));
        let table = after.and_then(|after| words.get(after + 1)).unwrap_or(&"");
        let looks = ["\"outbox\"", "\"logouts\""].contains(table) && words[0] != "INSERT";
        let ours = !sql.contains("sqlite_stmt") && !looks;
        if ours && ["SELECT", "INSERT", "UPDATE", "DELETE"].contains(&words[0]) {
            let table = table.trim_matches(|c| "\"(),".contains(c));
            *runs.entry(format!("{} {table}", words[0])).or_default() += row.try_get_by_index::<i64>(1).unwrap();
            scanned += row.try_get_by_index::<i64>(2).unwrap();
        }
    }
    (runs, scanned)
}

/// Returns the statements of some requests.
async fn statements(app: &TestApp, requests: impl Future<Output = ()>) -> Vec<String> {
    let (before, scanned) = asked(&app.app.db).await;
    requests.await;
    let (after, scanned_now) = asked(&app.app.db).await;
    let more = after.into_iter().flat_map(|(what, runs)| {
        let times = runs - before.get(&what).unwrap_or(&0);
        std::iter::repeat_n(what, usize::try_from(times).unwrap())
    });
    let more: Vec<String> = more.collect();
    assert_eq!(scanned_now - scanned, 0, "rows without an index: {more:?}");
    more
}

/// The words of each line: what a request asks, in the order of the alphabet. SQLite counts a trigger as another run of its
/// statement, so a change of a user is there twice. A session has the authorizations of apps with it, and a trigger notes whom to tell of its end, which counts twice more.
#[tokio::test]
async fn requests_ask_no_more_than_they_need() {
    sqlite_only!("SQLite's own table of statements");
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    app.outbox_is_done().await;
    changes::comes_from_memory(&app, &mut sam).await;
    let form = sam.open("/profile/name").await.form("/profile/name").fill("full_name", "Ann");
    let expect = async |what: &str, expected: &str, request: &mut (dyn Future<Output = bool> + Unpin)| {
        let asked = statements(&app, async { assert!(Pin::new(request).await, "{what}") }).await;
        assert_eq!(asked.join(", "), expected, "{what}");
    };
    macro_rules! expect {
        ($what:literal, $expected:literal, $request:expr) => {
            expect($what, $expected, &mut Box::pin(async { $request })).await;
        };
    }
    expect!("a page", "", changes::is_open(&mut sam).await);
    expect!("the log-in", "", app.browser().open("/login").await.status == 200);
    expect!(
        "a change of the name",
        "INSERT visits, UPDATE users, UPDATE users",
        sam.post(&form.action, &form.fields).await.status == 303
    );
    expect!("the page after it", "DELETE visits, SELECT sessions, SELECT visits", changes::is_open(&mut sam).await);
    expect!(
        "a log-out",
        "DELETE sessions, DELETE sessions, DELETE sessions, DELETE sessions, INSERT events, INSERT visits, SELECT users",
        sam.post("/logout", &[("", ""); 0]).await.status == 303
    );
    expect!(
        "a log-in",
        "DELETE visits, INSERT events, INSERT limits, INSERT limits, INSERT sessions, INSERT visits, SELECT users, \
         SELECT visits, UPDATE devices",
        sam.post("/login", &[("login", "sam"), ("password", OTTER)]).await.status == 303
    );
    expect!(
        "a wrong password",
        "INSERT events, INSERT limits, SELECT limits, SELECT users",
        app.browser().post("/login", &[("login", "sam"), ("password", "wrong")]).await.status == 422
    );
    // As many as for a user who is there.
    expect!(
        "a password for nobody",
        "INSERT events, INSERT limits, SELECT limits, SELECT users",
        app.browser().post("/login", &[("login", "nobody"), ("password", "wrong")]).await.status == 422
    );
    // A client can use up the events of all names without an account. Its next answer waits for a commit too.
    let asked = Asked { at: app.app.now(), ip: String::new(), user_agent: String::new(), request_id: String::new() };
    let event = (EventKind::LogInFailed, None);
    while event::record_of_stranger(app.app.db.write(), &app.app.accounts, event, &asked).await.unwrap() {}
    expect!(
        "a password for nobody whose event is left out",
        "DELETE events, INSERT events, INSERT limits, SELECT limits, SELECT users",
        app.browser().post("/login", &[("login", "nobody"), ("password", "wrong")]).await.status == 422
    );
}

#[tokio::test]
async fn keys_that_strangers_make_up_are_looked_for_once_in_a_second() {
    sqlite_only!("SQLite's own table of statements");
    let app = TestApp::start().await;
    let looks = async || asked(&app.app.db).await.0.get("SELECT signing_keys").copied().unwrap_or(0);
    assert_eq!(tokens::userinfo(&app, &tokens::made_up("first")).await.0, 401);
    let (before, began) = (looks().await, Instant::now());
    for n in 0..50 {
        assert_eq!(tokens::userinfo(&app, &tokens::made_up(&format!("stranger{n}"))).await.0, 401);
    }
    let (looked, seconds) = (looks().await - before, began.elapsed().as_secs());
    assert!(looked <= i64::try_from(seconds).unwrap() + 1, "{looked} looks in {seconds} s");
}

#[tokio::test]
async fn a_flood_of_wrong_secrets_asks_for_the_apps_once_in_a_second() {
    sqlite_only!("SQLite's own table of statements");
    let app = TestApp::start().await;
    let wiki = Wiki::register(&app, |_| {}).await;
    let wrong = async || tokens::post(&app, &[], |request| request.basic_auth(&wiki.id, Some("wrong"))).await.0;
    // The test uses the attempts up itself.
    let (clients, ip) = (&app.app.accounts.limits.clients, Source::from(Some(Ipv4Addr::LOCALHOST.into())));
    while clients.take(Action::Secret, ip, app.app.now()).is_ok() {}
    let looks = async || asked(&app.app.db).await.0.get("SELECT apps").copied().unwrap_or(0);
    let (before, began) = (looks().await, Instant::now());
    for _ in 0..50 {
        assert!([401, 429].contains(&wrong().await.as_u16()));
    }
    // One attempt comes back in a second, and the apps are kept for one.
    let (looked, seconds) = (looks().await - before, began.elapsed().as_secs());
    assert!(looked <= 2 * (i64::try_from(seconds).unwrap() + 1), "{looked} looks in {seconds} s");
}

#[tokio::test]
async fn a_proxy_asks_who_is_there_without_a_statement() {
    sqlite_only!("SQLite's own table of statements");
    let app = forward::site("127.0.0.1").await;
    let mut sam = forward::signed_up(&app, "sam").await;
    app.outbox_is_done().await;
    changes::comes_from_memory(&app, &mut sam).await;
    let ask = async || drop(forward::remote(&forward::ask(&sam, forward::WIKI, "/", &[]).await));
    ask().await;
    let asked = statements(&app, async {
        for _ in 0..20 {
            ask().await;
        }
    });
    let mut asked = asked.await;
    asked.dedup(); // the hosts of apps are kept for a second, which may be over
    assert!(asked.is_empty() || asked == ["SELECT apps"], "{asked:?}");
}

/// Returns the texts in a column of the answer.
async fn texts(conn: &impl ConnectionTrait, sql: &str, column: usize) -> Vec<String> {
    let rows = conn.query_all_raw(Statement::from_string(DbBackend::Sqlite, sql)).await.unwrap();
    rows.iter().map(|row| row.try_get_by_index(column).unwrap()).collect()
}

/// However many letters wait, the next one is found in one step. Nobody else can write while the statement that leases it reads.
#[tokio::test]
async fn the_postman_finds_the_next_letter_by_the_index() {
    sqlite_only!("SQLite's own table of statements");
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    app.outbox_is_done().await;
    let db = app.app.db.clone();
    let _dir = app.stop().await;
    let db = db.write(); // one connection, which has the statements that it has run
    assert!(outbox::most_urgent(db, Clock::default().now()).await.unwrap().is_none());
    let kept = "SELECT sql FROM sqlite_stmt WHERE sql LIKE ";
    let looks = texts(db, &format!("{kept}'SELECT (CASE%'"), 0).await;
    let leases = texts(db, &format!("{kept}'UPDATE \"outbox\"%ORDER BY%'"), 0).await;
    assert!(!looks.is_empty() && !leases.is_empty());
    for sql in looks.iter().chain(&leases) {
        let plan = texts(db, &format!("EXPLAIN QUERY PLAN {sql}"), 3).await.join(", ");
        assert!(plan.contains("(state=? AND priority=? AND next_attempt_at<?)"), "{sql}: {plan}");
        assert!(!plan.contains("TEMP B-TREE") && !plan.contains("SCAN outbox"), "{sql}: {plan}");
    }
}
