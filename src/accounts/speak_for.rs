//! An app collects the passwords of many people, and says whose address it speaks for.

use std::net::IpAddr;

use time::OffsetDateTime;
use tracing::Span;

use crate::accounts::apps::lately::Lately;
use crate::accounts::{Accounts, Client, Result, app_secret};

/// Returns the person for whom an app speaks, as a client with this address, or `None` if no app has this secret. `server` is
/// the client that has sent the request.
///
/// The address is as true as the app is honest. So it counts for this app only: see [`Client::via`].
///
/// # Errors
/// [`Fault::TooMany`](super::Fault::TooMany) if the secret is wrong, as many before it were.
pub async fn speak_for(
    accounts: &Accounts,
    lately: &Lately,
    (id, secret): (&str, &str),
    (server, person): (&Client, IpAddr),
    now: OffsetDateTime,
) -> Result<Option<Client>> {
    let named = match id.parse() {
        Ok(id) => app_secret::named(accounts, lately, id, server, now).await?,
        Err(_) => None,
    };
    let Some(app) = named.filter(|app| app.has_secret(secret)) else {
        app_secret::failed(accounts, server, now).await?;
        return Ok(None);
    };
    // Each line about this request has the address of the person, which is the app's word. So it names the app too.
    let span = Span::current();
    span.record("app", &app.name).record("peer", server.ip.map(tracing::field::display));
    Ok(Some(Client { ip: Some(person.to_canonical()), via: Some(app.id), ..server.clone() }))
}
