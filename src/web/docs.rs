//! The page that shows what the other door takes and answers, read from its OpenAPI document. What the document
//! lacks is left out: no document makes the page fail.

use std::collections::BTreeSet;
use std::sync::Arc;

use askama::Template;
use axum::extract::Extension;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value};

use super::identity::CurrentUser;
use super::page::{Page, html};
use crate::gate::error::Error;
use crate::locale::Translation;
use crate::urls::PublicUrl;

/// How deep a schema is looked into. One that contains itself has no end.
const DEEPEST: usize = 5;

/// The ids that the page has of its own.
const TAKEN: [&str; 3] = ["main", "operations", "any-operation"];

#[derive(Template)]
#[template(path = "docs/docs.html")]
struct DocsPage {
    page: Page,
    api: Arc<Api>,
}

/// GET /docs
pub async fn show(
    _: Option<CurrentUser>, // for their language; it is open to anybody
    page: Page,
    Extension(api): Extension<Arc<Api>>,
) -> Result<Response, Error> {
    html(StatusCode::OK, page.locale, &DocsPage { page, api })
}

/// A text of the document: its paragraphs, each of words and, where `true`, code.
type Text = Vec<Vec<(bool, String)>>;

/// The document as the page shows it; read once.
pub struct Api {
    title: String,
    description: Text,
    /// The site's address, that all paths begin with.
    base: String,
    operations: Vec<Operation>,
    /// What every operation may answer, in the same words. It is shown once.
    common: Vec<Answer>,
}

/// A path and a method.
struct Operation {
    /// Names it in links to it.
    id: String,
    method: String,
    path: String,
    summary: String,
    description: Text,
    needs_token: bool,
    /// A line for the shell that does it.
    curl: String,
    parameters: Vec<Field>,
    /// What may be sent: one of these.
    bodies: Vec<Body>,
    responses: Vec<Answer>,
}

/// A parameter, or a field of a body.
#[derive(Clone, PartialEq)]
struct Field {
    name: String,
    place: Option<Place>,
    /// Its type, such as `string (email)`.
    kind: String,
    required: bool,
    description: Text,
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Path,
    Query,
    Header,
    Cookie,
}

impl Place {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "path" => Some(Self::Path),
            "query" => Some(Self::Query),
            "header" => Some(Self::Header),
            "cookie" => Some(Self::Cookie),
            _ => None,
        }
    }

    fn words(self, t: &Translation) -> String {
        match self {
            Self::Path => t.in_path(),
            Self::Query => t.in_query(),
            Self::Header => t.in_header(),
            Self::Cookie => t.in_cookie(),
        }
    }
}

/// A body in one of its media types.
#[derive(Clone, PartialEq)]
struct Body {
    media_type: String,
    fields: Vec<Field>,
    /// As people read it.
    example: Option<String>,
    /// As it travels.
    sent: Option<String>,
}

#[derive(Clone, PartialEq)]
struct Answer {
    status: String,
    description: Text,
    bodies: Vec<Body>,
}

impl Api {
    /// Reads the document of the API at this address.
    pub fn read(document: &Value, at: &PublicUrl) -> Self {
        let reader = Reader(document);
        let info = &document["info"];
        let mut operations = reader.operations(at);
        let common = take_common(&mut operations);
        Self {
            title: text(info, "title").to_owned(),
            description: paragraphs(text(info, "description")),
            base: at.to_string(),
            operations,
            common,
        }
    }
}

/// Takes the answers out of the operations that all of them have.
fn take_common(operations: &mut [Operation]) -> Vec<Answer> {
    let [first, others @ ..] = &*operations else { return vec![] };
    if others.is_empty() {
        return vec![];
    }
    let in_all = |answer: &&Answer| others.iter().all(|other| other.responses.contains(answer));
    let common: Vec<_> = first.responses.iter().filter(in_all).cloned().collect();
    for operation in operations {
        operation.responses.retain(|answer| !common.contains(answer));
    }
    common
}

/// A text in an object, empty if there is none.
fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// The paragraphs of a text, and the code between backticks in them. The rest of Markdown stays as it was typed.
fn paragraphs(text: &str) -> Text {
    let pieces = |paragraph: &str| {
        let pieces = (0..).zip(paragraph.split('`')).map(|(number, words)| (number % 2 == 1, words.to_owned()));
        pieces.filter(|(_, words)| !words.is_empty()).collect()
    };
    text.replace("\r\n", "\n").split("\n\n").map(str::trim).filter(|text| !text.is_empty()).map(pieces).collect()
}

/// A document, and the ways through it.
struct Reader<'a>(&'a Value);

impl<'a> Reader<'a> {
    fn operations(&self, at: &PublicUrl) -> Vec<Operation> {
        const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
        let mut ids = BTreeSet::from(TAKEN.map(str::to_owned));
        let mut operations = vec![];
        for (path, item) in entries(&self.0["paths"]) {
            let item = self.follow(item);
            for (method, operation) in entries(item).filter(|(method, _)| METHODS.contains(&method.as_str())) {
                let method = method.to_uppercase();
                let id = id(text(operation, "operationId"), &method, path, &mut ids);
                operations.push(self.operation(at, id, method, path, item, operation));
            }
        }
        operations
    }

    fn operation(
        &self,
        at: &PublicUrl,
        id: String,
        method: String,
        path: &str,
        item: &'a Value,
        operation: &'a Value,
    ) -> Operation {
        let parameters = self.parameters(item, operation);
        let bodies = self.bodies(&self.follow(&operation["requestBody"])["content"]);
        let needs_token = self.needs_token(operation);
        let answer = |(status, answer): (&String, &'a Value)| {
            let answer = self.follow(answer);
            let description = paragraphs(text(answer, "description"));
            Answer { status: status.clone(), description, bodies: self.bodies(&answer["content"]) }
        };
        Operation {
            curl: self.curl(at, &method, path, &parameters, bodies.first(), needs_token),
            id,
            method,
            path: path.to_owned(),
            summary: text(operation, "summary").to_owned(),
            description: paragraphs(text(operation, "description")),
            needs_token,
            parameters: parameters.into_iter().map(|parameter| self.parameter(parameter)).collect(),
            bodies,
            responses: entries(&operation["responses"]).map(answer).collect(),
        }
    }

    /// What a reference within the document's components leads to; nothing if it leads anywhere else.
    fn follow(&self, value: &'a Value) -> &'a Value {
        let mut value = value;
        for _ in 0..DEEPEST {
            let Some(reference) = value["$ref"].as_str() else { return value };
            let pointer = reference.strip_prefix('#').filter(|pointer| pointer.starts_with("/components/"));
            value = pointer.and_then(|pointer| self.0.pointer(pointer)).unwrap_or(&Value::Null);
        }
        &Value::Null // round and round
    }

    /// The parameters of an operation, and those of its path that it does not name itself.
    fn parameters(&self, item: &'a Value, operation: &'a Value) -> Vec<&'a Value> {
        let own: Vec<_> = items(&operation["parameters"]).map(|parameter| self.follow(parameter)).collect();
        let name = |parameter: &'a Value| (text(parameter, "in"), text(parameter, "name"));
        let shared = items(&item["parameters"]).map(|parameter| self.follow(parameter));
        let shared = shared.filter(|shared| own.iter().all(|own| name(own) != name(shared)));
        shared.chain(own.iter().copied()).filter(|parameter| !text(parameter, "name").is_empty()).collect()
    }

    fn parameter(&self, parameter: &'a Value) -> Field {
        let schema = &parameter["schema"];
        let description = Some(text(parameter, "description")).filter(|description| !description.is_empty());
        Field {
            name: text(parameter, "name").to_owned(),
            place: Place::parse(text(parameter, "in")),
            kind: self.kind(schema, DEEPEST),
            required: parameter["required"] == true,
            description: paragraphs(description.unwrap_or_else(|| self.description(schema))),
        }
    }

    fn bodies(&self, content: &'a Value) -> Vec<Body> {
        let body = |(media_type, media): (&String, &'a Value)| {
            let schema = &media["schema"];
            let made_up = || self.example(schema).or_else(|| schema.is_object().then(|| self.placeholder(schema)));
            let example = self.stated(media).or_else(made_up);
            let written = |pretty| example.as_ref().map(|example| written(media_type, example, pretty));
            Body {
                media_type: media_type.clone(),
                fields: self.fields(schema, "", DEEPEST),
                example: written(true),
                sent: written(false),
            }
        };
        entries(content).map(body).collect()
    }

    /// Whether it cannot be called without a bearer token.
    fn needs_token(&self, operation: &'a Value) -> bool {
        let bearer = |name: &str| {
            let scheme = self.follow(&self.0["components"]["securitySchemes"][name]);
            match text(scheme, "type") {
                "http" => text(scheme, "scheme").eq_ignore_ascii_case("bearer"),
                kind => ["oauth2", "openIdConnect"].contains(&kind),
            }
        };
        let security = operation.get("security").unwrap_or(&self.0["security"]);
        let without = items(security).any(|way| entries(way).next().is_none());
        !without && items(security).flat_map(entries).any(|(name, _)| bearer(name))
    }

    /// The variants of a schema that may be this or that, without the one that is nothing.
    fn variants(&self, schema: &'a Value) -> impl Iterator<Item = &'a Value> {
        let variants = items(&schema["oneOf"]).chain(items(&schema["anyOf"]));
        variants.filter(|variant| variant["type"] != "null")
    }

    /// The properties of an object, and whether each must be there: those of all parts of it, and of the first
    /// variant.
    fn properties(&self, schema: &'a Value, deep: usize) -> Vec<(&'a String, &'a Value, bool)> {
        let schema = self.follow(schema);
        let Some(deep) = deep.checked_sub(1) else { return vec![] };
        let parts = items(&schema["allOf"]).chain(self.variants(schema).take(1));
        let mut properties: Vec<_> = parts.flat_map(|part| self.properties(part, deep)).collect();
        for (name, property) in entries(&schema["properties"]) {
            let required = items(&schema["required"]).any(|required| required == name.as_str());
            properties.retain(|(other, ..)| *other != name);
            properties.push((name, property, required));
        }
        properties
    }

    /// The fields of an object, each followed by its own: `user`, `user.email`, `sessions`, `sessions[].id`.
    fn fields(&self, schema: &'a Value, within: &str, deep: usize) -> Vec<Field> {
        let Some(deeper) = deep.checked_sub(1) else { return vec![] };
        let mut fields = vec![];
        for (name, property, required) in self.properties(schema, DEEPEST) {
            let name = format!("{within}{name}");
            let schema = self.follow(property);
            let (inner, mark) = if schema["items"].is_object() { (&schema["items"], "[].") } else { (schema, ".") };
            let inner = self.fields(inner, &format!("{name}{mark}"), deeper);
            let (kind, description) = (self.kind(property, DEEPEST), paragraphs(self.description(property)));
            fields.push(Field { name, place: None, kind, required, description });
            fields.extend(inner);
        }
        fields
    }

    /// What a schema says of itself, here or where it leads.
    fn description(&self, schema: &'a Value) -> &'a str {
        let here = Some(text(schema, "description")).filter(|here| !here.is_empty());
        here.unwrap_or_else(|| text(self.follow(schema), "description"))
    }

    /// The type of a schema, in the way of code: no language has words for it.
    fn kind(&self, schema: &'a Value, deep: usize) -> String {
        let schema = self.follow(schema);
        let Some(deep) = deep.checked_sub(1) else { return String::new() };
        let joined = |kinds: Vec<String>| {
            let mut kinds: Vec<String> = kinds.into_iter().filter(|kind| !kind.is_empty()).collect();
            kinds.dedup();
            kinds.join(" | ")
        };
        if let Some(only) = schema.get("const") {
            return only.to_string();
        }
        if schema["enum"].is_array() {
            return joined(items(&schema["enum"]).map(Value::to_string).collect());
        }
        let one = |kind: &str| match kind {
            "array" => match self.kind(&schema["items"], deep) {
                items if items.contains(" | ") => format!("({items})[]"),
                items => format!("{items}[]"),
            },
            kind => kind.to_owned(),
        };
        let kinds = match &schema["type"] {
            Value::String(kind) => vec![one(kind)],
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).map(one).collect(),
            _ if schema["properties"].is_object() => vec!["object".to_owned()],
            _ => {
                let variants = items(&schema["oneOf"]).chain(items(&schema["anyOf"]));
                variants.chain(items(&schema["allOf"])).map(|part| self.kind(part, deep)).collect()
            }
        };
        match (joined(kinds), text(schema, "format")) {
            (kind, "") => kind,
            (kind, format) => format!("{kind} ({format})"),
        }
    }

    /// The example that stands beside a schema, a media type or a parameter.
    fn stated(&self, beside: &'a Value) -> Option<Value> {
        let named = entries(&beside["examples"]).find_map(|(_, example)| self.follow(example).get("value"));
        beside.get("example").or_else(|| beside["examples"].get(0)).or(named).cloned()
    }

    /// The example of a schema, or one made of those of its parts.
    fn example(&self, schema: &'a Value) -> Option<Value> {
        self.example_within(schema, DEEPEST)
    }

    fn example_within(&self, schema: &'a Value, deep: usize) -> Option<Value> {
        let deep = deep.checked_sub(1)?;
        let target = self.follow(schema);
        if let Some(stated) = self.stated(schema).or_else(|| self.stated(target)).or(target.get("const").cloned()) {
            return Some(stated);
        }
        if target["items"].is_object() {
            return self.example_within(&target["items"], deep).map(|item| vec![item].into());
        }
        let properties = self.properties(target, deep);
        if properties.is_empty() {
            let parts = items(&target["allOf"]).chain(self.variants(target));
            return parts.into_iter().find_map(|part| self.example_within(part, deep));
        }
        let value = |(name, property, required): (&String, &'a Value, bool)| {
            let value = self.example_within(property, deep);
            Some((name.clone(), value.or_else(|| required.then(|| self.placeholder(property)))?))
        };
        let object: Map<_, _> = properties.into_iter().filter_map(value).collect();
        (!object.is_empty()).then(|| object.into())
    }

    /// For a value that must be there and has no example: the default, the first of several, or one of its type.
    fn placeholder(&self, schema: &'a Value) -> Value {
        let schema = self.follow(schema);
        if let Some(value) = schema.get("default").or_else(|| schema["enum"].get(0)) {
            return value.clone();
        }
        let kinds = || items(&schema["type"]).filter_map(Value::as_str).find(|kind| *kind != "null");
        match schema["type"].as_str().or_else(kinds) {
            Some("string") => "string".into(),
            Some("integer" | "number") => 0.into(),
            Some("boolean") => true.into(),
            Some("array") => Value::Array(vec![]),
            Some("object") => Value::Object(Map::new()),
            _ => Value::Null,
        }
    }

    /// What a parameter is in the curl line: its example, or something where there must be something.
    fn argument(&self, parameter: &'a Value) -> Option<Value> {
        let schema = &parameter["schema"];
        let required = || (parameter["required"] == true).then(|| self.placeholder(schema));
        self.stated(parameter).or_else(|| self.example(schema)).or_else(required).filter(|value| !value.is_null())
    }

    fn curl(
        &self,
        at: &PublicUrl,
        method: &str,
        path: &str,
        parameters: &[&'a Value],
        body: Option<&Body>,
        token: bool,
    ) -> String {
        let (mut path, mut query, mut headers) = (path.to_owned(), vec![], vec![]);
        for parameter in parameters {
            let name = text(parameter, "name");
            let Some(value) = self.argument(parameter) else { continue };
            match Place::parse(text(parameter, "in")) {
                Some(Place::Path) => path = path.replace(&format!("{{{name}}}"), &in_path(&plain(&value))),
                Some(Place::Query) => query.extend(pairs(name, &value)),
                Some(Place::Header) => headers.push(format!("{name}: {}", plain(&value))),
                Some(Place::Cookie) | None => {}
            }
        }
        let mut address = at.at(&path);
        if !query.is_empty() {
            address = format!("{address}?{}", encoded(query));
        }
        let sent = body.and_then(|body| Some((body, body.sent.as_ref()?)));
        let mut line = match method {
            "GET" if sent.is_none() => "curl".to_owned(),
            "HEAD" => "curl -I".to_owned(),
            method => format!("curl -X {method}"),
        };
        line += &format!(" {}", quoted(&address));
        if token {
            line += " \\\n  -H \"Authorization: Bearer $TOKEN\"";
        }
        for header in headers {
            line += &format!(" \\\n  -H {}", quoted(&header));
        }
        if let Some((body, sent)) = sent {
            if !is_form(&body.media_type) {
                line += &format!(" \\\n  -H {}", quoted(&format!("Content-Type: {}", body.media_type)));
            }
            // With -d, curl would take what follows an @ for the name of a file.
            let flag = if sent.starts_with('@') { "--data-raw" } else { "-d" };
            line += &format!(" \\\n  {flag} {}", quoted(sent));
        }
        line
    }
}

/// An id for an element: the operation's own if it can be one, and no other element's.
fn id(operation_id: &str, method: &str, path: &str, taken: &mut BTreeSet<String>) -> String {
    let name = if operation_id.is_empty() { format!("{method}{path}") } else { operation_id.to_owned() };
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let mut id: String = name.chars().map(plain).collect();
    while !taken.insert(id.clone()) {
        id.push('-');
    }
    id
}

fn is_form(media_type: &str) -> bool {
    media_type.starts_with("application/x-www-form-urlencoded")
}

/// An example in its media type.
fn written(media_type: &str, example: &Value, pretty: bool) -> String {
    let kind = media_type.split(';').next().unwrap_or_default().trim_end();
    match example {
        Value::Object(fields) if is_form(kind) => {
            encoded(fields.iter().flat_map(|(name, value)| pairs(name, value)).collect())
        }
        Value::String(text) if !kind.ends_with("json") => text.clone(),
        example if pretty => format!("{example:#}"),
        example => example.to_string(),
    }
}

/// A value outside JSON: a text without its quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A field of a form or a query; one of many values comes many times.
fn pairs(name: &str, value: &Value) -> Vec<(String, String)> {
    let one = |value: &Value| (name.to_owned(), plain(value));
    match value {
        Value::Null => vec![],
        Value::Array(values) => values.iter().map(one).collect(),
        value => vec![one(value)],
    }
}

fn encoded(pairs: Vec<(String, String)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn in_path(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// A word for `sh`, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use serde_json::json;

    use super::*;

    fn read(document: &Value) -> Api {
        Api::read(document, &"https://accounts.example.com".parse().expect("an origin"))
    }

    fn library() -> Value {
        serde_json::from_str(
            r##"{
            "openapi": "3.1.0",
            "info": {"title": "Library", "description": "Books, and `code`.\n\nNo <b>HTML</b>."},
            "security": [{"token": []}],
            "paths": {
                "/shelves/{shelf}/books": {
                    "parameters": [{"$ref": "#/components/parameters/Shelf"}],
                    "post": {
                        "operationId": "add_book",
                        "summary": "Add a book",
                        "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Book"}}}},
                        "responses": {
                            "201": {
                                "description": "Added.",
                                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Book"}}}
                            },
                            "default": {"$ref": "#/components/responses/Problem"}
                        }
                    },
                    "get": {
                        "parameters": [
                            {"name": "by", "in": "query", "example": "O'Neil & sons", "schema": {"type": "string"}},
                            {"name": "tag", "in": "query", "schema": {"type": "array", "items": {"type": "string", "examples": ["old"]}}},
                            {"name": "limit", "in": "query", "schema": {"type": "integer", "default": 20}},
                            {"name": "x-page", "in": "header", "required": true, "schema": {"type": "integer", "format": "int32"}}
                        ],
                        "security": [{"token": []}, {}]
                    }
                },
                "/token": {
                    "post": {
                        "operationId": "add_book",
                        "security": [],
                        "requestBody": {"content": {"application/x-www-form-urlencoded": {
                            "examples": {"first": {"value": {"login": "sam", "secret": "it's 100%", "n": 2, "none": null}}},
                            "schema": {"allOf": [
                                {"properties": {"login": {"type": "string"}}, "required": ["login"]},
                                {"properties": {"secret": {"type": ["string", "null"], "format": "password"}}}
                            ]}
                        }}}
                    }
                }
            },
            "components": {
                "parameters": {"Shelf": {"name": "shelf", "in": "path", "required": true, "description": "Which.", "example": "a b/c"}},
                "responses": {"Problem": {"description": "A problem.", "content": {"application/problem+json": {"example": {"status": 400}}}}},
                "securitySchemes": {"token": {"type": "http", "scheme": "Bearer"}},
                "schemas": {
                    "Book": {
                        "type": "object",
                        "required": ["title", "copies"],
                        "properties": {
                            "title": {"type": "string", "description": "On its cover.", "example": "It's here"},
                            "copies": {"type": "integer"},
                            "note": {"type": "string"},
                            "state": {"enum": ["new", "worn"]},
                            "author": {"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Author"}], "description": "Who."},
                            "sequels": {"type": "array", "items": {"$ref": "#/components/schemas/Book"}}
                        }
                    },
                    "Author": {"type": "object", "properties": {"name": {"type": "string", "examples": ["Ann"]}}}
                }
            }
        }"##,
        )
        .expect("JSON")
    }

    fn names(fields: &[Field]) -> Vec<(&str, &str, bool)> {
        fields.iter().map(|field| (field.name.as_str(), field.kind.as_str(), field.required)).collect()
    }

    #[test]
    fn operations_stand_in_the_order_of_the_document_under_ids_of_their_own() {
        let api = read(&library());
        let ids: Vec<_> =
            api.operations.iter().map(|operation| (operation.id.as_str(), operation.method.as_str())).collect();
        assert_eq!(
            ids,
            [("add_book", "POST"), ("GET-shelves--shelf--books", "GET"), ("add_book-", "POST")],
            "is serde_json's preserve_order on?"
        );
    }

    #[test]
    fn texts_have_paragraphs_and_code() {
        let piece = |code, words: &str| (code, words.to_owned());
        let first = vec![piece(false, "Books, and "), piece(true, "code"), piece(false, ".")];
        assert_eq!(read(&library()).description, [first, vec![piece(false, "No <b>HTML</b>.")]]);
    }

    #[test]
    fn references_lead_to_fields_and_their_fields() {
        let api = read(&library());
        let fields = &api.operations[0].bodies[0].fields;
        let first = &names(fields)[..7];
        assert_eq!(
            first,
            [
                ("title", "string", true),
                ("copies", "integer", true),
                ("note", "string", false),
                ("state", "\"new\" | \"worn\"", false),
                ("author", "null | object", false),
                ("author.name", "string", false),
                ("sequels", "object[]", false),
            ]
        );
        assert_eq!(fields[0].description, paragraphs("On its cover."));
        assert!(fields.iter().any(|field| field.name == "sequels[].author.name"));
        assert!(fields.len() < 100, "a schema that contains itself has an end");
        let token = &api.operations[2].bodies[0].fields;
        assert_eq!(names(token), [("login", "string", true), ("secret", "string | null (password)", false)]);
    }

    #[test]
    fn parameters_of_the_path_come_first() {
        let api = read(&library());
        let parameters = &api.operations[1].parameters;
        let places: Vec<_> = parameters.iter().map(|parameter| (parameter.name.as_str(), parameter.place)).collect();
        assert_eq!(
            places,
            [
                ("shelf", Some(Place::Path)),
                ("by", Some(Place::Query)),
                ("tag", Some(Place::Query)),
                ("limit", Some(Place::Query)),
                ("x-page", Some(Place::Header)),
            ]
        );
        assert_eq!(names(parameters)[4], ("x-page", "integer (int32)", true));
        assert_eq!(parameters[0].description, paragraphs("Which."));
    }

    #[test]
    fn an_example_is_stated_or_made_of_what_the_parts_state() {
        let api = read(&library());
        let body = &api.operations[0].bodies[0];
        let made: Value = serde_json::from_str(body.example.as_deref().expect("an example")).expect("JSON");
        let sequel = &made["sequels"][0];
        assert_eq!(
            (&made["title"], &made["copies"], &made["author"]),
            (&"It's here".into(), &0.into(), &json!({"name": "Ann"}))
        );
        assert!(made.get("note").is_none() && made.get("state").is_none(), "nothing need be there: {made}");
        assert_eq!(sequel["title"], "It's here");

        let answers = &api.operations[0].responses;
        assert_eq!((answers[0].status.as_str(), answers[1].status.as_str()), ("201", "default"));
        assert_eq!(answers[1].bodies[0].example.as_deref(), Some("{\n  \"status\": 400\n}"));
        assert_eq!(answers[1].description, paragraphs("A problem."));
    }

    #[test]
    fn a_token_is_needed_where_nothing_else_opens() {
        let needs: Vec<_> = read(&library()).operations.iter().map(|operation| operation.needs_token).collect();
        assert_eq!(needs, [true, false, false]);
    }

    #[test]
    fn a_curl_line_does_what_is_described() {
        let api = read(&library());
        let lines: Vec<_> = api.operations.iter().map(|operation| operation.curl.as_str()).collect();
        assert!(
            lines[0].starts_with(
                "curl -X POST 'https://accounts.example.com/shelves/a%20b%2Fc/books' \\\n  \
                 -H \"Authorization: Bearer $TOKEN\" \\\n  \
                 -H 'Content-Type: application/json' \\\n  \
                 -d '{\"title\":\"It'\\''s here\",\"copies\":0,"
            ),
            "{}",
            lines[0]
        );
        assert_eq!(
            lines[1],
            "curl 'https://accounts.example.com/shelves/a%20b%2Fc/books?by=O%27Neil+%26+sons&tag=old' \\\n  \
             -H 'x-page: 0'"
        );
        assert_eq!(
            lines[2],
            "curl -X POST 'https://accounts.example.com/token' \\\n  -d 'login=sam&secret=it%27s+100%25&n=2'"
        );
    }

    /// The words that a shell makes of a line, without running it.
    fn words(line: &str) -> Vec<String> {
        let line = line.replacen("curl", "printf '%s\\0'", 1);
        let said = Command::new("sh").args(["-c", &line]).env("TOKEN", "a.b.c").output().expect("a shell");
        assert!(said.status.success(), "{said:?}");
        String::from_utf8(said.stdout).expect("UTF-8").split_terminator('\0').map(str::to_owned).collect()
    }

    #[test]
    fn a_shell_reads_the_line_as_it_was_meant() {
        let nasty = "it's \"$HOME\" `id` \\ $(id)\n'; id #";
        let document = json!({
            "security": [{"token": []}],
            "components": {"securitySchemes": {"token": {"type": "oauth2"}}},
            "paths": {"/x": {"post": {"requestBody": {"content": {"application/json": {"example": {"a": nasty}}}}}}}
        });
        let said = words(&read(&document).operations[0].curl);
        assert_eq!(said[..5], ["-X", "POST", "https://accounts.example.com/x", "-H", "Authorization: Bearer a.b.c"]);
        assert_eq!(serde_json::from_str::<Value>(&said[8]).expect("JSON"), json!({"a": nasty}));
        let text = |example| json!({"paths": {"/x": {"put": {"requestBody": {"content": {"text/plain": {"example": example}}}}}}});
        assert_eq!(words(&read(&text(nasty)).operations[0].curl)[6], nasty);
        assert_eq!(words(&read(&text("@/etc/passwd")).operations[0].curl)[5], "--data-raw");
    }

    #[test]
    fn what_a_document_lacks_is_left_out() {
        for odd in [json!(null), json!([]), json!("x"), json!({}), json!({"info": 1, "paths": []})] {
            let api = read(&odd);
            assert!(api.title.is_empty() && api.description.is_empty() && api.operations.is_empty(), "{odd}");
        }
        // Each value of a full document in turn becomes something else, or goes.
        fn broken(document: &Value, pointer: &str, at: &Value, with: &mut Vec<Value>) {
            for odd in
                [json!(null), json!(7), json!("#/components/schemas/Book"), json!([[]]), json!({"$ref": "#/paths"})]
            {
                let mut document = document.clone();
                *document.pointer_mut(pointer).expect("it is there") = odd;
                with.push(document);
            }
            let inner: Vec<(String, &Value)> = match at {
                Value::Object(fields) => {
                    let name = |name: &str| name.replace('~', "~0").replace('/', "~1");
                    fields.iter().map(|(field, value)| (name(field), value)).collect()
                }
                Value::Array(items) => {
                    (0..).zip(items).map(|(number, item): (usize, _)| (number.to_string(), item)).collect()
                }
                _ => vec![],
            };
            for (name, value) in inner {
                broken(document, &format!("{pointer}/{name}"), value, with);
            }
        }
        let library = library();
        let mut documents = vec![];
        broken(&library, "", &library, &mut documents);
        assert!(documents.len() > 500);
        for document in documents {
            read(&document);
        }
    }

    #[test]
    fn references_that_lead_nowhere_or_in_circles_end() {
        let schemas = json!({
            "A": {"$ref": "#/components/schemas/B"}, "B": {"$ref": "#/components/schemas/A"},
            "C": {"allOf": [{"$ref": "#/components/schemas/C"}], "properties": {"c": {"$ref": "#/components/schemas/C"}}},
        });
        for reference in ["#/components/schemas/A", "#/components/schemas/C", "#/info", "https://elsewhere.example/x"] {
            let content = json!({"application/json": {"schema": {"$ref": reference}}});
            let document = json!({"components": {"schemas": schemas}, "paths": {"/x": {"post": {"requestBody": {"content": content}}}}});
            let fields = &read(&document).operations[0].bodies[0].fields;
            assert!(fields.len() < 100, "{reference}");
        }
    }
}
