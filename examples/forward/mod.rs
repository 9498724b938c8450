//! What a reverse proxy waits for when it asks who is there (`/auth/verify`).

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::measured::{READER_RESTS, Runs, Table, log_in, raw_argon2};
use crate::served::{Server, binary, cookies, with};
use crate::{in_turns, known_browsers};

const STORMS: usize = 3;
const STORM: Duration = Duration::from_secs(4);
const QUIET: Duration = Duration::from_secs(1);

/// Measures Latchkey in turns with a handler that does nothing: how often a second a proxy may ask, and how long it waits.
pub async fn measure(dir: &Path, table: &mut Table) -> anyhow::Result<()> {
    let settings = [
        ("LATCHKEY_SIGNUP", "open"),
        ("LATCHKEY_PUBLIC_URL", "http://accounts.example.localhost"),
        ("LATCHKEY_GATE_DOMAIN", "example.localhost"),
        ("LATCHKEY_TRUSTED_PROXIES", "127.0.0.1"),
    ];
    let ours = Server::latchkey(dir, &settings).await?;
    let mut command = Command::new(binary()?);
    command.args(["app", "add", "Wiki", "--host", "wiki.example.localhost"]).env_clear().envs(settings);
    ensure!(command.env("LATCHKEY_DATA_DIR", dir).output()?.status.success(), "no app was added");
    let jar = cookies(ours.connect().await?.ask(&log_in(0)).await?.text);
    let gate = jar.split("; ").find(|cookie| cookie.starts_with("latchkey_gate=")).unwrap_or_default();
    let path = "/auth/verify HTTP/1.1\r\nX-Forwarded-Host: wiki.example.localhost\r\nX-Forwarded-Uri: /a?b=c\r\n";
    let request = with(format!("GET {path}Host: localhost\r\n\r\n").as_bytes(), gate);
    sleep(Duration::from_millis(1100)).await; // an app is seen within a second
    ensure!(ours.connect().await?.ask(&request).await?.status == 200, "the user is not there");
    let bare = Server::bare(dir, [0, 0]).await?;
    let bare_request = String::from_utf8(request.clone())?.replace("/auth/verify", "/empty").into_bytes();
    let aim = ("`/auth/verify` a second", 60.0);
    in_turns((&ours, request.clone()), (&bare, bare_request.clone()), aim, table).await?;
    storms((&ours, &request), (&bare, &bare_request), table).await?;
    ours.stop()?;
    bare.stop()
}

/// Measures how long one proxy waits for an answer when nothing else happens, and while all cores are busy with log-ins. Beside
/// it, the handler that does nothing, while all cores are busy with raw argon2: that is what the operating system costs.
async fn storms(
    (ours, request): (&Server, &[u8]),
    (bare, bare_request): (&Server, &[u8]),
    table: &mut Table,
) -> anyhow::Result<()> {
    let turns = known_browsers(ours).await?;
    let [mut quiet, mut busy, mut bare_quiet, mut bare_busy, mut rate] = [const { Runs(Vec::new()) }; 5];
    // Not of the first users, who are those for whom the proxy asks: a user's oldest session ends when there are too many.
    for log_ins in turns[1..].iter().cycle().take(STORMS) {
        quiet.0.extend(waits(ours, request, QUIET).await?);
        bare_quiet.0.extend(waits(bare, bare_request, QUIET).await?);
        let (storm, waited) = tokio::join!(ours.load(log_ins, 303, STORM), waits(ours, request, STORM));
        rate.0.push(storm?.per_second);
        busy.0.extend(waited?);
        let hashes = spawn_blocking(|| raw_argon2(STORM));
        bare_busy.0.extend(waits(bare, bare_request, STORM).await?);
        hashes.await??;
    }
    let yardstick = format!("bare axum: {}", bare_quiet.percentiles());
    table.row("  when quiet: p50 / p99 / max", [&quiet.percentiles(), &yardstick, "", "", ""]);
    let yardstick = format!("bare axum beside raw argon2: {}", bare_busy.percentiles());
    table.row("  during log-ins", [&busy.percentiles(), &yardstick, "", "", ""]);
    table.row("  log-ins a second meanwhile", [&rate.show("/s"), "", "", "", ""]);
    Ok(())
}

/// Asks for this long, with the pauses of one reader. Returns how many milliseconds each answer took.
async fn waits(server: &Server, request: &[u8], lasts: Duration) -> anyhow::Result<Vec<f64>> {
    let (mut connection, mut waited) = (server.connect().await?, vec![]);
    let end = Instant::now() + lasts;
    while Instant::now() < end {
        let began = Instant::now();
        let status = connection.ask(request).await?.status;
        waited.push(began.elapsed().as_secs_f64() * 1e3);
        ensure!(status == 200, "answered {status}");
        sleep(READER_RESTS).await;
    }
    Ok(waited)
}
