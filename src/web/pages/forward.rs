//! A proxy in front of an app sends a user here who is not known there: to log in, if need be, and back.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use time::Duration;
use tower_cookies::Cookies;

use crate::accounts::apps::Application;
use crate::accounts::forward::Destination;
use crate::app::App;
use crate::gate::error::Error;
use crate::urls::{self, Next};
use crate::web::browser::cookie::{self, Name};
use crate::web::browser::identity::{CurrentUser, log_in_first, set_session_cookie};
use crate::web::frame::page::{Page, html};

/// A browser that comes again so soon, from the same address, goes in circles.
const AGAIN_WITHIN: Duration = Duration::seconds(10);
/// So often it is sent on all the same: a user may reload a page, or open the same one in two tabs.
const TIMES: u8 = 3;

#[derive(Template)]
#[template(path = "forward/stranger.html")]
struct StrangerPage {
    page: Page,
}

#[derive(Template)]
#[template(path = "forward/in_circles.html")]
struct InCirclesPage {
    page: Page,
    to: Destination,
    app: String,
}

impl InCirclesPage {
    fn heading(&self) -> String {
        self.page.t.forward_in_circles(self.page.locale.inside(&self.app)).trim().to_owned()
    }

    fn lead(&self) -> String {
        self.page.t.forward_in_circles_lead(self.page.locale.inside(&self.app)).trim().to_owned()
    }

    fn tell(&self) -> String {
        self.page.t.forward_in_circles_tell(self.to.host().to_string())
    }
}

/// GET /auth/enter
pub async fn enter(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    user: Option<CurrentUser>,
    Extension(cookies): Extension<Cookies>,
    page: Page,
) -> Result<Response, Error> {
    let query = query.unwrap_or_default();
    let Some((to, application)) = find(&app, &query).await? else {
        return html(StatusCode::BAD_REQUEST, page.locale, &StrangerPage { page });
    };
    let Some(CurrentUser { session, .. }) = user else {
        return Ok(log_in_first(&path(&app, &to)));
    };
    if goes_in_circles(&cookies, &app, &to) {
        let page = InCirclesPage { page, to, app: application.name.clone() };
        return html(StatusCode::BAD_REQUEST, page.page.locale, &page);
    }
    set_session_cookie(&cookies, &app, &session)?;
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, to.as_str())]).into_response())
}

/// Returns this page's path with an address. One that is too long to be carried through a log-in leads to the app's first page.
fn path(app: &App, to: &Destination) -> String {
    let path = |to: &Destination| {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("to", to.as_str()).finish();
        format!("{}?{query}", urls::ENTER)
    };
    match Next::parse(&path(to)) {
        Some(next) => next.as_str().to_owned(),
        None => path(&to.root(app.public_url.is_https())),
    }
}

/// Returns where a query leads, and the app that is there: `to` came once, and is an address at a host of an app.
pub async fn find(app: &App, query: &str) -> Result<Option<(Destination, Arc<Application>)>, Error> {
    let mut all = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "to");
    let (Some((_, to)), None, true) = (all.next(), all.next(), app.settings.gate_domain.is_some()) else {
        return Ok(None);
    };
    let Some(to) = Destination::parse(&to, app.public_url.is_https()) else { return Ok(None) };
    let found = app.apps.at(to.host()).await?;
    Ok(found.map(|application| (to, application)))
}

/// Returns whether this browser comes from the same address again and again: the proxy does not hand the cookie on, or the
/// browser has not kept it. Without an end, the two would send it to and fro.
fn goes_in_circles(cookies: &Cookies, app: &App, to: &Destination) -> bool {
    let address = URL_SAFE_NO_PAD.encode(&Sha256::digest(to.as_str())[..9]);
    let before = cookie::get(cookies, app, Name::Entered);
    let times = before.and_then(|before| {
        let (times, same) = before.split_once('.')?;
        times.parse::<u8>().ok().filter(|_| same == address)
    });
    let times = times.unwrap_or(0);
    if times >= TIMES {
        cookie::remove(cookies, app, Name::Entered);
        return true;
    }
    cookie::set(cookies, app, Name::Entered, format!("{}.{address}", times + 1), Some(AGAIN_WITHIN));
    false
}
