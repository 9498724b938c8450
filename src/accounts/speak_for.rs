//! An app collects the passwords of many people, and says whose address it speaks for.

use std::net::IpAddr;

use time::OffsetDateTime;
use tracing::Span;

use crate::accounts::apps;
use crate::accounts::limit::clients::Action;
use crate::accounts::{Accounts, Client, Result};

/// Returns the person for whom an app speaks, as a client with this address, or `None` if no app has this secret. `server` is
/// the client that has sent the request.
///
/// The address is as true as the app is honest. So it counts for this app only: see [`Client::via`].
///
/// # Errors
/// [`Fault::TooMany`](super::Fault::TooMany) if the secret was not looked at.
pub async fn speak_for(
    accounts: &Accounts,
    (id, secret): (&str, &str),
    (server, person): (&Client, IpAddr),
    now: OffsetDateTime,
) -> Result<Option<Client>> {
    // Taken before the look-up, so that a flood of wrong secrets costs no statements.
    accounts.admit(Action::Secret, server, now).await?;
    let Ok(id) = id.parse() else { return Ok(None) };
    let app = apps::by_id(accounts.db.read(), id).await?;
    let Some(app) = app.filter(|app| app.has_secret(secret)) else { return Ok(None) };
    accounts.limits.clients.give_back(Action::Secret, server);
    // Each line about this request has the address of the person, which is the app's word. So it names the app too.
    let span = Span::current();
    span.record("app", &app.name).record("peer", server.ip.map(tracing::field::display));
    Ok(Some(Client { ip: Some(person.to_canonical()), via: Some(app.id), ..server.clone() }))
}
