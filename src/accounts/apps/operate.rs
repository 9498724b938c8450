//! What an operator does with apps, by a command on the server.

use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, Set, SqlErr};
use time::OffsetDateTime;

use super::host::AppHost;
use super::key_set::KeySet;
use super::redirect_uri::{BackchannelUri, RedirectUri};
use super::{ActiveModel, AppHosts, AppName, Application, Column, Entity, RedirectUris};
use crate::accounts::event::{self, EventKind};
use crate::accounts::signing_key::SigningAlgorithm;
use crate::accounts::token::{Token, TokenDigest};
use crate::accounts::{Asked, Result};
use crate::chance;
use crate::db::{Db, Transaction};

/// An app that the operator registers.
#[derive(Clone, Debug)]
pub struct NewApp {
    /// What users call it.
    pub name: AppName,
    /// Where codes may go.
    pub redirect_uris: Vec<RedirectUri>,
    /// Where a browser may go after a log-out.
    pub logout_uris: Vec<RedirectUri>,
    /// Where a proxy asks for it who is there.
    pub hosts: Vec<AppHost>,
    /// Whether it has no secret, because it runs in a browser or on a phone, where everybody could read it.
    pub public: bool,
    /// Whether users are not asked for their consent.
    pub trusted: bool,
    /// Whether it has to show that a code was made for it (RFC 7636). Only a confidential app may do without.
    pub pkce: bool,
    /// How its tokens are signed.
    pub algorithm: SigningAlgorithm,
    /// Where it is told of log-outs.
    pub backchannel_uri: Option<BackchannelUri>,
    /// Whether the host of that address may be on a private network.
    pub backchannel_private: bool,
    /// The keys with which it signs who it is. Then it gets no secret.
    pub key_set: Option<KeySet>,
}

/// What the operator changes of an app. `None` leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Another name.
    pub name: Option<AppName>,
    /// These addresses in place of all before.
    pub redirect_uris: Option<Vec<RedirectUri>>,
    /// These addresses in place of all before.
    pub logout_uris: Option<Vec<RedirectUri>>,
    /// These hosts in place of all before.
    pub hosts: Option<Vec<AppHost>>,
    /// Whether users are asked for their consent.
    pub trusted: Option<bool>,
    /// Whether it has to use PKCE.
    pub pkce: Option<bool>,
    /// How its tokens are signed.
    pub algorithm: Option<SigningAlgorithm>,
    /// Another address where it is told of log-outs, or none any more.
    pub backchannel_uri: Option<Option<BackchannelUri>>,
    /// Whether the host of that address may be on a private network.
    pub backchannel_private: Option<bool>,
    /// These keys in place of all before, or none.
    pub key_set: Option<Option<KeySet>>,
    /// Whether its secrets stop working.
    pub no_secret: bool,
}

/// What belongs to another app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The name.
    Name,
    /// A host of the app with this name.
    Host(AppHost, String),
}

/// Registers an app. Returns it with its secret, which nobody can read again.
pub async fn add(db: &Db, new: NewApp, now: OffsetDateTime) -> Result<Result<(Application, Option<Token>), Taken>> {
    let secret = (!new.public && new.key_set.is_none()).then(Token::random);
    let app = Application {
        id: chance::id(),
        name_canonical: new.name.canonical(),
        name: new.name.0,
        redirect_uris: RedirectUris(new.redirect_uris),
        logout_uris: RedirectUris(new.logout_uris),
        public: new.public,
        trusted: new.trusted,
        pkce: new.pkce || new.public,
        algorithm: new.algorithm,
        secret_digest: secret.as_ref().map(Token::digest),
        old_secret_digest: None,
        created_at: now,
        backchannel_uri: new.backchannel_uri.map(|uri| uri.as_str().to_owned()),
        backchannel_private: new.backchannel_private,
        hosts: Some(AppHosts(new.hosts)),
        key_set: new.key_set,
    };
    let tx = db.begin().await?;
    if let Some(taken) = taken_host(&tx, &app).await? {
        return Ok(Err(taken));
    }
    let row = app.clone().into_active_model().reset_all();
    if is_taken(Entity::insert(row).exec_without_returning(&tx).await)? {
        return Ok(Err(Taken::Name));
    }
    end(tx, EventKind::AppAdded, now).await?;
    Ok(Ok((app, secret)))
}

/// Changes an app. Returns `None` if it was removed meanwhile.
pub async fn edit(
    db: &Db,
    app: &Application,
    changes: Changes,
    now: OffsetDateTime,
) -> Result<Result<Option<Application>, Taken>> {
    let tx = db.begin().await?;
    let mut row = ActiveModel { id: Set(app.id), ..Default::default() };
    if let Some(name) = changes.name {
        row.name_canonical = Set(name.canonical());
        row.name = Set(name.0);
    }
    if let Some(uris) = changes.redirect_uris {
        row.redirect_uris = Set(RedirectUris(uris));
    }
    if let Some(uris) = changes.logout_uris {
        row.logout_uris = Set(RedirectUris(uris));
    }
    if let Some(hosts) = changes.hosts {
        row.hosts = Set(Some(AppHosts(hosts)));
    }
    if let Some(trusted) = changes.trusted {
        row.trusted = Set(trusted);
    }
    if let Some(pkce) = changes.pkce {
        row.pkce = Set(pkce || app.public);
    }
    if let Some(algorithm) = changes.algorithm {
        row.algorithm = Set(algorithm);
    }
    if let Some(uri) = changes.backchannel_uri {
        row.backchannel_uri = Set(uri.map(|uri| uri.as_str().to_owned()));
    }
    if let Some(private) = changes.backchannel_private {
        row.backchannel_private = Set(private);
    }
    if let Some(keys) = changes.key_set {
        row.key_set = Set(keys);
    }
    if changes.no_secret {
        (row.secret_digest, row.old_secret_digest) = (Set(None), Set(None));
    }
    if is_taken(Entity::update_many().set(row).filter(Column::Id.eq(app.id)).exec(&tx).await)? {
        return Ok(Err(Taken::Name));
    }
    let Some(app) = super::by_id(&tx, app.id).await? else { return Ok(Ok(None)) };
    // Another command has taken the other one away at this moment.
    if !app.public && app.secret_digest.is_none() && app.key_set.is_none() {
        return Ok(Ok(None));
    }
    if let Some(taken) = taken_host(&tx, &app).await? {
        return Ok(Err(taken));
    }
    end(tx, EventKind::AppChanged, now).await?;
    Ok(Ok(Some(app)))
}

/// Gives a confidential app another secret. The one before works too, until [`drop_old_secret`]; the one before that does not.
/// Returns `None` if the app was removed meanwhile.
pub async fn make_secret(db: &Db, app: &Application, now: OffsetDateTime) -> Result<Option<Token>> {
    let secret = Token::random();
    let digests = (Some(secret.digest()), app.secret_digest.clone());
    Ok(set_secrets(db, app, digests, now).await?.then_some(secret))
}

/// Makes the secret before the newest one stop working. Returns `false` if there is none.
pub async fn drop_old_secret(db: &Db, app: &Application, now: OffsetDateTime) -> Result<bool> {
    if app.old_secret_digest.is_none() {
        return Ok(false);
    }
    set_secrets(db, app, (app.secret_digest.clone(), None), now).await
}

async fn set_secrets(
    db: &Db,
    app: &Application,
    (new, old): (Option<TokenDigest>, Option<TokenDigest>),
    now: OffsetDateTime,
) -> Result<bool> {
    let tx = db.begin().await?;
    let row = ActiveModel { secret_digest: Set(new), old_secret_digest: Set(old), ..Default::default() };
    // Two commands at once must not both believe that their secret is the newest.
    let unchanged = Column::SecretDigest.eq(app.secret_digest.clone());
    let update = Entity::update_many().set(row).filter(Column::Id.eq(app.id)).filter(unchanged);
    let done = update.exec(&tx).await?.rows_affected == 1;
    if done {
        end(tx, EventKind::AppSecretChanged, now).await?;
    }
    Ok(done)
}

/// Removes an app of which no user has let anything see. Returns `false` if it was removed already.
pub(in crate::accounts) async fn remove(db: &Db, app: &Application, now: OffsetDateTime) -> Result<bool> {
    let tx = db.begin().await?;
    let removed = Entity::delete_by_id(app.id).exec(&tx).await?.rows_affected == 1;
    if removed {
        end(tx, EventKind::AppRemoved, now).await?;
    }
    Ok(removed)
}

async fn end(tx: Transaction, kind: EventKind, now: OffsetDateTime) -> Result<()> {
    event::record(&tx, kind, None, &Asked::of_a_command(now)).await?;
    Ok(tx.commit().await?)
}

/// Returns a host of this app that belongs to another one too.
async fn taken_host(tx: &Transaction, app: &Application) -> Result<Option<Taken>> {
    let others = super::all(tx).await?;
    let both = others.iter().filter(|other| other.id != app.id).find_map(|other| {
        let host = other.hosts().iter().find(|host| app.hosts().contains(host))?;
        Some(Taken::Host(host.clone(), other.name.clone()))
    });
    Ok(both)
}

/// Returns whether a statement failed because the name belongs to another app.
fn is_taken<T>(done: Result<T, sea_orm::DbErr>) -> Result<bool> {
    match done {
        Ok(_) => Ok(false),
        Err(error) if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) => Ok(true),
        Err(error) => Err(error.into()),
    }
}
