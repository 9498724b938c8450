//! The table `nodes`: the servers that share a PostgreSQL database. Each of them says every few seconds that it is there.
//!
//! All times are the database's own, so the clocks of the nodes do not matter.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::chance;
use crate::db::Db;

/// Says that this node is there, deletes the rows of nodes that are gone, and counts all that were seen in the last 20
/// seconds. A paused node may come back, so its row stays for a minute.
const BEAT: &str = "WITH ours AS ( \
                        INSERT INTO nodes (id, version, seen_at) VALUES ($1, $2, now()) \
                        ON CONFLICT (id) DO UPDATE SET seen_at = now() \
                    ), gone AS ( \
                        DELETE FROM nodes WHERE id <> $1 AND abs(extract(epoch FROM now() - seen_at)) > 60 \
                    ) \
                    SELECT count(*) + 1, clock_timestamp() FROM nodes \
                    WHERE id <> $1 AND seen_at > now() - interval '20 seconds'";
const LEAVE: &str = "DELETE FROM nodes WHERE id = $1";

/// This server, as one of several.
#[derive(Debug)]
pub struct Node {
    db: Db,
    id: Uuid,
}

/// What a node learns when it says that it is there.
#[derive(Clone, Copy, Debug)]
pub struct Beat {
    /// How many nodes there are, with this one.
    pub nodes: u32,
    /// How far the database's clock is ahead of ours.
    pub database_ahead: Duration,
}

impl Node {
    /// Returns this server, or `None` if the database is a SQLite file, which has one server.
    pub fn new(db: &Db) -> Option<Self> {
        let shared = db.write().get_database_backend() == DbBackend::Postgres;
        shared.then(|| Self { db: db.clone(), id: chance::id() })
    }

    /// Says that this node is there, at the time `now` of its own clock.
    pub async fn beat(&self, now: OffsetDateTime) -> Result<Beat, DbErr> {
        let values = [self.id.into(), env!("CARGO_PKG_VERSION").into()];
        let beat = Statement::from_sql_and_values(DbBackend::Postgres, BEAT, values);
        let row = self.db.write().query_one_raw(beat).await?.ok_or(DbErr::RecordNotFound("a count".into()))?;
        let (nodes, database): (i64, OffsetDateTime) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        Ok(Beat { nodes: u32::try_from(nodes).unwrap_or(1), database_ahead: database - now })
    }

    /// Says that this node ends.
    pub async fn leave(&self) -> Result<(), DbErr> {
        let leave = Statement::from_sql_and_values(DbBackend::Postgres, LEAVE, [self.id.into()]);
        self.db.write().execute_raw(leave).await?;
        Ok(())
    }
}
