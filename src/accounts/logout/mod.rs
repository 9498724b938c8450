//! `logouts`: which apps had tokens in a session that has ended. A trigger of the database writes a row for each of them, however
//! the session ends, and knows no clock of ours: a row has no time until somebody looks.

pub mod request;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, Func, OnConflict, Query};
use sea_orm::{Condition, QueryOrder, QuerySelect, QueryTrait};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::authorize::authorization;
use crate::accounts::tokens::LIVE;
use crate::accounts::{Fault, Result};
use crate::clock::APART;
use crate::db::{Db, delete_in_batches};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "logouts")]
#[expect(missing_docs, reason = "the columns are described in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub app_id: Uuid,
    pub user_id: Uuid,
    pub sid: Uuid,
    pub seen_at: Option<OffsetDateTime>,
    pub done_at: Option<OffsetDateTime>,
    pub attempts: i32,
    pub next_attempt_at: Option<OffsetDateTime>,
    pub last_error: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
#[expect(missing_docs, reason = "generated")]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Notes all that an app has got of a user, before the user takes it away. It is as if the sessions had ended, for this app only.
pub(super) async fn of_app(conn: &impl ConnectionTrait, (user, app): (Uuid, Uuid)) -> Result<()> {
    let rows = authorization::Entity::find().select_only().column(authorization::Column::Id);
    let rows = rows.column(authorization::Column::AppId).column(authorization::Column::UserId);
    let rows =
        rows.expr(Func::coalesce([Expr::col(authorization::Column::Sid), Expr::col(authorization::Column::SessionId)]));
    let of_user = rows.filter(authorization::Column::UserId.eq(user)).filter(authorization::Column::AppId.eq(app));
    let used = of_user.filter(authorization::Column::CodeUsedAt.is_not_null()).into_query();
    let mut insert = Query::insert();
    insert.into_table(Entity).columns([Column::Id, Column::AppId, Column::UserId, Column::Sid]);
    insert.select_from(used).map_err(|why| Fault::Internal(format!("noting the end of an app: {why}")))?;
    // Several authorizations of one session are told of once.
    insert.on_conflict(OnConflict::new().do_nothing().to_owned());
    conn.execute(&insert).await?;
    Ok(())
}

/// Gives the rows that nobody has seen yet their time.
async fn see(db: &Db, now: OffsetDateTime) -> Result<()> {
    let unseen = Column::SeenAt.is_null();
    if Entity::find().filter(unseen.clone()).one(db.read()).await?.is_some() {
        let seen = Entity::update_many().col_expr(Column::SeenAt, Expr::value(now)).filter(unseen);
        seen.exec(db.write()).await?;
    }
    Ok(())
}

/// Returns the sessions that have ended at this time or later, by the ids that apps know, and when. Those whose access tokens
/// have all expired since are left out: no token of theirs is accepted any more.
pub async fn ended(db: &Db, since: OffsetDateTime, now: OffsetDateTime) -> Result<Vec<(Uuid, OffsetDateTime)>> {
    see(db, now).await?;
    let since = since.max(now - LIVE - APART * 2);
    let rows = Entity::find().filter(Column::SeenAt.gte(since)).order_by_asc(Column::SeenAt).order_by_asc(Column::Sid);
    let mut ended: Vec<_> =
        rows.all(db.read()).await?.into_iter().filter_map(|row| Some((row.sid, row.seen_at?))).collect();
    ended.dedup_by_key(|(sid, _)| *sid); // two apps had tokens in it
    Ok(ended)
}

/// Deletes the rows of which no app needs to know any more. Returns how many.
pub async fn sweep(conn: &impl ConnectionTrait, now: OffsetDateTime) -> Result<u64> {
    let old = Condition::all().add(Column::DoneAt.is_not_null()).add(Column::SeenAt.lte(now - LIVE - APART * 2));
    Ok(delete_in_batches::<Entity>(conn, old).await?)
}
