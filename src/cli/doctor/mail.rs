//! Looks at the mail server: whether it takes our emails.

use super::super::mail_test;
use super::{Finding, fail, ok, warn};
use crate::accounts::user::email::Email;
use crate::config::{Delivery, Settings};
use crate::mail::{Mailer, Trip};

/// Talks to the mail server up to the recipient. With `mail_to`, sends one email too.
pub(super) async fn check(settings: &Settings, mail_to: Option<&Email>) -> Vec<Finding> {
    if let Delivery::Folder(dir) = &settings.delivery {
        return vec![warn("mail", format!("there is no mail server: emails are kept in {}", dir.display()))];
    }
    let mailer = match Mailer::new(settings) {
        Ok(mailer) => mailer,
        Err(why) => return vec![fail("mail", format!("{why:#}"))],
    };
    let sender = mailer.sender().from.email.clone();
    let to = match mail_to.map(Email::sendable).map(|address| address.parse()).transpose() {
        Ok(to) => to.unwrap_or_else(|| sender.clone()),
        Err(why) => return vec![fail("mail", format!("--mail-to: {why}"))],
    };
    let tripped = match mailer.round_trip(&to).await {
        Ok(Trip::Through) => ok("mail", format!("the mail server takes emails from {sender} to {to}")),
        Ok(Trip::NotTo(why)) if mail_to.is_none() => warn(
            "mail",
            format!(
                "the mail server does not take emails to LATCHKEY_MAIL_FROM, so bounces are lost: {why}; --mail-to ADDRESS asks about another address"
            ),
        ),
        Ok(Trip::NotTo(why)) => fail("mail", format!("the mail server does not take emails to {to}: {why}")),
        Err(why) => fail("mail", format!("LATCHKEY_SMTP_URL: {why}")),
    };
    let works = tripped.state != super::State::Fail;
    let mut found = vec![tripped];
    if let Some(to) = mail_to.filter(|_| works) {
        found.push(match mail_test::send(settings, &mailer, to).await {
            Ok(answer) => ok("mail", format!("an email to {to} is on its way: {answer}")),
            Err(why) => fail("mail", format!("the email to {to} did not go out: {why:#}")),
        });
    }
    found
}
