//! An app asks to log its user out of the site.

use std::sync::Arc;

use askama::Template;
use axum::extract::{RawQuery, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::authorize::{Whole, as_get};
use super::login::end_session;
use crate::accounts::Client;
use crate::accounts::authorize::request::Params;
use crate::accounts::logout::request::{self, LogoutRequest, Refused};
use crate::app::App;
use crate::gate::error::Error;
use crate::gate::form::{Form, form};
use crate::gate::headers::content_security_policy;
use crate::urls;
use crate::web::browser::Browser;
use crate::web::browser::identity::CurrentUser;
use crate::web::frame::page::{Page, html};

#[derive(Template)]
#[template(path = "logout/ask.html")]
struct AskPage {
    page: Page,
    /// The name of the app, if it is known.
    app: Option<String>,
    /// The same request, as it came.
    query: String,
}

impl AskPage {
    fn lead(&self) -> String {
        let site = self.page.locale.inside(&self.page.site);
        match &self.app {
            Some(app) => self.page.t.logout_lead_of_app(self.page.locale.inside(app), site),
            None => self.page.t.logout_lead(site),
        }
    }
}

#[derive(Template)]
#[template(path = "logout/refused.html")]
struct RefusedPage {
    page: Page,
    words: &'static str,
    /// Whether a user is logged in.
    is_there: bool,
}

form! {
    /// The form by which a user agrees to be logged out.
    pub struct ConfirmForm {
        /// The request that the page was about, as a query.
        request: Whole,
    }
}

/// GET /oauth/logout
pub async fn show(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    user: Option<CurrentUser>,
    client: Client,
    browser: Browser,
    page: Page,
) -> Result<Response, Error> {
    let query = query.unwrap_or_default();
    let request = match read(&app, &query, user.as_ref()).await? {
        Ok(request) => request,
        Err(refused) => return refuse(page, refused, user.is_some()),
    };
    if user.is_some() && !request.is_proven {
        let policy = content_security_policy(&app, request.source.as_slice());
        let locale = page.locale;
        let page = AskPage { page, app: request.app.map(|app| app.name), query };
        return Ok(([(header::CONTENT_SECURITY_POLICY, policy)], html(StatusCode::OK, locale, &page)?).into_response());
    }
    end(&app, user, &client, &browser, request).await
}

/// POST /oauth/logout: the same request, in a form of the app.
pub async fn post(request: Request) -> Result<Response, Error> {
    as_get(request, urls::OAUTH_LOGOUT).await
}

/// POST /oauth/logout/confirm. It ends the session that the browser has now, whichever the page was about: the user wants to leave.
pub async fn confirm(
    State(app): State<Arc<App>>,
    user: Option<CurrentUser>,
    client: Client,
    browser: Browser,
    page: Page,
    Form(ConfirmForm { request: Whole(query) }): Form<ConfirmForm>,
) -> Result<Response, Error> {
    match read(&app, &query, user.as_ref()).await? {
        Ok(request) => end(&app, user, &client, &browser, request).await,
        Err(refused) => refuse(page, refused, user.is_some()),
    }
}

async fn read(app: &App, query: &str, user: Option<&CurrentUser>) -> Result<Result<LogoutRequest, Refused>, Error> {
    let there = user.map(|current| current.session.as_ref());
    let params = Params::parse(query);
    Ok(request::read(&app.accounts, &params, (app.public_url.origin(), there), app.now()).await?)
}

/// Ends the session, if there is one, and sends the browser back to the app, or to the log-in.
async fn end(
    app: &App,
    user: Option<CurrentUser>,
    client: &Client,
    browser: &Browser,
    request: LogoutRequest,
) -> Result<Response, Error> {
    let cleared = end_session(app, user, client, browser, request.to.is_none()).await?;
    let to = request.to.unwrap_or_else(|| urls::LOGIN.to_owned());
    Ok((StatusCode::SEE_OTHER, cleared, [(header::LOCATION, to)]).into_response())
}

fn refuse(page: Page, refused: Refused, is_there: bool) -> Result<Response, Error> {
    let words = match refused {
        Refused::App => page.t.logout_unknown_app(),
        Refused::Address => page.t.logout_unknown_address(),
    };
    html(StatusCode::BAD_REQUEST, page.locale, &RefusedPage { page, words, is_there })
}
