//! Failures as JSON: `{"detail": …}`. The detail is a sentence, or a list with one entry for each field.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use crate::accounts::limit::TooMany;
use crate::app::App;
use crate::gate::client::RequestId;
use crate::gate::error::{Error, ErrorKind, Explained};
use crate::locale::{Locale, Translation};
use crate::words::Words;

/// A sentence that says what is wrong.
#[derive(Serialize, ToSchema)]
pub struct Detail {
    /// What is wrong, in the language asked for.
    #[schema(examples("Could not validate credentials"))]
    detail: String,
}

/// The problems of the fields that were sent.
#[derive(Serialize, ToSchema)]
pub struct FieldProblems {
    /// One entry for each problem.
    detail: Vec<FieldProblem>,
}

/// The problem of one field.
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
    /// Returns the problem of a field that is missing or is not a text.
    pub fn missing(field: &'static str, t: &Translation) -> Self {
        Self { loc: vec!["body", field], msg: t.api_missing().into(), kind: "missing" }
    }

    /// Returns the problem of a field whose value is not accepted.
    pub fn value(field: &'static str, why: &impl Words, t: &Translation) -> Self {
        Self { loc: vec!["body", field], msg: why.words(t), kind: "value_error" }
    }

    /// Returns whether the problem is about this field.
    pub fn is_at(&self, field: &str) -> bool {
        self.loc.last() == Some(&field)
    }

    /// Returns the problem of a body that is not a JSON object.
    pub fn unreadable(t: &Translation) -> Self {
        Self { loc: vec!["body"], msg: t.api_unreadable().into(), kind: "json_invalid" }
    }
}

/// The reason why there is no token, for people and for OAuth 2 clients (RFC 6749, 5.2).
#[derive(Serialize, ToSchema)]
pub struct TokenProblem {
    /// What is wrong, in the language asked for.
    #[schema(examples("Incorrect username or password"))]
    detail: String,
    /// `invalid_grant`, `unsupported_grant_type`, `invalid_client` or `invalid_request`.
    #[schema(examples("invalid_grant"))]
    error: &'static str,
}

/// The problems of the fields of a request for a token.
#[derive(Serialize, ToSchema)]
pub struct TokenFieldProblems {
    /// One entry for each problem.
    detail: Vec<FieldProblem>,
    /// `invalid_request`.
    #[schema(examples("invalid_request"))]
    error: &'static str,
}

/// The reason why a request of a program fails.
pub enum Problem {
    /// A failure on our side, or before the handler.
    Failed(Error),
    /// Fields that are missing or not accepted.
    Fields(Vec<FieldProblem>),
    /// A refusal, with its status and its sentence.
    Refused(StatusCode, String),
    /// A refusal of a token, with its code and its sentence.
    Token(&'static str, String),
    /// No app has the secret that was shown. `true` if it came in `Authorization`, which the answer has to name then.
    UnknownApp(Locale, bool),
    /// Fields of a request for a token that are missing or came twice.
    TokenFields(Vec<FieldProblem>),
    /// The program has sent no token.
    NoToken(Locale),
    /// The token that the program has sent is not valid.
    BadToken(Locale),
}

impl<E: Into<Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let explained = match self {
            Self::Failed(error) => return error.into_response(),
            Self::Fields(detail) => (StatusCode::UNPROCESSABLE_ENTITY, Json(FieldProblems { detail })).into_response(),
            Self::Refused(status, detail) => (status, Json(Detail { detail })).into_response(),
            Self::Token(error, detail) => {
                (StatusCode::BAD_REQUEST, Json(TokenProblem { detail, error })).into_response()
            }
            Self::UnknownApp(locale, basic) => {
                let challenge = basic.then_some([(header::WWW_AUTHENTICATE, "Basic realm=\"latchkey\"")]);
                let body = TokenProblem { detail: locale.t().api_unknown_app().into(), error: "invalid_client" };
                (StatusCode::UNAUTHORIZED, challenge, Json(body)).into_response()
            }
            Self::TokenFields(detail) => {
                let body = TokenFieldProblems { detail, error: "invalid_request" };
                (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
            }
            Self::NoToken(locale) => unauthenticated(locale, "Bearer"),
            Self::BadToken(locale) => unauthenticated(locale, "Bearer error=\"invalid_token\""),
        };
        (Extension(Explained), explained).into_response()
    }
}

/// Answers 401 and names the scheme to authenticate with. A program that has sent no token gets no error code (RFC 6750,
/// 3.1).
fn unauthenticated(locale: Locale, challenge: &'static str) -> Response {
    let detail = Json(Detail { detail: locale.t().api_unauthenticated().into() });
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)], detail).into_response()
}

/// Returns the words of a kind of failure.
pub fn words(t: &Translation, kind: ErrorKind) -> String {
    let words = match kind {
        ErrorKind::BadRequest => t.failure_client(),
        ErrorKind::CrossSite => t.failure_cross_site(),
        ErrorKind::NotFound => t.api_not_found(),
        ErrorKind::MethodNotAllowed => t.api_method(),
        ErrorKind::BodyTimeout => t.failure_timeout(),
        ErrorKind::TooLarge => t.failure_too_large(),
        ErrorKind::MediaType => t.api_media_type(),
        ErrorKind::Misdirected => t.failure_misdirected(),
        ErrorKind::TooMany(TooMany::Site(_)) | ErrorKind::Busy | ErrorKind::Unavailable => t.failure_busy(),
        ErrorKind::TooMany(too_many) => return too_many.words(t),
        ErrorKind::Internal => t.failure_server(),
    };
    words.to_owned()
}

/// Returns the answer for a failure.
pub fn json(_: &App, locale: Locale, _: RequestId, error: &Error) -> Response {
    let detail = words(locale.t(), error.kind);
    let language = [(header::CONTENT_LANGUAGE, HeaderValue::from_static(locale.tag()))];
    (error.kind.status(), language, Json(Detail { detail })).into_response()
}

/// The result of a handler: its success, or the problem that becomes the response.
pub type ApiResult<T = Response> = Result<T, Problem>;
