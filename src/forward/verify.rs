//! Who is there? The answer lets a request through to an app, with the user in its headers, or not.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::error::refused;
use super::original::Original;
use super::refusal;
use crate::accounts::session::SessionKind;
use crate::accounts::user::User;
use crate::app::App;
use crate::gate::client::{self, Language};
use crate::gate::cookies;
use crate::gate::error::Error;

/// GET /auth/verify, with any method that a proxy copies.
pub async fn answer(State(app): State<Arc<App>>, request: Request) -> Result<Response, Error> {
    let (parts, _) = request.into_parts();
    let no = |words| Ok(refused(StatusCode::FORBIDDEN, words));
    if app.settings.gate_domain.is_none() {
        return no("LATCHKEY_GATE_DOMAIN is not set, so no proxy may ask who is logged in.");
    }
    let original = match Original::of(&parts, &app) {
        Ok(original) => original,
        Err(words) => return no(words),
    };
    // By a host that the operator has not named, an attacker with a name of its own below the domain would learn who is there.
    let Some(application) = app.apps.at(&original.host).await? else {
        return no("No app is registered at this host; `latchkey app add NAME --host HOST` registers one.");
    };
    let (now, headers) = (app.now(), &parts.headers);
    // The forward cookie opens this and nothing else, and no other cookie opens this.
    let token = cookies::value(headers, cookies::forward(&app));
    if let Some(pointer) = token.and_then(|token| app.forward_keys.verify(token, now)) {
        let about = (SessionKind::Browser, pointer);
        if let Some(resumed) = app.accounts.resume(about, || client::ip(&parts, &app), now).await? {
            return Ok((StatusCode::OK, remote(&resumed.user)).into_response());
        }
    }
    refusal::answer(&app, &original, original.wants(headers), (&application.name, Language::of(&parts).locale))
}

/// Returns who is there, as headers. None of them is ever left out: some proxies then leave what the client has written.
fn remote(user: &User) -> HeaderMap {
    let id = user.id.to_string();
    let name = text(&user.full_name);
    let mut headers = HeaderMap::with_capacity(12);
    headers.insert(HeaderName::from_static("remote-user"), text(&user.username));
    headers.insert(HeaderName::from_static("remote-id"), text(&id));
    headers.insert(HeaderName::from_static("remote-email"), text(user.email.as_str()));
    let name = if name.is_empty() { text(&user.username) } else { name };
    headers.insert(HeaderName::from_static("remote-name"), name);
    headers
}

/// Returns a text as the value of a header, in UTF-8. A control character could end the header, so none gets in.
fn text(text: &str) -> HeaderValue {
    match HeaderValue::from_str(text) {
        Ok(value) if !text.contains(char::is_control) => value,
        _ => {
            let plain: String = text.chars().filter(|c| !c.is_control()).collect();
            HeaderValue::from_str(plain.trim()).unwrap_or(HeaderValue::from_static(""))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_no_control_characters() {
        for (name, value) in [
            ("Sam Smith", "Sam Smith"),
            ("萨姆 Ünal", "萨姆 Ünal"),
            ("Sam\r\nRemote-User: root", "SamRemote-User: root"),
            ("a\tb\0c\u{7f}\u{85}d", "abcd"),
            ("\n", ""),
        ] {
            assert_eq!(text(name).as_bytes(), value.as_bytes());
        }
    }
}
