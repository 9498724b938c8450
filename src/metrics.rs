//! What is counted, and how Prometheus reads it: every name on one screen.
//!
//! A label is a word of ours, never a stranger's: each new value of one is a series that stays in memory (Prometheus,
//! “Instrumentation: do not overuse labels”).

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// In seconds: what memory answers, what the database does, what waits for a hash, what is about to be given up.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// The route of requests that have none.
const NO_ROUTE: &str = "none";

/// Everything that is counted; one a process.
#[derive(Debug)]
pub struct Metrics {
    /// Forms and requests that brought a password.
    pub log_ins: LogIns,
    /// How far those come who forgot theirs.
    pub resets: Resets,
    /// Requests turned away, because all clients together asked for too much.
    pub site_refused: Counter,
    /// Events of strangers that were not written, because there were too many.
    pub events_left_out: Counter,
    /// The wait for the hash.
    pub hashing: Hashing,
    /// Connections of clients.
    pub connections: Gauge,
    /// Letters, by state.
    pub letters: Family<[(&'static str, String); 1], Gauge>,
    /// The age of the one that has waited longest, in seconds.
    pub oldest_letter: Gauge,
    /// How often letters could not be counted.
    pub scrape_errors: Counter,
    requests: Family<Answer, Counter>,
    durations: Family<Route, Histogram, fn() -> Histogram>,
    registry: Registry,
    outbox: Registry,
}

/// What came of log-ins with a password.
#[derive(Debug)]
pub struct LogIns {
    /// It was the password.
    pub succeeded: Counter,
    /// It was not.
    pub failed: Counter,
    /// It was not looked at: too many tries.
    pub refused: Counter,
}

/// The steps of a reset. Programs take the second and the last only.
#[derive(Debug)]
pub struct Resets {
    /// Somebody asked, for whatever address.
    pub asked: Counter,
    /// A letter went out.
    pub sent: Counter,
    /// The form of a link that works was shown.
    pub opened: Counter,
    /// The password was changed.
    pub done: Counter,
}

/// What the hasher counts.
#[derive(Clone, Debug)]
pub struct Hashing {
    /// Passwords that wait for a thread.
    pub queue: Gauge,
    /// How long they waited, in seconds.
    pub wait: Histogram,
    /// Those turned away, because too many waited.
    pub busy: Counter,
}

/// The pattern that a path has matched, not the path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
    method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    #[prometheus(flatten)]
    route: Route,
    status: u16,
}

/// One label, with a word of ours.
type Words = Family<[(&'static str, &'static str); 1], Counter>;

impl Default for Metrics {
    fn default() -> Self {
        let (log_ins, resets) = (Words::default(), Words::default());
        let mut metrics = Self {
            log_ins: LogIns::new(&log_ins),
            resets: Resets::new(&resets),
            site_refused: Counter::default(),
            events_left_out: Counter::default(),
            hashing: Hashing { queue: Gauge::default(), wait: Histogram::new(BUCKETS), busy: Counter::default() },
            connections: Gauge::default(),
            letters: Family::default(),
            oldest_letter: Gauge::default(),
            scrape_errors: Counter::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            registry: Registry::with_prefix("latchkey"),
            outbox: Registry::with_prefix("latchkey"),
        };
        // Behind a name the library writes `_total`, `_info` and the unit; behind a sentence the full stop.
        let all = &mut metrics.registry;
        all.register("build", "The program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        all.register("http_requests", "Requests that were answered", metrics.requests.clone());
        let took = "From a request's head to its answer's";
        all.register_with_unit("http_request_duration", took, Unit::Seconds, metrics.durations.clone());
        all.register("connections", "Connections of clients", metrics.connections.clone());
        all.register("log_ins", "Log-ins with a password", log_ins);
        all.register("password_resets", "Resets that came to this step", resets);
        let refused = "Requests turned away, because all clients together asked for too much";
        all.register("site_refused", refused, metrics.site_refused.clone());
        let left_out = "Events of strangers that were not written, because there were too many";
        all.register("events_left_out", left_out, metrics.events_left_out.clone());
        all.register("hash_queue", "Passwords that wait for a thread", metrics.hashing.queue.clone());
        let waited = "How long passwords waited for a thread";
        all.register_with_unit("hash_wait", waited, Unit::Seconds, metrics.hashing.wait.clone());
        all.register("hash_busy", "Passwords turned away, because too many waited", metrics.hashing.busy.clone());
        all.register("scrape_errors", "Times that the outbox could not be counted", metrics.scrape_errors.clone());
        let outbox = &mut metrics.outbox;
        outbox.register("outbox_letters", "Letters in the outbox", metrics.letters.clone());
        let age = "Age of the email that has waited longest";
        outbox.register_with_unit("outbox_oldest_waiting", age, Unit::Seconds, metrics.oldest_letter.clone());
        metrics
    }
}

impl Metrics {
    /// Counts an answer.
    pub fn answered(&self, route: Option<&str>, method: &str, status: u16, took: Duration) {
        let route = Route { route: route.unwrap_or(NO_ROUTE).to_owned(), method: known(method) };
        self.durations.get_or_create(&route).observe(took.as_secs_f64());
        self.requests.get_or_create(&Answer { route, status }).inc();
    }

    /// All of it as OpenMetrics text, and the outbox if its numbers are known.
    ///
    /// # Errors
    /// None that a string can meet; the library's signature has them.
    pub fn text(&self, with_outbox: bool) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        if with_outbox {
            encode_registry(&mut text, &self.outbox)?;
        }
        encode_eof(&mut text)?;
        Ok(text)
    }
}

/// The method, if it is a usual one: HTTP lets a client make up its own.
fn known(method: &str) -> &'static str {
    const USUAL: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT"];
    USUAL.into_iter().find(|usual| *usual == method).unwrap_or("other")
}

impl LogIns {
    /// All of them from the start, so that the first failure is a rise from 0.
    fn new(all: &Words) -> Self {
        let outcome = |word| all.get_or_create_owned(&[("outcome", word)]);
        Self { succeeded: outcome("succeeded"), failed: outcome("failed"), refused: outcome("refused") }
    }
}

impl Resets {
    fn new(all: &Words) -> Self {
        let step = |word| all.get_or_create_owned(&[("step", word)]);
        Self { asked: step("asked"), sent: step("sent"), opened: step("opened"), done: step("done") }
    }
}
