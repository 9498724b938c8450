//! Everything moves between SQLite and PostgreSQL, and is equal afterwards.

use std::fs;
use std::path::Path;

use latchkey::db::Db;
use sea_orm::{ConnectionTrait, Database, DbBackend, Statement};

use crate::OTTER;
use crate::cluster::Cluster;
use crate::process::{Process, Ran, until};

/// Returns every value of a SQLite file as SQLite writes it in SQL: with its type, to the byte.
async fn dump(file: &Path) -> Vec<String> {
    let db = Db::open_read_only(file).await.unwrap();
    let texts = async |ask: String| -> Vec<String> {
        let rows = db.read().query_all_raw(Statement::from_string(DbBackend::Sqlite, ask)).await.unwrap();
        rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
    };
    let mut all = vec![];
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'seaql_migrations' ORDER BY name";
    for table in texts(tables.to_owned()).await {
        let columns = format!("SELECT 'quote(\"' || name || '\")' FROM pragma_table_info('{table}') ORDER BY name");
        let columns = texts(columns).await.join(" || ',' || ");
        all.extend(texts(format!("SELECT '{table}: ' || {columns} FROM {table} ORDER BY 1")).await);
    }
    all
}

/// Rows that a copy could change: long, empty, in other scripts, with signs that SQL, JSON and COPY read, at the ends of
/// their types.
const HOSTILE: &[&str] = &[
    "INSERT INTO users (id, email, email_canonical, username, username_canonical, full_name, hashed_password, created_at, \
     updated_at) VALUES (zeroblob(16), '', 'a', '', 'a', 'Ünï 😀 漢字 \u{202e}rtl\u{301} NULL \\N ''quoted'' \"x\" %s $1 ?', \
     replace(hex(zeroblob(60000)), '00', 'é'), '1970-01-01T00:00:00Z', '9999-12-31T23:59:59Z'), \
     (X'ffffffffffffffffffffffffffffffff', char(1) || char(10) || char(13) || char(9) || ' ', 'b', ' ', 'b', char(127), \
     '0', '2026-02-28T23:59:59Z', '2024-02-29T00:00:00Z')",
    "INSERT INTO limits VALUES ('', -9223372036854775808, -2147483648), ('a', 9223372036854775807, 2147483647), \
     ('B', -1, 0), ('_', 0, -1), ('é', 1, 1), ('Z-z', 1, 1)",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500) \
     INSERT INTO limits SELECT CASE i % 2 WHEN 0 THEN 'k' ELSE 'K' END || i, i, 0 FROM n",
    "INSERT INTO outbox (id, letter, data, to_address, locale, state, attempts, next_attempt_at, leased_until, deadline, \
     last_error, created_at, sent_at) SELECT randomblob(16), 'mail_test', data, '', '', 'failed', -1, \
     '2026-11-27T11:33:14Z', NULL, '2026-11-27T11:33:14Z', '', '2026-11-27T11:33:14Z', NULL FROM (SELECT \
     '{ \"b\" : 1.0, \"a\":1e400, \"a\": 123456789012345678901234567890, \"n\": \"\\u0000 \\ud83d\\ude00 é\" }' AS data \
     UNION ALL SELECT ' [ ] ' UNION ALL SELECT 'null' UNION ALL SELECT '\"\"')",
    "INSERT INTO events SELECT randomblob(16), '2026-11-27T11:33:14Z', 'log_in', id, '::1', '', '' FROM users",
    "INSERT INTO visits VALUES ('\\x00', '{}', '2999-01-01T00:00:00Z'), ('Ä', '', '2999-01-01T00:00:00Z')",
];

fn refused(ran: &Ran, words: &[&str]) {
    assert_eq!((ran.code, ran.out.as_str(), ran.err.lines().count()), (Some(1), "", 1), "{ran:?}");
    words.iter().for_each(|word| assert!(ran.err.contains(word), "{word}: {}", ran.err));
}

/// Returns a folder with users of a site that was stopped, and with hostile rows.
async fn lived_in() -> Process {
    let mut process = Process::serving(&[]).await;
    let mut sam = process.user("sam", OTTER).await;
    process.browser().ask_reset("sam@example.com").await;
    process.link("sam@example.com", 2).await;
    sam.open("/profile/security").await;
    process.browser().log_in("sam", "wrong").await;
    process.stop().await;
    let db = process.db().await;
    for statement in HOSTILE {
        db.write().execute_unprepared(statement).await.unwrap();
    }
    db.close().await.unwrap();
    process
}

#[tokio::test]
async fn there_and_back_every_byte_is_the_same_and_users_stay_logged_in() {
    let (cluster, process) = (Cluster::start().await, lived_in().await);
    let there = process.done(&["move", "--to", &cluster.url]);
    for words in ["Copied 3 users, ", "Every row was read again", "LATCHKEY_DATABASE_URL"] {
        assert!(there.contains(words), "{words}: {there}");
    }
    // A database may sort text by a language, in which `a` comes before `B`.
    let there = Database::connect(&cluster.url).await.unwrap();
    for (table, key) in [("limits", "key"), ("visits", "id")] {
        let sort = format!("ALTER TABLE {table} ALTER COLUMN {key} TYPE varchar COLLATE \"und-x-icu\"");
        there.execute_unprepared(&sort).await.unwrap();
    }
    there.close().await.unwrap();
    process.done(&["move", "--from", &cluster.url, "--to", "sqlite://back.db"]);
    let (before, after) = (dump(&process.path("data/latchkey.db")).await, dump(&process.path("back.db")).await);
    assert!(before.len() > 20, "{before:?}");
    assert_eq!(before, after);
    // By way of a backup of PostgreSQL, too.
    let on_postgres = ["--database-url", &cluster.url, "--secret-file", "data/secret"];
    process.done(&[&["backup", "backup.db"][..], &on_postgres].concat());
    let held = dump(&process.path("backup.db")).await;
    let held: Vec<_> = held.into_iter().filter(|row| !row.starts_with("latchkey_backup")).collect();
    assert_eq!(before, held);

    // A server serves from there.
    let secret = fs::read_to_string(process.path("data/secret")).unwrap();
    let settings = [("LATCHKEY_DATABASE_URL", cluster.url.as_str()), ("LATCHKEY_SECRET", secret.trim())];
    let mut moved = Process::serving(&settings).await;
    assert_eq!(moved.browser().log_in("sam", OTTER).await.path, "/profile");
    moved.stop().await;
}

#[tokio::test]
async fn a_target_that_is_not_empty_or_in_use_is_refused() {
    let (cluster, process) = (Cluster::start().await, lived_in().await);
    let mut there = cluster.process("");
    there.start().await;
    let to = ["move", "--to", &cluster.url];
    refused(&process.run(&to), &["--to: a Latchkey uses it; stop all servers first"]);
    let from = ["move", "--from", &cluster.url, "--to", "sqlite://back.db"];
    refused(&process.run(&from), &["--from: a Latchkey uses it"]);
    there.stop().await;
    // PostgreSQL has no text with a NUL. No form takes one, so such a row is the operator's to look at.
    let db = process.db().await;
    let nul = "INSERT INTO visits VALUES (char(0), '', '2999-01-01T00:00:00Z')";
    db.write().execute_unprepared(nul).await.unwrap();
    refused(&process.run(&to), &["--to: rows of visits cannot be written", "0x00"]);
    db.write().execute_unprepared("DELETE FROM visits WHERE id = char(0)").await.unwrap();
    db.close().await.unwrap();
    // The tables are there, and empty.
    process.done(&to);
    refused(&process.run(&to), &["--to: it is not empty", "users", "createdb"]);
    fs::write(process.path("there.db"), "").unwrap();
    refused(&process.run(&["move", "--to", "sqlite://there.db"]), &["--to: ", "there.db exists"]);
    let restore = ["restore", "b.db", "--database-url", &cluster.url, "--secret-file", "data/secret"];
    process.done(&["backup", "b.db"]);
    refused(&process.run(&restore), &["nothing was restored", "it is not empty"]);
    let ran = process.run(&["move", "--to", "mysql://sam:tell-nobody@host/x"]);
    assert!(
        ran.err.contains("--to must begin with sqlite: or postgres:") && !ran.err.contains("tell-nobody"),
        "{ran:?}"
    );
    let ran = process.run(&["move", "--to", "postgres://sam:tell-nobody@db.invalid/x?sslmode=verify-full"]);
    assert!(ran.code == Some(1) && ran.err.contains("PGPASSWORD") && !ran.err.contains("tell-nobody"), "{ran:?}");
    let ran = process.run(&["move", "--to", "postgres://sam@192.0.2.1/x"]);
    refused(&ran, &["--to must end with ?sslmode=verify-full"]);
}

#[tokio::test]
async fn a_kill_in_the_middle_leaves_postgresql_empty() {
    let (cluster, process) = (Cluster::start().await, lived_in().await);
    let db = process.db().await;
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) \
                INSERT INTO limits SELECT 'key' || i, i, 0 FROM n";
    db.write().execute_unprepared(many).await.unwrap();
    db.close().await.unwrap();
    // This connection is not one of a Latchkey, which would be refused.
    let there = Database::connect(&cluster.url).await.unwrap();
    let ask = async |ask: &str| {
        let row = there.query_one_raw(Statement::from_string(DbBackend::Postgres, ask)).await.unwrap();
        row.unwrap().try_get_by_index::<i64>(0).unwrap()
    };
    let mut child = process.command(&["move", "--to", &cluster.url]).spawn().unwrap();
    let writing =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'latchkey' AND backend_xid IS NOT NULL";
    until("it writes", async || (ask(writing).await > 0).then_some(())).await;
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    assert_eq!(ask("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'").await, 0);
    until("its connection has ended", async || (ask(writing).await == 0).then_some(())).await;
    process.done(&["move", "--to", &cluster.url]);
    assert!(ask("SELECT count(*) FROM limits").await >= 20_000);
}

#[tokio::test]
async fn a_backup_of_postgresql_restores_there_and_into_a_file() {
    let (cluster, process) = (Cluster::start().await, lived_in().await);
    process.done(&["move", "--to", &cluster.url]);
    let on_postgres = ["--database-url", &cluster.url, "--secret-file", "data/secret"];
    process.done(&[&["backup", "backup.db"][..], &on_postgres].concat());
    let there = Db::open(&cluster.url.parse().unwrap()).await.unwrap();
    let empty = "DELETE FROM users; DELETE FROM pending_signups; DELETE FROM outbox; DELETE FROM limits; \
                 DELETE FROM events; DELETE FROM visits";
    there.write().execute_unprepared(empty).await.unwrap();
    there.close().await.unwrap();
    let said = process.done(&[&["restore", "backup.db"][..], &on_postgres].concat());
    assert!(said.contains("3 users, "), "{said}");
    process.done(&["restore", "backup.db", "--data-dir", "other"]);
    process.done(&["move", "--from", &cluster.url, "--to", "sqlite://back.db"]);
    let rows = async |file: &str| {
        let rows = dump(&process.path(file)).await;
        rows.into_iter().filter(|row| !row.contains("'restored'")).collect::<Vec<_>>()
    };
    assert_eq!(rows("other/latchkey.db").await, rows("back.db").await);
}

#[tokio::test]
async fn one_of_several_machines_makes_a_backup_at_a_time() {
    let cluster = Cluster::start().await;
    let settings = [
        ("LATCHKEY_DATABASE_URL", cluster.url.as_str()),
        ("LATCHKEY_SECRET", "canary-9vT2qLx7Rm4Kc8Wz1Nd6Hb3Fp5Gs0Jy"),
        ("LATCHKEY_BACKUP_DIR", "backups"),
    ];
    let mut process = Process::new(&settings);
    process.done(&["migrate"]);
    let source = latchkey::data::Source::open(&cluster.url.parse().unwrap()).await.unwrap();
    assert!(source.take_turn().await.unwrap());
    process.start().await;
    until("it waits", async || process.log().contains("another machine is making a backup").then_some(())).await;
    assert_eq!(fs::read_dir(process.path("backups")).unwrap().count(), 0);
    source.close().await.unwrap();
    process.stop().await;
    process.start().await;
    until("it is made", async || process.log().contains("read again and compared").then_some(())).await;
    assert_eq!(fs::read_dir(process.path("backups")).unwrap().count(), 1);
}
