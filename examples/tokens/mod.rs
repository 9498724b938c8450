//! How many times a second apps get tokens at `/oauth/token`: for a code with PKCE, and for a refresh token.
//!
//! An answer has an ID token and an access token, so it costs two RSA signatures, and one commit, which makes the code or the
//! refresh token a used one. The signatures are on all cores and the commits one after the other, so the slower of the two bounds
//! the rate. Both are measured by themselves, in the same run: two signatures of 2048 bits, one thread per core,
//! and the update of a row in a SQLite file with the same settings.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use sea_orm::{ConnectOptions, ConnectionTrait, Database};
use serde_json::Value;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;

use crate::Load;
use crate::measured::{Runs, Table, cores, log_in, processor_time};
use crate::served::{Connection, Server, binary, cookies, fetch, post, with};

const TURNS: usize = 6;
/// How many codes each turn redeems. They work for a minute, and of one session twenty are kept.
const CODES: usize = 1024;
const SESSIONS: usize = 64;
const AT_ONCE: usize = 32;
const LASTS: Duration = Duration::from_millis(1500);
const COMMITS: u32 = 1000;
const CALLBACK: &str = "http://localhost:8000/callback";
/// A code's verifier and its challenge (RFC 7636, appendix B).
const PKCE: [&str; 2] = ["dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"];

/// Measures answers in turns with what they consist of.
pub async fn measure(dir: &Path, table: &mut Table) -> anyhow::Result<()> {
    let server = Server::latchkey(dir, &[]).await?;
    let app = App::register(dir)?;
    let mut jars = vec![];
    for user in 0..SESSIONS {
        jars.push(cookies(server.connect().await?.ask(&log_in(user)).await?.text));
    }
    sleep(Duration::from_millis(1100)).await; // an app is seen within a second
    let (key, row) = (Arc::new(RsaKeyPair::generate(KeySize::Rsa2048)?), Row::new(dir).await?);
    // To warm up: the first signature makes the server's key.
    app.redeem(&server, app.codes(&server, &jars, AT_ONCE).await?).await?;
    let (mut codes, mut refreshes, mut raw) = (Rates::default(), Rates::default(), Rates::default());
    let [mut commits, mut by_code, mut by_refresh] = [const { Runs(Vec::new()) }; 3];
    for _ in 0..TURNS {
        let requests = app.codes(&server, &jars, CODES).await?;
        let (load, tokens) = app.redeem(&server, requests).await?;
        let [a, b] = [codes.push(load), refreshes.push(app.refresh(&server, tokens).await?)];
        let before = processor_time(std::process::id())?;
        let key = key.clone();
        let done = spawn_blocking(move || signatures(&key, LASTS)).await??;
        let both = raw.push(Load::new(done / 2, LASTS, processor_time(std::process::id())? - before, 0.0));
        let rate = row.commits().await?;
        commits.0.push(rate);
        by_code.0.push(a / both.min(rate) * 100.0);
        by_refresh.0.push(b / both.min(rate) * 100.0);
    }
    server.stop()?;
    let bound = format!("2 signatures: {}", raw.rate.show("/s"));
    let cost = format!("2 signatures: {}", raw.cost.show("ms"));
    for (name, rates, ratio) in [("code", &codes, &by_code), ("refresh token", &refreshes, &by_refresh)] {
        let name = format!("tokens for a {name}, a second");
        table.row(&name, [&rates.rate.show("/s"), &bound, &ratio.show("%"), "", ""]);
        let ratio = format!("{:.2}", rates.cost.median() / raw.cost.median());
        table.row("  processor time of one", [&rates.cost.show("ms"), &cost, &ratio, "", ""]);
    }
    table.row("  commits a second of bare SQLite", [&commits.show("/s"), "", "", "", ""]);
    Ok(())
}

/// Rates, and processor times of one in milliseconds.
#[derive(Default)]
struct Rates {
    rate: Runs,
    cost: Runs,
}

impl Rates {
    /// Returns the rate.
    fn push(&mut self, load: Load) -> f64 {
        self.rate.0.push(load.per_second);
        self.cost.0.push(load.server_cost / 1e3);
        load.per_second
    }
}

/// A registered app that asks its users nothing.
struct App {
    id: String,
    secret: String,
}

impl App {
    fn register(dir: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(binary()?);
        command.args(["app", "add", "Shop", "--redirect-uri", CALLBACK, "--trusted", "--json"]);
        let ran = command.env_clear().env("LATCHKEY_DATA_DIR", dir).output()?;
        ensure!(ran.status.success(), "no app was added: {}", String::from_utf8_lossy(&ran.stderr));
        let added: Value = serde_json::from_slice(&ran.stdout)?;
        let text = |name: &str| added[name].as_str().map(str::to_owned).with_context(|| format!("no {name}"));
        Ok(Self { id: text("client_id")?, secret: text("client_secret")? })
    }

    fn ask(&self, more: &[(&str, &str)]) -> Vec<u8> {
        post("/oauth/token", &[&[("client_id", &*self.id), ("client_secret", &self.secret)], more].concat())
    }

    /// Gets codes for the users in turn. Returns the requests that redeem them.
    async fn codes(&self, server: &Server, jars: &[String], count: usize) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs([("client_id", &*self.id), ("redirect_uri", CALLBACK), ("response_type", "code")]);
        query.extend_pairs([("scope", "openid profile email offline_access"), ("state", "a"), ("nonce", "b")]);
        query.extend_pairs([("code_challenge", PKCE[1]), ("code_challenge_method", "S256")]);
        let request = fetch(&format!("/oauth/authorize?{}", query.finish()));
        let (mut connection, mut requests) = (server.connect().await?, vec![]);
        for jar in jars.iter().cycle().take(count) {
            let answer = connection.ask(&with(&request, jar)).await?;
            let code = answer.text.split("code=").nth(1).and_then(|rest| rest.split(['&', '\r']).next());
            let code = code.with_context(|| format!("no code: {}", answer.text))?;
            let of_code = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", CALLBACK)];
            requests.push(self.ask(&[&of_code[..], &[("code_verifier", PKCE[0])]].concat()));
        }
        Ok(requests)
    }

    /// Redeems codes on several connections. Returns the last refresh token of each.
    async fn redeem(&self, server: &Server, requests: Vec<Vec<u8>>) -> anyhow::Result<(Load, Vec<String>)> {
        let mut of_each = vec![vec![]; AT_ONCE];
        let count = u32::try_from(requests.len())?;
        requests.into_iter().enumerate().for_each(|(at, request)| of_each[at % AT_ONCE].push(request));
        let mut connections = vec![];
        for requests in of_each {
            connections.push((server.connect().await?, requests));
        }
        let (began, before) = (Instant::now(), processor_time(server.child.id())?);
        let mut tasks = JoinSet::new();
        for (mut connection, requests) in connections {
            tasks.spawn(async move {
                let mut token = String::new();
                for request in requests {
                    token = tokens(&mut connection, &request).await?;
                }
                anyhow::Ok(token)
            });
        }
        let tokens = tasks.join_all().await.into_iter().collect::<anyhow::Result<_>>()?;
        Ok((Load::new(count, began.elapsed(), processor_time(server.child.id())? - before, 0.0), tokens))
    }

    /// Gets other tokens again and again, each for the refresh token that came before.
    async fn refresh(&self, server: &Server, tokens_of_each: Vec<String>) -> anyhow::Result<Load> {
        let mut connections = vec![];
        for token in tokens_of_each {
            connections.push((server.connect().await?, token));
        }
        let (began, before) = (Instant::now(), processor_time(server.child.id())?);
        let mut tasks = JoinSet::new();
        for (mut connection, mut token) in connections {
            let app = Self { id: self.id.clone(), secret: self.secret.clone() };
            tasks.spawn(async move {
                let mut done = 0;
                while began.elapsed() < LASTS {
                    let request = app.ask(&[("grant_type", "refresh_token"), ("refresh_token", &token)]);
                    token = tokens(&mut connection, &request).await?;
                    done += 1;
                }
                anyhow::Ok(done)
            });
        }
        let done = tasks.join_all().await.into_iter().sum::<anyhow::Result<u32>>()?;
        Ok(Load::new(done, began.elapsed(), processor_time(server.child.id())? - before, 0.0))
    }
}

/// Asks for tokens. Returns the refresh token.
async fn tokens(connection: &mut Connection, request: &[u8]) -> anyhow::Result<String> {
    let answer = connection.ask(request).await?;
    let token = answer.text.split("\"refresh_token\":\"").nth(1).and_then(|rest| rest.split('"').next());
    token.map(str::to_owned).with_context(|| format!("no tokens: {}", answer.text))
}

/// Makes a key of 2048 bits, as the server's.
/// Returns how many signatures the cores can make when they do nothing else.
fn signatures(key: &RsaKeyPair, lasts: Duration) -> anyhow::Result<u32> {
    let (message, end) = ([b'x'; 512], Instant::now() + lasts);
    let sign = || {
        let (mut done, mut signature, random) = (0, vec![0; key.public_modulus_len()], SystemRandom::new());
        while Instant::now() < end {
            key.sign(&RSA_PKCS1_SHA256, &random, &message, &mut signature)?;
            done += 1;
        }
        anyhow::Ok(done)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..cores()).map(|_| scope.spawn(sign)).collect();
        threads.into_iter().map(|one| one.join().map_err(|_| anyhow!("a panic"))?).sum()
    })
}

/// A row in a SQLite file of its own, with the settings of Latchkey's.
struct Row(sea_orm::DatabaseConnection);

impl Row {
    async fn new(dir: &Path) -> anyhow::Result<Self> {
        let mut options = ConnectOptions::new(format!("sqlite://{}?mode=rwc", dir.join("bare.db").display()));
        let db = Database::connect(options.max_connections(1).sqlx_logging(false).to_owned()).await?;
        db.execute_unprepared("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE bare (x)").await?;
        db.execute_unprepared("INSERT INTO bare VALUES (0)").await?;
        Ok(Self(db))
    }

    /// Returns how many changes a second are on the disk, one after the other.
    async fn commits(&self) -> anyhow::Result<f64> {
        let began = Instant::now();
        for _ in 0..COMMITS {
            self.0.execute_unprepared("UPDATE bare SET x = x + 1").await?;
        }
        Ok(f64::from(COMMITS) / began.elapsed().as_secs_f64())
    }
}
