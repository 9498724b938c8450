//! Latchkey: accounts for a site, in one binary.
//!
//! The floors of the house. Imports run downward only, which `tests/it/house.rs` checks:
//!
//! ```text
//! 4   main
//! 3   cli > server                          runs one command; serves until it is stopped
//! 2   web  api  oidc  forward  mail         the doors and the postman; none imports another
//! 1¾  gate                                  what every request passes, at each door
//! 1½  app > visit_store replay_store nodes  the shared state; the tables of visits, of replays, of nodes
//! 1¼  words                                 texts for errors; names of browsers
//! 1   accounts                              what is true of accounts: sea-orm, argon2; no axum, askama, lettre
//! 0   look > config > keys seal > secret    the site's files and colours; the settings; the keys; the secret
//!     data > db                             the whole database at once: backed up, restored, moved
//!     net > urls > lan                      the accept loop; paths and addresses; which hosts are private
//!     networks                              the networks that a client counts in
//!     chance clock db locale metrics        randomness, time, the database, languages, counters
//!     outgoing > locale                     requests to other servers
//!     outside                               addresses of other sites, which the operator sets
//!     notice recent                         lines of the log that strangers cause; values kept for a while
//!     served seen                           what a server leaves in the data folder for commands, and tells the doctor
//! ```

pub mod accounts;
pub mod api;
pub mod app;
pub mod chance;
pub mod cli;
pub mod clock;
pub mod config;
pub mod data;
pub mod db;
pub mod forward;
pub mod gate;
pub mod keys;
pub mod lan;
pub mod locale;
pub mod look;
pub mod mail;
pub mod metrics;
pub mod net;
pub mod networks;
pub mod nodes;
pub mod notice;
pub mod oidc;
pub mod outgoing;
pub mod outside;
pub mod recent;
pub mod replay_store;
pub mod seal;
pub mod secret;
pub mod seen;
pub mod served;
pub mod server;
#[expect(missing_docs, reason = "a path's name says what it is")]
pub mod urls;
pub mod visit_store;
pub mod web;
pub mod words;
