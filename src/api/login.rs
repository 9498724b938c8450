//! A program gets a token.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::{self, SentField};
use super::error::{ApiResult, FieldProblem, Problem, TokenFieldProblems, TokenProblem};
use crate::accounts::Client;
use crate::accounts::app_proof::Proof;
use crate::accounts::login::{self, Credentials, LogIn};
use crate::accounts::password::Password;
use crate::accounts::policy::Lasting;
use crate::accounts::speak_for::speak_for;
use crate::app::App;
use crate::gate::app_proof::{Shown, Unclear};
use crate::gate::error::Error;
use crate::gate::form::{Fields, Form};
use crate::keys::Pointer;
use crate::locale::Translation;
use crate::urls;

/// The OAuth 2 password form (RFC 6749, 4.3.2).
#[derive(Deserialize, ToSchema)]
pub struct TokenRequest<'a> {
    /// A username or an email address.
    #[schema(examples("sam"))]
    username: &'a str,
    /// The password.
    #[schema(examples("velvet otter bakes rye"), format = "password")]
    password: &'a str,
    /// `password`, if given. There is no other.
    #[schema(examples("password"))]
    #[serde(borrow)]
    grant_type: Option<&'a str>,
}

impl<'a> TokenRequest<'a> {
    /// Reads a request that asks for the password grant or names no grant. It borrows the password from the form, which
    /// is wiped from memory when it is dropped.
    fn read(form: &'a Fields, t: &Translation) -> Result<Self, Problem> {
        let (request, mut missing): (Self, _) = body::read(|field| match form.once(field) {
            Some(text) => SentField::Text(text),
            None if form.came(field) => SentField::Other,
            None => SentField::Nothing,
        })?;
        // A parameter without a value counts as missing (RFC 6749, 3.2).
        if request.grant_type.is_some_and(|grant| !["", "password"].contains(&grant)) {
            return Err(Problem::Token("unsupported_grant_type", t.api_grant_type().into()));
        }
        if missing.is_empty() {
            return Ok(request);
        }
        // The grant comes first, because the other fields depend on it.
        missing.sort_by_key(|field| *field != "grant_type");
        Err(Problem::TokenFields(missing.into_iter().map(|field| FieldProblem::missing(field, t)).collect()))
    }
}

/// A token, to be sent as `Authorization: Bearer …`.
#[derive(Serialize, ToSchema)]
pub struct TokenOut {
    /// The token. It stops working when the session that it stands for ends.
    #[schema(examples("eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJIUzI1NiJ9.e30.c2ln"))]
    access_token: String,
    /// `bearer`.
    #[schema(examples("bearer"))]
    token_type: &'static str,
    /// In seconds.
    #[schema(examples(1800))]
    expires_in: i64,
}

/// In which an app says for whom it speaks. It is a name of our own: proxies set `X-Client-IP` and its like by themselves, and
/// then programs with a made-up secret would be refused.
const CLIENT_IP: HeaderName = HeaderName::from_static("x-latchkey-client-ip");

/// Returns the client that is counted: the person for whom an app speaks, or else whoever has sent the request.
///
/// Programs may send any `client_id` and `client_secret`. They are looked at only together with the header, and the header is
/// looked at only together with a secret or an assertion: it is as easily forged as any other.
async fn person(app: &App, server: Client, headers: &HeaderMap, form: &Fields) -> Result<Client, Problem> {
    let mut sent = headers.get_all(CLIENT_IP).iter();
    let Some(address) = sent.next() else { return Ok(server) };
    let (t, locale) = (server.locale.t(), server.locale);
    let shown = match Shown::read(headers, form) {
        Ok(shown) => shown,
        Err(Unclear::NotBasic) => return Err(Problem::UnknownApp(locale, true)),
        Err(Unclear::NotJwt) => return Err(Problem::UnknownApp(locale, false)),
        Err(Unclear::TwoProofs | Unclear::TwoIds) => {
            return Err(Problem::Token("invalid_request", t.api_two_secrets().into()));
        }
    };
    if matches!(shown.proof, Proof::Nothing) {
        return Ok(server);
    }
    // Two addresses are none, as in a list of hops that is passed on as it came: anyone may have written the first one.
    let address = address.to_str().ok().filter(|_| sent.next().is_none()).and_then(|text| text.parse::<IpAddr>().ok());
    let address = address.filter(is_of_a_client);
    let address = address.ok_or_else(|| Problem::Token("invalid_request", t.api_client_ip().into()))?;
    let (shows, whom, issuer) = ((&*shown.id, &shown.proof), (&server, address), app.public_url.origin());
    let person = speak_for(&app.accounts, &app.apps, shows, whom, issuer, app.now()).await?;
    person.ok_or(Problem::UnknownApp(locale, shown.basic))
}

/// Returns whether a person can have this address. A program that does not know whose request it is may fill in an address of
/// nobody, and then all of its people would be one person.
fn is_of_a_client(ip: &IpAddr) -> bool {
    let ip = ip.to_canonical();
    !ip.is_unspecified() && !ip.is_multicast()
}

/// Get a token
///
/// It lasts 30 minutes unless the site says otherwise, is listed among the places where the person is logged in, and
/// ends with a change of the password.
///
/// A server that collects the passwords of many people would be limited like one person. So let it be a registered app with a
/// secret, which it sends as `Authorization: Basic` or in the form (`client_id`, `client_secret`), and let it say in
/// `X-Latchkey-Client-IP` whose address it speaks for. Without that header neither is looked at.
#[utoipa::path(
    post,
    path = urls::TOKEN,
    operation_id = "get_token",
    tag = "users",
    params(("X-Latchkey-Client-IP" = Option<String>, Header, description = "The IP address of the person for whom an app with a \
        secret speaks. Without the secret it is ignored", example = "203.0.113.7")),
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded",
        example = json!({"username": "sam", "password": "velvet otter bakes rye", "grant_type": "password"})),
    responses(
        (status = 200, description = "A token", body = TokenOut,
            example = json!({"access_token": "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJIUzI1NiJ9.e30.c2ln",
                "token_type": "bearer", "expires_in": 1800})),
        (status = 400, description = "Not this username or not this password, an account that the operator has disabled, another grant type, or no single IP address in the header", body = TokenProblem,
            example = json!({"detail": "Incorrect username or password", "error": "invalid_grant"})),
        (status = 401, description = "An address in the header, and no app with this `client_id` and `client_secret`", body = TokenProblem,
            example = json!({"detail": "No app has this client_id and client_secret", "error": "invalid_client"})),
        (status = 422, description = "Fields that are missing, or came twice", body = TokenFieldProblems,
            example = json!({"detail": [{"loc": ["body", "password"], "type": "missing", "msg": "Needs this field, as text"}],
                "error": "invalid_request"})),
    )
)]
pub async fn token(State(app): State<Arc<App>>, client: Client, headers: HeaderMap, Form(form): Form) -> ApiResult {
    let t = client.locale.t();
    let TokenRequest { username, password, .. } = TokenRequest::read(&form, t)?;
    let client = person(&app, client, &headers, &form).await?;
    let (now, lifetime) = (app.now(), app.settings.token_lifetime);
    let credentials = Credentials { login: username, password: Password::new(password) };
    let session = match login::log_in(&app.accounts, credentials, Lasting::Token, &client, now).await? {
        LogIn::Succeeded(logged_in) => logged_in.session,
        LogIn::Failed => return Err(Problem::Token("invalid_grant", t.api_wrong_log_in().into())),
        LogIn::Disabled => return Err(Problem::Token("invalid_grant", t.account_disabled().into())),
    };
    let pointer = Pointer { user: session.user_id, session: session.id };
    let access_token = app.token_keys.mint(pointer, now, session.expires_at).map_err(Error::internal)?;
    let token = TokenOut { access_token, token_type: "bearer", expires_in: lifetime.whole_seconds() };
    Ok(Json(token).into_response())
}
