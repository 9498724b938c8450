//! Latchkey: accounts for a site, in one binary.
//!
//! The floors of the house; imports run downward only, which `tests/it/house.rs` checks:
//!
//! ```text
//! 4   main
//! 3   server      cli                       serve for ever / run once
//! 2   web   mail                            doors and the postman; neither imports the other
//! 1½  app   visit_store                     shared state; tower-sessions over SeaORM
//! 1   accounts                              what is true: sea-orm, argon2; no axum, askama, lettre
//! 0   chance clock config db keys urls      settings, time, randomness, keys, paths, the database
//! ```

pub mod accounts;
pub mod app;
pub mod chance;
pub mod cli;
pub mod clock;
pub mod config;
pub mod db;
pub mod keys;
pub mod mail;
pub mod server;
#[expect(missing_docs, reason = "a path's name says what it is")]
pub mod urls;
pub mod visit_store;
pub mod web;
