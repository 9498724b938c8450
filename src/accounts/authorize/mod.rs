//! An app asks, through the user's browser, who is there. The user logs in, says once what the app may see, and the app gets a
//! code (OpenID Connect Core, 3.1.2).

pub mod authorization;
pub mod grant;
pub mod pushed;
pub mod request;
pub mod scope;

use std::str::FromStr;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::apps::{self, Application};
use crate::accounts::event::{self, EventKind};
use crate::accounts::session::{self, Session};
use crate::accounts::signed_token;
use crate::accounts::user::{self, User};
use crate::accounts::{Accounts, Asked, Client, Result};
use crate::clock::APART;
use request::{Params, Read, Refusal, Request, Stranger};

/// What the browser does next.
#[derive(Debug)]
pub enum Step {
    /// It shows that the request is not one of an app that is known.
    Stranger(Stranger),
    /// The user logs in first.
    LogIn {
        /// The app that the user wants to go to.
        app: Box<Application>,
        /// If the user is logged in already and has to do it again: the query of the same request, with the time from which on
        /// a log-in counts.
        again: Option<String>,
    },
    /// The user says whether the app may see this.
    Ask {
        /// What the app asks for.
        request: Box<Request>,
        /// The user.
        user: Uuid,
    },
    /// It goes back to the app, to this address, with a code or an error.
    Back(String),
}

/// What the user has said on the page that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The app may see it.
    Allow,
    /// It may not.
    Deny,
}

impl FromStr for Decision {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "allow" => Ok(Self::Allow),
            "deny" => Ok(Self::Deny),
            _ => Err(()),
        }
    }
}

/// The parameter of ours that says since when the user has to have logged in. It is no secret and no proof: the app sees in the
/// ID token when it was (`auth_time`).
const SINCE: &str = "latchkey_since";

/// Takes an authorization request as far as it goes.
pub async fn authorize(
    accounts: &Accounts,
    params: &Params,
    (issuer, there): (&str, Option<(&User, &Session)>),
    (decision, client): (Option<Decision>, &Client),
    now: OffsetDateTime,
) -> Result<Step> {
    let Some(asked) = pushed::resolve(accounts.db.read(), params, now).await? else {
        return Ok(Step::Stranger(Stranger::Pushed));
    };
    let request = match request::read(accounts.db.read(), &asked).await? {
        Read::Valid(request) => request,
        Read::Stranger(stranger) => return Ok(Step::Stranger(stranger)),
        Read::Refused(answer, Refusal { error, description }) => {
            let parameters = [("error", error), ("error_description", description)];
            return Ok(Step::Back(answer.with(issuer, &parameters)));
        }
    };
    let refuse = |error: &str| Ok(Step::Back(request.answer().with(issuer, &[("error", error)])));
    let log_in = |again: Option<String>| {
        let app = Box::new(request.app.clone());
        if request.prompt.none { refuse("login_required") } else { Ok(Step::LogIn { app, again }) }
    };
    let Some((user, session)) = there else { return log_in(None) };
    let meant = meant(accounts, &request, issuer, now).await?;
    let is_other = meant != Meant::Anybody && meant != Meant::User(user.id);
    if let Some(again) = again(&request, params, (session, is_other), now) {
        return log_in(Some(again));
    }
    if is_other && meant != Meant::Unknown {
        return refuse("login_required");
    }
    let granted = grant::scopes(accounts.db.read(), user.id, request.app.id).await?;
    // Any program on the user's machine can take the scheme or the port of a public app, and nobody sees which one asks. So an
    // answer is given to it only when the user says so now (RFC 8252, 8.6).
    let is_unsure = request.app.public && !request.redirect_uri.starts_with("https:");
    let asks = is_unsure || !request.app.trusted && (request.prompt.consent || !granted.cover(&request.scopes));
    match decision {
        Some(Decision::Deny) => return refuse("access_denied"),
        None if asks && request.prompt.none => return refuse("consent_required"),
        None if asks => return Ok(Step::Ask { request, user: user.id }),
        None | Some(Decision::Allow) => {}
    }
    let tx = accounts.db.begin().await?;
    // The user first, as everywhere. A session that has ended meanwhile opens no app.
    if user::lock(&tx, user.id).await?.is_none_or(|user| user.is_disabled())
        || !session::is_open(&tx, session.id, now).await?
    {
        return log_in(None);
    }
    // The operator may have removed it a moment ago.
    if !apps::hold(&tx, request.app.id).await? {
        return Ok(Step::Stranger(Stranger::App));
    }
    // Once more, with the user's row locked: the user may be taking the app's access away at this moment, and must not find that
    // the app has given it back to itself.
    let granted = grant::scopes(&tx, user.id, request.app.id).await?;
    if decision.is_none() && !request.app.trusted && !granted.cover(&request.scopes) {
        return if request.prompt.none { refuse("consent_required") } else { Ok(Step::Ask { request, user: user.id }) };
    }
    grant::give(&tx, (user.id, request.app.id), &request.scopes, now).await?;
    if !pushed::use_up(&tx, params).await? {
        return Ok(Step::Stranger(Stranger::Pushed));
    }
    let code = authorization::begin(&tx, session, &request, now).await?;
    if !granted.cover(&request.scopes) {
        event::record(&tx, EventKind::AppAllowed, Some(user.id), &Asked::new(client, now)).await?;
    }
    tx.commit().await?;
    Ok(Step::Back(request.answer().with(issuer, &[("code", &code.reveal())])))
}

/// The user whom an app means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meant {
    /// It has not said so.
    Anybody,
    /// The one of its ID token (`id_token_hint`).
    User(Uuid),
    /// It shows what is no ID token of its own, or one whose key is gone. So it may mean the user who is there or not, and only a
    /// log-in can tell.
    Unknown,
}

async fn meant(accounts: &Accounts, request: &Request, issuer: &str, now: OffsetDateTime) -> Result<Meant> {
    let Some(token) = &request.id_token_hint else { return Ok(Meant::Anybody) };
    // By the ID token of another app, an app could find out who is there without having been let in.
    let hint = signed_token::hint(accounts, token, issuer, now).await?.filter(|hint| hint.aud == request.app.id);
    Ok(hint.map_or(Meant::Unknown, |hint| Meant::User(hint.sub)))
}

/// Returns the request with the time from which on a log-in counts, if the user has to log in again first: also if the app means
/// another one (`is_other`).
fn again(
    request: &Request,
    params: &Params,
    (session, is_other): (&Session, bool),
    now: OffsetDateTime,
) -> Option<String> {
    let since = params.get(SINCE).and_then(|since| since.parse().ok());
    let since = since.and_then(|since| OffsetDateTime::from_unix_timestamp(since).ok());
    // The log-in may have been at another node, whose clock is a moment behind: no user should log in again and again.
    if since.is_some_and(|since| session.authenticated_at + APART * 2 >= since) {
        return None;
    }
    let is_old = request.max_age.is_some_and(|most| now - session.authenticated_at > most);
    (request.prompt.login || is_old || is_other)
        .then(|| params.with(&[], &[(SINCE, &now.unix_timestamp().to_string())]))
}
