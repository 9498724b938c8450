//! `latchkey keys …`: list and change the secrets.

use anyhow::Context;
use clap::Subcommand;
use sea_orm::ActiveEnum;
use tracing::warn;

use super::listing::{self, out};
use super::open::{look_for, open_db};
use crate::accounts::authorize::authorization;
use crate::accounts::event::EventKind;
use crate::accounts::{apps, operator, session, signing_key};
use crate::clock::Clock;
use crate::config::{Config, SecretSource, Storage};
use crate::keys::{Keys, Use};
use crate::locale::Locale;
use crate::secret::Secret;
use crate::served::Served;

#[derive(Subcommand)]
pub(super) enum KeysCommand {
    /// List the names of the secrets in cookies (kid), newest first; never a secret itself.
    List {
        /// As one JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Put a fresh secret first in the secret file, which signs, while those after it still verify. Let the next keys sign
    /// the tokens of apps.
    Rotate {
        /// Only the keys that sign the tokens of apps; the secret stays.
        #[arg(long)]
        signing: bool,
    },
    /// Drop all secrets but the newest. Refuses while a session, or a refresh token of an app, may depend on one of them. Where they
    /// stand in LATCHKEY_SECRET, it says when they can be taken away, and seals the keys that sign the tokens of apps anew.
    Drop {
        /// Drop them although users have to log in again, such as after a leak.
        #[arg(long)]
        force: bool,
        /// How many to keep.
        #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u8).range(1..))]
        keep: u8,
    },
}

pub(super) async fn run(config: &Config, command: &KeysCommand) -> anyhow::Result<()> {
    let storage = config.storage()?;
    if let KeysCommand::Rotate { signing: true } = command {
        return rotate_signing(&storage).await;
    }
    let file = match (&storage.secret, command) {
        (SecretSource::File(file), _) => file,
        (SecretSource::Given(secret), KeysCommand::List { json }) => return list(secret, *json),
        (SecretSource::Given(secret), KeysCommand::Drop { force, keep }) if secret.iter().len() > 1 => {
            return let_go(&storage, secret, (*keep).into(), *force).await;
        }
        (SecretSource::Given(_), _) => anyhow::bail!(
            "LATCHKEY_SECRET is yours to change: put a fresh one (openssl rand -base64 32) and a comma before what it is now, or take old ones off its end, and restart"
        ),
    };
    look_for("secret", file).context("LATCHKEY_SECRET_FILE")?;
    let name = file.display();
    let named = || format!("LATCHKEY_SECRET_FILE: {name}");
    match *command {
        KeysCommand::List { json } => list(&Secret::load(file).with_context(named)?, json),
        KeysCommand::Rotate { .. } => {
            let older = Secret::rotate(file).with_context(named)?.iter().len() - 1;
            note(&storage, EventKind::KeysRotated).await;
            if let Err(why) = rotate_signing(&storage).await {
                warn!("the secret is changed, but not the keys that sign the tokens of apps: {why:#}");
            }
            out(format!("A fresh secret stands first in {name}; those after it still verify: {older}."))?;
            // A used cookie is signed anew with the newest secret. One that is not used for this long expires.
            let days = config.remember_idle_days;
            out(format!("Restart each server that reads it. {days} days later run: latchkey keys drop"))
        }
        KeysCommand::Drop { keep, force } => {
            let secret = Secret::load(file).with_context(named)?;
            if secret.iter().len() <= keep.into() {
                return out(format!("There was nothing to drop in {name}."));
            }
            if !force {
                refuse_while_open(&storage, &secret, keep.into()).await?;
            }
            if let Err(why) = keep_signing_keys(&storage, &secret, force).await {
                warn!(
                    "the keys that sign the tokens of apps could not be sealed anew, so others take their place: {why:#}"
                );
            }
            let kept = Secret::keep(file, keep.into()).with_context(named)?.iter().len();
            note(&storage, EventKind::KeysDropped).await;
            out(format!("Secrets left in {name}: {kept}. Restart each server that reads it."))
        }
    }
}

/// Makes ready for the operator to take all secrets but the newest `keep` off the setting.
async fn let_go(storage: &Storage, secret: &Secret, keep: usize, force: bool) -> anyhow::Result<()> {
    if secret.iter().len() <= keep {
        return out("There was nothing to drop in LATCHKEY_SECRET.");
    }
    if !force {
        refuse_while_open(storage, secret, keep).await?;
    }
    keep_signing_keys(storage, secret, force).await.context("the keys that sign the tokens of apps")?;
    out(format!(
        "LATCHKEY_SECRET: only the first {keep} are needed now. Take the others off its end, and restart each server."
    ))
}

/// Lets the next keys sign the tokens of apps, where there are any.
async fn rotate_signing(storage: &Storage) -> anyhow::Result<()> {
    let db = open_db(storage).await?;
    let rotated = operator::rotate_signing_keys(&db, Clock::default().now()).await?;
    db.close().await?;
    for (algorithm, from) in rotated {
        let (name, at) = (algorithm.to_value(), Locale::En.moment(&from));
        out(format!("The next {name} key signs the tokens of apps from {at} on; apps know it already."))?;
    }
    Ok(())
}

/// Seals the keys that sign the tokens of apps with the newest secret. After a leak others take their place.
async fn keep_signing_keys(storage: &Storage, secret: &Secret, leaked: bool) -> anyhow::Result<()> {
    let db = open_db(storage).await?;
    if leaked {
        signing_key::forget_all(&db).await?;
    } else {
        signing_key::reseal(&db, secret).await?;
    }
    Ok(db.close().await?)
}

/// Refuses to drop secrets while a session may depend on a cookie or a token that one of them signed, or an app on a refresh token.
///
/// A cookie is signed anew when it is used. So a session does not depend on the dropped secrets if it was used after a
/// server began to sign with a secret that is kept.
async fn refuse_while_open(storage: &Storage, secret: &Secret, keep: usize) -> anyhow::Result<()> {
    let keys = Keys::new(secret, Use::SESSION_COOKIE, "");
    let kept: Vec<_> = keys.ids().take(keep).collect();
    let served = Served::read(&storage.data_dir);
    let has_served = served.is_some();
    let signing = served.map(|served| served.secrets).unwrap_or_default();
    let since = signing.iter().filter(|one| kept.contains(&one.id.as_str())).map(|one| one.since).min();
    let seen = async {
        let db = open_db(storage).await?;
        let behind_proxies = apps::all(db.read()).await?.iter().any(|app| !app.hosts().is_empty());
        let now = Clock::default().now();
        let open = session::signed_before(db.read(), (since, behind_proxies), now).await?;
        let tokens = authorization::refreshed_before(db.read(), since, now).await?;
        db.close().await?;
        anyhow::Ok([open, tokens])
    };
    let depend =
        seen.await.context("nothing was dropped, because open sessions cannot be counted (--force drops anyway)")?;
    const RESTART: &str = "restart the server first, which does not sign with the newest secret yet";
    let Some(until) = depend.iter().flatten().map(|(_, until)| until).max() else {
        if since.is_none() && has_served {
            // The running server would go on signing with a secret that it does not know after its next start.
            anyhow::bail!("nothing was dropped: {RESTART}");
        }
        return Ok(());
    };
    let of = depend.iter().zip(["session", "refresh token"]);
    let names: Vec<_> = of.filter_map(|(some, what)| some.map(|(count, _)| listing::count(count, what))).collect();
    let first = if since.is_none() { format!("{RESTART}; ") } else { String::new() };
    anyhow::bail!(
        "nothing was dropped: {first}{} may depend on an older secret, the last until {}; wait until then, or end them with --force",
        names.join(" and "),
        Locale::En.moment(until)
    )
}

/// Records that the secret was changed. The change comes first: after a leak it must not wait for a database that is out of
/// reach.
async fn note(storage: &Storage, kind: EventKind) {
    let noted = async {
        let db = open_db(storage).await?;
        operator::note_keys(&db, kind, Clock::default().now()).await?;
        anyhow::Ok(db.close().await?)
    };
    if let Err(why) = noted.await {
        warn!(event = kind.to_value(), "the secret is changed, but its event could not be written: {why:#}");
    }
}

fn list(secret: &Secret, json: bool) -> anyhow::Result<()> {
    listing::keys(&Keys::new(secret, Use::SESSION_COOKIE, ""), json)
}
