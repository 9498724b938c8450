//! Forward-auth with real proxies and several nodes.

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use latchkey::accounts::{operator, user};
use reqwest::{Client, redirect};
use rustix::process::getuid;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::app::TestApp;
use crate::authorize::{Wiki, parameters};
use crate::browser::Browser;
use crate::changes::at_server;
use crate::cluster::{Cluster, SECRET};
use crate::forward::{DOMAIN, SITE, WIKI, ask, browser, remote, signed_up};
use crate::process::{Process, free_port, until};
use crate::smtp::make_certificate;
use crate::visitor::{DESK, Script, Visitor};
use crate::{HERON, OTTER};

/// Starts two nodes with an app that stands behind a proxy.
async fn two_nodes(cluster: &Cluster) -> [TestApp; 2] {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let flags = ["--database-url", &*cluster.url, "--secret", SECRET, "--rate-limits=off", "--public-url", SITE];
    let flags = [&flags[..], &["--gate-domain", DOMAIN, "--trusted-proxies", "127.0.0.1"]].concat();
    let nodes = [TestApp::start_in(folder.clone(), &flags).await, TestApp::start_in(folder, &flags).await];
    Wiki::register(&nodes[0], |new| (new.redirect_uris, new.hosts) = (vec![], vec![WIKI.parse().unwrap()])).await;
    nodes
}

#[tokio::test]
async fn a_session_that_ended_at_one_node_is_refused_at_the_other_once_that_is_answered() {
    let cluster = Cluster::start().await;
    let [here, other] = two_nodes(&cluster).await;
    signed_up(&here, "sam").await;
    for way in ["log-out", "password", "disabled"] {
        let mut sam = browser(&here);
        let password = if way == "disabled" { HERON } else { OTTER };
        assert_eq!(sam.log_in("sam", password).await.path, "/profile", "{way}");
        let (before, there) = (sam.clone(), at_server(&sam, &other));
        // The other node has the session in memory.
        until("it is in memory", async || {
            assert_eq!(remote(&ask(&there, WIKI, "/", &[]).await)[0], "sam");
            let pointer = other.app.forward_keys.verify(&sam.cookies["latchkey_gate"], other.app.now()).unwrap();
            other.app.db.changes().mark(pointer.user).map(|_| ())
        })
        .await;
        match way {
            "log-out" => {
                sam.log_out().await;
            }
            "password" => {
                let form = sam.open("/profile/password").await.form("/profile/password");
                sam.submit(form.fill("current_password", OTTER).fill("new_password", HERON)).await;
            }
            _ => {
                let row = user::by_login(here.app.db.read(), "sam").await.unwrap().unwrap();
                operator::disable(&here.app.db, &row, here.app.now()).await.unwrap();
            }
        }
        for node in [&before, &there] {
            assert_eq!(ask(node, WIKI, "/", &[]).await.status, 401, "{way}");
        }
    }
}

/// An app that answers with the request that it got, and speaks back over a WebSocket.
async fn echo(listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let (head, mut body) = read_head(&mut stream).await;
            let lower = head.to_lowercase();
            if lower.contains("\r\nupgrade: websocket") {
                let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
                // The answer to the key below, as in RFC 6455, 1.3.
                let accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
                stream.write_all(format!("{answer}{accept}").as_bytes()).await.unwrap();
                let mut said = [0; 64];
                while let Ok(size @ 1..) = stream.read(&mut said).await {
                    if stream.write_all(&said[..size]).await.is_err() {
                        return;
                    }
                }
                return;
            }
            let length = lower
                .split("\r\ncontent-length: ")
                .nth(1)
                .map_or(0, |rest| rest.split("\r\n").next().unwrap().parse().unwrap());
            while body.len() < length {
                let mut more = [0; 1024];
                let size = stream.read(&mut more).await.unwrap();
                body.extend_from_slice(&more[..size]);
            }
            let content = [head.as_bytes(), b"\r\n\r\n", &body].concat();
            let size = content.len();
            let kind = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length:";
            let content = if head.starts_with("HEAD ") { vec![] } else { content };
            let _ = stream.write_all(&[format!("{kind} {size}\r\n\r\n").as_bytes(), &content].concat()).await;
        });
    }
}

/// Reads to the end of a head. Returns it, and what came of the body.
async fn read_head(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut read = vec![];
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            return (String::from_utf8_lossy(&read[..end]).into_owned(), read[end + 4..].to_vec());
        }
        let mut more = [0; 1024];
        let size = stream.read(&mut more).await.unwrap_or(0);
        if size == 0 {
            return (String::from_utf8_lossy(&read).into_owned(), vec![]);
        }
        read.extend_from_slice(&more[..size]);
    }
}

/// A proxy of which `latchkey app proxy` prints a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proxy {
    Nginx,
    Caddy,
    Haproxy,
    Envoy,
}

/// Returns the program of Envoy, which Debian has not.
fn envoy() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
    Path::new(env!("CARGO_MANIFEST_DIR")).join(target).join("tools/envoy/bin/envoy")
}

impl Proxy {
    /// Returns the command that runs the proxy, or that looks at its configuration only.
    fn command(self, dir: &Path, printed: &str, check: bool) -> Command {
        let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        let certificates = printed.replace("/etc/letsencrypt/live/wiki.example.com/fullchain.pem", &path("server.pem"));
        let text = certificates.replace("/etc/letsencrypt/live/wiki.example.com/privkey.pem", &path("server.key"));
        let write = |name: &str, text: &str| fs::write(dir.join(name), text).unwrap();
        match self {
            Self::Nginx => {
                let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
                let own: String = kinds.iter().map(|kind| format!("{kind}_temp_path {};\n", path(kind))).collect();
                let user = if getuid().is_root() { "user root;\n" } else { "" };
                let once = format!("{user}daemon off;\nmaster_process off;\npid {};\nevents {{}}\n", path("pid"));
                write("proxy.conf", &format!("{once}http {{\naccess_log off;\n{own}{text}}}\n"));
                let mut command = Command::new("nginx");
                command.arg("-e").arg(dir.join("log")).arg("-p").arg(dir).arg("-c").arg(dir.join("proxy.conf"));
                command.args(check.then_some("-t"));
                command
            }
            Self::Caddy => {
                // An example has options of its own.
                let own = if text.contains("\tadmin off\n") { "" } else { "{\n\tadmin off\n\tskip_install_trust\n}\n" };
                write("Caddyfile", &format!("{own}{text}"));
                let mut command = Command::new("caddy");
                command.arg(if check { "validate" } else { "run" }).arg("--config").arg(dir.join("Caddyfile"));
                command.env("HOME", dir).env("XDG_DATA_HOME", dir).env("XDG_CONFIG_HOME", dir);
                command
            }
            Self::Haproxy => {
                let lua = text.find("-- ----").unwrap();
                write("latchkey.lua", &text[lua..]);
                let both = ["server.pem", "server.key"].map(|name| fs::read_to_string(dir.join(name)).unwrap());
                write("both.pem", &both.concat());
                let text = text[..lua].replace("/etc/haproxy/latchkey.lua", &path("latchkey.lua"));
                write("proxy.conf", &text.replace("/etc/haproxy/wiki.example.com.pem", &path("both.pem")));
                let mut command = Command::new("haproxy");
                command.arg("-db").args(check.then_some("-c")).arg("-f").arg(dir.join("proxy.conf"));
                command
            }
            Self::Envoy => {
                write("proxy.yaml", &text);
                let mut command = Command::new(envoy());
                command.args(["--concurrency", "1", "--use-dynamic-base-id"]);
                command
                    .args(if check { &["--mode", "validate"][..] } else { &[] })
                    .arg("-c")
                    .arg(dir.join("proxy.yaml"));
                command
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Caddy => "caddy",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
        }
    }
}

/// A site, an app, and a proxy before the app with the configuration that `latchkey app proxy` prints.
struct Behind {
    dir: TempDir,
    process: Process,
    proxy: Child,
    /// Where the app stands, without the port.
    name: String,
    port: u16,
}

impl Drop for Behind {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
    }
}

/// What a proxy has answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    /// Returns the values of a header.
    fn header(&self, name: &str) -> Vec<String> {
        headers(&self.head)
            .into_iter()
            .filter(|(sent, _)| sent.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    /// Returns the headers that the app has seen.
    fn seen(&self) -> Vec<(String, String)> {
        assert_eq!(self.status, 200, "{self:?}");
        headers(&self.body)
    }
}

fn headers(head: &str) -> Vec<(String, String)> {
    let lines = head.split("\r\n\r\n").next().unwrap().split("\r\n").skip(1);
    lines.filter_map(|line| line.split_once(": ").or(line.split_once(':'))).map(|(a, b)| (a.into(), b.into())).collect()
}

impl Behind {
    async fn start(kind: Proxy) -> Self {
        Self::start_with(kind, |printed| printed).await
    }

    /// As [`Behind::start`], with another configuration.
    async fn start_with(kind: Proxy, change: impl FnOnce(String) -> String) -> Self {
        Self::start_as("Wiki", kind, change).await
    }

    /// As [`Behind::start_with`], with another app.
    async fn start_as(app: &str, kind: Proxy, change: impl FnOnce(String) -> String) -> Self {
        crate::needs("a proxy");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(echo(listener));
        let (site, port) = (free_port(), free_port());
        let process = Process::serving(&[
            ("LATCHKEY_LISTEN", &format!("127.0.0.1:{site}")),
            ("LATCHKEY_PUBLIC_URL", &format!("http://accounts.{DOMAIN}:{site}")),
            ("LATCHKEY_GATE_DOMAIN", DOMAIN),
            ("LATCHKEY_TRUSTED_PROXIES", "127.0.0.1"),
            ("LATCHKEY_SIGNUP", "open"),
        ])
        .await;
        let name = format!("{}.{DOMAIN}", app.to_lowercase());
        process.done(&["app", "add", app, "--host", &format!("{name}:{port}")]);
        let printed = process.done(&["app", "proxy", app, "--for", kind.name(), "--upstream", &upstream]);
        let printed = change(printed);
        let dir = tempfile::tempdir().unwrap();
        make_certificate(dir.path());
        let mut command = kind.command(dir.path(), &printed, false);
        let log = File::options().create(true).append(true).open(dir.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let proxy = command.spawn().unwrap();
        let mut behind = Self { dir, process, proxy, name, port };
        until("the proxy answers", async || {
            let log = || fs::read_to_string(behind.dir.path().join("log")).unwrap();
            assert!(behind.proxy.try_wait().unwrap().is_none(), "it ended: {}\n{printed}", log());
            TcpStream::connect(("127.0.0.1", port)).await.ok()
        })
        .await;
        behind
    }

    fn host(&self) -> String {
        format!("{}:{}", self.name, self.port)
    }

    /// Sends a request through the proxy.
    async fn send(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = self.connect(line, headers, body).await;
        let mut all = vec![];
        // Some proxies end the connection without a word when they have refused a request.
        let _ = timeout(Duration::from_secs(20), stream.read_to_end(&mut all)).await.expect("an answer");
        let all = String::from_utf8_lossy(&all).into_owned();
        let (head, body) = all.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{line}: {all:?}"));
        Answer { status: head[9..12].parse().unwrap(), head: head.to_owned(), body: body.to_owned() }
    }

    async fn connect(&self, line: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
        let mut text = format!("{line} HTTP/1.1\r\n");
        let has = |wanted: &str| headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
        if !has("host") {
            text += &format!("Host: {}\r\n", self.host());
        }
        if !has("connection") {
            text += "Connection: close\r\n";
        }
        headers.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
        if !body.is_empty() {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.write_all(format!("{text}\r\n{body}").as_bytes()).await.unwrap();
        stream
    }

    fn browser(&self) -> Browser {
        let site = self.process.url.strip_prefix("http://").unwrap();
        let (name, port) = site.split_once(':').unwrap();
        let at: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
        let client = Client::builder().redirect(redirect::Policy::none()).resolve(name, at).build().unwrap();
        Browser::over(client, &self.process.url)
    }
}

const NAVIGATES: (&str, &str) = ("Sec-Fetch-Mode", "navigate");
/// What clients may write that an app could take for what Latchkey says.
const SPOOFED: [&str; 16] = [
    "Remote-User",
    "remote-user",
    "REMOTE-USER",
    "ReMoTe-uSeR",
    "Remote_User",
    "REMOTE_USER",
    "remote_user",
    "Remote-Id",
    "Remote_Id",
    "REMOTE-EMAIL",
    "remote_email",
    "Remote-Name",
    "Remote_Name",
    "Remote-Groups",
    "remote-groups",
    "Remote_Groups",
];

async fn works(kind: Proxy) {
    let mut behind = Behind::start(kind).await;
    let (mut sam, host) = (behind.browser(), behind.host());
    let form = sam.open("/signup").await.form("/signup").fill("email", "sam@example.com").fill("username", "sam");
    let page = sam.submit(form.fill("full_name", "Sam 史密斯").fill("password", OTTER)).await;
    assert_eq!(page.path, "/profile", "{}", page.html);
    let gate = format!("latchkey_gate={}", sam.cookies["latchkey_gate"]);

    // A guest, who writes what Latchkey would.
    let uri = "/a/%2e%2E//%e8%b5%84?q=a+b%20c&x=(!*)&y=%2B&next=https://wiki.example/&%25";
    let mut spoofed: Vec<_> = SPOOFED.iter().map(|name| (*name, "eve")).collect();
    spoofed.extend([
        ("X-Forwarded-Uri", "/evil"),
        ("X-Forwarded-Method", "DELETE"),
        ("X-Forwarded-Host", "evil.example"),
    ]);
    let forged = [("Cookie", "latchkey_gate=x"), NAVIGATES];
    for headers in [&[NAVIGATES][..], &[&spoofed[..], &forged].concat()] {
        for method in ["GET", "HEAD"] {
            let answer = behind.send(&format!("{method} {uri}"), headers, "").await;
            assert_eq!(answer.status, 302, "{method} {answer:?}");
            let to = &answer.header("location")[0];
            assert!(to.starts_with(&format!("{}/auth/enter?to=", behind.process.url)), "{to}");
            assert_eq!(parameters(&to.parse().unwrap())["to"], format!("http://{host}{uri}"), "{method}");
        }
    }
    let answer = behind.send("GET /api", &[("Sec-Fetch-Mode", "cors"), ("Accept", "text/html")], "").await;
    assert!(answer.status == 401 && answer.body.contains("not_logged_in"), "{answer:?}");
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let answer = behind.send("POST /edit", &[NAVIGATES, ("Accept", "text/html"), form], "a=b").await;
    assert!(answer.status == 401 && answer.body.contains("<h1>You have been logged out</h1>"), "{answer:?}");
    assert!(answer.header("content-security-policy")[0].contains("style-src 'sha256-"), "{answer:?}");
    let websocket = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-Fetch-Mode", "websocket"),
    ];
    let (head, _) = read_head(&mut behind.connect("GET /socket", &websocket, "").await).await;
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    let answer = behind.send("GET /", &[("Host", "evil.example"), ("Cookie", &gate), NAVIGATES], "").await;
    assert!(answer.status != 302 && !answer.body.contains("GET /"), "another host: {answer:?}");

    // Sam, with what an attacker would add.
    let cookies = |before: &str, after: &str| format!("{before}{gate}{after}");
    for (sent, seen) in [
        (cookies("a=b; ", "; c=\"d e\";f==%3b"), "a=b; c=\"d e\";f==%3b"),
        (cookies("", "; a=b"), "a=b"),
        (cookies("a=b;  c=d; ", ""), "a=b;  c=d"),
        (cookies("not_latchkey_gate=x; ", "; latchkey_gate2=y"), "not_latchkey_gate=x; latchkey_gate2=y"),
        (gate.clone(), ""),
    ] {
        let answer =
            behind.send(&format!("GET {uri}"), &[&spoofed[..], &[("Cookie", &sent), NAVIGATES]].concat(), "").await;
        let headers = answer.seen();
        assert_eq!(answer.body.split(' ').nth(1), Some(uri), "the app sees what the client has sent");
        let cookie: Vec<_> = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("cookie")).collect();
        let all: Vec<_> = cookie.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(all.concat(), seen, "{sent}");
        let mut remote: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.to_lowercase().replace('_', "-"), value.as_str()))
            .filter(|(name, _)| name.starts_with("remote"))
            .collect();
        remote.sort();
        let names: Vec<_> = remote.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["remote-email", "remote-id", "remote-name", "remote-user"], "{headers:?}");
        assert_eq!((remote[0].1, remote[2].1, remote[3].1), ("sam@example.com", "Sam 史密斯", "sam"));
        assert!(
            !headers.iter().any(|(_, value)| value.contains("eve") || value.contains("evil.example")),
            "{headers:?}"
        );
    }
    let twice = format!("{gate}; {gate}");
    assert_eq!(behind.send("GET /", &[("Cookie", &twice), NAVIGATES], "").await.status, 302);
    let own = [("Cookie", gate.as_str())];
    assert_eq!(behind.send("HEAD /", &own, "").await.status, 200);
    let answer = behind.send("POST /edit", &[own[0], form, NAVIGATES], "a=b&c=d").await;
    assert!(answer.body.starts_with("POST /edit ") && answer.body.ends_with("\r\n\r\na=b&c=d"), "{answer:?}");
    let mut stream = behind.connect("GET /socket", &[&websocket[..], &own].concat(), "").await;
    let (head, _) = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    stream.write_all(b"hello").await.unwrap();
    let mut said = [0; 5];
    timeout(Duration::from_secs(20), stream.read_exact(&mut said)).await.expect("an echo").unwrap();
    assert_eq!(&said, b"hello");
    // No other tunnel: what goes through it would be asked about once, and cleaned never.
    for upgrade in ["h2c", "websocket, h2c", "h2c, websocket"] {
        let h2c = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", upgrade), ("HTTP2-Settings", "AAMAAABk")];
        let mut stream = behind.connect("GET /", &[&h2c[..], &own].concat(), "").await;
        let (head, body) = read_head(&mut stream).await;
        let seen = String::from_utf8_lossy(&body).to_lowercase();
        assert!(
            head.starts_with("HTTP/1.1 400") || head.starts_with("HTTP/1.1 403") || head.starts_with("HTTP/1.1 200"),
            "{upgrade}: {head}"
        );
        assert!(!seen.contains("\r\nupgrade: "), "{upgrade}: {seen}");
    }
    // A client names headers that a proxy has to take away. Those that Latchkey has set are not among them.
    let hop = [own[0], ("Connection", "close, Remote-User, Remote-Id")];
    let answer = behind.send("GET /", &hop, "").await;
    if answer.status != 400 {
        let seen: Vec<_> = answer.seen().into_iter().map(|(name, _)| name.to_lowercase()).collect();
        assert!(["remote-user", "remote-id"].iter().all(|name| seen.iter().any(|seen| seen == name)), "{seen:?}");
    }

    assert_eq!(behind.process.run(&["user", "log-out", "sam"]).code, Some(0));
    assert_eq!(behind.send("GET /", &[own[0], NAVIGATES], "").await.status, 302, "logged out");
    assert_eq!(behind.send("GET /", &own, "").await.status, 401, "logged out");
    let log = fs::read_to_string(behind.dir.path().join("log")).unwrap();
    assert!(!log.contains(&gate), "{log}");

    // Without Latchkey, nothing gets through.
    sam.log_in("sam", OTTER).await;
    let gate = format!("latchkey_gate={}", sam.cookies["latchkey_gate"]);
    assert_eq!(behind.send("GET /", &[("Cookie", &gate)], "").await.status, 200);
    behind.process.kill();
    for headers in [&[("Cookie", gate.as_str())][..], &[NAVIGATES]] {
        let answer = behind.send("GET /", headers, "").await;
        assert!(answer.status >= 500 && !answer.body.contains("GET /"), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_asks_who_is_there() {
    works(Proxy::Nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn caddy_asks_who_is_there() {
    works(Proxy::Caddy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_asks_who_is_there() {
    works(Proxy::Haproxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_asks_who_is_there() {
    works(Proxy::Envoy).await;
}

/// The lines that are for https only, which the tests above do not use.
#[tokio::test]
async fn the_configurations_of_an_https_site_are_ones_that_the_proxies_take() {
    crate::needs("proxies");
    let settings = [
        ("LATCHKEY_LISTEN", "127.0.0.1:3000"),
        ("LATCHKEY_PUBLIC_URL", "https://accounts.example.com"),
        ("LATCHKEY_GATE_DOMAIN", "example.com"),
    ];
    let process = Process::new(&settings);
    process.done(&["migrate", "--smtp-url", "smtps://mail.example.com", "--mail-from", "no-reply@example.com"]);
    // A name may look like a comment's end, or like what is filled in.
    let name = "Wiki */ {} @COOKIE@ --";
    process.done(&["app", "add", name, "--host", "wiki.example.com", "--host", "w.example.com"]);
    for kind in [Proxy::Nginx, Proxy::Caddy, Proxy::Haproxy, Proxy::Envoy] {
        let printed = process.done(&["app", "proxy", name, "--for", kind.name()]);
        assert!(printed.contains("__Secure-latchkey_gate") && !printed.contains("@VERIFY@"), "{printed}");
        assert!(!printed.lines().any(|line| line.starts_with("@http")), "{printed}");
        let dir = tempfile::tempdir().unwrap();
        make_certificate(dir.path());
        let ran = kind.command(dir.path(), &printed, true).output().unwrap();
        let said = [ran.stdout, ran.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(ran.status.success(), "{kind:?}: {said:?}");
    }
    let traefik = process.done(&["app", "proxy", name, "--for", "traefik", "--upstream", "http://10.0.0.7:8000"]);
    for line in ["rule: Host(`wiki.example.com`) || Host(`w.example.com`)", "- url: http://10.0.0.7:8000"] {
        assert!(traefik.contains(line), "{traefik}");
    }
    process.done(&["app", "add", "Shop", "--redirect-uri", "https://shop.example.com/cb"]);
    let ran = process.run(&["app", "proxy", "Shop", "--for", "nginx"]);
    assert!(ran.code != Some(0) && ran.err.contains("Shop stands behind no proxy yet"), "{ran:?}");
}

/// HAProxy goes on with a request after a script that has failed.
#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_fails_lets_nothing_through() {
    let broken = |printed: String| {
        let before = "    local sent, ask = ";
        assert!(printed.contains(before), "{printed}");
        printed.replace(before, &format!("    error('broken')\n{before}"))
    };
    let behind = Behind::start_with(Proxy::Haproxy, broken).await;
    let answer = behind.send("GET /", &[NAVIGATES, ("Remote-User", "eve")], "").await;
    assert!(answer.status == 503 && !answer.body.contains("GET /"), "{answer:?}");
}

/// A browser decides by itself whether it keeps the cookie of a domain, and where the answer to a form may lead.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_chromium_goes_through_the_log_in_to_the_app() {
    let behind = Behind::start(Proxy::Caddy).await;
    behind.browser().sign_up("sam@example.com", "sam", OTTER).await;
    let sam = Visitor::on(&behind.process.url, "en", (DESK, Script::On), &[]).await;
    let page = format!("http://{}/a?b=%2e&c={{}}", behind.host());
    let at_the_app = async || {
        until("the app", async || {
            let url = sam.driver.current_url().await.unwrap();
            let seen = sam.driver.source().await.unwrap().to_lowercase();
            (url.as_str() == page && seen.contains("remote-user: sam") && !seen.contains("latchkey_gate")).then_some(())
        })
        .await;
    };
    sam.driver.goto(&page).await.unwrap();
    sam.types("login", "sam").await;
    sam.types("password", OTTER).await;
    sam.presses("/login").await;
    at_the_app().await;
    sam.opens("/profile").await;
    sam.presses("/logout").await;
    sam.sees("form[action='/login']").await;
    sam.driver.goto(&page).await.unwrap();
    sam.sees("form[action='/login']").await;
}

/// Returns what stands in `examples/apps/static_site`, with the addresses of this test, and its pages in this folder. All but
/// the files is what is printed for an app there.
fn static_site(printed: &str, pages: &Path) -> String {
    let between = |text: &str, start: &str, end: &str| {
        let rest = text.split(start).nth(1).unwrap_or_else(|| panic!("no {start:?}: {text}"));
        rest.split(end).next().unwrap().to_owned()
    };
    let addresses = [
        (":8080", format!(":{}", between(printed, "http://handbook.example.localhost:", " {"))),
        (":3000", format!(":{}", between(printed, "forward_auth 127.0.0.1:", " {"))),
        ("root * examples/apps/static_site/pages\n", format!("root * {}\n", pages.display())),
    ];
    let here = |text: String| addresses.iter().fold(text, |text, (theirs, ours)| text.replace(theirs, ours));
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/apps/static_site");
    for page in fs::read_dir(example.join("pages")).unwrap() {
        let (from, name) = page.map(|page| (page.path(), page.file_name())).unwrap();
        let mut copy = File::create(pages.join(name)).unwrap();
        copy.write_all(here(fs::read_to_string(from).unwrap()).as_bytes()).unwrap();
        // A very old file, of which a browser thinks that it stays as it is (RFC 9111, 4.2.2).
        copy.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
    }
    let ours = here(fs::read_to_string(example.join("Caddyfile")).unwrap());
    let site = |text: &str| text[text.find("\nhttp://").expect("a site")..].to_owned();
    let files = format!("\t\t# A browser{}\t\tfile_server\n", between(&ours, "\t\t# A browser", "\t\tfile_server\n"));
    let app = format!("\t\treverse_proxy {}\n", between(printed, "\t\treverse_proxy ", "\n"));
    assert_eq!(site(&ours).replace(&files, &app), site(printed), "the example is not what is printed any more");
    ours
}

#[tokio::test(flavor = "multi_thread")]
async fn the_static_site_of_the_examples_is_for_users_only() {
    let pages = tempfile::tempdir().unwrap();
    let behind = Behind::start_as("Handbook", Proxy::Caddy, |printed| static_site(&printed, pages.path())).await;
    let mut sam = behind.browser();
    let form = sam.open("/signup").await.form("/signup").fill("email", "sam@example.com").fill("username", "sam");
    let name = "Sam <b id=eve>史密斯</b> & {{env \"HOME\"}}";
    assert_eq!(sam.submit(form.fill("full_name", name).fill("password", OTTER)).await.path, "/profile");
    let gate = format!("latchkey_gate={}", sam.cookies["latchkey_gate"]);

    let has_a_page = |answer: &Answer| answer.body.to_lowercase().contains("holidays");
    let ways = ["/", "/index.html", "/holidays.html", "//holidays.html", "/x/%2e%2e/holidays.html", "/holidays.html?a"];
    for way in ways {
        let answer = behind.send(&format!("GET {way}"), &[("Cookie", &gate), NAVIGATES], "").await;
        assert!(matches!(answer.status, 200 | 308), "{way}: {answer:?}");
        assert!(answer.status == 308 || has_a_page(&answer), "{way}: {answer:?}");
        let more =
            [("Remote-User", "eve"), ("Range", "bytes=0-"), ("If-None-Match", "*"), ("Cookie", "latchkey_gate=x")];
        for headers in [&[NAVIGATES][..], &[&more[..], &[NAVIGATES]].concat()] {
            let answer = behind.send(&format!("GET {way}"), headers, "").await;
            assert!(answer.status == 302 && !has_a_page(&answer), "{way}: {answer:?}");
            let to = &answer.header("location")[0];
            assert!(to.starts_with(&format!("{}/auth/enter?to=", behind.process.url)), "{to}");
        }
        for method in ["GET", "HEAD", "POST", "OPTIONS", "PROPFIND"] {
            let answer = behind.send(&format!("{method} {way}"), &more, "").await;
            assert!(answer.status == 401 && !has_a_page(&answer), "{method} {way}: {answer:?}");
        }
    }
    let answer = behind.send("GET /", &[("Cookie", &gate), ("Remote-Name", "eve")], "").await;
    let escaped = "<p>Sam &lt;b id=eve&gt;史密斯&lt;/b&gt; &amp; {{env &#34;HOME&#34;}} is here.";
    assert!(answer.body.contains(escaped), "{answer:?}");
    assert_eq!(answer.header("etag").len(), 0, "the page of one user is not that of another");
    for way in ["/Caddyfile", "/../Caddyfile", "/pages/", "/Cargo.toml"] {
        let answer = behind.send(&format!("GET {way}"), &[("Cookie", &gate)], "").await;
        assert!(matches!(answer.status, 400 | 404), "{way}: {answer:?}");
    }

    let visitor = Visitor::on(&behind.process.url, "en", (DESK, Script::On), &[]).await;
    let site = format!("http://{}", behind.host());
    visitor.driver.goto(format!("{site}/holidays.html")).await.unwrap();
    visitor.types("login", "sam").await;
    visitor.types("password", OTTER).await;
    visitor.presses("/login").await;
    until("the page that was asked for", async || {
        (visitor.driver.current_url().await.unwrap().as_str() == format!("{site}/holidays.html")).then_some(())
    })
    .await;
    visitor.takes("a[href='/']").await;
    assert!(visitor.driver.source().await.unwrap().contains("Sam &lt;b id=eve&gt;史密斯"), "the name is a name");
    visitor.takes("a[href='holidays.html']").await;
    visitor.takes("a[href='/']").await;
    visitor.takes("a[href$='/oauth/logout']").await;
    visitor.presses("/oauth/logout/confirm").await;
    visitor.finds("form[action='/login']").await;
    // Over the question of the log-out, to the handbook.
    visitor.driver.execute("history.go(-2)", vec![]).await.unwrap();
    until("it is not shown", async || {
        let url = visitor.driver.current_url().await.unwrap();
        url.query().is_some_and(|query| query.contains("handbook")).then_some(())
    })
    .await;
    visitor.finds("form[action='/login']").await;
    for page in ["/holidays.html", "/"] {
        visitor.driver.goto(format!("{site}{page}")).await.unwrap();
        visitor.finds("form[action='/login']").await;
    }
}

/// A newcomer types what stands in README, and copies what stands in the page about forward-auth.
#[test]
fn what_is_written_about_the_static_site_is_what_stands_in_it() {
    let example = include_str!("../../examples/apps/static_site/Caddyfile");
    let commands = example.lines().skip(2).map_while(|line| line.strip_prefix("# ")).collect::<Vec<_>>().join("\n");
    assert!(commands.contains("latchkey app add Handbook") && commands.contains("caddy run"), "{commands}");
    assert!(include_str!("../../README.md").contains(&format!("\n```sh\n{commands}\n```\n")), "{commands}");
    let copied =
        include_str!("../../docs/forward-auth.md").split("```caddy\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(
        copied.lines().count() > 3 && copied.lines().all(|line| example.contains(&format!("{line}\n"))),
        "{copied}"
    );
}
