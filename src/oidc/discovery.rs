//! What apps read once: where everything is, and the keys by which they check tokens.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::accounts::apps::{self, key_set::KEY_ALGORITHMS};
use crate::accounts::authorize::scope::Scope;
use crate::accounts::signing_key::{PUBLISHED_KEPT, algorithms};
use crate::accounts::tokens;
use crate::app::App;
use crate::gate::error::Error;
use crate::locale::Locale;
use crate::urls;

/// How an app that is not public shows who it is.
const PROOFS: &[&str] = &["client_secret_basic", "client_secret_post", "private_key_jwt"];

/// GET /.well-known/openid-configuration (OpenID Connect Discovery, 4) and /.well-known/oauth-authorization-server (RFC 8414)
pub async fn configuration(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Error> {
    let at = |path| app.public_url.at(path);
    let with_none = [PROOFS, &["none"]].concat();
    let document = json!({
        "issuer": app.public_url.origin(),
        "authorization_endpoint": at(urls::AUTHORIZE),
        "token_endpoint": at(urls::OAUTH_TOKEN),
        "pushed_authorization_request_endpoint": at(urls::PUSHED),
        "require_pushed_authorization_requests": false,
        "revocation_endpoint": at(urls::REVOKE),
        "introspection_endpoint": at(urls::INTROSPECT),
        "userinfo_endpoint": at(urls::USERINFO),
        "end_session_endpoint": at(urls::OAUTH_LOGOUT),
        "backchannel_logout_supported": true,
        "backchannel_logout_session_supported": true,
        "jwks_uri": at(urls::JWKS),
        "scopes_supported": Scope::all().map(Scope::name).collect::<Vec<_>>(),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": algorithms(),
        "token_endpoint_auth_methods_supported": with_none,
        "token_endpoint_auth_signing_alg_values_supported": KEY_ALGORITHMS,
        "revocation_endpoint_auth_methods_supported": with_none,
        "revocation_endpoint_auth_signing_alg_values_supported": KEY_ALGORITHMS,
        "introspection_endpoint_auth_methods_supported": PROOFS,
        "introspection_endpoint_auth_signing_alg_values_supported": KEY_ALGORITHMS,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "acr_values_supported": [tokens::ACR],
        "claims_supported": [
            "iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "at_hash", "sid", "acr", "amr", "preferred_username", "name",
            "locale", "updated_at", "email", "email_verified",
        ],
        "ui_locales_supported": Locale::iter().map(|locale| locale.tag()).collect::<Vec<_>>(),
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
        "claims_parameter_supported": false,
    });
    kept("application/json", &document, &seldom(), &headers)
}

/// GET /.well-known/jwks.json (RFC 7517, 5)
pub async fn jwks(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Error> {
    let in_use = apps::algorithms(app.db.read()).await?;
    let keys = app.accounts.signing.published(&in_use, app.now()).await?;
    kept("application/jwk-set+json", &json!({ "keys": keys }), &seldom(), &headers)
}

/// Says how long a reader keeps what seldom changes.
fn seldom() -> String {
    format!("public, max-age={}", PUBLISHED_KEPT.whole_seconds())
}

/// Answers with a document that its reader may keep as `cache` says, or says that the one it has is still the same (RFC 9110, 13).
pub(super) fn kept(
    media_type: &'static str,
    document: &impl Serialize,
    cache: &str,
    headers: &HeaderMap,
) -> Result<Response, Error> {
    let body = Bytes::from(serde_json::to_vec(document).map_err(Error::internal)?);
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&Sha256::digest(&body)[..12]));
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    let is_known = known
        .flat_map(|line| line.split(','))
        .any(|known| ["*", &tag].contains(&known.trim().trim_start_matches("W/")));
    let about = [(header::CACHE_CONTROL, cache.to_owned()), (header::ETAG, tag)];
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, about).into_response());
    }
    Ok(([(header::CONTENT_TYPE, media_type)], about, body).into_response())
}
