//! “This was not me”: what the owner does after an email about something that a thief did.

use sea_orm::ConnectionTrait;
use time::OffsetDateTime;

use crate::accounts::event::{self, EventKind};
use crate::accounts::limit::clients::Action;
use crate::accounts::link;
use crate::accounts::link::not_me_link::{self, NotMeLink, Report};
use crate::accounts::outbox::letter::Letter;
use crate::accounts::session::{self, device};
use crate::accounts::token::Token;
use crate::accounts::user::{self, User};
use crate::accounts::{Accounts, Asked, Client, Result, outbox};
use crate::db::Db;

/// Makes the link for an email, and returns the user whom it goes to, at the address that the account has now. Returns
/// `None` if the user was deleted or disabled meanwhile.
pub async fn issue(db: &Db, report: &Report<'_>, now: OffsetDateTime) -> Result<Option<(User, Token)>> {
    let user = user::by_id(db.read(), report.user).await?;
    let Some(user) = user.filter(|user| !user.is_disabled()) else { return Ok(None) };
    let token = not_me_link::issue(db.write(), (report, &user), now).await?;
    Ok(Some((user, token)))
}

/// Deletes the link of a letter that certainly was not sent.
pub async fn discard(db: &Db, token: &Token) -> Result<()> {
    link::discard::<not_me_link::Entity>(db.write(), token).await
}

/// A link that was opened.
#[derive(Debug)]
pub struct OpenedLink {
    /// The link.
    pub link: NotMeLink,
    /// The owner.
    pub user: User,
    /// What is left to do.
    pub state: LinkState,
}

/// What is left to do with a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Everything: its button can be used.
    Open,
    /// The owner has used this link, or another one about the same or a later session, at this time. The account has no
    /// password.
    Told(OffsetDateTime),
    /// The password was reset by email at this time, after that session began. The reset has ended all of this.
    ResetSince(OffsetDateTime),
}

/// Returns what this link is about, or `None` if it has expired, was mailed to an address that the account had before, or
/// the account is disabled. Reads only.
pub async fn open(db: &Db, token: &Token, now: OffsetDateTime) -> Result<Option<OpenedLink>> {
    let Some((link, user)) = not_me_link::find(db.read(), token, now).await? else { return Ok(None) };
    let state = match (state(db.read(), &link).await?, link.used_at) {
        (LinkState::Open, Some(at)) => LinkState::Told(at),
        (state, _) => state,
    };
    Ok(Some(OpenedLink { link, user, state }))
}

/// Returns what other links and resets have left to do.
///
/// Only a reset by email proves that the owner was there after the thief. A change of password proves nothing: the thief
/// knows the password and can change it too.
async fn state(conn: &impl ConnectionTrait, link: &NotMeLink) -> Result<LinkState> {
    // Ids are in the order of time (RFC 9562, 5.7). The session may have begun long before the act, with an older report
    // in between. An event that was deleted after its time makes the link work again, which costs the owner one more reset.
    let since = async |kind| -> Result<Option<OffsetDateTime>> {
        let event = event::last(conn, link.user_id, kind).await?;
        Ok(event.filter(|event| event.id > link.act_id).map(|event| event.at))
    };
    if let Some(at) = since(EventKind::ResetDone).await? {
        return Ok(LinkState::ResetSince(at));
    }
    Ok(since(EventKind::NotMe).await?.map_or(LinkState::Open, LinkState::Told))
}

/// The outcome of using a link.
#[derive(Debug)]
pub enum Said {
    /// The sessions have ended, and the way to a new password is emailed to this user.
    Done(Box<User>),
    /// This link, another one, or a reset by email has done it already.
    Already,
    /// The link has expired, or belongs to the owner no more.
    Gone,
}

/// Ends the session that the link is about, and emails the owner the way to a new password.
///
/// A thief who logged in knows the password, may have changed it, and may have begun other sessions. So every session
/// ends that began since the first log-in that an email told of lately, no browser is known any more, and no password
/// opens the account until the owner has chosen one by the emailed link.
///
/// # Errors
/// [`Fault::TooMany`](super::Fault::TooMany) when the client has no attempt left.
pub async fn say(accounts: &Accounts, token: Option<&Token>, client: &Client, now: OffsetDateTime) -> Result<Said> {
    accounts.admit(Action::Link, client, now).await?;
    let Some(token) = token else { return Ok(Said::Gone) };
    let Some((link, _)) = not_me_link::find(accounts.db.read(), token, now).await? else { return Ok(Said::Gone) };
    let (tx, asked) = (accounts.db.begin().await?, Asked::new(client, now));
    // The user first, as everywhere. A reset, or the button of another link, has ended now, or waits for the end of this
    // transaction.
    let Some(user) = user::lock(&tx, link.user_id).await?.filter(|user| user.owns_link_to(&link.email_at_issue)) else {
        return Ok(Said::Gone);
    };
    if !link::redeem::<not_me_link::Entity>(&tx, &link.token_digest, now).await? {
        return Ok(Said::Already);
    }
    if state(&tx, &link).await? != LinkState::Open {
        return Ok(Said::Already);
    }
    user::take_password(&tx, user.id, now).await?;
    // A thief who logged in twice has caused two emails, and the owner may use the link of the later one.
    let told_of = outbox::sessions_told_of(&tx, &user, now).await?.into_iter();
    let told_of = told_of.chain(not_me_link::first_session(&tx, user.id, now).await?);
    let first = told_of.chain([link.session_id]).min().unwrap_or(link.session_id);
    let ended = session::end_since(&tx, user.id, first).await?;
    device::forget_all(&tx, user.id, None).await?;
    not_me_link::note_ended(&tx, link.id, ended).await?;
    event::record(&tx, EventKind::NotMe, Some(user.id), &asked).await?;
    // This letter comes once, whatever the limit of letters to the address: the thief may have used that up. For the same
    // reason the button does not refill it.
    let to = (&user.email, user.letter_locale(client.locale));
    let post = outbox::insert(&tx, to, &Letter::NotMe { asked }, now).await?;
    tx.commit().await?;
    accounts.ring(post);
    Ok(Said::Done(Box::new(user)))
}
