//! The token of a mailed link, on its way from the email to the form. It leaves the address, where the history and
//! `Referer` would keep it, for a cookie.

use axum::response::{IntoResponse, Redirect, Response};
use time::Duration;
use tower_cookies::Cookies;
use zeroize::Zeroizing;

use super::cookie::{self, Name};
use crate::accounts::link::pending_signup;
use crate::accounts::token::Token;
use crate::app::App;
use crate::gate::form::form;
use crate::urls;

/// How long the cookie of a link lives that could take an account or its password away. The next user of this browser
/// could use it, so it lives as long as the form takes, and not as long as the link, which can be opened again from the
/// email.
const SHORT: Duration = Duration::minutes(15);

form! {
    /// The query of a mailed link.
    pub struct LinkQuery {
        /// The token; empty once it is in the cookie.
        pub token: Zeroizing<String>,
    }
}

/// A kind of mailed link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// The link that confirms a sign-up.
    Signup,
    /// The link to choose a new password.
    Reset,
    /// The link that says “this was not me”.
    NotMe,
}

impl Link {
    fn cookie(self) -> Name {
        match self {
            Self::Signup => Name::SignupLink,
            Self::Reset => Name::ResetLink,
            Self::NotMe => Name::NotMeLink,
        }
    }

    /// Returns the page behind the link.
    fn path(self) -> &'static str {
        match self {
            Self::Signup => urls::SIGNUP_CONFIRM,
            Self::Reset => urls::RESET_PASSWORD,
            Self::NotMe => urls::NOT_ME,
        }
    }

    /// Returns how long its cookie lives.
    fn lifetime(self) -> Duration {
        match self {
            Self::Signup => pending_signup::LIFETIME,
            Self::Reset | Self::NotMe => SHORT,
        }
    }

    /// Moves the token from the address into the cookie, and goes on to the page. A text that has not the shape of a token
    /// deletes the cookie, so that a broken link never shows the page of an older one.
    pub fn keep(self, cookies: &Cookies, app: &App, text: &str) -> Response {
        match Token::parse(text) {
            Some(token) => {
                cookie::set(cookies, app, self.cookie(), token.reveal().to_string(), Some(self.lifetime()));
            }
            None => self.forget(cookies, app),
        }
        Redirect::to(self.path()).into_response()
    }

    /// Returns the token of the link of this kind that was opened last.
    pub fn token(self, cookies: &Cookies, app: &App) -> Option<Token> {
        Token::parse(&cookie::get(cookies, app, self.cookie())?)
    }

    /// Deletes the cookie of the link.
    pub fn forget(self, cookies: &Cookies, app: &App) {
        cookie::remove(cookies, app, self.cookie());
    }
}
