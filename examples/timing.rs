//! Measures what the responses and their times tell an attacker:
//!
//! ```text
//! cargo build --release && cargo run --release --example timing [PAIRS [WORDS]]
//! ```
//!
//! The release binary runs as a child process on a new database in a temporary folder. Each row makes two requests
//! that an attacker must not be able to distinguish, such as a log-in with an address that has an account and with one that
//! has none. Each is made PAIRS times (300; more for quick requests), in pairs, and the first of each pair is chosen at
//! random. The program compares the times. It also compares the status, the headers and the body, which must be equal
//! except for ids and typed text.
//!
//! The times are compared by the Mann–Whitney U test, which assumes nothing about their distribution. The difference is
//! the Hodges–Lehmann estimate with its confidence interval. Every row is another chance of a false alarm, so the level of
//! 1 % is divided by the number of rows (Bonferroni). With WORDS, only the rows with these words in their name are run.
//!
//! Other programs on the machine make the intervals wide, not wrong. `chrt --rr 1` before the program, as root, gives it and
//! the server priority.

#![expect(clippy::print_stdout, reason = "the program prints a table")]

#[expect(dead_code, reason = "shared with other programs")]
mod served;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::env;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::ensure;
use latchkey::chance;
use served::{Connection, Server, binary, post, send};
use tokio::time::sleep;

const PAIRS: usize = 300;
/// Requests without a hash are quick, so they are measured this many times more often.
const QUICK: usize = 4;
const WARM_UP: usize = 3;
const LEVEL: f64 = 0.01;
const USERS: usize = 8;
/// The pause in which the postman may finish an email, while nothing is measured.
const REST: Duration = Duration::from_millis(25);
const PASSWORD: &str = "velvet otter bakes rye";
const WRONG: &str = "seven herons paint slow";

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let pairs = arguments.first().map_or(Ok(PAIRS), |pairs| pairs.parse())?;
    let words = arguments.get(1).map_or("", String::as_str);

    let dir = tempfile::tempdir()?;
    let latchkey = async |settings: &[(&str, &str)]| Server::latchkey(dir.path(), settings).await;
    let server = latchkey(&[("LATCHKEY_SIGNUP", "open")]).await?;
    for user in 0..USERS {
        sign_up(&server, &known(user), &format!("otter{user}")).await?;
        sign_up(&server, &disabled(user), &format!("heron{user}")).await?;
    }
    server.stop()?;
    for user in 0..USERS {
        let mut disable = Command::new(binary()?);
        disable.args(["user", "disable", &disabled(user), "--data-dir"]).arg(dir.path()).stderr(Stdio::null());
        ensure!(disable.output()?.status.success(), "{} could not be disabled", disabled(user));
    }
    let server = latchkey(&[]).await?;
    for user in 0..USERS {
        sign_up(&server, &pending(user), &format!("waits{user}")).await?;
    }
    sleep(Duration::from_secs(1)).await; // the emails are sent meanwhile

    let rows = rows();
    let level = LEVEL / rows.iter().flatten().count() as f64;
    println!(
        "{pairs} pairs a row, {} where no password is hashed; a difference counts at p < {level:.1e}",
        pairs * QUICK
    );
    println!("{:<58} {:>9} {:>9}  {:>26}  {:>8}  answers  times", "", "first", "second", "second − first", "p");
    let [ours, raised] = rows;
    let mut same = run(&server, &ours, pairs, words, level).await?;
    server.stop()?;
    // Existing users keep hashes that cost less than the decoy until they log in again. `hasher::rest` makes up for the
    // difference, but not exactly. These rows are known to differ by less than a millisecond.
    let server = latchkey(&[("LATCHKEY_HASH_PASSES", "3")]).await?;
    same &= run(&server, &raised, pairs, words, level).await?;
    server.stop()?;
    println!("{}", if same { "All pairs are alike." } else { "Some pairs differ." });
    Ok(())
}

fn known(user: usize) -> String {
    format!("otter{user}@example.com")
}

fn unknown(user: usize) -> String {
    format!("stoat{user}@example.com")
}

fn disabled(user: usize) -> String {
    format!("heron{user}@example.com")
}

fn pending(user: usize) -> String {
    format!("waits{user}@example.com")
}

async fn sign_up(server: &Server, email: &str, username: &str) -> anyhow::Result<()> {
    let request = post("/signup", &[("email", email), ("username", username), ("password", PASSWORD)]);
    let status = server.connect().await?.ask(&request).await?.status;
    ensure!(status == 303, "the sign-up answered {status}");
    Ok(())
}

/// Two requests that an attacker must not be able to distinguish.
struct Row {
    name: &'static str,
    requests: [MakeRequest; 2],
    pace: Pace,
}

#[derive(Clone, Copy, PartialEq)]
enum Pace {
    /// A password is hashed.
    Hash,
    /// A password is hashed and an email is written, which the postman sends after the response.
    HashAndLetter,
    /// An email is written.
    Letter,
    /// An email is written, and the next request is timed, because the postman may delay it.
    Afterwards,
}

/// Makes the nth request. Returns it with the name that is typed in it.
type MakeRequest = Box<dyn Fn(usize) -> (Vec<u8>, String)>;

/// Returns the rows, and the rows for the time after the hash was made more expensive.
fn rows() -> [Vec<Row>; 2] {
    let paced = |pace| move |name, first, second| Row { name, requests: [first, second], pace };
    let (row, both) = (paced(Pace::Hash), paced(Pace::HashAndLetter));
    let (letter, afterwards) = (paced(Pace::Letter), paced(Pace::Afterwards));
    let name = |address: String| address.replace("@example.com", "");
    let (long, huge) = ("x".repeat(300), "x".repeat(10_000));
    let by_name = move |who: fn(usize) -> String| log_in(move |user| name(who(user)), WRONG);
    let ours = vec![
        row("log-in by username: known, unknown", by_name(known), by_name(unknown)),
        row("log-in by address: known, unknown", log_in(known, WRONG), log_in(unknown, WRONG)),
        row("log-in: disabled, known", log_in(disabled, WRONG), log_in(known, WRONG)),
        row("log-in by username: disabled, unknown", by_name(disabled), by_name(unknown)),
        row("log-in: unconfirmed, unknown", log_in(pending, WRONG), log_in(unknown, WRONG)),
        row(
            "log-in, the password of its sign-up: unconfirmed, unknown",
            log_in(pending, PASSWORD),
            log_in(unknown, PASSWORD),
        ),
        row("log-in, no password: known, unknown", log_in(known, ""), log_in(unknown, "")),
        row("log-in, 300 characters: known, unknown", log_in(known, &long), log_in(unknown, &long)),
        row("log-in, 10 KB: known, unknown", log_in(known, &huge), log_in(unknown, &huge)),
        row("log-in, known: by username, by address", by_name(known), log_in(known, WRONG)),
        row("log-in, known: wrong password, none", log_in(known, WRONG), log_in(known, "")),
        row("log-in, known: wrong password, 300 characters", log_in(known, WRONG), log_in(known, &long)),
        row("log-in, known: wrong password, 10 KB", log_in(known, WRONG), log_in(known, &huge)),
        row("POST /token: known, unknown", token(known), token(unknown)),
        row("POST /token: disabled, known", token(disabled), token(known)),
        both("sign-up: known, unknown address", new_account(known), new_account(unknown)),
        both("POST /users/: known, unknown address", new_user(known), new_user(unknown)),
        letter("forgot: known, unknown", forgot(known), forgot(unknown)),
        letter("forgot: disabled, known", forgot(disabled), forgot(known)),
        letter("POST /reset_password/: known, unknown", ask_reset(known), ask_reset(unknown)),
        afterwards("what comes right after a sign-up: known, unknown", new_account(known), new_account(unknown)),
        afterwards("what comes right after a forgot: known, unknown", forgot(known), forgot(unknown)),
    ];
    let raised = vec![
        row("log-in, after HASH_PASSES=3: known, unknown", log_in(known, WRONG), log_in(unknown, WRONG)),
        row("POST /token, after HASH_PASSES=3: known, unknown", token(known), token(unknown)),
    ];
    [ours, raised]
}

fn log_in(who: impl Fn(usize) -> String + 'static, password: &str) -> MakeRequest {
    let password = password.to_owned();
    Box::new(move |user| (post("/login", &[("login", &who(user)), ("password", &password)]), who(user)))
}

fn token(who: fn(usize) -> String) -> MakeRequest {
    Box::new(move |user| (post("/token", &[("username", &who(user)), ("password", WRONG)]), who(user)))
}

fn forgot(who: fn(usize) -> String) -> MakeRequest {
    Box::new(move |user| (post("/forgot-password", &[("email", &who(user))]), who(user)))
}

fn ask_reset(who: fn(usize) -> String) -> MakeRequest {
    Box::new(move |user| {
        let body = format!("{{\"email\":\"{}\"}}", who(user));
        (send("/reset_password/", "application/json", &body), who(user))
    })
}

/// Returns a username that no user has yet.
fn fresh_name() -> String {
    thread_local!(static COUNT: Cell<usize> = const { Cell::new(0) });
    format!("newcomer{:06}", COUNT.replace(COUNT.get() + 1))
}

fn new_account(who: fn(usize) -> String) -> MakeRequest {
    Box::new(move |user| {
        let fields = [("email", who(user)), ("username", fresh_name()), ("password", PASSWORD.to_owned())];
        (post("/signup", &fields.each_ref().map(|(name, value)| (*name, value.as_str()))), who(user))
    })
}

fn new_user(who: fn(usize) -> String) -> MakeRequest {
    Box::new(move |user| {
        let body =
            format!("{{\"email\":\"{}\",\"username\":\"{}\",\"password\":\"{PASSWORD}\"}}", who(user), fresh_name());
        (send("/users/", "application/json", &body), who(user))
    })
}

/// Measures and prints the rows. Returns whether all pairs were equal.
async fn run(server: &Server, rows: &[Row], pairs: usize, words: &str, level: f64) -> anyhow::Result<bool> {
    let mut all_same = true;
    for row in rows.iter().filter(|row| row.name.contains(words)) {
        let mut connection = server.connect().await?;
        let (mut times, mut answers) = ([vec![], vec![]], [BTreeSet::new(), BTreeSet::new()]);
        let pairs = if row.pace == Pace::Letter { pairs * QUICK } else { pairs };
        for pair in 0..WARM_UP + pairs {
            let first = usize::from(chance::bytes::<1>()[0] & 1 == 1);
            for which in [first, 1 - first] {
                let (took, answer) = sample(&mut connection, row, which, pair).await?;
                if pair >= WARM_UP {
                    times[which].push(took);
                }
                answers[which].insert(answer);
            }
        }
        let [first, second] = times;
        let compared = Compared::new(&first, &second, level);
        let (alike, in_time) = (answers[0] == answers[1] && answers[0].len() == 1, compared.p >= level);
        all_same &= alike && in_time;
        println!(
            "{:<58} {:>6.3} ms {:>6.3} ms  {:>+7.1} µs ({:>+6.1} … {:>+6.1})  {:>8.1e}  {:<7}  {}",
            row.name,
            median(&first) * 1e3,
            median(&second) * 1e3,
            compared.shift * 1e6,
            compared.interval[0] * 1e6,
            compared.interval[1] * 1e6,
            compared.p,
            if alike { "alike" } else { "DIFFER" },
            if in_time { "alike" } else { "DIFFER" },
        );
        if let Some(unlike) = answers.iter().flatten().find(|answer| !answers.iter().all(|all| all.contains(*answer))) {
            println!("{unlike}\n");
        }
    }
    Ok(all_same)
}

/// Sends a request. Returns how long the response took in seconds, and the response without ids.
async fn sample(connection: &mut Connection, row: &Row, which: usize, pair: usize) -> anyhow::Result<(f64, String)> {
    let (request, typed) = row.requests[which](pair % USERS);
    let began = Instant::now();
    let answer = connection.ask(&request).await?;
    let mut took = began.elapsed();
    let seen = without_ids(answer.text, &typed);
    if row.pace == Pace::Afterwards {
        let next = post("/forgot-password", &[("email", "weasel@example.com")]);
        let began = Instant::now();
        connection.ask(&next).await?;
        took = began.elapsed();
    }
    if row.pace != Pace::Hash {
        sleep(REST).await;
    }
    Ok((took.as_secs_f64(), seen))
}

/// Returns the response without random parts, the time, and the typed text.
fn without_ids(answer: &str, typed: &str) -> String {
    let mut seen = answer.replace(typed, "…").replace(typed.trim_end_matches("@example.com"), "…");
    for (before, after) in [
        ("content-length: ", '\r'), // the body itself is compared
        ("x-request-id: ", '\r'),
        ("date: ", '\r'),
        ("latchkey_visit=", ';'),
        ("name=\"form_id\" value=\"", '"'),
    ] {
        if let Some(at) = seen.find(before) {
            let from = at + before.len();
            let length = seen[from..].find(after).unwrap_or_default();
            seen.replace_range(from..from + length, "…");
        }
    }
    seen
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The comparison of two samples of times.
struct Compared {
    /// The probability of this difference or a larger one between equal samples.
    p: f64,
    /// The median of all differences: by how many seconds the second is slower.
    shift: f64,
    /// The confidence interval of the difference.
    interval: [f64; 2],
}

impl Compared {
    fn new(first: &[f64], second: &[f64], level: f64) -> Self {
        let (n, m) = (first.len() as f64, second.len() as f64);
        let mut differences: Vec<f64> = second.iter().flat_map(|b| first.iter().map(move |a| b - a)).collect();
        differences.sort_by(f64::total_cmp);
        // U is the number of pairs in which the second is slower. Without a difference it is nearly normal. Times in
        // nanoseconds have so few ties that no correction is needed.
        let slower = differences.iter().filter(|difference| **difference > 0.0).count() as f64;
        let ties = differences.iter().filter(|difference| **difference == 0.0).count() as f64;
        let deviation = (n * m * (n + m + 1.0) / 12.0).sqrt();
        let z = (slower + ties / 2.0 - n * m / 2.0) / deviation;
        let p = two_sided(z);
        let edge = (n * m / 2.0 - quantile(level) * deviation).max(0.0) as usize;
        let interval = [differences[edge], differences[differences.len() - 1 - edge]];
        Self { p, shift: differences[differences.len() / 2], interval }
    }
}

/// Returns the probability of a normal value at least as far from zero as `z`: erfc(|z|/√2), to 7 digits (Numerical
/// Recipes, 6.2).
fn two_sided(z: f64) -> f64 {
    let x = z.abs() / 2f64.sqrt();
    let t = 1.0 / (1.0 + 0.5 * x);
    let terms = [
        0.170_872_77,
        -0.822_152_23,
        1.488_515_87,
        -1.135_203_98,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_68,
        -1.265_512_23,
    ];
    t * (-x * x + terms.iter().fold(0.0, |sum, term| sum * t + term)).exp()
}

/// Returns how far from zero a normal value is with this probability.
fn quantile(chance: f64) -> f64 {
    let (mut low, mut high) = (0.0, 40.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if two_sided(middle) > chance { low = middle } else { high = middle }
    }
    low
}
