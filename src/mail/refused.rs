//! Why a letter was not sent.

use std::error::Error;
use std::fmt;
use std::io;

use lettre::transport::smtp;
use lettre::transport::smtp::response::{Category, Code, Severity};
use tokio_rustls::rustls;

use crate::metrics::Metrics;

/// The reason why a letter was not sent.
#[derive(Debug)]
pub struct Refused {
    /// The words of the mail server, or of the network.
    pub why: String,
    /// What kind of trouble with the mail server it is. `None` if the mail server has no part in it.
    pub trouble: Option<Trouble>,
    /// Whether another attempt would get the same answer.
    pub hopeless: bool,
    /// Whether it is certain that the recipient does not have the letter. After a time-out it is not.
    pub certain: bool,
}

/// Kinds of trouble with the mail server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No connection.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// No TLS, or a certificate that is not valid for it.
    Tls,
    /// The server does not accept our own log-in (53x).
    LogIn,
    /// The server wants another attempt later (4xx).
    RefusedLater,
    /// The server refused for good (5xx).
    Refused,
    /// The connection broke off or the server says that it will end it (421), or what the server said was no SMTP.
    Broken,
}

impl Trouble {
    fn of_code(code: Code) -> Self {
        // 421 may answer every command: the server is about to end the connection (RFC 5321, 3.8).
        if u16::from(code) == 421 {
            return Self::Broken;
        }
        match (code.severity, code.category) {
            (Severity::PermanentNegativeCompletion, Category::Unspecified3) => Self::LogIn,
            (Severity::PermanentNegativeCompletion, _) => Self::Refused,
            _ => Self::RefusedLater,
        }
    }

    /// Counts it.
    pub fn count(self, Metrics { mail, .. }: &Metrics) {
        let counter = match self {
            Self::Unreachable => &mail.unreachable,
            Self::Timeout => &mail.timeout,
            Self::Tls => &mail.tls,
            Self::LogIn => &mail.log_in,
            Self::RefusedLater => &mail.refused_later,
            Self::Refused => &mail.refused,
            Self::Broken => &mail.broken,
        };
        counter.inc();
    }

    /// Returns whether it may be about one letter only: the mail server answers.
    fn may_be_of_one_letter(self) -> bool {
        matches!(self, Self::RefusedLater | Self::Refused)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl Refused {
    /// Returns whether the mail server takes no letter at all now, as far as one attempt tells. One recipient's server that
    /// wants another attempt later says nothing about the other recipients.
    pub fn of_server(&self) -> bool {
        self.trouble.is_some_and(|trouble| !trouble.may_be_of_one_letter())
    }

    /// Returns the reason for a failure of ours, of which it is certain that nothing was sent.
    pub fn by_us(why: impl fmt::Display, hopeless: bool) -> Self {
        Self { why: why.to_string(), trouble: None, hopeless, certain: true }
    }

    /// Returns the reason for a mail server that does not answer in time.
    pub fn too_slow() -> Self {
        let (why, trouble) = ("the mail server took too long".into(), Some(Trouble::Timeout));
        Self { why, trouble, hopeless: false, certain: false }
    }

    /// Returns the reason for a mail server that ends the connection when it is asked for a sign of life.
    pub fn broken() -> Self {
        let (why, trouble) = ("the mail server ended the connection".into(), Some(Trouble::Broken));
        Self { why, trouble, hopeless: false, certain: true }
    }

    /// Returns the reason for a port that speaks something else than the settings say.
    pub fn mismatch(why: String) -> Self {
        Self { why, trouble: Some(Trouble::Tls), hopeless: false, certain: true }
    }
}

impl From<&smtp::Error> for Refused {
    fn from(error: &smtp::Error) -> Self {
        let mut why = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let words = cause.to_string();
            if !why.ends_with(&words) {
                why = format!("{why}: {words}");
            }
            source = cause.source();
        }
        let mut trouble = trouble(error);
        if why.contains("No compatible authentication mechanism") {
            trouble = Trouble::LogIn;
            why = "LATCHKEY_SMTP_URL: the mail server offers no log-in that we know (PLAIN, LOGIN); take USER:PASSWORD@ out, or \
                   add ?tls=required if it takes log-ins over TLS only"
                .into();
        }
        why = tame(&why);
        // 5xx is about this letter, and final. 53x is about our own log-in, which the operator can correct.
        let hopeless = trouble == Trouble::Refused;
        let certain =
            trouble == Trouble::Unreachable || error.status().is_some() || error.is_tls() || error.is_client();
        Self { why, trouble: Some(trouble), hopeless, certain }
    }
}

/// Returns words of a mail server without the characters that a terminal would obey. A hostile server could forge what a
/// command prints.
pub(super) fn tame(words: &str) -> String {
    words.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn trouble(error: &smtp::Error) -> Trouble {
    if let Some(code) = error.status() {
        return Trouble::of_code(code);
    }
    let of_network = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    match of_network.map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
            Trouble::Unreachable
        }
        _ if error.is_timeout() => Trouble::Timeout,
        // lettre refuses by itself when the server offers no STARTTLS.
        _ if error.is_tls() || error.is_client() || of_network.is_some_and(is_of_tls) => Trouble::Tls,
        _ => Trouble::Broken,
    }
}

fn is_of_tls(why: &io::Error) -> bool {
    why.get_ref().is_some_and(|why| why.is::<rustls::Error>())
}

#[cfg(test)]
mod tests {
    use lettre::transport::smtp::response::Detail;

    use super::*;

    #[test]
    fn a_server_that_is_about_to_go_takes_no_letter_at_all() {
        let of = |severity, category, detail| Trouble::of_code(Code::new(severity, category, detail));
        let going = of(Severity::TransientNegativeCompletion, Category::Connections, Detail::One);
        let greylisted = of(Severity::TransientNegativeCompletion, Category::MailSystem, Detail::One);
        assert_eq!((going, greylisted), (Trouble::Broken, Trouble::RefusedLater), "421 and 451");
    }
}
