//! How a person logs in, and where they are logged in now.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use tower_cookies::Cookies;
use uuid::Uuid;

use super::cookie::{self, Name};
use super::error::Error;
use super::identity::{CurrentUser, Posted};
use super::page::{Page, html, machine};
use super::visit::{Flash, Visit};
use crate::accounts::session::Session;
use crate::accounts::user::User;
use crate::accounts::{security, user_agent};
use crate::app::App;
use crate::urls;

#[derive(Template)]
#[template(path = "security/security.html")]
struct SecurityPage {
    page: Page,
    user: User,
    this: Place,
    others: Vec<Place>,
}

/// A session, in words.
struct Place {
    id: Uuid,
    browser: String,
    ip: String,
    last_used: String,
    last_used_machine: String,
}

impl Place {
    fn of(session: &Session, page: &Page) -> Self {
        Self {
            id: session.id,
            browser: user_agent::words(&session.user_agent, page.t),
            ip: session.ip.clone(),
            last_used: page.locale.moment(&session.last_seen_at),
            last_used_machine: machine(&session.last_seen_at),
        }
    }
}

/// GET /profile/security
pub async fn show(
    State(app): State<Arc<App>>,
    CurrentUser { user, session }: CurrentUser,
    page: Page,
) -> Result<Response, Error> {
    let places = security::places(&app.db, &user, app.now()).await?;
    let others = places.iter().filter(|place| place.id != session.id).map(|place| Place::of(place, &page)).collect();
    let this = Place::of(&session, &page);
    html(StatusCode::OK, page.locale, &SecurityPage { page, user, this, others })
}

/// POST /profile/security/log-out: one place (`place`), or without that field all others.
pub async fn log_out(
    State(app): State<Arc<App>>,
    visit: Visit,
    Extension(cookies): Extension<Cookies>,
    Posted { user, session, fields, .. }: Posted,
) -> Result<Response, Error> {
    match fields.text("place") {
        "" => {
            security::log_out_others(&app.db, &session).await?;
            visit.flash(Flash::OthersLoggedOut).await;
        }
        place => {
            // No such place is as good as one that was logged out a moment ago.
            let place = place.parse().unwrap_or_default();
            security::log_out(&app.db, &user, place).await?;
            if place == session.id {
                cookie::remove(&cookies, &app, Name::Session);
                visit.rotate().await;
                visit.flash(Flash::LoggedOut).await;
                return Ok(Redirect::to(urls::LOGIN).into_response());
            }
            visit.flash(Flash::PlaceLoggedOut).await;
        }
    }
    Ok(Redirect::to(urls::SECURITY).into_response())
}
