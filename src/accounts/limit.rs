//! `limits`: what was tried at one account, or sent to one address, lately. In the database, so that a restart
//! forgives nothing and several machines count together.

use std::sync::Arc;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, OnConflict};
use sea_orm::{Condition, QueryOrder, QuerySelect, Set};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::accounts::user::User;
use crate::accounts::user::email::Email;
use crate::accounts::user::username::Username;
use crate::accounts::{Client, Result, flood};
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
/// Those of them that were tried with one of the account's two names: half as many.
const NAME: Rate = Rate { burst: 5, every: Duration::minutes(6) };
/// Passwords from one browser that it does know, or that is logged in.
const OWN: Rate = Rate { burst: 20, every: Duration::minutes(1) };
/// After so many misses in a row waiting does not help any more (NIST SP 800-63B-4, 3.2.2).
const MISSES_MAX: i32 = 100;
/// As [`MISSES_MAX`], with one of the account's two names.
const NAME_MISSES_MAX: i32 = 50;
/// Letters of one kind to one address: three, then one an hour. A reset link works for an hour, so whoever asks in
/// vain has one that works, even if a stranger asked for it.
const LETTERS: Rate = Rate { burst: 3, every: Duration::hours(1) };
/// The first letter of a sign-up that a client asks for to an address. It goes out whatever others have asked for.
const FIRST_SIGNUP_LETTER: Rate = Rate { burst: 1, every: Duration::hours(3) };
/// Those first letters to one address, of all clients together: without a bound, an attacker with many addresses could
/// send a hundred thousand of them to one mailbox in a day. Of fifty links any one is good for the owner, because the
/// password is chosen where it is opened.
const FIRST_SIGNUP_LETTERS: Rate = Rate { burst: 50, every: Duration::minutes(10) };
/// Further letters of sign-ups that a client asks for to an address: with the first three, then one an hour.
const MORE_SIGNUP_LETTERS: Rate = Rate { burst: 2, every: Duration::hours(1) };
/// Letters of sign-ups to one address, of all clients together.
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

/// Letters to an account that are limited by kind.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mailed {
    /// The link to a new password.
    Reset,
    /// About a log-in from an unknown browser.
    NewDevice,
    /// About devices that were logged out in a browser that is new to the account.
    DevicesEnded,
}

impl Mailed {
    const ALL: [Self; 3] = [Self::Reset, Self::NewDevice, Self::DevicesEnded];

    fn name(self) -> &'static str {
        match self {
            Self::Reset => "reset-letter",
            Self::NewDevice => "new-device-letter",
            Self::DevicesEnded => "devices-ended-letter",
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

impl Bucket {
    /// The same bucket with room for one attempt more, which is taken before its time for something that waits until then.
    fn one_ahead(self) -> Self {
        Self { rate: Rate { burst: self.rate.burst + 1, ..self.rate }, ..self }
    }
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

    /// Log-ins from browsers that the account does not know: with this name, and to the account.
    ///
    /// Each name has a bucket of its own. If the two names of an account shared one, an attacker who uses up `sam` could
    /// ask which address is Sam's: the one that has to wait too. Half of the attempts for each name never add up to more
    /// than the account's bucket allows, so that one never gives the other away either. A name without an account has two
    /// buckets just the same, so that neither the answer nor the work tells who has an account.
    pub(super) fn strangers(&self, user: Option<Uuid>, login: &str) -> [Bucket; 2] {
        [self.name(&canonical(login)), self.account(&account(user, login))]
    }

    fn name(&self, canonical: &str) -> Bucket {
        self.bucket("log-in with a name", canonical, NAME, Some(NAME_MISSES_MAX))
    }

    fn account(&self, account: &str) -> Bucket {
        self.bucket("log-in", account, STRANGERS, Some(MISSES_MAX))
    }

    /// Log-ins from this browser to an account that knows it. Of its own, so that a stranger's guessing never keeps the
    /// owner out (OWASP, “Slow Down Online Guessing Attacks with Device Cookies”).
    pub(super) fn device(&self, device: Uuid) -> [Bucket; 1] {
        [self.bucket("device", &device.to_string(), OWN, Some(MISSES_MAX))]
    }

    /// The current password, asked for on a page of somebody who is logged in: a stolen session must not become
    /// a place to guess at it.
    pub(super) fn current_password(&self, user: Uuid) -> [Bucket; 1] {
        [self.bucket("current-password", &user.to_string(), OWN, Some(MISSES_MAX))]
    }

    /// Letters of one kind to one address.
    pub(super) fn letters(&self, letter: Mailed, to: &str) -> [Bucket; 1] {
        [self.bucket(letter.name(), to, LETTERS, None)]
    }

    /// The first letter of a sign-up that this client asks for to this address, and further ones: those of this client,
    /// and those of all. Here a /48 is one client, or its 65 536 networks would each have letters sent.
    pub(super) fn signup_letters(&self, to: &Email, client: &Client) -> [[Bucket; 2]; 2] {
        let from = format!("{} {}", throttle::widest(&client.ip), to.canonical());
        let own = |what, rate| self.bucket(what, &from, rate, None);
        let all = |what, rate| self.bucket(what, to.canonical(), rate, None);
        [
            [
                own("first signup-letter of a client", FIRST_SIGNUP_LETTER),
                all("first signup-letters", FIRST_SIGNUP_LETTERS),
            ],
            [own("signup-letter of a client", MORE_SIGNUP_LETTERS), all("signup-letter", SIGNUP_LETTERS)],
        ]
    }

    /// Takes one attempt from each of the buckets, or from none of them.
    pub(super) async fn take(
        &self,
        db: &Db,
        buckets: &[Bucket],
        now: OffsetDateTime,
    ) -> Result<Result<Taken, TooMany>> {
        let mut last = false;
        for (n, bucket) in buckets.iter().enumerate() {
            match self.take_one(db, bucket, now).await? {
                Ok(taken) => last |= taken.last,
                Err(too_many) => {
                    self.give_back(db.write(), &buckets[..n]).await?;
                    return Ok(Err(too_many));
                }
            }
        }
        Ok(Ok(Taken { last }))
    }

    /// Takes one try, before the work: of a hundred at once no more get through than of a hundred in turn.
    async fn take_one(&self, db: &Db, bucket: &Bucket, now: OffsetDateTime) -> Result<Result<Taken, TooMany>> {
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
    /// hashing threads busy, and a program that asks for tokens would give its successful attempts to an attacker.
    pub(super) async fn forgive(&self, conn: &impl ConnectionTrait, buckets: &[Bucket]) -> Result<()> {
        let row = ActiveModel { misses: Set(0), ..Default::default() };
        Entity::update_many().set(row).filter(Column::Key.is_in(keys(buckets))).exec(conn).await?;
        Ok(())
    }

    /// Gives an attempt back to each of the buckets.
    pub(super) async fn give_back(&self, conn: &impl ConnectionTrait, buckets: &[Bucket]) -> Result<()> {
        let less = |column: Column, by: i64| ExprTrait::sub(Expr::col(column), by);
        for Bucket { key, rate, misses_max } in buckets {
            let mut update = Entity::update_many()
                .col_expr(Column::WholeAt, less(Column::WholeAt, rate.every.whole_seconds()))
                .filter(Column::Key.eq(key));
            if misses_max.is_some() {
                // Unless a right password has forgiven it meanwhile.
                update = update.col_expr(Column::Misses, less(Column::Misses, 1)).filter(Column::Misses.gt(0));
            }
            update.exec(conn).await?;
        }
        Ok(())
    }

    /// Takes the turn of one letter of this kind to the user, and returns when it may go out: now, or when the limit allows
    /// it. In the latter case the turn belongs to the letter in which the news of this kind waits (`outbox::join`).
    pub(super) async fn turn(
        &self,
        db: &Db,
        letter: Mailed,
        user: &User,
        now: OffsetDateTime,
    ) -> Result<OffsetDateTime> {
        let bucket = self.letters(letter, &user.email_canonical);
        let Err(too_many) = self.take(db, &bucket, now).await? else { return Ok(now) };
        // Refused if this turn is taken already, by the letter that waits: what happened now joins that one.
        let _ = self.take(db, &bucket.map(|bucket| bucket.one_ahead()), now).await?;
        Ok(now + too_many.wait())
    }

    /// Refills the bucket of the letters of this kind to the user.
    pub(super) async fn allow(&self, conn: &impl ConnectionTrait, letter: Mailed, user: &User) -> Result<()> {
        self.refill(conn, &self.letters(letter, &user.email_canonical)).await
    }

    /// Refills strangers' buckets: there is a new password, at which nobody has guessed.
    pub(super) async fn allow_strangers(&self, conn: &impl ConnectionTrait, user: &User) -> Result<()> {
        let names = [&user.username_canonical, &user.email_canonical].map(|name| self.name(name));
        self.refill(conn, &names).await?;
        self.refill(conn, &[self.account(&account(Some(user.id), ""))]).await
    }

    /// Refills every bucket of the account: its owner has proven to read its email.
    pub(super) async fn allow_all(&self, conn: &impl ConnectionTrait, user: &User) -> Result<()> {
        self.allow_strangers(conn, user).await?;
        self.refill(conn, &self.current_password(user.id)).await?;
        for letter in Mailed::ALL {
            self.allow(conn, letter, user).await?;
        }
        Ok(())
    }

    async fn refill(&self, conn: &impl ConnectionTrait, buckets: &[Bucket]) -> Result<()> {
        Entity::delete_many().filter(Column::Key.is_in(keys(buckets))).exec(conn).await?;
        Ok(())
    }
}

fn keys(buckets: &[Bucket]) -> impl Iterator<Item = &str> {
    buckets.iter().map(|bucket| bucket.key.as_str())
}

/// What the attempts at an account are counted under: its id, or the name that was typed where there is no account. No
/// name can be typed that is counted as an id.
fn account(user: Option<Uuid>, login: &str) -> String {
    user.map_or_else(|| format!("nobody {}", canonical(login)), |user| format!("user {user}"))
}

/// A name in the form in which it is compared: an address, a username, or what was typed where it is neither.
pub(super) fn canonical(login: &str) -> String {
    match (Email::parse(login), Username::parse(login)) {
        (Ok(email), _) => email.canonical().to_owned(),
        (_, Ok(username)) => username.canonical().to_owned(),
        _ => login.to_owned(),
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
