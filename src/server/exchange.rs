//! One request and its answer: what they hold in memory, and whom they wait for.
//!
//! An answer counts until its last byte has gone into the socket, wherever it lies meanwhile. HTTP/2 lets a client open
//! a window of no bytes, or of one, and ask for much on many streams: hyper then takes the answer from us and keeps it.
//! So each part of an answer carries its exchange along, and counts itself off when it is freed.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::Response;
use axum::http::request::Parts;
use hyper::body::{Frame, Incoming, SizeHint};

use super::activity::{Activity, Phase};

/// What a request costs besides its head and its body, in bytes: its task, its stream, the head of its answer.
const REQUEST: usize = 4 * 1024;
/// What a field of a head costs besides its name and its value, in bytes. HPACK counts 32 (RFC 7541, 4.1); a slot in
/// a map of headers is larger, and a client fills one by sending a single byte.
const FIELD: usize = 128;
/// The most bytes of an answer that are handed out at once. Taking them is the progress that keeps a connection.
const PART: usize = 16 * 1024;

/// A request that is under way, until it is answered and the answer has gone.
pub struct Exchange {
    activity: Arc<Activity>,
    /// The phase, and how many bytes are held.
    state: Mutex<(Phase, usize)>,
}

impl Exchange {
    /// A request has come, perhaps without its body.
    pub fn begin(activity: &Arc<Activity>, head: &Parts, has_body: bool) -> Arc<Self> {
        let fields = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD);
        let path = head.uri.path_and_query().map_or(0, |path| path.as_str().len());
        let state = (if has_body { Phase::Reading } else { Phase::Working }, REQUEST + path + fields.sum::<usize>());
        activity.change((None, 0), (Some(state.0), state.1));
        Arc::new(Self { activity: activity.clone(), state: Mutex::new(state) })
    }

    /// The body of the request, whose bytes count as they come.
    pub fn reading(self: &Arc<Self>, body: Incoming) -> Body {
        Body::new(Coming { body, exchange: self.clone() })
    }

    /// Whether the connection was cut.
    pub fn is_cut(&self) -> bool {
        self.activity.is_cut()
    }

    /// The answer is made, and takes the place of the request.
    pub fn answered(self: Arc<Self>, answer: Response<Body>) -> Response<Going> {
        let size = answer.body().size_hint().lower();
        self.change(|_, _| (Phase::Answering, REQUEST + size as usize));
        answer.map(|body| Going { body, part: Bytes::new(), exchange: self })
    }

    fn change(&self, next: impl FnOnce(Phase, usize) -> (Phase, usize)) {
        let mut state = self.state();
        let before = *state;
        *state = next(before.0, before.1);
        self.activity.change((Some(before.0), before.1), (Some(state.0), state.1));
    }

    fn state(&self) -> MutexGuard<'_, (Phase, usize)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let (phase, held) = *self.state();
        self.activity.change((Some(phase), held), (None, 0));
    }
}

/// The body of a request, as it comes.
struct Coming {
    body: Incoming,
    exchange: Arc<Exchange>,
}

impl HttpBody for Coming {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let more = frame.data_ref().map_or(0, Bytes::len);
            self.exchange.change(|phase, held| (phase, held + more));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Its end, or the end of waiting for it: the server has the request for itself.
impl Drop for Coming {
    fn drop(&mut self) {
        let after = |phase| if phase == Phase::Reading { Phase::Working } else { phase };
        self.exchange.change(|phase, held| (after(phase), held));
    }
}

/// The body of an answer, as it goes.
pub struct Going {
    body: Body,
    /// What is next of it.
    part: Bytes,
    exchange: Arc<Exchange>,
}

impl HttpBody for Going {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.part.is_empty() {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.part = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                other => return other,
            }
        }
        let size = self.part.len().min(PART);
        let part = Part { bytes: self.part.split_to(size), exchange: self.exchange.clone() };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(part)))))
    }

    fn is_end_stream(&self) -> bool {
        self.part.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, part) = (self.body.size_hint(), self.part.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + part);
        }
        hint.set_lower(hint.lower() + part);
        hint
    }
}

/// A part of an answer, until it is in the socket.
struct Part {
    bytes: Bytes,
    exchange: Arc<Exchange>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let size = self.bytes.len();
        self.exchange.change(|phase, held| (phase, held.saturating_sub(size)));
    }
}
