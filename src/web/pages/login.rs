//! Logging in and out.

use std::borrow::Cow;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Extension, State};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use tower_cookies::Cookies;
use zeroize::Zeroizing;

use crate::accounts::Client;
use crate::accounts::login::{self, Credentials, LogIn};
use crate::accounts::password::Password;
use crate::accounts::policy::Lasting;
use crate::app::App;
use crate::gate::error::Error;
use crate::gate::form::{Form, Query, form};
use crate::locale::{Locale, Translation};
use crate::urls::{self, Next};
use crate::web::browser::Browser;
use crate::web::browser::identity::{self, CurrentUser, Guest, NextQuery};
use crate::web::browser::typed;
use crate::web::browser::visit::Flash;
use crate::web::frame::page::{Page, html};
use crate::web::frame::problems::Problems;
use crate::web::pages::authorize::Onward;

/// What a browser deletes at log-out: what a page has stored, in case an attacker ever got a script into one.
///
/// Not `"cookies"`: browsers then delete the cookies of every host under the same domain, those of sister sites included.
/// Of ours they delete the device cookie, without which the browser is unknown to the account, and the visit that shows
/// “you are logged out”. The session cookie is removed by name. Not `"cache"`, for which browsers search their whole cache
/// while the page waits; our pages are `no-store` already.
const CLEARED: [(HeaderName, &str); 1] = [(HeaderName::from_static("clear-site-data"), "\"storage\"")];

/// After this number of failed attempts the page offers the reset.
const FAILURES_TO_OFFER: u8 = 3;

#[derive(Template)]
#[template(path = "login/login.html")]
struct LoginPage {
    page: Page,
    problems: Problems,
    login: String,
    remember: bool,
    next: Option<Next>,
    misses: u8,
    /// The app that the log-in leads to.
    onward: Option<Onward>,
}

impl LoginPage {
    /// Returns the page. A log-in that leads to an app ends at another origin.
    fn answer(self, app: &App, status: StatusCode) -> Result<Response, Error> {
        Ok(Onward::allow(self.onward.as_ref(), app, html(status, self.page.locale, &self)?))
    }

    /// Says where the log-in leads.
    fn lead(&self) -> Option<String> {
        let onward = self.onward.as_ref()?;
        Some(self.page.t.log_in_to_go_on(onward.inside(&self.page)))
    }

    /// Returns the address of another page, which leads there too.
    fn to(&self, page: &'static str) -> Cow<'static, str> {
        identity::remembering(page, self.next.as_ref())
    }

    fn offer_reset(&self) -> bool {
        self.misses >= FAILURES_TO_OFFER
    }
}

/// GET /login
pub async fn show(
    State(app): State<Arc<App>>,
    _: Guest,
    Query(NextQuery { next, .. }): Query<NextQuery>,
    Extension(cookies): Extension<Cookies>,
    page: Page,
) -> Result<Response, Error> {
    let (problems, mut login) = (Problems::default(), typed::address(&cookies, &app));
    let onward = Onward::of(&app, next.as_ref()).await?;
    // What the user has typed is nearer than what the app supposes.
    if let Some(onward) = onward.as_ref().filter(|_| login.is_empty()) {
        login.clone_from(&onward.login_hint);
    }
    LoginPage { page, problems, login, remember: false, next, misses: 0, onward }.answer(&app, StatusCode::OK)
}

form! {
    /// The form that logs in.
    pub struct LoginForm {
        /// An email address or a username.
        login: String,
        password: Zeroizing<String>,
        /// Whether the session outlives the closing of the browser.
        remember: bool,
        /// The page to go on to.
        next: Option<Next>,
        /// How many attempts on this page have failed so far.
        misses: Option<u8>,
        /// The language of this page, if it leads to an app, which may have asked for it.
        locale: Option<Locale>,
    }
}

impl LoginForm {
    fn missing(&self, t: &Translation) -> Problems {
        let mut problems = Problems::default();
        if self.login.trim().is_empty() {
            problems.add(Self::login, t.login_empty());
        }
        if self.password.is_empty() {
            problems.add(Self::password, t.password_needed());
        }
        problems
    }

    /// Returns the page with this form and its problems.
    async fn again(self, app: &App, locale: Locale, problems: Problems) -> Result<Response, Error> {
        let Self { login, password: _, remember, next, misses, locale: _ } = self;
        let page = Page::plain(app, locale).remembering(next.as_ref());
        let onward = Onward::of(app, next.as_ref()).await?;
        let page = LoginPage { page, problems, login, remember, next, misses: misses.unwrap_or(0), onward };
        page.answer(app, StatusCode::UNPROCESSABLE_ENTITY)
    }
}

/// POST /login
pub async fn log_in(
    State(app): State<Arc<App>>,
    client: Client,
    Browser { cookies, visit }: Browser,
    Form(mut form): Form<LoginForm>,
) -> Result<Response, Error> {
    let locale = form.locale.unwrap_or(client.locale);
    let t = locale.t();
    let missing = form.missing(t);
    if !missing.is_empty() {
        // No attempt and no failure: nothing was guessed.
        return form.again(&app, locale, missing).await;
    }
    let lasting = if form.remember { Lasting::Remembered } else { Lasting::UntilClosed };
    let credentials = Credentials { login: &form.login, password: Password::new(&form.password) };
    let logged_in = match login::log_in(&app.accounts, credentials, lasting, &client, app.now()).await? {
        LogIn::Succeeded(logged_in) => logged_in,
        LogIn::Failed => {
            typed::remember(&cookies, &app, &form.login);
            form.misses = Some(form.misses.unwrap_or(0).saturating_add(1));
            let problems = Problems::one(LoginForm::login, t.wrong_log_in()).mark(LoginForm::password);
            return form.again(&app, locale, problems).await;
        }
        LogIn::Disabled => {
            return form.again(&app, locale, Problems::one(LoginForm::login, t.account_disabled())).await;
        }
    };
    visit.rotate().await;
    typed::forget(&cookies, &app);
    identity::log_in(&cookies, &app, &logged_in).await?;
    Ok(match (&form.next, &app.settings.home_url) {
        (None, Some(home)) => Redirect::to(home.as_str()).into_response(),
        _ => identity::onward(form.next),
    })
}

form! {
    /// The form that logs out.
    pub struct LogOutForm {
        /// The page to go on to.
        next: Option<Next>,
    }
}

/// POST /logout. It does not ask for a log-in, so that a second click finds the same page. With `next` it goes on there.
pub async fn log_out(
    State(app): State<Arc<App>>,
    user: Option<CurrentUser>,
    client: Client,
    browser: Browser,
    Form(LogOutForm { next }): Form<LogOutForm>,
) -> Result<Response, Error> {
    let cleared = end_session(&app, user, &client, &browser, true).await?;
    Ok((cleared, Redirect::to(next.as_ref().map_or(urls::LOGIN, Next::as_str))).into_response())
}

/// Ends the session of this browser, and makes it forget all that belongs to it. Returns what else it has to delete. With `told`,
/// the next page says so.
pub async fn end_session(
    app: &App,
    user: Option<CurrentUser>,
    client: &Client,
    Browser { cookies, visit }: &Browser,
    told: bool,
) -> Result<Option<[(HeaderName, &'static str); 1]>, Error> {
    if let Some(CurrentUser { session, .. }) = user {
        login::log_out(&app.accounts, &session, client, app.now()).await?;
        visit.rotate().await;
        // Only for a user who was logged in. A flash for every client would let a client fill the database.
        if told {
            visit.flash(Flash::LoggedOut).await;
        }
    } else if let Some(ended) = identity::pointer(cookies, app) {
        // It may have ended a moment ago, by a form that is not answered yet. This answer too is true at all nodes.
        login::end_session(&app.accounts, ended).await?;
    }
    identity::forget_session(cookies, app);
    Ok(app.public_url.is_trustworthy().then_some(CLEARED))
}
