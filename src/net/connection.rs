//! One connection from its TLS handshake to its end: HTTP/1 or HTTP/2, under one clock.
//!
//! hyper's own timers know heads of HTTP/1 only. This clock covers the whole connection, whatever it speaks. A connection
//! has `ConnectionLimits::first_request` for its first request, the TLS handshake included. After that it may not stay in
//! one state, waiting or busy, for longer than `ConnectionLimits::pause`. So a client that sends one byte per second
//! (slowloris) is cut, and so is one that went away without a word. A client that takes nothing of its response for
//! `ConnectionLimits::unread` is cut sooner, because the response is in memory: it does not read, or it keeps the windows of
//! HTTP/2 closed. How long the server may work on one request is not decided here; the router does that.

use std::convert::Infallible;
use std::future::{Future, poll_fn, ready};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::ConnectInfo;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use futures_util::future::Either;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::crowd::Place;
use super::exchange::Exchange;
use super::linger::Lingering;

/// The most bytes of a request's head. It is also the size of each buffer of a connection.
const HEAD_MAX: u32 = 16 * 1024;
/// The most fields of a request's head. hyper has this limit for HTTP/1, and here it holds for HTTP/2 too. HPACK can write
/// a field in one byte (RFC 7541, 6.1), and a map of 425 fields takes 40 KB.
const FIELDS_MAX: usize = 100;
/// The time in which a connection that was told to end must do so, when no request is in progress.
const FAREWELL: Duration = Duration::from_secs(5);

/// What all connections of a listener share.
#[derive(Clone)]
pub struct Shared {
    http: Arc<auto::Builder<TokioExecutor>>,
    router: Router,
    stopped: watch::Receiver<bool>,
}

impl Shared {
    /// Returns what connections need to answer with `router` until they are `stopped`.
    pub fn new(router: Router, stopped: watch::Receiver<bool>) -> Self {
        Self { http: Arc::new(http()), router, stopped }
    }
}

/// Returns HTTP with its limits: HTTP/2 for a client that begins with its preface, HTTP/1.1 for others. A head over the
/// limits is answered 431, or its connection ends.
fn http() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().header_read_timeout(None).max_buf_size(HEAD_MAX as usize);
    http.http2()
        // RFC 9113, 6.5.2, recommends 100. But each stream is a request that an attacker can hold open, and a page needs
        // four. A client that wants more waits for its first responses. With 16, two addresses that took no responses kept
        // visitors waiting for 0.2 s.
        .max_concurrent_streams(8)
        // These two decide how many CONTINUATION frames one head may have (CVE-2024-27316).
        .max_header_list_size(HEAD_MAX)
        .max_frame_size(16 * 1024)
        // A client may open streams and reset them at once (rapid reset, CVE-2023-44487), or break the rules on them
        // (CVE-2025-8671). More than this many of such streams end the connection. Honest browsers cancel a few.
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(100)
        // This much may wait in memory before a handler reads it, or after the handler answered. Forms and responses are
        // small. The window of the connection is the smallest that HTTP/2 has.
        .initial_stream_window_size(32 * 1024)
        .initial_connection_window_size(65_535)
        .max_send_buf_size(16 * 1024);
    http
}

/// Serves one connection until the client or the server ends it.
pub async fn serve(stream: TcpStream, peer: SocketAddr, place: &Place, tls: Option<TlsAcceptor>, mut shared: Shared) {
    // Responses go out in whole writes, so there is nothing to wait for. If the client has gone already, this fails, and the
    // first read will say so.
    let _ = stream.set_nodelay(true);
    let stream = Lingering::from(stream);
    let Some(tls) = tls else { return converse(stream, peer, place, shared).await };
    let handshake = tokio::select! {
        ended = timeout_at(place.activity.deadline(), tls.accept(stream)) => ended,
        _ = shared.stopped.changed() => return,
    };
    match handshake {
        Ok(Ok(stream)) => converse(stream, peer, place, shared).await,
        Ok(Err(why)) => debug!(%why, %peer, "no TLS"),
        Err(_) => debug!(%peer, "TLS took too long"),
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: SocketAddr,
    place: &Place,
    shared: Shared,
) {
    let Shared { http, router, mut stopped } = shared;
    let activity = &place.activity;
    let router = TowerToHyperService::new(router);
    let (crowd, counted) = (place.crowd.clone(), activity.clone());
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (head, body) = request.into_parts();
        let refused = match head.headers.len() {
            // The client had sent this before its connection was cut.
            _ if counted.is_cut() => Some(StatusCode::SERVICE_UNAVAILABLE),
            fields if fields > FIELDS_MAX => Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            _ => None,
        };
        let has_body = !body.is_end_stream();
        let exchange = Exchange::begin(&crowd, &counted, &head, has_body);
        let response = if let Some(status) = refused {
            drop(head); // now, not when the task of its stream runs: a thousand of them may wait
            Either::Left(ready(Ok::<_, Infallible>(status.into_response())))
        } else {
            let body = if has_body { exchange.reading(body) } else { Body::empty() };
            let mut request = hyper::Request::from_parts(head, body);
            request.extensions_mut().insert(ConnectInfo(peer));
            Either::Right(router.call(request))
        };
        async move {
            // Over HTTP/2 this may run after the connection was cut. The response would only take memory then.
            let is_cut = exchange.is_cut();
            let response = if is_cut { StatusCode::SERVICE_UNAVAILABLE.into_response() } else { response.await? };
            Ok::<_, Infallible>(exchange.respond(response))
        }
    });
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let mut clock = pin!(sleep_until(activity.deadline()));
    let mut ending = false;
    loop {
        let polled = poll_fn(|cx| {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(Some(ended));
            }
            // If a response was made just now, its client has less time than before.
            let deadline = activity.deadline();
            if !ending && deadline < clock.deadline() {
                clock.as_mut().reset(deadline);
            }
            clock.as_mut().poll(cx).map(|()| None)
        });
        tokio::select! {
            biased; // what happens nearly always comes first
            ended_or_late = polled => {
                if let Some(ended) = ended_or_late {
                    if let Err(why) = ended {
                        debug!(why, %peer, "a connection broke off");
                    }
                    return;
                }
                let deadline = activity.deadline();
                if !ending && deadline > Instant::now() {
                    clock.as_mut().reset(deadline); // the deadline has moved since the clock was set
                    continue;
                }
                if ending || activity.is_new() {
                    debug!(%peer, "a connection was cut");
                    return;
                }
                // A client that takes nothing is told that the connection ends, and gets no more time.
                let farewell = if activity.is_stalled() { Duration::ZERO } else { FAREWELL };
                clock.as_mut().reset(Instant::now() + farewell);
            }
            _ = stopped.changed(), if !ending => {
                let busy = !activity.is_idle();
                clock.as_mut().reset(if busy { activity.deadline() } else { Instant::now() + FAREWELL });
            }
        }
        // HTTP/1 ends after the response in progress, or at once. HTTP/2 tells the client that it takes no new streams.
        ending = true;
        connection.as_mut().graceful_shutdown();
    }
}
