//! `pushed_requests`: requests that apps have sent to us themselves, before their users come (RFC 9126). Nobody on the way
//! through the browser reads or changes them.

use std::borrow::Cow;

use sea_orm::Set;
use sea_orm::entity::prelude::*;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::request::{self, Params, Read, Refusal, Stranger};
use crate::accounts::apps::Application;
use crate::accounts::limit::clients::{Action, Source};
use crate::accounts::token::{Token, TokenDigest};
use crate::accounts::{Accounts, Result};
use crate::chance;
use crate::db::delete_in_batches;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "pushed_requests")]
#[expect(missing_docs, reason = "the columns are described in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub app_id: Uuid,
    pub uri_digest: TokenDigest,
    pub parameters: String,
    pub expires_at: OffsetDateTime,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
#[expect(missing_docs, reason = "generated")]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// How long a pushed request works: long enough to log in, and to reset a password first.
pub const LIVES: Duration = Duration::minutes(10);
/// The longest request, in bytes as a query.
const LONGEST: usize = 4096;
/// What the address of a pushed request begins with (RFC 9126, 2.2).
const URN: &str = "urn:ietf:params:oauth:request_uri:";

/// Keeps a request of this app, and returns the address by which its user's browser names it. Only a request that could be answered
/// is kept.
///
/// # Errors
/// [`Fault::TooMany`](crate::accounts::Fault::TooMany) when the app has sent too many.
pub async fn push(
    Accounts { db, limits, .. }: &Accounts,
    app: &Application,
    params: &Params,
    now: OffsetDateTime,
) -> Result<Result<String, Refusal>> {
    limits.clients.take(Action::Push, Source { ip: None, via: Some(app.id) }, now)?;
    let refuse = |description| Ok(Err(Refusal { error: "invalid_request", description }));
    if params.get("request_uri").is_some() {
        return refuse("a pushed request has no request_uri"); // RFC 9126, 2.1
    }
    if params.client_id().is_some_and(|id| id != app.id) {
        return refuse("client_id is another one than the app that sends the request");
    }
    // What the app shows of itself is for this server only.
    let own = params
        .with(&["client_secret", "client_assertion", "client_assertion_type"], &[("client_id", &app.id.to_string())]);
    if own.len() > LONGEST {
        return refuse("the request is longer than 4096 characters");
    }
    match request::read(db.read(), &Params::parse(&own)).await? {
        Read::Valid(_) => {}
        Read::Refused(_, refusal) => return Ok(Err(refusal)),
        Read::Stranger(Stranger::RedirectUri) => return refuse("redirect_uri is not registered"),
        Read::Stranger(Stranger::App | Stranger::Pushed) => return refuse("there is no such app"),
    }
    let name = Token::random();
    let row = ActiveModel {
        id: Set(chance::id()),
        app_id: Set(app.id),
        uri_digest: Set(name.digest()),
        parameters: Set(own),
        expires_at: Set(now + LIVES),
    };
    Entity::insert(row).exec_without_returning(db.write()).await?;
    Ok(Ok(format!("{URN}{}", *name.reveal())))
}

/// Returns the parameters of a request: its own, or those that were pushed before. `None` if these are gone, or are another app's.
pub async fn resolve<'a>(
    conn: &impl ConnectionTrait,
    params: &'a Params,
    now: OffsetDateTime,
) -> Result<Option<Cow<'a, Params>>> {
    let Some(digest) = digest(params) else { return Ok(Some(Cow::Borrowed(params))) };
    let found = Entity::find().filter(Column::UriDigest.eq(digest)).filter(Column::ExpiresAt.gt(now)).one(conn).await?;
    let of_app = found.filter(|row| params.client_id() == Some(row.app_id));
    Ok(of_app.map(|row| Cow::Owned(Params::parse(&row.parameters))))
}

/// Deletes the pushed request, if it is one, with the code that it got: it works once (RFC 9126, 7.3). Returns `false` if another
/// browser has used it meanwhile.
pub(super) async fn use_up(conn: &impl ConnectionTrait, params: &Params) -> Result<bool> {
    let Some(digest) = digest(params) else { return Ok(true) };
    Ok(Entity::delete_many().filter(Column::UriDigest.eq(digest)).exec(conn).await?.rows_affected == 1)
}

fn digest(params: &Params) -> Option<TokenDigest> {
    // What is ours and cannot be read is looked up as well, and not found.
    let name = params.get("request_uri")?.strip_prefix(URN)?;
    Some(Token::parse(name).unwrap_or_else(Token::random).digest())
}

/// Deletes the requests that have expired. Returns how many.
pub async fn sweep(conn: &impl ConnectionTrait, now: OffsetDateTime) -> Result<u64> {
    Ok(delete_in_batches::<Entity>(conn, Column::ExpiresAt.lte(now)).await?)
}
