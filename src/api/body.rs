//! Bodies, decoded so that nothing a program can send is a fault, and every field that is wrong is named.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value};

use super::error::{FieldProblem, Problem};
use crate::app::App;
use crate::gate::client::Language;
use crate::gate::words::Words;
use crate::locale::Translation;

/// Whether the body is of this type, whatever parameters follow.
fn is(kind: &str, headers: &HeaderMap) -> bool {
    let sent = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    sent.and_then(|sent| sent.split(';').next()).is_some_and(|sent| sent.trim().eq_ignore_ascii_case(kind))
}

async fn bytes(request: Request, app: &Arc<App>) -> Result<Bytes, Problem> {
    Ok(Bytes::from_request(request, app).await.map_err(|rejection| rejection.status())?)
}

/// The fields of a JSON object, and what was found wrong with them so far.
pub struct Fields {
    values: Map<String, Value>,
    problems: Vec<FieldProblem>,
    t: &'static Translation,
}

impl FromRequest<Arc<App>> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let t = request.extensions().get::<Language>().copied().unwrap_or_default().locale.t();
        let is_json = is("application/json", request.headers());
        let body = bytes(request, app).await?;
        if body.is_empty() {
            // Whatever is needed is missing, and is named so.
            return Ok(Self { values: Map::new(), problems: vec![], t });
        }
        if !is_json {
            return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE.into());
        }
        match serde_json::from_slice(&body) {
            Ok(Value::Object(values)) => Ok(Self { values, problems: vec![], t }),
            // What generated clients send for a body that may be left out.
            Ok(Value::Null) => Ok(Self { values: Map::new(), problems: vec![], t }),
            _ => Err(Problem::Fields(vec![FieldProblem::unreadable(t)])),
        }
    }
}

impl Fields {
    /// A field that must be there, as text.
    pub fn text(&mut self, field: &'static str) -> String {
        match self.values.get(field).and_then(Value::as_str) {
            Some(text) => text.to_owned(),
            None => {
                self.problems.push(FieldProblem::missing(field, self.t));
                String::new()
            }
        }
    }

    /// A field that may be left out, or be null.
    pub fn optional(&mut self, field: &'static str) -> String {
        match self.values.get(field) {
            None | Some(Value::Null) => String::new(),
            Some(_) => self.text(field),
        }
    }

    /// Notes what is wrong with a field, unless it is missing, or passes its value on.
    pub fn note<T, E: Words>(&mut self, field: &'static str, parsed: Result<T, E>) -> Option<T> {
        let noted = self.problems.iter().any(|problem| problem.is_at(field));
        match parsed {
            Err(why) if !noted => {
                self.problems.push(FieldProblem::value(field, &why, self.t));
                None
            }
            parsed => parsed.ok().filter(|_| !noted),
        }
    }

    /// Whether nothing was found wrong so far.
    pub fn is_good(&self) -> bool {
        self.problems.is_empty()
    }

    /// All that was found wrong.
    pub fn problems(self) -> Problem {
        Problem::Fields(self.problems)
    }
}

/// The fields of a form, as OAuth 2 has it. One that comes twice is none.
pub struct Form(Vec<(String, String)>);

/// The fields of the address, likewise.
pub struct Query(pub Form);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let query = parts.uri.query().unwrap_or_default();
        Ok(Self(Form(form_urlencoded::parse(query.as_bytes()).into_owned().collect())))
    }
}

impl FromRequest<Arc<App>> for Form {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let is_form = is("application/x-www-form-urlencoded", request.headers());
        let body = bytes(request, app).await?;
        if !body.is_empty() && !is_form {
            return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE.into());
        }
        Ok(Self(form_urlencoded::parse(&body).into_owned().collect()))
    }
}

impl Form {
    /// The field's text.
    pub fn text(&self, name: &str) -> Option<&str> {
        let mut all = self.0.iter().filter(|(field, _)| field == name);
        match (all.next(), all.next()) {
            (Some((_, text)), None) => Some(text),
            _ => None,
        }
    }
}
