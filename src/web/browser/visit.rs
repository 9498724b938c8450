//! The visit: what one browser is doing right now, whether a user is logged in or not. Nothing is written to the database or
//! the browser until there is something to remember.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use tower_sessions::cookie::SameSite;
use tower_sessions::{Expiry, Session, SessionManagerLayer, session};
use tracing::warn;
use uuid::Uuid;

use super::cookie::Name;
use super::draft::Draft;
use crate::app::App;
use crate::gate::error::Error;
use crate::locale::Translation;
use crate::urls::Next;
use crate::visit_store::VisitStore;

/// How long a visit is kept after it was last written.
const LIFETIME: Duration = Duration::hours(24);
/// How long a browser knows where it goes on to, after it has asked for a letter.
const GOES_ON_FOR: Duration = Duration::hours(1);

/// Returns the layer that gives each request its visit.
pub fn layer(app: &App) -> SessionManagerLayer<VisitStore> {
    SessionManagerLayer::new(VisitStore::new(app.db.clone(), app.clock.clone()))
        .with_name(Name::Visit.on(app))
        .with_secure(app.public_url.is_https())
        .with_http_only(true)
        .with_same_site(SameSite::Lax)
        .with_path("/")
        .with_expiry(Expiry::OnInactivity(LIFETIME))
}

/// What just happened. The next page shows it once. It is a value, and not a text in the address, so that an attacker cannot
/// make a link with which our page says what the attacker likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Flash {
    /// The account exists and is logged in.
    Welcome,
    /// The account exists, and the user can log in.
    AccountCreated,
    /// The session has ended.
    LoggedOut,
    /// The reset is done.
    PasswordReset,
    /// The name was changed.
    NameChanged,
    /// The language was changed.
    LanguageChanged,
    /// The password was changed.
    PasswordChanged,
    /// Another device was logged out.
    DeviceLoggedOut,
    /// All other devices were logged out.
    OthersLoggedOut,
    /// The letter was sent again.
    SentAgain,
    /// The letter was sent a moment ago. Another one would not come sooner.
    SentJustNow,
    /// A form came after its session had ended. The user has to log in first.
    LogInToGoOn,
    /// The form has what was typed before, and it is not saved yet.
    NotSavedYet,
    /// A device was to be logged out, and it is not yet.
    NothingLoggedOut,
    /// An app sees the account no more.
    AccessEnded,
    /// The access of an app was to be taken away, and it is not yet.
    NoAccessEnded,
}

impl Flash {
    /// Returns the words of the flash.
    pub fn words(self, t: &Translation) -> &'static str {
        match self {
            Self::Welcome => t.flash_welcome(),
            Self::AccountCreated => t.flash_account_created(),
            Self::LoggedOut => t.flash_logged_out(),
            Self::PasswordReset => t.flash_password_reset(),
            Self::NameChanged => t.flash_name_changed(),
            Self::LanguageChanged => t.flash_language_changed(),
            Self::PasswordChanged => t.flash_password_changed(),
            Self::DeviceLoggedOut => t.flash_device_logged_out(),
            Self::OthersLoggedOut => t.flash_others_logged_out(),
            Self::SentAgain => t.flash_sent_again(),
            Self::SentJustNow => t.flash_sent_just_now(),
            Self::LogInToGoOn => t.flash_log_in_to_go_on(),
            Self::NotSavedYet => t.flash_not_saved_yet(),
            Self::NothingLoggedOut => t.flash_nothing_logged_out(),
            Self::AccessEnded => t.flash_access_ended(),
            Self::NoAccessEnded => t.flash_no_access_ended(),
        }
    }
}

/// A letter that this browser asked for, so that it can be asked for again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentLetter {
    /// The address that it was sent to.
    pub email: String,
    /// The pending row, if it is a sign-up.
    pub pending: Option<Uuid>,
    /// The time.
    #[serde(with = "time::serde::timestamp")]
    pub at: OffsetDateTime,
    /// The page to go on to after the sign-up or the reset. It is never in the letter: a stranger may have asked for one to
    /// this address, and must not choose where its owner goes. The previous release writes none.
    #[serde(default)]
    pub next: Option<Next>,
}

impl SentLetter {
    /// Returns the page to go on to, or `None` if the letter was asked for more than an hour ago.
    pub fn goes_on_to(&self, now: OffsetDateTime) -> Option<Next> {
        self.next.clone().filter(|_| now - self.at < GOES_ON_FOR)
    }
}

/// Logs a failure and goes on: a visit is read before it is changed. It is written after the answer was made, by
/// [`VisitStore`], which does as much.
fn ignore_failure<T>(changed: Result<T, session::Error>) {
    if let Err(error) = changed {
        warn!(%error, "a visit could not be changed");
    }
}

listed! {
    /// A value of the visit, and its key.
    enum VisitKey {
        Flash = "flash",
        Signup = "signup",
        Reset = "reset",
        Draft = "draft",
    }
}

/// The visit of this request.
pub struct Visit(Session);

impl Visit {
    /// Returns the visit of this request. It is read when it is needed first.
    ///
    /// # Errors
    /// 500 on a route that is not behind [`layer`].
    pub fn of(parts: &Parts) -> Result<Self, Error> {
        let session = parts.extensions.get().cloned().ok_or_else(|| Error::internal("no layer of visits"))?;
        Ok(Self(session))
    }

    /// Leaves a flash for the next page.
    pub async fn flash(&self, flash: Flash) {
        ignore_failure(self.insert(VisitKey::Flash, &flash).await);
    }

    /// Returns the flash that was left for the next page.
    pub async fn flash_left(&self) -> Result<Option<Flash>, Error> {
        // Most browsers have no visit, and the page before left nothing.
        if self.0.id().is_none() { Ok(None) } else { self.look(VisitKey::Flash).await }
    }

    /// Forgets the flash.
    pub async fn forget_flash(&self) {
        ignore_failure(self.take::<Flash>(VisitKey::Flash).await);
    }

    /// Remembers a sign-up that waits for its letter.
    pub async fn remember_signup(&self, sent: &SentLetter) {
        ignore_failure(self.insert(VisitKey::Signup, sent).await);
    }

    /// Returns the sign-up that waits for its letter.
    pub async fn signup(&self) -> Result<Option<SentLetter>, Error> {
        self.look(VisitKey::Signup).await
    }

    /// Forgets the sign-up.
    pub async fn forget_signup(&self) {
        ignore_failure(self.take::<SentLetter>(VisitKey::Signup).await);
    }

    /// Remembers a reset that waits for its letter.
    pub async fn remember_reset(&self, sent: &SentLetter) {
        ignore_failure(self.insert(VisitKey::Reset, sent).await);
    }

    /// Returns the reset that waits for its letter.
    pub async fn reset(&self) -> Result<Option<SentLetter>, Error> {
        self.look(VisitKey::Reset).await
    }

    /// Forgets the reset.
    pub async fn forget_reset(&self) {
        ignore_failure(self.take::<SentLetter>(VisitKey::Reset).await);
    }

    /// Remembers a form until a user has logged in again.
    pub async fn remember_draft(&self, draft: &Draft) {
        ignore_failure(self.insert(VisitKey::Draft, draft).await);
    }

    /// Takes the draft of the form on this page, if there is one.
    pub async fn take_draft(&self, page: &str) -> Result<Option<Draft>, Error> {
        match self.look::<Draft>(VisitKey::Draft).await? {
            Some(draft) if draft.page() == page => Ok(self.take(VisitKey::Draft).await?),
            _ => Ok(None),
        }
    }

    /// Gives the visit another ID whenever the user of this browser changes: an attacker who knew the old one, or planted
    /// it, is left behind (session fixation).
    pub async fn rotate(&self) {
        if self.0.id().is_some() {
            ignore_failure(self.0.cycle_id().await);
        }
    }

    async fn insert(&self, key: VisitKey, value: &impl Serialize) -> Result<(), session::Error> {
        self.0.insert(key.text(), value).await
    }

    /// Returns a value. A value that another version wrote and that cannot be read counts as missing.
    async fn look<T: DeserializeOwned>(&self, key: VisitKey) -> Result<Option<T>, Error> {
        let value = self.0.get_value(key.text()).await?;
        Ok(value.and_then(|value| serde_json::from_value(value).ok()))
    }

    /// Removes a value, and the whole visit with its last one. It looks before it writes, so that a page that finds nothing
    /// does not write to the database.
    async fn take<T: DeserializeOwned>(&self, key: VisitKey) -> Result<Option<T>, session::Error> {
        if self.0.id().is_none() || self.0.get_value(key.text()).await?.is_none() {
            return Ok(None);
        }
        let value = self.0.remove_value(key.text()).await?;
        let mut is_empty = true;
        for key in VisitKey::ALL {
            is_empty &= self.0.get_value(key.text()).await?.is_none();
        }
        if is_empty {
            // With another ID and no value, tower-sessions deletes the cookie. Its own `flush` would keep the ID for what
            // is remembered next.
            self.0.cycle_id().await?;
        }
        Ok(value.and_then(|value| serde_json::from_value(value).ok()))
    }
}

impl FromRequestParts<Arc<App>> for Visit {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Error> {
        Self::of(parts)
    }
}

impl From<session::Error> for Error {
    fn from(error: session::Error) -> Self {
        Self::unavailable(error)
    }
}
