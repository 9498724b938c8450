//! Getting back in: the form that asks, the form that the letter links to.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use tower_cookies::Cookies;

use super::cookie::{self, Name};
use super::identity::{self, CurrentUser};
use super::link;
use super::page::{Page, html};
use super::problems::Problems;
use super::signup::SEND_AGAIN_AFTER;
use super::typed;
use super::visit::{Flash, Sent, Visit};
use crate::accounts::password::PasswordError;
use crate::accounts::password_reset::{self, Reset};
use crate::accounts::session::Kind;
use crate::accounts::token::Token;
use crate::accounts::user::User;
use crate::accounts::user::email::Email;
use crate::app::App;
use crate::gate::client::Client;
use crate::gate::error::Error;
use crate::gate::form::{Form, Query};
use crate::gate::words::Words;
use crate::throttle::Limit;
use crate::{gate, urls};

#[derive(Template)]
#[template(path = "password_reset/ask.html")]
struct AskPage {
    page: Page,
    problems: Problems,
    email: String,
}

/// GET /forgot-password
pub async fn show_ask(
    State(app): State<Arc<App>>,
    Query(query): Query,
    Extension(cookies): Extension<Cookies>,
    (current, visit): (Option<CurrentUser>, Visit),
    page: Page,
) -> Result<Response, Error> {
    let email = match (current, visit.reset().await?) {
        (Some(current), _) => current.user.email,
        (None, Some(sent)) if query.came("again") => sent.email,
        (None, _) => typed::address(&cookies, &app),
    };
    html(StatusCode::OK, page.locale, &AskPage { page, problems: Problems::default(), email })
}

/// POST /forgot-password
pub async fn ask(
    State(app): State<Arc<App>>,
    Client(client): Client,
    visit: Visit,
    Form(fields): Form,
) -> Result<Response, Error> {
    let (now, typed) = (app.now(), fields.shown("email").to_owned());
    let email = Email::parse(&typed);
    let known = match &email {
        Ok(email) => password_reset::knows(&app.db, email, &client, now).await?,
        Err(_) => false,
    };
    // A form that is sent back to be corrected costs an attempt too.
    gate::throttle(&app, if known { Limit::OwnLetter } else { Limit::Letter }, &client).await?;
    let mut problems = Problems::default();
    let Some(email) = problems.note(client.locale.t(), "email", email) else {
        let page = Page::plain(&app, client.locale);
        return html(StatusCode::UNPROCESSABLE_ENTITY, client.locale, &AskPage { page, problems, email: typed });
    };
    if fields.ticked("again") {
        let before = visit.reset().await?.filter(|sent| sent.email == typed);
        if before.is_some_and(|sent| now - sent.at < SEND_AGAIN_AFTER) {
            visit.flash(Flash::SentJustNow).await;
            return Ok(Redirect::to(urls::FORGOT_PASSWORD_SENT).into_response());
        }
    }
    password_reset::ask(&app.accounts, &email, &client, now).await?;
    if fields.ticked("again") {
        visit.flash(Flash::SentAgain).await;
    }
    app.bell.notify_one();
    visit.remember_reset(&Sent { email: typed, pending: None, at: now }).await;
    Ok(Redirect::to(urls::FORGOT_PASSWORD_SENT).into_response())
}

#[derive(Template)]
#[template(path = "password_reset/sent.html")]
struct SentPage {
    page: Page,
    email: Option<String>,
}

/// GET /forgot-password/sent
pub async fn sent(visit: Visit, page: Page) -> Result<Response, Error> {
    let email = visit.reset().await?.map(|sent| sent.email);
    html(StatusCode::OK, page.locale, &SentPage { page, email })
}

#[derive(Template)]
#[template(path = "password_reset/reset.html")]
struct ResetPage {
    page: Page,
    problems: Problems,
    email: String,
}

#[derive(Template)]
#[template(path = "password_reset/gone.html")]
struct GonePage {
    page: Page,
}

#[derive(Template)]
#[template(path = "password_reset/another_account.html")]
struct AnotherAccountPage {
    page: Page,
    current: String,
    other: String,
}

/// GET /reset-password: with a token, puts it into a cookie and goes on to the clean address; without, shows
/// the form. Neither burns the link: mail scanners open links before people do.
pub async fn show(
    State(app): State<Arc<App>>,
    Query(query): Query,
    Extension(cookies): Extension<Cookies>,
    current: Option<CurrentUser>,
    mut page: Page,
) -> Result<Response, Error> {
    let token = query.text("token");
    if !token.is_empty() {
        return Ok(link::keep(&cookies, &app, Name::ResetLink, link::shaped(token), urls::RESET_PASSWORD));
    }
    match holder(&app, &cookies).await? {
        Some((_, user)) => match other_than(&user, current) {
            Some(current) => {
                // One way to log out: the one that goes on to the link.
                page.user = None;
                let (current, other) = (current.username, user.email);
                html(StatusCode::OK, page.locale, &AnotherAccountPage { page, current, other })
            }
            None => {
                app.metrics.resets.opened.inc();
                html(StatusCode::OK, page.locale, &ResetPage { page, problems: Problems::default(), email: user.email })
            }
        },
        None => gone(&app, &cookies, page),
    }
}

/// The page of a link that does not work any more. Its cookie goes with it.
fn gone(app: &App, cookies: &Cookies, page: Page) -> Result<Response, Error> {
    cookie::remove(cookies, app, Name::ResetLink);
    html(StatusCode::GONE, page.locale, &GonePage { page })
}

async fn holder(app: &App, cookies: &Cookies) -> Result<Option<(Token, User)>, Error> {
    let Some(token) = link::token(cookies, app, Name::ResetLink) else { return Ok(None) };
    Ok(password_reset::holder(&app.db, &token, app.now()).await?.map(|user| (token, user)))
}

/// Who is logged in here, if the link is not theirs: they should know before they choose a password for an
/// account that they are not looking at.
fn other_than(holder: &User, current: Option<CurrentUser>) -> Option<User> {
    current.map(|current| current.user).filter(|user| user.id != holder.id)
}

/// POST /reset-password
pub async fn reset(
    State(app): State<Arc<App>>,
    Client(client): Client,
    visit: Visit,
    Extension(cookies): Extension<Cookies>,
    Form(fields): Form,
) -> Result<Response, Error> {
    let page = || Page::plain(&app, client.locale);
    let gone = || gone(&app, &cookies, page());
    gate::throttle(&app, Limit::Link, &client).await?;
    let Some((token, user)) = holder(&app, &cookies).await? else { return gone() };
    let mut problems = Problems::default();
    let judged = app.password_of_the_proven(fields.text("password"), user.about()).await?;
    let Some(new) = problems.note(client.locale.t(), "password", judged) else {
        let page = ResetPage { page: page(), problems, email: user.email };
        return html(StatusCode::UNPROCESSABLE_ENTITY, client.locale, &page);
    };
    match password_reset::reset(&app.accounts, (&token, new), Kind::Browser, &client, app.now()).await? {
        Reset::Done(device) => identity::name_device(&cookies, &app, device.as_ref()),
        Reset::SamePassword => {
            let problems = Problems::one("password", PasswordError::Same.words(client.locale.t()));
            let page = ResetPage { page: page(), problems, email: user.email };
            return html(StatusCode::UNPROCESSABLE_ENTITY, client.locale, &page);
        }
        Reset::Gone => return gone(),
    }
    app.bell.notify_one();
    cookie::remove(&cookies, &app, Name::ResetLink);
    visit.forget_reset().await;
    visit.rotate().await;
    visit.flash(Flash::PasswordReset).await;
    typed::remember(&cookies, &app, &user.email);
    // To the log-in, not into the account: a link that leaked must not become a session.
    Ok(Redirect::to(urls::LOGIN).into_response())
}
