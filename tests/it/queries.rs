//! What requests ask the database.

use latchkey::accounts::user;
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, QuerySelect, QueryTrait, Statement};
use uuid::Uuid;

use crate::app::TestApp;
use crate::database::sqlite_only;

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
