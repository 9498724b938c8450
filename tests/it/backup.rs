//! A backup has everything: the one file after a stop, and a copy by the lines of the README.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::OTTER;
use crate::database::sqlite_only;
use crate::process::Process;

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
    let [back_up, restore] = &readme("Back up and restore")[..] else { panic!("two blocks") };
    let mut process = Process::serving(&[]).await;
    let mut sam = process.user("sam", OTTER).await;
    let lines = |lines: &str| {
        let shell = Command::new("sh").args(["-ec", lines]).current_dir(process.path("")).output().unwrap();
        assert!(shell.status.success(), "{lines}: {shell:?}");
    };
    if Command::new("sqlite3").arg("--version").output().is_ok() {
        lines(back_up);
    } else {
        // Without the tool, the same files are copied after a stop.
        process.stop().await;
        let lines = "mkdir -m 700 backup && cp -p data/latchkey.db data/secret backup/";
        assert!(Command::new("sh").args(["-c", lines]).current_dir(process.path("")).status().unwrap().success());
        process.start().await;
    }
    process.user("ada", OTTER).await;
    process.stop().await;
    let shell = Command::new("sh").args(["-ec", restore]).current_dir(process.path("")).output().unwrap();
    assert!(shell.status.success(), "{restore}: {shell:?}");
    process.start().await;
    assert!(sam.is_logged_in().await, "the secret is the same");
    let list = process.run(&["user", "list"]).out;
    assert!(list.contains("sam@example.com") && !list.contains("ada@example.com"), "{list}");
}
