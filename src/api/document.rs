//! What the description of this door (OpenAPI 3.1) says beyond the handlers.

use serde_json::json;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::Operation;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::security::{Flow, OAuth2, Password, Scopes, SecurityScheme};
use utoipa::openapi::{ContentBuilder, InfoBuilder, OpenApi, Ref, RefOr, ServerBuilder};

use super::error;
use crate::accounts::limit::TooMany;
use crate::app::App;
use crate::gate::error::ErrorKind;
use crate::locale::Locale;
use crate::urls;

/// The failures that happen before the handler or on our side. They are the same for every operation.
struct Failures;

impl Failures {
    const ALL: [(ErrorKind, &str); 9] = [
        (ErrorKind::BadRequest, "The body broke off, or the head names no host"),
        (ErrorKind::CrossSite, "A page of another site made a browser send it"),
        (ErrorKind::BodyTimeout, "The body took too long to arrive"),
        (ErrorKind::TooLarge, "A body of more than 16 KiB"),
        (ErrorKind::Misdirected, "A request for another host"),
        (ErrorKind::MediaType, "A body of another type"),
        (ErrorKind::TooMany(TooMany::Closed), "Too many attempts"),
        (ErrorKind::Internal, "Our fault; the log says more"),
        (ErrorKind::Unavailable, "Too much to do at the moment"),
    ];

    fn header(description: &str) -> Header {
        HeaderBuilder::from(Header::default()).description(Some(description)).build()
    }

    fn response(kind: ErrorKind, description: &str) -> Response {
        let t = Locale::default().t();
        let detail = match kind {
            ErrorKind::TooMany(_) => t.failure_too_many().to_owned(),
            kind => error::words(t, kind),
        };
        let example = json!({ "detail": detail });
        let schema = Ref::from_schema_name("Detail");
        let content = ContentBuilder::new().schema(Some(schema)).example(Some(example)).build();
        let response = ResponseBuilder::new().description(description).content("application/json", content);
        if kind.retry_after().is_none() {
            return response.build();
        }
        response.header("Retry-After", Self::header("In how many seconds to try again")).build()
    }

    fn add_to(operation: &mut Operation) {
        let has_body = operation.request_body.is_some();
        let of_a_post = |kind| matches!(kind, ErrorKind::CrossSite | ErrorKind::MediaType);
        for (kind, description) in Self::ALL.into_iter().filter(|(kind, _)| has_body || !of_a_post(*kind)) {
            let named = operation.responses.responses.entry(kind.status().as_str().to_owned());
            named.or_insert_with(|| RefOr::T(Self::response(kind, description)));
        }
        for response in operation.responses.responses.values_mut() {
            let RefOr::T(response) = response else { continue };
            let id = Self::header("Links the answer to its lines in the log");
            response.headers.insert("X-Request-Id".to_owned(), id.into());
        }
    }
}

/// Adds to the description of the operations what is about this site and what is true of all operations.
pub fn complete(document: &mut OpenApi, app: &App) {
    document.info = InfoBuilder::new()
        .title(format!("{} accounts", app.settings.site_name))
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Accounts for programs: create one, get a token, see who you are, get back in by mail. Errors are \
             `{\"detail\": …}`, in the language of `Accept-Language`.",
        ))
        .build();
    document.servers = Some(vec![ServerBuilder::new().url(app.public_url.origin()).build()]);
    let flow = Flow::Password(Password::new(urls::TOKEN, Scopes::new()));
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("password", SecurityScheme::OAuth2(OAuth2::new([flow])));
    for path in document.paths.paths.values_mut() {
        [&mut path.get, &mut path.post].into_iter().flatten().for_each(Failures::add_to);
    }
}
