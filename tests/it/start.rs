//! Starts that are refused: one line says what to do, and nothing is served.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use rustix::process::getuid;

use crate::OTTER;
use crate::database::sqlite_only;
use crate::process::{Process, fault, try_to_serve};
use crate::smtp::make_certificate;

/// The user `nobody`, to whom root can give a file.
const NOBODY: u32 = 65534;

fn chmod(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Asserts that the command does not serve, and says why in one line with each of these words.
fn assert_refused(command: Command, words: &[&str]) {
    let ran = try_to_serve(command);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.lines().count()), (Some(1), "", 1), "{ran:?}");
    for word in words {
        assert!(ran.err.contains(word), "{word}: {}", ran.err);
    }
    assert!(!ran.err.contains("tell-nobody"), "{}", ran.err);
}

/// Returns the command for a user whom file modes stop. Root gives up its capabilities for this.
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
fn a_secret_file_that_is_not_valid_is_named_and_not_shown() {
    let guessed = "changeme-tell-nobody-tell-nobody-tell-nobody";
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
    sqlite_only!("no secret is made on PostgreSQL");
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
        return; // only root can own a file of root
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
    sqlite_only!("no secret is made on PostgreSQL");
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
    sqlite_only!("the modes of its file");
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
fn a_file_that_is_no_database_is_named() {
    let process = Process::new(&[("LATCHKEY_DATABASE_URL", "sqlite://text")]);
    fs::write(process.path("text"), "in the way ".repeat(1000)).unwrap();
    assert_refused(process.command(&["serve"]), &["LATCHKEY_DATABASE_URL", "not a database"]);
    let nowhere = ["serve", "--database-url", "sqlite://no/such/folder/latchkey.db"];
    assert_refused(process.command(&nowhere), &["LATCHKEY_DATABASE_URL", "No such file"]);
}

#[tokio::test]
async fn a_second_server_on_the_same_file_is_refused_and_a_killed_one_leaves_no_lock() {
    sqlite_only!("the lock of its file");
    let mut process = Process::serving(&[]).await;
    let mut sam = process.user("sam", OTTER).await;
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
async fn a_server_and_commands_that_start_at_once_on_an_empty_folder_all_end_well() {
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
            // A command that only reads may run before there is a database.
            let said = String::from_utf8_lossy(&output.stderr);
            let early = said.contains("there is no database at") || said.contains("the tables of this version");
            assert!(output.status.success() || early, "{output:?}");
        }
        process.user("sam", OTTER).await;
    }
}

#[tokio::test]
async fn a_command_that_only_reads_does_not_wait_for_a_writer() {
    let process = Process::serving(&[]).await;
    process.user("sam", OTTER).await;
    let db = process.db().await;
    let writer = db.begin().await.unwrap();
    let ran = process.run(&["user", "list"]);
    assert!(ran.code == Some(0) && ran.out.contains("sam@example.com"), "{ran:?}");
    writer.rollback().await.unwrap();
}

#[test]
fn a_setting_that_opens_the_site_to_an_attacker_is_refused() {
    let (far, off) = (("LATCHKEY_LISTEN", "0.0.0.0:0"), ("LATCHKEY_RATE_LIMITS", "off"));
    let here = ("LATCHKEY_PUBLIC_URL", "http://localhost:3000");
    let smtp = ("LATCHKEY_SMTP_URL", "smtp://localhost:2525");
    let from = ("LATCHKEY_MAIL_FROM", "a@example.com");
    let proxies = |networks| ("LATCHKEY_TRUSTED_PROXIES", networks);
    let cases: &[(&str, &[(&str, &str)])] = &[
        ("LATCHKEY_TRUSTED_PROXIES: 0.0.0.0/0", &[proxies("0.0.0.0/0")]),
        ("LATCHKEY_TRUSTED_PROXIES: ::/0", &[proxies("10.0.0.0/8,::/0")]),
        ("LATCHKEY_TRUSTED_PROXIES: 128.0.0.0/1", &[proxies("128.0.0.0/1,0.0.0.0/1")]),
        ("LATCHKEY_TRUSTED_PROXIES: 2000::/3", &[proxies("2000::/3")]),
        ("LATCHKEY_REMEMBER_DAYS (--remember-days): \"31\"", &[("LATCHKEY_REMEMBER_DAYS", "31")]),
        ("LATCHKEY_REMEMBER_IDLE_DAYS", &[("LATCHKEY_REMEMBER_IDLE_DAYS", "0")]),
        ("LATCHKEY_SESSION_HOURS", &[("LATCHKEY_SESSION_HOURS", "721")]),
        ("LATCHKEY_RATE_LIMITS=off is refused, because LATCHKEY_LISTEN", &[far, off, here, smtp, from]),
    ];
    let faults: Vec<_> = cases.iter().filter_map(|(words, settings)| fault(words, settings)).collect();
    assert!(faults.is_empty(), "{}", faults.join(""));
    let wide = proxies("10.0.0.0/8,fc00::/7");
    assert!(try_to_serve(Process::new(&[wide]).command(&["serve"])).out.contains("is ready"));
}

#[test]
fn a_postgresql_on_another_machine_must_prove_its_identity() {
    let secret = ("LATCHKEY_SECRET", "canary-9vT2qLx7Rm4Kc8Wz1Nd6Hb3Fp5Gs0Jy");
    let words = "LATCHKEY_DATABASE_URL must end with ?sslmode=verify-full";
    for url in [
        "postgres://sam:tell-nobody@db.invalid/latchkey",
        "postgresql://sam:tell-nobody@192.0.2.1:5433/latchkey?sslmode=require",
        "postgres://sam:tell-nobody@db.invalid/latchkey?sslmode=verify-ca",
        "postgres://sam:tell-nobody@localhost/latchkey?host=db.invalid",
        "postgres://sam:tell-nobody@localhost/latchkey?hostaddr=192.0.2.1",
        "postgres://sam:tell-nobody@localhost/latchkey?sslmode=verify-full&sslmode=disable&host=db.invalid",
    ] {
        assert_eq!(fault(words, &[secret, ("LATCHKEY_DATABASE_URL", url)]), None);
    }
    let unverified = ("LATCHKEY_DATABASE_TLS", "unverified");
    for (url, more) in [
        ("postgres://sam:tell-nobody@db.invalid/latchkey?sslmode=verify-full", None),
        ("postgres://sam:tell-nobody@db.invalid/latchkey", Some(unverified)),
        ("postgres://sam:tell-nobody@localhost/latchkey?host=/no/such/socket", None),
    ] {
        let settings = [secret, ("LATCHKEY_DATABASE_URL", url)];
        let process = Process::new(&settings.into_iter().chain(more).collect::<Vec<_>>());
        let ran = try_to_serve(process.command(&["serve"]));
        assert!(ran.err.contains("LATCHKEY_DATABASE_URL: cannot open the database"), "an attempt was made: {ran:?}");
    }
}

#[test]
fn a_tls_key_that_others_can_read_is_refused() {
    let settings = [("LATCHKEY_TLS_CERT", "server.pem"), ("LATCHKEY_TLS_KEY", "server.key")];
    let process = Process::new(&settings);
    make_certificate(process.dir.path());
    if getuid().is_root() {
        chown(process.path("server.key"), Some(NOBODY), None).unwrap();
    }
    for mode in [0o644, 0o640, 0o604, 0o660] {
        chmod(process.path("server.key"), mode);
        assert_refused(process.command(&["serve"]), &["LATCHKEY_TLS_KEY", "chmod 600 server.key"]);
    }
    for mode in [0o600, 0o400] {
        chmod(process.path("server.key"), mode);
        assert!(try_to_serve(process.command(&["serve"])).out.contains("is ready"), "{mode:o}");
    }
    if getuid().is_root() {
        chown(process.path("server.key"), Some(0), None).unwrap();
        chmod(process.path("server.key"), 0o640);
        assert!(try_to_serve(process.command(&["serve"])).out.contains("is ready"), "root may hand it to a group");
    }
}

#[test]
fn a_server_that_runs_as_root_warns_once() {
    let warnings = |process: &Process, command| {
        let ran = try_to_serve(command);
        assert!(ran.out.contains("is ready"), "{ran:?}");
        assert!(!process.run(&["user", "list"]).err.contains("root"), "commands of an operator do not");
        ran.err.lines().filter(|line| line.contains("WARN") && line.contains("runs as root")).count()
    };
    let process = Process::new(&[]);
    assert_eq!(warnings(&process, process.command(&["serve"])), usize::from(getuid().is_root()));
}
