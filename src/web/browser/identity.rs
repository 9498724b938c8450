//! Who is logged in. The signature is the policy: a handler that names [`CurrentUser`] is closed to every other client, and
//! one that names [`Guest`] is for visitors who are not logged in.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use tower_cookies::Cookies;

use super::cookie::{self, Name};
use super::language;
use super::visit::Flash;
use crate::accounts::login::{self, LoggedIn};
use crate::accounts::session::resume::Resumed;
use crate::accounts::session::{Session, SessionKind, device};
use crate::accounts::token::Token;
use crate::accounts::user::User;
use crate::app::App;
use crate::gate::client;
use crate::gate::error::Error;
use crate::gate::form::{Came, Query, form};
use crate::keys::Pointer;
use crate::urls::{self, Next};

/// What [`resolve`](super::resolve) has found out about a request, once for all its extractors.
#[derive(Clone)]
pub struct Resolved {
    /// The user who is logged in.
    pub user: Option<CurrentUser>,
    /// What the page shows once.
    pub flash: Option<Flash>,
}

impl Resolved {
    /// Returns what was found out about this request.
    ///
    /// # Errors
    /// 500 on a route that is not behind [`resolve`](super::resolve). Without this, every client would be a guest there.
    pub fn of(parts: &Parts) -> Result<&Self, Error> {
        parts.extensions.get().ok_or_else(|| Error::internal("this route is not behind web::browser::resolve"))
    }
}

/// The user who is logged in, and the session that says so.
#[derive(Clone)]
pub struct CurrentUser {
    /// The user.
    pub user: Arc<User>,
    /// The session.
    pub session: Arc<Session>,
}

/// Returns the user that the session cookie points at.
///
/// # Errors
/// 503 when the database is out of reach. It never means “logged out”.
pub async fn find(parts: &Parts, cookies: &Cookies, app: &App) -> Result<Option<CurrentUser>, Error> {
    let Some(pointer) = pointer(cookies, app) else { return Ok(None) };
    let resumed = app.accounts.resume((SessionKind::Browser, pointer), || client::ip(parts, app), app.now()).await?;
    let Some(Resumed { session, user, renewed }) = resumed else { return Ok(None) };
    if renewed {
        set_session_cookie(cookies, app, &session)?;
    }
    Ok(Some(CurrentUser { user, session }))
}

impl OptionalFromRequestParts<Arc<App>> for CurrentUser {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Option<Self>, Error> {
        Ok(Resolved::of(parts)?.user.clone())
    }
}

/// A client who is not logged in is sent to the log-in, and from there back to this page.
impl FromRequestParts<Arc<App>> for CurrentUser {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Response> {
        let wanted = parts.uri.path_and_query().map_or(urls::PROFILE, |path| path.as_str());
        let resolved = Resolved::of(parts).map_err(IntoResponse::into_response)?;
        resolved.user.clone().ok_or_else(|| log_in_first(wanted))
    }
}

/// A visitor who is not logged in. A user who is logged in is sent on: to `next`, or to the profile, unless an app has asked for
/// another log-in (`again`).
pub struct Guest;

impl FromRequestParts<Arc<App>> for Guest {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let Ok(Query(NextQuery { next, again: Came(again) })) = Query::from_request_parts(parts, app).await;
        match &Resolved::of(parts).map_err(IntoResponse::into_response)?.user {
            None => Ok(Self),
            Some(_) if again => Ok(Self),
            Some(_) => Err(onward(next)),
        }
    }
}

form! {
    /// The query of a page from which the browser goes on to another one.
    pub struct NextQuery {
        /// The page to go on to.
        pub next: Option<Next>,
        /// Whether a user who is logged in does it again.
        again: Came,
    }
}

/// Redirects to the page that was wanted, or to the profile.
pub fn onward(next: Option<Next>) -> Response {
    Redirect::to(next.as_ref().map_or(urls::PROFILE, Next::as_str)).into_response()
}

/// Redirects to the log-in, and from there back to this path.
pub fn log_in_first(next: &str) -> Response {
    let next = Next::parse(next).filter(|next| next.as_str() != urls::PROFILE);
    Redirect::to(&remembering(urls::LOGIN, next.as_ref())).into_response()
}

/// Redirects a user who is logged in already to the log-in, and from there to this page.
pub fn log_in_again(next: &Next) -> Response {
    Redirect::to(&format!("{}?{}&{}=1", urls::LOGIN, with_next(next), NextQuery::again)).into_response()
}

/// Returns the address of a page that remembers where to go on to.
pub fn remembering(page: &'static str, next: Option<&Next>) -> Cow<'static, str> {
    next.map_or(page.into(), |next| format!("{page}?{}", with_next(next)).into())
}

/// Returns the query that remembers where to go on to.
pub fn with_next(next: &Next) -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair(&NextQuery::next.to_string(), next.as_str()).finish()
}

/// Returns what the session cookie points at, whether it is there or not.
pub fn pointer(cookies: &Cookies, app: &App) -> Option<Pointer> {
    cookie::get(cookies, app, Name::Session).and_then(|token| app.keys.verify(&token, app.now()))
}

/// Logs this browser in. The session that it had before ends; otherwise nothing would ever end it. A language that was
/// chosen here before gives way to the one that the account has saved.
///
/// # Errors
/// 503 when the database is out of reach.
pub async fn log_in(cookies: &Cookies, app: &App, logged_in: &LoggedIn) -> Result<(), Error> {
    if let Some(before) = pointer(cookies, app) {
        login::replace_session(&app.accounts, before, &logged_in.session, app.now()).await?;
    }
    if logged_in.user.locale().is_some() {
        language::forget(cookies, app);
    }
    set_cookies(cookies, app, logged_in)
}

/// Gives the browser the cookie of its session and, if it got another device token, the cookie of that.
///
/// # Errors
/// 500 when the cookie cannot be signed.
pub fn set_cookies(cookies: &Cookies, app: &App, logged_in: &LoggedIn) -> Result<(), Error> {
    set_device_cookie(cookies, app, logged_in.device.as_ref());
    set_session_cookie(cookies, app, &logged_in.session)
}

/// Gives the browser the device token by which accounts know it, if it has got another one.
pub fn set_device_cookie(cookies: &Cookies, app: &App, device: Option<&Token>) {
    if let Some(device) = device {
        cookie::set(cookies, app, Name::Device, device.reveal().to_string(), Some(device::LIFETIME));
    }
}

/// Gives the browser the cookie of its session. With “keep me logged in” it is kept as long as the session, else until the
/// browser is closed. If the site shares its domain with apps, the browser gets the forward cookie with it.
///
/// Then both cookies are valid as long as the session can be. What proxies ask keeps the session going, and their answers
/// cannot renew a cookie: a user who has worked in an app for hours would seem to be logged out here, and could not log out.
/// The row is the truth all the same.
///
/// # Errors
/// 500 when the cookie cannot be signed.
pub fn set_session_cookie(cookies: &Cookies, app: &App, session: &Session) -> Result<(), Error> {
    let (now, pointer) = (app.now(), Pointer { user: session.user_id, session: session.id });
    let shared = app.settings.gate_domain.is_some();
    let latest = || app.accounts.policy.lifetimes.latest_end(session.remember, session.created_at);
    let until = if shared { latest() } else { session.expires_at };
    let kept = session.remember.then(|| until - now);
    let token = app.keys.mint(pointer, now, until).map_err(Error::internal)?;
    cookie::set(cookies, app, Name::Session, token, kept);
    if shared {
        let token = app.forward_keys.mint(pointer, now, until).map_err(Error::internal)?;
        cookie::set(cookies, app, Name::Forward, token, kept);
    }
    Ok(())
}

/// Makes the browser delete the cookies of its session.
pub fn forget_session(cookies: &Cookies, app: &App) {
    cookie::remove(cookies, app, Name::Session);
    cookie::remove(cookies, app, Name::Forward);
}
