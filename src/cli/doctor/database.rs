//! Looks at the database: whether it can be used, how fast it is, and whether its clock agrees with this machine's.

use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use time::OffsetDateTime;

use super::super::open::{ELSEWHERE, open_db};
use super::{Finding, fail, ok, warn};
use crate::accounts::signing_key::{self, Sealed};
use crate::accounts::{event, outbox};
use crate::clock::{APART, Clock};
use crate::config::Settings;
use crate::db::{self, Db};
use crate::secret::Secret;

/// How often each thing is done, for the median.
const ROUNDS: usize = 9;
/// The time that a read may take before it is a warning. A page has three at most.
const SLOW_READ: Duration = Duration::from_millis(10);
/// The time that a committed write may take before it is a warning. A log-in waits for one.
const SLOW_WRITE: Duration = Duration::from_millis(100);
/// The difference from which on a cookie of one machine is not yet valid at another, in seconds.
const FAR_OFF: f64 = 60.0;
/// The age of the email that has waited longest from which on mail does not go out.
const WAITS_LONG: time::Duration = time::Duration::minutes(5);

/// Looks at the database.
pub(super) async fn check(settings: &Settings, secret: Option<&Secret>) -> Vec<Finding> {
    let db = match open_db(&settings.storage).await {
        Ok(db) => db,
        Err(why) => return vec![fail("database", format!("{why:#}; {ELSEWHERE}"))],
    };
    let found = look(&db, secret).await;
    let _ = db.close().await; // the lines are known already
    found.unwrap_or_else(|why| vec![fail("database", format!("it does not do its work: {}", db::why(&why)))])
}

async fn look(db: &Db, secret: Option<&Secret>) -> Result<Vec<Finding>, DbErr> {
    let (name, ahead) = about(db).await?;
    let read = median(async || db.read().query_one_raw(statement(db, "SELECT 1")).await.map(drop)).await?;
    let write = median(async || write_and_undo(db).await).await?;
    let took = format!("a read takes {}, a committed write {}", ms(read), ms(write));
    let says = format!("{name}, tables up to date; {took}");
    let speed = if read > SLOW_READ {
        warn("database", format!("{says}; reads are slow: put the database nearer, or look at its load"))
    } else if write > SLOW_WRITE {
        warn("database", format!("{says}; writes are slow: look at the disk of the database"))
    } else {
        ok("database", says)
    };
    let mut found = vec![speed, clock(db, ahead).await?, waiting(db).await?];
    if let Some(secret) = secret {
        found.push(signing(db, secret).await?);
    }
    Ok(found)
}

/// Returns the name and version of the database, and how many seconds its clock is ahead of ours if it has one of its own.
async fn about(db: &Db) -> Result<(String, Option<f64>), DbErr> {
    let missing = || DbErr::RecordNotFound("version".into());
    if db.read().get_database_backend() != DbBackend::Postgres {
        let row = db.read().query_one_raw(statement(db, "SELECT sqlite_version()")).await?.ok_or_else(missing)?;
        return Ok((format!("SQLite {}", row.try_get_by_index::<String>(0)?), None));
    }
    let ask = "SELECT current_setting('server_version'), extract(epoch FROM clock_timestamp())::float8";
    let began = unix_seconds();
    let row = db.read().query_one_raw(statement(db, ask)).await?.ok_or_else(missing)?;
    let here = (began + unix_seconds()) / 2.0;
    Ok((format!("PostgreSQL {}", row.try_get_by_index::<String>(0)?), Some(row.try_get_by_index::<f64>(1)? - here)))
}

/// Writes a row and deletes it again, in one transaction: its commit waits for the disk, and leaves nothing.
async fn write_and_undo(db: &Db) -> Result<(), DbErr> {
    let tx = db.begin().await?;
    tx.execute_raw(statement(db, "INSERT INTO limits (key, whole_at, misses) VALUES ('doctor', 0, 0)")).await?;
    tx.execute_raw(statement(db, "DELETE FROM limits WHERE key = 'doctor'")).await?;
    tx.commit().await
}

/// Compares our clock with the database's, and with the newest event: a row from the future was written by a machine whose
/// clock was ahead, or by this one before its clock was set back.
async fn clock(db: &Db, ahead: Option<f64>) -> Result<Finding, DbErr> {
    if let Some(ahead) = ahead.filter(|ahead| ahead.abs() > APART.as_secs_f64()) {
        let says = format!(
            "the clock of PostgreSQL is {:.0} s {} this machine's; set both by NTP",
            ahead.abs(),
            if ahead > 0.0 { "ahead of" } else { "behind" }
        );
        return Ok(if ahead.abs() > FAR_OFF { fail("clock", says) } else { warn("clock", says) });
    }
    let newest = event::newest_at(db.read()).await.map_err(|why| DbErr::Custom(why.to_string()))?;
    let future =
        newest.map(|at| (at - Clock::default().now()).as_seconds_f64()).filter(|future| *future > APART.as_secs_f64());
    Ok(match (future, ahead) {
        (Some(future), _) => fail(
            "clock",
            format!(
                "the newest event is {future:.0} s in the future: this machine's clock is behind, or was ahead; set it by NTP"
            ),
        ),
        (None, Some(_)) => ok("clock", "as PostgreSQL's, and no event is in the future"),
        (None, None) => ok("clock", "no event is in the future; there is no second clock to compare with"),
    })
}

/// Says how many emails wait, and whether they wait too long.
async fn waiting(db: &Db) -> Result<Finding, DbErr> {
    let tally = outbox::tally(db.read()).await.map_err(|why| DbErr::Custom(why.to_string()))?;
    let count = |state: &str| tally.states.iter().find(|(name, _)| name == state).map_or(0, |(_, count)| *count);
    let says = format!("{} waiting, {} failed within the last month", count("waiting"), count("failed"));
    let age = tally.oldest.map(|oldest| Clock::default().now() - oldest).filter(|age| *age > WAITS_LONG);
    Ok(match age {
        Some(age) => warn(
            "outbox",
            format!(
                "{says}; the oldest has waited for {} min: latchkey mail list --state waiting",
                age.whole_minutes()
            ),
        ),
        None if count("failed") > 0 => {
            warn("outbox", format!("{says}; what the mail server said: latchkey mail list --state failed"))
        }
        None => ok("outbox", says),
    })
}

/// Says whether the secret opens the keys that sign the tokens of apps. A server without an older secret makes others.
async fn signing(db: &Db, secret: &Secret) -> Result<Finding, DbErr> {
    let found = signing_key::sealed(db.read(), secret).await.map_err(|why| DbErr::Custom(why.to_string()))?;
    let Sealed { all, older, lost } = found;
    Ok(match (all, older, lost) {
        (0, ..) => ok("signing", "no key signs the tokens of apps yet; the first app makes the first one"),
        (_, _, 1..) => warn(
            "signing",
            format!(
                "{lost} of {all} keys that sign the tokens of apps were sealed with a secret that is not there, so others sign; if it was taken away too soon, put it back after the newest one, restart, and run latchkey keys drop before you take it away; else they go by themselves"
            ),
        ),
        (_, 1.., _) => ok(
            "signing",
            format!(
                "{all} keys sign the tokens of apps, {older} of them sealed with an older secret: run latchkey keys drop before you take it away"
            ),
        ),
        _ => ok("signing", format!("{all} keys sign the tokens of apps, sealed with the newest secret")),
    })
}

fn statement(db: &Db, sql: &str) -> Statement {
    Statement::from_string(db.read().get_database_backend(), sql)
}

async fn median(work: impl AsyncFn() -> Result<(), DbErr>) -> Result<Duration, DbErr> {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        work().await?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(times[ROUNDS / 2])
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

#[expect(clippy::disallowed_methods, reason = "the clock of the program shows whole seconds only")]
fn unix_seconds() -> f64 {
    OffsetDateTime::now_utc().unix_timestamp_nanos() as f64 / 1e9
}
