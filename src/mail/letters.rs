//! What each letter says: a subject, a text part and an HTML part.
//!
//! No letter greets by name or repeats what somebody typed: signing up with a stranger's address must not
//! become a way to send that stranger one's own words. Nothing remote is loaded, so nothing is tracked.

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

/// What every letter shows.
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
    /// Returns a time for the text part, glued together so that no line breaks inside of it.
    pub fn whole_moment(&self, at: &OffsetDateTime) -> String {
        let moment = self.locale.moment(at);
        moment.chars().flat_map(|c| [if c == ' ' { GLUED_BLANK } else { c }, GLUE]).collect()
    }

    /// Returns the site's name as it stands inside a sentence.
    pub fn inside(&self) -> String {
        self.locale.inside(self.name)
    }
}

/// A letter, rendered.
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

/// One type a letter, two templates a type: askama takes one template a struct, so the structs are made here,
/// with the same fields.
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
            /// None that these templates can meet; askama's signature has them.
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
    /// The link that creates the account.
    ConfirmSignup("letters/confirm_signup.txt", "letters/confirm_signup.html") { link: str, asked: Asked } confirm_subject
}
letter! {
    /// Somebody signed up with an address that has an account.
    AlreadyRegistered("letters/already_registered.txt", "letters/already_registered.html") { login_link: str, reset_link: str, asked: Asked } registered_subject
}
letter! {
    /// The link that lets a person back in.
    ResetPassword("letters/reset_password.txt", "letters/reset_password.html") { link: str, asked: Asked } reset_subject
}
letter! {
    /// The same for a user who said of a log-in that it was not theirs.
    NotMe("letters/not_me.txt", "letters/not_me.html") { link: str, reset_link: str, asked: Asked } not_me_subject
}
letter! {
    /// Word that the password is another one now.
    PasswordChanged("letters/password_changed.txt", "letters/password_changed.html") { reset_link: str, asked: Asked } changed_subject
}
letter! {
    /// Word of a log-in on a device that the account has not seen before.
    NewDevice("letters/new_device.txt", "letters/new_device.html") { link: str, asked: Asked } new_device_subject
}
letter! {
    /// Word that the operator made an account.
    AccountCreated("letters/account_created.txt", "letters/account_created.html") { reset_link: str, asked: Asked } created_subject
}
letter! {
    /// Word to the new address of an account, which the operator has set.
    EmailAdded("letters/email_added.txt", "letters/email_added.html") { reset_link: str, asked: Asked } email_added_subject
}
letter! {
    /// Word to the old one.
    EmailRemoved("letters/email_removed.txt", "letters/email_removed.html") { asked: Asked } email_removed_subject
}
letter! {
    /// The same of several log-ins, of which the first ones are listed.
    NewDevices("letters/new_devices.txt", "letters/new_devices.html") { link: str, log_ins: [Asked], more: u32, times: usize } new_devices_subject(times)
}
letter! {
    /// Word that devices were logged out in a browser that is new to the account.
    DevicesEnded("letters/devices_ended.txt", "letters/devices_ended.html") { link: str, devices: u32, asked: Asked } devices_ended_subject(devices)
}
letter! {
    /// What `latchkey mail-test` sends.
    MailTest("letters/mail_test.txt", "letters/mail_test.html") { at: OffsetDateTime } test_subject
}

/// Between two characters where no line breaks (U+2060, WORD JOINER), and a blank of that kind.
const GLUE: char = '\u{2060}';
const GLUED_BLANK: char = '\u{a0}';

/// Breaks long lines at 72 columns, of which a Chinese character takes two (RFC 3676, 4.2: lines of up to 78).
/// An address stays whole, on a line of its own: mail programs make a link of it.
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
    wrapped.replace(GLUE, "").replace(GLUED_BLANK, " ")
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
