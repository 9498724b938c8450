//! A form that is sent twice has one effect, and the second answer is the first one's.
//!
//! People double-click. The browser drops the first answer and shows the second, which would be “already
//! taken” or “this link no longer works” for something that worked. Every form of ours carries a random
//! `form_id`; the same form with the same fields gets the answer that it got before, or waits for it.
//! Requests without one, from programs, are never replayed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use sha2::{Digest, Sha256};
use tokio::task::AbortHandle;
use tracing::Instrument;

use crate::chance;
use crate::gate::error::Error;

/// How long an answer is kept. A second click comes sooner; a second wish comes with another form.
const KEPT: Duration = Duration::from_secs(10);
/// How many answers are kept at most.
const ANSWERS_MAX: usize = 4096;

/// A fresh id for a form.
pub fn form_id() -> String {
    URL_SAFE_NO_PAD.encode(chance::bytes::<12>())
}

/// How long the work goes on when nobody waits for its answer any more. A browser that is clicked twice lets
/// go of the first request before it sends the second.
const GRACE: Duration = Duration::from_secs(2);

/// The answers that are kept, by a digest of path and fields.
#[derive(Default)]
pub struct Answers(Mutex<HashMap<[u8; 32], Entry>>);

enum Entry {
    UnderWay(UnderWay),
    Done(Answer, Instant),
}

/// An answer that is being made, in a task of its own: when the first browser lets go between the commit and
/// the answer, the second click must still find the answer.
#[derive(Clone)]
struct UnderWay {
    answer: Shared<BoxFuture<'static, Answer>>,
    abort: AbortHandle,
    /// One for the entry, one for each request that waits.
    waiting: Arc<()>,
}

impl UnderWay {
    async fn wait(self) -> Answer {
        let answer = self.answer.clone();
        let _waiter = Waiter(self);
        answer.await
    }
}

/// A request that waits. The last one to go away takes the work with it, a moment later: whoever left is not
/// worth a hash.
struct Waiter(UnderWay);

impl Drop for Waiter {
    fn drop(&mut self) {
        let UnderWay { abort, waiting, .. } = self.0.clone();
        if abort.is_finished() {
            return;
        }
        tokio::spawn(async move {
            tokio::time::sleep(GRACE).await;
            // This task and the entry in the map.
            if Arc::strong_count(&waiting) <= 2 {
                abort.abort();
            }
        });
    }
}

#[derive(Clone)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    extensions: Extensions,
    body: Bytes,
}

impl Answer {
    async fn of(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        Self { status: parts.status, headers: parts.headers, extensions: parts.extensions, body }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        *response.extensions_mut() = self.extensions;
        response
    }
}

/// Answers a form once. The request comes without its body, which is beside it.
pub async fn answer_once(answers: &Arc<Answers>, request: Request, body: Bytes, next: Next) -> Response {
    let named = form_urlencoded::parse(&body).any(|(name, id)| name == "form_id" && !id.is_empty());
    let key = Sha256::new().chain_update(request.uri().path()).chain_update([0]).chain_update(&body).finalize().into();
    let request = request.map(|_| Body::from(body));
    if !named {
        return next.run(request).await;
    }
    match answers.find_or_begin(key, request, next) {
        Entry::Done(answer, _) => answer.into_response(),
        Entry::UnderWay(work) => work.wait().await.into_response(),
    }
}

impl Answers {
    fn find_or_begin(self: &Arc<Self>, key: [u8; 32], request: Request, next: Next) -> Entry {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, entry| match entry {
            Entry::UnderWay(work) => !work.abort.is_finished(),
            Entry::Done(_, at) => at.elapsed() < KEPT,
        });
        match entries.get(&key) {
            Some(Entry::Done(answer, at)) => return Entry::Done(answer.clone(), *at),
            Some(Entry::UnderWay(first)) => return Entry::UnderWay(first.clone()),
            None => {}
        }
        let answers = self.clone();
        let task = tokio::spawn(
            async move {
                let answer = Answer::of(next.run(request).await).await;
                answers.keep(key, &answer);
                answer
            }
            .in_current_span(),
        );
        let abort = task.abort_handle();
        let panicked = |_| Error::internal("a panic; its place is on stderr").into_response();
        let answer = async move {
            match task.await {
                Ok(answer) => answer,
                Err(error) => Answer::of(panicked(error)).await,
            }
        };
        let work = UnderWay { answer: answer.boxed().shared(), abort, waiting: Arc::new(()) };
        if entries.len() < ANSWERS_MAX {
            entries.insert(key, Entry::UnderWay(work.clone()));
        }
        Entry::UnderWay(work)
    }

    /// Keeps what had an effect: a redirect, a few hundred bytes. What failed may be tried again.
    fn keep(&self, key: [u8; 32], answer: &Answer) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answer.status.is_redirection() && entries.contains_key(&key) {
            entries.insert(key, Entry::Done(answer.clone(), Instant::now()));
        } else {
            entries.remove(&key);
        }
    }
}
