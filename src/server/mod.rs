//! The server: it opens the sockets, runs the postman and the sweeper beside them, and stops when it is told to.

mod backups;
mod heartbeat;
mod metrics;
mod sockets;
mod sweeper;

use std::future::Future;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustix::process::geteuid;
use serde_json::json;
use time::format_description::well_known::Rfc3339;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::accounts::outbox;
use crate::app::{App, make_folder};
use crate::config::{Config, LogFormat, Settings};
use crate::db::{Db, within};
use crate::gate::HANDLER_TIMEOUT;
use crate::mail::{Mailer, postman};
use crate::net::{ConnectionLimits, Crowd, accept, redirect};
use crate::served::Served;
use crate::urls::GateDomain;
use crate::{api, forward, oidc, web};

pub use sockets::Sockets;

/// How many connections the port for Prometheus takes.
const SCRAPERS: usize = 16;
/// How long requests in progress may take after the stop. It is more than a request may take at all.
const STOP_WITHIN: Duration = Duration::from_secs(35);
const _: () = assert!(STOP_WITHIN.as_secs() > HANDLER_TIMEOUT.as_secs());
/// How long the database may take to close. It is more than SQLite waits for other processes.
const CLOSE_WITHIN: Duration = Duration::from_secs(8);
/// The warning when the database could not be closed.
const STILL_BESIDE: &str =
    "the database file is not complete by itself: copy latchkey.db-wal and latchkey.db-shm together with it";

/// Serves until SIGTERM or Ctrl-C, then lets the requests in progress finish.
///
/// # Errors
/// One line that names the setting to look at.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    // The settings are checked before anything is made or bound.
    let config = Settings::parse(config)?;
    if let Some(folder) = &config.storage.backups {
        make_folder("LATCHKEY_BACKUP_DIR", &folder.path)?;
    }
    let mut sockets = Sockets::bind(&config)?;
    sockets.limits.fit_files();
    let app = App::open_alone(config.bound_to(sockets.site_address()?)).await?;
    let mailer = Mailer::new(&app.settings)?;
    let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    if geteuid().is_root() {
        warn!("Latchkey runs as root: an attacker who breaks into it has the whole machine; give it a user of its own");
    }
    let site = (app.public_url.origin(), app.settings.gate_domain.as_ref().map(GateDomain::as_str));
    Served::write(&app.settings.storage.data_dir, site, app.keys.ids(), app.now())
        .context("LATCHKEY_DATA_DIR: cannot write server.json")?;
    if app.settings.insecure_lan {
        warn!(
            "LATCHKEY_INSECURE_LAN is on: passwords and cookies cross the network in plain text, and an attacker on it can \
             take over any account; for trying out only"
        );
    }
    announce(&app);
    let db = app.db.clone();
    let stop = until_told_to_stop(app.clone(), (terminate, interrupt));
    let served = run(app, mailer, sockets, stop).await;
    close(&db).await;
    served
}

/// Waits for SIGTERM or Ctrl-C. After SIGTERM, everything is still served for a while, in which load balancers learn from
/// `/readyz` to send nothing more. A second signal ends the wait.
async fn until_told_to_stop(app: Arc<App>, (mut terminate, mut interrupt): (Signal, Signal)) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => if !app.settings.drain.is_zero() {
            app.begin_to_stop();
            info!("stopping in {} seconds: load balancers are told to send nothing more", app.settings.drain.as_secs());
            tokio::select! {
                () = tokio::time::sleep(app.settings.drain) => {}
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        },
    }
    info!("stopping: finishing the requests in progress");
}

/// Closes the database. A SQLite database is one file afterwards: everything may still be in the write-ahead log beside
/// it, and an operator who copies `latchkey.db` alone would have an empty database.
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

/// Says on standard output where to open the browser, whatever the level of the log is. When the log is for machines, this
/// is a JSON line too.
fn announce(app: &App) {
    let mail = if app.settings.dev_mailbox().is_some() { " (emails: /dev/mailbox)" } else { "" };
    let url = app.public_url.origin();
    let mut line = format!("{} is ready: open {url}{mail}", app.settings.site_name);
    if app.settings.log_format == LogFormat::Json {
        let timestamp = app.now().format(&Rfc3339).unwrap_or_default();
        line = json!({"timestamp": timestamp, "level": "INFO", "message": line, "url": url, "target": module_path!()})
            .to_string();
    }
    let _ = writeln!(io::stdout(), "{line}"); // the site is served even if standard output is closed
}

/// Serves on the sockets until `stop` is ready.
///
/// # Errors
/// When a listener or the postman stops by itself.
pub async fn run(
    app: Arc<App>,
    mailer: Mailer,
    sockets: Sockets,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    if app.settings.storage.database.is_sqlite() {
        outbox::release_all(app.db.write()).await?;
    }
    heartbeat::beat(&app).await; // now, so that no limit is too high at first
    let (stopping, stopped) = watch::channel(false);
    let mut postman = tokio::spawn(postman::run(app.clone(), Arc::new(mailer), stopped.clone()));
    let mut beside = JoinSet::new(); // what is in it ends when this function returns
    beside.spawn(sweeper::run(app.clone()));
    beside.spawn(backups::run(app.clone()));
    beside.spawn(oidc::backchannel::run(app.clone()));
    let db = app.db.clone();
    beside.spawn(async move { db.watch().await });
    if app.node.is_some() {
        beside.spawn(heartbeat::run(app.clone()));
    }
    if let Some(tls) = sockets.tls.clone() {
        beside.spawn(tls.renew(sockets.limits.renew_every));
    }
    let mut listeners = open_doors(&app, sockets, &stopped)?;
    tokio::select! {
        // None of them ends by itself. A site that takes sign-ups and sends no letters is worse than one that stops.
        ended = listeners.join_next() => anyhow::bail!("a listener stopped: {ended:?}"),
        ended = &mut postman => anyhow::bail!("the postman stopped: {ended:?}"),
        () = stop => {
            let _ = stopping.send(true); // it fails only when all of them have ended
            let all_ended = async { while listeners.join_next().await.is_some() {} };
            if tokio::time::timeout(STOP_WITHIN, all_ended).await.is_err() {
                warn!("some connections did not end in time");
            }
        }
    }
    listeners.shutdown().await; // this ends the connections that are left
    match tokio::time::timeout(STOP_WITHIN, &mut postman).await {
        Ok(ended) => ended?,
        Err(_) => {
            postman.abort();
            warn!("an email that was being sent did not end in time; it is sent again");
        }
    }
    beside.shutdown().await;
    if let Some(node) = &app.node {
        let _ = within(CLOSE_WITHIN, node.leave()).await; // otherwise the other nodes count this one for 20 seconds more
    }
    Ok(())
}

/// Begins to take connections on each socket.
fn open_doors(app: &Arc<App>, sockets: Sockets, stopped: &watch::Receiver<bool>) -> anyhow::Result<JoinSet<()>> {
    let Sockets { site, tls, redirect: plain, metrics, mut limits } = sockets;
    if !app.settings.rate_limits {
        limits.per_client = usize::MAX;
    }
    let crowd_of = |limits| Crowd::new(limits, app.settings.trusted_proxies.clone());
    let crowd = crowd_of(limits);
    let (api, description) = api::router(app.clone())?;
    let doors = web::router(app.clone(), &description).merge(api).merge(oidc::router(app.clone()));
    let doors = doors.merge(forward::router(app.clone()));
    let mut listeners = JoinSet::new();
    listeners.spawn(accept(site, doors, tls, crowd.clone(), stopped.clone()));
    if let Some(plain) = plain {
        let router = redirect::router(app.public_url.clone());
        listeners.spawn(accept(plain, router, None, crowd.clone(), stopped.clone()));
    }
    if let Some(socket) = metrics {
        // This port has places of its own: when the site is full, its operator wants to know.
        let apart = crowd_of(ConnectionLimits { connections: SCRAPERS, ..limits });
        listeners.spawn(accept(socket, metrics::router(app.clone(), crowd), None, apart, stopped.clone()));
    }
    Ok(listeners)
}
