//! `latchkey app …`: register applications, look at them, change and remove them.

use clap::{Args, Subcommand};
use sea_orm::ActiveEnum;
use serde_json::json;

use super::listing::{self, agreed, out, print_json};
use super::open::open_db;
use super::proxy::{self, Proxy};
use crate::accounts::access;
use crate::accounts::apps::host::AppHost;
use crate::accounts::apps::key_set::KeySet;
use crate::accounts::apps::operate::{self, Changes, NewApp, Taken};
use crate::accounts::apps::redirect_uri::{BackchannelUri, RedirectUri};
use crate::accounts::apps::{self, AppName, Application};
use crate::accounts::signing_key::{SigningAlgorithm, algorithms};
use crate::accounts::token::Token;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::Db;

/// Each APP is a name or a `client_id`.
#[derive(Subcommand)]
pub(super) enum AppCommand {
    /// Register an app, and print its client_id and client_secret. The secret is shown once.
    Add(Add),
    /// List all apps: name, client_id, since when.
    List {
        /// As one JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Show one app.
    Show {
        /// A name or a client_id.
        app: String,
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Change what is registered of an app. What is not named stays.
    Edit(Edit),
    /// Make another client_secret. The one before works too, until --drop-old.
    Secret {
        /// A name or a client_id.
        app: String,
        /// Make none; end the one before the newest.
        #[arg(long)]
        drop_old: bool,
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Print the configuration of a reverse proxy that asks who is there, for an app with a --host.
    Proxy(Proxy),
    /// Remove an app: nobody logs in to it any more. Asks first, on a terminal; elsewhere it needs --yes.
    Remove {
        /// A name or a client_id.
        app: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// The app that `app add` registers, as typed.
#[derive(Args)]
pub(super) struct Add {
    /// What users call it.
    name: AppName,
    /// Where the app gets its codes. May come several times.
    #[arg(long = "redirect-uri", value_name = "URI", required_unless_present = "hosts")]
    redirect_uris: Vec<RedirectUri>,
    /// Where the app may send a browser after a log-out. May come several times.
    #[arg(long = "logout-uri", value_name = "URI")]
    logout_uris: Vec<RedirectUri>,
    /// Where the app is told that a session has ended (OpenID Connect Back-Channel Logout).
    #[arg(long, value_name = "URI")]
    backchannel_uri: Option<BackchannelUri>,
    /// The host of that address is on a private network, though its name is not one.
    #[arg(long, requires = "backchannel_uri")]
    backchannel_private: bool,
    /// Where it stands behind a proxy that asks who is there, such as wiki.example.com. May come several times.
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<AppHost>,
    /// It runs in a browser or on a phone, where everybody could read a secret, so it gets none.
    #[arg(long)]
    public: bool,
    /// It signs who it is (private_key_jwt), so it gets no secret. A file with its public keys, as a JWK set.
    #[arg(long, value_name = "FILE", value_parser = key_set, conflicts_with = "public")]
    jwks: Option<KeySet>,
    /// It is yours: users are not asked whether it may see their name and address.
    #[arg(long)]
    trusted: bool,
    /// It cannot use PKCE (RFC 7636). A code that an attacker reads is safe by its secret only.
    #[arg(long, conflicts_with = "public")]
    no_pkce: bool,
    /// How its tokens are signed: RS256, ES256 or EdDSA.
    #[arg(long, default_value = "RS256", value_parser = algorithm)]
    algorithm: SigningAlgorithm,
    /// As one JSON object.
    #[arg(long)]
    json: bool,
}

/// What `app edit` changes, as typed.
#[derive(Args)]
pub(super) struct Edit {
    /// A name or a client_id.
    app: String,
    /// What users call it.
    #[arg(long)]
    name: Option<AppName>,
    /// Where the app gets its codes, in place of all before. May come several times.
    #[arg(long = "redirect-uri", value_name = "URI")]
    redirect_uris: Option<Vec<RedirectUri>>,
    /// Where the app may send a browser after a log-out, in place of all before. May come several times.
    #[arg(long = "logout-uri", value_name = "URI")]
    logout_uris: Option<Vec<RedirectUri>>,
    /// Where the app is told that a session has ended (OpenID Connect Back-Channel Logout).
    #[arg(long, value_name = "URI")]
    backchannel_uri: Option<BackchannelUri>,
    /// Whether the host of that address is on a private network, though its name is not one.
    #[arg(long, value_name = "BOOL")]
    backchannel_private: Option<bool>,
    /// It is told of no log-out any more.
    #[arg(long, conflicts_with_all = ["backchannel_uri", "backchannel_private"])]
    no_backchannel: bool,
    /// Where it stands behind a proxy that asks who is there, in place of all before. May come several times.
    #[arg(long = "host", value_name = "HOST")]
    hosts: Option<Vec<AppHost>>,
    /// It signs who it is (private_key_jwt). A file with its public keys, in place of all before, as a JWK set. Its secrets work too,
    /// until --no-secret.
    #[arg(long, value_name = "FILE", value_parser = key_set)]
    jwks: Option<KeySet>,
    /// It has no keys any more.
    #[arg(long, conflicts_with = "jwks")]
    no_jwks: bool,
    /// Its secrets stop working: it signs who it is.
    #[arg(long, conflicts_with = "no_jwks")]
    no_secret: bool,
    /// It stands behind no such proxy any more.
    #[arg(long, conflicts_with = "hosts")]
    no_host: bool,
    /// Whether users are not asked for their consent.
    #[arg(long, value_name = "BOOL")]
    trusted: Option<bool>,
    /// Whether it has to use PKCE.
    #[arg(long, value_name = "BOOL")]
    pkce: Option<bool>,
    /// How its tokens are signed: RS256, ES256 or EdDSA.
    #[arg(long, value_parser = algorithm)]
    algorithm: Option<SigningAlgorithm>,
    /// As one JSON object.
    #[arg(long)]
    json: bool,
}

fn algorithm(name: &str) -> Result<SigningAlgorithm, String> {
    SigningAlgorithm::try_from_value(&name.to_owned())
        .map_err(|_| format!("must be one of {}", algorithms().join(", ")))
}

fn key_set(path: &str) -> Result<KeySet, String> {
    std::fs::read_to_string(path).map_err(|why| format!("cannot be read: {why}"))?.parse()
}

pub(super) async fn run(config: Config, command: AppCommand) -> anyhow::Result<()> {
    let db = open_db(&config.storage()?).await?;
    let done = run_on(config, &db, command).await;
    db.close().await?;
    done
}

async fn run_on(config: Config, db: &Db, command: AppCommand) -> anyhow::Result<()> {
    match command {
        AppCommand::Add(typed) => add(config, db, typed).await,
        AppCommand::List { json } => listing::apps(&apps::all(db.read()).await?, json),
        AppCommand::Show { app, json } => listing::app(&find(db, &app).await?, json),
        AppCommand::Edit(typed) => edit(config, db, typed).await,
        AppCommand::Secret { app, drop_old: true, json } => drop_old_secret(db, &find(db, &app).await?, json).await,
        AppCommand::Secret { app, drop_old: false, json } => make_secret(db, &find(db, &app).await?, json).await,
        AppCommand::Proxy(typed) => {
            let text = proxy::configuration(config, &find(db, &typed.app).await?, &typed)?;
            out(text.trim_end())
        }
        AppCommand::Remove { app, yes, json } => remove(db, &find(db, &app).await?, (yes, json)).await,
    }
}

async fn find(db: &Db, text: &str) -> anyhow::Result<Application> {
    let found = match (text.parse(), text.parse()) {
        (Ok(id), _) => apps::by_id(db.read(), id).await?,
        (_, Ok(name)) => apps::by_name(db.read(), &name).await?,
        _ => None,
    };
    found.ok_or_else(|| anyhow::anyhow!("there is no app {text}; `latchkey app list` lists them all"))
}

fn taken(name: &str, taken: Taken) -> anyhow::Error {
    match taken {
        Taken::Name => anyhow::anyhow!(
            "there is an app {name} already; `latchkey app show` shows it, `latchkey app edit` changes it"
        ),
        Taken::Host(host, app) => anyhow::anyhow!("--host: {host} belongs to {app} already"),
    }
}

/// Refuses hosts to which no browser would send the cookie, and the site's own: an app there would get the session cookie too.
fn check_hosts(config: &mut Config, hosts: &[AppHost]) -> anyhow::Result<()> {
    if hosts.is_empty() {
        return Ok(());
    }
    let site = config.recall_public_url().cloned();
    let Some(domain) = config.recall_gate_domain() else {
        anyhow::bail!(
            "--host needs LATCHKEY_GATE_DOMAIN, a domain that the app and this site share, such as example.com; set it, restart the server, and run this command again"
        );
    };
    for host in hosts {
        if !domain.has(host.name()) {
            anyhow::bail!(
                "--host: {host} is not below LATCHKEY_GATE_DOMAIN, which is {domain}: no browser sends the cookie there"
            );
        }
        if site.as_ref().is_some_and(|site| site.host() == host.name()) {
            anyhow::bail!(
                "--host: {host} is this site's own host: an app there could read the cookies of every session"
            );
        }
    }
    Ok(())
}

async fn add(mut config: Config, db: &Db, typed: Add) -> anyhow::Result<()> {
    check_hosts(&mut config, &typed.hosts)?;
    let new = NewApp {
        name: typed.name,
        redirect_uris: typed.redirect_uris,
        logout_uris: typed.logout_uris,
        hosts: typed.hosts,
        public: typed.public,
        trusted: typed.trusted,
        pkce: !typed.no_pkce,
        algorithm: typed.algorithm,
        backchannel_uri: typed.backchannel_uri,
        backchannel_private: typed.backchannel_private,
        key_set: typed.jwks,
    };
    let name = new.name.as_str().to_owned();
    let (app, secret) = operate::add(db, new, Clock::default().now()).await?.map_err(|why| taken(&name, why))?;
    // Programs that set an app up need all three.
    let issuer = config.recall_public_url().map(|url| url.origin().to_owned());
    if typed.json {
        let mut object = listing::app_object(&app);
        object["client_secret"] = json!(secret.as_ref().map(|secret| secret.reveal().to_string()));
        object["issuer"] = json!(issuer);
        return print_json(&object);
    }
    out(format!("Added {name}."))?;
    out(format!("client_id:     {}", app.id))?;
    if let Some(secret) = secret {
        out(format!("client_secret: {}", *secret.reveal()))?;
    }
    if let Some(issuer) = issuer {
        out(format!("issuer:        {issuer}"))?;
    }
    if app.secret_digest.is_some() {
        out("The secret is not shown again; `latchkey app secret` makes another.")?;
    }
    if !app.pkce {
        out(
            "Without PKCE, a code that an attacker reads is safe by the secret only. Use it if the app can: `latchkey app edit --pkce true`.",
        )?;
    }
    Ok(())
}

async fn edit(mut config: Config, db: &Db, typed: Edit) -> anyhow::Result<()> {
    let app = find(db, &typed.app).await?;
    let hosts = typed.hosts.or(typed.no_host.then(Vec::new));
    check_hosts(&mut config, hosts.as_deref().unwrap_or_default())?;
    if app.public && typed.pkce == Some(false) {
        anyhow::bail!("{} has no secret, so it cannot do without PKCE", app.name);
    }
    if app.public && typed.jwks.is_some() {
        anyhow::bail!("{} is public, so it has no keys: everybody could read their private halves", app.name);
    }
    if typed.no_jwks && app.secret_digest.is_none() {
        anyhow::bail!("{0} has no secret; make one first: latchkey app secret '{0}'", app.name);
    }
    if typed.no_secret && typed.jwks.as_ref().or(app.key_set.as_ref()).is_none() {
        anyhow::bail!("{} has no keys; name a file with them too: --jwks FILE", app.name);
    }
    let name = typed.name.as_ref().map_or(app.name.clone(), |name| name.as_str().to_owned());
    let changes = Changes {
        name: typed.name,
        redirect_uris: typed.redirect_uris,
        logout_uris: typed.logout_uris,
        hosts,
        trusted: typed.trusted,
        pkce: typed.pkce,
        algorithm: typed.algorithm,
        backchannel_uri: typed.backchannel_uri.map(Some).or(typed.no_backchannel.then_some(None)),
        // A host on a private network is allowed for the address that goes, and for no later one.
        backchannel_private: typed.backchannel_private.or(typed.no_backchannel.then_some(false)),
        key_set: typed.jwks.map(Some).or(typed.no_jwks.then_some(None)),
        no_secret: typed.no_secret,
    };
    if changes == Changes::default() {
        anyhow::bail!("nothing was named to change; `latchkey app edit --help` lists what can be");
    }
    let edited = operate::edit(db, &app, changes, Clock::default().now()).await?.map_err(|why| taken(&name, why))?;
    listing::app(&edited.ok_or_else(|| gone(&app))?, typed.json)
}

fn gone(app: &Application) -> anyhow::Error {
    anyhow::anyhow!("{} was removed or changed a moment ago", app.name)
}

async fn make_secret(db: &Db, app: &Application, json: bool) -> anyhow::Result<()> {
    if app.public {
        anyhow::bail!("{} is public, so it has no secret", app.name);
    }
    let secret: Token = operate::make_secret(db, app, Clock::default().now()).await?.ok_or_else(|| gone(app))?;
    if json {
        return print_json(&json!({ "client_id": app.id, "client_secret": secret.reveal().to_string() }));
    }
    out(format!("client_secret: {}", *secret.reveal()))?;
    out("It is not shown again. The one before works too, until `latchkey app secret --drop-old`.")
}

async fn drop_old_secret(db: &Db, app: &Application, json: bool) -> anyhow::Result<()> {
    let dropped = operate::drop_old_secret(db, app, Clock::default().now()).await?;
    if json {
        return print_json(&json!({ "client_id": app.id, "dropped": dropped }));
    }
    let name = &app.name;
    out(if dropped {
        format!("Only the newest secret of {name} works now.")
    } else {
        format!("{name} has no old secret.")
    })
}

async fn remove(db: &Db, app: &Application, (yes, json): (bool, bool)) -> anyhow::Result<()> {
    if !agreed(&format!("Remove {}? Nobody can log in to it any more.", app.name), "removed", yes)? {
        return out("Nothing was removed.");
    }
    if !access::remove_app(db, app, Clock::default().now()).await? {
        return Err(gone(app));
    }
    if json {
        print_json(&json!({ "client_id": app.id, "removed": true }))
    } else {
        out(format!("Removed {}.", app.name))
    }
}
