//! How a person logs in, and where they are logged in now.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use tower_cookies::Cookies;

use super::identity::{self, CurrentUser, Posted};
use super::page::{Page, html};
use super::visit::{Flash, Visit};
use crate::accounts::event::activity::{self, Entry};
use crate::accounts::event::{Event, Kind};
use crate::accounts::session::{self, Session};
use crate::accounts::user::User;
use crate::accounts::{security, user_agent};
use crate::app::App;
use crate::gate::error::Error;
use crate::gate::form::Query;
use crate::throttle::Limit;
use crate::{gate, urls};

#[derive(Template)]
#[template(path = "security/security.html")]
struct SecurityPage {
    page: Page,
    user: User,
    this: Session,
    others: Part<Session>,
    activity: Part<Entry>,
}

/// One page of a long list.
struct Part<T> {
    items: Vec<T>,
    /// Which page it is, from 1.
    page: usize,
    /// How many there are.
    pages: usize,
}

impl<T> Part<T> {
    /// The page that was `asked` for; the first one if there is no such page.
    fn of(all: Vec<T>, length: usize, asked: &str) -> Self {
        let pages = all.len().div_ceil(length).max(1);
        let page = asked.parse().ok().filter(|page| (1..=pages).contains(page)).unwrap_or(1);
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
            session::Kind::Browser => user_agent::words(&session.user_agent, self.page.t),
            session::Kind::Api => self.page.t.api_token(),
        }
    }

    fn browser_of(&self, event: &Event) -> String {
        user_agent::words(&event.user_agent, self.page.t)
    }

    fn what(&self, entry: &Entry) -> String {
        let (t, times) = (self.page.t, u32::try_from(entry.times()).unwrap_or(u32::MAX));
        let what = match entry.event().kind {
            Kind::SignUp => t.event_sign_up(),
            Kind::LogIn => t.event_log_in(),
            Kind::Token => t.event_token(),
            Kind::LogInFailed => return t.event_log_in_failed(times),
            Kind::LimitHit => t.event_limit_hit(),
            Kind::LogOut => t.event_log_out(),
            Kind::SessionEnded => t.event_session_ended(),
            Kind::OthersEnded => t.event_others_ended(),
            Kind::NotMe => t.event_not_me(),
            Kind::PasswordChanged => t.event_password_changed(),
            Kind::ResetAsked => t.event_reset_asked(),
            Kind::ResetDone => t.event_reset_done(),
            Kind::CrossSiteRefused => t.event_cross_site_refused(),
            Kind::ResetLinkMade => t.event_reset_link_made(),
            Kind::LogInDisabled => t.event_log_in_disabled(),
            Kind::UserCreated => t.event_user_created(),
            Kind::UserDisabled => t.event_user_disabled(),
            Kind::UserEnabled => t.event_user_enabled(),
            Kind::EmailSet => t.event_email_set(),
            Kind::LoggedOut => t.event_logged_out(),
            Kind::UserDeleted => t.event_user_deleted(),
            Kind::KeysRotated => t.event_keys_rotated(),
            Kind::KeysDropped => t.event_keys_dropped(),
        };
        if times > 1 { t.event_times(what, times) } else { what }
    }
}

/// GET /profile/security
pub async fn show(
    State(app): State<Arc<App>>,
    CurrentUser { user, session: this }: CurrentUser,
    visit: Visit,
    Query(query): Query,
    mut page: Page,
) -> Result<Response, Error> {
    if visit.take_draft(urls::SECURITY).await?.is_some() {
        page.flash = Some(Flash::NothingLoggedOut);
    }
    let mut others = security::sessions(&app.db, &user, app.now()).await?;
    others.retain(|session| session.id != this.id);
    let others = Part::of(others, SESSIONS_SHOWN, query.text("sessions"));
    let activity = activity::recent(&app.db, &user).await?;
    let activity = Part::of(activity, ACTIVITY_SHOWN, query.text("activity"));
    html(StatusCode::OK, page.locale, &SecurityPage { page, user, this, others, activity })
}

/// POST /profile/security/log-out: one session (`session`), or all others (`others`).
pub async fn log_out(
    State(app): State<Arc<App>>,
    visit: Visit,
    Extension(cookies): Extension<Cookies>,
    Posted { user, session: this, client, fields }: Posted,
) -> Result<Response, Error> {
    // Each of these writes. Without a limit, a thief of one session could fill the disk, and push the log-in that gave it
    // out of Recent activity.
    gate::throttle(&app, Limit::Link, &client).await?;
    if fields.ticked("others") {
        let Some(logged_in) = security::end_others(&app.accounts, (&user, &this), &client, app.now()).await? else {
            return Ok(identity::log_in_first(urls::SECURITY));
        };
        identity::log_in(&cookies, &app, &logged_in).await?;
        visit.flash(Flash::OthersLoggedOut).await;
    } else if let Ok(session) = fields.text("session").parse() {
        // No such session is as good as one that ended a moment ago.
        security::end(&app.accounts, (&user, &this), session, &client, app.now()).await?;
        visit.flash(Flash::DeviceLoggedOut).await;
    }
    app.bell.notify_one();
    Ok(Redirect::to(urls::SECURITY).into_response())
}
