//! The page for programmers. It shows what the JSON door takes and answers, as its description says.

use std::sync::Arc;

use askama::Template;
use axum::extract::Extension;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};
use utoipa::openapi::path::{self, Parameter, ParameterIn};
use utoipa::openapi::schema::{Object, Schema, SchemaType};
use utoipa::openapi::{Content, OpenApi, RefOr, Required};

use crate::gate::error::Error;
use crate::locale::Translation;
use crate::urls::PublicUrl;
use crate::web::browser::identity::CurrentUser;
use crate::web::frame::page::{Page, html};

const FORM: &str = "application/x-www-form-urlencoded";

#[derive(Template)]
#[template(path = "docs/docs.html")]
struct DocsPage {
    page: Page,
    api: Arc<Api>,
}

/// GET /docs
pub async fn show(
    _: Option<CurrentUser>, // for the language that the user has saved; the page is open to all
    page: Page,
    Extension(api): Extension<Arc<Api>>,
) -> Result<Response, Error> {
    html(StatusCode::OK, page.locale, &DocsPage { page, api })
}

/// The description as the page shows it. It is read once, at the start.
pub struct Api {
    title: String,
    description: String,
    /// The site's address, with which all paths begin.
    base: String,
    operations: Vec<Operation>,
    /// The responses that every operation has, in the same words. The page shows them once.
    common: Vec<ResponseDoc>,
}

/// A method at a path.
struct Operation {
    /// The fragment of links to it.
    id: String,
    method: &'static str,
    path: String,
    summary: String,
    description: String,
    needs_token: bool,
    /// A line for the shell that calls it.
    curl: String,
    parameters: Vec<Field>,
    body: Option<BodyDoc>,
    responses: Vec<ResponseDoc>,
}

/// A parameter, or a field of a body.
struct Field {
    name: String,
    place: Option<ParameterIn>,
    /// Its type, such as `string (email)`.
    kind: String,
    required: bool,
    description: String,
}

/// The body of a request.
struct BodyDoc {
    fields: Vec<Field>,
    example: Example,
}

/// A response with one status.
#[derive(Clone, PartialEq)]
struct ResponseDoc {
    status: String,
    description: String,
    example: Option<Example>,
}

/// An example of a body.
#[derive(Clone, PartialEq)]
struct Example {
    media_type: String,
    text: String,
}

impl Api {
    /// Reads the description of the API at this address.
    pub fn read(document: &OpenApi, at: &PublicUrl) -> Self {
        let mut operations = vec![];
        for (path, item) in &document.paths.paths {
            // The test of the page fails for an operation with another method.
            for (method, operation) in [("GET", &item.get), ("POST", &item.post)] {
                if let Some(operation) = operation {
                    operations.push(Operation::read(document, at, method, path, operation));
                }
            }
        }
        let common = take_common(&mut operations);
        let info = &document.info;
        let description = info.description.clone().unwrap_or_default();
        Self { title: info.title.clone(), description, base: at.to_string(), operations, common }
    }
}

/// Moves the responses that all operations have out of them.
fn take_common(operations: &mut [Operation]) -> Vec<ResponseDoc> {
    let mut common = operations.first().map(|first| first.responses.clone()).unwrap_or_default();
    common.retain(|response| operations.iter().all(|operation| operation.responses.contains(response)));
    for operation in operations {
        operation.responses.retain(|response| !common.contains(response));
    }
    common
}

impl Operation {
    fn read(document: &OpenApi, at: &PublicUrl, method: &'static str, path: &str, operation: &path::Operation) -> Self {
        let stated = |text: &Option<String>| text.clone().unwrap_or_default();
        let response = |(status, response): (&String, &RefOr<_>)| {
            let response: &utoipa::openapi::Response = in_place(response)?;
            let example = response.content.iter().find_map(Example::read);
            Some(ResponseDoc { status: status.clone(), description: response.description.clone(), example })
        };
        Self {
            id: stated(&operation.operation_id),
            method,
            path: path.to_owned(),
            summary: stated(&operation.summary),
            description: stated(&operation.description),
            needs_token: operation.security.is_some(),
            curl: curl(&at.at(path), method, operation),
            parameters: parameters(operation).map(Field::of_parameter).collect(),
            body: body(operation).and_then(|body| BodyDoc::read(document, body)),
            responses: operation.responses.responses.iter().filter_map(response).collect(),
        }
    }
}

impl BodyDoc {
    fn read(document: &OpenApi, body: (&String, &RefOr<Content>)) -> Option<Self> {
        let object = object(document, in_place(body.1)?.schema.as_ref()?)?;
        let fields = object.properties.iter().map(|(name, schema)| Field::of_body(name, schema, object)).collect();
        Some(Self { fields, example: Example::read(body)? })
    }
}

impl Example {
    fn read((media_type, content): (&String, &RefOr<Content>)) -> Option<Self> {
        let example = in_place(content)?.example.as_ref()?;
        let text = if media_type == FORM { form(example) } else { format!("{example:#}") };
        Some(Self { media_type: media_type.clone(), text })
    }
}

impl Field {
    fn of_parameter(parameter: &Parameter) -> Self {
        Self {
            name: parameter.name.clone(),
            place: Some(parameter.parameter_in.clone()),
            kind: parameter.schema.as_ref().map(kind).unwrap_or_default(),
            required: matches!(parameter.required, Required::True),
            description: parameter.description.clone().unwrap_or_default(),
        }
    }

    fn of_body(name: &str, schema: &RefOr<Schema>, body: &Object) -> Self {
        let description = if let RefOr::T(Schema::Object(field)) = schema { field.description.clone() } else { None };
        Self {
            name: name.to_owned(),
            place: None,
            kind: kind(schema),
            required: body.required.iter().any(|required| required == name),
            description: description.unwrap_or_default(),
        }
    }

    /// Returns the words for the place of a parameter.
    fn place(&self, t: &Translation) -> Option<String> {
        Some(match self.place.as_ref()? {
            ParameterIn::Path => t.in_path().into(),
            ParameterIn::Query | ParameterIn::QueryString => t.in_query().into(),
            ParameterIn::Header => t.in_header().into(),
            ParameterIn::Cookie => t.in_cookie().into(),
        })
    }
}

/// Returns what the description states where it is used. Only schemas are stated elsewhere.
fn in_place<T>(entry: &RefOr<T>) -> Option<&T> {
    match entry {
        RefOr::T(entry) => Some(entry),
        RefOr::Ref(_) => None,
    }
}

/// Returns the parameters of an operation.
fn parameters(operation: &path::Operation) -> impl Iterator<Item = &Parameter> {
    operation.parameters.iter().flatten().filter_map(in_place)
}

/// Returns the body of a request, with its media type. An operation takes one.
fn body(operation: &path::Operation) -> Option<(&String, &RefOr<Content>)> {
    in_place(operation.request_body.as_ref()?)?.content.iter().next()
}

/// Returns the object that a schema describes, even if it may be null.
fn object<'a>(document: &'a OpenApi, schema: &'a RefOr<Schema>) -> Option<&'a Object> {
    match schema {
        RefOr::T(Schema::Object(object)) => Some(object).filter(|object| !object.properties.is_empty()),
        RefOr::T(Schema::OneOf(one_of)) => one_of.items.iter().find_map(|item| object(document, item)),
        RefOr::T(_) => None,
        RefOr::Ref(reference) => {
            let name = reference.ref_location.strip_prefix("#/components/schemas/")?;
            object(document, document.components.as_ref()?.schemas.get(name)?)
        }
    }
}

/// Returns the type of a field as code: it is the same in every language.
fn kind(schema: &RefOr<Schema>) -> String {
    let RefOr::T(Schema::Object(object)) = schema else { return String::new() };
    let kinds = match &object.schema_type {
        SchemaType::Type(kind) => vec![kind],
        SchemaType::Array(kinds) => kinds.iter().collect(),
        SchemaType::AnyValue => vec![],
    };
    let kinds = kinds.into_iter().map(|kind| text(json!(kind))).collect::<Vec<_>>().join(" | ");
    match &object.format {
        Some(format) => format!("{kinds} ({})", text(json!(format))),
        None => kinds,
    }
}

/// Returns a value as it stands outside JSON: a text without its quotes.
fn text(value: Value) -> String {
    if let Value::String(text) = value { text } else { value.to_string() }
}

/// Returns a line for the shell that calls an operation as its examples say.
fn curl(address: &str, method: &str, operation: &path::Operation) -> String {
    let query = parameters(operation).filter(|parameter| parameter.parameter_in == ParameterIn::Query);
    // The example of a parameter is private in utoipa, but its JSON has it.
    let query = query.map(|parameter| (parameter.name.clone(), json!(parameter)["example"].clone()));
    let query = form(&Value::Object(query.filter(|(_, example)| !example.is_null()).collect()));
    let address = if query.is_empty() { address.to_owned() } else { format!("{address}?{query}") };
    let mut line = if method == "GET" { "curl".to_owned() } else { format!("curl -X {method}") };
    line += &format!(" {}", quoted(&address));
    if operation.security.is_some() {
        line += " \\\n  -H \"Authorization: Bearer $TOKEN\"";
    }
    let body = body(operation).and_then(|(media_type, body)| Some((media_type, in_place(body)?.example.as_ref()?)));
    if let Some((media_type, example)) = body {
        if media_type != FORM {
            line += &format!(" \\\n  -H 'Content-Type: {media_type}'");
        }
        let sent = if media_type == FORM { form(example) } else { example.to_string() };
        line += &format!(" \\\n  -d {}", quoted(&sent));
    }
    line
}

/// Returns an object as the fields of a form or a query.
fn form(object: &Value) -> String {
    let fields = object.as_object().into_iter().flatten().map(|(name, value)| (name, text(value.clone())));
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// Returns a word for `sh`, whatever the text is.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use utoipa::openapi::path::OperationBuilder;
    use utoipa::openapi::request_body::RequestBodyBuilder;

    use super::*;

    /// Returns the last of the arguments that a shell makes of the line that sends this example.
    fn body_sent(media_type: &str, example: &Value) -> String {
        let content = Content::builder().example(Some(example.clone())).build();
        let body = RequestBodyBuilder::new().content(media_type, content).build();
        let line =
            curl("https://accounts.example.com/x", "POST", &OperationBuilder::new().request_body(Some(body)).build());
        let line = line.replacen("curl", "printf '%s\\0'", 1);
        let output = Command::new("sh").args(["-c", &line]).output().expect("a shell");
        let arguments = String::from_utf8(output.stdout).expect("UTF-8");
        arguments.split_terminator('\0').next_back().expect("a body").to_owned()
    }

    #[test]
    fn a_shell_reads_the_line_as_it_was_meant() {
        let example = json!({"a": "it's \"$HOME\" `id` \\ $(id)\n'; id #"});
        let sent = body_sent("application/json", &example);
        assert_eq!(serde_json::from_str::<Value>(&sent).expect("JSON"), example);
        let sent = body_sent(FORM, &example);
        let (_, value) = form_urlencoded::parse(sent.as_bytes()).next().expect("a field");
        assert_eq!(value, example["a"].as_str().expect("a text"));
    }
}
