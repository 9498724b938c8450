//! An authorization request: what an app asks for, through the user's browser (OpenID Connect Core, 3.1.2.1).

use sea_orm::ConnectionTrait;
use time::Duration;
use url::Url;
use uuid::Uuid;

use super::scope::Scopes;
use crate::accounts::Result;
use crate::accounts::apps::redirect_uri::RedirectUri;
use crate::accounts::apps::{self, Application};
use crate::locale::Locale;

/// The parameters of a request, as they came.
#[derive(Clone, Debug, Default)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// The most parameters of a request; OpenID Connect has twenty. A head of 16 KB of `a&` would be 8000 of them, and each is
    /// compared with each.
    const MOST: usize = 100;
    /// The longest address, in bytes (RFC 5321, 4.5.3.1.3).
    const HINT_MAX: usize = 254;

    /// Returns the parameters of a query. Of more than [`Self::MOST`], none is read.
    pub fn parse(query: &str) -> Self {
        let mut pairs = url::form_urlencoded::parse(query.as_bytes()).into_owned();
        let params = Self(pairs.by_ref().take(Self::MOST).collect());
        if pairs.next().is_some() { Self::default() } else { params }
    }

    /// Returns parameters that came in a form, which has bounded their number.
    pub fn of<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// Returns a parameter. One without a value is as one that is not there (RFC 6749, 3.1).
    pub(in crate::accounts) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(its, _)| its == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Returns the app that the request is of, if it names one.
    pub fn client_id(&self) -> Option<Uuid> {
        let mut all = self.0.iter().filter(|(name, _)| name == "client_id");
        match (all.next(), all.next()) {
            (Some((_, id)), None) => id.parse().ok(),
            _ => None,
        }
    }

    /// Returns the address that the request names.
    pub fn redirect_uri(&self) -> Option<&str> {
        self.get("redirect_uri")
    }

    /// Returns whom the app supposes to log in, as the user would write it: an address or a username (`login_hint`). What is
    /// longer than any address is none.
    pub fn login_hint(&self) -> Option<&str> {
        self.get("login_hint").filter(|hint| hint.len() <= Self::HINT_MAX)
    }

    /// Returns the first of the languages that is ours in which the app wants its user to be asked (`ui_locales`).
    pub fn ui_locale(&self) -> Option<Locale> {
        Locale::first_of(self.get("ui_locales")?.split(' '))
    }

    /// Returns whether a parameter came more than once, which none may (RFC 6749, 3.1).
    pub(in crate::accounts) fn has_doubles(&self) -> bool {
        self.0.iter().enumerate().any(|(at, (name, _))| self.0[..at].iter().any(|(before, _)| before == name))
    }

    /// Returns the same parameters as a query, without some of them and with others.
    pub fn with(&self, without: &[&str], more: &[(&str, &str)]) -> String {
        let kept = self
            .0
            .iter()
            .filter(|(name, _)| !without.contains(&name.as_str()) && more.iter().all(|(new, _)| new != name));
        let kept = kept.map(|(name, value)| (name.as_str(), value.as_str()));
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(kept.chain(more.iter().copied())).finish()
    }
}

/// Why a browser is not sent back to the app: it is not known that the app asked. An answer to an address that anybody can
/// name would make us send users, and codes, wherever an attacker likes (RFC 9700, 4.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// No app has this `client_id`.
    App,
    /// The app has not registered this `redirect_uri`.
    RedirectUri,
    /// The request that the app has sent before is gone.
    Pushed,
}

/// What is wrong with a request of an app that is known (RFC 6749, 4.1.2.1; OpenID Connect Core, 3.1.2.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code of the error.
    pub error: &'static str,
    /// For the developer of the app.
    pub description: &'static str,
}

/// What an app asks the user for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// Nothing may be asked.
    pub none: bool,
    /// The user logs in again.
    pub login: bool,
    /// The user is asked for consent again.
    pub consent: bool,
}

/// A request that can be answered.
#[derive(Clone, Debug)]
pub struct Request {
    /// The app.
    pub app: Application,
    /// Where the answer goes.
    pub redirect_uri: String,
    /// What the app gets back unread.
    pub state: Option<String>,
    /// What it asks to see.
    pub scopes: Scopes,
    /// A value for the ID token.
    pub nonce: Option<String>,
    /// The digest of what the app shows with the code (RFC 7636).
    pub code_challenge: Option<String>,
    /// What it asks the user for.
    pub prompt: Prompt,
    /// How long ago the user may have logged in.
    pub max_age: Option<Duration>,
    /// An ID token of the user whom it means.
    pub id_token_hint: Option<String>,
}

/// The outcome of reading a request.
#[derive(Debug)]
pub(super) enum Read {
    /// It can be answered.
    Valid(Box<Request>),
    /// It is told to the app.
    Refused(Box<Answer>, Refusal),
    /// It is told to the user.
    Stranger(Stranger),
}

/// Where an answer goes.
#[derive(Clone, Debug)]
pub struct Answer {
    redirect_uri: String,
    state: Option<String>,
}

impl Answer {
    /// Returns the address with these parameters, the `state`, and who answers: an app that uses several servers must know
    /// whose code this is (mix-up; RFC 9207).
    pub(super) fn with(&self, issuer: &str, parameters: &[(&str, &str)]) -> String {
        let state = self.state.as_deref().map(|state| ("state", state));
        let all = parameters.iter().copied().chain(state).chain([("iss", issuer)]);
        let Ok(mut url) = Url::parse(&self.redirect_uri) else { return self.redirect_uri.clone() };
        url.query_pairs_mut().extend_pairs(all);
        url.into()
    }
}

impl Request {
    /// Returns the origin to which its answer goes, or the scheme of an app on a phone.
    pub fn source(&self) -> String {
        let uri = self.app.redirect_uris.0.iter().find(|uri| uri.is(&self.redirect_uri));
        // On the user's own machine, the port is the one that the app asks for.
        let asked = self.redirect_uri.parse::<RedirectUri>().ok();
        asked.as_ref().or(uri).map(RedirectUri::source).unwrap_or_default()
    }

    /// Returns where its answer goes, for the user: the host, or the scheme of an app on a phone.
    pub fn host(&self) -> String {
        let source = self.source();
        source.split_once("://").map_or(source.trim_end_matches(':'), |(_, host)| host).to_owned()
    }

    /// Returns where its answer goes.
    pub fn answer(&self) -> Answer {
        Answer { redirect_uri: self.redirect_uri.clone(), state: self.state.clone() }
    }
}

/// Reads a request.
pub(super) async fn read(conn: &impl ConnectionTrait, params: &Params) -> Result<Read> {
    let named = |name: &str| params.0.iter().filter(|(its, _)| its == name).count() <= 1;
    let Some(id) = params.client_id() else { return Ok(Read::Stranger(Stranger::App)) };
    let Some(app) = apps::by_id(conn, id).await? else { return Ok(Read::Stranger(Stranger::App)) };
    let Some(redirect_uri) =
        params.get("redirect_uri").filter(|uri| named("redirect_uri") && app.redirect_uris.have(uri))
    else {
        return Ok(Read::Stranger(Stranger::RedirectUri));
    };
    let redirect_uri = redirect_uri.to_owned();
    let state = params.get("state").filter(|_| named("state")).map(str::to_owned);
    let answer = Answer { redirect_uri: redirect_uri.clone(), state: state.clone() };
    Ok(match checked(app, params, (redirect_uri, state)) {
        Ok(request) => Read::Valid(Box::new(request)),
        Err((error, description)) => Read::Refused(Box::new(answer), Refusal { error, description }),
    })
}

fn checked(
    app: Application,
    params: &Params,
    (redirect_uri, state): (String, Option<String>),
) -> Result<Request, (&'static str, &'static str)> {
    const INVALID: &str = "invalid_request";
    if params.has_doubles() {
        return Err((INVALID, "a parameter came more than once"));
    }
    for (name, error) in [("request", "request_not_supported"), ("request_uri", "request_uri_not_supported")] {
        if params.get(name).is_some() {
            return Err((error, "requests come as parameters"));
        }
    }
    match params.get("response_type") {
        Some("code") => {}
        None => return Err((INVALID, "response_type is missing")),
        Some(_) => return Err(("unsupported_response_type", "response_type must be code")),
    }
    if params.get("response_mode").is_some_and(|mode| mode != "query") {
        return Err((INVALID, "response_mode must be query"));
    }
    let scopes = Scopes::parse(params.get("scope").unwrap_or_default());
    if scopes.is_empty() {
        return Err(("invalid_scope", "scope must have openid, profile, email or offline_access"));
    }
    let code_challenge = params.get("code_challenge").map(str::to_owned);
    match (&code_challenge, params.get("code_challenge_method")) {
        (None, None) if !app.pkce => {}
        (None, _) => return Err((INVALID, "code_challenge is missing: this app has to use PKCE (RFC 7636)")),
        // With `plain`, whoever reads the request has what the code needs.
        (Some(_), method) if method != Some("S256") => return Err((INVALID, "code_challenge_method must be S256")),
        // A SHA-256 in base64url (RFC 7636, 4.2).
        (Some(challenge), _)
            if challenge.len() != 43 || !challenge.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_".contains(&c)) =>
        {
            return Err((INVALID, "code_challenge must be a SHA-256 in base64url"));
        }
        (Some(_), _) => {}
    }
    let mut prompt = Prompt::default();
    let prompts: Vec<_> = params.get("prompt").unwrap_or_default().split(' ').filter(|text| !text.is_empty()).collect();
    for text in &prompts {
        match *text {
            "none" => prompt.none = true,
            // There is one account in a browser, so another one is chosen by logging in to it.
            "login" | "select_account" => prompt.login = true,
            "consent" => prompt.consent = true,
            _ => return Err((INVALID, "prompt must be none, login, consent or select_account")),
        }
    }
    if prompt.none && prompts.len() > 1 {
        return Err((INVALID, "prompt none stands alone"));
    }
    let max_age = match params.get("max_age").map(str::parse::<u32>) {
        None => None,
        Some(Ok(seconds)) => Some(Duration::seconds(seconds.into())),
        Some(Err(_)) => return Err((INVALID, "max_age must be a number of seconds")),
    };
    let text = |name: &str| params.get(name).map(str::to_owned);
    let (nonce, id_token_hint) = (text("nonce"), text("id_token_hint"));
    Ok(Request { app, redirect_uri, state, scopes, nonce, code_challenge, prompt, max_age, id_token_hint })
}
