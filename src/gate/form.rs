//! Forms and queries, decoded so that nothing that a client sends can be a fault.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use zeroize::{Zeroize, Zeroizing};

use super::body::is;
use super::error::{Error, ErrorKind};
use crate::urls::Next;

/// The most fields of a form or a query; our longest form has ten. A body of 16 KB of `a&` would become 8000 pairs of
/// strings, which hold 600 KB while the request waits for the hash.
const FIELDS_MAX: usize = 100;
/// The most bytes of a value that a page shows again. The longest value that we accept, a name of 100 characters, has 400,
/// so a value that was cut is still too long.
const SHOWN_MAX: usize = 1024;

/// The fields of a form or a query.
///
/// A field that is missing is empty, and so is one that came twice: two readers of a doubled field may each see another
/// value (HTTP parameter pollution). Broken UTF-8 turns into U+FFFD, which none of our types accepts.
#[derive(Clone, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads the fields. Of more than [`FIELDS_MAX`], none is read.
    fn parse(bytes: &[u8]) -> Self {
        let mut pairs = form_urlencoded::parse(bytes).into_owned();
        let fields = Self(pairs.by_ref().take(FIELDS_MAX).collect());
        if pairs.next().is_some() { Self::default() } else { fields }
    }

    /// Returns the field's text, empty if the field is missing or doubled.
    pub fn text(&self, name: &str) -> &str {
        self.once(name).unwrap_or_default()
    }

    /// Returns the field's text, if the field came exactly once.
    pub fn once(&self, name: &str) -> Option<&str> {
        let mut all = self.0.iter().filter(|(field, _)| field == name);
        match (all.next(), all.next()) {
            (Some((_, text)), None) => Some(text),
            _ => None,
        }
    }

    /// Returns all fields, as they came.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// Returns whether the field came, once or more often.
    pub fn came(&self, name: &str) -> bool {
        self.0.iter().any(|(field, _)| field == name)
    }
}

impl Drop for Fields {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|(_, text)| text.zeroize());
    }
}

/// The name of a form's field. The macro [`form!`](crate::gate::form::form) makes one of each field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldName(&'static str);

impl FieldName {
    /// Returns the name of a struct's field. Only [`form!`](crate::gate::form::form) calls this.
    #[doc(hidden)]
    pub const fn of(field: &'static str) -> Self {
        Self(field)
    }

    /// Returns the name.
    pub const fn text(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A struct that is made from the fields of a form or a query.
pub trait FromFields {
    /// Returns the struct. There is no error: a field that makes no sense is empty.
    fn from_fields(fields: Fields) -> Self;
}

impl FromFields for Fields {
    fn from_fields(fields: Fields) -> Self {
        fields
    }
}

/// A type that a field of a form can have.
pub trait FieldValue {
    /// Returns the value of this field.
    fn read(fields: &Fields, name: FieldName) -> Self;
}

/// Text that a page may show again, so only its first [`SHOWN_MAX`] bytes are kept.
///
/// HTML writes a quote as five characters. 16 KB of quotes would be answered with 80 KB, as often as a client likes.
impl FieldValue for String {
    fn read(fields: &Fields, FieldName(name): FieldName) -> Self {
        let text = fields.text(name);
        text[..text.floor_char_boundary(SHOWN_MAX)].to_owned()
    }
}

/// A secret, whole, which no page shows again. It is wiped from memory when it is dropped.
impl FieldValue for Zeroizing<String> {
    fn read(fields: &Fields, FieldName(name): FieldName) -> Self {
        Self::new(fields.text(name).to_owned())
    }
}

/// A box that is ticked, or a button that was pressed: a field that is not empty.
impl FieldValue for bool {
    fn read(fields: &Fields, FieldName(name): FieldName) -> Self {
        !fields.text(name).is_empty()
    }
}

/// A value that no user types, such as a number or an ID. One that cannot be parsed is none.
impl<T: FromStr> FieldValue for Option<T> {
    fn read(fields: &Fields, FieldName(name): FieldName) -> Self {
        fields.text(name).parse().ok()
    }
}

/// The page to go on to.
impl FieldValue for Option<Next> {
    fn read(fields: &Fields, FieldName(name): FieldName) -> Self {
        Next::parse(fields.text(name))
    }
}

/// A field that says something by being there, with any value or none, such as `?again`.
pub struct Came(pub bool);

impl FieldValue for Came {
    fn read(fields: &Fields, FieldName(name): FieldName) -> Self {
        Self(fields.came(name))
    }
}

/// Makes a struct whose fields are those of a form or a query, and beside it the name of each field as a constant, such as
/// `LoginForm::password` for problems and templates. So a field's name is written once, and a typo does not compile.
macro_rules! form {
    ($(#[$about:meta])* $vis:vis struct $Form:ident {
        $($(#[$doc:meta])* $field_vis:vis $field:ident: $Value:ty,)+
    }) => {
        $(#[$about])*
        $vis struct $Form { $($(#[$doc])* $field_vis $field: $Value,)+ }

        #[expect(non_upper_case_globals, reason = "the name of a field is spelt like the field")]
        impl $Form {
            $(pub(crate) const $field: $crate::gate::form::FieldName = $crate::gate::form::FieldName::of(stringify!($field));)+
        }

        impl $crate::gate::form::FromFields for $Form {
            fn from_fields(fields: $crate::gate::form::Fields) -> Self {
                Self { $($field: $crate::gate::form::FieldValue::read(&fields, Self::$field),)+ }
            }
        }
    };
}
pub(crate) use form;

/// A posted form.
pub struct Form<F = Fields>(pub F);

impl<S: Send + Sync, F: FromFields> FromRequest<S> for Form<F> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let is_form = is("application/x-www-form-urlencoded", request.headers());
        let body = Bytes::from_request(request, state).await?;
        // A button without fields may come without a body, and then without a type.
        if !body.is_empty() && !is_form {
            return Err(ErrorKind::MediaType.into());
        }
        Ok(Self(F::from_fields(Fields::parse(&body))))
    }
}

/// The query of the address.
pub struct Query<F = Fields>(pub F);

impl<S: Send + Sync, F: FromFields> FromRequestParts<S> for Query<F> {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(F::from_fields(Fields::parse(parts.uri.query().unwrap_or_default().as_bytes()))))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_form_with_more_fields_than_any_of_ours_has_none() {
        assert_eq!(Fields::parse("a=1&".repeat(FIELDS_MAX - 1).as_bytes()).0.len(), FIELDS_MAX - 1);
        let more = format!("email=sam&{}", "a&".repeat(FIELDS_MAX));
        assert_eq!(Fields::parse(more.as_bytes()).once("email"), None);
    }

    #[test]
    fn a_field_that_is_missing_or_doubled_is_empty() {
        let fields = Fields::parse(b"a=1&b=2&b=3&c=%FF&d=%zz&e&=x&f=a+b%20c");
        assert_eq!(fields.text("a"), "1");
        assert_eq!(fields.text("b"), "");
        assert_eq!(fields.text("c"), "\u{fffd}");
        assert_eq!(fields.text("d"), "%zz");
        assert_eq!(fields.text("e"), "");
        assert_eq!(fields.text("f"), "a b c");
        assert_eq!(fields.text("none"), "");
    }

    form! {
        struct ExampleForm {
            shown: String,
            secret: Zeroizing<String>,
            ticked: bool,
            number: Option<u8>,
            next: Option<Next>,
            again: Came,
        }
    }

    #[test]
    fn a_struct_takes_its_fields_from_a_form_and_leaves_the_others() {
        let form = ExampleForm::from_fields(Fields::parse(
            b"shown=a+b&secret=s&ticked=1&number=3&next=/profile&again&other=1",
        ));
        assert_eq!((form.shown.as_str(), form.secret.as_str(), form.ticked), ("a b", "s", true));
        assert_eq!((form.number, form.next, form.again.0), (Some(3), Next::parse("/profile"), true));
        let odd = Fields::parse(b"shown=a&shown=b&secret=s&secret=s&ticked=1&ticked=1&number=-1&next=//x&again&again");
        let form = ExampleForm::from_fields(odd);
        assert_eq!((form.shown.as_str(), form.secret.as_str(), form.ticked), ("", "", false));
        assert_eq!((form.number, form.next, form.again.0), (None, None, true));
        assert!(!ExampleForm::from_fields(Fields::default()).again.0);
        assert_eq!(ExampleForm::shown.to_string(), "shown");
    }

    #[test]
    fn what_a_page_may_show_again_is_cut_and_a_secret_is_not() {
        let long = "€".repeat(1000);
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("shown", &long)
            .append_pair("secret", &long)
            .finish();
        let form = ExampleForm::from_fields(Fields::parse(body.as_bytes()));
        assert_eq!((form.shown.as_str(), form.secret.as_str()), ("€".repeat(341).as_str(), long.as_str()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_form(bytes in any::<Vec<u8>>()) {
            let fields = Fields::parse(&bytes);
            let _ = (fields.text("a"), fields.once("")); // neither panics
        }

        #[test]
        fn a_field_reads_as_it_was_written_once_and_is_empty_twice(
            name in ".+", text in ".*", other in ".*", around in proptest::collection::vec((".*", ".*"), 0..4)
        ) {
            let mut pairs: Vec<_> = around.into_iter().filter(|(field, _)| *field != name).collect();
            let read = |pairs: &[(String, String)]| {
                let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
                let fields = Fields::parse(body.as_bytes());
                (fields.once(&name).map(str::to_owned), fields.text(&name).to_owned())
            };
            prop_assert_eq!(read(&pairs), (None, String::new()));
            pairs.push((name.clone(), text.clone()));
            prop_assert_eq!(read(&pairs), (Some(text.clone()), text));
            pairs.insert(0, (name.clone(), other));
            prop_assert_eq!(read(&pairs), (None, String::new()));
        }
    }
}
