//! Versions N and N+1 work on one database at the same time, so the tables of this version must do for the previous release.

use std::collections::BTreeSet;
use std::time::Duration;

use latchkey::db::{Alone, DatabaseUrl, Db};
use migrations::{Migrator, MigratorTrait};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use crate::cluster::Cluster;

/// The last step of the previous release. When a release is made, this becomes its last step, and
/// `tests/previous_release/record.py` records what it says.
const LAST_STEP: &str = "m20261127_000008_not_me_links";
/// What the previous release says to its database.
const SAID: &str = include_str!("../previous_release/statements.sql");

/// Returns the number of steps of the previous release.
fn steps() -> u32 {
    let steps = Migrator::migrations();
    let last = steps.iter().position(|step| step.name() == LAST_STEP).expect("the previous release's last step");
    u32::try_from(last).unwrap() + 1
}

/// Returns an empty database of a PostgreSQL cluster.
async fn database(cluster: &Cluster, name: &str) -> Db {
    let admin = Db::open(&cluster.url.parse().unwrap()).await.unwrap();
    admin.write().execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
    let (server, _) = cluster.url.rsplit_once('/').unwrap();
    Db::open(&format!("{server}/{name}").parse().unwrap()).await.unwrap()
}

/// Says a statement, and returns how many rows it found or changed.
async fn say(db: &Db, statement: &str) -> Result<u64, DbErr> {
    let backend = db.write().get_database_backend();
    let mut text = statement;
    if backend == DbBackend::Sqlite {
        text = text.split(" FOR UPDATE").next().unwrap().split(" FOR NO KEY UPDATE").next().unwrap();
    }
    let statement = Statement::from_string(backend, text);
    if text.starts_with("SELECT") {
        return Ok(db.write().query_all_raw(statement).await?.len() as u64);
    }
    Ok(db.write().execute_raw(statement).await?.rows_affected())
}

/// Does so many of the next steps.
async fn migrate(db: &Db, steps: u32) {
    let tx = db.begin_alone(Alone::Migrating).await.unwrap();
    Migrator::up(&tx, Some(steps)).await.unwrap();
    tx.commit().await.unwrap();
}

async fn assert_same_answers(old: &Db, new: &Db) {
    migrate(old, steps()).await;
    new.migrate().await.unwrap();
    let mut changed = 0;
    for statement in SAID.lines().filter(|line| !line.starts_with("--")) {
        let statement = statement.trim_end_matches(';');
        let expected = say(old, statement).await.unwrap_or_else(|why| panic!("{why}: {statement}"));
        let found = say(new, statement).await.unwrap_or_else(|why| panic!("on the new tables: {why}: {statement}"));
        assert_eq!(found, expected, "{statement}");
        changed += if statement.starts_with("SELECT") { 0 } else { found };
    }
    assert!(changed > 100, "a whole life: {changed}");
}

#[tokio::test]
async fn what_the_previous_release_says_has_the_same_answers_on_the_tables_of_this_version() {
    let dir = tempfile::tempdir().unwrap();
    let file = async |name| Db::open(&DatabaseUrl::of_file(&dir.path().join(name)).unwrap()).await.unwrap();
    assert_same_answers(&file("old").await, &file("new").await).await;
    let cluster = Cluster::start().await;
    assert_same_answers(&database(&cluster, "old").await, &database(&cluster, "new").await).await;
    for table in ["users", "sessions", "reset_tokens", "not_me_links", "pending_signups", "outbox", "devices", "limits"]
    {
        for verb in [format!("INSERT INTO \"{table}\""), format!("UPDATE \"{table}\""), format!(" FROM \"{table}\"")] {
            assert!(SAID.contains(&verb), "the recording has no {verb}");
        }
    }
}

/// What an older program relies on: tables, columns, and what a row must not break.
#[derive(Debug)]
struct Schema {
    tables: BTreeSet<String>,
    /// Table, column, type.
    columns: BTreeSet<[String; 3]>,
    /// Table and column, if a row must name the column.
    needed: BTreeSet<[String; 2]>,
    /// Table and rule: unique columns, references, checks.
    rules: BTreeSet<[String; 2]>,
}

async fn rows<const N: usize>(conn: &impl ConnectionTrait, query: &str) -> BTreeSet<[String; N]> {
    let rows = conn.query_all_raw(Statement::from_string(DbBackend::Postgres, query)).await.unwrap();
    rows.iter().map(|row| std::array::from_fn(|n| row.try_get_by_index(n).unwrap())).collect()
}

impl Schema {
    async fn of(conn: &impl ConnectionTrait) -> Self {
        let columns = "FROM information_schema.columns WHERE table_schema = 'public'";
        let needed = "AND is_nullable = 'NO' AND column_default IS NULL";
        let rules = "SELECT tablename::text, indexdef FROM pg_indexes WHERE indexdef LIKE 'CREATE UNIQUE %' UNION ALL \
                     SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype IN ('f', 'c')";
        let all =
            rows::<3>(conn, &format!("SELECT table_name::text, column_name::text, data_type::text {columns}")).await;
        Self {
            tables: all.iter().map(|[table, _, _]| table.clone()).collect(),
            columns: all,
            needed: rows(conn, &format!("SELECT table_name::text, column_name::text {columns} {needed}")).await,
            rules: rows(conn, rules).await,
        }
    }

    /// Returns what an older program would stumble over in the tables that it knows.
    fn breaks(&self, newer: &Self) -> Vec<String> {
        let known = |table: &String| self.tables.contains(table);
        let gone = self
            .columns
            .difference(&newer.columns)
            .map(|[table, column, kind]| format!("lost {table}.{column} ({kind})"));
        let needed = newer.needed.difference(&self.needed).filter(|[table, _]| known(table));
        let needed = needed.map(|[table, column]| format!("needs {table}.{column}"));
        let rules = newer.rules.difference(&self.rules).filter(|[table, _]| known(table));
        gone.chain(needed).chain(rules.map(|[table, rule]| format!("rule on {table}: {rule}"))).collect()
    }
}

#[tokio::test]
async fn steps_after_the_previous_release_only_add_unless_their_name_says_breaking() {
    let cluster = Cluster::start().await;
    let db = database(&cluster, "steps").await;
    migrate(&db, steps()).await;
    let mut before = Schema::of(db.read()).await;
    for step in &Migrator::migrations()[steps() as usize..] {
        migrate(&db, 1).await;
        let after = Schema::of(db.read()).await;
        let broken = before.breaks(&after);
        let may_break = step.name().contains("_breaking_");
        assert!(may_break || broken.is_empty(), "{}: {broken:?}; the previous release runs beside it", step.name());
        before = after;
    }
}

#[tokio::test]
async fn a_step_does_not_make_a_site_wait_for_a_backup() {
    let cluster = Cluster::start().await;
    let db = database(&cluster, "steps").await;
    migrate(&db, steps()).await;
    let backup = db.begin().await.unwrap();
    backup.execute_unprepared("LOCK TABLE outbox IN ACCESS SHARE MODE").await.unwrap();
    let why = tokio::time::timeout(Duration::from_secs(10), db.migrate()).await.expect("an end").unwrap_err();
    assert!(why.to_string().contains("lock timeout"), "{why}");
    assert!(!db.is_up_to_date().await.unwrap(), "all or nothing");
    backup.commit().await.unwrap();
    db.migrate().await.unwrap();
}

#[tokio::test]
async fn a_step_that_breaks_the_previous_release_is_seen() {
    let cluster = Cluster::start().await;
    let db = database(&cluster, "steps").await;
    db.migrate().await.unwrap();
    let before = Schema::of(db.read()).await;
    for (step, broken) in [
        ("DROP TABLE visits", 3),
        ("ALTER TABLE users DROP COLUMN first_locale", 1),
        ("ALTER TABLE users RENAME COLUMN locale TO language", 1),
        ("ALTER TABLE users ALTER COLUMN locale TYPE bytea USING NULL", 1),
        ("ALTER TABLE users ALTER COLUMN locale SET NOT NULL", 1),
        ("ALTER TABLE users ADD COLUMN colour text NOT NULL", 1),
        ("ALTER TABLE users ADD CHECK (full_name <> '')", 1),
        ("CREATE UNIQUE INDEX one_a_day ON outbox (to_address)", 1),
        ("ALTER TABLE users ADD COLUMN colour text NOT NULL DEFAULT ''", 0),
        ("ALTER TABLE users ADD COLUMN colour text", 0),
        ("CREATE TABLE colours (id int PRIMARY KEY, name text NOT NULL UNIQUE)", 0),
        ("CREATE INDEX by_name ON users (full_name)", 0),
    ] {
        let tx = db.begin().await.unwrap();
        tx.execute_unprepared(step).await.unwrap();
        let found = before.breaks(&Schema::of(&tx).await);
        assert_eq!(found.len(), broken, "{step}: {found:?}");
        tx.rollback().await.unwrap();
    }
}
