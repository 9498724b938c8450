//! The description of this door (OpenAPI 3.1), made from the code that answers.

use axum::http::StatusCode;
use serde_json::json;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::Operation;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::security::{Flow, OAuth2, Password, Scopes, SecurityScheme};
use utoipa::openapi::{ContentBuilder, InfoBuilder, Ref, RefOr, ServerBuilder};
use utoipa::{Modify, OpenApi};

use super::{error, login, password_reset, profile, signup};
use crate::app::App;
use crate::locale::Locale;
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
    modifiers(&Security, &Failures)
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

/// What happens before a handler sees a request, or in spite of one: the same for every operation.
struct Failures;

impl Failures {
    const ALL: [(StatusCode, &str); 9] = [
        (StatusCode::BAD_REQUEST, "The body broke off, or the head names no host"),
        (StatusCode::FORBIDDEN, "A page of another site made a browser send it"),
        (StatusCode::REQUEST_TIMEOUT, "The body took too long to arrive"),
        (StatusCode::PAYLOAD_TOO_LARGE, "A body of more than 16 KiB"),
        (StatusCode::MISDIRECTED_REQUEST, "A request for another host"),
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, "A body of another type"),
        (StatusCode::TOO_MANY_REQUESTS, "Too many attempts"),
        (StatusCode::INTERNAL_SERVER_ERROR, "Our fault; the log says more"),
        (StatusCode::SERVICE_UNAVAILABLE, "Too much to do at the moment"),
    ];

    fn header(description: &str) -> Header {
        HeaderBuilder::from(Header::default()).description(Some(description)).build()
    }

    fn response(status: StatusCode, description: &str) -> Response {
        let example = json!({"detail": error::words(Locale::default().t(), &status.into())});
        let schema = Ref::from_schema_name("Detail");
        let content = ContentBuilder::new().schema(Some(schema)).example(Some(example)).build();
        let response = ResponseBuilder::new().description(description).content("application/json", content);
        if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            return response.build();
        }
        response.header("Retry-After", Self::header("In how many seconds to try again")).build()
    }

    fn add_to(operation: &mut Operation) {
        let has_body = operation.request_body.is_some();
        let of_a_post =
            |status: StatusCode| [StatusCode::FORBIDDEN, StatusCode::UNSUPPORTED_MEDIA_TYPE].contains(&status);
        let all = Self::ALL.iter().filter(|(status, _)| has_body || !of_a_post(*status));
        for (status, description) in all {
            let named = operation.responses.responses.entry(status.as_str().to_owned());
            named.or_insert_with(|| RefOr::T(Self::response(*status, description)));
        }
        for response in operation.responses.responses.values_mut() {
            let RefOr::T(response) = response else { continue };
            let id = Self::header("Links the answer to its lines in the log");
            response.headers.insert("X-Request-Id".to_owned(), id.into());
        }
    }
}

impl Modify for Failures {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for path in document.paths.paths.values_mut() {
            [&mut path.get, &mut path.post].into_iter().flatten().for_each(Self::add_to);
        }
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
