//! The first connection to PostgreSQL, and what an operator has to do if it fails.

use std::io;
use std::str::FromStr;
use std::time::Duration;

use sea_orm::DbErr;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection};
use sea_orm::sqlx::{ConnectOptions, Connection, Error, error::DatabaseError};
use tokio::time::timeout;

/// How long PostgreSQL may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connects once, before there is a pool. The pool would take a refusal for a server that is starting, connect again for
/// ten seconds, and then say only that it waited. The service manager can start Latchkey again (systemd: `Restart=`).
///
/// # Errors
/// One line that says what to do. It holds no password.
pub(super) async fn try_once(url: &str) -> Result<(), DbErr> {
    let options = PgConnectOptions::from_str(url).map_err(|why| DbErr::Custom(why.to_string()))?;
    // The library's log would repeat a part of the error.
    let options = options.disable_statement_logging();
    let opened = timeout(PATIENCE, PgConnection::connect_with(&options)).await;
    let why = match opened {
        Ok(Ok(connection)) => {
            let _ = connection.close().await; // the connection has already shown that the database can be used
            return Ok(());
        }
        Ok(Err(why)) => reason(&options, &why),
        Err(_) => format!("{} has not answered for {} seconds", place(&options), PATIENCE.as_secs()),
    };
    Err(DbErr::Custom(why))
}

/// Returns the server's host and port, or its socket.
fn place(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}

fn reason(options: &PgConnectOptions, error: &Error) -> String {
    match error {
        Error::Io(why) => unreachable(options, why),
        Error::Database(answer) => refused(options, answer.as_ref()),
        other => other.to_string(),
    }
}

fn unreachable(options: &PgConnectOptions, why: &io::Error) -> String {
    let place = place(options);
    let words = why.to_string();
    match why.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("nothing listens at {place} (connection refused); start PostgreSQL, or correct the host and port")
        }
        io::ErrorKind::NotFound => {
            format!("there is no socket in {place}; start PostgreSQL, or correct the folder")
        }
        // The standard library has no kind for a host that cannot be found.
        _ if words.contains("lookup") => {
            format!("the host {} cannot be found; correct it ({words})", options.get_host())
        }
        _ => format!("cannot reach {place}: {words}"),
    }
}

/// Returns what to do about an error that PostgreSQL itself answered (PostgreSQL, Appendix A).
fn refused(options: &PgConnectOptions, answer: &dyn DatabaseError) -> String {
    let (place, user) = (place(options), options.get_username());
    match answer.code().as_deref() {
        Some("28P01") => format!("the password of {user} is wrong, says PostgreSQL at {place}"),
        Some("3D000") => {
            let (host, port) = (
                options.get_socket().map_or(options.get_host().into(), |dir| dir.to_string_lossy()),
                options.get_port(),
            );
            let name = options.get_database().unwrap_or(user);
            format!("there is no database {name}; make it: createdb --host={host} --port={port} --owner={user} {name}")
        }
        _ => format!("PostgreSQL at {place} says: {}", answer.message()),
    }
}
