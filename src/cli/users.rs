//! `latchkey user …`: create users, look at them, help them log in again, disable their accounts.

use clap::{Args, Subcommand};
use uuid::Uuid;

use super::listing::{self, agreed, out};
use super::open::{absolute, open_db};
use crate::accounts::operator::{self, NewAccount};
use crate::accounts::user::email::Email;
use crate::accounts::user::username::{FullName, Username};
use crate::accounts::user::{self, Taken, User};
use crate::accounts::{event, security};
use crate::clock::Clock;
use crate::config::Config;
use crate::db::Db;
use crate::locale::Locale;
use crate::words::Words;
use crate::{urls, visit_store};

/// Each LOGIN is an email address, a username, or the id that the log prints.
#[derive(Subcommand)]
pub(super) enum UserCommand {
    /// List all users: username, email address, since when.
    List {
        /// As one JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Show one user.
    Show {
        /// An email address, a username, or an id.
        login: String,
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Make an account, and print a link with which the user chooses a password; it works for an hour, once.
    Create(Create),
    /// Print a link that lets the user choose a new password; it works for an hour, once.
    ResetLink {
        /// An email address, a username, or an id.
        login: String,
    },
    /// Give the user another email address. Both addresses are told by email.
    SetEmail {
        /// An email address, a username, or an id.
        login: String,
        /// The new email address.
        address: String,
    },
    /// Close an account: log the user out everywhere, and refuse log-ins and resets.
    Disable {
        /// An email address, a username, or an id.
        login: String,
    },
    /// Open a disabled account again.
    Enable {
        /// An email address, a username, or an id.
        login: String,
    },
    /// List where the user is logged in: the session's id, kind, browser, address, since when, last used.
    Sessions {
        /// An email address, a username, or an id.
        login: String,
        /// As one JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Log the user out everywhere, or end one session.
    LogOut {
        /// An email address, a username, or an id.
        login: String,
        /// The id of the session, as `user sessions` lists it.
        session: Option<Uuid>,
    },
    /// List what happened to the account, newest first.
    Events {
        /// An email address, a username, or an id.
        login: String,
        /// As one JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Delete a user with all sessions and links. Asks first, on a terminal; elsewhere it needs --yes.
    Delete {
        /// An email address, a username, or an id.
        login: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

/// The user that `user create` makes, as typed.
#[derive(Args)]
pub(super) struct Create {
    /// The user's email address.
    address: String,
    /// The username.
    username: String,
    /// The user's full name.
    #[arg(long, value_name = "NAME", default_value = "")]
    full_name: String,
}

pub(super) async fn run(config: Config, command: UserCommand) -> anyhow::Result<()> {
    let db = open_db(&config.storage()?).await?;
    let done = run_on(config, &db, command).await;
    db.close().await?;
    done
}

async fn run_on(config: Config, db: &Db, command: UserCommand) -> anyhow::Result<()> {
    let now = Clock::default().now();
    match command {
        UserCommand::List { json } => listing::users(&user::all(db.read()).await?, json),
        UserCommand::Show { login, json } => {
            let user = find(db, &login).await?;
            let sessions = security::sessions(db, &user, now).await?;
            listing::user(&user, sessions.len(), json)
        }
        UserCommand::Sessions { login, json } => {
            let user = find(db, &login).await?;
            listing::sessions(&security::sessions(db, &user, now).await?, json)
        }
        UserCommand::Events { login, json } => {
            let user = find(db, &login).await?;
            listing::events(&event::all(db.read(), user.id).await?, json)
        }
        UserCommand::Create(typed) => create(config, db, &typed).await,
        UserCommand::ResetLink { login } => reset_link(config, db, &login).await,
        UserCommand::SetEmail { login, address } => set_email(&config, db, &login, &address).await,
        UserCommand::Disable { login } => disable(db, &find(db, &login).await?).await,
        UserCommand::Enable { login } => enable(db, &find(db, &login).await?).await,
        UserCommand::LogOut { login, session } => log_out(db, &find(db, &login).await?, session).await,
        UserCommand::Delete { login, yes } => delete(db, &login, yes).await,
    }
}

/// Returns the username with the address, to name a user in a line of output.
fn named(user: &User) -> String {
    format!("{} ({})", user.username, user.email)
}

async fn find(db: &Db, login: &str) -> anyhow::Result<User> {
    // A username may be 32 digits, which is also an id without its hyphens. The log prints ids with hyphens.
    let found = match login.parse() {
        Ok(id) if login.contains('-') && login.len() == 36 => user::by_id(db.read(), id).await?,
        _ => user::by_login(db.read(), login).await?,
    };
    found.ok_or_else(|| anyhow::anyhow!("there is no user {login}; `latchkey user list` lists them all"))
}

/// Returns the address of the site. An address that is only guessed is refused: a link to `http://localhost:3000` opens
/// nothing on the user's machine, or another program's page.
fn known_address(mut config: Config) -> anyhow::Result<urls::PublicUrl> {
    let Some(url) = config.recall_public_url().cloned() else {
        anyhow::bail!(
            "LATCHKEY_PUBLIC_URL must be given, with --public-url or --env-file: no server has started with this data folder ({}) yet, so the address of the site is not known",
            absolute(config.data_dir())
        );
    };
    Ok(url)
}

/// Returns a value of the command line, or what is wrong with it in the words of the forms.
fn checked<T>(value: &str, parsed: Result<T, impl Words>) -> anyhow::Result<T> {
    parsed.map_err(|why| anyhow::anyhow!("{value}: {}", why.words(Locale::En.t())))
}

fn taken(address: &str, username: &str, taken: Taken) -> anyhow::Error {
    match taken {
        Taken::Email => anyhow::anyhow!("{address} has an account already; `latchkey user show {address}` shows it"),
        Taken::Username => anyhow::anyhow!("the username {username} is taken"),
    }
}

async fn create(config: Config, db: &Db, typed: &Create) -> anyhow::Result<()> {
    let Create { address, username, full_name } = typed;
    let new = NewAccount {
        email: checked(address, Email::parse(address))?,
        username: checked(username, Username::choose(username, &config.site_name))?,
        full_name: checked("--full-name", FullName::parse(full_name))?,
        locale: config.language,
    };
    let site = known_address(config)?;
    let made = operator::create(db, new, Clock::default().now()).await?;
    let (user, token) = made.map_err(|why| taken(address, username, why))?;
    out(format!(
        "Created {}. This link to choose a password works once, within 1 hour; `latchkey user reset-link {}` makes another:",
        named(&user),
        user.username
    ))?;
    out(site.with_token(urls::RESET_PASSWORD, &token.reveal()))
}

async fn reset_link(config: Config, db: &Db, login: &str) -> anyhow::Result<()> {
    let user = find(db, login).await?;
    if user.is_disabled() {
        let name = &user.username;
        anyhow::bail!(
            "{name} is disabled, so no link would work; `latchkey user enable {name}` opens the account again"
        );
    }
    let site = known_address(config)?;
    let Some(token) = operator::reset_link(db, &user, Clock::default().now()).await? else {
        anyhow::bail!("{login} was deleted or disabled a moment ago");
    };
    out(site.with_token(urls::RESET_PASSWORD, &token.reveal()))
}

async fn set_email(config: &Config, db: &Db, login: &str, address: &str) -> anyhow::Result<()> {
    let (user, email) = (find(db, login).await?, checked(address, Email::parse(address))?);
    if user.email == email {
        anyhow::bail!("{} has that address already", user.username);
    }
    let set = operator::set_email(db, &user, (&email, config.language), Clock::default().now()).await?;
    set.map_err(|why| taken(address, &user.username, why))?;
    let (name, old) = (&user.username, &user.email);
    out(format!("{name} has the address {} now; it was {old}. Both are told by email.", email.as_str()))
}

async fn disable(db: &Db, user: &User) -> anyhow::Result<()> {
    let Some(ended) = operator::disable(db, user, Clock::default().now()).await? else {
        anyhow::bail!("{} is disabled already", user.username);
    };
    let (name, ended, again) = (named(user), listing::count(ended, "session"), &user.username);
    out(format!("Disabled {name} and ended {ended}. `latchkey user enable {again}` opens the account again."))
}

async fn enable(db: &Db, user: &User) -> anyhow::Result<()> {
    if !operator::enable(db, user, Clock::default().now()).await? {
        anyhow::bail!("{} is not disabled", user.username);
    }
    out(format!("Enabled {}.", named(user)))
}

async fn log_out(db: &Db, user: &User, session: Option<Uuid>) -> anyhow::Result<()> {
    let name = &user.username;
    match (operator::log_out(db, user, session, Clock::default().now()).await?, session) {
        (0, Some(id)) => anyhow::bail!("{name} has no session {id}; `latchkey user sessions {name}` lists them"),
        (0, None) => out(format!("{} was not logged in anywhere.", named(user))),
        (ended, _) => out(format!("Ended {} of {}.", listing::count(ended, "session"), named(user))),
    }
}

async fn delete(db: &Db, login: &str, yes: bool) -> anyhow::Result<()> {
    let user = find(db, login).await?;
    if !agreed(&format!("Delete {} with all sessions?", named(&user)), "deleted", yes)? {
        return out("Nothing was deleted.");
    }
    // This comes first: once the user is deleted, this command does not find them again.
    visit_store::forget(db, &user.email_canonical).await?;
    operator::delete(db, &user, Clock::default().now()).await?;
    out(format!("Deleted {}.", named(&user)))
}
