//! The door for browsers: where each path leads, and what every request passes on its way.
//!
//! `pages` may import `frame` and `browser`, `frame` may import `browser`, and `browser` neither.

mod browser;
mod frame;
mod pages;

use std::sync::Arc;

use axum::Router;
use axum::extract::Extension;
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use utoipa::openapi::OpenApi;

use crate::app::App;
use crate::gate::{self, Gate};
use crate::urls;
use browser::{guard, language, resolve, visit};
use frame::{assets, error, health};
use pages::{
    access, authorize, dev_mailbox, docs, forward, home, login, logout, not_me, password_reset, profile, security,
    signup,
};

/// Returns the router of all paths of the site. `api` describes the other door, and a page shows it.
pub fn router(app: Arc<App>, api: &OpenApi) -> Router {
    let described = Extension(Arc::new(docs::Api::read(api, &app.public_url)));
    let gate = Arc::new(Gate::new(app.clone(), language::of_browser, error::page));
    let gate = from_fn_with_state(gate, gate::around);
    let guard = Arc::new(guard::Guard { app: app.clone(), responses: Arc::default() });
    let pages = Router::new()
        .route(urls::HOME, get(home::show))
        .route(urls::SIGNUP, get(signup::show).post(signup::ask))
        .route(urls::SIGNUP_SENT, get(signup::sent))
        .route(urls::SIGNUP_RESEND, post(signup::ask_again))
        .route(urls::SIGNUP_CONFIRM, get(signup::show_confirm).post(signup::confirm))
        .route(urls::LOGIN, get(login::show).post(login::log_in))
        .route(urls::LOGOUT, post(login::log_out))
        .route(urls::PROFILE, get(profile::show).post(profile::rename))
        .route(urls::PROFILE_NAME, get(profile::show_name).post(profile::rename))
        .route(urls::PROFILE_LANGUAGE, get(profile::show_language).post(profile::choose_language))
        .route(urls::PROFILE_PASSWORD, get(profile::show_password).post(profile::change_password))
        .route(urls::SECURITY, get(security::show))
        .route(urls::SECURITY_LOG_OUT, post(security::log_out))
        .route(urls::APPS, get(access::show).post(access::end))
        .route(urls::NOT_ME, get(not_me::show).post(not_me::say))
        .route(urls::NOT_ME_DONE, get(not_me::done))
        .route(urls::FORGOT_PASSWORD, get(password_reset::show_ask).post(password_reset::ask))
        .route(urls::FORGOT_PASSWORD_SENT, get(password_reset::sent))
        .route(urls::RESET_PASSWORD, get(password_reset::show).post(password_reset::reset))
        .route(urls::CHANGE_PASSWORD, get(profile::well_known))
        .route(urls::AUTHORIZE, get(authorize::show))
        .route(urls::CONSENT, post(authorize::decide))
        .route(urls::OAUTH_LOGOUT, get(logout::show))
        .route(urls::OAUTH_LOGOUT_CONFIRM, post(logout::confirm))
        .route(urls::ENTER, get(forward::enter))
        .route(urls::DEV_MAILBOX, get(dev_mailbox::list))
        .route(urls::DEV_MAILBOX_JSON, get(dev_mailbox::json))
        .route(urls::DEV_MAILBOX_LETTER, get(dev_mailbox::letter))
        .route(urls::DEV_MAILBOX_HTML, get(dev_mailbox::html))
        .route(urls::DOCS, get(docs::show).layer(described))
        // A request passes these from the first to the last. Added one by one, each would be in a box of its own, and a request
        // that enters a box copies all boxes inside of it.
        .layer((
            gate.clone(),
            from_fn_with_state(guard, guard::before),
            visit::layer(&app),
            from_fn_with_state(app.clone(), resolve::around),
        ));
    let others = Router::new()
        // A page of an app may send these forms, so they do not pass the guard. They read no cookie.
        .route(urls::AUTHORIZE, post(authorize::post))
        .route(urls::OAUTH_LOGOUT, post(logout::post))
        .route(urls::HEALTHZ, get(health::alive))
        .route(urls::READYZ, get(health::ready))
        .route(urls::FAVICON, get(assets::favicon))
        .route(urls::STATIC_FILE, get(assets::serve))
        .fallback(error::not_found)
        .layer(gate.clone());
    pages.merge(others).method_not_allowed_fallback(error::method_not_allowed.layer(gate)).with_state(app)
}
