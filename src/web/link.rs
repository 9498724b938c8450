//! A link's token, on its way from the letter to the form: out of the address, where history and `Referer`
//! would keep it, and into a cookie.

use axum::response::{IntoResponse, Redirect, Response};
use time::Duration;
use tower_cookies::Cookies;

use super::cookie::{self, Name};
use crate::accounts::link::pending_signup;
use crate::accounts::token::Token;
use crate::app::App;

/// How long the cookie of a reset link lives, and of a link “this was not me”. The next person at this browser could take
/// the account or its password away with it, so it lives as long as the form takes, and not as long as the link, which can
/// be opened again from the email.
const RESET_COOKIE_LIFETIME: Duration = Duration::minutes(15);

/// Moves a link's token, if it has the shape of one, from the address into a cookie. What has not takes the cookie
/// away, so that a broken link never shows the page of an older one.
pub fn keep(cookies: &Cookies, app: &App, name: Name, token: Option<String>, path: &str) -> Response {
    let lifetime = match name {
        Name::ResetLink | Name::NotMeLink => RESET_COOKIE_LIFETIME,
        _ => pending_signup::LIFETIME,
    };
    match token {
        Some(token) => cookie::set(cookies, app, name, token, Some(lifetime)),
        None => cookie::remove(cookies, app, name),
    }
    Redirect::to(path).into_response()
}

/// What has the shape of a token in an address.
pub fn shaped(text: &str) -> Option<String> {
    Some(Token::parse(text)?.reveal().to_string())
}

/// The token of the link that was opened last.
pub fn token(cookies: &Cookies, app: &App, name: Name) -> Option<Token> {
    Token::parse(&cookie::get(cookies, app, name)?)
}
