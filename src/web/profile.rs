//! The account's own pages: a summary, and a page for each thing that can be changed.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Extension, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use tower_cookies::Cookies;

use super::identity::{self, CurrentUser, Posted};
use super::language;
use super::page::{Page, html};
use super::problems::Problems;
use super::visit::{Flash, Visit};
use crate::accounts::password::{Password, PasswordError};
use crate::accounts::profile::{self, Change};
use crate::accounts::user::User;
use crate::accounts::user::username::FullName;
use crate::app::App;
use crate::gate::error::Error;
use crate::gate::words::Words;
use crate::locale::{Locale, Translation};
use crate::urls;

#[derive(Template)]
#[template(path = "profile/profile.html")]
struct ProfilePage {
    page: Page,
    user: User,
}

/// GET /profile
pub async fn show(CurrentUser { user, .. }: CurrentUser, page: Page) -> Result<Response, Error> {
    html(StatusCode::OK, page.locale, &ProfilePage { page, user })
}

#[derive(Template)]
#[template(path = "profile/name.html")]
struct NamePage {
    page: Page,
    problems: Problems,
    full_name: String,
}

/// GET /profile/name
pub async fn show_name(CurrentUser { user, .. }: CurrentUser, visit: Visit, mut page: Page) -> Result<Response, Error> {
    let mut full_name = user.full_name;
    if let Some(draft) = visit.take_draft(urls::PROFILE_NAME).await? {
        page.flash = Some(Flash::NotSavedYet);
        full_name = draft.text("full_name").map_or(full_name, str::to_owned);
    }
    html(StatusCode::OK, page.locale, &NamePage { page, problems: Problems::default(), full_name })
}

/// POST /profile/name, and POST /profile for programs
pub async fn rename(
    State(app): State<Arc<App>>,
    visit: Visit,
    Posted { user, client, fields, .. }: Posted,
) -> Result<Response, Error> {
    let mut problems = Problems::default();
    let full_name = fields.shown("full_name").to_owned();
    let Some(name) = problems.note(client.locale.t(), "full_name", FullName::parse(&full_name)) else {
        let page = NamePage { page: Page::plain(&app, client.locale).signed_in(&user), problems, full_name };
        return html(StatusCode::UNPROCESSABLE_ENTITY, client.locale, &page);
    };
    profile::rename(&app.db, &user, &name, app.now()).await?;
    visit.flash(Flash::NameChanged).await;
    Ok(Redirect::to(urls::PROFILE).into_response())
}

#[derive(Template)]
#[template(path = "profile/language.html")]
struct LanguagePage {
    page: Page,
    problems: Problems,
    chosen: Option<Locale>,
}

impl LanguagePage {
    fn is_chosen(&self, locale: &Locale) -> bool {
        self.chosen.as_ref() == Some(locale)
    }
}

/// GET /profile/language
pub async fn show_language(
    CurrentUser { user, .. }: CurrentUser,
    visit: Visit,
    mut page: Page,
) -> Result<Response, Error> {
    let mut chosen = user.locale();
    if let Some(draft) = visit.take_draft(urls::PROFILE_LANGUAGE).await? {
        page.flash = Some(Flash::NotSavedYet);
        chosen = draft.text("language").map_or(chosen, |tag| tag.parse().ok());
    }
    html(StatusCode::OK, page.locale, &LanguagePage { page, problems: Problems::default(), chosen })
}

/// POST /profile/language
pub async fn choose_language(
    State(app): State<Arc<App>>,
    visit: Visit,
    Extension(cookies): Extension<Cookies>,
    Posted { user, client, fields, .. }: Posted,
) -> Result<Response, Error> {
    let chosen = match fields.text("language") {
        "" => Ok(None), // as the browser asks
        tag => tag.parse::<Locale>().map(Some),
    };
    let Ok(chosen) = chosen else {
        let problems = Problems::one("language", client.locale.t().language_unknown());
        let page =
            LanguagePage { page: Page::plain(&app, client.locale).signed_in(&user), problems, chosen: user.locale() };
        return html(StatusCode::UNPROCESSABLE_ENTITY, client.locale, &page);
    };
    profile::choose_language(&app.db, user.id, chosen, app.now()).await?;
    language::remember(&cookies, &app, chosen);
    visit.flash(Flash::LanguageChanged).await;
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
pub async fn show_password(
    CurrentUser { user, .. }: CurrentUser,
    visit: Visit,
    mut page: Page,
) -> Result<Response, Error> {
    if !user.has_password() {
        return Ok(Redirect::to(urls::FORGOT_PASSWORD).into_response());
    }
    if visit.take_draft(urls::PROFILE_PASSWORD).await?.is_some() {
        page.flash = Some(Flash::NotSavedYet);
    }
    html(StatusCode::OK, page.locale, &PasswordPage { page, problems: Problems::default(), email: user.email })
}

/// What can be wrong with the current password.
enum CurrentPasswordError {
    Empty,
    Wrong,
}

impl Words for CurrentPasswordError {
    fn words(&self, t: &Translation) -> String {
        match self {
            Self::Empty => t.current_password_empty(),
            Self::Wrong => t.current_password_wrong(),
        }
    }
}

/// POST /profile/password
pub async fn change_password(
    State(app): State<Arc<App>>,
    visit: Visit,
    Extension(cookies): Extension<Cookies>,
    Posted { user, session, client, fields }: Posted,
) -> Result<Response, Error> {
    let (mut problems, t) = (Problems::default(), client.locale.t());
    let typed = fields.text("current_password");
    let current = if typed.is_empty() { Err(CurrentPasswordError::Empty) } else { Ok(Password::new(typed)) };
    let new = app.password_of_the_proven(fields.text("new_password"), user.about()).await?;
    let mut same = false;
    if let Some(current) = problems.note(t, "current_password", current) {
        let (who, passwords) = ((&user, &session), (current, new.clone().ok()));
        match profile::change_password(&app.accounts, who, passwords, &client, app.now()).await? {
            Change::Done(logged_in) => {
                identity::log_in(&cookies, &app, &logged_in).await?;
                app.bell.notify_one();
                visit.rotate().await;
                visit.flash(Flash::PasswordChanged).await;
                return Ok(Redirect::to(urls::SECURITY).into_response());
            }
            Change::SessionEnded => return Ok(identity::log_in_first(urls::PROFILE_PASSWORD)),
            Change::NoPassword => return Ok(Redirect::to(urls::FORGOT_PASSWORD).into_response()),
            Change::Refused(too_many) => return Err(too_many.into()),
            Change::Wrong => problems.add("current_password", CurrentPasswordError::Wrong.words(t)),
            Change::Kept => {}
            Change::SamePassword => same = true,
        }
    }
    problems.note(t, "new_password", if same { Err(PasswordError::Same) } else { new });
    let page = Page::plain(&app, client.locale).signed_in(&user);
    html(StatusCode::UNPROCESSABLE_ENTITY, client.locale, &PasswordPage { page, problems, email: user.email })
}

/// GET /.well-known/change-password: where password managers look for the form (W3C, A Well-Known URL for
/// Changing Passwords). 302, as that text asks for a redirect that is not kept.
pub async fn well_known() -> Response {
    (StatusCode::FOUND, [(header::LOCATION, urls::PROFILE_PASSWORD)]).into_response()
}
