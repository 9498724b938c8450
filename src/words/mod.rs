//! What users and operators read about values: errors, with what to do, and the browser behind a `User-Agent`.

mod errors;
mod user_agent;

use crate::locale::Translation;

pub use user_agent::browser;

/// An error that the user can correct.
pub trait Words {
    /// Returns what the user has to do.
    fn words(&self, t: &Translation) -> String;
}
