//! What a page's request passes before the page sees it.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::cookie::{self, Name};
use super::replay::{self, Answers};
use crate::accounts::event::Kind;
use crate::accounts::security;
use crate::accounts::session::{self, Kind as SessionKind};
use crate::accounts::token::Token;
use crate::app::App;
use crate::gate::client::{Client, Device};
use crate::gate::error::Error;
use crate::gate::take_body;
use crate::throttle::Limit;

/// What [`before`] needs.
pub struct Guard {
    /// The shared state.
    pub app: Arc<App>,
    /// The answers to forms.
    pub answers: Arc<Answers>,
}

/// Before a page sees a request: it is ours, it has only our cookies, it is not too much, and it is new.
pub async fn before(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    if let Err(why) = came_from(&guard.app, &request) {
        return refused(&guard.app, request, why).await;
    }
    cookie::keep_ours(&guard.app, request.headers_mut());
    let mut response = if reads_only(&request) {
        next.run(request).await
    } else {
        if let Some(device) = cookie::value(request.headers(), Name::Device.on(&guard.app)).and_then(Token::parse) {
            request.extensions_mut().insert(Device(device));
        }
        match take_body(request).await {
            Ok((request, body)) => replay::answer_once(&guard.answers, request, body, next).await,
            Err(status) => Error::from(status).into_response(),
        }
    };
    cookie::make_secure(&guard.app, response.headers_mut());
    response
}

/// Notes a form that another site has sent, and whose browser it came from. The first few of a client only: they cost
/// nothing to send.
async fn refused(app: &Arc<App>, request: Request, why: String) -> Response {
    let (mut parts, _) = request.into_parts();
    let (now, Ok(Client(client))) = (app.now(), Client::from_request_parts(&mut parts, app).await);
    let noted = async {
        let token = cookie::value(&parts.headers, Name::Session.on(app));
        let session = token.and_then(|token| app.keys.verify(token, now)).map(|pointer| pointer.session);
        let found = match session {
            Some(session) => session::find(app.db.read(), SessionKind::Browser, session, now).await?,
            None => None,
        };
        let user = found.map(|(_, user)| user.id);
        security::note(&app.accounts, Kind::CrossSiteRefused, user, &client, now).await
    };
    if app.throttle.take(Limit::Note, &client.ip, now).is_ok()
        && let Err(fault) = noted.await
    {
        return Error::from(fault).into_response();
    }
    Error::cross_site(why).into_response()
}

fn reads_only(request: &Request) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Refuses what another site makes a browser send (CSRF), log-in and sign-up included, so that nobody can
/// be logged in to a stranger's account either. There are no tokens in forms; a page left open overnight
/// still works (OWASP, CSRF Prevention Cheat Sheet, “Fetch Metadata headers”).
fn came_from(app: &App, request: &Request) -> Result<(), String> {
    if reads_only(request) {
        return Ok(());
    }
    let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap_or("?"));
    match (header("sec-fetch-site"), header("origin")) {
        // `none` is the person's own doing: a reload, a restored tab.
        (Some("same-origin" | "none"), _) => Ok(()),
        (Some(site), _) => Err(format!("Sec-Fetch-Site: {site}")),
        (None, Some(origin)) if origin == app.public_url.origin() => Ok(()),
        (None, Some(origin)) => Err(format!("Origin: {origin}")),
        // Neither: an old browser, or no browser at all. Without our cookies it can do nobody harm.
        (None, None) if cookie::any(app, request.headers()) => Err("a cookie of ours without Origin".into()),
        (None, None) => Ok(()),
    }
}
