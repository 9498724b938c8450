//! The real binary as an operator runs it: a child process in a folder of its own, with its settings in the environment,
//! stopped by signals.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latchkey::accounts::outbox::{Entity, LetterState, OutboxRow};
use latchkey::db::{DatabaseUrl, Db};
use reqwest::{Method, RequestBuilder};
use rustix::process::{Pid, Signal, kill_process};
use sea_orm::EntityTrait;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::app::Letter;
use crate::browser::{Browser, Form, Page};
use crate::database;
use crate::database::sqlite_only;
use crate::{HERON, OTTER};

/// Where a server on PostgreSQL finds its secret: where a server on SQLite makes one.
const SECRET_FILE: &str = "data/secret";

/// A folder, the settings for it, and the server in it, if one runs. The server is killed when this is dropped.
pub struct Process {
    pub dir: TempDir,
    /// The address of the site. The port stays the same over a restart.
    pub url: String,
    /// How many files the server may open (`ulimit -n`), if fewer than this process may.
    pub files: Option<u32>,
    settings: Vec<(String, String)>,
    /// Whether the folder's database is on PostgreSQL.
    on_postgres: bool,
    child: Option<Child>,
}

/// Settings with which a hash takes a second.
pub const SLOW: [(&str, &str); 2] = [("LATCHKEY_HASH_MEMORY", "65536"), ("LATCHKEY_HASH_PASSES", "64")];

/// The exit code and the output of a command.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// Calls `look` every few milliseconds until it returns a value, and returns that.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let seen = async {
        loop {
            if let Some(value) = look().await {
                return value;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(40), seen).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

impl Process {
    /// Returns an empty folder with these settings. Nothing runs yet.
    pub fn new(settings: &[(&str, &str)]) -> Self {
        let has = |prefix: &str| settings.iter().any(|(name, _)| name.starts_with(prefix));
        let mut process = Self::on_sqlite(settings);
        if has("LATCHKEY_DATABASE_URL") {
            return process;
        }
        if let Some(url) = database::empty(process.dir.path()) {
            process.on_postgres = true;
            process.settings.push(("LATCHKEY_DATABASE_URL".to_owned(), url));
            process.settings.push(("LATCHKEY_DRAIN_SECONDS".to_owned(), "0".to_owned()));
            if !has("LATCHKEY_SECRET") {
                process.settings.push(("LATCHKEY_SECRET_FILE".to_owned(), SECRET_FILE.to_owned()));
            }
        }
        process
    }

    /// As [`Process::new`], for a test of files and settings: the database is a file in the folder, also where the tests run
    /// on PostgreSQL.
    pub fn on_sqlite(settings: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut all = vec![("LATCHKEY_LISTEN".to_owned(), "127.0.0.1:0".to_owned())];
        all.extend(settings.iter().map(owned));
        let dir = tempfile::tempdir().unwrap();
        Self { dir, url: String::new(), files: None, settings: all, on_postgres: false, child: None }
    }

    /// Starts a server in an empty folder, and waits until it is ready.
    pub async fn serving(settings: &[(&str, &str)]) -> Self {
        let mut process = Self::new(settings);
        process.start().await;
        process
    }

    /// As [`Process::serving`], with hashes that take a second: something else can happen meanwhile. The server has metrics.
    pub async fn hashing_slowly() -> Self {
        let metrics = format!("127.0.0.1:{}", free_port());
        Self::serving(&[SLOW[0], SLOW[1], ("LATCHKEY_METRICS_LISTEN", &metrics)]).await
    }

    /// Returns the value of a series in the server's metrics.
    pub async fn metric(&self, series: &str) -> f64 {
        let at = self.setting("LATCHKEY_METRICS_LISTEN").unwrap();
        let text = reqwest::get(format!("http://{at}/metrics")).await.unwrap().text().await.unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(&format!("{series} ")));
        value.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
    }

    /// Starts a request, and returns when a hashing thread has begun to work for it. That the thread runs would not tell so: it
    /// overwrites its memory, too.
    pub async fn until_hashing<T: Send + 'static>(
        &self,
        request: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let begun = async || self.metric("latchkey_hash_wait_seconds_count").await;
        let (before, request) = (begun().await, tokio::spawn(request));
        until("a password is being hashed", async || (begun().await > before).then_some(())).await;
        request
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Gives a setting another value, from the next command or start on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// Returns a command in the folder, with these settings and no others.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let asks_for_it =
            arguments.iter().any(|word| ["serve", "migrate"].contains(word)) && !arguments.contains(&"--help");
        if asks_for_it && self.setting("LATCHKEY_SECRET_FILE") == Some(SECRET_FILE) {
            database::make_secret(&self.path(SECRET_FILE));
        }
        let binary = env!("CARGO_BIN_EXE_latchkey");
        let mut command = Command::new(if self.files.is_some() { "sh" } else { binary });
        if let Some(files) = self.files {
            command.args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\"")]).arg(binary);
        }
        command.args(arguments).current_dir(self.dir.path()).env_clear().stdin(Stdio::null());
        command.envs(self.settings.iter().cloned());
        command
    }

    /// Runs a command, which must succeed. Returns what it printed.
    #[track_caller]
    pub fn done(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
        ran.out
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    /// Starts the server and waits until it says that it is ready.
    pub async fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let said = self.path("said");
        let mut command = self.command(&["serve"]);
        command.stdout(File::create(&said).unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        let line = until("the server is ready", async || {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "it ended: {}", self.log());
            let text = fs::read_to_string(&said).unwrap();
            text.contains('\n').then_some(text)
        });
        let line = line.await;
        let said = line.split(" is ready: open ").nth(1).unwrap();
        self.url = said.split([' ', '"', '\n']).next().unwrap().to_owned();
        let port = self.url.rsplit(':').next().unwrap();
        self.settings[0].1 = format!("127.0.0.1:{port}");
    }

    /// Returns the process id of the server.
    pub fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Ends the server at once, as `kill -9` and a power cut do.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), Signal::TERM).unwrap();
    }

    /// Waits for the end of the server.
    pub async fn ended(&mut self) -> ExitStatus {
        until("the server ends", async || self.child.as_mut().unwrap().try_wait().unwrap()).await
    }

    /// Stops the server as an operator does, and asserts that it ends without an error.
    pub async fn stop(&mut self) {
        self.terminate();
        assert_eq!(self.ended().await.code(), Some(0), "{}", self.log());
        self.child = None;
    }

    /// Returns everything that the server has written to standard error, over all starts.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub fn browser(&self) -> Browser {
        Browser::new(&self.url)
    }

    /// Returns the emails in the mailbox folder to this address, newest first.
    pub async fn letters(&self, address: &str) -> Vec<Letter> {
        let all = reqwest::get(format!("{}/dev/mailbox.json", self.url)).await.unwrap();
        let all: Vec<Letter> = all.json().await.unwrap();
        all.into_iter().filter(|letter| letter.to == address).collect()
    }

    /// Waits until there are `count` emails to this address. Returns the link in the newest one.
    pub async fn link(&self, address: &str, count: usize) -> String {
        let arrived = async || Some(self.letters(address).await).filter(|letters| letters.len() >= count);
        until("the letter arrives", arrived).await[0].links[0].clone()
    }

    /// Opens the database as the commands do.
    pub async fn db(&self) -> Db {
        let in_a_file = || DatabaseUrl::of_file(&self.path("data/latchkey.db"));
        let url = self.setting("LATCHKEY_DATABASE_URL").map_or_else(in_a_file, str::parse);
        Db::open(&url.unwrap()).await.unwrap()
    }

    /// Returns the rows of the outbox, oldest first.
    pub async fn outbox(&self) -> Vec<OutboxRow> {
        let mut rows = Entity::find().all(self.db().await.read()).await.unwrap();
        rows.sort_by_key(|row| row.id);
        rows
    }

    /// Waits until the outbox has no letter to send.
    async fn outbox_is_empty(&self) {
        let empty = async || self.outbox().await.iter().all(|row| row.state != LetterState::Waiting).then_some(());
        until("no letter waits", empty).await;
    }

    /// Signs a user up on a site that asks for no confirmation.
    pub async fn opened(&self, name: &str, password: &str) -> Browser {
        let mut browser = self.browser();
        let form = browser.open("/signup").await.form("/signup").fill("email", &format!("{name}@example.com"));
        let page = browser.submit(form.fill("username", name).fill("password", password)).await;
        assert_eq!(page.path, "/profile", "{}", page.html);
        browser
    }

    /// Signs a user up. Returns the browser, in which the user is logged in.
    pub async fn user(&self, name: &str, password: &str) -> Browser {
        let address = format!("{name}@example.com");
        let (mut browser, before) = (self.browser(), self.letters(&address).await.len());
        sign_up(&mut browser, name, password).await;
        let page = confirm(&mut browser, &self.link(&address, before + 1).await).await;
        assert_eq!(page.path, "/profile", "{}", page.html);
        browser
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if self.on_postgres {
            database::forget(self.dir.path());
        }
    }
}

/// Signs up as `name@example.com`.
pub async fn sign_up(browser: &mut Browser, name: &str, password: &str) {
    let form = browser.open("/signup").await.form("/signup").fill("email", &format!("{name}@example.com"));
    let page = browser.submit(form.fill("username", name).fill("password", password)).await;
    assert_eq!(page.path, "/signup/sent", "{}", page.html);
}

/// Opens the link of a sign-up and submits the form.
pub async fn confirm(browser: &mut Browser, link: &str) -> Page {
    let form = browser.open(link).await.form("/signup/confirm");
    browser.submit(form).await
}

/// Asks for a link to choose a new password.
pub async fn forget(browser: &mut Browser, address: &str) {
    let form = browser.open("/forgot-password").await.form("/forgot-password").fill("email", address);
    assert_eq!(browser.submit(form).await.path, "/forgot-password/sent");
}

fn files_in(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { [vec![path.clone()], files_in(&path)].concat() } else { vec![path] })
        .collect()
}

#[tokio::test]
async fn after_a_first_start_without_settings_only_its_own_user_can_read_the_files() {
    sqlite_only!("the modes of its file");
    let process = Process::serving(&[]).await;
    process.user("sam", OTTER).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let data = process.path("data");
    assert_eq!(mode(&data), 0o700);
    let files = files_in(&data);
    for name in ["secret", "latchkey.db", "latchkey.db-wal", "mailbox"] {
        assert!(files.contains(&data.join(name)), "{name} in {files:?}");
    }
    for path in files {
        assert_eq!(mode(&path), if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
}

#[tokio::test]
async fn a_restart_keeps_the_secret_and_all_users_logged_in() {
    let mut process = Process::serving(&[]).await;
    let mut sam = process.user("sam", OTTER).await;
    let secret = fs::read(process.path("data/secret")).unwrap();
    process.stop().await;
    process.start().await;
    assert_eq!(fs::read(process.path("data/secret")).unwrap(), secret);
    assert!(sam.is_logged_in().await);
    process.kill();
    process.start().await;
    assert!(sam.is_logged_in().await, "a crash logs no user out either");
}

/// Pauses between the answer and the crash, in milliseconds: the crash comes before, during or after the postman's work.
const CRASHES: [u64; 6] = [0, 1, 3, 5, 8, 30];

#[tokio::test]
async fn a_crash_right_after_the_answer_loses_no_sign_up_letter() {
    let mut process = Process::serving(&[]).await;
    for pause in CRASHES {
        let (name, address) = (format!("sam{pause}"), format!("sam{pause}@example.com"));
        let mut sam = process.browser();
        let form = sam.open("/signup").await.form("/signup").fill("email", &address).fill("username", &name);
        assert_eq!(sam.post("/signup", &form.fill("password", OTTER).fields).await.status, 303);
        sleep(Duration::from_millis(pause)).await;
        process.kill();
        process.start().await;
        process.link(&address, 1).await;
        process.outbox_is_empty().await;
        let letters = process.letters(&address).await;
        for letter in &letters {
            assert_eq!(process.browser().open(&letter.links[0]).await.status, 200, "each of {}", letters.len());
        }
        let page = confirm(&mut sam, &letters.last().unwrap().links[0]).await;
        assert_eq!(page.path, "/profile", "after {pause} ms: {}", page.html);
    }
}

#[tokio::test]
async fn a_crash_right_after_the_answer_loses_no_reset_letter() {
    let mut process = Process::serving(&[]).await;
    process.user("sam", OTTER).await;
    let mut seen = process.letters("sam@example.com").await;
    for (pause, password) in CRASHES.into_iter().zip([HERON, OTTER].into_iter().cycle()) {
        let mut sam = process.browser();
        let fields = [("email", "sam@example.com")];
        assert_eq!(sam.post("/forgot-password", &fields).await.status, 303);
        sleep(Duration::from_millis(pause)).await;
        process.kill();
        process.start().await;
        process.link("sam@example.com", seen.len() + 1).await;
        process.outbox_is_empty().await;
        let letters = process.letters("sam@example.com").await;
        let fresh: Vec<_> = letters.iter().filter(|letter| seen.iter().all(|old| old.links != letter.links)).collect();
        for letter in &fresh {
            assert_eq!(process.browser().open(&letter.links[0]).await.status, 200, "each of {}", fresh.len());
        }
        assert_eq!(sam.reset(&fresh[0].links[0], password).await.path, "/login", "after {pause} ms");
        assert_eq!(sam.log_in("sam", password).await.path, "/profile");
        process.outbox_is_empty().await;
        seen = process.letters("sam@example.com").await;
    }
}

#[tokio::test]
async fn sigterm_lets_a_log_in_finish_and_then_exits_well() {
    let mut process = Process::hashing_slowly().await;
    process.user("sam", OTTER).await;
    let mut sam = process.browser();
    sam.open("/login").await; // and the connection stays open
    let log_in = async move { sam.post("/login", &[("login", "sam"), ("password", OTTER)]).await };
    let log_in = process.until_hashing(log_in).await;
    process.terminate();
    until("no new connection is taken", async || reqwest::get(&process.url).await.is_err().then_some(())).await;
    assert!(!log_in.is_finished(), "the log-in was too fast for this test");
    let page = log_in.await.unwrap();
    assert_eq!((page.status.as_u16(), &page.headers["location"]), (303, &"/profile".parse().unwrap()));
    assert_eq!(process.ended().await.code(), Some(0));
    assert!(process.log().contains("stopping"), "{}", process.log());
}

#[tokio::test]
async fn a_closed_output_is_no_reason_to_fail() {
    let port = free_port();
    let settings = [("LATCHKEY_LISTEN", format!("127.0.0.1:{port}")), ("LATCHKEY_LOG", "debug".to_owned())];
    let mut process = Process::new(&settings.each_ref().map(|(name, value)| (*name, value.as_str())));
    let mut child = process.command(&["serve"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    process.child = Some(child);
    process.url = format!("http://localhost:{port}");
    let serves = until("it serves", async || {
        assert!(process.child.as_mut().unwrap().try_wait().unwrap().is_none(), "it ended");
        reqwest::get(format!("{}/healthz", process.url)).await.ok()
    });
    serves.await;
    process.user("sam", OTTER).await;
    process.stop().await;
}

/// Returns a port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Runs a server until it ends or says that it is ready. Returns what it said.
pub fn try_to_serve(mut command: Command) -> Ran {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Standard output has a line when the server is ready, and is at its end when the server has ended.
    let ready = BufReader::new(child.stdout.take().unwrap()).lines().next();
    let _ = child.kill(); // an error means that it has ended already
    let ran = Ran::of(child.wait_with_output().unwrap());
    Ran { out: ready.transpose().unwrap().unwrap_or_default(), ..ran }
}

/// Starts with these settings, which must fail in one line with these words. Returns `None` if it did, or else what was
/// wrong.
pub fn fault(words: &str, settings: &[(&str, &str)]) -> Option<String> {
    let process = Process::on_sqlite(settings);
    fs::write(process.path("file"), "in the way").unwrap();
    let ran = try_to_serve(process.command(&["serve"]));
    let said = ran.err;
    let wrong = [
        (!ran.out.is_empty() || ran.code == Some(0), "started"),
        (said.lines().count() != 1, "did not say one line"),
        (!said.contains(words), "did not name it"),
        (said.contains("tell-nobody"), "told a secret"),
        (process.path("data").exists(), "left a folder behind"),
    ];
    let wrong: Vec<_> = wrong.into_iter().filter_map(|(is, what)| is.then_some(what)).collect();
    (!wrong.is_empty()).then(|| format!("{settings:?} {}: {said}", wrong.join(", ")))
}

#[test]
fn a_bad_setting_refuses_to_start_with_one_line_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let far = ("LATCHKEY_PUBLIC_URL", "https://accounts.example.com");
    let smtp = ("LATCHKEY_SMTP_URL", "smtp://localhost:2525");
    let from = ("LATCHKEY_MAIL_FROM", "a@example.com");
    let cases: &[(&str, &[(&str, &str)])] = &[
        ("LATCHKEY_LISTEN", &[("LATCHKEY_LISTEN", &taken)]),
        ("LATCHKEY_LISTEN", &[("LATCHKEY_LISTEN", "port three thousand")]),
        ("LATCHKEY_PUBLIC_URL", &[("LATCHKEY_LISTEN", "0.0.0.0:0")]),
        ("LATCHKEY_PUBLIC_URL", &[("LATCHKEY_PUBLIC_URL", "accounts.example.com")]),
        (
            "LATCHKEY_PUBLIC_URL must begin with https",
            &[smtp, from, ("LATCHKEY_PUBLIC_URL", "http://accounts.example.com")],
        ),
        ("LATCHKEY_SMTP_URL", &[("LATCHKEY_LISTEN", "0.0.0.0:0"), ("LATCHKEY_PUBLIC_URL", "http://localhost:3000")]),
        ("LATCHKEY_TLS_KEY", &[("LATCHKEY_TLS_CERT", "file")]),
        ("LATCHKEY_TLS_CERT", &[("LATCHKEY_TLS_KEY", "file")]),
        ("LATCHKEY_TLS_CERT", &[("LATCHKEY_TLS_CERT", "file"), ("LATCHKEY_TLS_KEY", "file")]),
        (
            "LATCHKEY_PUBLIC_URL",
            &[
                ("LATCHKEY_TLS_CERT", "file"),
                ("LATCHKEY_TLS_KEY", "file"),
                ("LATCHKEY_PUBLIC_URL", "http://localhost:3000"),
            ],
        ),
        ("LATCHKEY_TLS_CERT", &[("LATCHKEY_REDIRECT_LISTEN", "127.0.0.1:0")]),
        ("LATCHKEY_REDIRECT_LISTEN", &[("LATCHKEY_REDIRECT_LISTEN", "80")]),
        ("LATCHKEY_SMTP_URL", &[far]),
        ("LATCHKEY_SMTP_URL", &[("LATCHKEY_SMTP_URL", "mail.example.com"), ("LATCHKEY_MAIL_FROM", "a@example.com")]),
        ("LATCHKEY_SMTP_URL", &[("LATCHKEY_SMTP_URL", "https://example.com"), ("LATCHKEY_MAIL_FROM", "a@example.com")]),
        ("LATCHKEY_MAIL_FROM", &[smtp]),
        ("LATCHKEY_MAIL_FROM", &[smtp, ("LATCHKEY_MAIL_FROM", "nobody")]),
        ("LATCHKEY_SECRET", &[("LATCHKEY_SECRET", "tell-nobody")]),
        ("LATCHKEY_SECRET", &[("LATCHKEY_SECRET", "changeme-tell-nobody-9vT2qLx7Rm4Kc8Wz1Nd6Hb")]),
        ("LATCHKEY_SECRET", &[("LATCHKEY_DATABASE_URL", "postgres://sam:tell-nobody@localhost/latchkey")]),
        ("LATCHKEY_DATABASE_URL", &[("LATCHKEY_DATABASE_URL", "mysql://sam:tell-nobody@localhost/latchkey")]),
        ("LATCHKEY_DATABASE_URL", &[("LATCHKEY_DATABASE_URL", "postgres://sam:tell-nobody@localhost:port/latchkey")]),
        ("LATCHKEY_DATABASE_URL", &[("LATCHKEY_DATABASE_URL", "sqlite::memory:")]),
        ("LATCHKEY_DATABASE_URL", &[("LATCHKEY_DATABASE_URL", "sqlite://latchkey.db?mode=ro")]),
        ("LATCHKEY_DATABASE_URL", &[("LATCHKEY_DATABASE_URL", "sqlite:")]),
        ("LATCHKEY_DATA_DIR", &[("LATCHKEY_DATA_DIR", "file")]),
        ("LATCHKEY_DATA_DIR", &[("LATCHKEY_DATA_DIR", "file/data")]),
        ("LATCHKEY_RATE_LIMITS", &[far, smtp, from, ("LATCHKEY_RATE_LIMITS", "off")]),
        ("LATCHKEY_HSTS_SUBDOMAINS", &[("LATCHKEY_HSTS_SUBDOMAINS", "on")]),
        ("LATCHKEY_HSTS_SUBDOMAINS", &[("LATCHKEY_HSTS_SUBDOMAINS", "yes")]),
        ("LATCHKEY_SIGNUP", &[("LATCHKEY_SIGNUP", "anyone")]),
        ("LATCHKEY_SITE_NAME", &[("LATCHKEY_SITE_NAME", "two\nlines")]),
        ("LATCHKEY_PASSWORD_MIN_LENGTH", &[("LATCHKEY_PASSWORD_MIN_LENGTH", "6")]),
        ("LATCHKEY_HASH_ENGINE", &[("LATCHKEY_HASH_ENGINE", "sodium")]),
        ("LATCHKEY_HASH_MEMORY", &[("LATCHKEY_HASH_MEMORY", "1024")]),
        ("LATCHKEY_HASH_PASSES", &[("LATCHKEY_HASH_PASSES", "1")]),
        ("LATCHKEY_TRUSTED_PROXIES", &[("LATCHKEY_TRUSTED_PROXIES", "10.0.0.0/8,proxy")]),
        ("LATCHKEY_LOG", &[("LATCHKEY_LOG", "latchkey=loud")]),
        ("LATCHKEY_LOG_FORMAT", &[("LATCHKEY_LOG_FORMAT", "xml")]),
        ("LATCHKEY_LISTENS", &[("LATCHKEY_LISTENS", "127.0.0.1:3000")]),
    ];
    let faults: Vec<_> = cases.iter().filter_map(|(words, settings)| fault(words, settings)).collect();
    assert!(faults.is_empty(), "{}", faults.join(""));
}

#[test]
fn the_password_of_a_database_that_cannot_be_reached_is_not_logged() {
    let url = format!("postgres://sam:tell-nobody@127.0.0.1:{}/latchkey", free_port());
    let secret = ("LATCHKEY_SECRET", "canary-9vT2qLx7Rm4Kc8Wz1Nd6Hb3Fp5Gs0Jy");
    let ran = Process::new(&[("LATCHKEY_DATABASE_URL", &url), secret, ("LATCHKEY_LOG", "trace")]).run(&["serve"]);
    assert!(ran.code == Some(1) && ran.err.contains("LATCHKEY_DATABASE_URL"), "{}", ran.err);
    assert!(!ran.err.contains("tell-nobody") && !ran.err.contains("canary"), "{}", ran.err);
}

/// The secrets of a test, none of which may be in the log.
#[derive(Default)]
pub struct Secrets(BTreeSet<String>);

impl Secrets {
    /// Adds a secret, both as text and as a list of bytes.
    pub fn note(&mut self, secret: &str) {
        let bytes = format!("{:?}", secret.as_bytes());
        self.0.extend([secret.to_owned(), bytes.trim_matches(['[', ']']).to_owned()]);
    }

    fn note_cookies(&mut self, browser: &Browser) {
        for (name, value) in &browser.cookies {
            self.note(value);
            if name == "latchkey_visit" {
                // tower-sessions keeps the id as a number, and would log that.
                let bytes: [u8; 16] = URL_SAFE_NO_PAD.decode(value).unwrap().try_into().unwrap();
                self.note(&i128::from_le_bytes(bytes).to_string());
            }
        }
    }

    /// Submits a form, follows the redirect, and adds all cookies on the way.
    async fn submit(&mut self, browser: &mut Browser, form: Form) -> Page {
        self.note_cookies(browser);
        let page = browser.post(&form.action, &form.fields).await;
        self.note_cookies(browser);
        let Some(next) = page.headers.get("location") else { return page };
        let page = browser.open(next.to_str().unwrap()).await;
        self.note_cookies(browser);
        page
    }

    pub fn assert_none_in(&self, log: &str) {
        let leaks = |line: &&str| self.0.iter().any(|secret| line.contains(secret));
        let leaking: Vec<_> = log.lines().filter(leaks).collect();
        assert!(leaking.is_empty(), "{} lines with a secret, such as: {}", leaking.len(), leaking[0]);
    }
}

/// Goes through the life of an account, with many mistakes and attacks. `link` waits for the nth email and returns its link.
/// Returns the secrets that were used.
pub async fn live(process: &Process, mut link: impl AsyncFnMut(usize) -> String) -> Secrets {
    let (first, second, wrong) = ("velvet-otter-bakes-rye-4711", "seven-herons-paint-0815", "brisk-lynx-hums-1848");
    let mut secrets = Secrets::default();
    [first, second, wrong].iter().for_each(|password| secrets.note(password));
    let token_of = |link: &str| link.split_once("token=").unwrap().1.to_owned();

    let mut sam = process.browser();
    let form = sam.open("/signup").await.form("/signup").fill("email", "sam@example.com").fill("username", "sam");
    secrets.submit(&mut sam, form.fill("password", first)).await;
    let letter = link(1).await;
    secrets.note(&token_of(&letter));
    let form = sam.open(&letter).await.form("/signup/confirm");
    assert_eq!(secrets.submit(&mut sam, form).await.path, "/profile");
    let form = sam.open("/profile/password").await.form("/profile/password");
    secrets.submit(&mut sam, form.fill("current_password", wrong).fill("new_password", second)).await;
    let form = sam.open("/profile").await.form("/logout");
    secrets.submit(&mut sam, form).await;
    for (login, password) in [("sam", wrong), (wrong, wrong), ("sam", first)] {
        let form = sam.open("/login").await.form("/login").fill("login", login).fill("password", password);
        secrets.submit(&mut sam, form).await;
    }
    assert!(sam.is_logged_in().await);

    let mut lost = process.browser();
    let form = lost.open("/forgot-password").await.form("/forgot-password").fill("email", "sam@example.com");
    secrets.submit(&mut lost, form).await;
    let letter = link(2).await;
    let token = token_of(&letter);
    secrets.note(&token);
    let form = lost.open(&letter).await.form("/reset-password");
    secrets.submit(&mut lost, form.clone().fill("password", "sam@example.com")).await;
    assert_eq!(secrets.submit(&mut lost, form.fill("password", second)).await.path, "/login");
    lost.open(&letter).await.assert_framed(410);
    assert_eq!(lost.log_in("sam", second).await.path, "/profile");
    secrets.note_cookies(&lost);
    link(3).await;

    // These requests cannot come from our forms.
    let fields = [("login", "sam"), ("password", second), ("token", &token)];
    for path in ["/login", "/profile", "/nowhere", "/healthz", "/reset-password"] {
        for query in ["", &format!("?token={token}&password={second}")] {
            let mut eve = lost.clone();
            let from_afar = |request: RequestBuilder| request.header("origin", "https://evil.example").form(&fields);
            eve.send(Method::POST, &format!("{path}{query}"), from_afar).await;
            eve.send(Method::POST, &format!("{path}{query}"), |request| request.json(&fields)).await;
            let huge = format!("password={second}&token={token}&{}", "x".repeat(20_000));
            eve.send(Method::POST, &format!("{path}{query}"), |request| request.body(huge)).await;
            eve.send(Method::GET, &format!("{path}{query}"), |request| request).await;
        }
    }
    for name in ["latchkey_session", "latchkey_visit", "latchkey_reset", "latchkey_signup"] {
        for forged in [token.clone(), format!("{token}x"), format!("{}x", lost.cookies["latchkey_session"])] {
            let mut eve = process.browser();
            eve.cookies.insert(name.to_owned(), forged);
            for path in ["/profile", "/login", "/reset-password", "/signup/confirm"] {
                eve.open(path).await;
                eve.post(path, &[("password", second)]).await;
            }
        }
    }
    secrets
}

/// A log level that logs everything, also from the libraries that are quiet by default.
const EVERYTHING: &str = "trace,tower_sessions=trace,tower_sessions_core=trace,sea_orm=trace,sqlx=trace";

#[tokio::test]
async fn no_secret_is_in_the_log_even_when_everything_is_logged() {
    let mut process = Process::serving(&[("LATCHKEY_LOG", EVERYTHING)]).await;
    let mut secrets = live(&process, async |count| process.link("sam@example.com", count).await).await;
    secrets.note(fs::read_to_string(process.path("data/secret")).unwrap().trim());
    let ran = process.run(&["user", "reset-link", "sam"]);
    secrets.note(ran.out.trim().split_once("token=").unwrap().1);
    process.stop().await;
    let log = process.log() + ran.err.as_str();
    assert!(log.contains("TRACE") && log.contains("answered"), "the log is on");
    secrets.assert_none_in(&log);
}

#[tokio::test]
async fn a_data_folder_may_have_any_name() {
    sqlite_only!("the name of its file");
    for name in ["my data", "a#b?c%20d", "资料"] {
        let mut process = Process::serving(&[("LATCHKEY_DATA_DIR", name)]).await;
        process.stop().await;
        assert!(process.path(name).join("latchkey.db").exists(), "{name}");
    }
}
