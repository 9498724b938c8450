//! The output of commands: lines for operators, or one JSON document for programs, with times as in RFC 3339.

use std::io::{self, IsTerminal, Write};

use sea_orm::ActiveEnum;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::accounts::apps::Application;
use crate::accounts::apps::key_set::KeySet;
use crate::accounts::event::Event;
use crate::accounts::outbox::{LetterState, OutboxRow};
use crate::accounts::session::{Session, SessionKind};
use crate::accounts::user::User;
use crate::keys::Keys;
use crate::locale::Locale;
use crate::words;

/// Prints a line on standard output.
pub(super) fn out(line: impl AsRef<str>) -> anyhow::Result<()> {
    Ok(writeln!(io::stdout(), "{}", line.as_ref())?)
}

/// Asks a question on the terminal, unless the answer is given with `--yes`. `done` is what would be done, such as “deleted”.
///
/// # Errors
/// Where there is no terminal: text from a pipe or a script was not written as an answer to this question.
pub(super) fn agreed(question: &str, done: &str, yes: bool) -> anyhow::Result<bool> {
    if yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        anyhow::bail!("nothing was {done}: there is no terminal to ask on, so give --yes");
    }
    write!(io::stdout(), "{question} [y/N] ")?;
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Prints a list: a line for each item, or all of them as one JSON array.
fn print<T>(items: &[T], json: bool, line: impl Fn(&T) -> String, object: impl Fn(&T) -> Value) -> anyhow::Result<()> {
    if json {
        return print_json(&items.iter().map(object).collect());
    }
    items.iter().try_for_each(|item| out(line(item).trim_end()))
}

pub(super) fn print_json(value: &Value) -> anyhow::Result<()> {
    out(serde_json::to_string_pretty(value)?)
}

fn moment(at: OffsetDateTime) -> String {
    Locale::En.moment(&at)
}

fn rfc3339(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}

/// Returns a number with its noun: “1 session”, “3 sessions”.
pub(super) fn count(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn user_object(user: &User) -> Value {
    json!({
        "id": user.id,
        "username": user.username,
        "email": user.email.as_str(),
        "full_name": user.full_name,
        "has_password": user.has_password(),
        "created_at": rfc3339(user.created_at),
        "disabled_at": user.disabled_at.map(rfc3339),
    })
}

pub(super) fn users(users: &[User], json: bool) -> anyhow::Result<()> {
    let line = |user: &User| {
        let disabled = user.disabled_at.map(|at| format!("  disabled since {}", moment(at))).unwrap_or_default();
        format!("{:<32}  {:<40}  {}{disabled}", user.username, user.email, moment(user.created_at))
    };
    print(users, json, line, user_object)
}

pub(super) fn user(user: &User, sessions: usize, json: bool) -> anyhow::Result<()> {
    if json {
        let mut object = user_object(user);
        object["sessions"] = sessions.into();
        return print_json(&object);
    }
    let password = if user.has_password() { "set" } else { "none" };
    let mut lines = vec![
        ("Username:", user.username.clone()),
        ("Email address:", user.email.to_string()),
        ("Full name:", user.full_name.clone()),
        ("Password:", password.to_owned()),
        ("Member since:", moment(user.created_at)),
        ("Logged in on:", count(sessions as u64, "device")),
        ("Id:", user.id.to_string()),
    ];
    if let Some(at) = user.disabled_at {
        lines.insert(5, ("Disabled:", format!("since {}", moment(at))));
    }
    lines.into_iter().try_for_each(|(what, value)| out(format!("{what:<14} {value}")))
}

/// Returns what is registered of an app. Its secret is not among it: nobody can read that again.
pub(super) fn app_object(app: &Application) -> Value {
    let secrets = [&app.secret_digest, &app.old_secret_digest].into_iter().flatten().count();
    json!({
        "client_id": app.id,
        "name": app.name,
        "redirect_uris": app.redirect_uris,
        "logout_uris": app.logout_uris,
        "backchannel_uri": app.backchannel_uri,
        "backchannel_private": app.backchannel_private,
        "hosts": app.hosts(),
        "public": app.public,
        "trusted": app.trusted,
        "pkce": app.pkce,
        "algorithm": app.algorithm.to_value(),
        "secrets": secrets,
        "keys": app.key_set.as_ref().map(KeySet::names).unwrap_or_default(),
        "created_at": rfc3339(app.created_at),
    })
}

pub(super) fn apps(apps: &[Application], json: bool) -> anyhow::Result<()> {
    let line = |app: &Application| format!("{:<40}  {}  since {}", app.name, app.id, moment(app.created_at));
    print(apps, json, line, app_object)
}

pub(super) fn app(app: &Application, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&app_object(app));
    }
    let kind = match (app.public, &app.secret_digest, &app.old_secret_digest) {
        (true, ..) => "none, because it is public",
        (false, None, _) => "none",
        (false, Some(_), None) => "one",
        (false, Some(_), Some(_)) => "two: the newest, and the one before it",
    };
    let consent = if app.trusted { "is not asked for, because it is trusted" } else { "is asked for" };
    let pkce = if app.pkce { "needed" } else { "not needed" };
    let mut lines = vec![
        ("Name:", app.name.clone()),
        ("client_id:", app.id.to_string()),
        ("Secrets:", kind.to_owned()),
        ("Consent:", consent.to_owned()),
        ("PKCE:", pkce.to_owned()),
        ("Signatures:", app.algorithm.to_value()),
    ];
    let keys = app.key_set.iter().flat_map(KeySet::names);
    lines.extend(keys.map(|name| ("Key:", name.unwrap_or("without a name").to_owned())));
    lines.extend(app.redirect_uris.0.iter().map(|uri| ("Redirect URI:", uri.as_str().to_owned())));
    lines.extend(app.logout_uris.0.iter().map(|uri| ("Log-out URI:", uri.as_str().to_owned())));
    lines.extend(app.backchannel_uri.iter().map(|uri| ("Back channel:", uri.clone())));
    lines.extend(app.hosts().iter().map(|host| ("Host:", host.to_string())));
    lines.push(("Since:", moment(app.created_at)));
    lines.into_iter().try_for_each(|(what, value)| out(format!("{what:<14} {value}")))
}

pub(super) fn sessions(sessions: &[Session], json: bool) -> anyhow::Result<()> {
    let browser = |session: &Session| match session.kind {
        SessionKind::Browser => words::browser(&session.user_agent, Locale::En.t()),
        SessionKind::Api => Locale::En.t().api_token().into(),
    };
    let line = |session: &Session| {
        let (since, used) = (moment(session.created_at), moment(session.last_seen_at));
        let (kind, browser) = (session.kind.to_value(), browser(session));
        format!("{}  {kind:<7}  {browser:<24}  {:<15}  since {since}, last used {used}", session.id, session.ip)
    };
    let object = |session: &Session| {
        json!({
            "id": session.id,
            "kind": session.kind.to_value(),
            "browser": browser(session),
            "user_agent": session.user_agent,
            "ip": session.ip,
            "created_at": rfc3339(session.created_at),
            "last_seen_at": rfc3339(session.last_seen_at),
            "expires_at": rfc3339(session.expires_at),
        })
    };
    print(sessions, json, line, object)
}

/// Lists events by the names that they have in the log.
pub(super) fn events(events: &[Event], json: bool) -> anyhow::Result<()> {
    let line = |event: &Event| {
        let (at, kind) = (moment(event.at), event.kind.to_value());
        if event.kind.is_by_operator() {
            return format!("{at}  {kind:<20}  by a command on the server");
        }
        let browser = words::browser(&event.user_agent, Locale::En.t());
        format!("{at}  {kind:<20}  {:<15}  {browser:<24}  {}", event.ip, event.request_id)
    };
    let object = |event: &Event| {
        json!({
            "at": rfc3339(event.at),
            "event": event.kind.to_value(),
            "ip": event.ip,
            "user_agent": event.user_agent,
            "request_id": event.request_id,
        })
    };
    print(events, json, line, object)
}

fn letter_object(row: &OutboxRow) -> Value {
    let asked = row.asked();
    json!({
        "id": row.id,
        "kind": row.letter,
        "to": row.to_address.as_str(),
        "language": row.locale,
        "state": row.state.to_value(),
        "attempts": row.attempts,
        "last_error": row.last_error,
        "failed_at": row.failed_at.map(rfc3339),
        "next_attempt_at": (row.state == LetterState::Waiting).then(|| rfc3339(row.next_attempt_at)),
        "leased_until": row.leased_until.map(rfc3339),
        "deadline": rfc3339(row.deadline),
        "created_at": rfc3339(row.created_at),
        "sent_at": row.sent_at.map(rfc3339),
        "user": row.user(),
        "ip": asked.as_ref().map(|asked| &asked.ip),
        "user_agent": asked.as_ref().map(|asked| &asked.user_agent),
        "request_id": asked.as_ref().map(|asked| &asked.request_id),
    })
}

/// Lists emails by the names that their kinds have in the log.
pub(super) fn letters(rows: &[OutboxRow], json: bool) -> anyhow::Result<()> {
    let line = |row: &OutboxRow| {
        let words = row.last_error.clone().unwrap_or_default();
        let news = match row.state {
            LetterState::Waiting => format!("next attempt {}  {words}", moment(row.next_attempt_at)),
            LetterState::Sent => row.sent_at.map(|at| format!("sent {}", moment(at))).unwrap_or_default(),
            LetterState::Dropped | LetterState::Failed => words,
        };
        let (id, state, kind, since) = (row.id, row.state.to_value(), &row.letter, moment(row.created_at));
        format!("{id}  {state:<7}  {kind:<16}  {:<32}  {since}  {news}", row.to_address)
    };
    print(rows, json, line, letter_object)
}

pub(super) fn letter(row: &OutboxRow, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&letter_object(row));
    }
    let at = |at: Option<OffsetDateTime>| at.map(moment).unwrap_or_default();
    let asked = row.asked();
    let by = asked.as_ref().map_or_else(String::new, |asked| match asked.ip.as_str() {
        "" => "a command on the server".to_owned(),
        ip => format!("{ip}, {}", words::browser(&asked.user_agent, Locale::En.t())),
    });
    let lines = [
        ("ID:", row.id.to_string()),
        ("Kind:", row.letter.clone()),
        ("To:", row.to_address.to_string()),
        ("State:", row.state.to_value()),
        ("Attempts:", row.attempts.to_string()),
        ("Last words:", row.last_error.clone().unwrap_or_default()),
        ("Server away at:", at(row.failed_at)),
        ("Next attempt:", at((row.state == LetterState::Waiting).then_some(row.next_attempt_at))),
        ("Being sent until:", at(row.leased_until)),
        ("Given up after:", moment(row.deadline)),
        ("Created:", moment(row.created_at)),
        ("Sent:", at(row.sent_at)),
        ("Caused by:", by),
        ("User:", row.user().map(|user| user.to_string()).unwrap_or_default()),
        ("Request ID:", asked.map(|asked| asked.request_id).unwrap_or_default()),
    ];
    let known = lines.into_iter().filter(|(_, value)| !value.is_empty());
    known.into_iter().try_for_each(|(what, value)| out(format!("{what:<17} {value}")))
}

pub(super) fn keys(keys: &Keys, json: bool) -> anyhow::Result<()> {
    let ids: Vec<_> = keys.ids().enumerate().collect();
    let line =
        |(place, id): &(usize, &str)| format!("{id}  {}", if *place == 0 { "signs and verifies" } else { "verifies" });
    print(&ids, json, line, |(place, id)| json!({ "kid": id, "signs": *place == 0, "verifies": true }))
}
