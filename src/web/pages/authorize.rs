//! An app sends a user here, to learn who it is.

use std::sync::Arc;

use askama::Template;
use axum::extract::{RawQuery, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use uuid::Uuid;

use crate::accounts::Client;
use crate::accounts::apps;
use crate::accounts::apps::redirect_uri::RedirectUri;
use crate::accounts::authorize::pushed;
use crate::accounts::authorize::request::{self, Params, Stranger};
use crate::accounts::authorize::scope::Scope;
use crate::accounts::authorize::{self, Decision, Step};
use crate::app::App;
use crate::gate::body;
use crate::gate::error::{Error, ErrorKind};
use crate::gate::form::{FieldName, FieldValue, Fields, Form, form};
use crate::gate::headers::content_security_policy;
use crate::locale::Translation;
use crate::urls::{self, Next};
use crate::web::browser::identity::{CurrentUser, log_in_again, log_in_first};
use crate::web::frame::page::{Page, html};
use crate::web::pages::forward;

#[derive(Template)]
#[template(path = "authorize/ask.html")]
struct AskPage {
    page: Page,
    request: request::Request,
    /// The same request, as it came.
    query: String,
    /// Who is asked.
    user: Uuid,
}

impl AskPage {
    fn app(&self) -> String {
        self.page.locale.inside(&self.request.app.name)
    }

    fn heading(&self) -> String {
        self.page.t.authorize_heading(self.app()).trim().to_owned()
    }

    fn lead(&self) -> String {
        self.page.t.authorize_lead(self.app()).trim().to_owned()
    }

    /// Says where the browser goes. The name of an app is what its operator has typed, and the host is what it is.
    fn to(&self) -> String {
        self.page.t.authorize_to(self.request.host())
    }
}

/// Says what an app with this scope sees.
pub fn sees(t: &Translation, scope: &Scope) -> &'static str {
    match scope {
        Scope::OpenId => t.authorize_openid(),
        Scope::Profile => t.authorize_profile(),
        Scope::Email => t.authorize_email(),
        Scope::OfflineAccess => t.authorize_offline(),
    }
}

#[derive(Template)]
#[template(path = "authorize/stranger.html")]
struct StrangerPage {
    page: Page,
    words: &'static str,
}

form! {
    /// The form that says whether an app may see an account.
    pub struct ConsentForm {
        /// The request that the page was about, as a query.
        request: Whole,
        /// Who was asked.
        user: Option<Uuid>,
        /// What the user decides.
        decision: Option<Decision>,
    }
}

/// A text that is not cut. A body has 16 KB at most.
pub struct Whole(pub String);

impl FieldValue for Whole {
    fn read(fields: &Fields, name: FieldName) -> Self {
        Self(fields.text(name.text()).to_owned())
    }
}

/// GET /oauth/authorize
pub async fn show(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    user: Option<CurrentUser>,
    client: Client,
    page: Page,
) -> Result<Response, Error> {
    step(&app, &query.unwrap_or_default(), (user, None), &client, page).await
}

/// POST /oauth/authorize: the same request, in a form that a page of the app has sent (OpenID Connect Core, 3.1.2.1).
pub async fn post(request: Request) -> Result<Response, Error> {
    as_get(request, urls::AUTHORIZE).await
}

/// Answers a form of an app with the same request as a GET. The browser sends no cookies with the form of another site, and
/// sends them with the GET.
pub async fn as_get(request: Request, path: &str) -> Result<Response, Error> {
    let (_, body) = body::take(request).await?;
    let query = std::str::from_utf8(&body).map_err(|_| ErrorKind::BadRequest)?;
    let query = Params::parse(query).with(&[], &[]);
    Ok(Redirect::to(&format!("{path}?{query}")).into_response())
}

/// POST /oauth/consent
pub async fn decide(
    State(app): State<Arc<App>>,
    user: Option<CurrentUser>,
    client: Client,
    page: Page,
    Form(ConsentForm { request: Whole(query), user: asked, decision }): Form<ConsentForm>,
) -> Result<Response, Error> {
    // Another user may have logged in meanwhile, in another tab. Nobody decides for them.
    let decision = decision.filter(|_| user.as_ref().map(|current| current.user.id) == asked);
    step(&app, &query, (user, decision), &client, page).await
}

/// Does the next step of a request.
async fn step(
    app: &Arc<App>,
    query: &str,
    (user, decision): (Option<CurrentUser>, Option<Decision>),
    client: &Client,
    page: Page,
) -> Result<Response, Error> {
    let (params, issuer) = (Params::parse(query), app.public_url.origin());
    let there = user.as_ref().map(|current| (current.user.as_ref(), current.session.as_ref()));
    let step = authorize::authorize(&app.accounts, &params, (issuer, there), (decision, client), app.now()).await?;
    let t = page.t;
    match step {
        Step::Back(to) => Ok((StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()),
        Step::Ask { request, user } => {
            let policy = content_security_policy(app, &[request.source()]);
            let locale = page.locale;
            let page = AskPage { page, request: *request, query: query.to_owned(), user };
            Ok(([(header::CONTENT_SECURITY_POLICY, policy)], html(StatusCode::OK, locale, &page)?).into_response())
        }
        Step::LogIn { app: _, again } => {
            let next = format!("{}?{}", urls::AUTHORIZE, again.as_deref().unwrap_or(query));
            match (Next::parse(&next), again) {
                (None, _) => stranger(page, t.authorize_too_long()),
                (Some(next), None) => Ok(log_in_first(next.as_str())),
                (Some(next), Some(_)) => Ok(log_in_again(&next)),
            }
        }
        Step::Stranger(Stranger::App) => stranger(page, t.authorize_unknown_app()),
        Step::Stranger(Stranger::RedirectUri) => stranger(page, t.authorize_unknown_address()),
        Step::Stranger(Stranger::Pushed) => stranger(page, t.authorize_gone()),
    }
}

fn stranger(page: Page, words: &'static str) -> Result<Response, Error> {
    html(StatusCode::BAD_REQUEST, page.locale, &StrangerPage { page, words })
}

/// The app that a page leads to in the end.
pub struct Onward {
    /// Its name.
    name: String,
    /// Whom the app supposes to log in.
    pub login_hint: String,
    /// The origin to which the browser goes in the end.
    source: String,
}

impl Onward {
    /// Returns the app that a page leads to, if it leads to the request of one, or to where one stands.
    pub async fn of(app: &App, next: Option<&Next>) -> Result<Option<Self>, Error> {
        let query = |path| next.and_then(|next| next.as_str().strip_prefix(path)?.strip_prefix('?'));
        if let Some(query) = query(urls::ENTER) {
            let found = forward::find(app, query).await?;
            return Ok(found.map(|(to, application)| Self {
                name: application.name.clone(),
                login_hint: String::new(),
                source: to.source(),
            }));
        }
        let Some(params) = query(urls::AUTHORIZE).map(Params::parse) else { return Ok(None) };
        let Some(params) = pushed::resolve(app.db.read(), &params, app.now()).await? else { return Ok(None) };
        let Some(id) = params.client_id() else { return Ok(None) };
        let found = apps::by_id(app.db.read(), id).await?;
        Ok(found.and_then(|found| {
            let uri = params.redirect_uri().filter(|uri| found.redirect_uris.have(uri))?.parse::<RedirectUri>().ok()?;
            let login_hint = params.login_hint().unwrap_or_default().to_owned();
            Some(Self { name: found.name, login_hint, source: uri.source() })
        }))
    }

    /// Returns the policy of a page with a form that leads there. Chromium applies it to all redirects after the form, and the
    /// last of them leaves the site.
    fn policy(&self, app: &App) -> HeaderValue {
        content_security_policy(app, std::slice::from_ref(&self.source))
    }

    /// Lets the form of a page lead to the app, if there is one.
    pub fn allow(onward: Option<&Self>, app: &App, page: Response) -> Response {
        (onward.map(|onward| [(header::CONTENT_SECURITY_POLICY, onward.policy(app))]), page).into_response()
    }

    /// Returns the name of the app, as it stands inside a sentence of a page.
    pub fn inside(&self, page: &Page) -> String {
        page.locale.inside(&self.name)
    }
}
