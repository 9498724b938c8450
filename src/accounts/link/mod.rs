//! Links in emails.

pub mod not_me_link;
pub mod pending_signup;
pub mod reset_token;
