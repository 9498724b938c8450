//! The apps that see an account. Its owner looks at them, and takes their access away.

use std::collections::HashMap;

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::apps::{self, Application, operate};
use crate::accounts::authorize::scope::Scopes;
use crate::accounts::authorize::{authorization, grant};
use crate::accounts::event::{self, EventKind};
use crate::accounts::limit::clients::Action;
use crate::accounts::user::{self, User};
use crate::accounts::{Accounts, Asked, Client, Result, logout};
use crate::db::Db;

/// An app that sees an account.
#[derive(Clone, Debug)]
pub struct Access {
    /// The app.
    pub app: Application,
    /// What it sees.
    pub scopes: Scopes,
    /// Since when.
    pub since: OffsetDateTime,
    /// The last time that the user opened it, or that it refreshed its tokens.
    pub last_used_at: OffsetDateTime,
}

/// Returns the apps that see the account, the one that was used last first.
pub async fn all(conn: &impl ConnectionTrait, user: &User) -> Result<Vec<Access>> {
    let granted = grant::Entity::find().filter(grant::Column::UserId.eq(user.id)).all(conn).await?;
    if granted.is_empty() {
        return Ok(vec![]);
    }
    let of_user = authorization::Entity::find().filter(authorization::Column::UserId.eq(user.id)).select_only();
    let used = of_user.column(authorization::Column::AppId).column_as(authorization::Column::LastUsedAt.max(), "last");
    let used = used.group_by(authorization::Column::AppId).into_tuple::<(Uuid, OffsetDateTime)>().all(conn).await?;
    let used: HashMap<_, _> = used.into_iter().collect();
    let mut apps: HashMap<_, _> = apps::all(conn).await?.into_iter().map(|app| (app.id, app)).collect();
    let access = granted.into_iter().filter_map(|grant| {
        let last = used.get(&grant.app_id).copied().unwrap_or(grant.last_used_at).max(grant.last_used_at);
        Some(Access {
            app: apps.remove(&grant.app_id)?,
            scopes: Scopes::parse(&grant.scopes),
            since: grant.created_at,
            last_used_at: last,
        })
    });
    let mut access: Vec<_> = access.collect();
    access.sort_by(|one, other| (other.last_used_at, &one.app.name).cmp(&(one.last_used_at, &other.app.name)));
    Ok(access)
}

/// Takes an app's access to the account away: its tokens end, and it has to ask again. For an app that has none, nothing changes.
///
/// # Errors
/// [`Fault::TooMany`](crate::accounts::Fault::TooMany): each call writes.
pub async fn end(accounts: &Accounts, user: &User, app: Uuid, client: &Client, now: OffsetDateTime) -> Result<()> {
    accounts.admit(Action::Link, client, now).await?;
    let tx = accounts.db.begin().await?;
    user::lock(&tx, user.id).await?;
    logout::of_app(&tx, (user.id, app)).await?;
    authorization::end_of_app(&tx, (user.id, app)).await?;
    if grant::end(&tx, (user.id, app)).await? {
        event::record(&tx, EventKind::AppEnded, Some(user.id), &Asked::new(client, now)).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Removes an app, and before it all that users let it see. Returns `false` if it was removed already.
///
/// That goes one user at a time, with the user's row locked first as everywhere. A removal that deleted all of it at once, and a
/// log-out, could wait for each other.
pub async fn remove_app(db: &Db, app: &Application, now: OffsetDateTime) -> Result<bool> {
    let of_app = grant::Entity::find().select_only().column(grant::Column::UserId);
    let users = of_app.filter(grant::Column::AppId.eq(app.id)).into_tuple::<Uuid>().all(db.read()).await?;
    for user in users {
        let tx = db.begin().await?;
        user::lock(&tx, user).await?;
        authorization::end_of_app(&tx, (user, app.id)).await?;
        grant::end(&tx, (user, app.id)).await?;
        tx.commit().await?;
    }
    operate::remove(db, app, now).await
}
