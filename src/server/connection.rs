//! One connection: TLS if there is any, then HTTP/1 or HTTP/2, under one clock.
//!
//! hyper's own timers know HTTP/1 heads only. This clock knows the whole connection, whatever it speaks: it has
//! [`Limits::first_request`] for its first request, the TLS handshake included, and after that may not stay in one
//! state, waiting or busy, for longer than [`Limits::pause`]. So it ends who sends a byte a second (slowloris), who
//! never reads the answer, who holds back the windows of HTTP/2, and who has gone without a word. How long a
//! request may take is for `gate` to say.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::ConnectInfo;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::linger::Lingering;
use super::listener::Limits;

/// The most bytes of a request's head; also what a connection may have in each of its buffers.
const HEAD_MAX: u32 = 16 * 1024;
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
        // What RFC 9113, 6.5.2, asks for at least; a page needs four.
        .max_concurrent_streams(100)
        // From these two follows how many CONTINUATION frames one head may have (CVE-2024-27316).
        .max_header_list_size(HEAD_MAX)
        .max_frame_size(16 * 1024)
        // Streams that are opened and reset at once (rapid reset, CVE-2023-44487), or that break the rules
        // (CVE-2025-8671): more of them end the connection. Honest browsers cancel a few.
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(100)
        // What may wait in memory: forms and answers are small.
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(256 * 1024)
        .max_send_buf_size(64 * 1024);
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
        let under_way = counted.begin();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let answer = router.call(request);
        async move { Ok::<_, Infallible>(answer.await?.map(|body| Counted { body, _under_way: under_way })) }
    });
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let mut clock = pin!(sleep_until(activity.deadline()));
    let mut ending = false;
    loop {
        tokio::select! {
            biased; // what nearly always happens comes first
            ended = &mut connection => {
                if let Err(why) = ended {
                    debug!(why, %peer, "a connection broke off");
                }
                return;
            }
            () = &mut clock => {
                let deadline = activity.deadline();
                if !ending && deadline > Instant::now() {
                    clock.as_mut().reset(deadline); // it has moved on since the clock was set
                    continue;
                }
                if ending || activity.is_new() {
                    debug!(%peer, "a connection was cut");
                    return;
                }
                clock.as_mut().reset(Instant::now() + FAREWELL);
            }
            _ = stopped.changed(), if !ending => {
                let busy = activity.idle_since().is_none();
                clock.as_mut().reset(if busy { activity.deadline() } else { Instant::now() + FAREWELL });
            }
        }
        // HTTP/1 ends after the answer that is under way, or at once; HTTP/2 says that it takes no new streams.
        ending = true;
        connection.as_mut().graceful_shutdown();
    }
}

/// What a connection is doing, and since when.
#[derive(Debug)]
pub struct Activity {
    limits: Limits,
    state: Mutex<State>,
    /// The task that serves it, to end it when another needs the place.
    pub task: OnceLock<AbortHandle>,
}

#[derive(Debug)]
struct State {
    /// Requests that have come and whose answers have not gone.
    under_way: usize,
    /// Whether nothing was asked so far.
    new: bool,
    /// When it last went from waiting to busy or back.
    since: Instant,
}

impl Activity {
    /// Of a connection that begins now.
    pub fn new(limits: Limits) -> Arc<Self> {
        let state = State { under_way: 0, new: true, since: Instant::now() };
        Arc::new(Self { limits, state: Mutex::new(state), task: OnceLock::new() })
    }

    /// Since when it has been waiting for a request, unless one is under way.
    pub fn idle_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.under_way == 0).then_some(state.since)
    }

    fn is_new(&self) -> bool {
        self.state().new
    }

    /// When it has been in one state for too long. It only ever moves into the future.
    fn deadline(&self) -> Instant {
        let state = self.state();
        state.since + if state.new { self.limits.first_request } else { self.limits.pause }
    }

    fn begin(self: &Arc<Self>) -> UnderWay {
        let mut state = self.state();
        if state.under_way == 0 {
            state.since = Instant::now();
        }
        state.under_way += 1;
        state.new = false;
        UnderWay(self.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is under way, until this goes away.
struct UnderWay(Arc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.under_way -= 1;
        if state.under_way == 0 {
            state.since = Instant::now();
        }
    }
}

/// An answer's body, with the request that is under way until it has gone.
struct Counted {
    body: Body,
    _under_way: UnderWay,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
