//! Emails through a real mail server: what arrives, what is verified on the way, and what happens when the server has
//! problems.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use latchkey::accounts::outbox::{LetterState, OutboxRow};
use latchkey::clock::Clock;
use mail_parser::{Message, MessageParser};
use reqwest::{Method, RequestBuilder};
use sea_orm::ConnectionTrait;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::process::{Process, confirm, forget, free_port, live, sign_up, until};
use crate::{HERON, OTTER};

/// A mail server with a certificate for localhost. Its authority is unknown to the system.
pub struct MailServer {
    dir: TempDir,
    pub port: u16,
    child: Child,
}

/// One email that the server was given, and its answer.
#[derive(Clone, Debug)]
pub struct Received {
    from: String,
    to: Vec<String>,
    data: String,
    pub tls: bool,
    login: Option<String>,
    answer: String,
}

impl MailServer {
    pub async fn start(mode: &str) -> Self {
        Self::start_with(&[mode]).await
    }

    pub async fn start_with(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        crate::needs("Python");
        let mut command = Command::new("/usr/bin/python3");
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/smtp_server.py")).args(arguments);
        if ["tls", "starttls"].contains(&arguments[0]) {
            make_certificate(dir.path());
            command.arg("--certificate").arg(dir.path().join("server.pem"));
            command.arg("--key").arg(dir.path().join("server.key"));
        }
        // The server ends when its standard input ends, also when this test fails.
        command.stdin(Stdio::piped()).stdout(File::create(dir.path().join("said")).unwrap());
        let child = command.stderr(File::create(dir.path().join("log")).unwrap()).spawn().unwrap();
        let mut server = Self { dir, port: 0, child };
        let port = until("the mail server is ready", async || {
            assert!(server.child.try_wait().unwrap().is_none(), "{}", server.log());
            server.said().first().and_then(|first| first["port"].as_u64())
        });
        server.port = u16::try_from(port.await).unwrap();
        server
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    pub fn said(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.dir.path().join("said")).unwrap();
        // The last line may be half written.
        text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(|line| line.parse().unwrap()).collect()
    }

    pub fn received(&self) -> Vec<Received> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let received = |fact: &Value| {
            Some(Received {
                from: text(&fact["from"])?,
                to: fact["to"].as_array()?.iter().filter_map(text).collect(),
                data: text(&fact["data"])?,
                tls: fact["tls"].as_bool()?,
                login: text(&fact["login"]),
                answer: text(&fact["answer"])?,
            })
        };
        self.said().iter().filter_map(received).collect()
    }

    /// Waits for the nth email, counted from 1.
    pub async fn letter(&self, nth: usize) -> Received {
        until("the mail server gets the letter", async || self.received().into_iter().nth(nth - 1)).await
    }

    /// Ends the server.
    pub fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn authority(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Creates an authority, and a certificate for `localhost` that it signs.
pub fn make_certificate(dir: &Path) {
    fs::write(dir.join("empty.cnf"), "[req]\ndistinguished_name = name\n[name]\n").unwrap();
    let make = |name: &str, arguments: &str| {
        let key = format!(
            "req -config empty.cnf -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout {name}.key -out {name}.pem"
        );
        let mut command = Command::new("openssl");
        let made = command.args(key.split(' ')).args(arguments.split(' ')).current_dir(dir).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    make("ca", "-subj /CN=ours -addext basicConstraints=critical,CA:TRUE");
    make("server", "-subj /CN=localhost -addext subjectAltName=DNS:localhost -CA ca.pem -CAkey ca.key");
}

impl Received {
    pub fn message(&self) -> Message<'_> {
        MessageParser::default().parse(&self.data).unwrap()
    }

    pub fn link(&self) -> String {
        let text = self.message().body_text(0).unwrap().into_owned();
        text.split_whitespace().find(|word| word.contains("://")).unwrap().to_owned()
    }
}

/// Returns the settings for emails from `mail.acme.example` through this server.
pub fn by(url: &str) -> [(&str, &str); 2] {
    [("LATCHKEY_SMTP_URL", url), ("LATCHKEY_MAIL_FROM", "Acme <no-reply@mail.acme.example>")]
}

/// Waits until the postman has made an attempt for the first letter, and the attempt is over.
async fn first_attempt(process: &Process) -> OutboxRow {
    // If the mail server is out of reach, the letter is put off without an attempt of its own.
    let is_over = |row: &OutboxRow| (row.attempts > 0 || row.failed_at.is_some()) && row.leased_until.is_none();
    until("the first attempt is over", async || process.outbox().await.into_iter().next().filter(is_over)).await
}

#[tokio::test]
async fn users_sign_up_and_reset_their_password_by_real_email() {
    let server = MailServer::start("plain").await;
    let url = format!("smtp://localhost:{}", server.port);
    let [smtp, from] = by(&url);
    let process = Process::serving(&[
        smtp,
        from,
        ("LATCHKEY_SITE_NAME", "Café 萨姆"),
        ("LATCHKEY_MAIL_REPLY_TO", "Help <help@acme.example>"),
    ])
    .await;
    let mut sam = process.browser();
    sign_up(&mut sam, "sam", OTTER).await;
    let letter = server.letter(1).await;
    assert_eq!((letter.from.as_str(), &letter.to), ("no-reply@mail.acme.example", &vec!["sam@example.com".to_owned()]));
    assert!(!letter.tls, "on this machine, no attacker is on the way");

    let message = letter.message();
    assert_eq!(message.subject(), Some("Confirm your email address for Café 萨姆"));
    let from = message.from().unwrap().first().unwrap();
    assert_eq!((from.name(), from.address()), (Some("Acme"), Some("no-reply@mail.acme.example")));
    assert_eq!(message.reply_to().unwrap().first().unwrap().address(), Some("help@acme.example"));
    assert_eq!(message.to().unwrap().first().unwrap().address(), Some("sam@example.com"));
    let id = process.outbox().await[0].id;
    assert_eq!(message.message_id(), Some(format!("{id}@mail.acme.example").as_str()));
    let now = Clock::default().now().unix_timestamp();
    assert!((now - message.date().unwrap().to_timestamp()).abs() < 60);
    for (name, value) in
        [("Auto-Submitted", "auto-generated"), ("X-Auto-Response-Suppress", "All"), ("Content-Language", "en")]
    {
        assert_eq!(message.header_raw(name).map(str::trim), Some(value), "{name}");
    }
    assert_eq!((message.text_body_count(), message.html_body_count()), (1, 1));
    assert!(message.body_html(0).unwrap().contains(&format!("href=\"{}\"", letter.link())));
    assert!(letter.data.is_ascii() && letter.data.split("\r\n").all(|line| line.len() <= 998 && !line.contains('\n')));

    let page = confirm(&mut sam, &letter.link()).await;
    assert_eq!(page.path, "/profile", "{}", page.html);
    assert_eq!(sam.open("/dev/mailbox").await.status, 404, "the emails are nowhere else");

    let mut lost = process.browser();
    forget(&mut lost, "sam@example.com").await;
    let letter = server.letter(2).await;
    assert!(letter.link().starts_with(&format!("{}/reset-password?token=", process.url)));
    assert_eq!(lost.reset(&letter.link(), HERON).await.path, "/login");
    assert_eq!(lost.log_in("sam", HERON).await.path, "/profile");
    assert_eq!(server.letter(3).await.message().subject(), Some("Your Café 萨姆 password was changed"));
    until("all are sent", async || {
        process.outbox().await.iter().all(|row| row.state == LetterState::Sent).then_some(())
    })
    .await;
    assert!(process.outbox().await.iter().all(|row| row.sent_at.is_some() && row.attempts == 1));
}

/// Texts that are refused. If one were taken for an address, some program on the way would read it as two recipients, a
/// header or an argument.
const NOT_ONE_ADDRESS: &[&str] = &[
    "a@b.example\r\nBcc: eve@evil.example",
    "a@b.example\nRCPT TO:<eve@evil.example>",
    "a@b.example%0d%0aBcc:eve@evil.example",
    "a%0d%0aBcc:eve@evil.example",
    "a@b.example\0eve@evil.example",
    "a,eve@evil.example",
    "a@b.example,eve@evil.example",
    "a@b.example;eve@evil.example",
    "a@b.example eve@evil.example",
    "a@b.example> <eve@evil.example",
    "a@b.example> ORCPT=rfc822;eve@evil.example",
    "<eve@evil.example>",
    "Sam <eve@evil.example>",
    "\"Sam\" <eve@evil.example>",
    "\"a b\"@evil.example",
    "\"a@b.example\"@evil.example",
    "\"a\\\"@evil.example",
    "a(comment)@evil.example",
    "a@[127.0.0.1]",
    "a@[IPv6:::1]",
    "a@127.0.0.1",
    "a@localhost",
    "@relay.example:eve@evil.example",
    "a:eve@evil.example;",
    "a@b.example@evil.example",
    "a@evil.example.",
    "a\u{ff0c}eve@evil.example",
    "a\u{ff20}evil.example",
    "a@evil\u{2024}example\u{fe6b}x.example",
    "a@b.example\u{2028}Bcc: eve@evil.example",
    "a@b.example\u{560a}\u{560d}Bcc: eve@evil.example",
    "mailto:eve@evil.example?bcc=x@evil.example",
    "$(id)@evil.example",
];

/// Texts that are one address, though an odd one. An email goes to that address, and not to the one that the text looks
/// like.
const ONE_ADDRESS: &[(&str, &str)] = &[
    ("-f@evil.example", "-f@evil.example"),
    ("--@evil.example", "--@evil.example"),
    ("|true@evil.example", "|true@evil.example"),
    ("a%eve.example@evil.example", "a%eve.example@evil.example"),
    ("eve!a@evil.example", "eve!a@evil.example"),
    ("{{7*7}}`id`@evil.example", "{{7*7}}`id`@evil.example"),
    ("a@\u{430}pple.example", "a@xn--pple-43d.example"), // a Cyrillic а
    ("a@EVIL\u{3002}example", "a@evil.example"),         // the full stop of Chinese, as browsers read it
];

#[tokio::test]
async fn an_email_has_one_recipient_and_no_header_that_a_client_wrote() {
    let server = MailServer::start("plain").await;
    let url = format!("smtp://localhost:{}", server.port);
    let [smtp, from] = by(&url);
    let trusting = ("LATCHKEY_TRUSTED_PROXIES", "127.0.0.0/8");
    let process = Process::serving(&[smtp, from, trusting, ("LATCHKEY_RATE_LIMITS", "off")]).await;
    // Emails name the browser and the address that asked.
    let odd = |request: RequestBuilder| {
        let ip = "203.0.113.9\tBcc: eve@evil.example, 203.0.113.7 <eve@evil.example>";
        request
            .header("user-agent", "Firefox/1 \tBcc: eve@evil.example =?utf-8?q?=0d=0aBcc:_x?=")
            .header("x-forwarded-for", ip)
    };
    let ask = async |address: &str| {
        let mut statuses = vec![];
        let name = format!("sam{}", address.len() * 1000 + usize::from(address.as_bytes()[0]));
        let sign_up = [("email", address), ("username", &name), ("full_name", "Sam Bcc: eve"), ("password", OTTER)];
        for (path, fields) in [("/signup", &sign_up[..]), ("/forgot-password", &sign_up[..1])] {
            let page = process.browser().send(Method::POST, path, |request| odd(request).form(&fields)).await;
            statuses.push(page.status.as_u16() == 303);
        }
        let user: Value = sign_up.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
        for path in ["/users/", "/reset_password/"] {
            let page = process.browser().send(Method::POST, path, |request| odd(request).json(&user)).await;
            statuses.push(page.status.as_u16() == 202);
        }
        statuses
    };
    for address in NOT_ONE_ADDRESS {
        assert_eq!(ask(address).await, [false; 4], "{address:?}");
    }
    assert!(process.outbox().await.is_empty(), "not even a row");

    let mut expected: BTreeSet<_> = ["sam@example.com".to_owned()].into();
    for (address, goes_to) in ONE_ADDRESS {
        assert_eq!(ask(address).await, [true; 4], "{address:?}");
        expected.insert((*goes_to).to_owned());
    }
    // A user with an account gets an email of each kind.
    let mut sam = process.browser();
    let fields =
        [("email", "sam@example.com"), ("username", "sam"), ("full_name", "Sam Bcc: eve"), ("password", OTTER)];
    sam.send(Method::POST, "/signup", |request| odd(request).form(&fields)).await;
    let link = async |path: &str| {
        let to_sam = || server.received().into_iter().filter(|letter| letter.to == ["sam@example.com"]);
        let found = || to_sam().map(|letter| letter.link()).find(|link| link.contains(path));
        until("Sam gets the letter", async || found()).await
    };
    sam.open(&link("/signup/confirm?token=").await).await;
    assert_eq!(sam.send(Method::POST, "/signup/confirm", odd).await.status, 303);
    assert_eq!(ask("sam@example.com").await, [true; 4]);
    sam.open(&link("/reset-password?token=").await).await;
    let reset = sam.send(Method::POST, "/reset-password", |request| odd(request).form(&[("password", HERON)]));
    assert_eq!(reset.await.headers["location"], "/login");
    let none_waits = async || process.outbox().await.iter().all(|row| row.state != LetterState::Waiting).then_some(());
    until("no letter waits", none_waits).await;

    let ours: BTreeSet<_> = HEADERS.iter().map(|name| (*name).to_owned()).collect();
    let mut recipients = BTreeSet::new();
    for letter in server.received() {
        let [to] = &letter.to[..] else { panic!("{:?}", letter.to) };
        recipients.insert(to.clone());
        let head = letter.data.split("\r\n\r\n").next().unwrap();
        let lines = head.split("\r\n").filter(|line| !line.starts_with([' ', '\t']));
        let names: Vec<_> = lines.map(|line| line.split(':').next().unwrap().to_owned()).collect();
        assert_eq!((names.len(), names.into_iter().collect::<BTreeSet<_>>()), (ours.len(), ours.clone()), "{head}");
        let message = letter.message();
        assert_eq!(message.to().unwrap().first().unwrap().address(), Some(to.as_str()));
        assert!(message.to().unwrap().as_list().is_some_and(|all| all.len() == 1), "{head}");
        let (text, html) = (message.body_text(0).unwrap(), message.body_html(0).unwrap());
        assert!(!text.contains("Bcc") && !html.contains("Bcc") && !head.contains("evil.example\r\nBcc"), "{text}");
        assert!(!text.contains("eve@evil"), "{text}");
    }
    assert_eq!(recipients, expected);
}

/// The headers of an email, each of which comes once.
const HEADERS: [&str; 10] = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "Content-Language",
    "MIME-Version",
    "Content-Type",
];

#[tokio::test]
async fn emails_go_over_tls_to_a_server_whose_certificate_is_valid() {
    for (mode, scheme, query) in [("tls", "smtps", ""), ("starttls", "smtp", "?tls=required")] {
        let server = MailServer::start(mode).await;
        let url = format!("{scheme}://sam:pass%20word@localhost:{}{query}", server.port);
        let authority = server.authority();
        let [smtp, from] = by(&url);
        let process = Process::serving(&[smtp, from, ("SSL_CERT_FILE", authority.to_str().unwrap())]).await;
        sign_up(&mut process.browser(), "sam", OTTER).await;
        let letter = server.letter(1).await;
        assert!(letter.tls && letter.login.as_deref() == Some("sam"), "{mode}: {letter:?}");
        assert_eq!(process.browser().open(&letter.link()).await.status, 200);
    }
}

#[tokio::test]
async fn a_server_without_a_valid_certificate_gets_no_email() {
    for (mode, scheme, host, query) in [
        ("tls", "smtps", "localhost", ""),
        ("starttls", "smtp", "localhost", "?tls=required"),
        ("tls", "smtps", "127.0.0.1", ""), // the certificate is for another name
        ("starttls", "smtp", "127.0.0.1", "?tls=required"),
        ("plain", "smtp", "localhost", "?tls=required"), // an attacker removed STARTTLS from the offer
        ("plain", "smtps", "localhost", ""),
    ] {
        let server = MailServer::start(mode).await;
        let url = format!("{scheme}://sam:canary@{host}:{}{query}", server.port);
        let authority = server.authority();
        let [smtp, from] = by(&url);
        let known = ("SSL_CERT_FILE", authority.to_str().unwrap());
        let settings = [smtp, from, known];
        let process = Process::serving(&settings[..if host == "localhost" { 2 } else { 3 }]).await;
        sign_up(&mut process.browser(), "sam", OTTER).await;
        let row = first_attempt(&process).await;
        assert_eq!(row.state, LetterState::Waiting, "{url}: {row:?}");
        assert!(row.last_error.is_some_and(|why| !why.is_empty() && !why.contains("canary")), "{url}");
        assert!(server.received().is_empty(), "{url}: {:?}", server.received());
        process.browser().open("/login").await.assert_framed(200);
        assert!(!process.log().contains("canary"), "{}", process.log());
    }
}

#[tokio::test]
async fn a_refused_email_fails_at_once_with_the_servers_words() {
    let server = MailServer::start("refuse").await;
    let url = format!("smtp://127.0.0.1:{}", server.port);
    let mut process = Process::serving(&by(&url)).await;
    let mut sam = process.browser();
    sign_up(&mut sam, "sam", OTTER).await;
    let row = first_attempt(&process).await;
    assert_eq!((row.state, row.attempts), (LetterState::Failed, 1), "{row:?}");
    assert!(row.last_error.as_ref().unwrap().contains("5.1.1 Nobody of that name lives here"), "{row:?}");
    sam.open("/signup/sent").await.assert_framed(200);
    forget(&mut sam, "sam@example.com").await;
    process.stop().await;
    process.start().await;
    sam.open("/login").await.assert_framed(200);
}

#[tokio::test]
async fn an_email_that_the_server_puts_off_arrives_later_as_the_same_email() {
    let server = MailServer::start_with(&["tempfail", "--times", "1"]).await;
    let url = format!("smtp://127.0.0.1:{}", server.port);
    let process = Process::serving(&by(&url)).await;
    let mut sam = process.browser();
    sign_up(&mut sam, "sam", OTTER).await;
    let row = first_attempt(&process).await;
    assert_eq!((row.state, row.attempts), (LetterState::Waiting, 1), "{row:?}");
    assert!(row.last_error.unwrap().contains("4.3.0 The post office is closed for lunch"));
    let (first, second) = (server.letter(1).await, server.letter(2).await);
    assert!(first.answer.starts_with("451") && second.answer.starts_with("250"));
    assert_eq!(first.message().message_id(), second.message().message_id());
    assert_eq!(confirm(&mut sam, &second.link()).await.path, "/profile");
}

#[tokio::test]
async fn no_email_is_lost_while_the_server_refuses_our_own_log_in() {
    let server = MailServer::start("plain").await;
    let url = format!("smtp://sam:wrong@127.0.0.1:{}", server.port);
    let process = Process::serving(&by(&url)).await;
    sign_up(&mut process.browser(), "sam", OTTER).await;
    let row = first_attempt(&process).await;
    assert_eq!(row.state, LetterState::Waiting, "{row:?}");
    assert!(row.last_error.unwrap().contains("535"));
}

#[tokio::test]
async fn the_site_works_while_the_mail_server_is_down() {
    let port = free_port();
    let url = format!("smtp://127.0.0.1:{port}");
    let process = Process::serving(&by(&url)).await;
    let mut sam = process.browser();
    sign_up(&mut sam, "sam", OTTER).await;
    let row = first_attempt(&process).await;
    assert!(row.state == LetterState::Waiting && row.last_error.unwrap().contains("refused"));
    sam.open("/signup/sent").await.assert_framed(200);
    let server = MailServer::start_with(&["plain", "--port", &port.to_string()]).await;
    assert_eq!(confirm(&mut sam, &server.letter(1).await.link()).await.path, "/profile");
}

#[tokio::test]
async fn a_mail_server_that_says_nothing_delays_neither_pages_nor_the_stop_for_long() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("smtp://{}", silent.local_addr().unwrap());
    let mut process = Process::serving(&by(&url)).await;
    let mut sam = process.browser();
    for name in ["sam", "ada", "eve", "kim", "lee", "joe"] {
        let began = Instant::now();
        sign_up(&mut sam, name, OTTER).await;
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    silent.set_nonblocking(true).unwrap();
    let _connection = until("the mail server is asked", async || silent.accept().ok()).await;
    let began = Instant::now();
    process.stop().await;
    assert!(began.elapsed() < Duration::from_secs(28), "{:?}", began.elapsed());
    assert!(process.outbox().await.iter().all(|row| row.state == LetterState::Waiting), "and none is lost");
}

#[tokio::test]
async fn mail_test_says_what_the_server_said() {
    let server = MailServer::start("plain").await;
    let url = format!("smtp://127.0.0.1:{}", server.port);
    let ran = Process::new(&by(&url)).run(&["mail-test", "ada@example.com"]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "The mail server took the email to ada@example.com: 250 2.0.0 Taken, with pleasure\n"),
        "{ran:?}"
    );
    assert_eq!(server.letter(1).await.message().subject(), Some("Mail from Latchkey works"));

    let server = MailServer::start("refuse").await;
    let url = format!("smtp://127.0.0.1:{}", server.port);
    let ran = Process::new(&by(&url)).run(&["mail-test", "ada@example.com"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.lines().count()), (Some(1), "", 1), "{ran:?}");
    assert!(ran.err.contains("550") && ran.err.contains("5.1.1 Nobody of that name lives here"), "{}", ran.err);
}

#[tokio::test]
async fn mail_test_says_at_once_when_the_url_and_the_port_do_not_match() {
    for (mode, scheme, to_write) in
        [("tls", "smtp", "smtps://"), ("starttls", "smtps", "smtp://"), ("plain", "smtps", "smtp://")]
    {
        let server = MailServer::start(mode).await;
        let url = format!("{scheme}://sam:canary@localhost:{}?tls=required", server.port);
        let process = Process::new(&by(&url));
        let began = Instant::now();
        let ran = process.run(&["mail-test", "ada@example.com"]);
        assert!(began.elapsed() < Duration::from_secs(5), "{mode}: {:?}", began.elapsed());
        assert_eq!((ran.code, ran.out.as_str(), ran.err.lines().count()), (Some(1), "", 1), "{ran:?}");
        let words = format!("write LATCHKEY_SMTP_URL={to_write}");
        assert!(ran.err.contains(&words) && ran.err.contains(&format!("localhost:{}", server.port)), "{mode}: {ran:?}");
        assert!(!ran.err.contains("canary"), "{ran:?}");
    }
}

#[tokio::test]
async fn an_email_for_a_port_that_does_not_match_waits_with_the_reason() {
    for (mode, scheme, to_write) in [("tls", "smtp", "smtps://"), ("starttls", "smtps", "smtp://")] {
        let server = MailServer::start(mode).await;
        let url = format!("{scheme}://localhost:{}", server.port);
        let process = Process::serving(&by(&url)).await;
        sign_up(&mut process.browser(), "sam", OTTER).await;
        let row = first_attempt(&process).await;
        let words = format!("write LATCHKEY_SMTP_URL={to_write}");
        assert!(row.state == LetterState::Waiting && row.last_error.as_ref().unwrap().contains(&words), "{row:?}");
        assert!(process.log().contains(&words), "{}", process.log());
    }
}

#[tokio::test]
async fn mail_test_says_that_the_server_takes_no_log_in() {
    let server = MailServer::start("no-auth").await;
    let url = format!("smtp://sam:canary@localhost:{}", server.port);
    let ran = Process::new(&by(&url)).run(&["mail-test", "ada@example.com"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.lines().count()), (Some(1), "", 1), "{ran:?}");
    for words in ["LATCHKEY_SMTP_URL", "offers no log-in that we know (PLAIN, LOGIN)", "take USER:PASSWORD@ out"] {
        assert!(ran.err.contains(words), "{words}: {ran:?}");
    }
    assert!(!ran.err.contains("canary") && server.received().is_empty(), "{ran:?}");
}

#[tokio::test]
async fn mail_test_says_within_30_seconds_that_no_server_answers() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for (port, why) in [(free_port(), "Connection refused"), (silent.local_addr().unwrap().port(), "too long")] {
        let url = format!("smtp://127.0.0.1:{port}");
        let process = Process::new(&by(&url));
        let mut child = process.command(&["mail-test", "ada@example.com"]).stderr(Stdio::piped()).spawn().unwrap();
        let ended = until("mail-test ends", async || child.try_wait().unwrap());
        let ended = timeout(Duration::from_secs(30), ended).await.ok();
        let _ = child.kill(); // an error means that it has ended already
        let said = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
        assert_eq!(ended.and_then(|status| status.code()), Some(1), "{why}: {said}");
        assert_eq!((said.lines().count(), said.matches(why).count()), (1, 1), "once: {said}");
    }
}

#[tokio::test]
async fn the_log_of_a_site_with_a_mail_server_holds_no_secret_either() {
    let server = MailServer::start_with(&["tempfail", "--times", "1"]).await;
    let (password, secret) = ("quiet-heron-1066", "canary-9vT2qLx7Rm4Kc8Wz1Nd6Hb3Fp5Gs0Jy");
    let url = format!("smtp://sam:{password}@127.0.0.1:{}", server.port);
    let [smtp, from] = by(&url);
    let all = [smtp, from, ("LATCHKEY_SECRET", secret), ("LATCHKEY_LOG", "trace"), ("LATCHKEY_LOG_FORMAT", "json")];
    let mut process = Process::serving(&all).await;
    let mut secrets = live(&process, async |count| server.letter(count + 1).await.link()).await;
    secrets.note(password);
    secrets.note(&STANDARD.encode(format!("\0sam\0{password}")));
    secrets.note(secret);
    secrets.note(server.letter(1).await.link().split_once("token=").unwrap().1);
    process.stop().await;
    for line in process.log().lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "not JSON: {line}");
    }
    secrets.assert_none_in(&process.log());
}

#[tokio::test]
async fn an_email_that_broke_off_in_the_middle_arrives_later_as_the_same_email() {
    let server = MailServer::start_with(&["drop", "--times", "1"]).await;
    let url = format!("smtp://127.0.0.1:{}", server.port);
    let process = Process::serving(&by(&url)).await;
    let mut sam = process.browser();
    sign_up(&mut sam, "sam", OTTER).await;
    let row = first_attempt(&process).await;
    assert_eq!((row.state, row.attempts), (LetterState::Waiting, 1), "{row:?}");
    let letter = server.letter(1).await;
    assert_eq!(letter.message().message_id(), Some(format!("{}@mail.acme.example", row.id).as_str()));
    assert_eq!(confirm(&mut sam, &letter.link()).await.path, "/profile");
    assert_eq!(server.received().len(), 1);
}

/// The recipient may have the letter, so its link must work. Nor may an operator's word be lost meanwhile.
#[tokio::test]
async fn a_letter_without_an_answer_after_its_end_keeps_its_link() {
    let server = MailServer::start_with(&["silent", "--times", "2"]).await;
    let url = format!("smtp://127.0.0.1:{}", server.port);
    let [smtp, from] = by(&url);
    let process = Process::serving(&[smtp, from, ("LATCHKEY_SIGNUP", "open")]).await;
    process.opened("sam", OTTER).await;
    process.opened("ada", OTTER).await;
    forget(&mut process.browser(), "sam@example.com").await;
    let first = server.letter(1).await;
    forget(&mut process.browser(), "ada@example.com").await;
    server.letter(2).await;
    let of_ada =
        || async { process.outbox().await.into_iter().find(|row| row.to_address.as_str() == "ada@example.com") };
    let ran = process.run(&["mail", "retry", &of_ada().await.unwrap().id.to_string()]);
    assert!(ran.code == Some(1) && ran.err.contains("is being sent right now"), "{ran:?}");
    let ran = process.run(&["mail", "drop", &of_ada().await.unwrap().id.to_string()]);
    assert!(ran.code == Some(0) && ran.out.contains("may go out once"), "{ran:?}");

    let row = first_attempt(&process).await;
    assert_eq!((row.state, row.attempts), (LetterState::Waiting, 1), "{row:?}");
    assert!(row.last_error.unwrap().contains("too long"));
    assert_eq!(process.browser().open(&first.link()).await.status, 200, "the link of the first one works");
    let is_over = async || process.log().contains("not sent, and dropped by the operator").then_some(());
    until("the attempt for Ada is over", is_over).await;
    let dropped = of_ada().await.unwrap();
    assert_eq!((dropped.state, dropped.attempts), (LetterState::Dropped, 1), "{dropped:?}");
}

#[tokio::test]
async fn a_mail_server_that_sends_a_byte_a_second_is_given_up_within_the_lease() {
    let slow = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("smtp://{}", slow.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in slow.incoming().flatten() {
            std::thread::spawn(move || {
                let one_by_one = |byte: &u8| {
                    std::thread::sleep(Duration::from_secs(1));
                    (&stream).write_all(&[*byte])
                };
                // The client has closed the connection when this fails.
                let _ = b"220 localhost at your service, in a moment\r\n".iter().try_for_each(one_by_one);
            });
        }
    });
    let process = Process::serving(&by(&url)).await;
    sign_up(&mut process.browser(), "sam", OTTER).await;
    let began = Instant::now();
    let row = first_attempt(&process).await;
    assert!(began.elapsed() < Duration::from_secs(28), "{:?}", began.elapsed());
    assert!(row.state == LetterState::Waiting && row.last_error.as_ref().unwrap().contains("too long"), "{row:?}");
}

/// The server has taken the letter, and the row does not say so yet. The letter goes out once more, as the same email.
#[tokio::test]
async fn a_kill_between_the_servers_answer_and_our_record_sends_the_same_email_once_more() {
    let server = MailServer::start_with(&["plain", "--pause", "0.5"]).await;
    let url = format!("smtp://127.0.0.1:{}", server.port);
    let mut process = Process::serving(&by(&url)).await;
    let mut sam = process.browser();
    sign_up(&mut sam, "sam", OTTER).await;
    let first = server.letter(1).await;
    let db = process.db().await;
    let writer = db.begin().await.unwrap(); // now the postman cannot record anything
    if crate::database::on_postgres() {
        writer.execute_unprepared("LOCK TABLE outbox IN SHARE MODE").await.unwrap();
    }
    until("the server has answered", async || server.said().iter().any(|fact| fact["answered"] == true).then_some(()))
        .await;
    process.kill();
    writer.rollback().await.unwrap();
    let row = process.outbox().await.remove(0);
    assert_eq!((row.state, row.attempts), (LetterState::Waiting, 1), "the attempt was recorded before it began");

    process.start().await;
    let second = server.letter(2).await;
    assert_eq!(second.message().message_id(), first.message().message_id());
    let done = async || process.outbox().await.pop().filter(|row| row.state == LetterState::Sent);
    let row = until("the letter is sent", done).await;
    assert_eq!((row.attempts, server.received().len()), (2, 2));
    // The browser that began the sign-up confirms by either of the two.
    assert_eq!(confirm(&mut sam, &first.link()).await.path, "/profile");
}

#[tokio::test]
async fn the_words_of_a_mail_server_do_not_steer_a_terminal() {
    let server = MailServer::start("hostile").await;
    let url = format!("smtp://127.0.0.1:{}", server.port);
    let process = Process::serving(&by(&url)).await;
    sign_up(&mut process.browser(), "sam", OTTER).await;
    let failed = async || process.outbox().await.pop().filter(|row| row.state == LetterState::Failed);
    until("the email is given up", failed).await;
    for arguments in
        [&["mail", "list"][..], &["mail-test", "sam@example.com"], &["doctor", "--mail-to", "sam@example.com"]]
    {
        let ran = process.run(arguments);
        let said = format!("{}{}", ran.out, ran.err);
        assert!(said.contains("all is well") && !said.contains(['\u{1b}', '\u{7}']), "{arguments:?}: {said:?}");
    }
    assert!(!process.log().contains('\u{1b}'));
}
