//! Creating an account: the form, the letter's page, the button.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use time::Duration;
use tower_cookies::Cookies;
use uuid::Uuid;

use super::cookie::{self, Name};
use super::identity::{self, CurrentUser, Guest};
use super::link;
use super::page::{Page, html};
use super::problems::Problems;
use super::typed;
use super::visit::{Flash, Sent, Visit};
use crate::accounts::password::PasswordError;
use crate::accounts::signup::{self, Confirmation, Confirmed, NewAccount, Opened};
use crate::accounts::token::Token;
use crate::accounts::user::email::Email;
use crate::accounts::user::username::{FullName, Username};
use crate::accounts::user::{Taken, User};
use crate::app::App;
use crate::config::Signup;
use crate::gate::client::Client;
use crate::gate::error::Error;
use crate::gate::form::{Form, Query};
use crate::gate::words::Words;
use crate::throttle::Limit;
use crate::{accounts, gate, urls};

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

/// GET /signup: with `again`, the form has what was typed in this browser, for an address that was wrong.
pub async fn show(
    State(app): State<Arc<App>>,
    _: Guest,
    Query(query): Query,
    visit: Visit,
    page: Page,
) -> Result<Response, Error> {
    if app.config.signup == Signup::Closed {
        return html(StatusCode::FORBIDDEN, page.locale, &ClosedPage { page });
    }
    let begun = match began(&visit).await?.filter(|_| query.came("again")) {
        Some(pending) => signup::begun(&app.db, pending, app.now()).await?,
        None => None,
    };
    let typed = begun.map(|begun| (begun.email, begun.username, begun.full_name));
    let ((email, username, full_name), problems) = (typed.unwrap_or_default(), Problems::default());
    html(StatusCode::OK, page.locale, &SignupPage { page, problems, email, username, full_name })
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
    let open = app.config.signup == Signup::Open;
    let names = (Email::parse(&email), Username::choose(&username, &app.config.site_name));
    let (told_email, told_username) = (names.0.as_ref().ok().filter(|_| open), names.1.as_ref().ok());
    let taken = signup::taken(&app.db, told_email, told_username).await?;
    let password = app.new_password(fields.text("password"), [&email, &username, &full_name]).await?;
    let mut problems = Problems::default();
    let email_ok = problems.note(t, "email", names.0);
    if taken.contains(&Taken::Email) {
        problems.add("email", Taken::Email.words(t));
    }
    let username_ok = problems.note(t, "username", names.1);
    if taken.contains(&Taken::Username) {
        problems.add("username", Taken::Username.words(t));
    }
    let full_name_ok = problems.note(t, "full_name", FullName::parse(&full_name));
    let password = problems.note(t, "password", password);
    let (true, Some(email_ok), Some(username_ok), Some(full_name_ok), Some(password)) =
        (problems.is_empty(), email_ok, username_ok, full_name_ok, password)
    else {
        let page = SignupPage { page: Page::plain(&app, client.locale), problems, email, username, full_name };
        return html(StatusCode::UNPROCESSABLE_ENTITY, client.locale, &page);
    };
    let new = NewAccount { email: email_ok, username: username_ok, full_name: full_name_ok, password };
    let now = app.now();

    let taken = if open {
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
    let (page, problems) = (Page::plain(&app, client.locale), Problems::one(taken.field(), taken.words(t)));
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
    if let Some(logged_in) = signup::log_in(&app.accounts, user, client, app.now()).await? {
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
            gate::throttle(&app, Limit::SignUp, &client).await?;
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
    /// Whether to ask for another username: this one was taken meanwhile.
    taken: bool,
    /// Whether to ask for the password: another browser began the sign-up.
    elsewhere: bool,
}

impl ConfirmPage {
    fn new(page: Page, Opened { pending, began_here }: Opened) -> Self {
        let (email, username) = (pending.email, pending.username);
        Self { page, problems: Problems::default(), email, username, taken: false, elsewhere: !began_here }
    }
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
    (current, visit): (Option<CurrentUser>, Visit),
    page: Page,
) -> Result<Response, Error> {
    let token = query.text("token");
    if !token.is_empty() {
        return Ok(link::keep(&cookies, &app, Name::SignupLink, link::shaped(token), urls::SIGNUP_CONFIRM));
    }
    match opened(&app, &cookies, began(&visit).await?).await? {
        Some((_, opened)) => html(StatusCode::OK, page.locale, &ConfirmPage::new(page, opened)),
        // An old link, most often of the very account that is logged in.
        None if current.is_some() => {
            cookie::remove(&cookies, &app, Name::SignupLink);
            Ok(Redirect::to(urls::PROFILE).into_response())
        }
        None => gone(&app, &cookies, page),
    }
}

/// The page of a link that does not work any more. Its cookie goes with it.
fn gone(app: &App, cookies: &Cookies, page: Page) -> Result<Response, Error> {
    cookie::remove(cookies, app, Name::SignupLink);
    html(StatusCode::GONE, page.locale, &GonePage { page })
}

/// The pending row that this browser began a sign-up with.
async fn began(visit: &Visit) -> Result<Option<Uuid>, Error> {
    Ok(visit.signup().await?.and_then(|sent| sent.pending))
}

async fn opened(app: &App, cookies: &Cookies, began: Option<Uuid>) -> Result<Option<(Token, Opened)>, Error> {
    let Some(token) = link::token(cookies, app, Name::SignupLink) else { return Ok(None) };
    Ok(signup::opened(&app.db, &token, began, app.now()).await?.map(|opened| (token, opened)))
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
    let gone = || gone(&app, &cookies, Page::plain(&app, client.locale));
    gate::throttle(&app, Limit::Link, &client).await?;
    let began = began(&visit).await?;
    let Some((token, opened)) = opened(&app, &cookies, began).await? else { return gone() };
    let t = client.locale.t();
    let (typed, about) = (fields.shown("username"), &opened.pending);
    let mut page = ConfirmPage::new(Page::plain(&app, client.locale), opened.clone());
    if !typed.is_empty() {
        (page.username, page.taken) = (typed.to_owned(), true);
    }
    let username = page.taken.then(|| Username::choose(typed, &app.config.site_name));
    let username = username.and_then(|name| page.problems.note(t, "username", name));
    let password = if page.elsewhere {
        let about = [about.email.as_str(), &page.username, &about.full_name];
        let judged = app.password_of_the_proven(fields.text("password"), about).await?;
        page.problems.note(t, "password", judged)
    } else {
        None
    };
    if page.problems.is_empty() {
        let confirmation = Confirmation { began, username, password };
        match signup::confirm(&app.accounts, &token, confirmation, &client, app.now()).await? {
            Confirmed::Created { user, began_here, device } => {
                cookie::remove(&cookies, &app, Name::SignupLink);
                identity::name_device(&cookies, &app, device.as_ref());
                visit.forget_signup().await;
                visit.rotate().await;
                if began_here {
                    welcome(&app, &user, &client, &cookies, &visit).await?;
                    return Ok(Redirect::to(urls::PROFILE).into_response());
                }
                visit.flash(Flash::AccountCreated).await;
                typed::remember(&cookies, &app, &user.email);
                return Ok(Redirect::to(urls::LOGIN).into_response());
            }
            Confirmed::UsernameTaken => {
                page.taken = true;
                page.problems = Problems::one("username", t.username_just_taken());
            }
            Confirmed::PasswordNeeded => page.problems = Problems::one("password", PasswordError::Empty.words(t)),
            Confirmed::Gone => return gone(),
        }
    }
    html(StatusCode::UNPROCESSABLE_ENTITY, client.locale, &page)
}
