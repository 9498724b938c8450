//! What clients are told of the mail server: whether emails wait for it. It is the same for every address, and asked at most
//! ten times a second, however many clients ask.

use std::time::Duration;

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use time::OffsetDateTime;
use tokio::time::sleep;
use tracing::debug;

use crate::accounts::outbox::{self, Queue};
use crate::app::App;
use crate::gate::error::Error;
use crate::gate::form::{Came, form};
use crate::web::browser::visit::{Flash, SentLetter};
use crate::web::frame::page::{Page, html, reloading};

/// How long a page waits for the postman's first attempt.
const ATTEMPT_TAKES: Duration = Duration::from_secs(1);
/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a page waits before it is loaded again.
const RELOAD_AFTER: Duration = Duration::from_secs(30);
/// How long pages are loaded again after a letter was asked for. A page that is left open must not keep a session alive.
const RELOADS_FOR: time::Duration = time::Duration::minutes(30);

form! {
    /// The query of a page that says where a letter goes.
    pub struct SentQuery {
        /// Whether the user does not want the page to load itself again.
        pub still: Came,
    }
}

/// Emails wait for the mail server.
pub struct MailWaits {
    /// Whether the page loads itself again.
    pub reloads: bool,
    /// When the next attempt is due, in whole minutes, if one has failed already.
    pub next: Option<OffsetDateTime>,
}

impl MailWaits {
    /// Returns the value if emails wait. The page of a letter that was asked for a moment ago waits here, for a second at
    /// most, until the postman has come to the letter. `asked` is when this browser asked for its letter, if it did.
    async fn now(app: &App, asked: Option<OffsetDateTime>, query: &SentQuery) -> Option<Self> {
        let reloads = !query.still.0 && asked.is_some_and(|asked| app.now() - asked < RELOADS_FOR);
        let mut left = ATTEMPT_TAKES;
        loop {
            match queue(app).await {
                Queue::Empty => return None,
                Queue::Stuck { next, .. } => {
                    return Some(Self { reloads, next: Some(whole_minutes(next.max(app.now()))) });
                }
                Queue::Due if left.is_zero() => return Some(Self { reloads, next: None }),
                Queue::Due => {
                    left = left.saturating_sub(LOOK_EVERY);
                    sleep(LOOK_EVERY).await;
                }
            }
        }
    }
}

/// Answers with the page that says where a letter goes. It says so if emails wait, and loads itself again as long as they do.
/// `sent` is the letter that this browser asked for.
pub async fn sent<T: Template>(
    app: &App,
    page: Page,
    sent: Option<SentLetter>,
    query: &SentQuery,
    made: impl FnOnce(Page, Option<String>, Option<MailWaits>) -> T,
) -> Result<Response, Error> {
    let waits = MailWaits::now(app, sent.as_ref().map(|sent| sent.at), query).await;
    let (locale, reloads) = (page.locale, waits.as_ref().is_some_and(|waits| waits.reloads));
    let page = made(unless_it_waits(page, waits.as_ref()), sent.map(|sent| sent.email), waits);
    let answer = html(StatusCode::OK, locale, &page)?;
    Ok(if reloads { reloading(answer, RELOAD_AFTER) } else { answer })
}

/// Takes the words “we sent it again” off a page that says that emails wait.
fn unless_it_waits(mut page: Page, waits: Option<&MailWaits>) -> Page {
    page.flash = page.flash.filter(|flash| waits.is_none() || *flash != Flash::SentAgain);
    page
}

/// Returns since when the mail server has taken no emails, if some wait.
pub async fn stuck_since(app: &App) -> Option<OffsetDateTime> {
    match queue(app).await {
        Queue::Stuck { since, .. } => Some(since),
        Queue::Empty | Queue::Due => None,
    }
}

async fn queue(app: &App) -> Queue {
    // A folder takes every letter.
    if app.settings.dev_mailbox().is_some() {
        return Queue::Empty;
    }
    let asked = async {
        outbox::queue(app.db.read(), app.now()).await.unwrap_or_else(|fault| {
            debug!(%fault, "the outbox cannot be read");
            Queue::Empty
        })
    };
    app.mail_queue.get(asked).await
}

/// Returns the first whole minute that is not before a time.
fn whole_minutes(at: OffsetDateTime) -> OffsetDateTime {
    let over = i64::from(at.second());
    if over == 0 { at } else { at + time::Duration::seconds(60 - over) }
}
