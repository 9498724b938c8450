//! Serving: the listener, with the postman and the sweeper beside it, until somebody says stop.

use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::accounts::{Fault, outbox, pending_signup, reset_token, session};
use crate::app::App;
use crate::config::Config;
use crate::mail::{Mailer, postman};
use crate::{api, visit_store, web};

/// How often rows that have expired are deleted.
const SWEEP_EVERY: Duration = Duration::from_secs(15 * 60);
/// How long requests under way may take after the stop; more than a request may take at all.
const STOP_WITHIN: Duration = Duration::from_secs(35);

/// Serves until SIGTERM or Ctrl-C, then lets what is under way finish.
///
/// # Errors
/// One line that names the setting to look at.
pub async fn serve(mut config: Config) -> anyhow::Result<()> {
    // The settings are checked before anything is made or bound.
    config.check().map_err(anyhow::Error::msg)?;
    let listener = TcpListener::bind(config.listen).await;
    let listener = listener.with_context(|| format!("LATCHKEY_LISTEN: cannot listen on {}", config.listen))?;
    config.listen = listener.local_addr()?;
    let app = App::open(config).await?;
    let mailer = Mailer::new(&app.config, &app.public_url)?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    announce(&app);
    run(app, mailer, listener, async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("stopping: finishing what is under way");
    })
    .await
}

/// Says where to open the browser, on standard output, whatever the log is set to.
fn announce(app: &App) {
    let mail = if app.config.keeps_letters() { " (letters: /dev/mailbox)" } else { "" };
    let _nobody_reads = writeln!(io::stdout(), "{} is ready: open {}{mail}", app.config.site_name, app.public_url);
    if app.config.keeps_letters() && !app.config.listen.ip().is_loopback() {
        warn!("LATCHKEY_LISTEN is not on loopback: whoever reaches it can read every letter at /dev/mailbox");
    }
}

/// Serves on `listener` until `stop` comes true.
///
/// # Errors
/// When the listener fails.
pub async fn run(
    app: Arc<App>,
    mailer: Mailer,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    if app.config.uses_sqlite() {
        outbox::release_all(app.db.write()).await?;
    }
    let (stopping, stopped) = watch::channel(false);
    let mut postman = tokio::spawn(postman::run(app.clone(), Arc::new(mailer), stopped.clone()));
    let sweeper = tokio::spawn(sweep(app.clone()));

    let openapi = Arc::new(serde_json::to_value(api::document(&app))?);
    let doors = web::router(app.clone(), &openapi).merge(api::router(app, openapi));
    let service = doors.into_make_service_with_connect_info::<SocketAddr>();
    let mut stopped_too = stopped.clone();
    let mut server = tokio::spawn(
        axum::serve(listener, service)
            .with_graceful_shutdown(async move {
                let _closed = stopped_too.changed().await;
            })
            .into_future(),
    );
    tokio::select! {
        ended = &mut server => ended??,
        // It never ends by itself. A site that takes sign-ups and sends no letters is worse than one that stops.
        ended = &mut postman => anyhow::bail!("the postman stopped: {ended:?}"),
        () = stop => {
            let _nobody_listens = stopping.send(true);
            if tokio::time::timeout(STOP_WITHIN, server).await.is_err() {
                warn!("some connections did not end in time");
            }
        }
    }
    let _nobody_listens = stopping.send(true);
    sweeper.abort();
    postman.await?;
    Ok(())
}

/// Deletes expired rows, now and then. They are dead already: every query looks at the time.
async fn sweep(app: Arc<App>) {
    let mut tick = tokio::time::interval(SWEEP_EVERY);
    loop {
        tick.tick().await;
        if let Err(fault) = sweep_once(&app).await {
            warn!(%fault, "the sweep failed; trying again later");
        }
    }
}

async fn sweep_once(app: &App) -> Result<(), Fault> {
    let (conn, now) = (app.db.write(), app.now());
    let sessions = session::sweep(conn, now).await?;
    let links = reset_token::sweep(conn, now).await? + pending_signup::sweep(conn, now).await?;
    let letters = outbox::sweep(conn, now).await?;
    let visits = visit_store::sweep(&app.db, now).await?;
    if sessions + links + letters + visits > 0 {
        info!(sessions, links, letters, visits, "swept");
    }
    Ok(())
}
