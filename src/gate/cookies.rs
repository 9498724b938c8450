//! The cookies of a request, as they were sent.

use axum::http::HeaderMap;

use crate::app::App;

/// The name of the forward cookie on https. Browsers take a cookie whose name begins with `__Secure-` only over TLS (RFC
/// 6265bis, 4.1.3.1).
pub const FORWARD: &str = "__Secure-latchkey_gate";
/// Its name on http (loopback).
pub const FORWARD_ON_HTTP: &str = "latchkey_gate";

/// Returns the name of the forward cookie on this site.
pub fn forward(app: &App) -> &'static str {
    if app.public_url.is_https() { FORWARD } else { FORWARD_ON_HTTP }
}

/// Returns the value under exactly this name, if it came once.
pub fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = pairs(headers).filter(|(sent, _)| *sent == name).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value),
        _ => None,
    }
}

/// What may stand around the name and the value of a cookie (RFC 6265, 4.2.1).
///
/// No other blank is taken away. Browsers let a host below our domain plant a cookie whose name begins with U+2000, because that is
/// not the prefix `__Host-`. Without its blank, it would pass for ours.
const BLANKS: [char; 2] = [' ', '\t'];

/// Returns the name and the value of each cookie of a request, as they were sent.
pub fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let lines = headers.get_all(axum::http::header::COOKIE).iter();
    let all = lines.filter_map(|line| std::str::from_utf8(line.as_bytes()).ok()).flat_map(|line| line.split(';'));
    all.filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.trim_matches(BLANKS), value.trim_matches(BLANKS)))
}
