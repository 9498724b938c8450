//! `limits`: what was tried at one account, or sent to one address, lately. In the database, so that a restart
//! forgives nothing and several machines count together.

use std::sync::Arc;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, OnConflict};
use sea_orm::{Condition, QueryOrder, QuerySelect, Set};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::email::Email;
use super::username::Username;
use super::{Client, Result, flood};
use crate::db::{Db, delete_in_batches};
use crate::keys::Fingerprint;
use crate::throttle::{self, Rate, Taken};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "limits")]
#[expect(missing_docs, reason = "the columns are described in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    pub whole_at: i64,
    pub misses: i32,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
#[expect(missing_docs, reason = "generated")]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Passwords from browsers that the account does not know, all of them together: ten, then one in three minutes.
const STRANGERS: Rate = Rate { burst: 10, every: Duration::minutes(3) };
/// Passwords from one browser that it does know, or that is logged in.
const OWN: Rate = Rate { burst: 20, every: Duration::minutes(1) };
/// After so many misses in a row waiting does not help any more (NIST SP 800-63B-4, 3.2.2).
const MISSES_MAX: i32 = 100;
/// Letters of one kind to one address: three, then one an hour. A reset link works for an hour, so whoever asks in
/// vain has one that works, even if a stranger asked for it.
const LETTERS: Rate = Rate { burst: 3, every: Duration::hours(1) };
/// Letters of sign-ups to one address, whoever asks. More than [`LETTERS`], which counts those of one client: who signs
/// up must get a letter of their own, even if a stranger has had some sent there.
const SIGNUP_LETTERS: Rate = Rate { burst: 10, every: Duration::hours(1) };
/// How long a bucket is kept after it is whole again, for the sake of its misses.
const KEPT: Duration = Duration::days(30);
/// The most buckets that a sweep leaves. Beyond that those go that have the fewest misses, and of these the ones that
/// have been quiet the longest.
const MOST: u64 = 100_000;

/// Why something has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooMany {
    /// This client has tried too much, at whatever account.
    Client(Duration),
    /// All clients together have asked for too much. It is nobody's account and nobody's mistake.
    Site(Duration),
    /// The account was tried too often. A reset opens it at once.
    Account(Duration),
    /// So often that waiting does not help: only a reset does, or a browser that the account knows.
    Closed,
}

impl TooMany {
    /// How long to wait. What is closed is worth another look in an hour: its owner may have opened it.
    pub fn wait(self) -> Duration {
        match self {
            Self::Client(wait) | Self::Account(wait) => wait,
            // Not sooner than others who are told that the site is busy.
            Self::Site(wait) => wait.max(Duration::seconds(5)),
            Self::Closed => Duration::HOUR,
        }
    }
}

/// Counts what is tried, unless the limits are off.
#[derive(Clone, Debug)]
pub struct Limits {
    on: bool,
    names: Fingerprint,
    /// Of strangers.
    pub(super) events: Arc<flood::Events>,
}

/// One thing that is counted. Its name in the table is a keyed digest: people type passwords into the wrong field,
/// and who was tried is nobody's business.
#[derive(Debug)]
pub(super) struct Bucket {
    key: String,
    rate: Rate,
    misses_max: Option<i32>,
}

impl Limits {
    /// Counts under names that only this key makes.
    pub fn new(on: bool, names: Fingerprint) -> Self {
        Self { on, names, events: Arc::default() }
    }

    pub(super) fn is_on(&self) -> bool {
        self.on
    }

    fn bucket(&self, what: &str, who: &str, rate: Rate, misses_max: Option<i32>) -> Bucket {
        Bucket { key: self.names.of(&[what, who]), rate, misses_max }
    }

    /// Log-ins from browsers that the account does not know. Username and address of one account share a bucket, and
    /// a name without an account has one just the same, so that neither answer nor work tells who has an account.
    pub(super) fn strangers(&self, user: Option<Uuid>, login: &str) -> Bucket {
        let who = match (user, Email::parse(login), Username::parse(login)) {
            (Some(user), ..) => user.to_string(),
            (None, Ok(email), _) => email.canonical().to_owned(),
            (None, _, Ok(username)) => username.canonical().to_owned(),
            _ => login.to_owned(),
        };
        self.bucket("log-in", &who, STRANGERS, Some(MISSES_MAX))
    }

    /// Log-ins from this browser to an account that knows it. Of its own, so that a stranger's guessing never keeps the
    /// owner out (OWASP, “Slow Down Online Guessing Attacks with Device Cookies”).
    pub(super) fn device(&self, device: Uuid) -> Bucket {
        self.bucket("device", &device.to_string(), OWN, Some(MISSES_MAX))
    }

    /// The current password, asked for on a page of somebody who is logged in: a stolen session must not become
    /// a place to guess at it.
    pub(super) fn current_password(&self, user: Uuid) -> Bucket {
        self.bucket("current-password", &user.to_string(), OWN, Some(MISSES_MAX))
    }

    /// Letters of one kind to one address.
    pub(super) fn letters(&self, kind: &str, to: &Email) -> Bucket {
        self.bucket(kind, to.canonical(), LETTERS, None)
    }

    /// Letters of sign-ups to one address: those that this client asks for, and all. Here a /48 is one client, or its
    /// 65 536 networks would each have letters sent.
    pub(super) fn signup_letters(&self, to: &Email, client: &Client) -> [Bucket; 2] {
        let from = format!("{} {}", throttle::widest(&client.ip), to.canonical());
        let own = self.bucket("signup-letter of a client", &from, LETTERS, None);
        [own, self.bucket("signup-letter", to.canonical(), SIGNUP_LETTERS, None)]
    }

    /// Takes one try, before the work: of a hundred at once no more get through than of a hundred in turn.
    pub(super) async fn take(&self, db: &Db, bucket: &Bucket, now: OffsetDateTime) -> Result<Result<Taken, TooMany>> {
        if !self.on {
            return Ok(Ok(Taken { last: false }));
        }
        let Bucket { key, rate, misses_max } = bucket;
        loop {
            let before = Entity::find_by_id(key).one(db.read()).await?;
            let found = before.is_some();
            let (old, missed) = before.map_or((0, 0), |row| (row.whole_at, row.misses));
            if misses_max.is_some_and(|most| missed >= most) {
                return Ok(Err(TooMany::Closed));
            }
            let whole_at = match rate.take(old, now) {
                Ok(whole_at) => whole_at,
                Err(wait) => return Ok(Err(TooMany::Account(wait))),
            };
            // A letter is no miss. What counts misses outlives what does not, however much of that there is.
            let misses = misses_max.map_or(0, |_| missed + 1);
            let row = ActiveModel { key: Set(key.clone()), whole_at: Set(whole_at), misses: Set(misses) };
            // Only on top of what was read: whoever was faster has taken this try, or was right, and we look again. A
            // bucket has so few tries that this soon comes to an end.
            let done = if found {
                let this = Entity::update_many().set(row).filter(Column::Key.eq(key));
                let unchanged = this.filter(Column::WholeAt.eq(old)).filter(Column::Misses.eq(missed));
                unchanged.exec(db.write()).await?.rows_affected
            } else {
                let absent = OnConflict::column(Column::Key).do_nothing().to_owned();
                Entity::insert(row).on_conflict(absent).exec_without_returning(db.write()).await?
            };
            if done == 1 {
                let last = misses_max.is_some_and(|most| misses == most || misses.unsigned_abs() == rate.burst);
                return Ok(Ok(Taken { last }));
            }
        }
    }

    /// Forgets the misses: the password was right. The try stays taken, or a right password would be a way to keep the
    /// hashing threads busy, and a program that asks for tokens would lend its luck to whoever guesses.
    pub(super) async fn forgive(&self, conn: &impl ConnectionTrait, bucket: &Bucket) -> Result<()> {
        let row = ActiveModel { misses: Set(0), ..Default::default() };
        Entity::update_many().set(row).filter(Column::Key.eq(&bucket.key)).exec(conn).await?;
        Ok(())
    }

    /// Gives a try back.
    pub(super) async fn give_back(&self, conn: &impl ConnectionTrait, bucket: &Bucket) -> Result<()> {
        let less = |column: Column, by: i64| ExprTrait::sub(Expr::col(column), by);
        Entity::update_many()
            .col_expr(Column::WholeAt, less(Column::WholeAt, bucket.rate.every.whole_seconds()))
            .col_expr(Column::Misses, less(Column::Misses, 1))
            .filter(Column::Key.eq(&bucket.key))
            .filter(Column::Misses.gt(0))
            .exec(conn)
            .await?;
        Ok(())
    }

    /// Makes a bucket whole.
    pub(super) async fn clear(&self, conn: &impl ConnectionTrait, bucket: &Bucket) -> Result<()> {
        Entity::delete_by_id(&bucket.key).exec(conn).await?;
        Ok(())
    }

    /// Makes strangers' bucket whole: there is a new password, at which nobody has guessed.
    pub(super) async fn clear_strangers(&self, conn: &impl ConnectionTrait, user: Uuid) -> Result<()> {
        self.clear(conn, &self.strangers(Some(user), "")).await
    }
}

/// Deletes what was not tried for long; returns how many.
///
/// # Errors
/// When the database is out of reach.
pub async fn sweep(db: &Db, now: OffsetDateTime) -> Result<u64> {
    let quiet = (now - KEPT).unix_timestamp();
    let mut gone = Condition::any().add(Column::WholeAt.lte(quiet));
    let ranked = Entity::find().order_by_desc(Column::Misses).order_by_desc(Column::WholeAt);
    // Sorted where the only writer does not have to wait for it.
    if let Some(first) = ranked.offset(MOST).one(db.read()).await? {
        let as_many = Condition::all().add(Column::Misses.eq(first.misses)).add(Column::WholeAt.lte(first.whole_at));
        gone = gone.add(Column::Misses.lt(first.misses)).add(as_many);
    }
    Ok(delete_in_batches::<Entity>(db.write(), gone).await?)
}
