//! The apps that see an account.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use uuid::Uuid;

use crate::accounts::access::{self, Access};
use crate::app::App;
use crate::gate::error::Error;
use crate::gate::form::form;
use crate::urls;
use crate::web::browser::draft::{Draft, Keepable};
use crate::web::browser::identity::CurrentUser;
use crate::web::browser::posted::Posted;
use crate::web::browser::visit::{Flash, Visit};
use crate::web::frame::page::{Page, html};

#[derive(Template)]
#[template(path = "access/access.html")]
struct AccessPage {
    page: Page,
    apps: Vec<Access>,
}

/// GET /profile/apps
pub async fn show(
    State(app): State<Arc<App>>,
    CurrentUser { user, .. }: CurrentUser,
    visit: Visit,
    mut page: Page,
) -> Result<Response, Error> {
    if visit.take_draft(urls::APPS).await?.is_some() {
        page.flash = Some(Flash::NoAccessEnded);
    }
    let apps = access::all(app.db.read(), &user).await?;
    html(StatusCode::OK, page.locale, &AccessPage { page, apps })
}

form! {
    /// The form that takes an app's access away.
    pub struct EndAccessForm {
        /// The app.
        app: Option<Uuid>,
    }
}

impl Keepable for EndAccessForm {
    fn draft(self) -> Draft {
        let Self { app: _ } = self; // the user chooses again
        Draft::EndAccess
    }
}

/// POST /profile/apps
pub async fn end(
    State(app): State<Arc<App>>,
    visit: Visit,
    Posted { user, session: _, client, form }: Posted<EndAccessForm>,
) -> Result<Response, Error> {
    if let Some(id) = form.app {
        access::end(&app.accounts, &user, id, &client, app.now()).await?;
        visit.flash(Flash::AccessEnded).await;
    }
    Ok(Redirect::to(urls::APPS).into_response())
}
