//! Forms and queries, decoded so that nothing a client can send is a fault.

use std::convert::Infallible;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};

use super::error::Error;

/// The most fields of a form or a query; our longest form has ten. Of 16 KB of `a&` each pair would become two strings, and
/// 600 KB would wait for the hash with every request.
const FIELDS_MAX: usize = 100;
/// How much of a value a page shows again, in bytes. The longest that is taken, a name of 100 characters, has 400, so
/// what is cut is still too long.
const SHOWN_MAX: usize = 1024;

/// The fields of a form or a query.
///
/// A field that is missing is empty, and so is one that came twice: two readers of a doubled field may each
/// see another one (HTTP parameter pollution). Broken UTF-8 turns into U+FFFD, which no type of ours takes.
#[derive(Clone, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads the fields. Of more than [`FIELDS_MAX`], none is read.
    fn parse(bytes: &[u8]) -> Self {
        let mut pairs = form_urlencoded::parse(bytes).into_owned();
        let fields = Self(pairs.by_ref().take(FIELDS_MAX).collect());
        if pairs.next().is_some() { Self::default() } else { fields }
    }

    /// The field's text.
    pub fn text(&self, name: &str) -> &str {
        self.once(name).unwrap_or_default()
    }

    /// The field's text as a page may show it again: its first [`SHOWN_MAX`] bytes.
    ///
    /// HTML writes a quote as five characters. 16 KB of them would be answered with 80 KB, as often as a client likes.
    pub fn shown(&self, name: &str) -> &str {
        let text = self.text(name);
        &text[..text.floor_char_boundary(SHOWN_MAX)]
    }

    /// The field's text, if the field came, and once.
    pub fn once(&self, name: &str) -> Option<&str> {
        let mut all = self.0.iter().filter(|(field, _)| field == name);
        match (all.next(), all.next()) {
            (Some((_, text)), None) => Some(text),
            _ => None,
        }
    }

    /// Returns whether the field came, however often.
    pub fn came(&self, name: &str) -> bool {
        self.0.iter().any(|(field, _)| field == name)
    }

    /// Whether a box is ticked.
    pub fn ticked(&self, name: &str) -> bool {
        !self.text(name).is_empty()
    }
}

impl Drop for Fields {
    fn drop(&mut self) {
        use zeroize::Zeroize;
        self.0.iter_mut().for_each(|(_, text)| text.zeroize());
    }
}

/// Whether a body is of this media type, whatever parameters follow.
pub fn is(media_type: &str, headers: &HeaderMap) -> bool {
    let sent = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    sent.and_then(|sent| sent.split(';').next()).is_some_and(|sent| sent.trim().eq_ignore_ascii_case(media_type))
}

/// A posted form.
pub struct Form(pub Fields);

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let is_form = is("application/x-www-form-urlencoded", request.headers());
        let body = Bytes::from_request(request, state).await.map_err(|rejection| rejection.status())?;
        // A button without fields may come without a body, and then without a type.
        if !body.is_empty() && !is_form {
            return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE.into());
        }
        Ok(Self(Fields::parse(&body)))
    }
}

/// The query of the address.
pub struct Query(pub Fields);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(Fields::parse(parts.uri.query().unwrap_or_default().as_bytes())))
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

    proptest! {
        #[test]
        fn any_bytes_are_a_form(bytes in any::<Vec<u8>>()) {
            let fields = Fields::parse(&bytes);
            let _any_text = (fields.text("a"), fields.once(""), fields.ticked("b"));
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
