//! The request that a browser or a program has sent to an app, as the proxy before the app tells it.

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};

use crate::accounts::apps::host::AppHost;
use crate::accounts::forward::Destination;
use crate::app::App;
use crate::gate::client;
use crate::urls;

const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");

/// The query with which nginx asks: it takes no other answers than 2xx, 401 and 403 (`auth_request`).
const STATUS_ONLY: &str = "status";

/// The request that was sent to the app.
pub struct Original {
    /// The host that it was sent to.
    pub host: AppHost,
    /// Its path and query, as they were written.
    uri: Vec<u8>,
    /// Whether its method is GET or HEAD.
    reads: bool,
    /// Whether the proxy takes no answer but a status.
    status_only: bool,
}

/// What a client wants that nobody is known to be behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// A browser opens a page.
    Page,
    /// A browser sends a form, which would be lost by a redirect.
    Form,
    /// A script, a program or a WebSocket, which cannot show a log-in.
    Answer,
    /// The proxy asks for the status only.
    Status,
}

impl Original {
    /// Returns the original request, or why it cannot be known.
    ///
    /// What a client writes into `X-Forwarded-…` must not count: the client could name an app to which it has no way. So the
    /// headers count only from a proxy of ours, as `X-Forwarded-For` does, and only if they came once: a proxy that adds to
    /// what a client has written would send two.
    pub fn of(parts: &Parts, app: &App) -> Result<Self, &'static str> {
        let trusted = |peer| app.settings.trusted_proxies.iter().any(|net| net.contains(&peer));
        if !client::peer(parts).is_some_and(trusted) {
            return Err("Only a proxy in LATCHKEY_TRUSTED_PROXIES may ask.");
        }
        let (headers, path) = (&parts.headers, parts.uri.path_and_query().map_or("", |path| path.as_str()));
        let (host, uri) = match once(headers, &HOST)? {
            Some(host) => (Some(host), once(headers, &URI)?.unwrap_or(b"/")),
            // Envoy leaves the host as it is, and writes the path after ours.
            None => (named(parts)?, path.strip_prefix(urls::VERIFY).unwrap_or_default().as_bytes()),
        };
        let host = host.and_then(|host| str::from_utf8(host).ok()?.parse::<AppHost>().ok()).ok_or(NO_HOST)?;
        let method = once(headers, &METHOD)?.unwrap_or(parts.method.as_str().as_bytes());
        Ok(Self {
            reads: matches!(method, b"GET" | b"HEAD"),
            uri: uri.to_owned(),
            host,
            status_only: parts.uri.path() == urls::VERIFY && parts.uri.query() == Some(STATUS_ONLY),
        })
    }

    /// Returns where it was sent, or the first page of the app if that is no address.
    pub fn to(&self, app: &App) -> Option<Destination> {
        let https = app.public_url.is_https();
        Destination::of_request(&self.host, &self.uri, https)
            .or_else(|| Destination::of_request(&self.host, b"/", https))
    }

    /// Returns what the client wants, by the headers in which a browser says so (W3C, Fetch Metadata). An older browser says
    /// only that it takes HTML.
    pub fn wants(&self, headers: &HeaderMap) -> Wants {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let opens = match text("sec-fetch-mode") {
            Some(mode) => mode == "navigate",
            None => text("accept").is_some_and(|types| types.contains("text/html")),
        };
        match (self.status_only, opens && !headers.contains_key(header::UPGRADE), self.reads) {
            (true, _, _) => Wants::Status,
            (_, false, _) => Wants::Answer,
            (_, true, true) => Wants::Page,
            (_, true, false) => Wants::Form,
        }
    }
}

const NO_HOST: &str = "The proxy sends no host, or two hosts.";

/// Returns the value of a header that came once at most.
fn once<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, &'static str> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (line, None) => Ok(line.map(|line| line.as_bytes())),
        _ => Err("The proxy sent an X-Forwarded-… header twice."),
    }
}

/// Returns the host that the request itself names.
fn named(parts: &Parts) -> Result<Option<&[u8]>, &'static str> {
    let host = once(&parts.headers, &header::HOST)?;
    Ok(parts.uri.authority().map(|authority| authority.as_str().as_bytes()).or(host))
}
