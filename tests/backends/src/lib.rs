//! The backends of argon2-rust, each by itself. By its safe functions only the one that it has chosen can be tested.

use std::fmt;

use argon2_rust::__internal::hash_with_backend;
use argon2_rust::{Argon2, Backend, Error};

/// A backend that this processor can run.
#[derive(Clone, Copy)]
pub struct Available(Backend);

impl Available {
    /// Returns all of them.
    pub fn all() -> impl Iterator<Item = Self> {
        Backend::ALL.iter().copied().filter(|backend| backend.is_available()).map(Self)
    }

    /// Does what [`Argon2::hash_into_with_ad`] does, by this backend. The inputs are the password, the salt, the secret and
    /// the associated data.
    ///
    /// # Errors
    /// As there.
    pub fn hash_into(self, argon2: &Argon2, inputs: [&[u8]; 4], output: &mut [u8]) -> Result<(), Error> {
        let (algorithm, version, params) = (argon2.algorithm(), argon2.version(), argon2.params());
        let [password, salt, secret, data] = inputs;
        // SAFETY: `all` makes the only values, and each was asked whether this processor can run it.
        unsafe { hash_with_backend(self.0, algorithm, version, params, password, salt, secret, data, output) }
    }
}

impl fmt::Display for Available {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
