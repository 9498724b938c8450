//! One request of HTTP/1.1 over a connection of its own.
//!
//! hyper is in the server already, so its client adds 0.2 MB and no crate; reqwest would add 1.8 MB. And a connection of our own
//! shows the certificate, and goes to the address that we choose.

use std::net::SocketAddr;

use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use url::Url;

use super::trust::Trust;

/// The most of a body that is read. Our own answers are shorter, and another server may send anything.
const BODY_MAX: usize = 16 * 1024;

/// An answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// When the certificate expires, over TLS.
    pub(super) expires: Option<OffsetDateTime>,
}

/// Returns the addresses of the host.
///
/// # Errors
/// If there are none.
pub(super) async fn addresses(url: &Url) -> Result<Vec<SocketAddr>, String> {
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
pub(super) async fn get(
    url: &Url,
    at: &[SocketAddr],
    trust: &Trust,
    headers: &[(&str, &str)],
) -> Result<Answer, String> {
    let stream = TcpStream::connect(at).await.map_err(|why| {
        let places: Vec<_> = at.iter().map(ToString::to_string).collect();
        format!("no connection to {}: {why}", places.join(", "))
    })?;
    if url.scheme() == "http" {
        return send(url, stream, headers).await;
    }
    let host = host(url);
    let stream = trust.connect(&host, stream).await?;
    let expires = trust.expires(&host, &stream);
    Ok(Answer { expires, ..send(url, stream, headers).await? })
}

async fn send(
    url: &Url,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    headers: &[(&str, &str)],
) -> Result<Answer, String> {
    let words = |why: hyper::Error| format!("no answer of HTTP: {why}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(words)?;
    let connection = tokio::spawn(connection);
    let mut request = Request::builder().method(Method::GET).uri(url.path());
    request = request.header(header::HOST, &url[url::Position::BeforeHost..url::Position::AfterPort]);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|why| why.to_string())?;
    let (parts, body) = sender.send_request(request).await.map_err(words)?.into_parts();
    let body = Limited::new(body, BODY_MAX).collect().await.map_err(|why| format!("no whole answer: {why}"))?;
    connection.abort();
    Ok(Answer { status: parts.status, headers: parts.headers, body: body.to_bytes(), expires: None })
}
