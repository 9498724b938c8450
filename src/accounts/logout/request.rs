//! An app asks for the end of its user's session (OpenID Connect RP-Initiated Logout 1.0, 2).

use time::OffsetDateTime;
use url::Url;

use crate::accounts::apps::redirect_uri::RedirectUri;
use crate::accounts::apps::{self, Application};
use crate::accounts::authorize::authorization;
use crate::accounts::authorize::request::Params;
use crate::accounts::session::Session;
use crate::accounts::signed_token::{self, Hint};
use crate::accounts::{Accounts, Result};

/// What an app asks for.
#[derive(Debug)]
pub struct LogoutRequest {
    /// The app, if it is known.
    pub app: Option<Application>,
    /// Where the browser goes afterwards.
    pub to: Option<String>,
    /// The origin of that address.
    pub source: Option<String>,
    /// Whether the app has shown that it is about the session that this browser has.
    pub is_proven: bool,
}

/// Why nothing happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The ID token is none of ours, or the app is another one, or none.
    App,
    /// The app has not registered this address. An attacker could send users anywhere with it (RFC 9700, 4.11).
    Address,
}

/// Reads a request. `there` is the session of this browser.
///
/// A page of any site can open this address. The ID token of that session is the proof that the request is its app's. It need not
/// be valid any more: no access is asked for.
pub async fn read(
    accounts: &Accounts,
    params: &Params,
    (issuer, there): (&str, Option<&Session>),
    now: OffsetDateTime,
) -> Result<Result<LogoutRequest, Refused>> {
    if params.has_doubles() {
        return Ok(Err(Refused::Address));
    }
    let hint = match params.get("id_token_hint") {
        None => None,
        Some(token) => match signed_token::hint(accounts, token, issuer, now).await? {
            None => return Ok(Err(Refused::App)),
            hint => hint,
        },
    };
    let named = params.client_id();
    let is_no_id = named.is_none() && params.get("client_id").is_some();
    if is_no_id || hint.as_ref().is_some_and(|hint| named.is_some_and(|named| named != hint.aud)) {
        return Ok(Err(Refused::App));
    }
    let app = match hint.as_ref().map(|hint| hint.aud).or(named) {
        None => None,
        Some(id) => match apps::by_id(accounts.db.read(), id).await? {
            None => return Ok(Err(Refused::App)), // the operator has removed it
            app => app,
        },
    };
    let to = match (params.get("post_logout_redirect_uri"), &app) {
        (Some(uri), Some(app)) if app.logout_uris.have(uri) => Some(uri),
        (Some(_), Some(_)) => return Ok(Err(Refused::Address)),
        // Nobody knows whose address it is, so the browser stays here.
        (Some(_), None) | (None, _) => None,
    };
    let is_proven = match (&hint, there) {
        (Some(hint), Some(session)) => is_of(accounts, hint, session).await?,
        _ => false,
    };
    // The origin is that of the address itself. With a long `state` it is no address that could be registered.
    let source = to.and_then(|uri| uri.parse::<RedirectUri>().ok()).map(|uri| uri.source());
    let to = to.map(|uri| with_state(uri, params.get("state")));
    Ok(Ok(LogoutRequest { app, to, source, is_proven }))
}

/// Returns whether an ID token was made in this session, or in one that goes on in it.
async fn is_of(accounts: &Accounts, hint: &Hint, session: &Session) -> Result<bool> {
    if hint.sub != session.user_id {
        return Ok(false);
    }
    Ok(hint.sid == session.id || authorization::has_gone_on(accounts.db.read(), hint.sid, session.id).await?)
}

fn with_state(uri: &str, state: Option<&str>) -> String {
    match (Url::parse(uri), state) {
        (Ok(mut url), Some(state)) => {
            url.query_pairs_mut().append_pair("state", state);
            url.into()
        }
        _ => uri.to_owned(),
    }
}
