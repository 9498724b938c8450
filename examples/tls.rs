//! Measures what TLS and HTTP/2 cost, each beside plain HTTP/1.1 in the same run:
//!
//! ```text
//! cargo build --release && cargo run --release --example tls
//! ```
//!
//! Two servers run on one machine, with TLS and without, and a client in this process asks both in turns: pages over connections
//! that stay open, by HTTP/1.1 and by HTTP/2 with eight requests at once on each connection, and handshakes, whole ones and those
//! of clients that come again. The figure that counts is the server's processor time, because the client shares its cores. The
//! certificate has a key on P-256 and is made by `openssl`.

#![expect(clippy::print_stdout, reason = "the program prints a table")]

#[expect(dead_code, reason = "shared with other programs")]
mod measured;
mod served;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use axum::http::Request;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore};

use measured::{Run, Runs, Table, log_in, page, processor_time, sign_up};
use served::{Connection, Server, binary, cookies, fetch, free_port, with};

const TURNS: usize = 9;
const LASTS: Duration = Duration::from_secs(1);
const CONNECTIONS: usize = 4;
const STREAMS: usize = 8;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let run = Run::begin("cargo run --release --example tls")?;
    let (plain_dir, dir) = (tempfile::tempdir()?, tempfile::tempdir()?);
    sign_up(Server::latchkey(plain_dir.path(), &[("LATCHKEY_SIGNUP", "open")]).await?).await?;
    make_certificate(dir.path())?;
    let tls = Tls::start(dir.path(), plain_dir.path()).await?;
    let plain = Server::latchkey(plain_dir.path(), &[]).await?;
    let jar = cookies(plain.connect().await?.ask(&log_in(0)).await?.text);
    let secure_jar = cookies(tls.connect(&tls.client(b"http/1.1", true)?).await?.ask(&log_in(0)).await?.text);

    let mut table = Table::default();
    for (name, path, plain_jar, tls_jar) in
        [("`GET /login`", "/login", "", ""), ("signed-in `/profile`", "/profile", &*jar, &*secure_jar)]
    {
        let [mut base, mut http1, mut http2] = [const { Runs(Vec::new()) }; 3];
        for _ in 0..TURNS {
            let open = async || plain.connect().await;
            let a = load(plain.child.id(), &with(&fetch(path), plain_jar), open).await?;
            let client = tls.client(b"http/1.1", true)?;
            let b =
                load(tls.server.child.id(), &with(&fetch(path), tls_jar), async || tls.connect(&client).await).await?;
            let c = tls.load_http2(path, tls_jar).await?;
            base.0.push(a);
            http1.0.push(b);
            http2.0.push(c);
        }
        let beside = format!("plain HTTP/1.1: {}", base.show("µs"));
        let ratio = |runs: &Runs| format!("{:.2}", runs.median() / base.median());
        table.row(&format!("{name}, HTTP/1.1 over TLS"), [&http1.show("µs"), &beside, &ratio(&http1), "", ""]);
        table.row(&format!("{name}, HTTP/2 over TLS"), [&http2.show("µs"), &beside, &ratio(&http2), "", ""]);
    }
    let [mut whole, mut resumed] = [const { Runs(Vec::new()) }; 2];
    for _ in 0..TURNS {
        whole.0.push(tls.handshakes(HandshakeKind::Full).await?);
        resumed.0.push(tls.handshakes(HandshakeKind::Resumed).await?);
    }
    let beside = format!("a whole one: {}", whole.show("µs"));
    table.row("a handshake and one page", [&whole.show("µs"), "", "", "", ""]);
    let ratio = format!("{:.2}", resumed.median() / whole.median());
    table.row("  of a client that comes again", [&resumed.show("µs"), &beside, &ratio, "", ""]);
    table.print();
    plain.stop()?;
    tls.server.stop()?;
    run.end()
}

/// Sends the request again after each answer on some connections. Returns the server's processor time for one answer, in µs.
async fn load<S>(
    server: u32,
    request: &[u8],
    open: impl AsyncFn() -> anyhow::Result<Connection<S>>,
) -> anyhow::Result<f64>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let mut tasks = JoinSet::new();
    let mut connections = vec![];
    for _ in 0..CONNECTIONS * STREAMS {
        connections.push(open().await?);
    }
    let (before, end) = (processor_time(server)?, Instant::now() + LASTS);
    for mut connection in connections {
        let request = request.to_vec();
        tasks.spawn(async move {
            let mut done = 0.0;
            while Instant::now() < end {
                let status = connection.ask(&request).await?.status;
                ensure!(status == 200, "answered {status}");
                done += 1.0;
            }
            Ok(done)
        });
    }
    let done = tasks.join_all().await.into_iter().sum::<anyhow::Result<f64>>()?;
    Ok((processor_time(server)? - before) / done * 1e6)
}

/// A server with TLS, and its authority.
struct Tls {
    server: Server,
    roots: Arc<RootCertStore>,
}

impl Tls {
    /// Starts it on a copy of a database.
    async fn start(dir: &Path, users: &Path) -> anyhow::Result<Self> {
        for file in ["latchkey.db", "latchkey.db-wal", "secret"] {
            if users.join(file).exists() {
                fs::copy(users.join(file), dir.join(file))?;
            }
        }
        let (mut command, port) = (Command::new(binary()?), free_port()?);
        command.env_clear().env("LATCHKEY_RATE_LIMITS", "off").env("LATCHKEY_PUBLIC_URL", "https://localhost");
        command.env("LATCHKEY_LISTEN", format!("127.0.0.1:{port}")).env("LATCHKEY_DATA_DIR", dir);
        command.env("LATCHKEY_TLS_CERT", dir.join("server.pem")).env("LATCHKEY_TLS_KEY", dir.join("server.key"));
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(dir.join("ca.pem"))?)?;
        let roots = Arc::new(roots);
        let log = fs::File::create(dir.join("log"))?;
        let child =
            command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).stderr(log).spawn()?;
        let tls = Self { server: Server { child, port, started_in: Duration::ZERO }, roots };
        let client = tls.client(b"http/1.1", true)?;
        let began = Instant::now();
        while tls.connect(&client).await.is_err() {
            ensure!(began.elapsed() < Duration::from_secs(10), "{}", fs::read_to_string(dir.join("log"))?);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(tls)
    }

    fn client(&self, protocol: &[u8], resumes: bool) -> anyhow::Result<Arc<ClientConfig>> {
        let mut client = ClientConfig::builder().with_root_certificates(self.roots.clone()).with_no_client_auth();
        client.alpn_protocols = vec![protocol.to_vec()];
        if !resumes {
            client.resumption = Resumption::disabled();
        }
        Ok(Arc::new(client))
    }

    async fn open(&self, client: &Arc<ClientConfig>) -> anyhow::Result<TlsStream<TcpStream>> {
        let socket = TcpStream::connect(("127.0.0.1", self.server.port)).await?;
        socket.set_nodelay(true)?;
        Ok(TlsConnector::from(client.clone()).connect(ServerName::try_from("localhost")?, socket).await?)
    }

    async fn connect(&self, client: &Arc<ClientConfig>) -> anyhow::Result<Connection<TlsStream<TcpStream>>> {
        Ok(Connection::over(self.open(client).await?))
    }

    /// As [`load`], with several requests at once on each connection.
    async fn load_http2(&self, path: &str, jar: &str) -> anyhow::Result<f64> {
        let client = self.client(b"h2", true)?;
        let mut senders = vec![];
        for _ in 0..CONNECTIONS {
            let (sender, connection) = h2::client::handshake(self.open(&client).await?).await?;
            tokio::spawn(connection); // it ends with its last sender
            senders.push(sender);
        }
        let server = self.server.child.id();
        let (before, end) = (processor_time(server)?, Instant::now() + LASTS);
        let mut tasks = JoinSet::new();
        for sender in senders.iter().flat_map(|sender| std::iter::repeat_n(sender, STREAMS)) {
            let (sender, uri, jar) = (sender.clone(), format!("https://localhost{path}"), jar.to_owned());
            tasks.spawn(async move {
                let mut done = 0.0;
                while Instant::now() < end {
                    let mut request = Request::get(&uri);
                    if !jar.is_empty() {
                        request = request.header("cookie", &jar);
                    }
                    let mut ready = sender.clone().ready().await?;
                    let (answer, _) = ready.send_request(request.body(())?, true)?;
                    let answer = answer.await?;
                    ensure!(answer.status() == 200, "answered {}", answer.status());
                    let mut body = answer.into_body();
                    while let Some(part) = body.data().await {
                        let length = part?.len();
                        body.flow_control().release_capacity(length)?;
                    }
                    done += 1.0;
                }
                Ok(done)
            });
        }
        let done = tasks.join_all().await.into_iter().sum::<anyhow::Result<f64>>()?;
        Ok((processor_time(server)? - before) / done * 1e6)
    }

    /// Connects, asks for one page, and closes, again and again. Returns the server's processor time for each, in µs.
    async fn handshakes(&self, kind: HandshakeKind) -> anyhow::Result<f64> {
        let client = self.client(b"http/1.1", kind == HandshakeKind::Resumed)?;
        self.connect(&client).await?.ask(&page()).await?; // this one brings the first tickets
        let server = self.server.child.id();
        let (before, end, mut done) = (processor_time(server)?, Instant::now() + LASTS, 0.0);
        while Instant::now() < end {
            let stream = self.open(&client).await?;
            let was = stream.get_ref().1.handshake_kind().context("no handshake")?;
            ensure!(was == kind, "{was:?}");
            Connection::over(stream).ask(&page()).await?;
            done += 1.0;
        }
        Ok((processor_time(server)? - before) / done * 1e6)
    }
}

/// Makes an authority, and a certificate for localhost.
fn make_certificate(dir: &Path) -> anyhow::Result<()> {
    fs::write(dir.join("empty.cnf"), "[req]\ndistinguished_name = name\n[name]\n")?;
    let make = |name: &str, more: &str| {
        let key = format!(
            "req -config empty.cnf -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout {name}.key -out {name}.pem"
        );
        let made = Command::new("openssl").args(key.split(' ')).args(more.split(' ')).current_dir(dir).output()?;
        ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Ok(())
    };
    make("ca", "-subj /CN=ours -addext basicConstraints=critical,CA:TRUE")?;
    make("server", "-subj /CN=localhost -addext subjectAltName=DNS:localhost -CA ca.pem -CAkey ca.key")
}
