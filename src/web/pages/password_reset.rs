//! Getting back in: the form that asks for a link, and the form behind the link.

use std::borrow::Cow;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use tower_cookies::Cookies;
use zeroize::Zeroizing;

use super::signup::SEND_AGAIN_AFTER;
use crate::accounts::Client;
use crate::accounts::password_reset::{self, Reset};
use crate::accounts::session::SessionKind;
use crate::accounts::user::User;
use crate::app::App;
use crate::gate::error::Error;
use crate::gate::form::{Came, Form, Query, form};
use crate::urls::{self, Next};
use crate::web::browser::Browser;
use crate::web::browser::identity::{self, CurrentUser};
use crate::web::browser::language;
use crate::web::browser::link::{Link, LinkQuery};
use crate::web::browser::typed;
use crate::web::browser::visit::{Flash, SentLetter, Visit};
use crate::web::frame::mail::{self, MailWaits, SentQuery};
use crate::web::frame::page::{Page, html};
use crate::web::frame::problems::Problems;
use crate::web::pages::authorize::Onward;
use crate::words::Words;

#[derive(Template)]
#[template(path = "password_reset/ask.html")]
struct AskPage {
    page: Page,
    problems: Problems,
    email: String,
    next: Option<Next>,
}

impl AskPage {
    fn log_in(&self) -> Cow<'static, str> {
        identity::remembering(urls::LOGIN, self.next.as_ref())
    }
}

form! {
    /// The query of the page that asks for an address.
    pub struct AskQuery {
        /// Whether the form has the address that this browser has asked with before, because the user wants to correct it.
        again: Came,
        /// The page to go on to.
        next: Option<Next>,
    }
}

/// GET /forgot-password
pub async fn show_ask(
    State(app): State<Arc<App>>,
    Query(query): Query<AskQuery>,
    Browser { cookies, visit }: Browser,
    current: Option<CurrentUser>,
    page: Page,
) -> Result<Response, Error> {
    let before = if query.again.0 { visit.reset().await? } else { None };
    let next = query.next.or_else(|| before.as_ref()?.goes_on_to(app.now()));
    let email = match (current, before) {
        (Some(current), _) => current.user.email.to_string(),
        (None, Some(sent)) => sent.email,
        (None, None) => typed::address(&cookies, &app),
    };
    html(StatusCode::OK, page.locale, &AskPage { page, problems: Problems::default(), email, next })
}

form! {
    /// The form that asks for a reset link.
    pub struct AskForm {
        email: String,
        /// Whether the email is to be sent again.
        again: bool,
        /// The page to go on to.
        next: Option<Next>,
    }
}

/// POST /forgot-password
pub async fn ask(
    State(app): State<Arc<App>>,
    client: Client,
    visit: Visit,
    Form(AskForm { email: typed, again, next }): Form<AskForm>,
) -> Result<Response, Error> {
    let now = app.now();
    let client = language::of_form(client, next.as_ref());
    let before = if again { visit.reset().await?.filter(|sent| sent.email == typed) } else { None };
    let next = next.or_else(|| before.as_ref()?.goes_on_to(now));
    let just_now = before.is_some_and(|sent| now - sent.at < SEND_AGAIN_AFTER);
    if let Err(why) = password_reset::ask(&app.accounts, (&typed, just_now), &client, now).await? {
        let page = Page::plain(&app, client.locale).remembering(next.as_ref());
        let problems = Problems::one(AskForm::email, why.words(page.t));
        let page = AskPage { page, problems, email: typed, next };
        return html(StatusCode::UNPROCESSABLE_ENTITY, client.locale, &page);
    }
    if again {
        visit.flash(if just_now { Flash::SentJustNow } else { Flash::SentAgain }).await;
    }
    if !just_now {
        visit.remember_reset(&SentLetter { email: typed, pending: None, at: now, next }).await;
    }
    Ok(Redirect::to(urls::FORGOT_PASSWORD_SENT).into_response())
}

#[derive(Template)]
#[template(path = "password_reset/sent.html")]
struct SentPage {
    page: Page,
    email: Option<String>,
    waits: Option<MailWaits>,
    /// The app that this browser goes on to.
    onward: Option<Onward>,
}

impl SentPage {
    fn way(&self) -> Option<String> {
        let onward = self.onward.as_ref()?;
        Some(self.page.t.open_here_to_go_on(onward.inside(&self.page)))
    }
}

/// GET /forgot-password/sent
pub async fn sent(
    State(app): State<Arc<App>>,
    Query(query): Query<SentQuery>,
    visit: Visit,
    page: Page,
) -> Result<Response, Error> {
    let sent = visit.reset().await?;
    let next = sent.as_ref().and_then(|sent| sent.goes_on_to(app.now()));
    let onward = Onward::of(&app, next.as_ref()).await?;
    mail::sent(&app, page, sent, &query, |page, email, waits| SentPage { page, email, waits, onward }).await
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
    next: Option<Next>,
}

impl GonePage {
    fn to(&self, page: &'static str) -> Cow<'static, str> {
        identity::remembering(page, self.next.as_ref())
    }
}

#[derive(Template)]
#[template(path = "password_reset/another_account.html")]
struct AnotherAccountPage {
    page: Page,
    current: String,
    other: String,
}

/// GET /reset-password. With a token, it puts the token into a cookie and goes on to the address without it. Without, it
/// shows the form. Neither uses up the link: mail scanners open links before users do.
pub async fn show(
    State(app): State<Arc<App>>,
    Query(LinkQuery { token }): Query<LinkQuery>,
    Browser { cookies, visit }: Browser,
    current: Option<CurrentUser>,
    mut page: Page,
) -> Result<Response, Error> {
    if !token.is_empty() {
        return Ok(Link::Reset.keep(&cookies, &app, &token));
    }
    match holder(&app, &cookies).await? {
        Some(user) => match other_than(&user, current) {
            Some(current) => {
                // The page has one button to log out, which goes on to the link.
                page.user = None;
                let (current, other) = (current.username.clone(), user.email.to_string());
                html(StatusCode::OK, page.locale, &AnotherAccountPage { page, current, other })
            }
            None => {
                app.metrics.resets.opened.inc();
                html(
                    StatusCode::OK,
                    page.locale,
                    &ResetPage { page, problems: Problems::default(), email: user.email.to_string() },
                )
            }
        },
        None => gone(&app, &cookies, page, next(&app, &visit).await?),
    }
}

/// Shows the page of a link that no longer works, and deletes its cookie.
fn gone(app: &App, cookies: &Cookies, page: Page, next: Option<Next>) -> Result<Response, Error> {
    Link::Reset.forget(cookies, app);
    html(StatusCode::GONE, page.locale, &GonePage { page, next })
}

/// Returns the page to go on to after the reset that this browser has asked for.
async fn next(app: &App, visit: &Visit) -> Result<Option<Next>, Error> {
    Ok(visit.reset().await?.and_then(|sent| sent.goes_on_to(app.now())))
}

/// Returns the user whose link was opened in this browser.
async fn holder(app: &App, cookies: &Cookies) -> Result<Option<User>, Error> {
    let Some(token) = Link::Reset.token(cookies, app) else { return Ok(None) };
    Ok(password_reset::holder(&app.db, &token, app.now()).await?)
}

/// Returns the user who is logged in here, if the link belongs to another user. The user should know that before choosing a
/// password for an account that no other page shows.
fn other_than(holder: &User, current: Option<CurrentUser>) -> Option<Arc<User>> {
    current.map(|current| current.user).filter(|user| user.id != holder.id)
}

form! {
    /// The form that chooses a new password.
    pub struct ResetForm {
        password: Zeroizing<String>,
    }
}

/// POST /reset-password
pub async fn reset(
    State(app): State<Arc<App>>,
    client: Client,
    Browser { cookies, visit }: Browser,
    Form(form): Form<ResetForm>,
) -> Result<Response, Error> {
    let page = Page::plain(&app, client.locale);
    let (token, by) = (Link::Reset.token(&cookies, &app), SessionKind::Browser);
    let user =
        match password_reset::reset(&app.accounts, (token.as_ref(), &form.password), by, &client, app.now()).await? {
            Reset::Done { user, device } => {
                identity::set_device_cookie(&cookies, &app, device.as_ref());
                user
            }
            Reset::Invalid(user, why) => {
                let problems = Problems::one(ResetForm::password, why.words(page.t));
                let page = ResetPage { page, problems, email: user.email.to_string() };
                return html(StatusCode::UNPROCESSABLE_ENTITY, client.locale, &page);
            }
            Reset::Gone => return gone(&app, &cookies, page, next(&app, &visit).await?),
        };
    let next = next(&app, &visit).await?;
    Link::Reset.forget(&cookies, &app);
    visit.forget_reset().await;
    visit.rotate().await;
    visit.flash(Flash::PasswordReset).await;
    typed::remember(&cookies, &app, user.email.as_str());
    // To the log-in, and not into the account: a leaked link must not become a session.
    Ok(Redirect::to(&identity::remembering(urls::LOGIN, next.as_ref())).into_response())
}
