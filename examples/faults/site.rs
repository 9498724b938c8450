//! The program under test: the release binary, one process for each node, as an operator runs it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::sleep;

/// How long a server may take to get ready.
const START_WITHIN: Duration = Duration::from_secs(40);

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Before,
    During,
    After,
}

/// What the clients of a run have seen.
#[derive(Default)]
pub struct Tally {
    /// Changes that were acknowledged.
    pub done: AtomicUsize,
    /// Pages of failures (5xx).
    pub failed: AtomicUsize,
    /// Requests without an answer.
    pub lost: AtomicUsize,
    /// Requests that no node took.
    pub not_sent: AtomicUsize,
    pub violations: Arc<Mutex<Vec<String>>>,
}

impl Tally {
    pub fn violated(&self, what: String) {
        locked(&self.violations).push(what);
    }

    /// Notes as a violation what a check has found.
    pub fn judge(&self, check: anyhow::Result<()>) {
        if let Err(why) = check {
            self.violated(format!("{why:#}"));
        }
    }
}

/// Locks a value. A panic in another run does not matter here.
pub fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Node {
    child: Option<Child>,
    port: u16,
    binary: PathBuf,
    settings: BTreeMap<String, String>,
    up: Arc<AtomicBool>,
}

/// The nodes, and what they share.
pub struct Site {
    pub dir: TempDir,
    pub tally: Arc<Tally>,
    nodes: Mutex<Vec<Node>>,
    phase: AtomicU8,
    turn: AtomicUsize,
    may_lose: AtomicBool,
    may_stop: AtomicBool,
    may_age: AtomicBool,
}

impl Site {
    /// Returns a site without nodes.
    pub fn new(dir: TempDir) -> Self {
        let (tally, nodes) = (Arc::default(), Mutex::default());
        let [may_lose, may_stop, may_age] = [false; 3].map(AtomicBool::new);
        Self { dir, tally, nodes, phase: AtomicU8::new(0), turn: AtomicUsize::new(0), may_lose, may_stop, may_age }
    }

    /// Adds a node, which does not run yet. Returns its number.
    pub fn add(&self, binary: &Path, settings: &BTreeMap<String, String>) -> anyhow::Result<usize> {
        let port = free_port()?;
        let mut settings = settings.clone();
        settings.insert("LATCHKEY_LISTEN".into(), format!("127.0.0.1:{port}"));
        let node = Node { child: None, port, binary: binary.to_owned(), settings, up: Arc::default() };
        let mut nodes = locked(&self.nodes);
        nodes.push(node);
        Ok(nodes.len() - 1)
    }

    pub fn nodes(&self) -> usize {
        locked(&self.nodes).len()
    }

    /// Starts a node and waits until it is ready. One that ends at once is started again, as a service manager does.
    pub async fn start(&self, number: usize) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            if self.spawn(number)? {
                sleep(Duration::from_millis(200)).await;
            }
            if self.is_ready(number).await {
                locked(&self.nodes)[number].up.store(true, Relaxed);
                return Ok(());
            }
            ensure!(began.elapsed() < START_WITHIN, "node {number} did not get ready:\n{}", self.log_end(number));
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Starts the process of a node if none runs. Returns whether one had ended by itself.
    fn spawn(&self, number: usize) -> anyhow::Result<bool> {
        let log = File::options().create(true).append(true).open(self.log_file(number))?;
        let node = &mut locked(&self.nodes)[number];
        let ended = match &mut node.child {
            Some(child) => child.try_wait()?.is_some(),
            None => false,
        };
        if node.child.is_none() || ended {
            let mut command = Command::new(&node.binary);
            command.env_clear().envs(&node.settings).current_dir(self.dir.path());
            node.child = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?);
        }
        Ok(ended)
    }

    /// Asks `/readyz`.
    pub async fn is_ready(&self, number: usize) -> bool {
        let port = locked(&self.nodes)[number].port;
        let asked = async {
            let client = reqwest::Client::builder().timeout(Duration::from_secs(3)).build()?;
            client.get(format!("http://127.0.0.1:{port}/readyz")).header("host", "localhost").send().await
        };
        asked.await.is_ok_and(|answer| answer.status().as_u16() == 200)
    }

    /// Looks after the nodes as a load balancer does: one that is not ready gets no requests.
    pub fn balance(self: &Arc<Self>) -> tokio::task::AbortHandle {
        let site = self.clone();
        let task = tokio::spawn(async move {
            loop {
                for number in 0..site.nodes() {
                    let ready = site.is_ready(number).await;
                    locked(&site.nodes)[number].up.store(ready, Relaxed);
                }
                sleep(Duration::from_millis(100)).await;
            }
        });
        task.abort_handle()
    }

    /// Returns the ports to send a request to, in the order of the attempts: the nodes that are up take turns.
    pub fn ports(&self) -> Vec<u16> {
        let nodes = locked(&self.nodes);
        let mut all: Vec<_> = nodes.iter().filter(|node| node.up.load(Relaxed)).map(|node| node.port).collect();
        if all.is_empty() {
            all = nodes.iter().map(|node| node.port).collect();
        }
        let turn = self.turn.fetch_add(1, Relaxed) % all.len().max(1);
        all.rotate_left(turn);
        all
    }

    /// Returns the process id of a node that runs.
    pub fn pid(&self, number: usize) -> anyhow::Result<Pid> {
        let nodes = locked(&self.nodes);
        Ok(Pid::from_child(nodes[number].child.as_ref().context("the node does not run")?))
    }

    pub fn signal(&self, number: usize, signal: Signal) -> anyhow::Result<()> {
        Ok(kill_process(self.pid(number)?, signal)?)
    }

    /// Ends a node at once (`kill -9`).
    pub fn kill(&self, number: usize) -> anyhow::Result<()> {
        let child = locked(&self.nodes)[number].child.take();
        let mut child = child.context("the node does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Stops a node as a service manager does (SIGTERM), and waits for its end.
    pub async fn stop(&self, number: usize) -> anyhow::Result<()> {
        self.signal(number, Signal::TERM)?;
        let began = Instant::now();
        loop {
            let ended = match &mut locked(&self.nodes)[number].child {
                Some(child) => child.try_wait()?,
                None => bail!("the node does not run"),
            };
            if let Some(status) = ended {
                ensure!(status.success(), "the node ended with {status}");
                locked(&self.nodes)[number].child = None;
                return Ok(());
            }
            ensure!(began.elapsed() < Duration::from_secs(50), "the node did not stop");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Gives a node another binary, for its next start.
    pub fn upgrade(&self, number: usize, binary: &Path) {
        locked(&self.nodes)[number].binary = binary.to_owned();
    }

    /// Notes a violation for each node that has ended by itself.
    pub fn expect_alive(&self) -> anyhow::Result<()> {
        let mut ended = vec![];
        for (number, node) in locked(&self.nodes).iter_mut().enumerate() {
            if let Some(child) = &mut node.child
                && let Some(status) = child.try_wait()?
            {
                ended.push((number, status));
            }
        }
        for (number, status) in ended {
            self.tally.violated(format!("node {number} has ended by itself: {status}\n{}", self.log_end(number)));
        }
        Ok(())
    }

    fn log_file(&self, number: usize) -> PathBuf {
        self.dir.path().join(format!("node{number}.log"))
    }

    /// Returns the last lines of a node's log.
    pub fn log_end(&self, number: usize) -> String {
        let log = fs::read_to_string(self.log_file(number)).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    pub fn phase(&self) -> Phase {
        [Phase::Before, Phase::During, Phase::After][usize::from(self.phase.load(Relaxed))]
    }

    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    /// Allows that requests in progress lose their connection, and that no node takes one for a while.
    pub fn allow(&self, lose: bool, stop: bool) {
        self.may_lose.store(lose, Relaxed);
        self.may_stop.store(stop, Relaxed);
    }

    /// Allows that links and sessions expire, because the clock goes wrong.
    pub fn allow_age(&self) {
        self.may_age.store(true, Relaxed);
    }

    pub fn may_age(&self) -> bool {
        self.may_age.load(Relaxed)
    }

    pub fn may_lose(&self) -> bool {
        self.may_lose.load(Relaxed)
    }

    pub fn may_stop(&self) -> bool {
        self.may_stop.load(Relaxed)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for node in locked(&self.nodes).iter_mut() {
            if let Some(child) = &mut node.child {
                // Both fail if the node has ended already.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// Returns a port that is free. It is below those that the kernel gives to connections (32768): a port of these may be
/// taken again while its server restarts.
pub fn free_port() -> anyhow::Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..1000 {
        // Another harness that runs beside begins somewhere else.
        let place = NEXT.fetch_add(1, Relaxed) + (std::process::id() % 1000) * 97;
        let port = 12_000 + u16::try_from(place % 20_000)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free")
}
