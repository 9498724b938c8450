//! What all pages share: the frame around their content, the page of a failure, the problems of a form, and the site's files.

pub mod assets;
pub mod doctor;
pub mod error;
pub mod health;
pub mod mail;
pub mod page;
pub mod problems;
