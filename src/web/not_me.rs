//! The pages of the link “this was not me”.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use time::OffsetDateTime;
use tower_cookies::Cookies;

use super::cookie::{self, Name};
use super::link;
use super::page::{Page, html};
use super::visit::{Sent, Visit};
use crate::accounts::link::not_me_link::{About, NotMeLink};
use crate::accounts::not_me::{self, Opened, State as Left};
use crate::accounts::user::User;
use crate::accounts::user_agent;
use crate::app::App;
use crate::gate::client::Client;
use crate::gate::error::Error;
use crate::gate::form::Query;
use crate::throttle::Limit;
use crate::{gate, urls};

#[derive(Template)]
#[template(path = "not_me/not_me.html")]
struct NotMePage {
    page: Page,
    user: User,
    link: NotMeLink,
}

impl NotMePage {
    fn browser(&self) -> String {
        user_agent::words(&self.link.user_agent, self.page.t)
    }
}

#[derive(Template)]
#[template(path = "not_me/told.html")]
struct ToldPage {
    page: Page,
    user: User,
    at: OffsetDateTime,
}

#[derive(Template)]
#[template(path = "not_me/reset_since.html")]
struct ResetSincePage {
    page: Page,
    at: OffsetDateTime,
}

#[derive(Template)]
#[template(path = "not_me/gone.html")]
struct GonePage {
    page: Page,
}

/// GET /not-me: with a token, puts it into a cookie and goes on to the clean address; without, shows the button, or what
/// was done already. Neither does anything: mail scanners open links before people do.
pub async fn show(
    State(app): State<Arc<App>>,
    Query(query): Query,
    Extension(cookies): Extension<Cookies>,
    page: Page,
) -> Result<Response, Error> {
    let token = query.text("token");
    if !token.is_empty() {
        return Ok(link::keep(&cookies, &app, Name::NotMeLink, link::shaped(token), urls::NOT_ME));
    }
    let (ok, locale) = (StatusCode::OK, page.locale);
    match opened(&app, &cookies).await? {
        Some(Opened { link, user, state }) => match state {
            Left::Open => html(ok, locale, &NotMePage { page, user, link }),
            Left::Told(at) => html(ok, locale, &ToldPage { page, user, at }),
            Left::ResetSince(at) => html(ok, locale, &ResetSincePage { page, at }),
        },
        None => gone(&app, &cookies, page),
    }
}

async fn opened(app: &App, cookies: &Cookies) -> Result<Option<Opened>, Error> {
    let Some(token) = link::token(cookies, app, Name::NotMeLink) else { return Ok(None) };
    Ok(not_me::open(&app.db, &token, app.now()).await?)
}

/// The page of a link that does not work any more. Its cookie goes with it.
fn gone(app: &App, cookies: &Cookies, page: Page) -> Result<Response, Error> {
    cookie::remove(cookies, app, Name::NotMeLink);
    html(StatusCode::GONE, page.locale, &GonePage { page })
}

/// POST /not-me. The cookie stays: the pages that follow are about its link.
pub async fn say(
    State(app): State<Arc<App>>,
    Client(client): Client,
    visit: Visit,
    Extension(cookies): Extension<Cookies>,
) -> Result<Response, Error> {
    gate::throttle(&app, Limit::Link, &client).await?;
    let Some(opened) = opened(&app, &cookies).await? else {
        return gone(&app, &cookies, Page::plain(&app, client.locale));
    };
    let now = app.now();
    if !not_me::say(&app.accounts, &opened, &client, now).await? {
        return Ok(Redirect::to(urls::NOT_ME).into_response());
    }
    app.bell.notify_one();
    visit.remember_reset(&Sent { email: opened.user.email, pending: None, at: now }).await;
    Ok(Redirect::to(urls::NOT_ME_DONE).into_response())
}

#[derive(Template)]
#[template(path = "not_me/done.html")]
struct DonePage {
    page: Page,
    user: User,
    /// How many sessions have ended.
    ended: i32,
}

/// GET /not-me/done: what the button did, and what comes next.
pub async fn done(
    State(app): State<Arc<App>>,
    Extension(cookies): Extension<Cookies>,
    page: Page,
) -> Result<Response, Error> {
    match opened(&app, &cookies).await? {
        Some(Opened { link, user, state: Left::Told(_) }) if link.used_at.is_some() => {
            html(StatusCode::OK, page.locale, &DonePage { page, user, ended: link.ended })
        }
        _ => Ok(Redirect::to(urls::NOT_ME).into_response()),
    }
}
