//! One connection: TLS if there is any, then HTTP/1 or HTTP/2, under one clock.
//!
//! hyper's own timers know HTTP/1 heads only. This clock knows the whole connection, whatever it speaks: it has
//! [`Limits::first_request`] for its first request, the TLS handshake included, and after that may not stay in one
//! state, waiting or busy, for longer than [`Limits::pause`]. So it ends who sends a byte a second (slowloris), and who
//! has gone without a word. A client that takes nothing of its answer for [`Limits::unread`] is cut sooner, because the
//! answer is in memory: it does not read, or holds back the windows of HTTP/2. How long a request may take is for
//! `gate` to say.

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

use super::activity::Activity;
use super::exchange::Exchange;
use super::linger::Lingering;

/// The most bytes of a request's head; also what a connection may have in each of its buffers.
const HEAD_MAX: u32 = 16 * 1024;
/// The most fields of a request's head, over HTTP/2 as hyper has it for HTTP/1. HPACK writes a field in one byte
/// (RFC 7541, 6.1), and a map of 425 fields takes 40 KB.
const FIELDS_MAX: usize = 100;
/// How long a connection that was told to end may take to do so, when nothing is under way on it.
const FAREWELL: Duration = Duration::from_secs(5);

/// What all connections of a listener share.
#[derive(Clone)]
pub struct Shared {
    http: Arc<auto::Builder<TokioExecutor>>,
    router: Router,
    stopped: watch::Receiver<bool>,
}

impl Shared {
    /// Answers with `router`, until it is `stopped`.
    pub fn new(router: Router, stopped: watch::Receiver<bool>) -> Self {
        Self { http: Arc::new(http()), router, stopped }
    }
}

/// HTTP/1.1, or HTTP/2 for those who begin with its preface; and their bounds. A head over them is answered 431, or its
/// connection ends.
fn http() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().header_read_timeout(None).max_buf_size(HEAD_MAX as usize);
    http.http2()
        // RFC 9113, 6.5.2, recommends 100, but each stream is a request that an attacker can hold open, and a page
        // needs four. A client that wants more waits for its first answers. With 16, two addresses that took no answers
        // kept visitors waiting for 0.2 s.
        .max_concurrent_streams(8)
        // From these two follows how many CONTINUATION frames one head may have (CVE-2024-27316).
        .max_header_list_size(HEAD_MAX)
        .max_frame_size(16 * 1024)
        // Streams that are opened and reset at once (rapid reset, CVE-2023-44487), or that break the rules
        // (CVE-2025-8671): more of them end the connection. Honest browsers cancel a few.
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(100)
        // What may wait in memory before a handler reads it, or after it answered: forms and answers are small. The
        // window of the connection is the least that HTTP/2 has.
        .initial_stream_window_size(32 * 1024)
        .initial_connection_window_size(65_535)
        .max_send_buf_size(16 * 1024);
    http
}

/// Speaks with one client until it or we have enough.
pub async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    activity: &Arc<Activity>,
    tls: Option<TlsAcceptor>,
    mut shared: Shared,
) {
    // Answers go out in whole writes: there is nothing to wait for.
    let _not_tcp_any_more = stream.set_nodelay(true);
    let stream = Lingering::from(stream);
    let Some(tls) = tls else { return converse(stream, peer, activity, shared).await };
    let shaken = tokio::select! {
        shaken = timeout_at(activity.deadline(), tls.accept(stream)) => shaken,
        _ = shared.stopped.changed() => return,
    };
    match shaken {
        Ok(Ok(stream)) => converse(stream, peer, activity, shared).await,
        Ok(Err(why)) => debug!(%why, %peer, "no TLS"),
        Err(_) => debug!(%peer, "TLS took too long"),
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: SocketAddr,
    activity: &Arc<Activity>,
    shared: Shared,
) {
    let Shared { http, router, mut stopped } = shared;
    let router = TowerToHyperService::new(router);
    let counted = activity.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (head, body) = request.into_parts();
        let refused = match head.headers.len() {
            // What the client had sent before its connection was cut.
            _ if counted.is_cut() => Some(StatusCode::SERVICE_UNAVAILABLE),
            fields if fields > FIELDS_MAX => Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            _ => None,
        };
        let has_body = !body.is_end_stream();
        let exchange = Exchange::begin(&counted, &head, has_body);
        let answer = if let Some(status) = refused {
            drop(head); // now, and not when the task of its stream has its turn: a thousand may wait for theirs
            Either::Left(ready(Ok::<_, Infallible>(status.into_response())))
        } else {
            let body = if has_body { exchange.reading(body) } else { Body::empty() };
            let mut request = hyper::Request::from_parts(head, body);
            request.extensions_mut().insert(ConnectInfo(peer));
            Either::Right(router.call(request))
        };
        async move {
            // Over HTTP/2 its turn may come after the connection was cut, and the answer would only take memory.
            let is_cut = exchange.is_cut();
            let answer = if is_cut { StatusCode::SERVICE_UNAVAILABLE.into_response() } else { answer.await? };
            Ok::<_, Infallible>(exchange.answered(answer))
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
            // An answer may have been made just now, and its client has less time than it had before.
            let deadline = activity.deadline();
            if !ending && deadline < clock.deadline() {
                clock.as_mut().reset(deadline);
            }
            clock.as_mut().poll(cx).map(|()| None)
        });
        tokio::select! {
            biased; // what nearly always happens comes first
            ended_or_late = polled => {
                if let Some(ended) = ended_or_late {
                    if let Err(why) = ended {
                        debug!(why, %peer, "a connection broke off");
                    }
                    return;
                }
                let deadline = activity.deadline();
                if !ending && deadline > Instant::now() {
                    clock.as_mut().reset(deadline); // it has moved on since the clock was set
                    continue;
                }
                if ending || activity.is_new() {
                    debug!(%peer, "a connection was cut");
                    return;
                }
                // Who takes nothing is told that it ends, and has had its time.
                let farewell = if activity.is_stalled() { Duration::ZERO } else { FAREWELL };
                clock.as_mut().reset(Instant::now() + farewell);
            }
            _ = stopped.changed(), if !ending => {
                let busy = !activity.is_idle();
                clock.as_mut().reset(if busy { activity.deadline() } else { Instant::now() + FAREWELL });
            }
        }
        // HTTP/1 ends after the answer that is under way, or at once; HTTP/2 says that it takes no new streams.
        ending = true;
        connection.as_mut().graceful_shutdown();
    }
}
