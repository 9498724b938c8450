//! Changes in a PostgreSQL database, which several nodes share.
//!
//! The triggers notify one channel with the commit (step 11). PostgreSQL hands notifications to every listener in the order of
//! the commits. So a node that gets its own message back (a ping) has heard of everything that was committed before it sent it,
//! and gives out marks for a second from then on ([`LEASE`]). A node that hears nothing gives out none, whatever the reason is.
//!
//! A node that ends a session asks all that may give out marks whether they have heard of it, and then answers
//! ([`Nodes::reach_all`]). It knows them by their pings, which it hears too. One that does not answer is not waited for longer
//! than a second, because it gives out no marks then. So the answer to a log-out is true at all nodes (C. Gray, D. Cheriton,
//! “Leases”, 1989).

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, io};

use sea_orm::sqlx::postgres::{PgListener, PgPool, PgPoolOptions};
use sea_orm::sqlx::{self, Error};
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};
use tracing::debug;
use uuid::Uuid;

use super::{AGAIN, Changes};

/// How long a node that has heard its own ping gives out marks after it sent it.
pub(super) const LEASE: Duration = Duration::from_secs(1);
/// How often it pings while users are there.
const EVERY: Duration = Duration::from_millis(250);
/// How long a ping may take before the connection is thought to be lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// Says lines to all nodes. Nothing is lost if the database crashes before they are on its disk.
const SAY: &str = "SELECT set_config('synchronous_commit', 'off', true), pg_notify('latchkey', line) \
                   FROM unnest($1::text[]) AS line";
/// Keeps the server from ending a connection that only listens. PostgreSQL 13 has no such setting.
const STAY: &str = "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'";
/// Waits until all that was committed before is on the disk, together with the commits of others. A transaction that notifies
/// holds a lock of the whole server until its own commit is on the disk, so it does not wait for that (`db::writer`).
pub(in crate::db) const FLUSH: &str = "SELECT pg_logical_emit_message(true, 'latchkey', '')";

/// The servers that share the database, as this one hears them.
#[derive(Debug)]
pub(super) struct Nodes {
    pool: PgPool,
    heard: Mutex<Heard>,
    /// Something in `heard` has changed.
    news: Notify,
    questions: AtomicU64,
}

/// What a connection that listens has heard.
#[derive(Debug, Default)]
struct Heard {
    /// Since when there is such a connection, and where its lines are sent.
    listening: Option<(Instant, Lines)>,
    /// PostgreSQL's process for the connection. The other nodes know this one by it.
    own: i32,
    /// The number of our last ping, and when it was sent.
    sent: (u64, Option<Instant>),
    /// The number of our last ping that came back.
    returned: u64,
    /// When each node was heard to ping.
    pings: HashMap<i32, Instant>,
    /// Who has answered each question that is open.
    answers: HashMap<u64, HashSet<i32>>,
}

/// A question to all nodes. It is forgotten when this is dropped, also if its request was given up.
struct Question<'a> {
    nodes: &'a Nodes,
    number: u64,
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.nodes.heard().answers.remove(&self.number);
    }
}

impl Nodes {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { pool, heard: Mutex::default(), news: Notify::new(), questions: AtomicU64::new(0) }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until each node has heard of what was committed before, or gives out no marks.
    pub(super) async fn reach_all(&self) {
        let committed = Instant::now();
        let question = Question { nodes: self, number: self.questions.fetch_add(1, SeqCst) };
        let asked = {
            let mut heard = self.heard();
            heard.answers.insert(question.number, HashSet::new());
            let ask = Line::Ask { node: heard.own, question: question.number };
            // All pings that still matter must have been heard.
            let since = heard.listening.as_ref().filter(|(since, _)| since.elapsed() > LEASE);
            since.is_some_and(|(_, lines)| lines.send(ask).is_ok())
        };
        let answered = async {
            loop {
                let news = self.news.notified();
                if self.heard().is_answered(question.number) {
                    return;
                }
                news.await;
            }
        };
        if !asked || timeout(LEASE, answered).await.is_err() {
            tokio::time::sleep_until((committed + LEASE).into()).await;
        }
    }

    /// Listens until the connection is lost.
    async fn listen(&self, changes: &Changes) -> Result<(), Error> {
        // Apart from the connections of requests: when those are busy, leases would run out, and there would be more to do.
        let apart = PgPoolOptions::new().max_connections(2).idle_timeout(None).max_lifetime(None);
        let apart = apart.connect_with(self.pool.connect_options().as_ref().clone()).await?;
        let mut listener = PgListener::connect_with(&apart).await?;
        listener.eager_reconnect(false);
        sqlx::query(STAY).execute(&mut listener).await?;
        let own: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut listener).await?;
        listener.listen("latchkey").await?;

        // PgBouncer in transaction mode takes all of this, and never hands a notification on.
        let first = Line::Ping { node: own, number: 0 };
        say(&apart, vec![first.to_string()]).await?;
        let hears = async {
            while Line::read(&next(&mut listener).await?) != Some(first) {}
            Ok::<_, Error>(())
        };
        timeout(PATIENCE, hears).await.map_err(|_| lost())??;

        let (lines, said) = mpsc::unbounded_channel();
        *self.heard() = Heard { listening: Some((Instant::now(), lines)), own, ..Heard::default() };
        changes.forget_all();
        tokio::select! {
            ended = self.hear(&mut listener, changes) => ended,
            ended = self.ping(own, changes) => ended,
            ended = say_all(&apart, said) => ended,
        }
    }

    async fn hear(&self, listener: &mut PgListener, changes: &Changes) -> Result<(), Error> {
        loop {
            let line = Line::read(&next(listener).await?);
            let mut heard = self.heard();
            let own = heard.own;
            match line {
                Some(Line::Changed { user }) => changes.changed(user),
                Some(Line::AllChanged) => changes.forget_all(),
                Some(Line::Ping { node, number }) if node == own => {
                    if number == heard.sent.0
                        && let Some(sent) = heard.sent.1
                    {
                        changes.good_until(sent + LEASE);
                        heard.returned = number;
                    }
                }
                Some(Line::Ping { node, .. }) => {
                    heard.pings.retain(|_, at| at.elapsed() <= LEASE);
                    heard.pings.insert(node, Instant::now());
                }
                Some(Line::Ask { node, question }) if node == own => heard.take_answer(question, own),
                Some(Line::Ask { node, question }) => heard.say(Line::Answer { node, question, by: own }),
                Some(Line::Answer { node, question, by }) if node == own => heard.take_answer(question, by),
                // To other nodes, or of a newer version.
                Some(Line::Answer { .. }) | None => {}
            }
            drop(heard);
            self.news.notify_waiters();
        }
    }

    /// Pings, as long as marks are asked for.
    async fn ping(&self, own: i32, changes: &Changes) -> Result<(), Error> {
        for number in 1.. {
            changes.wanted.notified().await;
            {
                let mut heard = self.heard();
                heard.sent = (number, Some(Instant::now()));
                heard.say(Line::Ping { node: own, number });
            }
            let returned = async {
                loop {
                    let news = self.news.notified();
                    if self.heard().returned == number {
                        return;
                    }
                    news.await;
                }
            };
            timeout(PATIENCE, returned).await.map_err(|_| lost())?;
            sleep(EVERY).await;
        }
        Ok(())
    }
}

impl Heard {
    /// Sends a line to all nodes.
    fn say(&self, line: Line) {
        if let Some((_, lines)) = &self.listening {
            let _ = lines.send(line); // it fails only when this connection ends
        }
    }

    fn take_answer(&mut self, question: u64, by: i32) {
        if let Some(who) = self.answers.get_mut(&question) {
            who.insert(by);
        }
    }

    /// Returns whether nobody has to answer any more. Our own answer is the question that came back: what was said before it was
    /// heard by then, so also the ping of each node that gives out marks since before it.
    fn is_answered(&self, question: u64) -> bool {
        let Some(who) = self.answers.get(&question) else { return false };
        let mut others = self.pings.iter().filter(|(_, at)| at.elapsed() <= LEASE);
        who.contains(&self.own) && others.all(|(node, _)| who.contains(node))
    }
}

/// As [`Nodes::reach_all`], for a process that does not listen. It waits as long as a node gives out marks.
pub(super) async fn wait_for_all(pool: &PgPool) {
    let any = sqlx::query("SELECT 1 FROM nodes LIMIT 1").fetch_optional(pool).await;
    if !matches!(any, Ok(None)) {
        sleep(LEASE).await;
    }
}

/// Says what the tasks of a connection have to say, as many lines at once as wait.
async fn say_all(pool: &PgPool, mut lines: mpsc::UnboundedReceiver<Line>) -> Result<(), Error> {
    while let Some(line) = lines.recv().await {
        let mut all = vec![line.to_string()];
        while let Ok(line) = lines.try_recv() {
            all.push(line.to_string());
        }
        say(pool, all).await?;
    }
    Ok(())
}

async fn say(pool: &PgPool, lines: Vec<String>) -> Result<(), Error> {
    sqlx::query(SAY).bind(lines).execute(pool).await?;
    Ok(())
}

type Lines = mpsc::UnboundedSender<Line>;

/// What the nodes and the triggers say to all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// A trigger: the user or a session of the user has changed.
    Changed { user: Uuid },
    /// A trigger: all rows of a table were removed at once.
    AllChanged,
    /// A node, to itself.
    Ping { node: i32, number: u64 },
    /// A node: have you heard of what was committed before?
    Ask { node: i32, question: u64 },
    /// To the node that has asked: yes.
    Answer { node: i32, question: u64, by: i32 },
}

impl Line {
    /// Reads a line. A newer version may say what this one does not know.
    fn read(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        Some(match *words.as_slice() {
            ["changed", "all"] => Self::AllChanged,
            ["changed", user] => Self::Changed { user: user.parse().ok()? },
            ["ping", node, number] => Self::Ping { node: node.parse().ok()?, number: number.parse().ok()? },
            ["ask", node, question] => Self::Ask { node: node.parse().ok()?, question: question.parse().ok()? },
            ["answer", node, question, by] => {
                Self::Answer { node: node.parse().ok()?, question: question.parse().ok()?, by: by.parse().ok()? }
            }
            _ => return None,
        })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { user } => write!(f, "changed {user}"),
            Self::AllChanged => f.write_str("changed all"),
            Self::Ping { node, number } => write!(f, "ping {node} {number}"),
            Self::Ask { node, question } => write!(f, "ask {node} {question}"),
            Self::Answer { node, question, by } => write!(f, "answer {node} {question} {by}"),
        }
    }
}

async fn next(listener: &mut PgListener) -> Result<String, Error> {
    Ok(listener.try_recv().await?.ok_or_else(lost)?.payload().to_owned())
}

fn lost() -> Error {
    Error::Io(io::ErrorKind::ConnectionAborted.into())
}

/// Listens to the other nodes for as long as the server runs.
pub(in crate::db) async fn watch(pool: &PgPool, changes: &Changes) {
    let nodes = changes.nodes.get_or_init(|| Nodes::new(pool.clone()));
    loop {
        if let Err(why) = nodes.listen(changes).await {
            debug!(%why, "sessions are read from the database each time: it tells of no changes");
        }
        *nodes.heard() = Heard::default();
        changes.stop();
        sleep(AGAIN).await;
    }
}
