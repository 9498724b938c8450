//! Settings that are allowed and not safe everywhere.

use super::{Finding, ok, warn};
use crate::config::Settings;
use crate::lan;

/// Returns a line for each setting that an operator should know of, or one that there is none.
pub(super) fn check(settings: &Settings) -> Vec<Finding> {
    let metrics = settings.metrics_listen.map(|listen| listen.ip());
    let is_open = metrics.is_some_and(|ip| !ip.is_loopback() && !lan::is_private_ip(&ip));
    let unsafe_ones = [
        (
            settings.insecure_lan,
            "LATCHKEY_INSECURE_LAN is on: an attacker on the network can read passwords; for trying out only",
        ),
        (
            !settings.rate_limits,
            "LATCHKEY_RATE_LIMITS is off: passwords can be guessed without a limit; for load tests only",
        ),
        (
            settings.storage.database.is_unverified(),
            "LATCHKEY_DATABASE_TLS is unverified: an attacker between here and PostgreSQL can read and change accounts; use ?sslmode=verify-full unless you trust that network",
        ),
        (
            is_open,
            "LATCHKEY_METRICS_LISTEN is no loopback or private address: an attacker who reads the numbers finds out who has an account; name a private address",
        ),
        (settings.public_url.is_loopback(), "LATCHKEY_PUBLIC_URL is on loopback: only this machine can open the site"),
    ];
    let found: Vec<_> = unsafe_ones.into_iter().filter(|(is, _)| *is).map(|(_, says)| warn("settings", says)).collect();
    if found.is_empty() { vec![ok("settings", format!("for {}", settings.public_url))] } else { found }
}
