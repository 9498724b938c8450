//! What a client gets that is not known, so that nothing is lost: a way to the log-in and back, or a status for a program.

use askama::Template;
use axum::Extension;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::original::{Original, Wants};
use crate::accounts::forward::Destination;
use crate::app::App;
use crate::gate::error::{Error, Explained};
use crate::locale::{Locale, Translation};
use crate::urls;

/// The page for a form that was sent after its session had ended. A browser shows it at the origin of the app, so everything
/// is in it, and its links are whole addresses.
#[derive(Template)]
#[template(path = "forward/logged_out.html")]
struct LoggedOutPage<'a> {
    locale: Locale,
    t: &'static Translation,
    site: &'a str,
    app: String,
    /// The style sheet, in its element.
    style: String,
    /// Where the user logs in, in another tab.
    log_in: String,
}

impl LoggedOutPage<'_> {
    fn nothing_lost(&self) -> String {
        self.t.forward_nothing_lost(self.app.as_str()).trim().to_owned()
    }
}

/// Answers a request that nobody is known to be behind.
pub fn answer(app: &App, original: &Original, wants: Wants, (name, locale): (&str, Locale)) -> Result<Response, Error> {
    let to = original.to(app).ok_or_else(|| Error::internal("no address at a host of an app"))?;
    let root = to.root(app.public_url.is_https());
    match wants {
        Wants::Page => {
            let to = enter(app, &to);
            Ok((StatusCode::FOUND, [(header::LOCATION, to)]).into_response())
        }
        Wants::Form => form(app, &root, (name, locale)),
        Wants::Answer => {
            let words = json!({ "error": "not_logged_in", "log_in": enter(app, &root) });
            Ok(unauthorized(app, [(header::CONTENT_TYPE, "application/json")], words.to_string()))
        }
        Wants::Status => Ok(unauthorized(app, [(header::CONTENT_TYPE, "text/plain")], String::new())),
    }
}

/// Returns the address of the page that sends the user on to the app, after the log-in.
fn enter(app: &App, to: &Destination) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("to", to.as_str()).finish();
    format!("{}?{query}", app.public_url.at(urls::ENTER))
}

/// Returns a 401. It names how a client can be known (RFC 9110, 15.5.2), in a word for which no browser asks for a password.
fn unauthorized(app: &App, kind: [(HeaderName, &'static str); 1], body: String) -> Response {
    let challenge = format!("Latchkey realm=\"{}\"", app.public_url);
    (StatusCode::UNAUTHORIZED, Extension(Explained), kind, [(header::WWW_AUTHENTICATE, challenge)], body)
        .into_response()
}

fn form(app: &App, root: &Destination, (name, locale): (&str, Locale)) -> Result<Response, Error> {
    let css = &app.look.inline_css;
    let hash = STANDARD.encode(Sha256::digest(css.as_bytes()));
    // A page at another origin could load this site's style sheet only if every page could.
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    );
    let page = LoggedOutPage {
        locale,
        t: locale.t(),
        site: &app.settings.site_name,
        app: locale.inside(name),
        style: format!("<style>{css}</style>"),
        log_in: enter(app, root),
    };
    let mut response = unauthorized(app, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], page.render()?);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_str(&policy).map_err(Error::internal)?);
    headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(locale.tag()));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}
