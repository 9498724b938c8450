//! `latchkey doctor`: each line is seen against a real thing that is broken.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latchkey::accounts::outbox::LetterState;
use latchkey::clock::Clock;
use latchkey::keys::{Keys, Pointer, Use};
use reqwest::header::HeaderMap;
use sea_orm::{ConnectionTrait, Statement};
use serde_json::Value;
use time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::OTTER;
use crate::cluster::Cluster;
use crate::process::{Process, free_port, sign_up, until};
use crate::smtp::{MailServer, by, make_certificate};

const SECRET: &str = "canary-9vT2qLx7Rm4Kc8Wz1Nd6Hb3Fp5Gs0Jy";
const ANOTHER: &str = "canary-Qp3Xv8Lz5Tn1Rk7Bd2Mw6Hc9Gf4Js0Ya";

/// The findings of the doctor.
#[derive(Debug)]
struct Found(Vec<(String, String, String)>);

impl Found {
    /// Runs the doctor with these arguments. Its code must fit its findings.
    fn by(process: &Process, arguments: &[&str]) -> Self {
        let ran = process.run(&[&["doctor", "--json"], arguments].concat());
        let all: Vec<Value> = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"));
        let text = |one: &Value, name: &str| one[name].as_str().unwrap().to_owned();
        let all = all.iter().map(|one| (text(one, "state"), text(one, "check"), text(one, "says")));
        let found = Self(all.collect());
        let failed = found.0.iter().filter(|(state, ..)| state == "fail").count();
        assert_eq!(ran.code, Some(if failed == 0 { 0 } else { 1 }), "{found:#?}");
        assert_eq!(ran.err.contains(" failed"), failed > 0, "{ran:?}");
        assert!(!ran.out.contains("canary") && !ran.err.contains("canary"), "{ran:?}");
        found
    }

    /// Asserts that a check ended like this, with these words.
    #[track_caller]
    fn has(&self, state: &str, check: &str, words: &str) -> &Self {
        let is_it = |(a, b, c): &&(String, String, String)| a == state && b == check && c.contains(words);
        assert!(self.0.iter().any(|one| is_it(&one)), "no {state} {check} {words:?} in {self:#?}");
        self
    }

    /// Asserts that these checks are all well.
    #[track_caller]
    fn ok(&self, checks: &[&str]) -> &Self {
        for check in checks {
            let states: Vec<_> = self.0.iter().filter(|one| one.1 == *check).map(|one| one.0.as_str()).collect();
            assert!(!states.is_empty() && states.iter().all(|state| *state == "ok"), "{check}: {self:#?}");
        }
        self
    }
}

#[tokio::test]
async fn a_healthy_installation_is_told_in_lines_and_as_json() {
    let process = Process::serving(&[]).await;
    process.user("sam", OTTER).await;
    let ran = process.run(&["doctor"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    for line in ran.out.lines() {
        assert!(["ok    ", "warn  "].iter().any(|word| line.starts_with(word)), "{line}");
    }
    assert!(!ran.out.contains('\u{1b}'), "no colour where there is no terminal");
    let found = Found::by(&process, &[]);
    found.ok(&["files", "secret", "database", "clock", "outbox", "server", "dns", "site", "proxy", "forgery"]);
    found.has("warn", "settings", "only this machine").has("warn", "mail", "no mail server");
    found.has("ok", "database", "tables up to date; a read takes");
    assert_eq!(process.outbox().await.len(), 1, "and it has sent nothing");
    assert!(!process.log().contains("TRUSTED_PROXIES"), "its forged header is no proxy's: {}", process.log());
}

#[tokio::test]
async fn the_age_of_the_backups_is_told() {
    let mut process = Process::on_sqlite(&[("LATCHKEY_BACKUP_DIR", "backups")]);
    process.start().await;
    until("the first backup is made", async || {
        let names = fs::read_dir(process.path("backups")).ok()?.map(|file| file.unwrap().file_name());
        names.into_iter().any(|name| name.to_string_lossy().ends_with("Z.db")).then_some(())
    })
    .await;
    Found::by(&process, &[]).ok(&["backup"]);
    process.stop().await;
    let made = fs::read_dir(process.path("backups")).unwrap().next().unwrap().unwrap().path();
    fs::rename(&made, process.path("backups/latchkey-20260101T000000Z.db")).unwrap();
    Found::by(&process, &[]).has("warn", "backup", "h old; look for");
    // One that was made while the clock was ahead would put off the next one until then.
    let ahead = process.path("backups/latchkey-20990101T000000Z.db");
    fs::rename(process.path("backups/latchkey-20260101T000000Z.db"), &ahead).unwrap();
    Found::by(&process, &[]).has("warn", "backup", "there is none in");
}

#[tokio::test]
async fn what_is_wrong_on_the_machine_is_said_with_what_to_do() {
    let process = Process::on_sqlite(&[]);
    let found = Found::by(&process, &[]);
    found.has("fail", "files", "there is no data folder").has("fail", "secret", "there is no secret");
    found.has("fail", "database", "there is no database").has("warn", "server", "start it");
    assert_eq!(fs::read_dir(process.dir.path()).unwrap().count(), 0, "the doctor makes nothing");

    let mut process = Process::on_sqlite(&[]);
    process.start().await;
    process.stop().await;
    let found = Found::by(&process, &[]);
    found.ok(&["files", "secret", "database"]).has("warn", "server", "refused").has("fail", "site", "refused");
    let set = |path: &str, mode| fs::set_permissions(process.path(path), fs::Permissions::from_mode(mode)).unwrap();
    set("data/secret", 0o644);
    set("data/latchkey.db", 0o644);
    set("data", 0o755);
    let found = Found::by(&process, &[]);
    found.has("fail", "secret", "chmod 600").has("warn", "files", "chmod 600").has(
        "fail",
        "site",
        "without the secret",
    );
    set("data", 0o777);
    Found::by(&process, &[]).has("fail", "files", "chmod go-w");
    set("data", 0o700);

    let settings = [("LATCHKEY_PUBLIC_URL", "https://accounts.example.com")];
    let found = Found::by(&Process::new(&settings), &[]);
    found.has("fail", "settings", "LATCHKEY_SMTP_URL must be given");
    let open = [
        ("LATCHKEY_RATE_LIMITS", "off"),
        ("LATCHKEY_METRICS_LISTEN", "0.0.0.0:1"),
        ("LATCHKEY_DATABASE_URL", "postgres://sam:canary@db.invalid/x"),
        ("LATCHKEY_DATABASE_TLS", "unverified"),
        ("LATCHKEY_SECRET", SECRET),
    ];
    let found = Found::by(&Process::new(&open), &[]);
    for words in ["RATE_LIMITS is off", "METRICS_LISTEN is no loopback", "DATABASE_TLS is unverified"] {
        found.has("warn", "settings", words);
    }
    found.has("fail", "database", "cannot be found");
    let lan = [("LATCHKEY_INSECURE_LAN", "on"), ("LATCHKEY_PUBLIC_URL", "http://nowhere.test:9")];
    let [smtp, from] = by("smtp://127.0.0.1:1");
    let found = Found::by(&Process::new(&[lan[0], lan[1], smtp, from]), &[]);
    found.has("warn", "settings", "INSECURE_LAN is on").has("fail", "dns", "not found").has("fail", "mail", "refused");
    let ran = Process::new(&[]).run(&["doctor", "--mail-to", "nobody"]);
    assert!(ran.code == Some(1) && ran.err.contains("--mail-to: nobody is not an email address"), "{ran:?}");
}

#[tokio::test]
async fn a_database_with_rows_from_the_future_or_letters_that_failed_is_no_good_sign() {
    let server = MailServer::start("refuse").await;
    let url = format!("smtp://127.0.0.1:{}", server.port);
    let process = Process::serving(&by(&url)).await;
    sign_up(&mut process.browser(), "sam", OTTER).await;
    until("the email has failed", async || {
        process.outbox().await.iter().any(|row| row.state == LetterState::Failed).then_some(())
    })
    .await;
    let found = Found::by(&process, &[]);
    found.has("warn", "outbox", "0 waiting, 1 failed").has("warn", "mail", "bounces are lost: ");
    let found = Found::by(&process, &["--mail-to", "ada@example.com"]);
    found.has("fail", "mail", "5.1.1 Nobody of that name lives here");

    let db = process.db().await;
    let run = async |sql: &str| {
        let backend = db.write().get_database_backend();
        assert!(
            db.write().execute_raw(Statement::from_string(backend, sql)).await.unwrap().rows_affected() > 0,
            "{sql}"
        );
    };
    let mut guess = process.browser();
    guess.log_in("sam", OTTER).await;
    run("UPDATE events SET at = '2099-01-01T00:00:00Z'").await;
    run("UPDATE outbox SET state = 'waiting', created_at = '2020-01-01T00:00:00Z', next_attempt_at = '2099-01-01T00:00:00Z'")
        .await;
    let found = Found::by(&process, &[]);
    found.has("fail", "clock", "in the future").has("warn", "outbox", "the oldest has waited for");
}

#[tokio::test]
async fn postgres_is_named_with_its_version_and_its_clock() {
    let cluster = Cluster::start().await;
    let process = Process::new(&[("LATCHKEY_DATABASE_URL", &cluster.url), ("LATCHKEY_SECRET", SECRET)]);
    Found::by(&process, &[]).has("fail", "database", "tables of this version");
    assert_eq!(process.run(&["migrate"]).code, Some(0));
    Found::by(&process, &[]).has("ok", "database", "PostgreSQL ").has("ok", "clock", "as PostgreSQL's");
    let url = cluster.url.replace("latchkey@", "sam:canary@");
    let process = Process::new(&[("LATCHKEY_DATABASE_URL", &url), ("LATCHKEY_SECRET", SECRET)]);
    Found::by(&process, &[]).has("fail", "database", "the password of sam is wrong");
}

#[tokio::test]
async fn the_mail_server_is_asked_and_gets_no_email_unless_it_is_wanted() {
    for (mode, scheme) in [("plain", "smtp"), ("tls", "smtps"), ("starttls", "smtp")] {
        let server = MailServer::start(mode).await;
        let tls = if mode == "starttls" { "?tls=required" } else { "" };
        let url = format!("{scheme}://sam:p%40canary@localhost:{}{tls}", server.port);
        let [smtp, from] = by(&url);
        let authority = server.authority();
        let process = Process::new(&[smtp, from, ("SSL_CERT_FILE", authority.to_str().unwrap())]);
        Found::by(&process, &[]).has("ok", "mail", "takes emails from no-reply@mail.acme.example");
        assert!(server.received().is_empty(), "{mode}");
        let found = Found::by(&process, &["--mail-to", "ada@example.com"]);
        found.has("ok", "mail", "takes emails from").has("ok", "mail", "on its way: 250 2.0.0 Taken");
        assert_eq!(server.letter(1).await.tls, mode != "plain");
        assert_eq!(server.received().len(), 1);
        let wrong = format!("{scheme}://sam:wrong@localhost:{}{tls}", server.port);
        let process = Process::new(&[by(&wrong)[0], from, ("SSL_CERT_FILE", authority.to_str().unwrap())]);
        Found::by(&process, &["--mail-to", "ada@example.com"]).has("fail", "mail", "535");
        assert_eq!(server.received().len(), 1);
    }
    for (mode, url, words) in [
        ("no-auth", "smtp://sam:canary@localhost", "offers no log-in that we know"),
        ("tls", "smtp://localhost", "write LATCHKEY_SMTP_URL=smtps://"),
        ("tls", "smtps://localhost", "UnknownIssuer"),
        ("plain", "smtps://localhost", "write LATCHKEY_SMTP_URL=smtp://"),
    ] {
        let server = MailServer::start(mode).await;
        let url = format!("{url}:{}", server.port);
        Found::by(&Process::new(&by(&url)), &[]).has("fail", "mail", words);
    }
}

/// Makes a certificate that expires at once.
fn make_expired(dir: &Path) {
    make_certificate(dir);
    for step in [
        "req -config empty.cnf -new -key server.key -subj /CN=localhost -addext subjectAltName=DNS:localhost -out server.csr",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -days 0 -copy_extensions copy -out server.pem",
    ] {
        let made = Command::new("openssl").args(step.split(' ')).current_dir(dir).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_and_the_redirect_are_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    make_certificate(dir.path());
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (port, plain) = (free_port(), free_port());
    let redirect = format!("127.0.0.1:{plain}");
    let site = [
        ("LATCHKEY_LISTEN", format!("127.0.0.1:{port}")),
        ("LATCHKEY_PUBLIC_URL", format!("https://localhost:{port}")),
        ("LATCHKEY_TLS_CERT", file("server.pem")),
        ("LATCHKEY_TLS_KEY", file("server.key")),
        ("LATCHKEY_REDIRECT_LISTEN", redirect),
        ("SSL_CERT_FILE", file("ca.pem")),
    ];
    let site: Vec<_> = site.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut process = Process::on_sqlite(&site);
    process.start().await;
    let at = |port: u16| ["--http-port".to_owned(), port.to_string()];
    let found = |process: &Process, port| Found::by(process, &at(port).each_ref().map(String::as_str));
    let good = found(&process, plain);
    good.ok(&["server", "site", "proxy", "forgery", "redirect"]).has("warn", "tls", "; it should have been renewed");
    assert_eq!(process.run(&["healthcheck"]).out, "alive\n");
    found(&process, free_port()).has("warn", "redirect", "refused");
    let other = Process::serving(&[]).await;
    let other = other.url.rsplit(':').next().unwrap().parse().unwrap();
    found(&process, other).has("fail", "redirect", "answers 200 OK with no redirect");
    let elsewhere = proxy(port, |_| Some("HTTP/1.1 308 Go\r\nLocation: https://evil.example/\r\n\r\n".into())).await;
    found(&process, elsewhere).has("fail", "redirect", "a redirect to https://evil.example/");

    process.stop().await;
    make_expired(dir.path());
    process.start().await;
    // The certificate was valid until the second in which it was made.
    until("it has expired", async || {
        let red = found(&process, plain);
        red.0
            .iter()
            .any(|(state, check, says)| {
                (state.as_str(), check.as_str()) == ("fail", "site") && says.contains("the certificate expired on")
            })
            .then_some(())
    })
    .await;
    process.stop().await;
    make_certificate(dir.path());
    process.start().await;
    let unknown: Vec<_> = site.iter().filter(|(name, _)| *name != "SSL_CERT_FILE").copied().collect();
    let doctor =
        Process::on_sqlite(&[&unknown[..], &[("LATCHKEY_DATA_DIR", process.path("data").to_str().unwrap())]].concat());
    found(&doctor, plain).has("fail", "site", "fullchain.pem");
    let far = format!("https://127.0.0.1:{port}");
    let named: Vec<_> = site
        .iter()
        .map(|(name, value)| if *name == "LATCHKEY_PUBLIC_URL" { (*name, far.as_str()) } else { (*name, *value) })
        .collect();
    let doctor =
        Process::on_sqlite(&[&named[..], &[("LATCHKEY_DATA_DIR", process.path("data").to_str().unwrap())]].concat());
    found(&doctor, plain).has("fail", "site", "for other names (localhost)");
}

/// Starts a proxy in front of a port, which passes the head that `rewrite` makes of the client's, or an answer of its own
/// instead if that begins with `HTTP/`. Returns its port.
async fn proxy(server: u16, rewrite: fn(&str) -> Option<String>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = client.read_u8().await else { break };
                head.push(byte);
            }
            let head = rewrite(&String::from_utf8(head).unwrap()).unwrap_or_default();
            if head.starts_with("HTTP/") {
                let _ = client.write_all(head.as_bytes()).await; // the client's next step shows a failure
                continue;
            }
            let mut server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
            server.write_all(head.as_bytes()).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
        }
    });
    own
}

/// Returns the head with `X-Forwarded-For` as the proxy sets it.
fn set(head: &str, address: &str) -> String {
    let kept: Vec<_> = head.split_inclusive("\r\n").filter(|line| !line.starts_with("x-forwarded-for")).collect();
    kept.concat().replacen("\r\n\r\n", &format!("\r\nx-forwarded-for: {address}\r\n\r\n"), 1)
}

/// Returns the head with an address added at the end of `X-Forwarded-For`.
fn added(head: &str, address: &str) -> String {
    match head.contains("x-forwarded-for") {
        true => head.replacen("203.0.113.77", &format!("203.0.113.77, {address}"), 1),
        false => set(head, address),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_proxy_does_wrong_is_said() {
    let through = async |networks: &str, rewrite| {
        let port = free_port();
        let url = format!("http://localhost:{}", proxy(port, rewrite).await);
        let listen = format!("127.0.0.1:{port}");
        let settings =
            [("LATCHKEY_LISTEN", &*listen), ("LATCHKEY_PUBLIC_URL", &*url), ("LATCHKEY_TRUSTED_PROXIES", networks)];
        Found::by(&Process::serving(&settings).await, &[])
    };
    let own = "127.0.0.1";
    through(own, |head| Some(set(head, "192.0.2.9"))).await.ok(&["site", "proxy", "forgery"]);
    through(own, |head| Some(added(head, "192.0.2.9"))).await.ok(&["site", "proxy", "forgery"]);
    let passes = through(own, |head| Some(head.to_owned())).await;
    passes.has("fail", "proxy", "sends no X-Forwarded-For").has(
        "fail",
        "forgery",
        "passes X-Forwarded-For on as it comes",
    );
    through("", |head| Some(set(head, "192.0.2.9"))).await.has(
        "fail",
        "proxy",
        "add 127.0.0.1 to LATCHKEY_TRUSTED_PROXIES",
    );
    through("127.0.0.1,10.0.0.0/8", |head| Some(added(head, "10.1.2.3"))).await.has(
        "fail",
        "forgery",
        "LATCHKEY_TRUSTED_PROXIES is too wide",
    );
    through(own, |head| Some(added(head, "127.0.0.1"))).await.has("warn", "forgery", "cannot be told from here");
    let renamed = through(own, |head| Some(set(&head.replacen("localhost", "inside.example", 1), "192.0.2.9"))).await;
    renamed.has("fail", "host", "let it pass Host on");
    let bad = |_: &str| Some("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n".into());
    through(own, bad).await.has("fail", "site", "answers 502");
}

#[tokio::test]
async fn another_installation_is_told_from_this_one() {
    let process = Process::serving(&[("LATCHKEY_SECRET", SECRET)]).await;
    let doctor = |secret| {
        let data = process.path("data");
        let settings = [
            ("LATCHKEY_PUBLIC_URL", process.url.as_str()),
            ("LATCHKEY_DATA_DIR", data.to_str().unwrap()),
            ("LATCHKEY_SECRET", secret),
        ];
        Found::by(&Process::new(&settings), &[])
    };
    doctor(SECRET).ok(&["site"]);
    doctor(ANOTHER).has("fail", "site", "does not know this secret");
    doctor(&format!("{ANOTHER},{SECRET}")).has("fail", "site", "not restarted after a change of the secret");
}

#[tokio::test]
async fn a_stranger_is_told_nothing() {
    let process = Process::serving(&[("LATCHKEY_SECRET", SECRET)]).await;
    let ask = async |token: &str| {
        let answer = reqwest::Client::new().get(format!("{}/healthz", process.url));
        let answer = answer.header("x-latchkey-doctor", token).send().await.unwrap();
        (answer.headers().clone(), answer.text().await.unwrap())
    };
    let now = Clock::default().now();
    let mint = |secret: &str, purpose, site: &str, age: Duration| {
        let keys = Keys::new(&secret.parse().unwrap(), purpose, site);
        keys.mint(Pointer::NOTHING, now - age, now - age + Duration::minutes(1)).unwrap()
    };
    let (site, young) = (process.url.as_str(), Duration::ZERO);
    let good = mint(SECRET, Use::DOCTOR, site, young);
    let (_, body) = ask(&good).await;
    assert!(body.contains("\"client\":\"127.0.0.1\""), "{body}");
    let (head, signature) = good.rsplit_once('.').unwrap();
    let mut flipped = URL_SAFE_NO_PAD.decode(signature).unwrap();
    flipped[0] ^= 1;
    let plain = |headers: &HeaderMap| {
        let names: Vec<_> = headers.iter().filter(|(name, _)| *name != "x-request-id" && *name != "date").collect();
        format!("{names:?}")
    };
    let (headers, _) = ask("").await;
    for token in [
        "",
        "x",
        &format!("{head}.{}", URL_SAFE_NO_PAD.encode(flipped)),
        &mint(ANOTHER, Use::DOCTOR, site, young),
        &mint(SECRET, Use::DOCTOR, "https://other.example", young),
        &mint(SECRET, Use::SESSION_COOKIE, site, young),
        &mint(SECRET, Use::DOCTOR, site, Duration::minutes(2)),
        &mint(SECRET, Use::DOCTOR, site, Duration::minutes(-2)),
    ] {
        let (theirs, body) = ask(token).await;
        assert_eq!((body.as_str(), plain(&theirs)), ("alive\n", plain(&headers)), "{token}");
    }
    let mut sam = process.browser();
    sam.cookies.insert("latchkey_session".to_owned(), good);
    assert!(!sam.is_logged_in().await, "and it is no cookie");
}
