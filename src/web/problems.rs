//! What is wrong with a form.

use crate::gate::words::Words;
use crate::locale::Translation;

/// The problems of a form, in the order of its fields; empty on a first visit.
#[derive(Clone, Debug, Default)]
pub struct Problems(Vec<(&'static str, String)>);

impl Problems {
    /// One problem.
    pub fn one(field: &'static str, words: String) -> Self {
        Self(vec![(field, words)])
    }

    /// Notes a problem that the page finds by itself.
    pub fn add(&mut self, field: &'static str, words: String) {
        self.0.push((field, words));
    }

    /// Marks a field whose problem is said at another one.
    pub fn mark(mut self, field: &'static str) -> Self {
        self.0.push((field, String::new()));
        self
    }

    /// Whether the form can be worked on.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, for the summary.
    pub fn iter(&self) -> impl Iterator<Item = &(&'static str, String)> {
        self.0.iter().filter(|(_, words)| !words.is_empty())
    }

    /// The one at this field; empty if the field is only marked.
    pub fn of(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|(at, _)| *at == field).map(|(_, words)| words.as_str())
    }

    /// Notes what is wrong with a field, or passes its value on.
    pub fn note<T, E: Words>(&mut self, t: &Translation, field: &'static str, parsed: Result<T, E>) -> Option<T> {
        parsed.map_err(|error| self.0.push((field, error.words(t)))).ok()
    }
}
