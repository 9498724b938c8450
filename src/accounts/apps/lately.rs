//! The apps in memory, as of a second ago at most.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::DbErr;
use uuid::Uuid;

use super::host::AppHost;
use super::{Application, all};
use crate::accounts::{Fault, Result};
use crate::db::Db;
use crate::recent::Recent;

/// How long the apps are kept.
const KEPT: Duration = Duration::from_secs(1);
/// How long a failure is kept. Otherwise each of the requests that wait would fail by itself, one after the other.
const FAILURE_KEPT: Duration = Duration::from_millis(250);

/// Reads the apps once in a second at most, however many clients ask for them: each request behind a proxy asks for one.
pub struct Lately {
    db: Db,
    /// Or the words of a failure.
    recent: Recent<Result<Arc<Apps>, String>>,
}

struct Apps {
    by_id: HashMap<Uuid, Arc<Application>>,
    by_host: HashMap<AppHost, Arc<Application>>,
}

impl Lately {
    /// Returns the apps in this database.
    pub fn new(db: Db) -> Self {
        Self { db, recent: Recent::new(|read| if read.is_ok() { KEPT } else { FAILURE_KEPT }) }
    }

    /// Returns the app at this host.
    pub async fn at(&self, host: &AppHost) -> Result<Option<Arc<Application>>> {
        Ok(self.apps().await?.by_host.get(host).cloned())
    }

    /// Returns the app with this id.
    pub(in crate::accounts) async fn by_id(&self, id: Uuid) -> Result<Option<Application>> {
        Ok(self.apps().await?.by_id.get(&id).map(|app| Application::clone(app)))
    }

    async fn apps(&self) -> Result<Arc<Apps>> {
        let recent = self.recent.get(async { self.read().await.map_err(|fault| fault.to_string()) }).await;
        recent.map_err(|words| Fault::Database(DbErr::Custom(words)))
    }

    async fn read(&self) -> Result<Arc<Apps>> {
        let (mut by_id, mut by_host) = (HashMap::new(), HashMap::new());
        for app in all(self.db.read()).await?.into_iter().map(Arc::new) {
            by_host.extend(app.hosts().iter().map(|host| (host.clone(), app.clone())));
            by_id.insert(app.id, app);
        }
        Ok(Arc::new(Apps { by_id, by_host }))
    }
}

impl fmt::Debug for Lately {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lately")
    }
}
