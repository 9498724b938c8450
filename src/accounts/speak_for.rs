//! An app collects the passwords of many people, and says whose address it speaks for.

use std::net::IpAddr;

use time::OffsetDateTime;
use tracing::Span;

use crate::accounts::app_proof::{self, Proof};
use crate::accounts::apps::lately::Lately;
use crate::accounts::{Accounts, Client, Result};

/// Returns the person for whom an app speaks, as a client with this address, or `None` if it has not shown
/// that it is an app. `server` is the client that has sent the request.
///
/// The address is as true as the app is honest. So it counts for this app only: see [`Client::via`].
///
/// # Errors
/// [`Fault::TooMany`](super::Fault::TooMany) if what it shows is wrong, as much before it was.
pub async fn speak_for(
    accounts: &Accounts,
    lately: &Lately,
    shown: (&str, &Proof),
    (server, person): (&Client, IpAddr),
    issuer: &str,
    now: OffsetDateTime,
) -> Result<Option<Client>> {
    let found = app_proof::identify(accounts, lately, shown, (server, issuer), now).await?;
    // A public app shows nothing that anybody else could not show.
    let Some(app) = found.ok().filter(|app| !app.public) else {
        app_proof::failed(accounts, server, now).await?;
        return Ok(None);
    };
    // Each line about this request has the address of the person, which is the app's word. So it names the app too.
    let span = Span::current();
    span.record("app", &app.name).record("peer", server.ip.map(tracing::field::display));
    Ok(Some(Client { ip: Some(person.to_canonical()), via: Some(app.id), ..server.clone() }))
}
