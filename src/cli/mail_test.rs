//! `latchkey mail-test …`: send one email.

use super::listing::out;
use super::open::{ELSEWHERE, absolute};
use crate::accounts::user::email::Email;
use crate::chance;
use crate::clock::Clock;
use crate::config::{Config, Settings};
use crate::look::Look;
use crate::mail::Mailer;
use crate::mail::letters::{MailTest, Site};

pub(super) async fn run(mut config: Config, address: &str) -> anyhow::Result<()> {
    let Ok(email) = Email::parse(address) else { anyhow::bail!("{address} is not an email address") };
    if let Some(dir) = config.dev_mailbox().filter(|dir| !dir.exists()) {
        anyhow::bail!("LATCHKEY_SMTP_URL is not set, and no server keeps emails in {}; {ELSEWHERE}", absolute(&dir));
    }
    config.recall_public_url();
    let settings = Settings::parse(config)?;
    let mailer = Mailer::new(&settings)?;
    match (send(&settings, &mailer, &email).await, settings.dev_mailbox()) {
        (Ok(answer), None) => out(format!("The mail server took the email to {address}: {answer}")),
        (Ok(_), Some(dir)) => out(format!("LATCHKEY_SMTP_URL is not set: the email is kept in {}.", dir.display())),
        (Err(refused), _) => anyhow::bail!("the email did not go out: {refused}"),
    }
}

/// Sends one email, and returns the words of the mail server.
pub(super) async fn send(settings: &Settings, mailer: &Mailer, email: &Email) -> anyhow::Result<String> {
    let now = Clock::default().now();
    let theme = &Look::open(settings).map_err(anyhow::Error::msg)?.theme;
    let (name, home, locale) = (&settings.site_name, settings.public_url.origin(), settings.language);
    let site = Site { name, home, address: email.as_str(), locale, theme };
    let letter = MailTest { at: &now }.render(site)?;
    let message = letter.message(mailer.sender(), &email.sendable(), chance::id(), now);
    let message = message.map_err(|why| anyhow::anyhow!("{}: {why}", email.as_str()))?;
    // The operator waits for this email, so a mistake that can be seen in a second is not left to the time-out.
    let sent = tokio::select! {
        sent = mailer.send(message) => sent,
        Some(refused) = mailer.mismatch() => Err(refused),
    };
    sent.map_err(|refused| anyhow::anyhow!("{refused}"))
}
