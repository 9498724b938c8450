//! Changes in a PostgreSQL database, which several nodes share.
//!
//! The triggers notify one channel with the commit (step 11). PostgreSQL hands notifications to every listener in the order of
//! the commits. So a node that gets its own message back has heard of everything that was committed before it sent it, and
//! gives out marks for a second ([`LEASE`]). A node that hears nothing gives out none, whatever the reason is.
//!
//! A node that ends a session asks all that listen whether they have heard of it, and then answers ([`Nodes::reach_all`]). One
//! that does not answer is not waited for longer than a second, because it gives out no marks then. So the answer to a log-out
//! is true at all nodes (C. Gray, D. Cheriton, “Leases”, 1989).

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, io};

use sea_orm::sqlx::postgres::{PgListener, PgPool, PgPoolOptions};
use sea_orm::sqlx::{self, Error, Row};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tracing::debug;
use uuid::Uuid;

use super::{AGAIN, Changes, sleep_until};

/// How long a node that has heard its own message gives out marks after it sent it.
pub(super) const LEASE: Duration = Duration::from_secs(1);
/// How often it sends one while users are there.
pub(super) const EVERY: Duration = Duration::from_millis(250);
/// How long its message may take before the connection is thought to be lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// Says lines to all nodes. Nothing is lost if the database crashes before they are on its disk.
const SAY: &str = "SELECT set_config('synchronous_commit', 'off', true), pg_notify('latchkey', line) \
                   FROM unnest($1::text[]) AS line";
/// Says a line to all nodes, and returns which connections listen.
const ASK: &str = "SELECT ARRAY( \
                       SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted \
                       AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
                       AND (classid::bigint << 32) + objid::bigint = $2 \
                   ), set_config('synchronous_commit', 'off', true), pg_notify('latchkey', $1)";
/// The key of the lock that a connection has while it listens.
const LISTENS: i64 = i64::from_be_bytes(*b"latchear");
/// Lets PostgreSQL notice in seconds, and not in hours, that a node has lost its power. Log-outs wait for it until then.
const NOTICE_DEATH: &str = "SET tcp_keepalives_idle = 3; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 3; SET tcp_user_timeout = 5000";

/// The servers that share the database, as this one hears them.
#[derive(Debug)]
pub(super) struct Nodes {
    pool: PgPool,
    /// PostgreSQL's process for the connection that listens. The other nodes know this one by it. 0 while there is none.
    own: AtomicI32,
    /// When the last message to ourselves was sent, by its number.
    sent: Mutex<(u64, Instant)>,
    returned: Notify,
    questions: AtomicU64,
    /// Who has answered each question that is open.
    answers: Mutex<HashMap<u64, HashSet<i32>>>,
    answered: Notify,
}

/// A question to all nodes. It is forgotten when this is dropped, also if its request was given up.
struct Question<'a> {
    nodes: &'a Nodes,
    number: u64,
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.nodes.answers().remove(&self.number);
    }
}

impl Nodes {
    pub(super) fn new(pool: PgPool) -> Self {
        Self {
            pool,
            own: AtomicI32::new(0),
            sent: Mutex::new((0, Instant::now())),
            returned: Notify::new(),
            questions: AtomicU64::new(0),
            answers: Mutex::default(),
            answered: Notify::new(),
        }
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<u64, HashSet<i32>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sent(&self) -> MutexGuard<'_, (u64, Instant)> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until each node has heard of what was committed before, or gives out no marks.
    pub(super) async fn reach_all(&self) {
        let committed = Instant::now();
        let question = Question { nodes: self, number: self.questions.fetch_add(1, SeqCst) };
        self.answers().insert(question.number, HashSet::new());
        let heard = async {
            let ask = Line::Ask { node: self.own.load(SeqCst), question: question.number };
            let asked = sqlx::query(ASK).bind(ask.to_string()).bind(LISTENS).fetch_one(&self.pool).await?;
            let listening: Vec<i32> = asked.try_get(0)?;
            loop {
                let more = self.answered.notified();
                let by_all = |who: &HashSet<i32>| listening.iter().all(|node| who.contains(node));
                if self.answers().get(&question.number).is_some_and(by_all) {
                    return Ok::<_, Error>(());
                }
                more.await;
            }
        };
        if !matches!(timeout(LEASE, heard).await, Ok(Ok(()))) {
            sleep_until(committed + LEASE).await;
        }
    }

    /// As [`Nodes::reach_all`], for a process that listens only now, for the answers.
    pub(super) async fn reach_all_from_outside(&self) {
        let committed = Instant::now();
        let answers = async {
            let mut listener = PgListener::connect_with(&self.pool).await?;
            let own: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut listener).await?;
            listener.listen("latchkey").await?;
            self.own.store(own, SeqCst);
            let hear = async {
                loop {
                    if let Some(Line::Answer { node, question, by }) = Line::read(&next(&mut listener).await?)
                        && node == own
                    {
                        self.take_answer(question, by);
                    }
                }
            };
            tokio::select! {
                ended = hear => ended,
                () = self.reach_all() => Ok::<_, Error>(()),
            }
        };
        if !matches!(timeout(LEASE * 2, answers).await, Ok(Ok(()))) {
            sleep_until(committed + LEASE).await;
        }
    }

    /// Listens until the connection is lost.
    async fn listen(&self, changes: &Changes) -> Result<(), Error> {
        // Its end is not to go back to the others: it has a lock.
        let apart = PgPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        let apart = apart.connect_with(self.pool.connect_options().as_ref().clone()).await?;
        let mut listener = PgListener::connect_with(&apart).await?;
        listener.eager_reconnect(false);
        sqlx::raw_sql(NOTICE_DEATH).execute(&mut listener).await?;
        let own: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut listener).await?;
        listener.listen("latchkey").await?;

        // PgBouncer in transaction mode takes all of this, and never hands a notification on. Then there must be no lock.
        let first = Line::Ping { node: own, number: 0 };
        self.say(vec![first.to_string()]).await?;
        let heard = async {
            while Line::read(&next(&mut listener).await?) != Some(first) {}
            Ok::<_, Error>(())
        };
        timeout(PATIENCE, heard).await.map_err(|_| lost())??;

        sqlx::query("SELECT pg_advisory_lock_shared($1)").bind(LISTENS).execute(&mut listener).await?;
        self.own.store(own, SeqCst);
        changes.forget_all();
        let (say, said) = mpsc::unbounded_channel();
        tokio::select! {
            ended = self.hear(&mut listener, changes, &say) => ended,
            ended = self.ping(own, changes, &say) => ended,
            ended = self.say_all(said) => ended,
        }
    }

    async fn hear(&self, listener: &mut PgListener, changes: &Changes, say: &Lines) -> Result<(), Error> {
        let own = self.own.load(SeqCst);
        loop {
            match Line::read(&next(listener).await?) {
                Some(Line::Changed { user }) => changes.changed(user),
                Some(Line::Ping { node, number }) if node == own => {
                    let (last, at) = *self.sent();
                    if number == last {
                        changes.good_until(at + LEASE);
                        self.returned.notify_one();
                    }
                }
                Some(Line::Ask { node, question }) if node == own => self.take_answer(question, own),
                Some(Line::Ask { node, question }) => {
                    let _ = say.send(Line::Answer { node, question, by: own }); // it fails only when all of this ends
                }
                Some(Line::Answer { node, question, by }) if node == own => self.take_answer(question, by),
                // Of other nodes, or of a newer version.
                Some(Line::Ping { .. } | Line::Answer { .. }) | None => {}
            }
        }
    }

    fn take_answer(&self, question: u64, by: i32) {
        if let Some(who) = self.answers().get_mut(&question) {
            who.insert(by);
            self.answered.notify_waiters();
        }
    }

    /// Sends messages to ourselves, as long as marks are asked for.
    async fn ping(&self, own: i32, changes: &Changes, say: &Lines) -> Result<(), Error> {
        for number in 1.. {
            changes.wanted.notified().await;
            *self.sent() = (number, Instant::now());
            let _ = say.send(Line::Ping { node: own, number });
            timeout(PATIENCE, self.returned.notified()).await.map_err(|_| lost())?;
            tokio::time::sleep(EVERY).await;
        }
        Ok(())
    }

    /// Says what the others of this connection have to say, as many lines at once as wait.
    async fn say_all(&self, mut lines: mpsc::UnboundedReceiver<Line>) -> Result<(), Error> {
        while let Some(line) = lines.recv().await {
            let mut all = vec![line.to_string()];
            while let Ok(line) = lines.try_recv() {
                all.push(line.to_string());
            }
            self.say(all).await?;
        }
        Ok(())
    }

    async fn say(&self, lines: Vec<String>) -> Result<(), Error> {
        sqlx::query(SAY).bind(lines).execute(&self.pool).await?;
        Ok(())
    }
}

type Lines = mpsc::UnboundedSender<Line>;

/// What the nodes and the triggers say to all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// A trigger: the user or a session of the user has changed.
    Changed { user: Uuid },
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
        nodes.own.store(0, SeqCst);
        changes.stop();
        tokio::time::sleep(AGAIN).await;
    }
}
