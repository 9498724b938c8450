//! Measures the figures of the product, each beside its yardstick:
//!
//! ```text
//! cargo build --release && cargo run --release --example figures
//! ```
//!
//! The release binary runs as a child process, on a new database in a temporary folder, with 128 users for each core.
//! All traffic is on loopback and comes from this process, from one thread with keep-alive connections. The requests are made
//! beforehand. Server and client share the machine's cores, and so do a yardstick and its client:
//!
//! - the yardstick of log-ins per second is raw argon2id, one thread per core, with the same parameters and no server. Beside it
//!   stands a bare handler with the least that a log-in needs: it reads the user, verifies the password, and writes the session.
//!   `figures logins` measures these and 200 log-ins at once alone, in two minutes;
//! - the yardstick of pages per second is a bare axum handler in its own process (this program again, with the argument
//!   `bare`) that renders a page of the same size, with no layers and no database. For signed-in pages it verifies the JWT in
//!   the cookie first. `figures pages` measures this alone, in a minute;
//! - the yardstick of `/auth/verify` is a handler that does nothing, during log-ins the same beside raw argon2id. `figures verify`
//!   measures this alone, in a minute;
//! - the yardstick of `/oauth/token` is what an answer consists of: two RSA signatures, one thread per core, or the commit, if
//!   that is slower. `figures tokens` measures this alone, in a minute.
//!
//! A figure and its yardstick are measured in turns, because machines are noisy, and a ratio is the median over the turns. A
//! value is the median of its runs with the minimum and the maximum. The program only reports: a missed aim is not an error.
//! It takes about four minutes.

#![expect(clippy::print_stdout, reason = "the program prints a table")]

mod forward;
mod measured;
mod served;
mod tokens;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context, bail, ensure};
use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jsonwebtoken::{DecodingKey, EncodingKey, Validation, decode, encode};
use latchkey::accounts::password::Password;
use latchkey::accounts::password::hasher::Hasher;
use latchkey::accounts::session::{self, SessionKind};
use latchkey::accounts::user;
use latchkey::chance;
use latchkey::clock::Clock;
use latchkey::config::HashEngine;
use latchkey::db::{DatabaseUrl, Db};
use latchkey::metrics::Metrics;
use sea_orm::{ActiveModelTrait, EntityTrait, IntoActiveModel};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;
use uuid::Uuid;

use measured::{
    Run, Runs, TURNS, Table, cores, device, load, log_in, met, page, processor_time, raw_argon2, read_once, sign_up,
    users,
};
use served::{Connection, Server, cookies, fetch, free_port, with};

const STARTS: usize = 7;
const BURSTS: usize = 3;
const BURST: usize = 200;
/// How long a turn of log-ins lasts. The turns are short and many, so that other programs on the machine slow both sides alike.
const LOGINS_FOR: Duration = Duration::from_secs(3);
/// How long the emails about log-ins in new browsers have to be sent.
const EMAILS_FOR: Duration = Duration::from_secs(5);
const PAGE_TURNS: usize = 12;
const PAGES_FOR: Duration = Duration::from_secs(1);
const PAGES_AT_ONCE: usize = 32;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [what, port, dir, log_in, profile] = &arguments[..]
        && what == "bare"
    {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        return runtime.block_on(bare(port.parse()?, Path::new(dir), [log_in.parse()?, profile.parse()?]));
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure())
}

async fn measure() -> anyhow::Result<()> {
    let what = env::args().nth(1);
    let words: Vec<_> = ["cargo run --release --example figures"].into_iter().chain(what.as_deref()).collect();
    let run = Run::begin(&words.join(" "))?;

    let (dir, mut table) = (tempfile::tempdir()?, Table::default());
    sign_up(open_site(dir.path()).await?).await?;
    fs::copy(dir.path().join("latchkey.db"), dir.path().join(BARE_DATABASE))?;
    match what.as_deref() {
        None => {
            site(dir.path(), &mut table).await?;
            forward::measure(dir.path(), &mut table).await?;
            tokens::measure(dir.path(), &mut table).await?;
        }
        Some("logins") => all_log_ins(dir.path(), &mut table).await?,
        Some("pages") => pages(open_site(dir.path()).await?, dir.path(), &mut table).await?,
        Some("verify") => forward::measure(dir.path(), &mut table).await?,
        Some("tokens") => tokens::measure(dir.path(), &mut table).await?,
        Some(other) => bail!("{other} is none of `logins`, `pages`, `verify` and `tokens`"),
    }
    table.print();
    run.end()
}

async fn open_site(dir: &Path) -> anyhow::Result<Server> {
    Server::latchkey(dir, &[("LATCHKEY_SIGNUP", "open")]).await
}

/// Measures what visitors and users of the site meet.
async fn site(dir: &Path, table: &mut Table) -> anyhow::Result<()> {
    let latchkey = async || open_site(dir).await;
    let mut starts = Runs::default();
    for _ in 0..STARTS {
        let server = latchkey().await?;
        starts.0.push(server.started_in.as_secs_f64() * 1e3);
        server.stop()?;
    }
    table.row("start to first answer", [&starts.show("ms"), "", "", "< 150 ms", met(starts.median() < 150.0)]);
    all_log_ins(dir, table).await?;
    pages(latchkey().await?, dir, table).await
}

async fn all_log_ins(dir: &Path, table: &mut Table) -> anyhow::Result<()> {
    let bare = Server::bare(dir, [0, 0]).await?;
    let raw = logins(open_site(dir).await?, &bare, table).await?;
    bursts(async || open_site(dir).await, &bare, raw, table).await?;
    bare.stop()
}

/// Returns the log-ins of each turn, of other users each time, in browsers that the accounts know: others cost an email.
async fn known_browsers(server: &Server) -> anyhow::Result<Vec<Vec<Vec<u8>>>> {
    let mut requests = vec![];
    for user in 0..users() {
        let jar = cookies(server.connect().await?.ask(&log_in(user)).await?.text);
        requests.push(with(&log_in(user), device(&jar)));
    }
    sleep(EMAILS_FOR).await;
    Ok(requests.chunks(users() / TURNS).map(<[_]>::to_vec).collect())
}

/// Measures log-ins per second in turns with the bare handler and raw argon2. Returns the hashes per second of raw argon2.
async fn logins(server: Server, bare: &Server, table: &mut Table) -> anyhow::Result<f64> {
    let turns = known_browsers(&server).await?;
    let bare_requests: Vec<_> = (0..users() / TURNS).map(log_in).collect();
    let [mut rate, mut cost, mut raw_rate, mut raw_cost, mut ratios] = [const { Runs(Vec::new()) }; 5];
    let [mut bare_rate, mut bare_cost, mut bare_ratios, mut beside_bare] = [const { Runs(Vec::new()) }; 4];
    for requests in &turns {
        let least = bare.load(&bare_requests, 303, LOGINS_FOR).await?;
        let (a, before) = (server.load(requests, 303, LOGINS_FOR).await?, processor_time(std::process::id())?);
        let raw = raw_argon2(LOGINS_FOR)?;
        let b = Load::new(raw, LOGINS_FOR, processor_time(std::process::id())? - before, 0.0);
        rate.0.push(a.per_second);
        cost.0.push(a.server_cost / 1e3);
        raw_rate.0.push(b.per_second);
        raw_cost.0.push(b.server_cost / 1e3);
        ratios.0.push(a.per_second / b.per_second * 100.0);
        bare_rate.0.push(least.per_second);
        bare_cost.0.push(least.server_cost / 1e3);
        bare_ratios.0.push(least.per_second / b.per_second * 100.0);
        beside_bare.0.push(a.per_second / least.per_second * 100.0);
    }
    server.stop()?;
    let yardstick = format!("raw argon2: {}", raw_rate.show("/s"));
    let met = met(ratios.median() >= 90.0);
    table.row("log-ins a second", [&rate.show("/s"), &yardstick, &ratios.show("%"), "≥ 90 %", met]);
    let yardstick = format!("raw argon2: {}", raw_cost.show("ms"));
    let ratio = format!("{:.2}", cost.median() / raw_cost.median());
    table.row("  processor time a log-in", [&cost.show("ms"), &yardstick, &ratio, "", ""]);
    let yardstick = format!("a bare handler: {}", bare_rate.show("/s"));
    table.row("  beside a bare handler", [&rate.show("/s"), &yardstick, &beside_bare.show("%"), "", ""]);
    table.row("  the bare handler beside raw argon2", [&bare_rate.show("/s"), "", &bare_ratios.show("%"), "", ""]);
    table.row("  its processor time a log-in", [&bare_cost.show("ms"), "", "", "", ""]);
    Ok(raw_rate.median())
}

/// What [`BURST`] users meet who log in at once, and another user who reads meanwhile.
#[derive(Default)]
struct Burst {
    slowest: Runs,
    lost: usize,
    pages: Runs,
}

impl Burst {
    async fn run(&mut self, server: &Server, reader: &mut Connection) -> anyhow::Result<()> {
        let mut users = JoinSet::new();
        for user in 0..BURST {
            let (mut connection, request) = (server.connect().await?, log_in(user));
            users.spawn(async move {
                let began = Instant::now();
                let answer = connection.ask(&request).await;
                (began.elapsed(), answer.is_ok_and(|answer| answer.status == 303))
            });
        }
        let mut longest = Duration::ZERO;
        while !users.is_empty() {
            self.pages.0.push(read_once(reader).await?);
            while let Some(done) = users.try_join_next() {
                let (took, well) = done?;
                longest = longest.max(took);
                self.lost += usize::from(!well);
            }
        }
        self.slowest.0.push(longest.as_secs_f64() * 1e3);
        Ok(())
    }
}

/// Measures the memory of new servers: idle, and while [`BURST`] users log in at once and another user reads. The bare handler
/// has the same users in turns.
async fn bursts(
    latchkey: impl AsyncFn() -> anyhow::Result<Server>,
    bare: &Server,
    raw: f64,
    table: &mut Table,
) -> anyhow::Result<()> {
    let [mut resident, mut proportional, mut peak, mut after, mut quiet] = [const { Runs(Vec::new()) }; 5];
    let [mut ours, mut bares] = [Burst::default(), Burst::default()];
    for _ in 0..BURSTS {
        let server = latchkey().await?;
        let mut reader = server.connect().await?;
        reader.ask(&page()).await?;
        sleep(Duration::from_secs(1)).await;
        resident.0.push(server.memory("status", "VmRSS:")?);
        proportional.0.push(server.memory("smaps_rollup", "Pss:")?);
        for _ in 0..200 {
            quiet.0.push(read_once(&mut reader).await?);
        }
        ours.run(&server, &mut reader).await?;
        peak.0.push(server.memory("status", "VmHWM:")?);
        after.0.push(server.memory("status", "VmRSS:")?);
        sleep(Duration::from_secs(2)).await; // their emails go out, or the next server would begin with them
        server.stop()?;
        bares.run(bare, &mut bare.connect().await?).await?;
    }
    for (name, runs) in [("idle memory, resident", &resident), ("idle memory, proportional", &proportional)] {
        table.row(name, [&runs.show("MB"), "", "", "< 25 MB", met(runs.median() < 25.0)]);
    }
    let blocks = cores() as f64 * 19.0 * 1.048_576; // MiB to MB
    let (least, limit) = (resident.median() + blocks, resident.median() + blocks + 40.0);
    let (yardstick, aim) = (format!("idle + blocks: {least:.0} MB"), format!("< {limit:.0} MB"));
    let name = format!("peak memory, {BURST} log-ins at once");
    table.row(&name, [&peak.show("MB"), &yardstick, "", &aim, met(peak.median() < limit)]);
    table.row("  resident when they are in", [&after.show("MB"), "", "", "", ""]);
    let least = BURST as f64 / raw * 1e3;
    let yardstick = format!("raw argon2: {least:.0} ms");
    for (what, Burst { slowest, lost, .. }) in [("the slowest answer", &ours), ("the same of the bare handler", &bares)]
    {
        let (name, ratio) = (format!("  {what}; lost: {lost}"), format!("{:.2}", slowest.median() / least));
        table.row(&name, [&slowest.show("ms"), &yardstick, &ratio, "none lost", met(*lost == 0)]);
    }
    let yardstick = format!("quiet: {}", quiet.percentiles());
    for (what, Burst { pages, .. }) in [("a page meanwhile", &ours), ("a page of the bare handler", &bares)] {
        table.row(&format!("  {what}: p50 / p99 / max"), [&pages.percentiles(), &yardstick, "", "", ""]);
    }
    Ok(())
}

/// Measures pages per second in turns with the bare handler, and the processor time of one page.
async fn pages(ours: Server, dir: &Path, table: &mut Table) -> anyhow::Result<()> {
    let jar = cookies(ours.connect().await?.ask(&log_in(0)).await?.text);
    let signed_in = with(&fetch("/profile"), &jar);
    let size = async |request: &[u8]| anyhow::Ok(body_size(ours.connect().await?.ask(request).await?.text));
    let sizes = [size(&page()).await?, size(&signed_in).await?];
    let bare = Server::bare(dir, sizes).await?;
    let key = EncodingKey::from_secret(KEY);
    let claims = Claims { sub: Uuid::nil(), sid: Uuid::nil(), iat: 0, exp: u64::MAX / 2 };
    let token = encode(&jsonwebtoken::Header::default(), &claims, &key)?;
    let verified = with(&fetch("/profile"), &format!("latchkey_session={token}"));
    let of_both = [
        ("`GET /login` a second", page(), page(), sizes[0], 70.0),
        ("signed-in `/profile` a second", signed_in, verified, sizes[1], 60.0),
    ];
    for (name, request, bare_request, size, aim) in of_both {
        let same = body_size(bare.connect().await?.ask(&bare_request).await?.text);
        ensure!(same == size, "the bare page has {same} bytes, ours {size}");
        in_turns((&ours, request), (&bare, bare_request), (name, aim), table).await?;
    }
    ours.stop()?;
    bare.stop()
}

/// Measures requests per second in turns with the bare handler, and the processor time of one.
async fn in_turns(
    (ours, request): (&Server, Vec<u8>),
    (bare, bare_request): (&Server, Vec<u8>),
    (name, aim): (&str, f64),
    table: &mut Table,
) -> anyhow::Result<()> {
    let (requests, bare_requests) = (vec![request; PAGES_AT_ONCE], vec![bare_request; PAGES_AT_ONCE]);
    ours.load(&requests, 200, Duration::from_millis(500)).await?; // to warm up
    bare.load(&bare_requests, 200, Duration::from_millis(500)).await?;
    let [mut rate, mut cost, mut bare_rate, mut bare_cost, mut ratios, mut client] = [const { Runs(Vec::new()) }; 6];
    for _ in 0..PAGE_TURNS {
        let (a, b) = (ours.load(&requests, 200, PAGES_FOR).await?, bare.load(&bare_requests, 200, PAGES_FOR).await?);
        rate.0.push(a.per_second);
        cost.0.push(a.server_cost);
        bare_rate.0.push(b.per_second);
        bare_cost.0.push(b.server_cost);
        ratios.0.push(a.per_second / b.per_second * 100.0);
        client.0.push(b.client_busy * 100.0);
    }
    let yardstick = format!("bare axum: {}", bare_rate.show("/s"));
    let (aimed, met) = (format!("≥ {aim:.0} %"), met(ratios.median() >= aim));
    table.row(name, [&rate.show("/s"), &yardstick, &ratios.show("%"), &aimed, met]);
    let yardstick = format!("bare axum: {}", bare_cost.show("µs"));
    let ratio = format!("{:.2}", cost.median() / bare_cost.median());
    table.row("  processor time of one", [&cost.show("µs"), &yardstick, &ratio, "", ""]);
    table.row("  the client's share of a core (bare)", [&client.show("%"), "", "", "", ""]);
    Ok(())
}

/// Returns the size of the body in bytes.
fn body_size(answer: &str) -> usize {
    answer.split_once("\r\n\r\n").map_or(0, |(_, body)| body.len())
}

#[derive(Template)]
#[template(source = "<title>{{ title }} – {{ site }}</title>{{ padding }}<footer>{{ site }}</footer>", ext = "html")]
struct BarePage<'a> {
    title: &'a str,
    site: &'a str,
    padding: &'a str,
}

/// The key of the bare handler's tokens.
const KEY: &[u8] = b"no secret: the token opens nothing";

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: Uuid,
    sid: Uuid,
    iat: u64,
    exp: u64,
}

/// What the bare handlers share.
struct Bare {
    key: (EncodingKey, DecodingKey),
    padding: [String; 2],
    db: Db,
    hasher: Hasher,
}

/// The bare handlers' own copy of the database, in the folder of the site.
const BARE_DATABASE: &str = "bare.db";

/// Logs in with one query, one hash by the server's own threads, and one row with the session.
async fn bare_log_in(bare: &Bare, form: &str) -> anyhow::Result<Response> {
    let field = |name| form_urlencoded::parse(form.as_bytes()).find(|(known, _)| known == name).map(|(_, value)| value);
    let (login, password) = (field("login").context("no name")?, field("password").context("no password")?);
    let user = user::by_login(bare.db.read(), &login).await?.context("no such user")?;
    let verdict = bare.hasher.verify(Password::new(&password), Some(user.hashed_password)).await?;
    ensure!(verdict.matches, "another password");
    let now = Clock::default().now();
    let session = session::Model {
        id: chance::id(),
        user_id: user.id,
        created_at: now,
        authenticated_at: now,
        last_seen_at: now,
        expires_at: now + time::Duration::days(1),
        remember: false,
        ip: String::new(),
        user_agent: String::new(),
        kind: SessionKind::Browser,
    };
    let claims = Claims { sub: user.id, sid: session.id, iat: 0, exp: u64::MAX / 2 };
    session::Entity::insert(session.into_active_model().reset_all()).exec_without_returning(bare.db.write()).await?;
    let cookie = format!("latchkey_session={}", encode(&jsonwebtoken::Header::default(), &claims, &bare.key.0)?);
    let headers = [(header::LOCATION, "/profile"), (header::SET_COOKIE, &cookie)];
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}

/// Serves the yardsticks: handlers that render pages of these sizes, without any layer, and one that logs in. The profile is for a
/// cookie with a good token only.
async fn bare(port: u16, dir: &Path, sizes: [usize; 2]) -> anyhow::Result<()> {
    fn render(padding: &str) -> String {
        BarePage { title: "Log in", site: "Latchkey", padding }.render().unwrap_or_default()
    }
    fn answer(padding: &str) -> Response {
        ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], render(padding)).into_response()
    }
    async fn show(State(shared): State<Arc<Bare>>) -> Response {
        answer(&shared.padding[0])
    }
    async fn log_in(State(shared): State<Arc<Bare>>, form: String) -> Response {
        bare_log_in(&shared, &form).await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
    }
    async fn show_profile(State(shared): State<Arc<Bare>>, headers: HeaderMap) -> Response {
        let cookie = headers.get(header::COOKIE).and_then(|cookie| cookie.to_str().ok());
        let token = cookie.and_then(|cookie| cookie.split_once("latchkey_session=")).map(|(_, token)| token);
        match token.map(|token| decode::<Claims>(token, &shared.key.1, &Validation::default())) {
            Some(Ok(_)) => answer(&shared.padding[1]),
            _ => StatusCode::UNAUTHORIZED.into_response(),
        }
    }
    let padding = sizes.map(|size| "x".repeat(size.saturating_sub(render("").len())));
    let router = axum::Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/empty", get(|| async {}))
        .route("/login", get(show).post(log_in))
        .route("/profile", get(show_profile));
    let db = Db::open(&DatabaseUrl::of_file(&dir.join(BARE_DATABASE))?).await?;
    let hasher = Hasher::start(HashEngine::Fast, 19_456, 2, Metrics::default().hashing)?;
    let key = (EncodingKey::from_secret(KEY), DecodingKey::from_secret(KEY));
    let shared = Arc::new(Bare { key, padding, db, hasher });
    Ok(axum::serve(TcpListener::bind(("127.0.0.1", port)).await?, router.with_state(shared)).await?)
}

/// The results of a load.
struct Load {
    per_second: f64,
    /// Processor time of the server for one response, in µs.
    server_cost: f64,
    /// Processor time of this process, as a share of one core.
    client_busy: f64,
}

impl Load {
    fn new(done: u32, lasts: Duration, server: f64, client: f64) -> Self {
        let (done, seconds) = (f64::from(done), lasts.as_secs_f64());
        Self { per_second: done / seconds, server_cost: server / done * 1e6, client_busy: client / seconds }
    }
}

impl Server {
    async fn bare(dir: &Path, sizes: [usize; 2]) -> anyhow::Result<Self> {
        let (mut command, port) = (Command::new(env::current_exe()?), free_port()?);
        command.args(["bare", &port.to_string()]).arg(dir).args(sizes.map(|size| size.to_string()));
        Self::start(command, port, dir.join("bare.log")).await
    }

    /// Opens a connection for each request, and sends the request again after each response.
    async fn load(&self, requests: &[Vec<u8>], expected: u16, lasts: Duration) -> anyhow::Result<Load> {
        let before = (processor_time(self.child.id())?, processor_time(std::process::id())?);
        let done = load(&[self.port], requests, expected, lasts).await?;
        let after = (processor_time(self.child.id())?, processor_time(std::process::id())?);
        Ok(Load::new(done, lasts, after.0 - before.0, after.1 - before.1))
    }
}
