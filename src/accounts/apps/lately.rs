//! The apps in memory, as of a second ago at most.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::DbErr;
use uuid::Uuid;

use super::{Application, all};
use crate::accounts::{Fault, Result};
use crate::db::Db;
use crate::recent::Recent;

/// How long the apps are kept.
const KEPT: Duration = Duration::from_secs(1);
/// How long a failure is kept. Otherwise each of the requests that wait would fail by itself, one after the other.
const FAILURE_KEPT: Duration = Duration::from_millis(250);

/// Reads the apps once in a second at most, however many clients ask for them.
pub struct Lately {
    db: Db,
    /// Or the words of a failure.
    recent: Recent<Result<Arc<Vec<Application>>, String>>,
}

impl Lately {
    /// Returns the apps in this database.
    pub fn new(db: Db) -> Self {
        Self { db, recent: Recent::new(|read| if read.is_ok() { KEPT } else { FAILURE_KEPT }) }
    }

    /// Returns the app with this id.
    pub(in crate::accounts) async fn by_id(&self, id: Uuid) -> Result<Option<Application>> {
        let read = async { all(self.db.read()).await.map(Arc::new).map_err(|fault| fault.to_string()) };
        let apps = self.recent.get(read).await.map_err(|words| Fault::Database(DbErr::Custom(words)))?;
        Ok(apps.iter().find(|app| app.id == id).cloned())
    }
}

impl fmt::Debug for Lately {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lately")
    }
}
