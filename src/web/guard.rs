//! What a page's request passes before the page sees it.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
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
use crate::gate::{origin, take_body};
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
    let came_from_us =
        origin::check(&guard.app, &request).and_then(|()| named_or_without_our_cookies(&guard.app, &request));
    if let Err(error) = came_from_us {
        return refused(&guard.app, request, error).await;
    }
    cookie::keep_ours(&guard.app, request.headers_mut());
    let mut response = if origin::reads_only(&request) {
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
async fn refused(app: &Arc<App>, request: Request, error: Error) -> Response {
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
    error.into_response()
}

/// Refuses a form with a cookie of ours from a browser so old that it does not name the page that sends it. Without our
/// cookies, such a form can harm nobody who is logged in.
fn named_or_without_our_cookies(app: &App, request: &Request) -> Result<(), Error> {
    if !origin::reads_only(request) && origin::is_unnamed(request) && cookie::any(app, request.headers()) {
        return Err(Error::cross_site("a cookie of ours without Origin".into()));
    }
    Ok(())
}
