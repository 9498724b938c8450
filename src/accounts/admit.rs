//! Lets a client's attempt in, or refuses it.

use std::time::Instant;

use time::OffsetDateTime;
use tracing::warn;

use crate::accounts::event::{self, EventKind};
use crate::accounts::limit::TooMany;
use crate::accounts::limit::clients::Action;
use crate::accounts::{Accounts, Asked, Client, Result};
use crate::notice::Notice;

impl Accounts {
    /// Takes one of the attempts that this client has, at whatever account. Verbs call it before they do any work.
    ///
    /// # Errors
    /// [`Fault::TooMany`](super::Fault::TooMany) when the client, or all clients together, have no attempt left.
    pub async fn admit(&self, action: Action, client: &Client, now: OffsetDateTime) -> Result<()> {
        let admission = self.limits.clients.take(action, client, now).inspect_err(|too_many| {
            if matches!(too_many, TooMany::Site(_)) {
                self.note_flood(action);
            }
        })?;
        // A client is noted a few times, not for each attempt that follows: the events must not be a way to fill the disk.
        if admission.last && self.limits.clients.take(Action::Note, client, now).is_ok() {
            let asked = Asked::new(client, now);
            event::record_of_stranger(self.db.write(), self, (EventKind::LimitHit, None), &asked).await?;
        }
        Ok(())
    }

    /// Notes a request that was refused because all clients together ask for more than the site accepts.
    fn note_flood(&self, action: Action) {
        static FLOODED: Notice = Notice::new();
        self.metrics.site_refused.inc();
        if let Some(count) = FLOODED.count(Instant::now()) {
            warn!(count, limit = ?action, "more clients ask than the site takes in; they were told to come again");
        }
    }
}
