//! Logging in and out.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Extension, State};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use tower_cookies::Cookies;

use super::cookie::{self, Name};
use super::identity::{self, CurrentUser, Guest};
use super::page::{Page, html};
use super::problems::Problems;
use super::typed;
use super::visit::{Flash, Visit};
use crate::accounts::Fault;
use crate::accounts::login::{self, Attempt};
use crate::accounts::password::Password;
use crate::accounts::session::{Lasting, Lifetimes};
use crate::app::App;
use crate::gate;
use crate::gate::client::Client;
use crate::gate::error::Error;
use crate::gate::form::{Form, Query};
use crate::throttle::Limit;
use crate::urls::{self, Next};

/// What a browser forgets at log-out: whatever a page has stored, should a script ever have slipped into one.
///
/// Not `"cookies"`: browsers then delete the cookies of every host under the same domain, the sister sites' included,
/// and of ours the device cookie, without which the account takes its owner's browser for a stranger's, and the visit
/// that shows “you are logged out”. The session cookie is removed by name. Not `"cache"`, for which browsers search their
/// whole cache while the page waits; our pages are `no-store` already.
const CLEARED: [(HeaderName, &str); 1] = [(HeaderName::from_static("clear-site-data"), "\"storage\"")];

/// After so many misses the page offers the reset.
const MISSES_TO_OFFER: u8 = 3;

#[derive(Template)]
#[template(path = "login/login.html")]
struct LoginPage {
    page: Page,
    problems: Problems,
    login: String,
    remember: bool,
    next: Option<Next>,
    misses: u8,
}

impl LoginPage {
    fn offer_reset(&self) -> bool {
        self.misses >= MISSES_TO_OFFER
    }
}

/// GET /login
pub async fn show(
    State(app): State<Arc<App>>,
    _: Guest,
    Query(query): Query,
    Extension(cookies): Extension<Cookies>,
    page: Page,
) -> Result<Response, Error> {
    let next = Next::parse(query.text("next"));
    let (problems, login) = (Problems::default(), typed::address(&cookies, &app));
    html(StatusCode::OK, page.locale, &LoginPage { page, problems, login, remember: false, next, misses: 0 })
}

/// POST /login
pub async fn log_in(
    State(app): State<Arc<App>>,
    Client(client): Client,
    visit: Visit,
    Extension(cookies): Extension<Cookies>,
    Form(fields): Form,
) -> Result<Response, Error> {
    let (typed, keep) = (fields.shown("login"), fields.ticked("remember"));
    let Lifetimes { until_closed, remembered } = app.accounts.lifetimes;
    let lasting = if keep { Lasting::Remembered(remembered) } else { Lasting::UntilClosed(until_closed) };
    let (next, misses) = (Next::parse(fields.text("next")), fields.text("misses").parse().unwrap_or(0u8));
    let again = |problems, misses| {
        let mut page = Page::plain(&app, client.locale);
        if let Some(next) = &next {
            page.in_other_languages = format!("?{}&lang=", identity::with_next(next));
        }
        let page = LoginPage { page, problems, login: typed.to_owned(), remember: keep, next: next.clone(), misses };
        html(StatusCode::UNPROCESSABLE_ENTITY, client.locale, &page)
    };
    let (mut problems, t) = (Problems::default(), client.locale.t());
    if typed.trim().is_empty() {
        problems.add("login", t.login_empty());
    }
    if fields.text("password").is_empty() {
        problems.add("password", t.password_needed());
    }
    if !problems.is_empty() {
        // No attempt and no failure: nothing was guessed.
        return again(problems, misses);
    }
    let password = Password::new(fields.text("password"));
    let known = login::knows(&app.db, typed, &client, app.now()).await?;
    gate::throttle(&app, if known { Limit::KnownLogIn } else { Limit::LogIn }, &client).await?;
    let attempt = login::with_password(&app.accounts, (typed, password), lasting, &client, app.now()).await;
    // Only what was looked at and was not right stays taken.
    if !known && matches!(attempt, Ok(Attempt::Succeeded(_)) | Err(Fault::Busy)) {
        app.throttle.give_back(Limit::LogIn, &client.ip);
    }
    let disabled = matches!(attempt, Ok(Attempt::Disabled));
    let logged_in = match attempt? {
        Attempt::Succeeded(logged_in) => Some(logged_in),
        Attempt::Failed | Attempt::Disabled => None,
        Attempt::Refused(too_many) => return Err(too_many.into()),
    };
    let Some(logged_in) = logged_in else {
        if disabled {
            return again(Problems::one("login", t.account_disabled()), misses);
        }
        typed::remember(&cookies, &app, typed);
        return again(Problems::one("login", t.wrong_log_in()).mark("password"), misses.saturating_add(1));
    };
    visit.rotate().await;
    typed::forget(&cookies, &app);
    identity::log_in(&cookies, &app, &logged_in).await?;
    Ok(match (&next, &app.config.home_url) {
        (None, Some(home)) => Redirect::to(home.as_str()).into_response(),
        _ => identity::onward(next),
    })
}

/// POST /logout: open to everybody, so that a second click finds the same page. With `next` it goes on there.
pub async fn log_out(
    State(app): State<Arc<App>>,
    user: Option<CurrentUser>,
    Client(client): Client,
    visit: Visit,
    Extension(cookies): Extension<Cookies>,
    Form(fields): Form,
) -> Result<Response, Error> {
    if let Some(CurrentUser { session, .. }) = user {
        login::log_out(&app.db, &session, &client, app.now()).await?;
        visit.rotate().await;
        // Not for nobody: a word for whoever asks would be a way to fill the database.
        visit.flash(Flash::LoggedOut).await;
    }
    cookie::remove(&cookies, &app, Name::Session);
    let next = Next::parse(fields.text("next"));
    let cleared = app.public_url.is_trustworthy().then_some(CLEARED);
    Ok((cleared, Redirect::to(next.as_ref().map_or(urls::LOGIN, Next::as_str))).into_response())
}
