//! The email address that was typed last in this browser, or whose link was opened here: the next page has it in its field
//! already. It is in a cookie, because a row for each failed log-in would let strangers fill the database.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use time::Duration;
use tower_cookies::Cookies;

use super::cookie::{self, Name};
use crate::accounts::user::email::Email;
use crate::app::App;

/// How long the address is kept. It is short, because the next user of this browser should not find it.
const LIFETIME: Duration = Duration::minutes(15);

/// Remembers the address, if `text` is one.
pub fn remember(cookies: &Cookies, app: &App, text: &str) {
    if let Ok(email) = Email::parse(text) {
        cookie::set(cookies, app, Name::Typed, URL_SAFE_NO_PAD.encode(email.as_str()), Some(LIFETIME));
    }
}

/// Returns the address, or an empty text if there is none.
pub fn address(cookies: &Cookies, app: &App) -> String {
    let bytes = cookie::get(cookies, app, Name::Typed).and_then(|value| URL_SAFE_NO_PAD.decode(value).ok());
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    // Checked again: the client may send any text as its cookie.
    text.filter(|text| Email::parse(text).is_ok()).unwrap_or_default()
}

/// Forgets the address.
pub fn forget(cookies: &Cookies, app: &App) {
    cookie::remove(cookies, app, Name::Typed);
}
