//! By what an app shows who it is, and strangers who try what apps have.
//!
//! A secret has 256 bits, so guesses are hopeless: this is about the load. Failures are counted by the address of the client.
//! What is right is never counted, because one server asks for thousands of users. So it goes on also while strangers fail, at
//! whichever address: many servers of a provider have the same one.

use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::accounts::apps::lately::Lately;
use crate::accounts::apps::{self, Application};
use crate::accounts::limit::clients::Action;
use crate::accounts::{Accounts, Client, Result, assertion};

/// By what an app shows who it is.
pub enum Proof {
    /// By nothing: it has only named itself.
    Nothing,
    /// By its secret.
    Secret(Zeroizing<String>),
    /// By a token that it has signed (RFC 7523).
    Assertion(String),
}

/// Why an app has not shown who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproven {
    /// No app has this name, or this secret.
    Unknown,
    /// The assertion does not show it, for this reason.
    Assertion(&'static str),
}

/// Returns the app that a client names, if the client shows that it is this app. A public app has only its name.
/// `issuer` is this site, for which an assertion has to be.
///
/// Once the failures of the client are used up, the app is at first the one in memory. So a flood costs no statements, and the app
/// that has the same address gets in all the same.
pub async fn identify(
    accounts: &Accounts,
    lately: &Lately,
    (id, proof): (&str, &Proof),
    (client, issuer): (&Client, &str),
    now: OffsetDateTime,
) -> Result<Result<Application, Unproven>> {
    let Ok(id) = id.parse() else { return Ok(Err(Unproven::Unknown)) };
    let in_memory = accounts.limits.clients.look(Action::Secret, client, now).is_err();
    let named = if in_memory { lately.by_id(id).await? } else { apps::by_id(accounts.db.read(), id).await? };
    let Some(app) = named else { return Ok(Err(Unproven::Unknown)) };
    let proven = match proof {
        Proof::Assertion(jwt) => {
            let accepted = assertion::accept(&accounts.db, &app, jwt, issuer, now).await?;
            accepted.map(|()| app).map_err(Unproven::Assertion)
        }
        Proof::Secret(secret) if app.has_secret(secret) => Ok(app),
        Proof::Nothing if app.public => Ok(app),
        Proof::Secret(_) | Proof::Nothing => Err(Unproven::Unknown),
    };
    match proven {
        // The operator may have taken it away within the second for which it is in memory.
        Ok(app) if in_memory => {
            let now_it_is = apps::by_id(accounts.db.read(), id).await?;
            Ok(if now_it_is.as_ref() == Some(&app) { Ok(app) } else { Err(Unproven::Unknown) })
        }
        proven => Ok(proven),
    }
}

/// Counts what a client has shown that is not right.
///
/// # Errors
/// [`Fault::TooMany`](crate::accounts::Fault::TooMany) if its failures were used up.
pub async fn failed(accounts: &Accounts, client: &Client, now: OffsetDateTime) -> Result<()> {
    accounts.admit(Action::Secret, client, now).await
}
