//! The postman: the worker that sends the letters in the outbox. It sends each of them at least once, four at a time, until
//! the deadline of the letter.
//!
//! It makes the token of a link just before it sends the letter, so that the plain token is only in its memory and in the
//! letter.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{Instrument, error, info, info_span, warn};

use super::letters::{
    AccountCreated, AlreadyRegistered, ConfirmSignup, DevicesEnded, EmailAdded, EmailRemoved, NewDevice, NewDevices,
    NotMe, PasswordChanged, Rendered, ResetPassword, Site,
};
use super::{Mailer, Refused};
use crate::accounts::link::not_me_link::{About, Report};
use crate::accounts::not_me;
use crate::accounts::outbox::letter::Letter;
use crate::accounts::outbox::{self, OutboxRow, State};
use crate::accounts::signup::{self, SignupLetter};
use crate::accounts::token::Token;
use crate::accounts::user::User;
use crate::accounts::user::email::Email;
use crate::accounts::{Fault, password_reset};
use crate::app::App;
use crate::urls;

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
        Ok(None) => outbox::done(app.db.write(), row, State::Dropped, app.now()).await,
        Err(fault) => put_off(app, row, &Refused { why: fault.to_string(), hopeless: false, certain: true }).await,
    }
}

async fn put_off(app: &App, row: &OutboxRow, refused: &Refused) -> Result<(), Fault> {
    match outbox::failed(app.db.write(), row, &refused.why, refused.hopeless, app.now()).await? {
        State::Failed => error!(why = refused.why, "given up"),
        _ => warn!(why = refused.why, "not sent; trying again later"),
    }
    Ok(())
}

/// A letter that is ready to be sent, and the link that is deleted if it cannot be.
struct Composed {
    to: Email,
    rendered: Rendered,
    link: Option<Link>,
}

/// The token of a link that was made for a letter.
enum Link {
    Reset(Token),
    NotMe(Token),
}

/// Returns the letter, or `None` if there is no recipient for it.
async fn compose(app: &App, row: &OutboxRow) -> Result<Option<Composed>, Fault> {
    let (locale, to) = (row.locale(), row.to_address.clone());
    let site = Site {
        name: &app.settings.site_name,
        home: app.public_url.origin(),
        address: row.to_address.as_str(),
        locale,
        theme: &app.look.theme,
    };
    // A user is written to in the user's own language, whatever the language of the page that asked was.
    fn to_user<'a>(user: &'a User, site: Site<'a>) -> Site<'a> {
        Site { address: user.email.as_str(), locale: user.letter_locale(site.locale), ..site }
    }
    let reset_link = app.public_url.at(urls::FORGOT_PASSWORD);
    let letter = row.letter()?;
    let was_told = matches!(letter, Letter::NotMe { .. });
    let composed = match letter {
        Letter::Signup { pending, asked } => match signup::issue(&app.db, pending, app.now()).await? {
            SignupLetter::Link(token) => {
                let link = &app.public_url.with_token(urls::SIGNUP_CONFIRM, &token.reveal());
                (to, ConfirmSignup { link, asked: &asked }.render(site), None)
            }
            SignupLetter::HasAccount(user) => {
                let login_link = &app.public_url.at(urls::LOGIN);
                let letter = AlreadyRegistered { login_link, reset_link: &reset_link, asked: &asked };
                let rendered = letter.render(to_user(&user, site));
                (user.email.clone(), rendered, None)
            }
            SignupLetter::Nothing => return Ok(None),
        },
        Letter::ResetPassword { asked } | Letter::NotMe { asked } => {
            let first = row.attempts == 1; // one request is one event, however many attempts its letter needs
            let Some((user, token)) =
                password_reset::issue(&app.accounts, &row.to_address, first.then_some(&asked), app.now()).await?
            else {
                return Ok(None);
            };
            let link = &app.public_url.with_token(urls::RESET_PASSWORD, &token.reveal());
            let (site, asked) = (to_user(&user, site), &asked);
            let rendered = match was_told {
                true => NotMe { link, reset_link: &reset_link, asked }.render(site),
                false => ResetPassword { link, asked }.render(site),
            };
            (user.email, rendered, Some(Link::Reset(token)))
        }
        Letter::PasswordChanged { asked } => {
            (to, PasswordChanged { reset_link: &reset_link, asked: &asked }.render(site), None)
        }
        Letter::AccountCreated { asked } => {
            (to, AccountCreated { reset_link: &reset_link, asked: &asked }.render(site), None)
        }
        Letter::EmailAdded { asked } => (to, EmailAdded { reset_link: &reset_link, asked: &asked }.render(site), None),
        Letter::EmailRemoved { asked } => (to, EmailRemoved { asked: &asked }.render(site), None),
        Letter::NewDevice { user, session, asked } => {
            let report = Report { user, session, act: session, about: About::LogIn, times: 1, asked: &asked };
            let Some((user, token, link)) = not_me_link(app, &report).await? else { return Ok(None) };
            let rendered = NewDevice { link: &link, asked: &asked }.render(to_user(&user, site));
            (user.email, rendered, Some(Link::NotMe(token)))
        }
        Letter::NewDevices { user, session, log_ins, more } => {
            let times = log_ins.len() + more as usize;
            let Some(first) = log_ins.first() else { return Ok(None) };
            let report = Report { user, session, act: session, about: About::LogIn, times, asked: first };
            let Some((user, token, link)) = not_me_link(app, &report).await? else { return Ok(None) };
            let site = to_user(&user, site);
            let rendered = match times {
                1 => NewDevice { link: &link, asked: first }.render(site),
                _ => NewDevices { link: &link, log_ins: &log_ins, more: &more, times: &times }.render(site),
            };
            (user.email, rendered, Some(Link::NotMe(token)))
        }
        Letter::DevicesEnded { user, session, act, devices, asked } => {
            let report = Report { user, session, act, about: About::LogOut, times: 1, asked: &asked };
            let Some((user, token, link)) = not_me_link(app, &report).await? else { return Ok(None) };
            let letter = DevicesEnded { link: &link, devices: &devices, asked: &asked };
            let rendered = letter.render(to_user(&user, site));
            (user.email, rendered, Some(Link::NotMe(token)))
        }
    };
    let (to, rendered, link) = composed;
    let rendered = rendered.map_err(|why| Fault::Internal(format!("letter: {why}")))?;
    Ok(Some(Composed { to, rendered, link }))
}

/// Makes the link “this was not me”. Returns it with its token and the user whom it goes to, or `None` if the user was
/// deleted or disabled meanwhile.
async fn not_me_link(app: &App, report: &Report<'_>) -> Result<Option<(User, Token, String)>, Fault> {
    let Some((user, token)) = not_me::issue(&app.db, report, app.now()).await? else { return Ok(None) };
    let link = app.public_url.with_token(urls::NOT_ME, &token.reveal());
    Ok(Some((user, token, link)))
}

async fn send(app: &App, mailer: &Mailer, row: &OutboxRow, letter: Composed) -> Result<(), Fault> {
    let sent = match letter.rendered.message(mailer.sender(), &letter.to.sendable(), row.id, app.now()) {
        Ok(message) => mailer.send(message).await,
        Err(why) => Err(Refused { why: why.to_string(), hopeless: true, certain: true }),
    };
    let Err(refused) = sent else {
        outbox::done(app.db.write(), row, State::Sent, app.now()).await?;
        if let Some(Link::Reset(_)) = letter.link {
            app.metrics.resets.sent.inc();
        }
        info!("sent");
        return Ok(());
    };
    match letter.link.filter(|_| refused.certain) {
        Some(Link::Reset(token)) => password_reset::discard(&app.db, &token).await?,
        Some(Link::NotMe(token)) => not_me::discard(&app.db, &token).await?,
        None => {}
    }
    put_off(app, row, &refused).await
}
