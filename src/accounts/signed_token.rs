//! A token that we have signed for an app comes back (RFC 8725).

use jsonwebtoken::Validation;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::{Accounts, Result};

/// The type of an ID token. Every other token that the same keys sign has another one, so none is taken for an ID token (RFC 8725,
/// 3.11).
pub(super) const ID_TOKEN: &str = "JWT";

/// What an ID token says of the session that it was made in.
#[derive(Debug, Deserialize)]
pub(super) struct Hint {
    /// The user.
    pub(super) sub: Uuid,
    /// The app.
    pub(super) aud: Uuid,
    /// The session, as the app knows it.
    pub(super) sid: Uuid,
}

/// Returns what an ID token of ours says, also once it has expired.
pub(super) async fn hint(accounts: &Accounts, token: &str, issuer: &str, now: OffsetDateTime) -> Result<Option<Hint>> {
    read(accounts, ID_TOKEN, token, issuer, now).await
}

/// Returns the claims of a token of this type, if we signed it. The algorithm is the key's, and never the token's (RFC 8725, 3.1).
/// Times and audience are the caller's to look at.
pub(super) async fn read<C: DeserializeOwned>(
    accounts: &Accounts,
    typ: &str,
    token: &str,
    issuer: &str,
    now: OffsetDateTime,
) -> Result<Option<C>> {
    let Ok(header) = jsonwebtoken::decode_header(token) else { return Ok(None) };
    let Some(kid) = header.kid.filter(|_| header.typ.as_deref() == Some(typ)) else { return Ok(None) };
    let Some((algorithm, key)) = accounts.signing.verifier(&kid, now).await? else { return Ok(None) };
    let mut rules = Validation::new(algorithm);
    rules.set_required_spec_claims(&["iss"]);
    rules.set_issuer(&[issuer]);
    rules.validate_aud = false;
    rules.validate_exp = false; // compared with our clock, if at all
    Ok(jsonwebtoken::decode::<C>(token, &key, &rules).ok().map(|token| token.claims))
}
