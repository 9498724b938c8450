//! The steps of Latchkey's database, one file each. Every step runs on SQLite and on PostgreSQL.
//!
//! The steps are a crate of their own, which cannot use the entities. So a step stays correct when the entities change.

pub use sea_orm_migration::prelude::*;

mod m20261122_000001_accounts;
mod m20261122_000002_language;
mod m20261122_000003_api;
mod m20261122_000004_limits;
mod m20261127_000006_floods;
mod m20261127_000007_disabled;
mod m20261127_000008_not_me_links;
mod m20261127_000009_nodes;
mod m20261127_000010_mail_waits;
mod m20261127_000011_changes;
mod m20261128_000012_apps;
mod m20261128_000013_signing_keys;
mod m20261128_000014_authorizations;
mod m20261128_000015_email_proven;
mod m20261128_000016_app_hosts;
mod m20261128_000017_logouts;
mod m20261128_000018_pushed_requests;
mod m20261128_000019_app_keys;

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
            Box::new(m20261127_000009_nodes::Migration),
            Box::new(m20261127_000010_mail_waits::Migration),
            Box::new(m20261127_000011_changes::Migration),
            Box::new(m20261128_000012_apps::Migration),
            Box::new(m20261128_000013_signing_keys::Migration),
            Box::new(m20261128_000014_authorizations::Migration),
            Box::new(m20261128_000015_email_proven::Migration),
            Box::new(m20261128_000016_app_hosts::Migration),
            Box::new(m20261128_000017_logouts::Migration),
            Box::new(m20261128_000018_pushed_requests::Migration),
            Box::new(m20261128_000019_app_keys::Migration),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_file_is_a_step_and_the_steps_are_in_order() {
        let files = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).expect("the sources");
        let files = files.map(|file| file.expect("a file").file_name().into_string().expect("UTF-8"));
        let mut files: Vec<_> = files.filter(|name| name != "lib.rs").collect();
        files.sort();
        let steps: Vec<_> = Migrator::migrations().iter().map(|step| format!("{}.rs", step.name())).collect();
        assert_eq!(steps, files);
    }
}
