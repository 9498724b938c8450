//! Writes the letter of an outbox row. The token of its link is made here, so that the plain token is only in memory and in
//! the letter.

use super::letters::{
    AccountCreated, AlreadyRegistered, ConfirmSignup, DevicesEnded, EmailAdded, EmailRemoved, NewDevice, NewDevices,
    NotMe, PasswordChanged, Rendered, ResetPassword, Site,
};
use crate::accounts::link::not_me_link::{About, Report};
use crate::accounts::outbox::OutboxRow;
use crate::accounts::outbox::letter::Letter;
use crate::accounts::signup::{self, SignupLetter};
use crate::accounts::token::Token;
use crate::accounts::user::User;
use crate::accounts::user::email::Email;
use crate::accounts::{Asked, Fault, Result, not_me, password_reset};
use crate::app::App;
use crate::urls;

/// A letter that is ready to be sent.
pub(super) struct Composed {
    /// The recipient.
    pub to: Email,
    /// The text.
    pub rendered: Rendered,
    /// The link in it, which is deleted if the letter cannot be sent.
    pub link: Option<LinkToken>,
}

/// The token of a link that was made for a letter.
pub(super) enum LinkToken {
    /// The link to a new password.
    Reset(Token),
    /// The link “this was not me”.
    NotMe(Token),
}

/// Returns the letter, or `None` if there is no recipient for it.
pub(super) async fn compose(app: &App, row: &OutboxRow) -> Result<Option<Composed>> {
    let (writer, reset_link) = (Writer { app, row }, &app.public_url.at(urls::FORGOT_PASSWORD));
    match row.letter()? {
        Letter::Signup { pending, asked } => match signup::issue(&app.db, pending, app.now()).await? {
            SignupLetter::Link(token) => {
                let link = &app.public_url.with_token(urls::SIGNUP_CONFIRM, &token.reveal());
                writer.to_address(|site| ConfirmSignup { link, asked: &asked }.render(site))
            }
            SignupLetter::HasAccount(user) => {
                let login_link = &app.public_url.at(urls::LOGIN);
                let letter = AlreadyRegistered { login_link, reset_link, asked: &asked };
                writer.to_user(&user, None, |site| letter.render(site))
            }
            SignupLetter::Nothing => Ok(None),
        },
        Letter::ResetPassword { asked } => {
            let asked = &asked;
            writer.with_reset_link(asked, |link, site| ResetPassword { link, asked }.render(site)).await
        }
        Letter::NotMe { asked } => {
            let asked = &asked;
            writer.with_reset_link(asked, |link, site| NotMe { link, reset_link, asked }.render(site)).await
        }
        Letter::PasswordChanged { asked } => {
            writer.to_address(|site| PasswordChanged { reset_link, asked: &asked }.render(site))
        }
        Letter::AccountCreated { asked } => {
            writer.to_address(|site| AccountCreated { reset_link, asked: &asked }.render(site))
        }
        Letter::EmailAdded { asked } => writer.to_address(|site| EmailAdded { reset_link, asked: &asked }.render(site)),
        Letter::EmailRemoved { asked } => writer.to_address(|site| EmailRemoved { asked: &asked }.render(site)),
        Letter::NewDevice { user, session, asked } => {
            let asked = &asked;
            let report = Report { user, session, act: session, about: About::LogIn, times: 1, asked };
            writer.with_not_me_link(&report, |link, site| NewDevice { link, asked }.render(site)).await
        }
        Letter::NewDevices { user, session, log_ins, more } => {
            let (times, more) = (&(log_ins.len() + more as usize), &more);
            let Some(asked) = log_ins.first() else { return Ok(None) };
            let report = Report { user, session, act: session, about: About::LogIn, times: *times, asked };
            let render = |link: &String, site: Site<'_>| match times {
                1 => NewDevice { link, asked }.render(site),
                _ => NewDevices { link, log_ins: &log_ins, more, times }.render(site),
            };
            writer.with_not_me_link(&report, render).await
        }
        Letter::DevicesEnded { user, session, act, devices, asked } => {
            let asked = &asked;
            let report = Report { user, session, act, about: About::LogOut, times: 1, asked };
            let render = |link: &String, site: Site<'_>| DevicesEnded { link, devices: &devices, asked }.render(site);
            writer.with_not_me_link(&report, render).await
        }
    }
}

/// Writes the letter of one row.
struct Writer<'a> {
    app: &'a App,
    row: &'a OutboxRow,
}

impl Writer<'_> {
    fn site<'s>(&'s self, address: &'s Email) -> Site<'s> {
        Site {
            name: &self.app.settings.site_name,
            home: self.app.public_url.origin(),
            address: address.as_str(),
            locale: self.row.locale(),
            theme: &self.app.look.theme,
        }
    }

    /// Writes to the address of the row, in the language of the row.
    fn to_address(&self, render: impl FnOnce(Site<'_>) -> askama::Result<Rendered>) -> Result<Option<Composed>> {
        let to = &self.row.to_address;
        let rendered = render(self.site(to)).map_err(unrendered)?;
        Ok(Some(Composed { to: to.clone(), rendered, link: None }))
    }

    /// Writes to the address that the user's account has now, in the user's own language, whatever the language of the page
    /// that asked was.
    fn to_user(
        &self,
        user: &User,
        link: Option<LinkToken>,
        render: impl FnOnce(Site<'_>) -> askama::Result<Rendered>,
    ) -> Result<Option<Composed>> {
        let site = self.site(&user.email);
        let rendered = render(Site { locale: user.letter_locale(site.locale), ..site }).map_err(unrendered)?;
        Ok(Some(Composed { to: user.email.clone(), rendered, link }))
    }

    /// Makes a reset link and writes to its user, if the address of the row has an account.
    async fn with_reset_link(
        &self,
        asked: &Asked,
        render: impl FnOnce(&String, Site<'_>) -> askama::Result<Rendered>,
    ) -> Result<Option<Composed>> {
        let Self { app, row } = self;
        let first = row.attempts == 1; // one request is one event, however many attempts its letter needs
        let issued = password_reset::issue(&app.accounts, &row.to_address, first.then_some(asked), app.now()).await?;
        let Some((user, token)) = issued else { return Ok(None) };
        let link = app.public_url.with_token(urls::RESET_PASSWORD, &token.reveal());
        self.to_user(&user, Some(LinkToken::Reset(token)), |site| render(&link, site))
    }

    /// Makes a link “this was not me” and writes to its user, unless the user was deleted or disabled meanwhile.
    async fn with_not_me_link(
        &self,
        report: &Report<'_>,
        render: impl FnOnce(&String, Site<'_>) -> askama::Result<Rendered>,
    ) -> Result<Option<Composed>> {
        let app = self.app;
        let Some((user, token)) = not_me::issue(&app.db, report, app.now()).await? else { return Ok(None) };
        let link = app.public_url.with_token(urls::NOT_ME, &token.reveal());
        self.to_user(&user, Some(LinkToken::NotMe(token)), |site| render(&link, site))
    }
}

fn unrendered(why: askama::Error) -> Fault {
    Fault::Internal(format!("letter: {why}"))
}
