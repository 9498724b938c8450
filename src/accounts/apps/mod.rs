//! `apps`: the applications that the operator has registered, and that ask Latchkey who is there.
//!
//! OAuth calls an app a client (RFC 6749, 1.1). Here a client is whoever sends a request.

pub mod host;
pub mod key_set;
pub mod lately;
pub mod operate;
pub mod redirect_uri;

use std::str::FromStr;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::LockType;
use sea_orm::{FromJsonQueryResult, QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::Result;
use crate::accounts::signing_key::SigningAlgorithm;
use crate::accounts::token::{Token, TokenDigest};
use crate::db::Transaction;
use host::AppHost;
use key_set::KeySet;
use redirect_uri::RedirectUri;

/// A registered app. It is not called `App`, which is the shared state of the server.
pub type Application = Model;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "apps")]
#[expect(missing_docs, reason = "the columns are described in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub name: String,
    #[sea_orm(unique)]
    pub name_canonical: String,
    pub redirect_uris: RedirectUris,
    pub logout_uris: RedirectUris,
    pub public: bool,
    pub trusted: bool,
    pub pkce: bool,
    pub algorithm: SigningAlgorithm,
    pub secret_digest: Option<TokenDigest>,
    pub old_secret_digest: Option<TokenDigest>,
    pub created_at: OffsetDateTime,
    pub backchannel_uri: Option<String>,
    pub backchannel_private: bool,
    pub hosts: Option<AppHosts>,
    pub key_set: Option<KeySet>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
#[expect(missing_docs, reason = "generated")]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The addresses of an app, as JSON in one column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, FromJsonQueryResult)]
pub struct RedirectUris(pub Vec<RedirectUri>);

impl RedirectUris {
    /// Returns whether one of them is the address that an app names.
    pub fn have(&self, asked: &str) -> bool {
        self.0.iter().any(|uri| uri.is(asked))
    }
}

/// The hosts of an app, as JSON in one column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, FromJsonQueryResult)]
pub struct AppHosts(pub Vec<AppHost>);

impl Model {
    /// Returns the hosts at which a proxy asks for this app who is there.
    pub fn hosts(&self) -> &[AppHost] {
        self.hosts.as_ref().map_or(&[], |AppHosts(hosts)| hosts)
    }

    /// Returns whether this is one of the app's secrets. While the operator changes it, there are two.
    pub fn has_secret(&self, secret: &str) -> bool {
        // The digest of 32 random bytes: what an attacker could learn from the time of the comparison is the beginning of a
        // digest, which tells nothing of a secret with that digest.
        let Some(digest) = Token::parse(secret).map(|secret| Some(secret.digest())) else { return false };
        !self.public && (self.secret_digest == digest || self.old_secret_digest == digest)
    }
}

/// The name of an app, which users see: one line of 1 to 40 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppName(String);

impl AppName {
    /// Returns the name, as the operator has written it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the form in which names are compared. No two apps have the same.
    fn canonical(&self) -> String {
        self.0.to_lowercase()
    }
}

impl FromStr for AppName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const MAX: usize = 40;
        let name = text.trim();
        if name.is_empty() || name.chars().count() > MAX || name.chars().any(char::is_control) {
            return Err("must be a name of 1 to 40 characters, which users see");
        }
        Ok(Self(name.to_owned()))
    }
}

/// Returns the app with this id, which is its `client_id`.
pub async fn by_id(conn: &impl ConnectionTrait, id: Uuid) -> Result<Option<Application>> {
    Ok(Entity::find_by_id(id).one(conn).await?)
}

/// Returns whether the app is still registered, and sees to it that it stays so until the transaction ends.
pub(in crate::accounts) async fn hold(tx: &Transaction, id: Uuid) -> Result<bool> {
    Ok(Entity::find_by_id(id).lock(LockType::KeyShare).one(tx).await?.is_some())
}

/// Returns the app with this name, in any case.
pub async fn by_name(conn: &impl ConnectionTrait, name: &AppName) -> Result<Option<Application>> {
    Ok(Entity::find().filter(Column::NameCanonical.eq(name.canonical())).one(conn).await?)
}

/// Returns all apps by their names.
pub async fn all(conn: &impl ConnectionTrait) -> Result<Vec<Application>> {
    Ok(Entity::find().order_by_asc(Column::NameCanonical).all(conn).await?)
}

/// Returns the algorithms that apps have chosen.
pub async fn algorithms(conn: &impl ConnectionTrait) -> Result<Vec<SigningAlgorithm>> {
    let chosen = Entity::find().select_only().column(Column::Algorithm).distinct();
    Ok(chosen.into_tuple().all(conn).await?)
}
