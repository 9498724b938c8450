//! What refuses to start: one line that says what to do, and nothing served.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use rustix::process::getuid;

use crate::OTTER;
use crate::process::{Process, try_to_serve};

/// Nobody, to whom root can give a file.
const NOBODY: u32 = 65534;

fn chmod(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// It does not serve, and says why in one line with each of these words.
fn assert_refused(command: Command, words: &[&str]) {
    let ran = try_to_serve(command);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.lines().count()), (Some(1), "", 1), "{ran:?}");
    for word in words {
        assert!(ran.err.contains(word), "{word}: {}", ran.err);
    }
    assert!(!ran.err.contains("tell-nobody"), "{}", ran.err);
}

/// The same command for somebody whom modes stop, such as root without its powers.
fn powerless(process: &Process, arguments: &[&str]) -> Command {
    let plain = process.command(arguments);
    if !getuid().is_root() {
        return plain;
    }
    let mut command = Command::new("/usr/bin/setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--"]).arg(plain.get_program()).args(plain.get_args());
    command.current_dir(process.dir.path()).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

#[test]
fn a_secret_file_that_will_not_do_is_named_and_not_shown() {
    let guessed = "tell-nobody-tell-nobody-tell-nobody-tell-nobody";
    for (file, text, why) in [
        ("empty", "\n", "holds no secret"),
        ("short", "tell-nobody", "under 32 characters"),
        ("guessed", guessed, "can be guessed; try: openssl rand -base64 32"),
        ("no/such/folder/secret", "", "No such file"),
    ] {
        let process = Process::new(&[("LATCHKEY_SECRET_FILE", file)]);
        if !text.is_empty() {
            fs::write(process.path(file), text).unwrap();
            chmod(process.path(file), 0o600);
        }
        assert_refused(process.command(&["serve"]), &["LATCHKEY_SECRET_FILE", file, why]);
    }
}

#[test]
fn a_secret_that_others_can_read_is_refused() {
    let process = Process::new(&[("LATCHKEY_SECRET_FILE", "link")]);
    assert_eq!(process.run(&["migrate", "--secret-file", "secret"]).code, Some(0));
    symlink("secret", process.path("link")).unwrap();
    if getuid().is_root() {
        chown(process.path("secret"), Some(NOBODY), None).unwrap();
    }
    for mode in [0o640, 0o620, 0o604, 0o666, 0o644] {
        chmod(process.path("secret"), mode);
        assert_refused(process.command(&["serve"]), &["LATCHKEY_SECRET_FILE", "chmod 600 link"]);
    }
    for mode in [0o600, 0o400] {
        chmod(process.path("secret"), mode);
        assert!(try_to_serve(process.command(&["serve"])).out.contains("is ready"), "{mode:o}");
    }
}

#[test]
fn root_may_hand_a_secret_to_a_group() {
    if !getuid().is_root() {
        return; // who alone can own a file as root does
    }
    let process = Process::new(&[]);
    assert_eq!(process.run(&["migrate"]).code, Some(0));
    chmod(process.path("data/secret"), 0o640);
    assert!(try_to_serve(process.command(&["serve"])).out.contains("is ready"));
    for mode in [0o660, 0o644] {
        chmod(process.path("data/secret"), mode);
        assert_refused(process.command(&["serve"]), &["LATCHKEY_SECRET_FILE", "chmod 600 data/secret"]);
    }
}

#[test]
fn a_data_folder_that_is_not_ours_alone_is_refused() {
    let process = Process::new(&[]);
    fs::create_dir(process.path("data")).unwrap();
    for mode in [0o777, 0o1777, 0o770, 0o702] {
        chmod(process.path("data"), mode);
        assert_refused(process.command(&["serve"]), &["LATCHKEY_DATA_DIR", "chmod go-w data"]);
    }
    assert_eq!(fs::read_dir(process.path("data")).unwrap().count(), 0, "nothing is put there");
    chmod(process.path("data"), 0o755);
    assert!(try_to_serve(process.command(&["serve"])).out.contains("is ready"));
}

#[test]
fn a_folder_or_database_that_cannot_be_written_is_named() {
    let process = Process::new(&[]);
    chmod(process.dir.path(), 0o500);
    assert_refused(powerless(&process, &["serve"]), &["LATCHKEY_DATA_DIR", "cannot make data"]);
    chmod(process.dir.path(), 0o700);
    assert!(try_to_serve(powerless(&process, &["serve"])).out.contains("is ready"));
    chmod(process.path("data"), 0o500);
    assert_refused(powerless(&process, &["serve"]), &["LATCHKEY_DATA_DIR", "cannot write into data"]);
    chmod(process.path("data"), 0o700);
    chmod(process.path("data/latchkey.db"), 0o400);
    assert_refused(powerless(&process, &["serve"]), &["LATCHKEY_DATABASE_URL", "cannot write to", "latchkey.db"]);
}

#[test]
fn what_is_no_database_is_named() {
    let process = Process::new(&[("LATCHKEY_DATABASE_URL", "sqlite://text")]);
    fs::write(process.path("text"), "in the way ".repeat(1000)).unwrap();
    assert_refused(process.command(&["serve"]), &["LATCHKEY_DATABASE_URL", "not a database"]);
    let nowhere = ["serve", "--database-url", "sqlite://no/such/folder/latchkey.db"];
    assert_refused(process.command(&nowhere), &["LATCHKEY_DATABASE_URL", "No such file"]);
}

#[tokio::test]
async fn a_second_server_on_the_same_file_is_refused_and_a_killed_one_leaves_no_lock() {
    let mut process = Process::serving(&[]).await;
    let mut sam = process.someone("sam", OTTER).await;
    let second = ["serve", "--listen", "127.0.0.1:0"];
    let first = format!("process {} serves", process.id());
    assert_refused(process.command(&second), &["LATCHKEY_DATABASE_URL", &first, "latchkey.db already"]);
    symlink("data/latchkey.db", process.path("link.db")).unwrap();
    let by_another_name = [&second[..], &["--database-url", "sqlite://link.db", "--data-dir", "other"]].concat();
    assert_refused(process.command(&by_another_name), &["LATCHKEY_DATABASE_URL", &first]);
    assert!(sam.is_logged_in().await, "the first goes on");
    process.kill();
    assert!(try_to_serve(process.command(&second)).out.contains("is ready"), "the lock went with the process");
    process.start().await;
    assert!(sam.is_logged_in().await);
}

#[tokio::test]
async fn a_server_and_commands_that_start_at_once_on_an_empty_folder_all_succeed() {
    for _ in 0..4 {
        let mut process = Process::new(&[]);
        let commands = [["user", "list"].as_slice(), &["migrate"]];
        let ran = commands.into_iter().cycle().take(8).map(|arguments| {
            let mut command = process.command(arguments);
            tokio::task::spawn_blocking(move || command.output().unwrap())
        });
        let ran: Vec<_> = ran.collect();
        process.start().await;
        for output in ran {
            let output = output.await.unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        process.someone("sam", OTTER).await;
    }
}
