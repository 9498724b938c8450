//! What a database holds: the number of rows and a digest of each table.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait, DbErr, Value};
use sha2::{Digest, Sha256};

use super::table::{BATCH, Row, Table};

/// The contents of a database. Two databases with equal surveys hold the same rows, whatever kind each is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey(pub(super) Vec<Content>);

/// The content of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) table: String,
    pub(super) rows: i64,
    /// SHA-256 of all rows in the order of their keys, in hexadecimal.
    pub(super) digest: String,
}

impl Survey {
    /// Reads every row.
    pub(super) async fn of(conn: &impl ConnectionTrait) -> Result<Self, DbErr> {
        let mut all = vec![];
        for table in Table::all(conn).await? {
            let mut tally = Tally::of(&table);
            while tally.read(conn).await?.is_some() {}
            all.push(tally.content());
        }
        Ok(Self(all))
    }

    /// Returns how many rows there are in all tables.
    pub fn rows(&self) -> u64 {
        self.0.iter().map(|content| content.rows.unsigned_abs()).sum()
    }

    /// Returns how many users there are.
    pub fn users(&self) -> u64 {
        self.0.iter().find(|content| content.table == "users").map_or(0, |content| content.rows.unsigned_abs())
    }

    /// Refuses another content than this one.
    ///
    /// # Errors
    /// The tables that differ.
    pub fn compare(&self, other: &Self) -> anyhow::Result<()> {
        if self == other {
            return Ok(());
        }
        let both = self.0.iter().chain(&other.0);
        let differ = both.filter(|content| !(self.0.contains(content) && other.0.contains(content)));
        let differ: BTreeSet<_> = differ.map(|content| content.table.as_str()).collect();
        let differ = Vec::from_iter(differ).join(", ");
        anyhow::bail!("the rows of {differ} are not those that were written")
    }
}

/// Reads a table in batches, counts the rows and digests them.
pub(super) struct Tally<'a> {
    table: &'a Table,
    /// The key of the row that was read last.
    after: Option<Value>,
    ended: bool,
    rows: i64,
    digest: Sha256,
}

impl<'a> Tally<'a> {
    pub(super) fn of(table: &'a Table) -> Self {
        let mut digest = Sha256::new();
        // The steps make the columns, so they have the same order in every database.
        table.columns().for_each(|name| absorb(&mut digest, b'c', name.as_bytes()));
        Self { table, after: None, ended: false, rows: 0, digest }
    }

    /// Reads the next rows, or `None` if there are no more.
    pub(super) async fn read(&mut self, conn: &impl ConnectionTrait) -> Result<Option<Vec<Row>>, DbErr> {
        if self.ended {
            return Ok(None);
        }
        let rows = self.table.read(conn, self.after.take()).await?;
        for row in &rows {
            row.iter().for_each(|value| absorb_value(&mut self.digest, value));
            self.rows += 1;
        }
        self.ended = rows.len() < BATCH;
        self.after = rows.last().map(|row| row[0].clone());
        Ok(Some(rows).filter(|rows| !rows.is_empty()))
    }

    pub(super) fn content(self) -> Content {
        let digest = self.digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Content { table: self.table.name.to_owned(), rows: self.rows, digest }
    }
}

/// Adds bytes with their kind and length, so that no two lists of values are the same bytes.
fn absorb(digest: &mut Sha256, kind: u8, bytes: &[u8]) {
    digest.update([kind]);
    digest.update((bytes.len() as u64).to_be_bytes());
    digest.update(bytes);
}

fn absorb_value(digest: &mut Sha256, value: &Value) {
    match value {
        Value::Uuid(Some(id)) => absorb(digest, b'u', id.as_bytes()),
        Value::String(Some(text)) => absorb(digest, b's', text.as_bytes()),
        // A moment is the same moment, whichever offset it is written with.
        Value::TimeDateTimeWithTimeZone(Some(at)) => absorb(digest, b't', &at.unix_timestamp_nanos().to_be_bytes()),
        Value::Bool(Some(yes)) => absorb(digest, b'b', &[u8::from(*yes)]),
        Value::BigInt(Some(number)) => absorb(digest, b'n', &number.to_be_bytes()),
        _ => absorb(digest, b'0', &[]), // NULL: `Table::row` makes no other values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_lie_beside_each_other_are_told_apart() {
        let digest = |row: &[Value]| {
            let mut digest = Sha256::new();
            row.iter().for_each(|value| absorb_value(&mut digest, value));
            digest.finalize()
        };
        let rows: [&[Value]; 6] = [
            &["ab".into(), "c".into()],
            &["a".into(), "bc".into()],
            &["abc".into(), "".into()],
            &["abc".into(), None::<String>.into()],
            &[Some(true).into(), "abc".into()],
            &[Some(1_i64).into(), "abc".into()],
        ];
        let all: BTreeSet<_> = rows.iter().map(|row| digest(row)).collect();
        assert_eq!(all.len(), rows.len());
    }
}
