//! How a user logs in, and where the user is logged in now.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use uuid::Uuid;

use crate::accounts::event::activity::{self, Entry};
use crate::accounts::event::{Event, EventKind};
use crate::accounts::security;
use crate::accounts::session::{Session, SessionKind};
use crate::accounts::user::User;
use crate::app::App;
use crate::gate::error::Error;
use crate::gate::form::{Query, form};
use crate::urls;
use crate::web::browser::Browser;
use crate::web::browser::draft::{Draft, Keepable};
use crate::web::browser::identity::{self, CurrentUser};
use crate::web::browser::posted::Posted;
use crate::web::browser::visit::{Flash, Visit};
use crate::web::frame::page::{Page, html};
use crate::words;

#[derive(Template)]
#[template(path = "security/security.html")]
struct SecurityPage {
    page: Page,
    user: Arc<User>,
    own: Arc<Session>,
    others: PagedList<Session>,
    activity: PagedList<Entry>,
}

/// A long list, of which one page is shown.
struct PagedList<T> {
    items: Vec<T>,
    /// The number of this page, from 1.
    page: usize,
    /// The number of pages.
    pages: usize,
}

impl<T> PagedList<T> {
    /// Returns the page that was `asked` for, or the first one if there is no such page.
    fn of(all: Vec<T>, length: usize, asked: Option<usize>) -> Self {
        let pages = all.len().div_ceil(length).max(1);
        let page = asked.filter(|page| (1..=pages).contains(page)).unwrap_or(1);
        Self { items: all.into_iter().skip((page - 1) * length).take(length).collect(), page, pages }
    }
}

/// How many other sessions one page shows.
const SESSIONS_SHOWN: usize = 10;
/// How many entries of Recent activity one page shows.
const ACTIVITY_SHOWN: usize = 20;

impl SecurityPage {
    fn browser(&self, session: &Session) -> String {
        match session.kind {
            SessionKind::Browser => words::browser(&session.user_agent, self.page.t),
            SessionKind::Api => self.page.t.api_token().into(),
        }
    }

    fn browser_of(&self, event: &Event) -> String {
        words::browser(&event.user_agent, self.page.t)
    }

    fn what(&self, entry: &Entry) -> String {
        let (t, times) = (self.page.t, u32::try_from(entry.times()).unwrap_or(u32::MAX));
        let what = match entry.event().kind {
            EventKind::SignUp => t.event_sign_up(),
            EventKind::LogIn => t.event_log_in(),
            EventKind::Token => t.event_token(),
            EventKind::LogInFailed => return t.event_log_in_failed(times),
            EventKind::LimitHit => t.event_limit_hit(),
            EventKind::LogOut => t.event_log_out(),
            EventKind::SessionEnded => t.event_session_ended(),
            EventKind::OthersEnded => t.event_others_ended(),
            EventKind::NotMe => t.event_not_me(),
            EventKind::PasswordChanged => t.event_password_changed(),
            EventKind::ResetAsked => t.event_reset_asked(),
            EventKind::ResetDone => t.event_reset_done(),
            EventKind::CrossSiteRefused => t.event_cross_site_refused(),
            EventKind::ResetLinkMade => t.event_reset_link_made(),
            EventKind::LogInDisabled => t.event_log_in_disabled(),
            EventKind::UserCreated => t.event_user_created(),
            EventKind::UserDisabled => t.event_user_disabled(),
            EventKind::UserEnabled => t.event_user_enabled(),
            EventKind::EmailSet => t.event_email_set(),
            EventKind::LoggedOut => t.event_logged_out(),
            EventKind::UserDeleted => t.event_user_deleted(),
            EventKind::KeysRotated => t.event_keys_rotated(),
            EventKind::SigningKeysRotated => t.event_signing_keys_rotated(),
            EventKind::KeysDropped => t.event_keys_dropped(),
            EventKind::MailRetried => t.event_mail_retried(),
            EventKind::MailDropped => t.event_mail_dropped(),
            EventKind::AppAllowed => t.event_app_allowed(),
            EventKind::AppEnded => t.event_app_ended(),
            EventKind::AppAdded => t.event_app_added(),
            EventKind::AppChanged => t.event_app_changed(),
            EventKind::AppSecretChanged => t.event_app_secret_changed(),
            EventKind::AppRemoved => t.event_app_removed(),
            EventKind::Restored => t.event_restored(),
        };
        if times > 1 { t.event_times(what, times) } else { what.into() }
    }
}

form! {
    /// The query of the page.
    pub struct PartsQuery {
        /// Which page of the other sessions to show.
        sessions: Option<usize>,
        /// Which page of Recent activity to show.
        activity: Option<usize>,
    }
}

/// GET /profile/security
pub async fn show(
    State(app): State<Arc<App>>,
    CurrentUser { user, session: own }: CurrentUser,
    visit: Visit,
    Query(query): Query<PartsQuery>,
    mut page: Page,
) -> Result<Response, Error> {
    if visit.take_draft(urls::SECURITY).await?.is_some() {
        page.flash = Some(Flash::NothingLoggedOut);
    }
    let mut others = security::sessions(&app.db, &user, app.now()).await?;
    others.retain(|session| session.id != own.id);
    let others = PagedList::of(others, SESSIONS_SHOWN, query.sessions);
    let activity = activity::recent(&app.db, &user).await?;
    let activity = PagedList::of(activity, ACTIVITY_SHOWN, query.activity);
    html(StatusCode::OK, page.locale, &SecurityPage { page, user, own, others, activity })
}

form! {
    /// The form that ends sessions.
    pub struct EndSessionsForm {
        /// The session to end.
        session: Option<Uuid>,
        /// Whether to end all sessions but this one.
        others: bool,
    }
}

impl Keepable for EndSessionsForm {
    fn draft(self) -> Draft {
        let Self { session: _, others: _ } = self; // the user chooses again
        Draft::LogOut
    }
}

/// POST /profile/security/log-out
pub async fn log_out(
    State(app): State<Arc<App>>,
    Browser { cookies, visit }: Browser,
    Posted { user, session: own, client, form }: Posted<EndSessionsForm>,
) -> Result<Response, Error> {
    if form.others {
        let Some(logged_in) = security::end_others(&app.accounts, (&user, &own), &client, app.now()).await? else {
            return Ok(identity::log_in_first(urls::SECURITY));
        };
        identity::set_cookies(&cookies, &app, &logged_in)?;
        visit.flash(Flash::OthersLoggedOut).await;
    } else if let Some(session) = form.session {
        // An unknown session gets the same answer as one that ended a moment ago.
        security::end(&app.accounts, (&user, &own), session, &client, app.now()).await?;
        visit.flash(Flash::DeviceLoggedOut).await;
    }
    Ok(Redirect::to(urls::SECURITY).into_response())
}
