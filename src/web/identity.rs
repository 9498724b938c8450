//! Who is logged in. The signature is the policy: a handler that names [`CurrentUser`] is closed to anyone
//! else.

use std::sync::Arc;

use axum::RequestPartsExt;
use axum::extract::{Extension, FromRequest, FromRequestParts, OptionalFromRequestParts, Request};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use tower_cookies::Cookies;

use super::cookie::{self, Name};
use super::language;
use super::visit::{Draft, Flash, Visit};
use crate::accounts::login::{self, LoggedIn};
use crate::accounts::session::{self, Kind, Session, device};
use crate::accounts::token::Token;
use crate::accounts::user::User;
use crate::app::App;
use crate::gate::client::{self, Client, Language};
use crate::gate::error::Error;
use crate::gate::form::{Fields, Form, Query};
use crate::keys::Pointer;
use crate::throttle::Limit;
use crate::urls::{self, Next};
use crate::{accounts, gate};

/// The username of the user who is logged in: [`CurrentUser`] leaves it with the request, for the header of the page.
#[derive(Clone)]
pub struct SignedIn(pub String);

/// The person who is logged in, and the session that says so.
pub struct CurrentUser {
    /// The person.
    pub user: User,
    /// The session.
    pub session: Session,
}

impl OptionalFromRequestParts<Arc<App>> for CurrentUser {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Option<Self>, Error> {
        let Extension(cookies): Extension<Cookies> = parts.extract().await.map_err(Error::internal)?;
        let Some(token) = cookie::get(&cookies, app, Name::Session) else { return Ok(None) };
        let now = app.now();
        let Some(pointer) = app.keys.verify(&token, now) else { return Ok(None) };
        // The row is the truth: whatever the cookie says, without its row nobody is logged in.
        let Some((session, user)) = session::find(app.db.read(), Kind::Browser, pointer.session, now).await? else {
            return Ok(None);
        };
        if user.id != pointer.user {
            return Ok(None);
        }
        if let Some(locale) = user.locale() {
            // For whatever asks after us.
            parts.extensions.insert(Language { locale, ..Language::of(parts) });
        }
        let (ip, lifetimes) = (|| client::ip(parts, app), app.accounts.lifetimes);
        let session = match session::touch(app.db.write(), &session, lifetimes, ip, now).await? {
            // It began when the settings let sessions live longer.
            Some(ended) if ended.expires_at <= now => return Ok(None),
            Some(renewed) => {
                remember(&cookies, app, &renewed)?;
                renewed
            }
            None => session,
        };
        parts.extensions.insert(SignedIn(user.username.clone()));
        Ok(Some(Self { user, session }))
    }
}

/// Nobody is logged in. Whoever is, is sent on: to `next`, or to the profile. Named before `Page`, it leaves
/// the flash for the page that they will see.
pub struct Guest;

impl FromRequestParts<Arc<App>> for Guest {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        language::switch(parts, app).await?;
        let found = <CurrentUser as OptionalFromRequestParts<Arc<App>>>::from_request_parts(parts, app).await;
        let Ok(Query(query)) = Query::from_request_parts(parts, app).await;
        match found.map_err(IntoResponse::into_response)? {
            None => Ok(Self),
            Some(_) => Err(onward(Next::parse(query.text("next")))),
        }
    }
}

/// On to the page that was wanted, or to the profile.
pub fn onward(next: Option<Next>) -> Response {
    Redirect::to(next.as_ref().map_or(urls::PROFILE, Next::as_str)).into_response()
}

/// Everybody else is sent to the log-in, and from there back to the page they wanted.
impl FromRequestParts<Arc<App>> for CurrentUser {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        language::switch(parts, app).await?;
        let found = <Self as OptionalFromRequestParts<Arc<App>>>::from_request_parts(parts, app).await;
        let wanted = parts.uri.path_and_query().map_or(urls::PROFILE, |path| path.as_str());
        found.map_err(IntoResponse::into_response)?.ok_or_else(|| log_in_first(wanted))
    }
}

/// To the log-in, and from there back to this path.
pub fn log_in_first(next: &str) -> Response {
    match Next::parse(next).filter(|next| next.as_str() != urls::PROFILE) {
        Some(next) => Redirect::to(&format!("{}?{}", urls::LOGIN, with_next(&next))).into_response(),
        None => Redirect::to(urls::LOGIN).into_response(),
    }
}

/// The query that remembers where to go after the log-in.
pub fn with_next(next: &Next) -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair("next", next.as_str()).finish()
}

/// A form of somebody who is logged in.
///
/// When the session has ended meanwhile, nothing that was typed is lost: it is kept in the visit, without
/// secrets, and the person finds it in the form again once they have logged in. It is not saved unseen: whoever
/// logs in next need not be the one who typed.
pub struct Posted {
    /// The person.
    pub user: User,
    /// The session.
    pub session: Session,
    /// Who asks, in the language that the person has saved.
    pub client: accounts::Client,
    /// The form.
    pub fields: Fields,
}

impl FromRequest<Arc<App>> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let visit = Visit::from_request_parts(&mut parts, app).await.map_err(IntoResponse::into_response)?;
        let found = <CurrentUser as OptionalFromRequestParts<Arc<App>>>::from_request_parts(&mut parts, app).await;
        let found = found.map_err(IntoResponse::into_response)?;
        let Ok(Client(client)) = Client::from_request_parts(&mut parts, app).await;
        let page = page_of(parts.uri.path()).to_owned();
        let form = Form::from_request(Request::from_parts(parts, body), app).await;
        let Form(fields) = form.map_err(IntoResponse::into_response)?;
        match found {
            Some(CurrentUser { user, session }) => Ok(Self { user, session, client, fields }),
            None => {
                // What is kept for nobody is counted, or it would be a way to fill the database.
                gate::throttle(app, Limit::Draft, &client).await.map_err(IntoResponse::into_response)?;
                visit.remember_draft(&Draft::of(&page, &fields)).await;
                visit.flash(Flash::LogInToGoOn).await;
                Err(log_in_first(&page))
            }
        }
    }
}

/// The page whose form posts to this path.
fn page_of(path: &str) -> &str {
    match path {
        urls::PROFILE => urls::PROFILE_NAME,
        urls::SECURITY_LOG_OUT => urls::SECURITY,
        same => same,
    }
}

/// Logs this browser in. The session that it had before ends: it would live on with nobody to end it.
///
/// # Errors
/// When the database is out of reach.
pub async fn log_in(cookies: &Cookies, app: &App, logged_in: &LoggedIn) -> Result<(), Error> {
    let before = cookie::get(cookies, app, Name::Session).and_then(|token| app.keys.verify(&token, app.now()));
    if let Some(before) = before {
        login::leave_behind(&app.db, before.session).await?;
    }
    name_device(cookies, app, logged_in.device.as_ref());
    remember(cookies, app, &logged_in.session)
}

/// Gives the browser the device token by which accounts know it, if it has got another one.
pub fn name_device(cookies: &Cookies, app: &App, device: Option<&Token>) {
    if let Some(device) = device {
        cookie::set(cookies, app, Name::Device, device.reveal().to_string(), Some(device::LIFETIME));
    }
}

/// Gives the browser the cookie of its session: kept as long as the session with “keep me logged in”, else
/// until the browser is closed.
///
/// # Errors
/// When the cookie cannot be signed.
fn remember(cookies: &Cookies, app: &App, session: &Session) -> Result<(), Error> {
    let (now, pointer) = (app.now(), Pointer { user: session.user_id, session: session.id });
    let token = app.keys.mint(pointer, now, session.expires_at).map_err(Error::internal)?;
    cookie::set(cookies, app, Name::Session, token, session.remember.then(|| session.expires_at - now));
    Ok(())
}
