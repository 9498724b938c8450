//! What each letter says: a subject, a text part and an HTML part.
//!
//! No letter greets by name or repeats what a user typed. Otherwise an attacker could sign up with the address of another
//! user and so send that user a text of the attacker's own. Nothing remote is loaded, so nothing is tracked.

use askama::Template;
use lettre::Message;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use textwrap::Options;
use textwrap::core::display_width;
use time::OffsetDateTime;
use uuid::Uuid;

use super::Sender;
use crate::accounts::Asked;
use crate::locale::{Locale, Translation};
use crate::look::theme::Theme;

/// What the templates of all letters use.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// The site's name.
    pub name: &'a str,
    /// The site's address.
    pub home: &'a str,
    /// The recipient's address.
    pub address: &'a str,
    /// The recipient's language.
    pub locale: Locale,
    /// The site's colours.
    pub theme: &'a Theme,
}

impl Site<'_> {
    /// Returns a time for the text part, in which no line may break.
    pub fn whole_moment(&self, at: &OffsetDateTime) -> String {
        let moment = self.locale.moment(at);
        moment.chars().flat_map(|c| [if c == ' ' { NO_BREAK_BLANK } else { c }, NO_BREAK]).collect()
    }

    /// Returns the site's name as it is written inside a sentence.
    pub fn inside(&self) -> String {
        self.locale.inside(self.name)
    }
}

/// A letter as it will be sent.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The language.
    pub locale: Locale,
    /// The subject.
    pub subject: String,
    /// The text part.
    pub text: String,
    /// The HTML part.
    pub html: String,
}

/// Defines the type of one letter, with its two templates. askama takes one template per struct, so this makes one struct
/// for each of them, with the same fields.
macro_rules! letter {
    ($(#[$doc:meta])* $name:ident ($text:literal, $html:literal) { $($field:ident: $type:ty),* } $subject:ident $(($with:ident))?) => {
        $(#[$doc])*
        #[derive(Debug)]
        #[expect(missing_docs, reason = "the fields are named in the templates")]
        pub struct $name<'a> { $(pub $field: &'a $type),* }

        impl $name<'_> {
            /// Fills both templates.
            ///
            /// # Errors
            /// Never for these templates. askama's signature has an error.
            pub fn render(&self, site: Site<'_>) -> askama::Result<Rendered> {
                #[derive(Template)]
                #[template(path = $text)]
                struct Text<'a> { site: Site<'a>, t: &'a Translation, $($field: &'a $type),* }
                #[derive(Template)]
                #[template(path = $html)]
                struct Html<'a> { site: Site<'a>, t: &'a Translation, $($field: &'a $type),* }

                let t = site.locale.t();
                Ok(Rendered {
                    locale: site.locale,
                    subject: t.$subject($(*self.$with,)? site.inside()).trim().to_owned(),
                    text: wrapped(&Text { site, t, $($field: self.$field),* }.render()?),
                    html: Html { site, t, $($field: self.$field),* }.render()?,
                })
            }
        }
    };
}

letter! {
    /// It holds the link that creates the account.
    ConfirmSignup("letters/confirm_signup.txt", "letters/confirm_signup.html") { link: str, asked: Asked } confirm_subject
}
letter! {
    /// It says that a client signed up with an address that has an account.
    AlreadyRegistered("letters/already_registered.txt", "letters/already_registered.html") { login_link: str, reset_link: str, asked: Asked } registered_subject
}
letter! {
    /// It holds the link to choose a new password.
    ResetPassword("letters/reset_password.txt", "letters/reset_password.html") { link: str, asked: Asked } reset_subject
}
letter! {
    /// It holds the same link, for a user who said of a log-in that it was not theirs.
    NotMe("letters/not_me.txt", "letters/not_me.html") { link: str, reset_link: str, asked: Asked } not_me_subject
}
letter! {
    /// It says that the password was changed.
    PasswordChanged("letters/password_changed.txt", "letters/password_changed.html") { reset_link: str, asked: Asked } changed_subject
}
letter! {
    /// It says that there was a log-in on a device that is new to the account.
    NewDevice("letters/new_device.txt", "letters/new_device.html") { link: str, asked: Asked } new_device_subject
}
letter! {
    /// It says that the operator created an account.
    AccountCreated("letters/account_created.txt", "letters/account_created.html") { reset_link: str, asked: Asked } created_subject
}
letter! {
    /// It tells the new address of an account that the operator has set it.
    EmailAdded("letters/email_added.txt", "letters/email_added.html") { reset_link: str, asked: Asked } email_added_subject
}
letter! {
    /// It tells the old address that the operator has set another one.
    EmailRemoved("letters/email_removed.txt", "letters/email_removed.html") { asked: Asked } email_removed_subject
}
letter! {
    /// It says that there were several log-ins on new devices, and lists the first ones.
    NewDevices("letters/new_devices.txt", "letters/new_devices.html") { link: str, log_ins: [Asked], more: u32, times: usize } new_devices_subject(times)
}
letter! {
    /// It says that devices were logged out from a browser that is new to the account.
    DevicesEnded("letters/devices_ended.txt", "letters/devices_ended.html") { link: str, devices: u32, asked: Asked } devices_ended_subject(devices)
}
letter! {
    /// `latchkey mail-test` sends it.
    MailTest("letters/mail_test.txt", "letters/mail_test.html") { at: OffsetDateTime } test_subject
}

/// The character between two others where no line may break (U+2060, WORD JOINER), and a blank of that kind.
const NO_BREAK: char = '\u{2060}';
const NO_BREAK_BLANK: char = '\u{a0}';

/// Returns the text with lines of up to 72 columns, of which a Chinese character takes two (RFC 3676, 4.2: lines of up to
/// 78). A URL stays in one piece, on a line of its own, because mail programs turn it into a link.
fn wrapped(text: &str) -> String {
    const COLUMNS: usize = 72;
    let mut wrapped = String::new();
    for line in text.split_inclusive('\n') {
        if display_width(line) <= COLUMNS || line.contains("://") {
            wrapped.push_str(line);
        } else {
            wrapped.push_str(&textwrap::fill(line.trim_end(), Options::new(COLUMNS).break_words(false)));
            wrapped.push('\n');
        }
    }
    wrapped.replace(NO_BREAK, "").replace(NO_BREAK_BLANK, " ")
}

impl Rendered {
    /// Returns the message for the mail server.
    ///
    /// `id` is the id of the outbox row. A letter may be sent twice, when the server's first answer was lost. Both have the
    /// same `Message-ID` then, and mailboxes show the letter once. The ID names the sender's domain, not this machine.
    ///
    /// # Errors
    /// When an address cannot be a recipient.
    pub fn message(
        self,
        sender: &Sender,
        to: &str,
        id: Uuid,
        at: OffsetDateTime,
    ) -> Result<Message, Box<dyn std::error::Error + Send + Sync>> {
        let header =
            |name: &'static str, value: &str| HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned());
        let mut message = Message::builder();
        if let Some(reply_to) = &sender.reply_to {
            message = message.reply_to(reply_to.clone());
        }
        let message = message
            .from(sender.from.clone())
            .to(Mailbox::new(None, to.parse()?))
            .subject(self.subject)
            .date(at.into())
            .message_id(Some(format!("<{id}@{}>", sender.from.email.domain())))
            .raw_header(header("Auto-Submitted", "auto-generated")) // RFC 3834: no out-of-office replies
            .raw_header(header("X-Auto-Response-Suppress", "All"))
            .raw_header(header("Content-Language", self.locale.tag()))
            .multipart(MultiPart::alternative_plain_html(self.text, self.html))?;
        Ok(message)
    }
}
