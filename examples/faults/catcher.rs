//! A mail server that takes letters over STARTTLS, notes each of them, and misbehaves on command.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use mail_parser::MessageParser;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::certificate::{acceptor, make_certificate};
use crate::site::{free_port, locked};

/// How long greylisting asks a recipient's letter to wait.
const GREY_FOR: Duration = Duration::from_secs(3);

/// How the mail server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It takes every letter.
    Takes,
    /// It does not listen.
    Closed,
    /// It sends one byte a second.
    Drips,
    /// It answers 451 to a recipient that it has not known for three seconds.
    Greylists,
    /// It answers 550 to every recipient.
    Rejects,
    /// It hangs up in the middle of a letter.
    DropsInData,
    /// Its certificate is of another authority.
    BadCertificate,
    /// It offers no STARTTLS, as when an attacker on the way removes the offer.
    NoStartTls,
    /// At the next connection it says so to the harness, and then says nothing to the client.
    HoldsConnection,
    /// It takes the next letter, says so to the harness, and answers 250 when it is told to.
    HoldsAnswer,
}

/// A letter that the mail server has taken.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The part of the `Message-ID` before the `@`: the ID of the row in the outbox.
    pub id: String,
    pub to: String,
    /// The path and the query of the first link.
    pub link: String,
}

/// What the harness hears of a letter that is held. The mail server answers when the sender is used.
pub type Held = oneshot::Sender<()>;

struct State {
    mode: watch::Receiver<Mode>,
    taken: watch::Sender<Vec<Delivery>>,
    hold: Mutex<Option<oneshot::Sender<Held>>>,
    known: Mutex<BTreeMap<String, Instant>>,
    good: TlsAcceptor,
    bad: TlsAcceptor,
}

/// A mail server on loopback. It ends when this value is dropped.
pub struct Catcher {
    pub port: u16,
    mode: watch::Sender<Mode>,
    state: Arc<State>,
    task: JoinHandle<()>,
}

impl Catcher {
    /// Starts a mail server whose authority is `ca.pem` in the folder.
    pub async fn start(dir: &Path) -> anyhow::Result<Self> {
        let (ours, other) = (dir.join("ours"), dir.join("other"));
        for dir in [&ours, &other] {
            fs::create_dir(dir)?;
            make_certificate(dir)?;
        }
        fs::copy(ours.join("ca.pem"), dir.join("ca.pem"))?;
        let (mode, changed) = watch::channel(Mode::Takes);
        let state = State {
            mode: changed.clone(),
            taken: watch::Sender::default(),
            hold: Mutex::default(),
            known: Mutex::default(),
            good: acceptor(&ours)?,
            bad: acceptor(&other)?,
        };
        let (port, state) = (free_port()?, Arc::new(state));
        let task = tokio::spawn(listen(port, state.clone(), changed));
        Ok(Self { port, mode, state, task })
    }

    pub fn behave(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Holds the next connection or letter. Returns when there is one.
    pub async fn hold(&self, mode: Mode) -> anyhow::Result<Held> {
        let (say, said) = oneshot::channel();
        *locked(&self.state.hold) = Some(say);
        self.behave(mode);
        Ok(timeout(Duration::from_secs(20), said).await.context("no letter came")??)
    }

    /// Returns all letters that were taken, oldest first.
    pub fn taken(&self) -> Vec<Delivery> {
        self.state.taken.borrow().clone()
    }

    /// Waits for a letter to this address with a link to this path, after the first `seen` of them. Returns the newest.
    pub async fn wait(&self, (to, path): (&str, &str), seen: usize, at_most: Duration) -> Option<String> {
        let mut taken = self.state.taken.subscribe();
        let newest = |all: &Vec<Delivery>| {
            let links: Vec<_> = all.iter().filter(|one| one.to == to && one.link.starts_with(path)).collect();
            (links.len() > seen).then(|| links.last().map(|one| one.link.clone())).flatten()
        };
        let found = timeout(at_most, taken.wait_for(|all| newest(all).is_some())).await;
        found.ok()?.ok().and_then(|all| newest(&all))
    }

    /// Returns how many letters to this address have a link to this path.
    pub fn count(&self, to: &str, path: &str) -> usize {
        self.state.taken.borrow().iter().filter(|one| one.to == to && one.link.starts_with(path)).count()
    }
}

impl Drop for Catcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens, except while the mode is `Closed`.
async fn listen(port: u16, state: Arc<State>, mut mode: watch::Receiver<Mode>) {
    loop {
        if mode.wait_for(|mode| *mode != Mode::Closed).await.is_err() {
            return;
        }
        let Ok(listener) = bind(port) else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        loop {
            tokio::select! {
                closed = mode.wait_for(|mode| *mode == Mode::Closed) => match closed {
                    Ok(_) => break,
                    Err(_) => return,
                },
                accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                    let state = state.clone();
                    // A client that hangs up is no error here.
                    tokio::spawn(async move { let _ = state.greet(stream).await; });
                }
            }
        }
    }
}

fn bind(port: u16) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], port).into())?;
    socket.listen(64)
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl State {
    fn is(&self, mode: Mode) -> bool {
        *self.mode.borrow() == mode
    }

    /// Reads a line. A connection that waits for one ends when the mail server begins to misbehave.
    async fn line(&self, stream: &mut (impl AsyncBufReadExt + Unpin)) -> anyhow::Result<String> {
        let (mut line, mut mode) = (String::new(), self.mode.clone());
        mode.mark_unchanged();
        let misbehaves = mode.wait_for(|mode| !matches!(mode, Mode::Takes | Mode::HoldsAnswer));
        // Not while it misbehaves already.
        let misbehaved = !self.is(Mode::Takes) && !self.is(Mode::HoldsAnswer);
        tokio::select! {
            _ = misbehaves, if !misbehaved => bail!("the connection is cut"),
            read = stream.read_line(&mut line) => ensure!(read? > 0, "the client hung up"),
        }
        Ok(line)
    }

    async fn say(&self, to: &mut (impl AsyncWrite + Unpin), line: &str) -> anyhow::Result<()> {
        for byte in line.as_bytes().iter().chain(b"\r\n") {
            if self.is(Mode::Drips) {
                sleep(Duration::from_secs(1)).await;
            }
            ensure!(!self.is(Mode::Closed), "closed");
            to.write_all(&[*byte]).await?;
        }
        Ok(to.flush().await?)
    }

    async fn greet(&self, mut stream: TcpStream) -> anyhow::Result<()> {
        stream.set_nodelay(true)?;
        let hold = if self.is(Mode::HoldsConnection) { locked(&self.hold).take() } else { None };
        if let Some(hold) = hold {
            let (go_on, told) = oneshot::channel();
            let _ = hold.send(go_on); // the harness may have given up
            let _ = told.await; // the connection ends here, in either case
            return Ok(());
        }
        self.say(&mut stream, "220 localhost ESMTP").await?;
        let (mut stream, mut offered) = (BufReader::new(stream), true);
        loop {
            let line = self.line(&mut stream).await?;
            match line.split_whitespace().next().unwrap_or_default() {
                "EHLO" => {
                    offered = !self.is(Mode::NoStartTls);
                    let words = if offered { "250-localhost\r\n250-8BITMIME\r\n250 STARTTLS" } else { "250 localhost" };
                    self.say(&mut stream, words).await?;
                }
                "STARTTLS" if offered => break,
                "QUIT" => return self.say(&mut stream, "221 Bye").await,
                _ => self.say(&mut stream, "530 STARTTLS first").await?,
            }
        }
        self.say(&mut stream, "220 Go ahead").await?;
        let tls = if self.is(Mode::BadCertificate) { &self.bad } else { &self.good };
        let stream = tls.accept(stream.into_inner()).await?;
        self.serve(BufReader::new(stream)).await
    }

    async fn serve(&self, mut stream: BufReader<impl Stream>) -> anyhow::Result<()> {
        loop {
            let line = self.line(&mut stream).await?;
            let answer = match line.split([' ', ':', '\r']).next().unwrap_or_default() {
                "EHLO" => "250-localhost\r\n250 8BITMIME",
                "RCPT" => self.judge(&line),
                "DATA" => {
                    self.say(&mut stream, "354 Go ahead").await?;
                    self.take(&mut stream).await?
                }
                "QUIT" => return self.say(&mut stream, "221 Bye").await,
                _ => "250 OK",
            };
            self.say(&mut stream, answer).await?;
        }
    }

    fn judge(&self, recipient: &str) -> &'static str {
        if self.is(Mode::Rejects) {
            return "550 5.1.1 No such mailbox";
        }
        let first = *locked(&self.known).entry(recipient.to_owned()).or_insert_with(Instant::now);
        if self.is(Mode::Greylists) && first.elapsed() < GREY_FOR {
            return "451 4.7.1 Greylisted; come back later";
        }
        "250 OK"
    }

    /// Reads a letter to its end, and notes it before the answer: the client may be gone by then.
    async fn take(&self, stream: &mut BufReader<impl Stream>) -> anyhow::Result<&'static str> {
        let mut letter = Vec::new();
        while !letter.ends_with(b"\r\n.\r\n") {
            ensure!(stream.read_until(b'\n', &mut letter).await? > 0, "the client hung up");
            ensure!(!self.is(Mode::DropsInData) || letter.len() < 200, "dropped");
        }
        let message = MessageParser::default().parse(&letter).context("no message")?;
        let id = message.message_id().and_then(|id| id.split('@').next()).context("no Message-ID")?;
        let to = message.to().and_then(|to| to.first()).and_then(|to| to.address()).context("no recipient")?;
        let text = message.body_text(0).context("no text")?;
        let link = text.split_whitespace().find_map(|word| word.strip_prefix("http://localhost")).unwrap_or_default();
        let delivery = Delivery { id: id.to_owned(), to: to.to_owned(), link: link.to_owned() };
        self.taken.send_modify(|all| all.push(delivery));
        if self.is(Mode::HoldsAnswer) {
            let hold = locked(&self.hold).take();
            if let Some(hold) = hold {
                let (go_on, told) = oneshot::channel();
                let _ = hold.send(go_on); // the harness may have given up
                let _ = told.await; // the answer is sent in either case
            }
        }
        Ok("250 2.0.0 Taken")
    }
}
