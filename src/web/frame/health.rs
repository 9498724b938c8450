//! What load balancers ask: whether the server is alive, and whether it can serve.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use tokio::time::timeout;

use crate::app::App;
use crate::gate::error::Error;

/// How long the database may take to answer. Load balancers give up after a few seconds themselves.
const WAIT: Duration = Duration::from_secs(2);

/// GET /healthz
pub async fn alive() -> &'static str {
    "alive\n"
}

/// GET /readyz
///
/// Any client may ask, as often as it likes. So the database is asked at most once a second, and once for all clients that ask
/// at the same time.
pub async fn ready(State(app): State<Arc<App>>) -> Result<&'static str, Error> {
    let asked = async {
        match timeout(WAIT, app.db.ping()).await {
            Ok(answer) => answer.map_err(|why| why.to_string()),
            Err(_) => Err("the database does not answer".to_owned()),
        }
    };
    app.readiness.get(asked).await.map_err(Error::unavailable)?;
    Ok("ready\n")
}
