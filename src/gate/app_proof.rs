//! What an app shows of itself (RFC 6749, 2.3; OpenID Connect Core, 9). Whether it is the app's is for the door to find out.

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::form::Fields;
use crate::accounts::app_proof::Proof;
use crate::accounts::assertion;

/// What an app has sent.
pub struct Shown {
    /// Its `client_id`, empty if there is none.
    pub id: String,
    /// By what it shows that it is this app.
    pub proof: Proof,
    /// Whether it came in `Authorization`, which a refusal has to name then.
    pub basic: bool,
}

/// The only type of assertion (RFC 7523, 2.2).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Why it is not clear what an app shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unclear {
    /// It showed itself in two ways at once, which are refused (RFC 6749, 2.3).
    TwoProofs,
    /// It named itself twice, and differently.
    TwoIds,
    /// `Authorization` is not what `Basic` means.
    NotBasic,
    /// `client_assertion_type` is not that of a JWT.
    NotJwt,
}

impl Shown {
    /// Reads `client_secret_basic`, `client_secret_post` or `private_key_jwt`, or the name alone.
    ///
    /// # Errors
    /// When it is not clear what the app shows.
    pub fn read(headers: &HeaderMap, form: &Fields) -> Result<Self, Unclear> {
        let in_form = form.once("client_secret").filter(|secret| !secret.is_empty());
        let assertion = form.once("client_assertion").filter(|assertion| !assertion.is_empty());
        let basic = basic(headers)?;
        let is_basic = basic.is_some();
        let (id, proof) = match (basic, in_form, assertion) {
            (Some((id, secret)), None, None) => (Some(id), Proof::Secret(secret)),
            (None, Some(secret), None) => (None, Proof::Secret(Zeroizing::new(secret.to_owned()))),
            (None, None, Some(_)) if form.text("client_assertion_type") != JWT_BEARER => return Err(Unclear::NotJwt),
            (None, None, Some(jwt)) => {
                (assertion::named(jwt).map(|id| id.to_string()), Proof::Assertion(jwt.to_owned()))
            }
            (None, None, None) => (None, Proof::Nothing),
            _ => return Err(Unclear::TwoProofs),
        };
        let named = form.text("client_id");
        let id = id.unwrap_or_else(|| named.to_owned());
        if form.came("client_id") && named != id {
            return Err(Unclear::TwoIds);
        }
        Ok(Self { id, proof, basic: is_basic })
    }
}

/// Returns what `Authorization: Basic` says. Both parts are encoded as in a form first (RFC 6749, 2.3.1).
fn basic(headers: &HeaderMap) -> Result<Option<(String, Zeroizing<String>)>, Unclear> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), another) = (all.next(), all.next()) else { return Ok(None) };
    let bad = || Unclear::NotBasic;
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
