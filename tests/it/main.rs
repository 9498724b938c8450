//! Every test uses the front door: the production router on a real socket, a real database, and the real letter from the
//! mailbox. No test logs in by writing a row.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod access;
mod api;
mod api_tools;
mod app;
mod apps;
mod apps_of_strangers;
mod assertion;
mod authorize;
mod backchannel;
mod backup;
mod bad_input;
mod browser;
mod budget;
mod canary;
mod changes;
mod chromium;
mod cli;
mod cluster;
mod commands;
mod conformance;
mod connection;
mod cookies;
mod crowd;
mod data;
mod database;
mod deploy;
mod device;
mod docs;
mod doctor;
mod event;
mod faults;
mod forged;
mod forward;
mod gallery;
mod guard;
mod hosts;
mod house;
mod injection;
mod insecure_lan;
mod keys;
mod language;
mod letters;
mod limit;
mod log;
mod login;
mod logout;
mod look;
mod mail;
mod metrics;
mod nodes;
mod not_me;
mod onward;
mod operator;
mod outbox;
mod password_reset;
mod pooler;
mod postgres;
mod previous_release;
mod process;
mod profile;
mod proxies;
mod pushed;
mod queries;
mod redirects;
mod rfc9700;
mod security;
mod settings;
mod shown_token;
mod signing_key;
mod signup;
mod smtp;
mod speak_for;
mod start;
mod tls;
mod tokens;
mod visit;
mod visitor;
mod weight;
mod wire;

/// Notes that a test needs another program. `./check quick` promises to start none, so the test fails there.
fn needs(program: &str) {
    let quick = std::env::var_os("LATCHKEY_CHECK_QUICK").is_some();
    assert!(!quick, "this test needs {program}: add its module to the list in ./check, or run it without quick");
}

/// A password that zxcvbn accepts.
const OTTER: &str = "velvet otter bakes rye";
/// Another password that zxcvbn accepts.
const HERON: &str = "seven herons paint slowly";
