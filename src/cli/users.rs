//! `latchkey user …`: look at users, help them back in, delete them.

use std::io::{self, IsTerminal, Write};

use clap::Subcommand;

use super::{open_db, out};
use crate::accounts::user::User;
use crate::accounts::{operator, session, user};
use crate::clock::Clock;
use crate::config::Config;
use crate::db::Db;
use crate::locale::Locale;
use crate::{urls, visit_store};

#[derive(Subcommand)]
pub(super) enum Command {
    /// List all users: username, e-mail address, since when.
    List,
    /// Show one user.
    Show {
        /// An e-mail address or a username.
        login: String,
    },
    /// Print a link that lets the user choose a new password; it works for an hour, once.
    ResetLink {
        /// An e-mail address or a username.
        login: String,
    },
    /// Delete a user with all sessions and links. Asks first, on a terminal; elsewhere it needs --yes.
    Delete {
        /// An e-mail address or a username.
        login: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn run(config: Config, command: Command) -> anyhow::Result<()> {
    let db = open_db(&config).await?;
    let done = run_on(config, &db, command).await;
    db.close().await?;
    done
}

async fn run_on(mut config: Config, db: &Db, command: Command) -> anyhow::Result<()> {
    let now = Clock::default().now();
    match command {
        Command::List => {
            for user in user::all(db.read()).await? {
                out(format!("{:<32}  {:<40}  {}", user.username, user.email, Locale::En.moment(&user.created_at)))?;
            }
            Ok(())
        }
        Command::Show { login } => {
            let user = find(db, &login).await?;
            let sessions = session::count(db.read(), user.id, now).await?;
            out(format!(
                "Username:      {}\nEmail address: {}\nFull name:     {}\nMember since:  {}\nLogged in on:  {sessions} devices\nId:            {}",
                user.username,
                user.email,
                user.full_name,
                Locale::En.moment(&user.created_at),
                user.id
            ))
        }
        Command::ResetLink { login } => {
            let user = find(db, &login).await?;
            know_address(&mut config)?;
            let Some(token) = operator::reset_link(db, &user, now).await? else {
                anyhow::bail!("{login} was deleted a moment ago");
            };
            out(config.public_url().with_token(urls::RESET_PASSWORD, &token.reveal()))
        }
        Command::Delete { login, yes } => {
            let user = find(db, &login).await?;
            if !yes && !io::stdin().is_terminal() {
                // What stands in a pipe or a script was not written as an answer to this question.
                anyhow::bail!("nothing was deleted: there is no terminal to ask on, so give --yes");
            }
            if !yes && !confirmed(&user)? {
                return out("Nothing was deleted.");
            }
            // First, for once the user is gone nobody could run this again.
            visit_store::forget(db, &user.email_canonical).await?;
            operator::delete(db, &user, now).await?;
            out(format!("Deleted {} ({}).", user.username, user.email))
        }
    }
}

async fn find(db: &Db, login: &str) -> anyhow::Result<User> {
    let found = user::by_login(db.read(), login).await?;
    found.ok_or_else(|| anyhow::anyhow!("there is no user {login}; `latchkey user list` lists them all"))
}

/// Refuses to make a link to an address that is only guessed: `http://localhost:3000` in the mail of a person elsewhere
/// opens nothing, or what another program serves there.
fn know_address(config: &mut Config) -> anyhow::Result<()> {
    if !config.recall_public_url() {
        anyhow::bail!(
            "LATCHKEY_PUBLIC_URL must be given, with --public-url or --env-file: no server has started with this data folder ({}) yet, so the address of the site is not known",
            super::absolute(&config.data_dir)
        );
    }
    Ok(())
}

fn confirmed(user: &User) -> anyhow::Result<bool> {
    write!(io::stdout(), "Delete {} ({}) with all sessions? [y/N] ", user.username, user.email)?;
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
