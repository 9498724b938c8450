//! The development mailbox: letters that were kept on disk because there is no mail server.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use askama::Template;
use axum::Json;
use axum::extract::{self, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use mail_parser::{HeaderValue, MessageParser};
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::page::{Page, html as page_html};
use crate::app::App;
use crate::gate::error::Error;
use crate::gate::form::{Fields, Query};

/// A letter, read back from its file.
#[derive(Clone, Debug, Serialize)]
struct Kept {
    id: Uuid,
    to: String,
    subject: String,
    text: String,
    html: String,
    links: Vec<String>,
    at: String,
    #[serde(skip)]
    sent: OffsetDateTime,
    #[serde(skip)]
    headers: String,
    #[serde(skip)]
    written: Option<SystemTime>,
}

impl Kept {
    fn read(path: &Path) -> Option<Self> {
        let id = path.file_stem()?.to_str()?.parse().ok()?;
        let raw = fs::read(path).ok()?;
        let written = fs::metadata(path).and_then(|meta| meta.modified()).ok();
        let message = MessageParser::default().parse(&raw)?;
        let text = message.body_text(0)?.into_owned();
        let to = match message.header("To") {
            Some(HeaderValue::Address(to)) => to.first().and_then(|to| to.address()).unwrap_or_default().to_owned(),
            _ => String::new(),
        };
        let links = text.split_whitespace().filter(|word| word.contains("://")).map(str::to_owned).collect();
        let end = raw.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(raw.len());
        Some(Self {
            id,
            to,
            subject: message.subject().unwrap_or_default().to_owned(),
            html: message.body_html(0).unwrap_or_default().into_owned(),
            links,
            at: message.date().map(mail_parser::DateTime::to_rfc3339).unwrap_or_default(),
            sent: OffsetDateTime::from_unix_timestamp(message.date()?.to_timestamp()).ok()?,
            headers: String::from_utf8_lossy(&raw[..end]).into_owned(),
            text,
            written,
        })
    }
}

/// The letters, newest first; [`Error::not_found`] unless the mailbox is on.
async fn letters(app: &Arc<App>) -> Result<Vec<Kept>, Error> {
    let dir = app.config.dev_mailbox().ok_or_else(Error::not_found)?;
    let read = tokio::task::spawn_blocking(move || {
        let files = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
        let eml = files.filter(|path| path.extension().is_some_and(|extension| extension == "eml"));
        let mut letters: Vec<Kept> = eml.filter_map(|path| Kept::read(&path)).collect();
        letters.sort_by(|a, b| (&b.written, b.id).cmp(&(&a.written, a.id)));
        letters
    });
    read.await.map_err(Error::internal)
}

async fn one(app: &Arc<App>, id: Uuid) -> Result<Kept, Error> {
    letters(app).await?.into_iter().find(|letter| letter.id == id).ok_or_else(Error::not_found)
}

#[derive(Template)]
#[template(path = "dev_mailbox/list.html")]
struct ListPage {
    page: Page,
    letters: Vec<Kept>,
}

/// GET /dev/mailbox
pub async fn list(State(app): State<Arc<App>>, page: Page) -> Result<Response, Error> {
    page_html(StatusCode::OK, page.locale, &ListPage { page, letters: letters(&app).await? })
}

/// GET /dev/mailbox.json
pub async fn json(State(app): State<Arc<App>>) -> Result<Response, Error> {
    Ok(Json(letters(&app).await?).into_response())
}

#[derive(Template)]
#[template(path = "dev_mailbox/letter.html")]
struct LetterPage {
    page: Page,
    letter: Kept,
    view: View,
}

/// How a letter is looked at. Printed, it is the query that asks for it.
#[derive(Clone, Copy)]
struct View {
    /// As wide as a phone.
    phone: bool,
    /// As a mail program shows it that is set to dark.
    dark: bool,
}

impl View {
    fn asked(query: &Fields) -> Self {
        Self { phone: query.text("width") == "phone", dark: query.text("colours") == "dark" }
    }

    fn as_phone(self, phone: bool) -> Self {
        Self { phone, ..self }
    }

    fn in_dark(self, dark: bool) -> Self {
        Self { dark, ..self }
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (width, colours) = (if self.phone { "phone" } else { "full" }, if self.dark { "dark" } else { "light" });
        write!(f, "width={width}&colours={colours}")
    }
}

/// GET /dev/mailbox/{id}
pub async fn letter(
    State(app): State<Arc<App>>,
    extract::Path(id): extract::Path<String>,
    Query(query): Query,
    page: Page,
) -> Result<Response, Error> {
    let id = id.parse().map_err(|_| Error::not_found())?;
    // This page alone may hold a frame: the letter's own HTML.
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; frame-src 'self'; \
                  form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    let letter = one(&app, id).await?;
    let shown = page_html(StatusCode::OK, page.locale, &LetterPage { page, letter, view: View::asked(&query) })?;
    Ok(([(header::CONTENT_SECURITY_POLICY, policy)], shown).into_response())
}

/// GET /dev/mailbox/{id}/html: the HTML part as a mail program would show it, with no script and no origin.
pub async fn html(
    State(app): State<Arc<App>>,
    extract::Path(id): extract::Path<String>,
    Query(query): Query,
) -> Result<Response, Error> {
    let id = id.parse().map_err(|_| Error::not_found())?;
    let policy = "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; \
                  base-uri 'none'; form-action 'none'; frame-ancestors 'self'";
    let fixed = [(header::CONTENT_SECURITY_POLICY, policy), (header::CONTENT_TYPE, "text/html; charset=utf-8")];
    // Its links open in a page of their own: ours do not load in frames.
    let html = one(&app, id).await?.html.replacen("<head>", "<head><base target=\"_blank\">", 1);
    // The frame cannot be told which colours to prefer, so the letter is.
    let preferred = if View::asked(&query).dark { "all" } else { "not all" };
    Ok((fixed, html.replace("(prefers-color-scheme: dark)", preferred)).into_response())
}
