//! `logouts`: which apps had tokens in a session that has ended. A trigger of the database writes a row for each of them, however
//! the session ends, and knows no clock of ours: a row has no time until somebody looks.

pub mod request;

use std::collections::{BTreeSet, HashMap};

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, Func, NullOrdering, OnConflict};
use sea_orm::{Condition, Order, QueryOrder, QuerySelect, Set};
use serde_json::json;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::accounts::apps::{self, Application};
use crate::accounts::authorize::authorization;
use crate::accounts::tokens::LIVE;
use crate::accounts::{Accounts, Result};
use crate::chance;
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
    pub whole: bool,
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
pub(super) async fn of_app(conn: &impl ConnectionTrait, of: (Uuid, Uuid)) -> Result<()> {
    let sids: BTreeSet<_> = authorization::of_app(conn, of).await?.iter().map(authorization::Model::sid).collect();
    let (user, app) = of;
    for sid in sids {
        let row = ActiveModel {
            id: Set(chance::id()),
            app_id: Set(app),
            user_id: Set(user),
            sid: Set(sid),
            whole: Set(false),
            seen_at: Set(None),
            done_at: Set(None),
            attempts: Set(0),
            next_attempt_at: Set(None),
            last_error: Set(None),
        };
        // Another id, so that a node that tells of the last end now does not note that this one is told.
        let again = [
            Column::Id,
            Column::Whole,
            Column::SeenAt,
            Column::DoneAt,
            Column::Attempts,
            Column::NextAttemptAt,
            Column::LastError,
        ];
        let insert = Entity::insert(row);
        insert
            .on_conflict(OnConflict::columns([Column::AppId, Column::Sid]).update_columns(again).to_owned())
            .exec_without_returning(conn)
            .await?;
    }
    Ok(())
}

/// The type of a logout token: an app must not take it for an ID token (OpenID Connect Back-Channel Logout 1.0, 2.4).
const LOGOUT_TOKEN: &str = "logout+jwt";
/// How long a logout token is valid.
const LOGOUT_LIVES: Duration = Duration::minutes(2);
/// How long one attempt may take. A notice whose node died is taken again after this time.
pub const LEASE: Duration = Duration::seconds(30);
/// How many rows one look reads.
const LOOKED_AT: u64 = 50;
/// The pauses after the first, second, … failed attempt; the last one repeats.
const PAUSES: [Duration; 5] =
    [Duration::seconds(5), Duration::seconds(30), Duration::minutes(3), Duration::minutes(15), Duration::hours(1)];
/// How long an app is told of a log-out. An app that is away for longer has lost more than that.
const WORTH_TELLING: Duration = Duration::days(1);

/// Gives the rows that nobody has seen yet their time.
async fn see(db: &Db, now: OffsetDateTime) -> Result<()> {
    let unseen = Column::SeenAt.is_null();
    if Entity::find().filter(unseen.clone()).one(db.read()).await?.is_some() {
        let seen = Entity::update_many().col_expr(Column::SeenAt, Expr::value(now)).filter(unseen);
        seen.exec(db.write()).await?;
    }
    Ok(())
}

/// Returns what has ended at this time or later, one row for each app and session, by the ids that apps know. Those whose access
/// tokens have all expired since are left out: no token of theirs is accepted any more.
pub async fn ended(db: &Db, since: OffsetDateTime, now: OffsetDateTime) -> Result<Vec<Model>> {
    see(db, now).await?;
    let since = since.max(now - LIVE - APART * 2);
    let rows = Entity::find().filter(Column::SeenAt.gte(since)).order_by_asc(Column::SeenAt).order_by_asc(Column::Sid);
    Ok(rows.all(db.read()).await?)
}

/// A log-out that an app is told of.
#[derive(Debug)]
pub struct Notice {
    /// The row.
    pub row: Model,
    /// The app.
    pub app: Application,
    /// Where it is told.
    pub uri: String,
}

/// Takes the next notices that are due, `most` of them and one of each app, for [`LEASE`]: no other node gets them meanwhile.
/// `busy` apps are left out.
pub async fn take(db: &Db, (most, busy): (usize, &[Uuid]), now: OffsetDateTime) -> Result<Vec<Notice>> {
    let due = Condition::all()
        .add(Column::DoneAt.is_null())
        .add(Condition::any().add(Column::NextAttemptAt.is_null()).add(Column::NextAttemptAt.lte(now)));
    let found = Entity::find().filter(due.clone()).filter(Column::AppId.is_not_in(busy.iter().copied()));
    // Most of the time there is nothing, which a reading connection sees.
    let rows = found
        .order_by_with_nulls(Column::NextAttemptAt, Order::Asc, NullOrdering::First)
        .order_by_asc(Column::Id)
        .limit(LOOKED_AT)
        .all(db.read())
        .await?;
    if rows.is_empty() {
        return Ok(vec![]);
    }
    see(db, now).await?;
    let told = apps::all(db.read()).await?.into_iter();
    let told: HashMap<_, _> =
        told.filter_map(|app| app.backchannel_uri.clone().map(|uri| (app.id, (app, uri)))).collect();
    if rows.iter().any(|row| !told.contains_key(&row.app_id)) {
        end_untold(db, told.keys().copied(), now).await?;
    }
    let mut notices: Vec<Notice> = vec![];
    for row in rows {
        let is_first = notices.iter().all(|notice| notice.app.id != row.app_id);
        let Some((app, uri)) = told.get(&row.app_id).filter(|_| is_first && notices.len() < most).cloned() else {
            continue;
        };
        if lease(db, &row, due.clone(), now).await? {
            let row = Model { attempts: row.attempts + 1, seen_at: row.seen_at.or(Some(now)), ..row };
            notices.push(Notice { row, app, uri });
        }
    }
    Ok(notices)
}

/// Ends the notices of apps that are not among those that are told.
async fn end_untold(db: &Db, told: impl Iterator<Item = Uuid>, now: OffsetDateTime) -> Result<()> {
    let untold = Condition::all().add(Column::DoneAt.is_null()).add(Column::AppId.is_not_in(told));
    let seen = Func::coalesce([Expr::col(Column::SeenAt), Expr::value(now)]);
    let done = Entity::update_many()
        .col_expr(Column::DoneAt, Expr::value(now))
        .col_expr(Column::SeenAt, seen.into())
        .filter(untold);
    done.exec(db.write()).await?;
    Ok(())
}

/// Takes a notice that is still due, for [`LEASE`]. Returns `false` if another node has taken it.
async fn lease(db: &Db, row: &Model, due: Condition, now: OffsetDateTime) -> Result<bool> {
    let leased =
        ActiveModel { attempts: Set(row.attempts + 1), next_attempt_at: Set(Some(now + LEASE)), ..Default::default() };
    let unchanged = due.add(Column::Id.eq(row.id)).add(Column::Attempts.eq(row.attempts));
    Ok(Entity::update_many().set(leased).filter(unchanged).exec(db.write()).await?.rows_affected == 1)
}

/// Returns the token that tells an app of the end of a session (OpenID Connect Back-Channel Logout 1.0, 2.4).
pub async fn token(
    accounts: &Accounts,
    Notice { row, app, .. }: &Notice,
    issuer: &str,
    now: OffsetDateTime,
) -> Result<String> {
    let key = accounts.signing.signer(app.algorithm, now).await?;
    let claims = json!({
        "iss": issuer, "aud": app.id, "sub": row.user_id, "sid": row.sid, "jti": chance::id(),
        "iat": now.unix_timestamp(), "exp": (now + LOGOUT_LIVES).unix_timestamp(),
        "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
    });
    key.sign(LOGOUT_TOKEN, &claims)
}

/// Notes that the app knows, or why it never will.
pub async fn done(db: &Db, row: &Model, why: Option<String>, now: OffsetDateTime) -> Result<()> {
    let changes = ActiveModel { done_at: Set(Some(now)), last_error: Set(why), ..Default::default() };
    Entity::update_many().set(changes).filter(Column::Id.eq(row.id)).exec(db.write()).await?;
    Ok(())
}

/// Notes that the app could not be told, and when it is tried again. Returns `false` if it is not tried any more.
pub async fn put_off(db: &Db, row: &Model, why: String, now: OffsetDateTime) -> Result<bool> {
    if now - row.seen_at.unwrap_or(now) >= WORTH_TELLING {
        done(db, row, Some(why), now).await?;
        return Ok(false);
    }
    let at = usize::try_from(row.attempts - 1).unwrap_or_default().min(PAUSES.len() - 1);
    let changes =
        ActiveModel { next_attempt_at: Set(Some(now + PAUSES[at])), last_error: Set(Some(why)), ..Default::default() };
    Entity::update_many().set(changes).filter(Column::Id.eq(row.id)).exec(db.write()).await?;
    Ok(true)
}

/// Deletes the rows of which no app needs to know any more. Returns how many.
pub async fn sweep(conn: &impl ConnectionTrait, now: OffsetDateTime) -> Result<u64> {
    let old = Condition::all().add(Column::DoneAt.is_not_null()).add(Column::SeenAt.lte(now - LIVE - APART * 2));
    Ok(delete_in_batches::<Entity>(conn, old).await?)
}
