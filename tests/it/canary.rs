//! Searches everything that the server logs in any test, at TRACE and from every library, for secrets. The passwords of the
//! tests are the canaries. Tokens and hashes are recognised by their shape.

use std::io::{self, Write};
use std::sync::{Mutex, Once, PoisonError};

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::{HERON, OTTER};

static LISTEN: Once = Once::new();
static SUNG: Mutex<Vec<String>> = Mutex::new(vec![]);

/// The shapes of a token, a hash and a cookie of ours.
const SHAPES: [&str; 7] =
    ["$argon2", "eyJ0eXAi", "latchkey_session=", "latchkey_visit=", "latchkey_reset=", "latchkey_device=", "token="];
/// Everything except the HTTP clients of the tests, which run in this process too.
const EVERYTHING: &str = "trace,reqwest=off,hyper_util::client=off,thirtyfour=off,tower_sessions=trace,sqlx=trace";

/// Starts the search, once for all tests.
pub fn listen() {
    LISTEN.call_once(|| {
        let lines = fmt::layer().with_ansi(false).with_writer(|| Cage);
        tracing_subscriber::registry().with(lines).with(EVERYTHING.parse::<Targets>().unwrap()).init();
    });
}

/// Fails the test that is about to end if any test has made the server log a secret.
pub fn assert_silent() {
    let sung = SUNG.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(sung.is_empty(), "secrets in the log:\n{}", sung.join("\n"));
}

struct Cage;

impl Write for Cage {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let passwords = [OTTER, HERON].into_iter().flat_map(|word| [word.to_owned(), word.replace(' ', "+")]);
        if passwords.chain(SHAPES.map(str::to_owned)).any(|secret| text.contains(&secret)) {
            SUNG.lock().unwrap_or_else(PoisonError::into_inner).push(text.into_owned());
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_secret_in_the_log_is_found() {
    let mut cage = Cage;
    let before = SUNG.lock().unwrap_or_else(PoisonError::into_inner).len();
    cage.write_all(format!("password={}", OTTER.replace(' ', "+")).as_bytes()).unwrap();
    let heard = SUNG.lock().unwrap_or_else(PoisonError::into_inner).split_off(before);
    assert_eq!(heard.len(), 1);
}
