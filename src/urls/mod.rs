//! Every path, written once, and two types of addresses: [`PublicUrl`] for what an email links to, and [`Next`] for where a
//! form leads.

mod next;
mod public_url;

pub use next::Next;
pub use public_url::PublicUrl;

pub const HOME: &str = "/";
pub const SIGNUP: &str = "/signup";
pub const SIGNUP_SENT: &str = "/signup/sent";
pub const SIGNUP_RESEND: &str = "/signup/resend";
pub const SIGNUP_CONFIRM: &str = "/signup/confirm";
pub const LOGIN: &str = "/login";
pub const LOGOUT: &str = "/logout";
pub const PROFILE: &str = "/profile";
pub const PROFILE_NAME: &str = "/profile/name";
pub const PROFILE_LANGUAGE: &str = "/profile/language";
pub const PROFILE_PASSWORD: &str = "/profile/password";
pub const SECURITY: &str = "/profile/security";
pub const SECURITY_LOG_OUT: &str = "/profile/security/log-out";
pub const APPS: &str = "/profile/apps";
pub const NOT_ME: &str = "/not-me";
pub const NOT_ME_DONE: &str = "/not-me/done";
pub const FORGOT_PASSWORD: &str = "/forgot-password";
pub const FORGOT_PASSWORD_SENT: &str = "/forgot-password/sent";
pub const RESET_PASSWORD: &str = "/reset-password";
pub const CHANGE_PASSWORD: &str = "/.well-known/change-password";
pub const DEV_MAILBOX: &str = "/dev/mailbox";
pub const DEV_MAILBOX_JSON: &str = "/dev/mailbox.json";
pub const DEV_MAILBOX_LETTER: &str = "/dev/mailbox/{id}";
pub const DEV_MAILBOX_HTML: &str = "/dev/mailbox/{id}/html";
pub const USERS: &str = "/users/";
pub const USERS_ME: &str = "/users/me/";
pub const TOKEN: &str = "/token";
pub const API_RESET_PASSWORD: &str = "/reset_password/";
pub const API_COMPLETE_RESET_PASSWORD: &str = "/complete_reset_password/";
pub const DOCS: &str = "/docs";
pub const OPENAPI: &str = "/openapi.json";
pub const AUTHORIZE: &str = "/oauth/authorize";
pub const CONSENT: &str = "/oauth/consent";
pub const OAUTH_TOKEN: &str = "/oauth/token";
pub const OAUTH_LOGOUT: &str = "/oauth/logout";
pub const OAUTH_LOGOUT_CONFIRM: &str = "/oauth/logout/confirm";
pub const PUSHED: &str = "/oauth/par";
pub const REVOCATIONS: &str = "/oauth/revocations";
pub const REVOKE: &str = "/oauth/revoke";
pub const INTROSPECT: &str = "/oauth/introspect";
pub const USERINFO: &str = "/oauth/userinfo";
pub const OPENID_CONFIGURATION: &str = "/.well-known/openid-configuration";
pub const OAUTH_METADATA: &str = "/.well-known/oauth-authorization-server";
pub const JWKS: &str = "/.well-known/jwks.json";
pub const HEALTHZ: &str = "/healthz";
pub const READYZ: &str = "/readyz";
pub const METRICS: &str = "/metrics";
pub const FAVICON: &str = "/favicon.ico";
pub const STATIC: &str = "/static/";
pub const STATIC_FILE: &str = "/static/{name}";
