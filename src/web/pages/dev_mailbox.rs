//! The development mailbox: the letters that were kept on disk because there is no mail server.
//!
//! They hold links that work, for every account. So the mailbox is for the developer at this machine only, and every handler
//! here names [`Direct`].

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use askama::Template;
use axum::Json;
use axum::extract::{self, ConnectInfo, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use mail_parser::{HeaderValue, MessageParser};
use serde::Serialize;
use time::OffsetDateTime;
use tracing::warn;
use uuid::Uuid;

use crate::app::App;
use crate::gate::error::Error;
use crate::gate::form::{Query, form};
use crate::web::frame::page::{Page, html as page_html};

/// A request that came straight from this machine, and not through a proxy. Every other request gets 404.
///
/// `LISTEN` and `PUBLIC_URL` are on loopback while the mailbox is on. But a reverse proxy on this machine is on loopback too.
/// If it rewrites `Host`, every client of it could reach the mailbox.
pub struct Direct;

impl FromRequestParts<Arc<App>> for Direct {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Error> {
        static SAID: AtomicBool = AtomicBool::new(false);
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
        match way_around(peer, &parts.headers, parts.version) {
            None => Ok(Self),
            Some(way) => {
                if app.settings.dev_mailbox().is_some() && !SAID.swap(true, Ordering::Relaxed) {
                    warn!(
                        "LATCHKEY_SMTP_URL: /dev/mailbox was asked for by {way}, and answered 404; give a mail server \
                         if others than you reach this site"
                    );
                }
                Err(Error::not_found())
            }
        }
    }
}

/// Returns the sign that a request did not come straight from this machine, or `None` if there is no sign.
fn way_around(peer: Option<SocketAddr>, headers: &HeaderMap, version: Version) -> Option<String> {
    const ADDED_BY_PROXIES: [&str; 16] = [
        "forwarded",
        "via",
        "x-real-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-original-forwarded-for",
        "x-original-host",
        "x-envoy-external-address",
        "x-azure-clientip",
        "x-amzn-trace-id",
        "true-client-ip",
        "fastly-client-ip",
        "fly-client-ip",
        "cdn-loop",
        "cf-connecting-ip",
        "cf-ray",
    ];
    let by_a_proxy =
        |name: &&HeaderName| ADDED_BY_PROXIES.contains(&name.as_str()) || name.as_str().starts_with("x-forwarded-");
    match peer.map(|peer| peer.ip().to_canonical()) {
        Some(ip) if ip.is_loopback() => {}
        Some(ip) => return Some(format!("{ip}, which is not this machine")),
        None => return Some("an unknown address".to_owned()),
    }
    if let Some(name) = headers.keys().find(by_a_proxy) {
        return Some(format!("a proxy that sends {name}"));
    }
    // nginx adds none of these headers by itself, but many versions of it use HTTP/1.0, which browsers have not used for
    // decades. A proxy on this machine that uses HTTP/1.1, rewrites Host and adds no header looks like a browser here.
    (version < Version::HTTP_11).then(|| format!("a proxy that speaks {version:?}"))
}

/// A letter that was read from its file.
#[derive(Clone, Debug, Serialize)]
struct Kept {
    id: Uuid,
    to: String,
    subject: String,
    text: String,
    html: String,
    links: Vec<String>,
    at: String,
    #[serde(skip)]
    sent: OffsetDateTime,
    #[serde(skip)]
    headers: String,
    #[serde(skip)]
    written: Option<SystemTime>,
}

impl Kept {
    fn read(path: &Path) -> Option<Self> {
        let id = path.file_stem()?.to_str()?.parse().ok()?;
        let raw = fs::read(path).ok()?;
        let written = fs::metadata(path).and_then(|meta| meta.modified()).ok();
        let message = MessageParser::default().parse(&raw)?;
        let text = message.body_text(0)?.into_owned();
        let to = match message.header("To") {
            Some(HeaderValue::Address(to)) => to.first().and_then(|to| to.address()).unwrap_or_default().to_owned(),
            _ => String::new(),
        };
        let links = text.split_whitespace().filter(|word| word.contains("://")).map(str::to_owned).collect();
        let end = raw.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(raw.len());
        Some(Self {
            id,
            to,
            subject: message.subject().unwrap_or_default().to_owned(),
            html: message.body_html(0).unwrap_or_default().into_owned(),
            links,
            at: message.date().map(mail_parser::DateTime::to_rfc3339).unwrap_or_default(),
            sent: OffsetDateTime::from_unix_timestamp(message.date()?.to_timestamp()).ok()?,
            headers: String::from_utf8_lossy(&raw[..end]).into_owned(),
            text,
            written,
        })
    }
}

/// Returns the letters, newest first.
///
/// # Errors
/// 404 unless the mailbox is on.
async fn letters(app: &Arc<App>) -> Result<Vec<Kept>, Error> {
    let dir = app.settings.dev_mailbox().ok_or_else(Error::not_found)?.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let files = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
        let eml = files.filter(|path| path.extension().is_some_and(|extension| extension == "eml"));
        let mut letters: Vec<Kept> = eml.filter_map(|path| Kept::read(&path)).collect();
        letters.sort_by(|a, b| (&b.written, b.id).cmp(&(&a.written, a.id)));
        letters
    });
    read.await.map_err(Error::internal)
}

async fn one(app: &Arc<App>, id: Uuid) -> Result<Kept, Error> {
    letters(app).await?.into_iter().find(|letter| letter.id == id).ok_or_else(Error::not_found)
}

#[derive(Template)]
#[template(path = "dev_mailbox/list.html")]
struct ListPage {
    page: Page,
    letters: Vec<Kept>,
}

/// GET /dev/mailbox
pub async fn list(_: Direct, State(app): State<Arc<App>>, page: Page) -> Result<Response, Error> {
    page_html(StatusCode::OK, page.locale, &ListPage { page, letters: letters(&app).await? })
}

/// GET /dev/mailbox.json
pub async fn json(_: Direct, State(app): State<Arc<App>>) -> Result<Response, Error> {
    Ok(Json(letters(&app).await?).into_response())
}

#[derive(Template)]
#[template(path = "dev_mailbox/letter.html")]
struct LetterPage {
    page: Page,
    letter: Kept,
    view: View,
}

form! {
    /// The query of a page that shows a letter.
    pub struct ViewQuery {
        /// `phone` or `full`.
        width: String,
        /// `dark` or `light`.
        colours: String,
    }
}

/// The way a letter is shown. Its `Display` is the query that asks for it.
#[derive(Clone, Copy)]
struct View {
    /// Whether it is as wide as a phone.
    phone: bool,
    /// Whether it looks as in a mail program that is set to dark.
    dark: bool,
}

impl View {
    fn asked(ViewQuery { width, colours }: &ViewQuery) -> Self {
        Self { phone: width == "phone", dark: colours == "dark" }
    }

    fn as_phone(self, phone: bool) -> Self {
        Self { phone, ..self }
    }

    fn in_dark(self, dark: bool) -> Self {
        Self { dark, ..self }
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (width, colours) = (if self.phone { "phone" } else { "full" }, if self.dark { "dark" } else { "light" });
        write!(f, "{}={width}&{}={colours}", ViewQuery::width, ViewQuery::colours)
    }
}

/// GET /dev/mailbox/{id}
pub async fn letter(
    _: Direct,
    State(app): State<Arc<App>>,
    extract::Path(id): extract::Path<String>,
    Query(query): Query<ViewQuery>,
    page: Page,
) -> Result<Response, Error> {
    let id = id.parse().map_err(|_| Error::not_found())?;
    // Only this page may hold a frame: the letter's own HTML.
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; frame-src 'self'; \
                  form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    let letter = one(&app, id).await?;
    let shown = page_html(StatusCode::OK, page.locale, &LetterPage { page, letter, view: View::asked(&query) })?;
    Ok(([(header::CONTENT_SECURITY_POLICY, policy)], shown).into_response())
}

/// GET /dev/mailbox/{id}/html: the HTML part as a mail program would show it, without script and without an origin.
pub async fn html(
    _: Direct,
    State(app): State<Arc<App>>,
    extract::Path(id): extract::Path<String>,
    Query(query): Query<ViewQuery>,
) -> Result<Response, Error> {
    let id = id.parse().map_err(|_| Error::not_found())?;
    let policy = "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; \
                  base-uri 'none'; form-action 'none'; frame-ancestors 'self'";
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_FRAME_OPTIONS, "SAMEORIGIN"),
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
    ];
    // Its links open in a new tab, because our pages do not load in frames.
    let html = one(&app, id).await?.html.replacen("<head>", "<head><base target=\"_blank\">", 1);
    // The page cannot tell a frame which colours to prefer, so the letter's own rule is changed.
    let preferred = if View::asked(&query).dark { "all" } else { "not all" };
    Ok((fixed, html.replace("(prefers-color-scheme: dark)", preferred)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_comes_straight() {
        let way = |peer: &str| way_around(Some(peer.parse().expect("an address")), &HeaderMap::new(), Version::HTTP_11);
        for near in ["127.0.0.1:1", "127.8.9.10:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(way(near), None, "{near}");
        }
        for far in ["192.0.2.1:1", "10.0.0.1:1", "[2001:db8::1]:1", "[fe80::1]:1", "0.0.0.0:1"] {
            assert!(way(far).is_some_and(|way| way.contains("not this machine")), "{far}");
        }
        assert!(way_around(None, &HeaderMap::new(), Version::HTTP_11).is_some());
    }
}
