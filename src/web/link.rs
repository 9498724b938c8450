//! A link's token, on its way from the letter to the form: out of the address, where history and `Referer`
//! would keep it, and into a cookie.

use axum::response::{IntoResponse, Redirect, Response};
use tower_cookies::Cookies;

use super::cookie::{self, Name};
use crate::accounts::token::Token;
use crate::accounts::{pending_signup, reset_token};
use crate::app::App;

/// Moves a link's token from the address into a cookie. What is no token takes the cookie away, so that a
/// broken link never shows the page of an older one.
pub fn keep(cookies: &Cookies, app: &App, name: Name, token: &str, path: &str) -> Response {
    let lifetime = if name == Name::ResetLink { reset_token::LIFETIME } else { pending_signup::LIFETIME };
    match Token::parse(token) {
        Some(token) => cookie::set(cookies, app, name, token.reveal().to_string(), Some(lifetime)),
        None => cookie::remove(cookies, app, name),
    }
    Redirect::to(path).into_response()
}

/// The token of the link that was opened last.
pub fn token(cookies: &Cookies, app: &App, name: Name) -> Option<Token> {
    Token::parse(&cookie::get(cookies, app, name)?)
}
