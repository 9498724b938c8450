//! Tokens of links in emails and of devices: 32 random bytes for the user, their SHA-256 in the table.
//!
//! An attacker who reads the database, or a backup of it, finds no link that works. The digest needs no salt and no slow
//! hash, because 256 random bits cannot be guessed (OWASP, Forgot Password Cheat Sheet).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sea_orm::DeriveValueType;
use sha2::{Digest, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{chance, networks};

/// A token in the clear. It can be made, or be read out of a link or a cookie. It is never stored and never printed.
#[derive(Clone)]
pub struct Token(Zeroizing<[u8; 32]>);

/// What is stored of a [`Token`].
#[derive(Clone, PartialEq, Eq, DeriveValueType)]
pub struct TokenDigest(String);

impl Token {
    /// Makes a token.
    pub fn random() -> Self {
        Self(Zeroizing::new(chance::bytes()))
    }

    /// Reads a token, which is 43 characters of base64url and nothing else.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).ok()?);
        Some(Self(Zeroizing::new(bytes.as_slice().try_into().ok()?)))
    }

    /// Returns the token's text, for a link.
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE_NO_PAD.encode(self.0.as_slice()))
    }

    /// Returns what is stored, and what the token is looked up by.
    pub fn digest(&self) -> TokenDigest {
        TokenDigest(URL_SAFE_NO_PAD.encode(Sha256::digest(self.0.as_slice())))
    }
}

impl TokenDigest {
    /// Stands for all programs of one client, because programs store no cookie. No token has this digest.
    ///
    /// A network that an app has named is another one than the same network itself, and than the one that another app names.
    /// Otherwise a thief of a secret could name the address of an owner, and would have the owner's attempts, and log in
    /// without an email.
    pub(super) fn of_programs(ip: Option<IpAddr>, via: Option<Uuid>) -> Self {
        let network = ip.map_or(Ipv6Addr::UNSPECIFIED.into(), networks::client);
        Self(match via {
            Some(app) => format!("programs of {network} by {app}"),
            None => format!("programs of {network}"),
        })
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_its_link() {
        let token = Token::random();
        let text = token.reveal();
        assert_eq!(text.len(), 43);
        assert!(Token::parse(&text).expect("parsed").digest() == token.digest());
        assert!(Token::random().digest() != token.digest());
    }

    #[test]
    fn what_is_not_a_token_is_refused() {
        let text = Token::random().reveal();
        for bad in ["", "x", &text[1..], &format!("{}A", *text), &format!("{} ", *text), &text.replace(&text[..1], "+")]
        {
            assert!(Token::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn nothing_is_printed() {
        let token = Token::random();
        assert_eq!(format!("{token:?} {:?}", token.digest()), "Token(…) TokenDigest(…)");
    }
}
