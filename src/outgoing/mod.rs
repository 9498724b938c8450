//! Requests to other servers: one of HTTP/1.1 over a connection of its own. Redirects are not followed.
//!
//! hyper is in the server already, so its client adds 0.2 MB and no crate; reqwest would add 1.8 MB. And a connection of our own
//! shows the certificate, and goes to the address that we choose.

mod trust;

use std::net::SocketAddr;

use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinHandle;
use url::Url;

pub use trust::Trust;

/// The most of a body that is read. Our own answers are shorter, and another server may send anything.
const BODY_MAX: usize = 16 * 1024;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// When the certificate expires, over TLS.
    pub expires: Option<OffsetDateTime>,
}

/// Returns the addresses of the host.
///
/// # Errors
/// If there are none.
pub async fn addresses(url: &Url) -> Result<Vec<SocketAddr>, String> {
    let (host, port) = (host(url), url.port_or_known_default().unwrap_or_default());
    let found = lookup_host((host.as_str(), port)).await;
    let found: Vec<_> = found.map_err(|why| format!("{host} is not found ({why})"))?.collect();
    if found.is_empty() { Err(format!("{host} has no address")) } else { Ok(found) }
}

/// Returns the host without the brackets of an IPv6 address.
fn host(url: &Url) -> String {
    url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned()
}

/// Asks for a URL at these addresses, of which the first that takes the connection is used.
///
/// # Errors
/// In words.
pub async fn get(
    url: &Url,
    at: &[SocketAddr],
    trust: Option<&Trust>,
    headers: &[(&str, &str)],
) -> Result<Answer, String> {
    ask(url, at, trust, Asked { method: Method::GET, headers, body: Bytes::new() }).await
}

/// Sends a form (RFC 1866, 8.2.1) in the same way.
///
/// # Errors
/// In words.
pub async fn post(
    url: &Url,
    at: &[SocketAddr],
    trust: Option<&Trust>,
    form: &[(&str, &str)],
) -> Result<Answer, String> {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    ask(url, at, trust, Asked { method: Method::POST, headers: &headers, body: body.into() }).await
}

struct Asked<'a> {
    method: Method,
    headers: &'a [(&'a str, &'a str)],
    body: Bytes,
}

async fn ask(url: &Url, at: &[SocketAddr], trust: Option<&Trust>, asked: Asked<'_>) -> Result<Answer, String> {
    let stream = TcpStream::connect(at).await.map_err(|why| {
        let places: Vec<_> = at.iter().map(ToString::to_string).collect();
        format!("no connection to {}: {why}", places.join(", "))
    })?;
    if url.scheme() == "http" {
        return send(url, stream, asked).await;
    }
    let trust = trust.ok_or("this machine trusts no authority; install the package ca-certificates")?;
    let host = host(url);
    let stream = trust.connect(&host, stream).await?;
    let expires = trust.expires(&host, &stream);
    Ok(Answer { expires, ..send(url, stream, asked).await? })
}

async fn send(
    url: &Url,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    Asked { method, headers, body }: Asked<'_>,
) -> Result<Answer, String> {
    let words = |why: hyper::Error| format!("no answer of HTTP: {why}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(words)?;
    let _connection = AbortOnDrop(tokio::spawn(connection));
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let mut request = Request::builder().method(method).uri(target);
    request = request.header(header::HOST, &url[url::Position::BeforeHost..url::Position::AfterPort]);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body)).map_err(|why| why.to_string())?;
    let (parts, body) = sender.send_request(request).await.map_err(words)?.into_parts();
    let body = Limited::new(body, BODY_MAX).collect().await.map_err(|why| format!("no whole answer: {why}"))?;
    Ok(Answer { status: parts.status, headers: parts.headers, body: body.to_bytes(), expires: None })
}

/// A task that ends with its owner. Otherwise the connection of a request that was given up would stay open.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
