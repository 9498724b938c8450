//! The postman: the worker that sends the letters in the outbox. It sends each of them at least once, four at a time, until
//! the deadline of the letter.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{Instrument, error, info, info_span, warn};

use super::compose::{Composed, LinkToken, compose};
use super::{Mailer, Refused};
use crate::accounts::outbox::{self, LetterState, OutboxRow};
use crate::accounts::{Fault, not_me, password_reset};
use crate::app::App;

/// How many letters may be sent at once.
pub const AT_ONCE: usize = 4;
/// How often to look when the bell does not ring, for letters that other processes wrote.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Sends letters until the stop, then finishes those that are being sent.
pub async fn run(app: Arc<App>, mailer: Arc<Mailer>, mut stop: watch::Receiver<bool>) {
    let mut sending = JoinSet::new();
    loop {
        while sending.len() < AT_ONCE {
            match outbox::lease(&app.db, app.now()).await {
                Ok(Some(row)) => {
                    let span = info_span!("letter", id = %row.id, kind = row.letter, attempt = row.attempts, request = row.request_id());
                    sending.spawn(deliver(app.clone(), mailer.clone(), row).instrument(span));
                }
                Ok(None) => break,
                Err(fault) => {
                    warn!(%fault, "the outbox cannot be read; trying again");
                    break;
                }
            }
        }
        tokio::select! {
            _ = stop.changed() => break,
            () = app.accounts.bell.notified() => {}
            Some(_) = sending.join_next() => {}
            () = tokio::time::sleep(until_next(&app).await) => {}
        }
    }
    while sending.join_next().await.is_some() {}
}

async fn until_next(app: &App) -> Duration {
    let due = outbox::next_due(app.db.read()).await.ok().flatten();
    let wait = due.map_or(LOOK_EVERY, |due| (due - app.now()).try_into().unwrap_or_default());
    wait.clamp(Duration::from_secs(1), LOOK_EVERY)
}

async fn deliver(app: Arc<App>, mailer: Arc<Mailer>, row: OutboxRow) {
    if let Err(fault) = try_to_deliver(&app, &mailer, &row).await {
        // The row could not be written either. Its lease will run out, and the letter gets another attempt.
        error!(%fault, "a letter could not be worked on");
    }
}

async fn try_to_deliver(app: &App, mailer: &Mailer, row: &OutboxRow) -> Result<(), Fault> {
    if row.deadline <= app.now() {
        // There was no process or no database to send it earlier. A link that arrives days late is of no use.
        let why = row.last_error.as_deref().unwrap_or("not sent before its deadline");
        return put_off(app, row, &Refused { why: why.to_owned(), hopeless: true, certain: true }).await;
    }
    match compose(app, row).await {
        Ok(Some(letter)) => send(app, mailer, row, letter).await,
        Ok(None) => outbox::done(app.db.write(), row, LetterState::Dropped, app.now()).await,
        Err(fault) => put_off(app, row, &Refused { why: fault.to_string(), hopeless: false, certain: true }).await,
    }
}

async fn put_off(app: &App, row: &OutboxRow, refused: &Refused) -> Result<(), Fault> {
    match outbox::note_not_sent(app.db.write(), row, &refused.why, refused.hopeless, app.now()).await? {
        LetterState::Failed => error!(why = refused.why, "given up"),
        _ => warn!(why = refused.why, "not sent; trying again later"),
    }
    Ok(())
}

async fn send(app: &App, mailer: &Mailer, row: &OutboxRow, letter: Composed) -> Result<(), Fault> {
    let sent = match letter.rendered.message(mailer.sender(), &letter.to.sendable(), row.id, app.now()) {
        Ok(message) => mailer.send(message).await,
        Err(why) => Err(Refused { why: why.to_string(), hopeless: true, certain: true }),
    };
    let Err(refused) = sent else {
        outbox::done(app.db.write(), row, LetterState::Sent, app.now()).await?;
        if let Some(LinkToken::Reset(_)) = letter.link {
            app.metrics.resets.sent.inc();
        }
        info!("sent");
        return Ok(());
    };
    match letter.link.filter(|_| refused.certain) {
        Some(LinkToken::Reset(token)) => password_reset::discard(&app.db, &token).await?,
        Some(LinkToken::NotMe(token)) => not_me::discard(&app.db, &token).await?,
        None => {}
    }
    put_off(app, row, &refused).await
}
