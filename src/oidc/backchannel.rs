//! Tells apps that a session has ended (OpenID Connect Back-Channel Logout 1.0, 2.5). Each app is told at least once, and until it
//! answers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::task::{Id, JoinSet};
use tracing::{Instrument, error, error_span, info, warn};
use url::{Host, Url};
use uuid::Uuid;

use crate::accounts::apps::redirect_uri::BackchannelUri;
use crate::accounts::logout::{self, LEASE, Notice};
use crate::accounts::{Fault, Result as Done};
use crate::app::App;
use crate::db::within;
use crate::lan;
use crate::outgoing::{self, Trust};

/// How often to look. The rows are written by triggers, which ring no bell.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many apps are told at once, each of one log-out at a time: an app that does not answer holds no other up.
const AT_ONCE: usize = 8;
/// How long an app may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tells apps of log-outs, without end.
pub async fn run(app: Arc<App>) {
    let trust = Arc::new(OnceCell::new());
    let mut telling = JoinSet::new();
    let mut busy: HashMap<Id, Uuid> = HashMap::new();
    loop {
        let without: Vec<_> = busy.values().copied().collect();
        let free = AT_ONCE - busy.len();
        if free > 0 {
            match within(LEASE.unsigned_abs(), logout::take(&app.db, (free, &without), app.now())).await {
                Ok(notices) => {
                    for notice in notices {
                        let (id, span) =
                            (notice.app.id, error_span!("logout", id = %notice.row.id, app = notice.app.name));
                        let task = telling.spawn(tell(app.clone(), trust.clone(), notice).instrument(span));
                        busy.insert(task.id(), id);
                    }
                }
                Err(fault) => warn!(%fault, "the log-outs that apps are told of cannot be read; trying again"),
            }
        }
        tokio::select! {
            Some(ended) = telling.join_next_with_id() => {
                busy.remove(&ended.map_or_else(|failed| failed.id(), |(id, ())| id));
            }
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

async fn tell(app: Arc<App>, trust: Arc<OnceCell<Option<Trust>>>, notice: Notice) {
    if let Err(fault) = within(LEASE.unsigned_abs(), try_to_tell(&app, &trust, &notice)).await {
        error!(%fault, "an app could not be told of a log-out; trying again");
    }
}

async fn try_to_tell(app: &App, trust: &OnceCell<Option<Trust>>, notice: &Notice) -> Done<()> {
    let token = logout::token(&app.accounts, notice, app.public_url.origin(), app.now()).await;
    let sent = match (Url::parse(&notice.uri), token) {
        (Ok(url), Ok(token)) => tokio::time::timeout(PATIENCE, send(&url, notice, trust, &token))
            .await
            .unwrap_or_else(|_| Err(format!("no answer in {} seconds", PATIENCE.as_secs()))),
        (Err(why), _) => Err(why.to_string()),
        (_, Err(fault)) => Err(fault.to_string()),
    };
    let Err(why) = sent else {
        info!("told");
        return logout::done(&app.db, &notice.row, None, app.now()).await;
    };
    if logout::put_off(&app.db, &notice.row, why.clone(), app.now()).await? {
        warn!(why, "not told; trying again later");
    } else {
        error!(why, "not told, and given up");
    }
    Ok::<(), Fault>(())
}

async fn send(url: &Url, notice: &Notice, trust: &OnceCell<Option<Trust>>, token: &str) -> Result<(), String> {
    let at = addresses(url, notice.app.backchannel_private).await?;
    let trust = match url.scheme() {
        // Read at the first use: the authorities take memory, and most sites tell no app.
        "https" => trust.get_or_init(async || Trust::of_this_machine().ok()).await.as_ref(),
        _ => None,
    };
    let answer = outgoing::post(url, &at, trust, &[("logout_token", token)]).await?;
    if answer.status.is_success() { Ok(()) } else { Err(format!("the app answers {}", answer.status)) }
}

/// Returns where the app is. A name that leads to a private network would let whoever owns it make this server ask machines
/// that only it can reach (server-side request forgery; OWASP, SSRF Prevention Cheat Sheet). The connection goes to the addresses
/// that were looked at, so the name cannot lead elsewhere a moment later (DNS rebinding).
async fn addresses(url: &Url, private: bool) -> Result<Vec<SocketAddr>, String> {
    let mut at = outgoing::addresses(url).await?;
    if !private && !BackchannelUri::is_private(url) {
        at.retain(|at| lan::is_public_ip(&at.ip()));
    }
    if at.is_empty() {
        let host = url.host().as_ref().map(Host::to_string).unwrap_or_default();
        return Err(format!(
            "{host} is on a private network; if it is meant to be, say so: latchkey app edit --backchannel-private true"
        ));
    }
    Ok(at)
}
