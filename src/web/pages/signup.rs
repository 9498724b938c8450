//! Creating an account: the form, the page behind the link in the email, and its button.

use std::borrow::Cow;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use time::Duration;
use tower_cookies::Cookies;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::accounts::Client;
use crate::accounts::login::LoggedIn;
use crate::accounts::session::SessionKind;
use crate::accounts::signup::{self, Confirmation, Confirmed, OpenedSignup, SignUp, SignupProblem, Typed};
use crate::accounts::user::Taken;
use crate::app::App;
use crate::config::Signup;
use crate::gate::error::Error;
use crate::gate::form::{Came, FieldName, Form, Query, form};
use crate::locale::Locale;
use crate::urls::{self, Next};
use crate::web::browser::Browser;
use crate::web::browser::identity::{self, CurrentUser, Guest};
use crate::web::browser::language;
use crate::web::browser::link::{Link, LinkQuery};
use crate::web::browser::typed;
use crate::web::browser::visit::{Flash, SentLetter, Visit};
use crate::web::frame::mail::{self, MailWaits, SentQuery};
use crate::web::frame::page::{Page, html};
use crate::web::frame::problems::Problems;
use crate::web::pages::authorize::Onward;
use crate::words::Words;

/// The time after which the same email can be sent again.
pub const SEND_AGAIN_AFTER: Duration = Duration::seconds(60);

#[derive(Template)]
#[template(path = "signup/signup.html")]
struct SignupPage {
    page: Page,
    problems: Problems,
    email: String,
    username: String,
    full_name: String,
    next: Option<Next>,
    /// The app that the sign-up leads to.
    onward: Option<Onward>,
}

impl SignupPage {
    /// Returns the page. On a site with open sign-up, the form leads to the app at once.
    fn answer(self, app: &App, status: StatusCode) -> Result<Response, Error> {
        Ok(Onward::allow(self.onward.as_ref(), app, html(status, self.page.locale, &self)?))
    }

    fn lead(&self) -> Option<String> {
        let onward = self.onward.as_ref()?;
        Some(self.page.t.sign_up_to_go_on(onward.inside(&self.page)))
    }

    fn log_in(&self) -> Cow<'static, str> {
        identity::remembering(urls::LOGIN, self.next.as_ref())
    }
}

#[derive(Template)]
#[template(path = "signup/closed.html")]
struct ClosedPage {
    page: Page,
    /// The log-in, which leads to the page to go on to.
    log_in: Cow<'static, str>,
}

/// Returns the page of a site that accepts no sign-ups.
fn closed(page: Page, next: Option<&Next>) -> Result<Response, Error> {
    let log_in = identity::remembering(urls::LOGIN, next);
    html(StatusCode::FORBIDDEN, page.locale, &ClosedPage { page, log_in })
}

form! {
    /// The query of the sign-up page.
    pub struct SignupQuery {
        /// Whether the form has what was typed in this browser before, because the user wants to correct it.
        again: Came,
        /// The page to go on to.
        next: Option<Next>,
    }
}

/// GET /signup. With `again`, the form has what was typed in this browser before, so that a wrong address can be corrected.
pub async fn show(
    State(app): State<Arc<App>>,
    _: Guest,
    Query(query): Query<SignupQuery>,
    visit: Visit,
    page: Page,
) -> Result<Response, Error> {
    if app.settings.signup == Signup::Closed {
        return closed(page, query.next.as_ref());
    }
    let before = if query.again.0 { visit.signup().await? } else { None };
    let next = query.next.or_else(|| before.as_ref()?.goes_on_to(app.now()));
    let begun = match before.and_then(|sent| sent.pending) {
        Some(pending) => signup::begun(&app.db, pending, app.now()).await?,
        None => None,
    };
    let typed = begun.map(|begun| (begun.email.to_string(), begun.username, begun.full_name));
    let ((email, username, full_name), problems) = (typed.unwrap_or_default(), Problems::default());
    let onward = Onward::of(&app, next.as_ref()).await?;
    SignupPage { page, problems, email, username, full_name, next, onward }.answer(&app, StatusCode::OK)
}

form! {
    /// The form that creates an account.
    pub struct SignupForm {
        email: String,
        username: String,
        full_name: String,
        password: Zeroizing<String>,
        /// The page to go on to.
        next: Option<Next>,
    }
}

impl SignupForm {
    fn typed(&self) -> Typed<'_> {
        let Self { email, username, full_name, password, next: _ } = self;
        Typed { email, username, full_name, password, complete: true }
    }

    /// Returns the page with this form and its problems.
    async fn again(self, app: &App, locale: Locale, problems: Problems) -> Result<Response, Error> {
        let Self { email, username, full_name, password: _, next } = self;
        let page = Page::plain(app, locale).remembering(next.as_ref());
        let onward = Onward::of(app, next.as_ref()).await?;
        let page = SignupPage { page, problems, email, username, full_name, next, onward };
        page.answer(app, StatusCode::UNPROCESSABLE_ENTITY)
    }
}

/// POST /signup
pub async fn ask(
    State(app): State<Arc<App>>,
    client: Client,
    Browser { cookies, visit }: Browser,
    Form(form): Form<SignupForm>,
) -> Result<Response, Error> {
    let now = app.now();
    let client = language::of_form(client, form.next.as_ref());
    match signup::sign_up(&app.accounts, form.typed(), SessionKind::Browser, &client, now).await? {
        SignUp::Begun(pending) => {
            let SignupForm { email, next, .. } = form;
            visit.remember_signup(&SentLetter { email, pending: Some(pending.id), at: now, next }).await;
            Ok(Redirect::to(urls::SIGNUP_SENT).into_response())
        }
        SignUp::Created(_, logged_in) => {
            visit.rotate().await;
            welcome(&app, logged_in, &cookies, &visit).await?;
            Ok(identity::onward(form.next))
        }
        SignUp::Closed => closed(Page::plain(&app, client.locale), form.next.as_ref()),
        SignUp::Invalid(invalid) => {
            let mut problems = Problems::default();
            for problem in invalid {
                problems.add(field_of(&problem), problem.words(client.locale.t()));
            }
            form.again(&app, client.locale, problems).await
        }
    }
}

/// Returns the field that has the problem.
fn field_of(problem: &SignupProblem) -> FieldName {
    match problem {
        SignupProblem::Email(_) | SignupProblem::Taken(Taken::Email) => SignupForm::email,
        SignupProblem::Username(_) | SignupProblem::Taken(Taken::Username) => SignupForm::username,
        SignupProblem::FullName(_) => SignupForm::full_name,
        SignupProblem::Password(_) => SignupForm::password,
    }
}

/// Gives the browser of a new user the cookies of its session.
async fn welcome(app: &App, logged_in: Option<Box<LoggedIn>>, cookies: &Cookies, visit: &Visit) -> Result<(), Error> {
    if let Some(logged_in) = logged_in {
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

/// GET /signup/sent
pub async fn sent(
    State(app): State<Arc<App>>,
    Query(query): Query<SentQuery>,
    visit: Visit,
    page: Page,
) -> Result<Response, Error> {
    let sent = visit.signup().await?;
    let next = sent.as_ref().and_then(|sent| sent.goes_on_to(app.now()));
    let onward = Onward::of(&app, next.as_ref()).await?;
    mail::sent(&app, page, sent, &query, |page, email, waits| SentPage { page, email, waits, onward }).await
}

/// POST /signup/resend
pub async fn ask_again(State(app): State<Arc<App>>, client: Client, visit: Visit) -> Result<Response, Error> {
    let now = app.now();
    if let Some(sent) = visit.signup().await?
        && let Some(pending) = sent.pending
    {
        if now - sent.at < SEND_AGAIN_AFTER {
            visit.flash(Flash::SentJustNow).await;
        } else {
            signup::ask_again(&app.accounts, pending, &client, now).await?;
            visit.remember_signup(&SentLetter { at: now, ..sent }).await;
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
    /// Whether the page asks for another username, because this one was taken meanwhile.
    taken: bool,
    /// Whether the page asks for the password, because another browser began the sign-up.
    elsewhere: bool,
    /// The app that this browser goes on to.
    onward: Option<Onward>,
}

impl ConfirmPage {
    /// Returns the page for this sign-up. `typed` is another username that the user has typed, if any.
    fn new(page: Page, OpenedSignup { pending, began_here }: OpenedSignup, typed: Option<&str>) -> Self {
        let (email, taken, elsewhere) = (pending.email.to_string(), typed.is_some(), !began_here);
        let username = typed.map_or(pending.username, str::to_owned);
        Self { page, problems: Problems::default(), email, username, taken, elsewhere, onward: None }
    }

    /// Returns the page, whose form leads on to `next`.
    async fn answer(mut self, app: &App, status: StatusCode, next: Option<&Next>) -> Result<Response, Error> {
        self.onward = Onward::of(app, next).await?;
        Ok(Onward::allow(self.onward.as_ref(), app, html(status, self.page.locale, &self)?))
    }

    fn way(&self) -> Option<String> {
        let onward = self.onward.as_ref()?;
        Some(self.page.t.then_go_on(onward.inside(&self.page)))
    }
}

#[derive(Template)]
#[template(path = "signup/gone.html")]
struct GonePage {
    page: Page,
    next: Option<Next>,
}

impl GonePage {
    fn to(&self, page: &'static str) -> Cow<'static, str> {
        identity::remembering(page, self.next.as_ref())
    }
}

/// GET /signup/confirm. With a token, it puts the token into a cookie and goes on to the address without it, so that it stays
/// out of the history and of `Referer`. Without, it shows the button. A GET never uses up the link.
pub async fn show_confirm(
    State(app): State<Arc<App>>,
    Query(LinkQuery { token }): Query<LinkQuery>,
    Browser { cookies, visit }: Browser,
    current: Option<CurrentUser>,
    page: Page,
) -> Result<Response, Error> {
    if !token.is_empty() {
        return Ok(Link::Signup.keep(&cookies, &app, &token));
    }
    let (began, next) = began(&app, &visit).await?;
    match opened(&app, &cookies, began).await? {
        Some(opened) => ConfirmPage::new(page, opened, None).answer(&app, StatusCode::OK, next.as_ref()).await,
        // An old link, most often of the account that is logged in.
        None if current.is_some() => {
            Link::Signup.forget(&cookies, &app);
            Ok(Redirect::to(urls::PROFILE).into_response())
        }
        None => gone(&app, &cookies, page, next),
    }
}

/// Shows the page of a link that no longer works, and deletes its cookie.
fn gone(app: &App, cookies: &Cookies, page: Page, next: Option<Next>) -> Result<Response, Error> {
    Link::Signup.forget(cookies, app);
    html(StatusCode::GONE, page.locale, &GonePage { page, next })
}

/// Returns the ID of the sign-up that this browser began, and the page to go on to after it.
async fn began(app: &App, visit: &Visit) -> Result<(Option<Uuid>, Option<Next>), Error> {
    let sent = visit.signup().await?;
    let next = sent.as_ref().and_then(|sent| sent.goes_on_to(app.now()));
    Ok((sent.and_then(|sent| sent.pending), next))
}

/// Returns the sign-up whose link was opened in this browser.
async fn opened(app: &App, cookies: &Cookies, began: Option<Uuid>) -> Result<Option<OpenedSignup>, Error> {
    let Some(token) = Link::Signup.token(cookies, app) else { return Ok(None) };
    Ok(signup::opened(&app.db, &token, began, app.now()).await?)
}

form! {
    /// The form that confirms a sign-up.
    pub struct ConfirmForm {
        /// Another username, if the first one was taken meanwhile.
        username: String,
        /// The password, if another browser began the sign-up.
        password: Zeroizing<String>,
    }
}

/// POST /signup/confirm
pub async fn confirm(
    State(app): State<Arc<App>>,
    client: Client,
    Browser { cookies, visit }: Browser,
    Form(form): Form<ConfirmForm>,
) -> Result<Response, Error> {
    let (began, next) = began(&app, &visit).await?;
    let page = Page::plain(&app, client.locale);
    let token = Link::Signup.token(&cookies, &app);
    let username = Some(form.username.as_str()).filter(|typed| !typed.is_empty());
    let confirmation = Confirmation { token: token.as_ref(), began, username, password: &form.password };
    let (opened, problems) = match signup::confirm(&app.accounts, confirmation, &client, app.now()).await? {
        Confirmed::LoggedIn(logged_in) => {
            forget(&app, &cookies, &visit).await;
            welcome(&app, Some(logged_in), &cookies, &visit).await?;
            return Ok(identity::onward(next));
        }
        Confirmed::Created(user, device) => {
            forget(&app, &cookies, &visit).await;
            identity::set_device_cookie(&cookies, &app, device.as_ref());
            visit.flash(Flash::AccountCreated).await;
            typed::remember(&cookies, &app, user.email.as_str());
            return Ok(Redirect::to(&identity::remembering(urls::LOGIN, next.as_ref())).into_response());
        }
        Confirmed::Gone => return gone(&app, &cookies, page, next),
        Confirmed::Closed => return closed(page, next.as_ref()),
        Confirmed::Invalid(opened, problems) => (opened, problems),
        Confirmed::UsernameTaken(opened) => {
            let problems = Problems::one(ConfirmForm::username, page.t.username_just_taken());
            let page = ConfirmPage { taken: true, problems, ..ConfirmPage::new(page, *opened, username) };
            return page.answer(&app, StatusCode::UNPROCESSABLE_ENTITY, next.as_ref()).await;
        }
    };
    let mut page = ConfirmPage::new(page, *opened, username);
    for problem in problems {
        let field =
            if let SignupProblem::Password(_) = problem { ConfirmForm::password } else { ConfirmForm::username };
        page.problems.add(field, problem.words(page.page.t));
    }
    page.answer(&app, StatusCode::UNPROCESSABLE_ENTITY, next.as_ref()).await
}

/// Forgets a sign-up that is confirmed. The visit gets another id, because another user may be logged in now.
async fn forget(app: &App, cookies: &Cookies, visit: &Visit) {
    Link::Signup.forget(cookies, app);
    visit.forget_signup().await;
    visit.rotate().await;
}
