//! What an app shows of itself (RFC 6749, 2.3; OpenID Connect Core, 9). Whether the secret is the app's is for the door to find
//! out.

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::form::Fields;

/// What an app has sent.
pub struct Shown {
    /// Its `client_id`, empty if there is none.
    pub id: String,
    /// Its secret, if it sent one.
    pub secret: Option<Zeroizing<String>>,
    /// Whether it came in `Authorization`, which a refusal has to name then.
    pub basic: bool,
}

/// Why it is not clear what an app shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unclear {
    /// Its secret came in two ways at once, which are refused (RFC 6749, 2.3).
    TwoSecrets,
    /// It named itself twice, and differently.
    TwoIds,
    /// `Authorization` is not what `Basic` means.
    NotBasic,
}

impl Shown {
    /// Reads `client_secret_basic` or `client_secret_post`, or the name alone.
    ///
    /// # Errors
    /// When it is not clear what the app shows.
    pub fn read(headers: &HeaderMap, form: &Fields) -> Result<Self, Unclear> {
        let in_form = form.once("client_secret").filter(|secret| !secret.is_empty());
        let Some((id, secret)) = basic(headers)? else {
            let secret = in_form.map(|secret| Zeroizing::new(secret.to_owned()));
            return Ok(Self { id: form.text("client_id").to_owned(), secret, basic: false });
        };
        if in_form.is_some() {
            return Err(Unclear::TwoSecrets);
        }
        if form.came("client_id") && form.text("client_id") != id {
            return Err(Unclear::TwoIds);
        }
        Ok(Self { id, secret: Some(secret), basic: true })
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
