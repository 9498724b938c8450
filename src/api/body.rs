//! Reads what a program sends into the structs that describe it. Whatever a program sends, it is not answered with a
//! fault of ours, and the response names every field that is wrong.

use std::cell::RefCell;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use serde::de::value::{self, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_json::{Map, Value};

use super::error::{FieldProblem, Problem};
use crate::app::App;
use crate::gate::body::is;
use crate::gate::client::Language;
use crate::gate::error::{Error, ErrorKind};
use crate::gate::form::Fields;
use crate::locale::Translation;
use crate::words::Words;

/// A JSON object, read into `T`, and the problems of its fields.
pub struct Body<T>(pub T, pub BodyProblems);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let t = request.extensions().get::<Language>().copied().unwrap_or_default().locale.t();
        let is_json = is("application/json", request.headers());
        let body = Bytes::from_request(request, app).await.map_err(Error::from)?;
        if !body.is_empty() && !is_json {
            return Err(ErrorKind::MediaType.into());
        }
        let values = match serde_json::from_slice(&body) {
            // An empty body has no fields, and neither has the null that generated clients send for an optional body. The
            // response names each field that is missing.
            _ if body.is_empty() => Map::new(),
            Ok(Value::Null) => Map::new(),
            Ok(Value::Object(values)) => values,
            _ => return Err(Problem::Fields(vec![FieldProblem::unreadable(t)])),
        };
        let (fields, missing) = read(|name| match values.get(name) {
            None | Some(Value::Null) => SentField::Nothing,
            Some(Value::String(text)) => SentField::Text(text),
            Some(_) => SentField::Other,
        })?;
        let found = missing.into_iter().map(|field| FieldProblem::missing(field, t)).collect();
        Ok(Self(fields, BodyProblems { found, t }))
    }
}

/// The problems that were found so far in the fields of a body.
pub struct BodyProblems {
    found: Vec<FieldProblem>,
    t: &'static Translation,
}

impl BodyProblems {
    /// Returns no problem.
    pub fn new(t: &'static Translation) -> Self {
        Self { found: vec![], t }
    }

    /// Notes the problem of a field, unless one is noted already. Returns the value of a field without a problem.
    pub fn note<T, E: Words>(&mut self, BodyField(field): BodyField, parsed: Result<T, E>) -> Option<T> {
        if self.found.iter().any(|problem| problem.is_at(field)) {
            return None;
        }
        parsed.map_err(|why| self.found.push(FieldProblem::value(field, &why, self.t))).ok()
    }

    /// Returns whether no field has a problem.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }
}

impl From<BodyProblems> for Problem {
    fn from(problems: BodyProblems) -> Self {
        Self::Fields(problems.found)
    }
}

/// The name of a field. Only the macro `field!` makes one, because it checks the name.
pub struct BodyField(pub &'static str);

/// Returns the [`BodyField`] of a field, for example `field!(NewUser, email)`. It does not compile if the struct has no
/// such field.
macro_rules! field {
    ($body:ident, $field:ident) => {{
        const _: usize = std::mem::offset_of!($body, $field);
        $crate::api::body::BodyField(stringify!($field))
    }};
}
pub(super) use field;

/// What a program sent for a field.
pub enum SentField<'a> {
    /// The field is missing or null.
    Nothing,
    /// A text.
    Text(&'a str),
    /// Anything else: a number, for example, or a field of a form that came twice.
    Other,
}

/// Reads a struct whose fields are texts. Only a text in an `Option` may be missing.
///
/// Returns the struct, and the names of the fields that are missing or are not texts, in the order of the struct. These
/// fields are empty in the struct.
///
/// # Errors
/// When the struct has a field that is not a text.
pub fn read<'a, T: Deserialize<'a>>(sent: impl Fn(&str) -> SentField<'a>) -> Result<(T, Vec<&'static str>), Error> {
    let reader = StructReader { sent, missing: RefCell::default() };
    let fields = T::deserialize(&reader).map_err(Error::internal)?;
    Ok((fields, reader.missing.into_inner()))
}

/// Reads the parameters of a query. A parameter that came twice counts as missing.
pub fn read_query<'a, T: Deserialize<'a>>(query: &'a Fields) -> Result<T, Error> {
    let (parameters, _) = read(|name| query.once(name).map_or(SentField::Nothing, SentField::Text))?;
    Ok(parameters)
}

/// Gives a struct its fields, one after the other.
struct StructReader<F> {
    sent: F,
    missing: RefCell<Vec<&'static str>>,
}

impl<'de, F: Fn(&str) -> SentField<'de>> Deserializer<'de> for &StructReader<F> {
    type Error = value::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, value::Error> {
        let missing = &self.missing;
        let fields = fields.iter().map(|name| FieldReader { name, sent: (self.sent)(name), missing });
        visitor.visit_seq(SeqDeserializer::new(fields))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, value::Error> {
        Err(value::Error::custom("only structs can be read"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Gives a field its text.
struct FieldReader<'de, 'r> {
    name: &'static str,
    sent: SentField<'de>,
    missing: &'r RefCell<Vec<&'static str>>,
}

impl<'de> Deserializer<'de> for FieldReader<'de, '_> {
    type Error = value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, value::Error> {
        if let SentField::Text(text) = self.sent {
            return visitor.visit_borrowed_str(text);
        }
        self.missing.borrow_mut().push(self.name);
        visitor.visit_borrowed_str("")
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, value::Error> {
        if let SentField::Nothing = self.sent { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de> for FieldReader<'de, '_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
