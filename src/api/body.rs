//! Bodies, decoded so that nothing a program can send is a fault, and every field that is wrong is named.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::error::{FieldProblem, Problem};
use crate::app::App;
use crate::gate::client::Language;
use crate::gate::form::is;
use crate::gate::words::Words;
use crate::locale::Translation;

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
        let body = Bytes::from_request(request, app).await.map_err(|rejection| rejection.status())?;
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
