//! `limits`: what was attempted at one account, or sent to one address, lately. Stored in the database, so that a restart
//! forgives nothing and several machines count together.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{CaseStatement, ExprTrait, OnConflict};
use sea_orm::{Condition, InsertMany, IntoActiveModel, Iterable, QueryOrder, QuerySelect};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::rate::Rate;
use super::{Admission, TooMany};
use crate::accounts::user::User;
use crate::accounts::user::email::Email;
use crate::accounts::user::username::Username;
use crate::accounts::{Client, Result};
use crate::db::{Db, delete_in_batches};
use crate::keys::Fingerprint;
use crate::networks;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "limits")]
#[expect(missing_docs, reason = "the columns are described in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    #[sea_orm(column_name = "whole_at")]
    pub refilled_at: i64,
    #[sea_orm(column_name = "misses")]
    pub failures: i32,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
#[expect(missing_docs, reason = "generated")]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Passwords from browsers that the account does not know, all of them together: ten, then one in three minutes.
const STRANGERS: Rate = Rate { burst: 10, every: Duration::minutes(3) };
/// Those of them that come with one of the account's two names: half as many.
const NAME: Rate = Rate { burst: 5, every: Duration::minutes(6) };
/// Passwords from one browser that the account knows, or that is logged in.
const OWN: Rate = Rate { burst: 20, every: Duration::minutes(1) };
/// After this many failures in a row, waiting does not help any more (NIST SP 800-63B-4, 3.2.2).
const FAILURES_MAX: i32 = 100;
/// As [`FAILURES_MAX`], with one of the account's two names.
const NAME_FAILURES_MAX: i32 = 50;
/// Letters of one kind to one address: three, then one an hour. A reset link works for an hour. So a user whose request
/// is refused has a link that works, even if a stranger asked for it.
const LETTERS: Rate = Rate { burst: 3, every: Duration::hours(1) };
/// The first letter of a sign-up that a client asks for to an address. It is sent whatever other clients have asked for.
const FIRST_SIGNUP_LETTER: Rate = Rate { burst: 1, every: Duration::hours(3) };
/// These first letters to one address, of all clients together. Without a bound, an attacker with many addresses could
/// send 100 000 of them to one mailbox in a day. Each of fifty links is good for the owner, because the password is chosen
/// where the link is opened.
const FIRST_SIGNUP_LETTERS: Rate = Rate { burst: 50, every: Duration::minutes(10) };
/// Further letters of sign-ups that a client asks for to an address: with the first three, then one an hour.
const MORE_SIGNUP_LETTERS: Rate = Rate { burst: 2, every: Duration::hours(1) };
/// Letters of sign-ups to one address, of all clients together.
const SIGNUP_LETTERS: Rate = Rate { burst: 10, every: Duration::hours(1) };
/// How long a bucket is kept after it is refilled, for the sake of its failures.
const KEPT: Duration = Duration::days(30);
/// The most buckets that a sweep leaves. Beyond that, the sweep deletes the buckets with the fewest failures, and of these
/// the ones that have been quiet the longest.
const MOST: u64 = 100_000;

/// Letters to an account that are limited by kind.
#[derive(Clone, Copy, Debug, EnumIter)]
pub(in crate::accounts) enum Mailed {
    /// The link to a new password.
    Reset,
    /// About a log-in from an unknown browser.
    NewDevice,
    /// About devices that were logged out in a browser that is new to the account.
    DevicesEnded,
}

impl Mailed {
    fn name(self) -> &'static str {
        match self {
            Self::Reset => "reset-letter",
            Self::NewDevice => "new-device-letter",
            Self::DevicesEnded => "devices-ended-letter",
        }
    }
}

/// Counts what is attempted at accounts, unless the limits are off.
#[derive(Debug)]
pub(in crate::accounts) struct AccountLimits {
    on: bool,
    names: Fingerprint,
}

/// A bucket of attempts. Its name in the table is a keyed digest: users type passwords into the wrong field, and the names
/// that clients type are private.
#[derive(Debug)]
pub(in crate::accounts) struct Bucket {
    key: String,
    rate: Rate,
    failures_max: Option<i32>,
}

impl Bucket {
    /// Returns the same bucket with room for one more attempt, which is taken before its time for something that waits
    /// until then.
    fn one_ahead(self) -> Self {
        Self { rate: Rate { burst: self.rate.burst + 1, ..self.rate }, ..self }
    }
}

impl AccountLimits {
    pub(super) fn new(on: bool, names: Fingerprint) -> Self {
        Self { on, names }
    }

    fn bucket(&self, what: &str, who: &str, rate: Rate, failures_max: Option<i32>) -> Bucket {
        Bucket { key: self.names.of(&[what, who]), rate, failures_max }
    }

    /// Returns the buckets of log-ins from browsers that the account does not know: with this name, and to the account.
    ///
    /// Each name has a bucket of its own. If the two names of an account shared one, an attacker who uses up `sam` could
    /// find out which address is Sam's: the one that has to wait too. The attempts for both names together never exceed
    /// what the account's bucket allows, so that bucket never gives the other name away either. A name without an account
    /// has two buckets as well, so that neither the answer nor the work tells who has an account.
    pub fn strangers(&self, user: Option<Uuid>, login: &str) -> [Bucket; 2] {
        [self.name(&canonical(login)), self.account(&account(user, login))]
    }

    fn name(&self, canonical: &str) -> Bucket {
        self.bucket("log-in with a name", canonical, NAME, Some(NAME_FAILURES_MAX))
    }

    fn account(&self, account: &str) -> Bucket {
        self.bucket("log-in", account, STRANGERS, Some(FAILURES_MAX))
    }

    /// Returns the bucket of log-ins from this browser to an account that knows it. The browser has a bucket of its own,
    /// so that a stranger's guesses never keep the owner out (OWASP, “Slow Down Online Guessing Attacks with Device
    /// Cookies”).
    pub fn device(&self, device: Uuid) -> Bucket {
        self.bucket("device", &device.to_string(), OWN, Some(FAILURES_MAX))
    }

    /// Returns the bucket of the current password, on a page of a user who is logged in. A stolen session must not become
    /// a place to guess it.
    pub fn current_password(&self, user: Uuid) -> [Bucket; 1] {
        [self.bucket("current-password", &user.to_string(), OWN, Some(FAILURES_MAX))]
    }

    /// Returns the bucket of letters of one kind to one canonical address.
    pub fn letters(&self, letter: Mailed, to: &str) -> [Bucket; 1] {
        [self.bucket(letter.name(), to, LETTERS, None)]
    }

    /// Returns the buckets of the first letter of a sign-up that this client asks for to this address, and those of further
    /// ones: letters of this client, and letters of all clients. Here a /48 is one client. Otherwise each of its 65 536
    /// networks could have letters sent.
    pub fn signup_letters(&self, to: &Email, client: &Client) -> [[Bucket; 2]; 2] {
        let to = to.canonical();
        let network = client.ip.map(|ip| networks::widest(ip).to_string()).unwrap_or_default();
        let from = format!("{network} {to}");
        let own = |what, rate| self.bucket(what, &from, rate, None);
        let all = |what, rate| self.bucket(what, &to, rate, None);
        [
            [
                own("first signup-letter of a client", FIRST_SIGNUP_LETTER),
                all("first signup-letters", FIRST_SIGNUP_LETTERS),
            ],
            [own("signup-letter of a client", MORE_SIGNUP_LETTERS), all("signup-letter", SIGNUP_LETTERS)],
        ]
    }

    /// Takes one attempt from each of the buckets, or from none of them. Of a hundred attempts at once, no more succeed than of a
    /// hundred in turn.
    pub async fn take(&self, db: &Db, buckets: &[Bucket], now: OffsetDateTime) -> Result<Result<Admission, TooMany>> {
        if !self.on {
            return Ok(Ok(Admission { last: false }));
        }
        // First of all, so that a flood of attempts that are refused writes nothing.
        let mut found = read(db.read(), buckets).await?;
        if let [bucket] = buckets {
            return take_one((db.read(), db.write()), bucket, found, now).await;
        }
        loop {
            let (write, admission) = match attempt(buckets, &found, now) {
                Ok(attempt) => attempt,
                Err(too_many) => return Ok(Err(too_many)),
            };
            // If the attempt were taken from one bucket and then given back, others would miss it in between.
            let tx = db.begin().await?;
            if write.exec_with_returning_keys(&tx).await?.len() == buckets.len() {
                tx.commit().await?;
                return Ok(Ok(admission));
            }
            tx.rollback().await?;
            found = read(db.read(), buckets).await?;
        }
    }

    /// Takes one attempt of a browser that the account knows. Most of the time its bucket is refilled, and nothing is read.
    /// A refusal costs a write on PostgreSQL, which locks the row. Only a client that has the device token is refused here.
    pub async fn take_own(&self, db: &Db, device: &Bucket, now: OffsetDateTime) -> Result<Result<Admission, TooMany>> {
        if !self.on {
            return Ok(Ok(Admission { last: false }));
        }
        take_one((db.read(), db.write()), device, vec![], now).await
    }

    /// Forgets the failures, because the password was right. The attempt stays taken: otherwise a right password would be
    /// a way to keep the hashing threads busy, and a program that asks for tokens would give its successful attempts to an
    /// attacker.
    ///
    /// An `INSERT` writes the rows in the order in which [`AccountLimits::take`] does. Two requests that lock the same rows in
    /// different orders would wait for each other. Of a row that is there, only the failures change. A row that a sweep has
    /// deleted comes back as one that is refilled, which means the same.
    pub async fn forgive(&self, conn: &impl ConnectionTrait, buckets: &[Bucket]) -> Result<()> {
        if !self.on {
            return Ok(());
        }
        let row = |bucket: &Bucket| Model { key: bucket.key.clone(), refilled_at: 0, failures: 0 }.into_active_model();
        let mut on_conflict = OnConflict::column(Column::Key);
        on_conflict.update_column(Column::Failures);
        Entity::insert_many(buckets.iter().map(row)).on_conflict(on_conflict).exec_without_returning(conn).await?;
        Ok(())
    }

    /// Gives an attempt back to each of the buckets, or to none of them: the client may go in the middle.
    pub async fn give_back(&self, db: &Db, buckets: &[Bucket]) -> Result<()> {
        let less = |column: Column, by: i64| ExprTrait::sub(Expr::col(column), by);
        // A right password may have forgiven the failure meanwhile.
        let failures = || CaseStatement::new().case(Column::Failures.gt(0), less(Column::Failures, 1)).finally(0);
        let tx = db.begin().await?;
        for Bucket { key, rate, .. } in buckets {
            Entity::update_many()
                .col_expr(Column::RefilledAt, less(Column::RefilledAt, rate.every.whole_seconds()))
                .col_expr(Column::Failures, failures().into())
                .filter(Column::Key.eq(key))
                .exec(&tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Takes the turn of one letter of this kind to the user, and returns when it may be sent: now, or when the limit
    /// allows it. In the latter case the turn belongs to the letter in which the news of this kind waits (`outbox::join`).
    pub async fn turn(
        &self,
        conn: &impl ConnectionTrait,
        letter: Mailed,
        user: &User,
        now: OffsetDateTime,
    ) -> Result<OffsetDateTime> {
        let [bucket] = self.letters(letter, &user.email_canonical);
        if !self.on {
            return Ok(now);
        }
        let Err(too_many) = take_one((conn, conn), &bucket, vec![], now).await? else { return Ok(now) };
        let found = read(conn, std::slice::from_ref(&bucket)).await?;
        // Refused if the letter that waits has taken this turn already. Then what happened now joins that letter.
        let _ = take_one((conn, conn), &bucket.one_ahead(), found, now).await?;
        Ok(now + too_many.wait())
    }

    /// Refills the bucket of the letters of this kind to the user.
    pub async fn refill_letters(&self, conn: &impl ConnectionTrait, letter: Mailed, user: &User) -> Result<()> {
        self.refill(conn, &self.letters(letter, &user.email_canonical)).await
    }

    /// Refills the buckets of strangers, because no attacker has guessed at the new password yet.
    pub async fn refill_strangers(&self, conn: &impl ConnectionTrait, user: &User) -> Result<()> {
        let names = [&user.username_canonical, &user.email_canonical].map(|name| self.name(name));
        self.refill(conn, &names).await?;
        self.refill(conn, &[self.account(&account(Some(user.id), ""))]).await
    }

    /// Refills every bucket of the account: its owner has proven to read its email.
    pub async fn refill_all(&self, conn: &impl ConnectionTrait, user: &User) -> Result<()> {
        self.refill_strangers(conn, user).await?;
        self.refill(conn, &self.current_password(user.id)).await?;
        for letter in Mailed::iter() {
            self.refill_letters(conn, letter, user).await?;
        }
        Ok(())
    }

    /// Leaves the rows for almost as long as before. If they were deleted, now or by the next sweep, an attempt that has read them
    /// before would add them again as they were.
    async fn refill(&self, conn: &impl ConnectionTrait, buckets: &[Bucket]) -> Result<()> {
        // No bucket takes a day to be refilled.
        let refilled_at = ExprTrait::sub(Expr::col(Column::RefilledAt), Duration::DAY.whole_seconds());
        let refill =
            Entity::update_many().col_expr(Column::RefilledAt, refilled_at).col_expr(Column::Failures, 0.into());
        refill.filter(Column::Key.is_in(keys(buckets))).exec(conn).await?;
        Ok(())
    }
}

/// Reads the rows of the buckets that have one.
async fn read(conn: &impl ConnectionTrait, buckets: &[Bucket]) -> Result<Vec<Model>> {
    Ok(Entity::find().filter(Column::Key.is_in(keys(buckets))).all(conn).await?)
}

/// Takes one attempt from a bucket whose row is `found`, or is not known.
async fn take_one(
    (reader, writer): (&impl ConnectionTrait, &impl ConnectionTrait),
    bucket: &Bucket,
    mut found: Vec<Model>,
    now: OffsetDateTime,
) -> Result<Result<Admission, TooMany>> {
    let buckets = std::slice::from_ref(bucket);
    loop {
        let (write, admission) = match attempt(buckets, &found, now) {
            Ok(attempt) => attempt,
            Err(too_many) => return Ok(Err(too_many)),
        };
        if write.exec_with_returning_keys(writer).await?.len() == 1 {
            return Ok(Ok(admission));
        }
        found = read(reader, buckets).await?;
    }
}

/// Returns the statement that takes one attempt from each of the buckets, whose rows are `found`. A bucket without one is taken to be
/// refilled and to have no failures.
///
/// It writes each row only if it is as it was found, or as good as that: how long ago a bucket was refilled does not matter. If it
/// is not, another request has taken this attempt or has forgiven the failures, or the row was not known. Then fewer rows than
/// buckets are written, and the caller reads them. A bucket has so few attempts that this ends soon.
fn attempt(
    buckets: &[Bucket],
    found: &[Model],
    now: OffsetDateTime,
) -> Result<(InsertMany<ActiveModel>, Admission), TooMany> {
    let (mut rows, mut unchanged, mut last) = (vec![], Condition::any(), false);
    for Bucket { key, rate, failures_max } in buckets {
        let before = found.iter().find(|row| row.key == *key);
        let (old, failed) = before.map_or((0, 0), |row| (row.refilled_at, row.failures));
        if failures_max.is_some_and(|most| failed >= most) {
            return Err(TooMany::Closed);
        }
        let refilled_at = rate.take(old, now).map_err(TooMany::Account)?;
        // A letter is no failure. The sweep keeps buckets with failures longer than the others, however many others there are.
        let failures = failures_max.map_or(0, |_| failed + 1);
        last |= failures_max.is_some_and(|most| failures == most || failures.unsigned_abs() == rate.burst);
        rows.push(Model { key: key.clone(), refilled_at, failures }.into_active_model());
        let now = now.unix_timestamp();
        let as_good = if old <= now { Column::RefilledAt.lte(now) } else { Column::RefilledAt.eq(old) };
        let same = Condition::all().add(Column::Key.eq(key)).add(as_good);
        unchanged = unchanged.add(same.add(Column::Failures.eq(failed)));
    }
    let mut on_conflict = OnConflict::column(Column::Key);
    on_conflict.update_columns([Column::RefilledAt, Column::Failures]).action_cond_where(unchanged);
    Ok((Entity::insert_many(rows).on_conflict(on_conflict), Admission { last }))
}

fn keys(buckets: &[Bucket]) -> impl Iterator<Item = &str> {
    buckets.iter().map(|bucket| bucket.key.as_str())
}

/// Returns what the attempts at an account are counted under: its id, or the name that was typed where there is no
/// account. No name that can be typed is equal to an id in this form.
fn account(user: Option<Uuid>, login: &str) -> String {
    user.map_or_else(|| format!("nobody {}", canonical(login)), |user| format!("user {user}"))
}

/// Returns a name in the form in which it is compared: an address, a username, or the text itself where it is neither.
pub(in crate::accounts) fn canonical(login: &str) -> String {
    match (Email::parse(login), Username::parse(login)) {
        (Ok(email), _) => email.canonical(),
        (_, Ok(username)) => username.canonical().to_owned(),
        _ => login.to_owned(),
    }
}

/// Deletes the buckets that were quiet for a long time, and those beyond the most; returns how many.
pub async fn sweep(db: &Db, now: OffsetDateTime) -> Result<u64> {
    let quiet = (now - KEPT).unix_timestamp();
    let mut gone = Condition::any().add(Column::RefilledAt.lte(quiet));
    let ranked = Entity::find().order_by_desc(Column::Failures).order_by_desc(Column::RefilledAt);
    // Sorted by a reading connection, so that the only writing one does not wait for it.
    if let Some(first) = ranked.offset(MOST).one(db.read()).await? {
        let as_many =
            Condition::all().add(Column::Failures.eq(first.failures)).add(Column::RefilledAt.lte(first.refilled_at));
        gone = gone.add(Column::Failures.lt(first.failures)).add(as_many);
    }
    Ok(delete_in_batches::<Entity>(db.write(), gone).await?)
}
