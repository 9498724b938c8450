//! For load balancers: alive, and able to serve.

use std::sync::Arc;

use axum::extract::State;

use crate::app::App;
use crate::gate::error::Error;

/// GET /healthz
pub async fn alive() -> &'static str {
    "alive\n"
}

/// GET /readyz
pub async fn ready(State(app): State<Arc<App>>) -> Result<&'static str, Error> {
    app.db.ping().await.map_err(Error::unavailable)?;
    Ok("ready\n")
}
