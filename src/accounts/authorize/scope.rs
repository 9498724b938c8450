//! What an app asks to see.

use std::fmt;

use sea_orm::{EnumIter, Iterable};

/// A part of an account that an app may ask for (OpenID Connect Core, 5.4 and 11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter)]
pub enum Scope {
    /// Who it is: the id.
    OpenId,
    /// The username, the name and the language.
    Profile,
    /// The address.
    Email,
    /// To see it also when the user is not at the app, as long as the session lasts.
    OfflineAccess,
}

impl Scope {
    /// Returns all of them.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::iter()
    }

    /// Returns its name in requests.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenId => "openid",
            Self::Profile => "profile",
            Self::Email => "email",
            Self::OfflineAccess => "offline_access",
        }
    }
}

/// A set of scopes, in the order of [`Scope`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// Reads a list of names with blanks between them. Names that we do not know are left out (OpenID Connect Core, 3.1.2.1).
    pub fn parse(text: &str) -> Self {
        let named = |scope: &Scope| text.split(' ').any(|name| name == scope.name());
        Self(Scope::iter().filter(named).collect())
    }

    /// Returns each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }

    /// Returns whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether this scope is among them.
    pub fn have(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    /// Returns whether all others are among them.
    pub fn cover(&self, others: &Self) -> bool {
        others.0.iter().all(|scope| self.have(*scope))
    }

    /// Returns both together.
    pub fn and(&self, others: &Self) -> Self {
        Self(Scope::iter().filter(|scope| self.have(*scope) || others.have(*scope)).collect())
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|scope| scope.name()).collect();
        f.write_str(&names.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_a_set_of_the_names_that_we_know() {
        let scopes = Scopes::parse("email openid phone email  openid");
        assert_eq!(scopes.to_string(), "openid email");
        assert!(scopes.have(Scope::Email) && !scopes.have(Scope::Profile));
        assert!(Scopes::parse("").is_empty() && Scopes::parse("phone OPENID").is_empty());
        assert!(scopes.cover(&Scopes::parse("email")) && !scopes.cover(&Scopes::parse("email profile")));
        assert_eq!(scopes.and(&Scopes::parse("profile")).to_string(), "openid profile email");
    }
}
