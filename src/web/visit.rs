//! The visit: what one browser is doing right now, logged in or not. Nothing is written, in the database or
//! in the browser, until there is something to remember.

use std::sync::Arc;

use axum::RequestPartsExt;
use axum::extract::{Extension, FromRequestParts};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use tower_sessions::cookie::SameSite;
use tower_sessions::{Expiry, Session, SessionManagerLayer, session};
use tracing::warn;
use uuid::Uuid;

use super::cookie::Name;
use crate::app::App;
use crate::gate::error::Error;
use crate::gate::form::Fields;
use crate::locale::Translation;
use crate::visit_store::VisitStore;

/// How long a visit is kept after it was last written.
const LIFETIME: Duration = Duration::hours(24);

/// The layer that lends each request its visit.
pub fn layer(app: &App) -> SessionManagerLayer<VisitStore> {
    SessionManagerLayer::new(VisitStore::new(app.db.clone(), app.clock.clone()))
        .with_name(Name::Visit.on(app))
        .with_secure(app.public_url.is_https())
        .with_http_only(true)
        .with_same_site(SameSite::Lax)
        .with_path("/")
        .with_expiry(Expiry::OnInactivity(LIFETIME))
}

/// What just happened, to be shown once on the next page. A value, not a text in the address: nobody can
/// send people a link that makes our page say what they like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Flash {
    /// The account exists and is logged in.
    Welcome,
    /// The account exists; now log in.
    AccountCreated,
    /// The session has ended.
    LoggedOut,
    /// The reset is done.
    PasswordReset,
    /// The name is another one.
    NameChanged,
    /// The language is another one.
    LanguageChanged,
    /// The password is another one.
    PasswordChanged,
    /// Another device is logged out.
    DeviceLoggedOut,
    /// All other devices are.
    OthersLoggedOut,
    /// The letter went out again.
    SentAgain,
    /// It went out a moment ago; another one would not come sooner.
    SentJustNow,
    /// A form came after its session had ended.
    LogInToGoOn,
    /// Here is what stood in it.
    NotSavedYet,
    /// A device was to be logged out by it.
    NothingLoggedOut,
}

impl Flash {
    /// The words.
    pub fn words(self, t: &Translation) -> String {
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
        }
    }
}

/// A letter that this browser asked for, so that it can be asked for again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// To which address.
    pub email: String,
    /// The row that waits, for a sign-up.
    pub pending: Option<Uuid>,
    /// When.
    #[serde(with = "time::serde::timestamp")]
    pub at: OffsetDateTime,
}

/// A form that came after its session had ended, kept until somebody has logged in again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// The page of the form.
    pub path: String,
    /// What was typed, without secrets.
    pub fields: Vec<(String, String)>,
}

impl Draft {
    /// What is kept of a form that cannot be worked on yet: what people would have to type again, no secrets, and
    /// no more than an honest form has, for anybody can send us one.
    pub fn of(path: &str, fields: &Fields) -> Self {
        const KEPT: [&str; 2] = ["full_name", "language"];
        const MOST: usize = 1024;
        let kept = KEPT.into_iter().filter_map(|name| Some((name, fields.once(name)?)));
        let kept = kept.filter(|(_, text)| text.len() <= MOST);
        Self { path: path.to_owned(), fields: kept.map(|(name, text)| (name.to_owned(), text.to_owned())).collect() }
    }

    /// The field's text, if it was worth keeping.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, text)| text.as_str())
    }
}

/// A visit is a convenience. Once a password is changed or an account made, a word that could not be left
/// about it must not turn the answer into a failure.
fn let_be<T>(written: Result<T, session::Error>) {
    if let Err(error) = written {
        warn!(%error, "a visit could not be written");
    }
}

/// The visit of this request.
pub struct Visit(Session);

impl Visit {
    const FLASH: &str = "flash";
    const SIGNUP: &str = "signup";
    const RESET: &str = "reset";
    const DRAFT: &str = "draft";

    /// Leaves a word for the next page.
    pub async fn flash(&self, flash: Flash) {
        let_be(self.0.insert(Self::FLASH, flash).await);
    }

    /// Takes the word, if there is one.
    pub async fn take_flash(&self) -> Result<Option<Flash>, Error> {
        Ok(self.take(Self::FLASH).await?)
    }

    /// Remembers a sign-up that waits for its letter.
    pub async fn remember_signup(&self, sent: &Sent) {
        let_be(self.0.insert(Self::SIGNUP, sent).await);
    }

    /// The sign-up that waits for its letter.
    pub async fn signup(&self) -> Result<Option<Sent>, Error> {
        self.look(Self::SIGNUP).await
    }

    /// Forgets the sign-up.
    pub async fn forget_signup(&self) {
        let_be(self.take::<Sent>(Self::SIGNUP).await);
    }

    /// Remembers a reset that waits for its letter.
    pub async fn remember_reset(&self, sent: &Sent) {
        let_be(self.0.insert(Self::RESET, sent).await);
    }

    /// The reset that waits for its letter.
    pub async fn reset(&self) -> Result<Option<Sent>, Error> {
        self.look(Self::RESET).await
    }

    /// Forgets the reset.
    pub async fn forget_reset(&self) {
        let_be(self.take::<Sent>(Self::RESET).await);
    }

    /// Remembers a form until somebody has logged in again.
    pub async fn remember_draft(&self, draft: &Draft) {
        let_be(self.0.insert(Self::DRAFT, draft).await);
    }

    /// Takes the form that belongs to this page, if there is one.
    pub async fn take_draft(&self, path: &str) -> Result<Option<Draft>, Error> {
        match self.look::<Draft>(Self::DRAFT).await? {
            Some(draft) if draft.path == path => Ok(self.take(Self::DRAFT).await?),
            _ => Ok(None),
        }
    }

    /// Gives the visit another id, at every change of who is logged in: whoever knew the old one, or planted
    /// it, is left behind (session fixation).
    pub async fn rotate(&self) {
        if self.0.id().is_some() {
            let_be(self.0.cycle_id().await);
        }
    }

    /// A value. One that cannot be read, because another version wrote it, is none.
    async fn look<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        Ok(self.0.get_value(key).await?.and_then(|value| serde_json::from_value(value).ok()))
    }

    /// Removes a value, and the whole visit with its last one. Looking first keeps a page that finds nothing
    /// from being a write.
    async fn take<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, session::Error> {
        if self.0.id().is_none() || self.0.get_value(key).await?.is_none() {
            return Ok(None);
        }
        let value = self.0.remove_value(key).await?;
        let mut rest = false;
        for other in [Self::FLASH, Self::SIGNUP, Self::RESET, Self::DRAFT] {
            rest |= self.0.get_value(other).await?.is_some();
        }
        if !rest {
            // Another id and nothing in it: tower-sessions takes the cookie away. Its own `flush` would keep
            // the id for whatever is remembered next.
            self.0.cycle_id().await?;
        }
        Ok(value.and_then(|value| serde_json::from_value(value).ok()))
    }
}

impl FromRequestParts<Arc<App>> for Visit {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Error> {
        let Extension(session): Extension<Session> = parts.extract().await.map_err(Error::internal)?;
        Ok(Self(session))
    }
}
