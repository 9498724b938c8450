//! The tables, and how rows of any of them are read and written. The database itself is asked for the columns, so that an
//! older backup is read by the columns that it has.

use sea_orm::sea_query::{Alias, Expr, ExprTrait, InsertStatement, Order, Query, SelectStatement, SimpleExpr};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, Value};
use time::OffsetDateTime;
use uuid::Uuid;

/// The tables that are copied. Those that others refer to come first.
pub(super) const TABLES: &[&str] = &[
    "users",
    "sessions",
    "reset_tokens",
    "not_me_links",
    "pending_signups",
    "outbox",
    "devices",
    "limits",
    "events",
    "visits",
    "apps",
    "signing_keys",
    "grants",
    "authorizations",
    "logouts",
    "pushed_requests",
    "assertions",
];

/// The tables that are left out on purpose: the steps, which the migrations write into every database themselves, and what
/// servers tell each other, which is of no use after some seconds.
pub(super) const LEFT_OUT: &[&str] = &["seaql_migrations", "nodes", "replays"];

/// How many rows are read and written at once. SQLite takes 32 766 values in a statement.
pub(super) const BATCH: usize = 1000;

/// What a column holds. Both databases have a type of their own for each of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Uuid,
    Text,
    Time,
    Bool,
    Number,
    Json,
}

impl Kind {
    /// Reads a type's name: as it was declared in SQLite, or PostgreSQL's internal name.
    fn of(declared: &str) -> Option<Self> {
        match declared.to_ascii_lowercase().as_str() {
            "uuid_text" | "uuid" => Some(Self::Uuid),
            "varchar" | "text" => Some(Self::Text),
            "timestamp_with_timezone_text" | "timestamptz" => Some(Self::Time),
            "boolean" | "bool" => Some(Self::Bool),
            "integer" | "bigint" | "int4" | "int8" => Some(Self::Number),
            "json_text" | "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// A table with the columns that it has in one database. The first column is the primary key.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    columns: Vec<(String, Kind)>,
    postgres: bool,
}

/// The values of a row, in the order of the columns.
pub(super) type Row = Vec<Value>;

impl Table {
    /// Returns the table, or `None` if the database has none of this name.
    ///
    /// # Errors
    /// If a column has a type that is not known here.
    pub(super) async fn of(conn: &impl ConnectionTrait, name: &'static str) -> Result<Option<Self>, DbErr> {
        let backend = conn.get_database_backend();
        let postgres = backend == DbBackend::Postgres;
        let ask = if postgres {
            "SELECT column_name::text, udt_name::text FROM information_schema.columns \
             WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position"
        } else {
            "SELECT name, type FROM pragma_table_info(?) ORDER BY cid"
        };
        let rows = conn.query_all_raw(Statement::from_sql_and_values(backend, ask, [name.into()])).await?;
        let mut columns = vec![];
        for row in rows {
            let (column, declared): (String, String) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            let kind = Kind::of(&declared)
                .ok_or_else(|| DbErr::Custom(format!("{name}.{column} has the type {declared}, which is not known")))?;
            columns.push((column, kind));
        }
        Ok((!columns.is_empty()).then_some(Self { name, columns, postgres }))
    }

    /// Returns all tables that the database has, of those that are copied.
    pub(super) async fn all(conn: &impl ConnectionTrait) -> Result<Vec<Self>, DbErr> {
        let mut tables = vec![];
        for name in TABLES {
            tables.extend(Self::of(conn, name).await?);
        }
        Ok(tables)
    }

    /// Returns the names of the columns, in the order of the values of a [`Row`].
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(name, _)| name.as_str())
    }

    /// Reads the next rows, in the order of the primary key, after the row with the key `after`. There are [`BATCH`] of them,
    /// or fewer at the end.
    pub(super) async fn read(&self, conn: &impl ConnectionTrait, after: Option<Value>) -> Result<Vec<Row>, DbErr> {
        let rows = conn.query_all(&self.select(after)).await?;
        rows.iter().map(|row| self.row(row)).collect()
    }

    fn select(&self, after: Option<Value>) -> SelectStatement {
        let mut select = Query::select();
        for (name, kind) in &self.columns {
            let column = Expr::col(Alias::new(name));
            // The text of JSON is copied as it is. Parsed and written again, it could become another text.
            let cast = match kind {
                Kind::Number => Some("bigint"),
                Kind::Json => Some("text"),
                _ => None,
            };
            match cast.filter(|_| self.postgres) {
                Some(cast) => select.expr(column.cast_as(cast)),
                None => select.expr(column),
            };
        }
        let key = self.key();
        if let Some(after) = after {
            select.and_where(key.clone().gt(Expr::val(after)));
        }
        select.from(Alias::new(self.name)).order_by_expr(key, Order::Asc).limit(BATCH as u64).take()
    }

    /// Returns the primary key as it is sorted: by bytes, which is the same order in both databases. PostgreSQL sorts text by
    /// a language otherwise.
    fn key(&self) -> SimpleExpr {
        let (name, kind) = &self.columns[0];
        if self.postgres && *kind == Kind::Text {
            return Expr::cust(format!("\"{name}\" COLLATE \"C\""));
        }
        Expr::col(Alias::new(name))
    }

    fn row(&self, row: &QueryResult) -> Result<Row, DbErr> {
        let value = |(place, (name, kind)): (usize, &(String, Kind))| {
            let value: Result<Value, DbErr> = match kind {
                Kind::Uuid => row.try_get_by_index::<Option<Uuid>>(place).map(Value::from),
                Kind::Text | Kind::Json => row.try_get_by_index::<Option<String>>(place).map(Value::from),
                Kind::Time => row.try_get_by_index::<Option<OffsetDateTime>>(place).map(Value::from),
                Kind::Bool => row.try_get_by_index::<Option<bool>>(place).map(Value::from),
                Kind::Number => row.try_get_by_index::<Option<i64>>(place).map(Value::from),
            };
            value
                .map_err(|why| DbErr::Custom(format!("a row of {} has a {name} that cannot be read: {why}", self.name)))
        };
        self.columns.iter().enumerate().map(value).collect()
    }

    /// Writes rows with the columns of this table into the table of the same name in another database.
    pub(super) async fn insert(&self, conn: &impl ConnectionTrait, rows: Vec<Row>) -> Result<(), DbErr> {
        let json_type = conn.get_database_backend() == DbBackend::Postgres;
        let mut insert = InsertStatement::new();
        insert.into_table(Alias::new(self.name)).columns(self.columns().map(Alias::new));
        for row in rows {
            let value = |(value, (_, kind)): (Value, &(String, Kind))| match kind {
                Kind::Json if json_type => Expr::val(value).cast_as("json"),
                _ => Expr::val(value),
            };
            let values = row.into_iter().zip(&self.columns).map(value);
            insert.values(values).map_err(|why| DbErr::Custom(why.to_string()))?;
        }
        let written = conn.execute(&insert).await;
        written.map_err(|why| DbErr::Custom(format!("rows of {} cannot be written: {why}", self.name)))?;
        Ok(())
    }

    /// Returns whether the table has no row.
    pub(super) async fn is_empty(&self, conn: &impl ConnectionTrait) -> Result<bool, DbErr> {
        Ok(conn.query_one(&self.select(None).limit(1).take()).await?.is_none())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::db::{DatabaseUrl, Db};

    #[tokio::test]
    async fn every_table_is_copied_or_left_out_on_purpose_and_its_first_column_is_its_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = DatabaseUrl::of_file(&folder.path().join("test.db")).expect("a path");
        let db = Db::open(&url).await.expect("a database");
        db.migrate().await.expect("its tables");
        let ask = "SELECT m.name, group_concat(c.cid) FROM sqlite_master m, pragma_table_info(m.name) c \
                   WHERE m.type = 'table' AND c.pk > 0 GROUP BY m.name";
        let rows = db.read().query_all_raw(Statement::from_string(DbBackend::Sqlite, ask)).await.expect("their keys");
        let mut tables = BTreeSet::new();
        for row in rows {
            let (name, key): (String, String) =
                (row.try_get_by_index(0).expect("a name"), row.try_get_by_index(1).expect("its key"));
            assert_eq!(key, "0", "the key of {name}");
            tables.insert(name);
        }
        let known: BTreeSet<_> = TABLES.iter().chain(LEFT_OUT).map(|name| (*name).to_owned()).collect();
        assert_eq!(known, tables, "the tables known here, and those of the migrated database");
        assert_eq!(Table::all(db.read()).await.expect("known types").len(), TABLES.len());
    }
}
