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
use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use sha2::{Digest, Sha256};

use super::guard::BODY_MAX;
use crate::chance;

/// How long an answer is kept. A second click comes sooner; a second wish comes with another form.
const KEPT: Duration = Duration::from_secs(10);
/// How many answers are kept at most, 303s of a few hundred bytes for the most part.
const ANSWERS_MAX: usize = 4096;

/// A fresh id for a form.
pub fn form_id() -> String {
    URL_SAFE_NO_PAD.encode(chance::bytes::<12>())
}

/// The answers that are kept, by a digest of path and fields.
#[derive(Default)]
pub struct Answers(Mutex<HashMap<[u8; 32], Entry>>);

enum Entry {
    /// Held by the requests that wait for it: when all of them go away, the work is dropped.
    UnderWay(WeakShared<BoxFuture<'static, Answer>>),
    Done(Answer, Instant),
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

/// Answers a form once.
pub async fn answer_once(State(answers): State<Arc<Answers>>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_MAX).await.unwrap_or_default();
    let named = form_urlencoded::parse(&body).any(|(name, id)| name == "form_id" && !id.is_empty());
    let key = Sha256::new().chain_update(parts.uri.path()).chain_update([0]).chain_update(&body).finalize().into();
    let request = Request::from_parts(parts, Body::from(body));
    if !named {
        return next.run(request).await;
    }
    match answers.find_or_begin(key, request, next) {
        Ok(answer) => answer.into_response(),
        Err(under_way) => under_way.await.into_response(),
    }
}

impl Answers {
    fn find_or_begin(
        self: &Arc<Self>,
        key: [u8; 32],
        request: Request,
        next: Next,
    ) -> Result<Answer, Shared<BoxFuture<'static, Answer>>> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match entries.get(&key) {
            Some(Entry::Done(answer, at)) if at.elapsed() < KEPT => return Ok(answer.clone()),
            Some(Entry::UnderWay(first)) => {
                if let Some(first) = first.upgrade() {
                    return Err(first);
                }
            }
            _ => {}
        }
        let answers = self.clone();
        let work = async move {
            let answer = Answer::of(next.run(request).await).await;
            answers.keep(key, &answer);
            answer
        };
        let work = work.boxed().shared();
        if let Some(weak) = work.downgrade() {
            entries.insert(key, Entry::UnderWay(weak));
        }
        Err(work)
    }

    fn keep(&self, key: [u8; 32], answer: &Answer) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= ANSWERS_MAX / 2 {
            entries.retain(|_, entry| match entry {
                Entry::UnderWay(work) => work.upgrade().is_some(),
                Entry::Done(_, at) => at.elapsed() < KEPT,
            });
        }
        // What failed on our side may be tried again; and too many to keep is no reason to fail.
        if answer.status.is_server_error() || entries.len() >= ANSWERS_MAX {
            entries.remove(&key);
        } else {
            entries.insert(key, Entry::Done(answer.clone(), Instant::now()));
        }
    }
}
