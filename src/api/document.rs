//! The description of this door (OpenAPI 3.1), made from the code that answers.

use utoipa::openapi::security::{Flow, OAuth2, Password, Scopes, SecurityScheme};
use utoipa::openapi::{InfoBuilder, ServerBuilder};
use utoipa::{Modify, OpenApi};

use super::{login, password_reset, profile, signup};
use crate::app::App;
use crate::urls;

#[derive(OpenApi)]
#[openapi(
    paths(
        signup::create,
        login::token,
        profile::me,
        password_reset::ask,
        password_reset::form,
        password_reset::complete
    ),
    modifiers(&Security)
)]
struct Document;

struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let flow = Flow::Password(Password::new(urls::TOKEN, Scopes::new()));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("password", SecurityScheme::OAuth2(OAuth2::new([flow])));
    }
}

/// The document, for this site.
pub fn document(app: &App) -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    document.info = InfoBuilder::new()
        .title(format!("{} accounts", app.config.site_name))
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Accounts for programs: create one, get a token, see who you are, get back in by mail. Errors are \
             `{\"detail\": …}`, in the language of `Accept-Language`.",
        ))
        .build();
    document.servers = Some(vec![ServerBuilder::new().url(app.public_url.origin()).build()]);
    document
}
