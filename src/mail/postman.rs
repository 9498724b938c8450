//! The postman: the worker that sends the letters in the outbox. It sends each of them at least once, four at a time, until
//! the deadline of the letter.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tracing::{Instrument, error, error_span, info, warn};

use super::compose::{Composed, LinkToken, compose};
use super::{Mailer, Refused};
use crate::accounts::outbox::{self, LEASE, LetterState, NotSent, OutboxRow, PutOff};
use crate::accounts::{Fault, not_me, password_reset};
use crate::app::App;
use crate::db::within;

/// How many letters may be sent at once.
pub const AT_ONCE: usize = 4;
/// How often to look when the bell does not ring and no password waits for a thread, for letters that were put off or that other
/// processes wrote.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long to leave the letters for which nobody rings, while passwords wait for a thread. With [`LOOK_EVERY`], that is five
/// seconds at most: an attacker can keep passwords waiting, and an owner must hear of a thief's log-in.
const LEAVE_FOR: Duration = Duration::from_secs(4);
/// How long the database may take for one look at the outbox.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long a greeting of the mail server counts.
const GREETED: Duration = Duration::from_secs(5);

/// Whether the mail server answers, as this postman knows.
#[derive(Default)]
struct Greeting {
    /// The last time at which it was asked.
    asked: Option<Instant>,
    /// How many times in a row it did not answer since.
    failures: usize,
}

/// Sends letters until the stop, then finishes those that are being sent.
pub async fn run(app: Arc<App>, mailer: Arc<Mailer>, mut stop: watch::Receiver<bool>) {
    let mut sending = JoinSet::new();
    let mut greeting = Greeting::default();
    let mut look = true; // whether letters may be due
    let mut looked = Instant::now();
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if look {
            looked = Instant::now();
            look = tokio::select! {
                _ = stop.changed() => break,
                is_open = greeting.is_good(&app, &mailer) => is_open,
            };
        }
        while look && sending.len() < AT_ONCE {
            match within(PATIENCE, outbox::lease(&app.db, app.now())).await {
                Ok(Some(row)) => {
                    let span = error_span!("letter", id = %row.id, kind = row.letter, attempt = row.attempts, request = row.request_id());
                    sending.spawn(deliver(app.clone(), mailer.clone(), row).instrument(span));
                }
                Ok(None) => look = false,
                Err(fault) => {
                    warn!(%fault, "the outbox cannot be read; trying again");
                    look = false;
                }
            }
        }
        tokio::select! {
            _ = stop.changed() => break,
            () = app.accounts.bell.notified() => look = true,
            Some(_) = sending.join_next() => {}
            _ = tick.tick() => {
                let none_waits = app.accounts.hasher.waiting() == 0;
                look |= none_waits || looked.elapsed() >= LEAVE_FOR || greeting.failures > 0;
            }
        }
    }
    while sending.join_next().await.is_some() {}
}

impl Greeting {
    /// Returns whether the mail server answers. If a letter is due, it is asked for a sign of life, at most once in
    /// [`GREETED`]. If it gives none, all letters that are due are put off.
    ///
    /// This comes before the addresses of resets are looked up. Otherwise a reset would wait for the mail server only if its
    /// address has an account, and “Check your email”, which says that emails wait, would tell who has one.
    async fn is_good(&mut self, app: &App, mailer: &Mailer) -> bool {
        if self.asked.is_some_and(|asked| asked.elapsed() < GREETED) {
            return self.failures == 0;
        }
        match within(PATIENCE, outbox::most_urgent(app.db.read(), app.now())).await {
            Ok(Some(_)) => {}
            Ok(None) => return false,
            Err(fault) => {
                warn!(%fault, "the outbox cannot be read; trying again");
                return false;
            }
        }
        let greeted = mailer.greet().await;
        self.asked = Some(Instant::now());
        let Err(refused) = greeted else {
            if self.failures > 0 {
                info!("the mail server answers again");
            }
            self.failures = 0;
            app.metrics.mail.up.set(1);
            return true;
        };
        self.failures += 1;
        count(app, &refused, true);
        let pause = outbox::pause(self.failures);
        match within(PATIENCE, outbox::put_off_due(app.db.write(), &refused.why, pause, app.now())).await {
            Ok(PutOff { waiting, failed: 0 }) => {
                warn!(why = refused.why, waiting, "the mail server takes no emails; trying again later");
            }
            Ok(PutOff { waiting, failed }) => {
                error!(why = refused.why, waiting, failed, "the mail server takes no emails; some were given up");
            }
            Err(fault) => {
                warn!(%fault, why = refused.why, "the mail server takes no emails, and they cannot be put off")
            }
        }
        false
    }
}

/// Counts a failure that the mail server has a part in. `down` is whether it takes no letter at all.
fn count(app: &App, refused: &Refused, down: bool) {
    let Some(trouble) = refused.trouble else { return };
    trouble.count(&app.metrics);
    app.metrics.mail.up.set((!down).into());
}

async fn deliver(app: Arc<App>, mailer: Arc<Mailer>, row: OutboxRow) {
    // The lease ends then, and another attempt is made.
    if let Err(fault) = within(LEASE.unsigned_abs(), try_to_deliver(&app, &mailer, &row)).await {
        // The row could not be written either. Its lease will run out, and the letter gets another attempt.
        error!(%fault, "a letter could not be worked on");
    }
}

async fn try_to_deliver(app: &App, mailer: &Mailer, row: &OutboxRow) -> Result<(), Fault> {
    if row.deadline <= app.now() {
        // There was no process or no database to send it earlier. A link that arrives days late is of no use.
        let why = row.last_error.as_deref().unwrap_or("not sent before its deadline");
        return put_off(app, row, &Refused::by_us(why, true)).await;
    }
    match compose(app, row).await {
        Ok(Some(letter)) => send(app, mailer, row, letter).await,
        Ok(None) => outbox::done(app.db.write(), row, LetterState::Dropped, app.now()).await,
        Err(fault) => put_off(app, row, &Refused::by_us(fault, false)).await,
    }
}

async fn put_off(app: &App, row: &OutboxRow, refused: &Refused) -> Result<(), Fault> {
    let not_sent = NotSent { why: &refused.why, hopeless: refused.hopeless, of_server: refused.of_server() };
    match outbox::note_not_sent(app.db.write(), row, not_sent, app.now()).await? {
        LetterState::Failed => error!(why = refused.why, "given up"),
        LetterState::Dropped => info!(why = refused.why, "not sent, and dropped by the operator"),
        LetterState::Waiting | LetterState::Sent => warn!(why = refused.why, "not sent; trying again later"),
    }
    Ok(())
}

async fn send(app: &App, mailer: &Mailer, row: &OutboxRow, letter: Composed) -> Result<(), Fault> {
    let sent = match letter.rendered.message(mailer.sender(), &letter.to.sendable(), row.id, app.now()) {
        Ok(message) => mailer.send(message).await,
        Err(why) => Err(Refused::by_us(why, true)),
    };
    let Err(refused) = sent else {
        app.metrics.mail.up.set(1);
        outbox::done(app.db.write(), row, LetterState::Sent, app.now()).await?;
        if let Some(LinkToken::Reset(_)) = letter.link {
            app.metrics.resets.sent.inc();
        }
        info!("sent");
        return Ok(());
    };
    count(app, &refused, refused.of_server());
    match letter.link.filter(|_| refused.certain) {
        Some(LinkToken::Reset(token)) => password_reset::discard(&app.db, &token).await?,
        Some(LinkToken::NotMe(token)) => not_me::discard(&app.db, &token).await?,
        None => {}
    }
    put_off(app, row, &refused).await
}
