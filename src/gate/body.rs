//! The body of a request: how large it may be, how long it may take, and of which type it is.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;

use super::error::{Error, ErrorKind};

/// The most bytes of a body. The longest form that an honest user sends has under 2 KiB.
const BODY_MAX: usize = 16 * 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Takes the body out of a request: at most [`BODY_MAX`] bytes, within [`BODY_TIMEOUT`].
///
/// # Errors
/// 413 for a body that is too large, 408 for one that takes too long, 400 for one that breaks off.
pub async fn take(request: Request) -> Result<(Request, Bytes), Error> {
    let (parts, body) = request.into_parts();
    let declared =
        parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > BODY_MAX as u64) {
        return Err(ErrorKind::TooLarge.into());
    }
    let body = tokio::time::timeout(BODY_TIMEOUT, read(body)).await.map_err(|_| ErrorKind::BodyTimeout)??;
    Ok((Request::from_parts(parts, Body::empty()), body))
}

/// Copies the frames of a body into one buffer. A frame that is kept as it came holds the whole buffer that it was
/// received in, so a body that comes one byte at a time would hold a thousand times its size.
async fn read(mut body: Body) -> Result<Bytes, ErrorKind> {
    let mut read = Vec::with_capacity(body.size_hint().lower().min(BODY_MAX as u64) as usize);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ErrorKind::BadRequest)?;
        let data = frame.data_ref().map_or(&[][..], |data| data);
        if read.len() + data.len() > BODY_MAX {
            return Err(ErrorKind::TooLarge);
        }
        read.extend_from_slice(data);
    }
    Ok(read.into())
}

/// Returns whether the headers name this media type, with any parameters.
pub fn is(media_type: &str, headers: &HeaderMap) -> bool {
    let sent = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    sent.and_then(|sent| sent.split(';').next()).is_some_and(|sent| sent.trim().eq_ignore_ascii_case(media_type))
}
