//! The account's own pages.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use time::OffsetDateTime;
use time::macros::format_description;

use super::client::Client;
use super::error::Error;
use super::form::Form;
use super::identity::CurrentUser;
use super::page::{Page, html};
use super::problems::{Problems, Words};
use super::signup::new_password;
use super::visit::{Flash, Visit};
use crate::accounts::password::Password;
use crate::accounts::profile;
use crate::accounts::user::User;
use crate::accounts::username::FullName;
use crate::app::App;
use crate::urls;

#[derive(Template)]
#[template(path = "profile/profile.html")]
struct ProfilePage {
    page: Page,
    problems: Problems,
    user: User,
    full_name: String,
}

impl ProfilePage {
    fn since(&self) -> String {
        let form = format_description!("[day padding:none] [month repr:long] [year]");
        self.user.created_at.format(form).unwrap_or_default()
    }

    fn since_machine(&self) -> String {
        let at: OffsetDateTime = self.user.created_at;
        at.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
    }
}

/// GET /profile
pub async fn show(CurrentUser { user, .. }: CurrentUser, page: Page) -> Result<Response, Error> {
    let full_name = user.full_name.clone();
    html(StatusCode::OK, &ProfilePage { page, problems: Problems::default(), user, full_name })
}

/// POST /profile
pub async fn rename(
    State(app): State<Arc<App>>,
    CurrentUser { user, .. }: CurrentUser,
    visit: Visit,
    Form(fields): Form,
) -> Result<Response, Error> {
    let mut problems = Problems::default();
    let full_name = fields.text("full_name").to_owned();
    let Some(name) = problems.note("full_name", FullName::parse(&full_name)) else {
        let page = ProfilePage { page: Page::plain(&app), problems, user, full_name };
        return html(StatusCode::UNPROCESSABLE_ENTITY, &page);
    };
    profile::rename(&app.db, &user, &name, app.now()).await?;
    visit.flash(Flash::NameChanged).await;
    Ok(Redirect::to(urls::PROFILE).into_response())
}

#[derive(Template)]
#[template(path = "profile/password.html")]
struct PasswordPage {
    page: Page,
    problems: Problems,
    email: String,
}

/// GET /profile/password
pub async fn show_password(CurrentUser { user, .. }: CurrentUser, page: Page) -> Result<Response, Error> {
    html(StatusCode::OK, &PasswordPage { page, problems: Problems::default(), email: user.email })
}

/// What can be wrong with the current password.
enum CurrentPasswordError {
    Empty,
    Wrong,
}

impl Words for CurrentPasswordError {
    fn words(&self) -> String {
        match self {
            Self::Empty => "Enter your current password",
            Self::Wrong => "This is not your current password. Type it again",
        }
        .into()
    }
}

/// POST /profile/password
pub async fn change_password(
    State(app): State<Arc<App>>,
    CurrentUser { user, session }: CurrentUser,
    Client(client): Client,
    visit: Visit,
    Form(fields): Form,
) -> Result<Response, Error> {
    let mut problems = Problems::default();
    let typed = fields.text("current_password");
    let current = if typed.is_empty() { Err(CurrentPasswordError::Empty) } else { Ok(Password::new(typed)) };
    let current = problems.note("current_password", current);
    let about = [user.email.as_str(), &user.username, &user.full_name];
    let new = problems.note("new_password", new_password(&app, fields.text("new_password"), about).await?);
    if let (Some(current), Some(new)) = (current, new) {
        let who = (&user, &session);
        if profile::change_password(&app.db, &app.hasher, who, (current, new), &client, app.now()).await? {
            app.bell.notify_one();
            visit.rotate().await;
            visit.flash(Flash::PasswordChanged).await;
            return Ok(Redirect::to(urls::PROFILE).into_response());
        }
        problems = Problems::one("current_password", CurrentPasswordError::Wrong.words());
    }
    html(StatusCode::UNPROCESSABLE_ENTITY, &PasswordPage { page: Page::plain(&app), problems, email: user.email })
}

/// GET /.well-known/change-password: where password managers look for the form (W3C, A Well-Known URL for
/// Changing Passwords). 302, as that text asks for a redirect that is not kept.
pub async fn well_known() -> Response {
    (StatusCode::FOUND, [(header::LOCATION, urls::PROFILE_PASSWORD)]).into_response()
}
