//! TLS without a proxy: the two files, HTTP/2 by ALPN, the port for plain HTTP, a renewed certificate.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use latchkey::net::ConnectionLimits;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore};

use crate::OTTER;
use crate::app::TestApp;
use crate::process::{Process, free_port, until};
use crate::smtp::make_certificate;
use crate::wire::Wire;

/// A site with TLS and a port for plain HTTP beside it. curl trusts the authority of its certificate.
struct Secured {
    app: TestApp,
    dir: Arc<TempDir>,
    url: String,
    plain: String,
}

impl Secured {
    async fn start(limits: ConnectionLimits) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        make_certificate(dir.path());
        let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let plain = format!("127.0.0.1:{}", free_port());
        let (cert, key) = (file("server.pem"), file("server.key"));
        let flags = ["--tls-cert", &cert, "--tls-key", &key, "--redirect-listen", &plain, "--signup", "open"];
        let app = TestApp::start_within(dir.clone(), &flags, limits).await;
        let url = format!("https://localhost:{}", app.url.rsplit(':').next().unwrap());
        Self { app, dir, url, plain }
    }

    /// Runs curl and returns what it prints.
    async fn curl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("curl");
        command.args(["-s", "--max-time", "20", "--cacert", "ca.pem", "-b", "jar", "-c", "jar"]).args(arguments);
        command.current_dir(self.dir.path());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Returns the version, the status and the `Location` of an answer.
    async fn answer(&self, arguments: &[&str]) -> String {
        let write = ["-o", "/dev/null", "-w", "%{http_version} %{http_code} %header{location}"];
        self.curl(&[&write, arguments].concat()).await.trim().to_owned()
    }
}

#[tokio::test]
async fn users_log_in_over_tls_with_http_2_and_without() {
    let site = Secured::start(ConnectionLimits::default()).await;
    let (health, login, profile) =
        (format!("{}/healthz", site.url), format!("{}/login", site.url), format!("{}/profile", site.url));
    assert_eq!(site.answer(&[&health]).await, "2 200");
    assert_eq!(site.answer(&["--http1.1", &health]).await, "1.1 200");
    assert_eq!(site.answer(&["--tls-max", "1.2", &health]).await, "2 200");
    assert_eq!(site.answer(&["--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0", &health]).await, "0 000");
    let origin = format!("Origin: {}", site.app.url);
    let fields = format!("email=sam@example.com&username=sam&password={}", OTTER.replace(' ', "+"));
    let signup = format!("{}/signup", site.url);
    assert!(site.answer(&["-H", &origin, "-d", &fields, &signup]).await.starts_with("2 303"));
    for version in ["--http2", "--http1.1"] {
        fs::remove_file(site.dir.path().join("jar")).unwrap();
        let fields = format!("login=sam&password={}", OTTER.replace(' ', "+"));
        let answer = site.answer(&[version, "-H", &origin, "-d", &fields, &login]).await;
        assert!(answer.ends_with("303 /profile"), "{version}: {answer}");
        assert!(site.answer(&[version, &profile]).await.ends_with(" 200"), "{version}");
        let jar = fs::read_to_string(site.dir.path().join("jar")).unwrap();
        assert!(jar.contains("__Host-latchkey_session"), "{jar}");
    }
    assert!(site.curl(&["-i", &login]).await.contains("strict-transport-security: max-age="));
}

#[tokio::test]
async fn plain_http_is_sent_to_the_site_and_nowhere_else() {
    let site = Secured::start(ConnectionLimits::default()).await;
    let url = &site.app.url;
    for (target, location) in [
        ("/", "/"),
        ("/reset-password?token=a%20b&c=", "/reset-password?token=a%20b&c="),
        ("//evil.example/", "//evil.example/"),
        ("http://evil.example/login", "/login"),
        ("/@evil.example", "/@evil.example"),
        ("*", "/"),
    ] {
        for method in ["GET", "HEAD", "POST", "OPTIONS"] {
            let mut wire = Wire::to(&site.plain).await;
            wire.say(format!("{method} {target} HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example\r\nConnection: close\r\n\r\n"))
                .await;
            let answer = String::from_utf8(wire.rest().await).unwrap();
            if target == "*" && method != "OPTIONS" {
                assert!(answer.contains(" 308 ") || answer.contains(" 400 "), "{answer}");
                continue;
            }
            assert!(answer.starts_with("HTTP/1.1 308 "), "{method} {target}: {answer}");
            assert!(answer.contains(&format!("location: {url}{location}\r\n")), "{method} {target}: {answer}");
        }
    }
    assert_eq!(
        site.answer(&[&format!("http://{}/login?next=/profile", site.plain)]).await,
        format!("1.1 308 {url}/login?next=/profile")
    );
    // Bytes that are no TLS get no answer at the port for TLS, and delay no other client.
    let mut wire = Wire::to(&site.app.url).await;
    wire.say("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(!wire.rest().await.starts_with(b"HTTP"));
}

#[tokio::test]
async fn a_handshake_that_is_not_finished_is_cut() {
    let site =
        Secured::start(ConnectionLimits { first_request: Duration::from_millis(300), ..ConnectionLimits::default() })
            .await;
    for hello in [&b""[..], &[22, 3, 1, 0, 200, 1]] {
        let mut wire = Wire::to(&site.app.url).await;
        wire.say(hello).await;
        wire.rest().await;
    }
}

/// Returns the serial number of the certificate that new connections get.
fn serial(site: &Secured) -> String {
    let port = site.url.rsplit(':').next().unwrap();
    let script =
        format!("openssl s_client -connect 127.0.0.1:{port} </dev/null 2>/dev/null | openssl x509 -noout -serial");
    String::from_utf8(Command::new("sh").args(["-c", &script]).output().unwrap().stdout).unwrap()
}

fn make_again(dir: &Path) {
    let fresh = tempfile::tempdir().unwrap();
    make_certificate(fresh.path());
    for name in ["ca.pem", "server.pem", "server.key"] {
        fs::copy(fresh.path().join(name), dir.join(name)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_used_without_a_restart_and_a_broken_one_is_not() {
    let site =
        Secured::start(ConnectionLimits { renew_every: Duration::from_millis(20), ..ConnectionLimits::default() })
            .await;
    let first = serial(&site);
    assert!(first.starts_with("serial="), "{first}");
    make_again(site.dir.path());
    let renewed = until("the new certificate is used", async || Some(serial(&site)).filter(|now| *now != first)).await;
    fs::write(site.dir.path().join("server.key"), "no key").unwrap();
    fs::remove_file(site.dir.path().join("server.pem")).unwrap();
    for _ in 0..5 {
        assert_eq!(serial(&site), renewed);
    }
    make_again(site.dir.path());
    until("the next one is used", async || Some(serial(&site)).filter(|now| *now != renewed)).await;
}

#[tokio::test]
async fn files_that_are_not_valid_are_named() {
    let dir = tempfile::tempdir().unwrap();
    make_certificate(dir.path());
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::write(dir.path().join("empty"), "").unwrap();
    for (cert, key, named, why) in [
        ("server.pem", "ca.key", "LATCHKEY_TLS_KEY", "not the key"),
        ("server.pem", "server.pem", "LATCHKEY_TLS_KEY", ""),
        ("server.key", "server.key", "LATCHKEY_TLS_CERT", "no certificate"),
        ("empty", "server.key", "LATCHKEY_TLS_CERT", "no certificate"),
        ("server.pem", "empty", "LATCHKEY_TLS_KEY", ""),
        ("nowhere.pem", "server.key", "LATCHKEY_TLS_CERT", "No such file"),
        ("server.pem", "nowhere.key", "LATCHKEY_TLS_KEY", "No such file"),
    ] {
        let (cert, key) = (file(cert), file(key));
        let ran = Process::new(&[("LATCHKEY_TLS_CERT", &cert), ("LATCHKEY_TLS_KEY", &key)]).run(&["serve"]);
        assert_eq!((ran.code, ran.err.lines().count()), (Some(1), 1), "{cert} {key}: {}", ran.err);
        assert!(ran.err.contains(named) && ran.err.contains(why), "{cert} {key}: {}", ran.err);
    }
}

/// A client that comes again brings a ticket, and needs no new handshake. The server keeps nothing for it: a crowd of others in
/// between does not matter.
#[tokio::test]
async fn a_client_that_comes_again_resumes_its_session() {
    let site = Secured::start(ConnectionLimits { per_client: usize::MAX, ..ConnectionLimits::default() }).await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(site.dir.path().join("ca.pem")).unwrap()).unwrap();
    let roots = Arc::new(roots);
    let client = || Arc::new(ClientConfig::builder().with_root_certificates(roots.clone()).with_no_client_auth());
    let port = site.app.url.rsplit(':').next().unwrap().parse().unwrap();
    let visit = async |client: &Arc<ClientConfig>| {
        let socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(client.clone()).connect(name, socket).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
        let _ = stream.read_to_end(&mut vec![]).await; // the tickets come before the answer
        stream.get_ref().1.handshake_kind().unwrap()
    };
    let ours = client();
    assert_eq!(visit(&ours).await, HandshakeKind::Full);
    assert_eq!(visit(&ours).await, HandshakeKind::Resumed);
    for _ in 0..300 {
        assert_eq!(visit(&client()).await, HandshakeKind::Full);
    }
    assert_eq!(visit(&ours).await, HandshakeKind::Resumed);
}
