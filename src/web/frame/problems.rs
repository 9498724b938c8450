//! What is wrong with a form.

use crate::gate::form::FieldName;
use crate::locale::Translation;
use crate::words::Words;

/// One problem of a form.
#[derive(Clone, Debug)]
pub struct FormProblem {
    /// The field that it is about.
    pub field: FieldName,
    /// What the user has to do; empty for a field whose problem is told at another field.
    pub words: String,
}

/// The problems of a form, in the order of its fields. A form that was not sent yet has none.
#[derive(Clone, Debug, Default)]
pub struct Problems(Vec<FormProblem>);

impl Problems {
    /// Returns a list of one problem.
    pub fn one(field: FieldName, words: impl Into<String>) -> Self {
        Self(vec![FormProblem { field, words: words.into() }])
    }

    /// Adds a problem.
    pub fn add(&mut self, field: FieldName, words: impl Into<String>) {
        self.0.push(FormProblem { field, words: words.into() });
    }

    /// Marks a field whose problem is told at another field.
    pub fn mark(mut self, field: FieldName) -> Self {
        self.add(field, "");
        self
    }

    /// Returns whether the form has no problem.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the problems that have words, for the summary.
    pub fn iter(&self) -> impl Iterator<Item = &FormProblem> {
        self.0.iter().filter(|problem| !problem.words.is_empty())
    }

    /// Returns the words of the problem at this field, empty if the field is only marked.
    pub fn of(&self, field: &FieldName) -> Option<&str> {
        self.0.iter().find(|problem| problem.field == *field).map(|problem| problem.words.as_str())
    }

    /// Returns the value, or adds what is wrong with the field.
    pub fn note<T, E: Words>(&mut self, t: &Translation, field: FieldName, parsed: Result<T, E>) -> Option<T> {
        parsed.map_err(|error| self.add(field, error.words(t))).ok()
    }
}
