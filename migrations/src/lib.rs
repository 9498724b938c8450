//! Latchkey's database steps, one file each, for SQLite and PostgreSQL alike.
//!
//! A crate of its own: a step cannot see the entities, so it stays true when they move on.

pub use sea_orm_migration::prelude::*;

mod m20261122_000001_accounts;
mod m20261122_000002_language;
mod m20261122_000003_api;
mod m20261122_000004_limits;
mod m20261127_000006_floods;
mod m20261127_000007_disabled;
mod m20261127_000008_not_me_links;

/// Runs the steps in order.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261122_000001_accounts::Migration),
            Box::new(m20261122_000002_language::Migration),
            Box::new(m20261122_000003_api::Migration),
            Box::new(m20261122_000004_limits::Migration),
            Box::new(m20261127_000006_floods::Migration),
            Box::new(m20261127_000007_disabled::Migration),
            Box::new(m20261127_000008_not_me_links::Migration),
        ]
    }
}
