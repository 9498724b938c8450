//! One request and its response: what they hold in memory, and whether they wait for the client or the server.
//!
//! A response counts until its last byte has gone into the socket, wherever it lies meanwhile. HTTP/2 lets a client open
//! a window of no bytes, or of one, and ask for large responses on many streams. hyper then takes the response from us and
//! keeps it. So each part of a response carries its exchange along, and is no longer counted when it is freed.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::Response;
use axum::http::request::Parts;
use hyper::body::{Frame, Incoming, SizeHint};

use super::activity::{Activity, Phase, Progress};
use super::crowd::Crowd;

/// What a request costs besides its head and its body, in bytes: its task, its stream, the head of its response.
const REQUEST: usize = 4 * 1024;
/// What a field of a head costs besides its name and its value, in bytes. HPACK counts 32 (RFC 7541, 4.1). A slot in a
/// map of headers is larger, and a client fills one by sending a single byte.
const FIELD: usize = 128;
/// The most bytes of a response that are handed out at once. Taking them is the progress that keeps a connection.
const PART: usize = 16 * 1024;

/// A request in progress, until it is answered and the response has gone.
pub struct Exchange {
    crowd: Arc<Crowd>,
    activity: Arc<Activity>,
    progress: Mutex<Progress>,
}

impl Exchange {
    /// Begins with a request whose head has come. Its body, if it has one, may be missing.
    pub fn begin(crowd: &Arc<Crowd>, activity: &Arc<Activity>, head: &Parts, has_body: bool) -> Arc<Self> {
        let fields = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD);
        let path = head.uri.path_and_query().map_or(0, |path| path.as_str().len());
        let bytes = REQUEST + path + fields.sum::<usize>();
        let progress = Progress { phase: if has_body { Phase::Reading } else { Phase::Working }, bytes };
        if activity.change(None, Some(progress)) {
            crowd.cut_the_biggest();
        }
        let (crowd, activity) = (crowd.clone(), activity.clone());
        Arc::new(Self { crowd, activity, progress: Mutex::new(progress) })
    }

    /// Returns the body of the request, whose bytes count as they come.
    pub fn reading(self: &Arc<Self>, body: Incoming) -> Body {
        Body::new(RequestBody { body, exchange: self.clone() })
    }

    /// Returns whether the connection was cut.
    pub fn is_cut(&self) -> bool {
        self.activity.is_cut()
    }

    /// Returns the response, which takes the place of the request and counts until it is sent.
    pub fn respond(self: Arc<Self>, response: Response<Body>) -> Response<ResponseBody> {
        let size = response.body().size_hint().lower();
        self.change(|_| Progress { phase: Phase::Responding, bytes: REQUEST + size as usize });
        response.map(|body| ResponseBody { body, part: Bytes::new(), exchange: self })
    }

    fn change(&self, next: impl FnOnce(Progress) -> Progress) {
        let mut progress = self.progress();
        let before = *progress;
        *progress = next(before);
        let is_over = self.activity.change(Some(before), Some(*progress));
        drop(progress);
        if is_over {
            self.crowd.cut_the_biggest();
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let last = *self.progress();
        let _ = self.activity.change(Some(last), None); // this gives memory back, so no connection has to be cut
    }
}

/// The body of a request, which is counted as it comes.
struct RequestBody {
    body: Incoming,
    exchange: Arc<Exchange>,
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let more = frame.data_ref().map_or(0, Bytes::len);
            self.exchange.change(|progress| Progress { bytes: progress.bytes + more, ..progress });
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

impl Drop for RequestBody {
    /// The body has come, or is no longer waited for. From now on the request waits for the server.
    fn drop(&mut self) {
        let after = |phase| if phase == Phase::Reading { Phase::Working } else { phase };
        self.exchange.change(|progress| Progress { phase: after(progress.phase), ..progress });
    }
}

/// The body of a response, which is handed out in parts.
pub struct ResponseBody {
    body: Body,
    /// What was taken from the body and is not handed out yet.
    part: Bytes,
    exchange: Arc<Exchange>,
}

impl HttpBody for ResponseBody {
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

/// A part of a response, which counts until it is in the socket.
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
        self.exchange.change(|progress| Progress { bytes: progress.bytes.saturating_sub(size), ..progress });
    }
}
