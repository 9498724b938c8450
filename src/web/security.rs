//! How a person logs in, and where they are logged in now.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::identity::{CurrentUser, Posted};
use super::page::{Page, html};
use super::visit::{Flash, Visit};
use crate::accounts::session::{Kind, Session};
use crate::accounts::user::User;
use crate::accounts::{security, user_agent};
use crate::app::App;
use crate::gate::error::Error;
use crate::urls;

#[derive(Template)]
#[template(path = "security/security.html")]
struct SecurityPage {
    page: Page,
    user: User,
    this: Session,
    others: Vec<Session>,
}

impl SecurityPage {
    fn browser(&self, session: &Session) -> String {
        match session.kind {
            Kind::Browser => user_agent::words(&session.user_agent, self.page.t),
            Kind::Api => self.page.t.api_token(),
        }
    }
}

/// GET /profile/security
pub async fn show(
    State(app): State<Arc<App>>,
    CurrentUser { user, session: this }: CurrentUser,
    visit: Visit,
    mut page: Page,
) -> Result<Response, Error> {
    if visit.take_draft(urls::SECURITY).await?.is_some() {
        page.flash = Some(Flash::NothingLoggedOut);
    }
    let mut others = security::sessions(&app.db, &user, app.now()).await?;
    others.retain(|session| session.id != this.id);
    html(StatusCode::OK, page.locale, &SecurityPage { page, user, this, others })
}

/// POST /profile/security/log-out: one session (`session`), or all others (`others`).
pub async fn log_out(
    State(app): State<Arc<App>>,
    visit: Visit,
    Posted { user, session: this, fields, .. }: Posted,
) -> Result<Response, Error> {
    if fields.ticked("others") {
        security::end_others(&app.db, &this).await?;
        visit.flash(Flash::OthersLoggedOut).await;
    } else if let Ok(session) = fields.text("session").parse() {
        // No such session is as good as one that ended a moment ago.
        security::end(&app.db, &user, session).await?;
        visit.flash(Flash::DeviceLoggedOut).await;
    }
    Ok(Redirect::to(urls::SECURITY).into_response())
}
