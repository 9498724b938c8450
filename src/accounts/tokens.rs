//! What an app gets for a code, and what its tokens open (OpenID Connect Core, 3.1.3 and 5.3; RFC 9068).
//!
//! All tokens of one code hang on its row in `authorizations`, which ends with the session. So a log-out, a reset or “this was
//! not me” ends them at once: the row is asked each time.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Set};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};
use tracing::info;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::accounts::apps::Application;
use crate::accounts::authorize::authorization::{self, CODE_LIVES, Column, Entity};
use crate::accounts::authorize::scope::{Scope, Scopes};
use crate::accounts::session::resume::Found;
use crate::accounts::session::{Session, SessionKind};
use crate::accounts::signed_token::{self, ID_TOKEN};
use crate::accounts::token::Token;
use crate::accounts::user::User;
use crate::accounts::{Accounts, Result};
use crate::chance;
use crate::keys::Pointer;

/// How long an access token and an ID token are valid.
pub const LIVE: Duration = Duration::minutes(10);
/// How long a refresh token that was used brings the same next one.
const GRACE: Duration = Duration::seconds(60);
/// The type of an access token (RFC 9068, 2.1).
const ACCESS_TOKEN: &str = "at+jwt";
/// How a user has logged in (`acr`; OpenID Connect Core, 2): with a password and nothing else. The least that is a log-in at all is
/// `1` at other servers too, where apps write it into their settings.
pub const ACR: &str = "1";
/// How far the clocks of two nodes may differ.
const SKEW: Duration = Duration::minutes(1);

/// What an app shows to get tokens for a code.
#[derive(Clone, Copy, Debug)]
pub struct Code<'a> {
    /// The code.
    pub code: &'a str,
    /// The address that it was sent to.
    pub redirect_uri: &'a str,
    /// What the challenge of the request was made of (RFC 7636).
    pub verifier: Option<&'a str>,
}

/// The tokens of an app.
#[derive(Debug)]
pub struct Tokens {
    /// Opens what the scopes name.
    pub access_token: String,
    /// Says who logged in, when and how.
    pub id_token: Option<String>,
    /// Gets other tokens when these have expired, if the user lets the app do so.
    pub refresh_token: Option<Zeroizing<String>>,
    /// What the user lets the app see.
    pub scopes: Scopes,
}

/// The claims of an access token (RFC 9068, 2.2).
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AccessClaims {
    iss: String,
    sub: Uuid,
    pub(super) aud: Vec<String>,
    pub(super) exp: i64,
    pub(super) iat: i64,
    pub(super) jti: Uuid,
    client_id: Uuid,
    pub(super) scope: String,
    pub(super) sid: Uuid,
    auth_time: i64,
    /// The row in `authorizations`.
    pub(super) authorization: Uuid,
}

/// Gives an app the tokens for a code, once. Returns `None` if the code is not one of this app, or works no more.
///
/// A code that comes a second time was read by somebody else, and nobody knows who came first. So all that the first one got
/// ends (RFC 6749, 4.1.2).
pub async fn redeem(
    accounts: &Accounts,
    app: &Application,
    Code { code, redirect_uri, verifier }: Code<'_>,
    issuer: &str,
    now: OffsetDateTime,
) -> Result<Option<Tokens>> {
    let Some(code) = Token::parse(code) else { return Ok(None) };
    let found = Entity::find().filter(Column::CodeDigest.eq(code.digest())).one(accounts.db.read()).await?;
    // Another app that has got hold of the code learns nothing, and ends nothing.
    let Some(row) = found.filter(|row| row.app_id == app.id) else { return Ok(None) };
    if row.redirect_uri != redirect_uri || !fits(row.code_challenge.as_deref(), verifier) {
        return Ok(None);
    }
    if row.created_at + CODE_LIVES <= now {
        return Ok(None);
    }
    let used =
        authorization::ActiveModel { code_used_at: Set(Some(now)), last_used_at: Set(now), ..Default::default() };
    let unused = Entity::update_many().set(used).filter(Column::Id.eq(row.id)).filter(Column::CodeUsedAt.is_null());
    if unused.exec(accounts.db.write()).await?.rows_affected == 0 {
        Entity::delete_by_id(row.id).exec(accounts.db.write()).await?;
        return Ok(None);
    }
    let Some(Found { user, session, .. }) = there(accounts, &row, now).await? else { return Ok(None) };
    let scopes = Scopes::parse(&row.scopes);
    let number = scopes.have(Scope::OfflineAccess).then_some(0);
    Ok(Some(make(accounts, app, (&row, &user, &session), (scopes, number), issuer, now).await?))
}

/// The outcome of a refresh.
#[derive(Debug)]
pub enum Refreshed {
    /// Other tokens.
    Tokens(Box<Tokens>),
    /// The refresh token is none of this app, or works no more.
    Gone,
    /// The app asks for more than it may see.
    Scope,
}

/// Gives an app other tokens for a refresh token. Each works once, and brings the next.
///
/// An app whose answer got lost, or that refreshes from fifty threads at once, gets the same next token for [`GRACE`]. If one
/// comes later that was used before, a thief has it, or had it: all of them end (RFC 9700, 4.14.2).
pub async fn refresh(
    accounts: &Accounts,
    app: &Application,
    (token, scope): (&str, Option<&str>),
    issuer: &str,
    now: OffsetDateTime,
) -> Result<Refreshed> {
    let Some((id, number)) = accounts.refresh.read(token) else { return Ok(Refreshed::Gone) };
    let Some(mut row) = of_app(accounts.db.read(), id, app).await? else { return Ok(Refreshed::Gone) };
    let Some(Found { user, session, .. }) = there(accounts, &row, now).await? else { return Ok(Refreshed::Gone) };
    let all = Scopes::parse(&row.scopes);
    let scopes = scope.map_or_else(|| all.clone(), Scopes::parse);
    if scopes.is_empty() || !all.cover(&scopes) {
        return Ok(Refreshed::Scope);
    }
    if number == row.refreshes {
        let next =
            authorization::ActiveModel { refreshes: Set(number + 1), last_used_at: Set(now), ..Default::default() };
        let unused = Entity::update_many().set(next).filter(Column::Id.eq(id)).filter(Column::Refreshes.eq(number));
        if unused.exec(accounts.db.write()).await?.rows_affected == 1 {
            row.refreshes = number + 1;
            row.last_used_at = now;
        } else {
            // Another request was faster, a moment ago.
            let Some(newer) = of_app(accounts.db.write(), id, app).await? else { return Ok(Refreshed::Gone) };
            row = newer;
        }
    }
    if !is_used_just_now(&row, number, now) {
        info!(authorization = %id, app = app.name, "a refresh token came again, so all tokens of its authorization have ended");
        Entity::delete_by_id(id).exec(accounts.db.write()).await?;
        return Ok(Refreshed::Gone);
    }
    let next = Some(row.refreshes);
    let tokens = make(accounts, app, (&row, &user, &session), (scopes, next), issuer, now).await?;
    Ok(Refreshed::Tokens(Box::new(tokens)))
}

/// Returns whether a refresh token with this number brings other tokens.
pub(super) fn is_usable(row: &authorization::Model, number: i32, now: OffsetDateTime) -> bool {
    number == row.refreshes || is_used_just_now(row, number, now)
}

/// Returns whether a refresh token with this number is the one that was used last, and not long ago.
fn is_used_just_now(row: &authorization::Model, number: i32, now: OffsetDateTime) -> bool {
    number + 1 == row.refreshes && now - row.last_used_at <= GRACE
}

/// Returns an authorization of this app. Another app that has got hold of a token learns nothing, and ends nothing.
pub(super) async fn of_app(
    conn: &impl ConnectionTrait,
    id: Uuid,
    app: &Application,
) -> Result<Option<authorization::Model>> {
    Ok(Entity::find_by_id(id).one(conn).await?.filter(|row| row.app_id == app.id && row.code_used_at.is_some()))
}

/// Returns whether the verifier is what the challenge was made of (RFC 7636, 4.6). A verifier without a challenge is refused
/// too: an attacker may have taken the challenge out of the request (PKCE downgrade; RFC 9700, 4.8.2).
fn fits(challenge: Option<&str>, verifier: Option<&str>) -> bool {
    match (challenge, verifier) {
        (None, None) => true,
        (Some(challenge), Some(verifier)) => {
            let length = (43..=128).contains(&verifier.len());
            length && URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)) == challenge
        }
        _ => false,
    }
}

/// Returns the user and the session of an authorization, unless they have ended.
pub(super) async fn there(
    accounts: &Accounts,
    row: &authorization::Model,
    now: OffsetDateTime,
) -> Result<Option<Found>> {
    let pointer = Pointer { user: row.user_id, session: row.session_id };
    let found = accounts.sessions.find(SessionKind::Browser, pointer, now).await?;
    Ok(found.filter(|found| !found.user.is_disabled()))
}

async fn make(
    accounts: &Accounts,
    app: &Application,
    (row, user, session): (&authorization::Model, &User, &Session),
    (scopes, refresh): (Scopes, Option<i32>),
    issuer: &str,
    now: OffsetDateTime,
) -> Result<Tokens> {
    let key = accounts.signing.signer(app.algorithm, now).await?;
    let (iat, exp) = (now.unix_timestamp(), (now + LIVE).unix_timestamp());
    let auth_time = row.authenticated_at.unwrap_or(session.authenticated_at).unix_timestamp();
    let claims = AccessClaims {
        iss: issuer.to_owned(),
        sub: user.id,
        // One app must not use a token at another (RFC 9068, 4).
        aud: vec![app.id.to_string(), issuer.to_owned()],
        exp,
        iat,
        jti: chance::id(),
        client_id: app.id,
        scope: scopes.to_string(),
        sid: row.sid(),
        auth_time,
        authorization: row.id,
    };
    let access_token = key.sign(ACCESS_TOKEN, &claims)?;
    let id_token = if scopes.have(Scope::OpenId) {
        let mut claims = about(user, &scopes);
        // The left half of the digest that the signature uses (OpenID Connect Core, 3.1.3.6); SHA-512 with Ed25519.
        let half = key.half_digest(access_token.as_bytes());
        let more = json!({
            "iss": issuer, "aud": app.id, "exp": exp, "iat": iat, "auth_time": auth_time, "sid": row.sid(),
            "acr": ACR, "amr": ["pwd"], "at_hash": URL_SAFE_NO_PAD.encode(half),
        });
        claims.extend(more.as_object().cloned().unwrap_or_default());
        if let Some(nonce) = &row.nonce {
            claims.insert("nonce".into(), nonce.as_str().into());
        }
        Some(key.sign(ID_TOKEN, &claims)?)
    } else {
        None
    };
    let refresh_token = refresh.map(|number| accounts.refresh.make(row.id, number));
    Ok(Tokens { access_token, id_token, refresh_token, scopes })
}

/// Returns what an app with these scopes sees of a user (OpenID Connect Core, 5.1 and 5.4).
fn about(user: &User, scopes: &Scopes) -> Map<String, Value> {
    let mut claims = Map::new();
    claims.insert("sub".into(), user.id.to_string().into());
    if scopes.have(Scope::Profile) {
        claims.insert("preferred_username".into(), user.username.as_str().into());
        let name = if user.full_name.is_empty() { &user.username } else { &user.full_name };
        claims.insert("name".into(), name.as_str().into());
        claims.insert("updated_at".into(), user.updated_at.unix_timestamp().into());
        if let Some(locale) = user.locale() {
            claims.insert("locale".into(), locale.tag().into());
        }
    }
    if scopes.have(Scope::Email) {
        claims.insert("email".into(), user.email.as_str().into());
        // An address is in an account only once its owner has opened a link that was sent there, or the operator vouches.
        claims.insert("email_verified".into(), user.email_is_proven().into());
    }
    claims
}

/// Why an access token opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAccess {
    /// It is none, or has ended.
    Token,
    /// It has no `openid`.
    Scope,
}

/// Returns what the app with this access token may see.
pub async fn userinfo(
    accounts: &Accounts,
    token: &str,
    issuer: &str,
    now: OffsetDateTime,
) -> Result<Result<Map<String, Value>, NoAccess>> {
    let Some(claims) = verify(accounts, token, issuer, now).await? else { return Ok(Err(NoAccess::Token)) };
    let row = Entity::find_by_id(claims.authorization).one(accounts.db.read()).await?;
    let Some(row) = row.filter(|row| row.app_id == claims.client_id && row.user_id == claims.sub) else {
        return Ok(Err(NoAccess::Token));
    };
    let Some(Found { user, .. }) = there(accounts, &row, now).await? else { return Ok(Err(NoAccess::Token)) };
    let scopes = Scopes::parse(&claims.scope);
    Ok(if scopes.have(Scope::OpenId) { Ok(about(&user, &scopes)) } else { Err(NoAccess::Scope) })
}

/// Returns the claims of an access token, if we signed it and it is valid.
pub(super) async fn verify(
    accounts: &Accounts,
    token: &str,
    issuer: &str,
    now: OffsetDateTime,
) -> Result<Option<AccessClaims>> {
    let claims = signed_token::read::<AccessClaims>(accounts, ACCESS_TOKEN, token, issuer, now).await?;
    Ok(claims.filter(|claims| {
        let is_ours = claims.aud.iter().any(|aud| aud == issuer);
        is_ours && claims.exp > now.unix_timestamp() && claims.iat <= (now + SKEW).unix_timestamp()
    }))
}
