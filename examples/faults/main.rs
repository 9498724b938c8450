//! Breaks what the program stands on, while users work with it, and checks that nothing was lost or half done:
//!
//! ```text
//! bench/faults [NAME…] [--runs 20] [--seed 1] [--at-once N] [--previous COMMIT]
//! ```
//!
//! The release binary runs as an operator runs it, in one process or in two, with a mail server of our own. Users sign up, log
//! in, change and reset, and write down every answer (`user`, `ledger`). A fault strikes (`scenes`). When it is over, the program
//! must work again by itself, and the checker compares (`stage`, `check`). All choices follow from the seed. The interleaving
//! of processes does not, so a violation may need some runs to show itself again. All traffic is on loopback.

#![expect(clippy::print_stdout, reason = "the program prints a table")]

mod browser;
mod catcher;
mod certificate;
mod chance;
mod check;
#[path = "../cluster/mod.rs"]
#[expect(dead_code, reason = "shared with other programs")]
mod cluster;
mod ledger;
mod proxy;
mod scenes;
mod site;
mod stage;
mod user;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rustix::process::getuid;
use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use scenes::{clients, machines, mail, races, storage};
use stage::{Options, Report};

/// How long a run may take.
const RUN_WITHIN: Duration = Duration::from_secs(240);

type Scene = fn(Options) -> BoxFuture<'static, anyhow::Result<Report>>;

/// What a fault needs beside the binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    Nothing,
    Root,
    Strace,
    Faketime,
    Postgres,
    Previous,
}

impl Needs {
    /// Returns why the fault is left out here, if it is.
    fn missing(self, options: &Options) -> Option<&'static str> {
        let there = match self {
            Self::Nothing => true,
            Self::Root => getuid().is_root(),
            Self::Strace => PathBuf::from("/usr/bin/strace").exists(),
            Self::Faketime => storage::faketime().is_some(),
            Self::Postgres => cluster::is_installed(),
            Self::Previous => cluster::is_installed() && options.previous.is_some(),
        };
        let why = match self {
            Self::Nothing => "",
            Self::Root => "only root can mount a small disk",
            Self::Strace => "apt-get install strace",
            Self::Faketime => "apt-get install faketime",
            Self::Postgres => "apt-get install postgresql",
            Self::Previous => "it needs PostgreSQL and --previous COMMIT",
        };
        (!there).then_some(why)
    }
}

/// Names a fault: how many of its runs go on at once, what it needs, its scene.
macro_rules! faults {
    ($($name:literal $at_once:literal $needs:ident $scene:path;)*) => {
        const FAULTS: &[(&str, usize, Needs, Scene)] = &[$(($name, $at_once, Needs::$needs, |options| $scene(options).boxed())),*];
    };
}

faults! {
    "kill" 3 Nothing storage::kill;
    "kill-before-mail" 3 Nothing mail::killed_before_sending;
    "kill-after-250" 3 Nothing mail::killed_before_recording;
    "smtp-refused" 4 Nothing mail::refused;
    "smtp-drip" 6 Nothing mail::drips;
    "smtp-greylist" 4 Nothing mail::greylists;
    "smtp-5xx" 3 Nothing mail::rejects;
    "smtp-drop-in-data" 4 Nothing mail::drops_in_data;
    "smtp-bad-certificate" 4 Nothing mail::bad_certificate;
    "smtp-no-starttls" 4 Nothing mail::no_starttls;
    "disk-full" 3 Root storage::disk_full;
    "fsync" 3 Strace storage::fsync_fails;
    "locked" 4 Nothing storage::locked;
    "clock" 3 Faketime storage::clock;
    "clients-go" 3 Nothing clients::gone_from_sqlite;
    "pg-clients-go" 2 Postgres clients::gone_from_postgres;
    "pg-restart" 2 Postgres machines::restarted;
    "pg-pause" 10 Postgres machines::paused;
    "pg-terminate" 2 Postgres machines::terminated;
    "pg-cut" 2 Postgres machines::cut;
    "pg-failover" 2 Postgres machines::replaced;
    "node-killed" 2 Postgres machines::node_killed;
    "rolling-restart" 2 Postgres machines::rolling_restart;
    "rolling-upgrade" 2 Previous machines::rolling_upgrade;
    "one-link" 2 Postgres races::one_link;
    "reset-races" 2 Postgres races::reset_races;
}

/// The arguments.
struct Asked {
    names: Vec<String>,
    runs: u64,
    at_once: Option<usize>,
    options: Options,
}

impl Asked {
    fn parse() -> anyhow::Result<Self> {
        let binary = env::var_os("LATCHKEY_BINARY").context("start it by bench/faults")?.into();
        let previous = env::var_os("LATCHKEY_PREVIOUS").map(PathBuf::from);
        let mut asked = Self { names: vec![], runs: 20, at_once: None, options: Options { binary, previous, seed: 1 } };
        let mut arguments = env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut number = || arguments.next().and_then(|value| value.parse::<u64>().ok());
            match argument.as_str() {
                "--runs" => asked.runs = number().context("--runs NUMBER")?,
                "--seed" => asked.options.seed = number().context("--seed NUMBER")?,
                "--at-once" => asked.at_once = Some(number().context("--at-once NUMBER")? as usize),
                name if FAULTS.iter().any(|(known, ..)| *known == name) => asked.names.push(name.to_owned()),
                other => bail!(
                    "{other} is no fault; there are: {}",
                    FAULTS.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(" ")
                ),
            }
        }
        Ok(asked)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let asked = Asked::parse()?;
    let mut terminate = signal(SignalKind::terminate())?;
    // What the runs have started ends with their values, also when the operator has had enough.
    tokio::select! {
        ended = run_all(&asked) => ended,
        _ = ctrl_c() => bail!("stopped"),
        _ = terminate.recv() => bail!("stopped"),
    }
}

async fn run_all(asked: &Asked) -> anyhow::Result<ExitCode> {
    println!(
        "fault | runs | acknowledged | 5xx pages | lost | 5xx yet done | letters | twice | slowest letter | recovered after | violations"
    );
    let mut violated = false;
    for (name, at_once, needs, scene) in FAULTS {
        if !asked.names.is_empty() && asked.names.iter().all(|asked| asked != name) {
            continue;
        }
        if let Some(why) = needs.missing(&asked.options) {
            println!("{name} | left out: {why}");
            continue;
        }
        let began = Instant::now();
        let reports = run(asked, *scene, asked.at_once.unwrap_or(*at_once)).await?;
        violated |= print(name, &reports, began.elapsed());
    }
    Ok(if violated { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Runs a fault with one seed after the other, some at once.
async fn run(asked: &Asked, scene: Scene, at_once: usize) -> anyhow::Result<Vec<(u64, Report)>> {
    let (places, mut runs) = (Arc::new(Semaphore::new(at_once)), JoinSet::new());
    for seed in asked.options.seed..asked.options.seed + asked.runs {
        let (places, options) = (places.clone(), Options { seed, ..asked.options.clone() });
        runs.spawn(async move {
            let _place = places.acquire().await?;
            let report = match timeout(RUN_WITHIN, scene(options)).await {
                Ok(Ok(report)) => report,
                Ok(Err(why)) => Report { violations: vec![format!("{why:#}")], ..Report::default() },
                Err(_) => Report { violations: vec![format!("the run took over {RUN_WITHIN:?}")], ..Report::default() },
            };
            anyhow::Ok((seed, report))
        });
    }
    let mut reports = vec![];
    while let Some(ended) = runs.join_next().await {
        reports.push(ended??);
    }
    reports.sort_by_key(|(seed, _)| *seed);
    Ok(reports)
}

/// Prints the line of a fault, and its violations. Returns whether there are any.
fn print(name: &str, reports: &[(u64, Report)], took: Duration) -> bool {
    let sum = |count: fn(&Report) -> usize| reports.iter().map(|(_, report)| count(report)).sum::<usize>();
    let most = |time: fn(&Report) -> Duration| reports.iter().map(|(_, report)| time(report)).max().unwrap_or_default();
    let (letters, sent) = (sum(|report| report.letters.rows), sum(|report| report.letters.sent));
    let given_up = sum(|report| report.letters.failed);
    let violations = sum(|report| report.violations.len());
    println!(
        "{name} | {} | {} | {} | {} | {} | {letters}: {sent} sent, {given_up} given up | {} | {:.0} s | {:.1} s | {violations} ({:.0} s)",
        reports.len(),
        sum(|report| report.done),
        sum(|report| report.failed),
        sum(|report| report.lost),
        sum(|report| report.done_yet_refused),
        sum(|report| report.letters.twice),
        most(|report| report.letters.slowest).as_secs_f64(),
        most(|report| report.recovered).as_secs_f64(),
        took.as_secs_f64(),
    );
    for (seed, report) in reports.iter().filter(|(_, report)| !report.violations.is_empty()) {
        println!("  again: bench/faults {name} --seed {seed} --runs 1");
        for violation in report.violations.iter().take(5) {
            println!("    {violation}");
        }
        if report.violations.len() > 5 {
            println!("    and {} more", report.violations.len() - 5);
        }
    }
    violations > 0
}
