//! A form of a user who is logged in.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};

use super::draft::Keepable;
use super::identity::{CurrentUser, log_in_first};
use super::visit::{Flash, Visit};
use crate::accounts::Client;
use crate::accounts::limit::clients::Action;
use crate::accounts::session::Session;
use crate::accounts::user::User;
use crate::app::App;
use crate::gate::error::Error;
use crate::gate::form::Form;

/// The form `F` of a user who is logged in.
///
/// When the session has ended meanwhile, nothing that was typed is lost. It is kept in the visit, without its secrets, and
/// the user finds it in the form again after the next log-in. It is not saved unseen, because the next user to log in
/// need not be the one who typed it.
pub struct Posted<F: Keepable> {
    /// The user.
    pub user: Arc<User>,
    /// The session.
    pub session: Arc<Session>,
    /// The client, in the language of the user.
    pub client: Client,
    /// The form.
    pub form: F,
}

impl<F: Keepable> FromRequest<Arc<App>> for Posted<F> {
    type Rejection = Response;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let current = Option::<CurrentUser>::from_request_parts(&mut parts, app).await;
        let Ok(client) = Client::from_request_parts(&mut parts, app).await;
        let visit = Visit::of(&parts).map_err(IntoResponse::into_response)?;
        let form = Form::<F>::from_request(Request::from_parts(parts, body), app).await;
        let Form(form) = form.map_err(IntoResponse::into_response)?;
        match current.map_err(IntoResponse::into_response)? {
            Some(CurrentUser { user, session }) => Ok(Self { user, session, client, form }),
            None => {
                // A draft of a client who is not logged in is counted, or it would be a way to fill the database.
                let admitted = app.accounts.admit(Action::Draft, &client, app.now()).await;
                admitted.map_err(|fault| Error::from(fault).into_response())?;
                let draft = form.draft();
                visit.remember_draft(&draft).await;
                visit.flash(Flash::LogInToGoOn).await;
                Err(log_in_first(draft.page()))
            }
        }
    }
}
