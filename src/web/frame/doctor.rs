//! What the server answers to `latchkey doctor`.

use axum::Json;
use axum::extract::Request;

use crate::app::App;
use crate::gate::{client, host};
use crate::seen::{self, Seen};

/// Returns what this server saw of the request, if the doctor of this installation has sent it.
///
/// The token is signed with the secret and lasts for a minute. Any other client gets `None`: the answer says how the proxies
/// are set up, and so how the limits can be got around where they are set up badly.
pub fn seen(app: &App, request: Request) -> Option<Json<Seen>> {
    let token = request.headers().get(seen::TOKEN)?.to_str().ok()?;
    app.doctor_keys.verify(token, app.now())?;
    let host = host::names(&request).ok()?.next()?.to_owned();
    let (parts, _) = request.into_parts();
    Some(Json(Seen {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host,
        peer: client::peer(&parts)?,
        client: client::ip(&parts, app)?,
        forwarded_for: client::hops(&parts),
    }))
}
