//! What a page must know of a request, found once, before any of its extractors runs: the user who is logged in, the
//! language, and the flash. Extractors only read it, so the order of a handler's arguments means nothing.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tower_cookies::Cookies;

use super::identity::{self, NextQuery, Resolved};
use super::language;
use super::visit::Visit;
use crate::app::App;
use crate::gate::client::Language;
use crate::gate::error::{Error, Explained};
use crate::urls;

/// Resolves a request and leaves what it found with it. A flash that a page has shown is deleted afterwards; a redirect
/// leaves it for the page that it leads to. A redirect to an app deletes it: a later page would say what is long past.
pub async fn around(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    if let Err(response) = resolve(&mut parts, &app).await {
        return response;
    }
    let has_flash = Resolved::of(&parts).is_ok_and(|resolved| resolved.flash.is_some());
    let visit = Visit::of(&parts);
    let response = next.run(Request::from_parts(parts, body)).await;
    // Here, only pages are `Explained`. A page that had no flash, such as a form that comes back with a problem, leaves it for
    // the next one.
    let is_over = response.extensions().get::<Explained>().is_some() || leads_away(&response);
    if let (true, Ok(visit)) = (has_flash && is_over, visit) {
        visit.forget_flash().await;
    }
    response
}

/// Returns whether a response is a redirect to another site.
fn leads_away(response: &Response) -> bool {
    response.headers().get(header::LOCATION).is_some_and(|to| !to.as_bytes().starts_with(b"/"))
}

/// # Errors
/// The redirect of `?lang=`, or a failure.
async fn resolve(parts: &mut Parts, app: &App) -> Result<(), Response> {
    let cookies = parts.extensions.get::<Cookies>().cloned();
    let cookies = cookies
        .ok_or_else(|| Error::internal("this route is not behind web::browser::visit::layer").into_response())?;
    if let Some(redirect) = language::switch(parts, &cookies, app) {
        return Err(redirect);
    }
    let user = identity::find(parts, &cookies, app).await.map_err(IntoResponse::into_response)?;
    let before = Language::of(parts);
    let language = language::of_app(before, &leads_to(parts));
    let language = user.as_ref().map_or(language, |current| language::of_user(language, &current.user));
    if language != before {
        parts.extensions.insert(language);
    }
    // A form answers with a redirect, or with itself. The flash is for a page that is opened.
    let flash = match parts.method {
        Method::GET => {
            let visit = Visit::of(parts).map_err(IntoResponse::into_response)?;
            visit.flash_left().await.map_err(IntoResponse::into_response)?
        }
        _ => None,
    };
    parts.extensions.insert(Resolved { user, flash });
    Ok(())
}

/// Returns the page to which this one leads in the end (`next`). The request of an app leads to the app.
fn leads_to(parts: &Parts) -> Cow<'_, str> {
    let own = parts.uri.path_and_query().map_or("", |own| own.as_str());
    let query = parts.uri.query().filter(|_| parts.uri.path() != urls::AUTHORIZE).unwrap_or_default();
    let next = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == NextQuery::next.text());
    next.map_or(own.into(), |(_, next)| next)
}
