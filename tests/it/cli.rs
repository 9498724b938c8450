//! The command line: its help, and what an operator does with it while the site runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use clap::Args;
use latchkey::accounts::event;
use latchkey::accounts::link::pending_signup;
use latchkey::config::Config;
use latchkey::visit_store;
use sea_orm::{EntityTrait, PaginatorTrait, QueryOrder};

use crate::database::{on_postgres, sqlite_only};
use crate::process::Process;
use crate::{HERON, OTTER};

/// Returns all commands and groups of commands, as they are typed.
fn commands() -> Vec<Vec<String>> {
    fn walk(command: &clap::Command, path: &[String], into: &mut Vec<Vec<String>>) {
        for inner in command.get_subcommands() {
            let path = [path, &[inner.get_name().to_owned()]].concat();
            into.push(path.clone());
            walk(inner, &path, into);
        }
    }
    let mut all = vec![];
    walk(&latchkey::cli::command(), &[], &mut all);
    assert!(all.len() >= 19, "{all:?}");
    all
}

/// Returns all settings: the variable, the flag, the default.
fn settings() -> Vec<(String, String, Option<String>)> {
    let command = Config::augment_args(clap::Command::new("latchkey"));
    let setting = |arg: &clap::Arg| {
        let default = arg.get_default_values().first().map(|value| value.to_str().unwrap().to_owned());
        let variable = arg.get_env().expect("every setting has a variable").to_str().unwrap().to_owned();
        let flag = arg.get_long().unwrap().to_owned();
        assert_eq!(variable, format!("LATCHKEY_{}", flag.replace('-', "_").to_uppercase()));
        assert!(arg.is_global_set(), "{variable} is a flag of every command");
        assert!(arg.get_help_heading().is_some(), "{variable} is in a group of the help");
        (variable, flag, default)
    };
    command.get_arguments().map(setting).collect()
}

#[test]
fn every_command_explains_itself() {
    let process = Process::new(&[]);
    let top = process.run(&["--help"]);
    assert_eq!(top.code, Some(0), "{}", top.err);
    for command in commands() {
        let command: Vec<_> = command.iter().map(String::as_str).collect();
        assert!(command.len() > 1 || top.out.contains(&format!("\n  {}", command[0])), "{command:?} in {}", top.out);
        let ran = process.run(&[&command[..], &["--help"]].concat());
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{command:?}");
        assert!(ran.out.contains(&format!("Usage: latchkey {}", command.join(" "))), "{}", ran.out);
        assert!(ran.out.lines().next().is_some_and(|line| line.len() > 10), "{command:?} says what it does");
        let settings = settings()
            .iter()
            .filter(|(_, flag, _)| [" ", "["].iter().any(|value| ran.out.contains(&format!("--{flag}{value}"))))
            .count();
        assert!(command == ["serve"] || settings == 0, "{command:?} shows settings of the server: {}", ran.out);
    }
    assert!(top.out.contains("latchkey serve --help") && !top.out.contains("--listen"), "{}", top.out);
    assert!(top.out.lines().count() < 40, "{}", top.out);
    let version = process.run(&["--version"]).out;
    assert_eq!(version.trim(), format!("latchkey {}", env!("CARGO_PKG_VERSION")));
    assert!(!process.path("data").exists(), "help leaves nothing behind");
}

#[test]
fn the_help_of_serve_lists_every_setting_with_its_default_and_shows_no_secret() {
    let canary = "canary-9vT2qLx7Rm4Kc8Wz1Nd6Hb3Fp5Gs0Jy";
    let secret = [("LATCHKEY_SECRET", canary), ("LATCHKEY_SMTP_URL", "smtps://u:canary@mail.example.com")];
    let help = Process::new(&secret).run(&["serve", "--help"]).out;
    assert!(!help.contains("canary"), "{help}");
    for (variable, flag, default) in settings() {
        let (_, about) = [" <", "[=<"]
            .iter()
            .find_map(|value| help.split_once(&format!("--{flag}{value}")))
            .unwrap_or_else(|| panic!("no --{flag} in {help}"));
        let about = about.split("\n      --").next().unwrap();
        assert!(about.contains(&format!("[env: {variable}")), "{about}");
        assert!(about.lines().nth(1).is_some_and(|sentence| sentence.trim().len() > 10), "{about}");
        if let Some(default) = default {
            assert!(about.contains(&format!("[default: {default}]")), "{about}");
        }
    }
}

#[test]
fn the_help_of_serve_has_its_settings_in_groups() {
    let process = Process::new(&[]);
    let help = process.run(&["serve", "--help"]).out;
    assert_eq!(process.run(&["help", "serve"]).out, help);
    assert!(help.starts_with("Serve the site"), "{help}");
    let place =
        |heading: &str| help.find(&format!("\n{heading}:\n")).unwrap_or_else(|| panic!("no {heading} in {help}"));
    let headings = ["Address", "Database and secret", "Mail", "Look", "Accounts", "Limits", "Log"];
    assert!(headings.map(place).is_sorted(), "{help}");
    let within = |flag: &str, heading: &str| {
        let before = &help[..help.find(&format!("--{flag} ")).unwrap()];
        assert!(
            before
                .rfind(&format!("\n{heading}:\n"))
                .is_some_and(|start| headings.map(place).iter().all(|other| *other <= start || *other > before.len())),
            "{flag} in {heading}"
        );
    };
    within("public-url", "Address");
    within("trusted-proxies", "Address");
    within("secret", "Database and secret");
    within("mail-from", "Mail");
    within("theme-dark", "Look");
    within("session-hours", "Accounts");
    within("rate-limits", "Limits");
    within("log-format", "Log");
    assert!(
        help.contains("--session-hours") && help.contains("--remember-days"),
        "how long sessions last is a setting"
    );
}

#[test]
fn the_help_opens_although_a_setting_is_wrong() {
    for wrong in [("LATCHKEY_LISTENS", "127.0.0.1:3000"), ("LATCHKEY_LISTEN", "everywhere")] {
        let ran = Process::new(&[wrong]).run(&["serve", "--help"]);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{wrong:?}: the line that refuses it points here");
    }
}

#[test]
fn the_example_of_an_environment_is_complete_and_changes_nothing() {
    let example = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/.env.example")).unwrap();
    let mut named = vec![];
    for line in example.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let text = line.strip_prefix('#').unwrap_or_else(|| panic!("not commented out: {line}"));
        if let Some((name, value)) = text.trim().split_once('=').filter(|(name, _)| name.starts_with("LATCHKEY_")) {
            named.push((name.to_owned(), value.trim_matches('"').to_owned()));
        }
    }
    for (variable, _, default) in settings() {
        let given: Vec<_> = named.iter().filter(|(name, _)| *name == variable).map(|(_, value)| value).collect();
        assert!(!given.is_empty(), "{variable} is missing");
        if let Some(default) = default {
            assert_eq!(given, [&default], "{variable}");
        }
    }
    for (name, _) in named {
        assert!(settings().iter().any(|(variable, ..)| *variable == name), "{name} is not a setting");
    }
}

#[test]
fn the_table_of_the_readme_has_every_setting_and_its_default() {
    let readme = include_str!("../../README.md");
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" |"));
    let is_setting = |c: char| c.is_ascii_uppercase() || "_`, ".contains(c);
    let rows = rows.filter(|(names, _)| names.chars().all(is_setting));
    let rows: Vec<_> = rows.map(|(names, rest)| (format!("`{names}"), rest.split(" | ").next().unwrap())).collect();
    let settings = settings();
    for (variable, _, default) in &settings {
        let name = variable.replace("LATCHKEY_", "");
        let row = rows.iter().find(|(names, _)| names.contains(&format!("`{name}`")));
        let (_, defaults) = row.unwrap_or_else(|| panic!("{variable} has no row in README"));
        if let Some(default) = default {
            assert!(defaults.contains(&format!("`{default}`")), "README says of {variable}: {defaults}");
        }
    }
    let named = rows.iter().flat_map(|(names, _)| names.split(", "));
    for name in named.map(|name| name.trim_matches('`')) {
        assert!(settings.iter().any(|(variable, ..)| *variable == format!("LATCHKEY_{name}")), "{name} is no setting");
    }
}

#[test]
fn a_flag_wins_over_its_variable_wherever_it_stands() {
    sqlite_only!("where its file is made");
    let process = Process::new(&[("LATCHKEY_DATA_DIR", "variable")]);
    assert_eq!(process.run(&["--data-dir", "before", "migrate"]).code, Some(0));
    assert_eq!(process.run(&["migrate", "--data-dir", "after"]).code, Some(0));
    assert!(process.path("before/latchkey.db").exists() && process.path("after/latchkey.db").exists());
    assert!(!process.path("variable").exists());
}

#[tokio::test]
async fn an_operator_looks_after_users_while_the_site_runs() {
    let process = Process::serving(&[]).await;
    let mut sam = process.user("sam", OTTER).await;
    process.user("ada", OTTER).await;

    let list = process.run(&["user", "list"]);
    assert_eq!((list.code, list.out.lines().count()), (Some(0), 2), "{list:?}");
    for text in ["sam ", "sam@example.com", "ada ", "ada@example.com", "UTC"] {
        assert!(list.out.contains(text), "{text}: {}", list.out);
    }
    for login in ["sam", "SAM@example.com"] {
        let shown = process.run(&["user", "show", login]);
        for text in ["Username:      sam\n", "sam@example.com", "Logged in on:  1 device\n"] {
            assert!(shown.out.contains(text), "{text}: {shown:?}");
        }
        assert!(!shown.out.contains("argon2"), "{}", shown.out);
    }

    let link = process.run(&["user", "reset-link", "sam"]);
    assert_eq!((link.code, link.out.lines().count()), (Some(0), 1), "{link:?}");
    assert!(link.out.starts_with(&format!("{}/reset-password?token=", process.url)), "{}", link.out);
    let mut lost = process.browser();
    assert_eq!(lost.reset(link.out.trim(), HERON).await.path, "/login");
    assert_eq!(lost.log_in("sam", HERON).await.path, "/profile");
    assert!(!sam.is_logged_in().await, "a reset ends every session");
    lost.open(link.out.trim()).await.assert_framed(410);

    let gone = process.run(&["user", "delete", "sam@example.com", "--yes"]);
    assert_eq!((gone.code, gone.out.as_str()), (Some(0), "Deleted sam (sam@example.com).\n"), "{gone:?}");
    assert!(!lost.is_logged_in().await);
    assert_eq!(lost.log_in("sam", HERON).await.status, 422);
    assert_eq!(process.run(&["user", "list"]).out.lines().count(), 1);
    process.user("sam", OTTER).await;
}

#[tokio::test]
async fn what_an_operator_does_is_an_event() {
    let process = Process::serving(&[]).await;
    let mut sam = process.user("sam", OTTER).await;
    let before = event::Entity::find().all(process.db().await.read()).await.unwrap();
    let id = before[0].user_id.unwrap().to_string();
    let noted = |arguments: &[&str], event: &str, user: bool| {
        let ran = process.run(arguments);
        let logged = ran.err.lines().find(|line| line.contains("latchkey::event")).unwrap_or_default();
        assert!(ran.code == Some(0) && logged.contains(&format!("event=\"{event}\"")), "{ran:?}");
        assert_eq!(logged.contains(&id), user, "{ran:?}");
    };
    noted(&["user", "reset-link", "sam"], "reset_link_made", true);
    let html = sam.open("/profile/security").await.html;
    for words in ["Password reset link created by an administrator", "by an administrator, "] {
        assert!(html.contains(words), "{words}: {html}");
    }
    noted(&["user", "delete", "sam", "--yes"], "user_deleted", true);
    noted(&["keys", "rotate"], "keys_rotated", false);
    // The running server does not sign with the fresh secret yet. Without the old secret it would log every user out.
    assert_ne!(process.run(&["keys", "drop"]).code, Some(0));
    noted(&["keys", "drop", "--force"], "keys_dropped", false);
    let nothing = process.run(&["keys", "drop"]);
    assert!(nothing.code == Some(0) && nothing.out.starts_with("There was nothing to drop"), "{nothing:?}");

    // The events that are left say nothing about the user, and stay as long as the events of users.
    let db = process.db().await;
    let left = event::Entity::find().order_by_asc(event::Column::Id).all(db.read()).await.unwrap();
    let kinds: Vec<_> = left.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [event::EventKind::UserDeleted, event::EventKind::KeysRotated, event::EventKind::KeysDropped]);
    assert!(left.iter().all(|event| event.user_id.is_none() && event.ip.is_empty() && event.user_agent.is_empty()));
    let sweep = async |days| {
        let now = left[0].at + time::Duration::days(days);
        event::sweep(db.write(), time::Duration::days(90), now).await.unwrap()
    };
    assert_eq!((sweep(89).await, sweep(91).await), (0, 3));
}

#[tokio::test]
async fn a_fresh_secret_does_not_wait_for_the_database() {
    sqlite_only!("its file is replaced by a folder");
    let process = Process::new(&[]);
    assert_eq!(process.run(&["migrate"]).code, Some(0));
    fs::remove_file(process.path("data/latchkey.db")).unwrap();
    fs::create_dir(process.path("data/latchkey.db")).unwrap(); // a folder cannot be opened as a database
    let ran = process.run(&["keys", "rotate"]);
    assert!(ran.code == Some(0) && ran.out.contains("A fresh secret stands first"), "{ran:?}");
    assert!(ran.err.contains("WARN") && ran.err.contains("keys_rotated"), "{ran:?}");
}

#[tokio::test]
async fn a_deleted_user_leaves_no_address_behind() {
    let process = Process::serving(&[]).await;
    for (name, typed) in [("sam", "SAM@Example.com"), ("ada", "ada@example.com")] {
        process.user(name, OTTER).await;
        // The visit and the outbox have the address as it was typed.
        process.browser().ask_reset(typed).await;
        process.link(&format!("{name}@example.com"), 2).await;
    }
    // An attacker signs up with the address, which is now in the outbox, in the visit and in a pending sign-up.
    process.browser().sign_up("Sam@example.com", "stranger", HERON).await;
    process.link("sam@example.com", 3).await;
    let visits = async || {
        let rows = visit_store::Entity::find().all(process.db().await.read()).await.unwrap();
        rows.into_iter().map(|row| row.data.to_lowercase()).collect::<Vec<_>>()
    };
    let outbox = async || {
        process.outbox().await.into_iter().map(|row| row.to_address.as_str().to_lowercase()).collect::<Vec<_>>()
    };
    let waiting = async || pending_signup::Entity::find().count(process.db().await.read()).await.unwrap();
    let count = |rows: Vec<String>| ["sam@", "ada@"].map(|who| rows.iter().filter(|row| row.contains(who)).count());
    assert_eq!((count(outbox().await), count(visits().await)), ([3, 2], [2, 1]));
    assert_eq!(waiting().await, 1);
    assert_eq!(process.run(&["user", "delete", "sam", "--yes"]).code, Some(0));
    assert_eq!((count(outbox().await), count(visits().await)), ([0, 2], [0, 1]));
    assert_eq!(waiting().await, 0);
}

#[tokio::test]
async fn a_name_without_an_account_is_an_error_that_helps() {
    let process = Process::new(&[]);
    assert_eq!(process.run(&["migrate"]).code, Some(0));
    for arguments in [["user", "show", "nobody"], ["user", "reset-link", "nobody"], ["user", "delete", "nobody"]] {
        let ran = process.run(&arguments);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.lines().count()), (Some(1), "", 1), "{ran:?}");
        assert!(ran.err.contains("no user nobody") && ran.err.contains("latchkey user list"), "{}", ran.err);
    }
    let empty = process.run(&["user", "list"]);
    assert_eq!((empty.code, empty.out.as_str()), (Some(0), ""));
}

#[tokio::test]
async fn migrate_makes_a_database_that_serve_takes_over() {
    let mut process = Process::new(&[]);
    for _ in 0..2 {
        let ran = process.run(&["migrate"]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(0), "The tables are up to date.\n"), "{ran:?}");
    }
    let mode = |name: &str| fs::metadata(process.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!([mode("data"), mode("data/secret")], [0o700, 0o600]);
    assert!(on_postgres() || mode("data/latchkey.db") == 0o600);
    process.start().await;
    process.user("sam", OTTER).await;
    assert_eq!(process.run(&["migrate"]).code, Some(0), "beside a running server too");
    assert!(process.browser().log_in("sam", OTTER).await.status.is_success());
}

#[tokio::test]
async fn a_test_letter_without_a_mail_server_is_kept_in_the_folder() {
    let process = Process::serving(&[]).await;
    let ran = process.run(&["mail-test", "ada@example.com"]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "LATCHKEY_SMTP_URL is not set: the email is kept in data/mailbox.\n"),
        "{ran:?}"
    );
    let letters = process.letters("ada@example.com").await;
    assert_eq!((letters.len(), letters[0].subject.as_str()), (1, "Mail from Latchkey works"));
    let ran = process.run(&["mail-test", "nobody"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), "latchkey: nobody is not an email address\n"));
}
