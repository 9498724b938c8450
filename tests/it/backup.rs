//! A backup has everything, and is written and restored as a whole or not at all. `data.rs` has PostgreSQL's part.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use latchkey::data::{Source, check};
use latchkey::db::{Alone, DatabaseUrl, Db};
use migrations::{Migrator, MigratorTrait};
use sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::app::TestApp;
use crate::database::sqlite_only;
use crate::process::{Process, Ran, free_port, until};
use crate::{HERON, OTTER};

/// Returns the size of SQLite's write-ahead log, or 0 if there is none.
fn wal(process: &Process) -> u64 {
    fs::metadata(process.path("data/latchkey.db-wal")).map_or(0, |about| about.len())
}

#[tokio::test]
async fn a_database_that_was_copied_alone_after_a_stop_holds_every_user() {
    sqlite_only!("its file is copied");
    let mut process = Process::serving(&[]).await;
    process.user("sam", OTTER).await;
    process.stop().await;
    assert_eq!(wal(&process), 0);
    fs::create_dir(process.path("elsewhere")).unwrap();
    fs::copy(process.path("data/latchkey.db"), process.path("elsewhere/latchkey.db")).unwrap();
    let list = process.run(&["user", "list", "--data-dir", "elsewhere"]);
    assert!(list.code == Some(0) && list.out.contains("sam@example.com"), "{list:?}");
}

#[tokio::test]
async fn a_command_that_has_the_database_open_does_not_keep_the_file_from_being_complete() {
    sqlite_only!("its write-ahead log");
    let mut process = Process::serving(&[]).await;
    process.user("sam", OTTER).await;
    let _open = process.db().await;
    process.stop().await;
    assert_eq!(wal(&process), 0);
}

#[tokio::test]
async fn a_command_that_writes_leaves_the_file_complete_where_no_server_runs() {
    sqlite_only!("its write-ahead log");
    let mut process = Process::serving(&[]).await;
    process.user("sam", OTTER).await;
    process.stop().await;
    for command in [&["user", "reset-link", "sam"][..], &["migrate"], &["keys", "rotate"]] {
        assert_eq!(process.run(command).code, Some(0), "{command:?}");
        assert_eq!(wal(&process), 0, "{command:?}");
    }
}

/// Returns the warnings in the log that have this word.
fn warnings(process: &Process, word: &str) -> Vec<String> {
    let log = process.log();
    log.lines().filter(|line| line.contains("WARN") && line.contains(word)).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_secret_that_is_made_again_although_there_are_users_is_warned_of() {
    sqlite_only!("no secret is made on PostgreSQL");
    let mut process = Process::serving(&[]).await;
    process.user("sam", OTTER).await;
    process.stop().await;
    process.start().await;
    process.stop().await;
    assert_eq!(warnings(&process, "secret"), [""; 0], "neither at the first start nor at the second");
    fs::rename(process.path("data/secret"), process.path("kept")).unwrap();
    process.start().await;
    let [warning] = &warnings(&process, "secret")[..] else { panic!("{}", process.log()) };
    for words in ["data/secret", "logged out", "stop the server", "put the old file back"] {
        assert!(warning.contains(words), "{words}: {warning}");
    }
}

#[tokio::test]
async fn a_copy_that_others_can_read_is_warned_of() {
    sqlite_only!("the modes of its file");
    let mut process = Process::serving(&[]).await;
    process.stop().await;
    let open = |path: &str, mode| fs::set_permissions(process.path(path), Permissions::from_mode(mode)).unwrap();
    open("data/latchkey.db", 0o644);
    process.start().await;
    assert_eq!(warnings(&process, "others on this machine"), [""; 0], "other users cannot open its folder");
    process.stop().await;
    let open = |path: &str, mode| fs::set_permissions(process.path(path), Permissions::from_mode(mode)).unwrap();
    open("data", 0o755);
    process.start().await;
    let [warning] = &warnings(&process, "others on this machine")[..] else { panic!("{}", process.log()) };
    assert!(warning.contains("run chmod 600") && warning.contains("latchkey.db"), "{warning}");
}

/// Returns the blocks of commands under a heading of the README.
fn readme(heading: &str) -> Vec<String> {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let part = text.split(&format!("\n## {heading}\n")).nth(1).unwrap_or_else(|| panic!("no {heading} in README"));
    let part = part.split("\n## ").next().unwrap();
    part.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_lines_of_the_readme_back_up_a_running_server_and_restore_it() {
    sqlite_only!("its file is copied");
    let [back_up, restore, ..] = &readme("Back up, restore, move")[..] else { panic!("two blocks") };
    let mut process = Process::serving(&[]).await;
    let mut sam = process.user("sam", OTTER).await;
    let programs = Path::new(env!("CARGO_BIN_EXE_latchkey")).parent().unwrap().display().to_string();
    let folder = process.path("");
    let lines = |lines: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-ec", lines]).current_dir(&folder).env("PATH", format!("{programs}:/usr/bin:/bin"));
        let shell = Ran::of(shell.output().unwrap());
        assert_eq!(shell.code, Some(0), "{lines}: {shell:?}");
        shell.out
    };
    let said = lines(back_up);
    for words in ["1 user, ", "compared", "data/secret) is not in it"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    process.user("ada", OTTER).await;
    process.stop().await;
    let said = lines(restore);
    for words in ["a backup of ", "1 user, ", "All users are logged out (1 session)", "data/secret)"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let mode = |path: &str| fs::metadata(process.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!([mode("data"), mode("data/latchkey.db"), mode("data/secret")], [0o700, 0o600, 0o600]);
    process.start().await;
    assert!(!sam.is_logged_in().await);
    assert_eq!(sam.log_in("sam", OTTER).await.path, "/profile");
    let list = process.run(&["user", "list"]).out;
    assert!(list.contains("sam@example.com") && !list.contains("ada@example.com"), "{list}");
}

/// Runs a command that ends with one line, which has these words.
fn refused(process: &Process, arguments: &[&str], words: &[&str]) {
    let ran = process.run(arguments);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.lines().count()), (Some(1), "", 1), "{ran:?}");
    words.iter().for_each(|word| assert!(ran.err.contains(word), "{word}: {}", ran.err));
}

/// Adds users by rows, each with an event.
async fn seed(db: &Db, users: u32) {
    let count = format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {users})");
    let at = "'2026-11-27T11:33:14Z'";
    let users = format!(
        "{count} INSERT INTO users (id, email, email_canonical, username, username_canonical, full_name, hashed_password, \
         created_at, updated_at) SELECT randomblob(16), e, e, e, e, 'Sam Smith', 'none', {at}, {at} \
         FROM (SELECT 'user' || i || '@example.com' AS e FROM n)"
    );
    let events = format!(
        "INSERT INTO events (id, at, kind, user_id, ip, user_agent, request_id) \
         SELECT randomblob(16), {at}, 'sign_up', id, '', '', '' FROM users"
    );
    let tx = db.begin().await.unwrap();
    for statement in [users, events] {
        tx.execute_unprepared(&statement).await.unwrap();
    }
    tx.commit().await.unwrap();
}

async fn number(conn: &impl ConnectionTrait, ask: &str) -> i64 {
    let ask = Statement::from_string(DbBackend::Sqlite, ask);
    conn.query_one_raw(ask).await.unwrap().unwrap().try_get_by_index(0).unwrap()
}

/// Returns a folder with a database of many users, in which no server runs.
async fn seeded(users: u32) -> Process {
    let process = Process::new(&[]);
    process.done(&["migrate"]);
    let db = process.db().await;
    seed(&db, users).await;
    db.close().await.unwrap();
    process
}

#[tokio::test]
async fn a_backup_shows_one_moment_although_the_server_and_others_write() {
    let process = Process::serving(&[]).await;
    let db = process.db().await;
    seed(&db, 1500).await;
    let (writer, stop) = (db.clone(), Arc::new(AtomicBool::new(false)));
    let stopped = stop.clone();
    let writing = tokio::spawn(async move {
        let mut written = 0_u32;
        while !stopped.load(Ordering::Relaxed) {
            // A user and an event in one transaction: no moment has one without the other.
            let tx = writer.begin().await.unwrap();
            for statement in [
                "INSERT INTO users SELECT randomblob(16), e, e, e, e, '', '', at, at, NULL, NULL, NULL, NULL, NULL FROM \
                 (SELECT hex(randomblob(8)) AS e, created_at AS at FROM users LIMIT 1)",
                "INSERT INTO events SELECT randomblob(16), created_at, 'sign_up', id, '', '', '' FROM users \
                 ORDER BY rowid DESC LIMIT 1",
            ] {
                tx.execute_unprepared(statement).await.unwrap();
            }
            tx.commit().await.unwrap();
            written += 1;
        }
        written
    });
    let mut command = process.command(&["backup", "backup.db"]);
    let ran = Ran::of(tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap());
    stop.store(true, Ordering::Relaxed);
    assert!(writing.await.unwrap() > 0, "others wrote meanwhile");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let backup = Db::open_read_only(&process.path("backup.db")).await.unwrap();
    let count = async |table| number(backup.read(), &format!("SELECT count(*) FROM {table}")).await;
    assert_eq!(count("users").await, count("events").await);
    assert_eq!(fs::metadata(process.path("backup.db")).unwrap().permissions().mode() & 0o777, 0o600);
}

/// Starts a command, kills it while it writes this file, and asserts that it has left no file of that name.
async fn killed(process: &Process, arguments: &[&str], file: &str) {
    let (part, file) = (process.path(&format!("{file}.part")), process.path(file));
    for _ in 0..10 {
        let mut child = process.command(arguments).stdout(Stdio::null()).spawn().unwrap();
        until("it writes", async || (part.exists() || file.exists()).then_some(())).await;
        child.kill().unwrap();
        if !child.wait().unwrap().success() {
            assert!(part.exists() && !file.exists());
            return;
        }
        fs::remove_file(&file).unwrap(); // on a busy machine it may have ended before the kill
    }
    panic!("it ended before the kill, ten times");
}

#[tokio::test]
async fn a_kill_leaves_no_half_backup_and_no_half_database_and_the_next_attempt_succeeds() {
    let process = seeded(4000).await;
    killed(&process, &["backup", "backup.db"], "backup.db").await;
    process.done(&["backup", "backup.db"]);
    assert!(!process.path("backup.db.part").exists());
    let restore = ["restore", "backup.db", "--data-dir", "other"];
    killed(&process, &restore, "other/latchkey.db").await;
    process.done(&restore);
    assert_eq!(process.done(&["user", "list", "--data-dir", "other"]).lines().count(), 4000);
}

/// Runs a command that may write files of 512 KiB at most: what it writes beyond fails, as on a full disk.
fn cramped(process: &Process, arguments: &[&str]) -> Ran {
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 1024; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_latchkey")]);
    Ran::of(shell.args(arguments).current_dir(process.path("")).env_clear().output().unwrap())
}

#[tokio::test]
async fn a_disk_that_takes_no_more_leaves_no_file() {
    let process = seeded(2000).await;
    let ran = cramped(&process, &["backup", "backup.db"]);
    assert!(ran.code == Some(1) && ran.err.lines().count() == 1, "{ran:?}");
    assert!(!process.path("backup.db").exists() && !process.path("backup.db.part").exists());
    process.done(&["backup", "backup.db"]);
    let ran = cramped(&process, &["restore", "backup.db", "--data-dir", "other"]);
    assert!(ran.code == Some(1) && ran.err.contains("nothing was restored"), "{ran:?}");
    assert!(!process.path("other/latchkey.db").exists() && !process.path("other/latchkey.db.part").exists());
}

#[tokio::test]
async fn a_damaged_backup_is_refused() {
    let process = seeded(300).await;
    process.done(&["backup", "backup.db"]);
    let whole = fs::read(process.path("backup.db")).unwrap();
    let restore = |bytes: &[u8], words: &[&str]| {
        fs::write(process.path("damaged.db"), bytes).unwrap();
        let words = [&["damaged.db cannot be used"], words].concat();
        refused(&process, &["restore", "damaged.db", "--data-dir", "other"], &words);
        assert!(!process.path("other").exists());
    };
    // SQLite itself does not see that a name is another one. A copy of a name that no row has any more may change.
    let original = check(&process.path("backup.db")).await.unwrap().survey;
    let names = (0..whole.len() - 9).filter(|at| &whole[*at..*at + 9] == b"Sam Smith");
    let (mut in_rows, others) = (0, (0..whole.len()).step_by(whole.len() / 25));
    for at in names.step_by(20).chain(others) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        fs::write(process.path("damaged.db"), &flipped).unwrap();
        match check(&process.path("damaged.db")).await {
            Ok(backup) => assert_eq!(backup.survey, original, "byte {at}"),
            Err(why) => in_rows += usize::from(format!("{why:#}").contains("the rows of users are not those")),
        }
    }
    assert!(in_rows > 0);
    let mut torn = whole.clone();
    torn[4096 * 3..].fill(0);
    restore(&torn, &[]);
    restore(&whole[..whole.len() / 2], &[]);
    restore(b"no database", &[]);
    restore(b"", &["it has no tables of Latchkey"]);
    refused(&process, &["restore", "none.db"], &["none.db", "No such file"]);
    process.done(&["restore", "backup.db", "--data-dir", "other"]);
}

#[tokio::test]
async fn what_exists_is_never_written_over() {
    let mut process = Process::serving(&[]).await;
    process.user("sam", OTTER).await;
    process.done(&["backup", "backup.db"]);
    let before = fs::read(process.path("backup.db")).unwrap();
    refused(&process, &["backup", "backup.db"], &["no backup was made", "backup.db exists", "another file"]);
    assert_eq!(fs::read(process.path("backup.db")).unwrap(), before);
    refused(&process, &["backup", "no/folder.db"], &["no backup was made", "no/folder.db"]);
    std::os::unix::fs::symlink("backup.db", process.path("linked.db.part")).unwrap();
    refused(&process, &["backup", "linked.db"], &["no backup was made", "linked.db.part"]);
    assert_eq!(fs::read(process.path("backup.db")).unwrap(), before);
    let id = process.id().to_string();
    refused(&process, &["restore", "backup.db"], &["stop the server first", &id]);
    process.stop().await;
    refused(&process, &["restore", "backup.db"], &["data/latchkey.db exists", "mkdir old && mv "]);
    fs::rename(process.path("data/latchkey.db"), process.path("old.db")).unwrap();
    fs::write(process.path("data/latchkey.db-wal"), "").unwrap();
    refused(&process, &["restore", "backup.db"], &["data/latchkey.db-wal exists"]);
    refused(&process, &["backup", "another.db"], &["there is no database"]);
}

#[tokio::test]
async fn what_has_ended_after_a_backup_does_not_come_to_life_by_its_restore() {
    let mut process = Process::serving(&[]).await;
    let mut sam = process.user("sam", OTTER).await;
    let link = process.done(&["user", "reset-link", "sam"]);
    let db = process.db().await;
    let wait = "UPDATE outbox SET state = 'waiting', next_attempt_at = '2999-01-01T00:00:00Z'";
    db.write().execute_unprepared(wait).await.unwrap();
    db.close().await.unwrap();
    process.done(&["backup", "backup.db"]);
    let mut lost = process.browser();
    assert_eq!(lost.reset(link.trim(), HERON).await.path, "/login");
    process.stop().await;

    fs::rename(process.path("data/latchkey.db"), process.path("old.db")).unwrap();
    let said = process.done(&["restore", "backup.db"]);
    assert!(said.contains("1 email waited"), "{said}");
    process.start().await;
    assert!(!sam.is_logged_in().await);
    process.browser().open(link.trim()).await.assert_framed(410);
    let db = process.db().await;
    for (ask, expected) in [
        ("SELECT count(*) FROM devices", 0),
        ("SELECT count(*) FROM outbox WHERE state = 'waiting'", 0),
        ("SELECT count(*) FROM outbox WHERE state = 'failed' AND last_error LIKE 'restored from a backup%'", 1),
        ("SELECT count(*) FROM events WHERE kind = 'restored' AND user_id IS NULL", 1),
    ] {
        assert_eq!(number(db.read(), ask).await, expected, "{ask}");
    }
    db.close().await.unwrap();
    process.stop().await;

    fs::remove_file(process.path("data/latchkey.db")).unwrap();
    let said = process.done(&["restore", "backup.db", "--keep-sessions"]);
    assert!(!said.contains("logged out"), "{said}");
    process.start().await;
    assert!(sam.is_logged_in().await);
    process.browser().open(link.trim()).await.assert_framed(410);
}

/// Makes a database of an earlier release, which had so many steps, with one user.
async fn older(file: &Path, steps: u32) {
    let db = Db::open(&DatabaseUrl::of_file(file).unwrap()).await.unwrap();
    let tx = db.begin_alone(Alone::Migrating).await.unwrap();
    Migrator::up(&tx, Some(steps)).await.unwrap();
    let user = "INSERT INTO users (id, email, email_canonical, username, username_canonical, full_name, hashed_password, \
                created_at, updated_at) VALUES (randomblob(16), 'sam@example.com', 'sam@example.com', 'sam', 'sam', '', '', \
                '2026-11-27T11:33:14Z', '2026-11-27T11:33:14Z')";
    tx.execute_unprepared(user).await.unwrap();
    tx.commit().await.unwrap();
    db.close().await.unwrap();
}

#[tokio::test]
async fn a_database_is_backed_up_before_it_is_migrated_and_that_backup_restores() {
    let process = Process::new(&[]);
    let all = u32::try_from(Migrator::migrations().len()).unwrap();
    fs::create_dir(process.path("data")).unwrap();
    // A snapshot that cannot be written keeps the database as it is.
    older(&process.path("data/latchkey.db"), 1).await;
    fs::write(process.path("data/snapshots"), "").unwrap();
    refused(&process, &["migrate"], &["nothing was migrated", "data/snapshots"]);
    fs::remove_file(process.path("data/snapshots")).unwrap();
    for steps in 1..all {
        fs::remove_file(process.path("data/latchkey.db")).unwrap();
        older(&process.path("data/latchkey.db"), steps).await;
        for _ in 0..2 {
            process.done(&["migrate"]);
        }
    }
    let names = fs::read_dir(process.path("data/snapshots")).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<_> = names.collect();
    names.sort();
    assert_eq!(names.len(), 3, "{names:?}");
    for (name, steps) in names.iter().zip(all - 3..) {
        assert!(name.display().to_string().contains(Migrator::migrations()[steps as usize].name()), "{names:?}");
        assert_eq!(fs::metadata(name).unwrap().permissions().mode() & 0o777, 0o600);
        let folder = format!("restored{steps}");
        process.done(&["restore", name.to_str().unwrap(), "--data-dir", &folder]);
        let list = process.done(&["user", "list", "--data-dir", &folder]);
        assert!(list.contains("sam@example.com"), "{list}");
        assert!(!process.path(&folder).join("snapshots").exists(), "a new database needs none");
    }
}

#[tokio::test]
async fn a_copy_of_an_earlier_database_restores_and_one_of_a_newer_release_does_not() {
    let process = Process::new(&[]);
    older(&process.path("copy.db"), 2).await;
    let said = process.done(&["restore", "copy.db"]);
    assert!(said.contains("a copy without digests") && said.contains("1 user"), "{said}");
    assert!(process.done(&["user", "list"]).contains("sam@example.com"));
    let db = process.db().await;
    let step = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m29991231_000001_later', 0)";
    db.write().execute_unprepared(step).await.unwrap();
    db.close().await.unwrap();
    let newer = ["restore", "data/latchkey.db", "--data-dir", "other"];
    refused(&process, &newer, &["a newer Latchkey has changed it"]);
    refused(&process, &["backup", "backup.db"], &["a newer Latchkey has changed it"]);
    let db = process.db().await;
    db.write().execute_unprepared("DELETE FROM seaql_migrations WHERE applied_at = 0").await.unwrap();
    db.write().execute_unprepared("CREATE TABLE notes (id text PRIMARY KEY)").await.unwrap();
    db.close().await.unwrap();
    refused(&process, &newer, &["it has a table notes"]);
}

/// Returns the names of the backups in a folder, oldest first.
fn backups(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[tokio::test]
async fn the_server_makes_backups_by_itself_and_keeps_the_newest() {
    let metrics = format!("127.0.0.1:{}", free_port());
    let settings = [
        ("LATCHKEY_BACKUP_DIR", "backups"),
        ("LATCHKEY_BACKUP_KEEP", "2"),
        ("LATCHKEY_METRICS_LISTEN", metrics.as_str()),
    ];
    let mut process = Process::new(&settings);
    let folder = process.path("backups");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
    let others = ["latchkey-20250101T000000Z.db", "latchkey-20250102T000000Z.db", "latchkey-20250103T000000Z.db.part"];
    for name in others.iter().chain(&["kept.db"]) {
        fs::write(folder.join(name), "").unwrap();
    }
    process.start().await;
    let made = until("the old ones are gone", async || {
        let names = backups(&folder);
        (names.len() == 3).then_some(names)
    });
    let made = made.await;
    assert_eq!((made[0].as_str(), made[1].as_str()), ("kept.db", others[1]));
    let backup = check(&folder.join(&made[2])).await.unwrap();
    assert!(backup.made_at.is_some() && backup.survey.users() == 0);
    let age = async || {
        let text = reqwest::get(format!("http://{metrics}/metrics")).await.unwrap().text().await.unwrap();
        assert!(text.contains("latchkey_backup_failures_total 0\n"), "{text}");
        let age = text.lines().find_map(|line| line.strip_prefix("latchkey_backup_age_seconds ")?.parse::<f64>().ok());
        age.filter(|age| *age < 60.0)
    };
    until("its age is known", age).await;
    process.stop().await;
    process.start().await;
    until("its age is known after a restart too", age).await;
    assert_eq!(backups(&folder), made, "none was due");
}

#[tokio::test]
async fn a_backup_that_fails_is_counted_and_its_age_is_not_told() {
    let metrics = format!("127.0.0.1:{}", free_port());
    let app = TestApp::start_with(&["--backup-dir", "/nonexistent/backups", "--metrics-listen", &metrics]).await;
    let failed = until("it fails", async || {
        let text = reqwest::get(format!("http://{metrics}/metrics")).await.unwrap().text().await.unwrap();
        text.contains("latchkey_backup_failures_total 1\n").then_some(text)
    });
    assert!(!failed.await.contains("backup_age"));
    app.stop().await;
}

#[tokio::test]
async fn a_source_shows_one_moment() {
    let process = seeded(10).await;
    let url = DatabaseUrl::of_file(&process.path("data/latchkey.db")).unwrap();
    let source = Source::open(&url).await.unwrap();
    let before = source.survey().await.unwrap();
    let db = process.db().await;
    db.write().execute_unprepared("DELETE FROM users").await.unwrap();
    assert_eq!((source.survey().await.unwrap(), before.users()), (before.clone(), 10));
    source.close().await.unwrap();
}
