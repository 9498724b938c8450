//! Libraries of strangers, unmodified, with which users log in at Latchkey. The applications of `examples/apps` run exactly as
//! they stand.

use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};

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
        let registered = registered.replace(":8000/", &format!(":{port}/"));
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

/// Opens a page of an application, takes its way to the log-in if it has one, and logs in.
async fn log_in(sam: &Visitor, page: &str, way: Option<&str>) {
    sam.driver.goto(page).await.unwrap();
    if let Some(way) = way {
        sam.takes(way).await;
    }
    sam.types("login", "sam").await;
    sam.types("password", OTTER).await;
    sam.presses("/login").await;
    sam.presses("/oauth/consent").await;
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
    sam.takes("form[action='/logout'] button").await;
    wiki.says(&sam, "Log in").await;
}

#[tokio::test]
async fn the_application_with_express_knows_who_is_there() {
    let (workshop, sam) = sam_at_a_workshop().await;
    let file = unpack(&workshop, &[&example("express_app.js")]);
    let wiki = Application::of(&workshop, "node", &file, &[]).await;
    log_in(&sam, &wiki.url, Some("a[href='/login']")).await;
    wiki.says(&sam, "sam is here").await;
    sam.takes("a[href='/logout']").await;
    wiki.says(&sam, "Log in").await;
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
    log_in_again(&sam, &wiki, "a[href='/oidc/authenticate/']").await;
    sam.takes("form[action='/oidc/logout/'] button").await;
    wiki.says(&sam, "Log in").await;
}

/// Logs in to an application that the user has allowed before.
async fn log_in_again(sam: &Visitor, wiki: &Application, way: &str) {
    sam.takes(way).await;
    sam.types("login", "sam").await;
    sam.types("password", OTTER).await;
    sam.presses("/login").await;
    wiki.says(sam, "sam is here").await;
}

async fn the_whole_way(script: &str) {
    let workshop = Workshop::open().await;
    workshop.server.user("sam", OTTER).await;
    let script = unpack(&workshop, &[&ours(script), &ours("browser.mjs")]);
    let callback = "http://127.0.0.1:8000/callback";
    for (name, algorithm, more) in
        [("Confidential", "RS256", &[][..]), ("Elliptic", "ES256", &["--public"]), ("Edwards", "EdDSA", &["--public"])]
    {
        let [id, secret] =
            workshop.register(name, &[&["--redirect-uri", callback, "--algorithm", algorithm], more].concat());
        workshop.run("node", &[&script, &workshop.server.url, &id, &secret, algorithm, callback, "sam", OTTER]);
    }
}

#[tokio::test]
async fn openid_client_goes_the_whole_way() {
    the_whole_way("openid_client.mjs").await;
}

#[tokio::test]
async fn oauth4webapi_goes_the_whole_way() {
    the_whole_way("oauth4webapi.mjs").await;
}
