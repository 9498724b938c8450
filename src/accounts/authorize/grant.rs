//! `grants`: what users let apps see. It is remembered, so that nobody is asked twice.

use sea_orm::Set;
use sea_orm::entity::prelude::*;
use time::OffsetDateTime;
use uuid::Uuid;

use super::scope::Scopes;
use crate::accounts::Result;
use crate::chance;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "grants")]
#[expect(missing_docs, reason = "the columns are described in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub user_id: Uuid,
    pub app_id: Uuid,
    pub scopes: String,
    pub created_at: OffsetDateTime,
    pub last_used_at: OffsetDateTime,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
#[expect(missing_docs, reason = "generated")]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Returns the scopes that the user lets the app see.
pub(super) async fn scopes(conn: &impl ConnectionTrait, user: Uuid, app: Uuid) -> Result<Scopes> {
    Ok(find(conn, user, app).await?.map(|grant| Scopes::parse(&grant.scopes)).unwrap_or_default())
}

async fn find(conn: &impl ConnectionTrait, user: Uuid, app: Uuid) -> Result<Option<Model>> {
    Ok(Entity::find().filter(Column::UserId.eq(user)).filter(Column::AppId.eq(app)).one(conn).await?)
}

/// Ends what the user lets the app see. Returns whether there was anything.
pub(in crate::accounts) async fn end(conn: &impl ConnectionTrait, (user, app): (Uuid, Uuid)) -> Result<bool> {
    let ended = Entity::delete_many().filter(Column::UserId.eq(user)).filter(Column::AppId.eq(app));
    Ok(ended.exec(conn).await?.rows_affected > 0)
}

/// Lets the app see these scopes, with what it may see already. The user's row is locked.
pub(super) async fn give(
    conn: &impl ConnectionTrait,
    (user, app): (Uuid, Uuid),
    scopes: &Scopes,
    now: OffsetDateTime,
) -> Result<()> {
    if let Some(before) = find(conn, user, app).await? {
        let both = Scopes::parse(&before.scopes).and(scopes).to_string();
        let row = ActiveModel { scopes: Set(both), last_used_at: Set(now), ..Default::default() };
        Entity::update_many().set(row).filter(Column::Id.eq(before.id)).exec(conn).await?;
        return Ok(());
    }
    let row = ActiveModel {
        id: Set(chance::id()),
        user_id: Set(user),
        app_id: Set(app),
        scopes: Set(scopes.to_string()),
        created_at: Set(now),
        last_used_at: Set(now),
    };
    Entity::insert(row).exec_without_returning(conn).await?;
    Ok(())
}
