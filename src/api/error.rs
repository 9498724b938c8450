//! What goes wrong, in JSON: `{"detail": …}`, a sentence, or a list with one entry for each field.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::gate::error::Error;
use crate::gate::words::Words;
use crate::locale::{Locale, Translation};

/// What is wrong, in a sentence.
#[derive(Serialize, ToSchema)]
pub struct Detail {
    /// What is wrong, in the language asked for.
    #[schema(examples("Could not validate credentials"))]
    detail: String,
}

/// What is wrong with the fields that were sent.
#[derive(Serialize, ToSchema)]
pub struct FieldProblems {
    /// One entry for each problem.
    detail: Vec<FieldProblem>,
}

/// What is wrong with one field.
#[derive(Serialize, ToSchema)]
pub struct FieldProblem {
    /// Where it is: `body` or `query`, then the field.
    #[schema(examples("body"))]
    loc: Vec<&'static str>,
    /// What to do, in the language asked for.
    #[schema(examples("Enter an email address like name@example.com"))]
    msg: String,
    /// `missing`, `json_invalid` or `value_error`.
    #[serde(rename = "type")]
    #[schema(examples("value_error"))]
    kind: &'static str,
}

impl FieldProblem {
    /// A field that is not there, or no text.
    pub fn missing(field: &'static str, t: &Translation) -> Self {
        Self { loc: vec!["body", field], msg: t.api_missing(), kind: "missing" }
    }

    /// A field whose value will not do.
    pub fn value(field: &'static str, why: &impl Words, t: &Translation) -> Self {
        Self { loc: vec!["body", field], msg: why.words(t), kind: "value_error" }
    }

    /// Whether it is about this field.
    pub fn is_at(&self, field: &str) -> bool {
        self.loc.last() == Some(&field)
    }

    /// A body that cannot be read.
    pub fn unreadable(t: &Translation) -> Self {
        Self { loc: vec!["body"], msg: t.api_unreadable(), kind: "json_invalid" }
    }
}

/// What is wrong with a request for a token, for people and for OAuth 2 clients (RFC 6749, 5.2).
#[derive(Serialize, ToSchema)]
pub struct TokenProblem {
    /// What is wrong, in the language asked for.
    #[schema(examples("Incorrect username or password"))]
    detail: String,
    /// `invalid_grant` or `unsupported_grant_type`.
    #[schema(examples("invalid_grant"))]
    error: &'static str,
}

/// What is wrong with the fields of a request for a token.
#[derive(Serialize, ToSchema)]
pub struct TokenFieldProblems {
    /// One entry for each problem.
    detail: Vec<FieldProblem>,
    /// `invalid_request`.
    #[schema(examples("invalid_request"))]
    error: &'static str,
}

/// Why a request of this door has no success.
pub enum Problem {
    /// It went wrong on our side, or before a handler saw it.
    Failed(Error),
    /// Its fields.
    Fields(Vec<FieldProblem>),
    /// One sentence, with this status.
    Said(StatusCode, String),
    /// A request for a token, refused with this code and sentence.
    Token(&'static str, String),
    /// The fields of a request for a token.
    TokenFields(Vec<FieldProblem>),
    /// The program has sent no token.
    NoToken(Locale),
    /// The token that the program has sent is not good.
    BadToken(Locale),
}

impl<E: Into<Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        match self {
            Self::Failed(error) => error.into_response(),
            Self::Fields(detail) => (StatusCode::UNPROCESSABLE_ENTITY, Json(FieldProblems { detail })).into_response(),
            Self::Said(status, detail) => (status, Json(Detail { detail })).into_response(),
            Self::Token(error, detail) => {
                (StatusCode::BAD_REQUEST, Json(TokenProblem { detail, error })).into_response()
            }
            Self::TokenFields(detail) => {
                let body = TokenFieldProblems { detail, error: "invalid_request" };
                (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
            }
            Self::NoToken(locale) => unauthenticated(locale, "Bearer"),
            Self::BadToken(locale) => unauthenticated(locale, "Bearer error=\"invalid_token\""),
        }
    }
}

/// 401, with how to come back. A program that has sent no token gets no error code (RFC 6750, 3.1).
fn unauthenticated(locale: Locale, challenge: &'static str) -> Response {
    let detail = Json(Detail { detail: locale.t().api_unauthenticated() });
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)], detail).into_response()
}

/// The words for a failure that no handler has any for.
pub fn words(t: &Translation, error: &Error) -> String {
    match error.status {
        StatusCode::FORBIDDEN => t.failure_cross_site(),
        StatusCode::NOT_FOUND => t.api_not_found(),
        StatusCode::METHOD_NOT_ALLOWED => t.api_method(),
        StatusCode::REQUEST_TIMEOUT => t.failure_timeout(),
        StatusCode::PAYLOAD_TOO_LARGE => t.failure_too_large(),
        StatusCode::MISDIRECTED_REQUEST => t.failure_misdirected(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => t.api_media_type(),
        StatusCode::TOO_MANY_REQUESTS => error.too_many.map_or_else(|| t.failure_too_many(), |many| many.words(t)),
        StatusCode::SERVICE_UNAVAILABLE => t.failure_busy(),
        status if status.is_client_error() => t.failure_client(),
        _ => t.failure_server(),
    }
}

/// A failure that no handler has words for.
pub fn json(_: &App, locale: Locale, _: &str, error: &Error) -> Response {
    let detail = words(locale.t(), error);
    let language = [(header::CONTENT_LANGUAGE, HeaderValue::from_static(locale.tag()))];
    (error.status, language, Json(Detail { detail })).into_response()
}

/// What a handler of this door returns.
pub type Answer<T = Response> = Result<T, Problem>;
