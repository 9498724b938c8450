//! The pages behind the link “this was not me”.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use time::OffsetDateTime;
use tower_cookies::Cookies;

use crate::accounts::Client;
use crate::accounts::link::not_me_link::{About, NotMeLink};
use crate::accounts::not_me::{self, LinkState, OpenedLink, Said};
use crate::accounts::user::User;
use crate::app::App;
use crate::gate::error::Error;
use crate::gate::form::Query;
use crate::urls;
use crate::web::browser::Browser;
use crate::web::browser::link::{Link, LinkQuery};
use crate::web::browser::visit::SentLetter;
use crate::web::frame::page::{Page, html};
use crate::words;

#[derive(Template)]
#[template(path = "not_me/not_me.html")]
struct NotMePage {
    page: Page,
    user: User,
    link: NotMeLink,
}

impl NotMePage {
    fn browser(&self) -> String {
        words::browser(&self.link.user_agent, self.page.t)
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

/// GET /not-me. With a token, it puts the token into a cookie and goes on to the address without it. Without, it shows the
/// button, or what was done already. Neither does anything: mail scanners open links before users do.
pub async fn show(
    State(app): State<Arc<App>>,
    Query(LinkQuery { token }): Query<LinkQuery>,
    Extension(cookies): Extension<Cookies>,
    page: Page,
) -> Result<Response, Error> {
    if !token.is_empty() {
        return Ok(Link::NotMe.keep(&cookies, &app, &token));
    }
    let (ok, locale) = (StatusCode::OK, page.locale);
    match opened(&app, &cookies).await? {
        Some(OpenedLink { link, user, state }) => match state {
            LinkState::Open => html(ok, locale, &NotMePage { page, user, link }),
            LinkState::Told(at) => html(ok, locale, &ToldPage { page, user, at }),
            LinkState::ResetSince(at) => html(ok, locale, &ResetSincePage { page, at }),
        },
        None => gone(&app, &cookies, page),
    }
}

/// Returns the link that was opened in this browser.
async fn opened(app: &App, cookies: &Cookies) -> Result<Option<OpenedLink>, Error> {
    let Some(token) = Link::NotMe.token(cookies, app) else { return Ok(None) };
    Ok(not_me::open(&app.db, &token, app.now()).await?)
}

/// Shows the page of a link that no longer works, and deletes its cookie.
fn gone(app: &App, cookies: &Cookies, page: Page) -> Result<Response, Error> {
    Link::NotMe.forget(cookies, app);
    html(StatusCode::GONE, page.locale, &GonePage { page })
}

/// POST /not-me. The cookie stays, because the pages that follow are about its link.
pub async fn say(
    State(app): State<Arc<App>>,
    client: Client,
    Browser { cookies, visit }: Browser,
) -> Result<Response, Error> {
    let (token, now) = (Link::NotMe.token(&cookies, &app), app.now());
    match not_me::say(&app.accounts, token.as_ref(), &client, now).await? {
        Said::Done(user) => {
            visit
                .remember_reset(&SentLetter { email: user.email.to_string(), pending: None, at: now, next: None })
                .await;
            Ok(Redirect::to(urls::NOT_ME_DONE).into_response())
        }
        Said::Already => Ok(Redirect::to(urls::NOT_ME).into_response()),
        Said::Gone => gone(&app, &cookies, Page::plain(&app, client.locale)),
    }
}

#[derive(Template)]
#[template(path = "not_me/done.html")]
struct DonePage {
    page: Page,
    user: User,
    /// How many sessions were ended.
    ended: i32,
}

/// GET /not-me/done: what the button did, and what the user can do next.
pub async fn done(
    State(app): State<Arc<App>>,
    Extension(cookies): Extension<Cookies>,
    page: Page,
) -> Result<Response, Error> {
    match opened(&app, &cookies).await? {
        Some(OpenedLink { link, user, state: LinkState::Told(_) }) if link.used_at.is_some() => {
            html(StatusCode::OK, page.locale, &DonePage { page, user, ended: link.ended })
        }
        _ => Ok(Redirect::to(urls::NOT_ME).into_response()),
    }
}
