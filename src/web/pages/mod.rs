//! The pages, one file for each feature.

pub mod access;
pub mod authorize;
pub mod dev_mailbox;
pub mod docs;
pub mod forward;
pub mod home;
pub mod login;
pub mod logout;
pub mod not_me;
pub mod password_reset;
pub mod profile;
pub mod security;
pub mod signup;
