//! What is known of the browser that sends a request: its cookies, its visit, its language, and the user who is logged in.

/// Declares an enum whose values have a text, and the list of them all. A value cannot be forgotten in the list.
macro_rules! listed {
    ($(#[$doc:meta])* $vis:vis enum $name:ident { $($(#[$value_doc:meta])* $value:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name { $($(#[$value_doc])* $value,)* }

        impl $name {
            const ALL: &[Self] = &[$(Self::$value),*];

            const fn text(self) -> &'static str {
                match self { $(Self::$value => $text,)* }
            }
        }
    };
}

pub mod cookie;
pub mod draft;
pub mod guard;
pub mod identity;
pub mod language;
pub mod link;
pub mod posted;
pub mod replay;
pub mod resolve;
pub mod typed;
pub mod visit;

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tower_cookies::Cookies;

use crate::app::App;
use crate::gate::error::Error;
use visit::Visit;

/// What the browser of this request keeps for us: its cookies and its visit.
pub struct Browser {
    /// The cookies, which [`cookie`] reads and sets.
    pub cookies: Cookies,
    /// The visit.
    pub visit: Visit,
}

impl FromRequestParts<Arc<App>> for Browser {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Error> {
        let cookies = parts
            .extensions
            .get()
            .cloned()
            .ok_or_else(|| Error::internal("this route is not behind web::browser::visit::layer"))?;
        Ok(Self { cookies, visit: Visit::of(parts)? })
    }
}
