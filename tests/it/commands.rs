//! Commands: where they look for files, what they never make, and what they ask before they delete.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::OTTER;
use crate::database::sqlite_only;
use crate::process::{Process, Ran, try_to_serve, until};

/// Closes a file to other users.
fn close(process: &Process, file: &str) {
    fs::set_permissions(process.path(file), Permissions::from_mode(0o600)).unwrap();
}

/// Runs a command in the process's folder, in a shell without settings.
fn bare(process: &Process, arguments: &[&str]) -> Ran {
    Ran::of(process.command(arguments).env_clear().output().unwrap())
}

fn refused(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!((ran.code, ran.out.as_str(), ran.err.lines().count()), (Some(code), "", 1), "{ran:?}");
    words.iter().for_each(|word| assert!(ran.err.contains(word), "{word}: {}", ran.err));
}

/// Runs a command that reads this text from its standard input.
fn answered(mut command: Command, answer: &str) -> Ran {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap();
    let _ = child.stdin.take().unwrap().write_all(answer.as_bytes()); // the command may have ended without reading
    Ran::of(child.wait_with_output().unwrap())
}

#[test]
fn a_command_makes_nothing_and_says_where_it_looked() {
    sqlite_only!("where its file is looked for");
    let process = Process::new(&[]);
    let folder = process.dir.path().canonicalize().unwrap();
    let (database, secret) = (folder.join("data/latchkey.db"), folder.join("data/secret"));
    let (database, secret) = (database.to_str().unwrap(), secret.to_str().unwrap());
    for command in [
        &["user", "list"][..],
        &["user", "show", "sam"],
        &["user", "reset-link", "sam"],
        &["user", "delete", "sam", "--yes"],
    ] {
        refused(&bare(&process, command), 1, &["no database at", database, "--data-dir", "--env-file"]);
    }
    for command in ["list", "rotate", "drop"] {
        refused(&bare(&process, &["keys", command]), 1, &["no secret at", secret, "--data-dir", "--env-file"]);
    }
    refused(&bare(&process, &["mail-test", "ada@example.com"]), 1, &["LATCHKEY_SMTP_URL", "--env-file"]);
    assert_eq!(fs::read_dir(process.dir.path()).unwrap().count(), 0);
}

#[test]
fn a_command_leaves_a_file_that_is_no_database_of_ours_alone() {
    sqlite_only!("its file");
    let process = Process::new(&[]);
    fs::create_dir(process.path("data")).unwrap();
    File::create(process.path("data/latchkey.db")).unwrap();
    refused(&bare(&process, &["user", "list"]), 1, &["data/latchkey.db", "latchkey migrate"]);
    assert_eq!(fs::metadata(process.path("data/latchkey.db")).unwrap().len(), 0);
}

#[tokio::test]
async fn the_settings_of_the_server_can_come_from_a_file() {
    sqlite_only!("the settings name no database");
    let process = Process::serving(&[("LATCHKEY_DATA_DIR", "elsewhere")]).await;
    process.user("sam", OTTER).await;
    let lines = [
        "# the server's settings",
        "",
        "LATCHKEY_DATA_DIR=elsewhere",
        "  LATCHKEY_PUBLIC_URL=\"https://accounts.example.com\"",
        "LATCHKEY_SMTP_URL=smtps://me:canary$HOME#1@mail.example.com",
        "LATCHKEY_TRUSTED_PROXIES=10.0.0.0/8,192.168.0.0/16",
        "LATCHKEY_TLS_CERT=",
    ];
    fs::write(process.path("settings"), lines.join("\n")).unwrap();
    let list = bare(&process, &["--env-file", "settings", "user", "list"]);
    refused(&list, 2, &["settings holds a secret, and it is open to others; run: chmod 600 settings"]);
    close(&process, "settings");
    let link = |arguments: &[&str]| bare(&process, &[&["user", "reset-link", "sam"], arguments].concat()).out;
    assert!(link(&["--env-file", "settings"]).starts_with("https://accounts.example.com/reset-password?token="));
    assert!(bare(&process, &["--env-file=settings", "user", "list"]).out.contains("sam@example.com"));
    assert!(
        link(&["--env-file", "settings", "--public-url", "https://flag.example"]).starts_with("https://flag.example/")
    );
    let mut with_variable = process.command(&["user", "reset-link", "sam", "--env-file", "settings"]);
    with_variable.env("LATCHKEY_PUBLIC_URL", "https://variable.example");
    let ran = Ran::of(with_variable.output().unwrap());
    assert!(ran.out.starts_with("https://variable.example/"), "{ran:?}");
    let help = bare(&process, &["--env-file", "settings", "serve", "--help"]);
    assert!(help.code == Some(0) && !help.out.contains("canary"), "{help:?}");
}

#[tokio::test]
async fn a_server_reads_its_settings_from_a_file_too() {
    sqlite_only!("the settings name no database");
    let process = Process::new(&[]);
    let lines = ["LATCHKEY_LISTEN=127.0.0.1:0", "LATCHKEY_SITE_NAME='Acme & Sons'", "LATCHKEY_DATA_DIR=kept"];
    fs::write(process.path("settings"), lines.join("\n")).unwrap();
    let mut command = process.command(&["serve", "--env-file", "settings"]);
    command.env_clear();
    let ran = try_to_serve(command);
    assert!(ran.out.starts_with("Acme & Sons is ready: open http://localhost:"), "{ran:?}");
    assert!(process.path("kept/latchkey.db").exists() && !process.path("data").exists());
}

#[test]
fn the_example_of_an_environment_serves_with_every_line_taken_in() {
    let process = Process::new(&[]);
    let example = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/.env.example")).unwrap();
    let taken_in = example.replace("#LATCHKEY_", "LATCHKEY_").replace("127.0.0.1:3000", "127.0.0.1:0");
    assert!(taken_in.lines().filter(|line| line.starts_with("LATCHKEY_")).count() > 20);
    fs::write(process.path("settings"), taken_in).unwrap();
    let mut command = process.command(&["serve", "--env-file", "settings"]);
    command.env_clear();
    let ran = try_to_serve(command);
    assert!(ran.out.contains("Latchkey is ready"), "{ran:?}");
}

#[test]
fn a_line_of_the_file_that_is_no_setting_is_named() {
    let process = Process::new(&[]);
    for (line, words) in [
        ("LISTEN=127.0.0.1:0", "LISTEN is not a setting"),
        ("LATCHKEY_LISTENS=canary", "LATCHKEY_LISTENS is not a setting"),
        ("export LATCHKEY_LISTEN=127.0.0.1:0", "export LATCHKEY_LISTEN is not a setting"),
        ("canary", "NAME=VALUE"),
        ("LATCHKEY_SECRET=\"canary", "no closing quote"),
    ] {
        fs::write(process.path("settings"), format!("# one\n{line}\n")).unwrap();
        let ran = bare(&process, &["user", "list", "--env-file", "settings"]);
        refused(&ran, 2, &["settings, line 2", words]);
        assert!(!ran.err.contains("canary"), "{}", ran.err);
    }
    fs::write(process.path("settings"), "LATCHKEY_SECRET=canary\n").unwrap();
    close(&process, "settings");
    let ran = bare(&process, &["user", "list", "--env-file", "settings"]);
    refused(&ran, 2, &["LATCHKEY_SECRET"]);
    assert!(!ran.err.contains("canary"), "{}", ran.err);
    refused(&bare(&process, &["user", "list", "--env-file"]), 2, &["latchkey: --env-file: "]);
    refused(&bare(&process, &["user", "list", "--env-file", "nothing"]), 2, &["--env-file", "nothing", "No such file"]);
    assert_eq!(fs::read_dir(process.dir.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_command_knows_the_address_that_the_server_has_from_its_settings() {
    sqlite_only!("the settings name no database");
    let mut process = Process::serving(&[]).await;
    process.user("sam", OTTER).await;
    let link = |process: &Process| bare(process, &["user", "reset-link", "sam"]).out;
    assert!(link(&process).starts_with(&process.url), "{}", link(&process));
    process.stop().await;

    let on_the_net = [
        ("LATCHKEY_LISTEN", "127.0.0.1:0"),
        ("LATCHKEY_PUBLIC_URL", "https://accounts.example.com"),
        ("LATCHKEY_SMTP_URL", "smtp://127.0.0.1:1"),
        ("LATCHKEY_MAIL_FROM", "no-reply@example.com"),
    ];
    let said = process.path("said");
    let mut command = process.command(&["serve"]);
    let server = command.envs(on_the_net).stdout(File::create(&said).unwrap()).stderr(Stdio::null()).spawn();
    let mut server = server.unwrap();
    until("it is ready", async || fs::read_to_string(&said).unwrap().contains("ready").then_some(())).await;
    let asked = link(&process);
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(asked.starts_with("https://accounts.example.com/reset-password?token="), "{asked}");
}

#[tokio::test]
async fn no_link_is_made_while_the_address_of_the_site_is_unknown() {
    sqlite_only!("the settings name no database");
    let mut process = Process::serving(&[]).await;
    process.user("sam", OTTER).await;
    process.stop().await;
    fs::remove_file(process.path("data/server.json")).unwrap();
    refused(&bare(&process, &["user", "reset-link", "sam"]), 1, &["LATCHKEY_PUBLIC_URL", "--env-file", "data"]);
    let ran = bare(&process, &["user", "reset-link", "sam", "--public-url", "https://accounts.example.com"]);
    assert!(ran.out.starts_with("https://accounts.example.com/reset-password?token="), "{ran:?}");
}

#[tokio::test]
async fn a_user_is_deleted_only_on_a_yes() {
    let process = Process::serving(&[]).await;
    process.user("dora", OTTER).await;
    let delete = || process.command(&["user", "delete", "dora"]);
    for answer in ["n\n", "", "y\n"] {
        let ran = answered(delete(), answer);
        refused(&ran, 1, &["--yes", "nothing was deleted"]);
    }
    // script(1) makes a terminal.
    let on_terminal = |answer| {
        let mut command = process.command(&[]);
        let line = format!("{} user delete dora", env!("CARGO_BIN_EXE_latchkey"));
        let settings: Vec<_> =
            command.get_envs().map(|(name, value)| (name.to_owned(), value.unwrap().to_owned())).collect();
        command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).current_dir(process.path("")).env_clear().envs(settings);
        answered(command, answer)
    };
    for answer in ["n\n", "\n", "N\n", "yess\n", "no y\n"] {
        let ran = on_terminal(answer);
        assert!(ran.code == Some(0) && ran.out.contains("Nothing was deleted"), "{answer:?}: {ran:?}");
        assert!(ran.out.contains("Delete dora (dora@example.com)"), "{ran:?}");
    }
    assert_eq!(process.run(&["user", "list"]).out.lines().count(), 1);
    let ran = on_terminal("y\n");
    assert!(ran.code == Some(0) && ran.out.contains("Deleted dora"), "{ran:?}");
    assert_eq!(process.run(&["user", "list"]).out, "");
}

#[tokio::test]
async fn lists_are_one_json_document_for_programs() {
    let process = Process::serving(&[]).await;
    process.user("sam", OTTER).await;
    process.user("ada", OTTER).await;
    let json = |arguments: &[&str]| -> Value {
        let ran = process.run(&[arguments, &["--json"]].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        serde_json::from_str(&ran.out).unwrap_or_else(|why| panic!("{why}: {}", ran.out))
    };
    let list = json(&["user", "list"]);
    let sam = &list.as_array().unwrap()[0];
    assert_eq!(
        (list.as_array().unwrap().len(), &sam["username"], &sam["email"]),
        (2, &"sam".into(), &"sam@example.com".into())
    );
    assert_eq!((&sam["full_name"], &sam["disabled_at"]), (&"".into(), &Value::Null));
    let time = sam["created_at"].as_str().unwrap();
    assert!(time.len() == 20 && time.contains('T') && time.ends_with('Z'), "RFC 3339: {time}");
    assert!(!list.to_string().contains("argon2"));

    let id = sam["id"].as_str().unwrap();
    let shown = json(&["user", "show", id]);
    assert_eq!((&shown["username"], &shown["id"], &shown["sessions"]), (&"sam".into(), &id.into(), &1.into()));
    assert!(process.run(&["user", "show", id]).out.contains("sam@example.com"), "the id that the log prints");
    refused(&process.run(&["user", "show", "01a203d9-ab8e-76eb-ba49-c3e996b26789"]), 1, &["no user 01a203d9"]);

    let sessions = json(&["user", "sessions", "sam"]);
    let [session] = &sessions.as_array().unwrap()[..] else { panic!("{sessions}") };
    assert_eq!((&session["kind"], &session["ip"]), (&"browser".into(), &"127.0.0.1".into()));
    for key in ["id", "created_at", "last_seen_at", "expires_at"] {
        assert!(session[key].is_string(), "{key} in {session}");
    }
    let events = json(&["user", "events", "sam"]);
    let kinds: Vec<_> = events.as_array().unwrap().iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["log_in", "sign_up"]);
    let keys = json(&["keys", "list"]);
    assert_eq!((keys.as_array().unwrap().len(), &keys[0]["signs"]), (1, &true.into()));
}
