//! The metrics, and how Prometheus reads them: every name on one screen.
//!
//! The value of a label is a word of ours, never a text of a client. Each new value makes a series that stays in memory, so
//! an attacker could fill it (Prometheus, “Instrumentation: do not overuse labels”).

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};
use time::OffsetDateTime;

/// The buckets of durations, in seconds: for what is in memory, what asks the database, what waits for a hash, and what is
/// close to its time-out.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// The label of requests that match no route.
const NO_ROUTE: &str = "none";

/// All metrics. There is one of these per process.
#[derive(Debug)]
pub struct Metrics {
    /// Log-ins with a password, by outcome.
    pub log_ins: LogIns,
    /// Password resets, by step.
    pub resets: Resets,
    /// Requests that were refused because all clients together asked for too much.
    pub site_refused: Counter,
    /// Events of strangers that were not written because there were too many.
    pub events_left_out: Counter,
    /// The wait for a hashing thread.
    pub hashing: Hashing,
    /// Connections of clients.
    pub connections: Gauge,
    /// Servers that share the database.
    pub nodes: Gauge,
    /// Letters in the outbox, by state.
    pub letters: Family<[(&'static str, String); 1], Gauge>,
    /// The mail server, as this process sees it.
    pub mail: Mail,
    /// 1 if the database has answered the last scrape, else 0.
    pub database_up: Gauge,
    /// The age of the letter that has waited longest, in seconds.
    pub oldest_letter: Gauge,
    /// The backups that the server makes by itself.
    pub backups: Backups,
    /// How often the letters could not be counted.
    pub scrape_errors: Counter,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram, fn() -> Histogram>,
    registry: Registry,
    outbox: Registry,
    newest_backup: Registry,
}

/// The metrics of backups.
#[derive(Debug)]
pub struct Backups {
    /// Backups that could not be made.
    pub failures: Counter,
    /// How old the newest one is, in seconds.
    age: Gauge,
    /// When it was begun, in Unix seconds; 0 if there is none.
    newest: AtomicI64,
}

impl Backups {
    /// Notes when the newest backup was begun.
    pub fn note(&self, newest: Option<OffsetDateTime>) {
        self.newest.store(newest.map_or(0, OffsetDateTime::unix_timestamp), Ordering::Relaxed);
    }

    /// Sets the age for a scrape at the time `now`.
    pub fn grow(&self, now: OffsetDateTime) {
        self.age.set((now.unix_timestamp() - self.newest.load(Ordering::Relaxed)).max(0));
    }
}

/// The outcomes of log-ins with a password.
#[derive(Debug)]
pub struct LogIns {
    /// The password was right.
    pub succeeded: Counter,
    /// The password was wrong, or there is no such account.
    pub failed: Counter,
    /// The password was not compared, because there were too many attempts.
    pub refused: Counter,
}

/// The steps of a password reset. A reset through the API counts in the second and the last only.
#[derive(Debug)]
pub struct Resets {
    /// A client asked for a reset, whether or not the address has an account.
    pub asked: Counter,
    /// A letter was sent.
    pub sent: Counter,
    /// The form of a valid link was shown.
    pub opened: Counter,
    /// The password was changed.
    pub done: Counter,
}

/// The mail server, and the failures to hand a letter to it, by reason.
#[derive(Debug)]
pub struct Mail {
    /// 1 if the last attempt succeeded or there was none, else 0.
    pub up: Gauge,
    /// No connection.
    pub unreachable: Counter,
    /// No answer in time.
    pub timeout: Counter,
    /// No TLS, or a certificate that is not valid.
    pub tls: Counter,
    /// The server does not accept our log-in (53x).
    pub log_in: Counter,
    /// The server wants another attempt later (4xx).
    pub refused_later: Counter,
    /// The server refused for good (5xx).
    pub refused: Counter,
    /// The connection broke off, or the server speaks no SMTP.
    pub broken: Counter,
}

/// The metrics of the hasher.
#[derive(Clone, Debug)]
pub struct Hashing {
    /// Passwords that wait for a thread.
    pub queue: Gauge,
    /// How long passwords waited, in seconds.
    pub wait: Histogram,
    /// Passwords that were refused because too many were waiting.
    pub busy: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    /// The pattern that the path has matched. The path itself is a text of the client.
    route: String,
    method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    #[prometheus(flatten)]
    route: RouteLabels,
    status: u16,
}

/// Counters that one label tells apart. Its values are words of ours.
type Counters = Family<[(&'static str, &'static str); 1], Counter>;

impl Default for Metrics {
    fn default() -> Self {
        let (mut all, mut outbox) = (Registry::with_prefix("latchkey"), Registry::with_prefix("latchkey"));
        let mut newest_backup = Registry::with_prefix("latchkey");
        let durations: Family<_, _, fn() -> _> = Family::new_with_constructor(|| Histogram::new(BUCKETS));
        // The library adds `_total`, `_info` and the unit to the names, and a full stop to the sentences.
        all.register("build", "The program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        Self {
            requests: added(&mut all, "http_requests", "Requests that were answered", Family::default()),
            durations: timed(&mut all, "http_request_duration", "From a request's head to its answer's", durations),
            connections: added(&mut all, "connections", "Connections of clients", Gauge::default()),
            nodes: added(&mut all, "nodes", "Servers that share the database", alone()),
            log_ins: LogIns::new(&added(&mut all, "log_ins", "Log-ins with a password", Counters::default())),
            resets: Resets::new(&added(
                &mut all,
                "password_resets",
                "Resets that came to this step",
                Counters::default(),
            )),
            site_refused: added(
                &mut all,
                "site_refused",
                "Requests turned away, because all clients together asked for too much",
                Counter::default(),
            ),
            events_left_out: added(
                &mut all,
                "events_left_out",
                "Events of strangers that were not written, because there were too many",
                Counter::default(),
            ),
            hashing: Hashing {
                queue: added(&mut all, "hash_queue", "Passwords that wait for a thread", Gauge::default()),
                wait: timed(&mut all, "hash_wait", "How long passwords waited for a thread", Histogram::new(BUCKETS)),
                busy: added(
                    &mut all,
                    "hash_busy",
                    "Passwords turned away, because too many waited",
                    Counter::default(),
                ),
            },
            mail: Mail::new(&mut all),
            database_up: added(&mut all, "database_up", "1 if the database has answered this scrape", Gauge::default()),
            backups: Backups {
                failures: added(&mut all, "backup_failures", "Backups that could not be made", Counter::default()),
                age: timed(&mut newest_backup, "backup_age", "Age of the newest backup", Gauge::default()),
                newest: AtomicI64::default(),
            },
            scrape_errors: added(
                &mut all,
                "scrape_errors",
                "Times that the outbox could not be counted",
                Counter::default(),
            ),
            letters: added(&mut outbox, "outbox_letters", "Emails in the outbox", Family::default()),
            oldest_letter: timed(
                &mut outbox,
                "outbox_oldest_waiting",
                "Age of the email that has waited longest",
                Gauge::default(),
            ),
            registry: all,
            outbox,
            newest_backup,
        }
    }
}

/// Returns a count of the servers, as long as there is one.
fn alone() -> Gauge {
    let nodes = Gauge::default();
    nodes.set(1);
    nodes
}

/// Registers a metric as it is made. One that is not registered would count, and Prometheus would never see it.
fn added<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

/// As [`added`], for a metric in seconds.
fn timed<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
    metric
}

impl Metrics {
    /// Counts a request that was answered.
    pub fn answered(&self, route: Option<&str>, method: &str, status: u16, took: Duration) {
        let route = RouteLabels { route: route.unwrap_or(NO_ROUTE).to_owned(), method: known(method) };
        self.durations.get_or_create(&route).observe(took.as_secs_f64());
        self.requests.get_or_create(&RequestLabels { route, status }).inc();
    }

    /// Returns all metrics as OpenMetrics text, those of the outbox if its numbers are known, and the age of the newest backup
    /// if there is one.
    ///
    /// # Errors
    /// Never: writing into a string does not fail. The library's signature has an error.
    pub fn text(&self, with_outbox: bool) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        if with_outbox {
            encode_registry(&mut text, &self.outbox)?;
        }
        if self.backups.newest.load(Ordering::Relaxed) > 0 {
            encode_registry(&mut text, &self.newest_backup)?;
        }
        encode_eof(&mut text)?;
        Ok(text)
    }
}

/// Returns the method if it is a usual one. HTTP lets a client invent methods, and each would be a new series.
fn known(method: &str) -> &'static str {
    const USUAL: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT"];
    USUAL.into_iter().find(|usual| *usual == method).unwrap_or("other")
}

impl Mail {
    fn new(registry: &mut Registry) -> Self {
        let up = Gauge::default();
        up.set(1);
        let up = added(registry, "mail_up", "1 if the mail server took the last email, or there was none", up);
        let failures = "Attempts to send an email that failed at the mail server, or on the way to it";
        let all = added(registry, "mail_failures", failures, Counters::default());
        let reason = |word| all.get_or_create_owned(&[("reason", word)]);
        Self {
            up,
            unreachable: reason("unreachable"),
            timeout: reason("timeout"),
            tls: reason("tls"),
            log_in: reason("log_in"),
            refused_later: reason("refused_later"),
            refused: reason("refused"),
            broken: reason("broken"),
        }
    }
}

impl LogIns {
    /// Makes all series at the start, so that the first failure is a rise from 0.
    fn new(all: &Counters) -> Self {
        let outcome = |word| all.get_or_create_owned(&[("outcome", word)]);
        Self { succeeded: outcome("succeeded"), failed: outcome("failed"), refused: outcome("refused") }
    }
}

impl Resets {
    fn new(all: &Counters) -> Self {
        let step = |word| all.get_or_create_owned(&[("step", word)]);
        Self { asked: step("asked"), sent: step("sent"), opened: step("opened"), done: step("done") }
    }
}
