//! The pages of an account: a summary, and one page for each thing that the user can change.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use zeroize::Zeroizing;

use crate::accounts::profile::{self, Change, Passwords};
use crate::accounts::user::User;
use crate::accounts::user::username::FullName;
use crate::app::App;
use crate::gate::error::Error;
use crate::gate::form::form;
use crate::locale::Locale;
use crate::urls;
use crate::web::browser::Browser;
use crate::web::browser::draft::{Draft, Keepable};
use crate::web::browser::identity::{self, CurrentUser};
use crate::web::browser::language;
use crate::web::browser::posted::Posted;
use crate::web::browser::visit::{Flash, Visit};
use crate::web::frame::page::{Page, html};
use crate::web::frame::problems::Problems;

#[derive(Template)]
#[template(path = "profile/profile.html")]
struct ProfilePage {
    page: Page,
    user: Arc<User>,
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
    let mut full_name = user.full_name.clone();
    if let Some(Draft::Name(typed)) = visit.take_draft(urls::PROFILE_NAME).await? {
        page.flash = Some(Flash::NotSavedYet);
        full_name = typed;
    }
    html(StatusCode::OK, page.locale, &NamePage { page, problems: Problems::default(), full_name })
}

form! {
    /// The form that changes the name.
    pub struct NameForm {
        full_name: String,
    }
}

impl Keepable for NameForm {
    fn draft(self) -> Draft {
        let Self { full_name } = self;
        Draft::Name(full_name)
    }
}

/// POST /profile/name, and POST /profile, which programs use
pub async fn rename(
    State(app): State<Arc<App>>,
    visit: Visit,
    Posted { user, client, form: NameForm { full_name }, .. }: Posted<NameForm>,
) -> Result<Response, Error> {
    let mut problems = Problems::default();
    let Some(name) = problems.note(client.locale.t(), NameForm::full_name, FullName::parse(&full_name)) else {
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
    if let Some(Draft::Language(tag)) = visit.take_draft(urls::PROFILE_LANGUAGE).await? {
        page.flash = Some(Flash::NotSavedYet);
        chosen = tag.parse().ok();
    }
    html(StatusCode::OK, page.locale, &LanguagePage { page, problems: Problems::default(), chosen })
}

form! {
    /// The form that chooses the language.
    pub struct LanguageForm {
        /// The language's tag; empty for the language that the browser asks for.
        language: String,
    }
}

impl Keepable for LanguageForm {
    fn draft(self) -> Draft {
        let Self { language } = self;
        Draft::Language(language)
    }
}

/// POST /profile/language
pub async fn choose_language(
    State(app): State<Arc<App>>,
    Browser { cookies, visit }: Browser,
    Posted { user, client, form, .. }: Posted<LanguageForm>,
) -> Result<Response, Error> {
    let chosen = match form.language.as_str() {
        "" => Ok(None),
        tag => tag.parse::<Locale>().map(Some),
    };
    let Ok(chosen) = chosen else {
        let problems = Problems::one(LanguageForm::language, client.locale.t().language_unknown());
        let page =
            LanguagePage { page: Page::plain(&app, client.locale).signed_in(&user), problems, chosen: user.locale() };
        return html(StatusCode::UNPROCESSABLE_ENTITY, client.locale, &page);
    };
    profile::choose_language(&app.db, user.id, chosen, app.now()).await?;
    language::forget(&cookies, &app);
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
    html(
        StatusCode::OK,
        page.locale,
        &PasswordPage { page, problems: Problems::default(), email: user.email.to_string() },
    )
}

form! {
    /// The form that changes the password.
    pub struct PasswordForm {
        current_password: Zeroizing<String>,
        new_password: Zeroizing<String>,
    }
}

impl Keepable for PasswordForm {
    fn draft(self) -> Draft {
        let Self { current_password: _, new_password: _ } = self; // secrets
        Draft::Password
    }
}

/// POST /profile/password
pub async fn change_password(
    State(app): State<Arc<App>>,
    Browser { cookies, visit }: Browser,
    Posted { user, session, client, form }: Posted<PasswordForm>,
) -> Result<Response, Error> {
    let typed = Passwords { current: &form.current_password, new: &form.new_password };
    match profile::change_password(&app.accounts, (&user, &session), typed, &client, app.now()).await? {
        Change::Done(logged_in) => {
            identity::set_cookies(&cookies, &app, &logged_in)?;
            visit.rotate().await;
            visit.flash(Flash::PasswordChanged).await;
            Ok(Redirect::to(urls::SECURITY).into_response())
        }
        Change::SessionEnded => Ok(identity::log_in_first(urls::PROFILE_PASSWORD)),
        Change::NoPassword => Ok(Redirect::to(urls::FORGOT_PASSWORD).into_response()),
        Change::Invalid { current, new } => {
            let (page, mut problems) = (Page::plain(&app, client.locale).signed_in(&user), Problems::default());
            problems.note(page.t, PasswordForm::current_password, current.map_or(Ok(()), Err));
            problems.note(page.t, PasswordForm::new_password, new.map_or(Ok(()), Err));
            let page = PasswordPage { page, problems, email: user.email.to_string() };
            html(StatusCode::UNPROCESSABLE_ENTITY, client.locale, &page)
        }
    }
}

/// GET /.well-known/change-password: where password managers look for the form (W3C, A Well-Known URL for Changing
/// Passwords). The status is 302, because that text asks for a redirect that browsers do not keep.
pub async fn well_known() -> Response {
    (StatusCode::FOUND, [(header::LOCATION, urls::PROFILE_PASSWORD)]).into_response()
}
