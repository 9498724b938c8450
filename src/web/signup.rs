//! Creating an account: the form, the letter's page, the button.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use time::Duration;
use tower_cookies::Cookies;

use super::cookie::{self, Name};
use super::identity::{self, Guest};
use super::link;
use super::page::{Page, html};
use super::problems::Problems;
use super::visit::{Flash, Sent, Visit};
use crate::accounts;
use crate::accounts::email::Email;
use crate::accounts::pending_signup::PendingSignup;
use crate::accounts::signup::{self, Confirmed, NewAccount};
use crate::accounts::token::Token;
use crate::accounts::user::{Taken, User};
use crate::accounts::username::{FullName, Username};
use crate::app::App;
use crate::config::Signup;
use crate::gate;
use crate::gate::client::Client;
use crate::gate::error::Error;
use crate::gate::form::{Form, Query};
use crate::gate::words::Words;
use crate::throttle::Limit;
use crate::urls;

/// How soon the same letter is sent again at the earliest.
pub const SEND_AGAIN_AFTER: Duration = Duration::seconds(60);

#[derive(Template)]
#[template(path = "signup/signup.html")]
struct SignupPage {
    page: Page,
    problems: Problems,
    email: String,
    username: String,
    full_name: String,
}

#[derive(Template)]
#[template(path = "signup/closed.html")]
struct ClosedPage {
    page: Page,
}

/// GET /signup
pub async fn show(State(app): State<Arc<App>>, _: Guest, page: Page) -> Result<Response, Error> {
    if app.config.signup == Signup::Closed {
        return html(StatusCode::FORBIDDEN, page.locale, &ClosedPage { page });
    }
    let empty = String::new;
    html(
        StatusCode::OK,
        page.locale,
        &SignupPage { page, problems: Problems::default(), email: empty(), username: empty(), full_name: empty() },
    )
}

/// POST /signup
pub async fn ask(
    State(app): State<Arc<App>>,
    Client(client): Client,
    visit: Visit,
    Extension(cookies): Extension<Cookies>,
    Form(fields): Form,
) -> Result<Response, Error> {
    if app.config.signup == Signup::Closed {
        return html(StatusCode::FORBIDDEN, client.locale, &ClosedPage { page: Page::plain(&app, client.locale) });
    }
    gate::throttle(&app, Limit::SignUp, &client).await?;
    let t = client.locale.t();
    let text = |name| fields.shown(name).to_owned();
    let (email, username, full_name) = (text("email"), text("username"), text("full_name"));
    let mut problems = Problems::default();
    let parsed = (
        problems.note(t, "email", Email::parse(&email)),
        problems.note(t, "username", Username::parse(&username)),
        problems.note(t, "full_name", FullName::parse(&full_name)),
        problems.note(t, "password", app.new_password(fields.text("password"), [&email, &username, &full_name]).await?),
    );
    let (Some(email_ok), Some(username_ok), Some(full_name_ok), Some(password)) = parsed else {
        let page = Page::plain(&app, client.locale);
        return html(
            StatusCode::UNPROCESSABLE_ENTITY,
            client.locale,
            &SignupPage { page, problems, email, username, full_name },
        );
    };
    let new = NewAccount { email: email_ok, username: username_ok, full_name: full_name_ok, password };
    let now = app.now();

    let taken = if app.config.signup == Signup::Open {
        match signup::open(&app.accounts, new, &client, now).await? {
            Ok(user) => {
                visit.rotate().await;
                welcome(&app, &user, &client, &cookies, &visit).await?;
                return Ok(Redirect::to(urls::PROFILE).into_response());
            }
            Err(taken) => taken,
        }
    } else {
        match signup::ask(&app.accounts, new, &client, now).await? {
            Some(pending) => {
                app.bell.notify_one();
                visit.remember_signup(&Sent { email, pending: Some(pending.id), at: now }).await;
                return Ok(Redirect::to(urls::SIGNUP_SENT).into_response());
            }
            None => Taken::Username,
        }
    };
    let field = if taken == Taken::Email { "email" } else { "username" };
    let (page, problems) = (Page::plain(&app, client.locale), Problems::one(field, taken.words(t)));
    html(StatusCode::UNPROCESSABLE_ENTITY, client.locale, &SignupPage { page, problems, email, username, full_name })
}

/// Logs a new user in.
async fn welcome(
    app: &App,
    user: &User,
    client: &accounts::Client,
    cookies: &Cookies,
    visit: &Visit,
) -> Result<(), Error> {
    if let Some(logged_in) = signup::log_in(&app.db, user, client, app.now()).await? {
        identity::log_in(cookies, app, &logged_in).await?;
        visit.flash(Flash::Welcome).await;
    }
    Ok(())
}

#[derive(Template)]
#[template(path = "signup/sent.html")]
struct SentPage {
    page: Page,
    email: Option<String>,
}

/// GET /signup/sent
pub async fn sent(visit: Visit, page: Page) -> Result<Response, Error> {
    let email = visit.signup().await?.map(|sent| sent.email);
    html(StatusCode::OK, page.locale, &SentPage { page, email })
}

/// POST /signup/resend
pub async fn ask_again(State(app): State<Arc<App>>, Client(client): Client, visit: Visit) -> Result<Response, Error> {
    let now = app.now();
    if let Some(sent) = visit.signup().await?
        && let Some(pending) = sent.pending
    {
        if now - sent.at < SEND_AGAIN_AFTER {
            visit.flash(Flash::SentJustNow).await;
        } else {
            gate::throttle(&app, Limit::Letter, &client).await?;
            signup::ask_again(&app.accounts, pending, &client, now).await?;
            app.bell.notify_one();
            visit.remember_signup(&Sent { at: now, ..sent }).await;
            visit.flash(Flash::SentAgain).await;
        }
    }
    Ok(Redirect::to(urls::SIGNUP_SENT).into_response())
}

#[derive(Template)]
#[template(path = "signup/confirm.html")]
struct ConfirmPage {
    page: Page,
    problems: Problems,
    email: String,
    username: String,
    /// Whether to ask for another one: somebody took it meanwhile.
    taken: bool,
}

#[derive(Template)]
#[template(path = "signup/gone.html")]
struct GonePage {
    page: Page,
}

/// GET /signup/confirm: with a token, puts it into a cookie and goes on to the clean address, so that it
/// stays out of the history and of `Referer`; without, shows the button. Reading burns nothing.
pub async fn show_confirm(
    State(app): State<Arc<App>>,
    Query(query): Query,
    Extension(cookies): Extension<Cookies>,
    page: Page,
) -> Result<Response, Error> {
    let token = query.text("token");
    if !token.is_empty() {
        return Ok(link::keep(&cookies, &app, Name::SignupLink, link::shaped(token), urls::SIGNUP_CONFIRM));
    }
    match pending(&app, &cookies).await? {
        Some((_, pending)) => html(
            StatusCode::OK,
            page.locale,
            &ConfirmPage {
                page,
                problems: Problems::default(),
                email: pending.email,
                username: pending.username,
                taken: false,
            },
        ),
        None => html(StatusCode::GONE, page.locale, &GonePage { page }),
    }
}

async fn pending(app: &App, cookies: &Cookies) -> Result<Option<(Token, PendingSignup)>, Error> {
    let Some(token) = link::token(cookies, app, Name::SignupLink) else { return Ok(None) };
    Ok(signup::pending(&app.db, &token, app.now()).await?.map(|pending| (token, pending)))
}

/// POST /signup/confirm
pub async fn confirm(
    State(app): State<Arc<App>>,
    Client(client): Client,
    visit: Visit,
    Extension(cookies): Extension<Cookies>,
    Form(fields): Form,
) -> Result<Response, Error> {
    if app.config.signup == Signup::Closed {
        return html(StatusCode::FORBIDDEN, client.locale, &ClosedPage { page: Page::plain(&app, client.locale) });
    }
    let gone = || html(StatusCode::GONE, client.locale, &GonePage { page: Page::plain(&app, client.locale) });
    gate::throttle(&app, Limit::Link, &client).await?;
    let Some((token, pending)) = pending(&app, &cookies).await? else { return gone() };
    let (now, t, typed) = (app.now(), client.locale.t(), fields.shown("username").to_owned());
    let mut problems = Problems::default();
    let other = if typed.is_empty() { None } else { problems.note(t, "username", Username::parse(&typed)) };
    if problems.is_empty() {
        let began_here = match visit.signup().await?.and_then(|sent| sent.pending) {
            Some(began) => signup::began_with(&app.db, began, &pending, now).await?,
            None => false,
        };
        match signup::confirm(&app.db, &token, other, &client, now).await? {
            Confirmed::Created(user) => {
                cookie::remove(&cookies, &app, Name::SignupLink);
                visit.forget_signup().await;
                visit.rotate().await;
                // Logged in only in the browser that began: a link that was forwarded, or that somebody sends
                // to a stranger, must not put that stranger into the sender's account (log-in CSRF).
                if began_here {
                    welcome(&app, &user, &client, &cookies, &visit).await?;
                    return Ok(Redirect::to(urls::PROFILE).into_response());
                }
                visit.flash(Flash::AccountCreated).await;
                return Ok(Redirect::to(urls::LOGIN).into_response());
            }
            Confirmed::UsernameTaken => problems = Problems::one("username", Taken::Username.words(t)),
            Confirmed::Gone => return gone(),
        }
    }
    let username = if typed.is_empty() { pending.username } else { typed };
    let page = Page::plain(&app, client.locale);
    let page = ConfirmPage { page, problems, email: pending.email, username, taken: true };
    html(StatusCode::UNPROCESSABLE_ENTITY, client.locale, &page)
}
