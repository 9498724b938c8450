//! The checks that a request passes before a page sees it.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::cookie::{self, Name};
use super::replay::{self, StoredResponses};
use crate::accounts::Client;
use crate::accounts::security;
use crate::accounts::token::Token;
use crate::app::App;
use crate::gate::client::Device;
use crate::gate::cookies;
use crate::gate::error::Error;
use crate::gate::{body, origin};

/// The state of [`before`].
pub struct Guard {
    /// The shared state.
    pub app: Arc<App>,
    /// The responses to forms.
    pub responses: Arc<StoredResponses>,
}

/// Lets a request through to a page if a page of ours sent it, with no cookies but ours, with a body that is not too long,
/// and only once.
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
        if let Some(device) = cookies::value(request.headers(), Name::Device.on(&guard.app)).and_then(Token::parse) {
            request.extensions_mut().insert(Device(device));
        }
        match body::take(request).await {
            Ok((request, body)) => replay::once(&guard.app, &guard.responses, request, body, next).await,
            Err(error) => error.into_response(),
        }
    };
    cookie::make_secure(&guard.app, response.headers_mut());
    response
}

/// Notes that another site sent a form, and which user's browser it came from. Only the first few of a client are noted,
/// because they cost an attacker nothing.
async fn refused(app: &Arc<App>, request: Request, error: Error) -> Response {
    let (mut parts, _) = request.into_parts();
    let (now, Ok(client)) = (app.now(), Client::from_request_parts(&mut parts, app).await);
    let token = cookies::value(&parts.headers, Name::Session.on(app));
    let pointer = token.and_then(|token| app.keys.verify(token, now));
    match security::note_cross_site(&app.accounts, pointer, &client, now).await {
        Ok(()) => error.into_response(),
        Err(fault) => Error::from(fault).into_response(),
    }
}

/// Refuses a form with a cookie of ours from a browser so old that it does not name the page that sends it. Without our
/// cookies, such a form cannot harm a user who is logged in.
fn named_or_without_our_cookies(app: &App, request: &Request) -> Result<(), Error> {
    if !origin::reads_only(request) && origin::is_unnamed(request) && cookie::any(app, request.headers()) {
        return Err(Error::cross_site("a cookie of ours without Origin".into()));
    }
    Ok(())
}
