//! A token that an app shows after it has got it: whether it still opens anything (RFC 7662), and how the app gives it back
//! (RFC 7009).

use sea_orm::EntityTrait;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::apps::Application;
use crate::accounts::authorize::authorization::{self, Entity};
use crate::accounts::authorize::scope::{Scope, Scopes};
use crate::accounts::session::resume::Found;
use crate::accounts::tokens::{self, AccessClaims};
use crate::accounts::{Accounts, Result};

/// A token of ours.
enum Shown {
    Access(AccessClaims),
    /// A refresh token with this number.
    Refresh(i32),
}

/// Ends the authorization that a token of this app hangs on, and with it all its tokens. So it does not matter which of them the
/// app shows, nor whether a refresh token has been used: its answer with the next one may have got lost. Any other text changes
/// nothing, and the app does not learn what it was.
pub async fn revoke(
    accounts: &Accounts,
    app: &Application,
    token: &str,
    issuer: &str,
    now: OffsetDateTime,
) -> Result<()> {
    if let Some((row, _)) = find(accounts, app, token, issuer, now).await? {
        Entity::delete_by_id(row.id).exec(accounts.db.write()).await?;
    }
    Ok(())
}

/// Says what a token of this app opens. Of all else it says only that it opens nothing: with more, an app that has got hold of
/// another app's token could use it as if it were its own.
pub async fn introspect(
    accounts: &Accounts,
    app: &Application,
    token: &str,
    issuer: &str,
    now: OffsetDateTime,
) -> Result<Map<String, Value>> {
    let nothing = || Map::from_iter([("active".to_owned(), false.into())]);
    let Some((row, shown)) = find(accounts, app, token, issuer, now).await? else { return Ok(nothing()) };
    let Some(Found { user, .. }) = tokens::there(accounts, &row, now).await? else { return Ok(nothing()) };
    let (scopes, more) = match shown {
        Shown::Access(claims) => {
            let more = json!({
                "token_type": "Bearer", "aud": claims.aud, "exp": claims.exp, "iat": claims.iat, "jti": claims.jti,
                "sid": claims.sid,
            });
            (Scopes::parse(&claims.scope), more)
        }
        Shown::Refresh(number) if tokens::is_usable(&row, number, now) => (Scopes::parse(&row.scopes), json!({})),
        Shown::Refresh(_) => return Ok(nothing()),
    };
    let said = json!({
        "active": true, "client_id": app.id, "scope": scopes.to_string(), "sub": user.id, "iss": issuer,
    });
    let mut said: Map<_, _> = [said, more].into_iter().filter_map(|part| part.as_object().cloned()).flatten().collect();
    if scopes.have(Scope::Profile) {
        said.insert("username".to_owned(), user.username.as_str().into());
    }
    Ok(said)
}

/// Returns the authorization of a token of this app.
async fn find(
    accounts: &Accounts,
    app: &Application,
    token: &str,
    issuer: &str,
    now: OffsetDateTime,
) -> Result<Option<(authorization::Model, Shown)>> {
    let (id, shown): (Uuid, _) = if let Some((id, number)) = accounts.refresh.read(token) {
        (id, Shown::Refresh(number))
    } else if let Some(claims) = tokens::verify(accounts, token, issuer, now).await? {
        (claims.authorization, Shown::Access(claims))
    } else {
        return Ok(None);
    };
    Ok(tokens::of_app(accounts.db.read(), id, app).await?.map(|row| (row, shown)))
}
