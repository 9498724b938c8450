//! The headers of every answer, failures included.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use super::client::RequestId;
use crate::app::App;

const CLOSED: &str = "accelerometer=(), autoplay=(), camera=(), display-capture=(), encrypted-media=(), fullscreen=(), \
                      geolocation=(), gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), \
                      picture-in-picture=(), screen-wake-lock=(), usb=(), xr-spatial-tracking=()";

const FIXED: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // Not no-referrer: with that, Chromium sends `Origin: null` on our own forms.
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), CLOSED),
];

/// How many headers an answer gets here at most. A map that gets place for them once does not grow several times.
pub const ADDED: usize = 10;

/// Two years (RFC 6797, 6.1).
const HSTS: &str = "max-age=63072000";
const HSTS_WITH_SUBDOMAINS: &str = "max-age=63072000; includeSubDomains";

/// Returns the policy of every page that sets none itself: it loads our own files only, has no inline code, and is shown
/// in no frame. So what an attacker smuggles into a page cannot run, load or send anything.
///
/// `forms_lead_to` are other origins to which the answer to a form may send the browser.
pub fn content_security_policy(app: &App, forms_lead_to: &[String]) -> HeaderValue {
    // Chromium applies `form-action` to the redirect that answers a form too, and a log-in leads home.
    let home = app.settings.home_url.as_ref().map_or_else(String::new, |home| format!(" {}", home.origin()));
    let others: String = forms_lead_to.iter().map(|source| format!(" {source}")).collect();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'{home}{others}; base-uri 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("an origin is ASCII")
}

/// Adds the headers to an answer. A handler that has set a policy, frame or cache header itself keeps its own.
pub fn add(app: &App, policy: &HeaderValue, id: RequestId, headers: &mut HeaderMap) {
    headers.reserve(ADDED);
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert_with(|| policy.clone());
    for (name, value) in FIXED {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if app.public_url.is_trustworthy() {
        headers.insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
    }
    // For browsers that do not know `frame-ancestors` (clickjacking; RFC 7034).
    headers.entry(header::X_FRAME_OPTIONS).or_insert(HeaderValue::from_static("DENY"));
    // A browser never keeps the pages of an account, so “back” after a log-out shows the log-in.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if app.public_url.is_https() {
        let hsts = if app.settings.hsts_subdomains { HSTS_WITH_SUBDOMAINS } else { HSTS };
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(hsts));
    }
    add_id(id, headers);
}

/// Adds to an answer that a browser sees at the origin of an app only what says nothing of that origin. What the app's pages
/// may load, or whether its host has TLS for two years, is not ours to say.
pub fn add_elsewhere(id: RequestId, headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // An answer says who is there. Nobody else must ever get it from a cache.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    add_id(id, headers);
}

fn add_id(id: RequestId, headers: &mut HeaderMap) {
    if let Ok(id) = HeaderValue::try_from(id.to_string()) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
}
