//! Libraries and servers of strangers, unmodified, with which users log in at Latchkey. The applications of `examples/apps` and
//! the configuration in `docs/openid.md` run exactly as they stand.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::getuid;
use serde_json::json;

use crate::OTTER;
use crate::api_tools::{Workshop, ours};
use crate::process::{free_port, until};
use crate::visitor::{DESK, Script, Visitor};

/// A program that runs until the end of the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An application of the workshop, at `http://localhost:PORT`.
struct Application {
    url: String,
    log: String,
    _running: Running,
}

impl Application {
    /// Starts a program, and waits until it listens.
    async fn start(workshop: &Workshop, mut command: Command, port: u16) -> Self {
        let log = workshop.dir.path().join("application.log");
        let file = File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let mut running = Running(command.spawn().unwrap());
        until("the application listens", async || {
            assert!(running.0.try_wait().unwrap().is_none(), "it ended: {}", fs::read_to_string(&log).unwrap());
            TcpStream::connect(("127.0.0.1", port)).ok()
        })
        .await;
        Self { url: format!("http://localhost:{port}"), log: log.to_str().unwrap().to_owned(), _running: running }
    }

    /// Starts a program of `examples/apps`, or one like them, which has its settings in the environment. Its first lines say
    /// where it gets its codes.
    async fn of(workshop: &Workshop, program: &str, file: &str, more: &[(&str, &str)]) -> Self {
        let port = free_port();
        let text = fs::read_to_string(file).unwrap();
        let registered = text.split("latchkey app add Wiki ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
        let registered = registered.replace(":8000", &format!(":{port}"));
        let [id, secret] = workshop.register("Wiki", &registered.split(' ').collect::<Vec<_>>());
        let mut command = workshop.command(program, &[file]);
        command.envs([("ISSUER", workshop.server.url.as_str()), ("CLIENT_ID", &id), ("CLIENT_SECRET", &secret)]);
        command.env("PORT", port.to_string()).envs(more.iter().copied());
        Self::start(workshop, command, port).await
    }

    /// Waits until the page of the application has this text.
    async fn says(&self, sam: &Visitor, text: &str) {
        until(text, async || {
            let here = sam.driver.current_url().await.unwrap();
            let page = sam.driver.source().await.unwrap();
            (here.as_str().starts_with(&self.url) && page.contains(text)).then_some(())
        })
        .await;
    }
}

/// A server with Sam's account, and Sam's Chromium.
async fn sam_at_a_workshop() -> (Workshop, Visitor) {
    let workshop = Workshop::open().await;
    workshop.server.user("sam", OTTER).await;
    let sam = Visitor::on(&workshop.server.url, "en", (DESK, Script::On), &[]).await;
    (workshop, sam)
}

/// Opens a page of an application, takes its way to the log-in if it has one, logs in, and allows what the application asks.
async fn log_in(sam: &Visitor, page: &str, way: Option<&str>) {
    sam.driver.goto(page).await.unwrap();
    type_password(sam, way).await;
    sam.presses("/oauth/consent").await;
}

async fn type_password(sam: &Visitor, way: Option<&str>) {
    if let Some(way) = way {
        sam.takes(way).await;
    }
    sam.types("login", "sam").await;
    sam.types("password", OTTER).await;
    sam.presses("/login").await;
}

/// Logs out in an application. It ends the session at Latchkey too, so its way to the log-in leads to a password again.
async fn log_out(sam: &Visitor, wiki: &Application, out: &str, again: &str) {
    sam.takes(out).await;
    wiki.says(sam, "Log in").await;
    sam.takes(again).await;
    sam.finds("form[action='/login']").await;
}

async fn log_out_at_latchkey(sam: &Visitor) {
    sam.opens("/profile").await;
    sam.presses("/logout").await;
    sam.finds("form[action='/login']").await;
}

/// Puts files into the folder of the workshop, and beside them what `./check` has installed of npm. Returns the path of the
/// first one there.
fn unpack(workshop: &Workshop, files: &[&str]) -> String {
    let here = workshop.dir.path();
    let there = |file: &str| here.join(Path::new(file).file_name().unwrap()).to_str().unwrap().to_owned();
    for file in files {
        fs::copy(file, there(file)).unwrap();
    }
    let installed = format!("{}/../tools/strangers/node_modules", env!("CARGO_TARGET_TMPDIR"));
    assert!(fs::exists(&installed).unwrap(), "there is no {installed}: run ./check, which installs it");
    symlink(installed, here.join("node_modules")).unwrap();
    there(files[0])
}

/// Returns the path of an application of `examples/apps`.
fn example(name: &str) -> String {
    format!("{}/examples/apps/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_applications_are_short() {
    for name in ["flask_app.py", "express_app.js", "django_app.py"] {
        let lines = fs::read_to_string(example(name)).unwrap().lines().count();
        assert!(lines < 40, "{name} has {lines} lines");
    }
}

#[tokio::test]
async fn the_application_with_flask_knows_who_is_there() {
    let (workshop, sam) = sam_at_a_workshop().await;
    let wiki = Application::of(&workshop, "python", &example("flask_app.py"), &[]).await;
    log_in(&sam, &wiki.url, Some("a[href='/login']")).await;
    wiki.says(&sam, "sam is here").await;
    log_out(&sam, &wiki, "form[action='/logout'] button", "a[href='/login']").await;
}

#[tokio::test]
async fn the_application_with_express_knows_who_is_there() {
    let (workshop, sam) = sam_at_a_workshop().await;
    let file = unpack(&workshop, &[&example("express_app.js")]);
    let wiki = Application::of(&workshop, "node", &file, &[]).await;
    log_in(&sam, &wiki.url, Some("a[href='/login']")).await;
    wiki.says(&sam, "sam is here").await;
    log_out(&sam, &wiki, "a[href='/logout']", "a[href='/login']").await;
}

#[tokio::test]
async fn express_keeps_access_until_the_user_logs_out() {
    let (workshop, sam) = sam_at_a_workshop().await;
    let file = unpack(&workshop, &[&ours("express_refresh.js")]);
    let wiki = Application::of(&workshop, "node", &file, &[]).await;
    log_in(&sam, &wiki.url, Some("a[href='/page']")).await;
    for _ in 0..3 {
        wiki.says(&sam, "sam is here, with the next token").await;
        sam.driver.goto(format!("{}/page", wiki.url)).await.unwrap();
    }
    log_out_at_latchkey(&sam).await;
    sam.driver.goto(format!("{}/page", wiki.url)).await.unwrap();
    wiki.says(&sam, "refused: invalid_grant").await;
}

/// mozilla-django-oidc has no refresh tokens. It asks with `prompt=none` instead.
#[tokio::test]
async fn the_application_with_django_knows_who_is_there_and_asks_again() {
    let (workshop, sam) = sam_at_a_workshop().await;
    let wiki = Application::of(&workshop, "python", &example("django_app.py"), &[("RENEW_SECONDS", "1")]).await;
    log_in(&sam, &wiki.url, Some("a[href='/oidc/authenticate/']")).await;
    wiki.says(&sam, "sam is here").await;
    let codes = || fs::read_to_string(&wiki.log).unwrap().matches("GET /oidc/callback/?code=").count();
    until("Django asks again", async || {
        sam.driver.goto(&wiki.url).await.unwrap();
        wiki.says(&sam, "sam is here").await;
        (codes() > 1).then_some(())
    })
    .await;
    log_out_at_latchkey(&sam).await;
    until("Django has asked in vain", async || {
        sam.driver.goto(&wiki.url).await.unwrap();
        sam.driver.source().await.unwrap().contains("Log in").then_some(())
    })
    .await;
    type_password(&sam, Some("a[href='/oidc/authenticate/']")).await;
    wiki.says(&sam, "sam is here").await;
    log_out(&sam, &wiki, "form[action='/oidc/logout/'] button", "a[href='/oidc/authenticate/']").await;
}

async fn the_whole_way(script: &str) {
    let workshop = Workshop::open().await;
    workshop.server.user("sam", OTTER).await;
    let script = unpack(&workshop, &[&ours(script), &ours("browser.mjs")]);
    let (callback, afterwards) = ("http://127.0.0.1:8000/callback", "http://127.0.0.1:8000/bye");
    let registered = ["--redirect-uri", callback, "--logout-uri", afterwards, "--algorithm"];
    for (name, algorithm, more) in
        [("Confidential", "RS256", &[][..]), ("Elliptic", "ES256", &["--public"]), ("Edwards", "EdDSA", &["--public"])]
    {
        let [id, secret] = workshop.register(name, &[&registered, &[algorithm][..], more].concat());
        workshop
            .run("node", &[&script, &workshop.server.url, &id, &secret, algorithm, callback, afterwards, "sam", OTTER]);
    }
    let (key, public) = workshop.key();
    let [id, _] = workshop.register("Signing", &[&registered, &["RS256", "--jwks", &public][..]].concat());
    workshop.run("node", &[&script, &workshop.server.url, &id, &key, "RS256", callback, afterwards, "sam", OTTER]);
}

#[tokio::test]
async fn openid_client_goes_the_whole_way() {
    the_whole_way("openid_client.mjs").await;
}

#[tokio::test]
async fn oauth4webapi_goes_the_whole_way() {
    the_whole_way("oauth4webapi.mjs").await;
}

/// Shows the head of each request that reaches it, and keeps them all. It knows nothing of log-ins.
fn serve_a_mirror() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = heads.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let about = "content-type: text/plain; charset=utf-8\r\nconnection: close";
            write!(stream, "HTTP/1.1 200 OK\r\n{about}\r\ncontent-length: {}\r\n\r\n{head}", head.len()).unwrap();
            // Chromium asks for this when it likes.
            if !head.starts_with("GET /favicon.ico ") {
                seen.lock().unwrap().push(head);
            }
        }
    });
    (port, heads)
}

/// Returns the configuration in `docs/openid.md`, with names and ports of this test in place of its own.
fn documented(replaced: &[(&str, &str)]) -> String {
    let docs = include_str!("../../docs/openid.md");
    let part = docs.split("\n## Behind Apache\n").nth(1).and_then(|part| part.split("```apache\n").nth(1)).unwrap();
    let mut text = part.split("```").next().unwrap().to_owned();
    for (old, new) in replaced {
        assert!(text.contains(old), "the configuration has no {old:?} any more");
        text = text.replace(old, new);
    }
    let has_tls = |line: &&str| line.trim_start().starts_with("SSL");
    text.lines().filter(|line| !has_tls(line)).map(|line| format!("{line}\n")).collect()
}

/// What an Apache needs that runs in a folder of its own, as one process.
fn frame_of_apache(dir: &str, port: u16) -> String {
    let names =
        ["mpm_prefork", "authn_core", "authz_core", "authz_user", "headers", "proxy", "proxy_http", "auth_openidc"];
    let module = |name: &str| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n");
    let user = if getuid().is_root() { "User www-data\nGroup www-data\n" } else { "" };
    let modules: String = names.into_iter().map(module).collect();
    let files = format!("ServerRoot {dir}\nDefaultRuntimeDir {dir}\nPidFile {dir}/pid\nErrorLog {dir}/apache.log\n");
    format!("{files}Listen 127.0.0.1:{port}\nServerName localhost\n{user}{modules}")
}

/// Sends a request with these lines, and returns the answer.
fn raw(port: u16, request: &str, lines: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!("{request} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n{lines}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Returns what an application takes for the header with this name, however it is spelt.
fn taken_for(head: &str, name: &str) -> Vec<String> {
    let plain = |name: &str| name.to_ascii_lowercase().replace(['_', '.'], "-");
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.filter(|(is, _)| plain(is) == plain(name)).map(|(_, value)| value.trim().to_owned()).collect()
}

#[tokio::test]
async fn an_application_behind_apache_reads_who_is_there() {
    let (workshop, sam) = sam_at_a_workshop().await;
    let ((mirror, seen), port) = (serve_a_mirror(), free_port());
    let dir = workshop.dir.path().to_str().unwrap();
    let here = format!("http://localhost:{port}");
    let [id, secret] =
        workshop.register("Wiki", &["--redirect-uri", &format!("{here}/oidc"), "--logout-uri", &format!("{here}/")]);
    let configuration = documented(&[
        ("*:443", &format!("*:{port}")),
        ("ServerName wiki.example.com", "ServerName localhost"),
        ("https://wiki.example.com", &here),
        ("https://accounts.example.com", &workshop.server.url),
        ("CLIENT_ID", &id),
        ("CLIENT_SECRET", &secret),
        ("http://127.0.0.1:8080/", &format!("http://127.0.0.1:{mirror}/")),
        ("BeforeExpiry 540", "BeforeExpiry 600"), // at every request
    ]);
    fs::write(workshop.dir.path().join("apache.conf"), format!("{}{configuration}", frame_of_apache(dir, port)))
        .unwrap();
    let command = workshop.command("/usr/sbin/apache2", &["-X", "-f", &format!("{dir}/apache.conf")]);
    let wiki = Application::start(&workshop, command, port).await;

    let page = "Accept: text/html\r\n";
    let to_the_log_in = format!("\r\nLocation: {}/oauth/authorize?", workshop.server.url);
    for request in ["GET /page", "HEAD /page", "GET /oidc/../page", "GET //page"] {
        assert!(raw(port, request, page).contains(&to_the_log_in), "{request}: {}", raw(port, request, page));
    }
    assert!(raw(port, "GET /page", "Sec-Fetch-Mode: cors\r\n").starts_with("HTTP/1.1 401 "), "a script gets no page");
    assert_eq!(seen.lock().unwrap().len(), 0, "nothing reaches the application before the log-in");

    log_in(&sam, &format!("{here}/page?x=1&y=%2F"), None).await;
    wiki.says(&sam, "Remote-User: sam").await;
    assert_eq!(sam.driver.current_url().await.unwrap().as_str(), format!("{here}/page?x=1&y=%2F"));
    let cookies = sam.cdp("Network.getCookies", json!({"urls": [here]})).await;
    let cookies = cookies["cookies"].as_array().unwrap();
    let all: Vec<_> = cookies
        .iter()
        .map(|one| format!("{}={}", one["name"].as_str().unwrap(), one["value"].as_str().unwrap()))
        .collect();
    let known = format!("{page}Cookie: {}\r\n", all.join("; "));
    let spelt = |name: &str| {
        ["Remote-X", "remote-x", "REMOTE_X", "Remote_x", "remote.X", "Remote-X"]
            .map(|how| format!("{}: eve\r\n", how.replace(['X', 'x'], name)))
            .concat()
    };
    let spoofed = ["User", "ID", "email", "Name"].map(spelt).concat();
    let told = raw(port, "GET /page", &format!("{spoofed}{known}{spoofed}"));
    assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
    let head = seen.lock().unwrap().last().unwrap().clone();
    assert_eq!(taken_for(&head, "Remote-User"), ["sam"], "{head}");
    assert_eq!(taken_for(&head, "Remote-Email"), ["sam@example.com"], "{head}");
    assert_eq!((taken_for(&head, "Remote-Id").len(), taken_for(&head, "Remote-Id")[0].len()), (1, 36), "{head}");
    assert_eq!(taken_for(&head, "Remote-Name"), ["sam"], "{head}");
    assert!(!head.contains("mod_auth_openidc"), "{head}");

    log_out_at_latchkey(&sam).await;
    let before = seen.lock().unwrap().len();
    let told = raw(port, "GET /page", &known);
    assert_eq!(
        seen.lock().unwrap().len(),
        before,
        "the refresh is refused, so nothing reaches the application: {told}"
    );
    assert!(told.contains(&format!("\r\nLocation: {here}/\r\n")), "{told}");
    assert!(raw(port, "GET /page", &known).contains(&to_the_log_in));

    // The link in the page.
    sam.driver.goto(format!("{here}/page")).await.unwrap();
    type_password(&sam, None).await;
    wiki.says(&sam, "Remote-User: sam").await;
    let before = seen.lock().unwrap().len();
    let out =
        format!("/oidc?logout={}", form_urlencoded::byte_serialize(format!("{here}/").as_bytes()).collect::<String>());
    let documented = include_str!("../../docs/openid.md").contains("`/oidc?logout=https%3A%2F%2Fwiki.example.com%2F`");
    assert!(documented && out.contains("%3A%2F%2Flocalhost"), "{out}");
    sam.driver.goto(format!("{here}{out}")).await.unwrap();
    sam.finds("form[action='/login']").await;
    assert_eq!(&seen.lock().unwrap()[before..], [""; 0], "at Latchkey he is logged out too");
}
