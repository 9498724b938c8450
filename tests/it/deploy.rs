//! The files of `deploy/`, which operators copy: the real proxies with their example, two nodes behind them, and a user's life
//! through them.

use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use reqwest::{Certificate, Client, Method, redirect};
use rustix::process::getuid;
use serde_json::Value;
use tempfile::TempDir;

use crate::app::Letter;
use crate::browser::Browser;
use crate::cluster::Cluster;
use crate::process::{Process, confirm, forget, free_port, sign_up, until};
use crate::smtp::make_certificate;
use crate::{HERON, OTTER};

/// A secret that both nodes share.
const SECRET: &str = "canary-9vT2qLx7Rm4Kc8Wz1Nd6Hb3Fp5Gs0Jy";
/// The address of a client. The proxy's own is 127.0.0.1.
const CLIENT: &str = "127.0.0.9";

/// The id of a user who owns nothing.
const OTHER: u32 = 65_534;

/// Returns a file of `deploy/`.
fn example(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)).unwrap()
}

/// A proxy that Debian packages.
#[derive(Clone, Copy, Debug)]
enum Proxy {
    Caddy,
    Nginx,
    Haproxy,
}

/// Two nodes behind a proxy.
struct Site {
    dir: TempDir,
    cluster: Option<Cluster>,
    nodes: [Process; 2],
    ports: [u16; 2],
    url: String,
    http_port: u16,
    proxy: Child,
}

impl Drop for Site {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
    }
}

/// Replaces a text of the example, which must have it.
fn replaced(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "the example has no {old:?} any more");
    text.replace(old, new)
}

impl Proxy {
    /// Returns the command that runs the proxy with its example. Only ports, paths and the site's name are replaced.
    fn command(self, dir: &Path, url: &str, http_port: u16, nodes: [u16; 2]) -> Command {
        let https_port = url.rsplit(':').next().unwrap();
        let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        let named = |text: &str| {
            let text = replaced(text, "127.0.0.1:3000", &format!("127.0.0.1:{}", nodes[0]));
            replaced(&text, "127.0.0.1:3001", &format!("127.0.0.1:{}", nodes[1]))
        };
        let write = |text: &str| fs::write(dir.join("proxy.conf"), text).unwrap();
        match self {
            Self::Caddy => {
                let text = named(&example("Caddyfile"));
                let tls = format!("\nlocalhost {{\n\ttls {} {}\n", path("server.pem"), path("server.key"));
                let text = replaced(&text, "\naccounts.example.com {\n", &tls);
                let ports = format!("http_port {http_port}\n\thttps_port {https_port}");
                write(&format!(
                    "{{\n\tadmin off\n\tskip_install_trust\n\tdefault_bind 127.0.0.1\n\t{ports}\n}}\n{text}"
                ));
                let mut command = Command::new("caddy");
                command.args(["run", "--adapter", "caddyfile", "--config"]).arg(dir.join("proxy.conf"));
                command.env("HOME", dir).env("XDG_DATA_HOME", dir).env("XDG_CONFIG_HOME", dir);
                command
            }
            Self::Nginx => {
                let text = replaced(&named(&example("nginx.conf")), "https://accounts.example.com", url);
                let text = replaced(&text, "listen 80;", &format!("listen 127.0.0.1:{http_port};"));
                let text = replaced(&text, "listen 443 ssl", &format!("listen 127.0.0.1:{https_port} ssl"));
                let text = replaced(&text, "    listen [::]:80;\n", "");
                let text = replaced(&text, "    listen [::]:443 ssl http2;\n", "");
                let live = "/etc/letsencrypt/live/accounts.example.com";
                let text = replaced(&text, &format!("{live}/fullchain.pem"), &path("server.pem"));
                let text = replaced(&text, &format!("{live}/privkey.pem"), &path("server.key"));
                let text = replaced(&text, "server_name accounts.example.com", "server_name localhost");
                let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
                let own: String = kinds.iter().map(|kind| format!("{kind}_temp_path {};\n", path(kind))).collect();
                let user = if getuid().is_root() { "user root;\n" } else { "" };
                // One process, which the end of the test ends. Workers would live on.
                write(&format!(
                    "{user}daemon off;\nmaster_process off;\npid {};\nevents {{}}\nhttp {{\naccess_log off;\n{own}{text}}}\n",
                    path("pid")
                ));
                let mut command = Command::new("nginx");
                command.arg("-e").arg(dir.join("log")).arg("-p").arg(dir).arg("-c").arg(dir.join("proxy.conf"));
                command
            }
            Self::Haproxy => {
                let text = replaced(&named(&example("haproxy.cfg")), "https://accounts.example.com", url);
                let text = replaced(&text, "bind :80\n", &format!("bind 127.0.0.1:{http_port}\n"));
                let text = replaced(&text, "bind :443 ssl", &format!("bind 127.0.0.1:{https_port} ssl"));
                let text = replaced(&text, "/etc/haproxy/accounts.example.com.pem", &path("both.pem"));
                // A developer's shell may open fewer files than a service.
                let text = replaced(&text, "maxconn 10000", "maxconn 1000");
                write(&replaced(&text, "Host accounts.example.com", "Host localhost"));
                let both = ["server.pem", "server.key"].map(|name| fs::read_to_string(dir.join(name)).unwrap());
                fs::write(dir.join("both.pem"), both.concat()).unwrap();
                let mut command = Command::new("haproxy");
                command.arg("-db").arg("-f").arg(dir.join("proxy.conf"));
                command
            }
        }
    }
}

impl Site {
    async fn behind(proxy: Proxy) -> Self {
        let cluster = Cluster::start().await;
        let dir = tempfile::tempdir().unwrap();
        make_certificate(dir.path());
        let (https_port, http_port, ports) = (free_port(), free_port(), [free_port(), free_port()]);
        let url = format!("https://localhost:{https_port}");
        // The nodes share the folder of kept emails, as they would share a mail server.
        let data = dir.path().join("data").to_str().unwrap().to_owned();
        let authority = dir.path().join("ca.pem").to_str().unwrap().to_owned();
        let mut nodes = ports.map(|port| {
            Process::new(&[
                ("LATCHKEY_LISTEN", &format!("127.0.0.1:{port}")),
                ("LATCHKEY_PUBLIC_URL", &url),
                ("LATCHKEY_TRUSTED_PROXIES", "127.0.0.1"),
                ("LATCHKEY_DATABASE_URL", &cluster.url),
                ("LATCHKEY_SECRET", SECRET),
                ("LATCHKEY_DATA_DIR", &data),
                ("SSL_CERT_FILE", &authority),
            ])
        });
        for node in &mut nodes {
            node.start().await;
        }
        let mut command = proxy.command(dir.path(), &url, http_port, ports);
        let log = File::options().create(true).append(true).open(dir.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let proxy = command.spawn().unwrap();
        let mut site = Self { dir, cluster: Some(cluster), nodes, ports, url, http_port, proxy };
        let client = site.client();
        until("the proxy answers", async || {
            let log = || fs::read_to_string(site.dir.path().join("log")).unwrap();
            assert!(site.proxy.try_wait().unwrap().is_none(), "it ended: {}", log());
            let answer = client.get(format!("{}/readyz", site.url)).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        site
    }

    /// Returns a client at [`CLIENT`] that trusts the certificate.
    fn client(&self) -> Client {
        let authority = Certificate::from_pem(&fs::read(self.dir.path().join("ca.pem")).unwrap()).unwrap();
        let at: SocketAddr = format!("127.0.0.1:{}", self.url.rsplit(':').next().unwrap()).parse().unwrap();
        let client = Client::builder().redirect(redirect::Policy::none()).tls_certs_only([authority]);
        client.resolve("localhost", at).local_address(CLIENT.parse::<IpAddr>().unwrap()).build().unwrap()
    }

    fn browser(&self) -> Browser {
        Browser::over(self.client(), &self.url)
    }

    /// Waits for the nth email to this address, and returns its link. It asks the second node itself.
    async fn link(&self, address: &str, count: usize) -> String {
        let mailbox = format!("http://127.0.0.1:{}/dev/mailbox.json", self.ports[1]);
        until("the email arrives", async || {
            let all: Vec<Letter> = reqwest::get(&mailbox).await.unwrap().json().await.unwrap();
            let all: Vec<_> = all.into_iter().filter(|letter| letter.to == address).collect();
            (all.len() >= count).then(|| all[0].links[0].clone())
        })
        .await
    }

    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let ran = self.nodes[1].run(arguments);
        serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{arguments:?}: {ran:?}"))
    }

    /// Returns the addresses in the user's events.
    fn addresses(&self, login: &str) -> Vec<String> {
        let events = self.json(&["user", "events", login, "--json"]);
        events.iter().filter_map(|event| event["ip"].as_str().map(str::to_owned)).collect()
    }
}

/// Walks a user's life, and asserts that the nodes see the client and not the proxy.
async fn live(site: &Site) -> Browser {
    let mut sam = site.browser();
    sign_up(&mut sam, "sam", OTTER).await;
    assert_eq!(confirm(&mut sam, &site.link("sam@example.com", 1).await).await.path, "/profile");
    assert!(sam.cookies.contains_key("__Host-latchkey_session"), "{:?}", sam.cookies);
    let mut lost = site.browser();
    forget(&mut lost, "sam@example.com").await;
    assert_eq!(lost.reset(&site.link("sam@example.com", 2).await, HERON).await.path, "/login");
    let mut guess = site.browser();
    let fields = [("login", "sam"), ("password", OTTER)];
    for header in ["x-forwarded-for", "X-Forwarded-For"] {
        let forged = |request: reqwest::RequestBuilder| request.header(header, "198.51.100.66").form(&fields);
        assert_eq!(guess.send(Method::POST, "/login", forged).await.status, 422);
    }
    assert_eq!(lost.log_in("sam", HERON).await.path, "/profile");
    let addresses = site.addresses("sam");
    assert!(addresses.len() > 4 && addresses.iter().all(|address| address == CLIENT), "{addresses:?}");
    lost
}

/// Asserts that bodies and failures pass as Latchkey takes and makes them.
async fn bodies_and_failures(site: &Site, home: &str) {
    let mut eve = site.browser();
    for (size, status) in [(16 * 1024, 422), (17 * 1024, 413)] {
        let fields = "login=eve&password=";
        let body = format!("{fields}{}", "x".repeat(size - fields.len()));
        let form = |request: reqwest::RequestBuilder| {
            request.header("content-type", "application/x-www-form-urlencoded").body(body)
        };
        let page = eve.send(Method::POST, "/login", form).await;
        assert_eq!(page.status, status, "{size}: {}", page.html);
        page.assert_framed(status);
    }
    let page = eve.open("/nowhere").await;
    page.assert_framed(404);
    let hsts: Vec<_> = page.headers.get_all("strict-transport-security").iter().collect();
    assert!(hsts.len() == 1 && page.headers.contains_key("x-request-id"), "{:?}", page.headers);
    let plain = format!("http://127.0.0.1:{}/login?next=/profile", site.http_port);
    let client = Client::builder().redirect(redirect::Policy::none()).build().unwrap();
    let host = format!("localhost:{}", site.http_port);
    let answer = client.get(plain).header("host", host).send().await.unwrap();
    assert_eq!(answer.status(), 308);
    assert_eq!(answer.headers()["location"], format!("{home}/login?next=/profile"));
}

/// Stops the first node while clients open pages and submit forms. None of them may notice.
async fn one_node_stops(site: &mut Site, mut sam: Browser) {
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut clients = Vec::new();
    for _ in 0..4 {
        let (client, url, stopped) = (site.client(), format!("{}/login", site.url), stopped.clone());
        clients.push(tokio::spawn(async move {
            let mut answers = 0;
            while !*stopped.borrow() || answers < 20 {
                let answer = client.get(&url).send().await.expect("an answer");
                assert_eq!(answer.status(), 200, "after {answers} answers");
                answers += 1;
            }
            answers
        }));
    }
    site.nodes[0].stop().await;
    for _ in 0..4 {
        assert!(sam.is_logged_in().await, "with the other node");
    }
    stop.send(true).unwrap();
    for client in clients {
        assert!(client.await.unwrap() >= 20);
    }
    assert_eq!(site.browser().log_in("sam", HERON).await.path, "/profile");
}

async fn works(proxy: Proxy) -> Site {
    let mut site = Site::behind(proxy).await;
    let sam = live(&site).await;
    // Caddy takes the port of https for one that a router maps to 443.
    let home = if let Proxy::Caddy = proxy { "https://localhost" } else { &site.url };
    bodies_and_failures(&site, home).await;
    let found = site.json(&["doctor", "--json", "--http-port", &site.http_port.to_string()]);
    let checks = ["dns", "tls", "site", "proxy", "forgery", "redirect"];
    for check in &checks[..if home == site.url { 6 } else { 5 }] {
        let states: Vec<_> = found.iter().filter(|one| one["check"] == *check).map(|one| &one["state"]).collect();
        let expected = if *check == "tls" { "warn" } else { "ok" }; // the certificate is valid for two days
        assert_eq!(states, [expected], "{check}: {found:#?}");
    }
    one_node_stops(&mut site, sam).await;
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_for_caddy_works() {
    works(Proxy::Caddy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_for_haproxy_works() {
    works(Proxy::Haproxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_for_nginx_works() {
    let mut site = works(Proxy::Nginx).await;
    // nginx looks at no /readyz itself, so a failure of both nodes reaches the user as our own page.
    drop(site.cluster.take());
    let page = site.browser().log_in("sam", OTTER).await;
    page.assert_framed(503);
    assert!(
        page.headers.contains_key("x-request-id") && page.headers.contains_key("retry-after"),
        "{:?}",
        page.headers
    );
}

#[test]
fn the_unit_is_one_that_systemd_takes() {
    crate::needs("systemd-analyze");
    let dir = tempfile::tempdir().unwrap();
    let unit = replaced(&example("latchkey.service"), "/usr/local/bin/latchkey", env!("CARGO_BIN_EXE_latchkey"));
    let path = dir.path().join("latchkey.service");
    // What is commented out must be valid too.
    let unit = unit.replace("\n#LoadCredential=", "\nLoadCredential=").replace("\n#Environment=", "\nEnvironment=");
    fs::write(&path, unit).unwrap();
    let analyze = |arguments: &[&str]| {
        let ran = Command::new("systemd-analyze").args(arguments).arg(&path).output().unwrap();
        (ran.status.success(), String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned())
    };
    let (taken, said) = analyze(&["verify"]);
    assert!(taken && said.trim().is_empty(), "{said}");
    // The score is from 0 (closed) to 10, and the threshold is ten times as large.
    let (closed, said) = analyze(&["security", "--offline=yes", "--threshold=15"]);
    assert!(closed, "{said}");
}

#[test]
fn the_container_file_has_what_the_build_needs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = example("Containerfile");
    let copies = text.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--from"));
    let copied: Vec<_> =
        copies.flat_map(|line| line.split(' ').collect::<Vec<_>>()).filter(|path| *path != "./").collect();
    for path in &copied {
        assert!(root.join(path).exists(), "there is no {path} any more");
    }
    // Folders that no build reads.
    let others = ["bench", "deploy", "docs", "examples", "fuzz", "target", "tests"];
    for entry in fs::read_dir(root).unwrap() {
        let (name, is_dir) = entry.map(|entry| (entry.file_name(), entry.path().is_dir())).unwrap();
        let name = name.to_str().unwrap();
        if is_dir && !name.starts_with('.') {
            assert!(copied.contains(&name) || others.contains(&name), "the container file does not copy {name}");
        }
    }
    let toolchain = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let version = toolchain.split("rust-version = \"").nth(1).unwrap().split('"').next().unwrap();
    assert!(text.contains(&format!("rust:{version}-trixie")) && text.contains("debian:trixie-slim"));
}

#[tokio::test]
async fn the_server_needs_no_home_and_writes_into_its_data_folder_only() {
    crate::needs("another user");
    if !getuid().is_root() {
        return; // only root can run the server as another user
    }
    let port = free_port();
    let process = Process::new(&[("LATCHKEY_LISTEN", &format!("127.0.0.1:{port}"))]);
    let (root, binary) = (process.dir.path(), process.path("latchkey"));
    fs::create_dir(root.join("data")).unwrap();
    chown(root.join("data"), Some(OTHER), Some(OTHER)).unwrap();
    for path in [root, &root.join("data")] {
        fs::set_permissions(path, fs::Permissions::from_mode(if path == root { 0o755 } else { 0o700 })).unwrap();
    }
    // The other user may not be able to open the folder of the build.
    fs::copy(env!("CARGO_BIN_EXE_latchkey"), &binary).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&binary);
        command.args(arguments).env_clear().env("LATCHKEY_LISTEN", format!("127.0.0.1:{port}")).current_dir(root);
        command.uid(OTHER).gid(OTHER).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let mut server = run(&["serve"]).spawn().unwrap();
    until("it is healthy", async || {
        assert!(server.try_wait().unwrap().is_none(), "it ended");
        run(&["healthcheck"]).status().unwrap().success().then_some(())
    })
    .await;
    let mut sam = Browser::new(&format!("http://localhost:{port}"));
    sign_up(&mut sam, "sam", OTTER).await;
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(run(&["healthcheck"]).status().unwrap().code(), Some(1), "nothing answers any more");
    let mut names: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["data", "latchkey"]);
}
