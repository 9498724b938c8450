//! A form that is sent twice has one effect, and the second request gets the response of the first.
//!
//! Users double-click. The browser drops the first response and shows the second, which would be “already taken” or “this
//! link no longer works” for something that worked. Every form of ours carries a random `form_id`. The same form with the
//! same fields gets the response that it got before, or waits for it. Requests without a `form_id`, from programs, are never
//! replayed.
//!
//! Responses are kept in memory. With several nodes, the second request may come to another one. So the first takes the form
//! in the table `replays`, and keeps its response there too ([`crate::replay_store`]).

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use sha2::{Digest, Sha256};
use tokio::task::AbortHandle;
use tracing::Instrument;

use crate::accounts::limit::clients::Action;
use crate::app::App;
use crate::chance;
use crate::gate::client;
use crate::gate::error::Error;
use crate::replay_store::Turn;

/// How long a response is kept. A second click comes sooner. A user who wants the same again opens the form again, which then
/// has another ID.
const KEPT: Duration = Duration::from_secs(10);
/// The largest number of responses that are kept.
const RESPONSES_MAX: usize = 4096;

/// Returns a new ID for a form.
pub fn form_id() -> String {
    URL_SAFE_NO_PAD.encode(chance::label::<12>())
}

/// How long the work goes on when no request waits for its response any more. After a double click, a browser drops the
/// first request before it sends the second.
const GRACE: Duration = Duration::from_secs(2);

/// The responses that are kept, by a digest of path and fields.
#[derive(Default)]
pub struct StoredResponses(Mutex<HashMap<[u8; 32], Slot>>);

enum Slot {
    InProgress(InProgress),
    Done(StoredResponse, Instant),
}

/// A response that is being made, in a task of its own. When the browser drops the first request between the commit and the
/// response, the second click must still find the response.
#[derive(Clone)]
struct InProgress {
    response: Shared<BoxFuture<'static, StoredResponse>>,
    abort: AbortHandle,
    /// One reference for the entry, and one for each request that waits.
    waiting: Arc<()>,
}

impl InProgress {
    async fn wait(self) -> StoredResponse {
        let response = self.response.clone();
        let _waiter = Waiter(self);
        response.await
    }
}

/// A request that waits. When the last one goes away, the work ends a moment later, so that no hash is spent on a client that
/// has left.
struct Waiter(InProgress);

impl Drop for Waiter {
    fn drop(&mut self) {
        let InProgress { abort, waiting, .. } = self.0.clone();
        if abort.is_finished() {
            return;
        }
        tokio::spawn(async move {
            tokio::time::sleep(GRACE).await;
            // One reference is this task's, one is the entry's.
            if Arc::strong_count(&waiting) <= 2 {
                abort.abort();
            }
        });
    }
}

#[derive(Clone)]
struct StoredResponse {
    status: StatusCode,
    headers: HeaderMap,
    extensions: Extensions,
    body: Bytes,
}

impl StoredResponse {
    async fn of(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        Self { status: parts.status, headers: parts.headers, extensions: parts.extensions, body }
    }

    /// Returns whether the form had an effect: the response is a redirect of a few hundred bytes. A form that failed may be
    /// sent again.
    fn is_kept(&self) -> bool {
        self.status.is_redirection()
    }

    /// Returns the text of a response that is kept.
    fn as_text(&self) -> Option<String> {
        let header =
            |(name, value): (&HeaderName, &HeaderValue)| Some((name.to_string(), value.to_str().ok()?.to_owned()));
        let headers: Option<Vec<_>> = self.headers.iter().map(header).collect();
        let text = (self.status.as_u16(), headers?, str::from_utf8(&self.body).ok()?);
        serde_json::to_string(&text).ok().filter(|_| self.is_kept())
    }

    /// Returns the response that another node has kept as this text.
    fn from_text(text: &str) -> Option<Self> {
        let (status, headers, body): (u16, Vec<(String, String)>, String) = serde_json::from_str(text).ok()?;
        let header = |(name, value): (String, String)| Some((name.parse().ok()?, value.parse().ok()?));
        let headers: Option<Vec<(HeaderName, HeaderValue)>> = headers.into_iter().map(header).collect();
        let mut all = HeaderMap::new();
        for (name, value) in headers? {
            all.append(name, value); // several cookies have the same name of a header
        }
        let status = StatusCode::from_u16(status).ok()?;
        Some(Self { status, headers: all, extensions: Extensions::new(), body: body.into() })
    }
}

impl IntoResponse for StoredResponse {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        *response.extensions_mut() = self.extensions;
        response
    }
}

/// Handles a form once. The request comes without its body, which is the next argument.
pub async fn once(
    app: &Arc<App>,
    responses: &Arc<StoredResponses>,
    request: Request,
    body: Bytes,
    next: Next,
) -> Response {
    let named = form_urlencoded::parse(&body).any(|(name, id)| name == "form_id" && !id.is_empty());
    let key = Sha256::new().chain_update(request.uri().path()).chain_update([0]).chain_update(&body).finalize().into();
    let request = request.map(|_| Body::from(body));
    if !named {
        return next.run(request).await;
    }
    let work = once_on_all_nodes(app.clone(), key, request, next);
    match responses.find_or_begin(key, work) {
        Slot::Done(response, _) => response.into_response(),
        Slot::InProgress(work) => work.wait().await.into_response(),
    }
}

/// Handles a form once, on the node that it comes to first. A client with too many forms costs no statement: only this
/// node remembers them then.
async fn once_on_all_nodes(app: Arc<App>, key: [u8; 32], request: Request, next: Next) -> StoredResponse {
    let (parts, body) = request.into_parts();
    let ip = client::ip(&parts, &app);
    let work = async { StoredResponse::of(next.run(Request::from_parts(parts, body)).await).await };
    let store = app.replays.as_ref();
    let store = store.filter(|_| app.accounts.limits.clients.take(Action::Replay, ip, app.now()).is_ok());
    let Some(store) = store else { return work.await };
    let claim = match store.claim(&key).await {
        Ok(Turn::Ours(claim)) => claim,
        Ok(Turn::Answered(text)) => match StoredResponse::from_text(&text) {
            Some(response) => return response,
            None => return work.await, // another version wrote it
        },
        Err(_) => return work.await, // the page says that the database is out of reach
    };
    let response = claim.hold(work).await;
    if let Some(text) = response.as_text() {
        claim.answer(&text).await;
    }
    response
}

impl StoredResponses {
    fn find_or_begin(
        self: &Arc<Self>,
        key: [u8; 32],
        work: impl Future<Output = StoredResponse> + Send + 'static,
    ) -> Slot {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, entry| match entry {
            Slot::InProgress(work) => !work.abort.is_finished(),
            Slot::Done(_, at) => at.elapsed() < KEPT,
        });
        match entries.get(&key) {
            Some(Slot::Done(response, at)) => return Slot::Done(response.clone(), *at),
            Some(Slot::InProgress(first)) => return Slot::InProgress(first.clone()),
            None => {}
        }
        let responses = self.clone();
        let task = tokio::spawn(
            async move {
                let response = work.await;
                responses.keep(key, &response);
                response
            }
            .in_current_span(),
        );
        let abort = task.abort_handle();
        let panicked = |_| Error::internal("a panic; its place is on stderr").into_response();
        let response = async move {
            match task.await {
                Ok(response) => response,
                Err(error) => StoredResponse::of(panicked(error)).await,
            }
        };
        let work = InProgress { response: response.boxed().shared(), abort, waiting: Arc::new(()) };
        if entries.len() < RESPONSES_MAX {
            entries.insert(key, Slot::InProgress(work.clone()));
        }
        Slot::InProgress(work)
    }

    fn keep(&self, key: [u8; 32], response: &StoredResponse) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if response.is_kept() && entries.contains_key(&key) {
            entries.insert(key, Slot::Done(response.clone(), Instant::now()));
        } else {
            entries.remove(&key);
        }
    }
}
