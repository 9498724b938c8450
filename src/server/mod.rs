//! Serving: the listener, with the postman and the sweeper beside it, until somebody says stop.

mod activity;
mod connection;
mod crowd;
mod exchange;
mod linger;
mod listener;
mod metrics;
mod redirect;
mod tls;

use std::future::Future;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustix::process::geteuid;
use serde_json::json;
use time::format_description::well_known::Rfc3339;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{Instrument, info, info_span, warn};

use crate::accounts::link::{not_me_link, pending_signup, reset_token};
use crate::accounts::session::{self, device};
use crate::accounts::{Fault, event, limit, outbox};
use crate::app::App;
use crate::config::{Config, LogFormat};
use crate::db::Db;
use crate::mail::{Mailer, postman};
use crate::served::Served;
use crate::{api, visit_store, web};
use crowd::Crowd;
use listener::accept;

pub use listener::{Limits, Listener};

/// How often rows that have expired are deleted.
const SWEEP_EVERY: Duration = Duration::from_secs(15 * 60);
/// How many connections may ask for what is counted.
const SCRAPERS: usize = 16;
/// How long requests under way may take after the stop; more than a request may take at all.
const STOP_WITHIN: Duration = Duration::from_secs(35);
/// How long the database may take to close; more than SQLite waits for other processes.
const CLOSE_WITHIN: Duration = Duration::from_secs(8);
const STILL_BESIDE: &str =
    "the database file is not complete by itself: copy latchkey.db-wal and latchkey.db-shm together with it";

/// Serves until SIGTERM or Ctrl-C, then lets what is under way finish.
///
/// # Errors
/// One line that names the setting to look at.
pub async fn serve(mut config: Config) -> anyhow::Result<()> {
    // The settings are checked before anything is made or bound.
    config.check().map_err(anyhow::Error::msg)?;
    let mut listener = Listener::bind(&config)?;
    listener.fit_files();
    config.listen = listener.local_addr()?;
    let app = App::open_alone(config).await?;
    let mailer = Mailer::new(&app.config, &app.public_url)?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    if geteuid().is_root() {
        warn!("Latchkey runs as root: an attacker who breaks into it has the whole machine; give it a user of its own");
    }
    Served::write(&app.config.data_dir, app.public_url.origin(), app.keys.ids(), app.now())
        .context("LATCHKEY_DATA_DIR: cannot write server.json")?;
    if app.config.is_insecure_lan() {
        warn!(
            "LATCHKEY_INSECURE_LAN is on: passwords and cookies cross the network in plain text, and an attacker on it can \
             take over any account; for trying out only"
        );
    }
    announce(&app);
    let db = app.db.clone();
    let served = run(app, mailer, listener, async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("stopping: finishing what is under way");
    })
    .await;
    close(&db).await;
    served
}

/// Leaves a SQLite database as one file. An operator who copies `latchkey.db` alone would otherwise have an empty
/// database: everything may still stand in the write-ahead log beside it.
async fn close(db: &Db) {
    let closing = async {
        db.checkpoint().await?;
        db.close().await
    };
    match tokio::time::timeout(CLOSE_WITHIN, closing).await {
        Ok(Ok(())) => {}
        Ok(Err(why)) => warn!(%why, "{STILL_BESIDE}"),
        Err(_) => warn!("{STILL_BESIDE}"),
    }
}

/// Says where to open the browser, on standard output, whatever the log is set to; as a line of the log for machines
/// when the log is for machines.
fn announce(app: &App) {
    let mail = if app.config.keeps_letters() { " (emails: /dev/mailbox)" } else { "" };
    let url = app.public_url.origin();
    let mut line = format!("{} is ready: open {url}{mail}", app.config.site_name);
    if app.config.log_format == LogFormat::Json {
        let timestamp = app.now().format(&Rfc3339).unwrap_or_default();
        line = json!({"timestamp": timestamp, "level": "INFO", "message": line, "url": url, "target": module_path!()})
            .to_string();
    }
    let _ = writeln!(io::stdout(), "{line}"); // it may be closed, and the site is served all the same
}

/// Serves on `listener` until `stop` comes true.
///
/// # Errors
/// When the listener fails.
pub async fn run(
    app: Arc<App>,
    mailer: Mailer,
    listener: impl Into<Listener>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    if app.config.uses_sqlite() {
        outbox::release_all(app.db.write()).await?;
    }
    let Listener { tcp, tls, redirect, metrics, limits } = listener.into();
    let (stopping, stopped) = watch::channel(false);
    let mut postman = tokio::spawn(postman::run(app.clone(), Arc::new(mailer), stopped.clone()));
    let mut beside = JoinSet::new();
    beside.spawn(sweep(app.clone()));
    if let Some(tls) = tls.clone() {
        beside.spawn(tls.renew(limits.renew_every));
    }

    let openapi = serde_json::to_value(api::document(&app))?;
    let crowd = Crowd::new(limits, &app.config);
    let elsewhere = redirect::router(app.public_url.clone());
    let doors = web::router(app.clone(), &openapi).merge(api::router(app.clone(), &openapi));
    let mut listeners = JoinSet::new();
    listeners.spawn(accept(tcp, doors, tls, crowd.clone(), stopped.clone()));
    if let Some(redirect) = redirect {
        listeners.spawn(accept(redirect, elsewhere, None, crowd.clone(), stopped.clone()));
    }
    if let Some(tcp) = metrics {
        // With places of its own: when the house is full, its operator wants to know.
        let apart = Crowd::new(Limits { connections: SCRAPERS, ..limits }, &app.config);
        listeners.spawn(accept(tcp, metrics::router(app, crowd), None, apart, stopped));
    }
    tokio::select! {
        // They never end by themselves. A site that takes sign-ups and sends no letters is worse than one that stops.
        ended = listeners.join_next() => anyhow::bail!("a listener stopped: {ended:?}"),
        ended = &mut postman => anyhow::bail!("the postman stopped: {ended:?}"),
        () = stop => {
            let _nobody_listens = stopping.send(true);
            let all_ended = async { while listeners.join_next().await.is_some() {} };
            if tokio::time::timeout(STOP_WITHIN, all_ended).await.is_err() {
                warn!("some connections did not end in time");
            }
        }
    }
    listeners.shutdown().await; // and with them what is left of their connections
    postman.await?;
    Ok(())
}

/// Deletes expired rows, now and then. They are dead already: every query looks at the time.
async fn sweep(app: Arc<App>) {
    let mut tick = tokio::time::interval(SWEEP_EVERY);
    loop {
        tick.tick().await;
        let sweeping = async {
            if let Err(fault) = sweep_once(&app).await {
                warn!(%fault, "failed; trying again later");
            }
        };
        sweeping.instrument(info_span!("sweep")).await;
    }
}

async fn sweep_once(app: &App) -> Result<(), Fault> {
    let (conn, now) = (app.db.write(), app.now());
    let sessions = session::sweep(conn, now).await?;
    let links = reset_token::sweep(conn, now).await? + not_me_link::sweep(conn, now).await?;
    let links = links + pending_signup::sweep(conn, now).await?;
    let letters = outbox::sweep(&app.db, now).await?;
    let events = event::sweep(conn, time::Duration::days(app.config.event_days.into()), now).await?;
    let limits = limit::sweep(&app.db, now).await? + device::sweep(conn, now).await?;
    app.throttle.sweep(now);
    let visits = visit_store::sweep(&app.db, now).await?;
    if sessions + links + letters + visits + events + limits > 0 {
        info!(sessions, links, letters, visits, events, limits, "done");
    }
    Ok(())
}
