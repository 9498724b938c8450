//! What each letter says: a subject, a text part and an HTML part.
//!
//! No letter greets by name or repeats what somebody typed: signing up with a stranger's address must not
//! become a way to send that stranger one's own words. Nothing remote is loaded, so nothing is tracked.

use askama::Template;
use lettre::Message;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use time::OffsetDateTime;
use time::macros::format_description;
use uuid::Uuid;

/// What every letter shows.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// The site's name.
    pub name: &'a str,
    /// The site's address.
    pub home: &'a str,
    /// The recipient's address.
    pub address: &'a str,
}

/// A letter, rendered.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The subject.
    pub subject: String,
    /// The text part.
    pub text: String,
    /// The HTML part.
    pub html: String,
}

/// One type a letter, two templates a type: askama takes one template a struct, so the second struct is made
/// here, with the same fields.
macro_rules! letter {
    ($(#[$doc:meta])* $name:ident ($text:literal, $html:literal) { $($field:ident),* } $subject:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        #[expect(missing_docs, reason = "the fields are named in the templates")]
        pub struct $name<'a> { $(pub $field: &'a str),* }

        impl $name<'_> {
            /// Fills both templates.
            ///
            /// # Errors
            /// None that these templates can meet; askama's signature has them.
            pub fn render(&self, site: Site<'_>) -> askama::Result<Rendered> {
                #[derive(Template)]
                #[template(path = $text)]
                struct Text<'a> { site: &'a str, home: &'a str, address: &'a str, $($field: &'a str),* }
                #[derive(Template)]
                #[template(path = $html)]
                struct Html<'a> { site: &'a str, home: &'a str, address: &'a str, $($field: &'a str),* }

                let Site { name, home, address } = site;
                let subject: fn(&str) -> String = $subject;
                Ok(Rendered {
                    subject: subject(name),
                    text: Text { site: name, home, address, $($field: self.$field),* }.render()?,
                    html: Html { site: name, home, address, $($field: self.$field),* }.render()?,
                })
            }
        }
    };
}

letter! {
    /// The link that creates the account.
    ConfirmSignup("letters/confirm_signup.txt", "letters/confirm_signup.html") { link, when, ip }
    |site| format!("Confirm your email address for {site}")
}
letter! {
    /// Somebody signed up with an address that has an account.
    AlreadyRegistered("letters/already_registered.txt", "letters/already_registered.html") { login_link, reset_link, when, ip }
    |site| format!("You already have an account at {site}")
}
letter! {
    /// The link that lets a person back in.
    ResetPassword("letters/reset_password.txt", "letters/reset_password.html") { link, when, ip }
    |site| format!("Reset your {site} password")
}
letter! {
    /// Word that the password is another one now.
    PasswordChanged("letters/password_changed.txt", "letters/password_changed.html") { reset_link, when, ip }
    |site| format!("Your {site} password was changed")
}
letter! {
    /// What `latchkey mail-test` sends.
    MailTest("letters/mail_test.txt", "letters/mail_test.html") { when }
    |site| format!("Mail from {site} works")
}

/// A moment as letters show it, such as “22 November 2026 at 08:15 UTC”.
pub fn when(at: OffsetDateTime) -> String {
    let form = format_description!("[day padding:none] [month repr:long] [year] at [hour]:[minute] UTC");
    at.format(form).unwrap_or_else(|_| at.to_string())
}

impl Rendered {
    /// The message for the mail server.
    ///
    /// `id` is the outbox row's: a letter that is sent twice, because the first answer got lost, has one
    /// `Message-ID`, and mailboxes show it once. The ID names the sender's domain, not this machine.
    ///
    /// # Errors
    /// When an address cannot be a recipient.
    pub fn message(
        self,
        from: &Mailbox,
        to: &str,
        id: Uuid,
        at: OffsetDateTime,
    ) -> Result<Message, Box<dyn std::error::Error + Send + Sync>> {
        let header =
            |name: &'static str, value: &str| HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned());
        let message = Message::builder()
            .from(from.clone())
            .to(Mailbox::new(None, to.parse()?))
            .subject(self.subject)
            .date(at.into())
            .message_id(Some(format!("<{id}@{}>", from.email.domain())))
            .raw_header(header("Auto-Submitted", "auto-generated")) // RFC 3834: no out-of-office replies
            .raw_header(header("X-Auto-Response-Suppress", "All"))
            .raw_header(header("Content-Language", "en"))
            .multipart(MultiPart::alternative_plain_html(self.text, self.html))?;
        Ok(message)
    }
}
