//! Which app asks, and how it shows that (RFC 6749, 2.3; OpenID Connect Core, 9).

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::error::Problem;
use crate::accounts::apps::{self, Application};
use crate::app::App;
use crate::gate::form::Fields;

/// Returns the app that sends a request: by `client_secret_basic`, by `client_secret_post`, or, if it has no secret, by its
/// name alone.
///
/// # Errors
/// When no app is named, when it has another secret, or when it shows two.
pub async fn authenticate(app: &App, headers: &HeaderMap, form: &Fields) -> Result<Application, Problem> {
    let basic = basic(headers)?;
    let in_form = form.once("client_secret").filter(|secret| !secret.is_empty());
    let is_basic = basic.is_some();
    let (id, secret) = match (basic, in_form) {
        // Two ways at once are refused (RFC 6749, 2.3).
        (Some(_), Some(_)) => return Err(Problem::Refused("invalid_request", "client_secret came in two ways")),
        (Some((id, secret)), None) => (id, Some(secret)),
        (None, secret) => (form.text("client_id").to_owned(), secret.map(|secret| Zeroizing::new(secret.to_owned()))),
    };
    if is_basic && form.came("client_id") && form.text("client_id") != id {
        return Err(Problem::Refused("invalid_request", "client_id is another one than in Authorization"));
    }
    let unknown = || Problem::Unknown(is_basic);
    let found = apps::by_id(app.db.read(), id.parse().map_err(|_| unknown())?).await?.ok_or_else(unknown)?;
    let shown = match secret {
        Some(secret) => found.has_secret(&secret),
        None => found.public,
    };
    if shown { Ok(found) } else { Err(unknown()) }
}

/// Returns what `Authorization: Basic` says. Both parts are encoded as in a form first (RFC 6749, 2.3.1).
fn basic(headers: &HeaderMap) -> Result<Option<(String, Zeroizing<String>)>, Problem> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), another) = (all.next(), all.next()) else { return Ok(None) };
    let bad = || Problem::Unknown(true);
    let text = value.to_str().ok().filter(|_| another.is_none()).ok_or_else(bad)?;
    let (scheme, encoded) = text.split_once(' ').ok_or_else(bad)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(bad());
    }
    let decoded = Zeroizing::new(STANDARD.decode(encoded.trim()).map_err(|_| bad())?);
    let text = std::str::from_utf8(&decoded).map_err(|_| bad())?;
    let (id, secret) = text.split_once(':').ok_or_else(bad)?;
    let decode = |part: &str| {
        let line = format!("x={part}");
        form_urlencoded::parse(line.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    Ok(Some((decode(id), Zeroizing::new(decode(secret)))))
}
